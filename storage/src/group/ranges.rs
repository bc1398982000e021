//! The range table: which keys this group serves, as replicated state of the group.
//!
//! It is checked when a request is evaluated and asserted when an entry is applied; the catalog of the placement is an
//! index of it, built from reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use keyspace::layout::redis_db;
use keyspace::{Epoch, GroupId, KeyRange, RangeId, RangeState, Route, Version};
use planted::Fault;
use proto::wire;

use super::state::StateError;

/// A range of this group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRange {
    /// Identity, keys, epoch and state.
    pub route: Route,
    /// Redis database → version at or below which its records are dead.
    flushed: BTreeMap<u8, Version>,
}

impl OwnedRange {
    /// A range that was never flushed.
    pub fn new(route: Route) -> Self {
        Self { route, flushed: BTreeMap::new() }
    }

    /// The version at or below which records of this database are dead.
    pub fn flush_mark(&self, db: u8) -> Version {
        self.flushed.get(&db).copied().unwrap_or(Version::MIN)
    }
}

/// All ranges of a group, ordered by start. Invariant: no two overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeTable {
    ranges: Arc<Vec<OwnedRange>>,
}

impl RangeTable {
    /// Orders the ranges.
    ///
    /// # Panics
    /// If two overlap: at most one range serves a key (I1).
    pub fn new(mut ranges: Vec<OwnedRange>) -> Self {
        ranges.sort_by(|a, b| a.route.range.start().cmp(b.route.range.start()));
        for pair in ranges.windows(2) {
            let (left, right) = (&pair[0].route, &pair[1].route);
            assert!(
                left.range.intersect(&right.range).is_none(),
                "I1: ranges {} and {} overlap",
                left.range_id,
                right.range_id
            );
        }
        Self { ranges: Arc::new(ranges) }
    }

    /// All keys in one range, with id 1.
    #[cfg(test)]
    pub fn of_everything(group: GroupId) -> Self {
        Self::new(vec![OwnedRange::new(Route {
            range_id: RangeId(1),
            range: KeyRange::all(),
            group,
            epoch: Epoch(1),
            state: RangeState::Active,
            parent: RangeId(0),
        })])
    }

    /// Whether the group owns nothing yet.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// In order of their start.
    pub fn iter(&self) -> impl Iterator<Item = &OwnedRange> {
        self.ranges.iter()
    }

    /// The range with this identity.
    pub fn find(&self, range_id: RangeId) -> Option<&OwnedRange> {
        self.ranges.iter().find(|owned| owned.route.range_id == range_id)
    }

    /// The range that holds a key.
    pub fn lookup(&self, key: &[u8]) -> Option<&OwnedRange> {
        let above = self.ranges.partition_point(|owned| **owned.route.range.start() <= *key);
        self.ranges[..above].last().filter(|owned| owned.route.range.contains(key))
    }

    /// Whether a record of this key and version was removed by a flush.
    pub fn is_flushed(&self, key: &[u8], version: Version) -> bool {
        let Some(db) = redis_db(key) else { return false };
        self.lookup(key).is_some_and(|owned| version <= owned.flush_mark(db))
    }

    /// Whether some range has been flushed at all: scans skip the check otherwise.
    pub fn has_flush_marks(&self) -> bool {
        self.ranges.iter().any(|owned| !owned.flushed.is_empty())
    }

    /// All routes of the group.
    pub fn routes(&self) -> Vec<Route> {
        self.ranges.iter().map(|owned| owned.route.clone()).collect()
    }

    /// The table behind a flush of `db`, or of all databases, in one range.
    pub fn flush(&self, range_id: RangeId, db: Option<u8>, mark: Version) -> Self {
        let mut ranges = Vec::clone(&self.ranges);
        for owned in ranges.iter_mut().filter(|owned| owned.route.range_id == range_id) {
            let databases = db.map_or(0..keyspace::layout::REDIS_DATABASES, |db| db..db + 1);
            for db in databases {
                let known = owned.flushed.entry(db).or_insert(mark);
                *known = mark.max(*known);
            }
        }
        Self { ranges: Arc::new(ranges) }
    }

    /// The table behind a change of ranges.
    ///
    /// # Panics
    /// If a removed range is not here at that epoch, or an added one overlaps: evaluation has checked both.
    pub fn change(&self, removed: &[(RangeId, Epoch)], added: Vec<OwnedRange>) -> Self {
        for (range_id, epoch) in removed {
            let known = self.find(*range_id).map(|owned| owned.route.epoch);
            assert_eq!(known, Some(*epoch), "range {range_id} is not at the epoch of the change");
        }
        let kept = self.ranges.iter().filter(|owned| !removed.iter().any(|(id, _)| *id == owned.route.range_id));
        Self::new(kept.cloned().chain(added).collect())
    }

    /// The two halves of a range, each with its flush marks and the next epoch.
    pub fn halves(&self, range_id: RangeId, at: &Bytes, left: RangeId, right: RangeId) -> Option<[OwnedRange; 2]> {
        let owned = self.find(range_id)?;
        let (left_keys, right_keys) = owned.route.range.split_at(at)?;
        let half = |range_id, range: KeyRange| OwnedRange {
            route: Route {
                range_id,
                range,
                epoch: Epoch(owned.route.epoch.0 + u64::from(!planted::is_on(Fault::SplitKeepsEpoch))),
                parent: owned.route.range_id,
                ..owned.route.clone()
            },
            flushed: owned.flushed.clone(),
        };
        Some([half(left, left_keys), half(right, right_keys)])
    }
}

/// Wire and disk form of a range.
pub fn to_wire(owned: &OwnedRange) -> wire::OwnedRange {
    let (state, moved_to_group) = match owned.route.state {
        RangeState::Importing => (wire::RangeState::Importing, 0),
        RangeState::Active => (wire::RangeState::Active, 0),
        RangeState::Exporting => (wire::RangeState::Exporting, 0),
        RangeState::Fenced => (wire::RangeState::Fenced, 0),
        RangeState::Moved(to) => (wire::RangeState::Moved, to.0),
    };
    wire::OwnedRange {
        range_id: owned.route.range_id.0,
        start: owned.route.range.start().clone(),
        end: owned.route.range.end().cloned().unwrap_or_default(),
        epoch: owned.route.epoch.0,
        state: state as u32,
        moved_to_group,
        parent_range_id: owned.route.parent.0,
        flush_marks: owned
            .flushed
            .iter()
            .map(|(db, mark)| wire::FlushMark {
                range_id: owned.route.range_id.0,
                db: u32::from(*db),
                all_databases: false,
                version_e: mark.e,
                version_s: mark.s,
            })
            .collect(),
    }
}

/// Inverse of [`to_wire`], for a range of `group`.
pub fn from_wire(group: GroupId, wire: wire::OwnedRange) -> Result<OwnedRange, StateError> {
    let junk = |what: &str| StateError::Junk(format!("range {}: {what}", wire.range_id));
    let end = (!wire.end.is_empty()).then(|| wire.end.clone());
    let range = KeyRange::new(wire.start.clone(), end).ok_or_else(|| junk("empty interval"))?;
    let state = i32::try_from(wire.state).ok().and_then(|state| wire::RangeState::try_from(state).ok());
    let state = match state {
        Some(wire::RangeState::Importing) => RangeState::Importing,
        Some(wire::RangeState::Active) => RangeState::Active,
        Some(wire::RangeState::Exporting) => RangeState::Exporting,
        Some(wire::RangeState::Fenced) => RangeState::Fenced,
        Some(wire::RangeState::Moved) => RangeState::Moved(GroupId(wire.moved_to_group)),
        Some(wire::RangeState::Unspecified) | None => return Err(junk("unknown state")),
    };
    let mut flushed = BTreeMap::new();
    for mark in &wire.flush_marks {
        let db = u8::try_from(mark.db).map_err(|_| junk("flush mark of an unknown database"))?;
        flushed.insert(db, Version { e: mark.version_e, s: mark.version_s });
    }
    let route = Route {
        range_id: RangeId(wire.range_id),
        range,
        group,
        epoch: Epoch(wire.epoch),
        state,
        parent: RangeId(wire.parent_range_id),
    };
    Ok(OwnedRange { route, flushed })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use keyspace::layout;

    use super::*;

    fn owned(id: u64, start: &'static [u8], end: Option<&'static [u8]>) -> OwnedRange {
        OwnedRange::new(Route {
            range_id: RangeId(id),
            range: KeyRange::new(start, end.map(Bytes::from_static)).unwrap(),
            group: GroupId(1),
            epoch: Epoch(3),
            state: RangeState::Active,
            parent: RangeId(0),
        })
    }

    #[test]
    fn a_split_hands_epoch_and_flush_marks_on() {
        let table = RangeTable::new(vec![owned(1, b"r", Some(b"s"))]);
        let mark = Version { e: 2, s: 8 };
        let table = table.flush(RangeId(1), Some(4), mark);
        let middle = Bytes::from(layout::redis_slot(8000));
        let halves = table.halves(RangeId(1), &middle, RangeId(2), RangeId(3)).unwrap();
        let table = table.change(&[(RangeId(1), Epoch(3))], halves.to_vec());

        let key = layout::redis_meta(4, b"some key");
        let found = table.lookup(&key).unwrap();
        assert_eq!((found.route.epoch, found.route.parent), (Epoch(4), RangeId(1)));
        assert!(table.is_flushed(&key, mark));
        assert!(!table.is_flushed(&key, Version { e: 2, s: 9 }));
        assert!(!table.is_flushed(&layout::redis_meta(5, b"some key"), mark), "another database");
        for owned in table.iter() {
            assert_eq!(from_wire(GroupId(1), to_wire(owned)).unwrap(), *owned);
        }
    }

    #[test]
    fn lookups_respect_gaps_between_ranges() {
        let table = RangeTable::new(vec![owned(2, b"m", Some(b"p")), owned(1, b"a", Some(b"c"))]);
        let at = |key: &[u8]| table.lookup(key).map(|owned| owned.route.range_id.0);
        assert_eq!([at(b"a"), at(b"c"), at(b"m"), at(b"p"), at(b"")], [Some(1), None, Some(2), None, None]);
    }

    #[test]
    #[should_panic(expected = "I1")]
    fn two_ranges_never_claim_one_key() {
        RangeTable::new(vec![owned(1, b"a", Some(b"d")), owned(2, b"c", None)]);
    }

    #[test]
    #[should_panic(expected = "epoch of the change")]
    fn a_change_built_on_another_epoch_is_a_bug() {
        RangeTable::new(vec![owned(1, b"a", None)]).change(&[(RangeId(1), Epoch(2))], vec![]);
    }
}
