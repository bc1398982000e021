//! Which transaction must come before which.
//!
//! Edges that follow from others are not drawn: ww only to the next value, wr only from the last value read, rw only to the
//! first value not read. Two kinds would still be many, and go through *waypoints*, nodes that are no transactions:
//!
//! * *Real time* orders nearly all pairs. There is a waypoint for each instant at which a transaction was over, and from it
//!   an edge to the next one. A transaction has an edge to the waypoint of its end, and one from the last waypoint before its
//!   beginning. A path through waypoints leads from one transaction to another exactly if it was over before the other
//!   began, with about three edges for each transaction.
//! * Values never read come behind all that were read, so whoever read the whole known list comes before all who appended
//!   them: from many readers to one waypoint to many writers.

use std::collections::BTreeSet;

use super::Transaction;
use super::anomaly::Reason;
use super::observe::{Key, Observed};

/// What an edge is about: the places of the key and of the append in what was observed.
pub(super) type Subject = (usize, usize);

/// An edge to a node.
#[derive(Clone, Copy)]
pub(super) struct Edge {
    pub(super) to: usize,
    /// None from a waypoint: the reason is that of the edge which led to it.
    pub(super) reason: Option<Reason>,
    /// None if it is about time.
    pub(super) about: Option<Subject>,
}

/// The edges. Nodes are the transactions, by their places in the history, and after them the waypoints.
pub(super) struct Graph {
    pub(super) transactions: usize,
    /// Per node: the edges that leave it.
    pub(super) edges: Vec<Vec<Edge>>,
}

impl Graph {
    fn draw(&mut self, from: usize, to: usize, reason: Option<Reason>, about: Option<Subject>) {
        // Nobody comes before itself because of what it did itself.
        if from != to {
            self.edges[from].push(Edge { to, reason, about });
        }
    }

    fn waypoint(&mut self) -> usize {
        self.edges.push(Vec::new());
        self.edges.len() - 1
    }
}

/// Draws all edges.
pub(super) fn depend<K, V: Eq + std::hash::Hash>(
    history: &[Transaction<K, V>],
    observed: &Observed<'_, K, V>,
) -> Graph {
    let mut graph = Graph { transactions: history.len(), edges: history.iter().map(|_| Vec::new()).collect() };
    for (number, key) in observed.keys.iter().enumerate() {
        if let Some(order) = key.order {
            follow_list(&mut graph, number, key, order);
            follow_unread(&mut graph, number, key, order, &observed.happened);
        }
    }
    follow_time(&mut graph, history, &observed.happened);
    graph
}

/// Edges between those who appended what was read, and from and to those who read it.
fn follow_list<K, V: Eq + std::hash::Hash>(graph: &mut Graph, number: usize, key: &Key<'_, K, V>, order: &[V]) {
    // What nobody appended, or a transaction that failed, has no node.
    let append = |place: usize| Some(*key.append_of.get(order.get(place)?)?);
    let writer = |append: usize| key.appends[append].transaction;
    for place in 1..order.len() {
        if let (Some(before), Some(after)) = (append(place - 1), append(place)) {
            graph.draw(writer(before), writer(after), Some(Reason::Ww), Some((number, after)));
        }
    }
    for read in key.reads.iter().filter(|read| read.first) {
        if let Some(seen) = read.before_own.checked_sub(1).and_then(append) {
            graph.draw(writer(seen), read.transaction, Some(Reason::Wr), Some((number, seen)));
        }
        if let Some(unseen) = append(read.before_own) {
            graph.draw(read.transaction, writer(unseen), Some(Reason::Rw), Some((number, unseen)));
        }
    }
}

/// Edges to those who appended what nobody read.
fn follow_unread<K, V: Eq + std::hash::Hash>(
    graph: &mut Graph,
    number: usize,
    key: &Key<'_, K, V>,
    order: &[V],
    happened: &[bool],
) {
    if key.reads.is_empty() {
        return;
    }
    let known = order.iter().filter_map(|value| key.append_of.get(value).copied());
    let known: BTreeSet<usize> = known.collect();
    let is_unread = |append: &usize| !known.contains(append) && happened[key.appends[*append].transaction];
    let unread: Vec<usize> = (0..key.appends.len()).filter(is_unread).collect();
    if unread.is_empty() {
        return;
    }
    let writer = |append: usize| key.appends[append].transaction;
    let last = order.last().and_then(|value| key.append_of.get(value));
    for append in &unread {
        if let Some(last) = last {
            graph.draw(writer(*last), writer(*append), Some(Reason::Ww), Some((number, *append)));
        }
    }
    let waypoint = graph.waypoint();
    for append in &unread {
        graph.draw(waypoint, writer(*append), None, Some((number, *append)));
    }
    let writers: BTreeSet<usize> = unread.iter().map(|append| writer(*append)).collect();
    for read in key.reads.iter().filter(|read| read.first && read.before_own == order.len()) {
        if writers.contains(&read.transaction) {
            // Through the waypoint it would come before itself.
            for append in &unread {
                graph.draw(read.transaction, writer(*append), Some(Reason::Rw), Some((number, *append)));
            }
        } else {
            graph.draw(read.transaction, waypoint, Some(Reason::Rw), None);
        }
    }
}

/// Edges from what was over to what began afterwards. What is not known to have ended comes before nothing.
fn follow_time<K, V>(graph: &mut Graph, history: &[Transaction<K, V>], happened: &[bool]) {
    let transactions = || (0..history.len()).filter(|number| happened[*number]);
    let ends: BTreeSet<u64> = transactions().filter_map(|number| history[number].completed()).collect();
    let ends: Vec<u64> = ends.into_iter().collect();
    let first = graph.edges.len();
    for place in 0..ends.len() {
        let waypoint = graph.waypoint();
        if place > 0 {
            graph.draw(waypoint - 1, waypoint, None, None);
        }
    }
    for number in transactions() {
        if let Some(place) = history[number].completed().and_then(|end| ends.binary_search(&end).ok()) {
            graph.draw(number, first + place, Some(Reason::RealTime), None);
        }
        let over = ends.partition_point(|end| *end < history[number].invoked());
        if over > 0 {
            graph.draw(first + over - 1, number, None, None);
        }
    }
}
