//! Which replicas a node holds, and that none comes back.

use std::sync::Arc;

use keyspace::{GroupId, ReplicaId};
use openraft::storage::{RaftLogReader, RaftLogStorage};

use super::super::{LocalReplica, LogError, SharedLog};
use super::{append, callback, entries, options};
use crate::engine::Engine;
use crate::engine::memory::MemoryEngine;
use crate::raft::types::Vote;

const GROUP: GroupId = GroupId(2);
const FIRST: ReplicaId = ReplicaId(10);
const SECOND: ReplicaId = ReplicaId(11);

fn open(engine: &MemoryEngine) -> Arc<SharedLog> {
    SharedLog::open_with(Arc::new(engine.clone()), options()).unwrap()
}

#[tokio::test]
async fn a_removed_replica_leaves_nothing_but_its_tombstone() {
    let engine = MemoryEngine::new();
    let shared = open(&engine);
    shared.create_replica(GROUP, FIRST).await.unwrap();
    shared.create_replica(GROUP, FIRST).await.unwrap();
    shared.create_replica(GroupId(3), FIRST).await.unwrap();
    let other = shared.create_replica(GROUP, SECOND).await.unwrap_err();
    assert!(matches!(other, LogError::OtherReplica { present: FIRST, .. }));
    assert!(matches!(shared.group(GROUP, SECOND).err(), Some(LogError::UnknownReplica { .. })));

    let mut log = shared.group(GROUP, FIRST).unwrap();
    let mut neighbour = shared.group(GroupId(3), FIRST).unwrap();
    append(&mut log, entries(1, 1..5)).await.await.unwrap().unwrap();
    append(&mut neighbour, entries(1, 1..3)).await.await.unwrap().unwrap();
    log.save_vote(&Vote::new(1, 10)).await.unwrap();
    log.destroy().await.unwrap();
    shared.remove_replica(GROUP, FIRST).await.unwrap();

    // What still holds the old log cannot write, and cannot hang.
    let (callback, _flushed) = callback();
    assert!(log.append(entries(1, 5..6), callback).await.is_err());
    assert!(log.save_vote(&Vote::new(2, 10)).await.is_err());
    assert!(matches!(log.wait_durable(100).await, Err(LogError::Closed { .. })));

    engine.crash();
    drop((shared, log, neighbour));
    let shared = open(&engine);
    assert_eq!(shared.replicas(), [LocalReplica { group: GroupId(3), replica: FIRST }]);
    assert_eq!(shared.removed_replicas(), [LocalReplica { group: GROUP, replica: FIRST }]);
    let gone = shared.create_replica(GROUP, FIRST).await.unwrap_err();
    assert!(matches!(gone, LogError::RemovedReplica { .. }));
    assert!(matches!(shared.group(GROUP, FIRST).err(), Some(LogError::RemovedReplica { .. })));

    shared.create_replica(GROUP, SECOND).await.unwrap();
    let mut log = shared.group(GROUP, SECOND).unwrap();
    assert_eq!((log.ends(), log.read_vote().await.unwrap()), ((None, None), None));
    let mut neighbour = shared.group(GroupId(3), FIRST).unwrap();
    assert_eq!(neighbour.try_get_log_entries(..).await.unwrap(), entries(1, 1..3));
}

#[tokio::test]
async fn a_removal_that_overtakes_the_creation_wins() {
    let shared = open(&MemoryEngine::new());
    shared.remove_replica(GROUP, FIRST).await.unwrap();
    assert!(matches!(shared.create_replica(GROUP, FIRST).await, Err(LogError::RemovedReplica { .. })));
}

#[tokio::test]
async fn removing_an_older_replica_spares_the_present_one() {
    let shared = open(&MemoryEngine::new());
    shared.create_replica(GROUP, SECOND).await.unwrap();
    let mut log = shared.group(GROUP, SECOND).unwrap();
    append(&mut log, entries(1, 1..5)).await.await.unwrap().unwrap();
    shared.remove_replica(GROUP, FIRST).await.unwrap();
    append(&mut log, entries(1, 5..6)).await.await.unwrap().unwrap();
    assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_log_of_an_unknown_format_is_refused() {
    let engine = MemoryEngine::new();
    let shared = open(&engine);
    shared.create_replica(GROUP, FIRST).await.unwrap();
    drop(shared);
    let mut batch = crate::engine::Batch::default();
    batch.put(super::super::encoding::vote_key(GROUP), vec![99, 0, 0]);
    engine.write(&batch).unwrap();
    let refused = open(&engine).group(GROUP, FIRST).err().unwrap();
    assert!(refused.to_string().contains("unknown format version"), "{refused}");
}
