//! A view over an ordered map in memory, for tests of this crate and of others.
//!
//! Every await of a command over it is ready at once, as at a group leader: [`ready`] takes the result without a
//! runtime. Time stands still until the test moves it. Nothing here is fast, bounded or durable.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use keyspace::{KeyRange, Version, layout};

use crate::redis::events::Notes;
use crate::view::{Order, Record, View, ViewError};
use crate::{Command, Outcome};

/// All records of a keyspace.
///
/// Invariant: `version` is above the version of every record written by an earlier [`MemoryView::run`].
#[derive(Clone, Debug)]
pub struct MemoryView {
    records: BTreeMap<Bytes, Record>,
    /// When keys that are gone were removed.
    removed: BTreeMap<Bytes, Version>,
    version: Version,
    now_ms: u64,
    random_state: u64,
    notes: Option<Notes>,
    /// Reads and writes since the last [`MemoryView::take_accesses`].
    accesses: Accesses,
}

/// How often a view was touched: the cost of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accesses {
    /// Calls of `get`.
    pub gets: u64,
    /// Records returned by `scan`.
    pub scanned: u64,
    /// The most records that one `scan` returned.
    pub largest_scan: u64,
    /// Calls of `put`.
    pub puts: u64,
    /// Calls of `delete`.
    pub deletes: u64,
}

impl Accesses {
    /// Whether anything was written.
    pub fn wrote(&self) -> bool {
        self.puts + self.deletes > 0
    }
}

impl Default for MemoryView {
    fn default() -> Self {
        Self::new(1_700_000_000_000)
    }
}

impl MemoryView {
    /// An empty keyspace at a time in milliseconds since 1970.
    pub fn new(now_ms: u64) -> Self {
        Self {
            records: BTreeMap::new(),
            removed: BTreeMap::new(),
            version: Version { e: 0, s: 1 },
            now_ms,
            random_state: 0x9E37_79B9_7F4A_7C15,
            notes: None,
            accesses: Accesses::default(),
        }
    }

    /// Evaluates one command and steps to the next version.
    pub fn run(&mut self, command: &Command) -> Result<Outcome, ViewError> {
        let outcome = ready(crate::run(self, command));
        self.step();
        outcome
    }

    /// Ends an evaluation: what follows carries the next version.
    pub fn step(&mut self) {
        self.version.s += 1;
    }

    /// Sets the time, forwards or backwards.
    pub fn set_now_ms(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// Moves the time forwards.
    pub fn advance_ms(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    /// Everything that is stored, expired records included.
    pub fn records(&self) -> &BTreeMap<Bytes, Record> {
        &self.records
    }

    /// What was read and written since the last call.
    pub fn take_accesses(&mut self) -> Accesses {
        std::mem::take(&mut self.accesses)
    }
}

impl View for MemoryView {
    async fn get(&mut self, key: &[u8]) -> Result<Option<Record>, ViewError> {
        self.accesses.gets += 1;
        let found = self.records.get(key).cloned();
        if let Some(notes) = &mut self.notes {
            notes.found(key, found.as_ref(), self.now_ms);
        }
        Ok(found)
    }

    async fn last_change(&mut self, key: &[u8]) -> Result<Option<Version>, ViewError> {
        let live = self.records.get(key).map(|record| record.version);
        Ok(live.or_else(|| self.removed.get(key).copied()))
    }

    async fn scan(&mut self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<(Bytes, Record)>, ViewError> {
        let from = self.records.range(range.start().clone()..);
        let inside = from.filter(|(key, _)| range.contains(key)).map(|(key, record)| (key.clone(), record.clone()));
        let found: Vec<_> = match order {
            Order::Ascending => inside.take(limit).collect(),
            Order::Descending => inside.rev().take(limit).collect(),
        };
        self.accesses.scanned += found.len() as u64;
        self.accesses.largest_scan = self.accesses.largest_scan.max(found.len() as u64);
        Ok(found)
    }

    fn note(&mut self, notes: Option<Notes>) -> Option<Notes> {
        std::mem::replace(&mut self.notes, notes)
    }

    fn put(&mut self, key: Vec<u8>, value: Bytes) {
        self.accesses.puts += 1;
        if let Some(notes) = &mut self.notes {
            notes.changed(&key, true);
        }
        self.records.insert(key.into(), Record { value, version: self.version });
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.accesses.deletes += 1;
        if let Some(notes) = &mut self.notes {
            notes.changed(&key, false);
        }
        self.records.remove(key.as_slice());
        self.removed.insert(key.into(), self.version);
    }

    fn flush_redis(&mut self, range: &KeyRange, db: Option<u8>) {
        self.records.retain(|key, _| {
            let found = layout::redis_db(key);
            let dead = found.is_some() && db.is_none_or(|db| found == Some(db)) && range.contains(key);
            !dead
        });
    }

    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn expired(&mut self, expire_at_ms: u64) -> bool {
        expire_at_ms <= self.now_ms
    }

    fn version(&self) -> Version {
        self.version
    }

    fn random(&mut self) -> u64 {
        // xorshift64*: repeatable from one run of a test to the next.
        self.random_state ^= self.random_state >> 12;
        self.random_state ^= self.random_state << 25;
        self.random_state ^= self.random_state >> 27;
        self.random_state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

/// The result of a future that never waits.
///
/// # Panics
///
/// When it does wait.
pub fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a command over a view in memory never waits"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::raw::{self, Operation};

    fn put(key: &'static str, value: &'static str) -> Command {
        Command::Raw(Operation::Put { key: key.into(), value: value.into() })
    }

    #[test]
    fn later_evaluations_carry_later_versions() {
        let mut view = MemoryView::default();
        let first = view.run(&put("a", "1")).unwrap();
        let second = view.run(&put("b", "2")).unwrap();
        let (Outcome::Raw(raw::Outcome::Written(first)), Outcome::Raw(raw::Outcome::Written(second))) = (first, second)
        else {
            panic!("a put answers its version");
        };
        assert!(first < second);
    }

    #[test]
    fn scans_respect_order_and_limit() {
        let mut view = MemoryView::default();
        for key in ["a", "b", "c"] {
            view.run(&put(key, "")).unwrap();
        }
        let keys = |found: Vec<(Bytes, Record)>| -> Vec<u8> { found.iter().map(|(key, _)| key[1]).collect() };
        let all = KeyRange::prefix(vec![layout::RAW]);
        assert_eq!(keys(ready(view.scan(&all, Order::Ascending, 2)).unwrap()), b"ab");
        assert_eq!(keys(ready(view.scan(&all, Order::Descending, 2)).unwrap()), b"cb");
    }

    #[test]
    fn a_flush_spares_other_databases_languages_and_ranges() {
        let mut view = MemoryView::default();
        let slot = keyspace::slot::slot_of(b"foo");
        for db in [0, 1] {
            view.put(layout::redis_meta(db, b"foo"), Bytes::new());
        }
        view.put(layout::raw(b"foo"), Bytes::new());
        view.flush_redis(&KeyRange::prefix(layout::redis_slot(slot + 1)), None);
        assert_eq!(view.records().len(), 3);
        view.flush_redis(&KeyRange::all(), Some(0));
        assert_eq!(view.records().len(), 2);
        view.flush_redis(&KeyRange::all(), None);
        assert_eq!(view.records().len(), 1);
    }
}
