//! Messages to and from the other gateways, by way of the storage nodes (`relay.proto`).
//!
//! The relay is idle until somebody wants to hear a topic or has something to publish. Then it joins every node, and
//! whenever a node comes, or a stream breaks, again. What the gateway wants to hear is one set for all nodes: a change
//! of it holds when every node that can be reached has noted it, and a node that is joined later hears the whole set
//! first.
//!
//! A message goes by the node that leads the group of the topic's key, so that all subscribers hear the messages of a
//! topic in one order; where that node cannot be reached, by any other. Messages are not kept: one that passes a node
//! while this gateway's stream to it is broken is lost to its subscribers, and a publisher whose stream breaks is told
//! that the outcome is unknown.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use keyspace::{NodeId, layout};
use parking_lot::Mutex;
use proto::wire;
use proto::wire::from_gateway::Kind as Say;
use proto::wire::to_gateway::Kind as Heard;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::DropGuard;

use super::error::Reason;
use super::stream::endpoint;
use super::{Core, Router, RouterError, serving_group};

/// How long a change of interest waits for nodes that neither answer nor break.
const NOTED_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a publisher waits. The node answers after one second, whoever is silent.
const PUBLISHED_TIMEOUT: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Largest message of a relay: a value, and something around it.
const MAX_BYTES: usize = 80 << 20;

/// What can be listened to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// A channel, which patterns match too.
    Channel(Bytes),
    /// A sharded channel.
    ShardChannel(Bytes),
}

/// A kind of [`Topic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Channels.
    Channels,
    /// Sharded channels.
    ShardChannels,
}

impl Topic {
    /// As clients name it.
    pub fn name(&self) -> &Bytes {
        match self {
            Topic::Channel(name) | Topic::ShardChannel(name) => name,
        }
    }

    fn to_wire(&self) -> wire::Topic {
        let space = match self {
            Topic::Channel(_) => wire::TopicSpace::Channel,
            Topic::ShardChannel(_) => wire::TopicSpace::ShardChannel,
        };
        wire::Topic { space: space.into(), name: self.name().clone() }
    }

    fn from_wire(topic: wire::Topic) -> Option<Self> {
        match wire::TopicSpace::try_from(topic.space) {
            Ok(wire::TopicSpace::Channel) => Some(Topic::Channel(topic.name)),
            Ok(wire::TopicSpace::ShardChannel) => Some(Topic::ShardChannel(topic.name)),
            Ok(wire::TopicSpace::Unspecified) | Err(_) => None,
        }
    }
}

/// Gives a message to the subscribers of this gateway.
pub trait Audience: Send + Sync + 'static {
    /// Delivers, and says to how many.
    fn deliver(&self, topic: &Topic, message: &Bytes) -> u64;

    /// How many listen to exactly this topic.
    fn count(&self, topic: &Topic) -> u64;

    /// Whether somebody listens to all channels that match something.
    fn has_patterns(&self) -> bool;
}

/// The relay. Clones share it.
#[derive(Clone)]
pub struct Relay {
    shared: Arc<Shared>,
}

struct Shared {
    core: Arc<Core>,
    audience: Arc<dyn Audience>,
    interest: Mutex<Interest>,
    lines: Mutex<Lines>,
    tickets: AtomicU64,
}

/// What this gateway wants to hear.
#[derive(Debug, Default)]
struct Interest {
    /// Of the last change; 0 before the first.
    number: u64,
    topics: BTreeSet<Topic>,
    all_channels: bool,
}

#[derive(Default)]
struct Lines {
    /// By node, with the address that it was opened to.
    by_node: HashMap<NodeId, (String, Arc<Line>, DropGuard)>,
    /// Somebody follows the comings and goings of nodes.
    following: bool,
}

/// What has become of the interest at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    /// The first attempt to join it is under way.
    Joining,
    /// It holds up to this number.
    UpTo(u64),
    /// It cannot be reached: it hears the whole interest when it can.
    Away,
}

impl Noted {
    fn holds(self, number: u64) -> bool {
        match self {
            Noted::Joining => false,
            Noted::UpTo(noted) => noted >= number,
            Noted::Away => true,
        }
    }
}

/// The stream to one node, or the attempts to have one.
struct Line {
    noted: watch::Sender<Noted>,
    /// `None` while there is no stream.
    outgoing: Mutex<Option<mpsc::UnboundedSender<wire::FromGateway>>>,
    answers: Mutex<HashMap<u64, oneshot::Sender<Heard>>>,
}

impl Relay {
    /// Delivers to `audience`.
    pub fn new(router: &Router, audience: Arc<dyn Audience>) -> Self {
        Self {
            shared: Arc::new(Shared {
                core: router.core.clone(),
                audience,
                interest: Mutex::default(),
                lines: Mutex::default(),
                tickets: AtomicU64::new(1),
            }),
        }
    }

    /// The audience has changed for these topics, or for patterns. When this returns, every node that can be reached
    /// knows what the gateway wants to hear, at the least as it was at the call.
    pub async fn refresh(&self, touched: &[Topic]) {
        self.shared.join_nodes();
        let (number, lines) = self.shared.tell_nodes(touched);
        let noted = async {
            for line in &lines {
                // The line outlives its wait: it is held by `lines`.
                let _ = line.noted.subscribe().wait_for(|noted| noted.holds(number)).await;
            }
        };
        if tokio::time::timeout(NOTED_TIMEOUT, noted).await.is_err() {
            tracing::warn!("a storage node has not noted in time what this gateway wants to hear");
        }
    }

    /// Sends a message to everybody who wants it; gives back how many have it.
    pub async fn publish(&self, topic: &Topic, message: Bytes) -> Result<u64, RouterError> {
        self.send(topic, message, false).await
    }

    /// How many listen to exactly this topic, over all gateways.
    pub async fn count(&self, topic: &Topic) -> Result<u64, RouterError> {
        self.send(topic, Bytes::new(), true).await
    }

    /// The topics that somebody listens to, over all gateways, sorted.
    pub async fn topics(&self, space: Space) -> Result<Vec<Bytes>, RouterError> {
        let space = match space {
            Space::Channels => wire::TopicSpace::Channel,
            Space::ShardChannels => wire::TopicSpace::ShardChannel,
        };
        let list = |ticket| Say::List(wire::ListTopics { ticket, space: space.into() });
        match self.ask(b"", list).await? {
            Heard::Topics(mut topics) => {
                topics.names.sort_unstable();
                Ok(topics.names)
            }
            _ => Err(RouterError::Protocol("another answer than a list of topics".into())),
        }
    }

    async fn send(&self, topic: &Topic, message: Bytes, count_only: bool) -> Result<u64, RouterError> {
        let to_wire = topic.to_wire();
        let publish = |ticket| {
            Say::Publish(wire::Publish { ticket, topic: Some(to_wire.clone()), message: message.clone(), count_only })
        };
        match self.ask(topic.name(), publish).await? {
            Heard::Published(published) => Ok(published.receivers),
            _ => Err(RouterError::Protocol("another answer than to a message".into())),
        }
    }

    /// Asks one node: the one that leads the group of this name, if it can be reached.
    async fn ask(&self, name: &[u8], question: impl Fn(u64) -> Say) -> Result<Heard, RouterError> {
        self.shared.join_nodes();
        let ticket = self.shared.tickets.fetch_add(1, Ordering::Relaxed);
        let (answered, answer) = oneshot::channel();
        let mut waiting = Some(answered);
        let mut line = None;
        for candidate in self.shared.lines_for(name) {
            // The first attempt to join a node is waited for, so that no message takes another way than the next one.
            let mut noted = candidate.noted.subscribe();
            let joined = noted.wait_for(|noted| *noted != Noted::Joining);
            if tokio::time::timeout(NOTED_TIMEOUT, joined).await.is_err() {
                continue;
            }
            if let Some(sender) = waiting.take() {
                candidate.answers.lock().insert(ticket, sender);
            }
            if candidate.say(question(ticket)) {
                line = Some(candidate);
                break;
            }
            waiting = candidate.answers.lock().remove(&ticket);
        }
        let Some(line) = line else { return Err(RouterError::Unavailable(Reason::Unreachable)) };
        let answer = tokio::time::timeout(PUBLISHED_TIMEOUT, answer).await;
        line.answers.lock().remove(&ticket);
        match answer {
            Ok(Ok(heard)) => Ok(heard),
            // The stream broke, or the node is silent: the message may be under way.
            Ok(Err(_)) | Err(_) => Err(RouterError::OutcomeUnknown),
        }
    }
}

impl Shared {
    /// Brings the interest up to date and sends what has changed; gives back its number, and the lines that hear it.
    ///
    /// The audience is asked under the lock of the interest: so whoever is last asks last, and every line hears the
    /// changes in their order, or the whole behind them.
    fn tell_nodes(&self, touched: &[Topic]) -> (u64, Vec<Arc<Line>>) {
        let mut interest = self.interest.lock();
        let (wanted, unwanted): (Vec<&Topic>, Vec<&Topic>) =
            touched.iter().partition(|topic| self.audience.count(topic) > 0);
        let all_channels = self.audience.has_patterns();
        let added: Vec<_> = wanted.into_iter().filter(|topic| interest.topics.insert((*topic).clone())).collect();
        let removed: Vec<_> = unwanted.into_iter().filter(|topic| interest.topics.remove(*topic)).collect();
        let lines = self.all_lines();
        if !added.is_empty() || !removed.is_empty() || all_channels != interest.all_channels {
            interest.number += 1;
            interest.all_channels = all_channels;
            let change = wire::Interest {
                number: interest.number,
                added: added.into_iter().map(Topic::to_wire).collect(),
                removed: removed.into_iter().map(Topic::to_wire).collect(),
                all_channels,
            };
            for line in &lines {
                line.say(Say::Interest(change.clone()));
            }
        }
        (interest.number, lines)
    }

    fn all_lines(&self) -> Vec<Arc<Line>> {
        self.lines.lock().by_node.values().map(|(_, line, _)| line.clone()).collect()
    }

    /// Lines in the order in which to try them for this name.
    fn lines_for(&self, name: &[u8]) -> Vec<Arc<Line>> {
        let snapshot = self.core.directory.load();
        let route = snapshot.routes.as_ref().map(|routes| routes.lookup(&layout::redis_unit(0, name)).clone());
        let leader = route.and_then(|route| snapshot.node_for(serving_group(&route), 0)).map(|(node, _)| node);
        let lines = self.lines.lock();
        let mut by_node: Vec<(&NodeId, &Arc<Line>)> =
            lines.by_node.iter().map(|(node, (_, line, _))| (node, line)).collect();
        by_node.sort_unstable_by_key(|(node, _)| (Some(**node) != leader, node.0));
        by_node.into_iter().map(|(_, line)| line.clone()).collect()
    }

    /// Has a line to every node that is known, and to no other.
    fn join_nodes(self: &Arc<Self>) {
        let snapshot = self.core.directory.load_full();
        let mut lines = self.lines.lock();
        lines
            .by_node
            .retain(|node, (address, ..)| snapshot.nodes.get(node).is_some_and(|link| link.address() == address));
        for (node, link) in &snapshot.nodes {
            if lines.by_node.contains_key(node) {
                continue;
            }
            let line = Arc::new(Line {
                noted: watch::Sender::new(Noted::Joining),
                outgoing: Mutex::default(),
                answers: Mutex::default(),
            });
            let stop = self.core.stopping.child_token();
            let attend = attend(self.clone(), line.clone(), link.address().to_owned());
            tokio::spawn(stop.clone().run_until_cancelled_owned(attend));
            lines.by_node.insert(*node, (link.address().to_owned(), line, stop.drop_guard()));
        }
        if !std::mem::replace(&mut lines.following, true) {
            let follow = follow_nodes(Arc::downgrade(self), self.core.clone());
            tokio::spawn(self.core.stopping.clone().run_until_cancelled_owned(follow));
        }
    }
}

/// Joins nodes as they come.
async fn follow_nodes(shared: std::sync::Weak<Shared>, core: Arc<Core>) {
    let mut changed = core.directory.nodes_changed();
    while changed.changed().await.is_ok() {
        let Some(shared) = shared.upgrade() else { return };
        shared.join_nodes();
    }
}

impl Line {
    /// Whether there is a stream to say it on.
    fn say(&self, what: Say) -> bool {
        let outgoing = self.outgoing.lock();
        outgoing.as_ref().is_some_and(|outgoing| outgoing.send(wire::FromGateway { kind: Some(what) }).is_ok())
    }

    fn answer(&self, ticket: u64, heard: Heard) {
        if let Some(asker) = self.answers.lock().remove(&ticket) {
            // Whoever asked may have given up.
            let _ = asker.send(heard);
        }
    }
}

/// Keeps a stream to one node, for ever.
async fn attend(shared: Arc<Shared>, line: Arc<Line>, address: String) {
    let mut pause = FIRST_PAUSE;
    loop {
        match join(&shared, &line, &address).await {
            Ok(()) => pause = FIRST_PAUSE,
            Err(status) => {
                tracing::debug!(%address, %status, "a storage node cannot be joined");
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        *line.outgoing.lock() = None;
        line.answers.lock().clear();
        line.noted.send_replace(Noted::Away);
        tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
    }
}

/// One stream, from joining until it breaks.
async fn join(shared: &Shared, line: &Line, address: &str) -> Result<(), tonic::Status> {
    let unavailable = |error: tonic::transport::Error| tonic::Status::unavailable(error.to_string());
    let channel = shared.core.dialer.connect(&endpoint(address)?).await.map_err(unavailable)?;
    let mut client = wire::relay_client::RelayClient::new(channel)
        .max_decoding_message_size(MAX_BYTES)
        .max_encoding_message_size(MAX_BYTES);
    // What waits here is bounded by the sessions, each of which has one message under way.
    let (outgoing, said) = mpsc::unbounded_channel();
    {
        let interest = shared.interest.lock();
        let whole = wire::Interest {
            number: interest.number,
            added: interest.topics.iter().map(Topic::to_wire).collect(),
            removed: Vec::new(),
            all_channels: interest.all_channels,
        };
        // The receiver is a line further down.
        let _ = outgoing.send(wire::FromGateway { kind: Some(Say::Interest(whole)) });
        *line.outgoing.lock() = Some(outgoing);
    }
    let mut heard = client.join(UnboundedReceiverStream::new(said)).await?.into_inner();
    while let Some(message) = heard.message().await? {
        match message.kind.ok_or_else(|| tonic::Status::internal("an empty message"))? {
            Heard::Noted(number) => {
                line.noted.send_replace(Noted::UpTo(number));
            }
            Heard::Delivery(delivery) => {
                let topic = delivery.topic.and_then(Topic::from_wire);
                let receivers = match &topic {
                    Some(topic) if delivery.count_only => shared.audience.count(topic),
                    Some(topic) => shared.audience.deliver(topic, &delivery.message),
                    // Of a kind that a later version knows: nobody here can have asked for it.
                    None => 0,
                };
                line.say(Say::Delivered(wire::Delivered { delivery: delivery.delivery, receivers }));
            }
            Heard::Published(published) => line.answer(published.ticket, Heard::Published(published)),
            Heard::Topics(topics) => line.answer(topics.ticket, Heard::Topics(topics)),
        }
    }
    Ok(())
}
