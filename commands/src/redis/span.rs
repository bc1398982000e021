//! One range's part of SCAN, KEYS, RANDOMKEY, DBSIZE, FLUSHDB and FLUSHALL.
//!
//! Keys lie in (slot, database, user key) order, so a walk over one database meets the records of others and jumps over
//! them. It fetches records in steps that adapt to their size, and an evaluation stops behind a number of steps: the
//! answer may then hold few keys or none, and says where to go on.
//!
//! A scan lists slots one after the other. The keys of a slot are listed in the order of their [`scan_hash`], as many as
//! the page has room for, those with the hash of the last one included; so every page goes on exactly where the one
//! before it ended, whatever was written in between. The price: a slot that does not fit one page is walked once for
//! each of its pages. Only a hash tag with very many keys makes such a slot.

use std::collections::BTreeMap;

use bytes::Bytes;
use keyspace::slot::SLOTS;
use keyspace::{KeyRange, layout, range};

use super::cursor::scan_hash;
use super::glob::Pattern;
use super::record::Meta;
use super::{ScanPosition, Span, SpanOutcome, SpanPart};
use crate::view::{Order, View, ViewError};

/// Most keys that one scan looks at, and one count.
const MAX_KEYS: usize = 10_000;
/// A page ends behind this many bytes of keys.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// An evaluation stops behind this many steps; a scan at the next slot boundary.
const MAX_STEPS: usize = 256;
/// Records fetched in the first step.
const FIRST_STEP: usize = 8;
/// Records fetched in one step at most.
const MAX_STEP: usize = 256;
/// About this many bytes are fetched in one step.
const STEP_BYTES: usize = 1 << 18;

/// Runs one range's part of a command over a database.
pub async fn run_span<V: View>(view: &mut V, span: &Span) -> Result<SpanOutcome, ViewError> {
    match &span.part {
        SpanPart::Scan { from, count, pattern, type_name } => {
            let filter = Filter { pattern: pattern.as_deref().map(Pattern::new), type_name: type_name.as_deref() };
            scan(view, span, *from, (*count).clamp(1, MAX_KEYS), &filter).await
        }
        SpanPart::Count { resume, limit } => count_keys(view, span, resume.as_ref(), (*limit).clamp(1, MAX_KEYS)).await,
        SpanPart::Flush { all_databases } => {
            view.flush_redis(&span.range, (!all_databases).then_some(span.db));
            Ok(SpanOutcome::Flushed)
        }
    }
}

/// Which keys a scan lists.
struct Filter<'a> {
    pattern: Option<Pattern>,
    type_name: Option<&'a str>,
}

impl Filter<'_> {
    fn takes(&self, key: &Found) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.matches(&key.user_key))
            && self.type_name.is_none_or(|wanted| wanted.eq_ignore_ascii_case(key.meta.content.type_name()))
    }
}

async fn scan<V: View>(
    view: &mut V,
    span: &Span,
    from: ScanPosition,
    count: usize,
    filter: &Filter<'_>,
) -> Result<SpanOutcome, ViewError> {
    let mut walk = Walk::new(span.db, from_slot(&span.range, from.slot));
    let mut keys = Vec::new();
    let mut room = Room { keys: count, bytes: MAX_PAGE_BYTES };
    let mut page = SlotPage::new(from.slot);
    while let Some(found) = walk.step(view).await? {
        for key in found {
            if key.slot != page.slot {
                let full = page.close(&mut keys, &mut room);
                if full.is_some() {
                    return Ok(SpanOutcome::Scanned { keys, next: full });
                }
                if room.is_used_up() {
                    let next = Some(ScanPosition { slot: key.slot, above_hash: None });
                    return Ok(SpanOutcome::Scanned { keys, next });
                }
                page = SlotPage::new(key.slot);
            }
            let hash = scan_hash(&key.user_key);
            if key.slot == from.slot && from.above_hash.is_some_and(|above| hash <= above) {
                continue;
            }
            let gone = key.meta.expire_at_ms.is_some_and(|at| view.expired(at));
            let listed = !gone && filter.takes(&key);
            page.add(hash, listed.then_some(key.user_key), &room);
        }
        // Many steps, perhaps over nothing but other databases: the rest is for another evaluation.
        let reached = walk.slot().filter(|&slot| walk.steps >= MAX_STEPS && slot > page.slot);
        if let Some(slot) = reached {
            let next = page.close(&mut keys, &mut room).unwrap_or(ScanPosition { slot, above_hash: None });
            return Ok(SpanOutcome::Scanned { keys, next: Some(next) });
        }
    }
    let next = page.close(&mut keys, &mut room);
    Ok(SpanOutcome::Scanned { keys, next })
}

/// What of `range` lies in this slot or above.
fn from_slot(range: &KeyRange, slot: u16) -> Option<KeyRange> {
    let redis = KeyRange::new(layout::redis_slot(slot), Some(layout::redis_slot(SLOTS).into()))?;
    range.intersect(&redis)
}

/// How much still fits an answer.
struct Room {
    keys: usize,
    bytes: usize,
}

impl Room {
    fn is_used_up(&self) -> bool {
        self.keys == 0 || self.bytes == 0
    }
}

/// The keys of one slot with the smallest hashes, as many as there is room for.
///
/// Invariant: without the group of the largest hash, the groups would leave room.
struct SlotPage {
    slot: u16,
    /// Keys looked at by hash; those that are listed, and how many are not.
    groups: BTreeMap<u64, Group>,
    looked_at: usize,
    bytes: usize,
    /// Larger hashes were dropped.
    full: bool,
}

#[derive(Default)]
struct Group {
    listed: Vec<Bytes>,
    looked_at: usize,
    bytes: usize,
}

impl SlotPage {
    fn new(slot: u16) -> Self {
        Self { slot, groups: BTreeMap::new(), looked_at: 0, bytes: 0, full: false }
    }

    fn add(&mut self, hash: u64, listed: Option<Bytes>, room: &Room) {
        let group = self.groups.entry(hash).or_default();
        let bytes = listed.as_ref().map_or(0, Bytes::len);
        group.listed.extend(listed);
        group.looked_at += 1;
        group.bytes += bytes;
        self.looked_at += 1;
        self.bytes += bytes;
        while let Some((&hash, largest)) = self.groups.last_key_value() {
            let enough = self.looked_at - largest.looked_at >= room.keys || self.bytes - largest.bytes >= room.bytes;
            if !enough {
                break;
            }
            self.looked_at -= largest.looked_at;
            self.bytes -= largest.bytes;
            self.groups.remove(&hash);
            self.full = true;
        }
    }

    /// Moves the keys to the answer; says where to go on when the slot has more.
    fn close(&mut self, keys: &mut Vec<Bytes>, room: &mut Room) -> Option<ScanPosition> {
        room.keys = room.keys.saturating_sub(self.looked_at);
        room.bytes = room.bytes.saturating_sub(self.bytes);
        let last_hash = self.groups.last_key_value().map(|(&hash, _)| hash);
        keys.extend(std::mem::take(&mut self.groups).into_values().flat_map(|group| group.listed));
        self.full.then_some(ScanPosition { slot: self.slot, above_hash: last_hash })
    }
}

async fn count_keys<V: View>(
    view: &mut V,
    span: &Span,
    resume: Option<&Bytes>,
    limit: usize,
) -> Result<SpanOutcome, ViewError> {
    let mut rest = from_slot(&span.range, 0);
    if let Some(resume) = resume {
        rest = rest.and_then(|rest| behind(&rest, after(resume)));
    }
    let mut walk = Walk::new(span.db, rest);
    let (mut live, mut looked_at) = (0, 0);
    while looked_at < limit && walk.steps < MAX_STEPS {
        walk.limit_step(limit - looked_at);
        let Some(found) = walk.step(view).await? else {
            return Ok(SpanOutcome::Counted { keys: live, resume: None });
        };
        looked_at += found.len();
        for key in found {
            let gone = key.meta.expire_at_ms.is_some_and(|at| view.expired(at));
            live += u64::from(!gone);
        }
    }
    Ok(SpanOutcome::Counted { keys: live, resume: walk.rest.and(walk.last) })
}

/// A key of the walk's database; perhaps expired.
struct Found {
    slot: u16,
    user_key: Bytes,
    meta: Meta,
}

/// Walks over the meta records of one database, in key order.
struct Walk {
    db: u8,
    rest: Option<KeyRange>,
    step: usize,
    steps: usize,
    /// The last record seen, of whichever database.
    last: Option<Bytes>,
}

impl Walk {
    fn new(db: u8, rest: Option<KeyRange>) -> Self {
        Self { db, rest, step: FIRST_STEP, steps: 0, last: None }
    }

    fn limit_step(&mut self, records: usize) {
        self.step = self.step.min(records.max(1));
    }

    /// The slot of the last record seen.
    fn slot(&self) -> Option<u16> {
        self.last.as_deref().and_then(slot_of_record)
    }

    /// The next keys, perhaps none of this step; `None` at the end.
    async fn step<V: View>(&mut self, view: &mut V) -> Result<Option<Vec<Found>>, ViewError> {
        let Some(rest) = self.rest.take() else {
            return Ok(None);
        };
        let records = view.scan(&rest, Order::Ascending, self.step).await?;
        self.steps += 1;
        let Some((last, _)) = records.last() else {
            return Ok(None);
        };
        let last = last.clone();
        if records.len() == self.step {
            self.rest = behind(&rest, self.resume_at(&last)?);
        }
        let bytes: usize = records.iter().map(|(key, record)| key.len() + record.value.len()).sum();
        let fitting = STEP_BYTES * records.len() / bytes.max(1);
        // The elements of a large collection were fetched in vain: there may be more of its kind.
        let most = if layout::redis_generation(&last).is_some() { FIRST_STEP } else { MAX_STEP };
        self.step = fitting.clamp(1, (self.step * 2).min(most));
        self.last = Some(last);
        let mut found = Vec::with_capacity(records.len());
        for (key, record) in records {
            if let (Some(slot), Some((db, user_key))) = (slot_of_record(&key), layout::parse_redis_meta(&key))
                && db == self.db
            {
                found.push(Found { slot, user_key: user_key.into(), meta: Meta::decode(&key, &record.value)? });
            }
        }
        Ok(Some(found))
    }

    /// The first key behind `last` that may be a meta record of the database.
    fn resume_at(&mut self, last: &[u8]) -> Result<Bytes, ViewError> {
        let corrupt = |reason: String| ViewError::Corrupt { key: last.to_vec(), reason };
        let (Some(slot), Some(db)) = (slot_of_record(last), layout::redis_db(last)) else {
            return Err(corrupt("not a record of Redis".to_owned()));
        };
        if db != self.db {
            // Few records of a database that is not wanted are better than many.
            self.step = self.step.min(FIRST_STEP);
            let slot = if db < self.db { slot } else { slot + 1 };
            return Ok(layout::redis_slot_db(slot, self.db).into());
        }
        // The meta record comes first; elements of the same key are jumped over.
        let unit = layout::unit_len(last).map_err(|error| corrupt(error.to_string()))?;
        Ok(range::successor_of_prefix(&last[..unit]).unwrap_or_else(|| after(last)))
    }
}

/// The slot in an encoded key of Redis.
fn slot_of_record(key: &[u8]) -> Option<u16> {
    match key {
        [layout::REDIS, high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

/// What of `range` lies at `start` or above.
fn behind(range: &KeyRange, start: Bytes) -> Option<KeyRange> {
    KeyRange::new(start.max(range.start().clone()), range.end().cloned())
}

/// The smallest key above `key`.
fn after(key: &[u8]) -> Bytes {
    let mut next = key.to_vec();
    next.push(0);
    next.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::cursor::{from_cursor, merge_slot, to_cursor};
    use super::*;
    use crate::redis::{Invocation, run};
    use crate::testing::{MemoryView, ready};

    fn command(view: &mut MemoryView, db: u8, args: &[&str]) {
        let args = args.iter().map(|arg| Bytes::copy_from_slice(arg.as_bytes())).collect();
        assert!(!ready(run(view, &Invocation::new(db, args))).unwrap().is_error());
    }

    fn everything() -> KeyRange {
        KeyRange::prefix(vec![layout::REDIS])
    }

    fn page(
        view: &mut MemoryView,
        range: &KeyRange,
        from: ScanPosition,
        count: usize,
    ) -> (Vec<Bytes>, Option<ScanPosition>) {
        let part = SpanPart::Scan { from, count, pattern: None, type_name: None };
        match ready(run_span(view, &Span { db: 0, range: range.clone(), part })).unwrap() {
            SpanOutcome::Scanned { keys, next } => (keys, next),
            other => panic!("{other:?}"),
        }
    }

    /// All pages of a scan, cursors passing through the hands of a client.
    fn pages(view: &mut MemoryView, count: usize) -> Vec<Vec<Bytes>> {
        let mut cursor = 0;
        let mut pages = Vec::new();
        loop {
            let (keys, next) = page(view, &everything(), from_cursor(cursor).unwrap(), count);
            pages.push(keys);
            cursor = to_cursor(next);
            if cursor == 0 {
                return pages;
            }
        }
    }

    fn count(view: &mut MemoryView, db: u8, limit: usize) -> u64 {
        let (mut total, mut resume) = (0, None);
        loop {
            let part = SpanPart::Count { resume, limit };
            match ready(run_span(view, &Span { db, range: everything(), part })).unwrap() {
                SpanOutcome::Counted { keys, resume: None } => return total + keys,
                SpanOutcome::Counted { keys, resume: next } => (total, resume) = (total + keys, next),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn one_huge_slot_is_listed_in_pages_of_the_size_asked_for() {
        let mut view = MemoryView::default();
        for number in 0..500 {
            command(&mut view, 0, &["set", &format!("{{tag}}{number}"), "v"]);
        }
        let pages = pages(&mut view, 10);
        assert!(pages.iter().all(|page| page.len() <= 10));
        let listed: Vec<&Bytes> = pages.iter().flatten().collect();
        assert_eq!(listed.len(), 500);
        assert!(listed.is_sorted_by_key(|key| scan_hash(key)));
    }

    #[test]
    fn a_page_of_large_values_is_fetched_in_small_steps() {
        let mut view = MemoryView::default();
        let value = "x".repeat(STEP_BYTES);
        for number in 0..50 {
            command(&mut view, 0, &["set", &number.to_string(), &value]);
        }
        view.take_accesses();
        let mut walk = Walk::new(0, Some(everything()));
        let mut steps = 0;
        while ready(walk.step(&mut view)).unwrap().is_some() {
            steps += 1;
        }
        assert!(steps >= 40, "{steps} steps");
        assert_eq!(view.take_accesses().largest_scan, FIRST_STEP as u64);
    }

    #[test]
    fn a_page_ends_behind_a_megabyte_of_keys() {
        let mut view = MemoryView::default();
        let long = "k".repeat(60_000);
        for number in 0..60 {
            command(&mut view, 0, &["set", &format!("{number}{long}"), "v"]);
            command(&mut view, 0, &["set", &format!("{{tag}}{number}{long}"), "v"]);
        }
        let pages = pages(&mut view, MAX_KEYS);
        assert!(pages.len() > 4);
        assert!(pages.iter().all(|page| page.iter().map(Bytes::len).sum::<usize>() <= MAX_PAGE_BYTES + 70_000));
        assert_eq!(pages.concat().len(), 120);
    }

    #[test]
    fn other_databases_are_jumped_over_and_never_listed() {
        let mut view = MemoryView::default();
        for number in 0..2_000 {
            command(&mut view, 1, &["set", &format!("{{tag}}{number}"), "v"]);
        }
        command(&mut view, 0, &["set", "{tag}mine", "v"]);
        command(&mut view, 2, &["set", "{tag}other", "v"]);
        view.take_accesses();
        assert_eq!(pages(&mut view, 10).concat(), ["{tag}mine"]);
        assert!(view.take_accesses().scanned < 50);
        assert_eq!((count(&mut view, 0, 10), count(&mut view, 1, 7), count(&mut view, 3, 10)), (1, 2_000, 0));
    }

    #[test]
    fn an_evaluation_over_nothing_but_other_databases_stops_and_goes_on() {
        let mut view = MemoryView::default();
        for number in 0..10_000 {
            command(&mut view, 1, &["set", &number.to_string(), "v"]);
        }
        let last =
            (0..).map(|number| format!("last{number}")).find(|key| keyspace::slot::slot_of(key.as_bytes()) > 16_300);
        command(&mut view, 0, &["set", &last.clone().unwrap(), "v"]);
        let pages = pages(&mut view, 10);
        assert!(pages.len() > 1);
        assert_eq!(pages.concat(), [last.unwrap()]);
        assert_eq!(count(&mut view, 0, 10), 1);
    }

    #[test]
    fn expired_keys_are_neither_listed_nor_counted() {
        let mut view = MemoryView::default();
        command(&mut view, 0, &["set", "short", "v", "px", "10"]);
        command(&mut view, 0, &["set", "long", "v", "px", "1000"]);
        view.advance_ms(10);
        assert_eq!(pages(&mut view, 10).concat(), ["long"]);
        assert_eq!(count(&mut view, 0, 10), 1);
    }

    #[test]
    fn filters_count_as_looked_at() {
        let mut view = MemoryView::default();
        for number in 0..100 {
            command(&mut view, 0, &["set", &number.to_string(), "v"]);
        }
        let mut scan = |pattern: Option<&'static str>, type_name: Option<&str>| {
            let part = SpanPart::Scan {
                from: ScanPosition::default(),
                count: 20,
                pattern: pattern.map(Bytes::from),
                type_name: type_name.map(str::to_owned),
            };
            match ready(run_span(&mut view, &Span { db: 0, range: everything(), part })).unwrap() {
                SpanOutcome::Scanned { keys, next } => (keys.len(), next.is_some()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(scan(Some("nothing*"), None), (0, true));
        assert_eq!(scan(None, Some("STRING")), (20, true));
        assert_eq!(scan(None, Some("hash")), (0, true));
    }

    #[test]
    fn a_range_answers_for_its_own_keys_only() {
        let mut view = MemoryView::default();
        for number in 0..300 {
            command(&mut view, 0, &["set", &number.to_string(), "v"]);
        }
        let (below, above) = everything().split_at(&layout::redis_slot(8192).into()).unwrap();
        let (low, low_next) = page(&mut view, &below, ScanPosition::default(), MAX_KEYS);
        let (high, high_next) = page(&mut view, &above, ScanPosition::default(), MAX_KEYS);
        assert_eq!((low_next, high_next), (None, None));
        assert!(low.iter().all(|key| keyspace::slot::slot_of(key) < 8192) && !low.is_empty());
        assert_eq!(low.len() + high.len(), 300);
        let part = SpanPart::Flush { all_databases: false };
        ready(run_span(&mut view, &Span { db: 0, range: below, part })).unwrap();
        assert_eq!(count(&mut view, 0, 1_000), high.len() as u64);
    }

    #[test]
    fn a_slot_cut_in_two_is_listed_once_through_merging() {
        let mut view = MemoryView::default();
        for number in 0..200 {
            command(&mut view, 0, &["set", &format!("{{tag}}{number:03}"), "v"]);
        }
        let slot = keyspace::slot::slot_of(b"tag");
        let whole = KeyRange::prefix(layout::redis_slot(slot));
        let (left, right) = whole.split_at(&layout::redis_unit(0, b"{tag}050").into()).unwrap();
        let mut at = Some(ScanPosition { slot, above_hash: None });
        let mut listed = Vec::new();
        while let Some(from) = at {
            let parts = vec![page(&mut view, &left, from, 10), page(&mut view, &right, from, 10)];
            let (keys, next) = merge_slot(slot, parts);
            listed.extend(keys);
            at = next;
        }
        assert_eq!(listed.len(), 200);
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>().len(), 200);
    }

    #[test]
    fn equal_hashes_stay_together() {
        let mut page = SlotPage::new(0);
        let room = Room { keys: 2, bytes: 100 };
        for (hash, key) in [(5, "a"), (5, "b"), (5, "c"), (9, "d"), (3, "e")] {
            page.add(hash, Some(Bytes::from(key)), &room);
        }
        let mut keys = Vec::new();
        let next = page.close(&mut keys, &mut Room { keys: 2, bytes: 100 });
        assert_eq!(keys, ["e", "a", "b", "c"]);
        assert_eq!(next, Some(ScanPosition { slot: 0, above_hash: Some(5) }));
    }

    proptest! {
        /// What SCAN promises: a key that is there from the first to the last page is listed.
        #[test]
        fn a_key_that_stays_is_listed(
            stays in proptest::collection::btree_set("[a-c]{1,3}|\\{t\\}[a-z]{1,2}", 0..60),
            changes in proptest::collection::vec(("[a-c]{1,3}|\\{t\\}[a-z]{1,2}", any::<bool>()), 0..60),
            count in 1..12_usize,
        ) {
            let mut view = MemoryView::default();
            for key in &stays {
                command(&mut view, 0, &["set", key, "v"]);
            }
            let mut changes = changes.into_iter().filter(|(key, _)| !stays.contains(key));
            let (mut listed, mut cursor) = (BTreeSet::new(), 0);
            loop {
                let (keys, next) = page(&mut view, &everything(), from_cursor(cursor).unwrap(), count);
                for key in keys {
                    let before = listed.insert(String::from_utf8(key.to_vec()).unwrap());
                    prop_assert!(before, "listed twice although nothing was cut");
                }
                for (key, set) in changes.by_ref().take(3) {
                    let args: &[&str] = if set { &["set", &key, "v"] } else { &["del", &key] };
                    command(&mut view, 0, args);
                }
                cursor = to_cursor(next);
                if cursor == 0 {
                    break;
                }
            }
            prop_assert!(stays.is_subset(&listed));
        }
    }
}
