//! One seed, from the first machine to the verdict.
//!
//! 1. The seed says how many groups there are, how busy the clients are, and what goes wrong when ([`Plan`]).
//! 2. *Hurt*: placement, storage nodes and gateways start, clients work, an operator splits ranges, faults happen.
//! 3. *Heal*: every fault ends, every process runs. Clients go on for a while, then rest.
//! 4. *Live*: within [`LIVENESS_MS`] of the healing every key must be served through every gateway, replicas must agree,
//!    and no lock may be left.
//! 5. The histories are judged, and the bytes of all replicas compared.
//!
//! All of it happens on one thread. Time is the simulation's, and so is randomness: what the product draws, the hashing of
//! its maps, and its clocks come from the same seed, because `mad-turmoil` stands where the operating system's calls would.
//! That holds for a whole process, so a process runs one seed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use placement::catalog::memory::MemoryCatalog;
use rand_simulated::rngs::StdRng;
use rand_simulated::{RngExt, SeedableRng};
use storage::engine::memory::MemoryEngine;
use turmoil::{Builder, Sim};

use crate::clients::{Book, Clients};
use crate::faults::{Cast, Host, Plan, QUICK, Step};
use crate::links::Links;
use crate::machines::{GatewayMachine, PlacementMachine, StorageMachine, Tuning};
use crate::network::Wires;
use crate::operator::Operator;
use crate::report::Report;
use crate::trace::Trace;
use crate::verdict;
use crate::watch::Watcher;

/// Within this time of the healing everything serves and no locks are left.
const LIVENESS_MS: u64 = 30_000;
/// Clients go on this long behind the healing.
const CALM_MS: u64 = 4_000;
/// What is at rest stays so for this long.
const STILL_MS: u64 = 1_500;
/// Between two looks of the watcher.
const LOOK_MS: u64 = 50;
/// Of this many messages one vanishes on a lossy link.
const LOSS: f64 = 1.0 / 300.0;
/// Messages that wait for a process to read them, a connection.
const SOCKET_BUFFER: usize = 1 << 16;

const PLACEMENT: &str = "placement";
const OPERATOR: &str = "operator";

/// Runs a seed. `dir`: an empty directory; nothing else may run in this process.
pub fn run(seed: u64, dir: &Path) -> Report {
    mad_turmoil::rand::set_rng(StdRng::seed_from_u64(seed));
    let _clocks = mad_turmoil::time::SimClocksGuard::init();
    let mut world = World::build(seed, dir);
    let ended = world.run();
    world.report(seed, ended)
}

/// Everything of one run.
struct World<'a> {
    sim: Sim<'a>,
    plan: Plan,
    cast: Cast,
    links: Links,
    machines: BTreeMap<Host, (usize, StorageMachine)>,
    clients: Vec<Clients>,
    watcher: Watcher,
    book: Arc<Book>,
    trace: Trace,
    resting: Arc<AtomicBool>,
    splits: Arc<AtomicU64>,
    faults: BTreeMap<&'static str, u64>,
    heal_at_ms: u64,
}

impl World<'_> {
    fn build(seed: u64, dir: &Path) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let groups = dice.random_range(1..=4);
        let busy = dice.random_range(1..=2);
        let hurt_from_ms = if dice.random_bool(0.1) { 500 } else { 7_000 };
        let heal_at_ms = 7_000 + dice.random_range(8_000..25_000);
        let cast = Cast {
            storage: (1..=3).map(|node| format!("storage-{node}")).collect(),
            gateways: (1..=2).map(|gateway| format!("gateway-{gateway}")).collect(),
            placement: PLACEMENT.to_owned(),
        };
        let plan = Plan::draw(&mut dice, &cast, hurt_from_ms, heal_at_ms);

        let mut sim = Builder::new()
            .rng_seed(dice.random())
            .tick_duration(Duration::from_millis(1))
            .simulation_duration(Duration::from_secs(3_600))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(QUICK)
            .tcp_capacity(SOCKET_BUFFER)
            .enable_random_order()
            .build();
        let (trace, book) = (Trace::default(), Arc::new(Book::default()));
        let (resting, splits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let wires = Wires::new(trace.clone());
        let placement_ip = sim.lookup(PLACEMENT);

        let placement = PlacementMachine {
            ip: placement_ip,
            groups,
            nodes: cast.storage.len(),
            catalog: Arc::new(MemoryCatalog::new()),
            wires: wires.clone(),
        };
        sim.host(PLACEMENT, move || placement.clone().run());
        let tuning = Tuning::draw(&mut dice);
        let mut machines = BTreeMap::new();
        for (index, host) in cast.storage.iter().enumerate() {
            let machine = StorageMachine {
                ip: sim.lookup(host.as_str()),
                placement: placement_ip,
                data: MemoryEngine::new(),
                log: MemoryEngine::new(),
                dir: dir.join(host),
                tuning,
                disk_seed: dice.random(),
                wires: wires.clone(),
            };
            machines.insert(host.clone(), (index, machine.clone()));
            sim.host(host.as_str(), move || machine.clone().run());
        }
        let mut clients = Vec::new();
        for host in &cast.gateways {
            let of_gateway = Clients::new(book.clone(), resting.clone(), trace.clone(), dice.random(), busy);
            clients.push(of_gateway.clone());
            let machine = GatewayMachine {
                placement: placement_ip,
                unknown_timeout: Duration::from_millis(dice.random_range(500..10_000)),
                clients: of_gateway,
                wires: wires.clone(),
            };
            sim.host(host.as_str(), move || machine.clone().run());
        }
        let operator = Operator {
            placement: placement_ip,
            seed: dice.random(),
            longest_pause_ms: dice.random_range(1_000..10_000),
            resting: resting.clone(),
            splits: splits.clone(),
            wires,
        };
        sim.host(OPERATOR, move || operator.clone().run());

        let engines = machines.values().map(|(_, machine)| machine.data.clone()).collect();
        let watcher = Watcher::new(engines, groups);
        let (links, faults) = (Links::default(), BTreeMap::new());
        Self { sim, plan, cast, links, machines, clients, watcher, book, trace, resting, splits, faults, heal_at_ms }
    }

    /// The whole simulation. Ok: everything served again in time.
    fn run(&mut self) -> Result<(), String> {
        let mut still_since_ms = None;
        loop {
            let now_ms = u64::try_from(self.sim.elapsed().as_millis()).unwrap_or(u64::MAX);
            if now_ms < self.heal_at_ms {
                for step in self.plan.steps.remove(&now_ms).unwrap_or_default() {
                    self.take(step);
                }
            } else if now_ms == self.heal_at_ms {
                self.heal();
            } else if now_ms == self.heal_at_ms + CALM_MS {
                self.resting.store(true, Ordering::Relaxed);
            }
            self.sim.step().map_err(|error| format!("a process ended by itself: {error}"))?;
            if now_ms.is_multiple_of(LOOK_MS) {
                self.watcher.look()?;
                if now_ms > self.heal_at_ms + CALM_MS {
                    match self.unrest() {
                        None => {
                            let since = *still_since_ms.get_or_insert(now_ms);
                            if now_ms - since >= STILL_MS {
                                return self.watcher.settle();
                            }
                        }
                        Some(why) if now_ms >= self.heal_at_ms + LIVENESS_MS => {
                            return Err(format!("liveness: {LIVENESS_MS} ms behind the healing: {why}"));
                        }
                        Some(_) => still_since_ms = None,
                    }
                }
            }
        }
    }

    /// What is not yet as it should be.
    fn unrest(&mut self) -> Option<String> {
        let waiting = self.clients.iter().position(|clients| !clients.were_served());
        match waiting {
            Some(gateway) => Some(format!("not every key is served through {}", self.cast.gateways[gateway])),
            None => self.watcher.at_rest().err(),
        }
    }

    fn take(&mut self, step: Step) {
        if let Some(kind) = step.begins() {
            *self.faults.entry(kind).or_default() += 1;
        }
        self.trace.note(step.to_string());
        tracing::info!(at = ?self.sim.elapsed(), %step, "fault");
        let all = self.cast.all();
        match step {
            Step::Kill { host, power } => self.kill(&host, power),
            Step::Start(host) => self.start(&host),
            Step::Cut(a, b) => {
                self.links.cut(&self.sim, &a, &b);
                self.links.cut(&self.sim, &b, &a);
            }
            Step::Mend(a, b) => {
                self.links.mend(&self.sim, &a, &b);
                self.links.mend(&self.sim, &b, &a);
            }
            Step::CutOneWay { from, to } => self.links.cut(&self.sim, &from, &to),
            Step::MendOneWay { from, to } => self.links.mend(&self.sim, &from, &to),
            Step::Freeze(host) => self.links.freeze(&self.sim, &host, &all),
            Step::Thaw(host) => self.links.thaw(&self.sim, &host, &all),
            Step::Lose(a, b) => self.sim.set_link_fail_rate(a, b, LOSS),
            Step::Keep(a, b) => self.sim.set_link_fail_rate(a, b, 0.0),
            Step::Slow(a, b, longest) => self.sim.set_link_max_message_latency(a, b, longest),
        }
    }

    fn kill(&mut self, host: &Host, power: bool) {
        self.sim.crash(host.as_str());
        if let Some((index, machine)) = self.machines.get(host).filter(|_| power) {
            machine.lose_power();
            self.watcher.forget(*index);
        }
    }

    fn start(&mut self, host: &Host) {
        if !self.sim.is_host_running(host.as_str()) {
            self.sim.bounce(host.as_str());
        }
    }

    fn heal(&mut self) {
        let all = self.cast.all();
        self.links.heal(&self.sim, &all);
        for (position, a) in all.iter().enumerate() {
            for b in &all[..position] {
                self.sim.set_link_fail_rate(a.as_str(), b.as_str(), 0.0);
                self.sim.set_link_max_message_latency(a.as_str(), b.as_str(), QUICK);
            }
            self.start(a);
        }
    }

    fn report(self, seed: u64, ended: Result<(), String>) -> Report {
        let verdict = verdict::judge(&self.book);
        let (events, digest) = self.trace.digest();
        let mut violations: Vec<String> = ended.err().into_iter().collect();
        violations.extend(verdict.violations);
        let tally = |name: &str, tally| (name.to_owned(), tally);
        Report {
            seed,
            simulated_ms: u64::try_from(self.sim.elapsed().as_millis()).unwrap_or(u64::MAX),
            events,
            digest,
            operations: BTreeMap::from([
                tally("registers", self.book.registers.tally()),
                tally("counters", self.book.counters.tally()),
                tally("lists", self.book.lists.tally()),
                tally("bank", self.book.bank.tally()),
            ]),
            faults: self.faults.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect(),
            splits: self.splits.load(Ordering::Relaxed),
            undecided: verdict.undecided,
            violations,
        }
    }
}
