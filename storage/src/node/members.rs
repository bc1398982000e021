//! Changing the members of a group: one step at a time, by compare-and-set.
//!
//! A new member starts as a learner; once it has caught up, one joint change makes the wanted voters the voters. A
//! change that a failover left half done is finished by asking for the same members again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::errors::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, Precondition, RaftMetrics};
use proto::wire;

use super::replica::{Replica, ReplicaError};
use crate::raft::types::{PeerNode, TypeConfig};

/// A learner is promoted when it lacks at most this many entries.
const CAUGHT_UP_ENTRIES: u64 = 64;
/// How long one call waits for learners to catch up; the placement asks again.
const CATCH_UP: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The members as openraft knows them.
pub fn members(metrics: &RaftMetrics<TypeConfig>) -> Vec<wire::Member> {
    let membership = metrics.membership_config.membership();
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let matched = |id: &u64| {
        let matched = metrics.replication.as_ref().and_then(|all| all.get(id).cloned()).flatten();
        matched.map_or(0, |log_id| log_id.index())
    };
    membership
        .nodes()
        .map(|(id, node)| wire::Member {
            replica_id: *id,
            node_id: node.node_id,
            voter: voters.contains(id),
            matched_index: matched(id),
        })
        .collect()
}

/// Identity of a membership: who is in, and who votes.
fn shape(members: &[wire::Member]) -> BTreeMap<u64, (u64, bool)> {
    members.iter().map(|member| (member.replica_id, (member.node_id, member.voter))).collect()
}

/// Takes the group from its present members to the wanted ones. Succeeds at once when they are.
pub async fn change(
    replica: &Replica,
    expected: &[wire::Member],
    wanted: &[wire::Member],
    addresses: &BTreeMap<u64, String>,
) -> Result<Vec<wire::Member>, ReplicaError> {
    let group = replica.group;
    let retry = |reason: String| ReplicaError::Retry { group, reason };
    let present = members(&replica.metrics());
    let joint = replica.metrics().membership_config.membership().get_joint_config().len() > 1;
    if shape(&present) == shape(wanted) && !joint {
        return Ok(present);
    }
    let known = |members: &[wire::Member]| members.iter().map(|member| member.replica_id).collect::<BTreeSet<_>>();
    let began = known(&present).is_superset(&known(expected)) && known(&present).is_subset(&union(expected, wanted));
    if !began {
        return Err(retry("the group has other members by now".to_owned()));
    }
    let newcomers: BTreeMap<u64, PeerNode> = wanted
        .iter()
        .filter(|member| !known(&present).contains(&member.replica_id))
        .map(|member| {
            let address = addresses.get(&member.node_id).cloned().unwrap_or_default();
            (member.replica_id, PeerNode { node_id: member.node_id, address })
        })
        .collect();
    if !newcomers.is_empty() {
        step(replica, ChangeMembers::AddNodes(newcomers)).await?;
    }
    let voters: BTreeSet<u64> = wanted.iter().filter(|member| member.voter).map(|member| member.replica_id).collect();
    await_caught_up(replica, &voters).await?;
    step(replica, ChangeMembers::ReplaceAllVoters(voters)).await?;
    let wanted_ids = known(wanted);
    let present = members(&replica.metrics());
    let leftover: BTreeSet<u64> = known(&present).difference(&wanted_ids).copied().collect();
    if !leftover.is_empty() {
        step(replica, ChangeMembers::RemoveNodes(leftover)).await?;
    }
    replica.learn_voters();
    Ok(members(&replica.metrics()))
}

fn union(a: &[wire::Member], b: &[wire::Member]) -> BTreeSet<u64> {
    a.iter().chain(b).map(|member| member.replica_id).collect()
}

/// One membership entry (two for a joint change), refused when the membership has changed meanwhile.
async fn step(replica: &Replica, change: ChangeMembers<u64, PeerNode>) -> Result<(), ReplicaError> {
    let seen = *replica.metrics().membership_config.log_id();
    let precondition = Precondition::LastMembershipLogId { last_membership_log_id: seen };
    match replica.raft.change_membership_if(change, true, [precondition]).await {
        Ok(_) => Ok(()),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Err(ReplicaError::NotLeader(replica.group)),
        Err(error) => Err(ReplicaError::Retry { group: replica.group, reason: error.to_string() }),
    }
}

async fn await_caught_up(replica: &Replica, voters: &BTreeSet<u64>) -> Result<(), ReplicaError> {
    let deadline = tokio::time::Instant::now() + CATCH_UP;
    loop {
        let metrics = replica.metrics();
        let Some(replication) = &metrics.replication else { return Err(ReplicaError::NotLeader(replica.group)) };
        let last = metrics.last_log_index.unwrap_or_default();
        let lags = |voter: &&u64| {
            let matched = replication.get(*voter).cloned().flatten().map_or(0, |log_id| log_id.index());
            matched + CAUGHT_UP_ENTRIES < last
        };
        let behind: Vec<_> = voters.iter().filter(lags).collect();
        if behind.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            let reason = format!("replicas {behind:?} have not caught up yet");
            return Err(ReplicaError::Retry { group: replica.group, reason });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
