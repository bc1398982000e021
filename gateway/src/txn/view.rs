//! The keyspace as a command sees it that is evaluated here, because its keys lie in several groups.
//!
//! When the view is opened it reads, of every unit, the record that stands for it and how the unit looks; most commands
//! need no more. Every further read looks at its unit again in the same request: if it changed since, the evaluation is
//! given up. So everything that was read of a unit belongs to one version of it, and versions of all units are what the
//! prewrites, or a second look, hold against.
//!
//! A command may read beyond the units that are named ([`Command::reads_beyond`]): of SORT BY the keys follow from the
//! elements. Then the view grows: a unit that is met for the first time is looked at like those before, and belongs to
//! what was seen, with its version.
//!
//! Writes stay here until they become intents ([`RemoteView::into_writes`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use commands::record::{self, Found};
use commands::redis::events::Notes;
use commands::{Command, Order, Outcome, Record, View, ViewError};
use keyspace::layout::{REDIS, unit_len, version_key};
use keyspace::{KeyRange, RouteMap, TransactionId, Version};

use super::coordinate::Refusal;
use super::read::{Seen, Sight, observe_command};
use super::shape::{MAX_READ_KEYS, by_group, in_requests};
use super::{TxnError, Work};
use crate::router::{Prepared, Reason, Router, RouterError};

/// What writes of this evaluation carry while it goes on: their version is known only when they commit.
const UNCOMMITTED: Version = Version::MAX;

/// See the module.
pub(super) struct RemoteView {
    router: Router,
    reader: Option<TransactionId>,
    /// Every unit that may be touched, as it was first seen.
    seen: Seen,
    /// Other units may be read, too.
    grows: bool,
    /// Records as they were read.
    records: HashMap<Bytes, Option<Record>>,
    /// Records as they will be.
    writes: BTreeMap<Bytes, Option<Bytes>>,
    /// The largest time that a group told when the view was opened.
    now_ms: u64,
    /// Why the evaluation must be given up.
    trouble: Option<Refusal>,
    notes: Option<Notes>,
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
    /// The view in which all parts of some work can be evaluated; see [`RemoteView::open`].
    pub(super) async fn of(
        router: &Router,
        routes: &RouteMap,
        work: &Work,
        units: &[Bytes],
        reader: Option<TransactionId>,
    ) -> Result<Self, Refusal> {
        let mut view = Self::open(router, routes, units, reader).await?;
        view.grows = work.reads_beyond();
        Ok(view)
    }

    /// Looks at all units, which are sorted. `reader`: in the name of a transaction that has locked them.
    async fn open(
        router: &Router,
        routes: &RouteMap,
        units: &[Bytes],
        reader: Option<TransactionId>,
    ) -> Result<Self, Refusal> {
        let mut view = Self {
            router: router.clone(),
            reader,
            seen: Seen::new(),
            grows: false,
            records: HashMap::new(),
            writes: BTreeMap::new(),
            now_ms: 0,
            trouble: None,
            notes: None,
        };
        let expiring = view.look_at(routes, units).await?;
        // Whoever is told "gone" must not be followed by somebody who is told "still there": what has expired by the
        // time of another group waits until it has by its own.
        view.now_ms = expiring.iter().map(|unit| unit.group_ms).max().unwrap_or(0).max(view.now_ms);
        if expiring.iter().any(|unit| unit.is_in_doubt(view.now_ms)) { Err(Refusal::Changed) } else { Ok(view) }
    }

    /// Reads of each unit how it looks, and the record that stands for it. When they expire, of those that do.
    async fn look_at(&mut self, routes: &RouteMap, units: &[Bytes]) -> Result<Vec<Expiring>, Refusal> {
        let mut expiring = Vec::new();
        let groups = in_requests(by_group(routes, units));
        let look = |unit: &Bytes| {
            let key = version_key(unit).into();
            [observe_command(unit.clone()), Command::Record(record::Operation::Get { key })]
        };
        let request = |units: &Vec<Bytes>| {
            let commands = units.iter().flat_map(look).collect();
            Prepared::many(commands, units.clone(), Vec::new()).read_by(self.reader)
        };
        let answers = self.router.submit(0, groups.iter().map(request).collect()).await;
        for (units, answer) in groups.into_iter().zip(answers) {
            let mut outcomes = answer?.into_iter();
            for unit in units {
                let (sight, found) = (next_record(&mut outcomes)?, next_record(&mut outcomes)?);
                let group_ms = sight.now_ms;
                let (Some(sight), Found::Record(record)) = (Sight::of(&sight.found), found.found) else {
                    return Err(unexpected());
                };
                let mut expire_at_ms = None;
                if let (Some(REDIS), Some(record)) = (unit.first().copied(), &record) {
                    let found = commands::redis::expires_at(&version_key(&unit), &record.value);
                    expire_at_ms = found.map_err(|error| broken(&error))?;
                }
                expiring.push(Expiring { expire_at_ms, group_ms });
                self.records.insert(version_key(&unit).into(), record);
                self.seen.insert(unit, sight);
            }
        }
        Ok(expiring)
    }

    /// Looks at units that are met for the first time.
    async fn grow(&mut self, units: &[Bytes]) -> Result<(), Refusal> {
        let keys = self.seen.len() + units.len();
        if keys > MAX_READ_KEYS {
            return Err(Refusal::TooLarge(TxnError::TooManyKeys { keys, most: MAX_READ_KEYS }));
        }
        let routes = self.router.routes().ok_or(RouterError::Unavailable(Reason::NoRoute))?;
        let expiring = self.look_at(&routes, units).await?;
        // The time of this evaluation stands: a unit that its group judges otherwise is looked at again.
        if expiring.iter().any(|unit| unit.is_in_doubt(self.now_ms)) { Err(Refusal::Changed) } else { Ok(()) }
    }

    /// How every unit looked.
    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    pub(super) fn into_seen(self) -> Seen {
        self.seen
    }

    /// Every unit that was looked at or written, sorted. Units may be written blindly: commands that reach beyond those
    /// that they name know that nobody else writes them.
    pub(super) fn touched(&self) -> BTreeSet<Bytes> {
        let unit = |key: &Bytes| unit_len(key).ok().map(|len| key.slice(..len));
        self.seen.keys().cloned().chain(self.writes.keys().filter_map(unit)).collect()
    }

    /// What was written, in key order; `None`: removed.
    pub(super) fn into_writes(self) -> BTreeMap<Bytes, Option<Bytes>> {
        self.writes
    }

    pub(super) fn has_written(&self) -> bool {
        !self.writes.is_empty()
    }

    /// The unit of a key, if it is one of those named, or the view grows.
    async fn unit_of(&mut self, key: &[u8]) -> Result<Bytes, ViewError> {
        let len = unit_len(key).map_err(|_| stray(key))?;
        if let Some((unit, _)) = self.seen.get_key_value(&key[..len]) {
            return Ok(unit.clone());
        }
        if !self.grows {
            return Err(stray(key));
        }
        let unit = Bytes::copy_from_slice(&key[..len]);
        match self.grow(std::slice::from_ref(&unit)).await {
            Ok(()) => Ok(unit),
            Err(refusal) => Err(self.fail(refusal)),
        }
    }

    /// Fetches records of units that were seen, and looks whether these still look the same.
    async fn fetch(&mut self, keys: Vec<Bytes>) -> Result<(), Refusal> {
        let routes = self.router.routes().ok_or(RouterError::Unavailable(Reason::NoRoute))?;
        let mut by_unit: BTreeMap<Bytes, Vec<Bytes>> = BTreeMap::new();
        for key in keys {
            let len = unit_len(&key).map_err(|error| RouterError::Protocol(error.to_string()))?;
            by_unit.entry(key.slice(..len)).or_default().push(key);
        }
        let units: Vec<Bytes> = by_unit.keys().cloned().collect();
        let groups = in_requests(by_group(&routes, &units));
        let read = |unit: &Bytes| {
            let get = |key: &Bytes| Command::Record(record::Operation::Get { key: key.clone() });
            std::iter::once(observe_command(unit.clone())).chain(by_unit[unit].iter().map(get)).collect::<Vec<_>>()
        };
        let request = |units: &Vec<Bytes>| {
            Prepared::many(units.iter().flat_map(read).collect(), units.clone(), Vec::new()).read_by(self.reader)
        };
        let answers = self.router.submit(0, groups.iter().map(request).collect()).await;
        for (units, answer) in groups.into_iter().zip(answers) {
            let mut outcomes = answer?.into_iter();
            for unit in units {
                let sight = Sight::of(&next_record(&mut outcomes)?.found);
                if sight != self.seen.get(&unit).copied() {
                    return Err(Refusal::Changed);
                }
                for key in by_unit.get(&unit).into_iter().flatten() {
                    let Found::Record(record) = next_record(&mut outcomes)?.found else { return Err(unexpected()) };
                    self.records.insert(key.clone(), record);
                }
            }
        }
        Ok(())
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

impl RemoteView {
    async fn look_up(&mut self, key: &[u8]) -> Result<Option<Record>, ViewError> {
        if let Some(written) = self.writes.get(key) {
            return Ok(written.clone().map(|value| Record { value, version: UNCOMMITTED }));
        }
        if let Some(read) = self.records.get(key) {
            return Ok(read.clone());
        }
        let unit = self.unit_of(key).await?;
        if let Some(read) = self.records.get(key) {
            return Ok(read.clone());
        }
        let key = Bytes::copy_from_slice(key);
        match self.read(unit, record::Operation::Get { key: key.clone() }).await? {
            Found::Record(record) => {
                self.records.insert(key, record.clone());
                Ok(record)
            }
            _ => Err(self.fail(unexpected())),
        }
    }
}

impl View for RemoteView {
    async fn get(&mut self, key: &[u8]) -> Result<Option<Record>, ViewError> {
        let found = self.look_up(key).await?;
        if let Some(notes) = &mut self.notes {
            notes.found(key, found.as_ref(), self.now_ms);
        }
        Ok(found)
    }

    fn note(&mut self, notes: Option<Notes>) -> Option<Notes> {
        std::mem::replace(&mut self.notes, notes)
    }

    async fn last_change(&mut self, key: &[u8]) -> Result<Option<Version>, ViewError> {
        if self.writes.contains_key(key) {
            return Ok(Some(UNCOMMITTED));
        }
        let unit = self.unit_of(key).await?;
        Ok(match self.seen.get(&unit) {
            Some(Sight::Live(version) | Sight::Gone(version)) => Some(*version),
            Some(Sight::Never) | None => None,
        })
    }

    async fn scan(&mut self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<(Bytes, Record)>, ViewError> {
        let unit = self.unit_of(range.start()).await?;
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

    async fn will_read(&mut self, keys: Vec<Vec<u8>>) -> Result<(), ViewError> {
        let is_known = |key: &Bytes, view: &Self| view.writes.contains_key(key) || view.records.contains_key(key);
        let mut keys: Vec<Bytes> = keys.into_iter().map(Bytes::from).filter(|key| !is_known(key, self)).collect();
        if self.grows {
            let met = keys.iter().filter_map(|key| unit_len(key).ok().map(|len| key.slice(..len)));
            let met: BTreeSet<Bytes> = met.filter(|unit| !self.seen.contains_key(unit)).collect();
            let met: Vec<Bytes> = met.into_iter().collect();
            self.grow(&met).await.map_err(|refusal| self.fail(refusal))?;
        }
        keys.retain(|key| !is_known(key, self));
        keys.sort_unstable();
        keys.dedup();
        self.fetch(keys).await.map_err(|refusal| self.fail(refusal))
    }

    fn put(&mut self, key: Vec<u8>, value: Bytes) {
        if let Some(notes) = &mut self.notes {
            notes.changed(&key, true);
        }
        self.writes.insert(key.into(), Some(value));
    }

    fn delete(&mut self, key: Vec<u8>) {
        if let Some(notes) = &mut self.notes {
            notes.changed(&key, false);
        }
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

/// When a unit expires, and the time of its group when it was looked at.
struct Expiring {
    expire_at_ms: Option<u64>,
    group_ms: u64,
}

impl Expiring {
    /// Whether it has expired by one of the two times and not by the other.
    fn is_in_doubt(&self, now_ms: u64) -> bool {
        self.expire_at_ms.is_some_and(|at| (at <= self.group_ms) != (at <= now_ms))
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
