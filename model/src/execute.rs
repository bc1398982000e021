//! A single-group write: one step, with its dedup record in it.

use crate::fault::Fault;
use crate::protocol::Protocol;
use crate::scene::Work;
use crate::state::{Answer, Phase, State, TxnId};

impl Protocol {
    /// A group executes a single-group append, or finds that it has done so before. The message may come twice.
    pub(crate) fn execute(&self, state: &State, request: usize) -> Option<State> {
        let Work::Exec(place) = self.scene.requests[request].work else { return None };
        let txn = TxnId::new(request, 0);
        let client = state.clients[request];
        if client.below_floor || !self.may_start(state, request) {
            return None;
        }
        let mut next = *state;
        if state.dedup.contains(self.dedup_key(txn)) {
            next.clients[request].phase = Phase::Told(Answer::Done);
            return (next != *state).then_some(next);
        }
        // Behind a lock it is parked.
        let group = &state.groups[place];
        let locked = group.exclusive.is_some() || group.shared.has_other_than(txn);
        if locked && !self.has(Fault::ExecThroughLock) {
            return None;
        }
        self.start(&mut next, request);
        next.clients[request].phase = Phase::Ending;
        let group = &mut next.groups[place];
        let before = group.history.newest().version;
        let version = group.tick();
        let kept = group.history.push(txn, version);
        next.nonsense |= !kept;
        next.version_fell |= version <= before;
        next.txn_mut(txn).committed = true;
        next.txn_mut(txn).c = version;
        next.dedup.insert(self.dedup_key(txn));
        Some(next)
    }
}
