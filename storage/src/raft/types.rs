//! The types that openraft is built from here. Every openraft type goes through an alias of this module, so that a
//! new version of it touches one place.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Where a replica lives. The address is a hint that the placement keeps fresh; the node id never changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerNode {
    /// The storage node.
    pub node_id: u64,
    /// host:port at the time of the membership change.
    pub address: String,
}

impl fmt::Display for PeerNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} at {}", self.node_id, self.address)
    }
}

/// An encoded group entry: encoded once by the leader, decoded by apply (see `group::entry`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload(pub Bytes);

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What apply did with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    /// It took effect.
    Taken,
    /// It did not follow the last taken one of its chain, so it had no effect on any replica (PROTOCOL: chained
    /// batches, I14).
    Skipped,
}

openraft::declare_raft_types!(
    /// Elastickv's choices of openraft's types. A node id of openraft is a replica id of ours: never reused.
    pub TypeConfig:
        D = Payload,
        R = Applied,
        NodeId = u64,
        Node = PeerNode,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
);

/// One entry of a group's Raft log.
pub type Entry = openraft::alias::EntryOf<TypeConfig>;
/// Term and index of an entry.
pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
/// A vote, granted or asked for.
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
/// The members of a group and the entry that set them.
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
