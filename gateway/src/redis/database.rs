//! Commands over a whole database: KEYS, SCAN, DBSIZE, FLUSHDB, FLUSHALL, RANDOMKEY.
//!
//! Each becomes one [`Span`] a range. Ranges are cut anywhere between two keys, so also inside a slot, and may be split
//! or moved while a command runs; then the part that fell apart is divided anew ([`RouterError::CrossGroup`]).
//!
//! A flush is a transaction over all ranges. KEYS and DBSIZE see each range at its own moment; inside MULTI they see all
//! of them at one, and are bounded (`txn/whole.rs`). SCAN and RANDOMKEY promise no moment.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use commands::redis::cursor::{merge_slot, random_position, to_cursor};
use commands::redis::database::{DatabaseRequest, parse};
use commands::redis::{Invocation, ScanPosition, Span, SpanOutcome, SpanPart, Value};
use commands::{Command, Outcome};
use keyspace::slot::{SLOTS, slot_of};
use keyspace::{KeyRange, layout};

use super::refusal;
use crate::router::{Answer, Prepared, Reason, Router, RouterError};
use crate::txn::{Part, Transactions, Work};

/// Keys asked of one range at a time by KEYS and DBSIZE.
const STEP_KEYS: usize = 10_000;
/// KEYS gives up beyond this many bytes of keys.
const MAX_KEYS_BYTES: usize = 64 << 20;
/// Requests to ranges at the same time.
const CONCURRENCY: usize = 64;
/// How long a command waits for the first word from placement.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// Ranges that one SCAN looks into before it answers with what it has.
const MAX_SCAN_STEPS: usize = 64;

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    Router(RouterError),
    /// KEYS would hold more than [`MAX_KEYS_BYTES`].
    TooManyKeys,
    /// An answer of another kind than was asked for.
    Unexpected,
}

impl From<RouterError> for Failure {
    fn from(error: RouterError) -> Self {
        Failure::Router(error)
    }
}

impl From<Failure> for Value {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Router(error) => refusal::reply(&error),
            Failure::TooManyKeys => {
                Value::Error(format!("ERR KEYS would answer more than {} MB of keys; use SCAN", MAX_KEYS_BYTES >> 20))
            }
            Failure::Unexpected => refusal::unexpected(),
        }
    }
}

/// What a request asks of each range, if it is of one moment; `None`: it promises none.
pub(super) fn span_part(request: &DatabaseRequest) -> Option<SpanPart> {
    match request {
        DatabaseRequest::Keys { pattern } => Some(scan_all(ScanPosition::default(), pattern)),
        DatabaseRequest::Size => Some(SpanPart::Count { resume: None, limit: STEP_KEYS }),
        DatabaseRequest::Flush { all_databases } => Some(SpanPart::Flush { all_databases: *all_databases }),
        DatabaseRequest::Scan { .. }
        | DatabaseRequest::RandomKey
        | DatabaseRequest::SlotSize { .. }
        | DatabaseRequest::SlotKeys { .. } => None,
    }
}

/// The reply, when every range has answered.
pub(super) fn whole_value(outcome: SpanOutcome) -> Value {
    match outcome {
        SpanOutcome::Scanned { keys, .. } => Value::Array(keys.into_iter().map(Value::Bulk).collect()),
        SpanOutcome::Counted { keys, .. } => Value::Integer(i64::try_from(keys).unwrap_or(i64::MAX)),
        SpanOutcome::Flushed => Value::OK,
    }
}

fn scan_all(from: ScanPosition, pattern: &Option<Bytes>) -> SpanPart {
    SpanPart::Scan { from, count: STEP_KEYS, pattern: pattern.clone(), type_name: None }
}

/// Runs one command; `connection` is the client's.
pub(super) async fn run(
    router: &Router,
    transactions: &Transactions,
    connection: u64,
    invocation: Invocation,
) -> Value {
    let request = match parse(&invocation) {
        Ok(request) => request,
        Err(error) => return error.into(),
    };
    // Before the first word from placement there are no ranges to ask.
    if tokio::time::timeout(READY_TIMEOUT, router.wait_ready()).await.is_err() {
        return refusal::reply(&RouterError::Unavailable(Reason::NoRoute));
    }
    let over = Database { router, connection, db: invocation.db };
    let answered = match request {
        DatabaseRequest::Keys { pattern } => over.keys(pattern).await,
        DatabaseRequest::Scan { from, count, pattern, type_name } => {
            over.scan(from, &Page { count, pattern, type_name }).await
        }
        DatabaseRequest::Size => over.size().await,
        DatabaseRequest::Flush { all_databases } => {
            let part = Part::over_database(invocation.db, SpanPart::Flush { all_databases });
            return match transactions.run(connection, Work::new(vec![part], Vec::new())).await {
                Ok(_) => Value::OK,
                Err(error) => refusal::transaction(&error),
            };
        }
        DatabaseRequest::RandomKey => over.random_key().await,
        DatabaseRequest::SlotSize { slot } => over.slot_size(slot).await,
        DatabaseRequest::SlotKeys { slot, count } => over.slot_keys(slot, count).await,
    };
    answered.unwrap_or_else(Value::from)
}

/// What a page of SCAN shall hold.
#[derive(Clone, Debug)]
struct Page {
    count: usize,
    pattern: Option<Bytes>,
    type_name: Option<String>,
}

/// Keys and where to go on, `None` behind everything.
type Found = (Vec<Bytes>, Option<ScanPosition>);

/// One range's part of a command that still has to be asked.
#[derive(Clone, Debug)]
struct Step {
    range: KeyRange,
    part: SpanPart,
}

struct Database<'a> {
    router: &'a Router,
    connection: u64,
    db: u8,
}

impl Database<'_> {
    async fn keys(&self, pattern: Option<Bytes>) -> Result<Value, Failure> {
        let part = scan_all(ScanPosition::default(), &pattern);
        let mut keys = Vec::new();
        let mut bytes = 0;
        self.everywhere(part, |step, outcome| {
            let SpanOutcome::Scanned { keys: found, next } = outcome else { return Err(Failure::Unexpected) };
            bytes += found.iter().map(|key| key.len() + size_of::<Value>()).sum::<usize>();
            if bytes > MAX_KEYS_BYTES {
                return Err(Failure::TooManyKeys);
            }
            keys.extend(found.into_iter().map(Value::Bulk));
            Ok(next.map(|from| Step { range: step.range.clone(), part: scan_all(from, &pattern) }))
        })
        .await?;
        Ok(Value::Array(keys))
    }

    async fn size(&self) -> Result<Value, Failure> {
        let mut total = 0;
        self.everywhere(SpanPart::Count { resume: None, limit: STEP_KEYS }, |step, outcome| {
            let SpanOutcome::Counted { keys, resume } = outcome else { return Err(Failure::Unexpected) };
            total += keys;
            let again = |resume| SpanPart::Count { resume: Some(resume), limit: STEP_KEYS };
            Ok(resume.map(|resume| Step { range: step.range.clone(), part: again(resume) }))
        })
        .await?;
        Ok(Value::Integer(i64::try_from(total).unwrap_or(i64::MAX)))
    }

    async fn scan(&self, from: Option<ScanPosition>, page: &Page) -> Result<Value, Failure> {
        let mut keys = Vec::new();
        let mut next = from;
        let mut steps = 0;
        while let Some(position) = next {
            let rest = Page { count: page.count.saturating_sub(keys.len()).max(1), ..page.clone() };
            let (found, behind, whole_step) = self.scan_from(position, &rest).await?;
            keys.extend(found);
            next = behind;
            steps += 1;
            // A step that stopped inside a range has looked at as many keys as it may.
            if !whole_step || keys.len() >= page.count || steps >= MAX_SCAN_STEPS {
                break;
            }
        }
        let cursor = Value::Bulk(to_cursor(next).to_string().into());
        Ok(Value::Array(vec![cursor, Value::Array(keys.into_iter().map(Value::Bulk).collect())]))
    }

    async fn slot_size(&self, slot: u16) -> Result<Value, Failure> {
        let mut size = 0;
        self.slot(slot, |keys| {
            size += keys.len();
            Ok(true)
        })
        .await?;
        Ok(Value::Integer(i64::try_from(size).unwrap_or(i64::MAX)))
    }

    async fn slot_keys(&self, slot: u16, count: usize) -> Result<Value, Failure> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        if count > 0 {
            self.slot(slot, |keys| {
                bytes += keys.iter().map(Bytes::len).sum::<usize>();
                found.extend(keys.into_iter().take(count - found.len()).map(Value::Bulk));
                if bytes > MAX_KEYS_BYTES { Err(Failure::TooManyKeys) } else { Ok(found.len() < count) }
            })
            .await?;
        }
        Ok(Value::Array(found))
    }

    /// All keys of a slot, page by page, while `take` wants more.
    async fn slot(&self, slot: u16, mut take: impl FnMut(Vec<Bytes>) -> Result<bool, Failure>) -> Result<(), Failure> {
        let page = Page { count: STEP_KEYS, pattern: None, type_name: None };
        let mut next = Some(ScanPosition { slot, above_hash: None });
        while let Some(position) = next.filter(|position| position.slot == slot) {
            let (mut keys, behind, _) = self.scan_from(position, &page).await?;
            // A page goes on into the slots behind.
            keys.retain(|key| slot_of(key) == slot);
            if !take(keys)? {
                break;
            }
            next = behind;
        }
        Ok(())
    }

    async fn random_key(&self) -> Result<Value, Failure> {
        let page = Page { count: 1, pattern: None, type_name: None };
        let start = random_position(rand::random());
        let mut next = Some(start);
        let mut wrapped = false;
        loop {
            let Some(position) = next else {
                if wrapped {
                    return Ok(Value::Null);
                }
                wrapped = true;
                next = Some(ScanPosition::default());
                continue;
            };
            if wrapped && position > start {
                return Ok(Value::Null);
            }
            let (keys, behind, _) = self.scan_from(position, &page).await?;
            match keys.into_iter().next() {
                Some(key) => return Ok(Value::Bulk(key)),
                None => next = behind,
            }
        }
    }

    /// One step of a scan: the keys of the ranges at `position`, where to go on, and whether the step came to the end
    /// of what it asked.
    async fn scan_from(
        &self,
        position: ScanPosition,
        page: &Page,
    ) -> Result<(Vec<Bytes>, Option<ScanPosition>, bool), Failure> {
        loop {
            let plan = plan(&self.parts_from(position.slot), position.slot);
            let part = SpanPart::Scan {
                from: position,
                count: page.count,
                pattern: page.pattern.clone(),
                type_name: page.type_name.clone(),
            };
            let asked = plan.parts.iter().map(|range| self.prepare(range.clone(), part.clone())).collect();
            let mut found: Vec<Found> = Vec::with_capacity(plan.parts.len());
            let mut fell_apart = false;
            for answer in self.router.submit(self.connection, asked).await {
                match span_outcome(answer) {
                    Ok(SpanOutcome::Scanned { keys, next }) => found.push((keys, next)),
                    Ok(_) => return Err(Failure::Unexpected),
                    Err(Failure::Router(RouterError::CrossGroup)) => fell_apart = true,
                    Err(failure) => return Err(failure),
                }
            }
            if fell_apart {
                // The routes have changed: the next plan is made from the new ones.
                tokio::task::yield_now().await;
                continue;
            }
            let (keys, unfinished) = match plan.shared_slot {
                Some(slot) => merge_slot(slot, found),
                None => found.pop().unwrap_or_default(),
            };
            let behind = (plan.next_slot < SLOTS).then_some(ScanPosition { slot: plan.next_slot, above_hash: None });
            return Ok((keys, unfinished.or(behind), unfinished.is_none()));
        }
    }

    /// The ranges that hold slots from `slot` on, in order.
    fn parts_from(&self, slot: u16) -> Vec<KeyRange> {
        redis_keys(slot, SLOTS).map_or_else(Vec::new, |keys| self.router.parts_of(&keys))
    }

    /// Runs a part on every range, and again wherever `take` says that there is more.
    async fn everywhere(
        &self,
        part: SpanPart,
        mut take: impl FnMut(&Step, SpanOutcome) -> Result<Option<Step>, Failure>,
    ) -> Result<(), Failure> {
        // A flush marks all Redis keys of a range, so the parts are not cut to the slots that exist.
        let everything = self.router.parts_of(&KeyRange::prefix(vec![layout::REDIS]));
        let mut waiting: VecDeque<Step> =
            everything.into_iter().map(|range| Step { range, part: part.clone() }).collect();
        while !waiting.is_empty() {
            let steps: Vec<Step> = waiting.drain(..waiting.len().min(CONCURRENCY)).collect();
            let asked = steps.iter().map(|step| self.prepare(step.range.clone(), step.part.clone())).collect();
            let answers = self.router.submit(self.connection, asked).await;
            for (step, answer) in steps.into_iter().zip(answers) {
                match span_outcome(answer) {
                    Ok(outcome) => waiting.extend(take(&step, outcome)?),
                    Err(Failure::Router(RouterError::CrossGroup)) => {
                        let again = |range| Step { range, part: step.part.clone() };
                        waiting.extend(self.router.parts_of(&step.range).into_iter().map(again));
                    }
                    Err(failure) => return Err(failure),
                }
            }
        }
        Ok(())
    }

    fn prepare(&self, range: KeyRange, part: SpanPart) -> Prepared {
        let span = Span { db: self.db, range: range.clone(), part };
        Prepared::many(vec![Command::RedisSpan(span)], Vec::new(), vec![range])
    }
}

fn span_outcome(answer: Answer) -> Result<SpanOutcome, Failure> {
    match answer?.pop() {
        Some(Outcome::RedisSpan(outcome)) => Ok(outcome),
        _ => Err(Failure::Unexpected),
    }
}

/// Keys of the slots `from..to`.
fn redis_keys(from: u16, to: u16) -> Option<KeyRange> {
    KeyRange::new(layout::redis_slot(from), Some(layout::redis_slot(to).into()))
}

/// Which ranges to scan together.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    parts: Vec<KeyRange>,
    /// Set: the parts are those of this slot, which several ranges share.
    shared_slot: Option<u16>,
    /// First slot behind the parts.
    next_slot: u16,
}

/// What to scan from `slot` on. `parts` are the ranges from there to the end of the Redis keyspace, in order.
///
/// One range as far as it holds whole slots; or, if the slot is cut, all pieces of that one slot.
fn plan(parts: &[KeyRange], slot: u16) -> Plan {
    let whole =
        |from, to| redis_keys(from, to).map(|keys| Plan { parts: vec![keys], shared_slot: None, next_slot: to });
    let nothing = Plan { parts: Vec::new(), shared_slot: None, next_slot: SLOTS };
    let Some(first) = parts.first() else { return nothing };
    let end = first.end().map_or(SLOTS, |end| whole_slots_below(end));
    if end > slot {
        return whole(slot, end).unwrap_or(nothing);
    }
    let Some(this_slot) = redis_keys(slot, slot + 1) else { return nothing };
    let pieces = parts.iter().map_while(|part| part.intersect(&this_slot)).collect();
    Plan { parts: pieces, shared_slot: Some(slot), next_slot: slot + 1 }
}

/// How many slots lie wholly below `end`, an encoded key.
fn whole_slots_below(end: &[u8]) -> u16 {
    match *end {
        [layout::REDIS, high, low, ..] => u16::from_be_bytes([high, low]).min(SLOTS),
        [tag, ..] if tag > layout::REDIS => SLOTS,
        _ => 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The parts of the Redis keyspace from `slot` on, cut at `cuts`.
    fn cut_at(cuts: &[Bytes], slot: u16) -> Vec<KeyRange> {
        let mut rest = redis_keys(slot, SLOTS).unwrap();
        let mut parts = Vec::new();
        for cut in cuts {
            if let Some((below, above)) = rest.split_at(cut) {
                parts.push(below);
                rest = above;
            }
        }
        parts.push(rest);
        parts
    }

    fn inside(slot: u16, tail: &[u8]) -> Bytes {
        [layout::redis_slot(slot), tail.to_vec()].concat().into()
    }

    #[test]
    fn a_range_is_scanned_as_far_as_it_holds_whole_slots() {
        let cuts = [inside(100, b""), inside(200, b"\x00abc"), inside(200, b"\x00def")];
        let first = plan(&cut_at(&cuts, 7), 7);
        assert_eq!(first, Plan { parts: vec![redis_keys(7, 100).unwrap()], shared_slot: None, next_slot: 100 });
        let second = plan(&cut_at(&cuts, 100), 100);
        assert_eq!(second, Plan { parts: vec![redis_keys(100, 200).unwrap()], shared_slot: None, next_slot: 200 });
        let third = plan(&cut_at(&cuts, 200), 200);
        assert_eq!((third.parts.len(), third.shared_slot, third.next_slot), (3, Some(200), 201));
        assert_eq!(third.parts[2], KeyRange::new(cuts[2].clone(), Some(inside(201, b""))).unwrap());
        let last = plan(&cut_at(&cuts, 201), 201);
        assert_eq!(last, Plan { parts: vec![redis_keys(201, SLOTS).unwrap()], shared_slot: None, next_slot: SLOTS });
    }

    proptest! {
        #[test]
        fn plans_cover_every_slot_once(
            cuts in prop::collection::btree_set((0..SLOTS, prop::collection::vec(any::<u8>(), 0..3)), 0..12),
        ) {
            let cuts: Vec<Bytes> = cuts.into_iter().map(|(slot, tail)| inside(slot, &tail)).collect();
            let mut slot = 0;
            let mut covered_to = Bytes::from(layout::redis_slot(0));
            while slot < SLOTS {
                let parts = cut_at(&cuts, slot);
                let plan = plan(&parts, slot);
                prop_assert!(plan.next_slot > slot);
                for part in &plan.parts {
                    prop_assert_eq!(part.start(), &covered_to);
                    prop_assert!(parts.iter().any(|range| range.covers(part)), "a part lies in one range");
                    covered_to = part.end().unwrap().clone();
                }
                slot = plan.next_slot;
            }
            prop_assert_eq!(covered_to, Bytes::from(layout::redis_slot(SLOTS)));
        }
    }
}
