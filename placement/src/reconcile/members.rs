//! Giving a group a replica on another node, taking one away, or both: a replica moves.
//!
//! Steps of the job: create an empty replica on the new node; the group's leader makes it a learner, waits until it has
//! caught up and changes the members in one joint step; one commit writes the members down and replaces this job by
//! one that deletes the old replica's data, which waits for its node if that is away. Replica identities are taken from the
//! group's counter and never used twice, so that the data of an old replica is never mistaken for a new one's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use keyspace::{GroupId, NodeId, ReplicaId};
use proto::{Fault, FaultCode, wire};
use thiserror::Error;

use super::bootstrap::{wire_member, wire_nodes};
use super::call::CallError;
use super::jobs::{Done, Setback};
use super::{Reconciler, settings};
use crate::catalog::{self, CatalogError, GroupRecord, Job, JobId, JobKind, MemberRecord, Record, RecordId};
use crate::catalog::{Settings, Transaction};
use crate::plan::members::{MembersRefusal, check_change};

/// A new replica has to catch up before the leader answers.
const CHANGE_DEADLINE: Duration = Duration::from_secs(60);
const REMOVE_DEADLINE: Duration = Duration::from_secs(10);
/// How long the caller waits; the job goes on without it.
const ANSWER_DEADLINE: Duration = Duration::from_secs(120);

/// Why the members of a group were not changed, or not yet.
#[derive(Clone, Debug, Error)]
pub enum MembersError {
    /// No such group.
    #[error("there is no group {0}")]
    UnknownGroup(GroupId),
    /// The change makes no sense.
    #[error("group {group}: {refusal}")]
    Refused {
        /// The group.
        group: GroupId,
        /// What is wrong with the change.
        refusal: MembersRefusal,
    },
    /// One change at a time.
    #[error("job {job} is changing the members of group {group} already; try again when it is done")]
    Busy {
        /// The group.
        group: GroupId,
        /// The job.
        job: JobId,
    },
    /// The group refused it. Its members are as they were.
    #[error(transparent)]
    Group(Fault),
    /// The job goes on without the caller.
    #[error("job {job} is still changing the members of group {group}; list the jobs to see what it waits for")]
    StillRunning {
        /// The group.
        group: GroupId,
        /// The job.
        job: JobId,
    },
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Reconciler {
    /// Gives `group` a voter on the node `add` and takes away the replica on `remove`. Answers the new members.
    pub async fn change_members(
        self: &Arc<Self>,
        group: GroupId,
        add: Option<NodeId>,
        remove: Option<NodeId>,
    ) -> Result<Vec<MemberRecord>, MembersError> {
        let job = self.plan_change(group, add, remove).await?;
        let id = job.id;
        let progress = self.start_job(job, false);
        let still_running = || MembersError::StillRunning { group, job: id };
        let finished = tokio::time::timeout(ANSWER_DEADLINE, self.finished(progress));
        match finished.await.map_err(|_| still_running())?.ok_or_else(still_running)? {
            Ok(Done::MembersChanged(members)) => Ok(members),
            Ok(other) => unreachable!("a change of members ends with members, not with {other:?}"),
            Err(fault) => Err(MembersError::Group(fault)),
        }
    }

    /// Checks the request, takes a replica identity and writes the job, all over one snapshot.
    async fn plan_change(
        &self,
        group: GroupId,
        add: Option<NodeId>,
        remove: Option<NodeId>,
    ) -> Result<Job, MembersError> {
        catalog::update(self.catalog(), |snapshot| {
            let mut record = snapshot.group(group).cloned().ok_or(MembersError::UnknownGroup(group))?;
            if let Some(busy) = snapshot.jobs().find(|job| changes(job, group)) {
                return Err(MembersError::Busy { group, job: busy.id });
            }
            let members: BTreeSet<NodeId> = record.members.iter().map(|member| member.node).collect();
            let known: BTreeSet<NodeId> = snapshot.nodes().map(|node| node.node).collect();
            check_change(&members, &known, add, remove).map_err(|refusal| MembersError::Refused { group, refusal })?;
            let remove = remove.and_then(|node| record.member_on(node).copied());
            let add = add.map(|node| {
                let replica = record.next_replica;
                record.next_replica = ReplicaId(replica.0 + 1);
                MemberRecord { replica, node, voter: true }
            });
            let mut settings = settings(snapshot)?;
            let job = Job { id: settings.take_job(), kind: JobKind::ChangeMembers { group, add, remove } };
            let transaction = Transaction::over(snapshot)
                .put(Record::Settings(settings))
                .put(Record::Group(record))
                .put(Record::Job(job.clone()));
            Ok((transaction, job))
        })
        .await
    }

    /// Brings the new replica in and the old one out.
    pub(super) async fn attempt_change(
        self: &Arc<Self>,
        job: JobId,
        group: GroupId,
        add: Option<MemberRecord>,
        remove: Option<MemberRecord>,
    ) -> Result<Done, Setback> {
        let snapshot = self.catalog().snapshot().await?;
        if let Some(added) = add {
            self.create_replica(&snapshot, group, added).await?;
        }
        let lost = || Setback::Later { reason: format!("the catalog has lost group {group}"), untouched: false };
        // The members as the leader last reported them: after a crash the change may be half done.
        let current = &snapshot.group(group).ok_or_else(lost)?.members;
        let wanted = wanted(current, add, remove);
        let everybody: Vec<MemberRecord> = current.iter().copied().chain(add).collect();
        let request = wire::ChangeMembersRequest {
            group_id: group.0,
            expected: current.iter().map(wire_member).collect(),
            wanted: wanted.iter().map(wire_member).collect(),
            nodes: wire_nodes(&snapshot, &everybody),
        };
        let answer = self.call_leader(&snapshot, group, &everybody, CHANGE_DEADLINE, |mut client| {
            let request = request.clone();
            async move { client.change_members(request).await }
        });
        match answer.await {
            Ok(_) => {}
            Err(CallError::Refused(fault)) if fault.code == FaultCode::InvalidArgument => {
                return Err(Setback::Refused(fault));
            }
            // Such as: the group has other members than the catalog believes. Its leader's next heartbeat says which.
            Err(other) => return Err(Setback::waiting(other)),
        }
        let removal = catalog::update(self.catalog(), |snapshot| {
            let mut transaction = Transaction::over(snapshot);
            let (Some(_), Some(known)) = (snapshot.job(job), snapshot.group(group)) else {
                return Ok((transaction, None));
            };
            let record = GroupRecord { members: wanted.clone(), ..known.clone() };
            transaction = transaction.put(Record::Group(record)).delete(RecordId::Job(job));
            let Some(member) = remove else { return Ok((transaction, None)) };
            let mut settings: Settings = settings(snapshot)?;
            let removal = Job { id: settings.take_job(), kind: JobKind::RemoveReplica { group, member } };
            transaction = transaction.put(Record::Settings(settings)).put(Record::Job(removal.clone()));
            Ok::<_, CatalogError>((transaction, Some(removal)))
        });
        if let Some(removal) = removal.await? {
            self.start_job(removal, false);
        }
        Ok(Done::MembersChanged(wanted))
    }

    /// Deletes the data of a replica that is no member any more.
    pub(super) async fn attempt_removal(
        &self,
        job: JobId,
        group: GroupId,
        member: MemberRecord,
    ) -> Result<Done, Setback> {
        let snapshot = self.catalog().snapshot().await?;
        let request = wire::RemoveReplicaRequest { group_id: group.0, replica_id: member.replica.0 };
        let removed = self.call_node(&snapshot, member.node, REMOVE_DEADLINE, |mut client| async move {
            client.remove_replica(request).await
        });
        removed.await.map_err(Setback::waiting)?;
        catalog::update(self.catalog(), |snapshot| {
            let transaction = Transaction::over(snapshot);
            Ok::<_, CatalogError>(match snapshot.job(job) {
                Some(_) => (transaction.delete(RecordId::Job(job)), ()),
                None => (transaction, ()),
            })
        })
        .await?;
        Ok(Done::ReplicaRemoved)
    }
}

fn changes(job: &Job, wanted: GroupId) -> bool {
    matches!(job.kind, JobKind::ChangeMembers { group, .. } if group == wanted)
}

/// The members after the change, whether or not a part of it has happened.
fn wanted(current: &[MemberRecord], add: Option<MemberRecord>, remove: Option<MemberRecord>) -> Vec<MemberRecord> {
    let replaced = |member: &&MemberRecord| {
        let replica = member.replica;
        remove.is_none_or(|removed| removed.replica != replica) && add.is_none_or(|added| added.replica != replica)
    };
    current.iter().filter(replaced).copied().chain(add).collect()
}
