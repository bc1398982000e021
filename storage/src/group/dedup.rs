//! Exactly once: which requests have taken effect here, by gateway.
//!
//! The record of a request (its reply) is written with its effect, under the request's anchor. This index knows all
//! records of the group, those in flight included; it is rebuilt from the engine when a leader takes office. Gateways
//! say below which sequence they never ask again; those records are dropped, and such sequences refused.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use keyspace::{GroupId, RequestId};
use prost::Message;
use proto::wire;

use super::keys::GroupKeys;
use super::state::StateError;
use crate::engine::Snapshot;

/// A gateway that was silent for this long (by the group's time) repeats nothing any more: it repeats for 30 s.
pub const GATEWAY_SILENCE_MS: u64 = 60_000;

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it has not taken effect.
    New,
    /// It has taken effect; its reply is stored under this anchor.
    Executed(Bytes),
    /// Its gateway has declared it answered.
    TooOld,
}

/// All live dedup records of a group.
#[derive(Debug, Default)]
pub struct DedupIndex {
    gateways: HashMap<u64, Gateway>,
}

#[derive(Debug, Default)]
struct Gateway {
    /// Sequences below are refused.
    below: u64,
    /// Group time of its last request.
    heard_ms: u64,
    /// Sequence → anchor.
    live: BTreeMap<u64, Bytes>,
}

/// What a batch must carry to make a change of the index durable.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// Records to drop.
    pub drops: Vec<wire::DedupDrop>,
    /// Floors to raise or forget.
    pub floors: Vec<wire::GatewayFloor>,
}

impl DedupIndex {
    /// Reads what a snapshot holds.
    pub fn load(snapshot: &dyn Snapshot, group: GroupId) -> Result<Self, StateError> {
        let keys = GroupKeys::new(group);
        let mut index = Self::default();
        let (start, end) = keys.all_floors();
        let mut cursor = snapshot.cursor(&start, &end);
        cursor.seek(&start)?;
        while let Some((_, value)) = cursor.current() {
            let floor = wire::GatewayFloor::decode(value).map_err(|error| StateError::Junk(error.to_string()))?;
            let gateway = index.gateways.entry(floor.incarnation).or_default();
            (gateway.below, gateway.heard_ms) = (floor.below, floor.heard_ms);
            cursor.next()?;
        }
        let (start, end) = keys.all_dedup();
        let mut cursor = snapshot.cursor(&start, &end);
        cursor.seek(&start)?;
        while let Some((key, _)) = cursor.current() {
            let (anchor, id) =
                GroupKeys::split_dedup(key).ok_or_else(|| StateError::Junk(format!("dedup key {key:02x?}")))?;
            index.gateways.entry(id.incarnation).or_default().live.insert(id.sequence, anchor);
            cursor.next()?;
        }
        Ok(index)
    }

    /// What is known of a request.
    pub fn find(&self, id: RequestId) -> Known {
        let Some(gateway) = self.gateways.get(&id.incarnation) else { return Known::New };
        if id.sequence < gateway.below {
            return Known::TooOld;
        }
        gateway.live.get(&id.sequence).map_or(Known::New, |anchor| Known::Executed(anchor.clone()))
    }

    /// Notes that a request takes effect.
    pub fn record(&mut self, id: RequestId, anchor: Bytes) {
        let gateway = self.gateways.entry(id.incarnation).or_default();
        debug_assert!(id.sequence >= gateway.below, "a refused sequence never executes");
        gateway.live.insert(id.sequence, anchor);
    }

    /// A gateway says that it never asks again below `answered_below`. Changes nothing when that is not news.
    pub fn hear(&mut self, incarnation: u64, answered_below: u64, now_ms: u64, changes: &mut Changes) {
        let gateway = self.gateways.entry(incarnation).or_default();
        gateway.heard_ms = gateway.heard_ms.max(now_ms);
        if answered_below > gateway.below {
            gateway.raise(incarnation, answered_below, changes);
        }
    }

    /// Drops what gateways have left behind that were not heard of for [`GATEWAY_SILENCE_MS`].
    pub fn expire(&mut self, now_ms: u64, changes: &mut Changes) {
        self.gateways.retain(|&incarnation, gateway| {
            if now_ms.saturating_sub(gateway.heard_ms) < GATEWAY_SILENCE_MS {
                return true;
            }
            let above = gateway.live.last_key_value().map_or(gateway.below, |(newest, _)| newest + 1);
            let silent_long = now_ms.saturating_sub(gateway.heard_ms) >= 10 * GATEWAY_SILENCE_MS;
            if silent_long {
                gateway.raise(incarnation, above, changes);
                let floor = wire::GatewayFloor { incarnation, forget: true, ..Default::default() };
                changes.floors.push(floor);
                return false;
            }
            if above > gateway.below {
                gateway.raise(incarnation, above, changes);
            }
            true
        });
    }

    /// Live records of all gateways.
    pub fn len(&self) -> usize {
        self.gateways.values().map(|gateway| gateway.live.len()).sum()
    }

    /// Whether there is no live record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Gateway {
    fn raise(&mut self, incarnation: u64, below: u64, changes: &mut Changes) {
        let kept = self.live.split_off(&below);
        let dropped = std::mem::replace(&mut self.live, kept);
        let drops = dropped.into_iter().map(|(sequence, anchor)| wire::DedupDrop { anchor, incarnation, sequence });
        changes.drops.extend(drops);
        self.below = below;
        let floor = wire::GatewayFloor { incarnation, below, heard_ms: self.heard_ms, forget: false };
        match changes.floors.iter_mut().find(|floor| floor.incarnation == incarnation) {
            Some(pending) => *pending = floor,
            None => changes.floors.push(floor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANCHOR: Bytes = Bytes::from_static(b"unit");

    fn id(sequence: u64) -> RequestId {
        RequestId { incarnation: 7, sequence }
    }

    #[test]
    fn records_live_until_their_gateway_is_done_with_them() {
        let mut index = DedupIndex::default();
        let mut changes = Changes::default();
        index.record(id(5), ANCHOR);
        index.record(id(6), ANCHOR);
        assert_eq!(index.find(id(5)), Known::Executed(ANCHOR));
        assert_eq!(index.find(id(7)), Known::New);

        index.hear(7, 6, 1000, &mut changes);
        assert_eq!(index.find(id(5)), Known::TooOld);
        assert_eq!(index.find(id(6)), Known::Executed(ANCHOR));
        assert_eq!(changes.drops, [wire::DedupDrop { anchor: ANCHOR, incarnation: 7, sequence: 5 }]);
        assert_eq!(changes.floors.len(), 1);

        let mut again = Changes::default();
        index.hear(7, 6, 2000, &mut again);
        assert_eq!(again, Changes::default(), "no news");
    }

    #[test]
    fn a_silent_gateway_leaves_nothing_behind() {
        let mut index = DedupIndex::default();
        index.hear(7, 1, 1000, &mut Changes::default());
        index.record(id(5), ANCHOR);
        let mut changes = Changes::default();
        index.expire(1000 + GATEWAY_SILENCE_MS - 1, &mut changes);
        assert_eq!(changes, Changes::default());
        index.expire(1000 + GATEWAY_SILENCE_MS, &mut changes);
        assert_eq!(changes.drops.len(), 1);
        assert_eq!(index.find(id(5)), Known::TooOld);
        assert_eq!(index.find(id(6)), Known::New, "it may come back with new requests");

        let mut changes = Changes::default();
        index.expire(1000 + 10 * GATEWAY_SILENCE_MS, &mut changes);
        assert!(changes.floors.iter().any(|floor| floor.forget));
        assert!(index.is_empty());
    }
}
