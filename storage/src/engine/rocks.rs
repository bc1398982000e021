//! The engine on RocksDB, in two tunings.
//!
//! | | [`RocksOptions::log`] | [`RocksOptions::data`] |
//! | --- | --- | --- |
//! | holds | the Raft logs of all groups of a node | their data |
//! | write-ahead log | on; a write is not synced | off |
//! | [`Engine::sync`] | one fsync of the write-ahead log | flush of the write buffers to tables |
//! | what a crash loses | what came after the last sync | the same; the Raft log brings it back |
//! | filters | none: the log is read by position | on the key without its version |
//!
//! **Memory.** All databases that share a [`RocksMemory`] share one block cache, which index and filter blocks count
//! against, and one bound on write buffers; the databases of a process share one pool of background threads. Write
//! buffers grow as they fill, so an idle database takes next to nothing.
//!
//! **Data keys** are `group u64 BE · class u8 · …`; those of class [`VERSIONED_CLASS`] end in a 16-byte version. A read
//! asks for the first of a few versions of one record, and the filter answers for the record, not for the version:
//! see [`Snapshot::first`]. Cursors look at whole intervals and ignore the filters.
//!
//! **A full disk** fails the write that met it. RocksDB then refuses further writes; it resumes by itself after a
//! failed flush (data), and needs the process to start again after a failed write-ahead log (log).
//!
//! Left out: column families, transactions, compaction filters; old versions are removed by whoever owns them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBPinnableSlice, DBRawIterator, FlushOptions,
    IngestExternalFileOptions, LogLevel, Options, ReadOptions, SliceTransform, SstFileWriter, WriteBatch,
    WriteBufferManager, WriteOptions, properties,
};
use self_cell::self_cell;

use super::{Batch, Change, Cursor, Engine, EngineError, EngineStats, ExportedFile, Snapshot, file_error};

/// Class byte of data keys that end in a version.
pub const VERSIONED_CLASS: u8 = 0x02;

/// Bytes before the class byte of a data key.
const GROUP_LEN: usize = 8;
/// Bytes of the version at the end of a versioned key.
const VERSION_LEN: usize = 16;

const MB: usize = 1 << 20;

/// Memory that several databases of one process share.
#[derive(Clone)]
pub struct RocksMemory {
    cache: Cache,
    write_buffers: WriteBufferManager,
}

impl RocksMemory {
    /// At most `cache_bytes` of blocks, and about `write_buffer_bytes` of write buffers before they are flushed early.
    pub fn new(cache_bytes: usize, write_buffer_bytes: usize) -> Self {
        Self {
            cache: Cache::new_lru_cache(cache_bytes),
            // Never stalls a writer: a buffer over the bound is flushed, which is enough at our sizes.
            write_buffers: WriteBufferManager::new_write_buffer_manager(write_buffer_bytes, false),
        }
    }
}

impl Default for RocksMemory {
    /// 32 MB of cache and 128 MB of write buffers.
    fn default() -> Self {
        Self::new(32 * MB, 128 * MB)
    }
}

/// What a database is used for; decides its tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Log,
    Data,
}

/// How to open a database.
#[derive(Clone)]
pub struct RocksOptions {
    used_for: Use,
    memory: RocksMemory,
    write_buffer_bytes: usize,
    background_jobs: i32,
}

impl RocksOptions {
    /// For the Raft logs of a node.
    pub fn log() -> Self {
        Self { used_for: Use::Log, memory: RocksMemory::default(), write_buffer_bytes: 64 * MB, background_jobs: 2 }
    }

    /// For the data of a node.
    pub fn data() -> Self {
        Self { used_for: Use::Data, memory: RocksMemory::default(), write_buffer_bytes: 64 * MB, background_jobs: 2 }
    }

    /// Shares memory with other databases.
    pub fn memory(mut self, memory: &RocksMemory) -> Self {
        self.memory = memory.clone();
        self
    }

    /// Size at which a write buffer is flushed. Entries of the log that are purged before that never reach a table.
    pub fn write_buffer_bytes(mut self, bytes: usize) -> Self {
        self.write_buffer_bytes = bytes;
        self
    }

    /// Threads for flushes and compactions; the pool is the process's and takes the largest number asked for.
    pub fn background_jobs(mut self, jobs: i32) -> Self {
        self.background_jobs = jobs;
        self
    }

    fn to_rocks(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_write_buffer_manager(&self.memory.write_buffers);
        options.set_write_buffer_size(self.write_buffer_bytes);
        options.set_max_background_jobs(self.background_jobs);
        options.set_max_open_files(512);
        options.set_bytes_per_sync(MB as u64);
        // RocksDB's own diary: short, warnings only, no periodic dumps that would wake an idle process.
        options.set_log_level(LogLevel::Warn);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(4 * MB);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);

        let mut tables = BlockBasedOptions::default();
        tables.set_block_cache(&self.memory.cache);
        tables.set_cache_index_and_filter_blocks(true);
        tables.set_pin_l0_filter_and_index_blocks_in_cache(true);
        match self.used_for {
            Use::Log => {
                options.set_compression_type(DBCompressionType::None);
                options.set_max_write_buffer_number(3);
                // An fsync of a file that does not grow costs half. Works only with the default recovery mode, which
                // ends at the first torn record: everything before it was synced or is not promised to anybody.
                options.set_recycle_log_file_num(8);
            }
            Use::Data => {
                options.set_compression_type(DBCompressionType::Lz4);
                options.set_max_write_buffer_number(3);
                options.set_prefix_extractor(record_prefix());
                // Whole keys of unversioned classes are their own prefix, so one filter serves both.
                tables.set_whole_key_filtering(false);
                tables.set_bloom_filter(10.0, false);
                tables.set_optimize_filters_for_memory(true);
            }
        }
        options.set_block_based_table_factory(&tables);
        options
    }
}

/// A versioned key without its version; every other key as it is.
fn record_of(key: &[u8]) -> &[u8] {
    let versioned = key.get(GROUP_LEN) == Some(&VERSIONED_CLASS) && key.len() > GROUP_LEN + VERSION_LEN;
    if versioned { &key[..key.len() - VERSION_LEN] } else { key }
}

/// The name is part of the disk format: tables whose filters were built otherwise are read without them.
fn record_prefix() -> SliceTransform {
    SliceTransform::create("elastickv.record.1", record_of, None)
}

/// Whether every key of `start ≤ key < end` belongs to the record that `start` is a version of.
fn within_one_record(start: &[u8], end: &[u8]) -> bool {
    let record = record_of(start);
    record.len() < start.len() && end.starts_with(record)
}

/// An engine on RocksDB.
pub struct RocksEngine {
    db: Arc<DB>,
    options: Options,
    used_for: Use,
    writes: WriteOptions,
}

impl RocksEngine {
    /// Opens the database in `dir`, creating it where there is none. One process at a time.
    pub fn open(dir: &Path, options: &RocksOptions) -> Result<Self, EngineError> {
        let rocks = options.to_rocks();
        let db = DB::open(&rocks, dir).map_err(|error| map_error("open", error.as_ref()))?;
        let mut writes = WriteOptions::default();
        writes.disable_wal(options.used_for == Use::Data);
        Ok(Self { db: Arc::new(db), options: rocks, used_for: options.used_for, writes })
    }

    fn flush(&self) -> Result<(), EngineError> {
        let mut flush = FlushOptions::default();
        flush.set_wait(true);
        self.db.flush_opt(&flush).map_err(|error| map_error("flush", error.as_ref()))
    }

    /// From here on files are only added, so that a test can copy a state that a kill would have left.
    #[cfg(test)]
    pub(super) fn keep_files(&self) -> Result<(), EngineError> {
        self.db.disable_file_deletions().map_err(|error| map_error("keep files", error.as_ref()))
    }

    fn property(&self, name: &properties::PropName) -> u64 {
        // A property that this build does not know counts as nothing: these are figures for a dashboard.
        self.db.property_int_value(name).ok().flatten().unwrap_or(0)
    }
}

impl Engine for RocksEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        owned(self.db.get_pinned(key))
    }

    fn write(&self, batch: &Batch) -> Result<(), EngineError> {
        let mut changes = WriteBatch::default();
        for change in &batch.changes {
            match change {
                Change::Put(key, value) => changes.put(key, value),
                Change::Delete(key) => changes.delete(key),
                // RocksDB refuses an inverted range at the level of the whole batch.
                Change::DeleteRange(start, end) if start < end => changes.delete_range(&start[..], &end[..]),
                Change::DeleteRange(_, _) => {}
            }
        }
        self.db.write_opt(changes, &self.writes).map_err(|error| map_error("write", error.as_ref()))
    }

    fn sync(&self) -> Result<(), EngineError> {
        match self.used_for {
            Use::Log => self.db.flush_wal(true).map_err(|error| map_error("sync", error.as_ref())),
            Use::Data => self.flush(),
        }
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        let cell = SnapshotCell::new(self.db.clone(), |db| db.snapshot());
        Arc::new(RocksSnapshot { cell, filtered: self.used_for == Use::Data })
    }

    fn export(
        &self,
        snapshot: &dyn Snapshot,
        start: &[u8],
        end: &[u8],
        dir: &Path,
        file_bytes: u64,
    ) -> Result<Vec<ExportedFile>, EngineError> {
        let failed = |error: rocksdb::Error| map_error("export", error.as_ref());
        let mut files = Vec::new();
        let mut cursor = snapshot.cursor(start, end);
        cursor.seek(start)?;
        while cursor.current().is_some() {
            let path = dir.join(format!("{:06}.sst", files.len()));
            let mut writer = SstFileWriter::create(&self.options);
            writer.open(&path).map_err(failed)?;
            while let Some((key, value)) = cursor.current() {
                writer.put(key, value).map_err(failed)?;
                cursor.next()?;
                if writer.file_size() >= file_bytes {
                    break;
                }
            }
            writer.finish().map_err(failed)?;
            files.push(describe(path)?);
        }
        Ok(files)
    }

    fn replace(&self, start: &[u8], end: &[u8], files: &[PathBuf]) -> Result<(), EngineError> {
        let mut batch = Batch::default();
        batch.delete_range(start.to_vec(), end.to_vec());
        self.write(&batch)?;
        // The removal reaches a table before the new content does: a crash in between leaves an empty range, never the
        // old content under the new.
        self.flush()?;
        if !files.is_empty() {
            let mut ingest = IngestExternalFileOptions::default();
            // Copies: the files may still be streamed to another node, or be needed to repeat this after a crash.
            ingest.set_move_files(false);
            self.db
                .ingest_external_file_opts(&ingest, files.to_vec())
                .map_err(|error| map_error("ingest", error.as_ref()))?;
        }
        // Ingested tables are synced by RocksDB; what else was written meanwhile is what this makes durable.
        self.sync()
    }

    fn stats(&self) -> EngineStats {
        EngineStats {
            disk_bytes: self.property(properties::TOTAL_SST_FILES_SIZE),
            memtable_bytes: self.property(properties::CUR_SIZE_ALL_MEM_TABLES),
            keys: self.property(properties::ESTIMATE_NUM_KEYS),
        }
    }
}

type BorrowedSnapshot<'a> = rocksdb::Snapshot<'a>;

self_cell!(
    /// A RocksDB snapshot borrows its database; here they live and die together.
    struct SnapshotCell {
        owner: Arc<DB>,

        #[not_covariant]
        dependent: BorrowedSnapshot,
    }
);

struct RocksSnapshot {
    cell: SnapshotCell,
    /// The database has filters on records.
    filtered: bool,
}

impl RocksSnapshot {
    fn iterator(&self, start: &[u8], end: &[u8], one_record: bool) -> DBRawIterator<'_> {
        let mut reads = ReadOptions::default();
        reads.set_iterate_lower_bound(start);
        // RocksDB has no empty interval: an inverted one becomes [start, start).
        reads.set_iterate_upper_bound(end.max(start));
        reads.set_total_order_seek(!one_record);
        reads.set_prefix_same_as_start(one_record);
        self.cell.with_dependent(|db, snapshot| {
            reads.set_snapshot(snapshot);
            db.raw_iterator_opt(reads)
        })
    }
}

impl Snapshot for RocksSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.cell.with_dependent(|_, snapshot| owned(snapshot.get_pinned(key)))
    }

    fn first(&self, start: &[u8], end: &[u8]) -> Result<Option<(Bytes, Bytes)>, EngineError> {
        let mut iterator = self.iterator(start, end, self.filtered && within_one_record(start, end));
        iterator.seek(start);
        match iterator.item() {
            Some((key, value)) => Ok(Some((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)))),
            None => iterator.status().map(|()| None).map_err(|error| map_error("read", error.as_ref())),
        }
    }

    fn cursor<'a>(&'a self, start: &[u8], end: &[u8]) -> Box<dyn Cursor + 'a> {
        Box::new(RocksCursor { iterator: self.iterator(start, end, false) })
    }
}

struct RocksCursor<'a> {
    iterator: DBRawIterator<'a>,
}

impl RocksCursor<'_> {
    fn check(&self) -> Result<(), EngineError> {
        if self.iterator.valid() {
            return Ok(());
        }
        self.iterator.status().map_err(|error| map_error("read", error.as_ref()))
    }
}

// RocksDB clamps seeks into the iterator's bounds itself.
impl Cursor for RocksCursor<'_> {
    fn seek(&mut self, key: &[u8]) -> Result<(), EngineError> {
        self.iterator.seek(key);
        self.check()
    }

    fn seek_back(&mut self, key: &[u8]) -> Result<(), EngineError> {
        self.iterator.seek_for_prev(key);
        self.check()
    }

    fn next(&mut self) -> Result<(), EngineError> {
        self.iterator.next();
        self.check()
    }

    fn prev(&mut self) -> Result<(), EngineError> {
        self.iterator.prev();
        self.check()
    }

    fn current(&self) -> Option<(&[u8], &[u8])> {
        self.iterator.item()
    }
}

fn owned(found: Result<Option<DBPinnableSlice<'_>>, rocksdb::Error>) -> Result<Option<Bytes>, EngineError> {
    let found = found.map_err(|error| map_error("read", error.as_ref()))?;
    Ok(found.map(|value| Bytes::copy_from_slice(&value)))
}

/// RocksDB passes the system's error on as text only.
fn map_error(operation: &'static str, message: &str) -> EngineError {
    if message.contains("No space left on device") || message.contains("Disk quota exceeded") {
        EngineError::DiskFull { operation }
    } else {
        EngineError::Io { operation, reason: message.to_owned() }
    }
}

/// Length and checksum of a finished file, read back from where RocksDB wrote it.
fn describe(path: PathBuf) -> Result<ExportedFile, EngineError> {
    let sum = |path: &Path| -> io::Result<(u64, u32)> {
        let mut file = File::open(path)?;
        let mut hasher = crc32fast::Hasher::new();
        let mut size_bytes = 0;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok((size_bytes, hasher.finalize())),
                length => {
                    hasher.update(&buffer[..length]);
                    size_bytes += length as u64;
                }
            }
        }
    };
    let (size_bytes, crc32) = sum(&path).map_err(|error| file_error("export", &error))?;
    Ok(ExportedFile { path, size_bytes, crc32 })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_sees_records_and_not_versions() {
        let unversioned = [&[0; GROUP_LEN][..], &[0x01], &[b'x'; 40]].concat();
        let record = [&[0; GROUP_LEN][..], &[VERSIONED_CLASS], b"kkey\0\x01"].concat();
        let version = [&record[..], &[7; VERSION_LEN]].concat();
        assert_eq!(record_of(&unversioned), unversioned);
        assert_eq!(record_of(&version), record);
        // What is too short for a version is not one, and nothing panics on it.
        for length in 0..=GROUP_LEN + VERSION_LEN {
            assert_eq!(record_of(&version[..length]).len(), length);
        }

        let last = [&record[..], &[0xFF; VERSION_LEN]].concat();
        let neighbour = [&[0; GROUP_LEN][..], &[VERSIONED_CLASS], b"kkez\0\x01", &[0; VERSION_LEN]].concat();
        assert!(within_one_record(&version, &last));
        assert!(!within_one_record(&version, &neighbour));
        assert!(!within_one_record(&unversioned, &unversioned));
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let full = "IO error: No space left on device: While appending to file: /data/000012.log";
        assert!(matches!(map_error("write", full), EngineError::DiskFull { operation: "write" }));
        assert!(matches!(map_error("write", "Corruption: bad block"), EngineError::Io { .. }));
    }
}
