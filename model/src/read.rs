//! The four ways to read: one key, both keys in two rounds, both under S locks, and a scan at a version.
//!
//! A read that meets a lock asks the anchor, which costs it nothing but a round: it neither waits nor aborts anybody.
//! What it may return then is the delicate part, because between its look at the key and the anchor's answer anything may
//! have happened: commit, resolution, even removal of the record.

use crate::fault::Fault;
use crate::protocol::Protocol;
use crate::scene::Work;
use crate::state::{Answer, Effect, Group, Lock, PLACES, Phase, Place, Record, SNAPSHOT, State, TxnId};

impl Protocol {
    /// A read takes its next look at a group.
    pub(crate) fn read(&self, state: &State, request: usize) -> Option<State> {
        if !self.may_start(state, request) {
            return None;
        }
        match self.scene.requests[request].work {
            Work::PointRead(place) => self.read_one(state, request, place),
            Work::Scan => self.read_one(state, request, 0),
            Work::PairRead => self.read_pair(state, request),
            Work::Exec(_) | Work::Transaction(_) | Work::LockedRead => None,
        }
    }

    /// A look at one key: of a point read, or of a scan, which leaves out what is as new as its snapshot and sees to it
    /// that nothing older can come.
    fn read_one(&self, state: &State, request: usize, first: Place) -> Option<State> {
        let mut next = *state;
        match state.clients[request].phase {
            Phase::Idle => self.look_at(&mut next, request, first),
            Phase::Reading(place) => self.look_at(&mut next, request, place),
            Phase::LooksAgain(place, Lock { txn, p, .. }) => {
                if state.groups[place].exclusive_of(txn).is_some_and(|lock| lock.p == p) {
                    // The same lock is still there: so is what was below it.
                    self.have_read(&mut next, request, place);
                } else {
                    next.clients[request].phase = Phase::Reading(place);
                    next.txn_mut(TxnId::new(request, 0)).seen[place] = None;
                }
            }
            _ => return None,
        }
        Some(next)
    }

    fn look_at(&self, state: &mut State, request: usize, place: Place) {
        self.start(state, request);
        let scans = self.scene.requests[request].work == Work::Scan;
        if scans {
            state.groups[place].reach(SNAPSHOT);
        }
        let Group { exclusive, history, .. } = state.groups[place];
        let seen = if scans { history.newest_below(SNAPSHOT) } else { history.newest() };
        state.txn_mut(TxnId::new(request, 0)).seen[place] = Some(seen);
        // A lock prepared at the snapshot or behind it commits behind it.
        let in_the_way = exclusive.filter(|lock| !scans || lock.p < SNAPSHOT);
        match in_the_way {
            Some(lock) if !self.has(Fault::ReadBelowCommitted) => {
                state.clients[request].phase = Phase::Met(place, lock);
            }
            _ => self.have_read(state, request, place),
        }
    }

    /// A key is read: a scan goes on to the next.
    fn have_read(&self, state: &mut State, request: usize, place: Place) {
        let scans = self.scene.requests[request].work == Work::Scan;
        let next = PLACES.into_iter().find(|&next| scans && next > place);
        state.clients[request].phase = next.map_or(Phase::Told(Answer::Done), Phase::Reading);
    }

    /// A read asks the anchor about the lock that it met. A scan pushes the anchor's clock first, so that what is not
    /// committed by then is not in its snapshot.
    pub(crate) fn ask(&self, state: &State, request: usize) -> Option<State> {
        let Phase::Met(place, lock) = state.clients[request].phase else { return None };
        let mut next = *state;
        let txn = state.txn(lock.txn);
        if self.scene.requests[request].work == Work::Scan {
            let pushes = match txn.record {
                Record::Absent => !self.has(Fault::ScanPushesOnlyRecords),
                _ => !self.has(Fault::ScanNeverPushes),
            };
            if pushes {
                next.groups[self.anchor_of(lock.txn)].reach(SNAPSHOT);
            }
        }
        match txn.record {
            Record::Absent if !self.has(Fault::ReadTrustsAbsent) => {
                next.clients[request].phase = Phase::LooksAgain(place, lock);
                return Some(next);
            }
            Record::Committed | Record::Forgotten if txn.votes[place] == lock.p => {
                let in_view = self.scene.requests[request].work != Work::Scan || txn.c < SNAPSHOT;
                if in_view {
                    let intent = Effect { txn: Some(lock.txn), version: txn.c };
                    next.txn_mut(TxnId::new(request, 0)).seen[place] = Some(intent);
                }
            }
            Record::Absent | Record::Pending | Record::Aborted | Record::Committed | Record::Forgotten => {}
        }
        self.have_read(&mut next, request, place);
        Some(next)
    }

    /// Two rounds over both keys. A lock makes it wait, a difference makes it begin again.
    fn read_pair(&self, state: &State, request: usize) -> Option<State> {
        let txn = TxnId::new(request, 0);
        let phase = match state.clients[request].phase {
            Phase::Idle => Phase::Reading(0),
            phase => phase,
        };
        let place = match phase {
            Phase::Reading(place) | Phase::Comparing(place) => place,
            _ => return None,
        };
        let group = &state.groups[place];
        if group.exclusive.is_some() {
            return None;
        }
        let mut next = *state;
        self.start(&mut next, request);
        let newest = group.history.newest();
        let stands = next.txn(txn).seen[place].is_some_and(|seen| seen.version == newest.version);
        let differs = matches!(phase, Phase::Comparing(_)) && !stands;
        next.txn_mut(txn).seen[place] = Some(newest);
        next.clients[request].phase = match phase {
            _ if differs => Phase::Reading(0),
            Phase::Reading(0) => Phase::Reading(1),
            Phase::Reading(_) if self.has(Fault::PairReadOnce) => Phase::Told(Answer::Done),
            Phase::Reading(_) => Phase::Comparing(0),
            Phase::Comparing(0) => Phase::Comparing(1),
            _ => Phase::Told(Answer::Done),
        };
        if differs {
            next.txn_mut(txn).seen = [None; 2];
        }
        Some(next)
    }

    /// A read under S locks ends by an Abort of its own. Only if that finds the record Pending were all locks held at
    /// that moment, and the values stood together.
    pub(crate) fn end_locked_read(&self, state: &State, request: usize) -> Option<State> {
        let txn = state.current(request);
        let read = self.scene.requests[request].work == Work::LockedRead;
        let voted = self.participants(txn).all(|place| state.txn(txn).votes[place] != 0);
        if !read || state.clients[request].phase != Phase::Ending {
            return None;
        }
        let mut next = *state;
        let in_time = state.txn(txn).record == Record::Pending;
        let values = voted && (in_time || self.has(Fault::LockedReadTrustsAbort));
        next.clients[request].phase = Phase::Told(if values { Answer::Done } else { Answer::NotDone });
        if in_time {
            next = self.abort(&next, txn)?;
        }
        Some(next)
    }
}
