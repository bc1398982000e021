//! A group handles a prewrite: check, lock, vote. Also what ordered mode does around it: Begin and Fill.
//!
//! Refusals need no step of their own. They change nothing at the group, and a coordinator that hears one does what it
//! may do at any time anyway: it gives up. Prewrites of ordered mode wait in queues instead of being refused; a step
//! that is not there yet is what waiting looks like here.

use crate::fault::Fault;
use crate::protocol::Protocol;
use crate::scene::{Access, Work};
use crate::state::{Lock, Phase, Place, Record, State, TxnId};

impl Protocol {
    /// Whether this prewrite is in the network. A request that computes nothing sends all of its first attempt's at
    /// once, and no moment is worse for it than the one when the first arrives.
    fn is_sent(&self, state: &State, txn: TxnId, place: Place) -> bool {
        let request = self.request_of(txn);
        let opens = state.phase_of(txn) == Some(Phase::Idle) && txn.attempt() == 0 && !request.has_data_flow();
        state.txn(txn).sent[place] || opens
    }

    /// Whether the anchor lets this transaction in: by floor, record, dedup record, and others of the same request.
    fn is_admitted(&self, state: &State, txn: TxnId) -> bool {
        let key = self.dedup_key(txn);
        let may_be = |record| match record {
            Record::Absent | Record::Pending => true,
            Record::Aborted => self.has(Fault::PrewriteAfterAborted),
            Record::Committed | Record::Forgotten => false,
        };
        let rival = |other: TxnId| {
            other != txn
                && self.dedup_key(other) == key
                && state.txn(other).record == Record::Pending
                && !self.has(Fault::SecondWhilePending)
        };
        !self.is_refused_by_floor(state, txn)
            && may_be(state.txn(txn).record)
            && !state.dedup.contains(key)
            && !self.txns().any(rival)
    }

    fn is_refused_by_floor(&self, state: &State, txn: TxnId) -> bool {
        state.clients[txn.request()].below_floor && !self.has(Fault::PrewriteBelowFloor)
    }

    /// The anchor creates the record of an ordered attempt; it takes no lock and waits for none.
    pub(crate) fn begin(&self, state: &State, txn: TxnId) -> Option<State> {
        // Begin stays in the network like everything else; the first thing that an ordered attempt does is to send it.
        let sent = txn.attempt() > 0;
        let creates = state.txn(txn).record == Record::Absent
            || (self.has(Fault::PrewriteAfterAborted) && state.txn(txn).record == Record::Aborted);
        if !sent || !self.is_admitted(state, txn) {
            return None;
        }
        let heard = state.phase_of(txn) == Some(Phase::Beginning);
        if !creates && !heard {
            return None;
        }
        let mut next = *state;
        next.txn_mut(txn).record = Record::Pending;
        if heard {
            next.clients[txn.request()].phase = Phase::Locking;
            let first = self.participants(txn).next()?;
            next.txn_mut(txn).sent[first] = true;
        }
        Some(next)
    }

    /// A group grants a prewrite.
    pub(crate) fn prewrite(&self, state: &State, txn: TxnId, place: Place, heard: bool) -> Option<State> {
        let request = self.request_of(txn);
        let access = request.access(place);
        let group = &state.groups[place];
        if access == Access::Nothing || group.is_locked_by(txn) || !self.is_sent(state, txn, place) {
            return None;
        }
        if place == request.anchor && !self.is_admitted(state, txn) {
            return None;
        }
        let blocked = group.exclusive.is_some() || (access.writes() && group.shared.has_other_than(txn));
        if blocked || !self.reads_stand(state, txn, place) {
            return None;
        }
        let late = state.txn(txn).granted[place];
        if late && state.late == self.scene.late_prewrites {
            return None;
        }
        let listens = state.phase_of(txn).is_some_and(|phase| matches!(phase, Phase::Idle | Phase::Locking));
        let second_vote = state.txn(txn).votes[place] != 0;
        // A vote may get lost; where nobody listens, or it makes no difference, it is not told apart.
        if (heard && !listens) || (!heard && listens && !second_vote && !self.scene.lost_votes) {
            return None;
        }

        let mut next = *state;
        next.late += u8::from(late);
        if state.phase_of(txn) == Some(Phase::Idle) {
            self.start(&mut next, txn.request());
            self.send_prewrites(&mut next, txn);
        }
        let p = next.groups[place].tick();
        if access.writes() {
            let filled = !self.fills(txn);
            next.groups[place].exclusive = Some(Lock { txn, p, filled });
        } else if !self.has(Fault::ReadsUnlocked) {
            next.groups[place].shared.insert(txn);
        }
        let newest = next.groups[place].history.newest();
        let record = next.txn_mut(txn);
        record.granted[place] = true;
        if place == request.anchor {
            record.record = Record::Pending;
        }
        if request.work == Work::LockedRead && heard {
            record.seen[place] = Some(newest);
        }
        if heard {
            self.take_vote(&mut next, txn, place, p);
        }
        Some(next)
    }

    /// Whether what the coordinator computed from is still there. Under ordered mode's locks it reads afterwards.
    fn reads_stand(&self, state: &State, txn: TxnId, place: Place) -> bool {
        let reads = self.request_of(txn).has_data_flow() && self.request_of(txn).access(place).reads();
        if !reads || self.fills(txn) || self.has(Fault::ReadsNotValidated) {
            return true;
        }
        let newest = state.groups[place].history.newest();
        state.txn(txn).seen[place].is_some_and(|seen| seen.version == newest.version)
    }

    /// Whether this transaction locks first and computes afterwards.
    pub(crate) fn fills(&self, txn: TxnId) -> bool {
        txn.attempt() > 0 && self.request_of(txn).has_data_flow()
    }

    /// A prewrite is repeated while its lock is held: the stored vote is heard.
    pub(crate) fn hear_vote(&self, state: &State, txn: TxnId, place: Place) -> Option<State> {
        let listens = state.phase_of(txn) == Some(Phase::Locking) && state.txn(txn).votes[place] == 0;
        let lock = state.groups[place].exclusive_of(txn);
        // An S lock stores no p: any version that the group has reached will do.
        let p = lock.map(|lock| lock.p).or(state.groups[place].shared.contains(txn).then(|| state.groups[place].clock));
        if !listens || !state.txn(txn).sent[place] {
            return None;
        }
        let mut next = *state;
        if self.request_of(txn).work == Work::LockedRead {
            next.txn_mut(txn).seen[place] = Some(next.groups[place].history.newest());
        }
        self.take_vote(&mut next, txn, place, p?);
        Some(next)
    }

    /// Ordered mode with data flow: intents are put into the lock with the p that was voted.
    pub(crate) fn fill(&self, state: &State, txn: TxnId, place: Place) -> Option<State> {
        let held = state.groups[place].exclusive_of(txn)?;
        if !state.txn(txn).fill_sent || held.p != state.txn(txn).votes[place] {
            return None;
        }
        let mut next = *state;
        next.groups[place].exclusive = Some(Lock { filled: true, ..held });
        if let Some(Phase::Filling(mut confirmed)) = state.phase_of(txn) {
            confirmed[place] = true;
            next.clients[txn.request()].phase = Phase::Filling(confirmed);
            if self.participants(txn).all(|place| confirmed[place] || !self.request_of(txn).access(place).writes()) {
                self.send_commit(&mut next, txn);
            }
        }
        (next != *state).then_some(next)
    }
}
