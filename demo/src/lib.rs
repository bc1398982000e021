//! All three tiers in one process: what `make demo` runs, and the quickest whole cluster for a test.
//!
//! [`Demo::start`] brings up one placement, the storage nodes and three gateways, in that order, each exactly as its own
//! binary would: they talk over gRPC on the loopback interface, sync their logs and know nothing of each other's memory.
//! It returns when the cluster serves, which [`ready`] finds out as a client would, and [`Demo::shutdown`] takes
//! everything down from the front to the back, leaders handed over.
//!
//! What one directory holds is written down in it ([`layout`]), so that a second start needs no flags and cannot take a
//! cluster of three nodes for one of one.
//!
//! Left out: anything that a real deployment gets from several machines. One process is one failure.

pub mod layout;
pub mod ports;
pub mod ready;
mod start;

pub use layout::{Layout, LayoutError};
pub use ports::Ports;
pub use start::{Demo, DemoConfig, DemoError, GATEWAYS};
