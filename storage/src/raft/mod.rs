//! Adapters between openraft and this node: types, the shared log, the wire, snapshots.

pub mod log;
pub mod snapshot;
pub mod transport;
pub mod types;
