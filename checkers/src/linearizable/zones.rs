//! Registers in which no value was written twice: linearizable or not, without a search.
//!
//! When every value has one writer, each read tells which write it follows. A write and the reads of its value are a
//! *cluster*: in any order they stand together, the write first. So the question is only in which order the clusters
//! come. Gibbons and Korach ("Testing shared memories", 1997) answer it with the cluster's *zone*, between the instant
//! `first_end` at which the first of its operations was over and the instant `last_call` at which the last was called:
//!
//! * One that has `first_end < last_call` held the register for all this time: a *forward* zone. Two of them must not
//!   overlap.
//! * Otherwise all its operations overlap, and any moment between `last_call` and `first_end` will do: a *backward* zone.
//!   It must not lie inside a forward one.
//!
//! And no read may be over before its write was called. That is all: a cluster must come before another if something in it
//! was over before something in the other was called, `first_end < other.last_call`, and if such demands go round in a
//! circle then two of the clusters already demand it of each other.
//!
//! A write of unknown outcome that somebody has read did happen; it has no end. One that nobody has read is left out. The
//! initial value is a cluster whose write was over before time began.
//!
//! Left out, and left to the search: values written twice, writes of the initial value, compare-and-set.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

use super::Violation;
use super::register::{Action, Answer, RegisterOperation};
use crate::history::Outcome;

/// When the initial value was written.
const BEFORE_TIME: i128 = -1;

/// A write and the reads of its value.
struct Cluster<'a, V> {
    value: &'a V,
    /// None for the initial value.
    write: Option<&'a RegisterOperation<V>>,
    /// The read that was over first, and the one called last.
    first_over: Option<&'a RegisterOperation<V>>,
    last_called: Option<&'a RegisterOperation<V>>,
}

/// None if the history is not of the kind that needs no search.
pub(super) fn check<V: Eq + Hash + Debug>(
    initial: &V,
    history: &[RegisterOperation<V>],
) -> Option<Result<(), Violation>> {
    let of_initial = Cluster { value: initial, write: None, first_over: None, last_called: None };
    let mut clusters = HashMap::from([(initial, of_initial)]);
    let mut reads = Vec::new();
    for operation in history {
        match (operation.action(), operation.outcome()) {
            (_, Outcome::Failed) | (Action::Read, Outcome::Unknown) => {}
            (Action::Write(value), Outcome::Unknown | Outcome::Ok(Answer::Done)) => {
                let cluster = Cluster { value, write: Some(operation), first_over: None, last_called: None };
                if clusters.insert(value, cluster).is_some() {
                    return None;
                }
            }
            (Action::Read, Outcome::Ok(Answer::Value(value))) => reads.push((value, operation)),
            (Action::Cas { .. }, _) | (_, Outcome::Ok(_)) => return None,
        }
    }
    for (value, read) in reads {
        let Some(cluster) = clusters.get_mut(value) else {
            return Some(Err(Violation {
                what: "nobody wrote what was read".to_owned(),
                evidence: vec![read.to_string()],
            }));
        };
        if let Some(write) = cluster.write.filter(|write| read.precedes(write)) {
            let what = "a value was read before it was written".to_owned();
            return Some(Err(Violation { what, evidence: vec![read.to_string(), write.to_string()] }));
        }
        if cluster.first_over.is_none_or(|first| read.completed() < first.completed()) {
            cluster.first_over = Some(read);
        }
        if cluster.last_called.is_none_or(|last| read.invoked() > last.invoked()) {
            cluster.last_called = Some(read);
        }
    }
    let lost = |cluster: &Cluster<'_, V>| cluster.write.is_none_or(|write| write.completed().is_none());
    let clusters = clusters.into_values().filter(|cluster| !lost(cluster) || cluster.first_over.is_some());
    Some(in_some_order(clusters.collect()))
}

impl<'a, V> Cluster<'a, V> {
    /// Of the operations, with the write of the initial value left out.
    fn operations(&self) -> impl Iterator<Item = &'a RegisterOperation<V>> {
        [self.write, self.first_over, self.last_called].into_iter().flatten()
    }

    /// What of it was over first; none for the initial value.
    fn first_over(&self) -> Option<&'a RegisterOperation<V>> {
        self.write?;
        self.operations().min_by_key(|operation| end(operation))
    }

    fn first_end(&self) -> i128 {
        self.first_over().map_or(BEFORE_TIME, end)
    }

    /// What of it was called last; none for an initial value that nobody has read.
    fn last_called(&self) -> Option<&'a RegisterOperation<V>> {
        self.operations().max_by_key(|operation| operation.invoked())
    }

    fn last_call(&self) -> i128 {
        self.last_called().map_or(BEFORE_TIME, |operation| i128::from(operation.invoked()))
    }

    fn is_forward(&self) -> bool {
        self.first_end() < self.last_call()
    }
}

fn end<V>(operation: &RegisterOperation<V>) -> i128 {
    operation.completed().map_or(i128::MAX, i128::from)
}

/// Whether no two clusters demand of each other to come first.
fn in_some_order<V: Debug>(mut clusters: Vec<Cluster<'_, V>>) -> Result<(), Violation> {
    // By both instants, so that the explanation does not depend on the order in a hash table.
    clusters.sort_by_key(|cluster| (cluster.first_end(), cluster.last_call()));
    let (forward, backward): (Vec<_>, Vec<_>) = clusters.into_iter().partition(Cluster::is_forward);
    for pair in forward.windows(2) {
        if pair[1].first_end() < pair[0].last_call() {
            return Err(conflict(&pair[0], &pair[1]));
        }
    }
    for inner in &backward {
        // They do not overlap, so of those that begin before it the last one also ends last.
        let begun = forward.partition_point(|outer| outer.first_end() < inner.last_call());
        if let Some(outer) = forward[..begun].last().filter(|outer| inner.first_end() < outer.last_call()) {
            return Err(conflict(outer, inner));
        }
    }
    Ok(())
}

fn conflict<V: Debug>(one: &Cluster<'_, V>, other: &Cluster<'_, V>) -> Violation {
    let demand = |first: &Cluster<'_, V>, second: &Cluster<'_, V>| {
        let first = first.first_over().map_or("what was there at first".to_owned(), ToString::to_string);
        // Something of it was called after the other had begun to be over, so there is something.
        second.last_called().map(|second| format!("{first}, was over before {second}"))
    };
    let what = format!("{:?} was there before {:?}, and after it", one.value, other.value);
    Violation { what, evidence: [demand(one, other), demand(other, one)].into_iter().flatten().collect() }
}
