//! The catalog in memory, for tests and for looking at plans: forgets everything with the process.

use std::sync::Arc;

use parking_lot::Mutex;

use super::state::{self, State};
use super::{Catalog, CatalogError, Revision, Snapshot, Transaction, Watch};

/// A catalog in memory.
pub struct MemoryCatalog {
    state: Arc<Mutex<State>>,
}

impl MemoryCatalog {
    /// Holds no record.
    pub fn new() -> Self {
        Self { state: Arc::new(Mutex::new(State::new(Snapshot::default()))) }
    }
}

impl Default for MemoryCatalog {
    fn default() -> Self {
        Self::new()
    }
}

#[tonic::async_trait]
impl Catalog for MemoryCatalog {
    async fn snapshot(&self) -> Result<Arc<Snapshot>, CatalogError> {
        Ok(self.state.lock().snapshot())
    }

    async fn commit(&self, transaction: Transaction) -> Result<Revision, CatalogError> {
        let mut state = self.state.lock();
        let committed = state.prepare(transaction)?;
        let revision = committed.revision;
        state.apply(committed);
        Ok(revision)
    }

    async fn watch(&self, after: Revision) -> Result<Watch, CatalogError> {
        state::watch(&self.state, after)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::conformance;
    use super::*;

    #[tokio::test]
    async fn conforms() {
        conformance::run(|| Arc::new(MemoryCatalog::new())).await;
    }
}
