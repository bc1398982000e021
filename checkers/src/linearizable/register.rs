//! A register: one value that is read, written, and compared and set.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

use super::{Footprint, Leaves, Model};
use crate::history::{Operation, Outcome};

/// What a register is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action<V> {
    /// What is the value?
    Read,
    /// Let this be the value.
    Write(V),
    /// Let `new` be the value if it is `expected`.
    Cas {
        /// What the value must be.
        expected: V,
        /// What it becomes then.
        new: V,
    },
}

/// What a register answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer<V> {
    /// To a read: the value.
    Value(V),
    /// To a write.
    Done,
    /// To a compare-and-set: whether the value was the expected one, and so is the new one now.
    Swapped(bool),
}

/// An operation on a register.
pub type RegisterOperation<V> = Operation<Action<V>, Answer<V>>;

/// A register that holds `initial` at first.
#[derive(Clone, Debug)]
pub struct Register<V> {
    /// The value before any write.
    pub initial: V,
}

impl<V: Clone + Eq + Hash + Debug> Model for Register<V> {
    type State = V;
    type Action = Action<V>;
    type Answer = Answer<V>;

    fn initial(&self) -> V {
        self.initial.clone()
    }

    fn next(&self, state: &V, action: &Action<V>, answer: Option<&Answer<V>>) -> Option<V> {
        let (right_answer, next) = match action {
            Action::Read => (Answer::Value(state.clone()), state),
            Action::Write(value) => (Answer::Done, value),
            Action::Cas { expected, new } if expected == state => (Answer::Swapped(true), new),
            Action::Cas { .. } => (Answer::Swapped(false), state),
        };
        answer.is_none_or(|answer| *answer == right_answer).then(|| next.clone())
    }

    fn footprint(&self, action: &Action<V>, answer: Option<&Answer<V>>) -> Footprint<V> {
        match (action, answer) {
            (Action::Read, Some(Answer::Value(value))) => {
                Footprint { needs: Some(value.clone()), leaves: Leaves::AsItWas }
            }
            (Action::Read, _) | (Action::Cas { .. }, Some(Answer::Swapped(false))) => {
                Footprint { needs: None, leaves: Leaves::AsItWas }
            }
            (Action::Write(value), _) => Footprint { needs: None, leaves: Leaves::This(value.clone()) },
            // One of unknown outcome is not tried where it would be refused: that is as if it never happened.
            (Action::Cas { expected, new }, _) => {
                Footprint { needs: Some(expected.clone()), leaves: Leaves::This(new.clone()) }
            }
        }
    }

    /// A lost write of a value that nobody has seen. Nobody depends on the value having been there, but a compare-and-set
    /// that was refused may depend on another one having been away; where one was refused, every lost write stays.
    fn traceless(&self, history: &[RegisterOperation<V>]) -> impl Fn(&Action<V>) -> bool {
        let mut refused = false;
        let mut noticed: HashSet<&V> = HashSet::new();
        for operation in history {
            match (operation.action(), operation.outcome()) {
                (Action::Read, Outcome::Ok(Answer::Value(value))) => drop(noticed.insert(value)),
                (Action::Cas { .. }, Outcome::Ok(Answer::Swapped(false))) => refused = true,
                // One of unknown outcome may have depended on the value too.
                (Action::Cas { expected, .. }, Outcome::Ok(_) | Outcome::Unknown) => drop(noticed.insert(expected)),
                _ => {}
            }
        }
        move |action| match action {
            Action::Read => true,
            Action::Write(value) | Action::Cas { new: value, .. } => !refused && !noticed.contains(value),
        }
    }
}
