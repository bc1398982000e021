//! Evaluating requests next to the data: what one request does to the group as it will be once everything in flight
//! has been applied.
//!
//! [`World`] is that group: an engine snapshot, the overlay of what is proposed, and the clock, time, ranges and dedup
//! index behind it. [`Evaluator::evaluate`] takes a request through the steps of PROTOCOL §2 in order (route, dedup,
//! floor, locks, observed versions, commands) and adds what it writes to a [`Draft`], the batch being built. It never waits and
//! never answers: results go into the draft sealed.

use std::collections::BTreeMap;

use bytes::Bytes;
use commands::redis::events::Notes;
use commands::{Command, Order, Record, View, ViewError};
use futures::FutureExt;
use keyspace::{Epoch, GroupId, KeyRange, RangeId, RequestId, Version};
use planted::Fault;
use prost::Message;
use proto::wire;

use super::answer;
use super::chain::Link;
use super::dedup::{self, Changes, DedupIndex, Known};
use super::locks::LockTable;
use super::overlay::Overlay;
use super::ranges::RangeTable;
use super::records::RecordTable;
use super::request::{Ask, ExecRequest, Outcome, Reason, Scope, Target, Waiting, given_up, locked, refusal, rejected};
use super::standby::Standbys;
use super::state::{FORMAT, GroupView, StateError};
use super::transact::Obstacle;
use super::versions::VersionReader;
use super::wait::{Place, Ticket, WaitQueues};

/// The group as it will be once everything in flight has been applied.
pub struct World {
    /// The group.
    pub group: GroupId,
    /// The newest version given out.
    pub clock: Version,
    /// The group's time.
    pub now_ms: u64,
    /// What the group owns.
    pub ranges: RangeTable,
    /// Which requests have taken effect.
    pub dedup: DedupIndex,
    /// Who holds which units.
    pub locks: LockTable,
    /// Transactions anchored here.
    pub records: RecordTable,
    overlay: Overlay,
    base: GroupView,
    /// Always empty: flushes are checked against the ranges above, which know those in flight, not by the reader.
    no_ranges: RangeTable,
}

/// A batch being built.
#[derive(Debug, Default)]
pub struct Draft {
    /// What will be proposed; link, clock and time are set when it is.
    pub entry: wire::GroupEntry,
    /// Requests that take effect in it.
    pub dedup: Vec<wire::DedupRecord>,
    /// About how large it is.
    pub bytes: usize,
    /// Must be proposed even without changes: something was judged by a time that is not replicated yet.
    pub ticks: bool,
}

impl Draft {
    /// Whether there is anything to propose.
    pub fn is_empty(&self) -> bool {
        let entry = &self.entry;
        !self.ticks
            && entry.mutations.is_empty()
            && entry.locks.is_empty()
            && entry.transactions.is_empty()
            && entry.garbage.is_empty()
            && self.dedup.is_empty()
            && entry.flush_marks.is_empty()
            && entry.range_change.is_none()
    }

    /// The proposal: the entry at its place in the chain, with the state of the world behind it; and the requests that
    /// take effect in it.
    pub fn seal(mut self, link: Link, world: &mut World) -> (wire::GroupEntry, Vec<wire::DedupRecord>) {
        self.entry.format = FORMAT;
        (self.entry.term, self.entry.run, self.entry.n) = (link.term, link.run, link.n);
        (self.entry.clock_e, self.entry.clock_s) = (world.clock.e, world.clock.s);
        self.entry.now_ms = world.now_ms;
        self.entry.locks_held = world.locks.len() as u64;
        self.entry.dedup_drops = world.dedup.take_idle(self.entry.dedup_batch);
        let dedup = wire::DedupRecords { records: self.dedup };
        self.entry.dedup = dedup.encode_to_vec().into();
        (self.entry, dedup.records)
    }

    pub(super) fn relies_on(&mut self, range_id: RangeId, epoch: Epoch) {
        let relied = wire::RangeEpoch { range_id: range_id.0, epoch: epoch.0 };
        if !self.entry.relied_on.contains(&relied) {
            self.entry.relied_on.push(relied);
        }
    }
}

/// Finds the stored reply of a request that has taken effect but is not in the engine yet.
pub trait InFlight: Sync {
    /// Its results.
    fn results_of(&self, id: RequestId) -> Option<wire::Results>;
}

impl World {
    /// The group as a view shows it, with nothing in flight.
    /// `now_ms`: the present time, if it may be known.
    pub fn new(group: GroupId, base: GroupView, now_ms: Option<u64>) -> Result<Self, StateError> {
        let now_ms = now_ms.unwrap_or_default().max(base.head.now_ms);
        let dedup = DedupIndex::load(&*base.snapshot, group, now_ms)?;
        let locks = LockTable::load(&*base.snapshot, group)?;
        let records = RecordTable::load(&*base.snapshot, group)?;
        Ok(Self {
            group,
            clock: base.head.clock,
            now_ms,
            ranges: base.ranges.clone(),
            dedup,
            locks,
            records,
            overlay: Overlay::default(),
            base,
            no_ranges: RangeTable::default(),
        })
    }

    /// Batches up to `applied` have reached the engine, which `base` shows.
    pub fn rebase(&mut self, applied: Link, base: GroupView) {
        debug_assert!(base.head.chain >= applied, "the view is not older than what is pruned");
        self.overlay.prune(applied.n);
        self.base = base;
    }

    /// Brings the clock up to an oracle value.
    pub fn raise_clock(&mut self, e: u64) {
        if e > self.clock.e {
            self.clock = Version { e, s: self.clock.s };
        }
    }

    /// Drops the records of transactions that nobody can come back to; what the entry carries of it.
    pub fn collect_records(&mut self) -> Vec<wire::TransactionChange> {
        let mut gone = Vec::new();
        for incarnation in self.records.incarnations() {
            gone.extend(self.records.collect(incarnation, self.dedup.floor(incarnation), self.now_ms));
        }
        gone
    }

    /// Takes requests through evaluation, one after another, into `draft`, which becomes batch `batch`.
    pub fn evaluator<'w>(
        &'w mut self,
        batch: Link,
        draft: &'w mut Draft,
        in_flight: &'w dyn InFlight,
        queues: &'w WaitQueues<Waiting>,
        standbys: &'w Standbys<Waiting>,
    ) -> Evaluator<'w> {
        // The borrow checker wants the base apart from the rest: the reader holds on to it while the rest changes.
        let World { group, clock, now_ms, ranges, dedup, locks, records, overlay, base, no_ranges } = self;
        let reader = VersionReader::new(&*base.snapshot, *group, no_ranges, Version::MAX);
        Evaluator {
            group: *group,
            replicated_now_ms: base.head.now_ms,
            replicated_e: base.head.clock.e,
            clock,
            now_ms: *now_ms,
            ranges,
            applied_ranges: &base.ranges,
            dedup,
            locks,
            records,
            queues,
            standbys,
            freed: Vec::new(),
            touched: Vec::new(),
            overlay,
            snapshot: &*base.snapshot,
            reader,
            batch,
            draft,
            in_flight,
        }
    }
}

/// See [`World::evaluator`].
pub struct Evaluator<'w> {
    group: GroupId,
    replicated_now_ms: u64,
    replicated_e: u64,
    pub(super) clock: &'w mut Version,
    pub(super) now_ms: u64,
    pub(super) ranges: &'w mut RangeTable,
    applied_ranges: &'w RangeTable,
    pub(super) dedup: &'w mut DedupIndex,
    pub(super) locks: &'w mut LockTable,
    pub(super) records: &'w mut RecordTable,
    pub(super) queues: &'w WaitQueues<Waiting>,
    standbys: &'w Standbys<Waiting>,
    /// Units that were unlocked.
    pub(super) freed: Vec<Bytes>,
    /// Units that were written and at which somebody stands by.
    touched: Vec<Bytes>,
    overlay: &'w mut Overlay,
    snapshot: &'w dyn crate::engine::Snapshot,
    reader: VersionReader<'w>,
    batch: Link,
    pub(super) draft: &'w mut Draft,
    in_flight: &'w dyn InFlight,
}

/// What became of a request.
pub enum Evaluated {
    /// Its outcome, which must not leave before the draft's batch is taken.
    Decided(Outcome),
    /// Nothing yet: it waits here.
    Waits(Place),
    /// There is nothing to answer yet.
    StandsBy,
}

impl Evaluator<'_> {
    /// Refuses targets that the group does not serve, behind everything in flight.
    pub(super) fn stale_route(&self, targets: &[Target]) -> Option<Outcome> {
        let ranges = if planted::is_on(Fault::EpochCheckedEarly) { self.applied_ranges } else { &*self.ranges };
        stale_route(self.group, ranges, targets)
    }

    /// Units that were unlocked since the last call.
    pub fn take_freed(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.freed)
    }

    /// Units that were written since the last call, of those at which somebody stands by.
    pub fn take_touched(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.touched)
    }

    /// Whether somebody stands by at what was written.
    pub fn has_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Brings the clock up to an oracle value; whether that is news to the replicas.
    pub(super) fn raise_e(&mut self, e: u64) -> bool {
        self.clock.e = self.clock.e.max(e);
        self.clock.e > self.replicated_e
    }

    /// Brings the clock up to a version of another group. Both parts only rise, so that no `s` comes twice.
    pub(super) fn advance_clock(&mut self, to: Version) {
        *self.clock = Version { e: self.clock.e.max(to.e), s: self.clock.s.max(to.s) };
    }

    /// The largest oracle value so far, for the reply.
    pub fn e(&self) -> u64 {
        self.clock.e
    }

    /// Notes what a gateway says of itself.
    pub fn hear(&mut self, incarnation: u64, answered_below: u64) {
        let mut changes = Changes::default();
        self.dedup.hear(incarnation, answered_below, self.now_ms, &mut changes);
        self.carry(changes);
    }

    /// Puts changes of the dedup index into the draft.
    pub fn carry(&mut self, changes: Changes) {
        for floor in changes.floors {
            let floors = &mut self.draft.entry.floors;
            match floors.iter_mut().find(|known| known.incarnation == floor.incarnation) {
                Some(known) => *known = floor,
                None => floors.push(floor),
            }
        }
    }

    /// Evaluates one request; `ticket` is its place when it has waited for locks, `again`: it has stood by.
    pub fn evaluate(&mut self, ticket: Option<Ticket>, ask: &Ask, again: bool) -> Evaluated {
        match ask {
            Ask::Exec(request) => self.exec(ticket, request, again),
            Ask::Step(request) => self.step(ticket, request),
        }
    }

    fn exec(&mut self, ticket: Option<Ticket>, request: &ExecRequest, again: bool) -> Evaluated {
        self.raise_e(request.seen_e);
        if let Some(stale) = self.stale_route(&request.targets) {
            return Evaluated::Decided(stale);
        }
        match self.dedup.find(request.id) {
            Known::New => {}
            Known::Executed(batch) => return Evaluated::Decided(self.stored_reply(batch, request.id)),
            Known::TooOld => return Evaluated::Decided(refusal(Reason::TooOld(wire::TooOld {}))),
        }
        self.abort_pending_of(request.id);
        match self.obstacle(ticket, &request.targets, None, request.commands.iter().any(Command::writes)) {
            None => {}
            Some(Obstacle::Unit(place)) => return Evaluated::Waits(place),
            Some(Obstacle::Interval(seen)) => return Evaluated::Decided(locked(seen)),
        }
        match self.first_changed(&request.observed) {
            Ok(None) => self.run(request, again).unwrap_or_else(|error| Evaluated::Decided(given_up(&error))),
            Ok(Some(unit)) => Evaluated::Decided(refusal(Reason::Conflict(wire::Conflict { unit }))),
            Err(error) => Evaluated::Decided(rejected(error.to_string())),
        }
    }

    pub(super) fn stored_reply(&self, batch: u64, id: RequestId) -> Outcome {
        let drafted = dedup::find(&self.draft.dedup, id).and_then(|record| record.results.clone());
        let stored = match drafted.or_else(|| self.in_flight.results_of(id)) {
            Some(results) => Ok(Some(results)),
            None => dedup::read(self.snapshot, self.group, batch, id),
        };
        match stored {
            Ok(Some(results)) => Outcome::Results(results),
            Ok(None) => rejected(format!("stored reply of {id} is missing")),
            Err(error) => rejected(error.to_string()),
        }
    }

    pub(super) fn first_changed(&mut self, observed: &[(Bytes, Option<Version>)]) -> Result<Option<Bytes>, ViewError> {
        for (unit, version) in observed {
            let record = self.live_record(&keyspace::layout::version_key(unit))?;
            let live = match record {
                Some(record) if !answer::is_expired(unit, &record.value, self.now_ms)? => Some(record.version),
                Some(record) => {
                    // Judged by a time that no replica knows yet: it must be replicated before the answer leaves.
                    let known = answer::is_expired(unit, &record.value, self.replicated_now_ms)?;
                    self.draft.ticks |= !known;
                    None
                }
                None => None,
            };
            if live != *version && !planted::is_on(Fault::ObservedIgnored) {
                return Ok(Some(unit.clone()));
            }
        }
        Ok(None)
    }

    /// Evaluates commands in order; nothing that they write has an effect yet.
    pub(super) fn run_commands(&mut self, commands: &[Command]) -> Result<Ran, ViewError> {
        let mut view =
            ExecView { world: self, writes: BTreeMap::new(), flushes: Vec::new(), judged_expired: false, notes: None };
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            outcomes.push(evaluate_now(&mut view, command)?);
        }
        let ExecView { writes, flushes, judged_expired, .. } = view;
        self.draft.ticks |= judged_expired;
        Ok(Ran { outcomes, writes, flushes })
    }

    fn run(&mut self, request: &ExecRequest, again: bool) -> Result<Evaluated, ViewError> {
        let Ran { outcomes, writes, flushes } = self.run_commands(&request.commands)?;
        let without_effect = writes.is_empty() && flushes.is_empty();
        if request.patience_ms > 0 && without_effect && found_nothing(&request.commands, &outcomes, again) {
            return Ok(Evaluated::StandsBy);
        }
        self.decide(request, Ran { outcomes, writes, flushes }).map(Evaluated::Decided)
    }

    fn decide(&mut self, request: &ExecRequest, ran: Ran) -> Result<Outcome, ViewError> {
        let (results, writes, flushes) = ran.into_parts();
        if effect_bytes(&results, &writes) > MAX_EFFECT_BYTES && !writes.is_empty() {
            return Ok(too_large());
        }
        if let Some((range, _)) = flushes.iter().find(|(range, _)| !self.flushes_whole_ranges(range)) {
            return Ok(rejected(format!("a flush of {range:?} does not cover whole ranges")));
        }
        if !writes.is_empty() || !flushes.is_empty() {
            self.take_effect(request, writes, flushes, &results);
        }
        Ok(Outcome::Results(results))
    }

    /// Puts values, dedup record and bumped clock into the batch and the overlay.
    fn take_effect(
        &mut self,
        request: &ExecRequest,
        writes: BTreeMap<Bytes, Option<Bytes>>,
        flushes: Vec<(KeyRange, Option<u8>)>,
        results: &wire::Results,
    ) {
        self.clock.s += 1;
        let version = *self.clock;
        self.rely_on(&request.targets);
        for (range, db) in flushes {
            self.flush(&range, db, version);
        }
        for (key, value) in writes {
            self.write(key, version, value);
        }
        self.record_reply(request.id, &request.anchor, results);
    }

    /// The entry holds only while the ranges of these targets are as they are now.
    pub(super) fn rely_on(&mut self, targets: &[Target]) {
        for target in targets {
            self.draft.relies_on(target.range_id, target.epoch);
        }
    }

    /// Puts one record into the batch and the overlay.
    pub(super) fn write(&mut self, key: Bytes, version: Version, value: Option<Bytes>) {
        self.touch(&key);
        self.draft.bytes += key.len() + value.as_ref().map_or(0, Bytes::len) + 24;
        self.draft.entry.mutations.push(wire::Mutation {
            key: key.clone(),
            version_e: version.e,
            version_s: version.s,
            value: value.clone(),
        });
        self.overlay.put(self.batch.n, key, version, value);
    }

    /// Notes whom a write concerns that stands by.
    fn touch(&mut self, key: &Bytes) {
        if self.standbys.is_empty() {
            return;
        }
        if let Ok(length) = keyspace::layout::unit_len(key)
            && self.standbys.is_watched(&key[..length])
            && self.touched.last().is_none_or(|last| last != &key[..length])
        {
            self.touched.push(key.slice(..length));
        }
    }

    /// Remembers what a request was answered that takes effect in this batch, at the clock's present version.
    pub(super) fn record_reply(&mut self, id: RequestId, anchor: &Bytes, results: &wire::Results) {
        self.draft.bytes += anchor.len() + results.encoded_len() + 24;
        if self.draft.dedup.is_empty() {
            // No `s` comes twice in a group, so it numbers the batches that have an effect.
            self.draft.entry.dedup_batch = self.clock.s;
        }
        self.dedup.record(id, self.draft.entry.dedup_batch);
        self.draft.dedup.push(wire::DedupRecord {
            anchor: anchor.clone(),
            incarnation: id.incarnation,
            sequence: id.sequence,
            results: Some(results.clone()),
        });
    }

    /// A mark holds for all Redis keys of a range.
    fn flushes_whole_ranges(&self, flushed: &KeyRange) -> bool {
        self.ranges
            .iter()
            .filter(|owned| owned.route.range.intersect(flushed).is_some())
            .all(|owned| owned.route.range.redis_part().is_none_or(|keys| flushed.covers(&keys)))
    }

    /// Removes what lies below `version`: what is written at that version itself was written behind the flush.
    pub(super) fn flush(&mut self, range: &KeyRange, db: Option<u8>, version: Version) {
        debug_assert!(version.s > 0, "a version that was given out");
        let version = Version { s: version.s - 1, ..version };
        self.touched.extend(self.standbys.units_within(range).cloned());
        let touched = self.ranges.iter().filter(|owned| owned.route.range.intersect(range).is_some());
        let touched: Vec<RangeId> = touched.map(|owned| owned.route.range_id).collect();
        for range_id in touched {
            *self.ranges = self.ranges.flush(range_id, db, version);
            self.draft.entry.flush_marks.push(wire::FlushMark {
                range_id: range_id.0,
                db: u32::from(db.unwrap_or_default()),
                all_databases: db.is_none(),
                version_e: version.e,
                version_s: version.s,
            });
        }
    }

    /// The newest record of a key, expired or not.
    fn live_record(&mut self, key: &[u8]) -> Result<Option<Record>, ViewError> {
        let record = match self.overlay.get(key) {
            Some(pending) => pending.value.clone().map(|value| Record { value, version: pending.version }),
            None => self.reader.get(key).map_err(storage_error)?,
        };
        Ok(record.filter(|record| !self.ranges.is_flushed(key, record.version)))
    }
}

/// Refuses a request whose targets this group does not serve at their epochs, with what it knows of them.
pub fn stale_route(group: GroupId, ranges: &RangeTable, targets: &[Target]) -> Option<Outcome> {
    let serves = |target: &Target| {
        let owned = match &target.scope {
            Scope::Unit(key) => ranges.lookup(key),
            Scope::Interval(range) => ranges.lookup(range.start()).filter(|owned| owned.route.range.covers(range)),
        };
        owned.is_some_and(|owned| {
            let route = &owned.route;
            route.range_id == target.range_id && route.epoch == target.epoch && route.state.serves()
        })
    };
    if targets.iter().all(serves) {
        return None;
    }
    let ranges = ranges.iter().map(|owned| proto::route::range_report(&owned.route)).collect();
    Some(refusal(Reason::StaleRoute(wire::StaleRoute { ranges, group_id: group.0 })))
}

/// Runs a command over a view whose every await is ready at once.
pub fn evaluate_now<V: View>(view: &mut V, command: &Command) -> Result<commands::Outcome, ViewError> {
    commands::run(view, command).now_or_never().expect("a view over local state never waits")
}

/// A storage failure as a view reports it.
pub fn storage_error(error: StateError) -> ViewError {
    ViewError::Storage(error.to_string())
}

/// Most bytes that one request may bring into an entry: one larger than a message between nodes could never be
/// replicated, nor anything behind it.
pub(super) const MAX_EFFECT_BYTES: usize = 64 << 20;

/// What a request brings into its entry: what it writes, and its reply.
pub(super) fn effect_bytes(results: &wire::Results, writes: &BTreeMap<Bytes, Option<Bytes>>) -> usize {
    let write = |(key, value): (&Bytes, &Option<Bytes>)| key.len() + value.as_ref().map_or(0, Bytes::len) + 24;
    results.encoded_len() + writes.iter().map(write).sum::<usize>()
}

pub(super) fn too_large() -> Outcome {
    rejected(format!("what the request writes and its reply are together larger than {} MB", MAX_EFFECT_BYTES >> 20))
}

/// What commands have come to.
pub(super) struct Ran {
    outcomes: Vec<commands::Outcome>,
    writes: Writes,
    flushes: Flushes,
}

/// Records and what they hold from now on; `None`: nothing.
pub(super) type Writes = BTreeMap<Bytes, Option<Bytes>>;
/// Keys and the database that is flushed there; `None`: all.
pub(super) type Flushes = Vec<(KeyRange, Option<u8>)>;

impl Ran {
    /// Results in wire form, and what was written.
    pub(super) fn into_parts(self) -> (wire::Results, Writes, Flushes) {
        let results = self.outcomes.into_iter().map(answer::to_wire).collect();
        (wire::Results { results }, self.writes, self.flushes)
    }
}

/// Whether commands would block; of none at all: yes, whoever sends none waits for a change.
fn found_nothing(commands: &[Command], outcomes: &[commands::Outcome], again: bool) -> bool {
    commands.iter().zip(outcomes).all(|(command, outcome)| match (command, outcome) {
        (Command::Redis(invocation), commands::Outcome::Redis(value)) => {
            commands::redis::blocking::found_nothing(&invocation.args, value, again)
        }
        _ => false,
    })
}

/// Whether a flush of this database, or of all, over these keys takes a key along.
fn flushes(range: &KeyRange, db: Option<u8>, key: &[u8]) -> bool {
    range.contains(key) && keyspace::layout::redis_db(key).is_some_and(|of| db.is_none_or(|db| db == of))
}

/// What one request sees and writes.
struct ExecView<'e, 'w> {
    world: &'e mut Evaluator<'w>,
    writes: BTreeMap<Bytes, Option<Bytes>>,
    flushes: Vec<(KeyRange, Option<u8>)>,
    judged_expired: bool,
    notes: Option<Notes>,
}

impl ExecView<'_, '_> {
    /// Whether the request has flushed what was stored of this key.
    fn flushes(&self, key: &[u8]) -> bool {
        self.flushes.iter().any(|(range, db)| flushes(range, *db, key))
    }

    fn look_up(&mut self, key: &[u8]) -> Result<Option<Record>, ViewError> {
        if let Some(value) = self.writes.get(key) {
            let version = self.version();
            return Ok(value.clone().map(|value| Record { value, version }));
        }
        if self.flushes(key) {
            return Ok(None);
        }
        self.world.live_record(key)
    }

    fn scan_now(&mut self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<(Bytes, Record)>, ViewError> {
        let version = self.version();
        let mut pending: BTreeMap<Bytes, Option<Record>> = self
            .world
            .overlay
            .range(range)
            .map(|(key, pending)| {
                let record = pending.value.clone().map(|value| Record { value, version: pending.version });
                (key.clone(), record)
            })
            .collect();
        for (key, value) in self.writes.range(range.bounds()) {
            pending.insert(key.clone(), value.clone().map(|value| Record { value, version }));
        }
        let mut base = self.world.reader.scan(range, order);
        let mut stored = base.next_visible().map_err(storage_error)?;
        let mut found = Vec::new();
        while found.len() < limit {
            let next_pending = match order {
                Order::Ascending => pending.first_key_value(),
                Order::Descending => pending.last_key_value(),
            };
            let pending_first = match (next_pending, &stored) {
                (None, None) => break,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some((key, _)), Some((stored_key, _))) => match order {
                    Order::Ascending => key <= stored_key,
                    Order::Descending => key >= stored_key,
                },
            };
            let (key, record) = if pending_first {
                let entry = match order {
                    Order::Ascending => pending.pop_first(),
                    Order::Descending => pending.pop_last(),
                };
                let (key, record) = entry.expect("peeked above");
                if stored.as_ref().is_some_and(|(stored_key, _)| *stored_key == key) {
                    stored = base.next_visible().map_err(storage_error)?;
                }
                (key, record)
            } else {
                let (key, record) = stored.take().expect("peeked above");
                stored = base.next_visible().map_err(storage_error)?;
                (key, Some(record))
            };
            let hidden = !self.writes.contains_key(&key) && self.flushes(&key);
            let live = record.filter(|record| !hidden && !self.world.ranges.is_flushed(&key, record.version));
            found.extend(live.map(|record| (key, record)));
        }
        Ok(found)
    }
}

impl View for ExecView<'_, '_> {
    async fn get(&mut self, key: &[u8]) -> Result<Option<Record>, ViewError> {
        let found = self.look_up(key)?;
        if let Some(notes) = &mut self.notes {
            notes.found(key, found.as_ref(), self.world.now_ms);
        }
        Ok(found)
    }

    fn note(&mut self, notes: Option<Notes>) -> Option<Notes> {
        std::mem::replace(&mut self.notes, notes)
    }

    async fn last_change(&mut self, key: &[u8]) -> Result<Option<Version>, ViewError> {
        if self.writes.contains_key(key) {
            return Ok(Some(self.version()));
        }
        match self.world.overlay.get(key) {
            Some(pending) => Ok(Some(pending.version)),
            None => self.world.reader.last_change(key).map_err(storage_error),
        }
    }

    async fn scan(&mut self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<(Bytes, Record)>, ViewError> {
        self.scan_now(range, order, limit)
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

    fn flush_redis(&mut self, range: &KeyRange, db: Option<u8>) {
        self.flushes.push((range.clone(), db));
        // What the same request wrote before goes with the rest; what it writes from here on stays.
        self.writes.retain(|key, _| !flushes(range, db, key));
    }

    fn now_ms(&self) -> u64 {
        self.world.now_ms
    }

    fn expired(&mut self, expire_at_ms: u64) -> bool {
        let expired = expire_at_ms <= self.world.now_ms;
        // Judged by a time that no replica knows yet: the time must be replicated before the answer leaves.
        self.judged_expired |= expired && expire_at_ms > self.world.replicated_now_ms;
        expired
    }

    fn version(&self) -> Version {
        Version { e: self.world.clock.e, s: self.world.clock.s + 1 }
    }

    fn random(&mut self) -> u64 {
        rand::random()
    }
}
