//! Is there one order that explains everything?
//!
//! Strict serializability, decided by a graph. Its nodes are the committed requests and the finished reads; an edge
//! says "must come before":
//!
//! - of two effects on a key, the older,
//! - a writer before everybody who saw its effect,
//! - everybody who saw an effect before the writer of the next one on that key,
//! - a request that was answered before another began.
//!
//! An order exists exactly when no node comes before itself. An effect that somebody saw and that is not in the key's
//! data explains nothing, so it counts as a contradiction too.
//!
//! A scan at a version is the documented exception: two writes without a message between them may appear in it against
//! real time. So scans have a graph of their own, in which real time counts only up to their start.
//!
//! Along the edges of the first three kinds commit versions must grow, which is what scans rest on.

use crate::protocol::Protocol;
use crate::scene::Work;
use crate::state::{Answer, Effect, History, INITIAL, PLACES, Phase, Place, REQUESTS, State, TxnId, Version};

/// Who must come before whom; one bit each.
#[derive(Clone, Copy, Default)]
struct Order([u8; REQUESTS]);

impl Order {
    fn put(&mut self, earlier: usize, later: usize) {
        // Effects of one request are no order; that there is but one is another law.
        if earlier != later {
            self.0[earlier] |= 1 << later;
        }
    }

    fn has(&self, earlier: usize, later: usize) -> bool {
        self.0[earlier] & (1 << later) != 0
    }

    /// Whether nobody comes before himself, directly or through others.
    fn is_possible(mut self) -> bool {
        for through in 0..REQUESTS {
            for earlier in 0..REQUESTS {
                if self.has(earlier, through) {
                    self.0[earlier] |= self.0[through];
                }
            }
        }
        (0..REQUESTS).all(|node| !self.has(node, node))
    }
}

impl Protocol {
    /// Whether one order of all that happened explains all that was read and answered, scans excepted.
    pub fn is_serializable(&self, state: &State) -> bool {
        let Some(mut order) = self.order_on_keys(state, false) else { return false };
        for later in (0..self.scene.requests.len()).filter(|later| !self.is_scan(*later)) {
            self.put_answered(&mut order, state, later);
        }
        order.is_possible()
    }

    /// Whether every scan fits into the order on the keys, behind all that was answered before it began.
    pub fn has_whole_snapshots(&self, state: &State) -> bool {
        let mut scans = (0..self.scene.requests.len()).filter(|request| self.is_scan(*request)).peekable();
        if scans.peek().is_none() {
            return true;
        }
        let Some(mut order) = self.order_on_keys(state, true) else { return false };
        scans.for_each(|scan| self.put_answered(&mut order, state, scan));
        order.is_possible()
    }

    fn is_scan(&self, request: usize) -> bool {
        self.scene.requests[request].work == Work::Scan
    }

    /// Puts a request behind all that was answered before it began.
    fn put_answered(&self, order: &mut Order, state: &State, later: usize) {
        if state.clients[later].phase == Phase::Idle {
            return;
        }
        let before = self.answered_before(state, later);
        for earlier in (0..REQUESTS).filter(|earlier| before & (1 << earlier) != 0) {
            order.put(self.node(state, earlier), self.node(state, later));
        }
    }

    /// Whether versions grow from each transaction to those that come behind it on some key.
    pub fn has_growing_versions(&self, state: &State) -> bool {
        let Some(order) = self.order_on_keys(state, false) else { return true };
        let version = |request: usize| -> Option<Version> {
            let committed = self.txns_of(request).find(|txn| state.txn(*txn).committed);
            committed.map(|txn| state.txn(txn).c)
        };
        let requests = 0..self.scene.requests.len();
        requests.clone().all(|earlier| {
            requests
                .clone()
                .filter(|later| order.has(earlier, *later))
                .all(|later| version(earlier).zip(version(later)).is_none_or(|(earlier, later)| earlier < later))
        })
    }

    /// What the keys say about the order; none when somebody saw what never was.
    fn order_on_keys(&self, state: &State, scans: bool) -> Option<Order> {
        let mut order = Order::default();
        let histories = PLACES.map(|place| logical(state, place));
        for history in &histories {
            let writers = history.effects().iter().filter_map(|effect| effect.txn).map(TxnId::request);
            writers.clone().zip(writers.skip(1)).for_each(|(earlier, later)| order.put(earlier, later));
        }
        let counts = |txn: &TxnId| self.counts(state, *txn) && (scans || !self.is_scan(txn.request()));
        for reader in self.txns().filter(counts) {
            for (history, seen) in histories.iter().zip(state.txn(reader).seen) {
                if let Some(seen) = seen {
                    put_read(&mut order, history, seen, reader.request())?;
                }
            }
        }
        Some(order)
    }

    /// Whether what this transaction read is a fact that has to fit.
    fn counts(&self, state: &State, txn: TxnId) -> bool {
        match self.request_of(txn).work {
            Work::Transaction(_) | Work::Exec(_) => state.txn(txn).committed,
            Work::PointRead(_) | Work::PairRead | Work::LockedRead | Work::Scan => {
                state.phase_of(txn) == Some(Phase::Told(Answer::Done))
            }
        }
    }

    /// What was answered before a request began, one bit each. A request that is sent again by token is one operation,
    /// which began with the first of them.
    fn answered_before(&self, state: &State, request: usize) -> u8 {
        let same = |other: &usize| self.origin(*other) == self.origin(request);
        let begun = (0..self.scene.requests.len()).filter(same).map(|other| state.clients[other]);
        begun.filter(|client| client.phase != Phase::Idle).fold(u8::MAX, |before, client| before & client.after)
    }

    /// The node of a request: one that was answered by the dedup record of another stands where that stands.
    fn node(&self, state: &State, request: usize) -> usize {
        let executed = |request: &usize| self.txns_of(*request).any(|txn| state.txn(txn).committed);
        let same = |other: &usize| self.origin(*other) == self.origin(request);
        if executed(&request) {
            return request;
        }
        (0..self.scene.requests.len()).filter(same).find(executed).unwrap_or(request)
    }
}

/// A key's effects, with that of a lock whose transaction is committed: nothing can come between.
fn logical(state: &State, place: Place) -> History {
    let mut history = state.groups[place].history;
    if let Some(lock) = state.groups[place].exclusive.filter(|lock| state.is_committed(place, *lock)) {
        history.push(lock.txn, state.txn(lock.txn).c);
    }
    history
}

/// Puts a read in order: behind whom it saw, before whom it did not see. None when it saw what never was.
fn put_read(order: &mut Order, history: &History, seen: Effect, reader: usize) -> Option<()> {
    let effects = history.effects();
    let next = if seen == INITIAL { 0 } else { effects.iter().position(|effect| *effect == seen)? + 1 };
    let writer = |effect: &Effect| effect.txn.map(TxnId::request);
    writer(&seen).into_iter().for_each(|writer| order.put(writer, reader));
    effects.get(next).and_then(writer).into_iter().for_each(|follower| order.put(reader, follower));
    Some(())
}
