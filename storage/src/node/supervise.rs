//! Looking after the replicas of a node, once a second: rebuild what has stopped, cut logs, watch followers and clock.
//! Free disk space is looked at more often.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use metrics::{counter, gauge};
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use tokio_util::sync::CancellationToken;

use super::Node;
use super::replica::Replica;

const ROUND: Duration = Duration::from_secs(1);
const DISK_LOOK: Duration = Duration::from_millis(50);
/// A follower that holds the log back is fed nothing for this long: long enough to take a snapshot instead.
const WITHHELD: Duration = Duration::from_secs(30);
/// A clean stop waits this long for other leaders.
const HAND_OVER: Duration = Duration::from_millis(2000);
/// A leader whose clock the others do not share hands over after this long.
const CLOCK_PATIENCE_ROUNDS: u32 = 5;

/// Runs until cancelled.
pub async fn supervise(node: Arc<Node>, stop: CancellationToken) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // A fast writer fills a reserve within a second; asking for free space costs a microsecond.
    let mut looks_at_disk = tokio::time::interval(DISK_LOOK);
    looks_at_disk.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut distrusted = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks_at_disk.tick() => watch_disk(&node),
            _ = rounds.tick() => round(&node, &mut distrusted).await,
        }
    }
}

async fn round(node: &Arc<Node>, distrusted: &mut u32) {
    let mut any_distrusted = false;
    for replica in node.all() {
        if let Err(fatal) = replica.metrics().running_state {
            counter!("storage_replica_rebuilds_total").increment(1);
            tracing::error!(group = replica.group.0, %fatal, "replica has stopped; it is rebuilt from its durable state");
            if let Err(error) = node.rebuild(&replica).await {
                tracing::error!(group = replica.group.0, %error, "replica cannot be rebuilt");
            }
            continue;
        }
        replica.learn_voters();
        cut_log(node, &replica).await;
        withhold_from_slow_followers(node, &replica);
        report_metrics(&replica);
        if replica.leads() && replica.clock.now_ms().is_none() {
            any_distrusted = true;
            if *distrusted >= CLOCK_PATIENCE_ROUNDS {
                tracing::error!(group = replica.group.0, "a majority disagrees with this node's clock: handing over");
                replica.hand_over(None).await;
            }
        }
    }
    *distrusted = if any_distrusted { *distrusted + 1 } else { 0 };
    gauge!("storage_clock_trusted").set(if any_distrusted { 0.0 } else { 1.0 });
    let stats = node.data.stats();
    gauge!("storage_data_disk_bytes").set(stats.disk_bytes as f64);
    gauge!("storage_data_memtable_bytes").set(stats.memtable_bytes as f64);
    gauge!("storage_requests_in_flight").set(node.load.requests() as f64);
}

fn watch_disk(node: &Node) {
    let free = match rustix::fs::statvfs(&node.config.data_dir) {
        Ok(stats) => stats.f_bavail.saturating_mul(stats.f_frsize),
        Err(error) => return tracing::error!(%error, "cannot ask for free disk space"),
    };
    gauge!("storage_disk_free_bytes").set(free as f64);
    let full = free < node.config.limits.disk_reserve_bytes;
    if full != node.disk_full.swap(full, Ordering::Relaxed) {
        tracing::warn!(
            free_bytes = free,
            full,
            "writes are {}",
            if full { "refused: the disk is full" } else { "accepted again" }
        );
    }
}

/// Makes the data durable and lets openraft purge the log behind it, when the log has grown enough.
async fn cut_log(node: &Node, replica: &Replica) {
    if replica.log.log_bytes() < node.config.log.snapshot_every_bytes {
        return;
    }
    let metrics = replica.metrics();
    let applied = metrics.last_applied.map_or(0, |applied| applied.index());
    let cut = metrics.snapshot.map_or(0, |snapshot| snapshot.index());
    if applied > cut + node.config.log.keep_entries / 2 || metrics.purged.is_none() {
        // openraft has stopped if this fails; the next round rebuilds it.
        let _ = replica.raft.trigger().snapshot().await;
    }
}

/// openraft keeps every entry that a slow but living follower might still take, without bound.
fn withhold_from_slow_followers(node: &Node, replica: &Replica) {
    if replica.log.log_bytes() < node.config.log.slow_follower_bytes {
        return;
    }
    let metrics = replica.metrics();
    let snapshot = metrics.snapshot.map_or(0, |snapshot| snapshot.index());
    for (follower, matched) in metrics.replication.into_iter().flatten() {
        let behind = matched.map_or(0, |matched| matched.index()) < snapshot;
        if follower != replica.id.0 && behind {
            tracing::warn!(group = replica.group.0, follower, "follower holds the log back: it gets a snapshot");
            node.transport.unreachable_until(replica.group, follower.into(), Instant::now() + WITHHELD);
        }
    }
}

fn report_metrics(replica: &Replica) {
    let metrics = replica.metrics();
    let group = replica.group.0.to_string();
    let index = |id: Option<crate::raft::types::LogId>| id.map_or(0.0, |id| id.index() as f64);
    gauge!("storage_raft_term", "group" => group.clone()).set(metrics.current_term as f64);
    gauge!("storage_raft_leading", "group" => group.clone())
        .set(f64::from(u8::from(metrics.state == ServerState::Leader)));
    gauge!("storage_raft_last_log_index", "group" => group.clone())
        .set(metrics.last_log_index.unwrap_or_default() as f64);
    gauge!("storage_raft_applied_index", "group" => group.clone()).set(index(metrics.last_applied));
    gauge!("storage_raft_purged_index", "group" => group.clone()).set(index(metrics.purged));
    gauge!("storage_raft_log_bytes", "group" => group.clone()).set(replica.log.log_bytes() as f64);
    match replica.views.open() {
        Ok(view) => gauge!("storage_locks_held", "group" => group).set(view.head.locks_held as f64),
        Err(error) => tracing::error!(group = replica.group.0, %error, "the replica's state cannot be read"),
    }
}

/// Hands all leaderships to other nodes and waits for the new leaders.
pub async fn hand_over_all(node: &Node) {
    let led: Vec<_> = node.all().into_iter().filter(|replica| replica.leads()).collect();
    let mut handed = Vec::new();
    for replica in led {
        if let Some(to) = replica.hand_over(None).await {
            handed.push((replica, to));
        }
    }
    let deadline = tokio::time::Instant::now() + HAND_OVER;
    for (replica, to) in handed {
        let mut server = replica.raft.server_metrics();
        let leads = |server: &openraft::metrics::RaftServerMetrics<crate::raft::types::TypeConfig>| {
            server.current_leader.is_some_and(|leader| leader != replica.id.0)
        };
        while !leads(&server.borrow_watched().clone()) {
            let changed = tokio::time::timeout_at(deadline, server.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                tracing::warn!(group = replica.group.0, to = to.0, "leadership was not taken over in time");
                break;
            }
        }
    }
}
