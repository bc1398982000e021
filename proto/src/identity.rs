//! Identities on the wire. An id of zero is one that was not set.

use keyspace::{GroupId, NodeId, RangeId, ReplicaId, RequestId, TransactionId, Version};

use crate::WireError;
use crate::wire;

impl From<Version> for wire::VersionStamp {
    fn from(version: Version) -> Self {
        Self { e: version.e, s: version.s }
    }
}

impl From<wire::VersionStamp> for Version {
    fn from(stamp: wire::VersionStamp) -> Self {
        Self { e: stamp.e, s: stamp.s }
    }
}

/// The name of a request: the incarnation of the batch that carries it, and its own sequence.
pub fn request_id(batch_incarnation: u64, exec: &wire::Exec) -> Result<RequestId, WireError> {
    let incarnation = present("RequestBatch", "incarnation", batch_incarnation)?;
    let sequence = present("Exec", "sequence", exec.sequence)?;
    Ok(RequestId { incarnation, sequence })
}

impl From<TransactionId> for wire::TransactionId {
    fn from(txn: TransactionId) -> Self {
        let RequestId { incarnation, sequence } = txn.request;
        Self { incarnation, sequence, attempt: txn.attempt }
    }
}

impl TryFrom<wire::TransactionId> for TransactionId {
    type Error = WireError;

    fn try_from(txn: wire::TransactionId) -> Result<Self, WireError> {
        let incarnation = present("TransactionId", "incarnation", txn.incarnation)?;
        let sequence = present("TransactionId", "sequence", txn.sequence)?;
        present("TransactionId", "attempt", u64::from(txn.attempt))?;
        Ok(Self { request: RequestId { incarnation, sequence }, attempt: txn.attempt })
    }
}

/// A group id that must be set; `message` is named in the error.
pub fn group_id(message: &'static str, id: u64) -> Result<GroupId, WireError> {
    present(message, "group_id", id).map(GroupId)
}

/// A node id that must be set; `message` is named in the error.
pub fn node_id(message: &'static str, id: u64) -> Result<NodeId, WireError> {
    present(message, "node_id", id).map(NodeId)
}

/// A replica id that must be set; `message` is named in the error.
pub fn replica_id(message: &'static str, id: u64) -> Result<ReplicaId, WireError> {
    present(message, "replica_id", id).map(ReplicaId)
}

/// A range id that must be set; `message` is named in the error.
pub fn range_id(message: &'static str, id: u64) -> Result<RangeId, WireError> {
    present(message, "range_id", id).map(RangeId)
}

/// `None` for the zero that means "not known".
pub fn known_node(id: u64) -> Option<NodeId> {
    (id != 0).then_some(NodeId(id))
}

/// Refuses zero.
pub(crate) fn present(message: &'static str, field: &'static str, value: u64) -> Result<u64, WireError> {
    if value == 0 { Err(WireError::Missing { message, field }) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_a_name_is_refused() {
        let exec = |sequence| wire::Exec { sequence, ..Default::default() };
        assert_eq!(request_id(7, &exec(1)), Ok(RequestId { incarnation: 7, sequence: 1 }));
        assert_eq!(request_id(0, &exec(1)), Err(WireError::Missing { message: "RequestBatch", field: "incarnation" }));
        assert_eq!(request_id(7, &exec(0)), Err(WireError::Missing { message: "Exec", field: "sequence" }));
    }

    #[test]
    fn zero_is_no_id() {
        assert_eq!(group_id("Request", 3), Ok(GroupId(3)));
        assert_eq!(group_id("Request", 0), Err(WireError::Missing { message: "Request", field: "group_id" }));
        assert_eq!((known_node(0), known_node(2)), (None, Some(NodeId(2))));
    }

    #[test]
    fn versions_keep_both_parts() {
        let version = Version { e: u64::MAX, s: 1 };
        assert_eq!(Version::from(wire::VersionStamp::from(version)), version);
    }
}
