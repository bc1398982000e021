//! Does a queue hand out what was put into it, once each?
//!
//! Clients put elements in, each once, and take them out, one at a time; who takes from an empty queue is told so. Then
//!
//! * no element is handed out twice (*doubled*), nor before anybody put it in or although that was refused (*invented*),
//! * who is told that the queue is empty, while an element was in it from before the question until after the answer, has
//!   been told wrong: it was *hidden*,
//! * an element that was put in before such a question and that nobody ever got is *lost*, unless somebody took an element
//!   without hearing which: each such taker of unknown outcome accounts for one,
//! * where the queue promises it, elements of one producer come out in the order in which they went in ([`Order`]).
//!
//! A history that ends by emptying the queue so proves that nothing is lost. Left out: the order of elements of different
//! producers, which [`crate::linearizable`] judges where it matters.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::hash::Hash;

use crate::history::{Operation, Outcome};

/// What a queue is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action<V> {
    /// Put this in. Answered with none.
    Put(V),
    /// Take one out. Answered with it, or with none if there was none.
    Take,
}

/// An operation on a queue. A producer is the process that puts.
pub type QueueOperation<V> = Operation<Action<V>, Option<V>>;

/// What the queue promises of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing.
    Any,
    /// Elements of one producer come out as they went in.
    PerProducer,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two takers got it.
    #[error("{element} was taken twice, the second time by {operation}")]
    Doubled {
        /// The element.
        element: String,
        /// The second taker.
        operation: String,
    },
    /// Nobody had put it in yet, or that was refused.
    #[error("{element} comes from nowhere: {operation}")]
    Invented {
        /// The element.
        element: String,
        /// The taker.
        operation: String,
    },
    /// It was there all the time, and the queue was said to be empty.
    #[error("{element} was in the queue, which was said to be empty: {operation}")]
    Hidden {
        /// The element.
        element: String,
        /// Who was told so.
        operation: String,
    },
    /// Elements went in, the queue was empty, and nobody can have taken them all.
    #[error("{} elements are gone, such as {}; at most {takers} takers did not hear what they got, before {operation}",
        elements.len(), elements[0])]
    Lost {
        /// Elements that nobody got.
        elements: Vec<String>,
        /// Takers of unknown outcome.
        takers: usize,
        /// Who found the queue empty.
        operation: String,
    },
    /// The later one of a producer came out first.
    #[error("{later} came out before {earlier}, which the same producer had put in before it")]
    Reordered {
        /// Went in first.
        earlier: String,
        /// Came out first.
        later: String,
    },
    /// Two elements that are equal: the recording cannot be judged.
    #[error("{element} was put in twice, which cannot be judged")]
    Reused {
        /// The element.
        element: String,
    },
}

/// Who put an element in, and who took it out.
struct Passage<'a, V> {
    element: &'a V,
    put: &'a QueueOperation<V>,
    taken: Option<&'a QueueOperation<V>>,
}

/// Judges a history. Its order does not matter.
pub fn check<V: Eq + Hash + Debug>(order: Order, history: &[QueueOperation<V>]) -> Result<(), Violation> {
    let passages = passages(history)?;
    let unheard: Vec<_> =
        history.iter().filter(|it| *it.action() == Action::Take && matches!(it.outcome(), Outcome::Unknown)).collect();
    let empty = |it: &&QueueOperation<V>| *it.action() == Action::Take && it.answer() == Some(&None);
    for question in history.iter().filter(empty) {
        check_empty(question, &passages, &unheard)?;
    }
    if order == Order::PerProducer { check_order(&passages) } else { Ok(()) }
}

/// Puts each taker beside its element.
fn passages<V: Eq + Hash + Debug>(history: &[QueueOperation<V>]) -> Result<Vec<Passage<'_, V>>, Violation> {
    let text = |element: &V| format!("{element:?}");
    let mut passages = Vec::new();
    let mut place: HashMap<&V, usize> = HashMap::new();
    for put in history {
        let Action::Put(element) = put.action() else { continue };
        if place.insert(element, passages.len()).is_some() {
            return Err(Violation::Reused { element: text(element) });
        }
        passages.push(Passage { element, put, taken: None });
    }
    for operation in history.iter().filter(|operation| *operation.action() == Action::Take) {
        let Some(Some(element)) = operation.answer() else { continue };
        let passage = place.get(element).map(|place| &mut passages[*place]);
        let possible =
            |it: &&mut Passage<V>| !matches!(it.put.outcome(), Outcome::Failed) && !operation.precedes(it.put);
        let Some(passage) = passage.filter(possible) else {
            return Err(Violation::Invented { element: text(element), operation: operation.to_string() });
        };
        if passage.taken.replace(operation).is_some() {
            return Err(Violation::Doubled { element: text(element), operation: operation.to_string() });
        }
    }
    Ok(passages)
}

/// Whoever was told that the queue is empty was told so rightly.
fn check_empty<V: Eq + Debug>(
    question: &QueueOperation<V>,
    passages: &[Passage<'_, V>],
    unheard: &[&QueueOperation<V>],
) -> Result<(), Violation> {
    let mut gone = Vec::new();
    for Passage { element, put, taken } in passages.iter().filter(|passage| passage.put.precedes(question)) {
        match taken {
            None if put.answer().is_some() => gone.push(format!("{element:?}")),
            Some(taken) if question.precedes(taken) => {
                return Err(Violation::Hidden { element: format!("{element:?}"), operation: question.to_string() });
            }
            None | Some(_) => {}
        }
    }
    let takers = unheard.iter().filter(|taker| !question.precedes(taker)).count();
    if gone.len() <= takers {
        return Ok(());
    }
    Err(Violation::Lost { elements: gone, takers, operation: question.to_string() })
}

/// For each producer: no element came out for certain before one that went in for certain before it.
fn check_order<V: Debug>(passages: &[Passage<'_, V>]) -> Result<(), Violation> {
    let mut producers: BTreeMap<u64, Vec<&Passage<'_, V>>> = BTreeMap::new();
    for passage in passages.iter().filter(|passage| passage.taken.is_some()) {
        producers.entry(passage.put.process()).or_default().push(passage);
    }
    let out_at = |passage: &Passage<'_, V>| passage.taken.and_then(Operation::completed).unwrap_or(u64::MAX);
    for passages in producers.values_mut() {
        passages.sort_by_key(|passage| passage.put.invoked());
        // Of this one and all that went in behind it: the one that was out first.
        let mut first_out: Vec<&Passage<'_, V>> = passages.clone();
        for place in (1..passages.len()).rev() {
            let behind = first_out[place];
            if out_at(behind) < out_at(first_out[place - 1]) {
                first_out[place - 1] = behind;
            }
        }
        for earlier in passages.iter() {
            let behind = passages.partition_point(|other| !earlier.put.precedes(other.put));
            let Some(later) = first_out.get(behind) else { continue };
            if later.taken.zip(earlier.taken).is_some_and(|(first, second)| first.precedes(second)) {
                let (earlier, later) = (format!("{:?}", earlier.element), format!("{:?}", later.element));
                return Err(Violation::Reordered { earlier, later });
            }
        }
    }
    Ok(())
}
