//! What groups say of transactions: the state of one at its anchor, and the locks that stand in somebody's way.

use bytes::Bytes;
use keyspace::{TransactionId, Version};

use crate::WireError;
use crate::wire;

/// How far a transaction is, as its anchor knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionState {
    /// No record: it has not begun, or its record was collected.
    Absent,
    /// Undecided.
    Pending,
    /// Decided; some of its locks may still be there.
    Committed,
    /// Committed, and every lock is gone.
    Forgotten,
    /// Decided: nothing of it takes effect.
    Aborted,
}

/// A unit that a transaction has locked, with the version that the unit's group prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Encoded unit.
    pub unit: Bytes,
    /// The p of its lock.
    pub prepared: Version,
}

/// What the anchor says of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct TransactionStatus {
    /// How far it is.
    pub state: TransactionState,
    /// The commit version, when committed.
    pub committed_at: Option<Version>,
    /// When committed: which locks are its own, and not those of a late prewrite.
    pub participants: Vec<Participant>,
    /// When committed: what its client was answered. It stays on the wire, as all results do here.
    pub response: wire::Results,
}

/// A lock in somebody's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenLock {
    /// The locked unit.
    pub unit: Bytes,
    /// Whose it is.
    pub txn: TransactionId,
    /// Where that transaction is decided.
    pub anchor: Bytes,
    /// Its p.
    pub prepared: Version,
    /// By the time of its own group.
    pub age_ms: u64,
}

impl From<TransactionState> for wire::TransactionState {
    fn from(state: TransactionState) -> Self {
        match state {
            TransactionState::Absent => wire::TransactionState::Absent,
            TransactionState::Pending => wire::TransactionState::Pending,
            TransactionState::Committed => wire::TransactionState::Committed,
            TransactionState::Forgotten => wire::TransactionState::Forgotten,
            TransactionState::Aborted => wire::TransactionState::Aborted,
        }
    }
}

impl From<wire::TransactionState> for TransactionState {
    fn from(state: wire::TransactionState) -> Self {
        match state {
            wire::TransactionState::Absent => TransactionState::Absent,
            wire::TransactionState::Pending => TransactionState::Pending,
            wire::TransactionState::Committed => TransactionState::Committed,
            wire::TransactionState::Forgotten => TransactionState::Forgotten,
            wire::TransactionState::Aborted => TransactionState::Aborted,
        }
    }
}

impl From<Participant> for wire::Participant {
    fn from(participant: Participant) -> Self {
        Self { unit: participant.unit, prepared: Some(participant.prepared.into()) }
    }
}

impl TryFrom<wire::Participant> for Participant {
    type Error = WireError;

    fn try_from(participant: wire::Participant) -> Result<Self, WireError> {
        const MESSAGE: &str = "Participant";
        let prepared = participant.prepared.ok_or(WireError::Missing { message: MESSAGE, field: "prepared" })?;
        Ok(Self { unit: named(MESSAGE, "unit", participant.unit)?, prepared: prepared.into() })
    }
}

impl From<TransactionStatus> for wire::TransactionStatus {
    fn from(status: TransactionStatus) -> Self {
        Self {
            state: wire::TransactionState::from(status.state).into(),
            committed_at: status.committed_at.map(Into::into),
            participants: status.participants.into_iter().map(Into::into).collect(),
            response: Some(status.response).filter(|response| !response.results.is_empty()),
        }
    }
}

impl TryFrom<wire::TransactionStatus> for TransactionStatus {
    type Error = WireError;

    fn try_from(status: wire::TransactionStatus) -> Result<Self, WireError> {
        const MESSAGE: &str = "TransactionStatus";
        let unknown = WireError::UnknownEnum { message: MESSAGE, field: "state", found: status.state };
        let state = TransactionState::from(wire::TransactionState::try_from(status.state).map_err(|_| unknown)?);
        let committed = matches!(state, TransactionState::Committed | TransactionState::Forgotten);
        if committed && status.committed_at.is_none() {
            return Err(WireError::Missing { message: MESSAGE, field: "committed_at" });
        }
        Ok(Self {
            state,
            committed_at: status.committed_at.map(Into::into),
            participants: status.participants.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            response: status.response.unwrap_or_default(),
        })
    }
}

impl From<SeenLock> for wire::SeenLock {
    fn from(lock: SeenLock) -> Self {
        Self {
            unit: lock.unit,
            txn: Some(lock.txn.into()),
            anchor: lock.anchor,
            prepared: Some(lock.prepared.into()),
            age_ms: lock.age_ms,
        }
    }
}

impl TryFrom<wire::SeenLock> for SeenLock {
    type Error = WireError;

    fn try_from(lock: wire::SeenLock) -> Result<Self, WireError> {
        const MESSAGE: &str = "SeenLock";
        Ok(Self {
            unit: named(MESSAGE, "unit", lock.unit)?,
            txn: lock.txn.ok_or(WireError::Missing { message: MESSAGE, field: "txn" })?.try_into()?,
            anchor: named(MESSAGE, "anchor", lock.anchor)?,
            // A shared lock may have none.
            prepared: lock.prepared.unwrap_or_default().into(),
            age_ms: lock.age_ms,
        })
    }
}

/// No unit is empty.
fn named(message: &'static str, field: &'static str, unit: Bytes) -> Result<Bytes, WireError> {
    if unit.is_empty() { Err(WireError::Missing { message, field }) } else { Ok(unit) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use keyspace::RequestId;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn versions() -> impl Strategy<Value = Version> {
        (any::<u64>(), any::<u64>()).prop_map(|(e, s)| Version { e, s })
    }

    fn units() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 1..5).prop_map(Bytes::from)
    }

    pub(crate) fn locks() -> impl Strategy<Value = SeenLock> {
        let txn = (1..=u64::MAX, 1..=u64::MAX, 1..=u32::MAX).prop_map(|(incarnation, sequence, attempt)| {
            TransactionId { request: RequestId { incarnation, sequence }, attempt }
        });
        (units(), txn, units(), versions(), any::<u64>()).prop_map(|(unit, txn, anchor, prepared, age_ms)| SeenLock {
            unit,
            txn,
            anchor,
            prepared,
            age_ms,
        })
    }

    pub(crate) fn statuses() -> impl Strategy<Value = TransactionStatus> {
        let participant = (units(), versions()).prop_map(|(unit, prepared)| Participant { unit, prepared });
        let committed = (prop::collection::vec(participant, 0..3), versions(), any::<bool>()).prop_map(
            |(participants, committed_at, forgotten)| TransactionStatus {
                state: if forgotten { TransactionState::Forgotten } else { TransactionState::Committed },
                committed_at: Some(committed_at),
                participants,
                response: wire::Results::default(),
            },
        );
        let undone = prop_oneof![
            Just(TransactionState::Absent),
            Just(TransactionState::Pending),
            Just(TransactionState::Aborted)
        ];
        prop_oneof![committed, undone.prop_map(without_commit)]
    }

    fn without_commit(state: TransactionState) -> TransactionStatus {
        TransactionStatus { state, committed_at: None, participants: Vec::new(), response: wire::Results::default() }
    }

    #[test]
    fn what_is_committed_says_when() {
        let mut status = wire::TransactionStatus::from(without_commit(TransactionState::Aborted));
        assert!(TransactionStatus::try_from(status.clone()).is_ok());
        status.state = wire::TransactionState::Forgotten.into();
        let missing = WireError::Missing { message: "TransactionStatus", field: "committed_at" };
        assert_eq!(TransactionStatus::try_from(status.clone()), Err(missing));
        status.state = 77;
        assert!(matches!(TransactionStatus::try_from(status), Err(WireError::UnknownEnum { found: 77, .. })));
    }

    proptest! {
        #[test]
        fn locks_round_trip(lock in locks()) {
            let bytes = wire::SeenLock::from(lock.clone()).encode_to_vec();
            prop_assert_eq!(SeenLock::try_from(wire::SeenLock::decode(&bytes[..]).unwrap()), Ok(lock));
        }

        #[test]
        fn statuses_round_trip(status in statuses()) {
            let bytes = wire::TransactionStatus::from(status.clone()).encode_to_vec();
            let decoded = wire::TransactionStatus::decode(&bytes[..]).unwrap();
            prop_assert_eq!(TransactionStatus::try_from(decoded), Ok(status));
        }
    }
}
