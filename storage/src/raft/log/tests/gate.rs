//! An engine whose syncs happen when the test says so, and which remembers what was written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::engine::memory::MemoryEngine;
use crate::engine::{Batch, Engine, EngineError, EngineStats, ExportedFile, Snapshot};

/// Shut: syncs wait for a permit. Open: they go through.
#[derive(Clone)]
pub(super) struct Gate(Arc<Inner>);

struct Inner {
    engine: MemoryEngine,
    turn: Mutex<Turn>,
    changed: Condvar,
    failing: AtomicBool,
    syncs: AtomicUsize,
    batches: Mutex<Vec<Batch>>,
}

#[derive(Default)]
struct Turn {
    shut: bool,
    /// Syncs that wait now.
    waiting: usize,
    permits: usize,
}

impl Gate {
    pub(super) fn new(engine: MemoryEngine) -> Self {
        Self(Arc::new(Inner {
            engine,
            turn: Mutex::default(),
            changed: Condvar::new(),
            failing: AtomicBool::new(false),
            syncs: AtomicUsize::new(0),
            batches: Mutex::default(),
        }))
    }

    pub(super) fn shut(&self) {
        self.0.turn.lock().shut = true;
    }

    /// Lets everything through from now on.
    pub(super) fn open(&self) {
        self.0.turn.lock().shut = false;
        self.0.changed.notify_all();
    }

    /// Waits until a sync stands at the gate.
    pub(super) fn await_sync(&self) {
        let mut turn = self.0.turn.lock();
        while turn.waiting == 0 {
            self.0.changed.wait(&mut turn);
        }
    }

    /// Whether a sync stands at the gate.
    pub(super) fn is_waiting(&self) -> bool {
        self.0.turn.lock().waiting > 0
    }

    /// Lets the sync that stands at the gate through, and returns when it has happened.
    pub(super) fn permit(&self) {
        self.await_sync();
        let before = self.syncs();
        let mut turn = self.0.turn.lock();
        turn.permits += 1;
        self.0.changed.notify_all();
        while self.syncs() == before {
            self.0.changed.wait(&mut turn);
        }
    }

    /// Every sync fails from now on.
    pub(super) fn fail(&self) {
        self.0.failing.store(true, Ordering::Release);
    }

    /// Syncs that happened or failed.
    pub(super) fn syncs(&self) -> usize {
        self.0.syncs.load(Ordering::Acquire)
    }

    /// Takes what was written since the last call.
    pub(super) fn take_batches(&self) -> Vec<Batch> {
        std::mem::take(&mut *self.0.batches.lock())
    }
}

impl Engine for Gate {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.0.engine.get(key)
    }

    fn write(&self, batch: &Batch) -> Result<(), EngineError> {
        self.0.batches.lock().push(batch.clone());
        self.0.engine.write(batch)
    }

    fn sync(&self) -> Result<(), EngineError> {
        let mut turn = self.0.turn.lock();
        turn.waiting += 1;
        self.0.changed.notify_all();
        while turn.shut && turn.permits == 0 {
            self.0.changed.wait(&mut turn);
        }
        turn.waiting -= 1;
        turn.permits = turn.permits.saturating_sub(1);
        let result = if self.0.failing.load(Ordering::Acquire) {
            Err(EngineError::Io { operation: "sync", reason: "told to fail".to_owned() })
        } else {
            self.0.engine.sync()
        };
        self.0.syncs.fetch_add(1, Ordering::Release);
        self.0.changed.notify_all();
        result
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.0.engine.snapshot()
    }

    fn export(
        &self,
        snapshot: &dyn Snapshot,
        start: &[u8],
        end: &[u8],
        dir: &Path,
        file_bytes: u64,
    ) -> Result<Vec<ExportedFile>, EngineError> {
        self.0.engine.export(snapshot, start, end, dir, file_bytes)
    }

    fn replace(&self, start: &[u8], end: &[u8], files: &[PathBuf]) -> Result<(), EngineError> {
        self.0.engine.replace(start, end, files)
    }

    fn stats(&self) -> EngineStats {
        self.0.engine.stats()
    }
}
