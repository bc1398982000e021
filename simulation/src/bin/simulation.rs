//! `simulation run`: the cluster in a simulation, over one seed or many.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::{Parser, Subcommand};
use parking_lot::Mutex;
use planted::Fault;
use simulation::many::{self, Failure, Order};
use simulation::report::{Report, Totals};
use tracing_subscriber::EnvFilter;

/// Runs Elastickv in a deterministic simulation.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs seeds, a process each.
    Run {
        /// This seed alone.
        #[arg(long, conflicts_with_all = ["seeds", "from"])]
        seed: Option<u64>,
        /// So many seeds.
        #[arg(long, default_value_t = 1)]
        seeds: u64,
        /// The first of them; without it, seeds that nobody has run before.
        #[arg(long)]
        from: Option<u64>,
        /// So many at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Begin nothing any more after so many minutes.
        #[arg(long)]
        minutes: Option<u64>,
        /// A deliberate fault that the runs must find, by its name in `planted/src/lib.rs`.
        #[arg(long, value_parser = fault)]
        plant: Option<Fault>,
    },
    /// Looks for the first seed that catches each deliberate fault.
    Faults {
        /// Give a fault up after so many seeds.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// The first of them.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// So many faults at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// These alone.
        #[arg(long, value_parser = fault)]
        only: Vec<Fault>,
    },
    /// Runs one seed in this process and prints its report as JSON. ELASTICKV_LOG shows what happens.
    One {
        /// Which.
        #[arg(long)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Task::One { seed } => one(seed),
        Task::Run { seed, seeds, from, jobs, minutes, plant } => {
            let first = seed.or(from).unwrap_or_else(many::fresh_seed);
            let program = std::env::current_exe().expect("this program is somewhere");
            let longest = minutes.map(|minutes| Duration::from_secs(minutes * 60));
            let seeds = (first..=u64::MAX).take(usize::try_from(seeds).unwrap_or(usize::MAX)).collect();
            run(&Order { program, seeds, jobs, longest, plant })
        }
        Task::Faults { seeds, from, jobs, only } => {
            let faults = if only.is_empty() { Fault::ALL.to_vec() } else { only };
            find_faults(&faults, from..from.saturating_add(seeds), jobs)
        }
    }
}

fn run(order: &Order) -> ExitCode {
    let mut total = Totals::default();
    let tell = |ended: &Result<Report, Failure>| match ended {
        Ok(report) => {
            total.add(report);
            if order.seeds.len() == 1 {
                println!("{} events, digest {:016x}", report.events, report.digest);
            } else if total.runs.is_multiple_of(20) {
                eprintln!("{} seeds", total.runs);
            }
        }
        Err(Failure { seed, what }) => {
            println!("seed {seed} FAILED; again: {}", many::replay(*seed, order.plant));
            for what in what {
                println!("  {}", what.replace('\n', "\n  "));
            }
        }
    };
    match many::run(order, tell) {
        Ok(outcome) => {
            println!("{}", outcome.totals);
            println!("{} failed", outcome.failures.len());
            if outcome.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("cannot run seeds: {error}");
            ExitCode::FAILURE
        }
    }
}

fn fault(name: &str) -> Result<Fault, String> {
    let names = || Fault::ALL.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(", ");
    planted::by_name(name).ok_or_else(|| format!("no such fault; there are {}", names()))
}

/// Prints a line for each fault: the seed that catches it, and how.
fn find_faults(faults: &[Fault], seeds: Range<u64>, jobs: usize) -> ExitCode {
    let program = std::env::current_exe().expect("this program is somewhere");
    let (waiting, missed) = (Mutex::new(faults.iter()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let Some(fault) = waiting.lock().next().copied() else { return };
                    match many::first_caught(&program, fault, seeds.clone()) {
                        Ok(Some(Failure { seed, what })) => {
                            let first = what.first().map_or("", |what| what.lines().next_back().unwrap_or_default());
                            println!("{} | seed {seed} | {first}", fault.name());
                        }
                        Ok(None) => {
                            missed.fetch_add(1, Ordering::Relaxed);
                            println!("{} | not caught by seeds {seeds:?}", fault.name());
                        }
                        Err(error) => {
                            missed.fetch_add(1, Ordering::Relaxed);
                            println!("{} | cannot run: {error}", fault.name());
                        }
                    }
                }
            });
        }
    });
    if missed.into_inner() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64) -> ExitCode {
    // Before the clocks are the simulation's.
    let dir = match tempfile::tempdir() {
        Ok(dir) => dir,
        Err(error) => {
            eprintln!("no directory for the simulated machines: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Ok(filter) = EnvFilter::try_from_env("ELASTICKV_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    let report = simulation::run::run(seed, dir.path());
    match serde_json::to_string(&report) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("the report cannot be written: {error}"),
    }
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
