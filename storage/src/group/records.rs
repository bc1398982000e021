//! Records of transactions: what the anchor's group knows of the transactions that are anchored in it.
//!
//! ```text
//! absent ──Begin, prewrite──▶ Pending ──Commit──▶ Committed ──Forget──▶ Forgotten
//!    └──────────Abort──────────▶ Aborted ◀──Abort────┘ (from Pending)
//! ```
//!
//! There is no other edge, and [`RecordTable::set`] asserts it (I4). The record of an ended transaction stays until its
//! gateway's floor has passed the sequence: a prewrite that comes later than that is refused by the floor (I5).

use std::collections::BTreeMap;

use bytes::Bytes;
use keyspace::{GroupId, RequestId, TransactionId, Version};
use prost::Message;
use proto::wire;

use super::keys::GroupKeys;
use super::state::StateError;
use crate::engine::Snapshot;

/// A transaction without a sign of life for this long, by the group's time, may be aborted by anybody.
pub const DEAD_AFTER_MS: u64 = 3_000;

/// The anchor's leader itself aborts a transaction that is undecided for this long, whether or not it has left locks.
pub const ABANDONED_AFTER_MS: u64 = 60_000;
/// The record of an ended transaction is kept for this long at most: gateways repeat for 30 s.
const KEPT_MS: u64 = 600_000;

/// How far a transaction has come.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Undecided.
    Pending,
    /// It has taken effect, at this version, for the participants that were prepared at these versions.
    Committed {
        /// Version of everything that it wrote.
        at: Version,
        /// Every unit that it locked, and p.
        participants: Vec<(Bytes, Version)>,
        /// Every participant has resolved.
        forgotten: bool,
    },
    /// It has no effect.
    Aborted,
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Where it lives.
    pub anchor: Bytes,
    /// How far it has come.
    pub state: State,
    /// Units that it may lock; for whoever cleans up.
    pub participants: Vec<Bytes>,
    /// The group's time when its coordinator was last heard of.
    pub heartbeat_ms: u64,
    /// What the client was answered.
    pub response: Option<wire::Results>,
}

impl Record {
    /// Whether its coordinator has been silent for too long.
    pub fn is_dead(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.heartbeat_ms) >= DEAD_AFTER_MS
    }

    /// Whether it may be collected once the floor allows it.
    fn is_ended(&self) -> bool {
        matches!(self.state, State::Aborted | State::Committed { forgotten: true, .. })
    }

    /// As a coordinator or a reader is told.
    pub fn status(&self) -> wire::TransactionStatus {
        let state = match &self.state {
            State::Pending => wire::TransactionState::Pending,
            State::Aborted => wire::TransactionState::Aborted,
            State::Committed { forgotten: false, .. } => wire::TransactionState::Committed,
            State::Committed { forgotten: true, .. } => wire::TransactionState::Forgotten,
        };
        let (committed_at, participants) = match &self.state {
            State::Committed { at, participants, .. } => (Some((*at).into()), to_participants(participants)),
            State::Pending | State::Aborted => (None, Vec::new()),
        };
        wire::TransactionStatus { state: state.into(), committed_at, participants, response: self.response.clone() }
    }

    fn to_wire(&self) -> wire::TransactionRecord {
        let wire::TransactionStatus { state, committed_at, participants, response } = self.status();
        let undecided = |unit: &Bytes| wire::Participant { unit: unit.clone(), prepared: None };
        let participants =
            if participants.is_empty() { self.participants.iter().map(undecided).collect() } else { participants };
        wire::TransactionRecord { state, participants, committed_at, heartbeat_ms: self.heartbeat_ms, response }
    }

    fn from_wire(anchor: Bytes, record: wire::TransactionRecord) -> Result<Self, StateError> {
        let junk = |what: &str| StateError::Junk(format!("transaction record: {what}"));
        let units = || record.participants.iter().map(|participant| participant.unit.clone()).collect();
        let (participants, state) = match record.state() {
            wire::TransactionState::Pending => (units(), State::Pending),
            wire::TransactionState::Aborted => (units(), State::Aborted),
            state @ (wire::TransactionState::Committed | wire::TransactionState::Forgotten) => {
                let at = record.committed_at.ok_or_else(|| junk("committed at no version"))?.into();
                let prepared = |participant: &wire::Participant| {
                    let p = participant.prepared.ok_or_else(|| junk("participant without p"))?;
                    Ok((participant.unit.clone(), p.into()))
                };
                let participants = record.participants.iter().map(prepared).collect::<Result<_, StateError>>()?;
                let forgotten = state == wire::TransactionState::Forgotten;
                (units(), State::Committed { at, participants, forgotten })
            }
            wire::TransactionState::Absent => return Err(junk("no state")),
        };
        Ok(Self { anchor, state, participants, heartbeat_ms: record.heartbeat_ms, response: record.response })
    }
}

fn to_participants(participants: &[(Bytes, Version)]) -> Vec<wire::Participant> {
    let participant =
        |(unit, p): &(Bytes, Version)| wire::Participant { unit: unit.clone(), prepared: Some((*p).into()) };
    participants.iter().map(participant).collect()
}

/// All records of a group, those of batches in flight included.
#[derive(Debug, Default)]
pub struct RecordTable {
    records: BTreeMap<TransactionId, Record>,
}

impl RecordTable {
    /// Reads what a snapshot holds.
    pub fn load(snapshot: &dyn Snapshot, group: GroupId) -> Result<Self, StateError> {
        let mut records = BTreeMap::new();
        let (start, end) = GroupKeys::new(group).all_transactions();
        let mut cursor = snapshot.cursor(&start, &end);
        cursor.seek(&start)?;
        while let Some((key, value)) = cursor.current() {
            let (anchor, txn) = GroupKeys::split_transaction(key)
                .ok_or_else(|| StateError::Junk(format!("key of a transaction {key:02x?}")))?;
            let record = wire::TransactionRecord::decode(value).map_err(|error| StateError::Junk(error.to_string()))?;
            records.insert(txn, Record::from_wire(anchor, record)?);
            cursor.next()?;
        }
        Ok(Self { records })
    }

    /// The record of a transaction.
    pub fn get(&self, txn: TransactionId) -> Option<&Record> {
        self.records.get(&txn)
    }

    /// Undecided transactions of a request: at most one attempt is.
    pub fn pending_of(&self, request: RequestId) -> Option<TransactionId> {
        let all = TransactionId { request, attempt: 0 }..=TransactionId { request, attempt: u32::MAX };
        let mut pending = self.records.range(all).filter(|(_, record)| record.state == State::Pending);
        pending.next().map(|(txn, _)| *txn)
    }

    /// Makes or changes a record; what the entry carries of it.
    ///
    /// # Panics
    /// On a transition that does not exist (I4).
    pub fn set(&mut self, txn: TransactionId, record: Record) -> wire::TransactionChange {
        let before = self.records.get(&txn).map(|before| &before.state);
        let allowed = match (before, &record.state) {
            (None, State::Pending | State::Aborted)
            | (Some(State::Pending), _)
            | (Some(State::Aborted), State::Aborted) => true,
            (Some(State::Committed { at: before, .. }), State::Committed { at: after, .. }) => before == after,
            _ => false,
        };
        assert!(allowed, "I4: {txn} goes from {before:?} to {:?}", record.state);
        let change = wire::TransactionChange {
            anchor: record.anchor.clone(),
            txn: Some(txn.into()),
            record: Some(record.to_wire()),
        };
        self.records.insert(txn, record);
        change
    }

    /// Drops the records of ended transactions below a gateway's floor, and those so old that nothing of their gateway can
    /// be under way any more; what the entry carries of it.
    pub fn collect(&mut self, incarnation: u64, below: u64, now_ms: u64) -> Vec<wire::TransactionChange> {
        let at = |sequence| TransactionId { request: RequestId { incarnation, sequence }, attempt: 0 };
        let over = |(txn, record): &(&TransactionId, &Record)| {
            let old = now_ms.saturating_sub(record.heartbeat_ms) >= KEPT_MS;
            record.is_ended() && (txn.request.sequence < below || old)
        };
        let ended = self.records.range(at(0)..=at(u64::MAX)).filter(over);
        let ended: Vec<TransactionId> = ended.map(|(txn, _)| *txn).collect();
        ended.into_iter().filter_map(|txn| self.remove(txn)).collect()
    }

    /// Drops a record; what the entry carries of it.
    pub(super) fn remove(&mut self, txn: TransactionId) -> Option<wire::TransactionChange> {
        let record = self.records.remove(&txn)?;
        Some(wire::TransactionChange { anchor: record.anchor, txn: Some(txn.into()), record: None })
    }

    /// Undecided transactions whose coordinators are long gone. Somebody may still ask, and must be told the same.
    pub fn abandoned(&self, now_ms: u64) -> Vec<TransactionId> {
        let left = |record: &Record| {
            record.state == State::Pending && now_ms.saturating_sub(record.heartbeat_ms) >= ABANDONED_AFTER_MS
        };
        self.records.iter().filter(|(_, record)| left(record)).map(|(txn, _)| *txn).collect()
    }

    /// Committed transactions whose locks may still be there although nobody works on it.
    pub fn unfinished(&self, now_ms: u64) -> impl Iterator<Item = (TransactionId, &Record)> {
        let left = move |record: &Record| {
            matches!(record.state, State::Committed { forgotten: false, .. }) && record.is_dead(now_ms)
        };
        self.records.iter().filter(move |(_, record)| left(record)).map(|(txn, record)| (*txn, record))
    }

    /// Gateways that records speak of.
    pub fn incarnations(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.records.keys().map(|txn| txn.request.incarnation).collect();
        all.dedup();
        all
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::locks::tests::txn;
    use super::*;

    fn record(state: State) -> Record {
        Record {
            anchor: "a".into(),
            state,
            participants: vec!["a".into(), "b".into()],
            heartbeat_ms: 5,
            response: None,
        }
    }

    fn committed(s: u64) -> State {
        let at = Version { e: 2, s };
        let participants = vec![("a".into(), Version { e: 2, s: 1 }), ("b".into(), Version { e: 4, s: 1 })];
        State::Committed { at, participants, forgotten: false }
    }

    #[test]
    fn records_survive_their_wire_form() {
        for state in [State::Pending, State::Aborted, committed(7)] {
            let record = record(state);
            assert_eq!(Record::from_wire("a".into(), record.to_wire()).unwrap(), record);
        }
        assert!(Record::from_wire("a".into(), wire::TransactionRecord::default()).is_err());
    }

    #[test]
    fn only_ended_records_below_the_floor_are_collected() {
        let mut table = RecordTable::default();
        table.set(txn(1), record(State::Aborted));
        table.set(txn(2), record(State::Pending));
        table.set(txn(3), record(State::Aborted));
        assert_eq!(table.pending_of(txn(2).request), Some(txn(2)));
        assert_eq!(table.collect(7, 3, 10).len(), 1);
        assert_eq!(table.get(txn(1)), None);
        assert!(table.get(txn(2)).is_some() && table.get(txn(3)).is_some());
        assert_eq!(table.abandoned(ABANDONED_AFTER_MS), []);
        assert_eq!(table.abandoned(5 + ABANDONED_AFTER_MS), [txn(2)]);
        assert_eq!(table.collect(7, 0, 5 + KEPT_MS).len(), 1, "its gateway is long gone");
        assert!(table.get(txn(2)).is_some(), "undecided");
    }

    #[test]
    #[should_panic(expected = "I4")]
    fn an_aborted_transaction_never_commits() {
        let mut table = RecordTable::default();
        table.set(txn(1), record(State::Aborted));
        table.set(txn(1), record(committed(7)));
    }

    #[test]
    #[should_panic(expected = "I4")]
    fn a_decision_keeps_its_version() {
        let mut table = RecordTable::default();
        table.set(txn(1), record(State::Pending));
        table.set(txn(1), record(committed(7)));
        table.set(txn(1), record(committed(8)));
    }
}
