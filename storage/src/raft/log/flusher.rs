//! What syncs the log: one thread of a node.
//!
//! Groups write first and then hand in what waits for the disk. The flusher takes everything that was handed in, syncs
//! once, and completes all of it in the order it came. No timer: whatever arrives during one sync rides in the next, so
//! the slower the disk, the more share a sync.
//!
//! Why this is right: a request is handed in after its write, under the lock of its group. A sync that begins after
//! the request was taken makes that write and every earlier one of the group durable, and completions of one group
//! happen in the order of its writes.
//!
//! In a simulation nothing may happen beside the one thread that everything runs on; there the same rounds are a task,
//! and the disk is as slow as the simulation says ([`Flushing`]).
//!
//! A failed sync is the end: the kernel may have dropped the dirty pages and report success next time, so nothing is
//! retried and nothing is acknowledged any more. By default the process aborts; its peers go on.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics::{describe_histogram, histogram};
use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};

use super::LogError;
use super::group::GroupState;
use crate::engine::{Engine, EngineError};
use crate::raft::types::TypeConfig;

const FSYNC_SECONDS: &str = "storage_log_fsync_seconds";
const FSYNC_REQUESTS: &str = "storage_log_fsync_requests";
const FSYNC_GROUPS: &str = "storage_log_fsync_groups";

/// What happens after a failed sync, before those who wait are told.
pub type SyncFailure = Arc<dyn Fn(&EngineError) + Send + Sync>;

/// Ends the process: the only safe answer of a node with replicas.
pub fn abort_on_sync_failure() -> SyncFailure {
    Arc::new(|_| std::process::abort())
}

/// Where the log is synced.
#[derive(Clone, Default)]
pub enum Flushing {
    /// On a thread of its own, which waits for the disk.
    #[default]
    Thread,
    /// In a task of the runtime that opens the log. A sync begins when the time has passed that this tells for it.
    Task(Arc<dyn Fn() -> Duration + Send + Sync>),
}

/// What waits for the disk.
pub(super) enum Request {
    /// Entries that group `group` wrote as its write number `write`.
    Append { group: Arc<GroupState>, write: u64, callback: IOFlushed<TypeConfig> },
    /// Anything else; `group` is counted with it.
    Wait { group: u64, done: oneshot::Sender<Result<(), EngineError>> },
}

impl Request {
    fn group(&self) -> u64 {
        match self {
            Request::Append { group, .. } => group.id().0,
            Request::Wait { group, .. } => *group,
        }
    }

    fn complete(self, result: &Result<(), EngineError>) {
        match (self, result) {
            (Request::Append { group, write, callback }, Ok(())) => {
                group.synced(write);
                callback.io_completed(Ok(()));
            }
            (Request::Append { group, callback, .. }, Err(error)) => {
                group.close();
                callback.io_completed(Err(io::Error::from(LogError::from(error.clone()))));
            }
            // Whoever waited may have given up; the write is durable all the same.
            (Request::Wait { done, .. }, result) => drop(done.send(result.clone())),
        }
    }
}

/// Handle on the flusher; dropped, it lets a thread finish what was handed in.
pub(super) struct Flusher {
    queue: Option<mpsc::UnboundedSender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// Starts the thread or the task.
    pub(super) fn start(
        engine: Arc<dyn Engine>,
        flushing: &Flushing,
        on_failure: SyncFailure,
    ) -> Result<Self, LogError> {
        describe_histogram!(FSYNC_SECONDS, metrics::Unit::Seconds, "Time of one sync of the Raft log");
        describe_histogram!(FSYNC_REQUESTS, "Appends and votes that shared one sync of the Raft log");
        describe_histogram!(FSYNC_GROUPS, "Raft groups that shared one sync of the Raft log");
        let (queue, requests) = mpsc::unbounded_channel();
        let rounds = Rounds { engine, requests, on_failure, outcome: Ok(()), batch: Vec::new(), groups: Vec::new() };
        let thread = match flushing {
            Flushing::Thread => {
                let thread = std::thread::Builder::new().name("log-flusher".to_owned()).spawn(|| rounds.run());
                Some(thread.map_err(|error| crate::engine::file_error("start the log's thread", &error))?)
            }
            Flushing::Task(pause) => {
                tokio::spawn(rounds.run_as_task(pause.clone()));
                None
            }
        };
        Ok(Self { queue: Some(queue), thread })
    }

    /// Hands in what waits for the next sync. Call under the group's lock, behind the write.
    pub(super) fn enqueue(&self, request: Request) {
        let unsent = match &self.queue {
            Some(queue) => queue.send(request).err().map(|unsent| unsent.0),
            None => Some(request),
        };
        if let Some(request) = unsent {
            request.complete(&Err(EngineError::Io { operation: "sync", reason: "the log's thread has ended".into() }));
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log's thread had panicked");
        }
    }
}

/// One sync after the other.
struct Rounds {
    engine: Arc<dyn Engine>,
    requests: mpsc::UnboundedReceiver<Request>,
    on_failure: SyncFailure,
    /// An error stays for ever.
    outcome: Result<(), EngineError>,
    /// Kept for their memory.
    batch: Vec<Request>,
    groups: Vec<u64>,
}

impl Rounds {
    fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            self.round(first);
        }
    }

    async fn run_as_task(mut self, pause: Arc<dyn Fn() -> Duration + Send + Sync>) {
        while let Some(first) = self.requests.recv().await {
            tokio::time::sleep(pause()).await;
            self.round(first);
        }
    }

    fn round(&mut self, first: Request) {
        self.batch.push(first);
        while let Ok(request) = self.requests.try_recv() {
            self.batch.push(request);
        }
        self.groups.extend(self.batch.iter().map(Request::group));
        self.groups.sort_unstable();
        self.groups.dedup();
        histogram!(FSYNC_REQUESTS).record(self.batch.len() as f64);
        histogram!(FSYNC_GROUPS).record(self.groups.len() as f64);
        self.groups.clear();
        if self.outcome.is_ok() {
            let begun = Instant::now();
            self.outcome = self.engine.sync();
            histogram!(FSYNC_SECONDS).record(begun.elapsed());
            if let Err(error) = &self.outcome {
                tracing::error!(%error, "the Raft log cannot be synced: nothing more is acknowledged");
                (self.on_failure)(error);
            }
        }
        for request in self.batch.drain(..) {
            request.complete(&self.outcome);
        }
    }
}
