//! The one thread of a node that syncs the log.
//!
//! Groups write first and then hand in what waits for the disk. The thread takes everything that was handed in, syncs
//! once, and completes all of it in the order it came. No timer: whatever arrives during one sync rides in the next, so
//! the slower the disk, the more share a sync.
//!
//! Why this is right: a request is handed in after its write, under the lock of its group. A sync that begins after
//! the request was taken makes that write and every earlier one of the group durable, and completions of one group
//! happen in the order of its writes.
//!
//! A failed sync is the end: the kernel may have dropped the dirty pages and report success next time, so nothing is
//! retried and nothing is acknowledged any more. By default the process aborts; its peers go on.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use metrics::{describe_histogram, histogram};
use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

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

/// Handle on the thread; dropped, it lets the thread finish what was handed in.
pub(super) struct Flusher {
    queue: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// Starts the thread.
    pub(super) fn start(engine: Arc<dyn Engine>, on_failure: SyncFailure) -> Result<Self, LogError> {
        describe_histogram!(FSYNC_SECONDS, metrics::Unit::Seconds, "Time of one sync of the Raft log");
        describe_histogram!(FSYNC_REQUESTS, "Appends and votes that shared one sync of the Raft log");
        describe_histogram!(FSYNC_GROUPS, "Raft groups that shared one sync of the Raft log");
        let (queue, requests) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("log-flusher".to_owned())
            .spawn(move || run(&*engine, &requests, &on_failure))
            .map_err(|error| crate::engine::file_error("start the log's thread", &error))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
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

fn run(engine: &dyn Engine, requests: &mpsc::Receiver<Request>, on_failure: &SyncFailure) {
    let mut outcome = Ok(());
    let mut batch = Vec::new();
    let mut groups = Vec::new();
    while let Ok(first) = requests.recv() {
        batch.push(first);
        batch.extend(requests.try_iter());
        groups.extend(batch.iter().map(Request::group));
        groups.sort_unstable();
        groups.dedup();
        histogram!(FSYNC_REQUESTS).record(batch.len() as f64);
        histogram!(FSYNC_GROUPS).record(groups.len() as f64);
        groups.clear();
        if outcome.is_ok() {
            let begun = Instant::now();
            outcome = engine.sync();
            histogram!(FSYNC_SECONDS).record(begun.elapsed());
            if let Err(error) = &outcome {
                tracing::error!(%error, "the Raft log cannot be synced: nothing more is acknowledged");
                on_failure(error);
            }
        }
        for request in batch.drain(..) {
            request.complete(&outcome);
        }
    }
}
