//! Table descriptors, kept for a moment.
//!
//! Every request on an item needs its table's descriptor. What items need of it is immutable and its table id is never
//! reused, so an old one can be wrong in one way only: the table is gone, or replaced by another of the same name.
//! Descriptors are therefore believed for [`BELIEVED_FOR`]; in that time after a DeleteTable through *another* gateway,
//! items still go to the deleted table (`docs/dynamodb.md` names this bound). Through this gateway the change is seen
//! at once: each CreateTable and DeleteTable begins a generation, and descriptors of earlier generations are not
//! believed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use commands::dynamo::{Operation, Outcome, Table};
use keyspace::layout;
use moka::future::Cache;

use super::fault::Fault;
use super::store::{Call, Store};

/// How long a descriptor is believed.
const BELIEVED_FOR: Duration = Duration::from_secs(1);
/// How many descriptors are kept.
const KEPT: u64 = 10_000;

/// The descriptors that were asked for lately, by table name.
pub(super) struct Catalog {
    tables: Cache<String, Known>,
    /// How often tables were created and deleted through this gateway.
    generation: AtomicU64,
}

/// A descriptor, and the generation in which the store was asked for it.
#[derive(Clone)]
struct Known {
    table: Arc<Table>,
    generation: u64,
}

impl Catalog {
    pub(super) fn new() -> Self {
        let tables = Cache::builder().max_capacity(KEPT).time_to_live(BELIEVED_FOR).build();
        Self { tables, generation: AtomicU64::new(0) }
    }

    /// The descriptor of a table. Requests that arrive together ask the store once.
    pub(super) async fn table<S: Store>(&self, store: &S, name: &str) -> Result<Arc<Table>, Fault> {
        let wanted = self.generation();
        loop {
            let asked = self.tables.try_get_with_by_ref(name, async {
                let generation = self.generation();
                let table = descriptor(store.call(describe(name)).await?)?;
                Ok::<_, Fault>(Known { table: Arc::new(table), generation })
            });
            let known = asked.await.map_err(Arc::unwrap_or_clone)?;
            if known.generation >= wanted {
                return Ok(known.table);
            }
            // Asked for before the latest change. Whoever asks now, asks after it.
            self.tables.invalidate(name).await;
        }
    }

    /// A table was created or deleted, or perhaps was: whatever was asked for before is not believed any more.
    pub(super) fn forget(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }
}

/// Asks for a descriptor.
pub(super) fn describe(name: &str) -> Call {
    let operation = Operation::DescribeTable { name: name.to_owned() };
    Call::on_units(operation, [Bytes::from(layout::table_descriptor(name))])
}

/// The descriptor in an answer.
pub(super) fn descriptor(outcome: Outcome) -> Result<Table, Fault> {
    match outcome {
        Outcome::Table(record) => Table::decode(&record).map_err(|error| Fault::internal(&error)),
        Outcome::Fault { name, message } => Err(Fault::from_leader(&name, message)),
        other => Err(Fault::internal(&format_args!("a table was asked for, answered was {other:?}"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use commands::dynamo::key::KeyType;
    use commands::dynamo::table::{Billing, KeyAttribute};
    use keyspace::{KeyRange, TableId};
    use tokio::sync::Notify;

    use super::super::store::StoreError;
    use super::*;

    /// Answers a table with a new id each time; the first answer waits.
    #[derive(Default)]
    struct Slow {
        calls: AtomicU64,
        asked: Notify,
        go_on: Notify,
    }

    impl Store for Slow {
        async fn call_all(&self, _calls: Vec<Call>) -> Vec<Result<Outcome, StoreError>> {
            panic!("only descriptors are asked for")
        }

        async fn transact(&self, _calls: Vec<Call>) -> Result<Vec<Outcome>, StoreError> {
            panic!("only descriptors are asked for")
        }

        async fn parts_of(&self, _range: &KeyRange) -> Result<Vec<KeyRange>, StoreError> {
            panic!("only descriptors are asked for")
        }

        async fn call(&self, _call: Call) -> Result<Outcome, StoreError> {
            let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
            if call == 1 {
                self.asked.notify_one();
                self.go_on.notified().await;
            }
            let table = Table {
                id: TableId(call as u32),
                uuid: [0; 16],
                created_ms: 0,
                name: "orders".into(),
                arn: String::new(),
                partition_key: KeyAttribute { name: "p".into(), kind: KeyType::Text },
                sort_key: None,
                billing: Billing::PayPerRequest,
                deletion_protection: false,
                tags: std::collections::BTreeMap::new(),
                time_to_live: None,
            };
            Ok(Outcome::Table(table.encode()))
        }
    }

    #[tokio::test]
    async fn an_answer_from_before_a_change_is_not_believed_after_it() {
        let (store, catalog) = (Slow::default(), Catalog::new());
        let before = async { catalog.table(&store, "orders").await.unwrap().id };
        let after = async {
            store.asked.notified().await;
            catalog.forget();
            // The first answer is still on its way when this asks.
            let table = catalog.table(&store, "orders");
            store.go_on.notify_one();
            table.await.unwrap().id
        };
        let (before, after) = tokio::join!(before, after);
        assert_eq!((before, after), (TableId(1), TableId(2)));
        assert_eq!(catalog.table(&store, "orders").await.unwrap().id, TableId(2));
        catalog.forget();
        assert_eq!(catalog.table(&store, "orders").await.unwrap().id, TableId(3));
    }
}
