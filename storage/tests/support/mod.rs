//! Real storage nodes on loopback, with a placement that only gives out node ids, and a client of one stream.

#![allow(clippy::unwrap_used, dead_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use keyspace::layout;
use parking_lot::Mutex;
use proto::wire;
use storage::{Storage, StorageConfig};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};

/// Gives out node ids and tells every node of all others.
#[derive(Clone, Default)]
struct Roll {
    addresses: Arc<Mutex<BTreeMap<u64, String>>>,
    safe_point: Arc<AtomicU64>,
}

impl Roll {
    fn nodes(&self) -> Vec<wire::NodeStatus> {
        let status = |(id, address): (&u64, &String)| wire::NodeStatus {
            node_id: *id,
            address: address.clone(),
            ..Default::default()
        };
        self.addresses.lock().iter().map(status).collect()
    }
}

#[tonic::async_trait]
impl wire::cluster_server::Cluster for Roll {
    async fn register_node(
        &self,
        request: Request<wire::RegisterNodeRequest>,
    ) -> Result<Response<wire::RegisterNodeResponse>, Status> {
        let mut addresses = self.addresses.lock();
        let node_id = addresses.len() as u64 + 1;
        addresses.insert(node_id, request.into_inner().address);
        Ok(Response::new(wire::RegisterNodeResponse { node_id, cluster_id: "test".to_owned() }))
    }

    async fn heartbeat(
        &self,
        request: Request<wire::HeartbeatRequest>,
    ) -> Result<Response<wire::HeartbeatResponse>, Status> {
        let request = request.into_inner();
        self.addresses.lock().insert(request.node_id, request.address);
        Ok(Response::new(wire::HeartbeatResponse {
            nodes: self.nodes(),
            oracle: 0,
            safe_point: self.safe_point.load(Ordering::Relaxed),
        }))
    }

    async fn nodes(&self, _: Request<wire::NodesRequest>) -> Result<Response<wire::NodesResponse>, Status> {
        Ok(Response::new(wire::NodesResponse { nodes: self.nodes() }))
    }

    async fn groups(&self, _: Request<wire::GroupsRequest>) -> Result<Response<wire::GroupsResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn change_members(
        &self,
        _: Request<wire::ChangeGroupMembersRequest>,
    ) -> Result<Response<wire::ChangeGroupMembersResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn jobs(&self, _: Request<wire::JobsRequest>) -> Result<Response<wire::JobsResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }
}

/// A few storage nodes with one group over all of them, which owns the RawKV and Redis keyspace as range 1.
pub struct Nodes {
    roll: Roll,
    placement: String,
    dir: tempfile::TempDir,
    pub running: BTreeMap<u64, Storage>,
}

/// Short, so that tests see it end.
pub const LOCK_WAIT_MS: u64 = 700;

pub const GROUP: u64 = 1;
pub const FIRST_RANGE: u64 = 1;

impl Nodes {
    pub async fn start(count: u64) -> Self {
        let roll = Roll::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let placement = format!("http://{}", listener.local_addr().unwrap());
        let service = wire::cluster_server::ClusterServer::new(roll.clone());
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        let mut nodes = Self { roll, placement, dir: tempfile::tempdir().unwrap(), running: BTreeMap::new() };
        for node in 1..=count {
            nodes.start_node(node).await;
        }
        nodes.found_group(count).await;
        nodes
    }

    pub fn path(&self, node: u64) -> std::path::PathBuf {
        self.dir.path().join(node.to_string())
    }

    pub async fn start_node(&mut self, node: u64) {
        let config = Self::config(&self.path(node), &self.placement);
        let storage = Storage::start(config).await.unwrap();
        assert_eq!(storage.node_id.0, node);
        self.roll.addresses.lock().insert(node, storage.address.to_string());
        self.running.insert(node, storage);
    }

    fn config(dir: &Path, placement: &str) -> StorageConfig {
        let mut config = StorageConfig::in_dir(dir);
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.placement = vec![placement.to_owned()];
        config.executor.lock_wait_ms = LOCK_WAIT_MS;
        config.collect.every_ms = 100;
        config
    }

    async fn found_group(&self, count: u64) {
        let members: Vec<_> = (1..=count)
            .map(|node| wire::Member { replica_id: node, node_id: node, voter: true, matched_index: 0 })
            .collect();
        for node in 1..=count {
            let create = wire::CreateReplicaRequest { group_id: GROUP, replica_id: node };
            self.replicas(node).await.create_replica(create).await.unwrap();
        }
        let range = wire::RangeReport {
            range_id: FIRST_RANGE,
            epoch: 1,
            state: wire::RangeState::Active.into(),
            ..Default::default()
        };
        let found =
            wire::InitializeGroupRequest { group_id: GROUP, members, nodes: self.roll.nodes(), ranges: vec![range] };
        self.replicas(1).await.initialize_group(found.clone()).await.unwrap();
        self.replicas(1).await.initialize_group(found).await.expect("may be repeated");
    }

    pub async fn replicas(&self, node: u64) -> wire::replicas_client::ReplicasClient<tonic::transport::Channel> {
        wire::replicas_client::ReplicasClient::connect(self.url(node)).await.unwrap()
    }

    fn url(&self, node: u64) -> String {
        format!("http://{}", self.running[&node].address)
    }

    pub async fn client(&self, node: u64) -> Client {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let mut client = wire::storage_client::StorageClient::connect(self.url(node)).await.unwrap();
        let replies = client.serve(UnboundedReceiverStream::new(outgoing)).await.unwrap().into_inner();
        Client { requests, replies, ticket: 0 }
    }

    /// No snapshot below this oracle value is promised any more.
    pub fn raise_safe_point(&self, safe_point: u64) {
        self.roll.safe_point.store(safe_point, Ordering::Relaxed);
    }

    /// Stops every node cleanly and starts it again from its directory.
    pub async fn restart_all(&mut self) {
        let nodes: Vec<u64> = self.running.keys().copied().collect();
        for node in &nodes {
            self.running.remove(node).unwrap().shutdown().await;
        }
        for node in nodes {
            self.start_node(node).await;
        }
    }

    /// The present leader, once there is one.
    pub async fn leader(&self) -> u64 {
        for _ in 0..200 {
            for &node in self.running.keys() {
                let read = self.client(node).await.call(None, vec![raw_get("anything")]).await;
                if !matches!(read, wire::reply::Outcome::Refusal(_)) {
                    return node;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no leader within 10 s");
    }
}

/// One stream to one node. Requests go to range 1 at epoch 1 unless told otherwise.
pub struct Client {
    requests: mpsc::UnboundedSender<wire::RequestBatch>,
    replies: Streaming<wire::ReplyBatch>,
    ticket: u64,
}

pub const INCARNATION: u64 = 77;

impl Client {
    /// Sends one message and collects the replies to all its requests, by ticket.
    pub async fn send(&mut self, requests: Vec<wire::Request>) -> BTreeMap<u64, wire::reply::Outcome> {
        self.send_message(1, requests).await
    }

    /// The same, declaring everything below `answered_below` answered.
    pub async fn send_with_floor(&mut self, answered_below: u64, request: wire::Request) -> wire::reply::Outcome {
        self.send_message(answered_below, vec![request]).await.into_values().next().unwrap()
    }

    async fn send_message(
        &mut self,
        answered_below: u64,
        requests: Vec<wire::Request>,
    ) -> BTreeMap<u64, wire::reply::Outcome> {
        let count = requests.len();
        let batch = wire::RequestBatch { incarnation: INCARNATION, answered_below, seen_e: 0, requests };
        self.requests.send(batch).unwrap();
        let mut outcomes = BTreeMap::new();
        while outcomes.len() < count {
            let replies = self.replies.message().await.unwrap().expect("the stream goes on").replies;
            outcomes.extend(replies.into_iter().map(|reply| (reply.ticket, reply.outcome.unwrap())));
        }
        outcomes
    }

    /// A write under `sequence`, or a read.
    pub async fn call(&mut self, sequence: Option<u64>, commands: Vec<wire::Command>) -> wire::reply::Outcome {
        self.ticket += 1;
        let request = request(self.ticket, sequence, 1, commands);
        self.send(vec![request]).await.into_values().next().unwrap()
    }

    pub async fn results(&mut self, sequence: Option<u64>, command: wire::Command) -> wire::CommandResult {
        match self.call(sequence, vec![command]).await {
            wire::reply::Outcome::Results(results) => results.results.into_iter().next().unwrap(),
            other => panic!("no results: {other:?}"),
        }
    }
}

/// A step of transaction `sequence` (attempt 1), anchored at RawKV key `anchor`, about RawKV keys.
pub fn step(ticket: u64, sequence: u64, anchor: &str, keys: &[&str], step: wire::transact::Step) -> wire::Request {
    let unit = |key: &str| Bytes::from(layout::raw(key.as_bytes()));
    let target = |key: &&str| wire::Target { key: unit(key), range_id: FIRST_RANGE, epoch: 1, ..Default::default() };
    let transact = wire::Transact {
        txn: Some(wire::TransactionId { incarnation: INCARNATION, sequence, attempt: 1 }),
        anchor: unit(anchor),
        step: Some(step),
    };
    wire::Request {
        ticket,
        group_id: GROUP,
        targets: keys.iter().map(target).collect(),
        connection: 0,
        kind: Some(wire::request::Kind::Transact(transact)),
    }
}

/// A request whose targets are the units that its commands name.
pub fn request(ticket: u64, sequence: Option<u64>, epoch: u64, commands: Vec<wire::Command>) -> wire::Request {
    let targets: Vec<_> = commands
        .iter()
        .map(|command| wire::Target { key: unit_of(command), range_id: FIRST_RANGE, epoch, ..Default::default() })
        .collect();
    let anchor = targets.iter().map(|target| target.key.clone()).min().unwrap_or_default();
    let kind = match sequence {
        Some(sequence) => {
            wire::request::Kind::Exec(wire::Exec { sequence, first_e: 0, anchor, commands, ..Default::default() })
        }
        None => wire::request::Kind::Read(wire::Read { commands, at: 0, txn: None }),
    };
    wire::Request { ticket, group_id: GROUP, targets, connection: 5, kind: Some(kind) }
}

fn unit_of(command: &wire::Command) -> Bytes {
    use wire::command::Language;
    use wire::raw_command::Operation;
    match command.language.as_ref().unwrap() {
        Language::Redis(redis) => layout::redis_unit(0, &redis.args[1]).into(),
        Language::Raw(raw) => match raw.operation.as_ref().unwrap() {
            Operation::Put(put) => layout::raw(&put.key).into(),
            Operation::Delete(delete) => layout::raw(&delete.key).into(),
            Operation::Get(get) => layout::raw(&get.key).into(),
            Operation::Scan(scan) => scan.start.clone(),
        },
        other => panic!("no unit for {other:?}"),
    }
}

fn raw(operation: wire::raw_command::Operation) -> wire::Command {
    let raw = wire::RawCommand { operation: Some(operation) };
    wire::Command { language: Some(wire::command::Language::Raw(raw)) }
}

pub fn raw_put(key: &str, value: &str) -> wire::Command {
    raw(wire::raw_command::Operation::Put(wire::RawPut {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
    }))
}

pub fn raw_get(key: &str) -> wire::Command {
    raw(wire::raw_command::Operation::Get(wire::RawGet { key: Bytes::copy_from_slice(key.as_bytes()) }))
}

pub fn redis(words: &[&str]) -> wire::Command {
    let args = words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    wire::Command { language: Some(wire::command::Language::Redis(wire::RedisCommand { db: 0, args, telling: 0 })) }
}

pub fn found(result: &wire::CommandResult) -> Option<String> {
    match result.language.as_ref().unwrap() {
        wire::command_result::Language::Raw(raw) => match raw.result.as_ref().unwrap() {
            wire::raw_result::Result::Found(found) => Some(String::from_utf8_lossy(&found.value).into_owned()),
            wire::raw_result::Result::Missing(_) => None,
            other => panic!("not an answer of get: {other:?}"),
        },
        other => panic!("not an answer of RawKV: {other:?}"),
    }
}

pub fn redis_value(result: &wire::CommandResult) -> wire::redis_value::Kind {
    match result.language.clone().unwrap() {
        wire::command_result::Language::Redis(value) => value.kind.unwrap(),
        other => panic!("not an answer of Redis: {other:?}"),
    }
}

pub fn refusal(outcome: wire::reply::Outcome) -> wire::refusal::Reason {
    match outcome {
        wire::reply::Outcome::Refusal(refusal) => refusal.reason.unwrap(),
        other => panic!("not refused: {other:?}"),
    }
}

pub fn refused(outcome: wire::reply::Outcome) -> Option<wire::refusal::Reason> {
    match outcome {
        wire::reply::Outcome::Refusal(refusal) => refusal.reason,
        _ => None,
    }
}
