//! What the placement tells this node to do. Every call may be repeated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keyspace::{Epoch, GroupId, RangeId, ReplicaId, Route};
use openraft::errors::{InitializeError, RaftError};
use proto::status::{Fault, FaultCode};
use proto::wire;
use tonic::{Request, Response, Status};

use crate::group::execute::{Internal, InternalDone};
use crate::group::split::{SplitError, SplitRequest};
use crate::node::replica::{Replica, ReplicaError};
use crate::node::{Node, NodeError, members};
use crate::raft::types::PeerNode;

/// A founding member waits this long for its group to have a leader.
const FOUNDING: Duration = Duration::from_secs(10);

/// The `Replicas` service of a node.
pub struct ReplicaService {
    node: Arc<Node>,
}

impl ReplicaService {
    /// Of this node.
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    fn find(&self, group: GroupId) -> Result<Arc<Replica>, Status> {
        let missing = || Fault::new(FaultCode::NotFound, format!("no replica of group {group} lives here"));
        self.node.find(group).ok_or_else(|| missing().into())
    }

    fn learn_addresses(&self, nodes: &[wire::NodeStatus]) -> BTreeMap<u64, String> {
        for node in nodes.iter().filter(|node| node.node_id != self.node.id.0) {
            self.node.transport.set_address(node.node_id.into(), &node.address);
        }
        nodes.iter().map(|node| (node.node_id, node.address.clone())).collect()
    }
}

fn status_of_replica(error: ReplicaError) -> Status {
    let code = match &error {
        ReplicaError::NotLeader(_) => FaultCode::NotLeading,
        ReplicaError::Retry { .. } => FaultCode::Unavailable,
        ReplicaError::Start { .. } | ReplicaError::State(_) => FaultCode::Internal,
    };
    Fault::new(code, error.to_string()).into()
}

fn status_of_node(error: NodeError) -> Status {
    let code = match error {
        NodeError::Replica(error) => return status_of_replica(error),
        NodeError::Occupied { .. } | NodeError::StillMember { .. } => FaultCode::FailedPrecondition,
        NodeError::Disk(_) => FaultCode::Internal,
    };
    Fault::new(code, error.to_string()).into()
}

fn status_of_split(error: SplitError) -> Status {
    let code = match error {
        SplitError::UnknownRange(_) => FaultCode::NotFound,
        SplitError::OtherEpoch { .. } => FaultCode::Conflict,
        SplitError::Busy(_) => FaultCode::FailedPrecondition,
        SplitError::BadKey(_) => FaultCode::InvalidArgument,
    };
    Fault::new(code, error.to_string()).into()
}

#[tonic::async_trait]
impl wire::replicas_server::Replicas for ReplicaService {
    async fn create_replica(
        &self,
        request: Request<wire::CreateReplicaRequest>,
    ) -> Result<Response<wire::CreateReplicaResponse>, Status> {
        let request = request.into_inner();
        let group = proto::identity::group_id("CreateReplicaRequest", request.group_id)?;
        let replica = proto::identity::replica_id("CreateReplicaRequest", request.replica_id)?;
        self.node.create_replica(group, replica).await.map_err(status_of_node)?;
        Ok(Response::new(wire::CreateReplicaResponse {}))
    }

    async fn initialize_group(
        &self,
        request: Request<wire::InitializeGroupRequest>,
    ) -> Result<Response<wire::InitializeGroupResponse>, Status> {
        let request = request.into_inner();
        let group = GroupId(request.group_id);
        let replica = self.find(group)?;
        let addresses = self.learn_addresses(&request.nodes);
        let routes: Result<Vec<Route>, _> =
            request.ranges.into_iter().map(|range| proto::route::reported_route(range, group)).collect();
        let routes = routes?;
        let founders: BTreeMap<u64, PeerNode> = request
            .members
            .iter()
            .map(|member| {
                let address = addresses.get(&member.node_id).cloned().unwrap_or_default();
                (member.replica_id, PeerNode { node_id: member.node_id, address })
            })
            .collect();
        match replica.raft.initialize(founders).await {
            // Initialised before: the group lives, and only its ranges may be missing.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(Fault::new(FaultCode::FailedPrecondition, error.to_string()).into()),
        }
        let founding = replica.raft.wait(Some(FOUNDING));
        let led = founding.metrics(|metrics| metrics.current_leader.is_some(), "a leader").await;
        led.map_err(|error| Status::from(Fault::new(FaultCode::Unavailable, error.to_string())))?;
        replica.learn_voters();
        replica.found(routes).await.map_err(status_of_replica)?;
        Ok(Response::new(wire::InitializeGroupResponse {}))
    }

    async fn change_members(
        &self,
        request: Request<wire::ChangeMembersRequest>,
    ) -> Result<Response<wire::ChangeMembersResponse>, Status> {
        let request = request.into_inner();
        let replica = self.find(GroupId(request.group_id))?;
        if !request.wanted.iter().any(|member| member.voter) {
            return Err(Fault::new(FaultCode::InvalidArgument, "a group needs a voter").into());
        }
        let addresses = self.learn_addresses(&request.nodes);
        let members = members::change(&replica, &request.expected, &request.wanted, &addresses)
            .await
            .map_err(status_of_replica)?;
        Ok(Response::new(wire::ChangeMembersResponse { members }))
    }

    async fn remove_replica(
        &self,
        request: Request<wire::RemoveReplicaRequest>,
    ) -> Result<Response<wire::RemoveReplicaResponse>, Status> {
        let request = request.into_inner();
        let group = proto::identity::group_id("RemoveReplicaRequest", request.group_id)?;
        let replica = proto::identity::replica_id("RemoveReplicaRequest", request.replica_id)?;
        self.node.remove_replica(group, replica).await.map_err(status_of_node)?;
        Ok(Response::new(wire::RemoveReplicaResponse {}))
    }

    async fn split_range(
        &self,
        request: Request<wire::SplitReplicaRangeRequest>,
    ) -> Result<Response<wire::SplitReplicaRangeResponse>, Status> {
        let request = request.into_inner();
        let replica = self.find(GroupId(request.group_id))?;
        let split = SplitRequest {
            range_id: RangeId(request.range_id),
            epoch: Epoch(request.epoch),
            key: request.split_key,
            left: proto::identity::range_id("SplitReplicaRangeRequest", request.left_range_id)?,
            right: proto::identity::range_id("SplitReplicaRangeRequest", request.right_range_id)?,
        };
        match replica.internal(Internal::Split(split)).await.map_err(status_of_replica)? {
            InternalDone::Split(left, right) => Ok(Response::new(wire::SplitReplicaRangeResponse {
                left: Some(proto::route::range_report(&left)),
                right: Some(proto::route::range_report(&right)),
            })),
            InternalDone::SplitRefused(refused) => Err(status_of_split(refused)),
            InternalDone::Done | InternalDone::Retry => {
                Err(Fault::new(FaultCode::Internal, "a split ended as something else").into())
            }
        }
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::TransferLeaderRequest>,
    ) -> Result<Response<wire::TransferLeaderResponse>, Status> {
        let request = request.into_inner();
        let group = GroupId(request.group_id);
        let replica = self.find(group)?;
        let to = (request.to_replica_id != 0).then_some(ReplicaId(request.to_replica_id));
        match replica.hand_over(to).await {
            Some(_) => Ok(Response::new(wire::TransferLeaderResponse {})),
            None if replica.leads() => {
                Err(Fault::new(FaultCode::FailedPrecondition, "no other voter can take over").into())
            }
            None => Err(status_of_replica(ReplicaError::NotLeader(group))),
        }
    }
}
