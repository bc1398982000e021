//! Faults put in on purpose, to see whether anybody notices.
//!
//! The simulation and the harness of real processes claim that they would catch a broken protocol. Each [`Fault`] here
//! breaks one of its rules at the place that keeps it: the code there asks [`is_on`]. `docs/testing.md` says which check
//! catches which fault, and with what seed.
//!
//! One fault at most is on in a process, named by the environment variable [`VARIABLE`]. Builds without debug
//! assertions, and so every release, have none: there [`is_on`] is `false` at compile time and the branches are gone.
//!
//! Beside broken rules there are moments: at a [`point`] a process can be told to die, so that a test sees what others
//! make of what it leaves behind.

mod point;

use std::env;
use std::sync::OnceLock;

pub use point::{Point, point};

/// Names the fault of this process.
pub const VARIABLE: &str = "ELASTICKV_PLANTED_FAULT";

macro_rules! faults {
    ($($fault:ident = $name:literal: $story:literal,)+) => {
        /// A rule that is broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault {
            $(#[doc = $story] $fault,)+
        }

        impl Fault {
            /// Every one.
            pub const ALL: &[Fault] = &[$(Fault::$fault,)+];

            /// As [`VARIABLE`] and command lines call it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Fault::$fault => $name,)+
                }
            }

            /// What is done wrong.
            pub fn story(self) -> &'static str {
                match self {
                    $(Fault::$fault => $story,)+
                }
            }
        }
    };
}

faults! {
    NoDedup = "no-dedup": "a repeated request is executed again",
    ChainCheckOff = "chain-check-off": "one batch of a pipeline gets lost, and what was evaluated on it is applied",
    NoCheckOfP = "no-check-of-p": "prewrites come a second time, late, and Resolve makes data of a lock whatever its p",
    NoReadCheck = "no-read-check": "reads, and replies without effect, leave without proof of leadership",
    ScanRaisesInMemory = "scan-raises-in-memory": "a scan at R is answered before e = R is replicated",
    CollectAtForget = "collect-at-forget": "prewrites come a second time, late, and the record of their transaction went at Forget",
    ResolveKeepsClock = "resolve-keeps-clock": "Resolve does not raise the clock of its group to c",
    NoDedupOfCommit = "no-dedup-of-commit": "a committed transaction leaves no dedup record",
    OldRunTaken = "old-run-taken": "a batch of an old run is taken behind the barrier",
    RecomputeOnRetry = "recompute-on-retry": "a coordinator tries again as a new request after an unknown outcome",
    EpochCheckedEarly = "epoch-checked-early": "the executor goes by the routes that the server checked on arrival",
    NoTombstone = "no-tombstone": "an absent record counts as aborted, and nothing is written",
    NoBootHold = "no-boot-hold": "a restarted voter votes at once",
    NoLeaseMargin = "no-lease-margin": "a read counts on a lease for longer than the others keep it",
    PurgePastFlushed = "purge-past-flushed": "the log is purged as far as it is applied, flushed or not",
    WallClockInApply = "wall-clock-in-apply": "apply takes the time from the clock of the replica",
    ReadsIgnoreLocks = "reads-ignore-locks": "a read shows what is below a lock without asking its anchor",
    SplitKeepsEpoch = "split-keeps-epoch": "the halves of a range keep its epoch",
    VoteNotSynced = "vote-not-synced": "a vote is answered before it is durable",
    ReplicaIdReused = "replica-id-reused": "a node whose disk was wiped comes back under its old replica id",
    ExecIgnoresLocks = "exec-ignores-locks": "a request of one group writes through the locks of transactions",
    ObservedIgnored = "observed-ignored": "versions that a request has observed are not compared",
}

/// Whether this fault is planted in this process.
///
/// # Panics
/// If [`VARIABLE`] names no fault: a test that plants nothing would prove nothing.
pub fn is_on(fault: Fault) -> bool {
    cfg!(debug_assertions) && planted() == Some(fault)
}

/// The fault of this process.
pub fn planted() -> Option<Fault> {
    static PLANTED: OnceLock<Option<Fault>> = OnceLock::new();
    *PLANTED.get_or_init(|| {
        let name = env::var(VARIABLE).ok().filter(|name| !name.is_empty())?;
        let fault = by_name(&name);
        assert!(fault.is_some(), "{VARIABLE} names no fault: {name}");
        fault
    })
}

/// The fault of this name.
pub fn by_name(name: &str) -> Option<Fault> {
    Fault::ALL.iter().copied().find(|fault| fault.name() == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_fault_is_found_by_its_name_and_none_is_on_by_itself() {
        let names: BTreeSet<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
        assert!(Fault::ALL.iter().all(|fault| by_name(fault.name()) == Some(*fault) && !is_on(*fault)));
        assert_eq!(by_name("no-such-fault"), None);
    }
}
