//! Finding garbage: versions that no read can show any more.
//!
//! Reads are of the newest state or of a snapshot at or above the *safe point* S, an oracle value that placement gives
//! out and that is part of the group's replicated state before anything below it goes. So of the versions of a key with
//! e < S only the newest can be seen, and all older ones are garbage. That newest one is garbage as well when it shows
//! nothing: a tombstone, a record of a database that was flushed below S, a Redis key that has expired by the group's
//! time (a locked one has not, see `contest`), an element of a collection that had been removed or replaced below S.
//!
//! What is garbage once stays garbage, so a pass needs no lock and no place in the executor's order: it looks at an
//! engine snapshot, a piece at a time, and the executor only carries what was found into the log. Replicas delete
//! exactly what the entry names.

use bytes::Bytes;
use commands::redis::live_generation;
use keyspace::{GroupId, KeyRange, Version, layout};
use proto::wire;

use super::answer::is_expired;
use super::keys::{GroupKeys, decode_value};
use super::locks;
use super::state::{GroupView, StateError};
use super::versions::VersionReader;

/// How much one step of a pass takes on.
#[derive(Clone, Copy, Debug)]
pub struct StepLimits {
    /// Versions looked at. A key's own versions may exceed it by one.
    pub looks: usize,
    /// Versions found.
    pub found: usize,
}

/// What a step has found.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    /// To be removed.
    pub garbage: Vec<wire::Garbage>,
    /// How many versions that are.
    pub versions: usize,
    /// Where the next step begins; `None`: the pass is over.
    pub next: Option<Bytes>,
    /// Versions looked at.
    pub looked_at: usize,
    /// Something here becomes garbage later without a further write.
    pub ripens: bool,
}

/// The versions of one key.
#[derive(Default)]
struct Key {
    key: Bytes,
    /// Versions that snapshots below or at S may still tell apart.
    above: usize,
    /// The newest below S: what the oldest snapshot shows.
    shown: Option<Version>,
    shows_nothing: bool,
    garbage: Vec<Version>,
}

/// Looks at the data of a view from `start` (an encoded key) on, going by the safe point `safe_point_e`.
pub fn step(
    group: GroupId,
    view: &GroupView,
    start: &[u8],
    safe_point_e: u64,
    limits: StepLimits,
) -> Result<Found, StateError> {
    let keys = GroupKeys::new(group);
    let (begin, end) = (keys.data_prefix(start), keys.all_data().1);
    let mut cursor = view.snapshot.cursor(&begin, &end);
    cursor.seek(&begin)?;
    let mut judge = Judge { group, view, safe_point_e, unit: None };
    let mut found = Found::default();
    let mut current = Key::default();
    while let Some((engine_key, stored)) = cursor.current() {
        let junk = || StateError::Junk(format!("data key {engine_key:02x?}"));
        let (key, version) = GroupKeys::split_data(engine_key).ok_or_else(junk)?;
        if current.key != key {
            found.close(std::mem::take(&mut current));
            if found.looked_at >= limits.looks || found.versions >= limits.found {
                found.next = Some(Bytes::copy_from_slice(key));
                return Ok(found);
            }
            current.key = Bytes::copy_from_slice(key);
        } else if found.versions + current.garbage.len() >= limits.found {
            // The newest one stays for now, so these may go before the rest of them.
            current.shows_nothing = false;
            found.next = Some(current.key.clone());
            found.close(current);
            return Ok(found);
        }
        found.looked_at += 1;
        if version.e >= safe_point_e {
            current.above += 1;
        } else if current.shown.is_some() {
            current.garbage.push(version);
        } else {
            let value = decode_value(stored).ok_or_else(junk)?;
            current.shown = Some(version);
            let shows = judge.judge(key, version, value)?;
            current.shows_nothing = shows == Shows::Nothing;
            found.ripens |= shows == Shows::ForNow;
        }
        cursor.next()?;
    }
    found.close(current);
    Ok(found)
}

/// Says what the newest record of a key below the safe point still shows.
struct Judge<'v> {
    group: GroupId,
    view: &'v GroupView,
    safe_point_e: u64,
    /// The unit judged last, and the generation that its elements belong to, if they belong to any.
    unit: Option<(Bytes, Option<u64>)>,
}

/// What a record shows to the snapshots from the safe point on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// Nothing, for ever.
    Nothing,
    /// Itself, until time or the safe point has gone on.
    ForNow,
    /// Itself.
    Itself,
}

impl Judge<'_> {
    fn judge(&mut self, key: &[u8], version: Version, value: Option<&[u8]>) -> Result<Shows, StateError> {
        let Some(value) = value else { return Ok(Shows::Nothing) };
        let mark = self.view.ranges.lookup(key).zip(layout::redis_db(key)).map(|(owned, db)| owned.flush_mark(db));
        if let Some(mark) = mark.filter(|mark| version <= *mark) {
            return Ok(if mark.e < self.safe_point_e { Shows::Nothing } else { Shows::ForNow });
        }
        if let Some(generation) = layout::redis_generation(key) {
            let live = self.generation_of(unit_of(key)?)?;
            // A generation that is not the unit's at the safe point had ended by then, for it had begun: it never returns.
            return Ok(if live == Some(generation) { Shows::Itself } else { Shows::Nothing });
        }
        if layout::parse_redis_meta(key).is_none() {
            return Ok(Shows::Itself);
        }
        self.judge_meta(unit_of(key)?, &Bytes::copy_from_slice(value))
    }

    fn judge_meta(&self, unit: &[u8], meta: &Bytes) -> Result<Shows, StateError> {
        let expired = |now_ms| is_expired(unit, meta, now_ms).map_err(junk);
        if expired(self.view.head.now_ms)? && locks::stored(&*self.view.snapshot, self.group, unit)?.is_empty() {
            return Ok(Shows::Nothing);
        }
        Ok(if expired(u64::MAX)? { Shows::ForNow } else { Shows::Itself })
    }

    /// The generation of a unit's collection as the oldest snapshot sees it; `None`: it sees no collection there.
    fn generation_of(&mut self, unit: &[u8]) -> Result<Option<u64>, StateError> {
        if let Some((_, generation)) = self.unit.as_ref().filter(|(judged, _)| judged == unit) {
            return Ok(*generation);
        }
        let oldest = Version { e: self.safe_point_e.saturating_sub(1), s: u64::MAX };
        let mut reader = VersionReader::new(&*self.view.snapshot, self.group, &self.view.ranges, oldest);
        let generation = match reader.get(&layout::version_key(unit))? {
            Some(meta) if self.judge_meta(unit, &meta.value)? != Shows::Nothing => {
                live_generation(unit, &meta.value).map_err(junk)?
            }
            _ => None,
        };
        self.unit = Some((Bytes::copy_from_slice(unit), generation));
        Ok(generation)
    }
}

fn unit_of(key: &[u8]) -> Result<&[u8], StateError> {
    layout::unit_len(key).map(|length| &key[..length]).map_err(junk)
}

fn junk(error: impl std::fmt::Display) -> StateError {
    StateError::Junk(error.to_string())
}

impl Found {
    /// All versions of a key were looked at.
    fn close(&mut self, key: Key) {
        let Key { key, above, shown, shows_nothing, mut garbage } = key;
        // What stands above S shadows the rest as soon as S has passed it, or is a tombstone that goes then.
        self.ripens |= above > 0;
        garbage.extend(shown.filter(|_| shows_nothing));
        if !garbage.is_empty() {
            self.versions += garbage.len();
            let versions = garbage.into_iter().map(Into::into).collect();
            self.garbage.push(wire::Garbage { key, versions });
        }
    }
}

/// Where a pass begins.
pub fn beginning() -> Bytes {
    KeyRange::all().start().clone()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use commands::Order;
    use keyspace::RangeId;
    use proptest::prelude::*;

    use super::super::keys::encode_value;
    use super::super::ranges::RangeTable;
    use super::super::state::Head;
    use super::*;
    use crate::engine::memory::MemoryEngine;
    use crate::engine::{Batch, Engine};

    const GROUP: GroupId = GroupId(3);
    const ALL: StepLimits = StepLimits { looks: usize::MAX, found: usize::MAX };

    fn version(e: u64) -> Version {
        Version { e, s: e }
    }

    fn view(engine: &MemoryEngine, flushed_at: Option<u64>) -> GroupView {
        let mut ranges = RangeTable::of_everything(GROUP);
        if let Some(e) = flushed_at {
            ranges = ranges.flush(RangeId(1), Some(0), version(e));
        }
        GroupView { snapshot: engine.snapshot(), head: Head { now_ms: 1_000, ..Head::default() }, ranges }
    }

    fn engine_with(writes: &BTreeMap<(u8, u64), Option<u8>>) -> Arc<MemoryEngine> {
        let engine = Arc::new(MemoryEngine::new());
        let mut batch = Batch::default();
        for ((key, e), value) in writes {
            let key = GroupKeys::new(GROUP).data(&layout::raw(&[*key]), version(*e));
            batch.put(key, encode_value(value.as_ref().map(std::slice::from_ref)));
        }
        engine.write(&batch).unwrap();
        engine
    }

    fn remove(engine: &MemoryEngine, garbage: &[wire::Garbage]) {
        let mut batch = Batch::default();
        for garbage in garbage {
            for version in &garbage.versions {
                batch.delete(GroupKeys::new(GROUP).data(&garbage.key, (*version).into()));
            }
        }
        engine.write(&batch).unwrap();
    }

    fn shown_at(view: &GroupView, at: Version) -> Vec<(Bytes, Version)> {
        let reader = VersionReader::new(&*view.snapshot, GROUP, &view.ranges, at);
        let mut scan = reader.scan(&KeyRange::all(), Order::Ascending);
        std::iter::from_fn(|| scan.next_visible().unwrap()).map(|(key, record)| (key, record.version)).collect()
    }

    proptest! {
        /// However small the steps: no snapshot from the safe point on sees a difference, and nothing else is left.
        #[test]
        fn a_pass_changes_no_snapshot_and_leaves_no_garbage(
            writes in prop::collection::btree_map((0u8..5, 1u64..20), prop::option::of(any::<u8>()), 0..60),
            safe_point in 0u64..22,
            looks in 1usize..12,
            found in 1usize..6,
        ) {
            let engine = engine_with(&writes);
            let before = view(&engine, None);
            let (mut start, mut ripens) = (beginning(), false);
            loop {
                let step = step(GROUP, &view(&engine, None), &start, safe_point, StepLimits { looks, found }).unwrap();
                remove(&engine, &step.garbage);
                ripens |= step.ripens;
                match step.next {
                    Some(next) => start = next,
                    None => break,
                }
            }
            let after = view(&engine, None);
            for at in safe_point..24 {
                let at = Version { e: at.saturating_sub(1), s: u64::MAX };
                prop_assert_eq!(shown_at(&before, at), shown_at(&after, at));
            }
            for key in 0..5u8 {
                let stored = |e: &u64| {
                    after.snapshot.get(&GroupKeys::new(GROUP).data(&layout::raw(&[key]), version(*e))).unwrap().is_some()
                };
                let left: Vec<u64> = (1..20).filter(stored).collect();
                let below: Vec<&u64> = left.iter().filter(|e| **e < safe_point).collect();
                prop_assert!(below.len() <= 1);
                prop_assert!(below.iter().all(|e| writes[&(key, **e)].is_some()), "a tombstone is left");
                let later = step(GROUP, &after, &beginning(), u64::MAX, ALL).unwrap();
                prop_assert!(later.garbage.is_empty() || ripens, "what ripens is announced");
            }
        }
    }

    #[test]
    fn elements_go_when_their_generation_has_ended_below_the_safe_point() {
        let engine = MemoryEngine::new();
        let mut batch = Batch::default();
        let keys = GroupKeys::new(GROUP);
        // The meta record of a hash: format, type, expiry, generation, fields, flags.
        let hash =
            |generation: u64| [&[1, 2][..], &[0; 8], &generation.to_be_bytes(), &1u64.to_be_bytes(), &[0]].concat();
        let mut put =
            |key: Vec<u8>, e, value: Option<&[u8]>| batch.put(keys.data(&key, version(e)), encode_value(value));
        let element =
            |name: &[u8], generation| layout::redis_element(&layout::redis_elements(0, name, generation), b"f");
        for (name, ended) in [(&b"deleted"[..], None), (b"replaced", Some(hash(8))), (b"stays", Some(hash(7)))] {
            put(layout::redis_meta(0, name), 3, Some(&hash(7)));
            put(element(name, 7), 3, Some(b"v"));
            put(layout::redis_meta(0, name), 5, ended.as_deref());
        }
        put(element(b"replaced", 8), 5, Some(b"v"));
        engine.write(&batch).unwrap();
        let view = view(&engine, None);
        let elements = |safe_point, start: &[u8]| {
            let found = step(GROUP, &view, start, safe_point, ALL).unwrap();
            let keys = found.garbage.into_iter().map(|garbage| garbage.key);
            keys.filter(|key| layout::redis_generation(key).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(elements(5, &beginning()), Vec::<Bytes>::new(), "a snapshot at 5 sees them");
        let mut gone = vec![element(b"deleted", 7), element(b"replaced", 7)];
        gone.sort();
        assert_eq!(elements(6, &beginning()), gone);
        assert!(elements(6, &element(b"replaced", 7)).contains(&Bytes::from(element(b"replaced", 7))));
    }

    #[test]
    fn flushed_and_expired_records_go_behind_the_safe_point() {
        let engine = MemoryEngine::new();
        let mut batch = Batch::default();
        let keys = GroupKeys::new(GROUP);
        let put = |batch: &mut Batch, name: &str, e, expire_at_ms| {
            // The meta record of a string: format, type, expiry, value.
            let value = [&[1, 1][..], &u64::to_be_bytes(expire_at_ms), b"v"].concat();
            batch.put(keys.data(&layout::redis_meta(0, name.as_bytes()), version(e)), encode_value(Some(&value)));
        };
        put(&mut batch, "flushed", 3, 0);
        put(&mut batch, "expired", 6, 1_000);
        put(&mut batch, "expires", 6, 1_001);
        put(&mut batch, "stays", 6, 0);
        engine.write(&batch).unwrap();
        let view = view(&engine, Some(4));
        let names = |safe_point| {
            let found = step(GROUP, &view, &beginning(), safe_point, ALL).unwrap();
            let key = |garbage: &wire::Garbage| layout::parse_redis_meta(&garbage.key).unwrap().1;
            let mut names: Vec<_> = found.garbage.iter().map(key).collect();
            names.sort();
            (names, found.ripens)
        };
        assert_eq!(names(4), (vec![], true), "a snapshot at 4 does not know of the flush");
        assert_eq!(names(5).0, [b"flushed"]);
        assert_eq!(names(7), (vec![b"expired".to_vec(), b"flushed".to_vec()], true));
    }
}
