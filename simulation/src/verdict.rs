//! What the clients were told, judged.

use checkers::history::Operation;
use checkers::linearizable::counter::Counter;
use checkers::linearizable::{Refusal, by_key, check, check_each, check_register};
use checkers::serializable;

use crate::clients::{Book, bank};

/// What the judges say.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Each is a proof that something is wrong.
    pub violations: Vec<String>,
    /// Histories that no judge could decide upon.
    pub undecided: usize,
}

/// Judges everything in the book.
pub fn judge(book: &Book) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.violations.extend(book.outrages.lock().iter().map(|outrage| format!("outrage: {outrage}")));

    let registers = by_key(book.registers.history().into_iter().map(keyed));
    verdict.note(check_each(&registers, |history| check_register(&0, history)));
    let counters = by_key(book.counters.history().into_iter().map(keyed));
    verdict.note(check_each(&counters, |history| check(&Counter { initial: 0 }, history)));
    if let Err(violation) = serializable::check(&book.lists.history()) {
        verdict.violations.push(format!("lists: {violation}"));
    }
    if let Err(violation) = checkers::bank::check(&bank::opened(), &book.bank.history()) {
        verdict.violations.push(format!("bank: {violation}"));
    }
    verdict
}

impl Verdict {
    fn note(&mut self, judged: Result<(), (&String, Refusal)>) {
        match judged {
            Ok(()) => {}
            Err((_, Refusal::GaveUp { .. })) => self.undecided += 1,
            Err((key, Refusal::Violation(violation))) => self.violations.push(format!("{key}: {violation}")),
        }
    }
}

/// Takes the key out of the action.
fn keyed<K: Clone, A: Clone, R: Clone>(operation: Operation<(K, A), R>) -> (K, Operation<A, R>) {
    use checkers::history::Outcome;
    let (process, called) = (operation.process(), operation.invoked());
    let (key, action) = operation.action().clone();
    let ended = operation.completed().unwrap_or(called);
    let bare = match operation.outcome() {
        Outcome::Ok(answer) => Operation::ok(process, called..=ended, action, answer.clone()),
        Outcome::Failed => Operation::failed(process, called..=ended, action),
        Outcome::Unknown => Operation::unknown(process, called.., action),
    };
    (key, bare)
}
