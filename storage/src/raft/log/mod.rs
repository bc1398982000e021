//! One log on disk for all Raft groups of a node.
//!
//! 1. A group appends: [`GroupLog`] encodes the entries, writes them to the engine without a sync, keeps them in its
//!    tail and hands openraft's callback to the `flusher`. They are readable from here on.
//! 2. The flusher syncs once for everything that all groups handed in meanwhile, and completes it in order: openraft
//!    counts the entries, and [`GroupLog::wait_durable`] lets apply go on.
//! 3. Replication and apply read from the tail; a follower far behind and a restart read from the engine.
//! 4. A vote goes the same way, behind the entries before it, and shares their sync. What is committed, truncated and
//!    purged is written in order and not synced.
//!
//! **Replicas.** The log also remembers which replicas this node holds, and which it held: a removed one leaves a
//! tombstone, because a replica id that came back without its vote could vote twice in a term (PROTOCOL §6.3).
//!
//! **Memory.** Tails are bounded a group and a node; over the node's bound the largest tails are halved.
//!
//! Left out: snapshots, membership and the applied position, which are the state machine's; compression; a cache for
//! followers behind the tail.

mod encoding;
mod flusher;
mod group;
mod storage;
mod tail;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keyspace::{GroupId, ReplicaId};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::oneshot;

use self::encoding::{all_replicas, decode_replica, encode_replica, replica_key};
use self::flusher::{Flusher, Request};
use self::group::GroupState;
use crate::engine::{Batch, Engine, EngineError};

pub use self::flusher::{Flushing, SyncFailure, abort_on_sync_failure};
pub use self::storage::GroupLog;

/// Why the log did not do what was asked.
#[derive(Clone, Debug, Error)]
pub enum LogError {
    /// The disk.
    #[error("Raft log: {0}")]
    Engine(#[from] EngineError),
    /// Something on disk is not what was written there.
    #[error("Raft log: record {key} is damaged: {reason}")]
    Corrupt {
        /// Key of the record, readable.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Entries are not consecutive.
    #[error("Raft log of group {group}: expected index {expected}, found {found}")]
    Hole {
        /// The group.
        group: GroupId,
        /// The index that should come next.
        expected: u64,
        /// The index that came.
        found: u64,
    },
    /// A membership has no disk form.
    #[error("Raft log of group {group}: a membership cannot be encoded")]
    Unencodable {
        /// The group.
        group: GroupId,
    },
    /// The replica was removed, or a sync failed.
    #[error("Raft log of group {group} is closed")]
    Closed {
        /// The group.
        group: GroupId,
    },
    /// This node does not hold that replica.
    #[error("this node holds no replica {replica} of group {group}")]
    UnknownReplica {
        /// The group.
        group: GroupId,
        /// The replica.
        replica: ReplicaId,
    },
    /// The replica was here and was removed; its id never comes back.
    #[error("replica {replica} of group {group} was removed from this node")]
    RemovedReplica {
        /// The group.
        group: GroupId,
        /// The replica.
        replica: ReplicaId,
    },
    /// The node holds another replica of the group.
    #[error("this node already holds replica {present} of group {group}")]
    OtherReplica {
        /// The group.
        group: GroupId,
        /// The replica that is here.
        present: ReplicaId,
    },
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        let kind = match &error {
            LogError::Engine(EngineError::DiskFull { .. }) => io::ErrorKind::StorageFull,
            LogError::Corrupt { .. } | LogError::Hole { .. } => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// How a log uses memory, and what it does when the disk fails.
#[derive(Clone)]
pub struct SharedLogOptions {
    /// Newest entries kept in memory, for each group, in bytes.
    pub tail_group_bytes: usize,
    /// The same for all groups of the node together.
    pub tail_node_bytes: usize,
    /// Entries read for a follower at a time, in bytes. A single larger entry is still read.
    pub read_bytes: usize,
    /// Where it is synced.
    pub flushing: Flushing,
    /// Called once when a sync fails.
    pub on_sync_failure: SyncFailure,
}

impl Default for SharedLogOptions {
    /// 16 MB a group, 32 MB a node, reads of 1 MB, and the process ends with the disk.
    fn default() -> Self {
        Self {
            tail_group_bytes: 16 << 20,
            tail_node_bytes: 32 << 20,
            read_bytes: 1 << 20,
            flushing: Flushing::Thread,
            on_sync_failure: abort_on_sync_failure(),
        }
    }
}

/// A replica that this node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalReplica {
    /// Its group.
    pub group: GroupId,
    /// Its id in the group.
    pub replica: ReplicaId,
}

/// Answers when a write is durable.
type Written = oneshot::Receiver<Result<(), EngineError>>;

/// Waits for a sync. The flusher answers everything that was handed in, so a lost answer is a dead flusher.
async fn durable(written: Written) -> Result<(), LogError> {
    let lost = || EngineError::Io { operation: "sync", reason: "the log's thread has ended".to_owned() };
    Ok(written.await.map_err(|_| lost()).flatten()?)
}

/// The log of all groups of a node.
pub struct SharedLog {
    engine: Arc<dyn Engine>,
    options: SharedLogOptions,
    flusher: Flusher,
    registry: Mutex<Registry>,
    tail_bytes: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Registry {
    /// Every replica that was ever here; true: removed.
    replicas: BTreeMap<LocalReplica, bool>,
    /// Logs in use.
    groups: HashMap<GroupId, Arc<GroupState>>,
}

impl Registry {
    fn present(&self, group: GroupId) -> Option<ReplicaId> {
        let from = LocalReplica { group, replica: ReplicaId(0) };
        let to = LocalReplica { group, replica: ReplicaId(u64::MAX) };
        let mut of_group = self.replicas.range(from..=to);
        of_group.find(|(_, removed)| !**removed).map(|(local, _)| local.replica)
    }
}

impl SharedLog {
    /// Opens the log that `engine` holds, with default options. The engine is this log's alone.
    pub fn open(engine: Arc<dyn Engine>) -> Result<Arc<Self>, LogError> {
        Self::open_with(engine, SharedLogOptions::default())
    }

    /// Opens the log that `engine` holds.
    pub fn open_with(engine: Arc<dyn Engine>, options: SharedLogOptions) -> Result<Arc<Self>, LogError> {
        // What a killed process wrote may still be in the page cache only. From here on it is durable, so that what is
        // read at start may be counted as such.
        engine.sync()?;
        let mut registry = Registry::default();
        let snapshot = engine.snapshot();
        let (start, end) = all_replicas();
        let mut cursor = snapshot.cursor(&start, &end);
        cursor.seek(&start)?;
        while let Some((key, value)) = cursor.current() {
            let (group, replica, removed) = decode_replica(key, value)?;
            registry.replicas.insert(LocalReplica { group, replica }, removed);
            cursor.next()?;
        }
        drop(cursor);
        let flusher = Flusher::start(engine.clone(), &options.flushing, options.on_sync_failure.clone())?;
        let registry = Mutex::new(registry);
        Ok(Arc::new(Self { engine, options, flusher, registry, tail_bytes: Arc::default() }))
    }

    /// Notes that this node holds a replica. Durable on return; may be repeated.
    ///
    /// Refused for a replica that was removed, and while the node holds another replica of the group.
    pub async fn create_replica(&self, group: GroupId, replica: ReplicaId) -> Result<(), LogError> {
        let written = {
            let mut registry = self.registry.lock();
            let local = LocalReplica { group, replica };
            match registry.replicas.get(&local) {
                Some(true) => return Err(LogError::RemovedReplica { group, replica }),
                Some(false) => {}
                None => {
                    if let Some(present) = registry.present(group) {
                        return Err(LogError::OtherReplica { group, present });
                    }
                    let mut batch = Batch::default();
                    batch.put(replica_key(group, replica), encode_replica(false));
                    self.engine.write(&batch)?;
                    registry.replicas.insert(local, false);
                }
            }
            self.wait_for_sync(group)
        };
        durable(written).await
    }

    /// Deletes a replica's whole log and vote, and leaves a tombstone of its id. Durable on return; may be repeated.
    ///
    /// A replica that was never here leaves a tombstone too: its creation may still be under way.
    pub async fn remove_replica(&self, group: GroupId, replica: ReplicaId) -> Result<(), LogError> {
        let written = {
            let mut registry = self.registry.lock();
            let local = LocalReplica { group, replica };
            let known = registry.replicas.get(&local).copied();
            if known != Some(true) {
                let mut batch = Batch::default();
                batch.put(replica_key(group, replica), encode_replica(true));
                match registry.groups.get(&group).filter(|_| known == Some(false)) {
                    Some(state) => state.remove(&mut batch)?,
                    None => {
                        if known == Some(false) {
                            GroupState::delete_all(group, &mut batch);
                        }
                        self.engine.write(&batch)?;
                    }
                }
                if known == Some(false) {
                    registry.groups.remove(&group);
                }
                registry.replicas.insert(local, true);
            }
            self.wait_for_sync(group)
        };
        durable(written).await
    }

    fn wait_for_sync(&self, group: GroupId) -> Written {
        let (done, written) = oneshot::channel();
        self.flusher.enqueue(Request::Wait { group: group.0, done });
        written
    }

    /// The replicas that this node holds, by group.
    pub fn replicas(&self) -> Vec<LocalReplica> {
        self.select_replicas(false)
    }

    /// The replicas that were removed from this node: whatever else it still has of them may go.
    pub fn removed_replicas(&self) -> Vec<LocalReplica> {
        self.select_replicas(true)
    }

    fn select_replicas(&self, removed: bool) -> Vec<LocalReplica> {
        let registry = self.registry.lock();
        registry.replicas.iter().filter(|(_, is)| **is == removed).map(|(local, _)| *local).collect()
    }

    /// The log of a replica that this node holds. All handles of one group share their state.
    pub fn group(self: &Arc<Self>, group: GroupId, replica: ReplicaId) -> Result<GroupLog, LogError> {
        let mut registry = self.registry.lock();
        match registry.replicas.get(&LocalReplica { group, replica }) {
            Some(false) => {}
            Some(true) => return Err(LogError::RemovedReplica { group, replica }),
            None => return Err(LogError::UnknownReplica { group, replica }),
        }
        let state = match registry.groups.get(&group) {
            Some(state) => state.clone(),
            None => {
                let limit = self.options.tail_group_bytes;
                let state = GroupState::load(group, self.engine.clone(), limit, self.tail_bytes.clone())?;
                let state = Arc::new(state);
                registry.groups.insert(group, state.clone());
                state
            }
        };
        Ok(GroupLog::new(self.clone(), state, replica))
    }

    /// Halves the largest tails while all together are over the node's bound.
    fn trim_tails(&self) {
        while self.tail_bytes.load(Ordering::Relaxed) > self.options.tail_node_bytes {
            let largest = self.registry.lock().groups.values().max_by_key(|state| state.tail_bytes()).cloned();
            match largest {
                Some(state) if state.tail_bytes() > 0 => state.shrink_tail(state.tail_bytes() / 2),
                _ => return,
            }
        }
    }
}
