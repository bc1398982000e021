//! The first groups of a cluster: planned when enough nodes are there, then founded by a job.
//!
//! Steps of the job, for each group: create an empty replica on every member, tell the first one to start the group with
//! its ranges. When all groups have started, one commit makes them and their routes visible, as version 1.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use keyspace::{GroupId, NodeId, RangeId, ReplicaId};
use proto::wire;

use super::heartbeat::put_routes;
use super::jobs::{Done, Setback};
use super::{Reconciler, settings};
use crate::catalog::{self, CatalogError, FoundingGroup, GroupRecord, Job, JobId, JobKind, MemberRecord};
use crate::catalog::{Record, RecordId, Snapshot, Transaction};
use crate::plan::bootstrap::{PlannedGroup, plan_bootstrap};
use crate::plan::correct::Correction;

/// Longer than a founding member waits for its group to have a leader.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at who is there, when no heartbeat of a new node causes one.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Reconciler {
    /// Waits for enough living nodes and begins the bootstrap, once in the life of a cluster.
    pub(super) async fn bootstrap_when_complete(self: Arc<Self>) {
        let mut changes = self.presence().changes();
        let mut told = None;
        loop {
            match self.try_begin_bootstrap().await {
                Ok(None) => return,
                Ok(Some(present)) if told != Some(present) => {
                    let wanted = self.policy.bootstrap_nodes;
                    tracing::info!(present, wanted, "waiting for storage nodes to bootstrap the cluster");
                    told = Some(present);
                }
                Ok(Some(_)) => {}
                Err(error) => tracing::error!(%error, "the bootstrap cannot begin"),
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = changes.changed() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// `None`: it has begun, now or long ago. Otherwise how many living nodes there are.
    async fn try_begin_bootstrap(self: &Arc<Self>) -> Result<Option<usize>, CatalogError> {
        enum Found {
            Begun,
            TooFew(usize),
            Begin(Job),
        }
        let found = catalog::update(self.catalog(), |snapshot| {
            let transaction = Transaction::over(snapshot);
            let bootstrapping = |job: &Job| matches!(job.kind, JobKind::Bootstrap { .. });
            if snapshot.route_version() > 0 || snapshot.jobs().any(bootstrapping) {
                return Ok((transaction, Found::Begun));
            }
            let now = Instant::now();
            let alive = snapshot.nodes().map(|node| node.node).filter(|node| self.presence().node(*node, now).alive);
            let nodes: Vec<NodeId> = alive.collect();
            if nodes.len() < self.policy.bootstrap_nodes {
                return Ok((transaction, Found::TooFew(nodes.len())));
            }
            let mut settings = settings(snapshot)?;
            let plan: Vec<FoundingGroup> =
                plan_bootstrap(&nodes, self.policy.groups).into_iter().map(founding).collect();
            let largest_range = plan.iter().flat_map(|group| &group.routes).map(|route| route.range_id).max();
            settings.next_range = RangeId(largest_range.unwrap_or_default().0 + 1);
            settings.next_group = GroupId(u64::from(self.policy.groups) + 1);
            let job = Job { id: settings.take_job(), kind: JobKind::Bootstrap { groups: plan } };
            let transaction = transaction.put(Record::Settings(settings)).put(Record::Job(job.clone()));
            Ok::<_, CatalogError>((transaction, Found::Begin(job)))
        });
        Ok(match found.await? {
            Found::Begun => None,
            Found::TooFew(present) => Some(present),
            Found::Begin(job) => {
                tracing::info!(job = %job.id, groups = self.policy.groups, "bootstrapping the cluster");
                self.start_job(job, false);
                None
            }
        })
    }

    /// Founds every group, then publishes all of them.
    pub(super) async fn attempt_bootstrap(&self, job: JobId, groups: &[FoundingGroup]) -> Result<Done, Setback> {
        let snapshot = self.catalog().snapshot().await?;
        try_join_all(groups.iter().map(|group| self.found_group(&snapshot, group))).await?;
        catalog::update(self.catalog(), |snapshot| {
            let mut transaction = Transaction::over(snapshot);
            if snapshot.job(job).is_none() {
                return Ok((transaction, ()));
            }
            for group in groups {
                let next_replica = ReplicaId(group.members.len() as u64 + 1);
                let members = group.members.clone();
                transaction = transaction.put(Record::Group(GroupRecord { group: group.group, members, next_replica }));
            }
            let upserted = groups.iter().flat_map(|group| group.routes.clone()).collect();
            transaction = put_routes(snapshot, Correction { removed: Vec::new(), upserted }, transaction);
            Ok::<_, CatalogError>((transaction.delete(RecordId::Job(job)), ()))
        })
        .await?;
        Ok(Done::Bootstrapped)
    }

    async fn found_group(&self, snapshot: &Snapshot, group: &FoundingGroup) -> Result<(), Setback> {
        let id = group.group;
        try_join_all(group.members.iter().map(|member| self.create_replica(snapshot, id, *member))).await?;
        let request = wire::InitializeGroupRequest {
            group_id: id.0,
            members: group.members.iter().map(wire_member).collect(),
            nodes: wire_nodes(snapshot, &group.members),
            ranges: group.routes.iter().map(proto::route::range_report).collect(),
        };
        // The first member starts the group. When this is repeated, another one may lead by now.
        let started = self.call_leader(snapshot, id, &group.members, CALL_DEADLINE, |mut client| {
            let request = request.clone();
            async move { client.initialize_group(request).await }
        });
        started.await.map_err(Setback::waiting)?;
        Ok(())
    }

    /// Makes a node hold an empty replica, unless it holds it already.
    pub(super) async fn create_replica(
        &self,
        snapshot: &Snapshot,
        group: GroupId,
        member: MemberRecord,
    ) -> Result<(), Setback> {
        let request = wire::CreateReplicaRequest { group_id: group.0, replica_id: member.replica.0 };
        let created = self.call_node(snapshot, member.node, CALL_DEADLINE, |mut client| async move {
            client.create_replica(request).await
        });
        created.await.map_err(Setback::waiting)?;
        Ok(())
    }
}

fn founding(planned: PlannedGroup) -> FoundingGroup {
    let member = |(replica, node)| MemberRecord { replica, node, voter: true };
    FoundingGroup {
        group: planned.group,
        members: planned.members.into_iter().map(member).collect(),
        routes: planned.routes,
    }
}

/// A member in the form of a request.
pub(super) fn wire_member(member: &MemberRecord) -> wire::Member {
    let MemberRecord { replica, node, voter } = *member;
    wire::Member { replica_id: replica.0, node_id: node.0, voter, matched_index: 0 }
}

/// Where the nodes of some members are.
pub(super) fn wire_nodes(snapshot: &Snapshot, members: &[MemberRecord]) -> Vec<wire::NodeStatus> {
    let known = members.iter().filter_map(|member| snapshot.node(member.node));
    known
        .map(|node| wire::NodeStatus { node_id: node.node.0, address: node.address.clone(), ..Default::default() })
        .collect()
}
