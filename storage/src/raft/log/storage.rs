//! openraft's view of a group's log.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use keyspace::{GroupId, ReplicaId};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, RaftTypeConfig};

use super::group::GroupState;
use super::{LogError, SharedLog, durable};
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};

/// The log of one group: what openraft writes to, and its readers. Clones share one log.
#[derive(Clone)]
pub struct GroupLog {
    shared: Arc<SharedLog>,
    state: Arc<GroupState>,
    replica: ReplicaId,
}

impl GroupLog {
    pub(super) fn new(shared: Arc<SharedLog>, state: Arc<GroupState>, replica: ReplicaId) -> Self {
        Self { shared, state, replica }
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.state.id()
    }

    /// The replica whose log this is.
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// Returns once the entry at `index` is durable on this node; at once when it already is.
    ///
    /// Apply waits for this: openraft applies what a majority has synced, and this node need not be part of it. A crash
    /// would leave data of entries that the log does not have, and the group could not start again.
    pub async fn wait_durable(&self, index: u64) -> Result<(), LogError> {
        if self.state.durable_below() > index {
            return Ok(());
        }
        self.state.wait_durable(index).await
    }

    /// Returns once everything that was written to this log is durable, truncations too.
    ///
    /// Installing a snapshot waits for this before it changes the data: openraft has truncated what contradicts the
    /// snapshot, and entries that came back behind durable data of another term would stop the replica from starting.
    pub async fn sync(&self) -> Result<(), LogError> {
        let written = self.state.sync(&self.shared.flusher)?;
        durable(written).await
    }

    /// Index below which every entry is durable on this node.
    pub fn durable_below(&self) -> u64 {
        self.state.durable_below()
    }

    /// Bytes of all entries on disk before compaction; an estimate for entries from before the last start.
    pub fn log_bytes(&self) -> u64 {
        self.state.log_bytes()
    }

    /// Last purged log id, and that of the last entry (else the purged one).
    pub fn ends(&self) -> (Option<LogId>, Option<LogId>) {
        self.state.ends()
    }

    /// Removes the replica: its log, its vote, and its right to come back. See [`SharedLog::remove_replica`].
    pub async fn destroy(&self) -> Result<(), LogError> {
        self.shared.remove_replica(self.group(), self.replica).await
    }

    fn chunk(&self, start: u64, end: u64) -> Result<Vec<Entry>, LogError> {
        self.state.read(start, end, self.shared.options.read_bytes)
    }
}

/// `start ≤ index < end` of any range.
fn half_open(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for GroupLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (start, end) = half_open(&range);
        Ok(self.state.read(start, end, usize::MAX)?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.state.vote())
    }

    /// Replication's read: about [`super::SharedLogOptions::read_bytes`] at a time, at least one entry.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        let entries = self.chunk(start, end)?;
        // A follower must not get entries behind a hole. When `start` has just been purged it gets nothing, and openraft
        // turns to a snapshot.
        let begins_there = entries.first().is_some_and(|entry| entry.log_id.index == start);
        Ok(if begins_there { entries } else { Vec::new() })
    }

    /// Apply's read, in portions: after a restart the range may be all that was committed since the last flush.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = half_open(&range);
        let (log, group) = (self.clone(), self.group());
        let portions = stream::try_unfold((start, true), move |(next, beginning)| {
            let portion = log.chunk(next, end);
            async move {
                let entries = portion?;
                let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(None) };
                // The log may begin behind the start of the range, but nothing may vanish on the way.
                let (found, after) = (first.log_id.index, last.log_id.index + 1);
                if found != next && !beginning {
                    return Err(LogError::Hole { group, expected: next, found }.into());
                }
                Ok::<_, io::Error>(Some((stream::iter(entries.into_iter().map(Ok)), (after, false))))
            }
        });
        portions.try_flatten().boxed()
    }
}

impl RaftLogStorage<TypeConfig> for GroupLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let (last_purged_log_id, last_log_id) = self.state.ends();
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let written = self.state.save_vote(vote, &self.shared.flusher)?;
        Ok(durable(written).await?)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        Ok(self.state.save_committed(committed)?)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.state.committed())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = <TypeConfig as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.state.append(entries.into_iter(), &self.shared.flusher, callback)?;
        self.shared.trim_tails();
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        Ok(self.state.truncate_after(last_log_id)?)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        Ok(self.state.purge(log_id)?)
    }
}
