//! The replicated state of a group beside its data: what the last applied entry left behind.
//!
//! The head changes with every entry and is written in the same engine batch as the entry's changes, so an engine
//! snapshot always holds data and head of one moment. [`Views::open`] reads both from one snapshot.

use std::sync::Arc;

use keyspace::{GroupId, Version};
use parking_lot::Mutex;
use prost::Message;
use proto::wire;
use thiserror::Error;

use super::chain::Link;
use super::keys::GroupKeys;
use super::ranges::{self, RangeTable};
use crate::engine::{Engine, EngineError, Snapshot};

/// Version of the durable formats in `group.proto` that this code writes.
pub const FORMAT: u32 = 1;

/// Why group state cannot be read.
#[derive(Clone, Debug, Error)]
pub enum StateError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A record does not decode.
    #[error("group state: {0}")]
    Junk(String),
    /// Written by a newer release.
    #[error("group state has format {found}, this release knows up to {FORMAT}: start the release that wrote it")]
    UnknownFormat {
        /// The format found.
        found: u32,
    },
}

/// What every entry changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Term and index of the last applied entry.
    pub applied: Option<(u64, u64)>,
    /// The entry last taken by the chain.
    pub chain: Link,
    /// The group's clock: the newest version given out.
    pub clock: Version,
    /// The group's time, milliseconds since 1970; only forward. Expiry is judged against it alone.
    pub now_ms: u64,
    /// Applied index of the last change of the range table.
    pub ranges_index: u64,
    /// Versions below this oracle value may be gone.
    pub safe_point_e: u64,
    /// Units with locks. Zero: readers need not look for any.
    pub locks_held: u64,
}

impl Head {
    /// Disk form.
    pub fn encode(&self) -> Vec<u8> {
        let (applied_term, applied_index) = self.applied.unwrap_or_default();
        wire::GroupHead {
            format: FORMAT,
            applied_term,
            applied_index,
            chain_term: self.chain.term,
            chain_run: self.chain.run,
            chain_n: self.chain.n,
            clock_e: self.clock.e,
            clock_s: self.clock.s,
            now_ms: self.now_ms,
            ranges_index: self.ranges_index,
            safe_point_e: self.safe_point_e,
            feature_level: 0,
            locks_held: self.locks_held,
        }
        .encode_to_vec()
    }

    /// Inverse of [`Head::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let wire = wire::GroupHead::decode(bytes).map_err(|error| StateError::Junk(error.to_string()))?;
        if wire.format != FORMAT {
            return Err(StateError::UnknownFormat { found: wire.format });
        }
        // Index 0 is a real entry (the founding membership), always of term 0.
        Ok(Self {
            applied: Some((wire.applied_term, wire.applied_index)),
            chain: Link { term: wire.chain_term, run: wire.chain_run, n: wire.chain_n },
            clock: Version { e: wire.clock_e, s: wire.clock_s },
            now_ms: wire.now_ms,
            ranges_index: wire.ranges_index,
            safe_point_e: wire.safe_point_e,
            locks_held: wire.locks_held,
        })
    }
}

/// Disk form of a range table.
pub fn encode_ranges(table: &RangeTable) -> Vec<u8> {
    wire::GroupRanges { ranges: table.iter().map(ranges::to_wire).collect() }.encode_to_vec()
}

fn decode_ranges(group: GroupId, bytes: &[u8]) -> Result<RangeTable, StateError> {
    let wire = wire::GroupRanges::decode(bytes).map_err(|error| StateError::Junk(error.to_string()))?;
    let ranges: Result<Vec<_>, _> = wire.ranges.into_iter().map(|range| ranges::from_wire(group, range)).collect();
    Ok(RangeTable::new(ranges?))
}

/// Data and state of a group at one moment.
#[derive(Clone)]
pub struct GroupView {
    /// The data.
    pub snapshot: Arc<dyn Snapshot>,
    /// State that every entry changes.
    pub head: Head,
    /// What the group owns.
    pub ranges: RangeTable,
}

/// Opens views of one group; remembers the range table between changes.
pub struct Views {
    engine: Arc<dyn Engine>,
    group: GroupId,
    /// The table as of its `ranges_index`.
    known: Mutex<Option<(u64, RangeTable)>>,
}

impl Views {
    /// Over the data engine of the node.
    pub fn new(engine: Arc<dyn Engine>, group: GroupId) -> Self {
        Self { engine, group, known: Mutex::new(None) }
    }

    /// The group's state now.
    pub fn open(&self) -> Result<GroupView, StateError> {
        self.of_snapshot(self.engine.snapshot())
    }

    fn of_snapshot(&self, snapshot: Arc<dyn Snapshot>) -> Result<GroupView, StateError> {
        let keys = GroupKeys::new(self.group);
        let head = match snapshot.get(&keys.head())? {
            Some(bytes) => Head::decode(&bytes)?,
            None => Head::default(),
        };
        let remembered = self.known.lock().as_ref().filter(|(index, _)| *index == head.ranges_index).cloned();
        let ranges = match remembered {
            Some((_, table)) => table,
            None => {
                let table = match snapshot.get(&keys.ranges())? {
                    Some(bytes) => decode_ranges(self.group, &bytes)?,
                    None => RangeTable::default(),
                };
                *self.known.lock() = Some((head.ranges_index, table.clone()));
                table
            }
        };
        Ok(GroupView { snapshot, head, ranges })
    }

    /// Forgets the remembered range table: the data was replaced by a snapshot of another replica.
    pub fn forget(&self) {
        *self.known.lock() = None;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_head_survives_its_disk_form_and_newer_formats_are_refused() {
        let head = Head {
            applied: Some((3, 99)),
            chain: Link { term: 3, run: 2, n: 1 },
            clock: Version { e: 8, s: 70 },
            now_ms: 1_700_000_000_000,
            ranges_index: 12,
            safe_point_e: 4,
            locks_held: 3,
        };
        assert_eq!(Head::decode(&head.encode()).unwrap(), head);
        let newer = wire::GroupHead { format: FORMAT + 1, ..Default::default() }.encode_to_vec();
        assert!(matches!(Head::decode(&newer), Err(StateError::UnknownFormat { found: 2 })));
        assert!(matches!(Head::decode(b"\xff junk"), Err(StateError::Junk(_))));
    }
}
