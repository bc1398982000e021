//! The anchor's record: Commit, Abort, Forget, floors. One log decides, so each of these is one step.
//!
//! The delicate case is a request whose record is gone and which the floor has passed. To somebody who met a lock the
//! answer is that the lock is a leftover. To the coordinator it is *unknown*: the transaction may well have been committed,
//! resolved and forgotten since it last asked.

use crate::fault::Fault;
use crate::protocol::Protocol;
use crate::state::{Phase, Record, State, TxnId};

impl Protocol {
    /// The anchor handles a Commit. Applying this is the commit point.
    pub(crate) fn commit(&self, state: &State, txn: TxnId) -> Option<State> {
        let absent = state.txn(txn).record == Record::Absent && self.has(Fault::CommitOnAbsent);
        if !state.txn(txn).commit_sent || !(state.txn(txn).record == Record::Pending || absent) {
            return None;
        }
        let mut next = *state;
        let own = next.groups[self.anchor_of(txn)].tick();
        let voted = state.txn(txn).votes.into_iter().max().unwrap_or(0);
        let c = if self.has(Fault::CommitBelowVotes) { own } else { own.max(voted) };
        next.groups[self.anchor_of(txn)].clock = c;
        let record = next.txn_mut(txn);
        record.record = Record::Committed;
        record.committed = true;
        record.c = c;
        if !self.has(Fault::CommitLeavesNoDedup) {
            next.dedup.insert(self.dedup_key(txn));
        }
        Some(next)
    }

    /// The anchor handles an Abort, by compare-and-set. It comes from the coordinator, from somebody who met a lock, or
    /// from the leader's sweep; whether a heartbeat or a lock is "old" is anybody's guess, at any moment.
    pub(crate) fn abort(&self, state: &State, txn: TxnId) -> Option<State> {
        if !self.has_record(txn) {
            return None;
        }
        let held = state.groups.iter().any(|group| group.is_locked_by(txn));
        let asked = held || state.txn(txn).abort_sent || state.phase_of(txn) == Some(Phase::Ending);
        let leaves_tombstone = !self.has(Fault::AbsentLeavesNoTombstone) && !self.has(Fault::AbsentIsLeftAlone);
        let turns = match state.txn(txn).record {
            Record::Pending => true,
            // A tombstone, which a late prewrite meets. Below the floor none is needed: nothing can begin there.
            Record::Absent => asked && !self.is_gone(state, txn) && leaves_tombstone,
            Record::Committed | Record::Forgotten => asked && self.has(Fault::AbortOverwrites),
            Record::Aborted => false,
        };
        if !turns {
            return None;
        }
        let mut next = *state;
        next.txn_mut(txn).record = Record::Aborted;
        next.txn_mut(txn).aborted = true;
        Some(next)
    }

    /// Whether there is no record and never will be: the floor has passed, so nothing of this request can begin.
    pub(crate) fn is_gone(&self, state: &State, txn: TxnId) -> bool {
        state.txn(txn).record == Record::Absent && state.clients[txn.request()].below_floor
    }

    /// The floor passes a request: its gateway is done with it, or is taken for dead. Records that are Pending or
    /// Committed are not touched by that, so the model lets the floor pass before or after, which is all that matters.
    pub(crate) fn pass_floor(&self, state: &State, request: usize) -> Option<State> {
        let client = state.clients[request];
        let open = |txn: TxnId| matches!(state.txn(txn).record, Record::Pending | Record::Committed);
        if client.phase == Phase::Idle || client.below_floor || self.txns_of(request).any(open) {
            return None;
        }
        let mut next = *state;
        next.clients[request].below_floor = true;
        // A token outlives the floors of those who used it.
        for key in self.txns_of(request).map(|txn| self.dedup_key(txn)) {
            let needed = |txn: TxnId| self.dedup_key(txn) == key && !next.clients[txn.request()].below_floor;
            if !self.txns().any(needed) {
                next.dedup.remove(key);
            }
        }
        Some(next)
    }

    /// What happens to records by itself, as soon as it may: Forget when all participants have acknowledged, and
    /// removal when the floor has passed. Later would be just as right, and nobody could tell: a Forgotten record answers
    /// like a Committed one, and a floor that passes later is a state of its own.
    pub(crate) fn collect(&self, state: &mut State) {
        for txn in self.txns() {
            let acknowledged = self.participants(txn).all(|place| state.txn(txn).resolved[place]);
            let below_floor = state.clients[txn.request()].below_floor;
            let record = &mut state.txn_mut(txn).record;
            if *record == Record::Committed && (acknowledged || self.has(Fault::ForgetUnacknowledged)) {
                *record = Record::Forgotten;
                if self.has(Fault::ForgottenLosesPrepared) {
                    state.txn_mut(txn).votes = [0; 2];
                }
            }
            let record = &mut state.txn_mut(txn).record;
            let early = *record == Record::Forgotten && self.has(Fault::CollectAtForget);
            if early || (matches!(*record, Record::Forgotten | Record::Aborted) && below_floor) {
                *record = Record::Absent;
            }
        }
    }
}
