//! Many seeds: a process for each, some at a time.
//!
//! A program with the simulation in it has no clock outside of one: `mad-turmoil` answers the standard library's calls in
//! every process that it is linked into. How long the seeds take is asked of the kernel directly.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use planted::Fault;
use rustix::time::{ClockId, clock_gettime};

use crate::report::{Report, Totals};

/// Lines of a dead process's last words that are shown.
const LAST_WORDS: usize = 30;

/// What to run.
#[derive(Clone, Debug)]
pub struct Order {
    /// The program that runs one seed: `simulation one --seed N`.
    pub program: PathBuf,
    /// Which seeds.
    pub seeds: Vec<u64>,
    /// How many at a time.
    pub jobs: usize,
    /// Nothing is begun any more behind this time.
    pub longest: Option<Duration>,
    /// A deliberate fault.
    pub plant: Option<Fault>,
}

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// How.
    pub what: Vec<String>,
}

/// What came of it all.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Over all seeds that ran.
    pub totals: Totals,
    /// Those that failed.
    pub failures: Vec<Failure>,
}

/// A seed that hardly anybody has run before, with as many behind it as anybody wants.
pub fn fresh_seed() -> u64 {
    u64::from(rand_simulated::random::<u32>()) << 16
}

fn clock_s() -> i64 {
    clock_gettime(ClockId::Monotonic).tv_sec
}

/// The command that replays a seed.
pub fn replay(seed: u64, plant: Option<Fault>) -> String {
    let plant = plant.map_or_else(String::new, |plant| format!(" --plant {}", plant.name()));
    format!("cargo run --package simulation -- run --seed {seed}{plant}")
}

/// Runs them; `each` hears of every seed as it ends.
///
/// # Errors
/// If the program cannot be started.
pub fn run(order: &Order, mut each: impl FnMut(&Result<Report, Failure>)) -> io::Result<Outcome> {
    let begun_s = clock_s();
    let waiting = Mutex::new(VecDeque::from(order.seeds.clone()));
    let (done, ended) = mpsc::channel();
    let mut outcome = Outcome::default();
    std::thread::scope(|scope| {
        for _ in 0..order.jobs.max(1) {
            let (done, waiting) = (done.clone(), &waiting);
            scope.spawn(move || {
                while order.longest.is_none_or(|longest| clock_s() - begun_s < longest.as_secs().cast_signed()) {
                    let Some(seed) = waiting.lock().pop_front() else { return };
                    // Whoever counts is there until the last one has ended.
                    let _ = done.send(run_one(&order.program, seed, order.plant));
                }
            });
        }
        drop(done);
        for ended in ended {
            let ended = ended?;
            each(&ended);
            match ended {
                Ok(report) => outcome.totals.add(&report),
                Err(failure) => outcome.failures.push(failure),
            }
        }
        Ok(outcome)
    })
}

/// A process for one seed. The outer error: it cannot be started.
pub fn run_one(program: &Path, seed: u64, plant: Option<Fault>) -> io::Result<Result<Report, Failure>> {
    let mut command = Command::new(program);
    command.args(["one", "--seed", &seed.to_string()]).stdin(Stdio::null());
    if let Some(plant) = plant {
        command.env(planted::VARIABLE, plant.name());
    }
    Ok(read(seed, &command.output()?))
}

/// The first of the seeds that catches a deliberate fault.
///
/// # Errors
/// If the program cannot be started.
pub fn first_caught(program: &Path, fault: Fault, seeds: impl IntoIterator<Item = u64>) -> io::Result<Option<Failure>> {
    for seed in seeds {
        if let Err(failure) = run_one(program, seed, Some(fault))? {
            return Ok(Some(failure));
        }
    }
    Ok(None)
}

fn read(seed: u64, output: &Output) -> Result<Report, Failure> {
    match serde_json::from_slice::<Report>(&output.stdout) {
        Ok(report) if report.violations.is_empty() => Ok(report),
        Ok(report) => Err(Failure { seed, what: report.violations }),
        Err(_) => {
            let words = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<&str> = words.lines().collect();
            let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n");
            Err(Failure { seed, what: vec![format!("the process ended with {}:\n{last}", output.status)] })
        }
    }
}
