//! Hurts a cluster of real processes for as long as you like, and says whether it kept its promises.
//!
//! ```sh
//! cargo build --workspace --bins
//! cargo run --package tests --bin robustness -- --minutes 60
//! cargo run --package tests --bin robustness -- --seed 7 --minutes 2 --plant no-dedup
//! ```
//!
//! The processes are the binaries beside this one. Exit code 0: every promise was kept; 1: one was broken, and the last line says
//! how to try again.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tests::robustness::{self, Options};

#[derive(Parser)]
#[command(about)]
struct Arguments {
    /// Decides which faults come when. Default: a fresh one.
    #[arg(long)]
    seed: Option<u64>,
    /// How long the cluster is hurt.
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Clients of each workload.
    #[arg(long, default_value_t = 3)]
    clients: u64,
    /// A fault planted in every process: a name of `planted/src/lib.rs`. Debug builds only.
    #[arg(long)]
    plant: Option<String>,
}

fn main() -> ExitCode {
    let Arguments { seed, minutes, clients, plant } = Arguments::parse();
    if let Some(name) = plant.as_deref().filter(|name| planted::by_name(name).is_none()) {
        let names: Vec<_> = planted::Fault::ALL.iter().map(|fault| fault.name()).collect();
        eprintln!("{name} is no fault; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let seed = seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    let mut again =
        format!("cargo run --package tests --bin robustness -- --seed {seed} --minutes {minutes} --clients {clients}");
    if let Some(name) = &plant {
        again.push_str(&format!(" --plant {name}"));
    }
    println!("{again}");
    let lasting = Duration::from_secs_f64(60.0 * minutes);
    let report = robustness::run(&Options { clients, plant, ..Options::of_seed(seed, lasting) });
    println!("{report}");
    if report.is_good() {
        return ExitCode::SUCCESS;
    }
    println!("to try again: {again}");
    ExitCode::FAILURE
}
