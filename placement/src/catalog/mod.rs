//! The catalog: what the placement must remember, and the only thing it remembers.
//!
//! A catalog is a small set of [`Record`]s, each with the [`Revision`] of the commit that last wrote it. It is read
//! whole, as a [`Snapshot`] of one revision, and changed by a [`Transaction`]: several records, all or none, and only
//! if no record that it touches has changed since the snapshot that it was built over. There is no other way to write,
//! so a lost update cannot be expressed. Every commit can be watched, in order and without a gap.
//!
//! Two implementations pass one conformance suite (`conformance`): [`memory`] for tests, and [`embedded`] on RocksDB
//! for a single placement process. The trait asks for nothing that etcd does not have: a revision per record
//! (`mod_revision`), transactions with comparisons on it, reads at one revision, watches from a revision that may have
//! been compacted away. Records are encoded in [`encode`], under textual keys that sort by kind, for whatever store.
//!
//! Left out: history of values, and any query but "all of a kind". A cluster has thousands of records, not millions.

use std::sync::Arc;

use futures::stream::BoxStream;
use thiserror::Error;

#[cfg(test)]
pub mod conformance;
pub mod embedded;
pub mod encode;
pub mod memory;
pub mod record;
pub mod snapshot;
mod state;
pub mod transaction;

pub use record::{FoundingGroup, GroupRecord, MemberRecord};
pub use record::{Job, JobId, JobKind, NodeRecord, Record, RecordId, RecordKind, Settings};
pub use snapshot::{Snapshot, Stored};
pub use transaction::Transaction;

/// Counts the commits of a catalog. Strictly grows; an implementation may skip numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// One commit, as a watcher sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The revision that this commit made.
    pub revision: Revision,
    /// What it wrote; `None` where it deleted. At most one change a record.
    pub changes: Vec<(RecordId, Option<Arc<Record>>)>,
}

/// Commits behind a revision, in order and without a gap. Ends when the catalog is closed.
pub type Watch = BoxStream<'static, Result<Arc<Committed>, CatalogError>>;

/// The store of the placement's records. See the module for what it promises.
#[tonic::async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// Everything at one revision, no older than any commit that had returned before the call.
    async fn snapshot(&self) -> Result<Arc<Snapshot>, CatalogError>;

    /// One record and its revision.
    async fn get(&self, id: RecordId) -> Result<Option<Stored>, CatalogError> {
        Ok(self.snapshot().await?.get(id).cloned())
    }

    /// All records of a kind at one revision, ordered by identity.
    async fn list(&self, kind: RecordKind) -> Result<Vec<Stored>, CatalogError> {
        Ok(self.snapshot().await?.list(kind).cloned().collect())
    }

    /// Makes all changes of the transaction durable, or none: [`CatalogError::Conflict`] when a record that it touches
    /// or requires has changed since its snapshot. [`CatalogError::Unavailable`] leaves open whether it took effect.
    async fn commit(&self, transaction: Transaction) -> Result<Revision, CatalogError>;

    /// Every commit behind `after`. [`CatalogError::Compacted`], at once or as an item, when the catalog no longer has
    /// all of them: take a new snapshot and watch from there.
    async fn watch(&self, after: Revision) -> Result<Watch, CatalogError>;
}

/// Why the catalog did not do what was asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CatalogError {
    /// Somebody else was faster. Nothing was written.
    #[error("{id} changed meanwhile")]
    Conflict {
        /// A record that is not what the snapshot showed.
        id: RecordId,
    },
    /// Commits that were asked for are no longer kept.
    #[error("commits before revision {} are no longer kept", oldest.0)]
    Compacted {
        /// A watch may begin at this revision.
        oldest: Revision,
    },
    /// The store does not answer. A commit may or may not have taken effect.
    #[error("the catalog is not available: {reason}")]
    Unavailable {
        /// What the store said.
        reason: String,
    },
    /// Another process has the catalog open.
    #[error("{path} is in use: another placement runs on it; stop that one, or set another data_dir")]
    InUse {
        /// Directory of the catalog.
        path: String,
    },
    /// The directory was written by a release that this one does not understand.
    #[error(
        "{path} has catalog format {found}, written by placement {written_by}; this is placement {release}, which reads \
         format {known}. Run `placement serve` of release {written_by} on it"
    )]
    UnknownFormat {
        /// Directory of the catalog.
        path: String,
        /// Format found on disk.
        found: u8,
        /// Release that wrote it, or `unknown`.
        written_by: String,
        /// This release.
        release: &'static str,
        /// The format that this release reads and writes.
        known: u8,
    },
    /// A record cannot be read.
    #[error("catalog record {key} is damaged: {reason}")]
    Damaged {
        /// Where it is stored.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl CatalogError {
    /// Whether building the transaction again over a new snapshot can help.
    pub fn is_conflict(&self) -> bool {
        matches!(self, CatalogError::Conflict { .. })
    }
}

/// Changes the catalog by a pure function of a snapshot, again over a new one as often as somebody else is faster.
///
/// `change` answers the transaction and what the caller wants to know about it; an empty transaction commits nothing.
pub async fn update<T, E: From<CatalogError>>(
    catalog: &dyn Catalog,
    mut change: impl FnMut(&Arc<Snapshot>) -> Result<(Transaction, T), E>,
) -> Result<T, E> {
    loop {
        let snapshot = catalog.snapshot().await?;
        let (transaction, answer) = change(&snapshot)?;
        if transaction.is_empty() {
            return Ok(answer);
        }
        match catalog.commit(transaction).await {
            Ok(_) => return Ok(answer),
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
}
