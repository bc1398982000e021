//! From the first attempt to the end: attempts one after the other, each begun only when the anchor has ended the last.
//!
//! The first attempt prewrites all groups in parallel and never waits for a lock, so that no two transactions wait for
//! each other. After a lock was in the way, attempts are in *ordered mode*: Begin at the anchor, then one prewrite for
//! each run of neighbouring keys, strictly in key order, and these wait. Who waits holds only smaller keys, so there
//! is no circle, and the oldest waiter is next: the attempt succeeds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use commands::Outcome;
use keyspace::{KeyRange, RouteMap};
use planted::Point;

use super::attempt::{Attempt, Context, Ending};
use super::shape::{self, Shape, Share};
use super::{TxnError, Work, compute, read, whole};
use crate::router::{Prewrite, Reason, RouterError};

/// How long a transaction begins further attempts.
const PATIENCE: Duration = Duration::from_secs(10);
/// Attempts that found keys changed, before the next one locks them first.
const MAX_CONFLICTS: u32 = 3;

/// What the attempts are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To write.
    Write,
    /// To read under locks what kept changing.
    LockedRead,
}

/// How an attempt takes its locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// All at once, or not at all.
    Parallel,
    /// In key order, waiting.
    Ordered,
}

/// An attempt that can end well.
pub(super) enum Ready {
    /// Every unit is locked and votes: commit.
    ToCommit(Vec<Outcome>),
    /// Nothing is written, and what was read held together at one moment.
    ToAnswer(Vec<Outcome>),
}

/// Why an attempt comes to nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A unit that the client has observed is not as it was.
    Watched,
    /// A unit that this attempt has read is not as it was.
    Changed,
    /// Breaks a limit, or cannot be done together.
    TooLarge(TxnError),
    /// What was sent may take effect, and nobody can say whether it has.
    Unknown,
    Router(RouterError),
}

impl From<RouterError> for Refusal {
    fn from(error: RouterError) -> Self {
        Refusal::Router(error)
    }
}

/// A prewrite that was refused because of versions that only the client has observed.
pub(super) fn watched(error: RouterError) -> Refusal {
    if error == RouterError::Conflict { Refusal::Watched } else { Refusal::Router(error) }
}

/// A prewrite that was refused because of versions that this attempt has read.
pub(super) fn changed(error: RouterError) -> Refusal {
    if error == RouterError::Conflict { Refusal::Changed } else { Refusal::Router(error) }
}

/// Runs the work to its end.
pub(super) async fn run(context: &Context, work: &Arc<Work>, purpose: Purpose) -> Result<Vec<Outcome>, TxnError> {
    let anchor = work.anchor().ok_or_else(|| RouterError::Rejected("a transaction names no key".into()))?;
    shape::check_size(work, shape::units_of(work).len())?;
    let started = Instant::now();
    let mut attempt = Attempt::first(context, anchor);
    // What takes a whole database would meet some lock at every attempt.
    let waits = purpose == Purpose::LockedRead || work.is_over_database();
    let mut mode = if waits { Mode::Ordered } else { Mode::Parallel };
    let mut conflicts = 0;
    // Units beyond those that are named.
    let mut met = BTreeSet::new();
    loop {
        let work = work.naming(&met);
        if mode == Mode::Ordered {
            context.metrics.ordered.increment(1);
        }
        let (aborted, refusal) = match prepare(context, &mut attempt, &work, mode, purpose, &mut met).await {
            Ok(Ready::ToAnswer(outcomes)) => {
                attempt.abandon();
                return Ok(outcomes);
            }
            Ok(Ready::ToCommit(outcomes)) if work.all_or_none && outcomes.iter().any(Outcome::is_refusal) => {
                // Whoever ends it, without a Commit it never takes effect.
                if let Ending::Aborted(aborted) = attempt.abort().await {
                    tokio::spawn(aborted.clean_up());
                }
                return Ok(outcomes);
            }
            Ok(Ready::ToCommit(outcomes)) => {
                planted::point(Point::Prepared);
                match attempt.commit(outcomes).await {
                    Ending::Committed(outcomes) => return Ok(outcomes),
                    Ending::Aborted(aborted) => (aborted, Refusal::Router(RouterError::Ended)),
                    Ending::Undecided => return Err(RouterError::OutcomeUnknown.into()),
                }
            }
            Err(refusal) => match attempt.abort().await {
                Ending::Aborted(aborted) => (aborted, refusal),
                Ending::Committed(outcomes) if outcomes.len() == work.parts.len() => return Ok(outcomes),
                Ending::Committed(_) => return Err(RouterError::OutcomeUnknown.into()),
                // Without a Commit it never takes effect, whoever ends it.
                Ending::Undecided => return Err(final_error(refusal)),
            },
        };
        match &refusal {
            Refusal::Changed => {
                context.metrics.conflicts.increment(1);
                conflicts += 1;
                if conflicts >= MAX_CONFLICTS {
                    mode = Mode::Ordered;
                }
            }
            Refusal::Router(RouterError::Locked | RouterError::Unavailable(Reason::Locked) | RouterError::Ended) => {
                context.metrics.lock_refusals.increment(1);
                mode = Mode::Ordered;
            }
            // The routes have changed: the next attempt is planned anew.
            Refusal::Router(RouterError::CrossGroup) => {}
            Refusal::Watched | Refusal::TooLarge(_) | Refusal::Unknown | Refusal::Router(_) => {
                tokio::spawn(aborted.clean_up());
                return Err(final_error(refusal));
            }
        }
        if started.elapsed() >= PATIENCE {
            tokio::spawn(aborted.clean_up());
            return Err(final_error(refusal));
        }
        attempt = aborted.next_attempt().await;
    }
}

/// What the client is told of a refusal after which there is no further attempt. Commit was not sent, or the attempt
/// is known to be aborted: nothing took effect.
fn final_error(refusal: Refusal) -> TxnError {
    match refusal {
        Refusal::Watched => TxnError::Conflict,
        Refusal::TooLarge(error) => error,
        Refusal::Unknown => RouterError::OutcomeUnknown.into(),
        Refusal::Changed | Refusal::Router(RouterError::Locked | RouterError::Ended | RouterError::Conflict) => {
            RouterError::Unavailable(Reason::Locked).into()
        }
        Refusal::Router(RouterError::CrossGroup) => RouterError::Unavailable(Reason::StaleRoute).into(),
        // Of a prewrite: it is known of the whole that it did not happen.
        Refusal::Router(RouterError::OutcomeUnknown) => RouterError::Unavailable(Reason::NoAnswer).into(),
        Refusal::Router(error) => error.into(),
    }
}

async fn prepare(
    context: &Context,
    attempt: &mut Attempt,
    work: &Work,
    mode: Mode,
    purpose: Purpose,
    met: &mut BTreeSet<Bytes>,
) -> Result<Ready, Refusal> {
    let routes = context.router.routes().ok_or(RouterError::Unavailable(Reason::NoRoute))?;
    let spread = whole::spread(work, &routes);
    let units = shape::units_of(&spread.work);
    let gather = |outcomes| spread.gather(outcomes).map_err(Refusal::TooLarge);
    match prepare_spread(context, attempt, &spread.work, &units, &routes, mode, purpose, met).await? {
        Ready::ToCommit(outcomes) => gather(outcomes).map(Ready::ToCommit),
        Ready::ToAnswer(outcomes) => gather(outcomes).map(Ready::ToAnswer),
    }
}

#[allow(clippy::too_many_arguments)]
async fn prepare_spread(
    context: &Context,
    attempt: &mut Attempt,
    work: &Work,
    units: &[Bytes],
    routes: &RouteMap,
    mode: Mode,
    purpose: Purpose,
    met: &mut BTreeSet<Bytes>,
) -> Result<Ready, Refusal> {
    if purpose == Purpose::LockedRead {
        return read::under_locks(context, attempt, work, units, routes, met).await;
    }
    match (shape::shape(routes, work), mode) {
        (Shape::Shipped(shares), Mode::Parallel) => ship(attempt, work, units, shares).await,
        (Shape::OneGroup, Mode::Parallel) => {
            let parts = (0..work.parts.len()).collect();
            let everything = Share { units: units.to_vec(), parts, observed: work.observed.clone() };
            ship(attempt, work, units, vec![everything]).await
        }
        (Shape::Computed, _) if !work.spans.is_empty() => Err(Refusal::TooLarge(TxnError::Mixed)),
        (Shape::Computed, Mode::Parallel) => compute::optimistically(context, attempt, work, units, routes, met).await,
        (Shape::Computed, Mode::Ordered) => compute::under_locks(context, attempt, work, units, routes, met).await,
        (Shape::Shipped(_) | Shape::OneGroup, Mode::Ordered) => {
            match shape::ship_in_runs(shape::runs(routes, units), work) {
                Some(shares) => ship_in_order(attempt, work, units, shares).await,
                None if !work.spans.is_empty() => Err(Refusal::TooLarge(TxnError::Mixed)),
                None => compute::under_locks(context, attempt, work, units, routes, met).await,
            }
        }
    }
}

/// All groups at once; none of them waits.
async fn ship(attempt: &mut Attempt, work: &Work, units: &[Bytes], shares: Vec<Share>) -> Result<Ready, Refusal> {
    let prewrite = |share: &Share| {
        let at_anchor = share.units.first() == units.first();
        let participants = if at_anchor { units.to_vec() } else { Vec::new() };
        Prewrite { participants, ..prewrite_of(work, share) }
    };
    let prewrites = shares.iter().map(prewrite).collect();
    let outcomes = attempt.prewrite(prewrites).await.map_err(watched)?;
    let parts = shares.into_iter().map(|share| share.parts);
    Ok(Ready::ToCommit(shape::merge(parts.zip(outcomes), work.parts.len())))
}

/// Run after run, in key order, waiting.
async fn ship_in_order(
    attempt: &mut Attempt,
    work: &Work,
    units: &[Bytes],
    runs: Vec<Share>,
) -> Result<Ready, Refusal> {
    attempt.begin(units).await?;
    let mut outcomes = Vec::with_capacity(runs.len());
    for run in &runs {
        let prewrite = Prewrite { waits: true, ..prewrite_of(work, run) };
        outcomes.extend(attempt.prewrite(vec![prewrite]).await.map_err(watched)?);
        planted::point(Point::RunPrepared);
    }
    let parts = runs.into_iter().map(|run| run.parts);
    Ok(Ready::ToCommit(shape::merge(parts.zip(outcomes), work.parts.len())))
}

fn prewrite_of(work: &Work, share: &Share) -> Prewrite {
    Prewrite {
        units: share.units.clone(),
        observed: share.observed.clone(),
        commands: share.parts.iter().map(|&part| work.parts[part].command.clone()).collect(),
        spans: share.units.iter().filter_map(|unit| work.spans.get_key_value(unit)).map(cloned).collect(),
        ..Prewrite::default()
    }
}

fn cloned((unit, span): (&Bytes, &KeyRange)) -> (Bytes, KeyRange) {
    (unit.clone(), span.clone())
}

/// Locks everything in key order, run by run, waiting; the record was made before. Exclusively, or shared.
pub(super) async fn lock_in_order(
    attempt: &mut Attempt,
    work: &Work,
    units: &[Bytes],
    routes: &RouteMap,
    exclusive: bool,
) -> Result<Vec<Vec<Bytes>>, Refusal> {
    attempt.begin(units).await?;
    let runs = shape::runs(routes, units);
    for run in &runs {
        let inside = work.observed.iter().filter(|(unit, _)| run.binary_search(unit).is_ok());
        let observed = inside.cloned().collect();
        let lock = Prewrite { units: run.clone(), observed, waits: true, exclusive, ..Prewrite::default() };
        attempt.prewrite(vec![lock]).await.map_err(watched)?;
    }
    Ok(runs)
}
