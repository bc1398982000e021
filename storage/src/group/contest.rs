//! Reads that meet locks.
//!
//! A lock means that a transaction may have committed without this group knowing it yet. The reader cannot tell; the
//! anchor can. So the answer holds both: what lies below the locks, in the read's own snapshot, and the locks. Whoever
//! asked inquires at the anchors: if none of the locks is committed with its p, what lies below is the answer; else the
//! lock must be resolved first and the read begins again (PROTOCOL §2).
//!
//! A locked unit does not expire until its lock is gone: the transaction has judged it at the time of its prewrite. A
//! read that would have to call such a unit expired gets the locks alone.

use bytes::Bytes;
use keyspace::{GroupId, Version, layout};
use proto::wire;

use super::answer::is_expired;
use super::locks::{self, Holder};
use super::request::{Outcome, ReadRequest, Scope, locked, rejected};
use super::state::{GroupView, StateError};
use super::versions::VersionReader;

/// Most locks that an answer lists; a read that met more must have them resolved in portions.
const LISTED_LOCKS: usize = 256;

/// The answer to a read of a group in which something is locked; `outcome` is what lies below the locks.
pub fn contested(group: GroupId, view: &GroupView, request: &ReadRequest, clock_ms: u64, outcome: Outcome) -> Outcome {
    let Outcome::Results(below) = outcome else { return outcome };
    let met = match met(group, view, request) {
        Ok(met) if met.is_empty() => return Outcome::Results(below),
        Ok(met) => met,
        Err(error) => return rejected(error.to_string()),
    };
    let see = |(unit, holder): &(Bytes, Holder)| holder.seen_at(unit, clock_ms);
    let seen: Vec<_> = met.iter().take(LISTED_LOCKS).map(see).collect();
    let expires_under_lock = |(unit, holder): &(Bytes, Holder)| expired_since(group, view, unit, holder, clock_ms);
    match met.iter().map(expires_under_lock).find(|expires| !matches!(expires, Ok(false))) {
        Some(Err(error)) => rejected(error),
        None if met.len() <= LISTED_LOCKS => Outcome::Contested(wire::Contested { below: Some(below), locks: seen }),
        Some(Ok(_)) | None => locked(seen),
    }
}

/// Exclusive locks of others on what the request reads, unless they can only commit above its snapshot.
fn met(group: GroupId, view: &GroupView, request: &ReadRequest) -> Result<Vec<(Bytes, Holder)>, StateError> {
    let mut met: Vec<(Bytes, Holder)> = Vec::new();
    let on_unit = |unit: Bytes| {
        let holders = locks::stored(&*view.snapshot, group, &unit)?;
        Ok::<_, StateError>(holders.into_iter().map(move |holder| (unit.clone(), holder)))
    };
    for target in &request.targets {
        match &target.scope {
            Scope::Unit(unit) => met.extend(on_unit(unit.clone())?),
            Scope::Interval(range) => met.extend(locks::stored_within(&*view.snapshot, group, range)?),
        }
        // The lock of a span stands below the units that it covers.
        let first = match &target.scope {
            Scope::Unit(unit) => unit,
            Scope::Interval(range) => range.start(),
        };
        if let Some(span) = span_over(view, first).filter(|span| !met.iter().any(|(unit, _)| unit == span)) {
            met.extend(on_unit(span)?);
        }
    }
    let below_snapshot = |p: Version| request.at.is_none_or(|at| p.e < at);
    met.retain(|(_, holder)| holder.exclusive && Some(holder.txn) != request.txn && below_snapshot(holder.prepared));
    Ok(met)
}

/// The unit of the span that a key lies in.
fn span_over(view: &GroupView, key: &[u8]) -> Option<Bytes> {
    let span = view.ranges.lookup(key)?.route.range.redis_part()?;
    span.contains(key).then(|| layout::span_unit(span.start()).into())
}

/// Whether the unit has expired after the lock was taken.
fn expired_since(
    group: GroupId,
    view: &GroupView,
    unit: &Bytes,
    holder: &Holder,
    clock_ms: u64,
) -> Result<bool, String> {
    let key = keyspace::layout::version_key(unit);
    let mut reader = VersionReader::new(&*view.snapshot, group, &view.ranges, Version::MAX);
    let Some(record) = reader.get(&key).map_err(|error| error.to_string())? else { return Ok(false) };
    let expired_at = |now_ms| is_expired(unit, &record.value, now_ms).map_err(|error| error.to_string());
    Ok(expired_at(clock_ms)? && !expired_at(holder.since_ms)?)
}
