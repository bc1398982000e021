//! Expressions: what a request says of an item in words.
//!
//! The gateway parses an expression once ([`parse_condition`], [`parse_update`], [`parse_projection`]), with the names
//! and values of the request in place, and checks all of it that does not depend on an item, in AWS' sentences
//! ([`Problem`]). What comes of it is a tree ([`Condition`], [`Update`], [`Projection`]) that travels as a record to
//! the leader of the item ([`record`]) and is evaluated there.
//!
//! Nothing here can use up the stack: an expression has at most 4096 bytes and 300 operators, and what comes off the
//! wire nests no deeper than that.
//!
//! Source: AWS Developer Guide, "Expressions" and "Operator and function reference".

mod condition;
mod key_condition;
mod lexer;
mod parse;
mod parse_condition;
mod parse_update;
mod path;
mod problem;
mod projection;
pub(super) mod record;
mod reserved;
mod update;

#[cfg(test)]
mod tests;

pub use condition::{Comparator, Condition, Operand, compare};
pub use key_condition::{KeyTest, key_tests};
pub use parse::{Placeholders, parse_projection};
pub use parse_condition::parse_condition;
pub use parse_update::parse_update;
pub use path::{Path, Relation, Step};
pub use problem::{ExpressionError, Problem, Purpose};
pub use projection::Projection;
pub use update::{Action, Sum, Term, Update, UpdateError};
