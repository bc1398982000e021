//! The one place that decides whether a request is sent again, when and where.
//!
//! The rules (PROTOCOL, "Exactly once"):
//!
//! 1. A retry is the same request under the same sequence; nothing is ever read anew or recomputed.
//! 2. A refusal proves that *this* sending had no effect. Once some sending ended without proof, the outcome stays
//!    unknown until results arrive; after 30 s the client is told so.
//! 3. What certainly had no effect is given up after 10 s.
//! 4. While there is somewhere better to go (another voter, a fresher route, a hinted leader) it goes at once, at most
//!    [`MAX_HOPS`] times in a row; else it waits 5 to 200 ms, with jitter.
//! 5. What was refused together is sent again together, in order.
//! 6. Whom locks stand in the way looks after them first: left ones are resolved ([`super::unlock`]).

use std::time::{Duration, Instant};

use keyspace::NodeId;
use planted::Fault;
use proto::{NotExecutedReason, Refusal, SeenLock, wire};

use super::bundle::{Flight, History, Tally};
use super::error::{Reason, RouterError};
use super::{Core, link};

/// Sendings in a row without a pause.
const MAX_HOPS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// A flight that came back without results.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) flight: Flight,
    pub(super) trouble: Trouble,
}

/// What came back.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Sending it again may help.
    Retry(Reason),
    /// It does not.
    Final(RouterError),
    /// Locks are in the way. When they are gone, or were looked at, it is sent again.
    Locked(Vec<SeenLock>),
    /// A read met locks: what it read holds if none of them is committed.
    Contested {
        /// What lies below the locks.
        below: wire::Results,
        /// Exclusive locks of others.
        locks: Vec<SeenLock>,
    },
}

impl Trouble {
    /// Of a reply to a read.
    pub(super) fn contested(contested: wire::Contested) -> Self {
        match contested.locks.into_iter().map(SeenLock::try_from).collect() {
            Ok(locks) => Trouble::Contested { below: contested.below.unwrap_or_default(), locks },
            Err(error) => Trouble::Final(RouterError::Protocol(error.to_string())),
        }
    }
}

/// How long a request is sent again.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryLimits {
    /// While it certainly had no effect.
    pub(super) refused: Duration,
    /// While it may have had one.
    pub(super) unknown: Duration,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Again(Duration),
    GiveUp(RouterError),
}

impl RetryLimits {
    /// Decides after one more refusal. `elsewhere`: there is a better place to try. `random` is in `0.0..1.0`.
    fn decide(
        &self,
        history: &mut History,
        reason: Reason,
        elsewhere: bool,
        has_effect: bool,
        now: Instant,
        random: f64,
    ) -> Next {
        history.refusals += 1;
        history.outcome_unknown |= has_effect && reason.leaves_outcome_unknown();
        let waited = now.saturating_duration_since(history.submitted);
        if history.outcome_unknown && waited >= self.unknown {
            return Next::GiveUp(RouterError::OutcomeUnknown);
        }
        if !history.outcome_unknown && waited >= self.refused {
            return Next::GiveUp(RouterError::Unavailable(reason));
        }
        if elsewhere && history.hops < MAX_HOPS {
            history.hops += 1;
            return Next::Again(Duration::ZERO);
        }
        history.hops = 0;
        let doublings = (history.refusals / (MAX_HOPS + 1)).min(6);
        let pause = (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE);
        // Half of it is jitter, so that those who failed together do not come back together.
        Next::Again(pause.mul_f64(0.5 + random / 2.0))
    }

    /// The error for a request that has been sent and waits for its answer longer than anybody should.
    pub(super) fn overdue(&self, flight: &Flight, now: Instant) -> Option<RouterError> {
        let waited = now.saturating_duration_since(flight.history.submitted);
        if flight.has_effect() {
            (waited >= self.unknown).then_some(RouterError::OutcomeUnknown)
        } else {
            (waited >= self.refused).then_some(RouterError::Unavailable(Reason::NoAnswer))
        }
    }
}

impl Core {
    /// Takes from a refusal what it says about routes and leaders, and what it means for the request.
    pub(super) fn understand(
        self: &std::sync::Arc<Self>,
        refusal: wire::Refusal,
        flight: &Flight,
        from: NodeId,
    ) -> Trouble {
        let group = keyspace::GroupId(flight.request.group_id);
        let refusal = match Refusal::try_from(refusal) {
            Ok(refusal) => refusal,
            Err(error) => {
                self.metrics.protocol_errors.increment(1);
                return Trouble::Final(RouterError::Protocol(error.to_string()));
            }
        };
        match refusal {
            Refusal::StaleRoute { routes, .. } => {
                self.directory.refine(&routes);
                Trouble::Retry(Reason::StaleRoute)
            }
            Refusal::NotLeader { leader, address, term } => {
                self.directory.forget_leader(group, from);
                if let Some(leader) = leader.filter(|leader| *leader != from) {
                    let open = |node, address: &str| link::LinkHandle::open(self.clone(), node, address);
                    self.directory.learn_leader(group, leader, address.as_deref().unwrap_or_default(), term, open);
                }
                Trouble::Retry(Reason::NotLeader)
            }
            Refusal::NotExecuted(reason) => match reason {
                NotExecutedReason::Overloaded => Trouble::Retry(Reason::NodeOverloaded),
                NotExecutedReason::Restarted => Trouble::Retry(Reason::Restarted),
                NotExecutedReason::Draining => {
                    self.directory.forget_leader(group, from);
                    Trouble::Retry(Reason::Draining)
                }
                NotExecutedReason::Predecessor => Trouble::Retry(Reason::Predecessor),
                NotExecutedReason::DiskFull => Trouble::Final(RouterError::DiskFull),
            },
            Refusal::OutcomeUnknown => Trouble::Retry(Reason::OutcomeUnknown),
            Refusal::Conflict { .. } => Trouble::Final(RouterError::Conflict),
            // The leader remembers nothing of a request this old, so nobody can ask again.
            Refusal::TooOld if flight.has_effect() => Trouble::Final(RouterError::OutcomeUnknown),
            Refusal::TooOld => Trouble::Final(RouterError::SnapshotTooOld),
            Refusal::Rejected { message } => Trouble::Final(RouterError::Rejected(message)),
            Refusal::Locked { locks } if flight.waits_for_locks() => Trouble::Locked(locks),
            Refusal::Locked { .. } => Trouble::Final(RouterError::Locked),
            Refusal::Ended(_) => Trouble::Final(RouterError::Ended),
            Refusal::Busy => Trouble::Retry(Reason::Busy),
            Refusal::StillWaits => Trouble::Final(RouterError::StillWaits),
            Refusal::Beyond => Trouble::Final(RouterError::Beyond),
        }
    }

    /// Sends again, together and in order, what may be sent again; gives up the rest.
    pub(super) fn retry(self: &std::sync::Arc<Self>, refused: Vec<Refused>, tally: &mut Tally) {
        let now = Instant::now();
        let snapshot = self.directory.load_full();
        let mut again = Vec::with_capacity(refused.len());
        let mut pause = None;
        let mut in_the_way = Vec::new();
        for Refused { mut flight, trouble } in refused {
            let reason = match trouble {
                Trouble::Final(error) => {
                    self.give_up(flight, error, tally);
                    continue;
                }
                Trouble::Contested { below, locks } => {
                    // A read beside others of its leg is ordered with none of them.
                    tokio::spawn(self.clone().settle_contested(flight, below, locks));
                    continue;
                }
                Trouble::Locked(locks) => {
                    in_the_way.extend(locks);
                    Reason::Locked
                }
                Trouble::Retry(reason) => reason,
            };
            if flight.bundle.is_abandoned() {
                self.give_up(flight, RouterError::Unavailable(reason), tally);
                continue;
            }
            self.metrics.retried(reason);
            let elsewhere = match reason {
                Reason::StaleRoute => !snapshot.is_current(&flight.request, flight.units),
                Reason::NotLeader | Reason::Draining | Reason::StreamBroken | Reason::Unreachable => {
                    flight.history.turn = flight.history.turn.wrapping_add(1);
                    true
                }
                // It goes with the one that was refused before it.
                Reason::Predecessor => true,
                Reason::NoRoute
                | Reason::NodeOverloaded
                | Reason::Restarted
                | Reason::OutcomeUnknown
                | Reason::NoAnswer
                | Reason::Locked
                | Reason::Busy => false,
            };
            let has_effect = flight.has_effect();
            let random = rand::random::<f64>();
            match self.limits.decide(&mut flight.history, reason, elsewhere, has_effect, now, random) {
                Next::Again(wanted) => {
                    if planted::is_on(Fault::RecomputeOnRetry) && flight.history.outcome_unknown {
                        flight.rename(self.sequences.give_out(1));
                    }
                    // The first one is the cause; the others come along.
                    pause.get_or_insert(wanted);
                    again.push(flight);
                }
                Next::GiveUp(error) => self.give_up(flight, error, tally),
            }
        }
        match pause {
            Some(Duration::ZERO) if in_the_way.is_empty() => self.dispatch(again, tally),
            Some(pause) => {
                let core = self.clone();
                tokio::spawn(async move {
                    core.unlock(in_the_way).await;
                    tokio::time::sleep(pause).await;
                    let mut tally = Tally::default();
                    core.dispatch(again, &mut tally);
                    core.settle(tally);
                });
            }
            None => {}
        }
    }

    /// Ends a flight without results. An earlier sending without proof outweighs what the last one said.
    pub(super) fn give_up(&self, flight: Flight, error: RouterError, tally: &mut Tally) {
        let error = if flight.history.outcome_unknown { RouterError::OutcomeUnknown } else { error };
        match &error {
            RouterError::OutcomeUnknown => self.metrics.outcome_unknown.increment(1),
            RouterError::Unavailable(_) => self.metrics.unavailable.increment(1),
            _ => {}
        }
        flight.finish(Err(error), tally);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RetryLimits = RetryLimits { refused: Duration::from_secs(10), unknown: Duration::from_secs(30) };

    fn history(submitted: Instant) -> History {
        History { submitted, refusals: 0, hops: 0, turn: 0, outcome_unknown: false }
    }

    #[test]
    fn it_goes_elsewhere_at_once_but_not_for_ever() {
        let now = Instant::now();
        let mut history = history(now);
        let mut pauses = Vec::new();
        for _ in 0..40 {
            match LIMITS.decide(&mut history, Reason::NotLeader, true, true, now, 1.0) {
                Next::Again(pause) => pauses.push(pause),
                Next::GiveUp(error) => panic!("gave up: {error}"),
            }
        }
        assert_eq!(&pauses[..3], [Duration::ZERO; 3]);
        assert!(pauses.chunks(4).all(|round| round[3] >= FIRST_PAUSE && round[3] <= LONGEST_PAUSE));
        assert_eq!(pauses.last(), Some(&LONGEST_PAUSE));
    }

    #[test]
    fn pauses_have_jitter_and_a_floor() {
        let now = Instant::now();
        for random in [0.0, 0.5, 0.999] {
            let next = LIMITS.decide(&mut history(now), Reason::NodeOverloaded, false, true, now, random);
            let Next::Again(pause) = next else { panic!("{next:?}") };
            assert!(pause >= FIRST_PAUSE / 2 && pause <= FIRST_PAUSE, "{pause:?}");
        }
    }

    #[test]
    fn an_unknown_outcome_is_never_called_a_refusal() {
        let start = Instant::now();
        let mut history = history(start);
        let late = start + Duration::from_secs(11);
        let decide = |history: &mut History, reason, now| LIMITS.decide(history, reason, false, true, now, 0.0);
        assert!(matches!(decide(&mut history, Reason::StreamBroken, start), Next::Again(_)));
        assert!(matches!(decide(&mut history, Reason::NodeOverloaded, late), Next::Again(_)), "asks for 30 s");
        let end = start + Duration::from_secs(30);
        assert_eq!(decide(&mut history, Reason::NodeOverloaded, end), Next::GiveUp(RouterError::OutcomeUnknown));
    }

    #[test]
    fn what_had_no_effect_is_given_up_earlier_and_so_are_reads() {
        let start = Instant::now();
        let late = start + Duration::from_secs(10);
        for (reason, is_exec) in [(Reason::NotLeader, true), (Reason::StreamBroken, false)] {
            let next = LIMITS.decide(&mut history(start), reason, true, is_exec, late, 0.0);
            assert_eq!(next, Next::GiveUp(RouterError::Unavailable(reason)));
        }
    }
}
