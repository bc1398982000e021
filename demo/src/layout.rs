//! What a data directory holds: how many nodes and groups, written down when it is made.
//!
//! ```text
//! <data_dir>/
//!   DEMO         this: format version, nodes, groups
//!   placement/   the catalog
//!   node-1/ …    storage nodes
//! ```
//!
//! Starting with other numbers would make a cluster that waits for nodes that do not come, so that is refused here, with
//! what to type instead. The tiers check their own directories themselves.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Format of the file; a later one is refused.
const FORMAT: u32 = 1;
const FILE: &str = "DEMO";
/// Nodes of a new directory.
pub const DEFAULT_NODES: usize = 3;
/// Groups of a new directory.
pub const DEFAULT_GROUPS: u32 = 3;

/// The size of a demo cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Storage nodes: 1, or 3 and more.
    pub nodes: usize,
    /// Raft groups.
    pub groups: u32,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Two nodes have no majority without each other: they fail as often as the worse of the two.
    #[error("--nodes {0} makes no sense: take 1 (no copies) or 3 and more (three copies of everything)")]
    Nodes(usize),
    /// No groups, no data.
    #[error("--groups must be 1 to 1024")]
    Groups,
    /// The directory holds another cluster.
    #[error(
        "{path} holds a cluster of {} nodes and {} groups: leave the flags out, or choose another --data-dir",
        .found.nodes, .found.groups
    )]
    Differs {
        /// The directory.
        path: PathBuf,
        /// What it holds.
        found: Layout,
    },
    /// The file is of a later version or damaged.
    #[error("{path} cannot be understood: {reason}; choose another --data-dir")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file system refuses.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayoutFile {
    format: u32,
    nodes: usize,
    groups: u32,
}

impl Layout {
    /// What `directory` holds, or, in a new one, what is wanted or usual there. Writes it down.
    pub fn settle(directory: &Path, nodes: Option<usize>, groups: Option<u32>) -> Result<Self, LayoutError> {
        let path = directory.join(FILE);
        let found = match fs::read_to_string(&path) {
            Ok(text) => Some(parse(&path, &text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(LayoutError::Io { path, source }),
        };
        let base = found.unwrap_or(Layout { nodes: DEFAULT_NODES, groups: DEFAULT_GROUPS });
        let wanted = Layout { nodes: nodes.unwrap_or(base.nodes), groups: groups.unwrap_or(base.groups) };
        match found {
            Some(found) if found == wanted => Ok(found),
            Some(found) => Err(LayoutError::Differs { path: directory.to_owned(), found }),
            None => {
                wanted.check()?;
                wanted.write(directory, &path).map_err(|source| LayoutError::Io { path, source })?;
                Ok(wanted)
            }
        }
    }

    fn check(self) -> Result<(), LayoutError> {
        if self.nodes == 0 || self.nodes == 2 {
            return Err(LayoutError::Nodes(self.nodes));
        }
        if !(1..=1024).contains(&self.groups) {
            return Err(LayoutError::Groups);
        }
        Ok(())
    }

    fn write(self, directory: &Path, path: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let file = LayoutFile { format: FORMAT, nodes: self.nodes, groups: self.groups };
        let text = toml::to_string(&file).map_err(io::Error::other)?;
        let temporary = directory.join("DEMO.tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    }
}

fn parse(path: &Path, text: &str) -> Result<Layout, LayoutError> {
    let unreadable = |reason: String| LayoutError::Unreadable { path: path.to_owned(), reason };
    let file: LayoutFile = toml::from_str(text).map_err(|error| unreadable(error.message().to_owned()))?;
    if file.format != FORMAT {
        return Err(unreadable(format!("it has format {}, this version knows format {FORMAT}", file.format)));
    }
    Ok(Layout { nodes: file.nodes, groups: file.groups })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_directory_keeps_its_size() {
        let parent = TempDir::new().unwrap();
        let directory = parent.path().join("data");
        let made = Layout { nodes: 1, groups: 3 };
        assert_eq!(Layout::settle(&directory, Some(1), None).unwrap(), made);
        assert_eq!(Layout::settle(&directory, None, None).unwrap(), made);
        assert_eq!(Layout::settle(&directory, Some(1), Some(3)).unwrap(), made);
        let refused = Layout::settle(&directory, Some(3), None).unwrap_err();
        assert!(refused.to_string().contains("1 nodes and 3 groups"), "{refused}");
    }

    #[test]
    fn impossible_sizes_and_strange_files_are_refused() {
        let directory = TempDir::new().unwrap();
        let settle = |nodes, groups| Layout::settle(directory.path(), nodes, groups).unwrap_err();
        assert!(matches!(settle(Some(2), None), LayoutError::Nodes(2)));
        assert!(matches!(settle(None, Some(0)), LayoutError::Groups));
        for text in ["", "format = 2\nnodes = 3\ngroups = 3", "format = 1\nnodes = 3\ngroups = 3\nracks = 2"] {
            fs::write(directory.path().join(FILE), text).unwrap();
            assert!(matches!(settle(None, None), LayoutError::Unreadable { .. }), "{text}");
        }
    }
}
