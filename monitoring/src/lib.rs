//! What every Elastickv process shows of itself: log lines, metrics, health.
//!
//! A process does three things when it starts:
//!
//! 1. [`logs::init_tracing`] sends `tracing` events to standard error, as text for people or as JSON for machines;
//! 2. [`recorder::install_metrics`] installs the one Prometheus recorder of the process, to which the `metrics` macros
//!    of all crates write;
//! 3. [`endpoint::Endpoint::serve`] opens the port for operators: `/metrics`, `/livez`, `/readyz`.
//!
//! Several tiers may live in one process (the demo, tests): the recorder is installed once and handed to each, and each
//! registers its own [`health::Component`], so that `/readyz` answers for all of them.
//!
//! Left out: traces over the network (OpenTelemetry) and pushing metrics. Prometheus pulls.

pub mod endpoint;
pub mod health;
pub mod logs;
pub mod recorder;

pub use endpoint::{Endpoint, EndpointError};
pub use health::{Component, Health};
pub use logs::{LogFormat, LogsConfig, LogsError, init_tracing};
pub use recorder::{Metrics, RecorderError, install_metrics};
