//! A client with one connection at a time, that goes to the next gateway when something breaks and never claims to know
//! more than it was told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use checkers::history::{Operation, Outcome};
use rand::rngs::StdRng;

use super::WINDOW;
use crate::resp::{Connection, Reply};

/// A gateway repeats for longer; a client that waits less leaves more behind it that is still under way.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// What a client was told of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Told<T> {
    /// It took effect, and this is the answer.
    Answer(T),
    /// It did not take effect and never will.
    Failed,
    /// Nothing that could be believed.
    Unknown,
}

impl<T> Told<T> {
    /// The answer as the history wants it; one that makes no sense there is the word of a broken store.
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Told<U> {
        match self {
            Told::Answer(answer) => Told::Answer(with(answer)),
            Told::Failed => Told::Failed,
            Told::Unknown => Told::Unknown,
        }
    }
}

/// How many operations came to what, over all clients of a workload.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answered.
    pub answered: AtomicU64,
    /// Certainly without effect.
    pub failed: AtomicU64,
    /// Of unknown outcome.
    pub unknown: AtomicU64,
    /// Of all of them, MULTI … EXEC.
    pub transactions: AtomicU64,
}

/// One client.
pub struct Client {
    number: u64,
    gateways: Vec<SocketAddr>,
    next_gateway: usize,
    connection: Option<Connection>,
    epoch: Instant,
    tally: Arc<Tally>,
    sent: u64,
    watching: bool,
    /// What the client does next is drawn from it.
    pub random: StdRng,
}

impl Client {
    /// The client of this number; `epoch` is the beginning of time for all clients of a run.
    pub fn new(number: u64, gateways: &[SocketAddr], epoch: Instant, tally: Arc<Tally>, random: StdRng) -> Self {
        let next_gateway = number as usize;
        let gateways = gateways.to_vec();
        Self { number, gateways, next_gateway, connection: None, epoch, tally, sent: 0, watching: false, random }
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Nanoseconds since the epoch.
    pub fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The number of the window that it is now.
    pub fn window(&self) -> u64 {
        self.epoch.elapsed().as_secs() / WINDOW.as_secs()
    }

    /// A number that no client has used before. Never 0.
    pub fn unique(&mut self) -> u64 {
        self.sent += 1;
        (self.number + 1) << 40 | self.sent
    }

    /// Gives up its connection, which may have broken since it was used.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Sends one command and waits for its answer.
    pub fn ask(&mut self, command: &[String]) -> Told<Reply> {
        self.exchange(std::slice::from_ref(&command)).map(|mut replies| replies.remove(0))
    }

    /// WATCHes keys; the MULTI that follows goes over the same connection or nowhere.
    pub fn watch(&mut self, keys: &[&str]) -> Option<()> {
        let command: Vec<String> = ["WATCH"].iter().chain(keys).map(|&word| word.to_owned()).collect();
        self.watching = matches!(self.ask(&command), Told::Answer(_));
        self.watching.then_some(())
    }

    /// Sends commands as one MULTI … EXEC, and gives the replies that EXEC has gathered. When keys were watched and the
    /// connection has been lost since, nothing is sent: on a fresh one nothing would be compared.
    pub fn transact(&mut self, commands: &[Vec<String>]) -> Told<Vec<Reply>> {
        self.tally.transactions.fetch_add(1, Ordering::Relaxed);
        if std::mem::take(&mut self.watching) && self.connection.is_none() {
            return Told::Failed;
        }
        let (multi, exec) = (words("MULTI"), words("EXEC"));
        let mut all: Vec<&[String]> = vec![&multi];
        all.extend(commands.iter().map(Vec::as_slice));
        all.push(&exec);
        // The last reply, EXEC's, says what came of all.
        match self.exchange(&all) {
            Told::Answer(mut replies) => match replies.pop() {
                Some(Reply::Array(gathered)) if gathered.len() == commands.len() => Told::Answer(gathered),
                // A watched key has changed.
                Some(Reply::Nil) => Told::Failed,
                _ => Told::Unknown,
            },
            Told::Failed => Told::Failed,
            Told::Unknown => Told::Unknown,
        }
    }

    /// One operation for the history: what was asked since `called`, and what came of it.
    pub fn operation<A, R>(&self, called: u64, action: A, told: Told<R>) -> Operation<A, R> {
        let operation = match told {
            Told::Answer(answer) => Operation::ok(self.number, called..=self.now(), action, answer),
            Told::Failed => Operation::failed(self.number, called..=self.now(), action),
            Told::Unknown => Operation::unknown(self.number, called.., action),
        };
        let tally = match operation.outcome() {
            Outcome::Ok(_) => &self.tally.answered,
            Outcome::Failed => &self.tally.failed,
            Outcome::Unknown => &self.tally.unknown,
        };
        tally.fetch_add(1, Ordering::Relaxed);
        operation
    }

    /// Sends commands and takes the answer of each. The last one decides what is known of all.
    fn exchange(&mut self, commands: &[&[String]]) -> Told<Vec<Reply>> {
        let Some(mut connection) = self.connection.take().or_else(|| self.connect()) else { return Told::Failed };
        commands.iter().for_each(|command| connection.queue(command));
        let replies: Result<Vec<Reply>, _> =
            connection.flush().and_then(|()| commands.iter().map(|_| connection.receive()).collect());
        // A broken connection is not used again.
        let Ok(replies) = replies else { return Told::Unknown };
        match replies.last().and_then(Reply::error) {
            None => {
                self.connection = Some(connection);
                Told::Answer(replies)
            }
            // What the gateway calls not executed must not have been; the judges take it at its word. An error may leave
            // the session in the middle of a MULTI: a fresh connection is not.
            Some(sentence) if sentence.starts_with("TRYAGAIN ") || sentence.starts_with("EXECABORT ") => Told::Failed,
            Some(_) => Told::Unknown,
        }
    }

    fn connect(&mut self) -> Option<Connection> {
        let gateway = self.gateways[self.next_gateway % self.gateways.len()];
        self.next_gateway += 1;
        let connection = Connection::open(gateway, CONNECT_TIMEOUT).and_then(|connection| {
            connection.handle()?.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            Ok(connection)
        });
        if connection.is_err() {
            std::thread::sleep(RECONNECT_PAUSE);
        }
        connection.ok()
    }

    /// Takes steps until told to stop.
    pub fn work(&mut self, workload: &dyn super::Workload, pause: Duration, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            workload.step(self);
            std::thread::sleep(pause);
        }
    }
}

/// The words of a line, as a command.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// A number, as bulk or integer; 0 for nil. What is no number was written by nobody and becomes one that nobody writes, for
/// the judge to find.
pub fn number(reply: &Reply) -> i64 {
    match reply {
        Reply::Nil => 0,
        Reply::Integer(number) => *number,
        other => other.text().and_then(|text| text.parse().ok()).unwrap_or(i64::MIN),
    }
}

/// The items of an array, or none.
pub fn items(reply: Reply) -> Vec<Reply> {
    if let Reply::Array(items) = reply { items } else { Vec::new() }
}
