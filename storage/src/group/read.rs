//! Linearizable reads without a log entry.
//!
//! 1. Reads queue; a reader takes all that wait and begins one [`ReadCheck`] for them: a check serves only reads that
//!    arrived before it began.
//! 2. The check proves that this replica led at a moment behind its begin (by a fresh lease, else by asking a quorum)
//!    and waits until everything committed by then is applied.
//! 3. One engine snapshot, opened behind the check, gives range state, time and data to all of them.
//!
//! Reads of intervals run apart, on threads for blocking work, a few at a time.
//!
//! The overlay is not visible and not waited for. A read that judges expiry by a time that is not replicated yet has
//! the executor replicate it first and begins again: "gone" is never followed by the old value.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use commands::{Order, Record, View, ViewError};
use keyspace::{GroupId, KeyRange, Version};
use openraft::LinearizerOption;
use openraft::errors::{LinearizableReadError, RaftError};
use planted::Fault;
use proto::wire;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::answer;
use super::contest;
use super::evaluate::{evaluate_now, stale_route, storage_error};
use super::execute::{Internal, InternalDone, Job};
use super::request::{Outcome, ReadRequest, Reason, ReplyTo, given_up, not_executed, refusal, rejected};
use super::state::{GroupView, Views};
use super::versions::VersionReader;
use super::{GroupRaft, WallClock};
use crate::aside::aside;

/// Most reads that share one check.
const READS_PER_CHECK: usize = 4096;
/// How often a read begins again because time had to be replicated first.
const ATTEMPTS: usize = 5;
/// Scans of one group that run at the same time.
const SCANS_AT_ONCE: usize = 4;

/// How leadership is proven for a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPolicy {
    /// By a quorum acknowledgement younger than this, else by asking a quorum.
    Lease(Duration),
    /// By asking a quorum every time: assumes nothing about clocks.
    ReadIndex,
}

/// Proves leadership for a moment behind the begin of the call.
#[derive(Clone)]
pub struct ReadCheck {
    raft: GroupRaft,
    policy: ReadPolicy,
    suspended: Arc<super::suspend::SuspendGuard>,
}

/// Why there is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckError {
    /// Another replica leads, or none.
    NotLeader,
    /// No quorum answered in time.
    NoQuorum,
}

/// A check waits this long for a quorum.
const CHECK_TIMEOUT: Duration = Duration::from_millis(1500);

impl ReadCheck {
    /// For one group.
    pub fn new(raft: GroupRaft, policy: ReadPolicy) -> Self {
        Self { raft, policy, suspended: Arc::new(super::suspend::SuspendGuard::default()) }
    }

    /// Everything that was committed when the call began is applied on return.
    pub async fn prove(&self) -> Result<(), CheckError> {
        if planted::is_on(Fault::NoReadCheck) {
            return Ok(());
        }
        let max_age = match self.policy {
            // The lease is counted by a clock that stands still while the machine is suspended.
            ReadPolicy::Lease(age) if !self.suspended.suspended_within(age) => age,
            ReadPolicy::Lease(_) | ReadPolicy::ReadIndex => Duration::ZERO,
        };
        let option = LinearizerOption::new(Some(max_age), true).with_wait_timeout(CHECK_TIMEOUT);
        let linearizer = match self.raft.get_read_linearizer(option).await {
            Ok(linearizer) => linearizer,
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => return Err(CheckError::NoQuorum),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_)) | RaftError::Fatal(_)) => {
                return Err(CheckError::NotLeader);
            }
        };
        match linearizer.try_await_ready(&self.raft, Some(CHECK_TIMEOUT)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(CheckError::NoQuorum),
            Err(_) => Err(CheckError::NotLeader),
        }
    }
}

/// A read and who asked.
pub struct QueuedRead {
    /// What to read.
    pub request: ReadRequest,
    /// Where the answer goes.
    pub reply: ReplyTo,
}

/// Serves the reads of one group.
#[derive(Clone)]
pub struct Reader {
    /// The group.
    pub group: GroupId,
    /// Proof of leadership.
    pub check: ReadCheck,
    /// Snapshots of the group.
    pub views: Arc<Views>,
    /// The executor, which alone can replicate time.
    pub executor: mpsc::Sender<Job>,
    /// This node's wall clock.
    pub clock: WallClock,
    /// What to answer when another replica leads.
    pub raft: GroupRaft,
}

impl Reader {
    /// Until the queue closes.
    pub async fn run(self, mut queue: mpsc::Receiver<QueuedRead>) {
        let scans = Arc::new(Semaphore::new(SCANS_AT_ONCE));
        let mut waiting = Vec::with_capacity(64);
        while queue.recv_many(&mut waiting, READS_PER_CHECK).await > 0 {
            let (long, short): (Vec<_>, Vec<_>) = waiting.drain(..).partition(|read| read.request.is_scan());
            for read in long {
                // Waiting here holds all reads of the group back while too many scans run: their memory is bounded.
                let permit = scans.clone().acquire_owned().await.expect("never closed");
                let reader = self.clone();
                tokio::spawn(async move {
                    reader.serve(vec![read]).await;
                    drop(permit);
                });
            }
            if !short.is_empty() {
                self.serve(short).await;
            }
        }
    }

    async fn serve(&self, mut reads: Vec<QueuedRead>) {
        for _ in 0..ATTEMPTS {
            match self.check.prove().await {
                Ok(()) => {}
                Err(CheckError::NotLeader) => {
                    let outcome = super::not_leader(&self.raft);
                    return answer_all(reads, 0, &outcome);
                }
                Err(CheckError::NoQuorum) => {
                    return answer_all(reads, 0, &refusal(Reason::OutcomeUnknown(wire::OutcomeUnknown {})));
                }
            }
            let view = match self.views.open() {
                Ok(view) => view,
                Err(error) => return answer_all(reads, 0, &rejected(error.to_string())),
            };
            let clock_ms = self.clock.now_ms().unwrap_or_default().max(view.head.now_ms);
            let needs = if reads.iter().any(|read| read.request.is_scan()) {
                // An evaluation gets about a millisecond of an executor thread; scans take longer.
                let reader = self.clone();
                let evaluated = aside(move || {
                    let needs = reader.answer_ready(&view, clock_ms, &mut reads);
                    (needs, reads)
                });
                let Ok((needs, left)) = evaluated.await else { return };
                reads = left;
                needs
            } else {
                self.answer_ready(&view, clock_ms, &mut reads)
            };
            if reads.is_empty() {
                return;
            }
            let (done, replicated) = oneshot::channel();
            let job = Job::Internal(Internal::Replicate(needs), done);
            if self.executor.send(job).await.is_err() || !matches!(replicated.await, Ok(InternalDone::Done)) {
                return answer_all(reads, 0, &not_executed(wire::NotExecutedReason::Restarted));
            }
        }
        // Only when time runs further each round than it takes to replicate it; the gateway asks again.
        answer_all(reads, 0, &not_executed(wire::NotExecutedReason::Overloaded));
    }

    /// Answers what can be answered from `view`; keeps the others in `reads` and says what must be replicated first.
    fn answer_ready(&self, view: &GroupView, clock_ms: u64, reads: &mut Vec<QueuedRead>) -> Replicate {
        let mut needs = Replicate::default();
        let mut later = Vec::new();
        let e = view.head.clock.e;
        for read in reads.drain(..) {
            if let Some(at) = read.request.at.filter(|at| *at > e && !planted::is_on(Fault::ScanRaisesInMemory)) {
                needs.e = needs.e.max(at);
                later.push(read);
                continue;
            }
            let mut now = SnapshotView::new(self.group, view, &read.request, clock_ms);
            let mut outcome = evaluate_read(self.group, view, &read.request, &mut now);
            if view.head.locks_held > 0 && !planted::is_on(Fault::ReadsIgnoreLocks) {
                outcome = contest::contested(self.group, view, &read.request, clock_ms, outcome);
            }
            if now.needs_tick {
                needs.now_ms = needs.now_ms.max(clock_ms);
                later.push(read);
            } else {
                read.reply.send(e, outcome);
            }
        }
        *reads = later;
        needs
    }
}

/// What must be replicated before a read can be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replicate {
    /// At least this oracle value; 0: any.
    pub e: u64,
    /// At least this time; 0: any.
    pub now_ms: u64,
}

fn answer_all(reads: Vec<QueuedRead>, e: u64, outcome: &Outcome) {
    for read in reads {
        read.reply.send(e, outcome.clone());
    }
}

fn evaluate_read(group: GroupId, view: &GroupView, request: &ReadRequest, now: &mut SnapshotView<'_>) -> Outcome {
    if let Some(stale) = stale_route(group, &view.ranges, &request.targets) {
        return stale;
    }
    if request.at.is_some_and(|at| at < view.head.safe_point_e) {
        return rejected(format!("snapshot too old: below the safe point {}", view.head.safe_point_e));
    }
    let mut results = Vec::with_capacity(request.commands.len());
    for command in &request.commands {
        if command.writes() {
            return rejected("a read request carries a command that writes");
        }
        match evaluate_now(now, command) {
            Ok(outcome) => results.push(answer::to_wire(outcome)),
            Err(error) => return given_up(&error),
        }
    }
    Outcome::Results(wire::Results { results })
}

/// A read-only view of a snapshot.
struct SnapshotView<'v> {
    reader: VersionReader<'v>,
    clock: Version,
    replicated_now_ms: u64,
    clock_ms: u64,
    /// Expiry was judged by a time that is not replicated yet.
    needs_tick: bool,
}

impl<'v> SnapshotView<'v> {
    fn new(group: GroupId, view: &'v GroupView, request: &ReadRequest, clock_ms: u64) -> Self {
        // A snapshot at R holds the versions with e < R.
        let at = request.at.map_or(Version::MAX, |at| Version { e: at.saturating_sub(1), s: u64::MAX });
        Self {
            reader: VersionReader::new(&*view.snapshot, group, &view.ranges, at),
            clock: view.head.clock,
            replicated_now_ms: view.head.now_ms,
            clock_ms,
            needs_tick: false,
        }
    }
}

impl View for SnapshotView<'_> {
    async fn get(&mut self, key: &[u8]) -> Result<Option<Record>, ViewError> {
        self.reader.get(key).map_err(storage_error)
    }

    async fn last_change(&mut self, key: &[u8]) -> Result<Option<Version>, ViewError> {
        self.reader.last_change(key).map_err(storage_error)
    }

    async fn scan(&mut self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<(Bytes, Record)>, ViewError> {
        let mut scan = self.reader.scan(range, order);
        let mut found = Vec::new();
        while found.len() < limit {
            match scan.next_visible().map_err(storage_error)? {
                Some(record) => found.push(record),
                None => break,
            }
        }
        Ok(found)
    }

    fn put(&mut self, key: Vec<u8>, _value: Bytes) {
        unreachable!("a command that does not write wrote {key:02x?}");
    }

    fn delete(&mut self, key: Vec<u8>) {
        unreachable!("a command that does not write deleted {key:02x?}");
    }

    fn flush_redis(&mut self, range: &KeyRange, _db: Option<u8>) {
        unreachable!("a command that does not write flushed {range:?}");
    }

    fn now_ms(&self) -> u64 {
        self.clock_ms
    }

    fn expired(&mut self, expire_at_ms: u64) -> bool {
        let expired = expire_at_ms <= self.clock_ms;
        self.needs_tick |= expired && expire_at_ms > self.replicated_now_ms;
        expired
    }

    fn version(&self) -> Version {
        self.clock
    }

    fn random(&mut self) -> u64 {
        rand::random()
    }
}
