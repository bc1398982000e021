//! Commands over a whole database inside a transaction.
//!
//! FLUSHALL or DBSIZE names no key; it means all Redis keys, wherever the ranges are cut at that moment. Such a part is
//! handed in as a span over the whole Redis keyspace. Each time an attempt is planned it is *spread*: one part for each
//! range, on the lock unit of that range's span. From there on it is shipped like every other part, in the same
//! prewrite as the parts on the keys of that range, so their order holds. *Gathering* makes one outcome of the many.
//!
//! When a range is cut between the plan and the lock, the group refuses the old epoch, and the next attempt is planned
//! anew; while the lock is held the range is not cut.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use commands::redis::{Span, SpanOutcome, SpanPart};
use commands::{Command, Outcome};
use keyspace::{KeyRange, RouteMap, layout};

use super::{Part, TxnError, Work};
use crate::router::RouterError;

/// All Redis keys.
fn redis_keys() -> KeyRange {
    KeyRange::prefix(vec![layout::REDIS])
}

impl Part {
    /// A command over all keys of a database, or of all.
    pub fn over_database(db: u8, part: SpanPart) -> Self {
        let span = Span { db, range: redis_keys(), part };
        Self { command: Command::RedisSpan(span), units: Vec::new() }
    }

    fn whole_span(&self) -> Option<&Span> {
        match &self.command {
            Command::RedisSpan(span) if self.units.is_empty() => Some(span),
            _ => None,
        }
    }
}

impl Work {
    /// Whether a command concerns a whole database.
    pub(super) fn is_over_database(&self) -> bool {
        self.parts.iter().any(|part| part.whole_span().is_some())
    }

    /// The smallest unit that the work names, however its commands are spread.
    pub(super) fn anchor(&self) -> Option<Bytes> {
        let named = self.parts.iter().flat_map(|part| &part.units).cloned();
        let observed = self.observed.iter().map(|(unit, _)| unit.clone());
        let spans = self.is_over_database().then(|| layout::span_unit(redis_keys().start()).into());
        named.chain(observed).chain(spans).min()
    }
}

/// Work as it lies over the ranges now.
#[derive(Debug)]
pub(super) struct Spread<'w> {
    /// Every part names its units.
    pub(super) work: Cow<'w, Work>,
    /// How many parts each part of the original has become; `None`: the work is the original.
    counts: Option<Vec<usize>>,
}

/// Spreads what concerns a whole database.
pub(super) fn spread<'w>(work: &'w Work, routes: &RouteMap) -> Spread<'w> {
    if !work.is_over_database() {
        return Spread { work: Cow::Borrowed(work), counts: None };
    }
    let overlapping = routes.overlapping(&redis_keys());
    let spans: Vec<KeyRange> = overlapping.iter().filter_map(|route| route.range.redis_part()).collect();
    let unit = |span: &KeyRange| Bytes::from(layout::span_unit(span.start()));
    let mut parts = Vec::with_capacity(work.parts.len());
    let mut counts = Vec::with_capacity(work.parts.len());
    for part in &work.parts {
        let before = parts.len();
        match part.whole_span() {
            None => parts.push(part.clone()),
            Some(whole) => parts.extend(spans.iter().map(|span| Part {
                command: Command::RedisSpan(Span { range: span.clone(), ..whole.clone() }),
                units: vec![unit(span)],
            })),
        }
        counts.push(parts.len() - before);
    }
    let spans: BTreeMap<Bytes, KeyRange> = spans.into_iter().map(|span| (unit(&span), span)).collect();
    let work = Work { parts, observed: work.observed.clone(), spans, all_or_none: work.all_or_none };
    Spread { work: Cow::Owned(work), counts: Some(counts) }
}

impl Spread<'_> {
    /// One outcome for each part of the original, from those of all parts.
    pub(super) fn gather(&self, outcomes: Vec<Outcome>) -> Result<Vec<Outcome>, TxnError> {
        let Some(counts) = &self.counts else { return Ok(outcomes) };
        let mut outcomes = outcomes.into_iter();
        let gathered = counts.iter().map(|&count| {
            let mut of_part = outcomes.by_ref().take(count);
            let first = of_part.next().ok_or_else(|| RouterError::Protocol("a part without outcome".into()))?;
            of_part.try_fold(complete(first)?, |whole, outcome| merge(whole, complete(outcome)?))
        });
        gathered.collect()
    }
}

/// Refuses the answer of a span that was too large for one look.
fn complete(outcome: Outcome) -> Result<Outcome, TxnError> {
    match outcome {
        Outcome::RedisSpan(
            SpanOutcome::Scanned { next: Some(_), .. } | SpanOutcome::Counted { resume: Some(_), .. },
        ) => Err(TxnError::DatabaseTooLarge),
        complete => Ok(complete),
    }
}

fn merge(whole: Outcome, more: Outcome) -> Result<Outcome, TxnError> {
    use SpanOutcome::{Counted, Flushed, Scanned};
    let merged = match (whole, more) {
        (Outcome::RedisSpan(Flushed), Outcome::RedisSpan(Flushed)) => Flushed,
        (Outcome::RedisSpan(Counted { keys, .. }), Outcome::RedisSpan(Counted { keys: more, .. })) => {
            Counted { keys: keys + more, resume: None }
        }
        (Outcome::RedisSpan(Scanned { mut keys, .. }), Outcome::RedisSpan(Scanned { keys: more, .. })) => {
            keys.extend(more);
            Scanned { keys, next: None }
        }
        _ => return Err(RouterError::Protocol("outcomes of different commands for one part".into()).into()),
    };
    Ok(Outcome::RedisSpan(merged))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use commands::redis::Invocation;

    use super::*;
    use crate::router::fake::some_route;

    fn routes() -> RouteMap {
        let routes = vec![
            some_route(1, b"", b"r\x20", 1, 1),
            some_route(2, b"r\x20", b"r\x60", 2, 1),
            some_route(3, b"r\x60", b"", 1, 1),
        ];
        RouteMap::new(1, routes).unwrap()
    }

    fn counted(keys: u64) -> Outcome {
        Outcome::RedisSpan(SpanOutcome::Counted { keys, resume: None })
    }

    fn work() -> Work {
        let get = Command::Redis(Invocation::new(0, vec![Bytes::from_static(b"GET"), "k".into()]));
        let keyed = Part { command: get, units: vec![layout::redis_unit(0, b"k").into()] };
        let size = SpanPart::Count { resume: None, limit: 10 };
        Work { parts: vec![keyed, Part::over_database(0, size)], ..Work::default() }
    }

    #[test]
    fn every_range_gets_its_part_and_one_outcome_comes_of_them() {
        let work = work();
        let spread = spread(&work, &routes());
        let units: Vec<_> = spread.work.parts.iter().flat_map(|part| &part.units).collect();
        assert_eq!(units[1..], [&b"r\0"[..], b"r\x20\0", b"r\x60\0"]);
        assert_eq!(spread.work.spans[&b"r\x60\0"[..]].end().unwrap(), "s", "other languages' keys are left out");
        let outcomes = vec![counted(0), counted(1), counted(2), counted(4)];
        assert_eq!(spread.gather(outcomes).unwrap(), [counted(0), counted(7)]);
        assert!(spread.gather(vec![counted(0)]).is_err());
        let more = Outcome::RedisSpan(SpanOutcome::Counted { keys: 9, resume: Some("k".into()) });
        let too_large = spread.gather(vec![counted(0), counted(1), more, counted(2)]);
        assert_eq!(too_large, Err(TxnError::DatabaseTooLarge));
    }

    #[test]
    fn the_anchor_does_not_depend_on_the_ranges() {
        let work = work();
        assert_eq!(work.anchor().unwrap(), b"r\0"[..]);
        let first = spread(&work, &routes()).work.parts.iter().flat_map(|part| part.units.clone()).min();
        assert_eq!(first, work.anchor());
        let whole = RouteMap::new(1, vec![some_route(1, b"", b"", 1, 1)]).unwrap();
        assert_eq!(spread(&work, &whole).work.spans.len(), 1);
    }
}
