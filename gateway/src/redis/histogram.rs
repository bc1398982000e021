//! How long things took, in classes: each power of two of nanoseconds is cut into sixteen, so a class is 6% wide.
//!
//! Counting is one atomic addition. What is read while others count is as good as a moment before or after.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Classes in a power of two, as a power of two.
const PARTS_BITS: u32 = 4;
const PARTS: u64 = 1 << PARTS_BITS;
/// What takes longer counts as this: about a second, as Redis has it.
const LONGEST_NS: u64 = (1 << 30) - 1;
const CLASSES: usize = class(LONGEST_NS) + 1;
/// The first bound that LATENCY HISTOGRAM tells of, as a power of two: about a microsecond.
const FIRST_BOUND_BITS: u32 = 10;

/// The class of a number of nanoseconds. Below 16 each number has its own.
const fn class(ns: u64) -> usize {
    if ns < PARTS {
        return ns as usize;
    }
    let shift = ns.ilog2() - PARTS_BITS;
    (((shift as u64) << PARTS_BITS) + (ns >> shift)) as usize
}

/// The largest number of nanoseconds in a class.
const fn largest(class: usize) -> u64 {
    let class = class as u64;
    if class < PARTS * 2 {
        return class;
    }
    let shift = (class >> PARTS_BITS) - 1;
    (((class & (PARTS - 1)) + PARTS + 1) << shift) - 1
}

/// Counts by class.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: Vec<AtomicU64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: (0..CLASSES).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Histogram {
    pub(super) fn count(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(LONGEST_NS).min(LONGEST_NS);
        self.counts[class(ns)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn reset(&self) {
        self.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// Microseconds below which so many of a hundred lie.
    pub(super) fn percentile_us(&self, percent: f64) -> f64 {
        let counts = self.snapshot();
        let total: u64 = counts.iter().sum();
        let wanted = ((percent / 100.0 * total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (class, count) in counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return largest(class) as f64 / 1000.0;
            }
        }
        0.0
    }

    /// Bounds in microseconds, each about twice the one before, and how many lie below: those bounds only below which
    /// more lie than below the one before. The bounds are written as Redis writes them.
    pub(super) fn doubling(&self) -> Vec<(i64, i64)> {
        let counts = self.snapshot();
        let total: u64 = counts.iter().sum();
        let (mut bounds, mut below, mut next_class) = (Vec::new(), 0, 0);
        for bits in FIRST_BOUND_BITS.. {
            if below == total {
                break;
            }
            let behind = (class(1 << bits) + 1).min(counts.len());
            let more: u64 = counts[next_class..behind].iter().sum();
            next_class = behind;
            if more > 0 {
                below += more;
                let bound_ns = (1_u64 << bits) + (1 << (bits - 7)) - 1;
                bounds.push(((bound_ns / 1000) as i64, below as i64));
            }
        }
        bounds
    }

    fn snapshot(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_are_those_of_redis() {
        let histogram = Histogram::default();
        for us in [0, 3, 3, 30, 2_000_000] {
            histogram.count(Duration::from_micros(us));
        }
        assert_eq!(histogram.doubling(), [(1, 1), (4, 3), (33, 4), (1_082_130, 5)]);
        assert_eq!(histogram.percentile_us(0.0), 0.0);
        assert!((2.9..3.3).contains(&histogram.percentile_us(50.0)));
        histogram.reset();
        assert!(histogram.doubling().is_empty());
    }

    proptest! {
        #[test]
        fn a_class_is_narrow(ns in 0..=LONGEST_NS) {
            let bound = largest(class(ns));
            prop_assert!(bound >= ns && bound <= ns + ns / 16, "{} {}", ns, bound);
            prop_assert!(class(bound) == class(ns));
            prop_assert!(class(bound + 1) == class(ns) + 1);
        }
    }
}
