//! The contract between the tiers.
//!
//! [`wire`] is generated from the `.proto` files in `proto/proto`. Wire types stop at the door of a tier: [`route`]
//! and its neighbours turn them into the types of `keyspace` and refuse junk.

/// Generated messages, clients and servers.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod wire {
    tonic::include_proto!("elastickv");

    /// The compiled descriptors, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("elastickv");
}
