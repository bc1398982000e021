//! The way from a command to the leader that evaluates it, and back.
//!
//! The three languages hand in requests that are already commands over named units; the router knows nothing of RESP,
//! HTTP or JSON. It finds the group of each unit, the group's leader, and the stream to the leader's node; it retries
//! what was refused; it bounds what is under way.
//!
//! A bundle of two SETs takes these steps:
//!
//! 1. [`Router::submit`] counts it against the bounds (`admission`) and gives each request a sequence
//!    (`sequences`), its name for ever.
//! 2. `Core::dispatch` loads the routes once (`directory`), writes range and epoch into each target, and parts the
//!    bundle by group into legs.
//! 3. The `link` to the leader's node puts each leg, with whatever else waits, into the next `RequestBatch`
//!    (`stream`) and keeps a ticket for each request.
//! 4. A reply with results fills the request's slot in the bundle; the last slot wakes the session.
//! 5. A refusal is kept until the whole leg is answered. Then what it says about routes and leaders is learned
//!    (`retry`), and the refused requests go again through step 2, together and in order, under their old sequences.
//!
//! Order: requests of one bundle for one group stay in order, through every retry. Between bundles of one connection
//! the session keeps the order, by not submitting a bundle while an earlier one with the same unit is unanswered.
//!
//! 6. What locks of transactions stand in the way of looks after them first (`unlock`). A read that met locks asks after
//!    them before it believes what lies below.
//!
//! Beside all that, the [`Relay`] carries messages to the other gateways, which nobody keeps.
//!
//! What is absent: the router keeps nothing that survives a restart, never looks into a command, and decides nothing
//! across groups: a request whose targets lie in several groups is [`RouterError::CrossGroup`]. It carries the steps
//! of transactions (`step`); who takes them in which order is [`crate::txn`].

mod admission;
mod bundle;
mod directory;
mod error;
mod link;
mod metrics;
pub(crate) mod placement;
mod relay;
mod results;
mod retry;
mod sequences;
mod step;
mod stream;
mod unlock;
mod watch;
mod wire;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod fake_relay;
#[cfg(test)]
pub(crate) mod fake_store;
#[cfg(test)]
pub(crate) mod fake_transactions;
#[cfg(test)]
mod lock_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use commands::{Command, Outcome};
use keyspace::{KeyRange, RouteMap};
use proto::Dialer;
use tokio::sync::{Notify, watch as watched};
use tokio_util::sync::CancellationToken;

use self::admission::Admission;
use self::bundle::{Bundle, Flight, Tally};
use self::directory::{Addressed, Directory};
use self::link::Leg;
use self::metrics::RouterMetrics;
use self::placement::Placement;
use self::retry::{Refused, RetryLimits, Trouble};
use self::sequences::Sequences;

pub use self::bundle::{Answer, Completion, Prepared};
pub(crate) use self::directory::serving_group;
pub use self::error::{Reason, RouterError};
pub use self::placement::AddressError;
pub use self::relay::{Audience, Relay, Space, Topic};
pub use self::step::{Prewrite, Reservation, Transacted, Transaction, stored_response};

/// What the router needs to know.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// `host:port` of the placement processes.
    pub placement: Vec<String>,
    /// Opens the connections.
    pub dialer: Dialer,
    /// Most requests under way.
    pub max_requests: usize,
    /// Most bytes of keys and values under way, in requests.
    pub max_bytes: usize,
    /// How long a request that certainly had no effect is sent again.
    pub refused_timeout: Duration,
    /// How long a request that may have had an effect is asked for again.
    pub unknown_timeout: Duration,
}

/// The router. Clones share it.
#[derive(Clone)]
pub struct Router {
    core: Arc<Core>,
}

/// What the tasks of the router share.
struct Core {
    directory: Directory,
    placement: Placement,
    dialer: Dialer,
    sequences: Sequences,
    admission: Admission,
    limits: RetryLimits,
    metrics: RouterMetrics,
    /// Identity of this run of the gateway: never 0, drawn at start.
    incarnation: u64,
    /// Largest oracle value seen.
    seen_e: AtomicU64,
    /// Routes and nodes are known.
    ready: watched::Sender<bool>,
    /// Told whenever nothing is under way any more.
    idle: Notify,
    stopping: CancellationToken,
}

impl Router {
    /// Starts following the routes. Requests may be submitted at once; they wait until routes are known.
    pub fn start(config: &RouterConfig) -> Result<Self, AddressError> {
        let core = Arc::new(Core {
            directory: Directory::default(),
            placement: Placement::new(&config.placement, &config.dialer)?,
            dialer: config.dialer.clone(),
            sequences: Sequences::new(),
            admission: Admission::new(config.max_requests, config.max_bytes),
            limits: RetryLimits { refused: config.refused_timeout, unknown: config.unknown_timeout },
            metrics: RouterMetrics::new(),
            incarnation: rand::random_range(1..=u64::MAX),
            seen_e: AtomicU64::new(0),
            ready: watched::Sender::new(false),
            idle: Notify::new(),
            stopping: CancellationToken::new(),
        });
        tokio::spawn(watch::follow_routes(core.clone()));
        Ok(Self { core })
    }

    /// Hands in requests of one client connection (0: of none), in the order of its pipeline.
    ///
    /// Requests that touch one unit take effect in this order; others may overlap. The answers come all together.
    pub fn submit(&self, connection: u64, requests: Vec<Prepared>) -> Completion {
        self.submit_named(connection, requests).1
    }

    /// Hands in a request that stands by for so long while there is nothing to answer, in the turn of the request with
    /// the sequence `instead_of` (0: of none). Gives back its own sequence.
    ///
    /// [`RouterError::StillWaits`]: nothing came, or its turn was taken over, or there was no turn to take over.
    pub fn stand_by(
        &self,
        connection: u64,
        request: Prepared,
        patience: Duration,
        instead_of: u64,
    ) -> (u64, Completion) {
        self.submit_named(connection, vec![request.standing_by(patience, instead_of)])
    }

    /// Gives back the sequence of the first request that has one.
    fn submit_named(&self, connection: u64, requests: Vec<Prepared>) -> (u64, Completion) {
        let core = &self.core;
        let (bundle, completion) = Bundle::new(connection, requests.len());
        if requests.is_empty() {
            return (0, completion);
        }
        core.metrics.requests.increment(requests.len() as u64);
        let bytes = requests.iter().map(|request| request.bytes).sum();
        if requests.iter().all(Prepared::is_urgent) {
            core.admission.force(requests.len(), bytes);
        } else if !core.admission.admit(requests.len(), bytes) {
            core.metrics.overloaded.increment(requests.len() as u64);
            bundle.refuse_all(&RouterError::Overloaded);
            return (0, completion);
        }
        core.metrics.in_flight.set(core.admission.requests() as f64);
        let execs = requests.iter().filter(|request| request.exec).count() as u64;
        let first = core.sequences.give_out(execs);
        let mut sequence = first;
        let first_e = core.seen_e();
        let now = Instant::now();
        let take_off = |(index, request): (usize, Prepared)| {
            let named = if request.exec { sequence } else { 0 };
            sequence += u64::from(request.exec);
            Flight::new(request, named, first_e, (bundle.clone(), index as u32), now)
        };
        let flights = requests.into_iter().enumerate().map(take_off).collect();
        let mut tally = Tally::default();
        core.dispatch(flights, &mut tally);
        core.settle(tally);
        (first, completion)
    }

    /// Runs commands together on units and key intervals of one group; one outcome for each.
    pub async fn call(
        &self,
        commands: Vec<Command>,
        units: Vec<Bytes>,
        intervals: Vec<KeyRange>,
    ) -> Result<Vec<Outcome>, RouterError> {
        self.call_prepared(Prepared::many(commands, units, intervals)).await
    }

    /// Runs one prepared request that belongs to no connection.
    pub async fn call_prepared(&self, request: Prepared) -> Result<Vec<Outcome>, RouterError> {
        let mut answers = self.submit(0, vec![request]).await;
        answers.pop().expect("a bundle has an answer for each request")
    }

    /// The parts of `range` that single routes cover now, in key order. Empty while no routes are known.
    pub fn parts_of(&self, range: &KeyRange) -> Vec<KeyRange> {
        let snapshot = self.core.directory.load();
        let routes = snapshot.routes.as_ref();
        routes.map_or_else(Vec::new, |routes| {
            routes.overlapping(range).iter().filter_map(|route| route.range.intersect(range)).collect()
        })
    }

    /// Whether units lie in several groups, as far as the routes are known now. It may be otherwise a moment later.
    pub fn lie_apart(&self, units: &[Bytes]) -> bool {
        self.core.directory.load().lie_apart(units)
    }

    /// The routes as they are known now; `None` before the first word from placement.
    pub fn routes(&self) -> Option<RouteMap> {
        self.core.directory.load().routes.clone()
    }

    /// On how many replicas besides the leader a write is, of whatever group, once it is answered: what a majority has
    /// beyond the leader itself. 0 before the first word from placement.
    pub fn certain_replicas(&self) -> i64 {
        let snapshot = self.core.directory.load();
        let fewest = snapshot.groups.values().map(|group| group.voters.len() / 2).min();
        fewest.and_then(|fewest| i64::try_from(fewest).ok()).unwrap_or_default()
    }

    /// Clients of placement.
    pub(crate) fn placement(&self) -> &Placement {
        &self.core.placement
    }

    /// An oracle value was seen: whatever is sent from now on comes after it.
    pub(crate) fn observe_e(&self, e: u64) {
        self.core.observe_e(e);
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.core.admission.requests()
    }

    /// Whether routes and nodes are known.
    pub fn is_ready(&self) -> bool {
        *self.core.ready.borrow()
    }

    /// Returns when routes and nodes are known.
    pub async fn wait_ready(&self) {
        // The sender lives in the core, so waiting ends only with readiness.
        let _ = self.core.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Returns when nothing is under way.
    pub async fn wait_idle(&self) {
        loop {
            let idle = self.core.idle.notified();
            if self.core.admission.requests() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Ends all streams. Requests under way are never answered.
    pub fn stop(&self) {
        self.core.stopping.cancel();
    }
}

impl Core {
    /// Sends flights of one bundle to where they belong now.
    fn dispatch(self: &Arc<Self>, flights: Vec<Flight>, tally: &mut Tally) {
        let snapshot = self.directory.load();
        // A burst goes to a few groups; looking through a short list is faster than hashing.
        let mut legs: Vec<Leg> = Vec::with_capacity(1);
        let mut lost = Vec::new();
        for mut flight in flights {
            let request = Arc::make_mut(&mut flight.request);
            match snapshot.address(request, flight.units, &flight.intervals) {
                Addressed::To(group) => match legs.iter_mut().find(|leg| leg.group == group) {
                    Some(leg) => leg.flights.push(flight),
                    None => legs.push(Leg { group, flights: vec![flight] }),
                },
                Addressed::Apart => self.give_up(flight, RouterError::CrossGroup, tally),
                Addressed::Unknown => lost.push(refused(flight, Reason::NoRoute)),
            }
        }
        for leg in legs {
            let turn = leg.flights.first().map_or(0, |flight| flight.history.turn);
            match snapshot.node_for(leg.group, turn) {
                Some((_, link)) => {
                    if let Err(leg) = link.send(leg) {
                        lost.extend(leg.flights.into_iter().map(|flight| refused(flight, Reason::Unreachable)));
                    }
                }
                None => lost.extend(leg.flights.into_iter().map(|flight| refused(flight, Reason::NoRoute))),
            }
        }
        if !lost.is_empty() {
            self.retry(lost, tally);
        }
    }

    /// Takes finished flights off the books.
    fn settle(&self, tally: Tally) {
        if tally.requests == 0 {
            return;
        }
        self.sequences.finish(&tally.sequences);
        self.admission.release(tally.requests, tally.bytes);
        if self.admission.requests() == 0 {
            self.metrics.in_flight.set(0.0);
            self.idle.notify_waiters();
        }
    }

    fn seen_e(&self) -> u64 {
        self.seen_e.load(Ordering::Relaxed)
    }

    fn observe_e(&self, e: u64) {
        self.seen_e.fetch_max(e, Ordering::Relaxed);
    }

    fn note_readiness(&self) {
        let snapshot = self.directory.load();
        if snapshot.routes.is_some() && !snapshot.nodes.is_empty() {
            self.ready.send_if_modified(|ready| !std::mem::replace(ready, true));
        }
    }
}

fn refused(flight: Flight, reason: Reason) -> Refused {
    Refused { flight, trouble: Trouble::Retry(reason) }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}
