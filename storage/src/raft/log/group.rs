//! The log of one group: what is in memory about it, and every change of it.
//!
//! Invariants, kept under one lock:
//!
//! - entries on disk are exactly `first ≤ index ≤ last`, without a hole; `first` is behind `purged`;
//! - writes of a group reach the engine in the order of its calls, and their requests the flusher in the same order;
//! - `durable` never covers an entry that a crash could lose: it follows completed syncs, falls with a truncation and
//!   rises with a purge (what is purged is durable in the data, I9);
//! - memory follows the engine: a write that failed changes nothing here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use keyspace::GroupId;
use openraft::storage::IOFlushed;
use parking_lot::Mutex;
use planted::Fault;
use tokio::sync::{oneshot, watch};

use super::encoding::{
    committed_key, decode_entry, decode_log_id, decode_vote, encode_entries, encode_log_id, encode_vote, entry_index,
    entry_key, purged_key, vote_key,
};
use super::flusher::{Flusher, Request};
use super::tail::{Sizes, Tail};
use super::{LogError, Written};
use crate::engine::{Batch, Engine, Snapshot};
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};

/// Removals of more entries than this are one range tombstone: fewer records, at the price of slower reads nearby.
const POINT_DELETES: u64 = 64;
/// Entries that are looked at to estimate the size of a log that was there before the start.
const SAMPLE_ENTRIES: u64 = 128;

/// Up to where a log survives a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Durable {
    /// Entries below this index are durable.
    below: u64,
    /// Nothing becomes durable any more: removed, or a sync failed.
    closed: bool,
}

/// The log of one group, shared by everybody who reads or writes it.
pub(super) struct GroupState {
    id: GroupId,
    engine: Arc<dyn Engine>,
    inner: Mutex<Inner>,
    durable: watch::Sender<Durable>,
    closed: AtomicBool,
    /// Of the tail, to be read without the lock.
    tail_bytes: AtomicUsize,
}

struct Inner {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    /// Of the last entry, else the purged one.
    last: Option<LogId>,
    /// Index of the first entry on disk, else of the next one to come.
    first: u64,
    tail: Tail,
    sizes: Sizes,
    /// Number of the last append.
    writes: u64,
    /// Appends that no sync has covered yet: number, and the index behind their last entry.
    unsynced: VecDeque<(u64, u64)>,
}

impl Inner {
    /// Index behind the last entry.
    fn next(&self) -> u64 {
        self.last.map_or(self.first, |last| last.index + 1)
    }
}

impl GroupState {
    /// Reads what the engine knows of a group. Everything found is durable: whoever opened the engine has synced it.
    pub(super) fn load(
        id: GroupId,
        engine: Arc<dyn Engine>,
        tail_limit_bytes: usize,
        node_tail_bytes: Arc<AtomicUsize>,
    ) -> Result<Self, LogError> {
        let snapshot = engine.snapshot();
        let read_log_id = |key: Vec<u8>| snapshot.get(&key)?.map(|value| decode_log_id(&key, &value)).transpose();
        let key = vote_key(id);
        let vote = snapshot.get(&key)?.map(|value| decode_vote(&key, &value)).transpose()?;
        let committed = read_log_id(committed_key(id))?;
        let purged = read_log_id(purged_key(id))?;
        let found = Extent::read(id, &*snapshot)?;
        let next_to_purged = purged.map_or(0, |purged| purged.index + 1);
        if let Some(found) = &found
            && purged.is_some()
            && found.first != next_to_purged
        {
            return Err(LogError::Hole { group: id, expected: next_to_purged, found: found.first });
        }
        let mut sizes = Sizes::default();
        let (first, last) = match &found {
            Some(found) => {
                sizes.add(found.first, found.last.index + 1, found.estimated_bytes);
                (found.first, Some(found.last))
            }
            None => (next_to_purged, purged),
        };
        let next = last.map_or(first, |last| last.index + 1);
        let inner = Inner {
            vote,
            committed,
            purged,
            last,
            first,
            tail: Tail::new(next, tail_limit_bytes, node_tail_bytes),
            sizes,
            writes: 0,
            unsynced: VecDeque::new(),
        };
        Ok(Self {
            id,
            engine,
            inner: Mutex::new(inner),
            durable: watch::Sender::new(Durable { below: next, closed: false }),
            closed: AtomicBool::new(false),
            tail_bytes: AtomicUsize::new(0),
        })
    }

    pub(super) fn id(&self) -> GroupId {
        self.id
    }

    /// Refuses further writes and wakes everybody who waits for durability.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.durable.send_modify(|durable| durable.closed = true);
    }

    /// Closes the log and removes it, together with what else the batch says.
    pub(super) fn remove(&self, batch: &mut Batch) -> Result<(), LogError> {
        // Under the lock: a Raft instance that is still ending either wrote before, or finds the log closed.
        let _inner = self.inner.lock();
        Self::delete_all(self.id, batch);
        self.engine.write(batch)?;
        self.close();
        Ok(())
    }

    fn check_open(&self) -> Result<(), LogError> {
        if self.closed.load(Ordering::Acquire) { Err(LogError::Closed { group: self.id }) } else { Ok(()) }
    }

    pub(super) fn vote(&self) -> Option<Vote> {
        self.inner.lock().vote
    }

    pub(super) fn committed(&self) -> Option<LogId> {
        self.inner.lock().committed
    }

    /// Last purged log id, and that of the last entry (else the purged one).
    pub(super) fn ends(&self) -> (Option<LogId>, Option<LogId>) {
        let inner = self.inner.lock();
        (inner.purged, inner.last)
    }

    pub(super) fn log_bytes(&self) -> u64 {
        self.inner.lock().sizes.total()
    }

    pub(super) fn tail_bytes(&self) -> usize {
        self.tail_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn shrink_tail(&self, limit_bytes: usize) {
        let mut inner = self.inner.lock();
        inner.tail.shrink(limit_bytes);
        self.tail_bytes.store(inner.tail.bytes(), Ordering::Relaxed);
    }

    /// Writes a vote; durable once the answer comes.
    pub(super) fn save_vote(&self, vote: &Vote, flusher: &Flusher) -> Result<Written, LogError> {
        let mut batch = Batch::default();
        batch.put(vote_key(self.id), encode_vote(vote));
        let mut inner = self.inner.lock();
        self.check_open()?;
        self.engine.write(&batch)?;
        inner.vote = Some(*vote);
        if planted::is_on(Fault::VoteNotSynced) {
            let (done, written) = oneshot::channel();
            let _ = done.send(Ok(()));
            return Ok(written);
        }
        Ok(self.wait_for_sync(flusher))
    }

    /// Hands in a request that covers all writes so far. Call with the lock held.
    fn wait_for_sync(&self, flusher: &Flusher) -> Written {
        let (done, written) = oneshot::channel();
        flusher.enqueue(Request::Wait { group: self.id.0, done });
        written
    }

    /// Answers when everything written so far is durable.
    pub(super) fn sync(&self, flusher: &Flusher) -> Result<Written, LogError> {
        let _inner = self.inner.lock();
        self.check_open()?;
        Ok(self.wait_for_sync(flusher))
    }

    /// Notes what is committed. Needs no sync: what is lost is learnt again from the leader.
    pub(super) fn save_committed(&self, committed: Option<LogId>) -> Result<(), LogError> {
        let mut batch = Batch::default();
        match &committed {
            Some(committed) => batch.put(committed_key(self.id), encode_log_id(committed)),
            None => batch.delete(committed_key(self.id)),
        }
        let mut inner = self.inner.lock();
        self.check_open()?;
        if inner.committed != committed {
            self.engine.write(&batch)?;
            inner.committed = committed;
        }
        Ok(())
    }

    /// Writes entries behind the last one. Readable on return; `callback` is called when they are durable.
    pub(super) fn append(
        self: &Arc<Self>,
        entries: impl Iterator<Item = Entry>,
        flusher: &Flusher,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), LogError> {
        let encoded = encode_entries(self.id, entries)?;
        let mut inner = self.inner.lock();
        self.check_open()?;
        // A log that holds nothing and never did may begin anywhere.
        let fresh = inner.last.is_none();
        let mut next = inner.next();
        if let (true, Some(first)) = (fresh, encoded.first()) {
            next = first.entry.log_id.index;
        }
        let first = next;
        let mut batch = Batch::default();
        for encoded in &encoded {
            let found = encoded.entry.log_id.index;
            if found != next {
                return Err(LogError::Hole { group: self.id, expected: next, found });
            }
            next += 1;
            batch.put(encoded.key.clone(), encoded.value.clone());
        }
        self.engine.write(&batch)?;
        if fresh {
            inner.first = first;
        }
        for encoded in encoded {
            let index = encoded.entry.log_id.index;
            let bytes = encoded.key.len() + encoded.value.len();
            inner.last = Some(encoded.entry.log_id);
            inner.sizes.add(index, index + 1, bytes as u64);
            inner.tail.push(encoded.entry, bytes);
        }
        self.tail_bytes.store(inner.tail.bytes(), Ordering::Relaxed);
        inner.writes += 1;
        let write = inner.writes;
        inner.unsynced.push_back((write, next));
        flusher.enqueue(Request::Append { group: self.clone(), write, callback });
        Ok(())
    }

    /// A sync has covered append number `write` and all before it.
    pub(super) fn synced(&self, write: u64) {
        let mut inner = self.inner.lock();
        let mut below = 0;
        while let Some((_, end)) = inner.unsynced.pop_front_if(|(number, _)| *number <= write) {
            below = end;
        }
        // Under the lock, so that no truncation comes between.
        self.durable.send_if_modified(|durable| {
            let risen = below > durable.below;
            durable.below = durable.below.max(below);
            risen
        });
    }

    /// Removes entries behind `after`.
    pub(super) fn truncate_after(&self, after: Option<LogId>) -> Result<(), LogError> {
        let mut inner = self.inner.lock();
        self.check_open()?;
        let from = after.map_or(inner.first, |after| after.index + 1);
        if from < inner.first {
            return Err(LogError::Hole { group: self.id, expected: inner.first, found: from });
        }
        if from >= inner.next() {
            return Ok(());
        }
        let mut batch = Batch::default();
        self.delete_entries(&mut batch, from, inner.next());
        self.engine.write(&batch)?;
        inner.last = if from > inner.first { after } else { inner.purged };
        inner.tail.truncate(from);
        self.tail_bytes.store(inner.tail.bytes(), Ordering::Relaxed);
        inner.sizes.truncate(from);
        for (_, end) in &mut inner.unsynced {
            *end = (*end).min(from);
        }
        self.durable.send_if_modified(|durable| {
            durable.below = durable.below.min(from);
            false
        });
        Ok(())
    }

    /// Removes entries up to `upto`, which may lie behind the last one: an installed snapshot stands for them.
    pub(super) fn purge(&self, upto: LogId) -> Result<(), LogError> {
        let mut inner = self.inner.lock();
        self.check_open()?;
        if inner.purged.is_some_and(|purged| purged.index >= upto.index) {
            return Ok(());
        }
        let end = upto.index + 1;
        let mut batch = Batch::default();
        batch.put(purged_key(self.id), encode_log_id(&upto));
        // One batch: a log whose beginning is gone without a word of it could not be opened.
        self.delete_entries(&mut batch, inner.first, end.min(inner.next()));
        self.engine.write(&batch)?;
        inner.purged = Some(upto);
        inner.first = inner.first.max(end);
        if inner.last.is_none_or(|last| last.index <= upto.index) {
            inner.last = Some(upto);
        }
        inner.tail.drop_below(end);
        self.tail_bytes.store(inner.tail.bytes(), Ordering::Relaxed);
        inner.sizes.drop_below(end);
        self.durable.send_if_modified(|durable| {
            let risen = end > durable.below;
            durable.below = durable.below.max(end);
            risen
        });
        Ok(())
    }

    fn delete_entries(&self, batch: &mut Batch, start: u64, end: u64) {
        if end.saturating_sub(start) > POINT_DELETES {
            batch.delete_range(entry_key(self.id, start), entry_key(self.id, end));
        } else {
            // From the end backward, as openraft asks of truncations that are not atomic; ours are.
            (start..end).rev().for_each(|index| batch.delete(entry_key(self.id, index)));
        }
    }

    /// Everything that a group has in the log, for its removal.
    pub(super) fn delete_all(id: GroupId, batch: &mut Batch) {
        batch.delete_range(entry_key(id, 0), entry_key(id, u64::MAX));
        for key in [vote_key(id), committed_key(id), purged_key(id)] {
            batch.delete(key);
        }
    }

    /// Entries of `start ≤ index < end` that the log holds, until their bytes pass `max_bytes` (at least one).
    ///
    /// The log at one moment: memory is copied, or the disk frozen, under the lock.
    pub(super) fn read(&self, start: u64, end: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        let inner = self.inner.lock();
        let start = start.max(inner.first);
        let end = end.min(inner.next());
        if start >= end {
            return Ok(Vec::new());
        }
        if let Some(entries) = inner.tail.read(start, end, max_bytes) {
            return Ok(entries);
        }
        let snapshot = self.engine.snapshot();
        drop(inner);
        self.read_disk(&*snapshot, start, end, max_bytes)
    }

    fn read_disk(
        &self,
        snapshot: &dyn Snapshot,
        start: u64,
        end: u64,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let first = entry_key(self.id, start);
        let mut cursor = snapshot.cursor(&first, &entry_key(self.id, end));
        cursor.seek(&first)?;
        let mut entries = Vec::new();
        let mut read_bytes = 0;
        for expected in start..end {
            let Some((key, value)) = cursor.current() else {
                return Err(LogError::Hole { group: self.id, expected, found: end });
            };
            read_bytes += key.len() + value.len();
            if read_bytes > max_bytes && !entries.is_empty() {
                break;
            }
            let entry = decode_entry(key, &value.to_vec().into())?;
            if entry.log_id.index != expected {
                return Err(LogError::Hole { group: self.id, expected, found: entry.log_id.index });
            }
            entries.push(entry);
            cursor.next()?;
        }
        Ok(entries)
    }

    /// Index below which entries are durable.
    pub(super) fn durable_below(&self) -> u64 {
        self.durable.borrow().below
    }

    /// Returns once the entry at `index` is durable here.
    pub(super) async fn wait_durable(&self, index: u64) -> Result<(), LogError> {
        let mut durable = self.durable.subscribe();
        let reached = durable.wait_for(|durable| durable.closed || durable.below > index).await;
        match reached {
            Ok(durable) if durable.below > index => Ok(()),
            _ => Err(LogError::Closed { group: self.id }),
        }
    }
}

/// What the disk holds of a group's entries.
struct Extent {
    first: u64,
    last: LogId,
    estimated_bytes: u64,
}

impl Extent {
    /// Looks at the ends, and at a few of the newest entries for their size.
    fn read(id: GroupId, snapshot: &dyn Snapshot) -> Result<Option<Self>, LogError> {
        let (start, end) = (entry_key(id, 0), entry_key(id, u64::MAX));
        let Some((key, _)) = snapshot.first(&start, &end)? else { return Ok(None) };
        let first = entry_index(&key)?;
        let mut cursor = snapshot.cursor(&start, &end);
        cursor.seek_back(&end)?;
        let mut last = None;
        let (mut sampled, mut bytes) = (0, 0);
        while let Some((key, value)) = cursor.current()
            && sampled < SAMPLE_ENTRIES
        {
            if last.is_none() {
                last = Some(decode_entry(key, &value.to_vec().into())?.log_id);
            }
            bytes += (key.len() + value.len()) as u64;
            sampled += 1;
            cursor.prev()?;
        }
        Ok(last.map(|last| {
            let entries = last.index + 1 - first;
            Self { first, last, estimated_bytes: bytes.saturating_mul(entries) / sampled.max(1) }
        }))
    }
}
