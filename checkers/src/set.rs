//! Does a set keep what was put into it?
//!
//! Clients add elements, each once, and read the whole set. Nothing is ever removed. So
//!
//! * an element is in every read that began after its addition was answered, or after another read that had it was
//!   answered: it cannot be *lost*,
//! * it is in a read once: it is not *doubled*,
//! * it was asked for before the read was over, and not refused: it is not *invented*.
//!
//! An addition of unknown outcome may be there or not; once somebody saw it, it stays.
//!
//! A read is answered with a list, so that a set which is kept as a list can be judged too. Its order says nothing; for
//! that, see [`crate::serializable`].

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

use crate::history::{Operation, Outcome};

/// What a set is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action<V> {
    /// Put this in. Answered with nothing.
    Add(V),
    /// What is in it? Answered with everything.
    Read,
}

/// An operation on a set: an answered addition has an empty list.
pub type SetOperation<V> = Operation<Action<V>, Vec<V>>;

/// What is wrong, and the read that shows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// It was there for certain, and is gone.
    #[error("{element} is lost: {operation}")]
    Lost {
        /// What is missing.
        element: String,
        /// Who read.
        operation: String,
    },
    /// It is there twice.
    #[error("{element} is there twice: {operation}")]
    Doubled {
        /// What is there twice.
        element: String,
        /// Who read.
        operation: String,
    },
    /// Nobody had added it yet, or its addition was refused.
    #[error("{element} comes from nowhere: {operation}")]
    Invented {
        /// What is there too much.
        element: String,
        /// Who read.
        operation: String,
    },
    /// Two additions of one element: the recording cannot be judged.
    #[error("{element} was added twice, which cannot be judged")]
    Reused {
        /// The element.
        element: String,
    },
}

/// When an element may be in the set, and from when on it must be.
struct Presence {
    earliest: u64,
    /// None while nobody knows that it is there.
    certain: Option<u64>,
}

/// Judges a history. Its order does not matter.
pub fn check<V: Eq + Hash + Debug>(history: &[SetOperation<V>]) -> Result<(), Violation> {
    let text = |element: &V| format!("{element:?}");
    let mut added: HashSet<&V> = HashSet::new();
    let mut elements: HashMap<&V, Presence> = HashMap::new();
    for operation in history {
        let Action::Add(element) = operation.action() else { continue };
        if !added.insert(element) {
            return Err(Violation::Reused { element: text(element) });
        }
        if !matches!(operation.outcome(), Outcome::Failed) {
            let presence = Presence { earliest: operation.invoked(), certain: operation.completed() };
            elements.insert(element, presence);
        }
    }
    let mut reads: Vec<(&SetOperation<V>, u64, &Vec<V>)> = history
        .iter()
        .filter(|operation| matches!(operation.action(), Action::Read))
        .filter_map(|operation| Some((operation, operation.completed()?, operation.answer()?)))
        .collect();
    // What a read proves holds for reads that begin after it has ended, so those that end first speak first.
    reads.sort_by_key(|(_, completed, _)| *completed);
    for (operation, completed, found) in reads {
        let mut seen: HashSet<&V> = HashSet::with_capacity(found.len());
        for element in found {
            if !seen.insert(element) {
                return Err(Violation::Doubled { element: text(element), operation: brief(operation) });
            }
            match elements.get_mut(element) {
                Some(presence) if presence.earliest <= completed => {
                    presence.certain = Some(presence.certain.map_or(completed, |certain| certain.min(completed)));
                }
                _ => return Err(Violation::Invented { element: text(element), operation: brief(operation) }),
            }
        }
        let certain = |presence: &Presence| presence.certain.is_some_and(|certain| certain < operation.invoked());
        let lost = elements.iter().find(|(element, presence)| certain(presence) && !seen.contains(*element));
        if let Some((element, _)) = lost {
            return Err(Violation::Lost { element: text(element), operation: brief(operation) });
        }
    }
    Ok(())
}

/// A read without all that it found.
fn brief<V>(operation: &SetOperation<V>) -> String {
    let (process, invoked) = (operation.process(), operation.invoked());
    let (completed, count) = (operation.completed().unwrap_or(u64::MAX), operation.answer().map_or(0, Vec::len));
    format!("process {process}, {invoked}..={completed}: read {count} elements")
}
