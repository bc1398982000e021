//! Storage nodes without Raft: what all nodes agree on is one shared [`World`], each node serves `Replicas` over it on a
//! port of its own, and a test makes a node fail by a [`Mishap`]. Heartbeats are sent when a test says so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use placement::{CatalogChoice, Placement, PlacementConfig};
use proto::wire::cluster_client::ClusterClient;
use proto::wire::distribution_client::DistributionClient;
use proto::wire::replicas_server::{Replicas, ReplicasServer};
use proto::wire::{self, Member, RangeReport, RangeState};
use proto::{Fault, FaultCode};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

/// What goes wrong with the calls to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The call does nothing and its answer is lost.
    Nothing,
    /// The call takes effect and its answer is lost.
    AnswerLost,
}

/// A group as its members have it.
#[derive(Clone, Debug, Default)]
pub struct FakeGroup {
    pub members: Vec<Member>,
    pub ranges: Vec<RangeReport>,
    /// 0: nobody leads.
    pub leader: u64,
    pub term: u64,
}

/// The truth about all nodes.
#[derive(Default)]
pub struct World {
    pub groups: BTreeMap<u64, FakeGroup>,
    /// (node, group, replica)
    pub replicas: BTreeSet<(u64, u64, u64)>,
    pub mishaps: HashMap<u64, Mishap>,
    /// Calls that reached each node, whatever came of them.
    pub calls: HashMap<(u64, &'static str), u32>,
}

/// One node. Its server ends with the runtime of the test.
#[derive(Clone)]
struct FakeNode {
    node: u64,
    world: Arc<Mutex<World>>,
}

/// Several nodes of one world.
pub struct Nodes {
    pub world: Arc<Mutex<World>>,
    pub addresses: Vec<String>,
}

impl Nodes {
    /// Opens `count` nodes, which will be registered in order and so have the identities 1, 2, ….
    pub async fn open(count: u64) -> Self {
        let world: Arc<Mutex<World>> = Arc::default();
        let mut addresses = Vec::new();
        for node in 1..=count {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap().to_string());
            let service = ReplicasServer::new(FakeNode { node, world: world.clone() });
            let serving = Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
            tokio::spawn(serving);
        }
        Self { world, addresses }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn set_mishap(&self, node: u64, mishap: Option<Mishap>) {
        match mishap {
            Some(mishap) => self.world().mishaps.insert(node, mishap),
            None => self.world().mishaps.remove(&node),
        };
    }

    pub async fn register_all(&self, running: &Running) {
        for (number, address) in (1..).zip(&self.addresses) {
            let answer = running.register(0, &format!("disk-{number}"), address).await.unwrap();
            assert_eq!(answer.node_id, number);
        }
    }

    /// A heartbeat of every node, all that it would say.
    pub async fn beat(&self, running: &Running) {
        for (node, address) in (1..).zip(&self.addresses) {
            let beat = self.heartbeat_of(node, address);
            running.cluster().heartbeat(beat).await.unwrap();
        }
    }

    pub fn heartbeat_of(&self, node: u64, address: &str) -> wire::HeartbeatRequest {
        let world = self.world();
        let here = world.replicas.iter().filter(|(on, ..)| *on == node);
        let replicas = here.filter_map(|(_, group_id, replica_id)| {
            let group = world.groups.get(group_id)?;
            let leading = group.leader == node;
            let known = || wire::GroupReport { members: group.members.clone(), ranges: group.ranges.clone() };
            Some(wire::ReplicaReport {
                group_id: *group_id,
                replica_id: *replica_id,
                term: group.term,
                leading,
                applied_index: 7,
                group: leading.then(known),
            })
        });
        let replicas = replicas.collect();
        wire::HeartbeatRequest { node_id: node, address: address.to_owned(), replicas, clock_ms: 0, seen_e: 0 }
    }
}

impl FakeNode {
    /// Runs a call: counts it, and lets the node's mishap happen.
    fn call<T>(
        &self,
        name: &'static str,
        effect: impl FnOnce(&mut World) -> Result<T, Fault>,
    ) -> Result<Response<T>, Status> {
        let mut world = self.world.lock().unwrap();
        *world.calls.entry((self.node, name)).or_default() += 1;
        let lost = || Err(Status::unavailable("connection cut"));
        match world.mishaps.get(&self.node) {
            Some(Mishap::Nothing) => lost(),
            Some(Mishap::AnswerLost) => {
                effect(&mut world)?;
                lost()
            }
            None => Ok(Response::new(effect(&mut world)?)),
        }
    }

    fn led<'w>(&self, world: &'w mut World, group: u64) -> Result<&'w mut FakeGroup, Fault> {
        let unknown = Fault::new(FaultCode::NotFound, format!("no replica of group {group}"));
        let group = world.groups.get_mut(&group).ok_or(unknown)?;
        if group.leader == self.node { Ok(group) } else { Err(Fault::new(FaultCode::NotLeading, "not leading")) }
    }
}

#[tonic::async_trait]
impl Replicas for FakeNode {
    async fn create_replica(
        &self,
        request: Request<wire::CreateReplicaRequest>,
    ) -> Result<Response<wire::CreateReplicaResponse>, Status> {
        let wire::CreateReplicaRequest { group_id, replica_id } = request.into_inner();
        self.call("create_replica", |world| {
            world.replicas.insert((self.node, group_id, replica_id));
            Ok(wire::CreateReplicaResponse {})
        })
    }

    async fn initialize_group(
        &self,
        request: Request<wire::InitializeGroupRequest>,
    ) -> Result<Response<wire::InitializeGroupResponse>, Status> {
        let request = request.into_inner();
        self.call("initialize_group", |world| {
            let replicas: Vec<_> =
                request.members.iter().map(|member| (member.node_id, request.group_id, member.replica_id)).collect();
            assert!(replicas.iter().all(|replica| world.replicas.contains(replica)), "replicas come first");
            assert_eq!(request.nodes.len(), request.members.len());
            let founded = FakeGroup { members: request.members, ranges: request.ranges, leader: self.node, term: 1 };
            let group = world.groups.entry(request.group_id).or_insert_with(|| founded.clone());
            assert_eq!(group.ranges, founded.ranges, "a repeated call founds the same group");
            Ok(wire::InitializeGroupResponse {})
        })
    }

    async fn change_members(
        &self,
        request: Request<wire::ChangeMembersRequest>,
    ) -> Result<Response<wire::ChangeMembersResponse>, Status> {
        let request = request.into_inner();
        self.call("change_members", |world| {
            let group = self.led(world, request.group_id)?;
            if group.members != request.wanted {
                if group.members != request.expected {
                    return Err(Fault::new(FaultCode::Conflict, "the group has other members"));
                }
                group.members = request.wanted;
            }
            Ok(wire::ChangeMembersResponse { members: group.members.clone() })
        })
    }

    async fn remove_replica(
        &self,
        request: Request<wire::RemoveReplicaRequest>,
    ) -> Result<Response<wire::RemoveReplicaResponse>, Status> {
        let wire::RemoveReplicaRequest { group_id, replica_id } = request.into_inner();
        self.call("remove_replica", |world| {
            world.replicas.remove(&(self.node, group_id, replica_id));
            Ok(wire::RemoveReplicaResponse {})
        })
    }

    async fn split_range(
        &self,
        request: Request<wire::SplitReplicaRangeRequest>,
    ) -> Result<Response<wire::SplitReplicaRangeResponse>, Status> {
        let request = request.into_inner();
        self.call("split_range", |world| {
            let group = self.led(world, request.group_id)?;
            let child = |id: u64| group.ranges.iter().find(|range| range.range_id == id).cloned();
            if let (Some(left), Some(right)) = (child(request.left_range_id), child(request.right_range_id)) {
                return Ok(wire::SplitReplicaRangeResponse { left: Some(left), right: Some(right) });
            }
            let parent = child(request.range_id).filter(|parent| parent.epoch == request.epoch);
            let parent = parent.ok_or_else(|| Fault::new(FaultCode::Conflict, "the range has another epoch"))?;
            let child = |range_id, start, end| RangeReport {
                range_id,
                start,
                end,
                epoch: parent.epoch + 1,
                state: RangeState::Active.into(),
                moved_to_group: 0,
                parent_range_id: parent.range_id,
            };
            let left = child(request.left_range_id, parent.start.clone(), request.split_key.clone());
            let right = child(request.right_range_id, request.split_key.clone(), parent.end.clone());
            group.ranges.retain(|range| range.range_id != parent.range_id);
            group.ranges.extend([left.clone(), right.clone()]);
            Ok(wire::SplitReplicaRangeResponse { left: Some(left), right: Some(right) })
        })
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::TransferLeaderRequest>,
    ) -> Result<Response<wire::TransferLeaderResponse>, Status> {
        let group_id = request.into_inner().group_id;
        self.call("transfer_leader", |world| {
            self.led(world, group_id)?;
            Ok(wire::TransferLeaderResponse {})
        })
    }
}

/// A placement and a connection to it.
pub struct Running {
    pub placement: Placement,
    channel: Channel,
}

impl Running {
    /// With a catalog in `directory`, or in memory.
    pub async fn start(directory: Option<&Path>) -> Self {
        let config = PlacementConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            catalog: if directory.is_some() { CatalogChoice::Embedded } else { CatalogChoice::Memory },
            data_dir: directory.unwrap_or(Path::new("unused")).to_owned(),
            groups: 3,
            split_patience_ms: 300,
            ..PlacementConfig::default()
        };
        let placement = Placement::start(config).await.unwrap();
        let endpoint = Channel::from_shared(format!("http://{}", placement.address())).unwrap();
        Self { placement, channel: endpoint.connect().await.unwrap() }
    }

    /// A placement in memory with its cluster bootstrapped over `count` nodes that have all been heard.
    pub async fn bootstrapped(count: u64) -> (Self, Nodes) {
        let (running, nodes) = (Self::start(None).await, Nodes::open(count).await);
        nodes.register_all(&running).await;
        running.wait_for_bootstrap().await;
        nodes.beat(&running).await;
        (running, nodes)
    }

    pub async fn wait_for_bootstrap(&self) {
        tokio::time::timeout(Duration::from_secs(30), self.placement.bootstrapped()).await.unwrap().unwrap();
    }

    /// Ends the process as far as a test can: what is unfinished is found in the catalog.
    pub async fn stop(self) {
        drop(self.channel);
        tokio::time::timeout(Duration::from_secs(30), self.placement.shutdown()).await.unwrap();
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub fn distribution(&self) -> DistributionClient<Channel> {
        DistributionClient::new(self.channel.clone())
    }

    pub fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel.clone())
    }

    pub async fn register(&self, node_id: u64, disk: &str, at: &str) -> Result<wire::RegisterNodeResponse, Status> {
        let request = wire::RegisterNodeRequest { node_id, disk_id: disk.to_owned(), address: at.to_owned() };
        Ok(self.cluster().register_node(request).await?.into_inner())
    }

    pub async fn routes(&self) -> wire::ListRoutesResponse {
        self.distribution().list_routes(wire::ListRoutesRequest {}).await.unwrap().into_inner()
    }

    pub async fn split(&self, version: u64, route: u64, key: &[u8]) -> Result<wire::SplitRangeResponse, Status> {
        let split_key = key.to_vec().into();
        let request = wire::SplitRangeRequest { expected_catalog_version: version, route_id: route, split_key };
        Ok(self.distribution().split_range(request).await?.into_inner())
    }

    pub async fn jobs(&self) -> Vec<wire::JobStatus> {
        self.cluster().jobs(wire::JobsRequest {}).await.unwrap().into_inner().jobs
    }

    /// Waits until there is nothing left to do.
    pub async fn wait_for_jobs(&self) {
        let idle = async {
            while !self.jobs().await.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), idle).await.unwrap();
    }

    /// Waits until some job has failed an attempt.
    pub async fn wait_for_failure(&self) {
        let failed = async {
            while self.jobs().await.iter().all(|job| job.last_failure.is_empty()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), failed).await.unwrap();
    }
}
