//! A counter: a number that is added to and read.

use super::{Footprint, Leaves, Model};
use crate::history::Operation;

/// What a counter is asked. Each is answered with the number afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Add this, which may be negative.
    Add(i64),
    /// What is the number?
    Read,
}

/// An operation on a counter.
pub type CounterOperation = Operation<Action, i64>;

/// A counter that starts at `initial`.
///
/// Additions of unknown outcome are the expensive ones: with k of them that all add the same, k + 1 sums are possible; with
/// k that all add something else, 2^k are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter {
    /// The number before any addition.
    pub initial: i64,
}

impl Model for Counter {
    type State = i64;
    type Action = Action;
    type Answer = i64;

    fn initial(&self) -> i64 {
        self.initial
    }

    fn next(&self, state: &i64, action: &Action, answer: Option<&i64>) -> Option<i64> {
        let next = match action {
            Action::Add(amount) => state.checked_add(*amount)?,
            Action::Read => *state,
        };
        answer.is_none_or(|answer| *answer == next).then_some(next)
    }

    fn footprint(&self, action: &Action, answer: Option<&i64>) -> Footprint<i64> {
        match (action, answer) {
            (Action::Read, answer) => Footprint { needs: answer.copied(), leaves: Leaves::AsItWas },
            (Action::Add(0), answer) => Footprint { needs: answer.copied(), leaves: Leaves::AsItWas },
            (Action::Add(amount), Some(sum)) => {
                Footprint { needs: sum.checked_sub(*amount), leaves: Leaves::This(*sum) }
            }
            (Action::Add(_), None) => Footprint { needs: None, leaves: Leaves::Unsaid },
        }
    }
}
