//! Snapshots of a group: what openraft passes around, and the directory where their files live.
//!
//! A snapshot is the group's interval of the engine as sorted table files.
//!
//! 1. The state machine freezes the engine and hands openraft a [`FrozenRange`]: free, and nothing is written yet.
//!    (openraft asks for one at start and for every transfer.)
//! 2. When a transfer begins, `transport::ship` exports it into a directory of the [`SnapshotStore`] and sends the
//!    files; the directory is gone when the transfer ends.
//! 3. The receiver collects them in a directory of its own store, checks every sum, makes them durable, and hands
//!    openraft [`ReceivedFiles`], which reach the state machine's `install_snapshot`.
//! 4. The state machine calls [`ReceivedFiles::hold`], writes a durable marker that names [`ReceivedFiles::dir`],
//!    replaces the interval, removes the marker and calls [`ReceivedFiles::release`]. After a crash in between it
//!    opens the store with that directory in `held`, and repeats from [`ReceivedFiles::reopen`].
//!
//! Directories that nobody holds do not survive a start: a transfer is resumed within a process, never across one.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::aside::leave_aside;
use crate::engine::{Engine, EngineError, ExportedFile, Snapshot};

/// Size at which an export begins the next file, in bytes.
const FILE_BYTES: u64 = 64 << 20;

/// openraft's snapshot data: one type for both ends of a transfer.
#[derive(Debug)]
pub enum SnapshotData {
    /// At the sender: the engine at one moment.
    Frozen(FrozenRange),
    /// At the receiver: complete, checked, durable files.
    Received(ReceivedFiles),
}

/// An interval of the engine at one moment. Costs nothing until it is exported.
#[derive(Clone)]
pub struct FrozenRange {
    engine: Arc<dyn Engine>,
    snapshot: Arc<dyn Snapshot>,
    start: Bytes,
    end: Bytes,
}

impl FrozenRange {
    /// `start ≤ key < end` of `snapshot`, which `engine` made.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, snapshot: Arc<dyn Snapshot>, start: Bytes, end: Bytes) -> Self {
        Self { engine, snapshot, start, end }
    }

    /// Writes the files. Blocks on the disk.
    pub(crate) fn export(&self, dir: &Path) -> Result<Vec<ExportedFile>, EngineError> {
        self.engine.export(&*self.snapshot, &self.start, &self.end, dir, FILE_BYTES)
    }
}

impl fmt::Debug for FrozenRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrozenRange").field("start", &self.start).field("end", &self.end).finish_non_exhaustive()
    }
}

/// A complete snapshot on this node's disk. Dropped, it takes its directory along, unless it is held.
#[derive(Debug)]
pub struct ReceivedFiles {
    dir: TransferDir,
    files: Vec<PathBuf>,
}

impl ReceivedFiles {
    /// `files` lie in `dir`, in key order.
    pub(crate) fn new(dir: TransferDir, files: Vec<PathBuf>) -> Self {
        Self { dir, files }
    }

    /// The files that an interrupted installation had held in `dir`.
    ///
    /// # Errors
    /// If the directory cannot be listed.
    pub fn reopen(dir: &Path) -> io::Result<Self> {
        let mut files = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        // Names are zero-padded positions (see `file_name`).
        files.sort();
        Ok(Self { dir: TransferDir { path: dir.to_owned(), held: true }, files })
    }

    /// Where the files are: what the durable marker names.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir.path
    }

    /// The files, in key order, for `Engine::replace`.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// From now on the directory outlives this value. Call it before the marker is written.
    pub fn hold(&mut self) {
        self.dir.held = true;
    }

    /// Removes the directory. Call it after the marker is gone.
    pub fn release(mut self) {
        self.dir.held = false;
    }
}

/// The name of the file at a position, such that names sort like positions.
pub(crate) fn file_name(position: usize) -> String {
    format!("{position:06}.sst")
}

/// The directory below which transfers keep their files, at both ends. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    root: Arc<Path>,
    next: Arc<AtomicU64>,
}

impl SnapshotStore {
    /// Opens `root`, creating it, and removes what earlier processes left there, except `held`: the directories
    /// (directly below `root`) that markers of interrupted installations name.
    ///
    /// # Errors
    /// If the directory cannot be created, listed or cleaned.
    pub fn open(root: &Path, held: &[PathBuf]) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        for entry in std::fs::read_dir(root)? {
            let entry = entry?;
            if held.iter().any(|dir| dir.file_name() == Some(&entry.file_name())) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            } else {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { root: root.into(), next: Arc::default() })
    }

    /// A new empty directory, gone when the returned value is dropped. Blocks on the disk.
    pub(crate) fn fresh(&self, purpose: &str) -> io::Result<TransferDir> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let path = self.root.join(format!("{purpose}-{number}"));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(TransferDir { path, held: false }),
                // Held since an earlier process.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A directory of one transfer, removed on drop unless held.
#[derive(Debug)]
pub(crate) struct TransferDir {
    path: PathBuf,
    held: bool,
}

impl TransferDir {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TransferDir {
    fn drop(&mut self) {
        if self.held {
            return;
        }
        let path = std::mem::take(&mut self.path);
        let remove = move || {
            if let Err(error) = std::fs::remove_dir_all(&path) {
                tracing::warn!(path = %path.display(), %error, "snapshot directory stays until the next start");
            }
        };
        // Unlinking gigabytes takes a while: not on a thread that serves others.
        leave_aside(remove);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_go_and_held_directories_stay() {
        let root = tempfile::tempdir().unwrap();
        let store = SnapshotStore::open(root.path(), &[]).unwrap();
        let (gone, mut kept) = (store.fresh("in").unwrap(), store.fresh("in").unwrap());
        kept.held = true;
        let kept_path = kept.path().to_owned();
        std::fs::write(gone.path().join("a"), b"half").unwrap();
        std::fs::write(kept_path.join(file_name(10)), b"later").unwrap();
        std::fs::write(kept_path.join(file_name(9)), b"earlier").unwrap();
        let gone_path = gone.path().to_owned();
        // A crash: no destructor runs.
        std::mem::forget(gone);
        drop(kept);

        let store = SnapshotStore::open(root.path(), std::slice::from_ref(&kept_path)).unwrap();
        assert!(!gone_path.exists());
        let received = ReceivedFiles::reopen(&kept_path).unwrap();
        assert_eq!(received.files(), [kept_path.join("000009.sst"), kept_path.join("000010.sst")]);
        let fresh = store.fresh("in").unwrap();
        let other = store.fresh("in").unwrap();
        assert!(fresh.path() != kept_path && other.path() != kept_path, "a held directory is not given out again");
        received.release();
        assert!(!kept_path.exists());
    }

    #[test]
    fn a_directory_goes_with_its_transfer_unless_held() {
        let root = tempfile::tempdir().unwrap();
        let store = SnapshotStore::open(root.path(), &[]).unwrap();
        let received = ReceivedFiles::new(store.fresh("in").unwrap(), vec![]);
        let path = received.dir().to_owned();
        drop(received);
        assert!(!path.exists());

        let mut received = ReceivedFiles::new(store.fresh("in").unwrap(), vec![]);
        received.hold();
        let path = received.dir().to_owned();
        drop(received);
        assert!(path.exists());
    }
}
