//! What to do about the locks of other transactions.
//!
//! The anchor of a transaction knows how it ended; nobody else is believed. Whoever meets a lock asks there:
//!
//! - **Somebody who must have the lock out of the way** (an `Exec` or a prewrite that has waited in vain, a read at a
//!   timestamp) resolves it if its transaction is decided. If the lock is old, the question is an Abort of a dead
//!   transaction: one whose coordinator has sent no heartbeat for 3 s, or of which the anchor knows nothing. Then, or
//!   when the transaction lives, the request is sent again.
//! - **A read of the newest state** got, with the locks, what lies below them. That is its answer if no lock is
//!   committed with its p: the question was asked after the read, so the transaction was not committed when the read
//!   was. Where the anchor knows nothing, the read looks again; the same lock is then one whose transaction has not
//!   begun, or is forgotten. A committed lock is resolved, and the read sent again. After three rounds it waits in the
//!   queue, as an `Exec`. It aborts nobody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use keyspace::{TransactionId, Version};
use proto::{Participant, SeenLock, TransactionState, TransactionStatus, wire};

use super::bundle::{Flight, Tally};
use super::error::{Reason, RouterError};
use super::retry::{Refused, Trouble};
use super::step::Transaction;
use super::{Core, Router};

/// A lock this old may be one that nobody looks after.
const OLD: Duration = Duration::from_secs(3);
/// How long a request waits for what is done about the locks in its way, before it is sent again anyway.
const PATIENCE: Duration = Duration::from_secs(2);
/// Rounds of a read before it waits in the queue.
const ROUNDS: u32 = 3;

/// What a read has learnt of the locks it met.
#[derive(Debug, Default)]
pub(super) struct Contest {
    rounds: u32,
    /// Locks of which the anchors knew nothing: unit, transaction, p.
    unknown: Vec<(Bytes, TransactionId, Version)>,
}

/// How a lock shall end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Resolution {
    /// `None`: aborted.
    committed_at: Option<Version>,
    /// The lock becomes data only if this is its p.
    participant: Participant,
}

/// What a lock means for a read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meaning {
    /// Nothing: the value below it holds.
    Below,
    /// The anchor knows nothing of it.
    Unknown,
    /// Its transaction is committed.
    Committed(Resolution),
}

/// The p of the transaction's own lock on the unit, as its anchor keeps it.
fn own_lock(lock: &SeenLock, status: &TransactionStatus) -> Option<Version> {
    let own = status.participants.iter().find(|participant| participant.unit == lock.unit);
    own.map(|participant| participant.prepared)
}

/// How the lock ends, if its transaction is decided.
fn resolution(lock: &SeenLock, status: &TransactionStatus) -> Option<Resolution> {
    let prepared = match status.state {
        TransactionState::Absent | TransactionState::Pending => return None,
        TransactionState::Aborted => lock.prepared,
        // No lock has this p: one that the transaction does not count among its own is dropped.
        TransactionState::Committed | TransactionState::Forgotten => own_lock(lock, status).unwrap_or(Version::MIN),
    };
    let participant = Participant { unit: lock.unit.clone(), prepared };
    Some(Resolution { committed_at: status.committed_at, participant })
}

fn meaning(lock: &SeenLock, status: &TransactionStatus) -> Meaning {
    match status.state {
        TransactionState::Absent => Meaning::Unknown,
        TransactionState::Pending | TransactionState::Aborted => Meaning::Below,
        TransactionState::Committed | TransactionState::Forgotten => match resolution(lock, status) {
            Some(resolution) if resolution.participant.prepared == lock.prepared => Meaning::Committed(resolution),
            _ => Meaning::Below,
        },
    }
}

/// The locks of each transaction together.
fn by_transaction(mut locks: Vec<SeenLock>) -> Vec<Vec<SeenLock>> {
    locks.sort_by(|a, b| (a.txn, &a.unit).cmp(&(b.txn, &b.unit)));
    locks.dedup_by(|a, b| (a.txn, &a.unit) == (b.txn, &b.unit));
    locks.chunk_by(|a, b| a.txn == b.txn).map(<[SeenLock]>::to_vec).collect()
}

impl Core {
    /// Takes locks out of the way whose transactions are decided or dead. Returns when each was looked at, or when
    /// that takes too long.
    pub(super) async fn unlock(self: &Arc<Self>, locks: Vec<SeenLock>) {
        if locks.is_empty() {
            return;
        }
        let router = Router { core: self.clone() };
        let work = async {
            let mut transactions = tokio::task::JoinSet::new();
            for locks in by_transaction(locks) {
                transactions.spawn(unlock_transaction(router.clone(), locks));
            }
            while transactions.join_next().await.is_some() {}
        };
        // What is left undone is done by the next one whose way it is in.
        let _ = tokio::time::timeout(PATIENCE, work).await;
    }

    /// Answers a read that met locks, or sends it again.
    pub(super) async fn settle_contested(self: Arc<Self>, flight: Flight, below: wire::Results, locks: Vec<SeenLock>) {
        self.metrics.contested_reads.increment(1);
        let mut flight = flight;
        let mut tally = Tally::default();
        let holds = if flight.can_queue() {
            let patience = tokio::time::timeout(PATIENCE, self.holds_below(&mut flight.contest, &locks));
            patience.await.unwrap_or(false)
        } else {
            self.unlock(locks).await;
            false
        };
        if holds {
            let answer = flight.read_results(below);
            flight.finish(answer, &mut tally);
        } else {
            flight.contest.rounds += 1;
            if flight.can_queue() && flight.contest.rounds >= ROUNDS {
                flight.queue(self.sequences.give_out(1), self.seen_e());
            }
            self.retry(vec![Refused { flight, trouble: Trouble::Retry(Reason::Locked) }], &mut tally);
        }
        self.settle(tally);
    }

    /// Whether none of the locks that a read met was committed when it read. Resolves those that are.
    async fn holds_below(self: &Arc<Self>, contest: &mut Contest, locks: &[SeenLock]) -> bool {
        let router = Router { core: self.clone() };
        let asked = Instant::now();
        let questions = locks.iter().map(|lock| Transaction::of_another(lock.txn, lock.anchor.clone()).inquire());
        let answers = router.steps(questions.collect()).await;
        tracing::trace!(locks = locks.len(), waited = ?asked.elapsed(), "asked after the locks that a read met");
        let before = std::mem::take(&mut contest.unknown);
        let mut holds = true;
        let mut resolutions = Vec::new();
        for (lock, answer) in locks.iter().zip(answers) {
            let Ok(super::step::Transacted::Status(status)) = answer else {
                holds = false;
                continue;
            };
            match meaning(lock, &status) {
                Meaning::Below => {}
                Meaning::Unknown => {
                    let this = (lock.unit.clone(), lock.txn, lock.prepared);
                    holds &= before.contains(&this);
                    contest.unknown.push(this);
                }
                Meaning::Committed(resolution) => {
                    holds = false;
                    resolutions.push(resolve(lock, resolution));
                }
            }
        }
        self.metrics.locks_resolved.increment(resolutions.len() as u64);
        router.steps(resolutions).await;
        holds
    }
}

fn resolve(lock: &SeenLock, resolution: Resolution) -> super::Prepared {
    let Resolution { committed_at, participant } = resolution;
    Transaction::of_another(lock.txn, lock.anchor.clone()).resolve(committed_at, vec![participant])
}

/// Looks after the locks of one transaction, of which there is at least one.
async fn unlock_transaction(router: Router, locks: Vec<SeenLock>) {
    let Some(first) = locks.first() else { return };
    let transaction = Transaction::of_another(first.txn, first.anchor.clone());
    let is_old = locks.iter().any(|lock| Duration::from_millis(lock.age_ms) >= OLD);
    let question = if is_old { transaction.abort_if_dead() } else { transaction.inquire() };
    let status = match router.ask_anchor(question).await {
        Ok(status) => status,
        Err(error) => {
            tracing::debug!(txn = %first.txn, %error, "the anchor of a lock does not answer");
            return;
        }
    };
    let resolutions: Vec<super::Prepared> =
        locks.iter().filter_map(|lock| Some(resolve(lock, resolution(lock, &status)?))).collect();
    if resolutions.is_empty() {
        return;
    }
    router.core.metrics.locks_resolved.increment(resolutions.len() as u64);
    for answer in router.steps(resolutions).await {
        if let Err(error @ (RouterError::Protocol(_) | RouterError::Rejected(_))) = answer {
            tracing::warn!(txn = %first.txn, %error, "a lock cannot be resolved");
        }
    }
}

#[cfg(test)]
mod tests {
    use keyspace::RequestId;

    use super::*;

    const OWN: Version = Version { e: 5, s: 1 };
    const LATE: Version = Version { e: 6, s: 1 };
    const COMMITTED_AT: Version = Version { e: 7, s: 2 };

    fn lock(unit: &'static str, prepared: Version) -> SeenLock {
        let txn = TransactionId { request: RequestId { incarnation: 1, sequence: 1 }, attempt: 1 };
        SeenLock { unit: unit.into(), txn, anchor: "a".into(), prepared, age_ms: 0 }
    }

    fn status(state: TransactionState) -> TransactionStatus {
        let committed = matches!(state, TransactionState::Committed | TransactionState::Forgotten);
        TransactionStatus {
            state,
            committed_at: committed.then_some(COMMITTED_AT),
            participants: vec![Participant { unit: "x".into(), prepared: OWN }],
            response: wire::Results::default(),
        }
    }

    #[test]
    fn a_read_believes_a_committed_lock_only_with_its_p() {
        use TransactionState::{Aborted, Absent, Committed, Forgotten, Pending};
        for state in [Committed, Forgotten] {
            let means = |lock: &SeenLock| meaning(lock, &status(state));
            let Meaning::Committed(resolution) = means(&lock("x", OWN)) else { panic!("{state:?}") };
            assert_eq!(resolution.committed_at, Some(COMMITTED_AT));
            assert_eq!(means(&lock("x", LATE)), Meaning::Below);
            assert_eq!(means(&lock("y", OWN)), Meaning::Below);
        }
        for state in [Pending, Aborted] {
            assert_eq!(meaning(&lock("x", OWN), &status(state)), Meaning::Below);
        }
        assert_eq!(meaning(&lock("x", OWN), &status(Absent)), Meaning::Unknown);
    }

    #[test]
    fn only_what_is_decided_is_resolved() {
        use TransactionState::{Aborted, Absent, Committed, Pending};
        assert_eq!(resolution(&lock("x", OWN), &status(Pending)), None);
        assert_eq!(resolution(&lock("x", OWN), &status(Absent)), None);
        let aborted = resolution(&lock("x", OWN), &status(Aborted));
        assert!(aborted.is_some_and(|it| it.committed_at.is_none() && it.participant.prepared == OWN));
        let late = resolution(&lock("x", LATE), &status(Committed));
        assert!(late.is_some_and(|it| it.committed_at == Some(COMMITTED_AT) && it.participant.prepared == OWN));
        let foreign = resolution(&lock("y", OWN), &status(Committed));
        assert!(foreign.is_some_and(|it| it.participant.prepared == Version::MIN));
    }

    #[test]
    fn locks_are_asked_for_once_a_transaction() {
        let mut other = lock("z", OWN);
        other.txn.attempt = 2;
        let together = by_transaction(vec![lock("y", OWN), other.clone(), lock("x", OWN), lock("y", OWN)]);
        assert_eq!(together, [vec![lock("x", OWN), lock("y", OWN)], vec![other]]);
    }
}
