//! The newest entries of a group's log, in memory, and how many bytes the whole log takes.
//!
//! Replication reads every entry once a follower and apply reads it once more, nearly always moments after it was
//! written; the [`Tail`] spares them the way through the disk's format. It always ends with the log's last entry and
//! has no hole, so "index at or above [`Tail::first`]" is the whole test of whether it can serve a read.
//!
//! [`Sizes`] answers "how many bytes does the log hold" after any purge or truncation without reading what was dropped:
//! it counts in segments and takes a part of a segment as that part of its bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::raft::types::Entry;

/// What an entry takes beside its bytes.
const ENTRY_OVERHEAD_BYTES: usize = size_of::<Entry>() + 32;

/// Newest entries, bounded by bytes.
pub(super) struct Tail {
    /// With the size that each was counted with.
    entries: VecDeque<(Entry, usize)>,
    /// Index behind the newest entry.
    next: u64,
    bytes: usize,
    group_limit_bytes: usize,
    /// Bytes of all tails of the node.
    node_bytes: Arc<AtomicUsize>,
}

impl Tail {
    /// Empty, in front of index `next`.
    pub(super) fn new(next: u64, group_limit_bytes: usize, node_bytes: Arc<AtomicUsize>) -> Self {
        Self { entries: VecDeque::new(), next, bytes: 0, group_limit_bytes, node_bytes }
    }

    /// Index of the oldest entry here; of the next one to come when there is none.
    pub(super) fn first(&self) -> u64 {
        self.next - self.entries.len() as u64
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends an entry of `bytes` bytes on disk.
    pub(super) fn push(&mut self, entry: Entry, bytes: usize) {
        // After a gap (a log that begins behind an installed snapshot) nothing older is of use.
        if entry.log_id.index != self.next {
            self.clear(entry.log_id.index);
        }
        let bytes = bytes + ENTRY_OVERHEAD_BYTES;
        self.entries.push_back((entry, bytes));
        self.next += 1;
        self.bytes += bytes;
        self.node_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.shrink(self.group_limit_bytes);
    }

    /// Drops the oldest entries until at most `limit` bytes are held.
    pub(super) fn shrink(&mut self, limit: usize) {
        while self.bytes > limit {
            self.pop_oldest();
        }
    }

    /// Drops entries below an index.
    pub(super) fn drop_below(&mut self, index: u64) {
        while self.first() < index && !self.entries.is_empty() {
            self.pop_oldest();
        }
        self.next = self.next.max(index);
    }

    /// Drops entries at or above an index; that becomes the next one.
    pub(super) fn truncate(&mut self, index: u64) {
        while self.next > index {
            match self.entries.pop_back() {
                Some((_, bytes)) => {
                    self.next -= 1;
                    self.release(bytes);
                }
                None => self.next = index,
            }
        }
    }

    /// Entries of `start ≤ index < end`, from `start` on, until their bytes pass `max_bytes` (at least one).
    /// `None` when a part of them is not here.
    pub(super) fn read(&self, start: u64, end: u64, max_bytes: usize) -> Option<Vec<Entry>> {
        if start < self.first() || end > self.next {
            return None;
        }
        let mut entries = Vec::new();
        let mut read_bytes = 0;
        let skipped = (start - self.first()) as usize;
        for (entry, bytes) in self.entries.iter().skip(skipped).take(end.saturating_sub(start) as usize) {
            read_bytes += bytes;
            if read_bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Some(entries)
    }

    fn clear(&mut self, next: u64) {
        self.entries.clear();
        self.next = next;
        self.release(self.bytes);
    }

    fn pop_oldest(&mut self) {
        if let Some((_, bytes)) = self.entries.pop_front() {
            self.release(bytes);
        }
    }

    fn release(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.node_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.node_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes at which the next segment begins.
const SEGMENT_BYTES: u64 = 1 << 20;

#[derive(Clone, Copy, Debug)]
struct Segment {
    start: u64,
    end: u64,
    bytes: u64,
}

impl Segment {
    /// The same density over another interval inside this one.
    fn cut(self, start: u64, end: u64) -> Segment {
        let share = u128::from(self.bytes) * u128::from(end - start) / u128::from(self.end - self.start);
        // A share of a u64 is a u64.
        Segment { start, end, bytes: share as u64 }
    }
}

/// Bytes of a log by index, in segments: consecutive, none empty.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    segments: VecDeque<Segment>,
}

impl Sizes {
    /// Counts entries `start ≤ index < end` of `bytes` bytes together, behind everything counted so far.
    pub(super) fn add(&mut self, start: u64, end: u64, bytes: u64) {
        match self.segments.back_mut() {
            _ if start >= end => {}
            Some(last) if last.end == start && last.bytes < SEGMENT_BYTES => {
                last.end = end;
                last.bytes += bytes;
            }
            _ => self.segments.push_back(Segment { start, end, bytes }),
        }
    }

    /// Forgets entries below an index.
    pub(super) fn drop_below(&mut self, index: u64) {
        while let Some(first) = self.segments.pop_front() {
            if first.end > index {
                self.segments.push_front(first.cut(first.start.max(index), first.end));
                break;
            }
        }
    }

    /// Forgets entries at or above an index.
    pub(super) fn truncate(&mut self, index: u64) {
        while let Some(last) = self.segments.pop_back() {
            if last.start < index {
                self.segments.push_back(last.cut(last.start, last.end.min(index)));
                break;
            }
        }
    }

    /// Bytes of all entries.
    pub(super) fn total(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use openraft::EntryPayload;

    use super::*;
    use crate::raft::log::encoding::log_id;

    fn blank(index: u64) -> Entry {
        Entry { log_id: log_id(1, index), payload: EntryPayload::Blank }
    }

    fn indexes(entries: Option<Vec<Entry>>) -> Option<Vec<u64>> {
        entries.map(|entries| entries.iter().map(|entry| entry.log_id.index).collect())
    }

    #[test]
    fn the_tail_is_bounded_and_gives_its_bytes_back() {
        let node_bytes = Arc::new(AtomicUsize::new(0));
        let mut tail = Tail::new(5, 4 * (ENTRY_OVERHEAD_BYTES + 100), node_bytes.clone());
        for index in 5..15 {
            tail.push(blank(index), 100);
        }
        assert_eq!((tail.first(), tail.bytes()), (11, 4 * (ENTRY_OVERHEAD_BYTES + 100)));
        assert_eq!(node_bytes.load(Ordering::Relaxed), tail.bytes());
        assert_eq!(indexes(tail.read(10, 12, usize::MAX)), None);
        assert_eq!(indexes(tail.read(12, 16, usize::MAX)), None);
        assert_eq!(indexes(tail.read(12, 15, usize::MAX)), Some(vec![12, 13, 14]));
        assert_eq!(indexes(tail.read(12, 15, 0)), Some(vec![12]), "at least one");
        assert_eq!(indexes(tail.read(13, 13, 0)), Some(vec![]));

        tail.truncate(13);
        assert_eq!(indexes(tail.read(11, 13, usize::MAX)), Some(vec![11, 12]));
        tail.truncate(8);
        assert_eq!((tail.first(), tail.bytes()), (8, 0));
        tail.push(blank(8), 100);
        tail.push(blank(20), 100);
        assert_eq!(tail.first(), 20, "a gap starts anew");
        tail.drop_below(30);
        assert_eq!((tail.first(), tail.bytes()), (30, 0));
        tail.push(blank(30), 100);
        drop(tail);
        assert_eq!(node_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn sizes_follow_purges_and_truncations() {
        let mut sizes = Sizes::default();
        for index in 0..10_000 {
            sizes.add(index, index + 1, 1000);
        }
        assert_eq!(sizes.total(), 10_000_000);
        sizes.drop_below(2_500);
        let after_purge = sizes.total();
        assert!(after_purge.abs_diff(7_500_000) < 2_000, "{after_purge}");
        sizes.truncate(5_000);
        assert!(sizes.total().abs_diff(2_500_000) < 4_000, "{}", sizes.total());
        sizes.drop_below(5_000);
        assert_eq!(sizes.total(), 0);
        sizes.add(7_000, 7_000, 5);
        assert_eq!(sizes.total(), 0);
    }
}
