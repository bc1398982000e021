//! The keyspace as a command sees it that is evaluated here, because its keys lie in several groups.
//!
//! When the view is opened it reads, of every unit, the record that stands for it and how the unit looks; most commands
//! need no more. Every further read looks at its unit again in the same request: if it changed since, the evaluation is
//! given up. So everything that was read of a unit belongs to one version of it, and versions of all units are what the
//! prewrites, or a second look, hold against.
//!
//! Writes stay here until they become intents ([`RemoteView::into_writes`]).

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use commands::record::{self, Found};
use commands::{Command, Order, Outcome, Record, View, ViewError};
use keyspace::layout::{REDIS, unit_len, version_key};
use keyspace::{KeyRange, RouteMap, TransactionId, Version};

use super::Work;
use super::coordinate::Refusal;
use super::read::{Seen, Sight, observe_command};
use super::shape::by_group;
use crate::router::{Prepared, Router, RouterError};

/// What writes of this evaluation carry while it goes on: their version is known only when they commit.
const UNCOMMITTED: Version = Version::MAX;

/// See the module.
pub(super) struct RemoteView {
    router: Router,
    reader: Option<TransactionId>,
    /// Every unit that may be touched, as it was first seen.
    seen: Seen,
    /// Records as they were read.
    records: HashMap<Bytes, Option<Record>>,
    /// Records as they will be.
    writes: BTreeMap<Bytes, Option<Bytes>>,
    /// The largest time that a group told when the view was opened.
    now_ms: u64,
    /// Why the evaluation must be given up.
    trouble: Option<Refusal>,
}

/// Evaluates all parts, in order.
pub(super) async fn evaluate(view: &mut RemoteView, work: &Work) -> Result<Vec<Outcome>, Refusal> {
    let mut outcomes = Vec::with_capacity(work.parts.len());
    for part in &work.parts {
        match commands::run(view, &part.command).await {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => return Err(view.trouble.take().unwrap_or_else(|| broken(&error))),
        }
    }
    view.trouble.take().map_or(Ok(outcomes), Err)
}

fn broken(error: &ViewError) -> Refusal {
    tracing::error!(%error, "a command cannot be evaluated");
    Refusal::Router(RouterError::Protocol(error.to_string()))
}

impl RemoteView {
    /// Looks at all units, which are sorted. `reader`: in the name of a transaction that has locked them.
    pub(super) async fn open(
        router: &Router,
        routes: &RouteMap,
        units: &[Bytes],
        reader: Option<TransactionId>,
    ) -> Result<Self, Refusal> {
        // When units expire that are alive by the time of their own group, and that time.
        let mut expiring = Vec::new();
        let mut view = Self {
            router: router.clone(),
            reader,
            seen: Seen::new(),
            records: HashMap::new(),
            writes: BTreeMap::new(),
            now_ms: 0,
            trouble: None,
        };
        let groups = by_group(routes, units);
        let look = |unit: &Bytes| {
            let key = version_key(unit).into();
            [observe_command(unit.clone()), Command::Record(record::Operation::Get { key })]
        };
        let request = |units: &Vec<Bytes>| {
            let commands = units.iter().flat_map(look).collect();
            Prepared::many(commands, units.clone(), Vec::new()).read_by(reader)
        };
        let answers = router.submit(0, groups.iter().map(request).collect()).await;
        for (units, answer) in groups.into_iter().zip(answers) {
            let mut outcomes = answer?.into_iter();
            for unit in units {
                let (sight, found) = (next_record(&mut outcomes)?, next_record(&mut outcomes)?);
                let group_ms = sight.now_ms;
                view.now_ms = view.now_ms.max(group_ms);
                let (Some(sight), Found::Record(record)) = (Sight::of(&sight.found), found.found) else {
                    return Err(unexpected());
                };
                if let (Some(REDIS), Sight::Live(_), Some(record)) = (unit.first().copied(), sight, &record) {
                    let expire_at_ms = commands::redis::expires_at(&version_key(&unit), &record.value);
                    expiring.extend(expire_at_ms.map_err(|error| broken(&error))?.map(|at| (at, group_ms)));
                }
                view.records.insert(version_key(&unit).into(), record);
                view.seen.insert(unit, sight);
            }
        }
        // Whoever is told "gone" must not be followed by somebody who is told "still there": what has expired by the
        // time of another group waits until it has by its own.
        let in_doubt = |(at, group_ms): &(u64, u64)| *group_ms < *at && *at <= view.now_ms;
        if expiring.iter().any(in_doubt) { Err(Refusal::Changed) } else { Ok(view) }
    }

    /// How every unit looked.
    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    pub(super) fn into_seen(self) -> Seen {
        self.seen
    }

    /// What was written, in key order; `None`: removed.
    pub(super) fn into_writes(self) -> BTreeMap<Bytes, Option<Bytes>> {
        self.writes
    }

    pub(super) fn has_written(&self) -> bool {
        !self.writes.is_empty()
    }

    /// The unit of a key, if it is one of those named.
    fn unit_of(&self, key: &[u8]) -> Result<Bytes, ViewError> {
        let unit = unit_len(key).ok().and_then(|len| self.seen.get_key_value(&key[..len]));
        unit.map(|(unit, _)| unit.clone()).ok_or_else(|| stray(key))
    }

    /// Reads in one unit, and whether it still looks the same.
    async fn read(&mut self, unit: Bytes, operation: record::Operation) -> Result<Found, ViewError> {
        let commands = vec![observe_command(unit.clone()), Command::Record(operation)];
        let request = Prepared::many(commands, vec![unit.clone()], Vec::new()).read_by(self.reader);
        match self.router.call_prepared(request).await {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                let answer = next_record(&mut outcomes).and_then(|sight| Ok((sight, next_record(&mut outcomes)?)));
                let (sight, found) = answer.map_err(|refusal| self.fail(refusal))?;
                if Sight::of(&sight.found) != self.seen.get(&unit).copied() {
                    return Err(self.fail(Refusal::Changed));
                }
                Ok(found.found)
            }
            Err(error) => Err(self.fail(error.into())),
        }
    }

    /// Remembers why, for [`evaluate`].
    fn fail(&mut self, refusal: Refusal) -> ViewError {
        let sentence = format!("{refusal:?}");
        self.trouble = Some(refusal);
        ViewError::Storage(sentence)
    }
}

impl View for RemoteView {
    async fn get(&mut self, key: &[u8]) -> Result<Option<Record>, ViewError> {
        if let Some(written) = self.writes.get(key) {
            return Ok(written.clone().map(|value| Record { value, version: UNCOMMITTED }));
        }
        if let Some(read) = self.records.get(key) {
            return Ok(read.clone());
        }
        let unit = self.unit_of(key)?;
        let key = Bytes::copy_from_slice(key);
        match self.read(unit, record::Operation::Get { key: key.clone() }).await? {
            Found::Record(record) => {
                self.records.insert(key, record.clone());
                Ok(record)
            }
            _ => Err(self.fail(unexpected())),
        }
    }

    async fn last_change(&mut self, key: &[u8]) -> Result<Option<Version>, ViewError> {
        if self.writes.contains_key(key) {
            return Ok(Some(UNCOMMITTED));
        }
        Ok(match self.seen.get(&self.unit_of(key)?) {
            Some(Sight::Live(version) | Sight::Gone(version)) => Some(*version),
            Some(Sight::Never) | None => None,
        })
    }

    async fn scan(&mut self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<(Bytes, Record)>, ViewError> {
        let unit = self.unit_of(range.start())?;
        if !KeyRange::prefix(unit.clone()).covers(range) {
            return Err(stray(range.start()));
        }
        let written: Vec<(Bytes, Option<Bytes>)> = self
            .writes
            .range(range.start().clone()..)
            .take_while(|(key, _)| range.contains(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        // Each written key hides at most one of those below.
        let fetch = limit.saturating_add(written.len());
        let operation = record::Operation::Scan { range: range.clone(), order, limit: fetch };
        match self.read(unit, operation).await? {
            Found::Records(below) => Ok(lay_over(below, written, order, fetch, limit)),
            _ => Err(self.fail(unexpected())),
        }
    }

    fn put(&mut self, key: Vec<u8>, value: Bytes) {
        self.writes.insert(key.into(), Some(value));
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.writes.insert(key.into(), None);
    }

    fn flush_redis(&mut self, range: &KeyRange, _db: Option<u8>) {
        tracing::error!(?range, "a flush inside a transaction");
        self.trouble = Some(RouterError::Rejected("a transaction cannot flush a database".into()).into());
    }

    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn expired(&mut self, expire_at_ms: u64) -> bool {
        expire_at_ms <= self.now_ms
    }

    fn version(&self) -> Version {
        UNCOMMITTED
    }

    fn random(&mut self) -> u64 {
        rand::random()
    }
}

/// What a scan finds: `below` are at most `fetched` stored records, in order; `written` hides and adds to them.
fn lay_over(
    below: Vec<(Bytes, Record)>,
    written: Vec<(Bytes, Option<Bytes>)>,
    order: Order,
    fetched: usize,
    limit: usize,
) -> Vec<(Bytes, Record)> {
    // Behind the last record of a full answer there may be others: what was written there is not next.
    let last = (below.len() == fetched).then(|| below.last().map(|(key, _)| key.clone())).flatten();
    let in_sight = |key: &Bytes| match (&last, order) {
        (None, _) => true,
        (Some(last), Order::Ascending) => key <= last,
        (Some(last), Order::Descending) => key >= last,
    };
    let mut merged: BTreeMap<Bytes, Record> = below.into_iter().collect();
    for (key, value) in written.into_iter().filter(|(key, _)| in_sight(key)) {
        match value {
            Some(value) => drop(merged.insert(key, Record { value, version: UNCOMMITTED })),
            None => drop(merged.remove(&key)),
        }
    }
    match order {
        Order::Ascending => merged.into_iter().take(limit).collect(),
        Order::Descending => merged.into_iter().rev().take(limit).collect(),
    }
}

fn next_record(outcomes: &mut impl Iterator<Item = Outcome>) -> Result<record::Outcome, Refusal> {
    match outcomes.next() {
        Some(Outcome::Record(outcome)) => Ok(outcome),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> Refusal {
    Refusal::Router(RouterError::Protocol("not the records that were asked for".into()))
}

/// A key outside the units that the request names.
fn stray(key: &[u8]) -> ViewError {
    ViewError::Corrupt { key: key.to_vec(), reason: "outside the keys that the command names".into() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use commands::testing::{MemoryView, ready};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Over any stored records and any writes, a scan finds what it would find had the writes been stored.
        #[test]
        fn writes_are_seen_by_scans(
            stored in prop::collection::btree_set(0..30_u8, 0..20),
            written in prop::collection::btree_map(0..30_u8, any::<bool>(), 0..10),
            (from, to) in (0..15_u8, 15..31_u8),
            limit in 1..20_usize,
            descending: bool,
        ) {
            let order = if descending { Order::Descending } else { Order::Ascending };
            let range = KeyRange::new(vec![from], Some(vec![to].into())).unwrap();
            let mut below = MemoryView::default();
            stored.iter().for_each(|&key| below.put(vec![key], Bytes::from("old")));
            let mut above = below.clone();
            for (&key, &put) in &written {
                if put { above.put(vec![key], Bytes::from("new")) } else { above.delete(vec![key]) }
            }
            let inside = written.iter().filter(|(key, _)| range.contains(&[**key]));
            let written: Vec<(Bytes, Option<Bytes>)> =
                inside.map(|(&key, &put)| (vec![key].into(), put.then(|| Bytes::from("new")))).collect();
            let fetch = limit + written.len();
            let fetched = ready(below.scan(&range, order, fetch)).unwrap();
            let values = |found: Vec<(Bytes, Record)>| -> Vec<(Bytes, Bytes)> {
                found.into_iter().map(|(key, record)| (key, record.value)).collect()
            };
            let expected = ready(above.scan(&range, order, limit)).unwrap();
            prop_assert_eq!(values(lay_over(fetched, written, order, fetch, limit)), values(expected));
        }
    }
}
