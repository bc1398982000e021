//! Commands whose keys lie in several groups: evaluated here, by the same functions as at a leader.
//!
//! Optimistically first: read, compute, and prewrite what was written together with the versions that were read. When
//! these keep changing, or locks are in the way, under locks: everything is locked exclusively in key order, then read,
//! computed, and the locks are filled with what was written.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use keyspace::layout::unit_len;
use keyspace::{RouteMap, Version};

use super::Work;
use super::attempt::{Attempt, Context};
use super::coordinate::{Ready, Refusal, changed, lock_in_order};
use super::read::{check_watched, still_seen, unchanged};
use super::shape::{by_group, check_bytes, check_size};
use super::view::{RemoteView, evaluate};
use crate::router::{Prewrite, RouterError};

/// Records of each unit as they will be.
type Intents = BTreeMap<Bytes, Vec<(Bytes, Option<Bytes>)>>;

/// Reads, computes, and locks what must not have changed.
pub(super) async fn optimistically(
    context: &Context,
    attempt: &mut Attempt,
    work: &Work,
    units: &[Bytes],
    routes: &RouteMap,
    met: &mut BTreeSet<Bytes>,
) -> Result<Ready, Refusal> {
    let mut view = RemoteView::of(&context.router, routes, work, units, None).await?;
    check_watched(work, view.seen())?;
    let evaluated = evaluate(&mut view, work).await;
    met.extend(beyond(&view, units));
    let outcomes = evaluated?;
    if !view.has_written() {
        let held = unchanged(&context.router, view.seen()).await?;
        return if held { Ok(Ready::ToAnswer(outcomes)) } else { Err(Refusal::Changed) };
    }
    let seen = view.seen().clone();
    let units: Vec<Bytes> = seen.keys().cloned().collect();
    check_size(work, units.len()).map_err(Refusal::TooLarge)?;
    let mut intents = intents_of(view)?;
    let anchor = attempt.anchor().clone();
    let prewrite = |units_of_group: Vec<Bytes>| {
        let at_anchor = units_of_group.contains(&anchor);
        Prewrite {
            participants: if at_anchor { units.clone() } else { Vec::new() },
            observed: units_of_group.iter().map(|unit| (unit.clone(), seen[unit].live())).collect(),
            intents: take(&mut intents, &units_of_group),
            units: units_of_group,
            ..Prewrite::default()
        }
    };
    let prewrites = by_group(routes, &units).into_iter().map(prewrite).collect();
    attempt.prewrite(prewrites).await.map_err(changed)?;
    Ok(Ready::ToCommit(outcomes))
}

/// Locks, reads, computes, and fills. What was met beyond the locks is held to its version, as without locks.
pub(super) async fn under_locks(
    context: &Context,
    attempt: &mut Attempt,
    work: &Work,
    units: &[Bytes],
    routes: &RouteMap,
    met: &mut BTreeSet<Bytes>,
) -> Result<Ready, Refusal> {
    let runs = lock_in_order(attempt, work, units, routes, true).await?;
    let mut view = RemoteView::of(&context.router, routes, work, units, Some(attempt.id())).await?;
    let evaluated = evaluate(&mut view, work).await;
    let beyond = beyond(&view, units);
    met.extend(beyond.iter().cloned());
    let outcomes = evaluated?;
    if !view.has_written() {
        if !still_seen(&context.router, view.seen(), &beyond, attempt.id()).await? {
            return Err(Refusal::Changed);
        }
        // The locks were held all the time if they still count.
        let held = attempt.is_pending().await?;
        return if held { Ok(Ready::ToAnswer(outcomes)) } else { Err(RouterError::Ended.into()) };
    }
    let observed_in = |units: &[Bytes]| -> Vec<(Bytes, Option<Version>)> {
        units.iter().map(|unit| (unit.clone(), view.seen()[unit].live())).collect()
    };
    let hold = |units: Vec<Bytes>| Prewrite { observed: observed_in(&units), units, ..Prewrite::default() };
    let held: Vec<Prewrite> = by_group(routes, &beyond).into_iter().map(hold).collect();
    check_size(work, units.len() + beyond.len()).map_err(Refusal::TooLarge)?;
    let mut intents = intents_of(view)?;
    let fill = |run: Vec<Bytes>| {
        let intents = take(&mut intents, &run);
        Prewrite { units: run, intents, exclusive: true, ..Prewrite::default() }
    };
    // Where nothing was written the lock stays as it is, and ends without a trace.
    let fills = runs.into_iter().map(fill).filter(|fill| !fill.intents.is_empty());
    attempt.prewrite(fills.chain(held).collect()).await.map_err(changed)?;
    Ok(Ready::ToCommit(outcomes))
}

/// The units that a view has met beyond these, which are sorted.
fn beyond(view: &RemoteView, units: &[Bytes]) -> Vec<Bytes> {
    view.seen().keys().filter(|unit| units.binary_search(unit).is_err()).cloned().collect()
}

/// What the evaluation wrote, by unit.
fn intents_of(view: RemoteView) -> Result<Intents, Refusal> {
    let mut intents = Intents::new();
    let mut bytes = 0;
    for (key, value) in view.into_writes() {
        bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        let len = unit_len(&key).map_err(|error| RouterError::Protocol(error.to_string()))?;
        intents.entry(key.slice(..len)).or_default().push((key, value));
    }
    check_bytes(bytes).map_err(Refusal::TooLarge)?;
    Ok(intents)
}

fn take(intents: &mut Intents, units: &[Bytes]) -> Vec<(Bytes, Option<Bytes>)> {
    units.iter().filter_map(|unit| intents.remove(unit)).flatten().collect()
}
