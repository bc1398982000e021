//! The placement's configuration, as in `config/placement.toml`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use monitoring::LogsConfig;
use serde::Deserialize;
use thiserror::Error;

use crate::reconcile::Policy;

/// The port that everybody expects a placement on.
pub const DEFAULT_PORT: u16 = 50_060;

/// The whole file. Every field has a default, and a field that does not exist is refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlacementConfig {
    /// Where the gRPC services listen; port 0 chooses a free one.
    pub listen: SocketAddr,
    /// Where `placement serve` shows metrics and health; absent: nowhere.
    pub monitoring_listen: Option<SocketAddr>,
    /// Where the catalog is kept.
    pub catalog: CatalogChoice,
    /// Directory of the embedded catalog; made when it does not exist.
    pub data_dir: PathBuf,
    /// The cluster is bootstrapped once this many storage nodes are there, at least 1. With fewer than 3, groups have that
    /// many replicas for ever after.
    pub bootstrap_nodes: usize,
    /// How many Raft groups the bootstrap founds, 1 to 1024. Without effect later.
    pub groups: u32,
    /// A storage node that has been silent for longer counts as dead, milliseconds.
    pub node_timeout_ms: u64,
    /// How long a split waits for a leader of its group before it is refused, milliseconds.
    pub split_patience_ms: u64,
    /// Snapshots stay readable for so long; what only older ones show is removed. Milliseconds, at most an hour.
    pub snapshot_age_ms: u64,
    /// What is logged by `placement serve`, and how.
    pub logs: LogsConfig,
}

/// Which catalog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CatalogChoice {
    /// RocksDB in `data_dir`: one placement process.
    #[default]
    Embedded,
    /// In memory: forgets the cluster with the process. For tests.
    Memory,
}

impl Default for PlacementConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            monitoring_listen: None,
            catalog: CatalogChoice::default(),
            data_dir: PathBuf::from("placement-data"),
            bootstrap_nodes: 3,
            groups: 16,
            node_timeout_ms: 5_000,
            split_patience_ms: 5_000,
            snapshot_age_ms: 600_000,
            logs: LogsConfig::default(),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no configuration.
    #[error("{path}: {source}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: Box<toml::de::Error>,
    },
    /// A value is out of bounds.
    #[error("{field} must be {bounds}")]
    OutOfBounds {
        /// The field.
        field: &'static str,
        /// What is allowed.
        bounds: &'static str,
    },
}

impl PlacementConfig {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let invalid = |source| ConfigError::Invalid { path: path.to_owned(), source: Box::new(source) };
        let config: Self = toml::from_str(&text).map_err(invalid)?;
        config.policy()?;
        Ok(config)
    }

    /// The checked values that the reconciler works by.
    pub fn policy(&self) -> Result<Policy, ConfigError> {
        let bounded = |holds: bool, field, bounds| {
            if holds { Ok(()) } else { Err(ConfigError::OutOfBounds { field, bounds }) }
        };
        bounded(self.bootstrap_nodes >= 1, "bootstrap_nodes", "at least 1")?;
        bounded((1..=1024).contains(&self.groups), "groups", "1 to 1024")?;
        bounded(self.node_timeout_ms >= 100, "node_timeout_ms", "at least 100")?;
        bounded(self.snapshot_age_ms <= 3_600_000, "snapshot_age_ms", "at most 3600000")?;
        Ok(Policy {
            bootstrap_nodes: self.bootstrap_nodes,
            groups: self.groups,
            node_timeout: Duration::from_millis(self.node_timeout_ms),
            split_patience: Duration::from_millis(self.split_patience_ms),
            snapshot_age: Duration::from_millis(self.snapshot_age_ms),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_example_file_says_what_the_defaults_are() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/placement.toml");
        let config = PlacementConfig::read(&path).unwrap();
        let monitoring_listen = config.monitoring_listen;
        assert!(monitoring_listen.is_some(), "a server on its own shows its metrics");
        assert_eq!(config, PlacementConfig { monitoring_listen, ..PlacementConfig::default() });
    }

    #[test]
    fn misspelt_and_impossible_values_are_refused() {
        let refused = toml::from_str::<PlacementConfig>("bootstrap_node = 3").unwrap_err().to_string();
        assert!(refused.contains("unknown field `bootstrap_node`"), "{refused}");
        let none = PlacementConfig { groups: 0, ..Default::default() };
        assert_eq!(none.policy().unwrap_err().to_string(), "groups must be 1 to 1024");
    }
}
