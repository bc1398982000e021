//! The engine without a disk: the one that tests crash.
//!
//! Every key keeps the versions that somebody can still see: the newest, one for each open snapshot, and the one that
//! the last sync made durable. [`MemoryEngine::crash`] goes back to the latter, which is exactly what a machine does
//! that loses its page cache. The last sync is thus one more snapshot, and pruning needs no second rule.
//!
//! Exported files are real files, so that snapshot transfer is the same code over both engines: magic, version byte,
//! records (`key length u32 LE · key · value length u32 LE · value`), CRC-32 of all before it.
//!
//! Left out: durability over the end of the process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Batch, Change, Cursor, Engine, EngineError, EngineStats, ExportedFile, Snapshot};

/// An engine in memory. Clones share one state, as a second handle on the same disk would.
#[derive(Clone, Debug, Default)]
pub struct MemoryEngine {
    state: Arc<RwLock<State>>,
}

/// Versions of one key in the order written; `None` is a removal.
type Versions = Vec<(u64, Option<Bytes>)>;

/// Invariants: versions of a key strictly rise; every key with more than one version, or with one that a crash would
/// take back, is in `unsettled`.
#[derive(Debug, Default)]
struct State {
    records: BTreeMap<Bytes, Versions>,
    /// Keys that pruning has to look at again.
    unsettled: BTreeSet<Bytes>,
    /// Number of the last write.
    written: u64,
    /// Number of the last write that a crash keeps.
    synced: u64,
    /// How many open snapshots stand at a write number.
    snapshots: BTreeMap<u64, usize>,
}

impl MemoryEngine {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything that was not synced, as a power failure does. Snapshots taken before must not be used again.
    pub fn crash(&self) {
        let mut state = self.state.write();
        let synced = state.synced;
        for key in std::mem::take(&mut state.unsettled) {
            if let Some(versions) = state.records.get_mut(&key) {
                versions.retain(|(number, _)| *number <= synced);
            }
            state.prune(&key);
        }
    }
}

impl State {
    fn set(&mut self, key: &Bytes, value: Option<Bytes>) {
        let number = self.written;
        let versions = self.records.entry(key.clone()).or_default();
        // A later change of the same batch replaces the earlier one.
        if versions.last().is_some_and(|(last, _)| *last == number) {
            versions.pop();
        }
        versions.push((number, value));
        self.prune(key);
    }

    fn visible(versions: &Versions, at: u64) -> Option<&Bytes> {
        versions.iter().rev().find(|(number, _)| *number <= at).and_then(|(_, value)| value.as_ref())
    }

    fn get(&self, key: &[u8], at: u64) -> Option<Bytes> {
        Self::visible(self.records.get(key)?, at).cloned()
    }

    /// Drops the versions of a key that nobody can see any more.
    fn prune(&mut self, key: &Bytes) {
        let Some(versions) = self.records.get_mut(key) else { return };
        let mut kept = Versions::with_capacity(versions.len());
        for (position, (number, value)) in versions.iter().enumerate() {
            // Somebody stands at this version: at or after it, and before the next one.
            let next = versions.get(position + 1).map_or(u64::MAX, |(next, _)| *next);
            let seen = next == u64::MAX
                || (*number..next).contains(&self.synced)
                || self.snapshots.range(*number..next).next().is_some();
            // A removal with nothing below it says nothing.
            if seen && !(value.is_none() && kept.is_empty()) {
                kept.push((*number, value.clone()));
            }
        }
        let settled = kept.len() <= 1 && kept.iter().all(|(number, value)| value.is_some() && *number <= self.synced);
        *versions = kept;
        if versions.is_empty() {
            self.records.remove(key);
        }
        if settled {
            self.unsettled.remove(key);
        } else {
            self.unsettled.insert(key.clone());
        }
    }

    fn prune_unsettled(&mut self) {
        for key in self.unsettled.iter().cloned().collect::<Vec<_>>() {
            self.prune(&key);
        }
    }
}

impl Engine for MemoryEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let state = self.state.read();
        Ok(state.get(key, state.written))
    }

    fn write(&self, batch: &Batch) -> Result<(), EngineError> {
        let mut state = self.state.write();
        state.written += 1;
        for change in &batch.changes {
            match change {
                Change::Put(key, value) => state.set(key, Some(value.clone())),
                Change::Delete(key) => {
                    if state.records.contains_key(key) {
                        state.set(key, None);
                    }
                }
                Change::DeleteRange(start, end) if start < end => {
                    let bounds = (Bound::Included(start), Bound::Excluded(end));
                    let keys: Vec<_> = state.records.range::<Bytes, _>(bounds).map(|(key, _)| key.clone()).collect();
                    for key in keys {
                        state.set(&key, None);
                    }
                }
                Change::DeleteRange(_, _) => {}
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        let mut state = self.state.write();
        state.synced = state.written;
        state.prune_unsettled();
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        let mut state = self.state.write();
        let at = state.written;
        *state.snapshots.entry(at).or_default() += 1;
        Arc::new(MemorySnapshot { state: self.state.clone(), at })
    }

    fn export(
        &self,
        snapshot: &dyn Snapshot,
        start: &[u8],
        end: &[u8],
        dir: &Path,
        file_bytes: u64,
    ) -> Result<Vec<ExportedFile>, EngineError> {
        let mut files = Vec::new();
        let mut cursor = snapshot.cursor(start, end);
        cursor.seek(start)?;
        let mut contents = Vec::from(FILE_HEADER);
        while let Some((key, value)) = cursor.current() {
            for part in [key, value] {
                let length = u32::try_from(part.len())
                    .map_err(|_| EngineError::Io { operation: "export", reason: "a record over 4 GB".into() })?;
                contents.extend_from_slice(&length.to_le_bytes());
                contents.extend_from_slice(part);
            }
            cursor.next()?;
            if contents.len() as u64 >= file_bytes || cursor.current().is_none() {
                let path = dir.join(format!("{:06}.sst", files.len()));
                files.push(write_file(path, std::mem::replace(&mut contents, Vec::from(FILE_HEADER)))?);
            }
        }
        Ok(files)
    }

    fn replace(&self, start: &[u8], end: &[u8], files: &[PathBuf]) -> Result<(), EngineError> {
        let mut batch = Batch::default();
        batch.delete_range(start.to_vec(), end.to_vec());
        for path in files {
            for (key, value) in read_file(path)? {
                if key[..] < *start || key[..] >= *end {
                    let reason = "a key outside the range that it replaces".into();
                    return Err(EngineError::BadFile { path: path.clone(), reason });
                }
                batch.put(key, value);
            }
        }
        self.write(&batch)?;
        self.sync()
    }

    fn stats(&self) -> EngineStats {
        let state = self.state.read();
        let sizes = state.records.iter().map(|(key, versions)| {
            key.len() + versions.iter().map(|(_, value)| value.as_ref().map_or(0, Bytes::len)).sum::<usize>()
        });
        EngineStats { disk_bytes: 0, memtable_bytes: sizes.sum::<usize>() as u64, keys: state.records.len() as u64 }
    }
}

/// Sees the versions up to a write number, and keeps them from being pruned.
struct MemorySnapshot {
    state: Arc<RwLock<State>>,
    at: u64,
}

impl Drop for MemorySnapshot {
    fn drop(&mut self) {
        let mut state = self.state.write();
        if let Some(count) = state.snapshots.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                state.snapshots.remove(&self.at);
            }
        }
        // What only this snapshot kept is pruned by the next write of its key or the next sync.
    }
}

impl Snapshot for MemorySnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.state.read().get(key, self.at))
    }

    fn first(&self, start: &[u8], end: &[u8]) -> Result<Option<(Bytes, Bytes)>, EngineError> {
        let mut cursor = MemoryCursor::new(self, start, end);
        cursor.seek(start)?;
        Ok(cursor.here)
    }

    fn cursor<'a>(&'a self, start: &[u8], end: &[u8]) -> Box<dyn Cursor + 'a> {
        Box::new(MemoryCursor::new(self, start, end))
    }
}

/// Holds no lock between steps: each looks its neighbour up by key.
struct MemoryCursor<'a> {
    snapshot: &'a MemorySnapshot,
    start: Bytes,
    end: Bytes,
    here: Option<(Bytes, Bytes)>,
}

impl<'a> MemoryCursor<'a> {
    fn new(snapshot: &'a MemorySnapshot, start: &[u8], end: &[u8]) -> Self {
        // An inverted interval is an empty one.
        let end = end.max(start);
        Self { snapshot, start: Bytes::copy_from_slice(start), end: Bytes::copy_from_slice(end), here: None }
    }

    fn forward(&mut self, from: Bound<&[u8]>) {
        let state = self.snapshot.state.read();
        let to = Bound::Excluded(&self.end[..]);
        let mut keys = state.records.range::<[u8], _>((from, to));
        self.here = keys.find_map(|(key, versions)| {
            State::visible(versions, self.snapshot.at).map(|value| (key.clone(), value.clone()))
        });
    }

    fn backward(&mut self, to: Bound<&[u8]>) {
        let state = self.snapshot.state.read();
        let from = Bound::Included(&self.start[..]);
        let mut keys = state.records.range::<[u8], _>((from, to)).rev();
        self.here = keys.find_map(|(key, versions)| {
            State::visible(versions, self.snapshot.at).map(|value| (key.clone(), value.clone()))
        });
    }
}

impl Cursor for MemoryCursor<'_> {
    fn seek(&mut self, key: &[u8]) -> Result<(), EngineError> {
        if key >= &self.end[..] {
            self.here = None;
        } else {
            let from = Bytes::copy_from_slice(key.max(&self.start[..]));
            self.forward(Bound::Included(&from));
        }
        Ok(())
    }

    fn seek_back(&mut self, key: &[u8]) -> Result<(), EngineError> {
        if key < &self.start[..] || self.start == self.end {
            self.here = None;
        } else if key >= &self.end[..] {
            let end = self.end.clone();
            self.backward(Bound::Excluded(&end));
        } else {
            self.backward(Bound::Included(key));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<(), EngineError> {
        if let Some((key, _)) = self.here.take() {
            self.forward(Bound::Excluded(&key));
        }
        Ok(())
    }

    fn prev(&mut self) -> Result<(), EngineError> {
        if let Some((key, _)) = self.here.take() {
            self.backward(Bound::Excluded(&key));
        }
        Ok(())
    }

    fn current(&self) -> Option<(&[u8], &[u8])> {
        self.here.as_ref().map(|(key, value)| (&key[..], &value[..]))
    }
}

/// Magic and version of an exported file.
const FILE_HEADER: [u8; 8] = *b"EKVMEM\0\x01";

fn write_file(path: PathBuf, mut contents: Vec<u8>) -> Result<ExportedFile, EngineError> {
    let sum = crc32fast::hash(&contents);
    contents.extend_from_slice(&sum.to_le_bytes());
    fs::write(&path, &contents).map_err(|error| super::file_error("export", &error))?;
    Ok(ExportedFile { path, size_bytes: contents.len() as u64, crc32: crc32fast::hash(&contents) })
}

fn read_file(path: &Path) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
    let bad = |reason: &str| EngineError::BadFile { path: path.to_owned(), reason: reason.to_owned() };
    let contents = Bytes::from(fs::read(path).map_err(|error| super::file_error("read an exported file", &error))?);
    let (body, sum) = contents.split_last_chunk::<4>().ok_or_else(|| bad("too short"))?;
    if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
        return Err(bad("checksum mismatch"));
    }
    let mut rest = body.strip_prefix(&FILE_HEADER).ok_or_else(|| bad("not an exported file of this version"))?;
    let mut records = Vec::new();
    let part = |rest: &mut &[u8]| {
        let (length, behind) = rest.split_first_chunk::<4>().ok_or_else(|| bad("cut short"))?;
        let (part, behind) =
            behind.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(|| bad("cut short"))?;
        *rest = behind;
        Ok::<_, EngineError>(contents.slice_ref(part))
    };
    while !rest.is_empty() {
        records.push((part(&mut rest)?, part(&mut rest)?));
    }
    Ok(records)
}
