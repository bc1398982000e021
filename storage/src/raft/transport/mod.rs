//! Raft between storage nodes: what openraft sends, over as few streams as possible.
//!
//! openraft knows one group and calls its network a client to one replica. A node has many groups, but only a few
//! peers, so everything is bundled by peer ([`peer`]), over three connections that cannot hold each other up:
//!
//! - **bulk**: one `Append` stream carries the log entries of all groups ([`append`]). Each replication stream of
//!   openraft is a *lane* of it: pipelined, answered in order, with a window and a deadline of its own. Whatever the
//!   lanes have ready goes out in one message.
//! - **calm**: one `Pulse` stream carries the heartbeats of all groups and the nodes' clocks ([`pulse`], [`clock`]);
//!   votes and leader transfers are unary calls on the same connection.
//! - **snapshots**: a connection for each transfer ([`ship`], [`receive`]).
//!
//! [`send`] is openraft's side of the sender (its network traits), [`serve`] the gRPC service of the receiver, and
//! [`convert`] stands between openraft's types and the wire.
//!
//! Failure is simple: a stream that breaks, or that stays silent past the deadline of something sent on it, is
//! closed; everything on it fails, and the next use dials again, with a backoff that all groups share. Nothing is
//! resent here: openraft repeats what matters. A message for a replica that does not live here (another id, an
//! unknown group) is refused, never guessed at.
//!
//! Left out: encryption and authentication between nodes (run them on a private network), compression, and any memory
//! of what was sent before a restart.

mod append;
mod clock;
pub(crate) mod convert;
mod peer;
mod pulse;
mod receive;
mod send;
mod serve;
mod ship;

#[cfg(test)]
mod cluster_test;
#[cfg(test)]
mod snapshot_test;
#[cfg(test)]
mod testing;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyspace::{GroupId, NodeId, ReplicaId};
use openraft::errors::{NetworkError, RPCError, Timeout, Unreachable};
use openraft::network::RPCTypes;
use parking_lot::Mutex;
use proto::Dialer;
use thiserror::Error;
use tokio::sync::Semaphore;

pub use self::clock::{AGREEMENT_MS, ClockTable, wall_clock_ms};
pub use self::convert::Malformed;
pub use self::send::{GroupNetwork, GroupNetworkFactory};
pub use self::serve::{RaftService, ReplicaHandle, Replicas, tune};

use self::convert::Address;
use self::peer::Peer;
use crate::raft::snapshot::SnapshotStore;
use crate::raft::types::TypeConfig;

/// The largest message that the receiver takes, in bytes: an append frame is capped far below, but one entry alone
/// may carry values of 32 MB.
pub(crate) const MAX_MESSAGE_BYTES: usize = 96 << 20;

/// Deadlines and bounds of the transport.
#[derive(Clone, Debug)]
pub struct TransportOptions {
    /// Opens the connections.
    pub dialer: Dialer,
    /// For dialing a peer and opening a stream to it.
    pub connect_timeout: Duration,
    /// A connection is probed this often,
    pub keepalive_interval: Duration,
    /// and is dead when the probe is not answered within this time.
    pub keepalive_timeout: Duration,
    /// An append that is not answered within this time ends its lane. It covers the follower's fsync.
    pub append_timeout: Duration,
    /// Heartbeats of different groups to one peer are at least this far apart, or share a message. At most 5 ms.
    pub pulse_spacing: Duration,
    /// Without heartbeats, clocks are exchanged this often.
    pub clock_interval: Duration,
    /// Snapshots to one peer are not sent faster.
    pub snapshot_bytes_per_second: u64,
    /// Snapshots sent at the same time; more wait.
    pub snapshots_at_once: usize,
    /// A snapshot transfer without progress for this time is broken off and resumed.
    pub snapshot_stall: Duration,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            dialer: Dialer::default(),
            connect_timeout: Duration::from_secs(1),
            keepalive_interval: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(2),
            append_timeout: Duration::from_secs(2),
            pulse_spacing: Duration::from_millis(3),
            clock_interval: Duration::from_millis(500),
            snapshot_bytes_per_second: 64 << 20,
            snapshots_at_once: 2,
            snapshot_stall: Duration::from_secs(20),
        }
    }
}

/// Why a message did not get through. What openraft does about it is decided by [`TransportError::for_openraft`].
#[derive(Clone, Debug, Error)]
pub(crate) enum TransportError {
    /// Neither a heartbeat of the placement nor a membership named an address.
    #[error("no address of node {0} is known")]
    NoAddress(NodeId),
    /// It does not take connections.
    #[error("node {node} cannot be reached: {reason}")]
    Down { node: NodeId, reason: String },
    /// The receiver is there and will not have it: not its replica, boot hold, overload.
    #[error("refused by the receiver: {0}")]
    Refused(String),
    /// The stream ended under the message.
    #[error("connection lost: {0}")]
    Broken(String),
    /// See [`Transport::unreachable_until`].
    #[error("withheld until the replica takes a snapshot")]
    Withheld,
    /// The peer answered junk.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The deadline passed.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

impl TransportError {
    /// `Unreachable` makes openraft back off, `Network` and `Timeout` let it try again at once.
    fn for_openraft(self, action: RPCTypes, address: Address) -> RPCError<TypeConfig> {
        match self {
            Self::NoAddress(_) | Self::Down { .. } | Self::Refused(_) | Self::Withheld => {
                RPCError::Unreachable(Unreachable::new(&self))
            }
            Self::Broken(_) | Self::Malformed(_) => RPCError::Network(NetworkError::new(&self)),
            Self::TimedOut(timeout) => {
                RPCError::Timeout(Timeout { action, id: address.from.0, target: address.to.0, timeout })
            }
        }
    }

    /// What a failed call to `node` means; `deadline` was the caller's.
    fn of_status(status: &tonic::Status, node: NodeId, deadline: Duration) -> Self {
        let reason = status.message().to_owned();
        match status.code() {
            tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => Self::TimedOut(deadline),
            tonic::Code::Unavailable if std::error::Error::source(status).is_some() => Self::Down { node, reason },
            tonic::Code::Unavailable
            | tonic::Code::FailedPrecondition
            | tonic::Code::ResourceExhausted
            | tonic::Code::Aborted => Self::Refused(reason),
            _ => Self::Broken(format!("{:?}: {reason}", status.code())),
        }
    }
}

/// The sending side of a node, shared by all its groups. Cheap to clone.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<Shared>,
}

/// What all peers and groups of a node share.
struct Shared {
    node: NodeId,
    options: TransportOptions,
    clocks: ClockTable,
    snapshots: SnapshotStore,
    peers: Mutex<HashMap<NodeId, Arc<Peer>>>,
    withheld: Mutex<HashMap<(GroupId, ReplicaId), Instant>>,
    transfers: Semaphore,
}

impl Transport {
    /// Of the node `node`. Snapshots to send are exported into `snapshots`; `clocks` learns the peers' clocks and
    /// belongs to the [`RaftService`] of the same node, too.
    #[must_use]
    pub fn new(node: NodeId, clocks: ClockTable, snapshots: SnapshotStore, options: TransportOptions) -> Self {
        let transfers = Semaphore::new(options.snapshots_at_once.max(1));
        let (peers, withheld) = (Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { node, options, clocks, snapshots, peers, withheld, transfers }) }
    }

    /// Where `node` (`host:port`) is now, as the placement says. It overrides the address in memberships; connections
    /// to another address are closed.
    pub fn set_address(&self, node: NodeId, address: &str) {
        self.shared.peer(node).set_address(address);
    }

    /// The network of replica `from` of `group`, for `openraft::Raft::new`.
    #[must_use]
    pub fn network(&self, group: GroupId, from: ReplicaId) -> GroupNetworkFactory {
        GroupNetworkFactory::new(self.shared.clone(), group, from)
    }

    /// Until then appends to this replica fail as unreachable; heartbeats, votes and snapshots go through.
    ///
    /// openraft keeps every log entry that a slow follower might still take. Past a limit the group gives up on
    /// feeding it entries, so that the log can be purged and a snapshot sent instead.
    pub fn unreachable_until(&self, group: GroupId, replica: ReplicaId, until: Instant) {
        self.shared.withheld.lock().insert((group, replica), until);
        let peers: Vec<_> = self.shared.peers.lock().values().cloned().collect();
        for peer in peers {
            peer.end_lanes(group, replica);
        }
    }

    /// How many lanes the link to a peer carries.
    #[cfg(test)]
    fn lanes_to(&self, node: NodeId) -> usize {
        self.shared.peer(node).bulk.current().map_or(0, |link| link.lane_count())
    }

    /// The clocks of the peers.
    #[must_use]
    pub fn clocks(&self) -> &ClockTable {
        &self.shared.clocks
    }
}

impl Shared {
    fn peer(self: &Arc<Self>, node: NodeId) -> Arc<Peer> {
        let mut peers = self.peers.lock();
        peers.entry(node).or_insert_with(|| Arc::new(Peer::new(node, self))).clone()
    }

    fn is_withheld(&self, group: GroupId, replica: ReplicaId) -> bool {
        let mut withheld = self.withheld.lock();
        match withheld.get(&(group, replica)) {
            Some(until) if Instant::now() < *until => true,
            Some(_) => {
                withheld.remove(&(group, replica));
                false
            }
            None => false,
        }
    }
}
