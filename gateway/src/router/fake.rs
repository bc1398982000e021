//! A cluster that tests play themselves: storage nodes whose answers are functions, a placement whose events are
//! pushed by hand. Real servers on loopback, real streams; only what they say is made up.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use keyspace::human::NoTables;
use keyspace::{Epoch, GroupId, KeyRange, RangeId, RangeState, Registry, Route, RouteMap};
use parking_lot::Mutex;
use proto::wire::distribution_server::{Distribution, DistributionServer};
use proto::wire::relay_server::RelayServer;
use proto::wire::storage_server::{Storage, StorageServer};
use proto::{NotExecutedReason, Refusal, route, wire};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::fake_relay::FakeRelay;
use super::{Router, RouterConfig};

/// What a node does with one request.
pub(crate) enum Verdict {
    Results(wire::Results),
    Refuse(Refusal),
    /// Anything else.
    Answer(wire::reply::Outcome),
    /// No answer, ever.
    Silence,
    /// The stream breaks; nothing of the batch is answered.
    Break,
}

impl Verdict {
    /// One Redis value, as a group would answer it.
    pub(crate) fn status(status: &str) -> Self {
        let value = wire::RedisValue { kind: Some(wire::redis_value::Kind::Simple(status.to_owned())) };
        let result = wire::CommandResult { language: Some(wire::command_result::Language::Redis(value)) };
        Verdict::Results(wire::Results { results: vec![result] })
    }
}

type Behaviour = Box<dyn FnMut(&wire::Request) -> Verdict + Send>;

/// A storage node.
pub(crate) struct FakeNode {
    pub(crate) address: String,
    inner: Arc<NodeInner>,
    stop: CancellationToken,
}

struct NodeInner {
    behaviour: Mutex<Behaviour>,
    batches: Mutex<Vec<wire::RequestBatch>>,
    /// Value of `e` in every reply.
    e: Mutex<u64>,
    /// Cancelled to break the streams that are open.
    streams: Mutex<CancellationToken>,
}

impl FakeNode {
    pub(crate) async fn start(behaviour: impl FnMut(&wire::Request) -> Verdict + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let inner = Arc::new(NodeInner {
            behaviour: Mutex::new(Box::new(behaviour)),
            batches: Mutex::default(),
            e: Mutex::new(0),
            streams: Mutex::new(CancellationToken::new()),
        });
        let stop = CancellationToken::new();
        let server = tonic::transport::Server::builder()
            .add_service(StorageServer::new(NodeService(inner.clone())).max_decoding_message_size(96 << 20))
            .add_service(RelayServer::new(FakeRelay::default()))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned());
        tokio::spawn(server);
        Self { address, inner, stop }
    }

    pub(crate) fn behave(&self, behaviour: impl FnMut(&wire::Request) -> Verdict + Send + 'static) {
        *self.inner.behaviour.lock() = Box::new(behaviour);
    }

    pub(crate) fn set_e(&self, e: u64) {
        *self.inner.e.lock() = e;
    }

    /// Breaks the open streams.
    pub(crate) fn break_streams(&self) {
        std::mem::take(&mut *self.inner.streams.lock()).cancel();
    }

    /// Every batch received so far.
    pub(crate) fn batches(&self) -> Vec<wire::RequestBatch> {
        self.inner.batches.lock().clone()
    }

    /// Every request received so far, in order, but for the users that Redis listeners read again and again.
    pub(crate) fn requests(&self) -> Vec<wire::Request> {
        let users = Registry::Users.prefix();
        let reads_users = |request: &wire::Request| {
            request.targets.iter().any(|target| target.is_interval && target.key.starts_with(&users))
        };
        let requests = self.batches().into_iter().flat_map(|batch| batch.requests);
        requests.filter(|request| !reads_users(request)).collect()
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.break_streams();
        self.stop.cancel();
    }
}

impl NodeInner {
    /// One batch, with the leader's rule for what follows a refusal. `None` breaks the stream.
    fn answer(&self, batch: wire::RequestBatch) -> Option<wire::ReplyBatch> {
        self.batches.lock().push(batch.clone());
        let mut behaviour = self.behaviour.lock();
        let mut refused = HashSet::new();
        let mut replies = Vec::new();
        for request in &batch.requests {
            let verdict = if refused.contains(&request.connection) {
                Verdict::Refuse(Refusal::NotExecuted(NotExecutedReason::Predecessor))
            } else {
                behaviour(request)
            };
            let outcome = match verdict {
                Verdict::Results(results) => wire::reply::Outcome::Results(results),
                Verdict::Answer(outcome) => outcome,
                Verdict::Refuse(refusal) => {
                    if request.connection != 0 {
                        refused.insert(request.connection);
                    }
                    wire::reply::Outcome::Refusal(refusal.into())
                }
                Verdict::Silence => continue,
                Verdict::Break => return None,
            };
            replies.push(wire::Reply { ticket: request.ticket, e: *self.e.lock(), outcome: Some(outcome) });
        }
        Some(wire::ReplyBatch { replies })
    }
}

struct NodeService(Arc<NodeInner>);

#[tonic::async_trait]
impl Storage for NodeService {
    type ServeStream = Pin<Box<dyn Stream<Item = Result<wire::ReplyBatch, Status>> + Send>>;

    async fn serve(
        &self,
        request: Request<Streaming<wire::RequestBatch>>,
    ) -> Result<Response<Self::ServeStream>, Status> {
        let mut batches = request.into_inner();
        let (replies, answered) = mpsc::unbounded_channel();
        let inner = self.0.clone();
        let broken = inner.streams.lock().clone();
        tokio::spawn(async move {
            let serve = async {
                while let Ok(Some(batch)) = batches.message().await {
                    match inner.answer(batch) {
                        Some(reply) => {
                            if replies.send(Ok(reply)).is_err() {
                                return;
                            }
                        }
                        None => break,
                    }
                }
            };
            broken.run_until_cancelled(serve).await;
            // The receiver may be gone already: then the stream is broken as well.
            let _ = replies.send(Err(Status::unavailable("the test breaks the stream")));
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(answered))))
    }
}

type Events = mpsc::UnboundedSender<Result<wire::RouteEvent, Status>>;

/// The placement.
pub(crate) struct FakePlacement {
    pub(crate) address: String,
    inner: Arc<PlacementInner>,
    stop: CancellationToken,
}

#[derive(Default)]
struct PlacementInner {
    /// What a new subscription begins with.
    first: Mutex<Vec<wire::RouteEvent>>,
    subscribers: Mutex<Vec<Events>>,
    subscriptions: watch::Sender<usize>,
    oracle: Mutex<u64>,
}

impl FakePlacement {
    pub(crate) async fn start(routes: &RouteMap, topology: wire::Topology) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let inner = Arc::new(PlacementInner::default());
        let stop = CancellationToken::new();
        let server = tonic::transport::Server::builder()
            .add_service(DistributionServer::new(PlacementService(inner.clone())))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned());
        tokio::spawn(server);
        let placement = Self { address, inner, stop };
        placement.begin_with(routes, topology);
        placement
    }

    /// What subscriptions from now on begin with.
    pub(crate) fn begin_with(&self, routes: &RouteMap, topology: wire::Topology) {
        let snapshot = wire::route_event::Event::Snapshot(route::snapshot(routes, &NoTables));
        let events = [snapshot, wire::route_event::Event::Topology(topology)];
        *self.inner.first.lock() = events.map(|event| wire::RouteEvent { event: Some(event) }).into();
    }

    /// Sends an event to all subscribers.
    pub(crate) fn push(&self, event: wire::route_event::Event) {
        let event = wire::RouteEvent { event: Some(event) };
        self.inner.subscribers.lock().retain(|subscriber| subscriber.send(Ok(event.clone())).is_ok());
    }

    /// Returns when there have been `count` subscriptions.
    pub(crate) async fn subscribed(&self, count: usize) {
        self.inner.subscriptions.subscribe().wait_for(|seen| *seen >= count).await.unwrap();
    }

    /// The next value of the oracle is above `value`.
    pub(crate) fn set_oracle(&self, value: u64) {
        *self.inner.oracle.lock() = value;
    }
}

impl Drop for FakePlacement {
    fn drop(&mut self) {
        self.inner.subscribers.lock().clear();
        self.stop.cancel();
    }
}

struct PlacementService(Arc<PlacementInner>);

#[tonic::async_trait]
impl Distribution for PlacementService {
    type WatchRoutesStream = Pin<Box<dyn Stream<Item = Result<wire::RouteEvent, Status>> + Send>>;

    async fn watch_routes(
        &self,
        _: Request<wire::WatchRoutesRequest>,
    ) -> Result<Response<Self::WatchRoutesStream>, Status> {
        let (events, subscription) = mpsc::unbounded_channel();
        for event in self.0.first.lock().iter() {
            events.send(Ok(event.clone())).unwrap();
        }
        self.0.subscribers.lock().push(events);
        self.0.subscriptions.send_modify(|count| *count += 1);
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(subscription))))
    }

    async fn get_timestamp(
        &self,
        _: Request<wire::GetTimestampRequest>,
    ) -> Result<Response<wire::GetTimestampResponse>, Status> {
        let mut oracle = self.0.oracle.lock();
        *oracle += 2;
        Ok(Response::new(wire::GetTimestampResponse { timestamp: *oracle }))
    }

    async fn get_route(&self, _: Request<wire::GetRouteRequest>) -> Result<Response<wire::GetRouteResponse>, Status> {
        Err(Status::not_found("the fake knows no route"))
    }

    async fn list_routes(
        &self,
        _: Request<wire::ListRoutesRequest>,
    ) -> Result<Response<wire::ListRoutesResponse>, Status> {
        Ok(Response::new(wire::ListRoutesResponse { catalog_version: 7, routes: Vec::new() }))
    }

    async fn split_range(
        &self,
        _: Request<wire::SplitRangeRequest>,
    ) -> Result<Response<wire::SplitRangeResponse>, Status> {
        Err(Status::aborted("the fake splits nothing"))
    }
}

/// A route; empty bounds are the ends of the keyspace.
pub(crate) fn some_route(range_id: u64, start: &[u8], end: &[u8], group: u64, epoch: u64) -> Route {
    let end = (!end.is_empty()).then(|| Bytes::copy_from_slice(end));
    Route {
        range_id: RangeId(range_id),
        range: KeyRange::new(Bytes::copy_from_slice(start), end).unwrap(),
        group: GroupId(group),
        epoch: Epoch(epoch),
        state: RangeState::Active,
        parent: RangeId(0),
    }
}

/// All nodes, numbered from 1, vote in groups 1 and 2; `leaders` are theirs.
pub(crate) fn some_topology(nodes: &[&FakeNode], leaders: [u64; 2]) -> wire::Topology {
    let ids: Vec<u64> = (1..=nodes.len() as u64).collect();
    let address = |(&node_id, node): (&u64, &&FakeNode)| wire::NodeAddress { node_id, address: node.address.clone() };
    let group = |(index, &leader_node_id): (usize, &u64)| wire::GroupLocation {
        group_id: index as u64 + 1,
        voter_node_ids: ids.clone(),
        leader_node_id,
        term: 1,
    };
    wire::Topology {
        nodes: ids.iter().zip(nodes).map(address).collect(),
        groups: leaders.iter().enumerate().map(group).collect(),
    }
}

/// A router that follows `placement`, with short deadlines.
pub(crate) async fn router(placement: &FakePlacement) -> Router {
    let config = RouterConfig {
        placement: vec![placement.address.clone()],
        dialer: proto::Dialer::default(),
        max_requests: 1000,
        max_bytes: 64 << 20,
        refused_timeout: Duration::from_millis(800),
        unknown_timeout: Duration::from_millis(2000),
    };
    let router = Router::start(&config).unwrap();
    router.wait_ready().await;
    router
}
