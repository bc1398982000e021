//! Who holds which lock units of a group.
//!
//! A lock belongs to a transaction over several groups, from its prewrite here until it is resolved; a request that
//! runs in one group needs none. A unit has one exclusive holder or any number of shared ones. An exclusive holder
//! keeps what it will write (its *intents*) and the version at which the group prepared it, *p*: only a decision that
//! names this p turns the intents into data (PROTOCOL §3).
//!
//! A lock may also cover a *span*: all Redis keys of one range, for a transaction with a command over a whole database.
//! It stands under a unit of its own ([`keyspace::layout::span_unit`]) and is in the way of every lock inside, as those
//! are in its. While a span is locked its range is not cut.
//!
//! The table holds all locks of the group, those of batches in flight included. It is rebuilt from the engine when a
//! leader takes office; readers, who see only what is applied, look into the engine instead ([`stored`]).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use keyspace::{GroupId, KeyRange, TransactionId, Version, layout};
use prost::Message;
use proto::wire;

use super::keys::GroupKeys;
use super::state::StateError;
use crate::engine::Snapshot;

/// One transaction's lock on one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    /// Whose.
    pub txn: TransactionId,
    /// Where its record lives.
    pub anchor: Bytes,
    /// The version at which the group prepared it.
    pub prepared: Version,
    /// Excludes everybody, else only writers.
    pub exclusive: bool,
    /// Of the prewrite that took it, to recognise a repetition.
    pub fingerprint: u64,
    /// The group's time then.
    pub since_ms: u64,
    /// What it will write: encoded keys of this unit; `None` deletes.
    pub intents: Vec<(Bytes, Option<Bytes>)>,
    /// Of the lock of a span: its keys.
    pub covers: Option<KeyRange>,
    /// Databases that it will flush over its span; `None`: all.
    pub flushes: Vec<Option<u8>>,
    /// At the smallest unit of its prewrite: what that was answered.
    pub results: Option<wire::Results>,
}

impl Holder {
    /// As others see it.
    pub fn seen_at(&self, unit: &Bytes, now_ms: u64) -> wire::SeenLock {
        wire::SeenLock {
            unit: unit.clone(),
            txn: Some(self.txn.into()),
            anchor: self.anchor.clone(),
            prepared: Some(self.prepared.into()),
            age_ms: now_ms.saturating_sub(self.since_ms),
        }
    }

    fn to_wire(&self) -> wire::LockHolder {
        let intent = |(key, value): &(Bytes, Option<Bytes>)| wire::Intent { key: key.clone(), value: value.clone() };
        wire::LockHolder {
            txn: Some(self.txn.into()),
            anchor: self.anchor.clone(),
            prepared: Some(self.prepared.into()),
            exclusive: self.exclusive,
            fingerprint: self.fingerprint,
            since_ms: self.since_ms,
            intents: self.intents.iter().map(intent).collect(),
            results: self.results.clone(),
            until: self.covers.as_ref().map(|covers| covers.end().cloned().unwrap_or_default()),
            flushes: self.flushes.iter().copied().map(flush_to_wire).collect(),
        }
    }

    fn from_wire(unit: &[u8], holder: wire::LockHolder) -> Result<Self, StateError> {
        let junk = |what: &str| StateError::Junk(format!("lock: {what}"));
        let txn = holder.txn.ok_or_else(|| junk("no transaction"))?;
        let covers = match holder.until {
            None => None,
            Some(end) => {
                let start = layout::span_start(unit).map(Bytes::copy_from_slice);
                let span = start.and_then(|start| KeyRange::new(start, (!end.is_empty()).then_some(end)));
                Some(span.ok_or_else(|| junk("no span"))?)
            }
        };
        Ok(Self {
            txn: txn.try_into().map_err(|error| junk(&format!("{error}")))?,
            anchor: holder.anchor,
            prepared: holder.prepared.ok_or_else(|| junk("no version"))?.into(),
            exclusive: holder.exclusive,
            fingerprint: holder.fingerprint,
            since_ms: holder.since_ms,
            intents: holder.intents.into_iter().map(|intent| (intent.key, intent.value)).collect(),
            results: holder.results,
            covers,
            flushes: holder.flushes.into_iter().map(flush_from_wire).collect::<Result<_, _>>()?,
        })
    }

    /// Whether it keeps `txn` (or a request without one) away.
    fn excludes(&self, txn: Option<TransactionId>, writes: bool) -> bool {
        Some(self.txn) != txn && (self.exclusive || writes)
    }
}

fn flush_to_wire(db: Option<u8>) -> wire::FlushIntent {
    wire::FlushIntent { db: u32::from(db.unwrap_or_default()), all_databases: db.is_none() }
}

fn flush_from_wire(flush: wire::FlushIntent) -> Result<Option<u8>, StateError> {
    let db = u8::try_from(flush.db).map_err(|_| StateError::Junk(format!("lock: database {}", flush.db)))?;
    Ok((!flush.all_databases).then_some(db))
}

/// All locks of a group.
///
/// Invariant: a unit has one holder that is exclusive, or holders that are all shared.
#[derive(Debug, Default)]
pub struct LockTable {
    units: BTreeMap<Bytes, Vec<Holder>>,
    /// Units among them that are spans, and their keys.
    spans: BTreeMap<Bytes, KeyRange>,
    /// What each transaction holds.
    held: BTreeMap<TransactionId, BTreeSet<Bytes>>,
}

impl LockTable {
    /// Reads what a snapshot holds.
    pub fn load(snapshot: &dyn Snapshot, group: GroupId) -> Result<Self, StateError> {
        let mut table = Self::default();
        let (start, end) = GroupKeys::new(group).all_locks();
        let mut cursor = snapshot.cursor(&start, &end);
        cursor.seek(&start)?;
        while let Some((key, value)) = cursor.current() {
            let unit = Bytes::copy_from_slice(GroupKeys::split_lock(key));
            for holder in decode(&unit, value)? {
                table.add(&unit, holder);
            }
            cursor.next()?;
        }
        Ok(table)
    }

    /// Locked units.
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// Whether nothing is locked.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Who holds a unit.
    pub fn holders(&self, unit: &[u8]) -> &[Holder] {
        self.units.get(unit).map_or(&[], Vec::as_slice)
    }

    /// This transaction's lock on a unit.
    pub fn holder(&self, unit: &[u8], txn: TransactionId) -> Option<&Holder> {
        self.holders(unit).iter().find(|holder| holder.txn == txn)
    }

    /// Whether somebody else's lock, on the unit or on a span over it, keeps `txn` (or a request without one) away.
    pub fn blocks(&self, unit: &[u8], txn: Option<TransactionId>, writes: bool) -> bool {
        let excluded = |unit: &[u8]| self.holders(unit).iter().any(|holder| holder.excludes(txn, writes));
        excluded(unit) || self.spans.iter().any(|(span, keys)| keys.contains(unit) && excluded(span))
    }

    /// Others' locks that keep `txn` (or a request without one) from an interval: those inside in key order, behind
    /// the span over it.
    pub fn blocking_within(
        &self,
        range: &KeyRange,
        txn: Option<TransactionId>,
        writes: bool,
    ) -> impl Iterator<Item = (&Bytes, &Holder)> {
        let inside = self.units.range(range.bounds());
        let over = self.spans.iter().filter(|(span, keys)| !range.contains(span) && keys.intersect(range).is_some());
        let over = over.map(|(span, _)| (span, &self.units[span]));
        let all = over.chain(inside).flat_map(|(unit, holders)| holders.iter().map(move |holder| (unit, holder)));
        all.filter(move |(_, holder)| holder.excludes(txn, writes))
    }

    /// Whether a span is locked that has keys of this interval.
    pub fn has_span_in(&self, range: &KeyRange) -> bool {
        self.spans.values().any(|keys| keys.intersect(range).is_some())
    }

    /// Every lock, for whoever looks for old ones.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Holder)> {
        self.units.iter().flat_map(|(unit, holders)| holders.iter().map(move |holder| (unit, holder)))
    }

    /// Units that a transaction holds here.
    pub fn units_of(&self, txn: TransactionId) -> impl Iterator<Item = &Bytes> {
        self.held.get(&txn).into_iter().flatten()
    }

    /// Takes a lock, or replaces the one that the transaction has on the unit.
    ///
    /// # Panics
    /// If another's lock excludes it: evaluation has checked that.
    pub fn take(&mut self, unit: &Bytes, holder: Holder) {
        self.drop_lock(unit, holder.txn);
        let (txn, exclusive) = (Some(holder.txn), holder.exclusive);
        assert!(!self.blocks(unit, txn, exclusive), "two transactions hold one unit");
        let free =
            holder.covers.as_ref().is_none_or(|keys| self.blocking_within(keys, txn, exclusive).next().is_none());
        assert!(free, "a span is locked over the locks of others");
        self.add(unit, holder);
    }

    fn add(&mut self, unit: &Bytes, holder: Holder) {
        if let Some(keys) = &holder.covers {
            self.spans.insert(unit.clone(), keys.clone());
        }
        self.held.entry(holder.txn).or_default().insert(unit.clone());
        self.units.entry(unit.clone()).or_default().push(holder);
    }

    /// Ends a transaction's lock on a unit.
    pub fn drop_lock(&mut self, unit: &[u8], txn: TransactionId) -> Option<Holder> {
        let holders = self.units.get_mut(unit)?;
        let at = holders.iter().position(|holder| holder.txn == txn)?;
        let holder = holders.swap_remove(at);
        if holders.is_empty() {
            self.units.remove(unit);
            self.spans.remove(unit);
        }
        if let Some(held) = self.held.get_mut(&txn) {
            held.remove(unit);
            if held.is_empty() {
                self.held.remove(&txn);
            }
        }
        Some(holder)
    }

    /// The locks of a unit as an entry carries them.
    pub fn change(&self, unit: &Bytes) -> wire::LockChange {
        let holders = self.units.get(unit);
        let lock = holders.map(|holders| wire::UnitLock { holders: holders.iter().map(Holder::to_wire).collect() });
        wire::LockChange { unit: unit.clone(), lock }
    }
}

fn decode(unit: &[u8], stored: &[u8]) -> Result<Vec<Holder>, StateError> {
    let lock = wire::UnitLock::decode(stored).map_err(|error| StateError::Junk(error.to_string()))?;
    lock.holders.into_iter().map(|holder| Holder::from_wire(unit, holder)).collect()
}

/// Who holds a unit by a snapshot.
pub fn stored(snapshot: &dyn Snapshot, group: GroupId, unit: &[u8]) -> Result<Vec<Holder>, StateError> {
    snapshot.get(&GroupKeys::new(group).lock(unit))?.map_or_else(|| Ok(Vec::new()), |stored| decode(unit, &stored))
}

/// Who holds which units of an interval by a snapshot.
pub fn stored_within(
    snapshot: &dyn Snapshot,
    group: GroupId,
    range: &KeyRange,
) -> Result<Vec<(Bytes, Holder)>, StateError> {
    let keys = GroupKeys::new(group);
    let start = keys.lock(range.start());
    let end = range.end().map_or_else(|| keys.all_locks().1, |end| keys.lock(end));
    let mut found = Vec::new();
    let mut cursor = snapshot.cursor(&start, &end);
    cursor.seek(&start)?;
    while let Some((key, value)) = cursor.current() {
        let unit = Bytes::copy_from_slice(GroupKeys::split_lock(key));
        found.extend(decode(&unit, value)?.into_iter().map(|holder| (unit.clone(), holder)));
        cursor.next()?;
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
/// Shared with the tests of its neighbours.
pub mod tests {
    use keyspace::RequestId;

    use super::*;

    /// The first attempt at request `sequence`.
    pub fn txn(sequence: u64) -> TransactionId {
        TransactionId { request: RequestId { incarnation: 7, sequence }, attempt: 1 }
    }

    fn holder(sequence: u64, exclusive: bool) -> Holder {
        Holder {
            txn: txn(sequence),
            anchor: Bytes::from("anchor"),
            prepared: Version { e: 2, s: sequence },
            exclusive,
            fingerprint: 9,
            since_ms: 100,
            intents: vec![("k1".into(), Some("value".into())), ("k2".into(), None)],
            results: Some(wire::Results::default()),
            covers: None,
            flushes: Vec::new(),
        }
    }

    fn span(sequence: u64, exclusive: bool) -> (Bytes, Holder) {
        let keys = KeyRange::new("b", Some("m".into())).unwrap();
        let flushes = if exclusive { vec![None, Some(3)] } else { Vec::new() };
        (layout::span_unit(b"b").into(), Holder { covers: Some(keys), flushes, ..holder(sequence, exclusive) })
    }

    #[test]
    fn a_span_and_what_lies_inside_exclude_each_other() {
        let mut table = LockTable::default();
        let (inside, outside) = (Bytes::from("c"), Bytes::from("z"));
        let (unit, shared) = span(1, false);
        table.take(&unit, shared);
        assert!(!table.blocks(&inside, None, false) && table.blocks(&inside, None, true));
        assert!(!table.blocks(&outside, None, true));
        table.take(&unit, span(1, true).1);
        assert!(table.blocks(&inside, None, false) && !table.blocks(&inside, Some(txn(1)), true), "its own");
        let part = KeyRange::new("d", Some("e".into())).unwrap();
        assert_eq!(table.blocking_within(&part, None, false).count(), 1);
        assert!(table.has_span_in(&part));
        table.drop_lock(&unit, txn(1));
        assert!(!table.blocks(&inside, None, true) && !table.has_span_in(&part));
        table.take(&inside, holder(2, true));
        let keys = KeyRange::new("b", Some("m".into())).unwrap();
        let in_the_way: Vec<_> = table.blocking_within(&keys, Some(txn(1)), true).map(|(unit, _)| unit).collect();
        assert_eq!(in_the_way, [&inside]);
    }

    #[test]
    #[should_panic(expected = "over the locks of others")]
    fn a_span_is_never_locked_over_the_locks_of_others() {
        let mut table = LockTable::default();
        table.take(&Bytes::from("c"), holder(2, true));
        let (unit, exclusive) = span(1, true);
        table.take(&unit, exclusive);
    }

    #[test]
    fn shared_locks_stop_writers_and_exclusive_ones_everybody() {
        let mut table = LockTable::default();
        let unit = Bytes::from("unit");
        table.take(&unit, holder(1, false));
        table.take(&unit, holder(2, false));
        assert!(!table.blocks(&unit, None, false));
        assert!(table.blocks(&unit, None, true));
        assert!(table.blocks(&unit, Some(txn(1)), true), "the other reader is in the way");
        table.drop_lock(&unit, txn(2));
        table.take(&unit, holder(1, true));
        assert!(table.blocks(&unit, None, false));
        assert!(!table.blocks(&unit, Some(txn(1)), true), "its own lock");
        assert_eq!(table.units_of(txn(1)).collect::<Vec<_>>(), [&unit]);
        assert_eq!(table.drop_lock(&unit, txn(1)), Some(holder(1, true)));
        assert!(table.is_empty() && table.held.is_empty());
    }

    #[test]
    #[should_panic(expected = "two transactions")]
    fn a_unit_never_has_two_exclusive_holders() {
        let mut table = LockTable::default();
        table.take(&Bytes::from("unit"), holder(1, true));
        table.take(&Bytes::from("unit"), holder(2, true));
    }

    #[test]
    fn locks_survive_their_wire_form() {
        let mut table = LockTable::default();
        let unit = Bytes::from("unit");
        table.take(&unit, holder(1, false));
        table.take(&unit, holder(2, false));
        let stored = table.change(&unit).lock.unwrap().encode_to_vec();
        assert_eq!(decode(&unit, &stored).unwrap(), [holder(1, false), holder(2, false)]);
        assert!(decode(&unit, b"\xffjunk").is_err());
        let (span_unit, exclusive) = span(1, true);
        let mut spans = LockTable::default();
        spans.take(&span_unit, exclusive.clone());
        let stored = spans.change(&span_unit).lock.unwrap().encode_to_vec();
        assert_eq!(decode(&span_unit, &stored).unwrap(), [exclusive]);
        assert!(decode(b"no span", &stored).is_err());
        table.drop_lock(&unit, txn(1));
        table.drop_lock(&unit, txn(2));
        assert_eq!(table.change(&unit).lock, None);
    }
}
