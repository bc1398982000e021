//! The gRPC door of a storage node: gateways ([`serve`]), the placement ([`replicas`]) and, through
//! `raft::transport`, the other nodes. [`convert`] keeps junk out.

pub mod convert;
pub mod replicas;
pub mod serve;
