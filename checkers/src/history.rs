//! What clients were told, and when: the record that every judge of this crate reads.
//!
//! An [`Operation`] is one call of one client: what it asked, when, and what came of it. Three things may come of it:
//!
//! * *answered*: it took effect once, between call and answer, and this is what it said;
//! * *failed*: it certainly did not take effect and never will, such as a refused condition or a connection that was never
//!   made. A client that is not sure must not say so;
//! * *unknown*: the connection broke or an error came back that does not say. It may take effect once, at any time after the
//!   call, even long after the client has given up, or never.
//!
//! Instants are numbers of one clock that never goes back, in any unit; histories of several machines need one clock for
//! all. An operation comes before another only if it was answered at an earlier instant than the other was invoked:
//! operations that share an instant overlap, so a coarse clock makes a judge milder, never unjust.
//!
//! The process is carried along for whoever reads an explanation. That a process does one thing at a time is not needed by
//! any judge, and is not checked.

use std::fmt;
use std::ops::{RangeFrom, RangeInclusive};

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome<R> {
    /// It took effect and answered this.
    Ok(R),
    /// It did not take effect and never will.
    Failed,
    /// It may have taken effect, may yet, or never will.
    Unknown,
}

/// One operation of a history: `A` is what was asked, `R` what is answered.
///
/// Invariants: an operation is not answered before it was called; only an unknown outcome has no end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operation<A, R> {
    process: u64,
    invoked: u64,
    completed: Option<u64>,
    action: A,
    outcome: Outcome<R>,
}

impl<A, R> Operation<A, R> {
    /// An operation that was answered. `span` is from the call to the answer.
    pub fn ok(process: u64, span: RangeInclusive<u64>, action: A, answer: R) -> Self {
        Self::completed_as(process, span, action, Outcome::Ok(answer))
    }

    /// An operation that certainly did not take effect.
    pub fn failed(process: u64, span: RangeInclusive<u64>, action: A) -> Self {
        Self::completed_as(process, span, action, Outcome::Failed)
    }

    /// An operation of which nobody knows whether it took effect. When the client gave up says nothing, so it is not asked.
    pub fn unknown(process: u64, span: RangeFrom<u64>, action: A) -> Self {
        Self { process, invoked: span.start, completed: None, action, outcome: Outcome::Unknown }
    }

    fn completed_as(process: u64, span: RangeInclusive<u64>, action: A, outcome: Outcome<R>) -> Self {
        let (invoked, completed) = span.into_inner();
        assert!(invoked <= completed, "process {process} was answered at {completed}, before it called at {invoked}");
        Self { process, invoked, completed: Some(completed), action, outcome }
    }

    /// Who called.
    pub fn process(&self) -> u64 {
        self.process
    }

    /// When it was called.
    pub fn invoked(&self) -> u64 {
        self.invoked
    }

    /// When its outcome was known; none if it never was.
    pub fn completed(&self) -> Option<u64> {
        self.completed
    }

    /// What was asked.
    pub fn action(&self) -> &A {
        &self.action
    }

    /// What came of it.
    pub fn outcome(&self) -> &Outcome<R> {
        &self.outcome
    }

    /// What it answered, if it did.
    pub fn answer(&self) -> Option<&R> {
        match &self.outcome {
            Outcome::Ok(answer) => Some(answer),
            Outcome::Failed | Outcome::Unknown => None,
        }
    }

    /// Whether it was over before the other began, so that every client must see them in this order.
    pub fn precedes(&self, other: &Self) -> bool {
        self.completed.is_some_and(|completed| completed < other.invoked)
    }
}

impl<A: fmt::Debug, R: fmt::Debug> fmt::Display for Operation<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, invoked, completed, action, outcome } = self;
        match completed {
            Some(completed) => write!(f, "process {process}, {invoked}..={completed}: {action:?}")?,
            None => write!(f, "process {process}, {invoked}..: {action:?}")?,
        }
        match outcome {
            Outcome::Ok(answer) => write!(f, " -> {answer:?}"),
            Outcome::Failed => write!(f, " -> failed"),
            Outcome::Unknown => write!(f, " -> unknown"),
        }
    }
}
