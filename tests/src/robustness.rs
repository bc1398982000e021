//! A whole run: a cluster, clients of every workload, faults from a seed, then peace, and the verdict.
//!
//! [`run`] starts three nodes, three gateways and a placement with a [`crate::network::Network`] between them, puts the
//! [`crate::workload`]s on the gateways and the [`crate::nemesis`] on everything. When the time is up it heals: within
//! [`RECOVERY`] everything serves and no lock is left. Then all is read once more and every history goes to its judge.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::cluster::Cluster;
use crate::nemesis::{Nemesis, Schedule};
use crate::workload::{self, Client, Tally, Workload};

/// After the last fault everything serves within this time, and no lock is left.
pub const RECOVERY: Duration = Duration::from_secs(30);

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides which faults come when, and what clients draw.
    pub seed: u64,
    /// How long the cluster is hurt.
    pub lasting: Duration,
    /// Clients of each workload.
    pub clients: u64,
    /// Pause of a client between two steps.
    pub pause: Duration,
    /// A fault planted in every process, by its name.
    pub plant: Option<String>,
}

impl Options {
    /// As the smoke test does it.
    pub fn of_seed(seed: u64, lasting: Duration) -> Self {
        Self { seed, lasting, clients: 3, pause: Duration::from_millis(5), plant: None }
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// Per workload: its clients' operations, and what its judge says.
    pub workloads: Vec<(&'static str, Arc<Tally>, Result<(), String>)>,
    /// Faults put in, by kind.
    pub injected: BTreeMap<&'static str, u64>,
    /// Splits that were refused.
    pub refused_splits: u64,
    /// How long after the last fault everything served and no lock was left, or what was wrong then.
    pub recovery: Result<Duration, String>,
}

impl Report {
    /// Whether nothing was wrong.
    pub fn is_good(&self) -> bool {
        self.recovery.is_ok() && self.workloads.iter().all(|(_, _, verdict)| verdict.is_ok())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<12}{:>12}{:>14}{:>10}{:>10}  verdict", "", "answered", "transactions", "failed", "unknown")?;
        for (name, tally, verdict) in &self.workloads {
            let verdict =
                verdict.as_ref().map_or_else(|violation| format!("VIOLATION\n{violation}"), |()| "good".into());
            let [answered, transactions, failed, unknown] =
                [&tally.answered, &tally.transactions, &tally.failed, &tally.unknown]
                    .map(|count| count.load(Ordering::Relaxed));
            writeln!(f, "{name:<12}{answered:>12}{transactions:>14}{failed:>10}{unknown:>10}  {verdict}")?;
        }
        let total: u64 = self.injected.values().sum();
        let kinds: Vec<String> = self.injected.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        writeln!(f, "{total} faults: {} ({} splits were refused)", kinds.join(", "), self.refused_splits)?;
        match &self.recovery {
            Ok(time) => write!(f, "after the last one everything served and no lock was left in {time:.1?}"),
            Err(problem) => write!(f, "NO RECOVERY: {problem}"),
        }
    }
}

/// Does it all.
///
/// # Panics
/// If the cluster does not start, or a process cannot be started again.
pub fn run(options: &Options) -> Report {
    let mut cluster = Cluster::builder().nodes(3).groups(4).gateways(3).proxied().prepare();
    if let Some(plant) = &options.plant {
        for member in cluster.members() {
            cluster.process(member).set_environment(&[(planted::VARIABLE, plant)]);
        }
    }
    cluster.start_all();
    cluster.wait_until_serving(RECOVERY * 2);
    let crew = Crew::begin(options, &cluster.all_redis());
    let until = Instant::now() + options.lasting;
    let mut nemesis = Nemesis::default();
    nemesis.run(&mut cluster, Schedule::new(options.seed, 3, 3), until);
    Nemesis::heal(&mut cluster);
    let healed = Instant::now();
    let mut workers = crew.stop();
    let recovery = recover(&mut cluster, healed).and_then(|time| read_everything(&mut workers).map(|()| time));
    let judged = workers.into_iter().map(|Worker { workload, tally, .. }| (workload.name(), tally, workload.judge()));
    Report { workloads: judged.collect(), injected: nemesis.injected, refused_splits: nemesis.refused_splits, recovery }
}

/// A workload, its counts, and a client of it.
struct Worker {
    workload: Arc<dyn Workload>,
    tally: Arc<Tally>,
    client: Client,
}

/// All clients at work.
struct Crew {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// One of each workload, who do not work but prepare and read everything at the end.
    foremen: Vec<Worker>,
}

impl Crew {
    fn begin(options: &Options, gateways: &[SocketAddr]) -> Self {
        let (epoch, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let mut numbers = 0..;
        let mut threads = Vec::new();
        let mut hire = |workload: &Arc<dyn Workload>, tally: &Arc<Tally>| {
            let number = numbers.next().unwrap_or_default();
            let random = StdRng::seed_from_u64(options.seed.wrapping_mul(1000).wrapping_add(number));
            let client = Client::new(number, gateways, epoch, tally.clone(), random);
            Worker { workload: workload.clone(), tally: tally.clone(), client }
        };
        let mut foremen = Vec::new();
        for workload in workload::all() {
            let tally = Arc::default();
            let mut foreman = hire(&workload, &tally);
            workload.prepare(&mut foreman.client).unwrap_or_else(|problem| panic!("{}: {problem}", workload.name()));
            foremen.push(foreman);
            for _ in 0..options.clients {
                let (mut worker, stop, pause) = (hire(&workload, &tally), stop.clone(), options.pause);
                threads.push(std::thread::spawn(move || worker.client.work(&*worker.workload, pause, &stop)));
            }
        }
        Self { stop, threads, foremen }
    }

    /// Ends the work after the steps under way.
    fn stop(self) -> Vec<Worker> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a client does not panic"));
        self.foremen
    }
}

/// In peace every read is answered; one that is not would leave writes unjudged.
fn read_everything(workers: &mut [Worker]) -> Result<(), String> {
    for Worker { workload, tally, client } in workers {
        let unanswered = || tally.failed.load(Ordering::Relaxed) + tally.unknown.load(Ordering::Relaxed);
        let before = unanswered();
        client.disconnect();
        workload.finish(client);
        if unanswered() > before {
            return Err(format!("final reads of {} were not answered", workload.name()));
        }
    }
    Ok(())
}

/// Waits until everything serves and no lock is left.
fn recover(cluster: &mut Cluster, healed: Instant) -> Result<Duration, String> {
    let mut problem = cluster.serves();
    loop {
        if problem.is_ok() {
            let locks = cluster.locks_held();
            problem = if locks == 0.0 { Ok(()) } else { Err(format!("{locks} locks are held")) };
        }
        match problem {
            Ok(()) => return Ok(healed.elapsed()),
            Err(problem) if healed.elapsed() >= RECOVERY => return Err(problem),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
        problem = cluster.serves();
    }
}
