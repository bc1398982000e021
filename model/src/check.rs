//! Lets the checker loose on a scene, and says what came of it.
//!
//! The healthy protocol is walked through completely: every state that the scene can reach is made and held against every
//! law. Depth first, because then only fingerprints have to be kept. A broken protocol is searched breadth first until a
//! law is broken, so that the trace is short. The sights are looked for in the same way, in a walk of their own: they are
//! common, and noting each occasion would cost more than the laws.
//!
//! States are told apart by fingerprints of 64 bits. Two of ten million states collide with a probability of one in four
//! hundred thousand; then what lies behind one of them could be missed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use crate::fault::Fault;
use crate::protocol::{Goal, Protocol, Step};
use crate::scene::Scene;

/// A law that does not hold, or a sight, with the steps that lead there.
pub type Trace = (&'static str, Vec<Step>);

/// What a walk found.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Different states.
    pub states: usize,
    /// Steps taken, with those that led to a state seen before.
    pub steps: usize,
    /// The longest way from the start that was gone.
    pub depth: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// What was found, the shortest way first.
    pub found: Vec<Trace>,
}

/// Walks through everything that the healthy protocol can do in a scene. What it finds are laws that do not hold.
pub fn check_laws(scene: &Scene, threads: usize) -> Walk {
    let began = Instant::now();
    let checker = Protocol::healthy(scene.clone()).checker().threads(threads).spawn_dfs().join();
    walk(began, &checker)
}

/// Looks for the sights of a scene. Those that it does not see are missing from the result.
pub fn look_for_sights(scene: &Scene) -> Walk {
    let began = Instant::now();
    let protocol = Protocol { goal: Goal::Sights, ..Protocol::healthy(scene.clone()) };
    let checker = protocol.checker().spawn_bfs().join();
    walk(began, &checker)
}

/// Looks for a way in which a broken protocol breaks this law, or any.
pub fn look_for_violation(scene: &Scene, fault: Fault, law: Option<&'static str>) -> Walk {
    let began = Instant::now();
    let enough = law.map_or(HasDiscoveries::AnyFailures, |law| HasDiscoveries::AnyOf(BTreeSet::from([law])));
    let checker = Protocol::broken(scene.clone(), fault).checker().finish_when(enough).spawn_bfs().join();
    walk(began, &checker)
}

fn walk(began: Instant, checker: &impl Checker<Protocol>) -> Walk {
    let discoveries = checker.discoveries().into_iter();
    let mut found: Vec<Trace> = discoveries.map(|(name, path)| (name, path.into_actions())).collect();
    found.sort_by_key(|(name, steps)| (steps.len(), *name));
    Walk {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        elapsed: began.elapsed(),
        found,
    }
}
