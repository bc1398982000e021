//! The search for an order, for any [`Model`].
//!
//! Wing and Gong ("Testing and verifying concurrent objects", 1993): walk along calls and returns in time; an operation
//! whose call has been reached may be put next in the order if the model allows it; a return that is reached before its
//! operation is in the order is a *wall*: something has to be put before it. Lowe ("Testing for linearizability", 2017):
//! what was tried is remembered as (operations in the order, state), so that no dead end is entered twice. On top of that,
//! these keep the number of choices small:
//!
//! 1. An operation that only looks, and fits, is put into the order at once and without an alternative. If any order works
//!    from here, then so does the one in which this operation has been moved to the front: nobody sees the difference, and it
//!    is not moved before anything that was over when it was called.
//! 2. What needs the state as it is now is tried first, since what is possible in any state can wait. Among the rest the
//!    urgent is tried first: what must return soon, or leaves a state that is needed soon. Operations of unknown outcome have
//!    no return, so there is no hurry with them unless nobody else can leave a state that is needed.
//! 3. One of unknown outcome that would leave the state as it is need not happen now. Of several with equal actions the
//!    one called first goes first, since any other could take its place. What [`Model::traceless`] names is left out.
//! 4. A state is not left while somebody needs it and nobody can bring it back in time (`demand`).
//!
//! The set of operations in the order is remembered as a 128-bit sum of random numbers, one for each operation (Zobrist,
//! 1970), so that remembering costs the same in a long history. Two sets could share a sum, with a probability of 2^-90 in
//! the largest search; it would refuse a good history, never pass a bad one.
//!
//! The problem is NP-complete, so there are histories that no search gets through. This one stops at a limit and says so.

use std::collections::{HashMap, HashSet};

use super::demand::Demand;
use super::timeline::Timeline;
use super::{Footprint, Leaves, Model, Refusal, Violation};
use crate::history::{Operation, Outcome};

type OperationOf<M> = Operation<<M as Model>::Action, <M as Model>::Answer>;

/// States that an explanation lists at most, and operations of each kind.
const LISTED_STATES: usize = 4;
const LISTED_BEFORE: usize = 4;
const LISTED_OVERLAPPING: usize = 12;

/// One step into the order.
#[derive(Clone, Copy)]
enum Choice {
    /// This answered operation.
    Answered(usize),
    /// The next one of this class of operations of unknown outcome.
    Lost(usize),
}

/// Operations of unknown outcome with equal actions, by the instant of their call.
struct LostClass<'a, M: Model> {
    members: Vec<&'a OperationOf<M>>,
    /// Key of the first member; the others follow.
    first_key: usize,
    /// How many are in the order.
    taken: usize,
}

/// A place to come back to.
struct Fork<S> {
    /// Length of the order here.
    depth: usize,
    /// Where the choices that are left begin.
    choices_from: usize,
    state: S,
    wall: usize,
}

/// The furthest wall that was met, and how things stood there.
struct Furthest<'a, M: Model> {
    wall: usize,
    states: Vec<M::State>,
    before: Vec<&'a OperationOf<M>>,
    /// States that could not be left, and who needs them.
    held: Vec<(M::State, &'a OperationOf<M>)>,
}

/// The state of the search: an order so far, and where it can be changed.
pub(super) struct Search<'a, M: Model> {
    model: &'a M,
    answered: Vec<&'a OperationOf<M>>,
    /// Whether the answered operation cannot change the state.
    only_looks: Vec<bool>,
    /// Whether the answered operation is possible in many states.
    blind: Vec<bool>,
    demand: Demand<M::State>,
    lost: Vec<LostClass<'a, M>>,
    timeline: Timeline,
    state: M::State,
    /// What is in the order, and its sum.
    order: Vec<(Choice, &'a OperationOf<M>)>,
    sum: u128,
    forks: Vec<Fork<M::State>>,
    /// Choices of all forks, one fork after the other, the best of each last.
    choices: Vec<Choice>,
    seen: HashSet<(u128, M::State)>,
    furthest: Option<Furthest<'a, M>>,
}

impl<'a, M: Model> Search<'a, M> {
    /// A search over one object's history.
    pub(super) fn new(model: &'a M, history: &'a [OperationOf<M>]) -> Self {
        let mut answered: Vec<_> = history.iter().filter(|operation| operation.answer().is_some()).collect();
        answered.sort_by_key(|operation| operation.invoked());
        let end = |operation: &OperationOf<M>| operation.completed().unwrap_or(u64::MAX);
        let spans: Vec<_> = answered.iter().map(|operation| (operation.invoked(), end(operation))).collect();
        let lost = lost_classes(model, history, answered.len());
        let footprint = |operation: &OperationOf<M>| model.footprint(operation.action(), operation.answer());
        let keyed = answered.iter().copied().enumerate();
        let lost_keyed = lost.iter().flat_map(|class| (class.first_key..).zip(class.members.iter().copied()));
        let demand = Demand::of(
            keyed
                .chain(lost_keyed)
                .map(|(key, operation)| (key, operation.invoked(), operation.completed(), footprint(operation))),
        );
        Self {
            model,
            only_looks: answered.iter().map(|operation| only_looks(&footprint(operation))).collect(),
            blind: answered.iter().map(|operation| footprint(operation).needs.is_none()).collect(),
            demand,
            lost,
            timeline: Timeline::of(&spans),
            answered,
            state: model.initial(),
            order: Vec::new(),
            sum: 0,
            forks: Vec::new(),
            choices: Vec::new(),
            seen: HashSet::new(),
            furthest: None,
        }
    }

    /// Finds an order, or proves that there is none, or gives up after so many configurations.
    pub(super) fn run(mut self, limit: usize) -> Result<(), Refusal> {
        while let Some(wall) = self.take_what_changes_nothing() {
            if self.seen.insert((self.sum, self.state.clone())) {
                if self.seen.len() > limit {
                    return Err(Refusal::GaveUp { configurations: limit });
                }
                self.note(wall);
                self.fork(wall);
            }
            if !self.step() {
                return Err(Refusal::Violation(Box::new(self.explain())));
            }
        }
        Ok(())
    }

    /// Rule 1. Gives the wall, or none if every answered operation is in the order.
    fn take_what_changes_nothing(&mut self) -> Option<usize> {
        let mut at = self.timeline.head();
        while let Some(event) = self.timeline.after(at) {
            if self.timeline.is_return(event) {
                return Some(event);
            }
            let index = self.timeline.operation(event);
            if self.only_looks[index] && self.next(Choice::Answered(index)).is_some() {
                // Everything before it stays as it is; its return may have been the wall.
                at = self.timeline.before(event);
                self.take(Choice::Answered(index));
            } else {
                at = event;
            }
        }
        None
    }

    /// Lists what could come next before the wall.
    fn fork(&mut self, wall: usize) {
        let wall_at = self.answered[self.timeline.operation(wall)].completed();
        let mut found: Vec<(bool, u64, u64, Choice)> = Vec::new();
        for class in 0..self.lost.len() {
            let next_member = self.lost[class].members.get(self.lost[class].taken);
            if next_member.is_none_or(|member| Some(member.invoked()) > wall_at) {
                continue;
            }
            if let Some(next) = self.next(Choice::Lost(class)).filter(|next| *next != self.state) {
                let urgent = self.demand.needed_of_lost_by(&next).unwrap_or(u64::MAX);
                found.push((true, urgent, u64::MAX, Choice::Lost(class)));
            }
        }
        let mut at = self.timeline.head();
        while let Some(event) = self.timeline.after(at).filter(|event| *event != wall) {
            let index = self.timeline.operation(event);
            if let Some(next) = self.next(Choice::Answered(index)) {
                let over = self.answered[index].completed().unwrap_or(u64::MAX);
                let urgent = self.demand.needed_by(&next).unwrap_or(u64::MAX).min(over);
                found.push((self.blind[index], urgent, over, Choice::Answered(index)));
            }
            at = event;
        }
        // The best of a fork is the last.
        found.sort_by_key(|(blind, urgent, over, _)| std::cmp::Reverse((*blind, *urgent, *over)));
        let choices_from = self.choices.len();
        self.choices.extend(found.into_iter().map(|(_, _, _, choice)| choice));
        self.forks.push(Fork { depth: self.order.len(), choices_from, state: self.state.clone(), wall });
    }

    /// Goes back to the last fork with a choice left and takes it; false if there is none.
    fn step(&mut self) -> bool {
        while let Some(fork) = self.forks.last() {
            let (depth, choices_from, wall) = (fork.depth, fork.choices_from, fork.wall);
            self.state = fork.state.clone();
            while self.order.len() > depth {
                self.untake();
            }
            if self.choices.len() > choices_from {
                let choice = self.choices.pop().expect("a choice is left at this fork");
                let next = self.next(choice).expect("a choice fits the state of its fork");
                self.take(choice);
                // Rule 4. What left the state is in the order already, so it is not asked for itself.
                let holder = if next == self.state { None } else { self.demand.holds(&self.state) };
                match holder {
                    None => {
                        self.state = next;
                        return true;
                    }
                    Some(who) => self.note_held(wall, who),
                }
            } else {
                self.forks.pop();
            }
        }
        false
    }

    fn next(&self, choice: Choice) -> Option<M::State> {
        let operation = self.operation(choice);
        self.model.next(&self.state, operation.action(), operation.answer())
    }

    /// For a class: the next member.
    fn operation(&self, choice: Choice) -> &'a OperationOf<M> {
        match choice {
            Choice::Answered(index) => self.answered[index],
            Choice::Lost(class) => self.lost[class].members[self.lost[class].taken],
        }
    }

    /// The number under which an operation is remembered; for a class that of the next member.
    fn key(&self, choice: Choice) -> usize {
        match choice {
            Choice::Answered(index) => index,
            Choice::Lost(class) => self.lost[class].first_key + self.lost[class].taken,
        }
    }

    fn take(&mut self, choice: Choice) {
        let key = self.key(choice);
        self.order.push((choice, self.operation(choice)));
        self.sum ^= random(key);
        self.demand.take(key);
        match choice {
            Choice::Answered(index) => self.timeline.lift(index),
            Choice::Lost(class) => self.lost[class].taken += 1,
        }
    }

    fn untake(&mut self) {
        let (choice, _) = self.order.pop().expect("what is undone is in the order");
        match choice {
            Choice::Answered(index) => self.timeline.restore(index),
            Choice::Lost(class) => self.lost[class].taken -= 1,
        }
        let key = self.key(choice);
        self.sum ^= random(key);
        self.demand.untake(key);
    }

    /// Remembers the furthest wall: if no order is found, it is the one that nothing gets past.
    fn note(&mut self, wall: usize) {
        match &mut self.furthest {
            Some(furthest) if furthest.wall > wall => {}
            Some(furthest) if furthest.wall == wall => {
                if furthest.states.len() < LISTED_STATES && !furthest.states.contains(&self.state) {
                    furthest.states.push(self.state.clone());
                }
            }
            _ => {
                let last = &self.order[self.order.len().saturating_sub(LISTED_BEFORE)..];
                let before = last.iter().map(|(_, operation)| *operation).collect();
                self.furthest = Some(Furthest { wall, states: vec![self.state.clone()], before, held: Vec::new() });
            }
        }
    }

    /// Remembers who did not let the state be left, if it was at the furthest wall.
    fn note_held(&mut self, wall: usize, who: usize) {
        let Some(furthest) = self.furthest.as_mut().filter(|furthest| furthest.wall == wall) else { return };
        let known = furthest.held.iter().any(|(state, _)| *state == self.state);
        if !known && furthest.held.len() < LISTED_STATES {
            furthest.held.push((self.state.clone(), self.answered[who]));
        }
    }

    /// Called with everything undone.
    fn explain(&self) -> Violation {
        let furthest = self.furthest.as_ref().expect("only a wall ends a search");
        let stuck = self.answered[self.timeline.operation(furthest.wall)];
        let lost = self.lost.iter().flat_map(|class| &class.members);
        let mut overlapping: Vec<_> = self
            .answered
            .iter()
            .chain(lost)
            .filter(|other| !std::ptr::eq(**other, stuck) && !other.precedes(stuck) && !stuck.precedes(other))
            .collect();
        // Of many, those called last are the likelier cause.
        overlapping.sort_by_key(|other| std::cmp::Reverse(other.invoked()));
        let left_out = overlapping.len().saturating_sub(LISTED_OVERLAPPING);
        overlapping.truncate(LISTED_OVERLAPPING);
        overlapping.reverse();
        let mut evidence: Vec<_> = overlapping.into_iter().map(|other| format!("at the same time: {other}")).collect();
        if left_out > 0 {
            evidence.push(format!("at the same time: {left_out} others, called earlier"));
        }
        evidence.extend(furthest.before.iter().map(|operation| format!("in the order before: {operation}")));
        evidence.extend(furthest.states.iter().map(|state| format!("state that was tried: {state:?}")));
        let held = furthest.held.iter().map(|(state, who)| format!("{state:?} cannot be left, it is needed by: {who}"));
        evidence.extend(held);
        if furthest.states.len() == LISTED_STATES {
            evidence.push("and maybe further states".to_owned());
        }
        Violation { what: format!("no order of the operations makes this one possible: {stuck}"), evidence }
    }
}

fn only_looks<S: PartialEq>(Footprint { needs, leaves }: &Footprint<S>) -> bool {
    match leaves {
        Leaves::AsItWas => true,
        Leaves::This(state) => needs.as_ref() == Some(state),
        Leaves::Unsaid => false,
    }
}

/// Rule 3.
fn lost_classes<'a, M: Model>(model: &M, history: &'a [OperationOf<M>], first_key: usize) -> Vec<LostClass<'a, M>> {
    let traceless = model.traceless(history);
    let counts = |operation: &OperationOf<M>| {
        let action = operation.action();
        let looks = || only_looks(&model.footprint(action, None));
        matches!(operation.outcome(), Outcome::Unknown) && !looks() && !traceless(action)
    };
    let mut lost: Vec<_> = history.iter().filter(|operation| counts(operation)).collect();
    lost.sort_by_key(|operation| operation.invoked());
    let mut class_of: HashMap<&M::Action, usize> = HashMap::new();
    let mut classes: Vec<LostClass<'a, M>> = Vec::new();
    for operation in lost {
        let class = *class_of.entry(operation.action()).or_insert(classes.len());
        if class == classes.len() {
            classes.push(LostClass { members: Vec::new(), first_key: 0, taken: 0 });
        }
        classes[class].members.push(operation);
    }
    let mut key = first_key;
    for class in &mut classes {
        class.first_key = key;
        key += class.members.len();
    }
    classes
}

/// A number for an operation that looks random, the same in every run: two rounds of SplitMix64 (Steele, Lea and Flood,
/// "Fast splittable pseudorandom number generators", 2014).
fn random(key: usize) -> u128 {
    let mix = |seed: u64| {
        let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u128::from(z ^ (z >> 31))
    };
    let key = key as u64;
    mix(2 * key + 1) << 64 | mix(2 * key + 2)
}
