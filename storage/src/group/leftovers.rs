//! What dead coordinators have left behind in a group, as its leader finds it, a few times a second while there is anything.

use bytes::Bytes;
use keyspace::{GroupId, TransactionId, Version};

use super::evaluate::World;
use super::locks::Holder;
use super::records::{DEAD_AFTER_MS, Record, State};

/// Locks and decisions in one round.
const AT_ONCE: usize = 256;

/// What a group's leader has found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Leftovers {
    /// Where.
    pub group: GroupId,
    /// Locks that are older than a living coordinator leaves them.
    pub locks: Vec<LeftLock>,
    /// Decisions that are not carried out everywhere.
    pub decided: Vec<Decided>,
}

/// An old lock.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftLock {
    /// What it locks.
    pub unit: Bytes,
    /// Whose it is.
    pub txn: TransactionId,
    /// Where that is decided.
    pub anchor: Bytes,
    /// p.
    pub prepared: Version,
}

/// A committed transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// Its name.
    pub txn: TransactionId,
    /// Where it was decided.
    pub anchor: Bytes,
    /// c.
    pub at: Version,
    /// Units and p.
    pub participants: Vec<(Bytes, Version)>,
}

impl Leftovers {
    /// Whether there is nothing to finish.
    pub fn is_empty(&self) -> bool {
        self.locks.is_empty() && self.decided.is_empty()
    }
}

impl World {
    /// Whether it is worth looking.
    pub fn may_have_leftovers(&self) -> bool {
        !self.locks.is_empty() || !self.records.is_empty()
    }

    /// Old locks and decisions that nobody has carried out, as far as one round of the sweep takes them.
    pub fn leftovers(&self) -> Leftovers {
        let old = |holder: &Holder| self.now_ms.saturating_sub(holder.since_ms) >= DEAD_AFTER_MS;
        let left = |(unit, holder): (&Bytes, &Holder)| LeftLock {
            unit: unit.clone(),
            txn: holder.txn,
            anchor: holder.anchor.clone(),
            prepared: holder.prepared,
        };
        let decided = |(txn, record): (TransactionId, &Record)| match &record.state {
            State::Committed { at, participants, .. } => {
                Some(Decided { txn, anchor: record.anchor.clone(), at: *at, participants: participants.clone() })
            }
            State::Pending | State::Aborted => None,
        };
        Leftovers {
            group: self.group,
            locks: self.locks.iter().filter(|(_, holder)| old(holder)).take(AT_ONCE).map(left).collect(),
            decided: self.records.unfinished(self.now_ms).take(AT_ONCE).filter_map(decided).collect(),
        }
    }
}
