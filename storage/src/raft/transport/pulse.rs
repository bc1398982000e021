//! Heartbeats of all groups to one peer, and the exchange of clocks.
//!
//! A heartbeat goes out at once when none went out lately, else together with those of other groups a few
//! milliseconds later. Every message carries our wall clock and a monotonic stamp. The peer answers every message
//! within milliseconds (the answers to the heartbeats themselves may come later: they wait for the follower's disk),
//! with its own clock, the stamp, and how long it has held it: so the round trip is known free of the disk's part. A
//! link without heartbeats still exchanges clocks twice a second.
//!
//! Votes and leader transfers go over the connection of this link as unary calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyspace::NodeId;
use metrics::{SharedString, counter, gauge};
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use parking_lot::Mutex;
use proto::wire;
use proto::wire::raft_client::RaftClient;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::clock::wall_clock_ms;
use super::convert::{Address, Malformed, ack_in, pulse_out};
use super::peer::{Line, Link, Peer};
use super::{ClockTable, TransportError};
use crate::raft::types::TypeConfig;

/// Heartbeats that wait to be written; more than a node has groups.
const QUEUE: usize = 4096;

type Answer = Result<StreamAppendResult<TypeConfig>, TransportError>;

/// The open `Pulse` stream to a peer.
pub(super) struct PulseLink {
    node: NodeId,
    /// The node as a metric's label.
    label: SharedString,
    /// For unary calls beside the stream.
    channel: Channel,
    clocks: ClockTable,
    queue: mpsc::Sender<wire::Pulse>,
    waiting: Mutex<Waiting>,
    next_ticket: AtomicU64,
    start: Instant,
    /// When the peer was last heard, microseconds after `start`.
    heard_us: AtomicU64,
    /// Longer is suspicious; clocks are exchanged more often.
    longest_silence: Duration,
    closed: CancellationToken,
}

#[derive(Default)]
struct Waiting {
    tickets: HashMap<u64, oneshot::Sender<Answer>>,
    /// Set once.
    closed: Option<TransportError>,
}

/// Forgets a ticket whose heartbeat nobody waits for any more.
struct Ticket<'a> {
    link: &'a PulseLink,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.link.waiting.lock().tickets.remove(&self.number);
    }
}

impl Link for PulseLink {
    fn line(peer: &Peer) -> &Line<Self> {
        &peer.calm
    }

    async fn open(peer: &Peer, channel: Channel) -> Result<Arc<Self>, TransportError> {
        let (queue, queued) = mpsc::channel(QUEUE);
        let (frames, outward) = mpsc::channel(2);
        let answers = RaftClient::new(channel.clone())
            .pulse(ReceiverStream::new(outward))
            .await
            .map_err(|status| TransportError::of_status(&status, peer.node, peer.options.connect_timeout))?;
        let link = Arc::new(Self {
            node: peer.node,
            label: peer.node.to_string().into(),
            channel,
            clocks: peer.clocks.clone(),
            queue,
            waiting: Mutex::default(),
            next_ticket: AtomicU64::new(1),
            start: Instant::now(),
            heard_us: AtomicU64::new(0),
            longest_silence: peer.options.connect_timeout.max(peer.options.clock_interval * 2),
            closed: CancellationToken::new(),
        });
        tokio::spawn(link.clone().listen(answers.into_inner(), peer.options.connect_timeout));
        let pace = Pace { spacing: peer.options.pulse_spacing, clock_interval: peer.options.clock_interval };
        tokio::spawn(link.clone().write(peer.this, pace, queued, frames));
        Ok(link)
    }

    fn is_open(&self) -> bool {
        !self.closed.is_cancelled()
    }

    fn close(&self, why: TransportError) {
        let tickets = {
            let mut waiting = self.waiting.lock();
            if waiting.closed.is_some() {
                return;
            }
            waiting.closed = Some(why.clone());
            std::mem::take(&mut waiting.tickets)
        };
        self.closed.cancel();
        counter!("storage_raft_links_lost_total", "kind" => "pulse").increment(1);
        for ticket in tickets.into_values() {
            // Who has given up does not listen any more.
            let _ = ticket.send(Err(why.clone()));
        }
    }
}

/// When to write.
#[derive(Clone, Copy)]
struct Pace {
    spacing: Duration,
    clock_interval: Duration,
}

impl PulseLink {
    /// A client for unary calls on the same connection.
    pub(super) fn client(&self) -> RaftClient<Channel> {
        RaftClient::new(self.channel.clone())
    }

    /// Sends one heartbeat and waits for its answer; the caller sets the deadline.
    pub(super) async fn beat(&self, address: Address, request: AppendEntriesRequest<TypeConfig>) -> Answer {
        let number = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if let Some(why) = &waiting.closed {
                return Err(why.clone());
            }
            waiting.tickets.insert(number, sender);
        }
        let _ticket = Ticket { link: self, number };
        self.queue.try_send(pulse_out(address, number, request)).map_err(|error| {
            TransportError::Broken(match error {
                mpsc::error::TrySendError::Full(_) => "too many heartbeats wait".to_owned(),
                mpsc::error::TrySendError::Closed(_) => "the stream is closed".to_owned(),
            })
        })?;
        answer.await.unwrap_or_else(|_| Err(TransportError::Broken("the stream is closed".to_owned())))
    }

    /// The peer owes an answer to something sent at `sent`. If it has said nothing since, and nothing for a while, the
    /// connection is dead: every message on the stream, also the mere clocks, is answered within milliseconds.
    pub(super) fn suspect(&self, sent: Instant, timeout: Duration) {
        let heard_us = self.heard_us.load(Ordering::Relaxed);
        let silence = Duration::from_micros(self.micros(Instant::now()).saturating_sub(heard_us));
        if heard_us < self.micros(sent) && silence >= self.longest_silence {
            tracing::warn!(node = %self.node, ?silence, "heartbeat stream is silent, closing it");
            self.close(TransportError::TimedOut(timeout));
        }
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }

    async fn write(
        self: Arc<Self>,
        this: NodeId,
        pace: Pace,
        queued: mpsc::Receiver<wire::Pulse>,
        frames: mpsc::Sender<wire::PulseFrame>,
    ) {
        tokio::select! {
            () = self.closed.cancelled() => {}
            () = self.write_until_closed(this, pace, queued, frames) => {
                self.close(TransportError::Broken("the stream is closed".to_owned()));
            }
        }
    }

    /// Writes what is queued, and the clock when nothing is, until tonic lets go of the stream.
    async fn write_until_closed(
        &self,
        this: NodeId,
        pace: Pace,
        mut queued: mpsc::Receiver<wire::Pulse>,
        frames: mpsc::Sender<wire::PulseFrame>,
    ) {
        let mut clock_due = tokio::time::interval(pace.clock_interval);
        clock_due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written: Option<Instant> = None;
        loop {
            let mut pulses = Vec::new();
            tokio::select! {
                count = queued.recv_many(&mut pulses, QUEUE) => if count == 0 { return },
                _ = clock_due.tick() => {}
            }
            if let Some(at) = written
                && at.elapsed() < pace.spacing
            {
                tokio::time::sleep_until(at + pace.spacing).await;
            }
            while let Ok(pulse) = queued.try_recv() {
                pulses.push(pulse);
            }
            let frame = wire::PulseFrame {
                pulses,
                clock_ms: wall_clock_ms(),
                node_id: this.0,
                stamp_us: self.micros(Instant::now()),
            };
            if frames.send(frame).await.is_err() {
                return;
            }
            written = Some(Instant::now());
            clock_due.reset();
        }
    }

    async fn listen(self: Arc<Self>, mut answers: tonic::Streaming<wire::PulseAckFrame>, deadline: Duration) {
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
        tracing::debug!(node = %self.node, %why, "heartbeat stream ended");
        self.close(why);
    }

    fn deliver(&self, frame: wire::PulseAckFrame) {
        let now = Instant::now();
        let now_us = self.micros(now);
        self.heard_us.store(now_us, Ordering::Relaxed);
        let round_trip = now_us.saturating_sub(frame.echo_stamp_us).saturating_sub(frame.echo_held_us);
        self.clocks.observe_answer(self.node, frame.clock_ms, Duration::from_micros(round_trip), now.into_std());
        if let Some((offset_ms, _)) = self.clocks.offset_ms(self.node) {
            gauge!("storage_clock_offset_ms", "peer" => self.label.clone()).set(offset_ms as f64);
        }
        for answer in frame.acks {
            let Some(waiting) = self.waiting.lock().tickets.remove(&answer.ticket) else { continue };
            let outcome = answer
                .ack
                .ok_or(Malformed("an answer without an outcome"))
                .and_then(ack_in)
                .map_err(TransportError::from)
                .and_then(|outcome| outcome.map_err(TransportError::Refused));
            // Who has given up does not listen any more.
            let _ = waiting.send(outcome);
        }
    }
}
