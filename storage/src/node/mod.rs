//! One storage node: a directory, two engines, and the replicas that live there.
//!
//! - [`mod@format`] keeps the directory: who it belongs to, what format it has, and that only one process uses it.
//! - [`replica`] starts and stops one replica; [`members`] changes a group's members.
//! - [`sweep`] finishes transactions whose coordinator is gone.
//! - [`collect`] removes what nobody can read any more.
//! - [`supervise`] looks after all of them: stopped replicas are rebuilt, logs are cut, disks and clocks watched.
//! - [`register`] tells the placement, and learns where the other nodes are.
//!
//! Invariant: a replica id is never used twice in a group, so a removed replica leaves a tombstone in the log engine.

pub mod collect;
pub mod format;
pub mod members;
pub mod register;
pub mod replica;
pub mod supervise;
pub mod sweep;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keyspace::{GroupId, NodeId, ReplicaId};
use openraft::async_runtime::WatchReceiver;
use parking_lot::RwLock;
use thiserror::Error;
use tokio::sync::mpsc;

use self::format::DataDir;
use self::replica::{Replica, ReplicaError};
use crate::config::StorageConfig;
use crate::engine::Engine;
use crate::group::leftovers::Leftovers;
use crate::group::machine::StateMachine;
use crate::group::request::Load;
use crate::raft::log::{LocalReplica, LogError, SharedLog};
use crate::raft::transport::{ReplicaHandle, Replicas, Transport};

/// Why a replica is not created or removed.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The replica itself.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The node holds another replica of the group, or held this one before.
    #[error("group {group}: replica {replica} cannot live here: {reason}")]
    Occupied {
        /// The group.
        group: GroupId,
        /// The replica asked for.
        replica: ReplicaId,
        /// What stands in the way.
        reason: String,
    },
    /// The replica is still a member of its group.
    #[error("replica {replica} is still a member of group {group}")]
    StillMember {
        /// The group.
        group: GroupId,
        /// The replica.
        replica: ReplicaId,
    },
    /// The disk failed.
    #[error("disk: {0}")]
    Disk(String),
}

/// A storage node.
pub struct Node {
    /// Its identity.
    pub id: NodeId,
    /// Its configuration.
    pub config: StorageConfig,
    /// Data of all groups.
    pub data: Arc<dyn Engine>,
    /// Raft logs of all groups.
    pub log: Arc<SharedLog>,
    /// Raft to the other nodes.
    pub transport: Transport,
    /// Requests taken on and not answered.
    pub load: Arc<Load>,
    /// Writes are refused: the disk is nearly full.
    pub disk_full: AtomicBool,
    /// Requests are refused: the node is going away.
    pub draining: AtomicBool,
    /// Largest oracle value heard of.
    pub seen_e: AtomicU64,
    /// Nobody reads snapshots below this oracle value any more, says the placement.
    pub safe_point_e: AtomicU64,
    /// What leaders find of dead coordinators, for [`sweep`].
    pub leftovers: mpsc::Sender<Leftovers>,
    /// Held for its lock: the directory belongs to this process.
    _dir: DataDir,
    replicas: RwLock<HashMap<GroupId, Arc<Replica>>>,
    /// One creation, removal or rebuild at a time.
    changes: tokio::sync::Mutex<()>,
}

impl Node {
    /// Nothing runs yet: [`Node::start_replicas`].
    pub fn new(
        id: NodeId,
        config: StorageConfig,
        dir: DataDir,
        data: Arc<dyn Engine>,
        log: Arc<SharedLog>,
        transport: Transport,
        leftovers: mpsc::Sender<Leftovers>,
    ) -> Self {
        Self {
            id,
            config,
            _dir: dir,
            data,
            log,
            transport,
            leftovers,
            load: Arc::default(),
            disk_full: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            seen_e: AtomicU64::new(0),
            safe_point_e: AtomicU64::new(0),
            replicas: RwLock::default(),
            changes: tokio::sync::Mutex::default(),
        }
    }

    /// Starts every replica that the disk knows of.
    pub async fn start_replicas(&self) -> Result<(), NodeError> {
        let _change = self.changes.lock().await;
        for LocalReplica { group, replica: id } in self.log.replicas() {
            let replica = Replica::start(self, group, id, true).await?;
            self.replicas.write().insert(group, Arc::new(replica));
        }
        Ok(())
    }

    /// The replica of a group.
    pub fn find(&self, group: GroupId) -> Option<Arc<Replica>> {
        self.replicas.read().get(&group).cloned()
    }

    /// All replicas, by group.
    pub fn all(&self) -> Vec<Arc<Replica>> {
        let mut all: Vec<_> = self.replicas.read().values().cloned().collect();
        all.sort_by_key(|replica| replica.group);
        all
    }

    /// Creates an empty replica. Succeeds when it is there already.
    pub async fn create_replica(&self, group: GroupId, id: ReplicaId) -> Result<(), NodeError> {
        let _change = self.changes.lock().await;
        if let Some(present) = self.find(group) {
            if present.id == id {
                return Ok(());
            }
            let reason = format!("replica {} of the group is here", present.id);
            return Err(NodeError::Occupied { group, replica: id, reason });
        }
        let occupied = |error: LogError| NodeError::Occupied { group, replica: id, reason: error.to_string() };
        self.log.create_replica(group, id).await.map_err(occupied)?;
        let replica = Replica::start(self, group, id, false).await?;
        self.replicas.write().insert(group, Arc::new(replica));
        Ok(())
    }

    /// Deletes a replica that is not a member any more, with its data. Succeeds when it is gone already.
    pub async fn remove_replica(&self, group: GroupId, id: ReplicaId) -> Result<(), NodeError> {
        let _change = self.changes.lock().await;
        let Some(replica) = self.find(group).filter(|replica| replica.id == id) else {
            return self.log.remove_replica(group, id).await.map_err(|error| NodeError::Disk(error.to_string()));
        };
        let member = {
            let metrics = replica.raft.metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.membership().get_node(&id.0).is_some()
        };
        // A removed replica often never learns of its removal: nobody sends it the entry. The placement has seen the
        // committed membership without it, and it cannot lead any more.
        if member && replica.leads() {
            return Err(NodeError::StillMember { group, replica: id });
        }
        replica.stop().await;
        self.replicas.write().remove(&group);
        let disk = |error: &dyn std::error::Error| NodeError::Disk(error.to_string());
        self.log.remove_replica(group, id).await.map_err(|error| disk(&error))?;
        let (start, end) = crate::group::keys::GroupKeys::new(group).all();
        let mut batch = crate::engine::Batch::default();
        batch.delete_range(start, end);
        self.data.write(&batch).map_err(|error| disk(&error))
    }

    /// Stops a replica whose openraft has failed and starts it again from its durable state.
    pub async fn rebuild(&self, failed: &Arc<Replica>) -> Result<(), NodeError> {
        let _change = self.changes.lock().await;
        failed.stop().await;
        self.replicas.write().remove(&failed.group);
        let replica = Replica::start(self, failed.group, failed.id, true).await?;
        self.replicas.write().insert(failed.group, Arc::new(replica));
        Ok(())
    }

    /// Hands all leaderships over, then stops all replicas.
    pub async fn leave(&self) {
        self.draining.store(true, Ordering::Relaxed);
        supervise::hand_over_all(self).await;
        let _change = self.changes.lock().await;
        for replica in self.all() {
            replica.stop().await;
        }
        self.replicas.write().clear();
    }
}

/// The node as the Raft service sees it.
impl Replicas for Node {
    type StateMachine = StateMachine;

    fn find(&self, group: GroupId, to_replica: ReplicaId) -> Option<ReplicaHandle<StateMachine>> {
        let replica = Node::find(self, group).filter(|replica| replica.id == to_replica)?;
        Some(ReplicaHandle { raft: replica.raft.clone(), votes: replica.votes() })
    }
}
