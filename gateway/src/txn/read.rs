//! Reads over several groups, without locks: everything is read, and then it is looked whether any of it has changed.
//!
//! Each unit is read at some moment of the first round and is the same at some moment of the second: versions of a unit
//! strictly grow, and a unit that is absent says when it last changed. So all of it held together at the moment between
//! the rounds. What keeps changing is read under shared locks after three failures.
//!
//! A read that meets a lock is settled by the router, with the transaction's anchor and begun after the read; so what a
//! round sees of a unit is what was committed at a moment of that round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use commands::record::{self, Found};
use commands::{Command, Outcome};
use keyspace::{RouteMap, TransactionId, Version};

use super::attempt::{Attempt, Context};
use super::coordinate::{self, Purpose, Ready, Refusal};
use super::shape::{self, Shape, Share};
use super::view::{RemoteView, evaluate};
use super::{RESHAPES, TxnError, Work};
use crate::router::{Prepared, Reason, Router, RouterError};

/// Failures before it is read under locks.
const MAX_FAILURES: u32 = 3;

/// How a unit was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// It is there.
    Live(Version),
    /// It is absent or expired, and changed last at this version.
    Gone(Version),
    /// It is absent, and nothing is known of an earlier one.
    Never,
}

impl Sight {
    /// From the answer to an Observe.
    pub(super) fn of(found: &Found) -> Option<Self> {
        match found {
            Found::Observed(Some(version)) => Some(Sight::Live(*version)),
            Found::Gone(version) => Some(Sight::Gone(*version)),
            // On the wire all that is missing looks the same.
            Found::Observed(None) | Found::Record(None) => Some(Sight::Never),
            Found::Record(Some(_)) | Found::Records(_) => None,
        }
    }

    /// As commands and prewrites compare it.
    pub(super) fn live(self) -> Option<Version> {
        match self {
            Sight::Live(version) => Some(version),
            Sight::Gone(_) | Sight::Never => None,
        }
    }
}

/// Units as they were seen.
pub(super) type Seen = BTreeMap<Bytes, Sight>;

/// Reads all parts at one moment. None of them writes.
pub(super) async fn run(context: &Context, work: &Arc<Work>) -> Result<Vec<Outcome>, TxnError> {
    shape::check_size(work, shape::units_of(work).len())?;
    let mut failures = 0;
    for _ in 0..RESHAPES {
        let routes = context.router.routes().ok_or(RouterError::Unavailable(Reason::NoRoute))?;
        match twice(context, work, &routes).await {
            Ok(outcomes) => return Ok(outcomes),
            Err(Refusal::Changed) => {
                context.metrics.conflicts.increment(1);
                failures += 1;
                if failures >= MAX_FAILURES {
                    return coordinate::run(context, work, Purpose::LockedRead).await;
                }
            }
            Err(Refusal::Router(RouterError::CrossGroup)) => {}
            Err(Refusal::Watched) => return Err(TxnError::Conflict),
            Err(Refusal::TooLarge(error)) => return Err(error),
            Err(Refusal::Unknown) => return Err(RouterError::OutcomeUnknown.into()),
            Err(Refusal::Router(error)) => return Err(error.into()),
        }
    }
    Err(RouterError::Unavailable(Reason::StaleRoute).into())
}

/// Both rounds.
async fn twice(context: &Context, work: &Work, routes: &RouteMap) -> Result<Vec<Outcome>, Refusal> {
    let (outcomes, seen) = look(&context.router, work, routes, None).await?;
    check_watched(work, &seen)?;
    if unchanged(&context.router, &seen).await? { Ok(outcomes) } else { Err(Refusal::Changed) }
}

/// Under shared locks, taken in key order. The locks were held together if the transaction was still pending after the
/// last of them was read.
pub(super) async fn under_locks(
    context: &Context,
    attempt: &mut Attempt,
    work: &Work,
    units: &[Bytes],
    routes: &RouteMap,
    met: &mut BTreeSet<Bytes>,
) -> Result<Ready, Refusal> {
    coordinate::lock_in_order(attempt, work, units, routes, false).await?;
    let (outcomes, seen) = look(&context.router, work, routes, Some(attempt.id())).await?;
    // What was met beyond the locks is looked at twice, as without locks.
    let beyond: Vec<Bytes> = seen.keys().filter(|unit| units.binary_search(unit).is_err()).cloned().collect();
    if !still_seen(&context.router, &seen, &beyond, attempt.id()).await? {
        met.extend(beyond);
        return Err(Refusal::Changed);
    }
    if attempt.is_pending().await? { Ok(Ready::ToAnswer(outcomes)) } else { Err(RouterError::Ended.into()) }
}

/// Reads everything, and how each unit looked when it was read.
async fn look(
    router: &Router,
    work: &Work,
    routes: &RouteMap,
    reader: Option<TransactionId>,
) -> Result<(Vec<Outcome>, Seen), Refusal> {
    let shares = match shape::shape(routes, work) {
        Shape::Shipped(shares) => shares,
        Shape::OneGroup => {
            let parts = (0..work.parts.len()).collect();
            vec![Share { units: shape::units_of(work), parts, observed: Vec::new() }]
        }
        Shape::Computed => {
            let mut view = RemoteView::of(router, routes, work, &shape::units_of(work), reader).await?;
            let outcomes = evaluate(&mut view, work).await?;
            return Ok((outcomes, view.into_seen()));
        }
    };
    let request = |share: &Share| {
        let parts = share.parts.iter().map(|&part| work.parts[part].command.clone());
        let commands = share.units.iter().cloned().map(observe_command).chain(parts).collect();
        Prepared::many(commands, share.units.clone(), Vec::new()).read_by(reader)
    };
    let answers = router.submit(0, shares.iter().map(request).collect()).await;
    let mut seen = Seen::new();
    let mut results = Vec::with_capacity(shares.len());
    for (share, answer) in shares.into_iter().zip(answers) {
        let mut outcomes = answer?;
        let parts = outcomes.split_off(share.units.len());
        note(&mut seen, share.units, &outcomes)?;
        results.push((share.parts, parts));
    }
    Ok((shape::merge(results, work.parts.len()), seen))
}

/// What the client has observed must still be so.
pub(super) fn check_watched(work: &Work, seen: &Seen) -> Result<(), Refusal> {
    let same = |(unit, version): &(Bytes, Option<Version>)| seen.get(unit).is_some_and(|it| it.live() == *version);
    if work.observed.iter().all(same) { Ok(()) } else { Err(Refusal::Watched) }
}

/// Whether all units are still as they were seen.
pub(super) async fn unchanged(router: &Router, seen: &Seen) -> Result<bool, RouterError> {
    let units: Vec<Bytes> = seen.keys().cloned().collect();
    Ok(observe(router, 0, &units, None).await? == *seen)
}

/// Whether some of the units look as they were seen, to a transaction that holds locks on others.
pub(super) async fn still_seen(
    router: &Router,
    seen: &Seen,
    units: &[Bytes],
    reader: TransactionId,
) -> Result<bool, RouterError> {
    if units.is_empty() {
        return Ok(true);
    }
    let found = observe(router, 0, units, Some(reader)).await?;
    Ok(found.iter().all(|(unit, sight)| seen.get(unit) == Some(sight)))
}

/// How units look, group by group.
pub(super) async fn observe(
    router: &Router,
    connection: u64,
    units: &[Bytes],
    reader: Option<TransactionId>,
) -> Result<Seen, RouterError> {
    let routes = router.routes().ok_or(RouterError::Unavailable(Reason::NoRoute))?;
    let mut sorted = units.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let groups = shape::in_requests(shape::by_group(&routes, &sorted));
    let request = |units: &Vec<Bytes>| {
        let commands = units.iter().cloned().map(observe_command).collect();
        Prepared::many(commands, units.clone(), Vec::new()).read_by(reader)
    };
    let answers = router.submit(connection, groups.iter().map(request).collect()).await;
    let mut seen = Seen::new();
    for (units, answer) in groups.into_iter().zip(answers) {
        note(&mut seen, units, &answer?)?;
    }
    Ok(seen)
}

pub(super) fn observe_command(unit: Bytes) -> Command {
    Command::Record(record::Operation::Observe { unit })
}

fn note(seen: &mut Seen, units: Vec<Bytes>, outcomes: &[Outcome]) -> Result<(), RouterError> {
    for (unit, outcome) in units.into_iter().zip(outcomes) {
        let sight = match outcome {
            Outcome::Record(outcome) => Sight::of(&outcome.found),
            _ => None,
        };
        seen.insert(unit, sight.ok_or_else(|| RouterError::Protocol("not an observation".into()))?);
    }
    Ok(())
}
