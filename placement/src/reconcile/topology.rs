//! Where the groups are, for gateways: addresses and members from the catalog, leaders from heartbeats.

use std::sync::Arc;

use futures::StreamExt;
use keyspace::{GroupId, NodeId};

use super::Reconciler;
use super::presence::Presence;
use crate::catalog::Snapshot;

/// Where the groups are. Carries no version: the newest wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Every registered node and its address.
    pub nodes: Vec<(NodeId, String)>,
    /// Every group.
    pub groups: Vec<GroupLocation>,
}

/// Where one group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLocation {
    /// The group.
    pub group: GroupId,
    /// The nodes of its voters.
    pub voters: Vec<NodeId>,
    /// The node that leads, as far as known.
    pub leader: Option<NodeId>,
    /// The Raft term of that knowledge.
    pub term: u64,
}

impl Reconciler {
    /// Makes every subscriber see the newest topology, until the placement stops.
    pub(super) async fn publish_topology(self: Arc<Self>) {
        let mut changes = self.presence().changes();
        loop {
            let snapshot = match self.catalog().snapshot().await {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    tracing::error!(%error, "gateways hear no more of changes of the topology");
                    return;
                }
            };
            let newest = topology(&snapshot, self.presence());
            self.topology.send_if_modified(|current| {
                let changed = **current != newest;
                *current = Arc::new(newest);
                changed
            });
            // The next commit is enough to look again; one that was missed is in the next snapshot.
            let watch = self.catalog().watch(snapshot.revision()).await;
            let mut commits = match watch {
                Ok(commits) => commits,
                Err(_) => continue,
            };
            tokio::select! {
                () = self.stopping().cancelled() => return,
                _ = commits.next() => {}
                _ = changes.changed() => {}
            }
        }
    }
}

fn topology(snapshot: &Snapshot, presence: &Presence) -> Topology {
    let nodes = snapshot.nodes().map(|node| (node.node, node.address.clone())).collect();
    let groups = snapshot.groups().map(|record| {
        let voters = record.members.iter().filter(|member| member.voter).map(|member| member.node).collect();
        let leader = presence.leader(record.group);
        GroupLocation { group: record.group, voters, leader: leader.node, term: leader.term }
    });
    Topology { nodes, groups: groups.collect() }
}
