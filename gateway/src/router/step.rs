//! Steps of transactions over several groups, as requests of the router.
//!
//! What a coordinator does in which order is its own affair ([`crate::txn`]); here is how each step is said and what
//! can be answered. Every step may be repeated: so the router sends a step whose outcome is unknown again, the same
//! bytes, as it does with an `Exec`.
//!
//! The sequence that names a transaction is a [`Reservation`]. Everybody who may still send a step holds it, the
//! router's own flights included; when the last one lets go, the groups may forget the transaction.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use commands::{Command, Outcome};
use keyspace::{KeyRange, RequestId, TransactionId, Version};
use prost::Message;
use proto::{Participant, TransactionStatus, wire};

use super::bundle::{Answered, Prepared};
use super::results::results_of;
use super::wire::{all_outcomes, command_bytes, command_to_wire, observed_to_wire};
use super::{Core, Router, RouterError};

/// A sequence of this gateway that stays unfinished until this is dropped.
pub struct Reservation {
    core: Arc<Core>,
    request: RequestId,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.core.sequences.finish(&[self.request.sequence]);
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reservation").field(&self.request).finish()
    }
}

/// The name of a transaction, and the steps that carry it.
#[derive(Clone, Debug)]
pub struct Transaction {
    id: TransactionId,
    /// Smallest unit named in the request.
    anchor: Bytes,
    /// `None` for the transaction of another coordinator, whose locks are in somebody's way.
    reservation: Option<Arc<Reservation>>,
}

/// What a prewrite shall do. See `Prewrite` in `transaction.proto`.
#[derive(Clone, Debug, Default)]
pub struct Prewrite {
    /// Units of one group, to be locked.
    pub units: Vec<Bytes>,
    /// Units among them that are spans, and their keys.
    pub spans: BTreeMap<Bytes, KeyRange>,
    /// At the anchor's group, without a Begin before: every unit that the transaction may lock.
    pub participants: Vec<Bytes>,
    /// Versions that must still hold.
    pub observed: Vec<(Bytes, Option<Version>)>,
    /// Evaluated by the group.
    pub commands: Vec<Command>,
    /// Records as they will be; `None`: removed.
    pub intents: Vec<(Bytes, Option<Bytes>)>,
    /// Waits for the locks of others.
    pub waits: bool,
    /// Locks exclusively also what is not written.
    pub exclusive: bool,
}

/// The answer to a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Transacted {
    /// A prewrite: every unit of it is locked.
    Prepared {
        /// The p of the locks.
        prepared: Version,
        /// Of the commands.
        outcomes: Vec<Outcome>,
    },
    /// A step at the anchor: what is decided.
    Status(TransactionStatus),
    /// A Resolve.
    Resolved,
}

impl Transacted {
    /// An answer to `step`, if it is one.
    pub(super) fn read(step: &wire::Transact, transacted: wire::Transacted) -> Result<Self, RouterError> {
        use wire::transact::Step;
        use wire::transacted::Answer;
        let answer = transacted.answer.ok_or_else(|| RouterError::Protocol("a step without answer".into()))?;
        Ok(match (step.step.as_ref(), answer) {
            (Some(Step::Prewrite(prewrite)), Answer::Prepared(vote)) => {
                let results = vote.results.unwrap_or_default();
                let prepared = vote.prepared.ok_or_else(|| RouterError::Protocol("a vote without version".into()))?;
                let outcomes = super::wire::outcomes(results, prewrite.commands.len())?;
                Transacted::Prepared { prepared: prepared.into(), outcomes }
            }
            (Some(Step::Resolve(_)), Answer::Resolved(wire::Unit {})) => Transacted::Resolved,
            (Some(Step::Prewrite(_) | Step::Resolve(_)) | None, _) | (Some(_), Answer::Prepared(_)) => {
                return Err(RouterError::Protocol("the answer to another step".into()));
            }
            (Some(_), Answer::Status(status)) => {
                let status = TransactionStatus::try_from(status);
                Transacted::Status(status.map_err(|error| RouterError::Protocol(error.to_string()))?)
            }
            (Some(_), Answer::Resolved(_)) => {
                return Err(RouterError::Protocol("the answer to another step".into()));
            }
        })
    }
}

impl Transaction {
    /// The transaction of somebody else.
    pub(super) fn of_another(id: TransactionId, anchor: Bytes) -> Self {
        Self { id, anchor, reservation: None }
    }

    /// Its name.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// Where it is decided.
    pub fn anchor(&self) -> &Bytes {
        &self.anchor
    }

    /// The next attempt. Whoever asks for it must know from the anchor that this one is aborted.
    pub fn next_attempt(&self) -> Self {
        let id = TransactionId { attempt: self.id.attempt + 1, ..self.id };
        Self { id, ..self.clone() }
    }

    /// Makes the record, Pending.
    pub fn begin(&self, participants: &[Bytes]) -> Prepared {
        let payload = participants.iter().map(Bytes::len).sum();
        let begin = wire::Begin { first_e: 0, participants: participants.to_vec() };
        self.at_anchor(wire::transact::Step::Begin(begin), payload)
    }

    /// Evaluates and locks.
    pub fn prewrite(&self, prewrite: Prewrite) -> Prepared {
        let Prewrite { mut units, spans, participants, observed, commands, intents, waits, exclusive } = prewrite;
        let commands: Vec<wire::Command> = commands.into_iter().map(command_to_wire).collect();
        let written = |(key, value): &(Bytes, Option<Bytes>)| key.len() + value.as_ref().map_or(0, Bytes::len);
        let payload = commands.iter().map(command_bytes).sum::<usize>()
            + intents.iter().map(written).sum::<usize>()
            + participants.iter().map(Bytes::len).sum::<usize>();
        let mut prewrite = wire::Prewrite {
            first_e: 0,
            participants,
            observed: observed_to_wire(observed),
            commands,
            intents: intents.into_iter().map(|(key, value)| wire::Intent { key, value }).collect(),
            waits,
            exclusive,
            fingerprint: 0,
        };
        let mut hasher = DefaultHasher::new();
        units.iter().for_each(|unit| hasher.write(unit));
        hasher.write(&prewrite.encode_to_vec());
        prewrite.fingerprint = hasher.finish();
        units.retain(|unit| !spans.contains_key(unit));
        let spans = spans.into_values().collect();
        self.step(wire::transact::Step::Prewrite(prewrite), units, spans, payload)
    }

    /// The decision. `outcomes` are what the client will be answered. `here`, with the anchor, are the participants in
    /// the anchor's group: it resolves them with the decision, or refuses when they lie elsewhere by now.
    pub fn commit(&self, participants: Vec<Participant>, here: Vec<Bytes>, outcomes: &[Outcome]) -> Prepared {
        debug_assert!(here.contains(&self.anchor), "the anchor decides");
        let payload = participants.iter().map(|participant| participant.unit.len() + 32).sum();
        let commit = wire::Commit {
            participants: participants.into_iter().map(Into::into).collect(),
            response: Some(results_of(outcomes)),
        };
        self.step(wire::transact::Step::Commit(commit), here, Vec::new(), payload)
    }

    /// Absent or Pending → Aborted.
    pub fn abort(&self) -> Prepared {
        self.at_anchor(wire::transact::Step::Abort(wire::Abort { only_dead: false }), 0)
    }

    /// The same if nobody coordinates it any more.
    pub fn abort_if_dead(&self) -> Prepared {
        self.at_anchor(wire::transact::Step::Abort(wire::Abort { only_dead: true }), 0)
    }

    /// Ends the locks on units of one group; `committed_at` is `None` when it is aborted.
    pub fn resolve(&self, committed_at: Option<Version>, participants: Vec<Participant>) -> Prepared {
        let units: Vec<Bytes> = participants.iter().map(|participant| participant.unit.clone()).collect();
        let payload = units.len() * 32;
        let resolve = wire::Resolve {
            committed_at: committed_at.map(Into::into),
            participants: participants.into_iter().map(Into::into).collect(),
        };
        self.step(wire::transact::Step::Resolve(resolve), units, Vec::new(), payload)
    }

    /// Every participant has resolved.
    pub fn forget(&self) -> Prepared {
        self.at_anchor(wire::transact::Step::Forget(wire::Forget {}), 0)
    }

    /// Its coordinator lives.
    pub fn heartbeat(&self) -> Prepared {
        self.at_anchor(wire::transact::Step::Heartbeat(wire::Heartbeat {}), 0)
    }

    /// What is decided?
    pub fn inquire(&self) -> Prepared {
        self.at_anchor(wire::transact::Step::Inquire(wire::Inquire {}), 0)
    }

    fn at_anchor(&self, step: wire::transact::Step, payload: usize) -> Prepared {
        self.step(step, vec![self.anchor.clone()], Vec::new(), payload)
    }

    fn step(&self, step: wire::transact::Step, units: Vec<Bytes>, spans: Vec<KeyRange>, payload: usize) -> Prepared {
        let transact = wire::Transact { txn: Some(self.id.into()), anchor: self.anchor.clone(), step: Some(step) };
        Prepared::step(transact, units, spans, payload, self.reservation.clone())
    }
}

impl Router {
    /// A transaction of a new request, in its first attempt.
    pub fn begin_transaction(&self, anchor: Bytes) -> Transaction {
        let request = RequestId { incarnation: self.core.incarnation, sequence: self.core.sequences.give_out(1) };
        let reservation = Reservation { core: self.core.clone(), request };
        Transaction { id: TransactionId { request, attempt: 1 }, anchor, reservation: Some(Arc::new(reservation)) }
    }

    /// Takes steps at the same time; the answers come all together. Dropping the future gives up the repetitions.
    pub async fn steps(&self, steps: Vec<Prepared>) -> Vec<Result<Transacted, RouterError>> {
        let completion = self.submit(0, steps);
        let answers = std::future::poll_fn(|context| completion.poll_answered(context)).await;
        let transacted = |answered: Result<Answered, RouterError>| match answered? {
            Answered::Transacted(transacted) => Ok(transacted),
            Answered::Outcomes(_) => Err(RouterError::Protocol("commands among steps".into())),
        };
        answers.into_iter().map(transacted).collect()
    }

    /// Takes one step.
    pub async fn step(&self, step: Prepared) -> Result<Transacted, RouterError> {
        self.steps(vec![step]).await.pop().expect("a bundle has an answer for each request")
    }

    /// Takes a step at the anchor, which answers what is decided.
    pub async fn ask_anchor(&self, step: Prepared) -> Result<TransactionStatus, RouterError> {
        match self.step(step).await? {
            Transacted::Status(status) => Ok(status),
            Transacted::Prepared { .. } | Transacted::Resolved => {
                Err(RouterError::Protocol("an anchor that does not say what is decided".into()))
            }
        }
    }
}

/// The stored answer of a committed transaction.
pub fn stored_response(status: TransactionStatus) -> Result<Vec<Outcome>, RouterError> {
    all_outcomes(status.response)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn transaction() -> Transaction {
        let request = RequestId { incarnation: 7, sequence: 1 };
        Transaction::of_another(TransactionId { request, attempt: 1 }, Bytes::from_static(b"a"))
    }

    fn fingerprint(prewrite: Prewrite) -> u64 {
        let step = transaction().prewrite(prewrite).step.unwrap();
        let Some(wire::transact::Step::Prewrite(prewrite)) = step.step else { panic!("not a prewrite") };
        prewrite.fingerprint
    }

    #[test]
    fn a_fingerprint_tells_prewrites_apart() {
        let prewrite = |waits, value: &'static str| Prewrite {
            units: vec![Bytes::from_static(b"a")],
            intents: vec![(Bytes::from_static(b"a"), Some(Bytes::from_static(value.as_bytes())))],
            waits,
            ..Prewrite::default()
        };
        assert_eq!(fingerprint(prewrite(true, "1")), fingerprint(prewrite(true, "1")));
        assert_ne!(fingerprint(prewrite(true, "1")), fingerprint(prewrite(false, "1")));
        assert_ne!(fingerprint(prewrite(true, "1")), fingerprint(prewrite(true, "2")));
    }

    #[test]
    fn answers_belong_to_their_steps() {
        let of = |prepared: Prepared| *prepared.step.unwrap();
        let answer = |answer| wire::Transacted { answer: Some(answer) };
        let status = answer(wire::transacted::Answer::Status(wire::TransactionStatus::default()));
        let resolved = answer(wire::transacted::Answer::Resolved(wire::Unit {}));
        let txn = transaction();
        assert!(Transacted::read(&of(txn.inquire()), status.clone()).is_ok());
        assert!(Transacted::read(&of(txn.inquire()), resolved.clone()).is_err());
        assert!(
            Transacted::read(&of(txn.prewrite(Prewrite { units: vec!["a".into()], ..Prewrite::default() })), status)
                .is_err()
        );
        let participants = vec![Participant { unit: "a".into(), prepared: Version::MIN }];
        assert_eq!(Transacted::read(&of(txn.resolve(None, participants)), resolved), Ok(Transacted::Resolved));
    }
}
