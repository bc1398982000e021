//! Requests as the executor and the readers take them, and the way back to who asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use commands::{Command, ViewError};
use keyspace::{Epoch, KeyRange, RangeId, RequestId, TransactionId, Version};
use prost::Message;
use proto::wire;
use tokio::sync::mpsc;

use super::standby::Turn;

/// What a request may touch, and where its gateway believes that it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// One lock unit, or every key of an interval.
    pub scope: Scope,
    /// The range it was routed by.
    pub range_id: RangeId,
    /// That range's epoch.
    pub epoch: Epoch,
}

/// A lock unit or an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Encoded unit key.
    Unit(Bytes),
    /// Encoded keys.
    Interval(KeyRange),
}

/// A request that may write. Runs at most once under its id.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecRequest {
    /// The dedup key.
    pub id: RequestId,
    /// Largest oracle value that the gateway has seen.
    pub seen_e: u64,
    /// Smallest unit named in the request: where its dedup record lives.
    pub anchor: Bytes,
    /// Everything the commands may touch.
    pub targets: Vec<Target>,
    /// Units and their versions that must not have changed; `None`: absent.
    pub observed: Vec<(Bytes, Option<Version>)>,
    /// Evaluated in order.
    pub commands: Vec<Command>,
    /// Client connection, 0 for none: a refusal refuses what follows it from the same one in the same batch.
    pub connection: u64,
    /// How long it stands by while there is nothing to answer, milliseconds; 0: not at all.
    pub patience_ms: u32,
    /// The request whose turn it takes.
    pub instead_of: Option<RequestId>,
}

/// One step of a transaction over several groups.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRequest {
    /// Whose.
    pub txn: TransactionId,
    /// Where its record lives.
    pub anchor: Bytes,
    /// Largest oracle value that the gateway has seen.
    pub seen_e: u64,
    /// The units that the step is about.
    pub targets: Vec<Target>,
    /// What to do.
    pub step: Step,
    /// As of [`ExecRequest`].
    pub connection: u64,
}

/// See `transaction.proto`.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// At the anchor: make the record.
    Begin {
        /// Every unit that it may lock.
        participants: Vec<Bytes>,
    },
    /// Evaluate and lock.
    Prewrite(Prewrite),
    /// At the anchor: decide.
    Commit {
        /// Every unit that was locked, and p.
        participants: Vec<(Bytes, Version)>,
        /// What a repetition of the request is answered.
        response: wire::Results,
    },
    /// At the anchor: decide against it.
    Abort {
        /// Unless somebody still works on it.
        only_dead: bool,
    },
    /// At a participant: end its locks.
    Resolve {
        /// `None`: aborted.
        committed_at: Option<Version>,
        /// Units of this group, and p.
        participants: Vec<(Bytes, Version)>,
    },
    /// At the anchor: every participant has resolved.
    Forget,
    /// At the anchor: its coordinator lives.
    Heartbeat,
    /// At the anchor: what is decided.
    Inquire,
}

/// What a prewrite evaluates and locks.
#[derive(Clone, Debug, PartialEq)]
pub struct Prewrite {
    /// At the anchor's group, when there was no Begin: every unit that the transaction may lock.
    pub participants: Vec<Bytes>,
    /// Units and their versions that must not have changed; `None`: absent.
    pub observed: Vec<(Bytes, Option<Version>)>,
    /// Evaluated in order.
    pub commands: Vec<Command>,
    /// Written as they are.
    pub intents: Vec<(Bytes, Option<Bytes>)>,
    /// Waits for locks of others instead of being refused.
    pub waits: bool,
    /// Locks exclusively what it does not write too.
    pub exclusive: bool,
    /// Recognises a repetition.
    pub fingerprint: u64,
}

/// What an executor is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Something that runs in this group alone.
    Exec(ExecRequest),
    /// A step of something that does not.
    Step(StepRequest),
}

/// A request that waits for locks or stands by, and who asked.
#[derive(Debug)]
pub struct Waiting {
    /// The request.
    pub ask: Ask,
    /// Where the answer goes.
    pub reply: ReplyTo,
    /// The turn that it had when it stood by, and until when it stands by, on the executor's clock.
    pub stood_by: Option<(Turn, u64)>,
}

impl Ask {
    /// Everything that it may touch.
    pub fn targets(&self) -> &[Target] {
        match self {
            Ask::Exec(request) => &request.targets,
            Ask::Step(request) => &request.targets,
        }
    }

    /// The request to be evaluated alone, if it is one that may stand by.
    pub fn may_stand_by(&self) -> Option<&ExecRequest> {
        match self {
            Ask::Exec(request) => (request.patience_ms > 0 || request.instead_of.is_some()).then_some(request),
            Ask::Step(_) => None,
        }
    }

    /// The client connection, 0 for none.
    pub fn connection(&self) -> u64 {
        match self {
            Ask::Exec(request) => request.connection,
            Ask::Step(request) => request.connection,
        }
    }
}

/// Units of targets in key order, each once.
pub fn units_of(targets: &[Target]) -> Vec<Bytes> {
    let unit = |target: &Target| match &target.scope {
        Scope::Unit(unit) => Some(unit.clone()),
        Scope::Interval(_) => None,
    };
    let mut units: Vec<Bytes> = targets.iter().filter_map(unit).collect();
    units.sort_unstable();
    units.dedup();
    units
}

/// A request that changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadRequest {
    /// Everything the commands may touch.
    pub targets: Vec<Target>,
    /// Evaluated in order.
    pub commands: Vec<Command>,
    /// As of this oracle value; `None`: newest.
    pub at: Option<u64>,
    /// The reader is this transaction.
    pub txn: Option<TransactionId>,
}

impl ReadRequest {
    /// Whether it may read many records.
    pub fn is_scan(&self) -> bool {
        self.targets.iter().any(|target| matches!(target.scope, Scope::Interval(_)))
    }
}

/// Largest reply to one request.
pub const MAX_REPLY_BYTES: usize = 72 << 20;

/// Bytes and requests that a node has taken on and not answered.
#[derive(Debug, Default)]
pub struct Load {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

impl Load {
    /// Requests not answered yet.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Their size in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// What a request takes of the node's [`Load`], until its reply has left.
#[derive(Debug)]
pub struct Held {
    load: Arc<Load>,
    bytes: usize,
}

impl Held {
    fn new(load: Arc<Load>, bytes: usize) -> Self {
        load.requests.fetch_add(1, Ordering::Relaxed);
        load.bytes.fetch_add(bytes, Ordering::Relaxed);
        Self { load, bytes }
    }

    fn grow(&mut self, bytes: usize) {
        self.load.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.load.requests.fetch_sub(1, Ordering::Relaxed);
        self.load.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A reply on its way to the stream.
pub type Decided = (wire::Reply, Held);

/// The one answer that a request gets. Dropped unanswered, it says that the outcome is unknown.
#[derive(Debug)]
pub struct ReplyTo {
    ticket: u64,
    sink: mpsc::UnboundedSender<Decided>,
    /// Taken by the answer.
    held: Option<Held>,
}

impl ReplyTo {
    /// For the request `ticket`, of `bytes` bytes, on the stream that `sink` feeds. Counts towards `load` until the
    /// reply has left.
    pub fn new(ticket: u64, bytes: usize, sink: mpsc::UnboundedSender<Decided>, load: Arc<Load>) -> Self {
        Self { ticket, sink, held: Some(Held::new(load, bytes)) }
    }

    /// Whether nobody waits for the answer any more: the stream is gone. What was not evaluated by then is better left
    /// alone; above all a prewrite, whose lock would outlive its dead coordinator.
    pub fn is_abandoned(&self) -> bool {
        self.sink.is_closed()
    }

    /// Answers. `e` is the group's oracle value.
    pub fn send(mut self, e: u64, outcome: Outcome) {
        self.answer(e, outcome);
    }

    fn answer(&mut self, e: u64, outcome: Outcome) {
        let Some(mut held) = self.held.take() else { return };
        let mut reply = wire::Reply { ticket: self.ticket, e, outcome: Some(outcome) };
        let mut bytes = reply.encoded_len();
        if bytes > MAX_REPLY_BYTES {
            // Larger than the gateway takes: it would break the stream, for everybody on it.
            reply.outcome = Some(rejected("the reply is too large; ask for less at once"));
            bytes = reply.encoded_len();
        }
        held.grow(bytes);
        // The gateway may be gone; then nobody waits for the answer.
        let _ = self.sink.send((reply, held));
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        self.answer(0, refusal(Reason::OutcomeUnknown(wire::OutcomeUnknown {})));
    }
}

/// Results or refusal, in wire form.
pub type Outcome = wire::reply::Outcome;
/// Why there are no results.
pub type Reason = wire::refusal::Reason;

/// A refusal as an outcome.
pub fn refusal(reason: Reason) -> Outcome {
    Outcome::Refusal(wire::Refusal { reason: Some(reason) })
}

/// Certainly not executed.
pub fn not_executed(reason: wire::NotExecutedReason) -> Outcome {
    refusal(Reason::NotExecuted(wire::NotExecuted { reason: reason.into() }))
}

/// Locks stand in the way.
pub fn locked(locks: Vec<wire::SeenLock>) -> Outcome {
    refusal(Reason::Locked(wire::Locked { locks }))
}

/// It stood by and found nothing.
pub fn still_waits() -> Outcome {
    refusal(Reason::StillWaits(wire::StillWaits {}))
}

/// An evaluation was given up.
pub fn given_up(error: &ViewError) -> Outcome {
    match error {
        ViewError::Beyond => refusal(Reason::Beyond(wire::Beyond {})),
        ViewError::Storage(_) | ViewError::Corrupt { .. } => rejected(error.to_string()),
    }
}

/// The request can never succeed.
pub fn rejected(message: impl Into<String>) -> Outcome {
    refusal(Reason::Rejected(wire::Rejected { message: message.into() }))
}
