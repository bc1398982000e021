//! Who wants to hear what, and who has not yet said that it has. Pure: events in, messages out, time handed in.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use proto::wire;
use proto::wire::from_gateway::Kind as Said;
use proto::wire::to_gateway::Kind as Told;

/// One stream of a gateway. A gateway that comes back is another peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u64);

/// Space and name.
type Topic = (i32, Bytes);

/// A publisher is answered at last after this time, whoever has not counted its receivers by then.
const PATIENCE_MS: u64 = 1000;

#[derive(Debug, Default)]
struct Peer {
    topics: BTreeSet<Topic>,
    all_channels: bool,
    /// Deliveries that it has not answered.
    owes: BTreeSet<u64>,
}

/// A message on its way.
#[derive(Debug)]
struct Delivery {
    publisher: PeerId,
    ticket: u64,
    receivers: u64,
    owed: usize,
}

/// The hub of one node.
///
/// Invariants: `wanted` is the peers' topics turned round; a delivery is owed by exactly the peers that owe it, and one
/// that nobody owes is answered and gone.
#[derive(Debug, Default)]
pub struct Hub {
    peers: BTreeMap<PeerId, Peer>,
    wanted: HashMap<Topic, BTreeSet<PeerId>>,
    /// Peers that want all channels.
    all_channels: BTreeSet<PeerId>,
    deliveries: HashMap<u64, Delivery>,
    /// Deadlines of deliveries, in order.
    deadlines: VecDeque<(u64, u64)>,
    last_peer: u64,
    last_delivery: u64,
}

/// What to send, and to whom.
pub type Outgoing = Vec<(PeerId, wire::ToGateway)>;

fn told(kind: Told) -> wire::ToGateway {
    wire::ToGateway { kind: Some(kind) }
}

impl Hub {
    /// A gateway has joined. It wants nothing yet.
    pub fn join(&mut self) -> PeerId {
        self.last_peer += 1;
        let peer = PeerId(self.last_peer);
        self.peers.insert(peer, Peer::default());
        peer
    }

    /// Its stream is gone: nobody waits for what it owes.
    pub fn leave(&mut self, peer: PeerId) -> Outgoing {
        let Some(gone) = self.peers.remove(&peer) else { return Vec::new() };
        for topic in gone.topics {
            self.unwant(peer, &topic);
        }
        self.all_channels.remove(&peer);
        let mut out = Vec::new();
        for delivery in gone.owes {
            self.settle(delivery, 0, &mut out);
        }
        out
    }

    /// Takes what a gateway says. `Err`: it does not keep to the protocol.
    pub fn hear(&mut self, peer: PeerId, said: wire::FromGateway, now_ms: u64) -> Result<Outgoing, &'static str> {
        match said.kind.ok_or("an empty message")? {
            Said::Interest(interest) => self.note(peer, interest),
            Said::Publish(publish) => self.publish(peer, publish, now_ms),
            Said::Delivered(delivered) => {
                let mut out = Vec::new();
                if self.peers.get_mut(&peer).is_some_and(|peer| peer.owes.remove(&delivered.delivery)) {
                    self.settle(delivered.delivery, delivered.receivers, &mut out);
                }
                Ok(out)
            }
            Said::List(list) => {
                let in_space = self.wanted.keys().filter(|(space, _)| *space == list.space);
                let names = in_space.map(|(_, name)| name.clone()).collect();
                Ok(vec![(peer, told(Told::Topics(wire::Topics { ticket: list.ticket, names })))])
            }
        }
    }

    /// Whether somebody waits for a delivery.
    pub fn has_deliveries(&self) -> bool {
        !self.deliveries.is_empty()
    }

    /// Answers publishers that have waited long enough.
    pub fn give_up(&mut self, now_ms: u64) -> Outgoing {
        let mut out = Vec::new();
        while let Some((_, delivery)) = self.deadlines.pop_front_if(|(deadline_ms, _)| *deadline_ms <= now_ms) {
            let Some(overdue) = self.deliveries.remove(&delivery) else { continue };
            for peer in self.peers.values_mut() {
                peer.owes.remove(&delivery);
            }
            out.push(overdue.answer());
        }
        out
    }

    fn note(&mut self, peer: PeerId, interest: wire::Interest) -> Result<Outgoing, &'static str> {
        let key = |topic: wire::Topic| (topic.space, topic.name);
        let Some(known) = self.peers.get_mut(&peer) else { return Ok(Vec::new()) };
        known.all_channels = interest.all_channels;
        if interest.all_channels {
            self.all_channels.insert(peer);
        } else {
            self.all_channels.remove(&peer);
        }
        for topic in interest.removed.into_iter().map(key) {
            if self.peers.get_mut(&peer).is_some_and(|known| known.topics.remove(&topic)) {
                self.unwant(peer, &topic);
            }
        }
        for topic in interest.added.into_iter().map(key) {
            if topic.0 == wire::TopicSpace::Unspecified as i32 {
                return Err("a topic without a space");
            }
            if let Some(known) = self.peers.get_mut(&peer) {
                known.topics.insert(topic.clone());
            }
            self.wanted.entry(topic).or_default().insert(peer);
        }
        Ok(vec![(peer, told(Told::Noted(interest.number)))])
    }

    fn unwant(&mut self, peer: PeerId, topic: &Topic) {
        if let Some(peers) = self.wanted.get_mut(topic) {
            peers.remove(&peer);
            if peers.is_empty() {
                self.wanted.remove(topic);
            }
        }
    }

    fn publish(&mut self, publisher: PeerId, publish: wire::Publish, now_ms: u64) -> Result<Outgoing, &'static str> {
        let wire::Publish { ticket, topic, message, count_only } = publish;
        let topic = topic.ok_or("a message without a topic")?;
        let by_name = self.wanted.get(&(topic.space, topic.name.clone())).into_iter().flatten();
        let mut hearers: BTreeSet<PeerId> = by_name.copied().collect();
        if topic.space == wire::TopicSpace::Channel as i32 && !count_only {
            hearers.extend(&self.all_channels);
        }
        self.last_delivery += 1;
        let delivery = self.last_delivery;
        let mut out = Vec::with_capacity(hearers.len());
        for hearer in &hearers {
            if let Some(peer) = self.peers.get_mut(hearer) {
                peer.owes.insert(delivery);
            }
            let topic = Some(topic.clone());
            let message = wire::Delivery { delivery, topic, message: message.clone(), count_only };
            out.push((*hearer, told(Told::Delivery(message))));
        }
        let pending = Delivery { publisher, ticket, receivers: 0, owed: hearers.len() };
        if hearers.is_empty() {
            out.push(pending.answer());
        } else {
            self.deliveries.insert(delivery, pending);
            self.deadlines.push_back((now_ms + PATIENCE_MS, delivery));
        }
        Ok(out)
    }

    /// One gateway less to wait for.
    fn settle(&mut self, delivery: u64, receivers: u64, out: &mut Outgoing) {
        let Some(pending) = self.deliveries.get_mut(&delivery) else { return };
        pending.receivers = pending.receivers.saturating_add(receivers);
        pending.owed -= 1;
        if pending.owed == 0
            && let Some(done) = self.deliveries.remove(&delivery)
        {
            out.push(done.answer());
        }
        while self.deadlines.front().is_some_and(|(_, delivery)| !self.deliveries.contains_key(delivery)) {
            self.deadlines.pop_front();
        }
    }
}

impl Delivery {
    fn answer(self) -> (PeerId, wire::ToGateway) {
        let published = wire::Published { ticket: self.ticket, receivers: self.receivers };
        (self.publisher, told(Told::Published(published)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CHANNEL: i32 = wire::TopicSpace::Channel as i32;

    fn topic(name: &str) -> wire::Topic {
        wire::Topic { space: CHANNEL, name: Bytes::copy_from_slice(name.as_bytes()) }
    }

    fn wants(hub: &mut Hub, peer: PeerId, names: &[&str], all_channels: bool) {
        let added = names.iter().map(|name| topic(name)).collect();
        let interest = wire::Interest { number: 1, added, removed: Vec::new(), all_channels };
        let said = wire::FromGateway { kind: Some(Said::Interest(interest)) };
        assert_eq!(hub.hear(peer, said, 0).unwrap(), [(peer, told(Told::Noted(1)))]);
    }

    fn publish(hub: &mut Hub, peer: PeerId, name: &str) -> Outgoing {
        let publish = wire::Publish { ticket: 7, topic: Some(topic(name)), message: "m".into(), count_only: false };
        hub.hear(peer, wire::FromGateway { kind: Some(Said::Publish(publish)) }, 0).unwrap()
    }

    fn delivered(hub: &mut Hub, peer: PeerId, delivery: u64, receivers: u64) -> Outgoing {
        let said = Said::Delivered(wire::Delivered { delivery, receivers });
        hub.hear(peer, wire::FromGateway { kind: Some(said) }, 0).unwrap()
    }

    fn published(out: &Outgoing) -> Vec<(PeerId, u64)> {
        let sum = |(peer, told): &(PeerId, wire::ToGateway)| match &told.kind {
            Some(Told::Published(published)) => Some((*peer, published.receivers)),
            _ => None,
        };
        out.iter().filter_map(sum).collect()
    }

    #[test]
    fn the_publisher_hears_the_sum_when_all_have_delivered() {
        let mut hub = Hub::default();
        let [a, b, c] = [hub.join(), hub.join(), hub.join()];
        wants(&mut hub, a, &["news"], false);
        wants(&mut hub, b, &[], true);
        assert_eq!(published(&publish(&mut hub, c, "other")), [], "the one with patterns may want it");
        let out = publish(&mut hub, c, "news");
        assert_eq!(out.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [a, b]);
        assert_eq!(published(&delivered(&mut hub, a, 2, 3)), []);
        assert_eq!(published(&delivered(&mut hub, a, 2, 3)), [], "said twice, counted once");
        assert_eq!(published(&delivered(&mut hub, b, 2, 1)), [(c, 4)]);
        assert_eq!(published(&delivered(&mut hub, b, 1, 0)), [(c, 0)]);
        assert!(!hub.has_deliveries() && hub.deadlines.is_empty());
    }

    #[test]
    fn nobody_waits_for_a_gateway_that_is_gone_or_silent() {
        let mut hub = Hub::default();
        let [a, b] = [hub.join(), hub.join()];
        wants(&mut hub, a, &["news"], false);
        publish(&mut hub, b, "news");
        assert_eq!(published(&hub.leave(a)), [(b, 0)]);
        assert_eq!(published(&publish(&mut hub, b, "news")), [(b, 0)], "and it wants nothing any more");
        wants(&mut hub, b, &["news"], false);
        publish(&mut hub, b, "news");
        assert!(hub.give_up(PATIENCE_MS - 1).is_empty());
        assert_eq!(published(&hub.give_up(PATIENCE_MS)), [(b, 0)]);
        let overdue = hub.last_delivery;
        assert_eq!(delivered(&mut hub, b, overdue, 1), [], "too late");
        assert!(hub.wanted.len() == 1 && hub.peers[&b].owes.is_empty());
    }

    #[test]
    fn topics_are_listed_while_somebody_wants_them() {
        let mut hub = Hub::default();
        let a = hub.join();
        wants(&mut hub, a, &["x", "y"], true);
        let removed = vec![topic("x")];
        let less = wire::Interest { number: 2, added: Vec::new(), removed, all_channels: false };
        hub.hear(a, wire::FromGateway { kind: Some(Said::Interest(less)) }, 0).unwrap();
        let list = Said::List(wire::ListTopics { ticket: 5, space: CHANNEL });
        let out = hub.hear(a, wire::FromGateway { kind: Some(list) }, 0).unwrap();
        assert_eq!(out, [(a, told(Told::Topics(wire::Topics { ticket: 5, names: vec!["y".into()] })))]);
        assert!(hub.all_channels.is_empty());
        assert!(hub.hear(a, wire::FromGateway { kind: None }, 0).is_err());
    }
}
