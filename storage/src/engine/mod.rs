//! An ordered key-value store on one disk: the only thing that the Raft log and the data know of persistence.
//!
//! Two implementations behave alike: [`rocks`] on RocksDB, and [`memory`], which can forget what was not synced the
//! way a crash does. The engine knows neither Raft nor commands nor versions.

pub mod memory;
pub mod rocks;

#[cfg(test)]
mod conformance;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

/// Why the disk did not do what was asked.
#[derive(Clone, Debug, Error)]
pub enum EngineError {
    /// Reading or writing failed.
    #[error("{operation}: {reason}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// What the store said.
        reason: String,
    },
    /// No space is left on the device.
    #[error("{operation}: disk full")]
    DiskFull {
        /// What was being done.
        operation: &'static str,
    },
    /// A snapshot file does not hold what it should.
    #[error("{path}: {reason}")]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a failure of the file system means to a caller of the engine.
pub(crate) fn file_error(operation: &'static str, error: &std::io::Error) -> EngineError {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => EngineError::DiskFull { operation },
        _ => EngineError::Io { operation, reason: error.to_string() },
    }
}

/// Changes that become visible and durable together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// In order; a later change wins.
    pub changes: Vec<Change>,
}

/// One change of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes a value.
    Put(Bytes, Bytes),
    /// Removes a key.
    Delete(Bytes),
    /// Removes `start ≤ key < end`.
    DeleteRange(Bytes, Bytes),
}

impl Batch {
    /// Adds a put.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes.push(Change::Put(key.into(), value.into()));
    }

    /// Adds a delete.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.changes.push(Change::Delete(key.into()));
    }

    /// Adds the removal of `start ≤ key < end`.
    pub fn delete_range(&mut self, start: impl Into<Bytes>, end: impl Into<Bytes>) {
        self.changes.push(Change::DeleteRange(start.into(), end.into()));
    }
}

/// A position in ordered keys. Starts invalid: seek first.
pub trait Cursor: Send {
    /// To the first key at or above `key`.
    fn seek(&mut self, key: &[u8]) -> Result<(), EngineError>;
    /// To the last key at or below `key`.
    fn seek_back(&mut self, key: &[u8]) -> Result<(), EngineError>;
    /// To the next larger key.
    fn next(&mut self) -> Result<(), EngineError>;
    /// To the next smaller key.
    fn prev(&mut self) -> Result<(), EngineError>;
    /// Key and value here; `None` beyond the ends.
    fn current(&self) -> Option<(&[u8], &[u8])>;
}

/// The state at one moment, unaffected by later writes.
pub trait Snapshot: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError>;
    /// The first key of `start ≤ key < end` and its value.
    ///
    /// The way to the newest version of a record: where both bounds share the part of a data key before its version,
    /// filters skip the files that cannot hold it.
    fn first(&self, start: &[u8], end: &[u8]) -> Result<Option<(Bytes, Bytes)>, EngineError>;
    /// A cursor over `start ≤ key < end`; it never leaves these bounds.
    fn cursor<'a>(&'a self, start: &[u8], end: &[u8]) -> Box<dyn Cursor + 'a>;
}

/// A file written by [`Engine::export`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub size_bytes: u64,
    /// CRC-32 (IEEE) of its bytes.
    pub crc32: u32,
}

/// What the store uses of disk and memory, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Bytes in table files.
    pub disk_bytes: u64,
    /// Bytes in write buffers.
    pub memtable_bytes: u64,
    /// Estimated number of keys.
    pub keys: u64,
}

/// An ordered store.
pub trait Engine: Send + Sync + 'static {
    /// The newest value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Applies all changes atomically. Visible on return, durable only behind a later [`Engine::sync`].
    fn write(&self, batch: &Batch) -> Result<(), EngineError>;

    /// On return, everything written before the call survives a crash.
    fn sync(&self) -> Result<(), EngineError>;

    /// Freezes the present state.
    fn snapshot(&self) -> Arc<dyn Snapshot>;

    /// Writes `start ≤ key < end` of a snapshot to files in `dir`, in key order, each of about `file_bytes`.
    fn export(
        &self,
        snapshot: &dyn Snapshot,
        start: &[u8],
        end: &[u8],
        dir: &Path,
        file_bytes: u64,
    ) -> Result<Vec<ExportedFile>, EngineError>;

    /// Replaces everything in `start ≤ key < end` by the content of exported files, and syncs.
    ///
    /// Not atomic over a crash: the caller repeats it from the same files, which stay where they are.
    fn replace(&self, start: &[u8], end: &[u8], files: &[PathBuf]) -> Result<(), EngineError>;

    /// Sizes, cheap to ask.
    fn stats(&self) -> EngineStats;
}
