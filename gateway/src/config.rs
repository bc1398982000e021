//! The gateway's configuration, as in `config/gateway.toml`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use proto::Dialer;
use serde::Deserialize;
use thiserror::Error;

use crate::router::RouterConfig;
use crate::{dynamodb, redis};

/// The whole file. Every field has a default, but a listener's table names where it listens. A field that does not exist
/// is refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// `host:port` of the placement processes; a leading `http://` is allowed.
    pub placement: Vec<String>,
    /// Where metrics and health are shown; absent: nowhere.
    pub metrics: Option<SocketAddr>,
    /// How long clients may take to finish when the gateway leaves, milliseconds.
    pub drain_timeout_ms: u64,
    /// The Redis listener.
    pub redis: ListenerConfig,
    /// The DynamoDB listener.
    pub dynamodb: ListenerConfig,
    /// The gRPC listener.
    pub grpc: ListenerConfig,
    /// Bounds on what is under way.
    pub limits: LimitsConfig,
    /// Log lines of the process.
    pub logs: monitoring::LogsConfig,
}

/// One listener. Defaults differ between the three; see [`GatewayConfig::default`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether it listens at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Connections open at once. Without effect for gRPC, where one connection carries many calls.
    #[serde(default = "default_connections")]
    pub max_connections: usize,
    /// Redis only: password of the default user as long as the cluster keeps no rules for it; empty: none. All gateways
    /// should have the same.
    #[serde(default)]
    pub requirepass: Secret,
}

/// Text that is never shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }

    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.0.as_bytes())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "(redacted)" })
    }
}

/// Bounds on what is under way, and how long it may be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Requests under way; beyond it clients are told to try again.
    pub requests: usize,
    /// Bytes of keys and values in them.
    pub request_bytes: usize,
    /// How long a request that certainly had no effect is sent again, milliseconds.
    pub refused_timeout_ms: u64,
    /// How long a request that may have had an effect is asked for again, milliseconds; at most 30 s, after which
    /// storage has forgotten it.
    pub unknown_timeout_ms: u64,
}

/// Longest time for which storage surely remembers what was executed, and half of what it keeps.
const MAX_UNKNOWN_TIMEOUT_MS: u64 = 30_000;

fn yes() -> bool {
    true
}

fn default_connections() -> usize {
    10_000
}

impl ListenerConfig {
    /// On a port of the loopback interface.
    pub fn on_loopback(port: u16) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            enabled: true,
            max_connections: default_connections(),
            requirepass: Secret::default(),
        }
    }

    /// Does not listen.
    pub fn disabled() -> Self {
        Self { enabled: false, ..Self::on_loopback(0) }
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            placement: vec!["127.0.0.1:50060".to_owned()],
            metrics: None,
            drain_timeout_ms: 10_000,
            redis: ListenerConfig::on_loopback(63_791),
            dynamodb: ListenerConfig::on_loopback(8000),
            grpc: ListenerConfig::on_loopback(50_051),
            limits: LimitsConfig::default(),
            logs: monitoring::LogsConfig::default(),
        }
    }
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self::on_loopback(0)
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            requests: 65_536,
            request_bytes: 256 << 20,
            refused_timeout_ms: 10_000,
            unknown_timeout_ms: MAX_UNKNOWN_TIMEOUT_MS,
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or has fields that do not exist.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<toml::de::Error>,
    },
    /// No placement address.
    #[error("`placement` names no address")]
    NoPlacement,
    /// A password where nobody can say one.
    #[error("`requirepass` belongs to `[redis]`: DynamoDB and gRPC have no users")]
    NoUsers,
    /// A repetition so late could take effect twice.
    #[error("`limits.unknown_timeout_ms` is above {MAX_UNKNOWN_TIMEOUT_MS}")]
    UnknownTimeout,
}

impl GatewayConfig {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    /// Refuses what makes no sense together.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.placement.is_empty() {
            return Err(ConfigError::NoPlacement);
        }
        if self.dynamodb.requirepass != Secret::default() || self.grpc.requirepass != Secret::default() {
            return Err(ConfigError::NoUsers);
        }
        if self.limits.unknown_timeout_ms > MAX_UNKNOWN_TIMEOUT_MS {
            return Err(ConfigError::UnknownTimeout);
        }
        Ok(())
    }

    pub(crate) fn router(&self) -> RouterConfig {
        let address = |address: &String| address.strip_prefix("http://").unwrap_or(address).to_owned();
        RouterConfig {
            placement: self.placement.iter().map(address).collect(),
            dialer: Dialer::default(),
            max_requests: self.limits.requests,
            max_bytes: self.limits.request_bytes,
            refused_timeout: Duration::from_millis(self.limits.refused_timeout_ms),
            unknown_timeout: Duration::from_millis(self.limits.unknown_timeout_ms),
        }
    }

    pub(crate) fn redis_limits(&self) -> redis::Limits {
        redis::Limits {
            max_connections: self.redis.max_connections,
            drain_timeout: self.drain_timeout(),
            requirepass: self.redis.requirepass.clone(),
        }
    }

    pub(crate) fn dynamodb_limits(&self) -> dynamodb::Limits {
        dynamodb::Limits {
            max_connections: self.dynamodb.max_connections,
            drain_timeout: self.drain_timeout(),
            ..dynamodb::Limits::default()
        }
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_file_shows_the_defaults() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/gateway.toml");
        let shown = GatewayConfig::load(&file).unwrap();
        // Metrics have no default; the file shows where others expect them.
        assert_eq!(GatewayConfig { metrics: None, ..shown }, GatewayConfig::default());
    }

    #[test]
    fn mistakes_are_refused() {
        assert!(toml::from_str::<GatewayConfig>("plaecment = []").is_err());
        let empty: GatewayConfig = toml::from_str("placement = []").unwrap();
        assert!(matches!(empty.check(), Err(ConfigError::NoPlacement)));
        let late: GatewayConfig = toml::from_str("[limits]\nunknown_timeout_ms = 60000").unwrap();
        assert!(matches!(late.check(), Err(ConfigError::UnknownTimeout)));
        let password = "listen = '127.0.0.1:1'\nrequirepass = 'secret'";
        let elsewhere: GatewayConfig = toml::from_str(&format!("[grpc]\n{password}")).unwrap();
        assert!(matches!(elsewhere.check(), Err(ConfigError::NoUsers)));
        let right: GatewayConfig = toml::from_str(&format!("[redis]\n{password}")).unwrap();
        assert!(right.check().is_ok() && !format!("{right:?} {:?}", right.redis_limits()).contains("secret"));
    }

    #[test]
    fn placement_addresses_may_be_urls() {
        let config: GatewayConfig = toml::from_str("placement = ['http://a:1', 'b:2']").unwrap();
        assert_eq!(config.router().placement, ["a:1", "b:2"]);
    }
}
