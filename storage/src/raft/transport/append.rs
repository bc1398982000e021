//! Log entries to one peer: the lanes of all groups on one stream.
//!
//! A [`Lane`] is one replication stream of openraft. It is driven by whoever polls it (openraft's replication task),
//! without a task of its own: it takes requests from openraft while its window has room, puts them on the link, and
//! yields the answers in order. The link ([`AppendLink`]) gathers what all lanes have put there into messages of about
//! 1 MB, and hands each answer to its lane.
//!
//! Invariants of a lane:
//! - one answer for each request, in the order of the requests; the lane is over after the first answer that is not
//!   "matched", after an error, and when input and answers are exhausted;
//! - at most [`WINDOW`] requests and about [`WINDOW_BYTES`] are unanswered. The receiver's queue for a lane has room
//!   for a full window, so a correct lane never overruns it;
//! - when it is dropped, the receiver is told to forget it.
//!
//! What is queued on a link but not yet written is bounded by [`LINK_BYTES`] over all lanes.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use keyspace::{GroupId, NodeId, ReplicaId};
use metrics::counter;
use openraft::errors::RPCError;
use openraft::network::RPCTypes;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use parking_lot::Mutex;
use prost::Message;
use proto::wire;
use proto::wire::raft_client::RaftClient;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, PollSemaphore};
use tonic::transport::Channel;

use super::convert::{Address, Malformed, ack_in, append_out};
use super::peer::{Line, Link, Peer};
use super::{MAX_MESSAGE_BYTES, TransportError};
use crate::raft::types::TypeConfig;

/// Unanswered requests of a lane.
pub(super) const WINDOW: usize = 64;

/// Unanswered bytes of a lane above which it takes no further request.
const WINDOW_BYTES: usize = 8 << 20;

/// Bytes of all lanes queued on a link. Permits count kilobytes.
const LINK_BYTES: usize = 32 << 20;

/// A message is sent when it has grown to this.
const FRAME_BYTES: usize = 1 << 20;

/// Appends taken from the queue at once.
const GATHER: usize = 256;

/// The open `Append` stream to a peer.
pub(super) struct AppendLink {
    node: NodeId,
    queue: mpsc::UnboundedSender<Queued>,
    budget: Arc<Semaphore>,
    lanes: Mutex<Lanes>,
    next_lane: AtomicU64,
    start: Instant,
    /// When the peer was last heard, microseconds after `start`.
    heard_us: AtomicU64,
    closed: CancellationToken,
}

/// Waiting to be written.
struct Queued {
    append: wire::Append,
    bytes: usize,
    /// Given back when it is written.
    _room: Option<OwnedSemaphorePermit>,
}

#[derive(Default)]
struct Lanes {
    open: HashMap<u64, LaneEnd>,
    /// Set once.
    closed: Option<TransportError>,
}

/// The link's end of a lane.
struct LaneEnd {
    group: GroupId,
    replica: ReplicaId,
    events: mpsc::UnboundedSender<LaneEvent>,
}

enum LaneEvent {
    Answer(wire::AppendAck),
    Over(TransportError),
}

impl Link for AppendLink {
    fn line(peer: &Peer) -> &Line<Self> {
        &peer.bulk
    }

    async fn open(peer: &Peer, channel: Channel) -> Result<Arc<Self>, TransportError> {
        let (queue, queued) = mpsc::unbounded_channel();
        let mut client = RaftClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let frames = Frames { queued, gathered: Vec::with_capacity(GATHER), waiting: VecDeque::new() };
        let answers = client
            .append(frames)
            .await
            .map_err(|status| TransportError::of_status(&status, peer.node, peer.options.connect_timeout))?;
        let link = Arc::new(Self {
            node: peer.node,
            queue,
            budget: Arc::new(Semaphore::new(LINK_BYTES >> 10)),
            lanes: Mutex::default(),
            next_lane: AtomicU64::new(1),
            start: Instant::now(),
            heard_us: AtomicU64::new(0),
            closed: CancellationToken::new(),
        });
        tokio::spawn(link.clone().listen(answers.into_inner(), peer.options.connect_timeout));
        Ok(link)
    }

    fn is_open(&self) -> bool {
        !self.closed.is_cancelled()
    }

    fn close(&self, why: TransportError) {
        let lanes = {
            let mut lanes = self.lanes.lock();
            if lanes.closed.is_some() {
                return;
            }
            lanes.closed = Some(why.clone());
            std::mem::take(&mut lanes.open)
        };
        self.closed.cancel();
        counter!("storage_raft_links_lost_total", "kind" => "append").increment(1);
        for lane in lanes.into_values() {
            // A lane that is just being dropped does not listen any more.
            let _ = lane.events.send(LaneEvent::Over(why.clone()));
        }
    }
}

impl AppendLink {
    /// Hands answers to lanes until the stream ends or the link is closed.
    async fn listen(self: Arc<Self>, mut answers: tonic::Streaming<wire::AppendAckFrame>, deadline: Duration) {
        let why = loop {
            let message = tokio::select! {
                () = self.closed.cancelled() => return,
                message = answers.message() => message,
            };
            match message {
                Ok(Some(frame)) => self.deliver(frame),
                Ok(None) => break TransportError::Broken("the peer closed the stream".to_owned()),
                Err(status) => break TransportError::of_status(&status, self.node, deadline),
            }
        };
        tracing::debug!(node = %self.node, %why, "append stream ended");
        self.close(why);
    }

    fn deliver(&self, frame: wire::AppendAckFrame) {
        self.heard_us.store(self.micros(Instant::now()), Ordering::Relaxed);
        let lanes = self.lanes.lock();
        for answer in frame.acks {
            // No lane: it was dropped, and its last answers are of no interest.
            if let Some(lane) = lanes.open.get(&answer.lane) {
                let _ = lane.events.send(LaneEvent::Answer(answer));
            }
        }
    }

    /// Ends the lanes to a replica as withheld.
    pub(super) fn end_lanes(&self, group: GroupId, replica: ReplicaId) {
        for lane in self.lanes.lock().open.values() {
            if lane.group == group && lane.replica == replica {
                let _ = lane.events.send(LaneEvent::Over(TransportError::Withheld));
            }
        }
    }

    #[cfg(test)]
    pub(super) fn lane_count(&self) -> usize {
        self.lanes.lock().open.len()
    }

    /// The peer owes an answer to something sent at `sent`. If it has said nothing at all since, the stream is dead.
    fn suspect(&self, sent: Instant, timeout: Duration) {
        if self.heard_us.load(Ordering::Relaxed) < self.micros(sent) {
            tracing::warn!(node = %self.node, ?timeout, "append stream is silent, closing it");
            self.close(TransportError::TimedOut(timeout));
        }
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }

    /// Opens a lane for the requests of `input`.
    pub(super) fn lane<S>(
        self: Arc<Self>,
        address: Address,
        input: S,
        timeout: Duration,
    ) -> Result<Lane<S>, TransportError> {
        let id = self.next_lane.fetch_add(1, Ordering::Relaxed);
        let (events, answers) = mpsc::unbounded_channel();
        {
            let mut lanes = self.lanes.lock();
            if let Some(why) = &lanes.closed {
                return Err(why.clone());
            }
            lanes.open.insert(id, LaneEnd { group: address.group, replica: address.to, events });
        }
        Ok(Lane {
            budget: PollSemaphore::new(self.budget.clone()),
            link: self,
            address,
            id,
            input: Some(input),
            answers,
            next: None,
            unanswered: VecDeque::with_capacity(WINDOW),
            unanswered_bytes: 0,
            timeout,
            alarm: Box::pin(tokio::time::sleep(timeout)),
            over: false,
        })
    }
}

/// One replication stream of openraft. See the module.
pub(super) struct Lane<S> {
    link: Arc<AppendLink>,
    address: Address,
    id: u64,
    /// `None` when exhausted.
    input: Option<S>,
    answers: mpsc::UnboundedReceiver<LaneEvent>,
    budget: PollSemaphore,
    /// Taken from the input, waiting for room on the link.
    next: Option<(wire::Append, usize)>,
    unanswered: VecDeque<(Instant, usize)>,
    unanswered_bytes: usize,
    timeout: Duration,
    /// Rings no later than the oldest unanswered request is due.
    alarm: Pin<Box<Sleep>>,
    over: bool,
}

type LaneResult = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

impl<S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin> Lane<S> {
    /// Sends while input, window and link allow.
    fn send(&mut self, cx: &mut Context<'_>) {
        loop {
            if self.next.is_none() {
                if self.unanswered.len() >= WINDOW || self.unanswered_bytes >= WINDOW_BYTES {
                    return;
                }
                let Some(input) = &mut self.input else { return };
                match Pin::new(input).poll_next(cx) {
                    Poll::Pending => return,
                    Poll::Ready(None) => {
                        self.input = None;
                        return;
                    }
                    Poll::Ready(Some(request)) => {
                        let append = append_out(self.address, self.id, request);
                        let bytes = append.encoded_len();
                        self.next = Some((append, bytes));
                    }
                }
            }
            let Some((append, bytes)) = self.next.take() else { return };
            let permits = u32::try_from((bytes >> 10) + 1).unwrap_or(u32::MAX).min((LINK_BYTES >> 10) as u32);
            let Poll::Ready(room) = self.budget.poll_acquire_many(cx, permits) else {
                self.next = Some((append, bytes));
                return;
            };
            if self.link.queue.send(Queued { append, bytes, _room: room }).is_err() {
                // tonic has let go of the stream. Closing the link ends this lane, too.
                self.link.close(TransportError::Broken("the stream is closed".to_owned()));
                return;
            }
            self.unanswered.push_back((Instant::now(), bytes));
            self.unanswered_bytes += bytes;
        }
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<LaneResult> {
        let outcome = match ready!(self.answers.poll_recv(cx)) {
            Some(LaneEvent::Answer(answer)) => match self.unanswered.pop_front() {
                Some((_, bytes)) => {
                    self.unanswered_bytes -= bytes;
                    ack_in(answer).map_err(TransportError::from)
                }
                None => Err(TransportError::Malformed(Malformed("an answer to nothing"))),
            },
            Some(LaneEvent::Over(why)) => Err(why),
            None => Err(TransportError::Broken("the lane was closed".to_owned())),
        };
        Poll::Ready(match outcome.and_then(|answer| answer.map_err(TransportError::Refused)) {
            Ok(result) => {
                self.over = result.is_err();
                Ok(result)
            }
            Err(error) => self.fail(error),
        })
    }

    fn fail(&mut self, error: TransportError) -> LaneResult {
        self.over = true;
        Err(error.for_openraft(RPCTypes::AppendEntries, self.address))
    }

    /// Ready when the oldest unanswered request is overdue; then when it was sent.
    fn overdue(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        loop {
            let Some((sent, _)) = self.unanswered.front().copied() else { return Poll::Pending };
            let due = sent + self.timeout;
            if Instant::now() >= due {
                return Poll::Ready(sent);
            }
            // The alarm is set anew only when it rings, or would ring too late, not with each answer.
            if self.alarm.is_elapsed() || self.alarm.deadline() > due {
                self.alarm.as_mut().reset(due);
            }
            ready!(self.alarm.as_mut().poll(cx));
        }
    }
}

impl<S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin> Stream for Lane<S> {
    type Item = LaneResult;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<LaneResult>> {
        let lane = self.get_mut();
        if lane.over {
            return Poll::Ready(None);
        }
        // First what has come: after an error nothing more is sent.
        if let Poll::Ready(result) = lane.receive(cx) {
            return Poll::Ready(Some(result));
        }
        lane.send(cx);
        if lane.input.is_none() && lane.next.is_none() && lane.unanswered.is_empty() {
            lane.over = true;
            return Poll::Ready(None);
        }
        if let Poll::Ready(sent) = lane.overdue(cx) {
            lane.link.suspect(sent, lane.timeout);
            let timed_out = TransportError::TimedOut(lane.timeout);
            return Poll::Ready(Some(lane.fail(timed_out)));
        }
        Poll::Pending
    }
}

impl<S> Drop for Lane<S> {
    fn drop(&mut self) {
        self.link.lanes.lock().open.remove(&self.id);
        let append =
            wire::Append { address: Some(self.address.into()), lane: self.id, end: true, ..wire::Append::default() };
        let bytes = append.encoded_len();
        // On a broken link the receiver has forgotten the lane anyway.
        let _ = self.link.queue.send(Queued { append, bytes, _room: None });
    }
}

/// What tonic sends: everything that is queued, in messages of about [`FRAME_BYTES`].
struct Frames {
    queued: mpsc::UnboundedReceiver<Queued>,
    gathered: Vec<Queued>,
    waiting: VecDeque<Queued>,
}

impl Stream for Frames {
    type Item = wire::AppendFrame;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<wire::AppendFrame>> {
        let this = self.get_mut();
        match this.queued.poll_recv_many(cx, &mut this.gathered, GATHER) {
            Poll::Ready(0) if this.waiting.is_empty() => return Poll::Ready(None),
            Poll::Pending if this.waiting.is_empty() => return Poll::Pending,
            Poll::Ready(_) | Poll::Pending => this.waiting.extend(this.gathered.drain(..)),
        }
        let (mut appends, mut bytes) = (Vec::with_capacity(this.waiting.len()), 0);
        while let Some(queued) = this.waiting.pop_front() {
            bytes += queued.bytes;
            appends.push(queued.append);
            let Some(next) = this.waiting.front() else { break };
            if bytes + next.bytes > FRAME_BYTES {
                break;
            }
        }
        counter!("storage_raft_append_messages_total").increment(1);
        counter!("storage_raft_append_bytes_total").increment(bytes as u64);
        Poll::Ready(Some(wire::AppendFrame { appends }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::StreamExt;

    use super::*;

    fn append(lane: u64, bytes: usize) -> Queued {
        let append = wire::Append { lane, ..wire::Append::default() };
        Queued { append, bytes, _room: None }
    }

    #[tokio::test]
    async fn frames_gather_what_waits_up_to_their_size() {
        let (queue, queued) = mpsc::unbounded_channel();
        let mut frames = Frames { queued, gathered: Vec::new(), waiting: VecDeque::new() };
        for (lane, bytes) in [(1, 10), (2, 20), (3, FRAME_BYTES - 30), (4, 1), (5, 3 * FRAME_BYTES), (6, 1)] {
            assert!(queue.send(append(lane, bytes)).is_ok());
        }
        drop(queue);
        let mut lanes = Vec::new();
        while let Some(frame) = frames.next().await {
            lanes.push(frame.appends.iter().map(|append| append.lane).collect::<Vec<_>>());
        }
        assert_eq!(lanes, [vec![1, 2, 3], vec![4], vec![5], vec![6]], "in order, and an oversized one goes alone");
    }

    #[tokio::test]
    async fn more_than_one_gathering_is_sent_in_order() {
        let (queue, queued) = mpsc::unbounded_channel();
        let mut frames = Frames { queued, gathered: Vec::new(), waiting: VecDeque::new() };
        let count = 3 * GATHER as u64 + 7;
        for lane in 0..count {
            assert!(queue.send(append(lane, 8 << 10)).is_ok());
        }
        drop(queue);
        let got: Vec<u64> =
            frames.by_ref().flat_map(|frame| futures::stream::iter(frame.appends)).map(|a| a.lane).collect().await;
        assert_eq!(got, (0..count).collect::<Vec<_>>());
    }
}
