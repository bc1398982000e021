//! Clients at work on a cluster, and the record of what they were told.
//!
//! Each client is a thread with one connection at a time. It mixes
//!
//! * *inserts* of keys that nobody else uses, so that every acknowledged one can be looked up afterwards,
//! * reads and writes of a few *registers* that all clients share, kept as histories for [`checkers::linearizable`],
//! * `INCR` of one *counter*: what was acknowledged ≤ its value ≤ what was sent, or something ran twice or got lost.
//!
//! A client whose connection breaks goes to the next gateway; what it had sent counts as unknown. So does a write that
//! was answered with an error: the client cannot tell. Times are measured at the client, so the longest silence of a
//! client is what an application would have seen.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use checkers::history::Operation;
use checkers::linearizable::register::{Action, Answer, RegisterOperation};
use checkers::linearizable::{check_each, check_register};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::resp::{Connection, Reply};

/// Longer than a gateway repeats a request, so that its answer is seen.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
/// Between two attempts to connect; a gateway that is away does not make a client spin.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
/// Answers that are waited for at once when acknowledged writes are looked up.
const LOOKUP_BATCH: usize = 500;

/// How much load.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Put before every key, so that loads do not meet.
    pub name: String,
    /// Threads, each with a connection.
    pub clients: usize,
    /// Shared registers.
    pub registers: usize,
    /// Pause of a client between two commands.
    pub pause: Duration,
    /// Makes the mix repeatable.
    pub seed: u64,
}

impl LoadOptions {
    /// Twelve clients and eight registers, with a pause that leaves the machine some air.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), clients: 12, registers: 8, pause: Duration::from_millis(2), seed: 1 }
    }
}

/// Running load.
pub struct Load {
    options: LoadOptions,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    /// A second handle of each client's connection, to cut it from outside.
    connections: Vec<Arc<Mutex<Option<TcpStream>>>>,
    threads: Vec<JoinHandle<ClientRecord>>,
}

impl Load {
    /// Starts the clients, spread over the gateways.
    pub fn start(gateways: &[SocketAddr], options: LoadOptions) -> Self {
        assert!(!gateways.is_empty(), "load needs a gateway");
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let epoch = Instant::now();
        let connections: Vec<Arc<Mutex<Option<TcpStream>>>> = (0..options.clients).map(|_| Arc::default()).collect();
        let threads = (0..options.clients)
            .map(|number| {
                let mut client = Client {
                    number,
                    options: options.clone(),
                    gateways: gateways.to_vec(),
                    next_gateway: number,
                    connection: None,
                    cut: connections[number].clone(),
                    epoch,
                    random: StdRng::seed_from_u64(options.seed.wrapping_mul(1000) + number as u64),
                    sent_values: 0,
                    stop: stop.clone(),
                    acknowledged: acknowledged.clone(),
                    record: ClientRecord::default(),
                };
                std::thread::spawn(move || {
                    client.run();
                    client.record
                })
            })
            .collect();
        Self { options, stop, acknowledged, connections, threads }
    }

    /// Commands answered without an error so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until `more` further commands have been answered.
    pub fn wait_for(&self, more: u64, timeout: Duration) {
        let (from, begin) = (self.acknowledged(), Instant::now());
        while self.acknowledged() < from + more {
            assert!(begin.elapsed() < timeout, "the load got fewer than {more} answers in {timeout:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the load after the commands under way and gives its record.
    pub fn stop(self) -> Record {
        self.stop.store(true, Ordering::Relaxed);
        self.collect()
    }

    /// Ends the load without waiting for answers: the commands under way count as unknown.
    pub fn abandon(self) -> Record {
        self.stop.store(true, Ordering::Relaxed);
        for connection in self.connections.iter().filter_map(|slot| slot.lock().ok()?.take()) {
            // It may be closed already, which is just as good.
            drop(connection.shutdown(Shutdown::Both));
        }
        self.collect()
    }

    fn collect(self) -> Record {
        let mut record = Record {
            name: self.options.name.clone(),
            acknowledged: 0,
            inserts: Vec::new(),
            registers: BTreeMap::new(),
            counter_acknowledged: 0,
            counter_sent: 0,
            errors: Vec::new(),
            longest_silence: Duration::ZERO,
        };
        for thread in self.threads {
            let client = thread.join().expect("a client thread does not panic");
            record.acknowledged += client.acknowledged;
            record.inserts.extend(client.inserts);
            for (register, operations) in client.registers {
                record.registers.entry(register).or_default().extend(operations);
            }
            record.counter_acknowledged += client.counter_acknowledged;
            record.counter_sent += client.counter_sent;
            record.errors.extend(client.errors);
            record.longest_silence = record.longest_silence.max(client.longest_silence);
        }
        record.errors.sort_by_key(|error| error.0);
        record
    }
}

/// What all clients of a load were told.
#[derive(Debug)]
pub struct Record {
    name: String,
    /// Commands answered without an error.
    pub acknowledged: u64,
    /// Acknowledged inserts: key and value.
    pub inserts: Vec<(String, String)>,
    /// Histories of the registers; 0 is "no such key".
    pub registers: BTreeMap<String, Vec<RegisterOperation<u64>>>,
    /// INCRs that were answered.
    pub counter_acknowledged: u64,
    /// INCRs that were sent.
    pub counter_sent: u64,
    /// Error answers and broken connections, with the time since the load began.
    pub errors: Vec<(Duration, String)>,
    /// The longest time that any client waited from one good answer to the next.
    pub longest_silence: Duration,
}

impl Record {
    /// Looks up every acknowledged insert; names those that are gone or differ.
    pub fn lost_writes(&self, gateway: SocketAddr) -> io::Result<Vec<String>> {
        let mut connection = Connection::open(gateway, ANSWER_TIMEOUT)?;
        let mut lost = Vec::new();
        for batch in self.inserts.chunks(LOOKUP_BATCH) {
            batch.iter().for_each(|(key, _)| connection.queue(&["GET", key]));
            connection.flush()?;
            for (key, value) in batch {
                let reply = connection.receive()?;
                if reply.text().as_ref() != Some(value) {
                    lost.push(format!("{key}: acknowledged {value:?}, found {reply:?}"));
                }
            }
        }
        Ok(lost)
    }

    /// Checks the history of every register.
    pub fn check_registers(&self) -> Result<(), String> {
        check_each(&self.registers, |history| check_register(&0, history))
            .map_err(|(register, refusal)| format!("{register}: {refusal}"))
    }

    /// Checks the counter's bounds.
    pub fn check_counter(&self, gateway: SocketAddr) -> Result<(), String> {
        let mut connection = Connection::open(gateway, ANSWER_TIMEOUT).map_err(|error| error.to_string())?;
        let reply = connection.call(&["GET", &counter_key(&self.name)]).map_err(|error| error.to_string())?;
        let value: u64 = reply.text().and_then(|text| text.parse().ok()).unwrap_or(0);
        if (self.counter_acknowledged..=self.counter_sent).contains(&value) {
            Ok(())
        } else {
            let (least, most) = (self.counter_acknowledged, self.counter_sent);
            Err(format!("the counter is {value}; {least} increments were acknowledged and {most} sent"))
        }
    }

    /// Asserts that nothing acknowledged is gone and everything was read as it should be.
    pub fn assert_nothing_lost(&self, gateway: SocketAddr) {
        let lost = self.lost_writes(gateway).expect("a gateway that serves answers the look-up");
        assert!(lost.is_empty(), "{} of {} acknowledged writes are lost: {:?}", lost.len(), self.inserts.len(), lost);
        self.check_counter(gateway).unwrap_or_else(|reason| panic!("{reason}"));
        self.check_registers().unwrap_or_else(|reason| panic!("{reason}"));
    }
}

fn counter_key(name: &str) -> String {
    format!("{name}:counter")
}

#[derive(Default)]
struct ClientRecord {
    acknowledged: u64,
    inserts: Vec<(String, String)>,
    registers: BTreeMap<String, Vec<RegisterOperation<u64>>>,
    counter_acknowledged: u64,
    counter_sent: u64,
    errors: Vec<(Duration, String)>,
    longest_silence: Duration,
}

struct Client {
    number: usize,
    options: LoadOptions,
    gateways: Vec<SocketAddr>,
    next_gateway: usize,
    connection: Option<Connection>,
    cut: Arc<Mutex<Option<TcpStream>>>,
    epoch: Instant,
    random: StdRng,
    sent_values: u64,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    record: ClientRecord,
}

impl Client {
    fn run(&mut self) {
        let mut last_good = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            if self.step() {
                self.record.longest_silence = self.record.longest_silence.max(last_good.elapsed());
                last_good = Instant::now();
                self.record.acknowledged += 1;
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            std::thread::sleep(self.options.pause);
        }
        self.record.longest_silence = self.record.longest_silence.max(last_good.elapsed());
    }

    /// One command; true when it was answered without an error.
    fn step(&mut self) -> bool {
        self.sent_values += 1;
        let name = self.options.name.clone();
        match self.random.random_range(0..10) {
            0..=3 => {
                let (key, value) =
                    (format!("{name}:{}:{}", self.number, self.sent_values), self.sent_values.to_string());
                let good = self.ask(&["SET", &key, &value]).is_some();
                if good {
                    self.record.inserts.push((key, value));
                }
                good
            }
            4..=6 => {
                let register = self.some_register();
                // Nobody else writes this value, and none is 0.
                let value = (self.number as u64 + 1) << 40 | self.sent_values;
                let called = self.now();
                let good = self.ask(&["SET", &register, &value.to_string()]).is_some();
                let (process, action) = (self.number as u64, Action::Write(value));
                let operation = match good {
                    true => Operation::ok(process, called..=self.now(), action, Answer::Done),
                    false => Operation::unknown(process, called.., action),
                };
                self.note(register, operation);
                good
            }
            7..=8 => {
                let register = self.some_register();
                let called = self.now();
                let Some(reply) = self.ask(&["GET", &register]) else { return false };
                let value = match &reply {
                    Reply::Nil => 0,
                    // What is no number was written by nobody, which the checker then finds.
                    other => other.text().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX),
                };
                let span = called..=self.now();
                self.note(register, Operation::ok(self.number as u64, span, Action::Read, Answer::Value(value)));
                true
            }
            _ => {
                self.record.counter_sent += 1;
                let good = self.ask(&["INCR", &counter_key(&name)]).is_some();
                self.record.counter_acknowledged += u64::from(good);
                good
            }
        }
    }

    fn some_register(&mut self) -> String {
        format!("{}:register:{}", self.options.name, self.random.random_range(0..self.options.registers))
    }

    fn note(&mut self, register: String, operation: RegisterOperation<u64>) {
        self.record.registers.entry(register).or_default().push(operation);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Sends a command; none when the connection broke or the answer is an error.
    fn ask(&mut self, arguments: &[&str]) -> Option<Reply> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        match connection.call(arguments) {
            Ok(Reply::Error(sentence)) => {
                self.connection = Some(connection);
                self.fault(format!("{}: {sentence}", arguments[0]));
                None
            }
            Ok(reply) => {
                self.connection = Some(connection);
                Some(reply)
            }
            Err(error) => {
                self.fault(format!("{}: {error}", arguments[0]));
                None
            }
        }
    }

    fn connect(&mut self) -> Option<Connection> {
        let gateway = self.gateways[self.next_gateway % self.gateways.len()];
        self.next_gateway += 1;
        match Connection::open(gateway, ANSWER_TIMEOUT) {
            Ok(connection) => {
                *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = connection.handle().ok();
                Some(connection)
            }
            Err(error) => {
                self.fault(format!("connect {gateway}: {error}"));
                std::thread::sleep(RECONNECT_PAUSE);
                None
            }
        }
    }

    fn fault(&mut self, what: String) {
        self.record.errors.push((self.epoch.elapsed(), what));
    }
}
