//! What a command sees: an ordered, mutable view of the keyspace, and the time and randomness of its evaluation.
//!
//! A command never touches a socket, a clock or a disk. The group leader hands it a view over its own state, where
//! every await is ready at once; a coordinator may hand it one that asks other groups. There is exactly one
//! implementation of each command.

use std::future::Future;

use bytes::Bytes;
use keyspace::{KeyRange, Version};
use thiserror::Error;

use crate::redis::events::Notes;

/// A stored value and the version that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The bytes.
    pub value: Bytes,
    /// When they were written.
    pub version: Version,
}

/// Direction of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// From the smallest key upwards.
    #[default]
    Ascending,
    /// From the largest key downwards.
    Descending,
}

/// Why a view cannot answer. The command is given up; nothing of it takes effect.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ViewError {
    /// The store below failed.
    #[error("storage: {0}")]
    Storage(String),
    /// A stored record is not what this version writes.
    #[error("record at key {key:02x?}: {reason}")]
    Corrupt {
        /// Encoded key.
        key: Vec<u8>,
        /// What is wrong with it.
        reason: String,
    },
    /// The command wants keys that its request does not name, or more time than a leader gives it. It is to be evaluated
    /// by whoever sent it.
    #[error("a command reaches beyond what its request names")]
    Beyond,
}

/// An ordered view of the keyspace during one evaluation.
///
/// Reads see the writes made before through the same view. Keys are encoded (see `keyspace::layout`) and lie inside
/// the request's targets, except as [`crate::Command::reads_beyond`] says.
pub trait View: Send {
    /// The newest live record.
    fn get(&mut self, key: &[u8]) -> impl Future<Output = Result<Option<Record>, ViewError>> + Send;

    /// The version of the newest write to a key, also when that removed it; `None` when nothing is known of any.
    fn last_change(&mut self, key: &[u8]) -> impl Future<Output = Result<Option<Version>, ViewError>> + Send;

    /// At most `limit` live records of `range`, in `order`.
    fn scan(
        &mut self,
        range: &KeyRange,
        order: Order,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Bytes, Record)>, ViewError>> + Send;

    /// Says that the records of these keys are about to be read, so that a view whose records are far away can fetch
    /// them at once. It changes no answer.
    fn will_read(&mut self, keys: Vec<Vec<u8>>) -> impl Future<Output = Result<(), ViewError>> + Send {
        drop(keys);
        std::future::ready(Ok(()))
    }

    /// Begins to note what is found and changed of keys of Redis, or (`None`) ends it; gives back what was noted. A view
    /// that knows no notes takes none.
    fn note(&mut self, notes: Option<Notes>) -> Option<Notes> {
        drop(notes);
        None
    }

    /// Writes a record.
    fn put(&mut self, key: Vec<u8>, value: Bytes);

    /// Removes a record; not an error when there is none.
    fn delete(&mut self, key: Vec<u8>);

    /// Declares every record written so far in `range` dead: of Redis database `db`, or of all databases.
    fn flush_redis(&mut self, range: &KeyRange, db: Option<u8>);

    /// Milliseconds since 1970. Constant during one evaluation.
    fn now_ms(&self) -> u64;

    /// Whether something that expires at `expire_at_ms` is gone. The only way to judge expiry: the view makes sure
    /// that nobody who is told "gone" is followed by somebody who is told "still there".
    fn expired(&mut self, expire_at_ms: u64) -> bool;

    /// The version that the writes of this evaluation carry.
    fn version(&self) -> Version;

    /// A random number, chosen once: the result of an evaluation is replicated, not the evaluation.
    fn random(&mut self) -> u64;
}
