//! One remote node: its address, and the two long-lived streams to it.
//!
//! A stream is opened when first needed and kept. When it is gone the next use opens another one over a fresh
//! connection, except shortly after a failure: then appends and heartbeats fail at once (all groups share the
//! backoff), while votes, which are rare and matter, try anyway.

use std::sync::Arc;
use std::time::Duration;

use keyspace::{GroupId, NodeId, ReplicaId};
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use super::append::AppendLink;
use super::pulse::PulseLink;
use super::{ClockTable, Shared, TransportError, TransportOptions};

/// The pause after the first failed attempt to open a stream; it doubles with each failure up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Receive windows, in bytes: room for a full append frame in flight on one stream, and for others beside it.
pub(super) const STREAM_WINDOW: u32 = 4 << 20;
pub(super) const CONNECTION_WINDOW: u32 = 8 << 20;

pub(super) struct Peer {
    pub(super) node: NodeId,
    /// The node that we are.
    pub(super) this: NodeId,
    pub(super) options: TransportOptions,
    pub(super) clocks: ClockTable,
    whereabouts: Mutex<Whereabouts>,
    pub(super) bulk: Line<AppendLink>,
    pub(super) calm: Line<PulseLink>,
}

#[derive(Default)]
struct Whereabouts {
    address: Option<String>,
    /// The placement has said it: what memberships say no longer counts.
    reported: bool,
}

/// Whether to wait out the backoff after a failed attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Backoff,
    TryNow,
}

/// A stream to a peer that can be closed and replaced.
pub(super) trait Link: Send + Sync + Sized + 'static {
    /// Where the peer keeps links of this kind.
    fn line(peer: &Peer) -> &Line<Self>;

    /// Opens one over its own connection.
    fn open(peer: &Peer, channel: Channel) -> impl Future<Output = Result<Arc<Self>, TransportError>> + Send;

    fn is_open(&self) -> bool;

    /// Fails everything on it.
    fn close(&self, why: TransportError);
}

/// Holds at most one open link of a kind.
pub(super) struct Line<L> {
    current: Mutex<Option<Arc<L>>>,
    /// Locked while one is opened; the others wait for the outcome.
    attempts: tokio::sync::Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    failures: u32,
    failed: Option<(Instant, String)>,
}

impl Attempts {
    /// Why not to try now.
    fn too_early(&self) -> Option<&str> {
        let (at, reason) = self.failed.as_ref()?;
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.saturating_sub(1).min(8)).min(LONGEST_PAUSE);
        (at.elapsed() < pause).then_some(reason)
    }
}

impl<L: Link> Line<L> {
    fn new() -> Self {
        Self { current: Mutex::default(), attempts: tokio::sync::Mutex::default() }
    }

    /// The open link, if there is one.
    pub(super) fn current(&self) -> Option<Arc<L>> {
        self.current.lock().clone().filter(|link| link.is_open())
    }

    fn close(&self, why: TransportError) {
        if let Some(link) = self.current.lock().take() {
            link.close(why);
        }
    }
}

impl Peer {
    pub(super) fn new(node: NodeId, shared: &Shared) -> Self {
        Self {
            node,
            this: shared.node,
            options: shared.options.clone(),
            clocks: shared.clocks.clone(),
            whereabouts: Mutex::default(),
            bulk: Line::new(),
            calm: Line::new(),
        }
    }

    /// The placement reports where the node is.
    pub(super) fn set_address(&self, address: &str) {
        let moved = {
            let mut whereabouts = self.whereabouts.lock();
            whereabouts.reported = true;
            let moved = whereabouts.address.as_deref().is_some_and(|known| known != address);
            whereabouts.address = Some(address.to_owned());
            moved
        };
        if moved {
            self.close(TransportError::Broken(format!("node {} moved to {address}", self.node)));
        }
    }

    /// A membership tells where the node was.
    pub(super) fn hint_address(&self, address: &str) {
        let mut whereabouts = self.whereabouts.lock();
        if !whereabouts.reported && !address.is_empty() {
            whereabouts.address = Some(address.to_owned());
        }
    }

    fn address(&self) -> Option<String> {
        self.whereabouts.lock().address.clone()
    }

    fn close(&self, why: TransportError) {
        self.bulk.close(why.clone());
        self.calm.close(why);
    }

    /// Ends the lanes that feed a replica.
    pub(super) fn end_lanes(&self, group: GroupId, replica: ReplicaId) {
        if let Some(link) = self.bulk.current() {
            link.end_lanes(group, replica);
        }
    }

    /// The open link of a kind, opened if need be.
    pub(super) async fn link<L: Link>(self: &Arc<Self>, patience: Patience) -> Result<Arc<L>, TransportError> {
        if let Some(link) = L::line(self).current() {
            return Ok(link);
        }
        // A task of its own, because openraft drops a heartbeat at its deadline: the attempt, whose outcome all groups
        // wait for, must not die with the group that happened to begin it.
        let peer = self.clone();
        let attempt = tokio::spawn(async move { peer.open_link::<L>(patience).await });
        attempt.await.unwrap_or_else(|_| Err(TransportError::Broken("shutting down".to_owned())))
    }

    async fn open_link<L: Link>(&self, patience: Patience) -> Result<Arc<L>, TransportError> {
        let line = L::line(self);
        let mut attempts = line.attempts.lock().await;
        if let Some(link) = line.current() {
            return Ok(link);
        }
        if patience == Patience::Backoff
            && let Some(reason) = attempts.too_early()
        {
            return Err(TransportError::Down { node: self.node, reason: reason.to_owned() });
        }
        match self.try_open::<L>().await {
            Ok(link) => {
                if attempts.failures > 0 {
                    tracing::info!(node = %self.node, "peer is back");
                }
                *attempts = Attempts::default();
                *line.current.lock() = Some(link.clone());
                Ok(link)
            }
            Err(error) => {
                if attempts.failures == 0 {
                    tracing::warn!(node = %self.node, %error, "peer is gone");
                }
                attempts.failures = attempts.failures.saturating_add(1);
                attempts.failed = Some((Instant::now(), error.to_string()));
                Err(error)
            }
        }
    }

    async fn try_open<L: Link>(&self) -> Result<Arc<L>, TransportError> {
        let address = self.address().ok_or(TransportError::NoAddress(self.node))?;
        let open = async { L::open(self, self.dial(&address).await?).await };
        let link = tokio::time::timeout(self.options.connect_timeout, open).await.unwrap_or_else(|_| {
            Err(TransportError::Down {
                node: self.node,
                reason: format!("no answer within {:?}", self.options.connect_timeout),
            })
        })?;
        if self.address().as_ref() != Some(&address) {
            let moved = TransportError::Broken(format!("node {} has moved", self.node));
            link.close(moved.clone());
            return Err(moved);
        }
        Ok(link)
    }

    /// A fresh connection for a snapshot transfer.
    pub(super) async fn dial_apart(&self) -> Result<Channel, TransportError> {
        let address = self.address().ok_or(TransportError::NoAddress(self.node))?;
        self.dial(&address).await
    }

    async fn dial(&self, address: &str) -> Result<Channel, TransportError> {
        let down = |error: tonic::transport::Error| {
            // The outer message is only "transport error".
            let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            TransportError::Down { node: self.node, reason }
        };
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(down)?
            .connect_timeout(self.options.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.options.keepalive_interval)
            .keep_alive_timeout(self.options.keepalive_timeout)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        self.options.dialer.connect(&endpoint).await.map_err(down)
    }
}
