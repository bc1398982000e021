//! What a run has shown, and what many have shown together.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ledger::Tally;

/// Of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which.
    pub seed: u64,
    /// How long it took in the simulation.
    pub simulated_ms: u64,
    /// How much was noted,
    pub events: u64,
    /// and its sum: the same for every run of the seed.
    pub digest: u64,
    /// How the operations of each kind of client ended.
    pub operations: BTreeMap<String, Tally>,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// Ranges that were split.
    pub splits: u64,
    /// Histories that the judges could not decide upon.
    pub undecided: usize,
    /// What is wrong. Empty: nothing was found.
    pub violations: Vec<String>,
}

/// Of many runs.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Runs that came to an end.
    pub runs: usize,
    /// Simulated time of all, in milliseconds.
    pub simulated_ms: u64,
    /// See [`Report::operations`].
    pub operations: BTreeMap<String, Tally>,
    /// See [`Report::faults`].
    pub faults: BTreeMap<String, u64>,
    /// See [`Report::splits`].
    pub splits: u64,
    /// See [`Report::undecided`].
    pub undecided: usize,
}

impl Totals {
    /// One more run.
    pub fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.simulated_ms += report.simulated_ms;
        self.splits += report.splits;
        self.undecided += report.undecided;
        for (kind, tally) in &report.operations {
            let total = self.operations.entry(kind.clone()).or_default();
            total.done += tally.done;
            total.failed += tally.failed;
            total.unknown += tally.unknown;
        }
        for (kind, count) in &report.faults {
            *self.faults.entry(kind.clone()).or_default() += count;
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} seeds, {} s simulated, {} splits", self.runs, self.simulated_ms / 1000, self.splits)?;
        for (kind, Tally { done, failed, unknown }) in &self.operations {
            writeln!(f, "  {kind:<10} {done} took effect, {failed} certainly not, {unknown} unknown")?;
        }
        for (kind, count) in &self.faults {
            writeln!(f, "  {count} {kind}")?;
        }
        write!(f, "  {} histories undecided", self.undecided)
    }
}
