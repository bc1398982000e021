//! Who hurts a cluster: faults drawn from a seed, put in and taken back one after the other.
//!
//! A [`Schedule`] is a pure function of its seed and of the cluster's size: which fault comes, whom it hits, how long it lasts,
//! and how long the cluster is left alone then. The same seed gives the same faults at about the same times; what clients do
//! meanwhile, and what the kernel makes of it, is different each time.
//!
//! [`Nemesis`] carries a schedule out and counts what it has done. Faults do not spare a majority, nor wait until the
//! cluster has recovered from the last one: what is asserted meanwhile is that nothing *wrong* is answered, and only
//! after [`Nemesis::heal`] that there are answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use crate::cluster::Cluster;
use crate::network::{Condition, Member};

/// A process that was asked to leave does so within its time to drain.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const HASH_SLOTS: u32 = 16_384;

/// What is done to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// kill -9; started again when it is over.
    Kill(Vec<Member>),
    /// SIGTERM; started again when it is over.
    Stop(Member),
    /// SIGSTOP, for longer than any lease; SIGCONT when it is over.
    Pause(Member),
    /// Bytes between the first and each of the others are held, one way or both ways.
    Partition {
        /// One side.
        one: Member,
        /// The other side.
        others: Vec<Member>,
        /// Words of the first do not get out.
        outward: bool,
        /// Nothing gets in to the first.
        inward: bool,
    },
    /// Bytes from one to the other are swallowed.
    HalfOpen(Member, Member),
    /// Bytes both ways are late.
    Slow(Member, Member, Duration),
    /// Open connections of one to the other are broken.
    Reset(Member, Member),
    /// A range is split before this hash slot.
    Split(u32),
}

impl Fault {
    /// Its kind, in reports.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Kill(members) if members.len() > 1 => "kill all nodes",
            Fault::Kill(members) => match members[..] {
                [Member::Placement] => "kill placement",
                [Member::Gateway(_)] => "kill gateway",
                _ => "kill node",
            },
            Fault::Stop(_) => "clean stop",
            Fault::Pause(_) => "pause",
            Fault::Partition { outward: true, inward: true, .. } => "partition",
            Fault::Partition { .. } => "partition one way",
            Fault::HalfOpen(..) => "half-open",
            Fault::Slow(..) => "slow",
            Fault::Reset(..) => "reset",
            Fault::Split(_) => "split",
        }
    }
}

/// One fault in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub fault: Fault,
    /// When it is taken back.
    pub lasting: Duration,
    /// How long the cluster is left alone afterwards.
    pub peace: Duration,
}

/// Faults without end, from a seed.
pub struct Schedule {
    random: StdRng,
    nodes: usize,
    gateways: usize,
}

impl Schedule {
    /// For a cluster of this size.
    pub fn new(seed: u64, nodes: usize, gateways: usize) -> Self {
        Self { random: StdRng::seed_from_u64(seed), nodes, gateways }
    }

    fn node(&mut self) -> Member {
        Member::Node(self.random.random_range(0..self.nodes))
    }

    fn gateway(&mut self) -> Member {
        Member::Gateway(self.random.random_range(0..self.gateways))
    }

    fn anybody(&mut self) -> Member {
        match self.random.random_range(0..6) {
            0 => Member::Placement,
            1 | 2 => self.gateway(),
            _ => self.node(),
        }
    }

    /// Two that have something to say to each other; the first opens connections to the second.
    fn link(&mut self) -> (Member, Member) {
        let to = if self.random.random_range(0..8) == 0 { Member::Placement } else { self.node() };
        loop {
            let from = self.anybody();
            if from != to {
                return (from, to);
            }
        }
    }

    fn partition(&mut self) -> Fault {
        let one = self.anybody();
        let mut others: Vec<Member> = (0..self.nodes).map(Member::Node).chain([Member::Placement]).collect();
        // A node may also be away from gateways.
        if matches!(one, Member::Node(_)) {
            others.extend((0..self.gateways).map(Member::Gateway));
        }
        others.retain(|other| *other != one);
        others.shuffle(&mut self.random);
        let cut = self.random.random_range(1..=others.len());
        others.truncate(cut);
        let (outward, inward) =
            [(true, true), (true, true), (true, false), (false, true)][self.random.random_range(0..4)];
        Fault::Partition { one, others, outward, inward }
    }
}

impl Iterator for Schedule {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let fault = match self.random.random_range(0..20) {
            0..=2 => Fault::Kill(vec![self.node()]),
            3..=4 => Fault::Kill(vec![self.gateway()]),
            5 => Fault::Kill(vec![Member::Placement]),
            6 => Fault::Kill((0..self.nodes).map(Member::Node).collect()),
            7 => Fault::Stop(self.anybody()),
            8..=10 => Fault::Pause(self.anybody()),
            11..=13 => self.partition(),
            14 => self.link_fault(|from, to, _| Fault::HalfOpen(from, to)),
            15 => self.link_fault(|to, from, _| Fault::HalfOpen(from, to)),
            16 => self.link_fault(|from, to, random| {
                Fault::Slow(from, to, Duration::from_millis(random.random_range(5..400)))
            }),
            17 => self.link_fault(|from, to, _| Fault::Reset(from, to)),
            _ => Fault::Split(self.random.random_range(1..HASH_SLOTS)),
        };
        let lasting = match &fault {
            Fault::Reset(..) | Fault::Split(_) => 0,
            // The lease is 1.5 s.
            Fault::Pause(_) => self.random.random_range(1_800..5_000),
            Fault::Kill(members) if members.len() > 1 => self.random.random_range(0..1_500),
            _ => self.random.random_range(300..6_000),
        };
        let peace = *[0, 200, 1_000, 3_000].choose(&mut self.random)?;
        Some(Step { fault, lasting: Duration::from_millis(lasting), peace: Duration::from_millis(peace) })
    }
}

impl Schedule {
    fn link_fault(&mut self, of: impl FnOnce(Member, Member, &mut StdRng) -> Fault) -> Fault {
        let (from, to) = self.link();
        of(from, to, &mut self.random)
    }
}

/// Carries out a schedule.
#[derive(Default)]
pub struct Nemesis {
    /// Faults put in, by kind.
    pub injected: BTreeMap<&'static str, u64>,
    /// Splits that the placement refused, such as one where a range begins already.
    pub refused_splits: u64,
}

impl Nemesis {
    /// Hurts the cluster until the time is up; the last fault is taken back.
    pub fn run(&mut self, cluster: &mut Cluster, schedule: Schedule, until: Instant) {
        let rest = |wanted: Duration| wanted.min(until.saturating_duration_since(Instant::now()));
        for Step { fault, lasting, peace } in schedule {
            if Instant::now() >= until {
                return;
            }
            println!("{fault:?} for {lasting:?}");
            self.put_in(cluster, &fault);
            std::thread::sleep(rest(lasting));
            take_back(cluster, &fault);
            std::thread::sleep(rest(peace));
        }
    }

    /// Takes everything back, whatever was done: all connections work and all processes run.
    pub fn heal(cluster: &mut Cluster) {
        cluster.network().heal();
        cluster.start_all();
    }

    fn put_in(&mut self, cluster: &mut Cluster, fault: &Fault) {
        *self.injected.entry(fault.kind()).or_default() += 1;
        match fault {
            Fault::Kill(members) => members.iter().for_each(|member| cluster.process(*member).kill()),
            Fault::Stop(member) => cluster.process(*member).begin_stop(),
            Fault::Pause(member) => cluster.process(*member).pause(),
            Fault::Split(slot) => {
                if let Err(status) = cluster.split_at_slot(*slot) {
                    println!("no split at slot {slot}: {status}");
                    self.refused_splits += 1;
                }
            }
            Fault::Reset(from, to) => cluster.network().reset(*from, *to),
            Fault::Partition { .. } | Fault::HalfOpen(..) | Fault::Slow(..) => set(cluster, fault, None),
        }
    }
}

fn take_back(cluster: &mut Cluster, fault: &Fault) {
    match fault {
        Fault::Kill(members) => members.iter().for_each(|member| cluster.process(*member).start()),
        Fault::Stop(member) => {
            let process = cluster.process(*member);
            process.wait(STOP_TIMEOUT);
            process.start();
        }
        Fault::Pause(member) => cluster.process(*member).resume(),
        Fault::Split(_) | Fault::Reset(..) => {}
        Fault::Partition { .. } | Fault::HalfOpen(..) | Fault::Slow(..) => set(cluster, fault, Some(Condition::Clear)),
    }
}

/// Puts all directions that a fault of the network concerns under its condition, or under another one.
fn set(cluster: &Cluster, fault: &Fault, instead: Option<Condition>) {
    let set = |from, to, condition| cluster.network().set(from, to, instead.unwrap_or(condition));
    match fault {
        Fault::Partition { one, others, outward, inward } => {
            for other in others {
                if *outward {
                    set(*one, *other, Condition::Held);
                }
                if *inward {
                    set(*other, *one, Condition::Held);
                }
            }
        }
        Fault::HalfOpen(from, to) => set(*from, *to, Condition::Swallowed),
        Fault::Slow(one, other, delay) => {
            set(*one, *other, Condition::Slow(*delay));
            set(*other, *one, Condition::Slow(*delay));
        }
        Fault::Kill(_) | Fault::Stop(_) | Fault::Pause(_) | Fault::Reset(..) | Fault::Split(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults_and_another_seed_others() {
        let first = |seed| Schedule::new(seed, 3, 3).take(50).collect::<Vec<_>>();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn every_kind_of_fault_comes_and_nobody_is_cut_off_from_itself() {
        let steps: Vec<Step> = Schedule::new(7, 3, 2).take(2000).collect();
        let kinds: BTreeSet<_> = steps.iter().map(|step| step.fault.kind()).collect();
        assert_eq!(kinds.len(), 12, "{kinds:?}");
        for step in steps {
            match step.fault {
                Fault::Partition { one, others, .. } => assert!(!others.is_empty() && !others.contains(&one)),
                Fault::HalfOpen(one, other) | Fault::Slow(one, other, _) | Fault::Reset(one, other) => {
                    assert_ne!(one, other);
                }
                Fault::Pause(_) => assert!(step.lasting > Duration::from_millis(1500)),
                _ => {}
            }
        }
    }
}
