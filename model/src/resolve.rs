//! A participant learns how a transaction ended: locks become data, or go.
//!
//! Nobody owns this. The coordinator, the anchor's leader and whoever meets a lock may all do it, at once, late and
//! again; here it is one message that can arrive at any moment once the anchor has said what it says. So any number
//! of resolvers race in every scene.
//!
//! That they always can is checked in every state: [`Protocol::cleaned_up`] plays on with resolvers alone, every
//! gateway dead and every message lost, and must arrive where no lock is left and every transaction is whole.

use crate::fault::Fault;
use crate::protocol::Protocol;
use crate::state::{PLACES, Place, Record, State, Txn, TxnId};

impl Protocol {
    /// A participant learns that the transaction is committed, with its p and c.
    pub(crate) fn resolve(&self, state: &State, txn: TxnId, place: Place) -> Option<State> {
        if !state.txn(txn).committed {
            return None;
        }
        let mut next = *state;
        let Txn { c, votes, .. } = *state.txn(txn);
        let group = &mut next.groups[place];
        let only_read = !self.writes(txn, place) && self.has(Fault::ResolveOfReadKeepsClock);
        if !only_read && !self.has(Fault::ResolveKeepsClock) {
            group.reach(c);
        }
        if let Some(lock) = group.exclusive_of(txn)
            && (lock.p == votes[place] || self.has(Fault::ResolveIgnoresPrepared))
        {
            let before = group.history.newest().version;
            let kept = group.history.push(txn, c);
            next.version_fell |= c <= before;
            next.nonsense |= !kept || !lock.filled;
        }
        // Any other lock of the transaction is a late prewrite.
        next.groups[place].unlock(txn);
        next.txn_mut(txn).resolved[place] = true;
        (next != *state).then_some(next)
    }

    /// A participant learns that the transaction has no effect any more: it was aborted, or it is so long ago that
    /// what is left of it can only be a late prewrite.
    pub(crate) fn drop_lock(&self, state: &State, txn: TxnId, place: Place) -> Option<State> {
        let absent = state.txn(txn).record == Record::Absent && self.has(Fault::AbsentLeavesNoTombstone);
        let ended = state.txn(txn).aborted || self.is_gone(state, txn) || absent;
        if !ended || !state.groups[place].is_locked_by(txn) {
            return None;
        }
        let mut next = *state;
        next.groups[place].unlock(txn);
        Some(next)
    }

    /// What resolvers alone make of this state. No gateway takes another step and no message of theirs arrives. The anchor's
    /// leader sweeps records that are still Pending; for each lock somebody asks the anchor, which leaves a tombstone
    /// when it has no record; and the answer is carried to the participants.
    pub fn cleaned_up(&self, state: &State) -> State {
        let mut state = *state;
        for txn in self.txns().filter(|txn| self.has_record(*txn)) {
            let sought = state.groups.iter().any(|group| group.is_locked_by(txn));
            if sought || matches!(state.txn(txn).record, Record::Pending | Record::Committed) {
                state = self.abort(&state, txn).unwrap_or(state);
                for place in PLACES {
                    let told = self.resolve(&state, txn, place).or_else(|| self.drop_lock(&state, txn, place));
                    state = told.unwrap_or(state);
                }
                self.collect(&mut state);
            }
        }
        state
    }
}
