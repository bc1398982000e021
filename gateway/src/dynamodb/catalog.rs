//! Table descriptors, kept for a moment.
//!
//! Every request on an item needs its table's descriptor. Its keys are immutable and its table id is never reused, so an
//! old one can be wrong in two ways only: the table is gone, or replaced by another of the same name; or it has other
//! indexes by now, for which [`super::fill`] waits.
//! Descriptors are therefore believed for [`BELIEVED_FOR`]; in that time after a DeleteTable through *another* gateway,
//! items still go to the deleted table (`docs/dynamodb.md` names this bound). Through this gateway the change is seen
//! at once: each CreateTable and DeleteTable begins a generation, and descriptors of earlier generations are not
//! believed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use commands::dynamo::{Operation, Outcome, Table, names_above};
use keyspace::layout;
use moka::future::Cache;

use super::fault::{Exception, Fault};
use super::store::{Call, Store};

/// How long a descriptor is believed.
const BELIEVED_FOR: Duration = Duration::from_secs(1);
/// How many descriptors are kept.
const KEPT: u64 = 10_000;
/// Tables whose names are read with one request.
const NAMES: usize = 100;

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

/// A table as it is now, never from memory; `None`: it is gone.
pub(super) async fn as_it_is<S: Store>(store: &S, table: &Table) -> Result<Option<Arc<Table>>, Fault> {
    match descriptor(store.call(describe(&table.name)).await?) {
        Ok(found) if found.id == table.id => Ok(Some(Arc::new(found))),
        Ok(_) => Ok(None),
        Err(fault) if fault.exception == Exception::ResourceNotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// All tables, one after the other in the order of their names: for work in the background.
#[derive(Default)]
pub(super) struct Tables {
    names: VecDeque<String>,
    last: String,
    all: bool,
}

impl Tables {
    /// The next table as it is now.
    pub(super) async fn next<S: Store>(&mut self, store: &S) -> Result<Option<Table>, Fault> {
        loop {
            while let Some(name) = self.names.pop_front() {
                match descriptor(store.call(describe(&name)).await?) {
                    Ok(table) => return Ok(Some(table)),
                    Err(fault) if fault.exception == Exception::ResourceNotFound => {}
                    Err(fault) => return Err(fault),
                }
            }
            if self.all {
                return Ok(None);
            }
            let interval = names_above(&self.last);
            let list = Operation::ListTables { start_after: self.last.clone(), limit: NAMES };
            match store.call(Call::on_interval(list, interval)).await? {
                Outcome::Tables { names, more } => {
                    self.all = !more || names.is_empty();
                    self.last = names.last().cloned().unwrap_or_default();
                    self.names = names.into();
                }
                other => {
                    return Err(Fault::internal(&format_args!("table names were asked for, answered was {other:?}")));
                }
            }
        }
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
                indexes: Vec::new(),
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
