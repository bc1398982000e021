//! What must hold of the groups' state at every moment, looked at from outside while the simulation runs, and at its end.
//!
//! The watcher opens the engines of all storage machines, as nobody in the system can, and compares: (numbers as in
//! PROTOCOL §7)
//!
//! - I14: the chain of a replica only goes forward: runs of a term rise, batches of a run come one after the other;
//! - I8: replicas that have applied the same entry have the same head, and at the end the same bytes;
//! - I4: no transaction is committed in one place or at one time, and aborted in another, nor committed at two versions;
//! - I1, I2: no key is served by two groups, and the epoch of no range goes back;
//! - I13: at the end no lock is left.
//!
//! A machine that lost its power has gone back to what was synced; what is forward begins anew there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keyspace::{GroupId, Route, TransactionId, Version};
use prost::Message;
use proto::wire;
use storage::engine::Engine;
use storage::engine::memory::MemoryEngine;
use storage::group::keys::GroupKeys;
use storage::group::state::{GroupView, Head, Views};

/// Keys and values, in order.
type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// Remembers what it saw.
pub struct Watcher {
    machines: Vec<MemoryEngine>,
    groups: Vec<GroupId>,
    /// By machine and group: as last seen.
    last: BTreeMap<(usize, GroupId), Head>,
    /// By group and applied index: whoever has applied that has this.
    agreed: BTreeMap<(GroupId, u64), Head>,
    /// By machine and group: the ranges as last seen.
    routes: BTreeMap<(usize, GroupId), Vec<Route>>,
    /// How transactions have ended: at this version, or not at all.
    ended: BTreeMap<TransactionId, Option<Version>>,
}

impl Watcher {
    /// Of these data engines and groups.
    pub fn new(machines: Vec<MemoryEngine>, groups: u32) -> Self {
        let groups = (1..=groups).map(|group| GroupId(u64::from(group))).collect();
        Self {
            machines,
            groups,
            last: BTreeMap::new(),
            agreed: BTreeMap::new(),
            routes: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// A machine has gone back to what was synced.
    pub fn forget(&mut self, machine: usize) {
        self.last.retain(|(of, _), _| *of != machine);
        self.routes.retain(|(of, _), _| *of != machine);
    }

    /// Looks once.
    ///
    /// # Errors
    /// A sentence for whoever looks for the bug.
    pub fn look(&mut self) -> Result<(), String> {
        for machine in 0..self.machines.len() {
            for group in self.groups.clone() {
                if let Some(view) = self.view(machine, group)? {
                    self.compare(machine, group, &view)?;
                    self.follow_transactions(group, &view)?;
                }
            }
        }
        Ok(())
    }

    /// None: the machine has no replica of the group, or nothing in it yet.
    fn view(&self, machine: usize, group: GroupId) -> Result<Option<GroupView>, String> {
        let engine: Arc<dyn Engine> = Arc::new(self.machines[machine].clone());
        let view = Views::new(engine, group).open();
        let view = view.map_err(|error| format!("group {group} on machine {machine}: {error}"))?;
        Ok(view.head.applied.is_some().then_some(view))
    }

    fn compare(&mut self, machine: usize, group: GroupId, view: &GroupView) -> Result<(), String> {
        let head = view.head;
        let place = (machine, group);
        if let Some(last) = self.last.insert(place, head) {
            let forward = (head.applied, head.clock, head.now_ms, head.ranges_index)
                >= (last.applied, last.clock, last.now_ms, last.ranges_index)
                && head.clock >= last.clock
                && head.now_ms >= last.now_ms;
            let chained =
                (head.chain.term, head.chain.run, head.chain.n) >= (last.chain.term, last.chain.run, last.chain.n);
            if !forward || !chained {
                return Err(format!("I14: group {group} on machine {machine} went back from {last:?} to {head:?}"));
            }
        }
        let index = head.applied.map_or(0, |(_, index)| index);
        let agreed = self.agreed.entry((group, index)).or_insert(head);
        if *agreed != head {
            return Err(format!("I8: two replicas of group {group} have applied {index}: {agreed:?} and {head:?}"));
        }
        let routes = view.ranges.routes();
        let earlier = self.routes.insert(place, routes.clone()).unwrap_or_default();
        for (before, after) in earlier.iter().flat_map(|before| routes.iter().map(move |after| (before, after))) {
            let same = before.range_id == after.range_id;
            let grew = after.epoch > before.epoch || (same && after.epoch == before.epoch);
            if before.range.intersect(&after.range).is_some() && !grew {
                return Err(format!("I2: an epoch of group {group} did not grow from {before:?} to {after:?}"));
            }
        }
        Ok(())
    }

    fn follow_transactions(&mut self, group: GroupId, view: &GroupView) -> Result<(), String> {
        let (start, end) = GroupKeys::new(group).all_transactions();
        let mut cursor = view.snapshot.cursor(&start, &end);
        cursor.seek(&start).map_err(|error| error.to_string())?;
        while let Some((key, value)) = cursor.current() {
            let (_, txn) = GroupKeys::split_transaction(key).ok_or_else(|| format!("not a record: {key:02x?}"))?;
            let record = wire::TransactionRecord::decode(value).map_err(|error| error.to_string())?;
            let end = match record.state() {
                wire::TransactionState::Committed | wire::TransactionState::Forgotten => {
                    Some(record.committed_at.map(Version::from))
                }
                wire::TransactionState::Aborted => Some(None),
                wire::TransactionState::Absent | wire::TransactionState::Pending => None,
            };
            if let Some(end) = end
                && *self.ended.entry(txn).or_insert(end) != end
            {
                return Err(format!("I4: {txn} has ended twice: {:?} and {end:?}", self.ended[&txn]));
            }
            cursor.next().map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Whether everything has come to rest: every replica has applied the same, and no lock is held.
    ///
    /// # Errors
    /// What still moves; it may be gone later.
    pub fn at_rest(&mut self) -> Result<(), String> {
        self.look()?;
        for group in self.groups.clone() {
            let mut applied = BTreeSet::new();
            for machine in 0..self.machines.len() {
                let Some(view) = self.view(machine, group)? else { continue };
                applied.insert(view.head.applied);
                if view.head.locks_held > 0 {
                    return Err(format!(
                        "I13: group {group} holds {} locks on machine {machine}",
                        view.head.locks_held
                    ));
                }
            }
            if applied.len() > 1 {
                return Err(format!("group {group} has replicas at {applied:?}"));
            }
        }
        Ok(())
    }

    /// Compares everything, once at rest.
    ///
    /// # Errors
    /// A sentence for whoever looks for the bug.
    pub fn settle(&self) -> Result<(), String> {
        let mut served = Vec::new();
        for group in &self.groups {
            let mut first: Option<(usize, Records)> = None;
            for machine in 0..self.machines.len() {
                let Some(view) = self.view(machine, *group)? else { continue };
                let records = self.records(machine, *group)?;
                match &first {
                    None => {
                        served.extend(view.ranges.iter().map(|owned| (owned.route.range.clone(), *group)));
                        first = Some((machine, records));
                    }
                    Some((other, theirs)) if *theirs != records => {
                        let differs = theirs.iter().zip(&records).find(|(a, b)| a != b);
                        return Err(format!(
                            "I8: group {group} differs on machines {other} and {machine}: {} and {} records, first {differs:02x?}",
                            theirs.len(),
                            records.len()
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
        for (position, (range, group)) in served.iter().enumerate() {
            for (other_range, other) in &served[..position] {
                if range.intersect(other_range).is_some() {
                    return Err(format!("I1: groups {group} and {other} both serve a part of {range:?}"));
                }
            }
        }
        Ok(())
    }

    fn records(&self, machine: usize, group: GroupId) -> Result<Records, String> {
        let (start, end) = GroupKeys::new(group).all();
        let snapshot = self.machines[machine].snapshot();
        let mut cursor = snapshot.cursor(&start, &end);
        let mut records = Vec::new();
        cursor.seek(&start).map_err(|error| error.to_string())?;
        while let Some((key, value)) = cursor.current() {
            records.push((key.to_vec(), value.to_vec()));
            cursor.next().map_err(|error| error.to_string())?;
        }
        Ok(records)
    }
}
