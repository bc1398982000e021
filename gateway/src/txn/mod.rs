//! Transactions: commands on any keys that take effect together, whichever groups the keys lie in.
//!
//! `Transactions::run` takes these steps with `MULTI · SET a 1 · INCR b · EXEC`, where `a` and `b` lie in two groups:
//!
//! 1. [`shape::shape`] looks up the groups of all units. In one group the work would be one request, `Exec` or `Read`,
//!    and done. If nothing could write, [`read::run`] would read twice and compare. Here each part lies in one of
//!    several groups, and some write: the work is *shipped*.
//! 2. [`coordinate::run`] makes the first [`attempt::Attempt`]: a name under a sequence of the router, and a heartbeat.
//! 3. [`coordinate`] prewrites both groups at once. Each evaluates its own parts, locks what they touch, and votes with
//!    a version p. The anchor's group, that of the smallest unit, also makes the record of the transaction.
//! 4. [`attempt::Attempt::commit`] sends all p to the anchor. When it has applied that, the transaction has taken
//!    effect, and the client is answered.
//! 5. In the background `resolve_all` turns the locks into data, and Forget lets the anchor forget.
//!
//! If anything is refused, [`attempt::Attempt::abort`] asks the anchor to decide against the attempt, and only its word
//! makes a next one. After locks were in the way that is in *ordered mode*: the record first, then the locks in key
//! order, waiting for each.
//!
//! A part whose keys lie in several groups (`MSETNX a 1 b 2`) needs data to flow between them. Then the whole work is
//! *computed* here ([`compute`]): the same command functions run over a [`view::RemoteView`], and what they wrote is
//! prewritten together with the versions that they read.
//!
//! So is a part that reads keys which it does not name (`SORT k BY w_*`): the view grows as they are met, and their
//! versions count like those of the others. What one attempt has met, the next one locks from the start.
//!
//! And a part that writes units which it does not name: of a write on an item these are its entries in the indexes of
//! its table. It writes them blindly, because whoever holds the item is the only one who may.
//!
//! Work of DynamoDB is *all or none*: if its language refuses one part, as a condition that is not true, nothing takes
//! effect. In one group its parts become one command; over several, an attempt of which a vote is a refusal is aborted.
//!
//! A part over a whole database (`FLUSHALL`) is spread over the ranges of the moment ([`whole`]) and locks their spans.
//!
//! What is absent: nothing here survives a restart, and nothing has to. A transaction whose gateway dies is ended by
//! the next one whose way its locks are in, as its anchor decides.

mod attempt;
mod compute;
mod coordinate;
mod metrics;
mod read;
mod shape;
mod view;
mod whole;

#[cfg(test)]
mod all_or_none_tests;
#[cfg(test)]
mod indexed_tests;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use commands::{Command, Outcome};
use keyspace::{KeyRange, Version};
use thiserror::Error;

use self::attempt::Context;
use self::metrics::{End, Kind, TxnMetrics};
use self::shape::Shape;
use crate::router::{Prepared, Reason, Router, RouterError};

pub use self::shape::{MAX_BYTES, MAX_KEYS, MAX_READ_KEYS};

/// How long a transaction waits for the first word from placement.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the routes may change under the planning of one transaction.
const RESHAPES: usize = 16;

/// One command and the units that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What to do.
    pub command: Command,
    /// Encoded lock units, sorted, without repetition.
    pub units: Vec<Bytes>,
}

/// What shall happen together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// In this order.
    pub parts: Vec<Part>,
    /// Units and the versions that they must still have; `None`: absent or expired.
    pub observed: Vec<(Bytes, Option<Version>)>,
    /// Units that are spans, and their keys: of work that is spread over the ranges of a moment.
    spans: BTreeMap<Bytes, KeyRange>,
    /// Nothing takes effect if one part is refused by its language.
    all_or_none: bool,
}

impl Work {
    /// Parts in order, if the observed units are as they were.
    pub fn new(parts: Vec<Part>, observed: Vec<(Bytes, Option<Version>)>) -> Self {
        Self { parts, observed, spans: BTreeMap::new(), all_or_none: false }
    }

    /// The same, of which nothing takes effect if one part is refused by its language. That refusal is its outcome.
    #[must_use]
    pub fn all_or_none(mut self) -> Self {
        self.all_or_none = true;
        self
    }

    /// Whether a command reads units that it does not name.
    fn reads_beyond(&self) -> bool {
        self.parts.iter().any(|part| part.command.reads_beyond())
    }

    /// The same work with units that were met beyond those that are named, so that they are looked at, and locked,
    /// with these.
    fn naming<'w>(self: &'w Arc<Self>, met: &BTreeSet<Bytes>) -> Cow<'w, Arc<Self>> {
        if met.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut work = Self::clone(self);
        for part in work.parts.iter_mut().filter(|part| part.command.reads_beyond()) {
            let all: BTreeSet<Bytes> = std::mem::take(&mut part.units).into_iter().chain(met.iter().cloned()).collect();
            part.units = all.into_iter().collect();
        }
        Cow::Owned(Arc::new(work))
    }
}

/// Why a transaction has no outcomes. Unless it says so, it had no effect.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TxnError {
    /// An observed unit has changed.
    #[error("a watched key has changed")]
    Conflict,
    /// More keys in several groups than can be held together.
    #[error("a transaction over several groups has at most {most} keys, not {keys}")]
    TooManyKeys {
        /// How many it names, or reads.
        keys: usize,
        /// How many it may.
        most: usize,
    },
    /// More bytes in several groups than can be held together.
    #[error("a transaction over several groups has at most {MAX_BYTES} bytes, not {bytes}")]
    TooLarge {
        /// How many it holds.
        bytes: usize,
    },
    /// A command over a whole database met more keys than it may hold still.
    #[error("a range of the database has more keys than a command over all of it looks at inside a transaction")]
    DatabaseTooLarge,
    /// Two kinds of commands that are not evaluated together.
    #[error(
        "a command over a whole database and one that computes over keys of several groups cannot be in one transaction"
    )]
    Mixed,
    /// What the router said; of an unknown outcome too.
    #[error(transparent)]
    Router(#[from] RouterError),
}

/// Runs transactions. Clones share everything.
#[derive(Clone)]
pub struct Transactions {
    context: Context,
}

impl std::fmt::Debug for Transactions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transactions").finish_non_exhaustive()
    }
}

impl Transactions {
    /// Over the groups that `router` knows.
    pub fn new(router: Router) -> Self {
        Self { context: Context { router, metrics: Arc::new(TxnMetrics::new()) } }
    }

    /// Runs all parts atomically, in order; one outcome a part. A part that its language refuses is an outcome.
    ///
    /// It goes on to its end if the caller stops waiting.
    pub async fn run(&self, connection: u64, work: Work) -> Result<Vec<Outcome>, TxnError> {
        if work.parts.is_empty() {
            return Ok(Vec::new());
        }
        self.wait_for_routes().await?;
        let work = Arc::new(work);
        let writes = work.parts.iter().any(|part| part.command.writes());
        let (kind, ended) = self.run_in_shape(connection, &work, writes).await;
        let end = match &ended {
            Ok(_) => End::Done,
            Err(TxnError::Conflict) => End::Conflict,
            Err(TxnError::Router(RouterError::OutcomeUnknown | RouterError::Protocol(_))) => End::Unknown,
            Err(_) => End::Refused,
        };
        self.context.metrics.ended(kind, end);
        ended
    }

    async fn run_in_shape(
        &self,
        connection: u64,
        work: &Arc<Work>,
        writes: bool,
    ) -> (Kind, Result<Vec<Outcome>, TxnError>) {
        for _ in 0..RESHAPES {
            let Some(routes) = self.context.router.routes() else { break };
            let spread = whole::spread(work, &routes);
            let kind = match shape::shape(&routes, &spread.work) {
                Shape::OneGroup => match self.run_in_one_group(connection, &spread.work).await {
                    // The routes have changed: certainly not executed.
                    Err(TxnError::Router(RouterError::CrossGroup)) => continue,
                    ended => return (Kind::OneGroup, ended.and_then(|outcomes| spread.gather(outcomes))),
                },
                Shape::Shipped(_) if writes || work.is_over_database() => Kind::Shipped,
                Shape::Computed if writes || work.is_over_database() => Kind::Computed,
                Shape::Shipped(_) | Shape::Computed => Kind::Read,
            };
            let (context, work) = (self.context.clone(), work.clone());
            // A task of its own: nobody leaves a transaction half way.
            let task = tokio::spawn(async move {
                match kind {
                    Kind::Read => read::run(&context, &work).await,
                    _ => coordinate::run(&context, &work, coordinate::Purpose::Write).await,
                }
            });
            let panicked = |error: tokio::task::JoinError| {
                tracing::error!(%error, "a transaction broke");
                Err(RouterError::OutcomeUnknown.into())
            };
            return (kind, task.await.unwrap_or_else(panicked));
        }
        (Kind::OneGroup, Err(RouterError::Unavailable(Reason::StaleRoute).into()))
    }

    /// One request, one entry in one log.
    async fn run_in_one_group(&self, connection: u64, work: &Work) -> Result<Vec<Outcome>, TxnError> {
        let mut units = shape::units_of(work);
        units.retain(|unit| !work.spans.contains_key(unit));
        let commands: Vec<Command> = work.parts.iter().map(|part| part.command.clone()).collect();
        if units.is_empty() && work.spans.is_empty() {
            return Err(RouterError::Rejected("a transaction names no key".into()).into());
        }
        let spans = work.spans.values().cloned().collect();
        if work.all_or_none {
            let together = Command::together(commands).ok_or_else(|| {
                TxnError::Router(RouterError::Rejected("these commands cannot be refused together".into()))
            })?;
            let mut outcomes = self.submit(connection, Prepared::many(vec![together], units, spans)).await?;
            let apart = outcomes.pop().and_then(Outcome::apart).filter(|outcomes| outcomes.len() == work.parts.len());
            return apart.ok_or_else(|| RouterError::Protocol("not an outcome for each part".into()).into());
        }
        let request = Prepared::many(commands, units, spans).observed(work.observed.clone());
        self.submit(connection, request).await
    }

    async fn submit(&self, connection: u64, request: Prepared) -> Result<Vec<Outcome>, TxnError> {
        let answer = self.context.router.submit(connection, vec![request]).await.pop();
        match answer.expect("a bundle has an answer for each request") {
            Ok(outcomes) => Ok(outcomes),
            Err(RouterError::Conflict) => Err(TxnError::Conflict),
            Err(error) => Err(error.into()),
        }
    }

    /// Versions of units, each as of a moment after the call (`None`: absent or expired), in the order of `units`.
    pub async fn observe(&self, connection: u64, units: Vec<Bytes>) -> Result<Vec<Option<Version>>, TxnError> {
        self.wait_for_routes().await?;
        for _ in 0..RESHAPES {
            match read::observe(&self.context.router, connection, &units, None).await {
                Ok(seen) => {
                    return Ok(units.iter().map(|unit| seen.get(unit).and_then(|sight| sight.live())).collect());
                }
                Err(RouterError::CrossGroup) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RouterError::Unavailable(Reason::StaleRoute).into())
    }

    async fn wait_for_routes(&self) -> Result<(), TxnError> {
        let ready = tokio::time::timeout(READY_TIMEOUT, self.context.router.wait_ready()).await;
        ready.map_err(|_| RouterError::Unavailable(Reason::NoRoute).into())
    }
}
