//! What the memory and the embedded catalog have in common: the newest snapshot, the last commits, and the watchers.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{CatalogError, Committed, Revision, Snapshot, Transaction, Watch};

/// How many commits a watcher may fall behind before it has to take a new snapshot.
const KEPT_COMMITS: usize = 1024;

/// The newest snapshot and how it came about.
pub struct State {
    snapshot: Arc<Snapshot>,
    /// The last commits, oldest first.
    kept: VecDeque<Arc<Committed>>,
    /// All commits behind this revision are in `kept`.
    kept_from: Revision,
    head: watch::Sender<Revision>,
}

impl State {
    /// Starts from a snapshot; commits before it cannot be watched.
    pub fn new(snapshot: Snapshot) -> Self {
        let kept_from = snapshot.revision();
        Self { snapshot: Arc::new(snapshot), kept: VecDeque::new(), kept_from, head: watch::Sender::new(kept_from) }
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.clone()
    }

    /// What committing would do: checks the preconditions and gives it the next revision.
    pub fn prepare(&self, transaction: Transaction) -> Result<Committed, CatalogError> {
        for (id, expected) in transaction.preconditions() {
            if self.snapshot.get(id).map(|stored| stored.revision) != expected {
                return Err(CatalogError::Conflict { id });
            }
        }
        let revision = Revision(self.snapshot.revision().0 + 1);
        Ok(Committed { revision, changes: transaction.into_changes() })
    }

    /// Takes over a prepared commit, which is durable by now, and wakes the watchers.
    pub fn apply(&mut self, committed: Committed) {
        Arc::make_mut(&mut self.snapshot).apply(&committed);
        let revision = committed.revision;
        self.kept.push_back(Arc::new(committed));
        if self.kept.len() > KEPT_COMMITS {
            self.kept_from = self.kept.pop_front().expect("longer than the limit").revision;
        }
        self.head.send_replace(revision);
    }

    /// The first commit behind `after`, if there is one already.
    fn next_after(&self, after: Revision) -> Result<Option<Arc<Committed>>, CatalogError> {
        if after < self.kept_from {
            return Err(CatalogError::Compacted { oldest: self.kept_from });
        }
        let at = self.kept.partition_point(|committed| committed.revision <= after);
        Ok(self.kept.get(at).cloned())
    }
}

/// Commits behind `after`. Holds the state weakly: a closed catalog ends its watches.
pub fn watch(state: &Arc<Mutex<State>>, after: Revision) -> Result<Watch, CatalogError> {
    let head = {
        let state = state.lock();
        state.next_after(after)?;
        state.head.subscribe()
    };
    Ok(stream::try_unfold((Arc::downgrade(state), head, after), next).boxed())
}

type Position = (Weak<Mutex<State>>, watch::Receiver<Revision>, Revision);

async fn next((state, mut head, after): Position) -> Result<Option<(Arc<Committed>, Position)>, CatalogError> {
    loop {
        head.borrow_and_update();
        let found = match state.upgrade() {
            None => return Ok(None),
            Some(state) => state.lock().next_after(after)?,
        };
        if let Some(committed) = found {
            let revision = committed.revision;
            return Ok(Some((committed, (state, head, revision))));
        }
        if head.changed().await.is_err() {
            return Ok(None);
        }
    }
}
