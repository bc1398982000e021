//! The executor: evaluates what may write, one request after another, and is the only proposer of its group.
//!
//! A leader's term in office ([`Executor::hold_office`]) goes round one loop:
//!
//! 1. Queued requests are evaluated over the [`World`] into a draft; each result is sealed.
//! 2. While fewer than `pipeline_depth` batches are in flight, the draft becomes the next batch of the chain.
//! 3. When the oldest batch is applied, its results are opened, the overlay pruned, and a fresh view opened.
//! 4. A request that meets locks of others waits in the queues of [`wait`](super::wait); what frees its unit wakes it.
//! 5. Results that had no effect and no batch to ride in wait for a read check begun behind their evaluation.
//!
//! A refused, skipped or timed-out batch breaks the chain: the executor proposes a barrier until one is applied, which
//! decides every outstanding batch, and goes on with an empty overlay (`Office::restart`). When the office is lost,
//! what is in flight is answered *unknown*, and what was not proposed *not the leader*.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keyspace::{GroupId, Route};
use proto::wire;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::chain::Link;
use super::evaluate::World;
use super::leftovers::Leftovers;
use super::office::Office;
use super::propose::Proposer;
use super::read::{ReadCheck, Replicate};
use super::request::{Ask, ReplyTo};
use super::split::{self, SplitError};
use super::state::{StateError, Views};
use super::{GroupRaft, WallClock};

/// What the executor is asked to do.
pub enum Job {
    /// Requests of one gateway message, in order.
    Requests(Requests),
    /// A change that no client asked for.
    Internal(Internal, oneshot::Sender<InternalDone>),
}

/// Requests of one message.
pub struct Requests {
    pub(super) gateway: GatewayWord,
    pub(super) queued: Vec<(Ask, ReplyTo)>,
    /// Connections of which one was refused: so is what follows it.
    pub(super) refused: Vec<u64>,
    /// What waits, by connection: what follows on the same units would overtake it.
    pub(super) parked: Vec<(u64, Vec<Bytes>)>,
}

impl Requests {
    /// In the order of the message.
    pub fn new(gateway: GatewayWord, queued: Vec<(Ask, ReplyTo)>) -> Self {
        Self { gateway, queued, refused: Vec::new(), parked: Vec::new() }
    }
}

/// What a gateway says of itself in each message.
#[derive(Clone, Copy, Debug)]
pub struct GatewayWord {
    /// Its incarnation.
    pub incarnation: u64,
    /// It never asks again below this sequence.
    pub answered_below: u64,
}

/// Changes of group state that no client asked for.
#[derive(Clone, Debug)]
pub enum Internal {
    /// Make time or an oracle value part of the replicated state.
    Replicate(Replicate),
    /// A new group takes over its first ranges. Nothing happens when it has some.
    Found(Vec<Route>),
    /// Cut a range in two.
    Split(split::SplitRequest),
    /// Remove what a pass over the data has found.
    Collect {
        /// What it went by.
        safe_point_e: u64,
        /// What it found.
        garbage: Vec<wire::Garbage>,
    },
}

/// What came of an [`Internal`].
#[derive(Clone, Debug)]
pub enum InternalDone {
    /// It holds.
    Done,
    /// The two halves.
    Split(Route, Route),
    /// The split is refused.
    SplitRefused(SplitError),
    /// Not executed, or nobody knows: ask again.
    Retry,
}

/// Bounds of one executor.
#[derive(Clone, Copy, Debug)]
pub struct ExecutorLimits {
    /// Most batches in flight.
    pub pipeline_depth: usize,
    /// A batch is full at this size, in bytes.
    pub batch_bytes: usize,
    /// A batch is full at this many requests.
    pub batch_requests: usize,
    /// A batch that is not applied after this time breaks the chain.
    pub batch_timeout: Duration,
    /// A request waits for locks at most so long.
    pub lock_wait: Duration,
}

impl Default for ExecutorLimits {
    fn default() -> Self {
        Self {
            pipeline_depth: 4,
            batch_bytes: 4 << 20,
            batch_requests: 4096,
            batch_timeout: Duration::from_secs(5),
            lock_wait: Duration::from_secs(4),
        }
    }
}

/// How often silent gateways are looked for and pending floors written.
pub(super) const SWEEP: Duration = Duration::from_secs(1);
/// How long a new leader waits for the other nodes' clocks.
const CLOCK_PATIENCE: Duration = Duration::from_secs(2);
const CLOCK_LOOK: Duration = Duration::from_millis(5);

/// The executor of one group.
pub struct Executor {
    /// The group.
    pub group: GroupId,
    /// To propose, and to know who leads.
    pub raft: GroupRaft,
    /// Snapshots of the group.
    pub views: Arc<Views>,
    /// Proof of leadership for results without effect.
    pub check: ReadCheck,
    /// This node's wall clock.
    pub clock: WallClock,
    /// Where it tells of locks and decisions that nobody looks after.
    pub leftovers: mpsc::Sender<Leftovers>,
    /// Bounds.
    pub limits: ExecutorLimits,
}

/// How an office ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Another replica leads, or none.
    Lost,
    /// The queue is closed: the replica stops.
    Stopped,
}

impl Executor {
    /// Until the queue closes or the replica stops for good.
    pub async fn run(self, mut inbox: mpsc::Receiver<Job>) {
        let proposer = Proposer::new(self.raft.clone());
        // Highest run proposed in a term: a later office in the same term begins above it.
        let mut last = Link::default();
        loop {
            let Some(term) = self.await_office(&proposer, &mut inbox).await else { return };
            match self.hold_office(&proposer, term, &mut last, &mut inbox).await {
                Ok(End::Lost) => tracing::info!(group = self.group.0, term, "office lost"),
                Ok(End::Stopped) => return,
                Err(error) => {
                    tracing::error!(group = self.group.0, %error, "executor cannot read its group");
                    tokio::time::sleep(SWEEP).await;
                }
            }
        }
    }

    /// Until this replica leads and has applied an entry of its own term. Meanwhile everything is refused.
    async fn await_office(&self, proposer: &Proposer, inbox: &mut mpsc::Receiver<Job>) -> Option<u64> {
        let mut office = proposer.watch_office();
        loop {
            if let Some(term) = office.ready() {
                return Some(term);
            }
            tokio::select! {
                job = inbox.recv() => refuse(&self.raft, job?),
                open = office.changed() => if !open { return None },
            }
        }
    }

    /// Until a majority agrees with this node's clock, or [`CLOCK_PATIENCE`] is over; false when the office is lost.
    ///
    /// A new leader has often not heard the others' clocks yet. Serving at once, it would go by the time of the last
    /// entry, which may be long ago, and what it lets expire "in ten seconds" would be gone at the next entry. A group
    /// that never had a time waits as long as it takes.
    async fn await_clock(&self, proposer: &Proposer, term: u64, replicated_now_ms: u64) -> bool {
        let office = proposer.watch_office();
        let deadline = Instant::now() + CLOCK_PATIENCE;
        while self.clock.now_ms().is_none() && (replicated_now_ms == 0 || Instant::now() < deadline) {
            if !office.holds(term) {
                return false;
            }
            tokio::time::sleep(CLOCK_LOOK).await;
        }
        true
    }

    async fn hold_office(
        &self,
        proposer: &Proposer,
        term: u64,
        last: &mut Link,
        inbox: &mut mpsc::Receiver<Job>,
    ) -> Result<End, StateError> {
        let view = self.views.open()?;
        if !self.await_clock(proposer, term, view.head.now_ms).await {
            return Ok(End::Lost);
        }
        let begun = view.head.chain.max(*last);
        // Run 1 of a term needs no barrier: nothing of the term can be in flight yet.
        let start = if begun.term == term { begun } else { Link { term, run: 1, n: 0 } };
        let world = World::new(self.group, view, self.clock.now_ms())?;
        let mut office = Office::new(self, proposer, start, world);
        tracing::info!(group = self.group.0, term, chain = %begun, "executor in office");
        let end = if begun.term == term { office.restart().await? } else { None };
        let end = match end {
            Some(end) => end,
            None => office.serve(inbox).await?,
        };
        *last = office.leave();
        Ok(end)
    }
}

/// Answers a job that this replica cannot take: it does not lead.
pub(super) fn refuse(raft: &GroupRaft, job: Job) {
    match job {
        Job::Requests(Requests { queued, .. }) => {
            let outcome = super::not_leader(raft);
            for (_, reply) in queued {
                reply.send(0, outcome.clone());
            }
        }
        Job::Internal(_, done) => {
            // Nobody waits any more: then nobody needs the answer.
            let _ = done.send(InternalDone::Retry);
        }
    }
}
