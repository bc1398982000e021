//! Is a history of transactions strictly serializable?
//!
//! Transactions append values to lists and read whole lists. A list tells in which order its values came, so the order of
//! writes need not be guessed: that is the idea of Elle (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from
//! Experimental Observations", VLDB 2020), which this module follows with names from Adya ("Weak Consistency", 1999).
//!
//! 1. `observe` finds out who appended what and what every read proves. Some anomalies show at once: a value that an aborted
//!    transaction appended (G1a), or that its transaction went on to append behind (G1b), that nobody appended, that stands
//!    there twice, that is gone; reads that disagree on the order; a transaction that does not see its own appends.
//! 2. `depend` draws an edge from one transaction to another that must come after it: *ww* appended the next value behind,
//!    *wr* read what the first appended, *rw* appended what the first did not see yet, *real time* began when the first was
//!    over.
//! 3. `cycle` looks for circles in these edges: no order has all of a circle's transactions in it. The fewest kinds of edges
//!    that suffice give the name: G0, G1c, G-single, G2, and the same in real time, where the history may be serializable but
//!    not in the order that the clients saw.
//!
//! [`check`] does the three and gives a [`Violation`]: the anomalies, one circle for each knot of edges, and the transactions
//! in them.
//!
//! Each value may be appended to a key once only, by one transaction; otherwise it is not known whose value was read, and
//! that is an anomaly of the recording. A transaction of unknown outcome counts if somebody saw one of its appends. Then it
//! has happened, all of it, but its end is not known.
//!
//! The verdict is exact: if there is no circle, then any order along the edges explains every read, and the appends that
//! nobody read may come last in any order.
//!
//! Left out: reads of ranges, so what only a predicate sees (phantoms); deletions; weaker models, for which some of these
//! circles would be allowed.

use std::fmt::Debug;
use std::hash::Hash;

mod anomaly;
mod cycle;
mod depend;
mod observe;

pub use anomaly::{Anomaly, AnomalyKind, Link, Phenomenon, Reason, Violation};

use crate::history::Operation;

/// A part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step<K, V> {
    /// Put this value at the end of the key's list.
    Append(K, V),
    /// Read the key's list; none where the answer is not known. A key that does not exist is an empty list.
    Read(K, Option<Vec<V>>),
}

/// A transaction: its steps in order, of which all took effect at once or none.
pub type Transaction<K, V> = Operation<Vec<Step<K, V>>, ()>;

/// Judges a history of transactions. Transactions are named by their place in it.
pub fn check<K: Eq + Hash + Debug, V: Eq + Hash + Debug>(history: &[Transaction<K, V>]) -> Result<(), Violation> {
    let mut anomalies = Vec::new();
    let observed = observe::observe(history, &mut anomalies);
    let graph = depend::depend(history, &observed);
    anomalies.extend(cycle::circles(&graph).into_iter().map(|circle| anomaly::explain(&observed, &circle)));
    if anomalies.is_empty() { Ok(()) } else { Err(Violation::new(history, anomalies)) }
}
