//! What clients do while a cluster is being hurt, and what is remembered of it.
//!
//! A [`Workload`] is one kind of work: each of its clients takes [step](Workload::step) after step, every answer is
//! recorded as an operation of a history, and in the end the history goes to its judge in [`checkers`]. There are
//!
//! * [`registers`]: SET and GET of single keys,
//! * [`swaps`]: compare-and-set by WATCH, GET and MULTI,
//! * [`counters`]: INCR and GET,
//! * [`lists`]: MULTI of APPEND and GET over keys in several groups,
//! * [`transfers`]: a bank, by WATCH, MGET and MULTI, read by MGET and by MULTI,
//! * [`insertions`]: SET of keys that are set once, alone and by MSET, read by MGET.
//!
//! All but the bank move to fresh keys each [`WINDOW`], which keeps every history short enough to judge, however long the
//! run. In the end, when all is healed, everything is read once more, so that no write goes unjudged.

pub mod client;
pub mod counters;
pub mod insertions;
pub mod lists;
pub mod registers;
pub mod swaps;
pub mod transfers;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use checkers::history::Operation;

pub use self::client::{Client, Tally, Told};

/// How long clients work on the same keys.
pub const WINDOW: Duration = Duration::from_secs(10);

/// One kind of work.
pub trait Workload: Send + Sync {
    /// In reports.
    fn name(&self) -> &'static str;

    /// Makes ready what the clients need, before anything is hurt.
    fn prepare(&self, _client: &mut Client) -> Result<(), String> {
        Ok(())
    }

    /// One step of a client.
    fn step(&self, client: &mut Client);

    /// Reads everything once more.
    fn finish(&self, client: &mut Client);

    /// What the checkers say of all that was recorded.
    fn judge(&self) -> Result<(), String>;
}

/// One of each kind.
pub fn all() -> Vec<Arc<dyn Workload>> {
    vec![
        Arc::new(registers::Registers::default()),
        Arc::new(swaps::Swaps::default()),
        Arc::new(counters::Counters::default()),
        Arc::new(lists::Lists::default()),
        Arc::new(transfers::Transfers::default()),
        Arc::new(insertions::Insertions::default()),
    ]
}

/// Histories of all clients of a workload, sorted by what is judged together.
struct Histories<K, A, R>(Mutex<BTreeMap<K, Vec<Operation<A, R>>>>);

impl<K, A, R> Default for Histories<K, A, R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Clone, A, R> Histories<K, A, R> {
    fn note(&self, key: K, operation: Operation<A, R>) {
        self.lock().entry(key).or_default().push(operation);
    }

    fn keys(&self) -> Vec<K> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<K, Vec<Operation<A, R>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
