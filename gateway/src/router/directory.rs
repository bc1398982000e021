//! Who serves a key: routes, groups and nodes, as far as this gateway knows.
//!
//! One immutable [`Snapshot`] behind an `ArcSwap`: a request loads it once, without a lock. Four sources change it:
//! placement's stream ([`super::watch`]) brings routes and the topology, `StaleRoute` answers refine the routes,
//! `NotLeader` answers and answers from an unexpected node move the leader hints, and a node that cannot be reached
//! loses its hints. Everything here is a hint: what a storage node serves, it checks itself.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use keyspace::{GroupId, KeyRange, NodeId, Route, RouteMap};
use parking_lot::Mutex;
use proto::wire;
use tokio::sync::watch;

use super::link::LinkHandle;

/// What is known at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// `None` before the first word from placement.
    pub(super) routes: Option<RouteMap>,
    pub(super) groups: HashMap<GroupId, Group>,
    pub(super) nodes: HashMap<NodeId, LinkHandle>,
}

/// Where a group is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) voters: Vec<NodeId>,
    pub(super) leader: Option<NodeId>,
    /// Raft term in which `leader` was seen to lead; hints of older terms are ignored.
    pub(super) term: u64,
}

impl Group {
    /// Takes a leader hint unless it is older than what is known. A hint of the same term names the same leader, so
    /// it only brings back what was forgotten.
    fn learn(&mut self, leader: NodeId, term: u64) -> bool {
        let newer = term > self.term || (term == self.term && self.leader.is_none());
        if newer {
            self.leader = Some(leader);
            self.term = term;
        }
        newer
    }
}

impl Snapshot {
    /// The leader of a group, or, where none is known, the voter whose turn it is.
    pub(super) fn node_for(&self, group: GroupId, turn: u32) -> Option<(NodeId, &LinkHandle)> {
        let location = self.groups.get(&group)?;
        let by_turn = || location.voters.get(turn as usize % location.voters.len().max(1)).copied();
        let node = location.leader.or_else(by_turn)?;
        Some((node, self.nodes.get(&node)?))
    }

    /// Whether a leader of the group is known.
    pub(super) fn leader_known(&self, group: GroupId) -> bool {
        self.groups.get(&group).is_some_and(|location| location.leader.is_some())
    }

    /// Writes the present routes of all targets into `request`.
    pub(super) fn address(&self, request: &mut wire::Request, units: usize, intervals: &[KeyRange]) -> Addressed {
        let Some(routes) = &self.routes else { return Addressed::Unknown };
        let mut group = None;
        let mut one_group = true;
        let mut visit = |route: &Route| {
            let serving = serving_group(route);
            one_group &= *group.get_or_insert(serving) == serving;
        };
        for target in &mut request.targets[..units] {
            let route = routes.lookup(&target.key);
            visit(route);
            target.range_id = route.range_id.0;
            target.epoch = route.epoch.0;
        }
        request.targets.truncate(units);
        // The span of a transaction is all of one range, or no plan for the ranges of now.
        let is_step = matches!(request.kind, Some(wire::request::Kind::Transact(_)));
        let mut uncut = true;
        for interval in intervals {
            let overlapping = routes.overlapping(interval);
            uncut &= !is_step || overlapping.len() == 1;
            for route in overlapping {
                visit(route);
                // Overlapping routes share keys with the interval.
                let Some(part) = route.range.intersect(interval) else { continue };
                request.targets.push(wire::Target {
                    key: part.start().clone(),
                    end: part.end().cloned().unwrap_or_default(),
                    is_interval: true,
                    range_id: route.range_id.0,
                    epoch: route.epoch.0,
                });
            }
        }
        match group {
            Some(group) if one_group && uncut => {
                request.group_id = group.0;
                Addressed::To(group)
            }
            Some(_) => Addressed::Apart,
            None => Addressed::Unknown,
        }
    }

    /// Whether units lie in several groups; false while no routes are known.
    pub(super) fn lie_apart(&self, units: &[Bytes]) -> bool {
        let Some(routes) = &self.routes else { return false };
        let mut groups = units.iter().map(|unit| serving_group(routes.lookup(unit)));
        let first = groups.next();
        groups.any(|group| Some(group) != first)
    }

    /// Whether the routes of a request, as it was sent, are still what is known.
    pub(super) fn is_current(&self, sent: &wire::Request, units: usize) -> bool {
        let Some(routes) = &self.routes else { return true };
        sent.targets.iter().enumerate().all(|(index, target)| {
            let route = routes.lookup(&target.key);
            let same_end = index < units || route.range.end().is_none_or(|end| target.end <= *end);
            same_end
                && serving_group(route).0 == sent.group_id
                && (route.range_id.0, route.epoch.0) == (target.range_id, target.epoch)
        })
    }
}

/// The group to ask for a route: where it has moved to, else where it is.
pub(crate) fn serving_group(route: &Route) -> GroupId {
    match route.state {
        keyspace::RangeState::Moved(group) => group,
        _ => route.group,
    }
}

/// Where a request has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addressed {
    /// To the leader of this group.
    To(GroupId),
    /// Its targets lie in several groups.
    Apart,
    /// Nobody knows yet.
    Unknown,
}

/// The current [`Snapshot`] and the ways to change it.
#[derive(Debug, Default)]
pub(super) struct Directory {
    snapshot: ArcSwap<Snapshot>,
    /// Taken to change the snapshot, never to read it.
    editing: Mutex<()>,
    /// Told when nodes come or go.
    nodes_changed: watch::Sender<()>,
}

impl Directory {
    /// What is known now.
    pub(super) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// What is known now, to be kept across other work.
    pub(super) fn load_full(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    fn edit<R>(&self, change: impl FnOnce(&mut Snapshot) -> R) -> R {
        let _editing = self.editing.lock();
        let mut next = Snapshot::clone(&self.snapshot.load());
        let result = change(&mut next);
        self.snapshot.store(Arc::new(next));
        result
    }

    /// Replaces the routes by those of placement; what nodes have reported since stays where it is newer.
    pub(super) fn replace_routes(&self, catalog: &RouteMap) {
        self.edit(|snapshot| {
            let reported = snapshot.routes.as_ref().and_then(|old| catalog.refine(old.routes()));
            snapshot.routes = Some(reported.unwrap_or_else(|| catalog.clone()));
        });
    }

    /// Takes over what a node says of its ranges.
    pub(super) fn refine(&self, reported: &[Route]) {
        let changes = |snapshot: &Snapshot| snapshot.routes.as_ref().and_then(|routes| routes.refine(reported));
        if changes(&self.load()).is_none() {
            return;
        }
        self.edit(|snapshot| {
            if let Some(refined) = changes(snapshot) {
                snapshot.routes = Some(refined);
            }
        });
    }

    /// Replaces addresses and members. `link` opens the link to a node that is new or has another address; links to
    /// nodes that are gone close when their last request is answered.
    pub(super) fn replace_topology(
        &self,
        nodes: &[(NodeId, String)],
        groups: Vec<(GroupId, Group)>,
        link: impl Fn(NodeId, &str) -> LinkHandle,
    ) {
        self.edit(|snapshot| {
            let mut old_nodes = std::mem::take(&mut snapshot.nodes);
            for (node, address) in nodes {
                let kept = old_nodes.remove(node).filter(|old| old.address() == address);
                snapshot.nodes.insert(*node, kept.unwrap_or_else(|| link(*node, address)));
            }
            let mut old_groups = std::mem::take(&mut snapshot.groups);
            for (id, mut group) in groups {
                // Hints learned from the nodes themselves are often newer than placement's.
                if let Some(old) = old_groups.remove(&id)
                    && old.term >= group.term
                {
                    group.leader = old.leader.or(group.leader.filter(|_| group.term == old.term));
                    group.term = old.term;
                }
                snapshot.groups.insert(id, group);
            }
        });
        self.nodes_changed.send_replace(());
    }

    /// Told whenever nodes come or go.
    pub(super) fn nodes_changed(&self) -> watch::Receiver<()> {
        self.nodes_changed.subscribe()
    }

    /// A node said who leads a group. `link` opens a link when the leader is not known yet.
    pub(super) fn learn_leader(
        &self,
        group: GroupId,
        leader: NodeId,
        address: &str,
        term: u64,
        link: impl Fn(NodeId, &str) -> LinkHandle,
    ) {
        let known = |snapshot: &Snapshot| {
            snapshot.groups.get(&group).is_some_and(|location| !location.clone().learn(leader, term))
                && snapshot.nodes.contains_key(&leader)
        };
        if known(&self.load()) {
            return;
        }
        self.edit(|snapshot| {
            if !address.is_empty() {
                snapshot.nodes.entry(leader).or_insert_with(|| link(leader, address));
            }
            if snapshot.nodes.contains_key(&leader) {
                snapshot.groups.entry(group).or_default().learn(leader, term);
            }
        });
    }

    /// A node answered for a group of which no leader was known: it leads.
    pub(super) fn confirm_leader(&self, group: GroupId, node: NodeId) {
        if !self.load().leader_known(group) {
            self.edit(|snapshot| {
                let location = snapshot.groups.entry(group).or_default();
                location.leader.get_or_insert(node);
            });
        }
    }

    /// A node does not lead the group, or cannot be reached: no more hints at it until somebody names it again.
    pub(super) fn forget_leader(&self, group: GroupId, node: NodeId) {
        let hinted = |snapshot: &Snapshot| snapshot.groups.get(&group).is_some_and(|it| it.leader == Some(node));
        if hinted(&self.load()) {
            self.edit(|snapshot| {
                if hinted(snapshot)
                    && let Some(location) = snapshot.groups.get_mut(&group)
                {
                    location.leader = None;
                }
            });
        }
    }
}
