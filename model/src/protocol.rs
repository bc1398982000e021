//! The protocol as a transition system: which steps a state offers, and what each does.
//!
//! A step is one message handled by one group, together with the reply if the sender hears it, or a step that a
//! gateway takes on its own. Steps are grouped as the protocol groups them: [`crate::prewrite`], [`crate::commit`],
//! [`crate::resolve`], [`crate::coordinate`], [`crate::read`]. Each is a function from a state to the next, or to none
//! when there is nothing to do; so a duplicate that changes nothing costs nothing.

use stateright::{Model, Property};

use crate::fault::Fault;
use crate::scene::{Access, Request, Scene, Work};
use crate::state::{ATTEMPTS, PLACES, Place, State, TxnId};
use crate::{laws, sights};

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A coordinator reads a key for its computation.
    Look(usize),
    /// The anchor creates the record, without a lock.
    Begin(TxnId),
    /// A prewrite is granted. The vote is heard, or lost.
    Prewrite {
        /// Whose.
        txn: TxnId,
        /// Where.
        place: Place,
        /// Whether the coordinator hears the vote.
        heard: bool,
    },
    /// A prewrite is repeated, and the stored vote is heard.
    HearVote(TxnId, Place),
    /// Intents are put into a lock, and the coordinator hears of it.
    Fill(TxnId, Place),
    /// A coordinator stops waiting for votes, or hears a refusal: it sends Abort.
    GiveUp(usize),
    /// The anchor handles a Commit.
    Commit(TxnId),
    /// The anchor handles an Abort: of the coordinator, of whoever met a lock, or of its own sweep.
    Abort(TxnId),
    /// A participant learns that the transaction is committed.
    Resolve(TxnId, Place),
    /// A participant learns that the transaction has no effect any more.
    Drop(TxnId, Place),
    /// The anchor's floor passes a request.
    PassFloor(usize),
    /// A coordinator hears how its transaction ended.
    Hear(usize),
    /// A coordinator hears the stored response of the request.
    HearDedup(usize),
    /// A coordinator begins another attempt without knowing how the last one ended: only under a fault.
    Misbehave(usize),
    /// A gateway dies.
    Crash(usize),
    /// A read under S locks ends itself, and hears whether it was in time.
    EndLockedRead(usize),
    /// A group executes a single-group request.
    Execute(usize),
    /// A read takes its next look.
    Read(usize),
    /// A read asks the anchor about the lock that it met.
    Ask(usize),
}

/// What a check looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// A law that does not hold, anywhere.
    Laws,
    /// The sights of the scene, until all have been seen.
    Sights,
}

/// The protocol, playing a scene.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// Who plays.
    pub scene: Scene,
    /// The mistake in it, if any.
    pub fault: Option<Fault>,
    /// What is looked for.
    pub goal: Goal,
}

impl Protocol {
    /// The protocol as it should be.
    pub fn healthy(scene: Scene) -> Self {
        Self { scene, fault: None, goal: Goal::Laws }
    }

    /// The protocol with a mistake.
    pub fn broken(scene: Scene, fault: Fault) -> Self {
        Self { scene, fault: Some(fault), goal: Goal::Laws }
    }

    /// Whether this mistake is in it.
    pub fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// The request of a transaction.
    pub fn request_of(&self, txn: TxnId) -> &Request {
        &self.scene.requests[txn.request()]
    }

    /// The group of a transaction's anchor.
    pub fn anchor_of(&self, txn: TxnId) -> Place {
        self.request_of(txn).anchor
    }

    /// Where a transaction takes part.
    pub fn participants(&self, txn: TxnId) -> impl Iterator<Item = Place> {
        let request = self.request_of(txn);
        PLACES.into_iter().filter(|&place| request.access(place) != Access::Nothing)
    }

    /// Whether it is a transaction at all: with a record and locks.
    pub fn has_record(&self, txn: TxnId) -> bool {
        self.participants(txn).next().is_some()
    }

    /// Whether it writes this key.
    pub fn writes(&self, txn: TxnId, place: Place) -> bool {
        match self.request_of(txn).work {
            Work::Exec(at) => at == place,
            _ => self.request_of(txn).access(place).writes(),
        }
    }

    /// Whether the request is a transaction that writes.
    pub fn is_transaction(&self, request: usize) -> bool {
        matches!(self.scene.requests[request].work, Work::Transaction(_))
    }

    /// Whether the request has an effect.
    pub fn has_effect(&self, request: usize) -> bool {
        matches!(self.scene.requests[request].work, Work::Transaction(_) | Work::Exec(_))
    }

    /// The request itself, or the one that it repeats.
    pub fn origin(&self, request: usize) -> usize {
        self.scene.requests[request].repeats.unwrap_or(request)
    }

    /// The key of its dedup record: the request, or the one that it repeats.
    pub fn dedup_key(&self, txn: TxnId) -> TxnId {
        let request = self.origin(txn.request());
        let as_new = txn.attempt() > 0 && self.has(Fault::RecomputeAfterUnknown);
        TxnId::new(request, if as_new { txn.attempt() } else { 0 })
    }

    /// The transactions that a request can have.
    pub fn txns_of(&self, request: usize) -> impl Iterator<Item = TxnId> {
        (0..ATTEMPTS).map(move |attempt| TxnId::new(request, attempt))
    }

    /// All transactions of the scene.
    pub fn txns(&self) -> impl Iterator<Item = TxnId> {
        (0..self.scene.requests.len()).flat_map(|request| self.txns_of(request))
    }

    /// The next state, if the step does anything.
    pub fn take(&self, state: &State, step: Step) -> Option<State> {
        let mut next = match step {
            Step::Look(request) => self.look(state, request),
            Step::Begin(txn) => self.begin(state, txn),
            Step::Prewrite { txn, place, heard } => self.prewrite(state, txn, place, heard),
            Step::HearVote(txn, place) => self.hear_vote(state, txn, place),
            Step::Fill(txn, place) => self.fill(state, txn, place),
            Step::GiveUp(request) => self.give_up(state, request),
            Step::Commit(txn) => self.commit(state, txn),
            Step::Abort(txn) => self.abort(state, txn),
            Step::Resolve(txn, place) => self.resolve(state, txn, place),
            Step::Drop(txn, place) => self.drop_lock(state, txn, place),
            Step::PassFloor(request) => self.pass_floor(state, request),
            Step::Hear(request) => self.hear(state, request),
            Step::HearDedup(request) => self.hear_dedup(state, request),
            Step::Misbehave(request) => self.misbehave(state, request),
            Step::Crash(request) => self.crash(state, request),
            Step::EndLockedRead(request) => self.end_locked_read(state, request),
            Step::Execute(request) => self.execute(state, request),
            Step::Read(request) => self.read(state, request),
            Step::Ask(request) => self.ask(state, request),
        }?;
        self.collect(&mut next);
        Some(next)
    }

    /// What may happen to a transaction, or to what is left of its earlier attempts.
    fn offer_transaction(&self, state: &State, request: usize, steps: &mut Vec<Step>) {
        steps.extend([
            Step::Look(request),
            Step::GiveUp(request),
            Step::Hear(request),
            Step::HearDedup(request),
            Step::Misbehave(request),
            Step::Crash(request),
            Step::EndLockedRead(request),
            Step::PassFloor(request),
        ]);
        for txn in self.txns_of(request).take(usize::from(state.clients[request].attempt) + 1) {
            steps.extend([Step::Begin(txn), Step::Commit(txn), Step::Abort(txn)]);
            for place in self.participants(txn) {
                steps.extend([
                    Step::Prewrite { txn, place, heard: true },
                    Step::Prewrite { txn, place, heard: false },
                    Step::HearVote(txn, place),
                    Step::Fill(txn, place),
                    Step::Resolve(txn, place),
                    Step::Drop(txn, place),
                ]);
            }
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for (request, asked) in self.scene.requests.iter().enumerate() {
            match asked.work {
                Work::Exec(_) => steps.extend([Step::Execute(request), Step::PassFloor(request)]),
                Work::PointRead(_) | Work::Scan => steps.extend([Step::Read(request), Step::Ask(request)]),
                Work::PairRead => steps.push(Step::Read(request)),
                Work::Transaction(_) | Work::LockedRead => self.offer_transaction(state, request, steps),
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        self.take(state, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        match self.goal {
            Goal::Laws => laws::LAWS.into_iter().map(|(name, holds)| Property::always(name, holds)).collect(),
            Goal::Sights => self.scene.sights.iter().map(|sight| sights::property(*sight)).collect(),
        }
    }
}
