//! What is wrong with a message that a peer sent.

use keyspace::RouteError;
use thiserror::Error;

/// Why a message means nothing. The peer is of another release, or broken; repeating the message does not help.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// A field that must be there is not; for ids, zero is not there.
    #[error("{message} without {field}")]
    Missing {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
    },
    /// An enumeration holds a number that this release does not know.
    #[error("{message} with unknown {field} {found}")]
    UnknownEnum {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// What it holds.
        found: i32,
    },
    /// A range ends at or before its start.
    #[error("{message} with an empty range")]
    EmptyRange {
        /// The message.
        message: &'static str,
    },
    /// A field holds a value outside its domain.
    #[error("{message} with an invalid {field}")]
    Invalid {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
    },
    /// The routes of a snapshot or delta make no map, or do not follow the one held.
    #[error(transparent)]
    Routes(#[from] RouteError),
}
