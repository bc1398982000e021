//! `Cluster`: storage nodes report here, operators look here.

use std::sync::Arc;
use std::time::Instant;

use keyspace::{NodeId, ReplicaId};
use proto::identity::{group_id, known_node, node_id, replica_id};
use proto::route::reported_route;
use proto::wire::cluster_server::Cluster;
use proto::{Fault, WireError, wire};
use tonic::{Request, Response, Status};

use super::{Services, faults};
use crate::catalog::{JobKind, MemberRecord, Snapshot};
use crate::reconcile::Reconciler;
use crate::reconcile::heartbeat::Heartbeat;
use crate::reconcile::presence::{LeaderReport, ReplicaReport};

#[tonic::async_trait]
impl Cluster for Services {
    async fn register_node(
        &self,
        request: Request<wire::RegisterNodeRequest>,
    ) -> Result<Response<wire::RegisterNodeResponse>, Status> {
        let wire::RegisterNodeRequest { node_id, disk_id, address } = request.into_inner();
        let registered = self.leading()?.register(known_node(node_id), &disk_id, &address).await;
        let registered = registered.map_err(|error| faults::of_register(&error))?;
        Ok(Response::new(wire::RegisterNodeResponse { node_id: registered.node.0, cluster_id: registered.cluster_id }))
    }

    async fn heartbeat(
        &self,
        request: Request<wire::HeartbeatRequest>,
    ) -> Result<Response<wire::HeartbeatResponse>, Status> {
        let reconciler = self.leading()?;
        let beat = heartbeat(request.into_inner())?;
        reconciler.heartbeat(beat).await.map_err(|error| faults::of_heartbeat(&error))?;
        let oracle = reconciler.oracle().next().await.map_err(|error| faults::of_oracle(&error))?;
        let snapshot = self.snapshot().await?;
        Ok(Response::new(wire::HeartbeatResponse {
            nodes: nodes(reconciler, &snapshot),
            oracle,
            safe_point: reconciler.safe_point(oracle),
        }))
    }

    async fn nodes(&self, _request: Request<wire::NodesRequest>) -> Result<Response<wire::NodesResponse>, Status> {
        let snapshot = self.snapshot().await?;
        Ok(Response::new(wire::NodesResponse { nodes: nodes(self.leading()?, &snapshot) }))
    }

    async fn groups(&self, _request: Request<wire::GroupsRequest>) -> Result<Response<wire::GroupsResponse>, Status> {
        let reconciler = self.leading()?;
        let snapshot = self.snapshot().await?;
        let groups = snapshot.groups().map(|group| {
            let leader = reconciler.presence().leader(group.group);
            let matched = |member: &MemberRecord| leader.matched.get(&member.replica).copied().unwrap_or(0);
            let ranges = snapshot.routes().filter(|route| route.group == group.group).count();
            wire::GroupStatus {
                group_id: group.group.0,
                members: group.members.iter().map(|member| on_wire(member, matched(member))).collect(),
                leader_node_id: leader.node.unwrap_or_default().0,
                term: leader.term,
                applied_index: leader.applied_index,
                ranges: u32::try_from(ranges).unwrap_or(u32::MAX),
            }
        });
        Ok(Response::new(wire::GroupsResponse { groups: groups.collect() }))
    }

    async fn change_members(
        &self,
        request: Request<wire::ChangeGroupMembersRequest>,
    ) -> Result<Response<wire::ChangeGroupMembersResponse>, Status> {
        let request = request.into_inner();
        let group = group_id("ChangeGroupMembersRequest", request.group_id)?;
        let (add, remove) = (known_node(request.add_node_id), known_node(request.remove_node_id));
        let members = self.leading()?.change_members(group, add, remove).await;
        let members = members.map_err(|error| faults::of_members(&error))?;
        let members = members.iter().map(|member| on_wire(member, 0)).collect();
        Ok(Response::new(wire::ChangeGroupMembersResponse { members }))
    }

    async fn jobs(&self, _request: Request<wire::JobsRequest>) -> Result<Response<wire::JobsResponse>, Status> {
        let reconciler = self.leading()?;
        let snapshot = self.snapshot().await?;
        let jobs = snapshot.jobs().map(|job| wire::JobStatus {
            job_id: job.id.0,
            kind: job.kind.name().to_owned(),
            description: describe(&job.kind),
            last_failure: reconciler.last_failure(job.id).unwrap_or_default(),
        });
        Ok(Response::new(wire::JobsResponse { jobs: jobs.collect() }))
    }
}

fn nodes(reconciler: &Reconciler, snapshot: &Arc<Snapshot>) -> Vec<wire::NodeStatus> {
    let status = |node: &crate::catalog::NodeRecord| {
        let presence = reconciler.presence().node(node.node, Instant::now());
        wire::NodeStatus {
            node_id: node.node.0,
            address: node.address.clone(),
            silent_ms: u64::try_from(presence.silent.as_millis()).unwrap_or(u64::MAX),
            alive: presence.alive,
            replicas: presence.replicas,
            leaders: presence.leaders,
        }
    };
    snapshot.nodes().map(status).collect()
}

fn on_wire(member: &MemberRecord, matched_index: u64) -> wire::Member {
    wire::Member { replica_id: member.replica.0, node_id: member.node.0, voter: member.voter, matched_index }
}

fn describe(kind: &JobKind) -> String {
    match kind {
        JobKind::Bootstrap { groups } => format!("found {} groups", groups.len()),
        JobKind::Split { group, range, left, right, .. } => {
            format!("split route {range} of group {group} into {left} and {right}")
        }
        JobKind::ChangeMembers { group, add, remove } => {
            let add = add.map(|member| format!(", add a replica on node {}", member.node));
            let remove = remove.map(|member| format!(", remove that on node {}", member.node));
            format!("group {group}{}{}", add.unwrap_or_default(), remove.unwrap_or_default())
        }
        JobKind::RemoveReplica { group, member } => {
            format!("group {group}, delete the data of replica {} on node {}", member.replica, member.node)
        }
    }
}

/// A heartbeat whose every part is valid, or the reason why it is not.
fn heartbeat(beat: wire::HeartbeatRequest) -> Result<Heartbeat, Fault> {
    let replicas = beat.replicas.into_iter().map(replica_report).collect::<Result<_, WireError>>()?;
    let node = node_id("HeartbeatRequest", beat.node_id)?;
    Ok(Heartbeat { node, address: beat.address, replicas, seen_e: beat.seen_e })
}

fn replica_report(report: wire::ReplicaReport) -> Result<ReplicaReport, WireError> {
    let group = group_id("ReplicaReport", report.group_id)?;
    let leading = match report.group.filter(|_| report.leading) {
        None if report.leading => Some(LeaderReport::default()),
        None => None,
        Some(known) => {
            let mut members: Vec<_> = known.members.into_iter().map(member).collect::<Result<_, WireError>>()?;
            members.sort_unstable();
            let routes = known.ranges.into_iter().map(|range| reported_route(range, group));
            Some(LeaderReport { members, routes: routes.collect::<Result<_, WireError>>()? })
        }
    };
    Ok(ReplicaReport {
        group,
        replica: replica_id("ReplicaReport", report.replica_id)?,
        term: report.term,
        applied_index: report.applied_index,
        leading,
    })
}

fn member(member: wire::Member) -> Result<(MemberRecord, u64), WireError> {
    let replica: ReplicaId = replica_id("Member", member.replica_id)?;
    let node: NodeId = node_id("Member", member.node_id)?;
    Ok((MemberRecord { replica, node, voter: member.voter }, member.matched_index))
}
