//! Redis commands.

use bytes::Bytes;
use keyspace::KeyRange;

use crate::view::{View, ViewError};

pub mod cursor;
pub mod database;
pub mod error;
mod number;
mod record;
pub mod table;
mod value;

pub use database::DatabaseRequest;
pub use error::RedisError;
pub use table::{DatabaseCommand, GatewayCommand, KeyCommand, Place, Spec, keys, lookup, resolve, writes};
pub use value::Value;

/// One command as a client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Selected database.
    pub db: u8,
    /// Name first, never empty.
    pub args: Vec<Bytes>,
}

/// One range's part of a command over a whole database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Selected database.
    pub db: u8,
    /// Part of the Redis keyspace, inside one route.
    pub range: KeyRange,
    /// What to do there.
    pub part: SpanPart,
}

/// What [`Span`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanPart {
    /// Lists keys in (slot, hash within the slot) order.
    Scan {
        /// Where to begin.
        from: ScanPosition,
        /// Stop behind this many keys looked at.
        count: usize,
        /// Glob pattern that keys must match.
        pattern: Option<Bytes>,
        /// Type name that keys must have.
        type_name: Option<String>,
    },
    /// Counts live keys.
    Count {
        /// Encoded key to go on behind.
        resume: Option<Bytes>,
        /// Stop behind this many keys.
        limit: usize,
    },
    /// Removes every key.
    Flush {
        /// Of all databases, not only `db`.
        all_databases: bool,
    },
}

/// Where a SCAN goes on: a slot, and the hash above which that slot's keys are still to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScanPosition {
    /// Slot, up to `SLOTS`.
    pub slot: u16,
    /// `None`: the slot from its beginning.
    pub above_hash: Option<u64>,
}

/// What came of a [`Span`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanOutcome {
    /// Of `Scan`.
    Scanned {
        /// User keys.
        keys: Vec<Bytes>,
        /// Where to go on inside this range; `None` when it is done.
        next: Option<ScanPosition>,
    },
    /// Of `Count`.
    Counted {
        /// Live keys seen.
        keys: u64,
        /// Where to go on; `None` when the range is done.
        resume: Option<Bytes>,
    },
    /// Of `Flush`.
    Flushed,
}

/// Runs one command.
pub async fn run<V: View>(view: &mut V, invocation: &Invocation) -> Result<Value, ViewError> {
    let _ = (view, invocation);
    Ok(Value::Null)
}

/// Runs one range's part of a command over a database.
pub async fn run_span<V: View>(view: &mut V, span: &Span) -> Result<SpanOutcome, ViewError> {
    let _ = (view, span);
    Ok(SpanOutcome::Flushed)
}
