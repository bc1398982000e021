//! What is proposed and not yet applied: the executor evaluates over this, on top of the engine.
//!
//! An entry leaves the overlay only when its batch has been applied, and only before the executor opens its next engine
//! snapshot: a key is always found in one of the two. Entries of the overlay are newer than anything in the engine.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use keyspace::{KeyRange, Version};

/// A pending write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its version.
    pub version: Version,
    /// `None`: deleted.
    pub value: Option<Bytes>,
    /// Number of the batch that carries it.
    batch: u64,
}

/// Pending writes by key, newest only.
#[derive(Debug, Default)]
pub struct Overlay {
    writes: BTreeMap<Bytes, Pending>,
    /// Keys written by each batch, oldest first, to find what to prune.
    batches: VecDeque<(u64, Vec<Bytes>)>,
}

impl Overlay {
    /// Adds a write of batch `batch`; batches only rise.
    pub fn put(&mut self, batch: u64, key: Bytes, version: Version, value: Option<Bytes>) {
        match self.batches.back_mut() {
            Some((newest, keys)) if *newest == batch => keys.push(key.clone()),
            newest => {
                assert!(newest.is_none_or(|(newest, _)| *newest < batch), "batches only rise");
                self.batches.push_back((batch, vec![key.clone()]));
            }
        }
        let previous = self.writes.insert(key, Pending { version, value, batch });
        debug_assert!(previous.is_none_or(|previous| previous.version <= version), "I6: versions of a key grow");
    }

    /// The pending write of a key.
    pub fn get(&self, key: &[u8]) -> Option<&Pending> {
        self.writes.get(key)
    }

    /// Pending writes of an interval, in order.
    pub fn range(&self, range: &KeyRange) -> impl DoubleEndedIterator<Item = (&Bytes, &Pending)> {
        self.writes.range(range.bounds())
    }

    /// Drops what batches up to `applied` have brought to the engine.
    pub fn prune(&mut self, applied: u64) {
        while let Some((batch, keys)) = self.batches.pop_front_if(|(batch, _)| *batch <= applied) {
            for key in keys {
                if self.writes.get(&key).is_some_and(|pending| pending.batch == batch) {
                    self.writes.remove(&key);
                }
            }
        }
    }

    /// Drops everything: the batches behind it never took effect.
    pub fn clear(&mut self) {
        self.writes.clear();
        self.batches.clear();
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(s: u64) -> Version {
        Version { e: 0, s }
    }

    #[test]
    fn a_key_written_again_stays_until_its_last_batch_is_applied() {
        let mut overlay = Overlay::default();
        let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        overlay.put(1, a.clone(), version(1), Some("1".into()));
        overlay.put(1, b.clone(), version(2), None);
        overlay.put(2, a.clone(), version(3), Some("2".into()));
        overlay.prune(1);
        assert_eq!(overlay.get(b"a").map(|pending| pending.version), Some(version(3)));
        assert_eq!(overlay.get(b"b"), None);
        overlay.prune(2);
        assert!(overlay.is_empty());
    }
}
