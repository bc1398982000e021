//! The Redis listener.
//!
//! - `request` and `reply` are the two halves of RESP: pure, incremental, bounded.
//! - `input` is what has arrived and is not parsed yet.
//! - A `session` is one connection: bursts of requests in, replies in order out.
//! - A `mailbox` has what a client is sent without having asked.
//! - A `burst` turns the commands on named keys into one bundle for the router.
//! - `pubsub` knows who is subscribed to which channels.
//! - `blocking` waits for data, `stream_waits` knows what is different about streams.
//! - `local` answers what concerns the connection or the server, `info` INFO, `clients` CLIENT LIST, `cluster` CLUSTER.
//! - `settings` has what CONFIG GET and CONFIG SET know, `pause` is CLIENT PAUSE.
//! - A `ledger` notes what is under way; `statistics` (of `histogram`s), `slowlog` and `latency` keep what became of it, and
//!   a `monitor` is shown what runs. `process` is what the operating system says of all that.
//! - `access` knows users and what they may do.
//! - `database` leads commands over a whole database through all ranges.
//! - `multi` keeps what is queued and watched until EXEC, and `together` runs it as one transaction; so it does with a
//!   command whose keys lie in several groups.
//! - `refusal` has the sentence for everything that the router may refuse.
//!
//! What each command means is not known here: `commands::redis` has the table and the commands themselves.
//!
//! - `scripts` finds what EVAL and FCALL run.
//!
//! What is absent: TLS. Unknown commands are refused as Redis
//! refuses them.

mod access;
mod blocking;
mod burst;
mod clients;
mod cluster;
mod database;
mod histogram;
mod info;
mod input;
mod latency;
mod ledger;
mod local;
mod mailbox;
mod monitor;
mod multi;
mod pause;
mod process;
mod pubsub;
mod refusal;
mod reply;
mod request;
mod scripts;
mod session;
mod settings;
mod slowlog;
mod statistics;
mod stream_waits;
mod together;

#[cfg(test)]
mod tests;

use std::hash::RandomState;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::access::Access;
use self::clients::{Client, Clients};
use self::latency::Latencies;
use self::monitor::Monitors;
use self::pause::Pause;
use self::pubsub::PubSub;
use self::scripts::Scripts;
use self::session::Session;
use self::settings::Parameters;
use self::slowlog::Slowlog;
use self::statistics::Statistics;
use crate::config::Secret;
use crate::router::Router;
use crate::txn::Transactions;

/// Bounds of the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once.
    pub max_connections: usize,
    /// How long connections may take to finish when the gateway leaves.
    pub drain_timeout: Duration,
    /// Password of the default user while the cluster has no other rules for it; empty: none.
    pub requirepass: Secret,
}

/// How long to leave the listener alone after it failed, for lack of file descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all sessions share.
struct Shared {
    router: Router,
    transactions: Transactions,
    access: Access,
    scripts: Scripts,
    limits: Limits,
    address: SocketAddr,
    clients: Clients,
    parameters: Parameters,
    pause: Pause,
    monitors: Monitors,
    statistics: Statistics,
    slowlog: Slowlog,
    latencies: Latencies,
    pubsub: PubSub,
    stats: Stats,
    metrics: RedisMetrics,
    started: Instant,
    /// 40 hexadecimal digits, as Redis has them.
    run_id: String,
    hashing: RandomState,
}

/// Counts for INFO.
#[derive(Debug, Default)]
struct Stats {
    connections: AtomicU64,
    rejected: AtomicU64,
    commands: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Stats {
    fn reset(&self) {
        let Self { connections, rejected, commands, bytes_in, bytes_out } = self;
        [connections, rejected, commands, bytes_in, bytes_out].into_iter().for_each(|n| n.store(0, Ordering::Relaxed));
    }
}

struct RedisMetrics {
    connections: Gauge,
    rejected: Counter,
    commands: Counter,
    /// From handing a burst in until its replies are written.
    burst_seconds: Histogram,
}

impl RedisMetrics {
    fn new() -> Self {
        Self {
            connections: gauge!("gateway_redis_connections"),
            rejected: counter!("gateway_redis_connections_refused_total"),
            commands: counter!("gateway_redis_commands_total"),
            burst_seconds: histogram!("gateway_redis_burst_seconds"),
        }
    }
}

/// Serves until `shutdown`, then drains; returns when the last connection is closed.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    tracing::info!(%address, "Redis listens");
    let shared = Arc::new(Shared {
        transactions: Transactions::new(router.clone()),
        pubsub: PubSub::new(&router),
        scripts: Scripts::new(&router),
        access: Access::new(router.clone(), limits.requirepass.bytes()),
        router,
        parameters: Parameters::new(address.port(), limits.max_connections),
        limits,
        address,
        clients: Clients::default(),
        pause: Pause::default(),
        monitors: Monitors::default(),
        statistics: Statistics::default(),
        slowlog: Slowlog::default(),
        latencies: Latencies::default(),
        stats: Stats::default(),
        metrics: RedisMetrics::new(),
        started: Instant::now(),
        run_id: format!("{:032x}{:08x}", rand::random::<u128>(), rand::random::<u32>()),
        hashing: RandomState::new(),
    });
    shared.parameters.note_password(shared.limits.requirepass.text().to_owned());
    let following = CancellationToken::new();
    // Connections need fresh permissions until the last of them is closed.
    let _follows = following.clone().drop_guard();
    let teller = shared.clone();
    tokio::spawn(following.clone().run_until_cancelled_owned(async move { teller.pubsub.publish_events().await }));
    let followed = shared.clone();
    tokio::spawn(following.run_until_cancelled_owned(async move { followed.access.follow(&followed.clients).await }));
    let tasks = TaskTracker::new();
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => admit(stream, peer, &shared, &tasks),
            Err(error) => {
                tracing::warn!(%error, "Redis cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    shared.clients.tell_all_to_leave();
    if tokio::time::timeout(shared.limits.drain_timeout, tasks.wait()).await.is_err() {
        tracing::warn!(connections = shared.clients.count(), "Redis connections did not finish in time");
    }
    Ok(())
}

/// Begins a session, or refuses the connection.
fn admit(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, tasks: &TaskTracker) {
    shared.stats.connections.fetch_add(1, Ordering::Relaxed);
    let limit = shared.parameters.effects().connections.load(Ordering::Relaxed);
    // By which of its addresses the client has come.
    let local_address = stream.local_addr().unwrap_or(shared.address);
    let Some(client) = shared.clients.add(peer, local_address, limit) else {
        shared.stats.rejected.fetch_add(1, Ordering::Relaxed);
        shared.metrics.rejected.increment(1);
        // A courtesy: whoever cannot take it at once sees a closed connection.
        let _ = stream.try_write(b"-ERR max number of clients reached\r\n");
        return;
    };
    client.descriptor.store(stream.as_raw_fd(), Ordering::Relaxed);
    // Replies are written whole; waiting for more would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "no TCP_NODELAY");
    }
    shared.metrics.connections.increment(1);
    let shared = shared.clone();
    tasks.spawn(async move {
        let id = client.id;
        let _open = Open { shared: shared.clone(), client: client.clone() };
        if let Err(error) = Session::new(stream, client.clone(), shared.clone()).run().await {
            tracing::debug!(client = id, %error, "Redis connection broke");
        }
        shared.pubsub.forget(&client).await;
    });
}

/// Takes the client off the list, however its session ends.
struct Open {
    shared: Arc<Shared>,
    client: Arc<Client>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.clients.remove(self.client.id);
        self.shared.monitors.remove(&self.client);
        self.shared.metrics.connections.decrement(1);
    }
}
