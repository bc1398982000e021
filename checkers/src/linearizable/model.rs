//! What an object does when operations come one at a time: all that the search needs to know of it.

use std::fmt::Debug;
use std::hash::Hash;

use crate::history::Operation;

/// What can be said of an operation without knowing the state it finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint<S> {
    /// The one state in which it is possible; none if there may be several.
    pub needs: Option<S>,
    /// What it leaves behind.
    pub leaves: Leaves<S>,
}

/// The state behind an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaves<S> {
    /// The state before it, whatever it was: the operation only looks.
    AsItWas,
    /// Always this one.
    This(S),
    /// It depends.
    Unsaid,
}

/// An object's behaviour, one operation after the other.
///
/// A model is a pure function. It need not be deterministic about answers, but an action, its answer and a state give at
/// most one next state.
pub trait Model {
    /// Everything the object remembers. States that no operation can tell apart should be equal: that keeps the search
    /// small.
    type State: Clone + Eq + Hash + Debug;
    /// What can be asked. Equal actions are interchangeable.
    type Action: Eq + Hash + Debug;
    /// What is answered.
    type Answer: Debug;

    /// The state before any operation.
    fn initial(&self) -> Self::State;

    /// The state after `action`, or none if in this state it does not give this answer. Without an answer the outcome is
    /// unknown, and whatever the action does in this state is what it did.
    fn next(&self, state: &Self::State, action: &Self::Action, answer: Option<&Self::Answer>) -> Option<Self::State>;

    /// What is known of an operation beforehand; without an answer the outcome is unknown. The default says nothing, which
    /// is never wrong, but the more is said the fewer orders are tried: what only looks is ordered without a choice, and no
    /// state is left that somebody still needs and nobody can bring back in time.
    fn footprint(&self, _action: &Self::Action, _answer: Option<&Self::Answer>) -> Footprint<Self::State> {
        Footprint { needs: None, leaves: Leaves::Unsaid }
    }

    /// Tells which actions of unknown outcome nobody in this history can have noticed: whatever order explains the history
    /// with such an action explains it as well when the action is left out. The search then never tries them, and each one
    /// less halves the worst case. The default finds none.
    fn traceless(&self, _history: &[Operation<Self::Action, Self::Answer>]) -> impl Fn(&Self::Action) -> bool {
        |_| false
    }
}
