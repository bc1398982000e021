//! Configuration of a storage node. Every field has a default but the data directory; `config/storage.toml` shows all.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use planted::Fault;
use serde::Deserialize;

/// What a storage node is told at start.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// Address that gRPC listens on. Port 0 takes a free one.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// host:port under which peers and gateways reach this node; by default the address it listens on.
    #[serde(default)]
    pub advertise: Option<String>,
    /// Address of metrics and health; none by default.
    #[serde(default)]
    pub metrics: Option<SocketAddr>,
    /// Directory of this node. Belongs to one node for ever.
    pub data_dir: PathBuf,
    /// Placement endpoints, `http://host:port`.
    #[serde(default = "default_placement")]
    pub placement: Vec<String>,
    /// How linearizable reads prove leadership.
    #[serde(default)]
    pub reads: Reads,
    /// Timing of Raft.
    #[serde(default)]
    pub raft: RaftTiming,
    /// The Raft log on disk.
    #[serde(default)]
    pub log: LogLimits,
    /// Bounds that protect the node.
    #[serde(default)]
    pub limits: Limits,
    /// The executor of each group.
    #[serde(default)]
    pub executor: ExecutorConfig,
    /// Removal of what nobody can read any more.
    #[serde(default)]
    pub collect: CollectConfig,
    /// Memory of the data engine.
    #[serde(default)]
    pub engine: EngineConfig,
    /// Log lines of the process.
    #[serde(default)]
    pub logs: monitoring::LogsConfig,
}

/// How linearizable reads prove leadership.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Reads {
    /// By a quorum's acknowledgement younger than 0.6 lease, else by asking a quorum. Assumes that clocks run at about
    /// the same rate.
    #[default]
    Lease,
    /// By asking a quorum every time. Assumes nothing about clocks.
    ReadIndex,
}

/// Timing of Raft, the same on all nodes.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RaftTiming {
    /// Between heartbeats; also the deadline of one.
    pub heartbeat_interval_ms: u64,
    /// A follower that hears nothing begins an election after a time between this …
    pub election_timeout_min_ms: u64,
    /// … and this, which is also the leader's lease.
    pub election_timeout_max_ms: u64,
}

impl Default for RaftTiming {
    fn default() -> Self {
        Self { heartbeat_interval_ms: 250, election_timeout_min_ms: 1000, election_timeout_max_ms: 1500 }
    }
}

impl RaftTiming {
    /// How long a restarted replica neither votes nor stands for election: it has forgotten the lease it granted.
    pub fn boot_hold(&self) -> Duration {
        let hold = if planted::is_on(Fault::NoBootHold) { 0 } else { self.election_timeout_max_ms * 11 / 10 };
        Duration::from_millis(hold)
    }

    /// Age up to which a quorum's acknowledgement proves leadership.
    pub fn read_lease(&self) -> Duration {
        let tenths = if planted::is_on(Fault::NoLeaseMargin) { 40 } else { 6 };
        Duration::from_millis(self.election_timeout_max_ms * tenths / 10)
    }
}

/// The Raft log on disk.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogLimits {
    /// A group's data is made durable and its log cut when the log has grown by this much, in bytes.
    pub snapshot_every_bytes: u64,
    /// Entries kept behind a cut: a follower that misses more is sent a snapshot.
    pub keep_entries: u64,
    /// A follower that holds back more than this many bytes of log is fed nothing until it has taken a snapshot.
    pub slow_follower_bytes: u64,
    /// Newest entries of each group kept in memory, in bytes.
    pub tail_bytes: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            snapshot_every_bytes: 64 << 20,
            keep_entries: 50_000,
            slow_follower_bytes: 512 << 20,
            tail_bytes: 8 << 20,
        }
    }
}

/// Bounds that protect the node. What goes beyond is refused and may be sent again.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests taken on and not answered.
    pub requests: usize,
    /// Their bytes.
    pub request_bytes: usize,
    /// Writes are refused when less disk than this is free, in bytes.
    pub disk_reserve_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests: 200_000, request_bytes: 256 << 20, disk_reserve_bytes: 256 << 20 }
    }
}

/// The executor of each group.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutorConfig {
    /// Batches in flight.
    pub pipeline_depth: usize,
    /// Requests in a batch.
    pub batch_requests: usize,
    /// Bytes in a batch.
    pub batch_bytes: usize,
    /// A batch that is not decided after this time breaks the chain, in milliseconds.
    pub batch_timeout_ms: u64,
    /// A request waits for locks of transactions at most so long, in milliseconds.
    pub lock_wait_ms: u64,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        Self {
            pipeline_depth: 4,
            batch_requests: 4096,
            batch_bytes: 4 << 20,
            batch_timeout_ms: 5000,
            lock_wait_ms: 4000,
        }
    }
}

/// Removal of old versions, deleted and expired records.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectConfig {
    /// A pass over a group's data begins so long after the last one, in milliseconds.
    pub every_ms: u64,
    /// Versions that all passes of this node look at in a second.
    pub versions_per_second: usize,
}

impl Default for CollectConfig {
    fn default() -> Self {
        Self { every_ms: 60_000, versions_per_second: 20_000 }
    }
}

/// Memory of the data engine.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Cached blocks of table files, in bytes.
    pub block_cache_bytes: usize,
    /// Size at which a write buffer is written out, in bytes.
    pub write_buffer_bytes: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { block_cache_bytes: 32 << 20, write_buffer_bytes: 64 << 20 }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 50_070))
}

fn default_placement() -> Vec<String> {
    vec!["http://127.0.0.1:50060".to_owned()]
}

impl StorageConfig {
    /// Defaults, for a node in `data_dir`.
    pub fn in_dir(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: default_listen(),
            advertise: None,
            metrics: None,
            data_dir: data_dir.into(),
            placement: default_placement(),
            reads: Reads::default(),
            raft: RaftTiming::default(),
            log: LogLimits::default(),
            limits: Limits::default(),
            executor: ExecutorConfig::default(),
            collect: CollectConfig::default(),
            engine: EngineConfig::default(),
            logs: monitoring::LogsConfig::default(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_example_holds_the_defaults() {
        let text = include_str!("../../config/storage.toml");
        let example: StorageConfig = toml::from_str(text).unwrap();
        let defaults = StorageConfig { metrics: example.metrics, ..StorageConfig::in_dir(&example.data_dir) };
        assert_eq!(format!("{example:?}"), format!("{defaults:?}"));
    }

    #[test]
    fn a_misspelt_option_is_refused() {
        assert!(toml::from_str::<StorageConfig>("data_dir = 'x'\nread = 'lease'").is_err());
    }
}
