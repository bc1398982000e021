//! What callers hand in and get back: an ordered list of requests of one connection, and one completion for all.
//!
//! A bundle is made of one burst of a client's pipeline, so its cost is shared by the commands in it: one allocation
//! for the results, one wake-up of the session. Inside the router each request travels as a [`Flight`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use commands::{Command, Outcome};
use keyspace::KeyRange;
use parking_lot::Mutex;
use proto::wire;

use super::RouterError;
use super::wire::command_to_wire;

/// Bytes that a request costs besides its keys and values, for the bounds.
const REQUEST_OVERHEAD: usize = 256;

/// What became of one request: the outcome of each of its commands.
pub type Answer = Result<Vec<Outcome>, RouterError>;

/// One request, ready to be sent: the commands and everything that they may touch.
///
/// It becomes an `Exec` when a command may write, else a `Read`.
#[derive(Debug)]
pub struct Prepared {
    pub(super) targets: Vec<wire::Target>,
    pub(super) intervals: Vec<KeyRange>,
    pub(super) commands: Vec<wire::Command>,
    pub(super) exec: bool,
    pub(super) at: u64,
    pub(super) bytes: usize,
}

impl Prepared {
    /// One command on named units (encoded unit keys, at least one).
    pub fn one(command: Command, units: Vec<Bytes>) -> Self {
        let exec = command.writes();
        Self::build(vec![command_to_wire(command)], exec, units, Vec::new())
    }

    /// [`Prepared::one`], when the caller knows already whether the command may write.
    pub fn known(command: Command, units: Vec<Bytes>, writes: bool) -> Self {
        Self::build(vec![command_to_wire(command)], writes, units, Vec::new())
    }

    /// Commands that run together, in order, on units and key intervals of one group (at least one of either).
    pub fn many(commands: Vec<Command>, units: Vec<Bytes>, intervals: Vec<KeyRange>) -> Self {
        let exec = commands.iter().any(Command::writes);
        Self::build(commands.into_iter().map(command_to_wire).collect(), exec, units, intervals)
    }

    fn build(commands: Vec<wire::Command>, exec: bool, units: Vec<Bytes>, intervals: Vec<KeyRange>) -> Self {
        debug_assert!(!units.is_empty() || !intervals.is_empty(), "a request names what it touches");
        let keys: usize = units.iter().map(Bytes::len).sum();
        let payload: usize = commands.iter().map(super::wire::command_bytes).sum();
        let target = |key| wire::Target { key, end: Bytes::new(), is_interval: false, range_id: 0, epoch: 0 };
        Self {
            targets: units.into_iter().map(target).collect(),
            intervals,
            commands,
            exec,
            at: 0,
            bytes: REQUEST_OVERHEAD + keys + payload,
        }
    }

    /// Makes a read-only request take its turn behind earlier writes of its connection, as an `Exec`.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.exec = true;
        self
    }

    /// Reads as of an oracle timestamp: versions below it. Only for read-only commands; 0 is the newest state.
    #[must_use]
    pub fn at(mut self, timestamp: u64) -> Self {
        self.at = timestamp;
        self
    }
}

/// The results of a bundle, in the order of its requests. Dropping it gives up the retries of what is unanswered.
#[derive(Debug)]
pub struct Completion {
    bundle: Arc<Bundle>,
}

impl Future for Completion {
    type Output = Vec<Answer>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slots = self.bundle.slots.lock();
        if slots.open > 0 {
            if slots.waker.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
                slots.waker = Some(context.waker().clone());
            }
            return Poll::Pending;
        }
        let answers = std::mem::take(&mut slots.answers);
        drop(slots);
        Poll::Ready(answers.into_iter().map(|answer| answer.expect("no slot of the bundle is open")).collect())
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.bundle.abandoned.store(true, Ordering::Relaxed);
    }
}

/// The answers of one bundle as they arrive.
///
/// Invariant: `open` slots are `None`; each is filled once.
#[derive(Debug)]
pub(super) struct Bundle {
    /// The client connection, 0 for none.
    pub(super) connection: u64,
    abandoned: AtomicBool,
    slots: Mutex<Slots>,
}

#[derive(Debug)]
struct Slots {
    answers: Vec<Option<Answer>>,
    open: usize,
    waker: Option<Waker>,
}

impl Bundle {
    pub(super) fn new(connection: u64, requests: usize) -> (Arc<Self>, Completion) {
        let answers = std::iter::repeat_with(|| None).take(requests).collect();
        let slots = Mutex::new(Slots { answers, open: requests, waker: None });
        let bundle = Arc::new(Self { connection, abandoned: AtomicBool::new(false), slots });
        (bundle.clone(), Completion { bundle })
    }

    /// Whether nobody waits for the answers any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Answers every request with the same error, when none is under way.
    pub(super) fn refuse_all(&self, error: &RouterError) {
        let mut slots = self.slots.lock();
        slots.answers.fill(Some(Err(error.clone())));
        slots.open = 0;
    }

    fn answer(&self, index: u32, answer: Answer) {
        let waker = {
            let mut slots = self.slots.lock();
            let slot = &mut slots.answers[index as usize];
            debug_assert!(slot.is_none(), "request {index} of the bundle is answered twice");
            *slot = Some(answer);
            slots.open -= 1;
            if slots.open == 0 { slots.waker.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// One request on its way: what is sent, who waits for it, and what has happened to it so far.
#[derive(Debug)]
pub(super) struct Flight {
    /// As it is sent, without its ticket. Shared with the batch that is being encoded.
    pub(super) request: Arc<wire::Request>,
    /// Key intervals of the request; their targets stand behind those of the `units` units.
    pub(super) intervals: Vec<KeyRange>,
    /// How many of the request's targets are units.
    pub(super) units: usize,
    /// 0 for a `Read`.
    pub(super) sequence: u64,
    /// Counted against the bounds.
    pub(super) bytes: usize,
    pub(super) bundle: Arc<Bundle>,
    /// Position in the bundle.
    pub(super) index: u32,
    /// What the retries have seen.
    pub(super) history: History,
}

/// What has happened to a request so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct History {
    /// When it was handed in: all deadlines count from here.
    pub(super) submitted: Instant,
    /// Times that it was sent and not answered with results.
    pub(super) refusals: u32,
    /// Of these, how many since it last waited.
    pub(super) hops: u32,
    /// Voters tried in turn while no leader is known.
    pub(super) turn: u32,
    /// Some attempt may have taken effect.
    pub(super) outcome_unknown: bool,
}

impl Flight {
    pub(super) fn new(
        prepared: Prepared,
        sequence: u64,
        first_e: u64,
        place: (Arc<Bundle>, u32),
        now: Instant,
    ) -> Self {
        let (bundle, index) = place;
        let Prepared { targets, intervals, commands, exec, at, bytes } = prepared;
        let units = targets.len();
        let kind = if exec {
            let starts = intervals.iter().map(KeyRange::start);
            let anchor = targets.iter().map(|target| &target.key).chain(starts).min().cloned().unwrap_or_default();
            wire::request::Kind::Exec(wire::Exec { sequence, first_e, anchor, observed: Vec::new(), commands })
        } else {
            wire::request::Kind::Read(wire::Read { commands, at })
        };
        let connection = bundle.connection;
        let request = Arc::new(wire::Request { ticket: 0, group_id: 0, targets, connection, kind: Some(kind) });
        let history = History { submitted: now, refusals: 0, hops: 0, turn: 0, outcome_unknown: false };
        Self { request, intervals, units, sequence: if exec { sequence } else { 0 }, bytes, bundle, index, history }
    }

    /// Whether the request may write, so that an unknown outcome matters.
    pub(super) fn is_exec(&self) -> bool {
        self.sequence != 0
    }

    /// How many results its answer has.
    pub(super) fn commands(&self) -> usize {
        match &self.request.kind {
            Some(wire::request::Kind::Exec(exec)) => exec.commands.len(),
            Some(wire::request::Kind::Read(read)) => read.commands.len(),
            None => 0,
        }
    }

    /// Ends the flight. Its sequence, count and bytes go on the tally, which the caller must settle.
    pub(super) fn finish(self, answer: Answer, tally: &mut Tally) {
        tally.requests += 1;
        tally.bytes += self.bytes;
        if self.is_exec() {
            tally.sequences.push(self.sequence);
        }
        self.bundle.answer(self.index, answer);
    }
}

/// Flights that have ended and are not yet taken off the books.
#[derive(Debug, Default)]
#[must_use = "what has ended must be settled"]
pub(super) struct Tally {
    pub(super) requests: usize,
    pub(super) bytes: usize,
    pub(super) sequences: Vec<u64>,
}
