//! One suite for every engine: random operations against a model, on the memory engine and on RocksDB in both tunings.
//!
//! A crash is real for each: the memory engine forgets, RocksDB is killed (its files are copied while it is open, and
//! the copy is opened). What must be there afterwards differs only in what was not synced.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::memory::MemoryEngine;
use super::rocks::{RocksEngine, RocksOptions};
use super::{Batch, Change, Engine, EngineError, Snapshot};

type Model = BTreeMap<Bytes, Bytes>;

/// What a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Survives {
    /// Exactly what was synced.
    Synced,
    /// All that was written: the system lives on and holds the write-ahead log.
    Written,
}

enum Subject {
    Memory(MemoryEngine),
    Rocks { options: fn() -> RocksOptions, survives: Survives, dir: TempDir, engine: RocksEngine },
}

impl Subject {
    fn rocks(options: fn() -> RocksOptions, survives: Survives) -> Self {
        let dir = TempDir::new().unwrap();
        let engine = RocksEngine::open(dir.path(), &options()).unwrap();
        Subject::Rocks { options, survives, dir, engine }
    }

    fn all() -> Vec<Self> {
        vec![
            Subject::Memory(MemoryEngine::new()),
            Subject::rocks(RocksOptions::log, Survives::Written),
            Subject::rocks(RocksOptions::data, Survives::Synced),
        ]
    }

    fn engine(&self) -> &dyn Engine {
        match self {
            Subject::Memory(engine) => engine,
            Subject::Rocks { engine, .. } => engine,
        }
    }

    fn crash(self) -> (Self, Survives) {
        match self {
            Subject::Memory(engine) => {
                engine.crash();
                (Subject::Memory(engine), Survives::Synced)
            }
            Subject::Rocks { options, survives, dir, engine } => {
                engine.keep_files().unwrap();
                let copy = TempDir::new().unwrap();
                // What names tables comes before the tables, which are listed behind it: a compaction meanwhile adds some.
                for tables in [false, true] {
                    let names: Vec<_> =
                        fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
                    for name in names.iter().filter(|name| name.to_string_lossy().ends_with(".sst") == tables) {
                        match fs::copy(dir.path().join(name), copy.path().join(name)) {
                            // Its deletion was under way: no state from here on needs it.
                            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                            copied => drop(copied.unwrap()),
                        }
                    }
                }
                drop(engine);
                let engine = RocksEngine::open(copy.path(), &options()).unwrap();
                (Subject::Rocks { options, survives, dir: copy, engine }, survives)
            }
        }
    }

    /// A clean restart loses nothing, and RocksDB flushes what it has on the way out.
    fn reopen(self) -> Self {
        match self {
            Subject::Memory(engine) => {
                engine.sync().unwrap();
                Subject::Memory(engine)
            }
            Subject::Rocks { options, survives, dir, engine } => {
                drop(engine);
                let engine = RocksEngine::open(dir.path(), &options()).unwrap();
                Subject::Rocks { options, survives, dir, engine }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Write(Vec<Change>),
    Sync,
    Snapshot,
    Look {
        bounds: (Bytes, Bytes),
        from: Bytes,
        back: bool,
        steps: Vec<bool>,
    },
    First((Bytes, Bytes)),
    /// Takes a part of the oldest snapshot (or of now) to a file and puts it in place of the same interval.
    ExportAndReplace((Bytes, Bytes)),
    Crash,
    Reopen,
}

/// Keys shaped like the store's: two groups, an unversioned and a versioned class, few records, few versions.
fn key() -> impl Strategy<Value = Bytes> {
    let record = prop::sample::select(vec![&b"a\0\x01"[..], b"ab\0\x01", b"b\0\x01"]);
    (1..3_u64, 1..3_u8, record, 0..4_u8).prop_map(|(group, class, record, version)| {
        let version = if class == 2 { vec![version; 16] } else { vec![] };
        [&group.to_be_bytes()[..], &[class], record, &version].concat().into()
    })
}

fn bounds() -> impl Strategy<Value = (Bytes, Bytes)> {
    let one_record = key().prop_map(|start| {
        let mut end = start.to_vec();
        let version = end.len().saturating_sub(16).max(9);
        end[version..].fill(0xFF);
        (start, Bytes::from(end))
    });
    let group = (1..3_u64)
        .prop_map(|group| (Bytes::from(group.to_be_bytes().to_vec()), Bytes::from((group + 1).to_be_bytes().to_vec())));
    prop_oneof![3 => one_record, 2 => (key(), key()), 2 => group]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (key(), any::<[u8; 2]>()).prop_map(|(key, value)| Change::Put(key, value.to_vec().into())),
        2 => key().prop_map(Change::Delete),
        1 => bounds().prop_map(|(start, end)| Change::DeleteRange(start, end)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let look = (bounds(), key(), any::<bool>(), prop::collection::vec(any::<bool>(), 0..12))
        .prop_map(|(bounds, from, back, steps)| Op::Look { bounds, from, back, steps });
    prop_oneof![
        12 => prop::collection::vec(change(), 1..6).prop_map(Op::Write),
        3 => Just(Op::Sync),
        3 => Just(Op::Snapshot),
        6 => look,
        6 => bounds().prop_map(Op::First),
        1 => bounds().prop_map(Op::ExportAndReplace),
        1 => Just(Op::Crash),
        1 => Just(Op::Reopen),
    ]
}

fn apply(model: &mut Model, change: &Change) {
    match change {
        Change::Put(key, value) => {
            model.insert(key.clone(), value.clone());
        }
        Change::Delete(key) => {
            model.remove(key);
        }
        Change::DeleteRange(start, end) => model.retain(|key, _| key < start || key >= end),
    }
}

fn within(model: &Model, start: &Bytes, end: &Bytes) -> Vec<(Bytes, Bytes)> {
    let inside = model.iter().filter(|(key, _)| *key >= start && *key < end);
    inside.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn contents(snapshot: &dyn Snapshot) -> Model {
    let mut cursor = snapshot.cursor(b"", &[0xFF; 4]);
    cursor.seek(b"").unwrap();
    let mut found = Model::new();
    while let Some((key, value)) = cursor.current() {
        found.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        cursor.next().unwrap();
    }
    found
}

/// Walks a cursor and a list side by side.
fn look(snapshot: &dyn Snapshot, model: &Model, bounds: &(Bytes, Bytes), from: &Bytes, back: bool, steps: &[bool]) {
    let inside = within(model, &bounds.0, &bounds.1);
    let mut cursor = snapshot.cursor(&bounds.0, &bounds.1);
    let mut at = if back {
        cursor.seek_back(from).unwrap();
        inside.iter().rposition(|(key, _)| key <= from)
    } else {
        cursor.seek(from).unwrap();
        inside.iter().position(|(key, _)| key >= from)
    };
    for forward in steps.iter().map(Some).chain([None]) {
        let expected = at.map(|at| (&inside[at].0[..], &inside[at].1[..]));
        assert_eq!(cursor.current(), expected, "bounds {bounds:?} from {from:?}");
        match forward {
            Some(true) => {
                cursor.next().unwrap();
                at = at.map(|at| at + 1).filter(|at| *at < inside.len());
            }
            Some(false) => {
                cursor.prev().unwrap();
                at = at.and_then(|at| at.checked_sub(1));
            }
            None => {}
        }
    }
}

fn run(mut subject: Subject, ops: &[Op]) {
    let mut model = Model::new();
    let mut synced = Model::new();
    let mut snapshots: Vec<(Arc<dyn Snapshot>, Model)> = Vec::new();
    for op in ops {
        match op {
            Op::Write(changes) => {
                subject.engine().write(&Batch { changes: changes.clone() }).unwrap();
                changes.iter().for_each(|change| apply(&mut model, change));
            }
            Op::Sync => {
                subject.engine().sync().unwrap();
                synced = model.clone();
            }
            Op::Snapshot => {
                if snapshots.len() == 3 {
                    snapshots.remove(0);
                }
                snapshots.push((subject.engine().snapshot(), model.clone()));
            }
            Op::Look { bounds, from, back, steps } => {
                look(&*subject.engine().snapshot(), &model, bounds, from, *back, steps);
                for (snapshot, model) in &snapshots {
                    look(&**snapshot, model, bounds, from, *back, steps);
                    assert_eq!(snapshot.get(from).unwrap(), model.get(from).cloned());
                }
                assert_eq!(subject.engine().get(from).unwrap(), model.get(from).cloned());
            }
            Op::First((start, end)) => {
                let now = (subject.engine().snapshot(), model.clone());
                for (snapshot, model) in snapshots.iter().chain([&now]) {
                    let expected = within(model, start, end).first().cloned();
                    assert_eq!(snapshot.first(start, end).unwrap(), expected, "{start:?}..{end:?}");
                }
            }
            Op::ExportAndReplace((start, end)) => {
                let dir = TempDir::new().unwrap();
                let now = (subject.engine().snapshot(), model.clone());
                let (snapshot, exported) = snapshots.first().unwrap_or(&now);
                let files = subject.engine().export(&**snapshot, start, end, dir.path(), 64).unwrap();
                for file in &files {
                    let bytes = fs::read(&file.path).unwrap();
                    assert_eq!((bytes.len() as u64, crc32fast::hash(&bytes)), (file.size_bytes, file.crc32));
                }
                let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
                subject.engine().replace(start, end, &paths).unwrap();
                assert!(paths.iter().all(|path| path.exists()), "replace keeps its source files");
                apply(&mut model, &Change::DeleteRange(start.clone(), end.clone()));
                model.extend(within(exported, start, end));
                synced = model.clone();
            }
            Op::Crash => {
                snapshots.clear();
                let survives;
                (subject, survives) = subject.crash();
                if survives == Survives::Synced {
                    model = synced.clone();
                }
            }
            Op::Reopen => {
                snapshots.clear();
                subject = subject.reopen();
                synced = model.clone();
            }
        }
        assert_eq!(contents(&*subject.engine().snapshot()), model, "after {op:?}");
    }
    for (snapshot, model) in &snapshots {
        assert_eq!(contents(&**snapshot), *model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_memory_engine_agrees_with_the_model(ops in prop::collection::vec(op(), 1..60)) {
        run(Subject::Memory(MemoryEngine::new()), &ops);
    }
}

proptest! {
    // Each case syncs a disk many times.
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn rocksdb_for_logs_agrees_with_the_model(ops in prop::collection::vec(op(), 1..60)) {
        run(Subject::rocks(RocksOptions::log, Survives::Written), &ops);
    }

    #[test]
    fn rocksdb_for_data_agrees_with_the_model(ops in prop::collection::vec(op(), 1..60)) {
        run(Subject::rocks(RocksOptions::data, Survives::Synced), &ops);
    }
}

#[test]
fn a_snapshot_outlives_the_handle_that_made_it() {
    for subject in Subject::all() {
        let mut batch = Batch::default();
        batch.put(&b"key"[..], &b"value"[..]);
        subject.engine().write(&batch).unwrap();
        let snapshot = subject.engine().snapshot();
        drop(subject);
        assert_eq!(snapshot.get(b"key").unwrap().as_deref(), Some(&b"value"[..]));
    }
}

#[test]
fn a_damaged_file_is_not_taken_in() {
    for subject in Subject::all() {
        let mut batch = Batch::default();
        for number in 0..100_u8 {
            batch.put(vec![number], vec![number; 100]);
        }
        subject.engine().write(&batch).unwrap();
        let dir = TempDir::new().unwrap();
        let files = subject.engine().export(&*subject.engine().snapshot(), &[0], &[200], dir.path(), 1 << 20).unwrap();
        let path = files[0].path.clone();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let refused = subject.engine().replace(&[0], &[200], &[path]).unwrap_err();
        assert!(matches!(refused, EngineError::BadFile { .. } | EngineError::Io { .. }), "{refused}");
    }
}

#[test]
fn sizes_follow_the_content() {
    for subject in Subject::all() {
        let mut batch = Batch::default();
        for number in 0..1000_u32 {
            batch.put(number.to_be_bytes().to_vec(), vec![7; 100]);
        }
        subject.engine().write(&batch).unwrap();
        subject.engine().sync().unwrap();
        let stats = subject.engine().stats();
        assert!(stats.keys >= 1000 && stats.disk_bytes + stats.memtable_bytes > 10_000, "{stats:?}");
    }
}
