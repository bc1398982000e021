//! The simulation over fresh seeds, and that a seed is a seed.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Duration;

use simulation::many::{self, Order};

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_simulation").into()
}

#[test]
fn two_runs_of_a_seed_are_the_same() {
    for seed in [1, 2] {
        let run = || many::run_one(&program(), seed, None).unwrap().unwrap_or_else(|failed| panic!("{failed:?}"));
        let (once, again) = (run(), run());
        assert_eq!(once, again, "seed {seed}");
        assert!(once.operations.values().all(|tally| tally.done > 0), "nothing happened: {once:?}");
    }
}

/// `ELASTICKV_SEEDS` says how many, `ELASTICKV_SEED` which is the first.
#[test]
fn fresh_seeds_find_nothing() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = variable("ELASTICKV_SEED").unwrap_or_else(many::fresh_seed);
    let count = variable("ELASTICKV_SEEDS").unwrap_or(100);
    let order = Order {
        program: program(),
        seeds: (first..first + count).collect(),
        jobs: 2,
        longest: Some(Duration::from_secs(480)),
        plant: None,
    };
    let outcome = many::run(&order, |_| {}).unwrap();
    println!("{} of {count} seeds from {first}\n{}", outcome.totals.runs, outcome.totals);
    for failure in &outcome.failures {
        println!("{}\n  {}", many::replay(failure.seed, None), failure.what.join("\n  "));
    }
    assert!(outcome.failures.is_empty());
}
