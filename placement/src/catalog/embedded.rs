//! The catalog of a single placement process: RocksDB in a directory.
//!
//! All records are held in memory as well, so reads touch no disk. A commit writes one batch (the records with their
//! revisions, and the newest revision) and syncs it before anybody can see it. Commits run on blocking threads and, once
//! begun, to their end: dropping the future of a commit does not tear it.
//!
//! On disk: `meta/format` holds the format byte and the release that wrote it; `meta/revision` the newest revision;
//! `record/…` each record: eight bytes of revision, then [`encode`].
//!
//! After a failed write nobody knows what the disk holds. The catalog then refuses everything until the process is
//! started again and has read the disk: it never repeats a failed sync and never acknowledges on top of one.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rocksdb::{DB, IteratorMode, Options, WriteBatch, WriteOptions};

use super::state::{self, State};
use super::{Catalog, CatalogError, Committed, Revision, Snapshot, Stored, Transaction, Watch, encode};

/// Format of the directory.
const FORMAT: u8 = 1;
const RELEASE: &str = env!("CARGO_PKG_VERSION");

const FORMAT_KEY: &[u8] = b"meta/format";
const REVISION_KEY: &[u8] = b"meta/revision";
const RECORD_PREFIX: &[u8] = b"record/";

/// A catalog in a directory.
pub struct EmbeddedCatalog {
    disk: Arc<Disk>,
    state: Arc<Mutex<State>>,
}

struct Disk {
    db: DB,
    /// What the first failed write said. Locked for the whole of a commit: commits are one after another.
    failed: Mutex<Option<String>>,
}

impl EmbeddedCatalog {
    /// Opens the catalog in `path`, or begins an empty one there. Blocks on the disk.
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_write_buffer_size(4 << 20);
        options.set_keep_log_file_num(4);
        options.set_max_open_files(64);
        let db = DB::open(&options, path).map_err(|error| {
            let reason = error.into_string();
            if reason.contains("LOCK") {
                CatalogError::InUse { path: path.display().to_string() }
            } else {
                CatalogError::Unavailable { reason: format!("opening {}: {reason}", path.display()) }
            }
        })?;
        let snapshot = match db.get(FORMAT_KEY).map_err(unavailable)? {
            Some(stamp) => {
                check_format(path, &stamp)?;
                load(&db)?
            }
            None => begin(&db, path)?,
        };
        let disk = Arc::new(Disk { db, failed: Mutex::new(None) });
        Ok(Self { disk, state: Arc::new(Mutex::new(State::new(snapshot))) })
    }
}

/// The stamp is the format byte and, for people, the release that wrote it.
fn check_format(path: &Path, stamp: &[u8]) -> Result<(), CatalogError> {
    match stamp.split_first() {
        Some((&FORMAT, _)) => Ok(()),
        found => {
            let (found, written_by) = found.map_or((0, &[][..]), |(format, release)| (*format, release));
            let written_by = String::from_utf8_lossy(written_by).into_owned();
            Err(CatalogError::UnknownFormat {
                path: path.display().to_string(),
                found,
                written_by: if written_by.is_empty() { "unknown".to_owned() } else { written_by },
                release: RELEASE,
                known: FORMAT,
            })
        }
    }
}

/// Stamps an empty directory. One that is not empty and has no stamp is not ours.
fn begin(db: &DB, path: &Path) -> Result<Snapshot, CatalogError> {
    if let Some(first) = db.iterator(IteratorMode::Start).next() {
        let (key, _) = first.map_err(unavailable)?;
        return Err(CatalogError::Damaged {
            key: String::from_utf8_lossy(&key).into_owned(),
            reason: format!("{} is a database of something else; set another data_dir", path.display()),
        });
    }
    let mut batch = WriteBatch::default();
    batch.put(FORMAT_KEY, [&[FORMAT], RELEASE.as_bytes()].concat());
    batch.put(REVISION_KEY, 0_u64.to_be_bytes());
    db.write_opt(batch, &synced()).map_err(unavailable)?;
    Ok(Snapshot::default())
}

fn load(db: &DB) -> Result<Snapshot, CatalogError> {
    let damaged = |key: &[u8], reason: &str| CatalogError::Damaged {
        key: String::from_utf8_lossy(key).into_owned(),
        reason: reason.to_owned(),
    };
    let newest = db.get(REVISION_KEY).map_err(unavailable)?.unwrap_or_default();
    let newest = newest.try_into().map_err(|_| damaged(REVISION_KEY, "it is not eight bytes"))?;
    let newest = Revision(u64::from_be_bytes(newest));
    let mut records = Vec::new();
    for entry in db.iterator(IteratorMode::From(RECORD_PREFIX, rocksdb::Direction::Forward)) {
        let (key, value) = entry.map_err(unavailable)?;
        let Some(at) = key.strip_prefix(RECORD_PREFIX) else { break };
        let (revision, value) = value.split_first_chunk().ok_or_else(|| damaged(at, "it is cut off"))?;
        let revision = Revision(u64::from_be_bytes(*revision));
        if revision > newest {
            return Err(damaged(at, "it is newer than the catalog"));
        }
        records.push(Stored { record: Arc::new(encode::decode(at, value)?), revision });
    }
    Ok(Snapshot::new(newest, records))
}

impl Disk {
    fn write(&self, committed: &Committed) -> Result<(), rocksdb::Error> {
        let mut batch = WriteBatch::default();
        for (id, record) in &committed.changes {
            let key = [RECORD_PREFIX, encode::key(*id).as_bytes()].concat();
            match record {
                Some(record) => batch.put(key, [&committed.revision.0.to_be_bytes(), &*encode::value(record)].concat()),
                None => batch.delete(key),
            }
        }
        batch.put(REVISION_KEY, committed.revision.0.to_be_bytes());
        self.db.write_opt(batch, &synced())
    }

    fn commit(&self, state: &Mutex<State>, transaction: Transaction) -> Result<Revision, CatalogError> {
        let mut failed = self.failed.lock();
        if let Some(reason) = &*failed {
            return Err(after_failure(reason));
        }
        let committed = state.lock().prepare(transaction)?;
        let revision = committed.revision;
        if let Err(error) = self.write(&committed) {
            let reason = error.into_string();
            tracing::error!(%reason, "the catalog could not be written; restart the placement once the disk is right");
            let error = after_failure(&reason);
            *failed = Some(reason);
            return Err(error);
        }
        // `failed` is still locked: no other commit has been prepared meanwhile.
        state.lock().apply(committed);
        Ok(revision)
    }
}

#[tonic::async_trait]
impl Catalog for EmbeddedCatalog {
    async fn snapshot(&self) -> Result<Arc<Snapshot>, CatalogError> {
        Ok(self.state.lock().snapshot())
    }

    async fn commit(&self, transaction: Transaction) -> Result<Revision, CatalogError> {
        let (disk, state) = (self.disk.clone(), self.state.clone());
        let committing = tokio::task::spawn_blocking(move || disk.commit(&state, transaction));
        committing.await.map_err(|error| CatalogError::Unavailable { reason: error.to_string() })?
    }

    async fn watch(&self, after: Revision) -> Result<Watch, CatalogError> {
        state::watch(&self.state, after)
    }
}

fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

fn unavailable(error: rocksdb::Error) -> CatalogError {
    CatalogError::Unavailable { reason: error.into_string() }
}

fn after_failure(reason: &str) -> CatalogError {
    let reason = format!("writing failed ({reason}); make sure that the disk is sound and restart the placement");
    CatalogError::Unavailable { reason }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::conformance;
    use super::super::record::{Record, RecordId};
    use super::*;

    #[tokio::test]
    async fn conforms() {
        let directories = Mutex::new(Vec::new());
        conformance::run(|| {
            let directory = tempfile::tempdir().unwrap();
            let catalog = Arc::new(EmbeddedCatalog::open(directory.path()).unwrap());
            directories.lock().push(directory);
            catalog
        })
        .await;
    }

    #[tokio::test]
    async fn reopening_finds_every_record_and_goes_on_counting() {
        let directory = tempfile::tempdir().unwrap();
        let catalog = EmbeddedCatalog::open(directory.path()).unwrap();
        let before = catalog.snapshot().await.unwrap();
        let first = Transaction::over(&before).put(Record::RouteVersion(1)).put(Record::OracleLimit(10));
        catalog.commit(first).await.unwrap();
        let second = Transaction::over(&catalog.snapshot().await.unwrap()).delete(RecordId::OracleLimit);
        let newest = catalog.commit(second).await.unwrap();
        let closed = catalog.snapshot().await.unwrap();
        drop(catalog);

        let catalog = EmbeddedCatalog::open(directory.path()).unwrap();
        let opened = catalog.snapshot().await.unwrap();
        assert_eq!(opened, closed);
        let third = catalog.commit(Transaction::over(&opened).put(Record::RouteVersion(2))).await.unwrap();
        assert!(third > newest);
        assert_eq!(catalog.watch(before.revision()).await.err(), Some(CatalogError::Compacted { oldest: newest }));
    }

    #[test]
    fn a_directory_of_a_later_release_is_refused_with_what_to_run() {
        let directory = tempfile::tempdir().unwrap();
        drop(EmbeddedCatalog::open(directory.path()).unwrap());
        let db = DB::open_default(directory.path()).unwrap();
        db.put(FORMAT_KEY, b"\x021.4.0").unwrap();
        drop(db);
        let refused = EmbeddedCatalog::open(directory.path()).err().unwrap().to_string();
        assert!(refused.contains("Run `placement serve` of release 1.4.0 on it"), "{refused}");
    }

    #[test]
    fn a_directory_in_use_and_a_foreign_database_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let open = EmbeddedCatalog::open(directory.path()).unwrap();
        assert!(matches!(EmbeddedCatalog::open(directory.path()), Err(CatalogError::InUse { .. })));
        drop(open);

        let foreign = tempfile::tempdir().unwrap();
        let db = DB::open_default(foreign.path()).unwrap();
        db.put("somebody", "else").unwrap();
        drop(db);
        assert!(matches!(EmbeddedCatalog::open(foreign.path()), Err(CatalogError::Damaged { .. })));
    }
}
