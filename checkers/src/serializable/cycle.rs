//! Circles in the graph, the worst kind first, and a shortest one of each knot.
//!
//! For each kind of circle, with the edges that it may have, Tarjan's algorithm ("Depth-first search and linear graph
//! algorithms", 1972) finds the knots: sets of nodes that can all reach each other. In a knot, each edge of the kind that
//! the circle must have is closed by a breadth-first search from its end to its beginning, and the shortest circle is kept.
//! A knot around one that has already shown a circle is left alone: what is found in it is likely the same thing again.
//!
//! In a knot of thousands of transactions not every edge is tried; then the circle may not be the shortest, and what could
//! be called G-single may be called G2. Its links are true in any case.

use std::collections::VecDeque;

use super::anomaly::Reason;
use super::depend::{Edge, Graph, Subject};

/// Edges looked at in one knot for one kind of circle, about, before the best so far is good enough.
const EFFORT: usize = 20_000_000;

/// An edge between transactions, with the waypoints between them left out.
pub(super) struct FoundLink {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) reason: Reason,
    pub(super) about: Option<Subject>,
}

/// Each link leads to the next, the last to the first.
pub(super) type FoundCircle = Vec<FoundLink>;

/// One edge of the first kind, and a way back with edges of the others.
struct Kind {
    must: Reason,
    back: &'static [Reason],
}

/// G0, G1c, G-single and G2, and then again with time.
const KINDS: [Kind; 8] = {
    use Reason::{RealTime, Rw, Wr, Ww};
    [
        Kind { must: Ww, back: &[Ww] },
        Kind { must: Wr, back: &[Ww, Wr] },
        Kind { must: Rw, back: &[Ww, Wr] },
        Kind { must: Rw, back: &[Ww, Wr, Rw] },
        Kind { must: Ww, back: &[Ww, RealTime] },
        Kind { must: Wr, back: &[Ww, Wr, RealTime] },
        Kind { must: Rw, back: &[Ww, Wr, RealTime] },
        Kind { must: Rw, back: &[Ww, Wr, Rw, RealTime] },
    ]
};

impl Kind {
    fn goes_back_by(&self, edge: &Edge) -> bool {
        edge.reason.is_none_or(|reason| self.back.contains(&reason))
    }

    fn has(&self, edge: &Edge) -> bool {
        edge.reason == Some(self.must) || self.goes_back_by(edge)
    }
}

/// A circle of each knot that has one.
pub(super) fn circles(graph: &Graph) -> Vec<FoundCircle> {
    let mut found = Vec::new();
    let mut convicted = vec![false; graph.edges.len()];
    let mut search = Search::new(graph);
    for kind in &KINDS {
        let knots = knots(graph, |edge| kind.has(edge));
        for knot in &knots.members {
            if knot.iter().any(|node| convicted[*node]) {
                continue;
            }
            if let Some(circle) = search.shortest(kind, knot, &knots.of) {
                knot.iter().for_each(|node| convicted[*node] = true);
                found.push(circle);
            }
        }
    }
    found
}

/// Sets of two or more nodes that reach each other.
struct Knots {
    members: Vec<Vec<usize>>,
    /// Per node: a number that all nodes of its knot share, and no others.
    of: Vec<usize>,
}

/// Tarjan's algorithm, with a stack of its own in place of recursion: histories are longer than stacks are deep.
fn knots(graph: &Graph, allowed: impl Fn(&Edge) -> bool) -> Knots {
    const UNSEEN: usize = usize::MAX;
    let count = graph.edges.len();
    let mut index = vec![UNSEEN; count];
    let mut low = vec![0; count];
    let mut of = vec![UNSEEN; count];
    let (mut path, mut work) = (Vec::new(), Vec::new());
    let (mut next_index, mut next_knot) = (0, 0);
    let mut members = Vec::new();
    for root in 0..count {
        if index[root] != UNSEEN {
            continue;
        }
        work.push((root, 0));
        while let Some((node, at)) = work.pop() {
            if at == 0 {
                index[node] = next_index;
                low[node] = next_index;
                next_index += 1;
                path.push(node);
            } else {
                // Back from the edge before.
                let below = graph.edges[node][at - 1].to;
                if of[below] == UNSEEN {
                    low[node] = low[node].min(low[below]);
                }
            }
            let mut place = at;
            let mut deeper = None;
            while let Some(edge) = graph.edges[node].get(place) {
                place += 1;
                if !allowed(edge) {
                    continue;
                }
                if index[edge.to] == UNSEEN {
                    deeper = Some(edge.to);
                    break;
                }
                if of[edge.to] == UNSEEN {
                    low[node] = low[node].min(index[edge.to]);
                }
            }
            if let Some(below) = deeper {
                work.push((node, place));
                work.push((below, 0));
                continue;
            }
            if low[node] == index[node] {
                let from =
                    path.iter().rposition(|member| *member == node).expect("a node being visited is on the path");
                let knot = path.split_off(from);
                knot.iter().for_each(|member| of[*member] = next_knot);
                next_knot += 1;
                if knot.len() > 1 {
                    members.push(knot);
                }
            }
        }
    }
    Knots { members, of }
}

/// Breadth-first searches one after the other, with tables that are made once.
struct Search<'a> {
    graph: &'a Graph,
    /// Per node: the search that reached it last, its distance then, and the edge that led to it.
    reached_in: Vec<usize>,
    distance: Vec<usize>,
    by: Vec<(usize, usize)>,
    searches: usize,
    effort: usize,
}

impl<'a> Search<'a> {
    fn new(graph: &'a Graph) -> Self {
        let count = graph.edges.len();
        Self {
            graph,
            reached_in: vec![0; count],
            distance: vec![0; count],
            by: vec![(0, 0); count],
            searches: 0,
            effort: 0,
        }
    }

    /// The shortest circle of a kind in a knot.
    fn shortest(&mut self, kind: &Kind, knot: &[usize], of: &[usize]) -> Option<FoundCircle> {
        self.effort = 0;
        let mut best: Option<(usize, Vec<(usize, usize)>)> = None;
        // By their places in the history, so that a verdict can be repeated.
        let mut nodes = knot.to_vec();
        nodes.sort_unstable();
        for node in nodes {
            for (place, edge) in self.graph.edges[node].iter().enumerate() {
                let length = best.as_ref().map_or(usize::MAX, |(length, _)| *length);
                if length <= 2 || self.effort > EFFORT {
                    return best.map(|(_, edges)| self.collapse(&edges));
                }
                if edge.reason == Some(kind.must)
                    && of[edge.to] == of[node]
                    && let Some(back) = self.way_back(kind, of, edge.to, node, length - 1)
                {
                    best = Some((back + 1, self.edges_to(edge.to, node, (node, place))));
                }
            }
        }
        best.map(|(_, edges)| self.collapse(&edges))
    }

    /// How many edges lead from one node to another at least, if fewer than `below`. Those from waypoints do not count: they
    /// are explored first, as in Dijkstra's algorithm with distances of 0 and 1.
    fn way_back(&mut self, kind: &Kind, of: &[usize], from: usize, to: usize, below: usize) -> Option<usize> {
        self.searches += 1;
        self.reached_in[from] = self.searches;
        self.distance[from] = 0;
        let mut queue = VecDeque::from([(from, 0)]);
        while let Some((node, distance)) = queue.pop_front() {
            if distance >= below {
                return None;
            }
            if node == to {
                return Some(distance);
            }
            if distance > self.distance[node] {
                continue;
            }
            for (place, edge) in self.graph.edges[node].iter().enumerate() {
                self.effort += 1;
                let next = distance + usize::from(edge.reason.is_some());
                let known = self.reached_in[edge.to] == self.searches && self.distance[edge.to] <= next;
                if of[edge.to] != of[from] || known || !kind.goes_back_by(edge) {
                    continue;
                }
                self.reached_in[edge.to] = self.searches;
                self.distance[edge.to] = next;
                self.by[edge.to] = (node, place);
                if edge.reason.is_some() {
                    queue.push_back((edge.to, next));
                } else {
                    queue.push_front((edge.to, next));
                }
            }
        }
        None
    }

    /// The edges of the circle that the last search closed, beginning with `first`.
    fn edges_to(&self, from: usize, to: usize, first: (usize, usize)) -> Vec<(usize, usize)> {
        let mut edges = Vec::new();
        let mut at = to;
        while at != from {
            edges.push(self.by[at]);
            at = self.by[at].0;
        }
        edges.push(first);
        edges.reverse();
        edges
    }

    /// Leaves the waypoints out.
    fn collapse(&self, edges: &[(usize, usize)]) -> FoundCircle {
        let mut circle: FoundCircle = Vec::new();
        let mut open: Option<(usize, Reason, Option<Subject>)> = None;
        for (node, place) in edges {
            let Edge { to, reason, about } = self.graph.edges[*node][*place];
            let (from, reason, earlier) = open.unwrap_or((*node, reason.unwrap_or(Reason::RealTime), None));
            let about = about.or(earlier);
            if to < self.graph.transactions {
                circle.push(FoundLink { from, to, reason, about });
                open = None;
            } else {
                open = Some((from, reason, about));
            }
        }
        circle
    }
}
