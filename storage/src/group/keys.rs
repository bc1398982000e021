//! Where a group keeps what, in the data engine.
//!
//! Everything of a group lies under its id, so one prefix is one snapshot, and everything of a lock unit lies under
//! the unit's key within its class, so a range of keys is one interval in each class.
//!
//! | class | key behind `group · class` | value |
//! | --- | --- | --- |
//! | 0x01 state | name of the record | group state, see `state` |
//! | 0x02 data | encoded key · inverted version | tag · value |
//! | 0x03 lock | unit | who holds it |
//! | 0x04 dedup | number of the batch | the requests that took effect in it, with their replies |
//! | 0x05 floor | incarnation | gateway floor |
//! | 0x06 transaction | anchor · incarnation · sequence · attempt | its record |

use bytes::Bytes;
use keyspace::{GroupId, RequestId, TransactionId, Version};

const CLASS_STATE: u8 = 0x01;
const CLASS_DATA: u8 = 0x02;
const CLASS_LOCK: u8 = 0x03;
const CLASS_DEDUP: u8 = 0x04;
const CLASS_FLOOR: u8 = 0x05;
const CLASS_TRANSACTION: u8 = 0x06;
const CLASS_END: u8 = 0xFF;

const PREFIX_LEN: usize = 9;

/// The keys of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupKeys {
    group: GroupId,
}

impl GroupKeys {
    /// Of this group.
    pub fn new(group: GroupId) -> Self {
        Self { group }
    }

    fn class(self, class: u8, capacity: usize) -> Vec<u8> {
        let mut key = Vec::with_capacity(PREFIX_LEN + capacity);
        key.extend_from_slice(&self.group.0.to_be_bytes());
        key.push(class);
        key
    }

    /// First and end of everything of the group.
    pub fn all(self) -> (Vec<u8>, Vec<u8>) {
        (self.class(0, 0), self.class(CLASS_END, 0))
    }

    /// The head: applied log id, chain, clock.
    pub fn head(self) -> Vec<u8> {
        let mut key = self.class(CLASS_STATE, 4);
        key.extend_from_slice(b"head");
        key
    }

    /// The range table.
    pub fn ranges(self) -> Vec<u8> {
        let mut key = self.class(CLASS_STATE, 6);
        key.extend_from_slice(b"ranges");
        key
    }

    /// The last applied membership.
    pub fn membership(self) -> Vec<u8> {
        let mut key = self.class(CLASS_STATE, 10);
        key.extend_from_slice(b"membership");
        key
    }

    /// One version of a record.
    pub fn data(self, key: &[u8], version: Version) -> Vec<u8> {
        let mut out = self.data_prefix(key);
        out.extend_from_slice(&version.to_inverted());
        out
    }

    /// What all versions of a record begin with.
    pub fn data_prefix(self, key: &[u8]) -> Vec<u8> {
        let mut out = self.class(CLASS_DATA, key.len() + Version::ENCODED_LEN);
        out.extend_from_slice(key);
        out
    }

    /// First and end of all data.
    pub fn all_data(self) -> (Vec<u8>, Vec<u8>) {
        (self.class(CLASS_DATA, 0), self.class(CLASS_DATA + 1, 0))
    }

    /// Takes a data key of this group apart.
    pub fn split_data(engine_key: &[u8]) -> Option<(&[u8], Version)> {
        let body = engine_key.get(PREFIX_LEN..)?;
        let (key, version) = body.split_last_chunk::<{ Version::ENCODED_LEN }>()?;
        Some((key, Version::from_inverted(*version)))
    }

    /// The locks of a unit.
    pub fn lock(self, unit: &[u8]) -> Vec<u8> {
        let mut out = self.class(CLASS_LOCK, unit.len());
        out.extend_from_slice(unit);
        out
    }

    /// First and end of all locks.
    pub fn all_locks(self) -> (Vec<u8>, Vec<u8>) {
        (self.class(CLASS_LOCK, 0), self.class(CLASS_LOCK + 1, 0))
    }

    /// The unit whose locks stand under this key.
    pub fn split_lock(engine_key: &[u8]) -> &[u8] {
        engine_key.get(PREFIX_LEN..).unwrap_or_default()
    }

    /// The record of a transaction.
    pub fn transaction(self, anchor: &[u8], txn: TransactionId) -> Vec<u8> {
        let mut out = self.class(CLASS_TRANSACTION, anchor.len() + 20);
        out.extend_from_slice(anchor);
        out.extend_from_slice(&txn.request.incarnation.to_be_bytes());
        out.extend_from_slice(&txn.request.sequence.to_be_bytes());
        out.extend_from_slice(&txn.attempt.to_be_bytes());
        out
    }

    /// First and end of all records of transactions.
    pub fn all_transactions(self) -> (Vec<u8>, Vec<u8>) {
        (self.class(CLASS_TRANSACTION, 0), self.class(CLASS_TRANSACTION + 1, 0))
    }

    /// Takes the key of a transaction's record apart.
    pub fn split_transaction(engine_key: &[u8]) -> Option<(Bytes, TransactionId)> {
        let body = engine_key.get(PREFIX_LEN..)?;
        let (rest, attempt) = body.split_last_chunk::<4>()?;
        let (rest, sequence) = rest.split_last_chunk::<8>()?;
        let (anchor, incarnation) = rest.split_last_chunk::<8>()?;
        let request =
            RequestId { incarnation: u64::from_be_bytes(*incarnation), sequence: u64::from_be_bytes(*sequence) };
        let txn = TransactionId { request, attempt: u32::from_be_bytes(*attempt) };
        Some((Bytes::copy_from_slice(anchor), txn))
    }

    /// The stored replies of one batch.
    pub fn dedup(self, batch: u64) -> Vec<u8> {
        let mut out = self.class(CLASS_DEDUP, 8);
        out.extend_from_slice(&batch.to_be_bytes());
        out
    }

    /// First and end of all stored replies.
    pub fn all_dedup(self) -> (Vec<u8>, Vec<u8>) {
        (self.class(CLASS_DEDUP, 0), self.class(CLASS_DEDUP + 1, 0))
    }

    /// The batch whose replies stand under this key.
    pub fn split_dedup(engine_key: &[u8]) -> Option<u64> {
        let batch = engine_key.get(PREFIX_LEN..)?.try_into().ok()?;
        Some(u64::from_be_bytes(batch))
    }

    /// The floor of a gateway.
    pub fn floor(self, incarnation: u64) -> Vec<u8> {
        let mut out = self.class(CLASS_FLOOR, 8);
        out.extend_from_slice(&incarnation.to_be_bytes());
        out
    }

    /// First and end of all floors.
    pub fn all_floors(self) -> (Vec<u8>, Vec<u8>) {
        (self.class(CLASS_FLOOR, 0), self.class(CLASS_FLOOR + 1, 0))
    }
}

const TOMBSTONE: u8 = 0;
const VALUE: u8 = 1;

/// Stored form of a record version.
pub fn encode_value(value: Option<&[u8]>) -> Vec<u8> {
    match value {
        None => vec![TOMBSTONE],
        Some(value) => {
            let mut out = Vec::with_capacity(value.len() + 1);
            out.push(VALUE);
            out.extend_from_slice(value);
            out
        }
    }
}

/// Inverse of [`encode_value`]; the outer `None` is junk.
pub fn decode_value(stored: &[u8]) -> Option<Option<&[u8]>> {
    match stored {
        [TOMBSTONE] => Some(None),
        [VALUE, value @ ..] => Some(Some(value)),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn newer_versions_sort_first_and_come_apart_again() {
        let keys = GroupKeys::new(GroupId(7));
        let old = keys.data(b"key", Version { e: 4, s: 9 });
        let new = keys.data(b"key", Version { e: 4, s: 10 });
        assert!(new < old);
        assert!(keys.data(b"key", Version { e: 6, s: 0 }) < new);
        assert_eq!(GroupKeys::split_data(&new).unwrap(), (b"key".as_slice(), Version { e: 4, s: 10 }));

        assert_eq!(GroupKeys::split_dedup(&keys.dedup(300)), Some(300));
        assert_eq!(GroupKeys::split_dedup(b"short"), None);
        assert_eq!(GroupKeys::split_lock(&keys.lock(b"unit")), b"unit");
        let txn = TransactionId { request: RequestId { incarnation: 1, sequence: 2 }, attempt: 3 };
        let record = keys.transaction(b"anchor", txn);
        assert_eq!(GroupKeys::split_transaction(&record), Some((Bytes::from("anchor"), txn)));
        assert_eq!(GroupKeys::split_transaction(b"short"), None);
    }
}
