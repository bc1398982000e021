//! The receiving side: the `Raft` service of a node, over whatever finds its replicas ([`Replicas`]).
//!
//! - Appends: one task reads the stream and hands each request to its lane, a task that feeds one replica's
//!   `Raft::stream_append` and acknowledges in order. The reader never waits for a lane: one whose queue is full is
//!   ended with an error (a correct sender keeps within a window that fits), the others go on.
//! - Heartbeats skip `stream_append`, which costs a task and a channel for each call.
//! - Votes, leader transfers and snapshots are checked for the right receiver, and votes and transfers are refused
//!   during its boot hold: a restarted voter has forgotten the lease that it granted.
//!
//! Whatever names a replica that does not live here, or makes no sense, is refused; nothing here panics.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::FutureExt;
use futures::stream::{FuturesUnordered, Stream, StreamExt};
use keyspace::{GroupId, NodeId, ReplicaId};
use openraft::Raft;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendError};
use openraft::storage::RaftStateMachine;
use proto::wire;
use proto::wire::raft_server::{Raft as RaftRpc, RaftServer};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::append::WINDOW;
use super::clock::wall_clock_ms;
use super::convert::{
    AckOutcome, Address, Malformed, ack_out, append_in, pulse_in, transfer_in, transfer_response_out, vote_request_in,
    vote_response_out,
};
use super::peer::{CONNECTION_WINDOW, STREAM_WINDOW};
use super::receive::Inbox;
use super::{ClockTable, MAX_MESSAGE_BYTES};
use crate::raft::snapshot::{SnapshotData, SnapshotStore};
use crate::raft::types::TypeConfig;

/// Acknowledgements that wait to be written, of one stream.
const ACKS: usize = 8192;

/// Lanes of one stream: far more than a node has groups.
const MAX_LANES: usize = 16_384;

/// Heartbeats of one stream that wait for their replicas: far more than a node has groups.
const MAX_BEATS: usize = 16_384;

/// A message of heartbeats is answered within this time, whether the replicas have answered or not: the sender
/// measures the round trip by it.
const ECHO_WITHIN: Duration = Duration::from_millis(5);

/// Finds the replicas that live on this node.
pub trait Replicas: Send + Sync + 'static {
    /// The state machine of all of them.
    type StateMachine: RaftStateMachine<TypeConfig, SnapshotData = SnapshotData>;

    /// Replica `to_replica` of `group`, if it lives here: this very replica, never a successor with another id.
    fn find(&self, group: GroupId, to_replica: ReplicaId) -> Option<ReplicaHandle<Self::StateMachine>>;
}

/// A replica on this node.
pub struct ReplicaHandle<SM: RaftStateMachine<TypeConfig>> {
    /// Its openraft.
    pub raft: Raft<TypeConfig, SM>,
    /// False during its boot hold: it answers no vote and no pre-vote, and takes over no leadership (PROTOCOL §6.1).
    pub votes: bool,
}

/// The `Raft` gRPC service of a node. Cheap to clone; clones share.
pub struct RaftService<R> {
    inner: Arc<Inner<R>>,
}

impl<R> Clone for RaftService<R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

struct Inner<R> {
    replicas: Arc<R>,
    clocks: ClockTable,
    inbox: Arc<Inbox>,
    closed: CancellationToken,
}

/// Settings that the server which carries [`RaftService`] needs: large windows, probes of idle connections, no delay.
#[must_use]
pub fn tune<L>(server: tonic::transport::Server<L>) -> tonic::transport::Server<L> {
    server
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
}

impl<R: Replicas> RaftService<R> {
    /// Serves `replicas`; received snapshots go to `snapshots`, the peers' clocks to `clocks` (both shared with the
    /// [`super::Transport`] of the same node).
    pub fn new(replicas: Arc<R>, clocks: ClockTable, snapshots: SnapshotStore) -> Self {
        let inbox = Arc::new(Inbox::new(snapshots));
        Self { inner: Arc::new(Inner { replicas, clocks, inbox, closed: CancellationToken::new() }) }
    }

    /// The service, for `tonic::transport::Server::add_service`.
    #[must_use]
    pub fn server(&self) -> RaftServer<Self> {
        RaftServer::new(self.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Ends all streams and takes no more: without this a graceful shutdown of the server waits for the peers.
    pub fn close(&self) {
        self.inner.closed.cancel();
    }

    fn find(&self, address: Address) -> Result<ReplicaHandle<R::StateMachine>, String> {
        let found = self.inner.replicas.find(address.group, address.to);
        found.ok_or_else(|| format!("no replica {} of group {} lives here", address.to, address.group))
    }

    /// As [`Self::find`], for what a replica in its boot hold must not do.
    fn find_voter(&self, address: Address) -> Result<ReplicaHandle<R::StateMachine>, Status> {
        let replica = self.find(address).map_err(Status::unavailable)?;
        if !replica.votes {
            return Err(Status::unavailable("boot hold: it may have forgotten a lease that it granted"));
        }
        Ok(replica)
    }

    fn check_open(&self) -> Result<(), Status> {
        if self.inner.closed.is_cancelled() {
            return Err(Status::unavailable("shutting down"));
        }
        Ok(())
    }
}

impl From<Malformed> for Status {
    fn from(malformed: Malformed) -> Self {
        Self::invalid_argument(malformed.to_string())
    }
}

#[tonic::async_trait]
impl<R: Replicas> RaftRpc for RaftService<R> {
    type AppendStream = AckFrames;
    type PulseStream = Pin<Box<dyn Stream<Item = Result<wire::PulseAckFrame, Status>> + Send>>;
    type InstallSnapshotStream = ReceiverStream<Result<wire::SnapshotAnswer, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<wire::AppendFrame>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        self.check_open()?;
        let (acks, ready) = mpsc::channel(ACKS);
        tokio::spawn(self.clone().take_appends(request.into_inner(), acks));
        Ok(Response::new(AckFrames { ready, gathered: Vec::new() }))
    }

    async fn pulse(
        &self,
        request: Request<Streaming<wire::PulseFrame>>,
    ) -> Result<Response<Self::PulseStream>, Status> {
        self.check_open()?;
        let (answers, outward) = mpsc::channel(4);
        tokio::spawn(self.clone().take_pulses(request.into_inner(), answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(outward).map(Ok))))
    }

    async fn vote(&self, request: Request<wire::VoteRequest>) -> Result<Response<wire::VoteResponse>, Status> {
        let mut request = request.into_inner();
        let address = Address::try_from(request.address.take())?;
        let replica = self.find_voter(address)?;
        let pre_vote = request.pre_vote;
        let ask = vote_request_in(request, address)?;
        let answer = if pre_vote { replica.raft.pre_vote(ask).await } else { replica.raft.vote(ask).await };
        let answer = answer.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(vote_response_out(&answer)))
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::RaftTransferRequest>,
    ) -> Result<Response<wire::RaftTransferResponse>, Status> {
        let mut request = request.into_inner();
        let address = Address::try_from(request.address.take())?;
        let replica = self.find_voter(address)?;
        let answer = replica.raft.handle_transfer_leader(transfer_in(request, address)?).await;
        let answer = answer.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(transfer_response_out(answer)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<wire::SnapshotPart>>,
    ) -> Result<Response<Self::InstallSnapshotStream>, Status> {
        self.check_open()?;
        let (answers, outward) = mpsc::channel(2);
        let (inner, parts) = (self.inner.clone(), request.into_inner());
        tokio::spawn(async move {
            let last = tokio::select! {
                () = inner.closed.cancelled() => Err(Status::unavailable("shutting down")),
                result = inner.inbox.receive(&*inner.replicas, parts, &answers) => result,
            };
            let last = last.map(|installed| wire::SnapshotAnswer {
                answer: Some(wire::snapshot_answer::Answer::Installed(installed)),
            });
            // A sender that is gone has its own error.
            let _ = answers.send(last).await;
        });
        Ok(Response::new(ReceiverStream::new(outward)))
    }
}

/// The receiver's end of a lane.
enum Lane {
    Open {
        address: Address,
        requests: mpsc::Sender<AppendEntriesRequest<TypeConfig>>,
    },
    /// Swallows what is still on its way, until the sender says that it knows.
    Ended,
}

impl<R: Replicas> RaftService<R> {
    /// Reads one `Append` stream to its end.
    async fn take_appends(self, mut frames: Streaming<wire::AppendFrame>, acks: mpsc::Sender<wire::AppendAck>) {
        let mut lanes = HashMap::new();
        loop {
            let message = tokio::select! {
                () = self.inner.closed.cancelled() => return,
                message = frames.message() => message,
            };
            let frame = match message {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(status) => {
                    tracing::debug!(%status, "append stream ended");
                    return;
                }
            };
            for append in frame.appends {
                let number = append.lane;
                if append.end {
                    lanes.remove(&number);
                    continue;
                }
                let group = GroupId(append.address.as_ref().map_or(0, |address| address.group_id));
                if let Err(reason) = self.take_append(&mut lanes, append, &acks) {
                    tracing::debug!(%group, reason, "append lane refused");
                    lanes.insert(number, Lane::Ended);
                    if acks.try_send(ack_out(group, number, Err(reason))).is_err() {
                        tracing::warn!("a peer does not take its acknowledgements, closing its append stream");
                        return;
                    }
                }
            }
        }
    }

    /// Hands one request to its lane; an error ends the lane.
    fn take_append(
        &self,
        lanes: &mut HashMap<u64, Lane>,
        mut append: wire::Append,
        acks: &mpsc::Sender<wire::AppendAck>,
    ) -> Result<(), String> {
        let address = Address::try_from(append.address.take()).map_err(|error| error.to_string())?;
        let number = append.lane;
        if !lanes.contains_key(&number) {
            if lanes.len() >= MAX_LANES {
                return Err("too many lanes".to_owned());
            }
            let requests = run_lane(self.find(address)?.raft, address, number, acks.clone());
            lanes.insert(number, Lane::Open { address, requests });
        }
        let Some(Lane::Open { address: opened_by, requests }) = lanes.get(&number) else { return Ok(()) };
        if *opened_by != address {
            return Err("the lane belongs to another replica".to_owned());
        }
        let request = append_in(append, address).map_err(|error| error.to_string())?;
        match requests.try_send(request) {
            // A closed queue: the lane has ended, and has said so.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full(_)) => Err("the lane is overrun".to_owned()),
        }
    }

    /// Reads one `Pulse` stream to its end.
    async fn take_pulses(self, mut frames: Streaming<wire::PulseFrame>, answers: mpsc::Sender<wire::PulseAckFrame>) {
        let mut beats = FuturesUnordered::new();
        let mut acks = Vec::new();
        // Stamp of the last message, and when it came.
        let mut echo = (0, Instant::now());
        let mut owed: Option<Instant> = None;
        loop {
            tokio::select! {
                () = self.inner.closed.cancelled() => return,
                message = frames.message() => match message {
                    Ok(Some(frame)) => {
                        let now = Instant::now();
                        self.inner.clocks.observe_sent(NodeId(frame.node_id), frame.clock_ms, now.into_std());
                        echo = (frame.stamp_us, now);
                        owed.get_or_insert(now + ECHO_WITHIN);
                        for pulse in frame.pulses {
                            if beats.len() < MAX_BEATS {
                                beats.push(self.beat(pulse));
                            } else {
                                acks.push(refused_beat(&pulse, "too many heartbeats wait"));
                            }
                        }
                    }
                    Ok(None) => return,
                    Err(status) => {
                        tracing::debug!(%status, "heartbeat stream ended");
                        return;
                    }
                },
                Some(ack) = beats.next(), if !beats.is_empty() => acks.push(ack),
                () = tokio::time::sleep_until(owed.unwrap_or(echo.1)), if owed.is_some() => {}
            }
            // Those that answer right away share a message.
            tokio::task::yield_now().await;
            while let Some(Some(ack)) = beats.next().now_or_never() {
                acks.push(ack);
            }
            if !acks.is_empty() || owed.is_some_and(|by| Instant::now() >= by) {
                let held = u64::try_from(echo.1.elapsed().as_micros()).unwrap_or(u64::MAX);
                let frame = wire::PulseAckFrame {
                    acks: std::mem::take(&mut acks),
                    clock_ms: wall_clock_ms(),
                    echo_stamp_us: echo.0,
                    echo_held_us: held,
                };
                owed = None;
                if answers.send(frame).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Brings one heartbeat to its replica.
    async fn beat(&self, mut pulse: wire::Pulse) -> wire::PulseAck {
        let ticket = pulse.ticket;
        let group = GroupId(pulse.address.as_ref().map_or(0, |address| address.group_id));
        let outcome = match Address::try_from(pulse.address.take()) {
            Ok(address) => self.beat_at(address, pulse).await,
            Err(malformed) => Err(malformed.to_string()),
        };
        wire::PulseAck { ticket, ack: Some(ack_out(group, 0, outcome)) }
    }

    async fn beat_at(&self, address: Address, pulse: wire::Pulse) -> AckOutcome {
        let raft = self.find(address)?.raft;
        let request = pulse_in(pulse, address).map_err(|error| error.to_string())?;
        let at = request.prev_log_id;
        match raft.append_entries(request).await.map_err(|error| error.to_string())? {
            AppendEntriesResponse::Success => Ok(Ok(at)),
            AppendEntriesResponse::PartialSuccess(matched) => Ok(Ok(matched)),
            AppendEntriesResponse::HigherVote(vote) => Ok(Err(StreamAppendError::HigherVote(vote))),
            AppendEntriesResponse::Conflict => match at {
                Some(at) => Ok(Err(StreamAppendError::Conflict(at))),
                None => Err("a conflict before the first entry".to_owned()),
            },
        }
    }
}

fn refused_beat(pulse: &wire::Pulse, reason: &str) -> wire::PulseAck {
    let group = GroupId(pulse.address.as_ref().map_or(0, |address| address.group_id));
    wire::PulseAck { ticket: pulse.ticket, ack: Some(ack_out(group, 0, Err(reason.to_owned()))) }
}

/// Feeds a replica and acknowledges in order, until the queue is closed or an answer is not "matched".
fn run_lane<SM: RaftStateMachine<TypeConfig>>(
    raft: Raft<TypeConfig, SM>,
    address: Address,
    number: u64,
    acks: mpsc::Sender<wire::AppendAck>,
) -> mpsc::Sender<AppendEntriesRequest<TypeConfig>> {
    let (requests, queue) = mpsc::channel(WINDOW);
    tokio::spawn(async move {
        let mut results = std::pin::pin!(raft.stream_append(ReceiverStream::new(queue)));
        while let Some(result) = results.next().await {
            let outcome = result.map_err(|fatal| fatal.to_string());
            let last = !matches!(outcome, Ok(Ok(_)));
            if acks.send(ack_out(address.group, number, outcome)).await.is_err() || last {
                return;
            }
        }
    });
    requests
}

/// What tonic answers on an `Append` stream: all acknowledgements that are ready, in one message.
pub struct AckFrames {
    ready: mpsc::Receiver<wire::AppendAck>,
    gathered: Vec<wire::AppendAck>,
}

impl Stream for AckFrames {
    type Item = Result<wire::AppendAckFrame, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let count = ready!(this.ready.poll_recv_many(cx, &mut this.gathered, ACKS));
        let acks = std::mem::take(&mut this.gathered);
        Poll::Ready((count > 0).then_some(Ok(wire::AppendAckFrame { acks })))
    }
}
