//! Points at which a process dies when a test wants it to.
//!
//! The environment variable `FAILPOINTS` says where, in the language of the [`fail`] crate: `decided=return` dies at the first
//! passage, `decided=20*off->return` at the 21st, `prepared=1*sleep(4000)` sleeps at the first. To `return` here is to die as
//! by kill -9: nothing is flushed and nobody is told.
//!
//! As with faults, builds without debug assertions have no points.

use std::sync::Once;

use fail::{FailScenario, fail_point};

/// Moments in the life of a transaction, at its coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// In ordered mode, one run of keys is locked, maybe not the last.
    RunPrepared,
    /// All keys are locked; Commit is not sent.
    Prepared,
    /// The anchor has answered Commit; the client knows nothing yet, and no lock elsewhere is resolved.
    Decided,
    /// All locks are gone; the record at the anchor is not forgotten.
    Resolved,
}

impl Point {
    /// As `FAILPOINTS` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Point::RunPrepared => "run-prepared",
            Point::Prepared => "prepared",
            Point::Decided => "decided",
            Point::Resolved => "resolved",
        }
    }
}

/// A process passes here, and dies if it was told to.
///
/// # Panics
/// If `FAILPOINTS` cannot be understood.
pub fn point(point: Point) {
    static READ_ENVIRONMENT: Once = Once::new();
    if cfg!(debug_assertions) {
        // A scenario would end with its value; this one lasts as long as the process.
        READ_ENVIRONMENT.call_once(|| std::mem::forget(FailScenario::setup()));
        fail_point!(point.name(), |_| std::process::abort());
    }
}
