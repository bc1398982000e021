//! openraft's suite for log stores, on both engines.
//!
//! The suite wants a state machine too; the one here only remembers where it stands.

use std::io;
use std::sync::Arc;

use futures::{Stream, TryStreamExt};
use keyspace::{GroupId, ReplicaId};
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, OptionalSend, StorageError};
use tempfile::TempDir;

use super::super::{GroupLog, SharedLog};
use super::options;
use crate::engine::Engine;
use crate::engine::memory::MemoryEngine;
use crate::engine::rocks::{RocksEngine, RocksOptions};
use crate::raft::types::{Applied, LogId, StoredMembership, TypeConfig};

#[derive(Clone, Default)]
struct Position {
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshot: Option<SnapshotMetaOf<TypeConfig>>,
}

#[derive(Clone, Default)]
struct Machine(Arc<parking_lot::Mutex<Position>>);

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, ()>, io::Error> {
        let mut position = self.0.lock();
        let meta = SnapshotMetaOf::<TypeConfig> {
            last_log_id: position.applied,
            last_membership: position.membership.clone(),
        };
        position.snapshot = Some(meta.clone());
        Ok(SnapshotOf::<TypeConfig, ()> { meta, snapshot: () })
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let position = self.0.lock();
        Ok((position.applied, position.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let mut position = self.0.lock();
            position.applied = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                position.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            if let Some(responder) = responder {
                responder.send(Applied::Taken);
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Self> {
        Some(self.clone())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<TypeConfig>, (): ()) -> Result<(), io::Error> {
        let mut position = self.0.lock();
        position.applied = meta.last_log_id;
        position.membership = meta.last_membership.clone();
        position.snapshot = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<TypeConfig, ()>>, io::Error> {
        let meta = self.0.lock().snapshot.clone();
        Ok(meta.map(|meta| SnapshotOf::<TypeConfig, ()> { meta, snapshot: () }))
    }
}

struct OnMemory;
struct OnRocks;

async fn build(engine: Arc<dyn Engine>) -> (GroupLog, Machine) {
    let shared = SharedLog::open_with(engine, options()).unwrap();
    shared.create_replica(GroupId(2), ReplicaId(7)).await.unwrap();
    (shared.group(GroupId(2), ReplicaId(7)).unwrap(), Machine::default())
}

impl StoreBuilder<TypeConfig, GroupLog, Machine, ()> for OnMemory {
    async fn build(&self) -> Result<((), GroupLog, Machine), StorageError<TypeConfig>> {
        let (log, machine) = build(Arc::new(MemoryEngine::new())).await;
        Ok(((), log, machine))
    }
}

impl StoreBuilder<TypeConfig, GroupLog, Machine, TempDir> for OnRocks {
    async fn build(&self) -> Result<(TempDir, GroupLog, Machine), StorageError<TypeConfig>> {
        let dir = TempDir::new().unwrap();
        let (log, machine) = build(Arc::new(RocksEngine::open(dir.path(), &RocksOptions::log()).unwrap())).await;
        Ok((dir, log, machine))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openrafts_suite_passes_on_the_memory_engine() {
    Suite::test_all(OnMemory).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn openrafts_suite_passes_on_rocksdb() {
    Suite::test_all(OnRocks).await.unwrap();
}
