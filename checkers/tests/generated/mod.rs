//! Random intervals around the moments at which operations take effect.
//!
//! A good history is made backwards: first the moments at which operations take effect, one after the other, on a model in
//! memory; then each is stretched into an interval, so that the intervals of one process follow each other and those of
//! several overlap at random. Whatever judge reads it must accept it: the moments are the proof.

#![allow(dead_code, reason = "each test takes what it needs")]

use proptest::prelude::*;

/// When an operation was called, took effect, and was answered; times are distinct enough to say who came first.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    pub process: u64,
    pub called: u64,
    pub moment: u64,
    pub answered: u64,
}

/// Draws up to `most` operations on up to `processes` processes, sorted by the moment at which they take effect.
pub fn stretches(processes: u64, most: usize) -> impl Strategy<Value = Vec<Stretch>> {
    prop::collection::vec((0..processes, 0u64..30, 0u64..60, 0u64..60), 1..most).prop_map(|steps| {
        let mut free_from = std::collections::BTreeMap::new();
        let mut stretches: Vec<Stretch> = steps
            .into_iter()
            .map(|(process, pause, before, after)| {
                let free = free_from.entry(process).or_insert(0);
                let called = *free + pause;
                let moment = called + before;
                let answered = moment + after;
                *free = answered + 1;
                Stretch { process, called, moment, answered }
            })
            .collect();
        // Moments that are equal overlap, so either order is right.
        stretches.sort_by_key(|stretch| stretch.moment);
        stretches
    })
}

/// A small generator for the long histories that no shrinking would make readable: SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// A long history's stretches: `clients` that are always busy with operations of about the same length, every hundredth
/// ten times as long.
pub fn long_stretches(dice: &mut Dice, clients: u64, count: usize) -> Vec<Stretch> {
    let mut free_from = vec![0; clients as usize];
    let mut stretches: Vec<Stretch> = (0..count)
        .map(|_| {
            let process = (0..clients).min_by_key(|process| free_from[*process as usize]).unwrap();
            let called = free_from[process as usize] + 1 + dice.roll(20);
            let length = if dice.roll(100) == 0 { 10_000 } else { 200 + dice.roll(1_600) };
            let moment = called + dice.roll(length + 1);
            free_from[process as usize] = called + length + 1;
            Stretch { process, called, moment, answered: called + length }
        })
        .collect();
    stretches.sort_by_key(|stretch| stretch.moment);
    stretches
}
