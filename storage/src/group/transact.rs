//! Steps of transactions over several groups, evaluated by the executor like everything else that writes.
//!
//! The life of a transaction, seen from its groups (PROTOCOL §3):
//!
//! 1. [`Step::Prewrite`] at every group: checks as for an `Exec`, evaluates, and keeps what was written as intents in
//!    locks. The answer is the group's vote, with *p*. At the anchor's group it also makes the record, Pending.
//! 2. [`Step::Commit`] at the anchor decides: the record says Committed at version *c*, the dedup record holds the
//!    response, and the locks of this group become data in the same batch.
//! 3. [`Step::Resolve`] at the other groups: a lock that was prepared at the decided p becomes data at c; any other of
//!    the transaction was taken too late and is dropped.
//! 4. [`Step::Forget`]: all have resolved. The record stays until the floor of its gateway has passed it.
//!
//! [`Step::Abort`] decides against a transaction that is undecided, or unknown: its record then is the tombstone that a
//! late prewrite meets. Every step may be repeated at any time, by anybody, in any order: each looks at what is there.

use std::collections::BTreeMap;

use bytes::Bytes;
use commands::ViewError;
use keyspace::{KeyRange, TransactionId, Version, layout};
use planted::Fault;
use prost::Message;
use proto::wire;

use super::dedup::Known;
use super::evaluate::{Evaluated, Evaluator, MAX_EFFECT_BYTES, effect_bytes, too_large};
use super::locks::Holder;
use super::records::{Record, State};
use super::request::{
    Outcome, Prewrite, Reason, Scope, Step, StepRequest, Target, given_up, locked, refusal, rejected, units_of,
};
use super::wait::{Place, Ticket};

/// Most locks that a refusal lists.
const LISTED_LOCKS: usize = 64;

/// What keeps a request from running now.
pub(super) enum Obstacle {
    /// A unit: it may wait there.
    Unit(Place),
    /// Locks inside an interval: it is refused.
    Interval(Vec<wire::SeenLock>),
}

fn transacted(answer: wire::transacted::Answer) -> Outcome {
    Outcome::Transacted(wire::Transacted { answer: Some(answer) })
}

fn status(status: wire::TransactionStatus) -> Outcome {
    transacted(wire::transacted::Answer::Status(status))
}

fn absent() -> wire::TransactionStatus {
    wire::TransactionStatus { state: wire::TransactionState::Absent.into(), ..Default::default() }
}

fn ended(status: wire::TransactionStatus) -> Outcome {
    refusal(Reason::Ended(status))
}

impl Evaluator<'_> {
    /// Evaluates one step.
    pub fn step(&mut self, ticket: Option<Ticket>, request: &StepRequest) -> Evaluated {
        let raised = self.raise_e(request.seen_e);
        if let Some(stale) = self.stale_route(&request.targets) {
            return Evaluated::Decided(stale);
        }
        let outcome = match &request.step {
            Step::Prewrite(prewrite) => return self.prewrite(ticket, request, prewrite),
            Step::Begin { participants } => self.begin(request, participants),
            Step::Commit { participants, response } => self.commit(request, participants, response),
            Step::Abort { only_dead } => self.abort(request, *only_dead),
            Step::Resolve { committed_at, participants } => {
                self.resolve(request.txn, *committed_at, participants);
                transacted(wire::transacted::Answer::Resolved(wire::Unit {}))
            }
            Step::Forget => self.forget(request.txn),
            Step::Heartbeat => self.heartbeat(request.txn),
            Step::Inquire => {
                // A snapshot reader counts on it that this transaction will commit above what it has read at.
                self.draft.ticks |= raised;
                status(self.records.get(request.txn).map_or_else(absent, Record::status))
            }
        };
        Evaluated::Decided(outcome)
    }

    /// Whether locks, waiters or reservations of others stand in the way.
    pub(super) fn obstacle(
        &self,
        ticket: Option<Ticket>,
        targets: &[Target],
        txn: Option<TransactionId>,
        writes: bool,
    ) -> Option<Obstacle> {
        let ignored = txn.is_none() && planted::is_on(Fault::ExecIgnoresLocks);
        if ignored || self.locks.is_empty() && self.queues.is_empty() {
            return None;
        }
        let units = units_of(targets);
        let mine = |unit: &[u8]| txn.is_some_and(|txn| self.locks.holder(unit, txn).is_some());
        if let Some(at) = self.queues.obstacle(ticket, &units, mine, |unit| self.locks.blocks(unit, txn, writes)) {
            return Some(Obstacle::Unit(Place { units, at, spans: Vec::new() }));
        }
        let intervals = targets.iter().filter_map(|target| match &target.scope {
            Scope::Interval(range) => Some(range),
            Scope::Unit(_) => None,
        });
        let seen: Vec<_> =
            intervals.flat_map(|range| self.seen_within(range, txn, writes)).take(LISTED_LOCKS).collect();
        (!seen.is_empty()).then_some(Obstacle::Interval(seen))
    }

    fn seen_within(
        &self,
        range: &KeyRange,
        txn: Option<TransactionId>,
        writes: bool,
    ) -> impl Iterator<Item = wire::SeenLock> {
        let now_ms = self.now_ms;
        self.locks.blocking_within(range, txn, writes).map(move |(unit, holder)| holder.seen_at(unit, now_ms))
    }

    /// What keeps a prewrite from its locks: the smallest unit that somebody has, of its own or inside its spans.
    fn obstacle_to_lock(
        &self,
        ticket: Option<Ticket>,
        units: &[Bytes],
        spans: &BTreeMap<Bytes, KeyRange>,
        txn: TransactionId,
        writes: bool,
    ) -> Option<Place> {
        if self.locks.is_empty() && self.queues.is_empty() {
            return None;
        }
        let mine = |unit: &[u8]| self.locks.holder(unit, txn).is_some();
        let blocked = |unit: &[u8]| self.locks.blocks(unit, Some(txn), writes);
        let own = self.queues.obstacle(ticket, units, mine, blocked).map(|at| units[at].clone());
        let inside = spans.values().filter_map(|keys| {
            self.locks.blocking_within(keys, Some(txn), writes).map(|(unit, _)| unit).min().cloned()
        });
        let first = own.into_iter().chain(inside).min()?;
        let below = |keys: &KeyRange| KeyRange::new(keys.start().clone(), Some(first.clone()))?.intersect(keys);
        let mut units = units.to_vec();
        let at = units.binary_search(&first).unwrap_or_else(|at| {
            units.insert(at, first.clone());
            at
        });
        Some(Place { units, at, spans: spans.values().filter_map(below).collect() })
    }

    /// The spans that a prewrite locks, by their units. `None`: an interval that is not all Redis keys of a range.
    fn spans_of(&self, targets: &[Target]) -> Option<BTreeMap<Bytes, KeyRange>> {
        let intervals = targets.iter().filter_map(|target| match &target.scope {
            Scope::Interval(range) => Some(range),
            Scope::Unit(_) => None,
        });
        let span = |range: &KeyRange| {
            let owned = self.ranges.lookup(range.start())?;
            let whole = owned.route.range.redis_part().as_ref() == Some(range);
            whole.then(|| (layout::span_unit(range.start()).into(), range.clone()))
        };
        intervals.map(span).collect()
    }

    /// The locks on a unit as somebody in whose way they are is told.
    pub fn seen_at(&self, unit: &Bytes) -> Vec<wire::SeenLock> {
        let holders = self.locks.holders(unit).iter().take(LISTED_LOCKS);
        holders.map(|holder| holder.seen_at(unit, self.now_ms)).collect()
    }

    fn prewrite(&mut self, ticket: Option<Ticket>, request: &StepRequest, prewrite: &Prewrite) -> Evaluated {
        if let Some(refused) = self.refuses_begin(request, !prewrite.participants.is_empty()) {
            return Evaluated::Decided(refused);
        }
        let Some(spans) = self.spans_of(&request.targets) else {
            return Evaluated::Decided(rejected("a prewrite locks an interval that is not a whole span"));
        };
        let mut units = units_of(&request.targets);
        units.extend(spans.keys().cloned());
        units.sort_unstable();
        let Some(first) = units.first() else {
            return Evaluated::Decided(rejected("a prewrite names no unit"));
        };
        if let Some(vote) = self.repeated_vote(request.txn, prewrite.fingerprint, first) {
            return Evaluated::Decided(vote);
        }
        // A lock without intents may be filled. A delayed prewrite must not take back what a later one has filled in.
        let is_empty = |holder: &Holder| holder.intents.is_empty() && holder.flushes.is_empty();
        let is_other = |holder: &&Holder| !(holder.exclusive && is_empty(holder));
        if units.iter().filter_map(|unit| self.locks.holder(unit, request.txn)).any(|holder| is_other(&holder)) {
            return Evaluated::Decided(rejected("another prewrite of this transaction holds the unit"));
        }
        let writes = !prewrite.intents.is_empty() || prewrite.exclusive || prewrite.commands.iter().any(|c| c.writes());
        match self.obstacle_to_lock(ticket, &units, &spans, request.txn, writes) {
            None => {}
            Some(place) if prewrite.waits => return Evaluated::Waits(place),
            Some(Place { units, at, .. }) => return Evaluated::Decided(locked(self.seen_at(&units[at]))),
        }
        let outcome = match self.first_changed(&prewrite.observed) {
            Ok(None) => self.lock(request, prewrite, units, &spans).unwrap_or_else(|error| given_up(&error)),
            Ok(Some(unit)) => refusal(Reason::Conflict(wire::Conflict { unit })),
            Err(error) => rejected(error.to_string()),
        };
        Evaluated::Decided(outcome)
    }

    /// Why a transaction may not begin or go on here: it came too late, is decided, or another runs the request.
    fn refuses_begin(&mut self, request: &StepRequest, at_anchor: bool) -> Option<Outcome> {
        match self.dedup.find(request.txn.request) {
            Known::New => {}
            Known::TooOld => return Some(refusal(Reason::TooOld(wire::TooOld {}))),
            Known::Executed(batch) => {
                return Some(match self.stored_reply(batch, request.txn.request) {
                    Outcome::Results(results) => ended(wire::TransactionStatus {
                        state: wire::TransactionState::Committed.into(),
                        // By whatever way the request took effect: by now.
                        committed_at: Some((*self.clock).into()),
                        response: Some(results),
                        participants: Vec::new(),
                    }),
                    other => other,
                });
            }
        }
        match self.records.get(request.txn) {
            Some(record) if record.state != State::Pending => Some(ended(record.status())),
            Some(_) => None,
            None if !at_anchor => None,
            None => {
                let other = self.records.pending_of(request.txn.request);
                other.map(|_| refusal(Reason::Busy(wire::Busy {})))
            }
        }
    }

    /// The vote of a prewrite that has been evaluated before.
    fn repeated_vote(&self, txn: TransactionId, fingerprint: u64, first: &Bytes) -> Option<Outcome> {
        let holder = self.locks.holder(first, txn)?;
        if holder.fingerprint != fingerprint {
            return None;
        }
        Some(prepared(holder.prepared, holder.results.clone().unwrap_or_default()))
    }

    /// Evaluates a prewrite that nothing stands in the way of, and takes its locks.
    fn lock(
        &mut self,
        request: &StepRequest,
        prewrite: &Prewrite,
        units: Vec<Bytes>,
        spans: &BTreeMap<Bytes, KeyRange>,
    ) -> Result<Outcome, ViewError> {
        let (results, mut intents, flushed) = self.run_commands(&prewrite.commands)?.into_parts();
        let mut flushes: BTreeMap<Bytes, Vec<Option<u8>>> = BTreeMap::new();
        for (range, db) in flushed {
            match spans.iter().find(|(_, keys)| **keys == range) {
                Some((span, _)) => flushes.entry(span.clone()).or_default().push(db),
                None => return Ok(rejected("a transaction flushes outside of the spans that it names")),
            }
        }
        intents.extend(prewrite.intents.iter().cloned());
        if effect_bytes(&results, &intents) > MAX_EFFECT_BYTES {
            return Ok(too_large());
        }
        let mut by_unit: BTreeMap<Bytes, Vec<(Bytes, Option<Bytes>)>> = BTreeMap::new();
        for (key, value) in intents {
            let unit = layout::unit_len(&key).ok().map(|length| key.slice(..length));
            match unit.filter(|unit| units.binary_search(unit).is_ok()) {
                Some(unit) => by_unit.entry(unit).or_default().push((key, value)),
                None => return Ok(rejected("a transaction writes outside of the units that it names")),
            }
        }
        self.clock.s += 1;
        let p = *self.clock;
        self.rely_on(&request.targets);
        if !prewrite.participants.is_empty() && self.records.get(request.txn).is_none() {
            self.make_record(request, &prewrite.participants);
        }
        let vote = prepared(p, results.clone());
        let mut results = Some(results);
        for unit in units {
            let intents = by_unit.remove(&unit).unwrap_or_default();
            let flushes = flushes.remove(&unit).unwrap_or_default();
            let holder = Holder {
                txn: request.txn,
                anchor: request.anchor.clone(),
                prepared: p,
                exclusive: prewrite.exclusive || !intents.is_empty() || !flushes.is_empty(),
                covers: spans.get(&unit).cloned(),
                flushes,
                fingerprint: prewrite.fingerprint,
                since_ms: self.now_ms,
                intents,
                results: results.take(),
            };
            self.locks.take(&unit, holder);
            self.carry_lock(&unit);
        }
        Ok(vote)
    }

    fn make_record(&mut self, request: &StepRequest, participants: &[Bytes]) {
        let record = Record {
            anchor: request.anchor.clone(),
            state: State::Pending,
            participants: participants.to_vec(),
            heartbeat_ms: self.now_ms,
            response: None,
        };
        self.set_record(request.txn, record);
    }

    fn begin(&mut self, request: &StepRequest, participants: &[Bytes]) -> Outcome {
        if let Some(refused) = self.refuses_begin(request, true) {
            return refused;
        }
        if self.records.get(request.txn).is_none() {
            self.rely_on(&request.targets);
            self.make_record(request, participants);
        }
        status(self.records.get(request.txn).map_or_else(absent, Record::status))
    }

    fn commit(
        &mut self,
        request: &StepRequest,
        participants: &[(Bytes, Version)],
        response: &wire::Results,
    ) -> Outcome {
        let Some(record) = self.records.get(request.txn).cloned() else { return status(absent()) };
        if record.state != State::Pending {
            return status(record.status());
        }
        self.clock.s += 1;
        self.rely_on(&request.targets);
        let at = participants.iter().map(|(_, p)| *p).fold(*self.clock, Version::max);
        self.advance_clock(at);
        let state = State::Committed { at, participants: participants.to_vec(), forgotten: false };
        let record = Record { state, heartbeat_ms: self.now_ms, response: Some(response.clone()), ..record };
        let decided = record.status();
        self.set_record(request.txn, record);
        if !planted::is_on(Fault::NoDedupOfCommit) {
            self.record_reply(request.txn.request, &request.anchor, response);
        }
        self.resolve(request.txn, Some(at), participants);
        status(decided)
    }

    fn abort(&mut self, request: &StepRequest, only_dead: bool) -> Outcome {
        let record = match self.records.get(request.txn) {
            Some(record) if record.state != State::Pending => return status(record.status()),
            Some(record) if only_dead && !record.is_dead(self.now_ms) => return status(record.status()),
            Some(record) => record.clone(),
            // Behind the floor its record is collected: it has ended, one way or the other, and all its locks were
            // resolved, so whoever asks has met a late one, to be dropped. A tombstone could contradict what was (I4),
            // and no prewrite needs one that the floor refuses.
            None if self.dedup.find(request.txn.request) == Known::TooOld || planted::is_on(Fault::NoTombstone) => {
                let state = wire::TransactionState::Aborted.into();
                return status(wire::TransactionStatus { state, ..absent() });
            }
            None => Record {
                anchor: request.anchor.clone(),
                state: State::Aborted,
                participants: Vec::new(),
                heartbeat_ms: self.now_ms,
                response: None,
            },
        };
        self.rely_on(&request.targets);
        let record = Record { state: State::Aborted, ..record };
        let decided = record.status();
        self.set_record(request.txn, record);
        self.drop_all_locks(request.txn);
        status(decided)
    }

    /// Before an `Exec` of a request whose transaction is still undecided here: the request has changed its shape.
    pub(super) fn abort_pending_of(&mut self, request: keyspace::RequestId) {
        if self.records.is_empty() {
            return;
        }
        let Some(txn) = self.records.pending_of(request) else { return };
        if let Some(record) = self.records.get(txn).cloned() {
            self.set_record(txn, Record { state: State::Aborted, ..record });
            self.drop_all_locks(txn);
        }
    }

    /// Decides against transactions that nobody will ever decide.
    pub fn abort_abandoned(&mut self) {
        for txn in self.records.abandoned(self.now_ms) {
            if let Some(record) = self.records.get(txn).cloned() {
                self.set_record(txn, Record { state: State::Aborted, ..record });
                self.drop_all_locks(txn);
            }
        }
    }

    fn drop_all_locks(&mut self, txn: TransactionId) {
        let held: Vec<Bytes> = self.locks.units_of(txn).cloned().collect();
        for unit in held {
            let holder = self.locks.drop_lock(&unit, txn);
            self.carry_lock(&unit);
            self.free(unit, holder.and_then(|holder| holder.covers).as_ref());
        }
    }

    /// A unit is free, and with it what its span covers.
    fn free(&mut self, unit: Bytes, covers: Option<&KeyRange>) {
        self.freed.push(unit);
        self.freed.extend(covers.into_iter().flat_map(|keys| self.queues.queued_within(keys)).cloned());
    }

    /// Ends the locks of a decided transaction on units of this group.
    fn resolve(&mut self, txn: TransactionId, committed_at: Option<Version>, participants: &[(Bytes, Version)]) {
        if let Some(at) = committed_at.filter(|_| !planted::is_on(Fault::ResolveKeepsClock)) {
            // In this batch, before anything is written at c: no later version of this group may lie below it.
            self.advance_clock(at);
            self.draft.ticks = true;
        }
        for (unit, p) in participants {
            let Some(holder) = self.locks.drop_lock(unit, txn) else { continue };
            self.carry_lock(unit);
            self.free(unit.clone(), holder.covers.as_ref());
            let decided = committed_at.filter(|_| holder.prepared == *p || planted::is_on(Fault::NoCheckOfP));
            let Some(at) = decided else { continue };
            if let Some(owned) = self.ranges.lookup(unit) {
                self.draft.relies_on(owned.route.range_id, owned.route.epoch);
            }
            if let Some(span) = &holder.covers {
                holder.flushes.iter().for_each(|db| self.flush(span, *db, at));
            }
            for (key, value) in holder.intents {
                self.write(key, at, value);
            }
        }
    }

    fn forget(&mut self, txn: TransactionId) -> Outcome {
        let Some(record) = self.records.get(txn).cloned() else { return status(absent()) };
        if let State::Committed { at, participants, forgotten: false } = record.state {
            let state = State::Committed { at, participants, forgotten: true };
            self.set_record(txn, Record { state, ..record });
            if planted::is_on(Fault::CollectAtForget) {
                self.draft.entry.transactions.extend(self.records.remove(txn));
            }
        }
        status(self.records.get(txn).map_or_else(absent, Record::status))
    }

    fn heartbeat(&mut self, txn: TransactionId) -> Outcome {
        let Some(record) = self.records.get(txn).cloned() else { return status(absent()) };
        if record.state == State::Pending {
            self.set_record(txn, Record { heartbeat_ms: self.now_ms, ..record });
        }
        status(self.records.get(txn).map_or_else(absent, Record::status))
    }

    fn set_record(&mut self, txn: TransactionId, record: Record) {
        let change = self.records.set(txn, record);
        self.draft.bytes += change.encoded_len();
        self.draft.entry.transactions.push(change);
    }

    fn carry_lock(&mut self, unit: &Bytes) {
        let change = self.locks.change(unit);
        self.draft.bytes += change.encoded_len();
        self.draft.entry.locks.push(change);
    }
}

fn prepared(p: Version, results: wire::Results) -> Outcome {
    let vote = wire::Prepared { prepared: Some(p.into()), results: Some(results) };
    transacted(wire::transacted::Answer::Prepared(vote))
}
