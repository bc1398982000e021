//! What goes wrong in a run, drawn from the seed before it begins.
//!
//! A plan is a list of moments and steps. Every fault has an end, a step of its own; at the end of the hurt phase all are
//! ended whatever the plan says ([`crate::run`]).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rand_simulated::RngExt;
use rand_simulated::rngs::StdRng;

/// A machine, by its name in the simulation.
pub type Host = String;

/// Something that is done to the machines or the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The process is killed; with the power gone, its disk forgets what was not synced.
    Kill {
        /// Where.
        host: Host,
        /// The whole machine.
        power: bool,
    },
    /// The process starts again.
    Start(Host),
    /// Messages between two machines vanish, in both directions,
    Cut(Host, Host),
    /// or in one.
    CutOneWay {
        /// From here,
        from: Host,
        /// to there.
        to: Host,
    },
    /// They get through again.
    Mend(Host, Host),
    /// One way of a cut gets through again.
    MendOneWay {
        /// From here,
        from: Host,
        /// to there.
        to: Host,
    },
    /// A machine hears nobody and nobody hears it, and later everything that was said arrives: to everybody else it
    /// stood still.
    Freeze(Host),
    /// It goes on.
    Thaw(Host),
    /// Messages between two machines vanish now and then; a connection that loses one is broken.
    Lose(Host, Host),
    /// All get through again.
    Keep(Host, Host),
    /// Messages between two machines take this long.
    Slow(Host, Host, Duration),
}

impl Step {
    /// The kind of fault that it begins; none if it ends one.
    pub fn begins(&self) -> Option<&'static str> {
        match self {
            Step::Kill { power: true, .. } => Some("power failures"),
            Step::Kill { .. } => Some("kills"),
            Step::Cut(..) => Some("partitions"),
            Step::CutOneWay { .. } => Some("one-way partitions"),
            Step::Freeze(_) => Some("freezes"),
            Step::Lose(..) => Some("lossy links"),
            Step::Slow(..) => Some("slow links"),
            Step::Start(_) | Step::Mend(..) | Step::MendOneWay { .. } | Step::Thaw(_) | Step::Keep(..) => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Steps by their moments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Milliseconds of the simulation to what is done then, in order.
    pub steps: BTreeMap<u64, Vec<Step>>,
}

/// Who is there to be hurt.
#[derive(Clone, Debug)]
pub struct Cast {
    /// Storage nodes.
    pub storage: Vec<Host>,
    /// Gateways.
    pub gateways: Vec<Host>,
    /// The placement.
    pub placement: Host,
}

impl Plan {
    /// Draws faults between two moments, in milliseconds.
    pub fn draw(dice: &mut StdRng, cast: &Cast, from_ms: u64, until_ms: u64) -> Self {
        let mut plan = Self::default();
        // Some runs are hurt all the time, some only now and then.
        let longest_pause_ms = dice.random_range(800..5_000);
        let mut at = from_ms;
        loop {
            at += dice.random_range(50..longest_pause_ms);
            if at >= until_ms {
                return plan;
            }
            plan.add_fault(dice, cast, at);
        }
    }

    fn add_fault(&mut self, dice: &mut StdRng, cast: &Cast, at: u64) {
        let lasts = match dice.random_range(0..4) {
            0 => dice.random_range(20..400),
            1 | 2 => dice.random_range(400..3_000),
            _ => dice.random_range(3_000..9_000),
        };
        let end = at + lasts;
        match dice.random_range(0..100) {
            0..20 => {
                let (host, power) = (pick(dice, &cast.storage), dice.random_bool(0.5));
                self.add(at, Step::Kill { host: host.clone(), power });
                self.add(end, Step::Start(host));
            }
            20..28 => {
                let host = pick(dice, &cast.gateways);
                self.add(at, Step::Kill { host: host.clone(), power: false });
                self.add(end, Step::Start(host));
            }
            28..31 => {
                self.add(at, Step::Kill { host: cast.placement.clone(), power: false });
                self.add(end, Step::Start(cast.placement.clone()));
            }
            31..34 => {
                // All at once: what was acknowledged must be on the disks.
                for host in &cast.storage {
                    self.add(at, Step::Kill { host: host.clone(), power: true });
                    self.add(at + dice.random_range(50..1_500), Step::Start(host.clone()));
                }
            }
            34..50 => {
                let (a, b) = pair(dice, cast);
                self.cut_between(at, end, &a, &b);
            }
            50..60 => {
                // From everybody.
                let host = pick(dice, &cast.storage);
                for other in cast.all().into_iter().filter(|other| *other != host) {
                    self.cut_between(at, end, &host, &other);
                }
            }
            60..74 => {
                let (from, to) = pair(dice, cast);
                self.add(at, Step::CutOneWay { from: from.clone(), to: to.clone() });
                self.add(end, Step::MendOneWay { from, to });
            }
            74..80 => self.add_sides(dice, cast, at),
            80..86 => {
                let host = pick(dice, &cast.storage);
                self.add(at, Step::Freeze(host.clone()));
                self.add(end, Step::Thaw(host));
            }
            86..94 => {
                let (a, b) = pair(dice, cast);
                self.add(at, Step::Lose(a.clone(), b.clone()));
                self.add(end, Step::Keep(a, b));
            }
            _ => {
                let (a, b) = pair(dice, cast);
                let slow = Duration::from_millis(dice.random_range(30..400));
                self.add(at, Step::Slow(a.clone(), b.clone(), slow));
                self.add(end, Step::Slow(a, b, QUICK));
            }
        }
    }

    /// A storage node and a gateway on one side, everybody else on the other: whoever leads on the smaller side is still
    /// asked, and must know when to stop answering.
    ///
    /// Sometimes the others are in a hurry to elect: one has not heard the node for long, the other one dies as the
    /// sides part and comes back at once, without a memory of whom it followed.
    fn add_sides(&mut self, dice: &mut StdRng, cast: &Cast, at: u64) {
        // Long enough that the others elect.
        let lasts = dice.random_range(1_500..9_000);
        let (lone, asker) = (pick(dice, &cast.storage), pick(dice, &cast.gateways));
        let mut parts_at = at;
        if dice.random_bool(0.7) {
            let others: Vec<&Host> = cast.storage.iter().filter(|host| **host != lone).collect();
            let deaf = others[dice.random_range(0..others.len())];
            parts_at += dice.random_range(1_000..4_000);
            self.cut_between(at, parts_at + lasts, &lone, deaf);
            for forgetful in others.into_iter().filter(|host| *host != deaf) {
                self.add(parts_at, Step::Kill { host: forgetful.clone(), power: false });
                self.add(parts_at + dice.random_range(10..60), Step::Start(forgetful.clone()));
            }
        }
        for other in cast.all().into_iter().filter(|other| *other != lone && *other != asker) {
            self.cut_between(parts_at, parts_at + lasts, &lone, &other);
            self.cut_between(parts_at, parts_at + lasts, &asker, &other);
        }
    }

    fn cut_between(&mut self, at: u64, end: u64, a: &Host, b: &Host) {
        self.add(at, Step::Cut(a.clone(), b.clone()));
        self.add(end, Step::Mend(a.clone(), b.clone()));
    }

    fn add(&mut self, at: u64, step: Step) {
        self.steps.entry(at).or_default().push(step);
    }
}

/// The longest that a message takes where nothing is wrong.
pub const QUICK: Duration = Duration::from_millis(12);

impl Cast {
    /// Everybody.
    pub fn all(&self) -> Vec<Host> {
        let placement = std::iter::once(&self.placement);
        self.storage.iter().chain(&self.gateways).chain(placement).cloned().collect()
    }
}

fn pick(dice: &mut StdRng, hosts: &[Host]) -> Host {
    hosts[dice.random_range(0..hosts.len())].clone()
}

/// A storage node and anybody else.
fn pair(dice: &mut StdRng, cast: &Cast) -> (Host, Host) {
    let one = pick(dice, &cast.storage);
    let others: Vec<Host> = cast.all().into_iter().filter(|other| *other != one).collect();
    (one, pick(dice, &others))
}
