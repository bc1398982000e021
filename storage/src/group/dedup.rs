//! Exactly once: which requests have taken effect here, by gateway.
//!
//! The record of a request (its reply) is written with its effect; the records of one batch lie under one key, numbered
//! by the batch, so that a request costs no write of its own ([decision 4](../../../docs/decisions/0004-dedup-records-by-batch.md)).
//! This index knows all records of the group, those in flight included; it is rebuilt from the engine when a leader
//! takes office. Gateways say below which sequence they never ask again; such sequences are refused, and a batch of
//! which nothing can be asked for any more is *idle* and dropped.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use keyspace::{GroupId, RequestId};
use planted::Fault;
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
    /// It has taken effect; its reply is stored with those of this batch.
    Executed(u64),
    /// Its gateway has declared it answered.
    TooOld,
}

/// All live dedup records of a group.
#[derive(Debug, Default)]
pub struct DedupIndex {
    gateways: HashMap<u64, Gateway>,
    /// Live records of each batch that has some.
    batches: HashMap<u64, usize>,
    /// Batches that are stored and have no live records.
    idle: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct Gateway {
    /// Sequences below are refused.
    below: u64,
    /// Group time of its last request.
    heard_ms: u64,
    /// Sequence → batch.
    live: BTreeMap<u64, u64>,
}

/// What a batch must carry to make a change of the index durable.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// Floors to raise or forget.
    pub floors: Vec<wire::GatewayFloor>,
}

impl DedupIndex {
    /// Reads what a snapshot holds. Silence counts from `now_ms` on: what was heard since the last floor was written is
    /// not stored, and a new leader has heard nobody yet.
    pub fn load(snapshot: &dyn Snapshot, group: GroupId, now_ms: u64) -> Result<Self, StateError> {
        let keys = GroupKeys::new(group);
        let mut index = Self::default();
        let (start, end) = keys.all_floors();
        let mut cursor = snapshot.cursor(&start, &end);
        cursor.seek(&start)?;
        while let Some((_, value)) = cursor.current() {
            let floor = wire::GatewayFloor::decode(value).map_err(|error| StateError::Junk(error.to_string()))?;
            let gateway = index.gateways.entry(floor.incarnation).or_default();
            (gateway.below, gateway.heard_ms) = (floor.below, floor.heard_ms.max(now_ms));
            cursor.next()?;
        }
        let (start, end) = keys.all_dedup();
        let mut cursor = snapshot.cursor(&start, &end);
        cursor.seek(&start)?;
        while let Some((key, value)) = cursor.current() {
            let batch = GroupKeys::split_dedup(key).ok_or_else(|| StateError::Junk(format!("dedup key {key:02x?}")))?;
            for record in decode(value)? {
                let below = index.gateways.get(&record.incarnation).map_or(0, |gateway| gateway.below);
                if record.sequence >= below {
                    index.record(RequestId { incarnation: record.incarnation, sequence: record.sequence }, batch);
                }
            }
            if !index.batches.contains_key(&batch) {
                index.idle.insert(batch);
            }
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
        let executed = gateway.live.get(&id.sequence).filter(|_| !planted::is_on(Fault::NoDedup));
        executed.map_or(Known::New, |batch| Known::Executed(*batch))
    }

    /// Sequences of a gateway below this are refused.
    pub fn floor(&self, incarnation: u64) -> u64 {
        self.gateways.get(&incarnation).map_or(0, |gateway| gateway.below)
    }

    /// Notes that a request takes effect in this batch.
    pub fn record(&mut self, id: RequestId, batch: u64) {
        let gateway = self.gateways.entry(id.incarnation).or_default();
        debug_assert!(id.sequence >= gateway.below, "a refused sequence never executes");
        let before = gateway.live.insert(id.sequence, batch);
        debug_assert!(before.is_none() || planted::is_on(Fault::NoDedup), "I7: a request takes effect once");
        *self.batches.entry(batch).or_default() += 1;
        self.idle.remove(&batch);
    }

    /// A gateway says that it never asks again below `answered_below`. Changes nothing when that is not news.
    pub fn hear(&mut self, incarnation: u64, answered_below: u64, now_ms: u64, changes: &mut Changes) {
        let gateway = self.gateways.entry(incarnation).or_default();
        gateway.heard_ms = gateway.heard_ms.max(now_ms);
        if answered_below > gateway.below {
            let done = gateway.raise(incarnation, answered_below, changes);
            self.settle(done);
        }
    }

    /// These records are not live any more; each value is the batch of one.
    fn settle(&mut self, done: BTreeMap<u64, u64>) {
        for batch in done.into_values() {
            let live = self.batches.get_mut(&batch).expect("a live record counts in its batch");
            *live -= 1;
            if *live == 0 {
                self.batches.remove(&batch);
                self.idle.insert(batch);
            }
        }
    }

    /// Whether a batch can be dropped.
    pub fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// The batches to drop. Not `drafted`: it is being built and may get a live record yet.
    pub fn take_idle(&mut self, drafted: u64) -> Vec<u64> {
        let kept = self.idle.take(&drafted);
        let idle = std::mem::take(&mut self.idle);
        self.idle.extend(kept);
        idle.into_iter().collect()
    }

    /// Drops what gateways have left behind that were not heard of for [`GATEWAY_SILENCE_MS`].
    pub fn expire(&mut self, now_ms: u64, changes: &mut Changes) {
        let mut done = Vec::new();
        self.gateways.retain(|&incarnation, gateway| {
            if now_ms.saturating_sub(gateway.heard_ms) < GATEWAY_SILENCE_MS {
                return true;
            }
            let above = gateway.live.last_key_value().map_or(gateway.below, |(newest, _)| newest + 1);
            let silent_long = now_ms.saturating_sub(gateway.heard_ms) >= 10 * GATEWAY_SILENCE_MS;
            if silent_long {
                done.push(gateway.raise(incarnation, above, changes));
                let floor = wire::GatewayFloor { incarnation, forget: true, ..Default::default() };
                changes.floors.push(floor);
                return false;
            }
            if above > gateway.below {
                done.push(gateway.raise(incarnation, above, changes));
            }
            true
        });
        done.into_iter().for_each(|done| self.settle(done));
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
    /// Refuses sequences below `below` from now on; gives back the records of those that had taken effect.
    fn raise(&mut self, incarnation: u64, below: u64, changes: &mut Changes) -> BTreeMap<u64, u64> {
        let kept = self.live.split_off(&below);
        let done = std::mem::replace(&mut self.live, kept);
        self.below = below;
        let floor = wire::GatewayFloor { incarnation, below, heard_ms: self.heard_ms, forget: false };
        match changes.floors.iter_mut().find(|floor| floor.incarnation == incarnation) {
            Some(pending) => *pending = floor,
            None => changes.floors.push(floor),
        }
        done
    }
}

fn decode(stored: &[u8]) -> Result<Vec<wire::DedupRecord>, StateError> {
    let records = wire::DedupRecords::decode(stored).map_err(|error| StateError::Junk(error.to_string()))?;
    Ok(records.records)
}

/// The record of a request among those of its batch.
pub fn find(records: &[wire::DedupRecord], id: RequestId) -> Option<&wire::DedupRecord> {
    records.iter().find(|record| record.incarnation == id.incarnation && record.sequence == id.sequence)
}

/// The stored reply of a request that took effect in this batch.
pub fn read(
    snapshot: &dyn Snapshot,
    group: GroupId,
    batch: u64,
    id: RequestId,
) -> Result<Option<wire::Results>, StateError> {
    let Some(stored) = snapshot.get(&GroupKeys::new(group).dedup(batch))? else { return Ok(None) };
    Ok(find(&decode(&stored)?, id).and_then(|record| record.results.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sequence: u64) -> RequestId {
        RequestId { incarnation: 7, sequence }
    }

    #[test]
    fn records_live_until_their_gateway_is_done_with_them() {
        let mut index = DedupIndex::default();
        let mut changes = Changes::default();
        index.record(id(5), 40);
        index.record(id(6), 40);
        assert_eq!(index.find(id(5)), Known::Executed(40));
        assert_eq!(index.find(id(7)), Known::New);

        index.hear(7, 6, 1000, &mut changes);
        assert_eq!(index.find(id(5)), Known::TooOld);
        assert_eq!(index.find(id(6)), Known::Executed(40));
        assert_eq!(changes.floors.len(), 1);
        assert!(!index.has_idle(), "one of the batch can still be asked for");

        let mut again = Changes::default();
        index.hear(7, 6, 2000, &mut again);
        assert_eq!(again, Changes::default(), "no news");

        index.hear(7, 7, 3000, &mut again);
        assert_eq!(index.take_idle(0), [40]);
        assert!(!index.has_idle());
    }

    #[test]
    fn a_batch_that_is_being_built_is_not_dropped() {
        let mut index = DedupIndex::default();
        index.record(id(5), 40);
        index.hear(7, 6, 1000, &mut Changes::default());
        assert!(index.take_idle(40).is_empty(), "dropped in its own entry, it would take later records along");
        index.record(id(6), 40);
        assert!(index.take_idle(0).is_empty());
        assert_eq!(index.find(id(6)), Known::Executed(40));
    }

    #[test]
    fn a_silent_gateway_leaves_nothing_behind() {
        let mut index = DedupIndex::default();
        index.hear(7, 1, 1000, &mut Changes::default());
        index.record(id(5), 40);
        let mut changes = Changes::default();
        index.expire(1000 + GATEWAY_SILENCE_MS - 1, &mut changes);
        assert_eq!(changes, Changes::default());
        assert!(!index.has_idle());
        index.expire(1000 + GATEWAY_SILENCE_MS, &mut changes);
        assert_eq!(index.take_idle(0), [40]);
        assert_eq!(index.find(id(5)), Known::TooOld);
        assert_eq!(index.find(id(6)), Known::New, "it may come back with new requests");

        let mut changes = Changes::default();
        index.expire(1000 + 10 * GATEWAY_SILENCE_MS, &mut changes);
        assert!(changes.floors.iter().any(|floor| floor.forget));
        assert!(index.is_empty());
    }
}
