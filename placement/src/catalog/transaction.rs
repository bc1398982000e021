//! Changes that happen together, guarded by what their author has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::record::{Record, RecordId};
use super::{Revision, Snapshot};

/// Several changes over one snapshot.
///
/// Invariant: every record that is changed is also guarded: the commit is refused when that record is not what the
/// snapshot showed. Further records that the decision rests on are guarded by [`Transaction::require`].
#[derive(Clone, Debug)]
pub struct Transaction {
    snapshot: Arc<Snapshot>,
    required: BTreeSet<RecordId>,
    changes: BTreeMap<RecordId, Option<Arc<Record>>>,
}

impl Transaction {
    /// Changes nothing yet.
    pub fn over(snapshot: &Arc<Snapshot>) -> Self {
        Self { snapshot: snapshot.clone(), required: BTreeSet::new(), changes: BTreeMap::new() }
    }

    /// Creates or replaces a record.
    pub fn put(mut self, record: Record) -> Self {
        self.changes.insert(record.id(), Some(Arc::new(record)));
        self
    }

    /// Deletes a record.
    pub fn delete(mut self, id: RecordId) -> Self {
        self.changes.insert(id, None);
        self
    }

    /// Refuses the commit when this record is not what the snapshot showed, though nothing is written to it.
    pub fn require(mut self, id: RecordId) -> Self {
        self.required.insert(id);
        self
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What must hold: each record's revision as the snapshot showed it, `None` for "does not exist".
    pub fn preconditions(&self) -> impl Iterator<Item = (RecordId, Option<Revision>)> {
        let ids: BTreeSet<RecordId> = self.required.iter().chain(self.changes.keys()).copied().collect();
        ids.into_iter().map(|id| (id, self.snapshot.get(id).map(|stored| stored.revision)))
    }

    /// What is written, at most one change a record; `None` deletes.
    pub fn into_changes(self) -> Vec<(RecordId, Option<Arc<Record>>)> {
        self.changes.into_iter().collect()
    }
}
