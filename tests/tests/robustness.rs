//! A smoke of the whole: a minute of faults from a fresh seed, and every promise kept.

use std::time::Duration;

use tests::robustness::{Options, run};

#[test]
fn a_minute_of_faults_breaks_no_promise() {
    let seed = rand::random_range(0..1_000_000);
    println!("cargo run --package tests --bin robustness -- --seed {seed} --minutes 1");
    let report = run(&Options::of_seed(seed, Duration::from_secs(60)));
    println!("{report}");
    assert!(report.is_good(), "seed {seed}: {report}");
}
