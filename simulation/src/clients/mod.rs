//! Clients: they work through the gateways with the transactions that Redis sessions use, and write down what they were
//! told.
//!
//! - [`registers`]: SET, GET, and compare-and-set by WATCH, on single keys, and clients that only read them;
//! - [`counters`]: INCRBY and GET, on single keys;
//! - [`lists`]: transactions over keys of several groups that APPEND unique tokens and read;
//! - [`bank`]: transfers over groups, and reads of all accounts;
//! - [`snapshots`]: all accounts at one timestamp of the oracle, read one after the other;
//! - [`databases`]: flushes and counts of a whole database, among writes and reads of its keys.
//!
//! Clients live in the process of their gateway and die with it; what they were waiting for then has an unknown outcome.
//! When all others rest, [`probe`] looks whether every key is served. An answer that no client should ever get, such as an error reply to a right command, is noted as [`Book::outrages`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use checkers::history::Outcome;
use commands::redis::{Invocation, Value, resolve, units};
use commands::{Command, Outcome as CommandOutcome};
use gateway::router::{Router, RouterError};
use gateway::txn::{Part, Transactions, TxnError, Work};
use keyspace::Version;
use parking_lot::Mutex;
use proto::wire::distribution_client::DistributionClient;
use rand_simulated::rngs::StdRng;
use rand_simulated::{RngExt, SeedableRng};
use tonic::transport::Channel;

use crate::ledger::Ledger;
use crate::trace::Trace;

pub mod bank;
pub mod counters;
pub mod databases;
pub mod lists;
pub mod probe;
pub mod registers;
pub mod snapshots;

/// Longest pause of a client between two operations, in milliseconds.
const LONGEST_PAUSE_MS: u64 = 120;

/// How long a client waits for an answer before it hangs up, in milliseconds: something between these.
const PATIENCE_MS: std::ops::Range<u64> = 300..4_000;

/// What all clients of a simulation were told.
#[derive(Default)]
pub struct Book {
    /// Of single registers, by key.
    pub registers: Ledger<registers::Call, registers::Reply>,
    /// Of single counters, by key.
    pub counters: Ledger<counters::Call, i64>,
    /// Of transactions over lists.
    pub lists: Ledger<lists::Steps, ()>,
    /// Of the bank.
    pub bank: Ledger<bank::Call, bank::Reply>,
    /// Answers that nobody should get.
    pub outrages: Mutex<Vec<String>>,
    /// Clients so far; also values that were never written before.
    drawn: AtomicU64,
}

impl Book {
    /// A number that was not drawn before.
    fn draw(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The clients of one gateway.
#[derive(Clone)]
pub struct Clients {
    book: Arc<Book>,
    resting: Arc<AtomicBool>,
    trace: Trace,
    seed: u64,
    /// Of each kind.
    count: usize,
    /// The prober has seen everything served.
    served: Arc<AtomicBool>,
}

impl Clients {
    /// `count` of each kind; they begin nothing any more once `resting` says so.
    pub fn new(book: Arc<Book>, resting: Arc<AtomicBool>, trace: Trace, seed: u64, count: usize) -> Self {
        Self { book, resting, trace, seed, count, served: Arc::default() }
    }

    /// Whether, since all rest, every key has been served through this gateway.
    pub fn were_served(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }

    /// Sets them to work through a gateway that has just started.
    pub fn work(&self, router: &Router, placement: &DistributionClient<Channel>) {
        let transactions = &Transactions::new(router.clone());
        for _ in 0..self.count {
            tokio::spawn(registers::work(self.hire(transactions)));
            tokio::spawn(counters::work(self.hire(transactions)));
            tokio::spawn(lists::work(self.hire(transactions)));
            tokio::spawn(bank::work(self.hire(transactions)));
        }
        tokio::spawn(registers::watch(self.hire(transactions)));
        tokio::spawn(snapshots::work(self.hire(transactions), router.clone(), placement.clone()));
        tokio::spawn(databases::work(self.hire(transactions)));
        tokio::spawn(probe::work(self.hire(transactions), self.served.clone()));
    }

    fn hire(&self, transactions: &Transactions) -> Client {
        let process = self.book.draw();
        let mut dice = StdRng::seed_from_u64(self.seed ^ process.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Client {
            transactions: transactions.clone(),
            book: self.book.clone(),
            resting: self.resting.clone(),
            trace: self.trace.clone(),
            process,
            connection: AtomicU64::new(process),
            patience: Duration::from_millis(dice.random_range(PATIENCE_MS)),
            dice,
        }
    }
}

/// One client: one thing after the other.
pub struct Client {
    transactions: Transactions,
    book: Arc<Book>,
    resting: Arc<AtomicBool>,
    trace: Trace,
    process: u64,
    /// Another one after it has hung up.
    connection: AtomicU64,
    patience: Duration,
    dice: StdRng,
}

impl Client {
    /// Waits for the next thing to do; false when there is none.
    async fn next(&mut self) -> bool {
        let pause = self.dice.random_range(0..LONGEST_PAUSE_MS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        !self.resting.load(Ordering::Relaxed)
    }

    /// Below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.dice.random_range(0..sides)
    }

    /// Runs command lines together; one value for each.
    async fn run(&self, lines: &[Vec<String>]) -> Outcome<Vec<Value>> {
        self.run_if(lines, Vec::new()).await
    }

    /// Runs command lines together if the observed units are as they were.
    async fn run_if(&self, lines: &[Vec<String>], observed: Vec<(Bytes, Option<Version>)>) -> Outcome<Vec<Value>> {
        let parts = lines.iter().map(|line| part(0, line)).collect();
        match self.transact(&format!("{lines:?}"), parts, observed).await {
            Outcome::Ok(outcomes) => self.values(lines, outcomes),
            Outcome::Failed => Outcome::Failed,
            Outcome::Unknown => Outcome::Unknown,
        }
    }

    /// Runs a transaction; `what` it is called when something is wrong with its answer.
    async fn transact(
        &self,
        what: &str,
        parts: Vec<Part>,
        observed: Vec<(Bytes, Option<Version>)>,
    ) -> Outcome<Vec<CommandOutcome>> {
        let (transactions, connection) = (self.transactions.clone(), self.connection.load(Ordering::Relaxed));
        let running = tokio::spawn(async move { transactions.run(connection, Work::new(parts, observed)).await });
        let ended = match tokio::time::timeout(self.patience, running).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(broken)) => std::panic::resume_unwind(broken.into_panic()),
            // The gateway goes on with it, as with anything else that nobody waits for any more.
            Err(_) => {
                self.connection.store(self.book.draw(), Ordering::Relaxed);
                Err(TxnError::Router(RouterError::OutcomeUnknown))
            }
        };
        self.trace.note((self.process, format!("{what} -> {ended:?}")));
        match ended {
            Ok(outcomes) => Outcome::Ok(outcomes),
            Err(TxnError::Router(RouterError::OutcomeUnknown)) => Outcome::Unknown,
            Err(TxnError::Router(RouterError::Protocol(error))) => {
                self.book.outrages.lock().push(format!("protocol error at {what}: {error}"));
                Outcome::Unknown
            }
            Err(TxnError::Router(RouterError::Rejected(error))) => {
                self.book.outrages.lock().push(format!("rejected {what}: {error}"));
                Outcome::Failed
            }
            Err(_) => Outcome::Failed,
        }
    }

    fn values(&self, lines: &[Vec<String>], outcomes: Vec<CommandOutcome>) -> Outcome<Vec<Value>> {
        let mut values = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            match outcome {
                CommandOutcome::Redis(value) if !value.is_error() => values.push(value),
                other => self.book.outrages.lock().push(format!("{lines:?} was answered {other:?}")),
            }
        }
        if values.len() == lines.len() { Outcome::Ok(values) } else { Outcome::Unknown }
    }
}

fn part(db: u8, line: &[String]) -> Part {
    let args: Vec<Bytes> = line.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let invocation = Invocation::new(db, args);
    let spec = resolve(&invocation.args).expect("clients know the commands");
    let units = units(spec, &invocation).expect("clients know the commands");
    Part { command: Command::Redis(invocation), units }
}

/// The lock unit of a key.
fn unit(key: &str) -> Bytes {
    keyspace::layout::redis_unit(0, key.as_bytes()).into()
}

/// A command line.
fn line<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// The number that a string value holds; 0 where there is none.
fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Null => Some(0),
        Value::Integer(number) => Some(*number),
        Value::Bulk(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    }
}
