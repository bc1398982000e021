//! Identities. A number that names a thing has a type of its own, so that a group is never mistaken for a node.
//!
//! All are allocated by the placement and never reused; the one exception is [`RequestId`], which a gateway makes up.

use std::fmt;

/// Declares a transparent integer identity with the few conversions that the wire and the catalog need.
macro_rules! identity {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$int> for $name {
            fn from(id: $int) -> Self {
                Self(id)
            }
        }

        impl From<$name> for $int {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

identity!(
    /// A storage process together with its disk. A wiped disk is a new node.
    NodeId(u64)
);
identity!(
    /// A Raft group.
    GroupId(u64)
);
identity!(
    /// A member of one Raft group on one node. Never reused within its group (PROTOCOL: replica ids).
    ReplicaId(u64)
);
identity!(
    /// A half-open interval of the keyspace that one group serves. `route_id` on the public API.
    RangeId(u64)
);
identity!(
    /// How often the ownership or the boundary of a key's range has changed. Strictly grows for every key (I2).
    Epoch(u64)
);
identity!(
    /// A DynamoDB table or global secondary index.
    TableId(u32)
);

/// The version of a record: `e` is the largest oracle value that its group had seen, `s` a counter of the group.
///
/// Versions of one key strictly grow (I6). On disk they are stored inverted, so that the newest comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Largest value of the timestamp oracle that the group had seen.
    pub e: u64,
    /// Counter of the group.
    pub s: u64,
}

impl Version {
    /// Older than every record.
    pub const MIN: Version = Version { e: 0, s: 0 };
    /// Newer than every record.
    pub const MAX: Version = Version { e: u64::MAX, s: u64::MAX };
    /// Bytes of [`Version::to_inverted`].
    pub const ENCODED_LEN: usize = 16;

    /// Big-endian complement: byte order is newest first.
    pub fn to_inverted(self) -> [u8; Self::ENCODED_LEN] {
        let number = (u128::from(self.e) << 64) | u128::from(self.s);
        (!number).to_be_bytes()
    }

    /// Inverse of [`Version::to_inverted`].
    pub fn from_inverted(bytes: [u8; Self::ENCODED_LEN]) -> Self {
        let number = !u128::from_be_bytes(bytes);
        // The upper and lower halves are exactly 64 bits each.
        Self { e: (number >> 64) as u64, s: number as u64 }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.e, self.s)
    }
}

/// The name under which a request is executed at most once, however often it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// Random number that a gateway draws when it starts.
    pub incarnation: u64,
    /// Counts that gateway's requests from 1.
    pub sequence: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}/{}", self.incarnation, self.sequence)
    }
}

/// The name of a transaction: one attempt of one coordinator to execute a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId {
    /// What it executes.
    pub request: RequestId,
    /// Counts the attempts from 1.
    pub attempt: u32,
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.request, self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn identities_print_as_operators_write_them() {
        assert_eq!(Version { e: 7, s: 3 }.to_string(), "7.3");
        assert_eq!(RequestId { incarnation: 255, sequence: 9 }.to_string(), "00000000000000ff/9");
        let request = RequestId { incarnation: 1, sequence: 9 };
        assert_eq!(TransactionId { request, attempt: 2 }.to_string(), "0000000000000001/9#2");
        assert_eq!(NodeId(4).to_string(), "4");
    }

    proptest! {
        #[test]
        fn inverted_versions_round_trip_and_sort_newest_first(a: (u64, u64), b: (u64, u64)) {
            let (a, b) = (Version { e: a.0, s: a.1 }, Version { e: b.0, s: b.1 });
            prop_assert_eq!(Version::from_inverted(a.to_inverted()), a);
            prop_assert_eq!(a.to_inverted().cmp(&b.to_inverted()), b.cmp(&a));
        }
    }
}
