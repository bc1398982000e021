//! Power failures at any point: whatever was completed is there again, in order, under the last saved vote.

use std::collections::BTreeMap;
use std::sync::Arc;

use openraft::storage::{RaftLogReader, RaftLogStorage};
use proptest::prelude::*;
use tempfile::TempDir;

use super::super::encoding::log_id;
use super::super::{GroupLog, SharedLog};
use super::gate::Gate;
use super::{Flushed, append, entries, open, open_group, options, outcome};
use crate::engine::Engine;
use crate::engine::memory::MemoryEngine;
use crate::engine::rocks::{RocksEngine, RocksOptions};
use crate::raft::types::{Entry, LogId, Vote};

/// What a test expects of a group's log.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    purged: Option<LogId>,
    committed: Option<LogId>,
    entries: BTreeMap<u64, Entry>,
}

impl Model {
    fn next(&self) -> u64 {
        let last = self.entries.last_key_value().map(|(index, _)| *index);
        last.or(self.purged.map(|purged| purged.index)).map_or(1, |last| last + 1)
    }

    async fn check(&self, log: &mut GroupLog) {
        let found = log.try_get_log_entries(0..).await.unwrap();
        assert_eq!(found, self.entries.values().cloned().collect::<Vec<_>>());
        let last = found.last().map(|entry| entry.log_id).or(self.purged);
        assert_eq!(log.ends(), (self.purged, last));
        assert_eq!(log.read_committed().await.unwrap(), self.committed);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Append { group: usize, count: u64 },
    Truncate { group: usize, keep: u64 },
    Purge { group: usize, count: u64 },
    Commit { group: usize },
    Sync,
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let group = 0..2_usize;
    prop_oneof![
        6 => (group.clone(), 1..100_u64).prop_map(|(group, count)| Op::Append { group, count }),
        1 => (group.clone(), 0..100_u64).prop_map(|(group, keep)| Op::Truncate { group, keep }),
        1 => (group.clone(), 1..100_u64).prop_map(|(group, count)| Op::Purge { group, count }),
        1 => group.prop_map(|group| Op::Commit { group }),
        3 => Just(Op::Sync),
        1 => Just(Op::Crash),
    ]
}

struct Run {
    engine: MemoryEngine,
    gate: Gate,
    logs: Vec<GroupLog>,
    written: Vec<Model>,
    /// As of the last sync.
    synced: Vec<Model>,
    /// Appends in flight, and their numbers.
    waiting: Vec<(Flushed, usize)>,
    /// Number of the last append, and of the last one before the last sync.
    writes: usize,
    synced_writes: usize,
    /// A sync stands at the gate, or is on its way there.
    queued: bool,
    term: u64,
}

impl Run {
    async fn open(engine: MemoryEngine, models: Vec<Model>, term: u64) -> Self {
        let gate = Gate::new(engine.clone());
        let shared = SharedLog::open_with(Arc::new(gate.clone()), options()).unwrap();
        let logs = vec![open_group(&shared, 1).await, open_group(&shared, 2).await];
        gate.shut();
        Self {
            engine,
            gate,
            logs,
            written: models.clone(),
            synced: models,
            waiting: Vec::new(),
            writes: 0,
            synced_writes: 0,
            queued: false,
            term,
        }
    }

    async fn step(mut self, op: &Op) -> Self {
        match *op {
            Op::Append { group, count } => {
                let next = self.written[group].next();
                let new = entries(self.term, next..next + count);
                self.written[group].entries.extend(new.iter().map(|entry| (entry.log_id.index, entry.clone())));
                self.writes += 1;
                let flushed = append(&mut self.logs[group], new).await;
                self.waiting.push((flushed, self.writes));
                self.queued = true;
            }
            Op::Truncate { group, keep } => {
                let model = &mut self.written[group];
                model.entries = std::mem::take(&mut model.entries).into_iter().take(keep as usize).collect();
                let last = model.entries.values().last().map(|entry| entry.log_id).or(model.purged);
                self.logs[group].truncate_after(last).await.unwrap();
                // A new leader writes what replaces it.
                self.term += 1;
            }
            Op::Purge { group, count } => {
                let model = &mut self.written[group];
                // Up to two behind the end, as after an installed snapshot.
                let upto = model.entries.keys().nth(count as usize).copied().unwrap_or(model.next() + 1);
                model.purged = Some(model.entries.get(&upto).map_or(log_id(self.term, upto), |entry| entry.log_id));
                model.entries = model.entries.split_off(&(upto + 1));
                let purged = model.purged.unwrap();
                self.logs[group].purge(purged).await.unwrap();
            }
            Op::Commit { group } => {
                let model = &mut self.written[group];
                model.committed = model.entries.values().last().map(|entry| entry.log_id);
                self.logs[group].save_committed(model.committed).await.unwrap();
            }
            Op::Sync if self.queued => {
                self.gate.await_sync();
                self.synced = self.written.clone();
                self.synced_writes = self.writes;
                self.gate.permit();
                // Appends that came while the sync stood at the gate stand there again.
                self.queued = self.settle().await;
            }
            Op::Sync => {}
            Op::Crash => return self.crash().await,
        }
        for (flushed, write) in &mut self.waiting {
            if let Some(result) = outcome(flushed) {
                result.unwrap();
                assert!(*write <= self.synced_writes, "completed before its sync");
                *write = 0;
            }
        }
        self.waiting.retain(|(_, write)| *write > 0);
        for (log, model) in self.logs.iter_mut().zip(&self.written) {
            model.check(log).await;
        }
        self
    }

    /// Waits until every append is either completed or at the gate again; whether one is.
    async fn settle(&mut self) -> bool {
        let Some((last, _)) = self.waiting.last_mut() else { return false };
        loop {
            if self.gate.is_waiting() {
                return true;
            }
            if let Some(result) = outcome(last) {
                result.unwrap();
                self.waiting.pop();
                return false;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn crash(self) -> Self {
        let Self { engine, gate, logs, synced, term, .. } = self;
        // The old process syncs nothing any more.
        gate.fail();
        gate.open();
        drop(logs);
        engine.crash();
        let mut run = Self::open(engine, synced, term + 1).await;
        for (log, model) in run.logs.iter_mut().zip(&run.synced) {
            model.check(log).await;
            assert_eq!(log.durable_below(), if log.ends().1.is_some() { model.next() } else { 0 });
        }
        run
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_crash_loses_nothing_that_was_completed(ops in prop::collection::vec(op(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::open(MemoryEngine::new(), vec![Model::default(); 2], 1).await;
            for op in &ops {
                run = run.step(op).await;
            }
            run.crash().await.gate.open();
        });
    }
}

/// Votes and entries of a group are in the engine again after `reopen`.
async fn votes_and_entries_survive(engine: Arc<dyn Engine>, reopen: impl FnOnce(Arc<dyn Engine>) -> Arc<dyn Engine>) {
    let (shared, mut log) = open(engine.clone()).await;
    append(&mut log, entries(3, 1..200)).await.await.unwrap().unwrap();
    log.purge(log_id(3, 20)).await.unwrap();
    log.save_committed(Some(log_id(3, 100))).await.unwrap();
    log.save_vote(&Vote::new_committed(3, 1)).await.unwrap();
    let bytes = log.log_bytes();
    drop((shared, log));

    let (_shared, mut log) = open(reopen(engine)).await;
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new_committed(3, 1)));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(3, 100)));
    assert_eq!(log.ends(), (Some(log_id(3, 20)), Some(log_id(3, 199))));
    assert_eq!(log.try_get_log_entries(..).await.unwrap(), entries(3, 21..200));
    assert_eq!(log.durable_below(), 200);
    assert!(log.log_bytes().abs_diff(bytes) < bytes / 10, "{} is not about {bytes}", log.log_bytes());
}

#[tokio::test]
async fn a_synced_truncation_survives_a_power_failure() {
    let engine = MemoryEngine::new();
    let (shared, mut log) = open(Arc::new(engine.clone())).await;
    append(&mut log, entries(1, 1..10)).await.await.unwrap().unwrap();
    log.truncate_after(Some(log_id(1, 4))).await.unwrap();
    log.sync().await.unwrap();
    drop((shared, log));
    engine.crash();
    let (_shared, log) = open(Arc::new(engine)).await;
    assert_eq!(log.ends(), (None, Some(log_id(1, 4))));
}

#[tokio::test]
async fn votes_and_entries_survive_a_power_failure() {
    let engine = MemoryEngine::new();
    let crashed = engine.clone();
    votes_and_entries_survive(Arc::new(engine), |engine| {
        crashed.crash();
        engine
    })
    .await;
}

#[tokio::test]
async fn votes_and_entries_survive_a_restart_of_rocksdb() {
    let dir = TempDir::new().unwrap();
    let open = |dir: &TempDir| Arc::new(RocksEngine::open(dir.path(), &RocksOptions::log()).unwrap());
    votes_and_entries_survive(open(&dir), |engine| {
        drop(engine);
        open(&dir)
    })
    .await;
}
