//! What must be seen to happen in some state: a model in which nothing happens keeps every law.

use stateright::Property;

use crate::protocol::Protocol;
use crate::scene::Work;
use crate::state::{Answer, PLACES, Phase, Place, Record, SNAPSHOT, State, TxnId};

/// Something worth seeing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// A transaction is committed.
    Committed,
    /// Every request that writes is committed, and its effects are data.
    AllCommitted,
    /// A transaction is aborted.
    Aborted,
    /// An intent became data before the coordinator knew.
    ResolvedUnawares,
    /// A transaction was aborted by somebody else while its Commit was under way.
    AbortedUnawares,
    /// The anchor's prewrite can only arrive when a tombstone is there.
    MetTombstone,
    /// A late prewrite of a committed transaction holds a lock with another p.
    OrphanOfCommitted,
    /// A committed transaction has no record any more.
    Collected,
    /// What a coordinator read is not there any more.
    Conflict,
    /// A transaction is committed although its gateway has died.
    CommittedAfterDeath,
    /// A second attempt is committed.
    SecondAttemptCommitted,
    /// A client was told the stored response of another's transaction.
    AnsweredByDedup,
    /// A point read returned the intent of a lock.
    ReadIntent,
    /// A point read returned what is below a lock.
    ReadBelowLock,
    /// A point read learnt of no record.
    LookedAgain,
    /// A read in two rounds returned two effects of one transaction.
    PairRead,
    /// A read under S locks did.
    LockedRead,
    /// A scan saw one transaction, and not one that was committed behind its version.
    ScannedBetween,
}

type Seen = fn(&Protocol, &State) -> bool;

impl Sight {
    /// What it is called in a report, and how it is recognized.
    fn describe(self) -> (&'static str, Seen) {
        match self {
            Self::Committed => ("a transaction commits", |p, s| p.txns().any(|txn| s.txn(txn).committed)),
            Self::AllCommitted => ("all writers commit, and all their effects are data", all_committed),
            Self::Aborted => ("a transaction aborts", |p, s| p.txns().any(|txn| s.txn(txn).aborted)),
            Self::ResolvedUnawares => ("an intent becomes data before its coordinator knows", |p, s| {
                let unaware = |txn: TxnId| s.phase_of(txn) == Some(Phase::Ending) && p.is_transaction(txn.request());
                p.txns().any(|txn| unaware(txn) && s.groups.iter().any(|group| group.history.count(txn) > 0))
            }),
            Self::AbortedUnawares => ("a transaction is aborted while its Commit is under way", |p, s| {
                p.txns().any(|txn| s.txn(txn).commit_sent && s.txn(txn).record == Record::Aborted)
            }),
            Self::MetTombstone => ("the anchor's prewrite meets a tombstone and is refused", |p, s| {
                let met = |txn: TxnId| s.txn(txn).sent[p.anchor_of(txn)] && !s.txn(txn).granted[p.anchor_of(txn)];
                p.txns().any(|txn| s.txn(txn).record == Record::Aborted && met(txn))
            }),
            Self::OrphanOfCommitted => ("a late prewrite of a committed transaction locks again", |p, s| {
                let orphan = |txn: TxnId, place: Place| {
                    let lock = s.groups[place].exclusive_of(txn);
                    let other = lock.is_some_and(|lock| !s.is_committed(place, lock));
                    s.txn(txn).committed
                        && (other || (s.txn(txn).resolved[place] && s.groups[place].shared.contains(txn)))
                };
                p.txns().any(|txn| PLACES.into_iter().any(|place| orphan(txn, place)))
            }),
            Self::Collected => ("a committed transaction's record is collected", |p, s| {
                p.txns().any(|txn| s.txn(txn).c > 0 && s.txn(txn).record == Record::Absent)
            }),
            Self::Conflict => ("what a coordinator read has changed when it is locked", |p, s| {
                let changed = |txn: TxnId, place: Place| {
                    let seen = s.txn(txn).seen[place];
                    seen.is_some_and(|seen| seen.version != s.groups[place].history.newest().version)
                };
                let locking = |txn: &TxnId| s.phase_of(*txn) == Some(Phase::Locking);
                p.txns().filter(locking).any(|txn| PLACES.into_iter().any(|place| changed(txn, place)))
            }),
            Self::CommittedAfterDeath => ("a transaction commits whose gateway has died", |p, s| {
                p.txns().any(|txn| s.phase_of(txn) == Some(Phase::Silent) && s.txn(txn).committed)
            }),
            Self::SecondAttemptCommitted => {
                ("a second attempt commits", |p, s| p.txns().any(|txn| txn.attempt() == 1 && s.txn(txn).committed))
            }
            Self::AnsweredByDedup => ("a request is answered by a dedup record", |p, s| {
                let told = |request: &usize| s.clients[*request].phase == Phase::Told(Answer::Done);
                let own = |request: usize| p.txns_of(request).any(|txn| s.txn(txn).committed);
                (0..s.clients.len()).filter(told).any(|request| !own(request))
            }),
            Self::ReadIntent => ("a read returns the intent of a committed lock", |p, s| {
                let below = |place: Place, txn: TxnId| s.txn(txn).seen[place] == Some(s.groups[place].history.newest());
                reads_at_lock(p, s, |place, txn| !below(place, txn))
            }),
            Self::ReadBelowLock => ("a read returns what is below a lock", |p, s| {
                let below = |place: Place, txn: TxnId| s.txn(txn).seen[place] == Some(s.groups[place].history.newest());
                reads_at_lock(p, s, below)
            }),
            Self::LookedAgain => ("a read learns of no record and looks again", |_, s| {
                s.clients.iter().any(|client| matches!(client.phase, Phase::LooksAgain(..)))
            }),
            Self::PairRead => ("a read in two rounds returns its values", |p, s| reads_both(p, s, Work::PairRead)),
            Self::ScannedBetween => ("a scan sees one transaction and leaves out a later one", |p, s| {
                let newer = |txn: TxnId| s.txn(txn).committed && s.txn(txn).c >= SNAPSHOT;
                reads_both(p, s, Work::Scan) && p.txns().any(newer)
            }),
            Self::LockedRead => ("a read under S locks returns its values", |p, s| reads_both(p, s, Work::LockedRead)),
        }
    }
}

fn all_committed(protocol: &Protocol, state: &State) -> bool {
    (0..protocol.scene.requests.len()).filter(|request| protocol.has_effect(*request)).all(|request| {
        let same = |txn: &TxnId| protocol.origin(txn.request()) == protocol.origin(request);
        protocol.txns().filter(same).any(|txn| {
            let data = |place: Place| !protocol.writes(txn, place) || state.groups[place].history.count(txn) == 1;
            state.txn(txn).committed && PLACES.into_iter().all(data)
        })
    })
}

/// Whether an answered point read stands beside a lock, and saw this.
fn reads_at_lock(protocol: &Protocol, state: &State, saw: impl Fn(Place, TxnId) -> bool) -> bool {
    protocol.scene.requests.iter().enumerate().any(|(request, asked)| {
        let Work::PointRead(place) = asked.work else { return false };
        let told = state.clients[request].phase == Phase::Told(Answer::Done);
        told && state.groups[place].exclusive.is_some() && saw(place, TxnId::new(request, 0))
    })
}

fn reads_both(protocol: &Protocol, state: &State, work: Work) -> bool {
    protocol.scene.requests.iter().enumerate().any(|(request, asked)| {
        let seen = state.txn(state.current(request)).seen;
        let values = seen.iter().all(|seen| seen.is_some_and(|seen| seen.version > 0));
        asked.work == work && state.clients[request].phase == Phase::Told(Answer::Done) && values
    })
}

/// The sight, as the checker wants it.
pub fn property(sight: Sight) -> Property<Protocol> {
    let (name, seen) = sight.describe();
    Property::sometimes(name, seen)
}
