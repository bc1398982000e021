//! What a gateway does for a request: start, collect votes, send Commit or give up, and believe only the anchor.
//!
//! A gateway may fall silent between any two of these steps. Nothing obliges it to go on, so every state is also the
//! one in which it has just died, with or without [`Protocol::crash`]; that others can then clean up without it is a law
//! for every state ([`crate::resolve`]).

use crate::fault::Fault;
use crate::protocol::Protocol;
use crate::scene::Work;
use crate::state::{Answer, PLACES, Phase, Place, Record, State, TxnId, Version};

impl Protocol {
    /// The first thing that happens for a request fixes what was answered before it began. Beginning as late as
    /// possible is the hardest on it: the more has been answered, the more it must see.
    pub(crate) fn start(&self, state: &mut State, request: usize) {
        if state.clients[request].phase != Phase::Idle {
            return;
        }
        let done = |other: &usize| state.clients[*other].phase == Phase::Told(Answer::Done);
        let before = (0..self.scene.requests.len()).filter(done).fold(0, |set, other| set | 1 << other);
        state.clients[request].after = before;
    }

    /// All prewrites of the first attempt are sent at once.
    pub(crate) fn send_prewrites(&self, state: &mut State, txn: TxnId) {
        state.clients[txn.request()].phase = Phase::Locking;
        for place in self.participants(txn) {
            state.txn_mut(txn).sent[place] = true;
        }
    }

    /// Whether the client has sent this request, or may do so now.
    pub(crate) fn may_start(&self, state: &State, request: usize) -> bool {
        let told = |other: usize| matches!(state.clients[other].phase, Phase::Told(_));
        self.scene.requests[request].follows.is_none_or(told)
    }

    /// The first key behind `from` that the coordinator must read.
    fn next_read(&self, request: usize, from: Place) -> Option<Place> {
        PLACES.into_iter().skip(from).find(|&place| self.scene.requests[request].access(place).reads())
    }

    /// A coordinator reads a key for its computation: first, or in ordered mode under its locks.
    pub(crate) fn look(&self, state: &State, request: usize) -> Option<State> {
        let txn = state.current(request);
        let place = match state.clients[request].phase {
            Phase::Idle if self.scene.requests[request].has_data_flow() => self.next_read(request, 0)?,
            Phase::Reading(place) if self.scene.requests[request].has_data_flow() => place,
            _ => return None,
        };
        // A committed lock counts as data: the read waits until it is.
        let group = &state.groups[place];
        if group.exclusive.is_some_and(|lock| state.is_committed(place, lock)) {
            return None;
        }
        let mut next = *state;
        self.start(&mut next, request);
        next.txn_mut(txn).seen[place] = Some(group.history.newest());
        if let Some(place) = self.next_read(request, place + 1) {
            next.clients[request].phase = Phase::Reading(place);
        } else if self.fills(txn) {
            next.clients[request].phase = Phase::Filling([false; 2]);
            next.txn_mut(txn).fill_sent = true;
        } else {
            self.send_prewrites(&mut next, txn);
        }
        Some(next)
    }

    /// A vote is heard; the last one sends Commit, or whatever comes before it.
    pub(crate) fn take_vote(&self, state: &mut State, txn: TxnId, place: Place, p: Version) {
        state.txn_mut(txn).votes[place] = p;
        let missing = self.participants(txn).find(|&place| state.txn(txn).votes[place] == 0);
        let request = txn.request();
        match missing {
            // In ordered mode a prewrite is sent when the one before it has been granted.
            Some(place) => state.txn_mut(txn).sent[place] = true,
            None if self.fills(txn) => {
                let first = self.next_read(request, 0).unwrap_or_default();
                state.clients[request].phase = Phase::Reading(first);
            }
            None if self.request_of(txn).work == Work::LockedRead => state.clients[request].phase = Phase::Ending,
            None => self.send_commit(state, txn),
        }
    }

    /// Commit is sent. From here only the anchor's record ends the transaction.
    pub(crate) fn send_commit(&self, state: &mut State, txn: TxnId) {
        state.txn_mut(txn).commit_sent = true;
        let told = self.has(Fault::AnswerBeforeCommit);
        state.clients[txn.request()].phase = if told { Phase::Told(Answer::Done) } else { Phase::Ending };
    }

    /// A coordinator hears a refusal, or has waited long enough: it forgets its votes and sends Abort.
    pub(crate) fn give_up(&self, state: &State, request: usize) -> Option<State> {
        let txn = state.current(request);
        let waits = match state.clients[request].phase {
            Phase::Beginning | Phase::Locking | Phase::Filling(_) => true,
            Phase::Reading(_) => txn.attempt() > 0,
            _ => false,
        };
        if !waits {
            return None;
        }
        let mut next = *state;
        next.clients[request].phase = Phase::Ending;
        next.txn_mut(txn).abort_sent = true;
        next.txn_mut(txn).votes = [0; 2];
        Some(next)
    }

    /// A coordinator hears from the anchor how its transaction ended.
    pub(crate) fn hear(&self, state: &State, request: usize) -> Option<State> {
        if state.clients[request].phase != Phase::Ending || !self.is_transaction(request) {
            return None;
        }
        let txn = state.current(request);
        let gone = state.clients[request].below_floor && self.has(Fault::GoneMeansAborted);
        let gone = gone || self.has(Fault::AbsentLeavesNoTombstone);
        let mut next = *state;
        match state.txn(txn).record {
            Record::Committed | Record::Forgotten => next.clients[request].phase = Phase::Told(Answer::Done),
            Record::Aborted => self.try_again(&mut next, request),
            Record::Absent if gone => self.try_again(&mut next, request),
            // Unknown, or not ended: nothing is learnt.
            Record::Absent | Record::Pending => return None,
        }
        Some(next)
    }

    /// After the anchor answered Aborted: the next attempt, or the truth.
    fn try_again(&self, state: &mut State, request: usize) {
        let attempt = usize::from(state.clients[request].attempt) + 1;
        if attempt < self.scene.requests[request].attempts {
            state.clients[request].attempt += 1;
            state.clients[request].phase = Phase::Beginning;
        } else {
            state.clients[request].phase = Phase::Told(Answer::NotDone);
        }
    }

    /// The anchor answers a prewrite with the stored response of the request; what this attempt locked is aborted.
    pub(crate) fn hear_dedup(&self, state: &State, request: usize) -> Option<State> {
        let waits = matches!(state.clients[request].phase, Phase::Beginning | Phase::Locking);
        let repeats = self.scene.requests[request].repeats.is_some();
        let opens = state.clients[request].phase == Phase::Idle && repeats && self.is_transaction(request);
        let below_floor = state.clients[request].below_floor;
        if !(waits || opens) || below_floor || !state.dedup.contains(self.dedup_key(state.current(request))) {
            return None;
        }
        let mut next = *state;
        let txn = next.current(request);
        self.start(&mut next, request);
        next.clients[request].phase = Phase::Told(Answer::Done);
        next.txn_mut(txn).votes = [0; 2];
        next.txn_mut(txn).abort_sent = true;
        Some(next)
    }

    /// What a gateway must not do: go on although it does not know the outcome.
    pub(crate) fn misbehave(&self, state: &State, request: usize) -> Option<State> {
        let unknown = state.clients[request].phase == Phase::Ending && state.txn(state.current(request)).commit_sent;
        let retries = self.has(Fault::RetryAfterUnknown) || self.has(Fault::RecomputeAfterUnknown);
        let left = usize::from(state.clients[request].attempt) + 1 < self.scene.requests[request].attempts;
        if !(unknown && retries && left) {
            return None;
        }
        let mut next = *state;
        self.try_again(&mut next, request);
        Some(next)
    }

    /// A gateway dies. What it has sent stays in the network; what it has heard is gone.
    pub(crate) fn crash(&self, state: &State, request: usize) -> Option<State> {
        let lives = !matches!(state.clients[request].phase, Phase::Idle | Phase::Told(_) | Phase::Silent);
        if !self.scene.crashes || !lives {
            return None;
        }
        let mut next = *state;
        let txn = state.current(request);
        next.clients[request].phase = Phase::Silent;
        // Votes live on in a Commit that was sent, and nowhere else.
        if !state.txn(txn).commit_sent {
            next.txn_mut(txn).votes = [0; 2];
        }
        Some(next)
    }
}
