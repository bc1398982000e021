//! One long-lived stream to one storage node: batches of requests out, batches of replies in.
//!
//! A link is one task and owns everything it works on, so nothing here takes a lock. It sends whatever waits as one
//! `RequestBatch`, numbers each request with a ticket, and matches replies by it. Requests that belong together, the
//! flights of one bundle for one group, are a [`Leg`]: they travel in one batch, in order, and when some of them are
//! refused they are handed back together, still in order.
//!
//! When the stream breaks, everything unanswered is handed back as [`Reason::StreamBroken`] and a new stream is opened.
//! Until that is open, whatever arrives is handed back at once, so that it can try elsewhere.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyspace::{GroupId, NodeId};
use proto::wire;
use tokio::sync::mpsc;
use tonic::Status;
use tonic::codec::Streaming;

use super::bundle::{Answered, Flight, Tally};
use super::error::Reason;
use super::retry::{Refused, Trouble};
use super::stream::{self, OutgoingBatch};
use super::{Core, RouterError};

/// Bounds of one message. A leg is never divided, so a message may exceed them by one leg.
const BATCH_REQUESTS: usize = 4096;
const BATCH_BYTES: usize = 4 << 20;
/// Between two attempts to reach a node.
const RECONNECT: Duration = Duration::from_millis(250);
/// How long requests wait for the first connection to a node.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often unanswered requests are checked against their deadlines.
const SWEEP: Duration = Duration::from_millis(500);

/// Where to hand requests for one node.
#[derive(Clone, Debug)]
pub(super) struct LinkHandle {
    address: Arc<str>,
    queue: mpsc::UnboundedSender<Leg>,
}

impl LinkHandle {
    /// Opens the link; it closes when the last handle is dropped and everything is answered.
    pub(super) fn open(core: Arc<Core>, node: NodeId, address: &str) -> Self {
        // Unbounded: the router's admission bounds everything that is under way.
        let (queue, requests) = mpsc::unbounded_channel();
        let address: Arc<str> = address.into();
        let link = Link {
            core,
            node,
            address: address.clone(),
            requests,
            waiting: VecDeque::new(),
            legs: HashMap::default(),
            tickets: HashMap::default(),
            next_ticket: 1,
            next_leg: 0,
        };
        tokio::spawn(link.run());
        Self { address, queue }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Hands a leg over; back when the link has closed.
    pub(super) fn send(&self, leg: Leg) -> Result<(), Leg> {
        self.queue.send(leg).map_err(|refused| refused.0)
    }
}

/// Flights of one bundle for one group, in order.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) group: GroupId,
    pub(super) flights: Vec<Flight>,
}

impl Leg {
    fn bytes(&self) -> usize {
        self.flights.iter().map(|flight| flight.bytes).sum()
    }

    /// All of it comes back for one reason.
    fn refused(self, reason: Reason) -> Vec<Refused> {
        let trouble = |flight| Refused { flight, trouble: Trouble::Retry(reason) };
        self.flights.into_iter().map(trouble).collect()
    }
}

/// A leg that was sent.
#[derive(Debug)]
struct SentLeg {
    group: GroupId,
    /// `None` once answered with results.
    flights: Vec<Option<Flight>>,
    unanswered: usize,
    refusals: Vec<(usize, Trouble)>,
}

impl SentLeg {
    /// The refused flights in order.
    fn into_refused(mut self) -> Vec<Refused> {
        self.refusals.sort_unstable_by_key(|(position, _)| *position);
        let back = |(position, trouble): (usize, Trouble)| {
            let flight = self.flights[position].take()?;
            Some(Refused { flight, trouble })
        };
        std::mem::take(&mut self.refusals).into_iter().filter_map(back).collect()
    }

    /// Everything that is left, in order, when the stream has broken.
    fn into_broken(self) -> Vec<Refused> {
        let mut refusals: HashMap<usize, Trouble> = self.refusals.into_iter().collect();
        let back = |(position, flight): (usize, Option<Flight>)| {
            let trouble = refusals.remove(&position).unwrap_or(Trouble::Retry(Reason::StreamBroken));
            Some(Refused { flight: flight?, trouble })
        };
        self.flights.into_iter().enumerate().filter_map(back).collect()
    }
}

/// Where a ticket belongs.
#[derive(Clone, Copy, Debug)]
struct Place {
    leg: u64,
    position: usize,
}

struct Link {
    core: Arc<Core>,
    node: NodeId,
    address: Arc<str>,
    requests: mpsc::UnboundedReceiver<Leg>,
    /// Taken from `requests` and not yet sent.
    waiting: VecDeque<Leg>,
    legs: HashMap<u64, SentLeg, TicketHashing>,
    /// Every ticket that was sent and not answered.
    tickets: HashMap<u64, Place, TicketHashing>,
    next_ticket: u64,
    next_leg: u64,
}

/// Why a stream is over.
enum Ended {
    /// The handles are gone and everything is answered.
    Closed,
    Broken(Status),
}

impl Link {
    async fn run(mut self) {
        let core = self.core.clone();
        // Ends early only when the router stops: then nobody waits for an answer.
        core.stopping.run_until_cancelled(self.serve()).await;
    }

    async fn serve(&mut self) {
        let core = self.core.clone();
        let mut patience = PATIENCE;
        loop {
            let opening = stream::open(self.address.clone(), &core.dialer);
            let Some(opened) = self.hand_back_during(opening, patience).await else { return };
            patience = Duration::ZERO;
            match opened {
                Ok((outgoing, replies)) => match self.converse(outgoing, replies).await {
                    Ended::Closed => return,
                    Ended::Broken(status) => {
                        tracing::info!(node = %self.node, address = %self.address, %status, "stream to storage broke");
                        self.core.metrics.streams_broken.increment(1);
                        self.hand_back_sent();
                    }
                },
                Err(error) => {
                    tracing::debug!(node = %self.node, address = %self.address, %error, "storage cannot be reached");
                    if self.hand_back_during(tokio::time::sleep(RECONNECT), patience).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// Sends and receives until the stream is over.
    async fn converse(
        &mut self,
        outgoing: mpsc::Sender<OutgoingBatch>,
        mut replies: Streaming<wire::ReplyBatch>,
    ) -> Ended {
        let mut open = true;
        let mut incoming = Vec::new();
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            if !open && self.waiting.is_empty() && self.tickets.is_empty() {
                return Ended::Closed;
            }
            let room = BATCH_REQUESTS.saturating_sub(self.waiting.len());
            tokio::select! {
                biased;
                message = replies.message() => match message {
                    Ok(Some(batch)) => self.receive(batch),
                    Ok(None) => return Ended::Broken(Status::unavailable("the storage node closed the stream")),
                    Err(status) => return Ended::Broken(status),
                },
                permit = outgoing.reserve(), if !self.waiting.is_empty() => match permit {
                    Ok(permit) => {
                        // Whoever else is ready to send gets into this message.
                        tokio::task::yield_now().await;
                        while let Ok(leg) = self.requests.try_recv() {
                            self.waiting.push_back(leg);
                        }
                        permit.send(self.next_batch());
                    }
                    Err(_) => return Ended::Broken(Status::unavailable("the stream stopped taking requests")),
                },
                count = self.requests.recv_many(&mut incoming, room), if open && room > 0 => {
                    open = count > 0;
                    self.waiting.extend(incoming.drain(..));
                }
                _ = sweep.tick() => self.expire(Instant::now()),
            }
        }
    }

    /// As many waiting legs as fit into one message.
    fn next_batch(&mut self) -> OutgoingBatch {
        let mut batch = OutgoingBatch {
            incarnation: self.core.incarnation,
            answered_below: self.core.sequences.low(),
            seen_e: self.core.seen_e(),
            requests: Vec::with_capacity(self.waiting.len()),
        };
        let mut bytes = 0;
        while let Some(leg) = self.waiting.pop_front() {
            bytes += leg.bytes();
            self.enlist(leg, &mut batch.requests);
            let next = self.waiting.front().map_or(0, |next| next.flights.len());
            if bytes >= BATCH_BYTES || batch.requests.len() + next > BATCH_REQUESTS {
                break;
            }
        }
        self.core.metrics.batch_requests.record(batch.requests.len() as f64);
        batch
    }

    fn enlist(&mut self, leg: Leg, requests: &mut Vec<(u64, Arc<wire::Request>)>) {
        let id = self.next_leg;
        self.next_leg += 1;
        for (position, flight) in leg.flights.iter().enumerate() {
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            self.tickets.insert(ticket, Place { leg: id, position });
            requests.push((ticket, flight.request.clone()));
        }
        let flights: Vec<Option<Flight>> = leg.flights.into_iter().map(Some).collect();
        let unanswered = flights.len();
        self.legs.insert(id, SentLeg { group: leg.group, flights, unanswered, refusals: Vec::new() });
    }

    fn receive(&mut self, batch: wire::ReplyBatch) {
        let mut tally = Tally::default();
        let mut seen_e = 0;
        for reply in batch.replies {
            seen_e = seen_e.max(reply.e);
            let Some(place) = self.tickets.remove(&reply.ticket) else {
                tracing::warn!(node = %self.node, ticket = reply.ticket, "reply to a request that was not sent");
                self.core.metrics.protocol_errors.increment(1);
                continue;
            };
            self.answer(place, reply.outcome, &mut tally);
        }
        self.core.observe_e(seen_e);
        self.core.settle(tally);
    }

    fn answer(&mut self, place: Place, outcome: Option<wire::reply::Outcome>, tally: &mut Tally) {
        let leg = self.legs.get_mut(&place.leg).expect("a ticket that was sent belongs to a leg");
        let refuse = |leg: &mut SentLeg, trouble| leg.refusals.push((place.position, trouble));
        match outcome {
            Some(wire::reply::Outcome::Results(results)) => {
                // A flight that has been given up in the meantime takes no answer.
                if let Some(flight) = leg.flights[place.position].take() {
                    let answer = flight.read_results(results);
                    self.core.answered(leg.group, self.node, flight, answer, tally);
                }
            }
            Some(wire::reply::Outcome::Transacted(transacted)) => {
                if let Some(flight) = leg.flights[place.position].take() {
                    let answer = flight.read_step(transacted);
                    self.core.answered(leg.group, self.node, flight, answer, tally);
                }
            }
            Some(wire::reply::Outcome::Contested(contested)) => refuse(leg, Trouble::contested(contested)),
            Some(wire::reply::Outcome::Refusal(refusal)) => {
                if let Some(flight) = &leg.flights[place.position] {
                    let trouble = self.core.understand(refusal, flight, self.node);
                    refuse(leg, trouble);
                }
            }
            None => {
                let trouble = Trouble::Final(RouterError::Protocol("a reply without outcome".into()));
                refuse(leg, trouble);
            }
        }
        leg.unanswered -= 1;
        if leg.unanswered == 0
            && let Some(leg) = self.legs.remove(&place.leg)
            && !leg.refusals.is_empty()
        {
            self.core.retry(leg.into_refused(), tally);
        }
    }

    /// Gives up what has waited for its answer longer than anybody waits. The tickets stay known, for late replies.
    fn expire(&mut self, now: Instant) {
        let mut tally = Tally::default();
        for leg in self.legs.values_mut() {
            for slot in &mut leg.flights {
                let error = slot.as_ref().and_then(|flight| self.core.limits.overdue(flight, now));
                if let Some((error, flight)) = error.and_then(|error| Some((error, slot.take()?))) {
                    self.core.give_up(flight, error, &mut tally);
                }
            }
        }
        self.core.settle(tally);
    }

    /// The stream has broken: everything that was sent may have been executed, what waits was not.
    fn hand_back_sent(&mut self) {
        self.tickets.clear();
        let mut tally = Tally::default();
        let mut legs: Vec<(u64, SentLeg)> = self.legs.drain().collect();
        legs.sort_unstable_by_key(|(id, _)| *id);
        for (_, leg) in legs {
            self.core.directory.forget_leader(leg.group, self.node);
            self.core.retry(leg.into_broken(), &mut tally);
        }
        self.core.settle(tally);
    }

    /// Hands back what waits and what arrives while `work` goes on; in the first moments, as long as there is patience,
    /// it waits instead. `None` when nobody can send any more.
    async fn hand_back_during<F: Future>(&mut self, work: F, patience: Duration) -> Option<F::Output> {
        let mut work = std::pin::pin!(work);
        if let Ok(done) = tokio::time::timeout(patience, &mut work).await {
            return Some(done);
        }
        loop {
            let mut tally = Tally::default();
            while let Some(leg) = self.waiting.pop_front() {
                self.core.directory.forget_leader(leg.group, self.node);
                self.core.retry(leg.refused(Reason::Unreachable), &mut tally);
            }
            self.core.settle(tally);
            tokio::select! {
                biased;
                leg = self.requests.recv() => self.waiting.push_back(leg?),
                done = &mut work => return Some(done),
            }
        }
    }
}

impl Core {
    /// A group has answered: the node leads it, and the flight is over.
    fn answered(
        &self,
        group: GroupId,
        node: NodeId,
        flight: Flight,
        answer: Result<Answered, RouterError>,
        tally: &mut Tally,
    ) {
        if flight.history.refusals > 0 {
            self.directory.confirm_leader(group, node);
        }
        if answer.is_err() {
            self.metrics.protocol_errors.increment(1);
        }
        flight.finish(answer, tally);
    }
}

/// Tickets and legs are counters: spreading their low bits is hash enough.
type TicketHashing = BuildHasherDefault<TicketHasher>;

#[derive(Default)]
struct TicketHasher(u64);

impl Hasher for TicketHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(self.0.rotate_left(8) ^ u64::from(byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing: the table takes its group from the upper bits.
        self.0 = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
