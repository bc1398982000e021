//! Groups that keep locks and records of transactions as the protocol says, in memory and without a log.
//!
//! Nobody waits here: who would wait in a queue is refused at once, as if it had waited in vain, and comes back. Routes
//! and epochs are not checked, and nothing is ever collected.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use commands::View;
use commands::testing::{MemoryView, ready};
use keyspace::layout::{span_unit, unit_len};
use keyspace::{KeyRange, TransactionId, Version};
use parking_lot::Mutex;
use proto::{Participant, Refusal, SeenLock, TransactionState, TransactionStatus, wire};

use super::fake::Verdict;
use super::fake_store::{run_all, writes};

/// A lock counts as old, and a coordinator as dead, after this time.
const DEAD_MS: u64 = 3_000;

struct Lock {
    txn: TransactionId,
    anchor: Bytes,
    prepared: Version,
    exclusive: bool,
    since_ms: u64,
    intents: Vec<wire::Intent>,
    vote: (u64, wire::Results),
    /// Of the lock of a span.
    covers: Option<KeyRange>,
}

/// A target: a unit, or an interval under the unit of its span.
#[derive(Clone)]
struct Named {
    unit: Bytes,
    covers: Option<KeyRange>,
}

impl Named {
    fn of(target: &wire::Target) -> Self {
        if !target.is_interval {
            return Self { unit: target.key.clone(), covers: None };
        }
        let end = (!target.end.is_empty()).then(|| target.end.clone());
        Self { unit: span_unit(&target.key).into(), covers: KeyRange::new(target.key.clone(), end) }
    }

    fn meets(&self, unit: &Bytes, lock: &Lock) -> bool {
        let over = |covers: &Option<KeyRange>, unit: &Bytes| covers.as_ref().is_some_and(|keys| keys.contains(unit));
        *unit == self.unit || over(&self.covers, unit) || over(&lock.covers, &self.unit)
    }

    fn holds(&self, key: &Bytes) -> bool {
        unit_of(key) == self.unit || self.covers.as_ref().is_some_and(|keys| keys.contains(key))
    }
}

struct Record {
    state: TransactionState,
    heartbeat_ms: u64,
    committed_at: Option<Version>,
    participants: Vec<Participant>,
    response: wire::Results,
}

struct Group {
    view: MemoryView,
    locks: BTreeMap<Bytes, Vec<Lock>>,
    records: HashMap<TransactionId, Record>,
    /// Replies by sequence: there is one gateway.
    replies: HashMap<u64, wire::Results>,
    now_ms: u64,
}

/// What a test does to one request.
pub(crate) enum Fault {
    /// Nothing: it is answered as it should be.
    None,
    /// It is not executed.
    Instead(Verdict),
    /// It is executed, and answered otherwise.
    Afterwards(Verdict),
}

type Faults = Box<dyn FnMut(&wire::Request) -> Fault + Send>;

/// All groups.
#[derive(Clone, Default)]
pub(crate) struct FakeGroups {
    groups: Arc<Mutex<BTreeMap<u64, Group>>>,
    faults: Arc<Mutex<Option<Faults>>>,
}

impl FakeGroups {
    /// What comes of each request from now on; it may look at the groups.
    pub(crate) fn interfere(&self, faults: impl FnMut(&wire::Request) -> Fault + Send + 'static) {
        *self.faults.lock() = Some(Box::new(faults));
    }

    pub(crate) fn answer(&self, request: &wire::Request) -> Verdict {
        let fault = self.faults.lock().as_mut().map_or(Fault::None, |faults| faults(request));
        if let Fault::Instead(verdict) = fault {
            return verdict;
        }
        let mut groups = self.groups.lock();
        let verdict = groups.entry(request.group_id).or_insert_with(Group::new).answer(request);
        if let Fault::Afterwards(verdict) = fault { verdict } else { verdict }
    }

    pub(crate) fn advance_ms(&self, ms: u64) {
        for group in self.groups.lock().values_mut() {
            group.now_ms += ms;
            group.view.advance_ms(ms);
        }
    }

    /// Locks in all groups.
    pub(crate) fn locks(&self) -> usize {
        self.groups.lock().values().map(|group| group.locks.values().map(Vec::len).sum::<usize>()).sum()
    }

    /// How many transactions are in a state, at their anchors.
    pub(crate) fn count(&self, state: TransactionState) -> usize {
        let groups = self.groups.lock();
        groups.values().flat_map(|group| group.records.values()).filter(|record| record.state == state).count()
    }
}

impl Group {
    fn new() -> Self {
        let view = MemoryView::default();
        Self { now_ms: view.now_ms(), view, locks: BTreeMap::new(), records: HashMap::new(), replies: HashMap::new() }
    }

    fn answer(&mut self, request: &wire::Request) -> Verdict {
        let units: Vec<Named> = request.targets.iter().map(Named::of).collect();
        match request.kind.as_ref().unwrap() {
            wire::request::Kind::Exec(exec) => self.exec(exec, &units),
            wire::request::Kind::Read(read) => {
                let reader = read.txn.map(|txn| txn.try_into().unwrap());
                let locks = self.in_the_way(&units, reader, false);
                let results = run_all(&mut self.view, &read.commands);
                if locks.is_empty() {
                    return Verdict::Results(results);
                }
                let locks = locks.into_iter().map(Into::into).collect();
                Verdict::Answer(wire::reply::Outcome::Contested(wire::Contested { below: Some(results), locks }))
            }
            wire::request::Kind::Transact(step) => {
                let txn = step.txn.unwrap().try_into().unwrap();
                match self.step(txn, &step.anchor, step.step.as_ref().unwrap(), &units) {
                    Ok(answer) => {
                        let transacted = wire::Transacted { answer: Some(answer) };
                        Verdict::Answer(wire::reply::Outcome::Transacted(transacted))
                    }
                    Err(refusal) => Verdict::Refuse(refusal),
                }
            }
        }
    }

    fn exec(&mut self, exec: &wire::Exec, units: &[Named]) -> Verdict {
        if let Some(reply) = self.replies.get(&exec.sequence) {
            return Verdict::Results(reply.clone());
        }
        let locks = self.in_the_way(units, None, exec.commands.iter().any(writes));
        if !locks.is_empty() {
            return Verdict::Refuse(Refusal::Locked { locks });
        }
        if let Err(refusal) = self.check(&exec.observed) {
            return Verdict::Refuse(refusal);
        }
        let results = run_all(&mut self.view, &exec.commands);
        self.replies.insert(exec.sequence, results.clone());
        Verdict::Results(results)
    }

    /// Locks of others on these units: exclusive ones, and shared ones as well for who may write.
    fn in_the_way(&self, units: &[Named], own: Option<TransactionId>, writes: bool) -> Vec<SeenLock> {
        let all = self.locks.iter().flat_map(|(unit, locks)| locks.iter().map(move |lock| (unit, lock)));
        let met = all.filter(|(unit, lock)| units.iter().any(|named| named.meets(unit, lock)));
        let others = met.filter(|(_, lock)| Some(lock.txn) != own && (lock.exclusive || writes));
        let seen = |(unit, lock): (&Bytes, &Lock)| SeenLock {
            unit: unit.clone(),
            txn: lock.txn,
            anchor: lock.anchor.clone(),
            prepared: lock.prepared,
            age_ms: self.now_ms - lock.since_ms,
        };
        others.map(seen).collect()
    }

    fn check(&mut self, observed: &[wire::ObservedUnit]) -> Result<(), Refusal> {
        for wire::ObservedUnit { unit, version } in observed {
            let found = ready(commands::record::observe(&mut self.view, unit)).unwrap();
            if found != version.map(Version::from) {
                return Err(Refusal::Conflict { unit: unit.clone() });
            }
        }
        Ok(())
    }

    fn step(
        &mut self,
        txn: TransactionId,
        anchor: &Bytes,
        step: &wire::transact::Step,
        units: &[Named],
    ) -> Result<wire::transacted::Answer, Refusal> {
        use wire::transact::Step;
        match step {
            Step::Begin(_) => self.begin(txn),
            Step::Prewrite(prewrite) => return self.prewrite(txn, anchor, prewrite, units),
            Step::Commit(commit) => self.commit(txn, commit),
            Step::Abort(abort) => self.abort(txn, abort.only_dead),
            Step::Resolve(resolve) => {
                let committed_at = resolve.committed_at.map(Version::from);
                for participant in &resolve.participants {
                    let participant = Participant::try_from(participant.clone()).unwrap();
                    self.resolve(txn, &participant, committed_at);
                }
                return Ok(wire::transacted::Answer::Resolved(wire::Unit {}));
            }
            Step::Forget(_) => {
                let record = self.records.get_mut(&txn).unwrap();
                assert!(record.state == TransactionState::Committed || record.state == TransactionState::Forgotten);
                record.state = TransactionState::Forgotten;
            }
            Step::Heartbeat(_) => {
                if let Some(record) = self.records.get_mut(&txn) {
                    record.heartbeat_ms = self.now_ms;
                }
            }
            Step::Inquire(_) => {}
        }
        Ok(wire::transacted::Answer::Status(self.status(txn).into()))
    }

    fn status(&self, txn: TransactionId) -> TransactionStatus {
        let absent = Record::new(TransactionState::Absent, 0);
        let record = self.records.get(&txn).unwrap_or(&absent);
        TransactionStatus {
            state: record.state,
            committed_at: record.committed_at,
            participants: record.participants.clone(),
            response: record.response.clone(),
        }
    }

    fn begin(&mut self, txn: TransactionId) {
        let pending = Record::new(TransactionState::Pending, self.now_ms);
        self.records.entry(txn).or_insert(pending);
    }

    fn abort(&mut self, txn: TransactionId, only_dead: bool) {
        let now_ms = self.now_ms;
        let record = self.records.entry(txn).or_insert_with(|| Record::new(TransactionState::Aborted, now_ms));
        let dead = now_ms - record.heartbeat_ms >= DEAD_MS;
        if record.state == TransactionState::Pending && (dead || !only_dead) {
            record.state = TransactionState::Aborted;
        }
    }

    fn commit(&mut self, txn: TransactionId, commit: &wire::Commit) {
        let next = self.view.version();
        let Some(record) = self.records.get_mut(&txn).filter(|it| it.state == TransactionState::Pending) else {
            return;
        };
        record.state = TransactionState::Committed;
        record.participants = commit.participants.iter().map(|it| it.clone().try_into().unwrap()).collect();
        record.response = commit.response.clone().unwrap_or_default();
        let committed_at = record.participants.iter().map(|it| it.prepared).max().unwrap().max(next);
        record.committed_at = Some(committed_at);
        for participant in record.participants.clone() {
            self.resolve(txn, &participant, Some(committed_at));
        }
    }

    fn resolve(&mut self, txn: TransactionId, participant: &Participant, committed_at: Option<Version>) {
        let Some(locks) = self.locks.get_mut(&participant.unit) else { return };
        let ended: Vec<Lock> = locks.extract_if(.., |lock| lock.txn == txn).collect();
        if locks.is_empty() {
            self.locks.remove(&participant.unit);
        }
        let Some(committed_at) = committed_at else { return };
        while self.view.version() < committed_at {
            self.view.step();
        }
        for lock in ended.into_iter().filter(|lock| lock.prepared == participant.prepared) {
            for wire::Intent { key, value } in lock.intents {
                match value {
                    Some(value) => self.view.put(key.into(), value),
                    None => self.view.delete(key.into()),
                }
            }
        }
        self.view.step();
    }

    fn prewrite(
        &mut self,
        txn: TransactionId,
        anchor: &Bytes,
        prewrite: &wire::Prewrite,
        units: &[Named],
    ) -> Result<wire::transacted::Answer, Refusal> {
        if !prewrite.participants.is_empty() {
            self.begin(txn);
        }
        if self.records.get(&txn).is_some_and(|record| record.state != TransactionState::Pending) {
            return Err(Refusal::Ended(Box::new(self.status(txn))));
        }
        let own = |lock: &&Lock| lock.txn == txn && lock.vote.0 == prewrite.fingerprint;
        if let Some(voted) = self.locks.get(&units[0].unit).and_then(|locks| locks.iter().find(own)) {
            return Ok(vote(voted.prepared, voted.vote.1.clone()));
        }
        let (results, intents) = self.evaluate(prewrite);
        // A unit keeps what is written to it; the rest of what a flush removes is its span's.
        let keeper = |key: &Bytes| {
            let unit = units.iter().find(|named| named.covers.is_none() && named.holds(key));
            unit.or_else(|| units.iter().find(|named| named.holds(key))).unwrap().unit.clone()
        };
        let is_exclusive = |named: &Named| {
            let flushes = named.covers.is_some() && prewrite.commands.iter().any(writes);
            prewrite.exclusive || flushes || intents.iter().any(|it| keeper(&it.key) == named.unit)
        };
        let (exclusive, shared): (Vec<Named>, Vec<Named>) = units.iter().cloned().partition(is_exclusive);
        let mut locks = self.in_the_way(&exclusive, Some(txn), true);
        locks.extend(self.in_the_way(&shared, Some(txn), false));
        if !locks.is_empty() {
            return Err(Refusal::Locked { locks });
        }
        self.check(&prewrite.observed)?;
        let prepared = self.view.version();
        self.view.step();
        for named in units {
            let held = self.locks.entry(named.unit.clone()).or_default();
            held.retain(|lock| lock.txn != txn);
            held.push(Lock {
                txn,
                anchor: anchor.clone(),
                prepared,
                exclusive: is_exclusive(named),
                since_ms: self.now_ms,
                intents: intents.iter().filter(|it| keeper(&it.key) == named.unit).cloned().collect(),
                vote: (prewrite.fingerprint, results.clone()),
                covers: named.covers.clone(),
            });
        }
        Ok(vote(prepared, results))
    }

    /// What the commands answer, and what they or the coordinator write.
    fn evaluate(&mut self, prewrite: &wire::Prewrite) -> (wire::Results, Vec<wire::Intent>) {
        let mut after = self.view.clone();
        let results = run_all(&mut after, &prewrite.commands);
        let mut intents = prewrite.intents.clone();
        let changed = after.records().iter().filter(|(key, record)| self.view.records().get(*key) != Some(record));
        intents.extend(changed.map(|(key, it)| wire::Intent { key: key.clone(), value: Some(it.value.clone()) }));
        let removed = self.view.records().keys().filter(|key| !after.records().contains_key(*key));
        intents.extend(removed.map(|key| wire::Intent { key: key.clone(), value: None }));
        (results, intents)
    }
}

impl Record {
    fn new(state: TransactionState, heartbeat_ms: u64) -> Self {
        let response = wire::Results::default();
        Self { state, heartbeat_ms, committed_at: None, participants: Vec::new(), response }
    }
}

fn unit_of(key: &Bytes) -> &[u8] {
    &key[..unit_len(key).unwrap()]
}

fn vote(prepared: Version, results: wire::Results) -> wire::transacted::Answer {
    wire::transacted::Answer::Prepared(wire::Prepared { prepared: Some(prepared.into()), results: Some(results) })
}
