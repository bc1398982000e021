//! What clients did and were told, as the judges of `checkers` read it.

use checkers::history::{Operation, Outcome};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// A history that is being written. What has begun and never ends has an unknown outcome.
pub struct Ledger<A, R> {
    entries: Mutex<Vec<Entry<A, R>>>,
}

struct Entry<A, R> {
    process: u64,
    called_ms: u64,
    action: A,
    end: Option<(u64, Outcome<R>)>,
}

/// An operation that has begun.
#[derive(Debug)]
pub struct Begun(usize);

/// How many operations ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Took effect.
    pub done: usize,
    /// Certainly took none.
    pub failed: usize,
    /// Nobody knows.
    pub unknown: usize,
}

impl<A, R> Default for Ledger<A, R> {
    fn default() -> Self {
        Self { entries: Mutex::default() }
    }
}

impl<A: Clone, R: Clone> Ledger<A, R> {
    /// A client is about to do this.
    pub fn begin(&self, process: u64, action: A) -> Begun {
        let mut entries = self.entries.lock();
        entries.push(Entry { process, called_ms: now_ms(), action, end: None });
        Begun(entries.len() - 1)
    }

    /// It was told this.
    pub fn end(&self, begun: &Begun, outcome: Outcome<R>) {
        self.entries.lock()[begun.0].end = Some((now_ms(), outcome));
    }

    /// It was told this, and now says more exactly what it did.
    pub fn end_as(&self, begun: &Begun, action: A, outcome: Outcome<R>) {
        self.entries.lock()[begun.0].action = action;
        self.end(begun, outcome);
    }

    /// The history so far.
    pub fn history(&self) -> Vec<Operation<A, R>> {
        let entries = self.entries.lock();
        let operation = |entry: &Entry<A, R>| {
            let Entry { process, called_ms, action, end } = entry;
            let action = action.clone();
            match end {
                Some((ended_ms, Outcome::Ok(answer))) => {
                    Operation::ok(*process, *called_ms..=*ended_ms, action, answer.clone())
                }
                Some((ended_ms, Outcome::Failed)) => Operation::failed(*process, *called_ms..=*ended_ms, action),
                Some((_, Outcome::Unknown)) | None => Operation::unknown(*process, *called_ms.., action),
            }
        };
        entries.iter().map(operation).collect()
    }

    /// How the operations ended so far.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for entry in self.entries.lock().iter() {
            match &entry.end {
                Some((_, Outcome::Ok(_))) => tally.done += 1,
                Some((_, Outcome::Failed)) => tally.failed += 1,
                Some((_, Outcome::Unknown)) | None => tally.unknown += 1,
            }
        }
        tally
    }
}

/// Simulated milliseconds. Machines take turns within one; operations that share it overlap, which makes a judge milder
/// and never unjust.
fn now_ms() -> u64 {
    turmoil::sim_elapsed().map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
