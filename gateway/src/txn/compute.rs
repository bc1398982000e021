//! Commands whose keys lie in several groups: evaluated here, by the same functions as at a leader.
//!
//! Optimistically first: read, compute, and prewrite what was written together with the versions that were read. When
//! these keep changing, or locks are in the way, under locks: everything is locked exclusively in key order, then read,
//! computed, and the locks are filled with what was written.
//!
//! If all that was read and written turns out to lie in one group (an item and its entries in the indexes of its table),
//! there is nothing to prewrite: it is one request that holds as long as what was read is as it was.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use commands::{Command, Outcome, record};
use keyspace::layout::unit_len;
use keyspace::{RouteMap, Version};

use super::Work;
use super::attempt::{Attempt, Context};
use super::coordinate::{Ready, Refusal, changed, lock_in_order};
use super::read::{check_watched, still_seen, unchanged};
use super::shape::{by_group, check_bytes, check_size};
use super::view::{RemoteView, evaluate};
use crate::router::{Prepared, Prewrite, RouterError};

/// Records of each unit as they will be.
type Intents = BTreeMap<Bytes, Vec<(Bytes, Option<Bytes>)>>;

/// Units and the versions at which they were seen.
type Observed = Vec<(Bytes, Option<Version>)>;

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
    if !view.has_written() || is_refused(work, &outcomes) {
        let held = unchanged(&context.router, view.seen()).await?;
        return if held { Ok(Ready::ToAnswer(outcomes)) } else { Err(Refusal::Changed) };
    }
    let seen = view.seen().clone();
    let observed_in = |units: &[Bytes]| -> Observed {
        units.iter().filter_map(|unit| Some((unit.clone(), seen.get(unit)?.live()))).collect()
    };
    let units: Vec<Bytes> = view.touched().into_iter().collect();
    check_size(work, units.len()).map_err(Refusal::TooLarge)?;
    let groups = by_group(routes, &units);
    if groups.len() == 1 {
        let observed = observed_in(&units);
        return at_once(context, view, units, observed, outcomes).await;
    }
    let mut intents = intents_of(view)?;
    let anchor = attempt.anchor().clone();
    let prewrite = |units_of_group: Vec<Bytes>| {
        let at_anchor = units_of_group.contains(&anchor);
        Prewrite {
            participants: if at_anchor { units.clone() } else { Vec::new() },
            observed: observed_in(&units_of_group),
            intents: take(&mut intents, &units_of_group),
            units: units_of_group,
            ..Prewrite::default()
        }
    };
    let prewrites = groups.into_iter().map(prewrite).collect();
    attempt.prewrite(prewrites).await.map_err(changed)?;
    Ok(Ready::ToCommit(outcomes))
}

/// Whether nothing may take effect.
fn is_refused(work: &Work, outcomes: &[Outcome]) -> bool {
    work.all_or_none && outcomes.iter().any(Outcome::is_refusal)
}

/// Writes in one group, if what was read is as it was.
async fn at_once(
    context: &Context,
    view: RemoteView,
    units: Vec<Bytes>,
    observed: Observed,
    outcomes: Vec<Outcome>,
) -> Result<Ready, Refusal> {
    let write = record::Operation::Write { writes: view.into_writes().into_iter().collect() };
    let request = Prepared::many(vec![Command::Record(write)], units, Vec::new()).observed(observed);
    match context.router.call_prepared(request).await {
        Ok(_) => Ok(Ready::ToAnswer(outcomes)),
        Err(RouterError::OutcomeUnknown) => Err(Refusal::Unknown),
        Err(error) => Err(changed(error)),
    }
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
    if !view.has_written() || is_refused(work, &outcomes) {
        let seen: Vec<Bytes> = beyond.into_iter().filter(|unit| view.seen().contains_key(unit)).collect();
        if !still_seen(&context.router, view.seen(), &seen, attempt.id()).await? {
            return Err(Refusal::Changed);
        }
        // The locks were held all the time if they still count.
        let held = attempt.is_pending().await?;
        return if held { Ok(Ready::ToAnswer(outcomes)) } else { Err(RouterError::Ended.into()) };
    }
    let observed_in = |units: &[Bytes]| -> Observed {
        units.iter().filter_map(|unit| Some((unit.clone(), view.seen().get(unit)?.live()))).collect()
    };
    check_size(work, units.len() + beyond.len()).map_err(Refusal::TooLarge)?;
    let beyond: Vec<(Observed, Vec<Bytes>)> =
        by_group(routes, &beyond).into_iter().map(|units| (observed_in(&units), units)).collect();
    let mut intents = intents_of(view)?;
    let hold = |(observed, units): (Observed, Vec<Bytes>)| {
        let intents = take(&mut intents, &units);
        Prewrite { observed, intents, units, ..Prewrite::default() }
    };
    let held: Vec<Prewrite> = beyond.into_iter().map(hold).collect();
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
    view.touched().into_iter().filter(|unit| units.binary_search(unit).is_err()).collect()
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
