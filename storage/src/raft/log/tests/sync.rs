//! What is completed when: nothing before its sync, everything by one sync, nothing after a failed one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use keyspace::GroupId;
use openraft::storage::{RaftLogReader, RaftLogStorage};

use super::super::encoding::{entry_key, log_id, purged_key};
use super::super::{LogError, SharedLog, SharedLogOptions};
use super::gate::Gate;
use super::{append, entries, open, open_group, options, outcome};
use crate::engine::memory::MemoryEngine;
use crate::engine::{Change, Engine};
use crate::raft::types::Vote;

#[tokio::test]
async fn entries_are_readable_at_once_and_complete_with_their_sync() {
    let gate = Gate::new(MemoryEngine::new());
    let (_shared, mut log) = open(Arc::new(gate.clone())).await;
    gate.shut();
    let mut flushed = append(&mut log, entries(1, 1..4)).await;
    assert_eq!(log.try_get_log_entries(1..4).await.unwrap(), entries(1, 1..4));
    assert_eq!(log.durable_below(), 0);
    gate.await_sync();
    assert!(outcome(&mut flushed).is_none());
    assert!(log.wait_durable(3).now_or_never().is_none());

    gate.permit();
    flushed.await.unwrap().unwrap();
    log.wait_durable(3).await.unwrap();
    assert_eq!(log.durable_below(), 4);
    assert!(log.wait_durable(4).now_or_never().is_none());
}

#[tokio::test]
async fn what_arrives_during_a_sync_waits_for_the_next_and_shares_it() {
    let gate = Gate::new(MemoryEngine::new());
    let (shared, mut first) = open(Arc::new(gate.clone())).await;
    let mut others = Vec::new();
    for group in 2..6 {
        others.push(open_group(&shared, group).await);
    }
    gate.shut();
    let flushed = append(&mut first, entries(1, 1..2)).await;
    gate.await_sync();
    let before = gate.syncs();
    let mut waiting = Vec::new();
    for log in &mut others {
        waiting.push(append(log, entries(1, 1..2)).await);
        waiting.push(append(log, entries(1, 2..3)).await);
    }
    // A vote behind an append of the same group rides along.
    let mut voter = others[0].clone();
    let vote = Vote::new(7, 1);
    let voting = tokio::spawn(async move { voter.save_vote(&vote).await });
    while others[0].read_vote().await.unwrap() != Some(vote) {
        tokio::task::yield_now().await;
    }

    gate.permit();
    flushed.await.unwrap().unwrap();
    gate.await_sync();
    assert!(waiting.iter_mut().all(|flushed| outcome(flushed).is_none()));
    assert!(!voting.is_finished());
    gate.permit();
    for flushed in waiting {
        flushed.await.unwrap().unwrap();
    }
    voting.await.unwrap().unwrap();
    assert_eq!(gate.syncs(), before + 2);
}

#[tokio::test]
async fn a_truncation_takes_durability_back() {
    let gate = Gate::new(MemoryEngine::new());
    let (_shared, mut log) = open(Arc::new(gate.clone())).await;
    gate.shut();
    // 1 to 9 wait at the gate when 6 to 9 are replaced: their sync says nothing about the new ones.
    let old = append(&mut log, entries(1, 1..10)).await;
    gate.await_sync();
    log.truncate_after(Some(log_id(1, 5))).await.unwrap();
    let new = append(&mut log, entries(2, 6..8)).await;
    gate.permit();
    old.await.unwrap().unwrap();
    log.wait_durable(5).await.unwrap();
    assert_eq!(log.durable_below(), 6);
    gate.permit();
    new.await.unwrap().unwrap();
    assert_eq!(log.durable_below(), 8);

    // What was durable and is gone is not durable.
    log.truncate_after(Some(log_id(1, 3))).await.unwrap();
    assert_eq!(log.durable_below(), 4);
    // A snapshot stands for what it purges.
    log.purge(log_id(2, 40)).await.unwrap();
    log.wait_durable(40).await.unwrap();
    gate.open();
}

#[tokio::test]
async fn a_purge_says_so_in_the_batch_that_deletes() {
    let gate = Gate::new(MemoryEngine::new());
    let (_shared, mut log) = open(Arc::new(gate.clone())).await;
    append(&mut log, entries(1, 1..500)).await.await.unwrap().unwrap();
    gate.take_batches();
    log.purge(log_id(1, 10)).await.unwrap();
    log.purge(log_id(1, 400)).await.unwrap();

    let batches = gate.take_batches();
    assert_eq!(batches.len(), 2);
    let group = GroupId(1);
    for batch in &batches {
        assert!(matches!(&batch.changes[0], Change::Put(key, _) if *key == purged_key(group)));
    }
    assert_eq!(batches[0].changes.len(), 11, "few: one by one");
    let range = Change::DeleteRange(entry_key(group, 11).into(), entry_key(group, 401).into());
    assert_eq!(batches[1].changes[1..], [range], "many: as a range");
    assert!(log.try_get_log_entries(0..401).await.unwrap().is_empty());
    assert!(log.log_bytes() > 0);
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_acknowledged() {
    let gate = Gate::new(MemoryEngine::new());
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = failures.clone();
    let on_sync_failure = Arc::new(move |_: &_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let shared =
        SharedLog::open_with(Arc::new(gate.clone()), SharedLogOptions { on_sync_failure, ..options() }).unwrap();
    let mut log = open_group(&shared, 1).await;
    let mut other = open_group(&shared, 2).await;
    gate.shut();
    gate.fail();
    let flushed = append(&mut log, entries(1, 1..2)).await;
    let waiting = log.clone();
    let waiting = tokio::spawn(async move { waiting.wait_durable(1).await });
    gate.permit();
    flushed.await.unwrap().unwrap_err();
    assert!(matches!(waiting.await.unwrap(), Err(LogError::Closed { .. })));

    let syncs = gate.syncs();
    assert!(other.save_vote(&Vote::new(1, 1)).await.is_err());
    append(&mut other, entries(1, 1..2)).await.await.unwrap().unwrap_err();
    assert!(log.save_vote(&Vote::new(1, 1)).await.is_err(), "closed");
    assert_eq!((failures.load(Ordering::Relaxed), gate.syncs()), (1, syncs), "a sync is never tried again");
}

#[tokio::test]
async fn a_hole_is_refused() {
    let (_shared, mut log) = open(Arc::new(MemoryEngine::new()) as Arc<dyn Engine>).await;
    append(&mut log, entries(1, 1..4)).await.await.unwrap().unwrap();
    let (callback, _flushed) = super::callback();
    let error = log.append(entries(1, 5..6), callback).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert_eq!(log.ends(), (None, Some(log_id(1, 3))));
}
