//! What heartbeats have said lately: who is alive, who leads. Kept in memory only; after a restart it is complete again
//! within one heartbeat of every node, and until then nobody is known to be alive. Time is handed in.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use keyspace::{GroupId, NodeId, ReplicaId, Route};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::catalog::MemberRecord;

/// A replica, as its node reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaReport {
    /// Its group.
    pub group: GroupId,
    /// Its identity in the group.
    pub replica: ReplicaId,
    /// Its Raft term.
    pub term: u64,
    /// Index of the last entry it has applied.
    pub applied_index: u64,
    /// What it knows as the leader of that term; `None` when it does not lead.
    pub leading: Option<LeaderReport>,
}

/// What a leader knows of its group, from applied state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderReport {
    /// Voters and learners, ordered by replica, each with the last log index it is known to hold.
    pub members: Vec<(MemberRecord, u64)>,
    /// The ranges of the group.
    pub routes: Vec<Route>,
}

/// The newest claim to lead a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leader {
    /// Who leads; `None` when the last known leader has said that it does not lead any more.
    pub node: Option<NodeId>,
    /// The term of the claim.
    pub term: u64,
    /// What the leader had applied.
    pub applied_index: u64,
    /// How far each replica was known to be.
    pub matched: BTreeMap<ReplicaId, u64>,
}

/// How a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePresence {
    /// Since its last heartbeat, or since this placement started.
    pub silent: Duration,
    /// Whether it has been heard, and not too long ago.
    pub alive: bool,
    /// Replicas that it holds.
    pub replicas: u32,
    /// Replicas that lead.
    pub leaders: u32,
}

/// What heartbeats have said lately.
pub struct Presence {
    node_timeout: Duration,
    started: Instant,
    heard: Mutex<Heard>,
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct Heard {
    nodes: HashMap<NodeId, NodeHeard>,
    leaders: HashMap<GroupId, Leader>,
}

struct NodeHeard {
    at: Instant,
    replicas: u32,
    leaders: u32,
}

impl Presence {
    /// Nobody has been heard yet.
    pub fn new(node_timeout: Duration, now: Instant) -> Self {
        let changes = watch::Sender::new(());
        Self { node_timeout, started: now, heard: Mutex::default(), changes }
    }

    /// A node has registered: it is there, and what it holds is not known yet.
    pub fn hear_registration(&self, node: NodeId, now: Instant) {
        self.heard.lock().nodes.insert(node, NodeHeard { at: now, replicas: 0, leaders: 0 });
        self.changes.send_replace(());
    }

    /// Takes in a heartbeat. Answers the groups whose newest leader this node is by it: only their reports count.
    pub fn hear(&self, node: NodeId, replicas: &[ReplicaReport], now: Instant) -> Vec<GroupId> {
        let mut heard = self.heard.lock();
        let mut leads = Vec::new();
        let mut changed = false;
        for report in replicas {
            let known = heard.leaders.entry(report.group).or_default();
            let before = (known.node, known.term);
            match &report.leading {
                Some(leading) if report.term >= known.term => {
                    let matched = leading.members.iter().map(|(member, index)| (member.replica, *index)).collect();
                    let (term, applied_index) = (report.term, report.applied_index);
                    *known = Leader { node: Some(node), term, applied_index, matched };
                    leads.push(report.group);
                }
                None if known.node == Some(node) && report.term >= known.term => known.node = None,
                _ => {}
            }
            changed |= before != (known.node, known.term);
        }
        let entry = NodeHeard { at: now, replicas: count(replicas.len()), leaders: count(leads.len()) };
        let returned = heard
            .nodes
            .insert(node, entry)
            .is_none_or(|before| now.saturating_duration_since(before.at) > self.node_timeout);
        drop(heard);
        if changed || returned {
            self.changes.send_replace(());
        }
        leads
    }

    /// How a node is doing.
    pub fn node(&self, node: NodeId, now: Instant) -> NodePresence {
        match self.heard.lock().nodes.get(&node) {
            Some(heard) => {
                let silent = now.saturating_duration_since(heard.at);
                let alive = silent <= self.node_timeout;
                NodePresence { silent, alive, replicas: heard.replicas, leaders: heard.leaders }
            }
            None => NodePresence {
                silent: now.saturating_duration_since(self.started),
                alive: false,
                replicas: 0,
                leaders: 0,
            },
        }
    }

    /// The newest known leader of a group.
    pub fn leader(&self, group: GroupId) -> Leader {
        self.heard.lock().leaders.get(&group).cloned().unwrap_or_default()
    }

    /// Wakes when a leader changes or a node appears. A node that falls silent wakes nobody.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(term: u64, leads: bool) -> ReplicaReport {
        let leading = leads.then(LeaderReport::default);
        ReplicaReport { group: GroupId(1), replica: ReplicaId(1), term, applied_index: 9, leading }
    }

    fn leader(presence: &Presence) -> (Option<NodeId>, u64) {
        let leader = presence.leader(GroupId(1));
        (leader.node, leader.term)
    }

    #[test]
    fn a_silent_node_dies_and_comes_back() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let presence = Presence::new(Duration::from_secs(5), start);
        assert!(!presence.node(NodeId(1), at(0)).alive, "never heard");
        let mut changes = presence.changes();
        presence.hear(NodeId(1), &[report(3, true)], at(1));
        let node = presence.node(NodeId(1), at(1));
        assert!(node.alive && changes.has_changed().is_ok_and(|changed| changed));
        assert_eq!((node.replicas, node.leaders), (1, 1));

        changes.mark_unchanged();
        presence.hear(NodeId(1), &[report(3, true)], at(2));
        assert!(changes.has_changed().is_ok_and(|changed| !changed), "nothing new");

        let node = presence.node(NodeId(1), at(8));
        assert_eq!((node.alive, node.silent), (false, Duration::from_secs(6)));
        presence.hear(NodeId(1), &[report(3, true)], at(9));
        assert!(presence.node(NodeId(1), at(9)).alive);
        assert!(changes.has_changed().is_ok_and(|changed| changed));
    }

    #[test]
    fn the_leader_of_the_highest_term_counts() {
        let now = Instant::now();
        let presence = Presence::new(Duration::from_secs(5), now);
        let hear = |node, term, leads| presence.hear(NodeId(node), &[report(term, leads)], now);
        assert_eq!(leader(&presence), (None, 0));
        assert_eq!(hear(1, 3, true), [GroupId(1)]);
        assert_eq!(hear(2, 4, true), [GroupId(1)]);
        assert_eq!(hear(1, 3, true), [], "deposed without knowing it");
        assert_eq!(leader(&presence), (Some(NodeId(2)), 4));
        hear(1, 4, false);
        assert_eq!(leader(&presence), (Some(NodeId(2)), 4));
        hear(2, 5, false);
        assert_eq!(leader(&presence), (None, 4), "it says itself that it does not lead any more");
    }
}
