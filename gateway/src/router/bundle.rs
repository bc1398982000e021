//! What callers hand in and get back: an ordered list of requests of one connection, and one completion for all.
//!
//! A bundle is made of one burst of a client's pipeline, so its cost is shared by the commands in it: one allocation
//! for the results, one wake-up of the session. Inside the router each request travels as a [`Flight`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use commands::{Command, Outcome};
use keyspace::{KeyRange, TransactionId, Version};
use parking_lot::Mutex;
use proto::wire;

use super::RouterError;
use super::step::{Reservation, Transacted};
use super::unlock::Contest;
use super::wire::{command_to_wire, observed_to_wire, outcomes};

/// Bytes that a request costs besides its keys and values, for the bounds.
const REQUEST_OVERHEAD: usize = 256;

/// What became of one request: the outcome of each of its commands.
pub type Answer = Result<Vec<Outcome>, RouterError>;

/// What became of one request, steps of transactions included.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answered {
    /// Of an `Exec` or a `Read`.
    Outcomes(Vec<Outcome>),
    /// Of a step.
    Transacted(Transacted),
}

/// One request, ready to be sent: the commands and everything that they may touch.
///
/// It becomes an `Exec` when a command may write, else a `Read`; or it is a step of a transaction
/// ([`super::Transaction`]).
#[derive(Debug)]
pub struct Prepared {
    pub(super) targets: Vec<wire::Target>,
    pub(super) intervals: Vec<KeyRange>,
    pub(super) commands: Vec<wire::Command>,
    pub(super) observed: Vec<wire::ObservedUnit>,
    pub(super) exec: bool,
    /// Milliseconds for which it stands by, and the sequence whose turn it takes; 0: none.
    pub(super) standby: (u32, u64),
    pub(super) at: u64,
    pub(super) reader: Option<TransactionId>,
    pub(super) step: Option<Box<wire::Transact>>,
    /// Keeps the sequence of a step's transaction until nothing of the step is under way.
    pub(super) reservation: Option<Arc<Reservation>>,
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
        Self {
            targets: units.into_iter().map(unit_target).collect(),
            intervals,
            commands,
            observed: Vec::new(),
            exec,
            standby: (0, 0),
            at: 0,
            reader: None,
            step: None,
            reservation: None,
            bytes: REQUEST_OVERHEAD + keys + payload,
        }
    }

    /// A step of a transaction at the group of `units`.
    pub(super) fn step(
        step: wire::Transact,
        units: Vec<Bytes>,
        spans: Vec<KeyRange>,
        payload: usize,
        reservation: Option<Arc<Reservation>>,
    ) -> Self {
        let mut prepared = Self::build(Vec::new(), false, units, spans);
        prepared.bytes += payload;
        prepared.step = Some(Box::new(step));
        prepared.reservation = reservation;
        prepared
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

    /// Executes only if these units still have these versions (`None`: absent or expired), else
    /// [`RouterError::Conflict`]. The units are among those named. Makes it an `Exec`.
    #[must_use]
    pub fn observed(mut self, observed: Vec<(Bytes, Option<Version>)>) -> Self {
        self.exec |= !observed.is_empty();
        self.observed = observed_to_wire(observed);
        self
    }

    /// Stands by so long while there is nothing to answer, in the turn of an earlier request (0: behind everybody).
    /// Makes it an `Exec`.
    #[must_use]
    pub(super) fn standing_by(mut self, patience: Duration, instead_of: u64) -> Self {
        self.exec = true;
        self.standby = (u32::try_from(patience.as_millis()).unwrap_or(u32::MAX), instead_of);
        self
    }

    /// Names its units only.
    #[must_use]
    pub fn without_commands(mut self) -> Self {
        self.commands.clear();
        self.observed.clear();
        self
    }

    /// Reads in the name of a transaction: its own locks do not stand in the way.
    #[must_use]
    pub fn read_by(mut self, reader: Option<TransactionId>) -> Self {
        self.reader = reader;
        self
    }

    /// Whether it ends something that is under way and stands in the way of others: the bounds let it pass.
    pub(super) fn is_urgent(&self) -> bool {
        use wire::transact::Step;
        match self.step.as_deref().and_then(|step| step.step.as_ref()) {
            None | Some(Step::Begin(_) | Step::Prewrite(_)) => false,
            Some(
                Step::Commit(_)
                | Step::Abort(_)
                | Step::Resolve(_)
                | Step::Forget(_)
                | Step::Heartbeat(_)
                | Step::Inquire(_),
            ) => true,
        }
    }
}

fn unit_target(key: Bytes) -> wire::Target {
    wire::Target { key, end: Bytes::new(), is_interval: false, range_id: 0, epoch: 0 }
}

/// The results of a bundle, in the order of its requests. Dropping it gives up the retries of what is unanswered.
#[derive(Debug)]
pub struct Completion {
    bundle: Arc<Bundle>,
}

impl Future for Completion {
    type Output = Vec<Answer>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcomes = |answered: Result<Answered, RouterError>| match answered? {
            Answered::Outcomes(outcomes) => Ok(outcomes),
            Answered::Transacted(_) => Err(RouterError::Protocol("a step among commands".into())),
        };
        self.poll_answered(context).map(|answers| answers.into_iter().map(outcomes).collect())
    }
}

impl Completion {
    /// Ready when all answers are there. Not to be polled again then.
    pub(super) fn poll_answered(&self, context: &mut Context<'_>) -> Poll<Vec<Result<Answered, RouterError>>> {
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
    answers: Vec<Option<Result<Answered, RouterError>>>,
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

    fn answer(&self, index: u32, answer: Result<Answered, RouterError>) {
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
    /// Of an `Exec`, finished with the flight; 0 for everything else.
    pub(super) sequence: u64,
    /// Of a step: its transaction's sequence, finished when nothing holds it any more.
    reservation: Option<Arc<Reservation>>,
    /// What a read has learnt of the locks it met.
    pub(super) contest: Contest,
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
        let Prepared { targets, intervals, commands, observed, exec, standby, at, reader, step, reservation, bytes } =
            prepared;
        let units = targets.len();
        let kind = match step {
            Some(step) => wire::request::Kind::Transact(sent_first_at(*step, first_e)),
            None if exec => {
                let anchor = anchor(&targets, &intervals);
                let (patience_ms, instead_of) = standby;
                let exec = wire::Exec { sequence, first_e, anchor, observed, commands, patience_ms, instead_of };
                wire::request::Kind::Exec(exec)
            }
            None => wire::request::Kind::Read(wire::Read { commands, at, txn: reader.map(Into::into) }),
        };
        let connection = bundle.connection;
        let request = Arc::new(wire::Request { ticket: 0, group_id: 0, targets, connection, kind: Some(kind) });
        let history = History { submitted: now, refusals: 0, hops: 0, turn: 0, outcome_unknown: false };
        let sequence = if exec { sequence } else { 0 };
        let contest = Contest::default();
        Self { request, intervals, units, sequence, reservation, contest, bytes, bundle, index, history }
    }

    /// Whether it may change something, so that an unknown outcome matters.
    pub(super) fn has_effect(&self) -> bool {
        match &self.request.kind {
            Some(wire::request::Kind::Exec(_)) => true,
            Some(wire::request::Kind::Transact(step)) => !matches!(step.step, Some(wire::transact::Step::Inquire(_))),
            Some(wire::request::Kind::Read(_)) | None => false,
        }
    }

    /// Whether it waits for locks; a prewrite of a transaction that is not in ordered mode is rather refused.
    pub(super) fn waits_for_locks(&self) -> bool {
        let Some(wire::request::Kind::Transact(wire::Transact { step: Some(step), .. })) = &self.request.kind else {
            return true;
        };
        !matches!(step, wire::transact::Step::Prewrite(wire::Prewrite { waits: false, .. }))
    }

    /// Whether it is a read of the newest state by nobody in particular, which an `Exec` can do as well.
    pub(super) fn can_queue(&self) -> bool {
        matches!(&self.request.kind, Some(wire::request::Kind::Read(read)) if read.at == 0 && read.txn.is_none())
    }

    /// The timestamp as of which it reads; 0: the newest state.
    pub(super) fn reads_at(&self) -> u64 {
        match &self.request.kind {
            Some(wire::request::Kind::Read(read)) => read.at,
            _ => 0,
        }
    }

    /// Makes such a read an `Exec`: it waits in the queue of a locked unit.
    pub(super) fn queue(&mut self, sequence: u64, first_e: u64) {
        debug_assert!(self.can_queue(), "only a plain read can wait in a queue");
        let request = Arc::make_mut(&mut self.request);
        if let Some(wire::request::Kind::Read(read)) = request.kind.take() {
            let anchor = anchor(&request.targets[..self.units], &self.intervals);
            let exec = wire::Exec { sequence, first_e, anchor, commands: read.commands, ..Default::default() };
            request.kind = Some(wire::request::Kind::Exec(exec));
            self.sequence = sequence;
        }
    }

    /// Gives an `Exec` another name, under which nobody remembers what became of it.
    pub(super) fn rename(&mut self, sequence: u64) {
        if let Some(wire::request::Kind::Exec(exec)) = &mut Arc::make_mut(&mut self.request).kind {
            exec.sequence = sequence;
            self.sequence = sequence;
        }
    }

    /// What the results of a group mean for this request.
    pub(super) fn read_results(&self, results: wire::Results) -> Result<Answered, RouterError> {
        let commands = match &self.request.kind {
            Some(wire::request::Kind::Exec(exec)) => exec.commands.len(),
            Some(wire::request::Kind::Read(read)) => read.commands.len(),
            Some(wire::request::Kind::Transact(_)) | None => {
                return Err(RouterError::Protocol("results for a step".into()));
            }
        };
        outcomes(results, commands).map(Answered::Outcomes)
    }

    /// What the answer to a step means for this request.
    pub(super) fn read_step(&self, transacted: wire::Transacted) -> Result<Answered, RouterError> {
        let Some(wire::request::Kind::Transact(step)) = &self.request.kind else {
            return Err(RouterError::Protocol("the answer to a step for commands".into()));
        };
        Transacted::read(step, transacted).map(Answered::Transacted)
    }

    /// Ends the flight. Its sequence, count and bytes go on the tally, which the caller must settle.
    pub(super) fn finish(self, answer: Result<Answered, RouterError>, tally: &mut Tally) {
        tally.requests += 1;
        tally.bytes += self.bytes;
        if self.sequence != 0 {
            tally.sequences.push(self.sequence);
        }
        self.bundle.answer(self.index, answer);
        // From here on only the coordinator may repeat the step.
        drop(self.reservation);
    }
}

/// The smallest unit that a request names; an interval counts by its start.
fn anchor(units: &[wire::Target], intervals: &[KeyRange]) -> Bytes {
    let starts = intervals.iter().map(KeyRange::start);
    units.iter().map(|target| &target.key).chain(starts).min().cloned().unwrap_or_default()
}

/// The step with the largest oracle value that was seen when it was sent first.
fn sent_first_at(mut transact: wire::Transact, seen_e: u64) -> wire::Transact {
    match &mut transact.step {
        Some(wire::transact::Step::Begin(begin)) => begin.first_e = seen_e,
        Some(wire::transact::Step::Prewrite(prewrite)) => prewrite.first_e = seen_e,
        _ => {}
    }
    transact
}

/// Flights that have ended and are not yet taken off the books.
#[derive(Debug, Default)]
#[must_use = "what has ended must be settled"]
pub(super) struct Tally {
    pub(super) requests: usize,
    pub(super) bytes: usize,
    pub(super) sequences: Vec<u64>,
}
