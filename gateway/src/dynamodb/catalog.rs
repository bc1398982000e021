//! Table descriptors, kept for a moment.
//!
//! Every request on an item needs its table's descriptor. A descriptor is immutable and its table id is never reused,
//! so an old one can be wrong in one way only: the table is gone, or replaced by another of the same name. Descriptors
//! are therefore believed for [`BELIEVED_FOR`]; in that time after a DeleteTable through *another* gateway, items still
//! go to the deleted table (`docs/dynamodb.md` names this bound). Through this gateway the change is seen at once.

use std::sync::Arc;
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
    tables: Cache<String, Arc<Table>>,
}

impl Catalog {
    pub(super) fn new() -> Self {
        Self { tables: Cache::builder().max_capacity(KEPT).time_to_live(BELIEVED_FOR).build() }
    }

    /// The descriptor of a table. Requests that arrive together ask the store once.
    pub(super) async fn table<S: Store>(&self, store: &S, name: &str) -> Result<Arc<Table>, Fault> {
        if let Some(table) = self.tables.get(name).await {
            return Ok(table);
        }
        let asked = self.tables.try_get_with_by_ref(name, async {
            let outcome = store.call(describe(name)).await?;
            descriptor(outcome).map(Arc::new)
        });
        asked.await.map_err(|fault| Arc::unwrap_or_clone(fault))
    }

    /// What is known of a table may be wrong from now on.
    pub(super) async fn forget(&self, name: &str) {
        self.tables.invalidate(name).await;
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
