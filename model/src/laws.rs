//! What must hold in every state.
//!
//! The laws carry the numbers of the protocol's invariants where they have one. They speak of what was ever decided
//! ([`crate::state::Txn::committed`], [`crate::state::Txn::aborted`]), not of what a record says now, so that a record
//! that is overwritten or lost hides nothing. Order is decided in [`crate::serial`].

use crate::protocol::Protocol;
use crate::state::{Answer, PLACES, Phase, Place, Record, State, TxnId};

/// A law and its test.
pub type Law = (&'static str, fn(&Protocol, &State) -> bool);

/// All or nothing.
pub const ATOMIC: &str = "all of a committed transaction's intents become data, and nothing else does";
/// I4.
pub const ONE_END: &str = "I4: a transaction has one final state, and its record never leaves it";
/// I5.
pub const COLLECTED_LAST: &str = "I5: a record is collected when no lock needs it any more";
/// I6.
pub const VERSIONS_GROW: &str = "I6: a key's versions strictly grow";
/// I7.
pub const EXACTLY_ONCE: &str = "I7: a request has its effect at most once, over attempts and repetitions";
/// Answers.
pub const ANSWERS_TRUE: &str = "done means committed, not done means never";
/// Order.
pub const SERIALIZABLE: &str = "one order, true to real time, explains all effects, reads and answers";
/// Scans.
pub const SNAPSHOTS_WHOLE: &str = "a scan sees a past that was: causally closed, and with all that was answered before";
/// What snapshots by version rest on.
pub const VERSIONS_FOLLOW: &str = "a transaction that comes behind another on some key has the larger version";
/// Cleaning up.
pub const RESOLVABLE: &str = "resolvers alone can end every transaction and clear every lock, and then all is whole";

/// What must always hold.
pub const LAWS: [Law; 10] = [
    (ATOMIC, is_atomic),
    (ONE_END, has_one_end),
    (COLLECTED_LAST, is_collected_last),
    (VERSIONS_GROW, |_, state| !state.version_fell),
    (EXACTLY_ONCE, happens_once),
    (ANSWERS_TRUE, answers_truly),
    (SERIALIZABLE, Protocol::is_serializable),
    (SNAPSHOTS_WHOLE, Protocol::has_whole_snapshots),
    (VERSIONS_FOLLOW, Protocol::has_growing_versions),
    (RESOLVABLE, can_be_cleaned_up),
];

fn is_atomic(protocol: &Protocol, state: &State) -> bool {
    let whole = |txn: TxnId, place: Place| {
        let held = state.groups[place].exclusive_of(txn).is_some_and(|lock| state.is_committed(place, lock));
        state.groups[place].history.count(txn) + usize::from(held) == 1
    };
    let mut committed = protocol.txns().filter(|txn| state.txn(*txn).committed);
    let mut effects = state.groups.iter().flat_map(|group| group.history.effects()).filter_map(|effect| effect.txn);
    !state.nonsense
        && committed.all(|txn| PLACES.into_iter().all(|place| !protocol.writes(txn, place) || whole(txn, place)))
        && effects.all(|txn| state.txn(txn).committed)
}

fn has_one_end(protocol: &Protocol, state: &State) -> bool {
    protocol.txns().map(|txn| state.txn(txn)).all(|txn| match txn.record {
        Record::Absent => !(txn.committed && txn.aborted),
        Record::Pending => !txn.committed && !txn.aborted,
        Record::Committed | Record::Forgotten => txn.committed && !txn.aborted,
        Record::Aborted => txn.aborted && !txn.committed,
    })
}

/// Without a record a lock is dropped, so no lock that is data may be left; and while prewrites of an ended transaction
/// can still begin it anew, the record must be there to refuse them.
fn is_collected_last(protocol: &Protocol, state: &State) -> bool {
    let gone = |txn: &TxnId| {
        let ended = state.txn(*txn).committed || state.txn(*txn).aborted;
        ended && protocol.has_record(*txn) && state.txn(*txn).record == Record::Absent
    };
    protocol.txns().filter(gone).all(|txn| {
        let mut locks = PLACES.into_iter().filter_map(|place| Some((place, state.groups[place].exclusive_of(txn)?)));
        state.clients[txn.request()].below_floor && !locks.any(|(place, lock)| state.is_committed(place, lock))
    })
}

fn happens_once(protocol: &Protocol, state: &State) -> bool {
    let again = |txn: TxnId| {
        let same = protocol.origin(txn.request());
        let effects = |place: Place| {
            let of_same = |other: TxnId| protocol.origin(other.request()) == same;
            state.groups[place].history.effects().iter().filter(|effect| effect.txn.is_some_and(of_same)).count()
        };
        let committed = protocol.txns().filter(|other| protocol.origin(other.request()) == same);
        committed.filter(|other| state.txn(*other).committed).count() > 1
            || PLACES.into_iter().any(|place| effects(place) > 1)
    };
    !protocol.txns().any(again)
}

fn answers_truly(protocol: &Protocol, state: &State) -> bool {
    let committed = |txn: TxnId| state.txn(txn).committed;
    (0..protocol.scene.requests.len()).filter(|request| protocol.has_effect(*request)).all(|request| {
        match state.clients[request].phase {
            Phase::Told(Answer::Done) => {
                let same = |txn: &TxnId| protocol.origin(txn.request()) == protocol.origin(request);
                protocol.txns().filter(same).any(committed)
            }
            Phase::Told(Answer::NotDone) => !protocol.txns_of(request).any(committed),
            _ => true,
        }
    })
}

fn can_be_cleaned_up(protocol: &Protocol, state: &State) -> bool {
    let clear = |state: &State| {
        let open = |txn: TxnId| matches!(state.txn(txn).record, Record::Pending | Record::Committed);
        state.groups.iter().all(|group| group.holders().next().is_none()) && !protocol.txns().any(open)
    };
    if clear(state) {
        return true;
    }
    let after = protocol.cleaned_up(state);
    clear(&after) && is_atomic(protocol, &after) && has_one_end(protocol, &after)
}
