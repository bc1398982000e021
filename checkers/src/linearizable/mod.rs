//! Is a history of one object linearizable?
//!
//! Each operation takes effect at one moment between its call and its answer; one of unknown outcome at any moment after its
//! call, or never. The history is linearizable (Herlihy and Wing, "Linearizability", 1990) when such moments can be chosen
//! so that the operations, one after the other in that order, give the answers that were given.
//!
//! Objects are independent, so a store is judged key by key: a history of all keys is linearizable exactly when that of each
//! key is. [`by_key`] sorts, [`check_each`] judges.
//!
//! 1. [`check`] judges any object that has a [`Model`]: [`register`], [`counter`], or one of a test's own. It searches
//!    (`search`) along the calls and returns (`timeline`), with an eye on the states that are still needed (`demand`).
//! 2. [`check_register`] judges registers. If no value was written twice, as careful clients see to, then the order needs no
//!    search and the time is that of sorting, however many operations overlap (`zones`). Otherwise it searches.
//!
//! Both refuse with a [`Violation`]: the operation that no order gets to, what overlaps it, and what the state could have
//! been. The search also gives up, by [`Refusal::GaveUp`], where too many operations overlap that could come in any order.
//!
//! Left out: weaker kinds of consistency, and operations on several objects at once (see [`crate::serializable`]).

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;

mod demand;
mod model;
mod search;
mod timeline;
mod zones;

pub mod counter;
pub mod register;

pub use model::{Footprint, Leaves, Model};

use crate::history::Operation;

/// Configurations that [`check`] looks at before it gives up: some ten seconds, and about a hundred megabytes.
pub const DEFAULT_LIMIT: usize = 1_000_000;

/// Why a history is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not linearizable.
    #[error("{0}")]
    Violation(Box<Violation>),
    /// Nobody knows: the search was too large. Fewer clients on one key, or fewer lost answers, make it smaller.
    #[error("neither proved nor refuted: gave up after {configurations} configurations")]
    GaveUp {
        /// How many were looked at.
        configurations: usize,
    },
}

/// The history fits no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What is impossible.
    pub what: String,
    /// The operations around it, a line each.
    pub evidence: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not linearizable: {}", self.what)?;
        self.evidence.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// Judges the history of one object. The order of `history` does not matter.
pub fn check<M: Model>(model: &M, history: &[Operation<M::Action, M::Answer>]) -> Result<(), Refusal> {
    check_within(model, history, DEFAULT_LIMIT)
}

/// As [`check`], with another limit on how many configurations are looked at.
pub fn check_within<M: Model>(
    model: &M,
    history: &[Operation<M::Action, M::Answer>],
    limit: usize,
) -> Result<(), Refusal> {
    search::Search::new(model, history).run(limit)
}

/// Judges the history of one register that holds `initial` at first, without a search where that is possible.
pub fn check_register<V: Clone + Eq + Hash + fmt::Debug>(
    initial: &V,
    history: &[register::RegisterOperation<V>],
) -> Result<(), Refusal> {
    match zones::check(initial, history) {
        Some(verdict) => verdict.map_err(|violation| Refusal::Violation(Box::new(violation))),
        None => check(&register::Register { initial: initial.clone() }, history),
    }
}

/// Sorts a history of many objects.
pub fn by_key<K: Ord, A, R>(
    history: impl IntoIterator<Item = (K, Operation<A, R>)>,
) -> BTreeMap<K, Vec<Operation<A, R>>> {
    let mut histories: BTreeMap<K, Vec<Operation<A, R>>> = BTreeMap::new();
    for (key, operation) in history {
        histories.entry(key).or_default().push(operation);
    }
    histories
}

/// Judges the history of each key, and gives the first refusal with its key.
pub fn check_each<K, A, R>(
    histories: &BTreeMap<K, Vec<Operation<A, R>>>,
    judge: impl Fn(&[Operation<A, R>]) -> Result<(), Refusal>,
) -> Result<(), (&K, Refusal)> {
    histories.iter().try_for_each(|(key, history)| judge(history).map_err(|refusal| (key, refusal)))
}
