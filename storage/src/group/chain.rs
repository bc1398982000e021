//! Chained batches: which entries of a term take effect.
//!
//! openraft may refuse one proposal and accept the next in the same term, so an entry that was evaluated on top of a
//! refused one could reach the log. Every entry therefore carries its place `(term, run, n)`, and every replica takes
//! it only if it follows what it took last. A refused entry breaks the run; everything behind it is skipped by all
//! replicas alike, until a barrier begins the next run.
//!
//! I14: within a term and run the taken batches are 1, 2, 3, … without a gap, and runs only rise.

use std::fmt;

use planted::Fault;

/// The place of an entry. `n` = 0 is a barrier: it begins a run and carries nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Raft term in which the entry was proposed.
    pub term: u64,
    /// Counts the executor's fresh starts within the term, from 1.
    pub run: u64,
    /// Counts the entries of the run, from 1.
    pub n: u64,
}

impl Link {
    /// The place of the barrier that begins `run`.
    pub fn barrier(term: u64, run: u64) -> Self {
        Self { term, run, n: 0 }
    }

    /// The place behind this one, in the same run.
    pub fn next(self) -> Self {
        Self { n: self.n + 1, ..self }
    }

    /// Whether it begins a run.
    pub fn is_barrier(self) -> bool {
        self.n == 0
    }

    /// Whether an entry at this place takes effect behind `last`, the place taken last, when it stands in the log at
    /// term `log_term`.
    ///
    /// An entry of another term than its own place (a leader that lost and regained office) is never taken.
    pub fn follows(self, last: Link, log_term: u64) -> bool {
        if self.term != log_term {
            return false;
        }
        let new_term = last.term < self.term;
        if self.is_barrier() {
            return new_term || (last.term == self.term && self.run > last.run);
        }
        if new_term {
            return self.run == 1 && self.n == 1;
        }
        let next = self.run == last.run && self.n == last.n + 1;
        let behind_a_hole = planted::is_on(Fault::ChainCheckOff) && self.run == last.run && self.n > last.n;
        let of_an_old_run = planted::is_on(Fault::OldRunTaken) && self.run < last.run;
        last.term == self.term && (next || behind_a_hole || of_an_old_run)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.term, self.run, self.n)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link(term: u64, run: u64, n: u64) -> Link {
        Link { term, run, n }
    }

    #[test]
    fn a_refused_batch_takes_everything_behind_it_along() {
        let last = link(3, 1, 4);
        assert!(link(3, 1, 5).follows(last, 3));
        assert!(!link(3, 1, 6).follows(last, 3), "5 was refused");
        assert!(link(3, 2, 0).follows(last, 3), "the barrier decides");
        let last = link(3, 2, 0);
        assert!(!link(3, 1, 5).follows(last, 3), "the old run is over");
        assert!(link(3, 2, 1).follows(last, 3));
    }

    #[test]
    fn a_term_begins_with_run_1_or_a_barrier() {
        let last = link(3, 5, 9);
        assert!(link(4, 1, 1).follows(last, 4));
        assert!(!link(4, 1, 2).follows(last, 4));
        assert!(!link(4, 2, 1).follows(last, 4));
        assert!(link(4, 2, 0).follows(last, 4));
        assert!(!link(3, 5, 10).follows(last, 4), "proposed in term 3, logged in term 4");
    }

    proptest! {
        /// I14, whatever subset of the proposals reaches the log, in whatever order.
        #[test]
        fn taken_batches_are_gapless(log in prop::collection::vec((1u64..4, 1u64..4, 0u64..6), 0..200)) {
            let mut last = Link::default();
            let mut log_term = 0;
            for (term, run, n) in log {
                log_term = log_term.max(term);
                let place = link(term, run, n);
                if place.follows(last, log_term) {
                    if place.term == last.term && !place.is_barrier() {
                        prop_assert_eq!((place.run, place.n), (last.run, last.n + 1));
                    } else if place.term == last.term {
                        prop_assert!(place.run > last.run);
                    } else {
                        prop_assert!(place.term > last.term);
                        prop_assert!(place.is_barrier() || (place.run, place.n) == (1, 1));
                    }
                    last = place;
                }
            }
        }
    }
}
