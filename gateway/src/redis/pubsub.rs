//! Channels: who is subscribed here, and what is published anywhere.
//!
//! Subscribers are known to their own gateway alone, which tells the storage nodes what it wants to hear
//! (`router::relay`). A message of any gateway comes back from there and goes into the mailboxes of the subscribers.
//! PUBLISH is answered when it is in the mailboxes of all gateways, with their number.
//!
//! SUBSCRIBE is answered when every node knows of it: what is published by anybody from then on is heard. A message is
//! not kept for anybody who was not connected, as in Redis.
//!
//! PUBSUB speaks of all gateways, but for NUMPAT, which counts the patterns of this one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use commands::redis::acl::User;
use commands::redis::glob::Pattern;
use commands::redis::{Classes, Event, PubSubCommand, Value};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::clients::Client;
use super::mailbox::Delivery;
use super::refusal;
use crate::router::{Audience, Relay, Router, RouterError, Space, Topic};

/// Most messages about events of keys that are still to be published.
const MAX_EVENTS: usize = 16_384;

/// What one client listens to.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    channels: BTreeSet<Bytes>,
    patterns: BTreeSet<Bytes>,
    shard_channels: BTreeSet<Bytes>,
}

impl Subscriptions {
    /// Channels, patterns, sharded channels.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.channels.len(), self.patterns.len(), self.shard_channels.len())
    }

    /// Whether the connection has become one of a subscriber, on which RESP2 allows little else.
    pub(super) fn any(&self) -> bool {
        self.counts() != (0, 0, 0)
    }

    /// Whether it listens to anything that this user may not listen to.
    pub(super) fn exceed(&self, user: &User) -> bool {
        let Self { channels, patterns, shard_channels } = self;
        channels.iter().chain(shard_channels).any(|channel| !user.may_listen(channel, false))
            || patterns.iter().any(|pattern| !user.may_listen(pattern, true))
    }

    fn of(&mut self, kind: Kind) -> &mut BTreeSet<Bytes> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::ShardChannel => &mut self.shard_channels,
        }
    }

    /// The number that a confirmation carries.
    fn confirmed(&self, kind: Kind) -> Value {
        let count = match kind {
            Kind::Channel | Kind::Pattern => self.channels.len() + self.patterns.len(),
            Kind::ShardChannel => self.shard_channels.len(),
        };
        Value::Integer(count as i64)
    }
}

/// What a name in a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Channel,
    Pattern,
    ShardChannel,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::ShardChannel];

    /// First word of the confirmation.
    fn word(self, subscribed: bool) -> Value {
        Value::bulk(match (self, subscribed) {
            (Kind::Channel, true) => "subscribe",
            (Kind::Channel, false) => "unsubscribe",
            (Kind::Pattern, true) => "psubscribe",
            (Kind::Pattern, false) => "punsubscribe",
            (Kind::ShardChannel, true) => "ssubscribe",
            (Kind::ShardChannel, false) => "sunsubscribe",
        })
    }

    fn topic(self, name: &Bytes) -> Option<Topic> {
        match self {
            Kind::Channel => Some(Topic::Channel(name.clone())),
            Kind::ShardChannel => Some(Topic::ShardChannel(name.clone())),
            Kind::Pattern => None,
        }
    }
}

/// What a command of this family answers.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    Reply(Value),
    /// One push for each name.
    Confirmations(Vec<Vec<Value>>),
}

type Subscribers = BTreeMap<u64, Arc<Client>>;

#[derive(Debug, Default)]
struct Table {
    topics: HashMap<Topic, Subscribers>,
    patterns: BTreeMap<Bytes, (Pattern, Subscribers)>,
}

/// Everybody who is subscribed at this gateway.
#[derive(Debug, Default)]
struct Subscribed {
    table: Mutex<Table>,
}

impl Audience for Subscribed {
    fn deliver(&self, topic: &Topic, message: &Bytes) -> u64 {
        let table = self.table.lock();
        let mut receivers = 0;
        let mut send = |client: &Client, push: Vec<Value>| {
            client.mailbox.deliver(Delivery::Push(push));
            receivers += 1;
        };
        let (word, name) = match topic {
            Topic::Channel(name) => ("message", name),
            Topic::ShardChannel(name) => ("smessage", name),
        };
        let [word, channel, text] = [Value::bulk(word), Value::Bulk(name.clone()), Value::Bulk(message.clone())];
        for client in table.topics.get(topic).into_iter().flat_map(BTreeMap::values) {
            send(client, vec![word.clone(), channel.clone(), text.clone()]);
        }
        if matches!(topic, Topic::Channel(_)) {
            for (pattern, (matcher, clients)) in &table.patterns {
                if matcher.matches(name) {
                    let push = [Value::bulk("pmessage"), Value::Bulk(pattern.clone()), channel.clone(), text.clone()];
                    clients.values().for_each(|client| send(client, push.to_vec()));
                }
            }
        }
        receivers
    }

    fn count(&self, topic: &Topic) -> u64 {
        self.table.lock().topics.get(topic).map_or(0, |subscribers| subscribers.len() as u64)
    }

    fn has_patterns(&self) -> bool {
        !self.table.lock().patterns.is_empty()
    }
}

impl Subscribed {
    fn add(&self, kind: Kind, name: &Bytes, client: &Arc<Client>) {
        let mut table = self.table.lock();
        let subscribers = match kind.topic(name) {
            Some(topic) => table.topics.entry(topic).or_default(),
            None => &mut table.patterns.entry(name.clone()).or_insert_with(|| (Pattern::new(name), BTreeMap::new())).1,
        };
        subscribers.insert(client.id, client.clone());
    }

    fn remove(&self, kind: Kind, name: &Bytes, client: &Client) {
        let mut table = self.table.lock();
        match kind.topic(name) {
            Some(topic) => {
                if let Some(subscribers) = table.topics.get_mut(&topic) {
                    subscribers.remove(&client.id);
                    if subscribers.is_empty() {
                        table.topics.remove(&topic);
                    }
                }
            }
            None => {
                if let Some((_, subscribers)) = table.patterns.get_mut(name) {
                    subscribers.remove(&client.id);
                    if subscribers.is_empty() {
                        table.patterns.remove(name);
                    }
                }
            }
        }
    }
}

/// Publish and subscribe of one gateway.
pub(super) struct PubSub {
    subscribed: Arc<Subscribed>,
    relay: Relay,
    /// Channels and messages about events, for [`PubSub::publish_events`].
    events: mpsc::Sender<(Bytes, Bytes)>,
    told: tokio::sync::Mutex<mpsc::Receiver<(Bytes, Bytes)>>,
}

impl PubSub {
    pub(super) fn new(router: &Router) -> Self {
        let subscribed = Arc::new(Subscribed::default());
        let (events, told) = mpsc::channel(MAX_EVENTS);
        Self { relay: Relay::new(router, subscribed.clone()), subscribed, events, told: told.into() }
    }

    /// Has events of keys published. Behind [`MAX_EVENTS`] messages that are still to go out they are lost.
    pub(super) fn tell(&self, events: &[Event], classes: Classes) {
        for message in events.iter().flat_map(|event| event.messages(classes)) {
            if self.events.try_send(message).is_err() {
                tracing::warn!("events of keys come faster than they can be published: some are lost");
                return;
            }
        }
    }

    /// Publishes what [`PubSub::tell`] was given, one message after another: each is in all mailboxes before the next one
    /// leaves, so whoever hears several channels hears them in order.
    pub(super) async fn publish_events(&self) {
        let mut told = self.told.lock().await;
        while let Some((channel, message)) = told.recv().await {
            if let Err(error) = self.relay.publish(&Topic::Channel(channel), message).await {
                tracing::warn!(%error, "an event of a key was not published");
            }
        }
    }

    /// Runs one command; the table has checked the number of arguments.
    pub(super) async fn run(&self, command: PubSubCommand, args: &[Bytes], client: &Arc<Client>) -> Answer {
        use PubSubCommand::*;
        let answered = match command {
            Publish => self.publish(Topic::Channel(args[1].clone()), &args[2]).await,
            SPublish => self.publish(Topic::ShardChannel(args[1].clone()), &args[2]).await,
            Subscribe => return self.subscribe(Kind::Channel, &args[1..], client).await,
            PSubscribe => return self.subscribe(Kind::Pattern, &args[1..], client).await,
            SSubscribe => return self.subscribe(Kind::ShardChannel, &args[1..], client).await,
            Unsubscribe => return self.unsubscribe(Kind::Channel, &args[1..], client).await,
            PUnsubscribe => return self.unsubscribe(Kind::Pattern, &args[1..], client).await,
            SUnsubscribe => return self.unsubscribe(Kind::ShardChannel, &args[1..], client).await,
            Channels => self.list(Space::Channels, args.get(2)).await,
            ShardChannels => self.list(Space::ShardChannels, args.get(2)).await,
            NumSub => self.count(&args[2..], Topic::Channel).await,
            ShardNumSub => self.count(&args[2..], Topic::ShardChannel).await,
            NumPat => Ok(Value::Integer(self.subscribed.table.lock().patterns.len() as i64)),
        };
        Answer::Reply(answered.unwrap_or_else(|error| refusal::reply(&error)))
    }

    /// The connection ends, or begins anew: it listens to nothing any more.
    pub(super) async fn forget(&self, client: &Arc<Client>) {
        if !client.subscriptions.lock().any() {
            return;
        }
        for kind in Kind::ALL {
            self.unsubscribe(kind, &[], client).await;
        }
    }

    async fn publish(&self, topic: Topic, message: &Bytes) -> Result<Value, RouterError> {
        Ok(Value::Integer(self.relay.publish(&topic, message.clone()).await? as i64))
    }

    async fn subscribe(&self, kind: Kind, names: &[Bytes], client: &Arc<Client>) -> Answer {
        let confirm = |name: &Bytes| {
            self.subscribed.add(kind, name, client);
            let mut own = client.subscriptions.lock();
            own.of(kind).insert(name.clone());
            vec![kind.word(true), Value::Bulk(name.clone()), own.confirmed(kind)]
        };
        let confirmations = names.iter().map(confirm).collect();
        let touched: Vec<Topic> = names.iter().filter_map(|name| kind.topic(name)).collect();
        self.relay.refresh(&touched).await;
        Answer::Confirmations(confirmations)
    }

    async fn unsubscribe(&self, kind: Kind, names: &[Bytes], client: &Arc<Client>) -> Answer {
        let names: Vec<Bytes> = match names {
            [] => client.subscriptions.lock().of(kind).iter().cloned().collect(),
            names => names.to_vec(),
        };
        if names.is_empty() {
            let confirmed = client.subscriptions.lock().confirmed(kind);
            return Answer::Confirmations(vec![vec![kind.word(false), Value::Null, confirmed]]);
        }
        let confirm = |name: &Bytes| {
            self.subscribed.remove(kind, name, client);
            let mut own = client.subscriptions.lock();
            own.of(kind).remove(name);
            vec![kind.word(false), Value::Bulk(name.clone()), own.confirmed(kind)]
        };
        let confirmations = names.iter().map(confirm).collect();
        let touched: Vec<Topic> = names.iter().filter_map(|name| kind.topic(name)).collect();
        self.relay.refresh(&touched).await;
        Answer::Confirmations(confirmations)
    }

    async fn list(&self, space: Space, pattern: Option<&Bytes>) -> Result<Value, RouterError> {
        let pattern = pattern.map(|pattern| Pattern::new(pattern));
        let names = self.relay.topics(space).await?;
        let wanted = |name: &Bytes| pattern.as_ref().is_none_or(|pattern| pattern.matches(name));
        Ok(Value::Array(names.into_iter().filter(wanted).map(Value::Bulk).collect()))
    }

    async fn count(&self, names: &[Bytes], topic: impl Fn(Bytes) -> Topic) -> Result<Value, RouterError> {
        let mut counts = Vec::with_capacity(names.len() * 2);
        for name in names {
            counts.push(Value::Bulk(name.clone()));
            counts.push(Value::Integer(self.relay.count(&topic(name.clone())).await? as i64));
        }
        Ok(Value::Array(counts))
    }
}
