//! Reading multi-version data: the newest visible version of each key, from one engine snapshot.

use bytes::Bytes;
use commands::{Order, Record};
use keyspace::{GroupId, KeyRange, Version};

use super::keys::{GroupKeys, decode_value};
use super::ranges::RangeTable;
use super::state::StateError;
use crate::engine::{Cursor, Snapshot};

/// How many versions of one key a scan steps over before it seeks to the next key.
const STEPS_BEFORE_SEEK: usize = 8;

/// Reads data as of a version.
pub struct VersionReader<'a> {
    snapshot: &'a dyn Snapshot,
    keys: GroupKeys,
    ranges: &'a RangeTable,
    check_flushes: bool,
    at: Version,
}

impl<'a> VersionReader<'a> {
    /// Over the data of `group` in a snapshot, hiding what is newer than `at` and what was flushed by then.
    pub fn new(snapshot: &'a dyn Snapshot, group: GroupId, ranges: &'a RangeTable, at: Version) -> Self {
        let keys = GroupKeys::new(group);
        Self { snapshot, keys, ranges, check_flushes: ranges.has_flush_marks(), at }
    }

    /// The newest visible version of a key.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Record>, StateError> {
        self.newest(key)
    }

    /// Also asked for bytes that are no whole key: the bound of a scan may be the bound of a range, with other keys behind it.
    fn newest(&self, key: &[u8]) -> Result<Option<Record>, StateError> {
        let newest = self.keys.data(key, self.at);
        // Nothing is ever written at the very first version.
        let behind = self.keys.data(key, Version::MIN);
        let Some((engine_key, stored)) = self.snapshot.first(&newest, &behind)? else { return Ok(None) };
        let (found, version, value) = parse(&engine_key, &stored)?;
        if found != key {
            return Ok(None);
        }
        let value = value.map(|value| stored.slice_ref(value));
        let record = value.map(|value| Record { value, version });
        Ok(record.filter(|record| !self.is_flushed(key, record.version)))
    }

    /// The version of the newest visible change of a key, removals included.
    pub fn last_change(&mut self, key: &[u8]) -> Result<Option<Version>, StateError> {
        let (newest, behind) = (self.keys.data(key, self.at), self.keys.data(key, Version::MIN));
        let Some((engine_key, stored)) = self.snapshot.first(&newest, &behind)? else { return Ok(None) };
        parse(&engine_key, &stored).map(|(_, version, _)| Some(version))
    }

    /// Whether a flush mark hides this version.
    fn is_flushed(&self, key: &[u8], version: Version) -> bool {
        // A mark newer than the snapshot's version was set behind it and does not count.
        self.check_flushes
            && self.ranges.lookup(key).zip(keyspace::layout::redis_db(key)).is_some_and(|(owned, db)| {
                let mark = owned.flush_mark(db);
                version <= mark && mark <= self.at
            })
    }

    /// Iterates over the visible records of an interval.
    pub fn scan(&self, range: &KeyRange, order: Order) -> Scan<'_> {
        let start = self.keys.data_prefix(range.start());
        let end = range.end().map_or_else(|| self.keys.all_data().1, |end| self.keys.data_prefix(end));
        let last = range.end().and_then(|end| end.strip_suffix(&[0])).map(Bytes::copy_from_slice);
        let last = last.filter(|last| range.contains(last));
        let cursor = self.snapshot.cursor(&start, &end);
        Scan { reader: self, cursor, range: range.clone(), start, end, last, order, begun: false }
    }
}

/// Key, version and value under the cursor.
type Here<'c> = (&'c [u8], Version, Option<&'c [u8]>);

fn here<'c>(cursor: &'c (dyn Cursor + '_)) -> Result<Option<Here<'c>>, StateError> {
    let Some((engine_key, stored)) = cursor.current() else { return Ok(None) };
    parse(engine_key, stored).map(Some)
}

fn parse<'c>(engine_key: &'c [u8], stored: &'c [u8]) -> Result<Here<'c>, StateError> {
    let parsed = GroupKeys::split_data(engine_key).zip(decode_value(stored));
    let ((key, version), value) = parsed.ok_or_else(|| StateError::Junk(format!("data key {engine_key:02x?}")))?;
    Ok((key, version, value))
}

/// Visible records of an interval, see [`VersionReader::scan`].
///
/// No key begins with another one, so versions behind keys keep the order of keys. But a bound may begin with a key: "behind
/// this key" is the key and a zero, and the versions of that key lie behind such a bound.
pub struct Scan<'a> {
    reader: &'a VersionReader<'a>,
    cursor: Box<dyn Cursor + 'a>,
    range: KeyRange,
    /// The bounds where the cursor goes.
    start: Vec<u8>,
    end: Vec<u8>,
    /// The interval ends right behind this key, which the cursor may or may not find: it is looked up.
    last: Option<Bytes>,
    order: Order,
    begun: bool,
}

impl Scan<'_> {
    /// The next visible record in scan order.
    pub fn next_visible(&mut self) -> Result<Option<(Bytes, Record)>, StateError> {
        if !self.begun {
            self.begun = true;
            match self.order {
                Order::Ascending => self.cursor.seek(&self.start)?,
                Order::Descending => {
                    self.cursor.seek_back(&self.end)?;
                    let last = self.look_up_last()?;
                    if last.is_some() {
                        return Ok(last);
                    }
                }
            }
        }
        // Ends with the data: each round leaves one key behind.
        while let Some((key, _, _)) = here(&*self.cursor)? {
            let key = Bytes::copy_from_slice(key);
            self.cursor.seek(&self.reader.keys.data(&key, self.reader.at))?;
            let newest = match here(&*self.cursor)? {
                Some((found, version, Some(value))) if found == key => {
                    Some(Record { value: Bytes::copy_from_slice(value), version })
                }
                _ => None,
            };
            match self.order {
                Order::Ascending => self.leave_upwards(&key)?,
                Order::Descending => self.cursor.seek_back(&self.reader.keys.data_prefix(&key))?,
            }
            if !self.range.contains(&key) || self.last.as_ref() == Some(&key) {
                continue;
            }
            if let Some(record) = newest.filter(|record| !self.reader.is_flushed(&key, record.version)) {
                return Ok(Some((key, record)));
            }
        }
        match self.order {
            Order::Ascending => {
                let last = self.look_up_last()?;
                self.last = None;
                Ok(last)
            }
            Order::Descending => Ok(None),
        }
    }

    fn look_up_last(&self) -> Result<Option<(Bytes, Record)>, StateError> {
        let Some(last) = &self.last else { return Ok(None) };
        Ok(self.reader.newest(last)?.map(|record| (last.clone(), record)))
    }

    /// Moves behind all versions of `key`.
    fn leave_upwards(&mut self, key: &[u8]) -> Result<(), StateError> {
        let is_behind = |cursor: &dyn Cursor| here(cursor).map(|here| here.is_none_or(|(found, ..)| found > key));
        for _ in 0..STEPS_BEFORE_SEEK {
            if is_behind(&*self.cursor)? {
                return Ok(());
            }
            self.cursor.next()?;
        }
        let mut behind = self.reader.keys.data(key, Version::MIN);
        behind.push(0);
        self.cursor.seek(&behind)?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::engine::memory::MemoryEngine;
    use crate::engine::{Batch, Engine};
    use crate::group::keys::encode_value;
    use keyspace::{RangeId, layout};

    const GROUP: GroupId = GroupId(3);

    fn version(number: u64) -> Version {
        Version { e: 2, s: number }
    }

    type Write = (u8, u64, Option<u8>);

    /// Writes each key at most once a version, next to data of two neighbouring groups.
    fn engine_with(writes: &[Write]) -> MemoryEngine {
        let engine = MemoryEngine::new();
        let mut batch = Batch::default();
        for neighbour in [2, 4] {
            let keys = GroupKeys::new(GroupId(neighbour));
            batch.put(keys.data(&layout::raw(b"x"), version(1)), encode_value(Some(b"other group")));
        }
        for (key, at, value) in writes {
            let key = GroupKeys::new(GROUP).data(&layout::raw(&[*key]), version(*at));
            batch.put(key, encode_value(value.as_ref().map(std::slice::from_ref)));
        }
        engine.write(&batch).unwrap();
        engine
    }

    proptest! {
        /// Point reads and scans of both directions agree with a model at every version.
        #[test]
        fn reads_show_the_newest_visible_version(
            writes in prop::collection::btree_map((0u8..6, 1u64..30), prop::option::of(any::<u8>()), 0..60),
            at in 0u64..32,
            bounds in ((0u8..7, any::<bool>()), (0u8..7, any::<bool>())),
        ) {
            let writes: Vec<Write> = writes.into_iter().map(|((key, at), value)| (key, at, value)).collect();
            let engine = engine_with(&writes);
            let mut model: BTreeMap<u8, (u64, Option<u8>)> = BTreeMap::new();
            for (key, written, value) in &writes {
                if *written <= at {
                    let newest = model.entry(*key).or_insert((0, None));
                    *newest = (*newest).max((*written, *value));
                }
            }
            let snapshot = engine.snapshot();
            let ranges = RangeTable::default();
            let mut reader = VersionReader::new(&*snapshot, GROUP, &ranges, version(at));
            for key in 0..6u8 {
                let found = reader.get(&layout::raw(&[key])).unwrap().map(|record| record.value[0]);
                prop_assert_eq!(found, model.get(&key).and_then(|(_, value)| *value));
            }
            // At a key, or right behind it.
            let bound = |(key, behind): (u8, bool)| [layout::raw(&[key]), vec![0; usize::from(behind)]].concat();
            let (low, high) = (bounds.0.min(bounds.1), bounds.0.max(bounds.1));
            let Some(range) = KeyRange::new(bound(low), Some(bound(high).into())) else {
                return Ok(());
            };
            let first_of = |(key, behind): (u8, bool)| key + u8::from(behind);
            let mut expected: Vec<(Bytes, u8)> = model
                .range(first_of(low)..first_of(high))
                .filter_map(|(key, (_, value))| Some((layout::raw(&[*key]).into(), (*value)?)))
                .collect();
            for order in [Order::Ascending, Order::Descending] {
                let mut scan = reader.scan(&range, order);
                let mut found = Vec::new();
                while let Some((key, record)) = scan.next_visible().unwrap() {
                    found.push((key, record.value[0]));
                }
                prop_assert_eq!(&found, &expected);
                expected.reverse();
            }
        }
    }

    #[test]
    fn a_bound_that_ends_in_a_zero_is_not_always_behind_a_key() {
        // Ranges end at slots, and the number of a slot may end in a zero.
        let meta = layout::redis_meta(0, b"a key above that slot");
        let bound = [&meta[..2], &[0]].concat();
        assert!(bound < meta);
        let engine = MemoryEngine::new();
        let mut batch = Batch::default();
        batch.put(GroupKeys::new(GROUP).data(&meta, version(1)), encode_value(Some(b"v")));
        engine.write(&batch).unwrap();
        let snapshot = engine.snapshot();
        let ranges = RangeTable::of_everything(GROUP);
        let reader = VersionReader::new(&*snapshot, GROUP, &ranges, Version::MAX);
        let below = KeyRange::new(vec![layout::REDIS], Some(bound.into())).unwrap();
        for order in [Order::Ascending, Order::Descending] {
            assert!(reader.scan(&below, order).next_visible().unwrap().is_none());
        }
    }

    #[test]
    fn a_flush_hides_what_was_there_and_nothing_newer() {
        let ranges = RangeTable::of_everything(GROUP).flush(RangeId(1), Some(0), version(5));
        let engine = MemoryEngine::new();
        let mut batch = Batch::default();
        let (old, new) = (layout::redis_meta(0, b"old"), layout::redis_meta(0, b"new"));
        batch.put(GroupKeys::new(GROUP).data(&old, version(5)), encode_value(Some(b"v")));
        batch.put(GroupKeys::new(GROUP).data(&new, version(6)), encode_value(Some(b"v")));
        engine.write(&batch).unwrap();
        let snapshot = engine.snapshot();
        let mut now = VersionReader::new(&*snapshot, GROUP, &ranges, Version::MAX);
        assert!(now.get(&old).unwrap().is_none());
        assert!(now.get(&new).unwrap().is_some());
        let mut before = VersionReader::new(&*snapshot, GROUP, &ranges, version(4).max(version(5)));
        assert!(before.get(&old).unwrap().is_none(), "flushed at version 5");
    }
}
