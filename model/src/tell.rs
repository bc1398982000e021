//! Steps and walks in words, for whoever has to find out what went wrong.
//!
//! Requests are R1, R2 …, in the order of their scene; T2.1 is the first attempt of R2. The groups are A, where x lives,
//! and B, where y lives.

use std::fmt;

use crate::check::Walk;
use crate::protocol::Step;
use crate::state::Place;

fn group(place: Place) -> char {
    if place == 0 { 'A' } else { 'B' }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |request: usize| request + 1;
        match *self {
            Self::Look(request) => write!(f, "R{} reads a key to compute from", number(request)),
            Self::Begin(txn) => write!(f, "the anchor begins {txn:?}"),
            Self::Prewrite { txn, place, heard } => {
                let vote = if heard { "the vote is heard" } else { "nobody hears the vote" };
                write!(f, "{} grants the prewrite of {txn:?}, {vote}", group(place))
            }
            Self::HearVote(txn, place) => write!(f, "{} votes for {txn:?} again, and is heard", group(place)),
            Self::Fill(txn, place) => write!(f, "{} puts the intents of {txn:?} into its lock", group(place)),
            Self::GiveUp(request) => write!(f, "R{} gives up and sends Abort", number(request)),
            Self::Commit(txn) => write!(f, "the anchor commits {txn:?}"),
            Self::Abort(txn) => write!(f, "the anchor aborts {txn:?}"),
            Self::Resolve(txn, place) => write!(f, "{} learns that {txn:?} is committed", group(place)),
            Self::Drop(txn, place) => write!(f, "{} learns that {txn:?} has no effect", group(place)),
            Self::PassFloor(request) => write!(f, "the floor passes R{}", number(request)),
            Self::Hear(request) => write!(f, "R{} hears how its transaction ended", number(request)),
            Self::HearDedup(request) => write!(f, "R{} hears the stored response", number(request)),
            Self::Misbehave(request) => write!(f, "R{} tries again without knowing the outcome", number(request)),
            Self::Crash(request) => write!(f, "the gateway of R{} dies", number(request)),
            Self::EndLockedRead(request) => write!(f, "R{} ends its read by Abort", number(request)),
            Self::Execute(request) => write!(f, "R{} is executed, or answered as before", number(request)),
            Self::Read(request) => write!(f, "R{} reads", number(request)),
            Self::Ask(request) => write!(f, "R{} asks the anchor about the lock it met", number(request)),
        }
    }
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, steps, depth, elapsed, .. } = self;
        write!(f, "{states} states, {steps} steps, depth {depth}, {:.1} s", elapsed.as_secs_f64())
    }
}

impl Walk {
    /// What was found, with the steps that lead there, one a line.
    pub fn traces(&self) -> String {
        let mut text = String::new();
        for (name, steps) in &self.found {
            text.push_str(&format!("  {name}:\n"));
            let lines = steps.iter().enumerate().map(|(number, step)| format!("    {:2}. {step}\n", number + 1));
            text.extend(lines);
        }
        text
    }
}
