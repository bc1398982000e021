//! The contract between the tiers.
//!
//! [`wire`] is generated from the `.proto` files in `proto/proto`. Wire types stop at the door of a tier: the other
//! modules turn them into the types of `keyspace` and refuse junk ([`WireError`]), so that inside everything is valid.
//!
//! - [`identity`]: versions, request ids and the ids that must not be zero,
//! - [`route`]: ranges as replicas report them and as the public API shows them, snapshots and deltas of the catalog,
//! - [`refusal`]: the closed set of reasons for which a group does not answer a request, and which of them to retry,
//! - [`transaction`]: what groups say of transactions and their locks,
//! - [`status`]: the typed detail that rides on every gRPC error,
//! - [`connect`]: what connections between the tiers are opened over.
//!
//! Commands and their answers are not here: what they mean is known to the tiers that evaluate and parse them.

pub mod connect;
pub mod identity;
pub mod refusal;
pub mod route;
pub mod status;
pub mod transaction;
mod wire_error;

pub use connect::Dialer;
pub use refusal::{NotExecutedReason, Refusal};
pub use status::{Fault, FaultCode};
pub use transaction::{Participant, SeenLock, TransactionState, TransactionStatus};
pub use wire_error::WireError;

/// Generated messages, clients and servers.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod wire {
    tonic::include_proto!("elastickv");

    /// The compiled descriptors, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("elastickv");
}
