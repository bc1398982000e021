//! The directory of a node: what format it has, whose it is, and that one process at a time uses it.
//!
//! ```text
//! <data_dir>/
//!   FORMAT      format version, disk id, and once the placement has given them: node id and cluster id
//!   LOCK        locked by the running process
//!   log/        Raft logs of all groups
//!   data/       data of all groups
//!   snapshots/  files of snapshots on their way in or out
//! ```
//!
//! `FORMAT` is TOML, so that people can read it, and is replaced as a whole: a temporary file, synced, renamed, and the
//! directory synced. The disk id is drawn when the directory is made; a node id belongs to one disk for ever, because
//! a disk that came back without its votes could vote twice (PROTOCOL §6.3). A wiped disk is a new node.
//!
//! Left out: upgrades. There is one format; the version byte of each record is the records' own (`raft::log`,
//! `group::keys`).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use keyspace::NodeId;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The format that this build reads and writes.
pub const FORMAT_VERSION: u32 = 1;

const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "LOCK";
const LOG_DIR: &str = "log";
const DATA_DIR: &str = "data";
const SNAPSHOTS_DIR: &str = "snapshots";

const HEADER: &str =
    "# Identity of an Elastickv storage node. Do not edit, and do not start two nodes from copies of it.\n";

/// Why a directory cannot be used.
#[derive(Debug, Error)]
pub enum FormatError {
    /// Another process has it open.
    #[error("{path} is in use by another process: stop that one, or choose another data directory")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A later Elastickv has written there.
    #[error(
        "{path} was written by a newer Elastickv (format {found}; this one knows format {FORMAT_VERSION}): \
         start that version"
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// There is data of a node, but not whose.
    #[error(
        "{path} holds data but no {FORMAT_FILE} file, so nobody knows which node it is: bring the file back, or start \
         from an empty directory as a new node"
    )]
    Unidentified {
        /// The directory.
        path: PathBuf,
    },
    /// The identity cannot be read.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The directory belongs to another node or cluster.
    #[error("{path} belongs to node {node_id} of cluster {cluster_id} and cannot become another")]
    Claimed {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        node_id: NodeId,
        /// Where that node belongs.
        cluster_id: String,
    },
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Names the path in errors of the file system.
fn at(path: &Path) -> impl FnOnce(io::Error) -> FormatError {
    let path = path.to_owned();
    move |source| FormatError::Io { path, source }
}

/// Who a directory belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Drawn when the directory was made: 32 hexadecimal digits.
    pub disk_id: String,
    /// Given by the placement at the first registration.
    pub node_id: Option<NodeId>,
    /// The cluster of that placement.
    pub cluster_id: Option<String>,
}

/// `FORMAT` as it is on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FormatFile {
    format: u32,
    disk_id: String,
    node_id: Option<u64>,
    cluster_id: Option<String>,
}

/// What every version of the file has.
#[derive(Deserialize)]
struct AnyFormatFile {
    format: u32,
}

/// The directory of a node, held by this process until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    identity: Identity,
    /// The lock goes with the open file, however the process ends.
    _lock: File,
}

impl DataDir {
    /// Takes the directory, and makes it where there is none or it is empty.
    pub fn open(root: &Path) -> Result<Self, FormatError> {
        fs::create_dir_all(root).map_err(at(root))?;
        let lock_path = root.join(LOCK_FILE);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FormatError::InUse { path: root.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(FormatError::Io { path: lock_path, source }),
        }
        let identity = match read(root)? {
            Some(identity) => identity,
            None => {
                let holds = |name: &str| root.join(name).exists();
                if holds(LOG_DIR) || holds(DATA_DIR) {
                    return Err(FormatError::Unidentified { path: root.to_owned() });
                }
                let disk_id = format!("{:032x}", rand::random::<u128>());
                let identity = Identity { disk_id, node_id: None, cluster_id: None };
                write(root, &identity)?;
                identity
            }
        };
        for name in [LOG_DIR, DATA_DIR, SNAPSHOTS_DIR] {
            let path = root.join(name);
            fs::create_dir_all(&path).map_err(at(&path))?;
        }
        sync_dir(root)?;
        if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_dir(parent)?;
        }
        Ok(Self { root: root.to_owned(), identity, _lock: lock })
    }

    /// Whose directory it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Notes which node of which cluster this directory is, for ever. Durable on return; may be repeated.
    pub fn claim(&mut self, node_id: NodeId, cluster_id: &str) -> Result<(), FormatError> {
        if let (Some(owner), Some(cluster)) = (self.identity.node_id, &self.identity.cluster_id) {
            if owner == node_id && cluster == cluster_id {
                return Ok(());
            }
            let (path, cluster_id) = (self.root.clone(), cluster.clone());
            return Err(FormatError::Claimed { path, node_id: owner, cluster_id });
        }
        let identity = Identity {
            disk_id: self.identity.disk_id.clone(),
            node_id: Some(node_id),
            cluster_id: Some(cluster_id.to_owned()),
        };
        write(&self.root, &identity)?;
        self.identity = identity;
        Ok(())
    }

    /// Where the Raft logs are.
    pub fn log(&self) -> PathBuf {
        self.root.join(LOG_DIR)
    }

    /// Where the data is.
    pub fn data(&self) -> PathBuf {
        self.root.join(DATA_DIR)
    }

    /// Where snapshots pass through.
    pub fn snapshots(&self) -> PathBuf {
        self.root.join(SNAPSHOTS_DIR)
    }
}

/// The identity of a directory; `None` where there is none yet.
fn read(root: &Path) -> Result<Option<Identity>, FormatError> {
    let path = root.join(FORMAT_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FormatError::Io { path, source }),
    };
    let damaged = |reason: String| FormatError::Damaged { path: path.clone(), reason };
    // The version first: a later format may have other fields, and must still be told from damage.
    let AnyFormatFile { format } = toml::from_str(&text).map_err(|error| damaged(error.message().to_owned()))?;
    if format > FORMAT_VERSION {
        return Err(FormatError::Newer { path: root.to_owned(), found: format });
    }
    if format != FORMAT_VERSION {
        return Err(damaged(format!("no Elastickv ever wrote format {format}")));
    }
    let file: FormatFile = toml::from_str(&text).map_err(|error| damaged(error.message().to_owned()))?;
    if file.node_id.is_some() != file.cluster_id.is_some() {
        return Err(damaged("node_id and cluster_id belong together".to_owned()));
    }
    Ok(Some(Identity { disk_id: file.disk_id, node_id: file.node_id.map(NodeId), cluster_id: file.cluster_id }))
}

/// Replaces the identity of a directory. Durable on return; a crash leaves the old or the new one.
fn write(root: &Path, identity: &Identity) -> Result<(), FormatError> {
    let path = root.join(FORMAT_FILE);
    let file = FormatFile {
        format: FORMAT_VERSION,
        disk_id: identity.disk_id.clone(),
        node_id: identity.node_id.map(u64::from),
        cluster_id: identity.cluster_id.clone(),
    };
    let unwritable = |error: toml::ser::Error| FormatError::Damaged { path: path.clone(), reason: error.to_string() };
    let text = toml::to_string(&file).map_err(unwritable)?;
    let temporary = root.join("FORMAT.tmp");
    let replace = || {
        let mut file = File::create(&temporary)?;
        file.write_all(HEADER.as_bytes())?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    replace().map_err(at(&path))?;
    sync_dir(root)
}

/// Makes the names in a directory durable.
fn sync_dir(path: &Path) -> Result<(), FormatError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(at(path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_directory_keeps_its_identity() {
        let parent = TempDir::new().unwrap();
        let root = parent.path().join("deep/node");
        let mut dir = DataDir::open(&root).unwrap();
        let fresh = dir.identity().clone();
        assert_eq!((fresh.disk_id.len(), fresh.node_id), (32, None));
        assert!(dir.log().is_dir() && dir.data().is_dir() && dir.snapshots().is_dir());

        dir.claim(NodeId(3), "c1").unwrap();
        dir.claim(NodeId(3), "c1").unwrap();
        for (node, cluster) in [(4, "c1"), (3, "c2")] {
            let refused = dir.claim(NodeId(node), cluster).unwrap_err();
            assert!(matches!(refused, FormatError::Claimed { node_id: NodeId(3), .. }));
        }
        drop(dir);
        let claimed = Identity { node_id: Some(NodeId(3)), cluster_id: Some("c1".to_owned()), ..fresh.clone() };
        assert_eq!(*DataDir::open(&root).unwrap().identity(), claimed);
        let other = DataDir::open(&parent.path().join("other")).unwrap();
        assert_ne!(other.identity().disk_id, fresh.disk_id);
    }

    #[test]
    fn one_process_at_a_time() {
        let root = TempDir::new().unwrap();
        let held = DataDir::open(root.path()).unwrap();
        assert!(matches!(DataDir::open(root.path()), Err(FormatError::InUse { .. })));
        drop(held);
        DataDir::open(root.path()).unwrap();
    }

    #[test]
    fn what_is_not_understood_is_refused_with_the_way_out() {
        let root = TempDir::new().unwrap();
        drop(DataDir::open(root.path()).unwrap());
        let format = root.path().join(FORMAT_FILE);
        let open = |text: &str| {
            fs::write(&format, text).unwrap();
            DataDir::open(root.path()).unwrap_err()
        };
        let newer = open("format = 7\nshape = \"unheard of\"\n");
        assert!(matches!(newer, FormatError::Newer { found: 7, .. }));
        assert!(newer.to_string().contains("written by a newer Elastickv (format 7"), "{newer}");
        for damaged in ["", "format = 0", "format = 1", "format = 1\ndisk_id = \"a\"\nnode_id = 3\n", "\0\0\0"] {
            assert!(matches!(open(damaged), FormatError::Damaged { .. }), "{damaged:?}");
        }
        fs::remove_file(&format).unwrap();
        assert!(matches!(DataDir::open(root.path()), Err(FormatError::Unidentified { .. })));
    }
}
