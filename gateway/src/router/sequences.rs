//! The names of requests, and how far the gateway has finished with them.
//!
//! Every `Exec` gets a sequence, once. The group leaders remember the reply of each until `answered_below` has passed
//! it: the lowest sequence that was given out and is not finished. [`Sequences`] keeps that low mark exactly, with a
//! bit for every sequence above it; one lock is taken for all sequences that one batch of replies finishes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

const WORD: u64 = u64::BITS as u64;

/// Gives out sequences, from 1, and knows the lowest unfinished one.
///
/// Invariant: `low()` never exceeds a sequence that was given out and not finished, and never falls.
#[derive(Debug)]
pub(super) struct Sequences {
    next: AtomicU64,
    low: AtomicU64,
    window: Mutex<Window>,
}

/// Which sequences are finished: bit `i` of word `n` stands for `base + 64 n + i`.
#[derive(Debug)]
struct Window {
    base: u64,
    finished: VecDeque<u64>,
}

impl Sequences {
    pub(super) fn new() -> Self {
        // Sequence 0 is nobody's: requests that change nothing carry it.
        let window = Window { base: 0, finished: VecDeque::from([1]) };
        Self { next: AtomicU64::new(1), low: AtomicU64::new(1), window: Mutex::new(window) }
    }

    /// The first of `count` sequences in a row.
    pub(super) fn give_out(&self, count: u64) -> u64 {
        self.next.fetch_add(count, Ordering::Relaxed)
    }

    /// The caller will never send these again.
    pub(super) fn finish(&self, sequences: &[u64]) {
        if sequences.is_empty() {
            return;
        }
        let mut window = self.window.lock();
        for &sequence in sequences {
            window.mark(sequence);
        }
        self.low.store(window.advance(), Ordering::Release);
    }

    /// `answered_below`.
    pub(super) fn low(&self) -> u64 {
        self.low.load(Ordering::Acquire)
    }
}

impl Window {
    fn mark(&mut self, sequence: u64) {
        let Some(offset) = sequence.checked_sub(self.base) else { return };
        let word = (offset / WORD) as usize;
        if word >= self.finished.len() {
            self.finished.resize(word + 1, 0);
        }
        self.finished[word] |= 1 << (offset % WORD);
    }

    fn advance(&mut self) -> u64 {
        while self.finished.front() == Some(&u64::MAX) {
            self.finished.pop_front();
            self.base += WORD;
        }
        self.base + self.finished.front().map_or(0, |word| u64::from(word.trailing_ones()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_low_mark_waits_for_the_oldest() {
        let sequences = Sequences::new();
        assert_eq!(sequences.low(), 1);
        assert_eq!(sequences.give_out(3), 1);
        sequences.finish(&[3, 2]);
        assert_eq!(sequences.low(), 1);
        sequences.finish(&[1]);
        assert_eq!(sequences.low(), 4);
        assert_eq!(sequences.give_out(1), 4);
        sequences.finish(&[4]);
        assert_eq!(sequences.low(), 5);
    }

    proptest! {
        #[test]
        fn the_low_mark_is_the_smallest_unfinished(order in Just((1..=300_u64).collect::<Vec<_>>()).prop_shuffle()) {
            let sequences = Sequences::new();
            sequences.give_out(300);
            let mut unfinished: BTreeSet<u64> = (1..=300).collect();
            for chunk in order.chunks(7) {
                sequences.finish(chunk);
                unfinished.retain(|sequence| !chunk.contains(sequence));
                prop_assert_eq!(sequences.low(), unfinished.first().copied().unwrap_or(301));
            }
            prop_assert!(sequences.window.lock().finished.len() <= 1);
        }
    }
}
