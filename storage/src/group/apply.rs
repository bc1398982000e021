//! Applying entries: mechanical, the same on every replica, without clock, randomness or command semantics.
//!
//! An entry is taken or skipped by its place in the chain alone. What a taken entry relied on was checked when it was
//! evaluated; here it is asserted, and a violation stops the group rather than let replicas serve what is wrong.

use bytes::Bytes;
use keyspace::{Epoch, GroupId, RangeId, Version};
use planted::Fault;
use prost::Message;
use proto::wire;

use super::chain::Link;
use super::keys::{GroupKeys, encode_value};
use super::ranges::{self, RangeTable};
use super::state::{FORMAT, Head, StateError, encode_ranges};
use crate::engine::Batch;
use crate::raft::types::Applied;

/// The state that entries are applied to, and the engine batch that makes them durable.
pub struct Applier {
    keys: GroupKeys,
    group: GroupId,
    head: Head,
    ranges: RangeTable,
    ranges_changed: bool,
    batch: Batch,
}

impl Applier {
    /// Starts behind `head`.
    pub fn new(group: GroupId, head: Head, ranges: RangeTable) -> Self {
        Self { keys: GroupKeys::new(group), group, head, ranges, ranges_changed: false, batch: Batch::default() }
    }

    /// Notes that an entry without a payload of ours (a blank or a membership) stands at this place.
    pub fn pass(&mut self, term: u64, index: u64) {
        self.advance(term, index);
    }

    /// Notes the last applied membership, in its disk form.
    pub fn membership(&mut self, encoded: Vec<u8>) {
        self.batch.put(self.keys.membership(), encoded);
    }

    /// Applies one entry that stands in the log at `(term, index)`.
    pub fn apply(&mut self, term: u64, index: u64, payload: Bytes) -> Result<Applied, StateError> {
        let entry = wire::GroupEntry::decode(payload).map_err(|error| StateError::Junk(error.to_string()))?;
        if entry.format != FORMAT {
            return Err(StateError::UnknownFormat { found: entry.format });
        }
        self.advance(term, index);
        let link = Link { term: entry.term, run: entry.run, n: entry.n };
        if !link.follows(self.head.chain, term) {
            return Ok(Applied::Skipped);
        }
        self.head.chain = self.head.chain.max(link);
        if !link.is_barrier() {
            self.take(index, entry)?;
        }
        Ok(Applied::Taken)
    }

    /// The engine batch with everything applied so far, head included; the state behind it.
    pub fn finish(mut self) -> (Batch, Head, RangeTable) {
        if self.ranges_changed {
            self.batch.put(self.keys.ranges(), encode_ranges(&self.ranges));
        }
        self.batch.put(self.keys.head(), self.head.encode());
        (self.batch, self.head, self.ranges)
    }

    fn advance(&mut self, term: u64, index: u64) {
        let next = self.head.applied.map_or(0, |(_, applied)| applied + 1);
        assert_eq!(index, next, "entries are applied in order, without a gap");
        self.head.applied = Some((term, index));
    }

    fn take(&mut self, index: u64, entry: wire::GroupEntry) -> Result<(), StateError> {
        let clock = Version { e: entry.clock_e, s: entry.clock_s };
        assert!(clock >= self.head.clock, "I6: the clock of a group never goes back");
        let forward = entry.now_ms >= self.head.now_ms || planted::is_on(Fault::WallClockInApply);
        assert!(forward, "the time of a group never goes back");
        for relied in &entry.relied_on {
            let owned = self.ranges.find(RangeId(relied.range_id));
            let serves =
                owned.is_some_and(|owned| owned.route.epoch == Epoch(relied.epoch) && owned.route.state.serves());
            assert!(serves, "I3: range {} does not serve at epoch {}", relied.range_id, relied.epoch);
        }
        self.head.clock = clock;
        self.head.now_ms = entry.now_ms;
        if planted::is_on(Fault::WallClockInApply) {
            self.head.now_ms = self.head.now_ms.max(crate::raft::transport::wall_clock_ms());
        }
        for mutation in entry.mutations {
            let version = Version { e: mutation.version_e, s: mutation.version_s };
            debug_assert!(version <= clock, "I6: versions come from the clock");
            debug_assert!(self.ranges.lookup(&mutation.key).is_some(), "I3: a write outside the ranges of the group");
            self.batch.put(self.keys.data(&mutation.key, version), encode_value(mutation.value.as_deref()));
        }
        if !entry.dedup.is_empty() {
            self.batch.put(self.keys.dedup(entry.dedup_batch), entry.dedup);
        }
        self.head.locks_held = entry.locks_held;
        for change in entry.locks {
            debug_assert!(self.ranges.lookup(&change.unit).is_some(), "I3: a lock outside the ranges of the group");
            let key = self.keys.lock(&change.unit);
            match change.lock {
                Some(lock) => self.batch.put(key, lock.encode_to_vec()),
                None => self.batch.delete(key),
            }
        }
        for change in entry.transactions {
            let txn = change.txn.unwrap_or_default().try_into();
            let txn = txn.map_err(|error| StateError::Junk(format!("transaction: {error}")))?;
            let key = self.keys.transaction(&change.anchor, txn);
            match change.record {
                Some(record) => self.batch.put(key, record.encode_to_vec()),
                None => self.batch.delete(key),
            }
        }
        for batch in entry.dedup_drops {
            self.batch.delete(self.keys.dedup(batch));
        }
        for floor in entry.floors {
            let key = self.keys.floor(floor.incarnation);
            if floor.forget {
                self.batch.delete(key);
            } else {
                self.batch.put(key, floor.encode_to_vec());
            }
        }
        self.head.safe_point_e = self.head.safe_point_e.max(entry.safe_point_e);
        for garbage in entry.garbage {
            for version in garbage.versions.into_iter().map(Version::from) {
                assert!(version.e < self.head.safe_point_e, "a version above the safe point is no garbage");
                self.batch.delete(self.keys.data(&garbage.key, version));
            }
        }
        if !entry.flush_marks.is_empty() || entry.range_change.is_some() {
            self.change_ranges(index, &entry.flush_marks, entry.range_change)?;
        }
        Ok(())
    }

    fn change_ranges(
        &mut self,
        index: u64,
        flush_marks: &[wire::FlushMark],
        change: Option<wire::RangeChange>,
    ) -> Result<(), StateError> {
        self.head.ranges_index = index;
        self.ranges_changed = true;
        for mark in flush_marks {
            let db = u8::try_from(mark.db).map_err(|_| StateError::Junk(format!("database {}", mark.db)))?;
            let version = Version { e: mark.version_e, s: mark.version_s };
            self.ranges = self.ranges.flush(RangeId(mark.range_id), (!mark.all_databases).then_some(db), version);
        }
        if let Some(change) = change {
            let removed: Vec<_> =
                change.removed.iter().map(|range| (RangeId(range.range_id), Epoch(range.epoch))).collect();
            let added: Result<Vec<_>, _> =
                change.added.into_iter().map(|range| ranges::from_wire(self.group, range)).collect();
            self.ranges = self.ranges.change(&removed, added?);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId(1);

    fn entry(link: Link, clock: u64) -> wire::GroupEntry {
        wire::GroupEntry {
            format: FORMAT,
            term: link.term,
            run: link.run,
            n: link.n,
            clock_s: clock,
            ..Default::default()
        }
    }

    fn whole_keyspace() -> wire::RangeChange {
        let range = wire::OwnedRange { range_id: 1, epoch: 1, state: 2, ..Default::default() };
        wire::RangeChange { removed: vec![], added: vec![range] }
    }

    fn with_range() -> Applier {
        let mut applier = Applier::new(GROUP, Head::default(), RangeTable::default());
        applier.pass(0, 0);
        applier.pass(1, 1);
        let mut first = entry(Link { term: 1, run: 1, n: 1 }, 0);
        first.range_change = Some(whole_keyspace());
        assert_eq!(applier.apply(1, 2, first.encode_to_vec().into()).unwrap(), Applied::Taken);
        applier
    }

    #[test]
    fn a_batch_behind_a_refused_one_leaves_no_trace() {
        let mut applier = with_range();
        let mut late = entry(Link { term: 1, run: 1, n: 3 }, 9);
        late.mutations.push(wire::Mutation { key: "kx".into(), version_s: 9, ..Default::default() });
        assert_eq!(applier.apply(1, 3, late.encode_to_vec().into()).unwrap(), Applied::Skipped);
        let (_, head, _) = applier.finish();
        assert_eq!(head.applied, Some((1, 3)));
        assert_eq!((head.chain.n, head.clock.s), (1, 0));
    }

    #[test]
    #[should_panic(expected = "I3")]
    fn an_entry_evaluated_at_another_epoch_stops_the_group() {
        let mut applier = with_range();
        let mut wrong = entry(Link { term: 1, run: 1, n: 2 }, 1);
        wrong.relied_on.push(wire::RangeEpoch { range_id: 1, epoch: 2 });
        let _ = applier.apply(1, 3, wrong.encode_to_vec().into());
    }

    #[test]
    #[should_panic(expected = "without a gap")]
    fn a_missing_entry_stops_the_group() {
        with_range().pass(1, 4);
    }

    #[test]
    fn an_entry_of_a_newer_release_is_refused() {
        let mut applier = with_range();
        let newer = wire::GroupEntry { format: FORMAT + 1, ..Default::default() };
        let refused = applier.apply(1, 3, newer.encode_to_vec().into());
        assert!(matches!(refused, Err(StateError::UnknownFormat { .. })));
    }
}
