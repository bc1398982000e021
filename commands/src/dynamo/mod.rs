//! DynamoDB operations.
//!
//! The gateway turns a client's words into [`value`]s, checks them against the table's descriptor ([`table`]) and sends
//! an [`Operation`] with the encoded key ([`key`]) and the item's [`record`] to the leader of that key, where it is
//! evaluated over a [`View`]. Conditions, updates, filters and projections travel along as trees ([`expression`]) and
//! are evaluated there too.
//!
//! A write on a table with secondary indexes ([`index`]) changes the entries of its item as well. These may lie in any
//! group, so it reaches beyond the key that it names, and its sender evaluates it as a transaction.
//!
//! Left out until their issue: streams, and giving back the items of a deleted table (they stay
//! stored, out of reach, because table ids are never reused).

use bytes::Bytes;

use crate::view::{View, ViewError};

pub mod alter;
pub mod expression;
mod fields;
pub mod index;
pub mod key;
mod read;
pub mod record;
pub mod table;
mod tables;
pub mod token;
pub mod value;
mod write;

#[cfg(test)]
mod index_tests;
#[cfg(test)]
mod item_tests;

pub use expression::Projection;
pub use fields::RecordError;
pub use index::{Index, Source};
pub use read::{MAX_PAGE_BYTES, Page, PageRead, Selection, behind, lane_of};
pub use table::Table;
pub use tables::names_above;
pub use value::{AttributeValue, Item};
pub use write::{Change, ItemWrite, Returns};

/// What the gateway asks of the leader of an item or of the table descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Creates a table and allocates its id.
    CreateTable {
        /// Table name.
        name: String,
        /// Descriptor record; its table id is not set yet.
        descriptor: Bytes,
    },
    /// Removes a table's descriptor.
    DeleteTable {
        /// Table name.
        name: String,
    },
    /// Changes a table's descriptor.
    AlterTable {
        /// Table name.
        name: String,
        /// What changes.
        alteration: alter::Alteration,
    },
    /// Reads a table's descriptor.
    DescribeTable {
        /// Table name.
        name: String,
    },
    /// Lists table names in order.
    ListTables {
        /// Names above this one; empty: from the first.
        start_after: String,
        /// At most this many.
        limit: usize,
    },
    /// Reads an item.
    GetItem {
        /// Encoded item key.
        key: Bytes,
        /// Only these parts of it.
        projection: Option<Projection>,
    },
    /// Writes an item.
    WriteItem(Box<ItemWrite>),
    /// Writes several items, or none of them if one may not be written. Their keys lie in one group, or whoever
    /// evaluates sees several.
    Together(Vec<ItemWrite>),
    /// Reads neighbouring items.
    ReadPage(Box<PageRead>),
}

impl Operation {
    /// Whether it may write.
    pub fn writes(&self) -> bool {
        match self {
            Operation::CreateTable { .. } | Operation::DeleteTable { .. } | Operation::AlterTable { .. } => true,
            Operation::WriteItem(_) | Operation::Together(_) => true,
            Operation::DescribeTable { .. } | Operation::ListTables { .. } => false,
            Operation::GetItem { .. } | Operation::ReadPage(_) => false,
        }
    }

    /// Whether it writes keys that it does not name: entries of indexes.
    pub fn reaches_beyond(&self) -> bool {
        match self {
            Operation::WriteItem(write) => write.indexed.is_some(),
            Operation::Together(writes) => writes.iter().any(|write| write.indexed.is_some()),
            _ => false,
        }
    }
}

/// What came of an [`Operation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An item record.
    Item(Bytes),
    /// No item, or none asked for.
    None,
    /// A table descriptor record.
    Table(Bytes),
    /// Table names, and whether there are more.
    Tables {
        /// In order.
        names: Vec<String>,
        /// More names follow.
        more: bool,
    },
    /// A part of an item.
    Part {
        /// An item record.
        item: Bytes,
        /// The size of the whole item.
        bytes: usize,
    },
    /// An item was written, by a request that asks for sizes.
    Written {
        /// An item record, if attributes were asked for.
        attributes: Option<Bytes>,
        /// The size of the item before; 0 if there was none.
        old_bytes: usize,
        /// The size of the item afterwards; 0 if there is none.
        new_bytes: usize,
        /// Of each entry that was written, its index and the larger of its sizes before and after.
        entries: Vec<(String, usize)>,
    },
    /// Neighbouring items.
    Page(Page),
    /// Of writes together, one for each. If any is a refusal, nothing was written.
    Together(Vec<Outcome>),
    /// The condition of a write is not true of the item.
    ConditionFailed {
        /// The item record, if there is one and it was asked for.
        item: Option<Bytes>,
    },
    /// The operation is refused by DynamoDB's rules.
    Fault {
        /// Name of the exception, without prefix.
        name: String,
        /// Message.
        message: String,
    },
}

impl Outcome {
    /// A refusal by the rules that AWS calls validation.
    fn validation(message: String) -> Self {
        Outcome::Fault { name: "ValidationException".to_owned(), message }
    }

    /// Whether nothing was written because it may not be.
    pub fn is_refusal(&self) -> bool {
        match self {
            Outcome::Fault { .. } | Outcome::ConditionFailed { .. } => true,
            Outcome::Together(outcomes) => outcomes.iter().any(Outcome::is_refusal),
            _ => false,
        }
    }
}

/// Runs one operation.
pub async fn run<V: View>(view: &mut V, operation: &Operation) -> Result<Outcome, ViewError> {
    match operation {
        Operation::CreateTable { name, descriptor } => tables::create(view, name, descriptor).await,
        Operation::DeleteTable { name } => tables::delete(view, name).await,
        Operation::AlterTable { name, alteration } => alter::run(view, name, alteration).await,
        Operation::DescribeTable { name } => tables::describe(view, name).await,
        Operation::ListTables { start_after, limit } => tables::list(view, start_after, *limit).await,
        Operation::GetItem { key, projection } => read::get(view, key, projection.as_ref()).await,
        Operation::WriteItem(write) => write::run(view, write).await,
        Operation::Together(writes) => write::together(view, writes).await,
        Operation::ReadPage(page) => read::page(view, page).await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use keyspace::TableId;

    use super::key::KeyType;
    use super::table::{Billing, KeyAttribute};
    use super::*;
    use crate::testing::{MemoryView, ready};

    fn table(name: &str) -> Table {
        Table {
            id: TableId(0),
            uuid: [0; 16],
            created_ms: 0,
            name: name.into(),
            arn: format!("arn:{name}"),
            partition_key: KeyAttribute { name: "id".into(), kind: KeyType::Text },
            sort_key: None,
            billing: Billing::PayPerRequest,
            deletion_protection: false,
            tags: std::collections::BTreeMap::new(),
            time_to_live: None,
            indexes: Vec::new(),
        }
    }

    fn go(view: &mut MemoryView, operation: Operation) -> Outcome {
        ready(run(view, &operation)).unwrap()
    }

    fn create(view: &mut MemoryView, table: &Table) -> Outcome {
        go(view, Operation::CreateTable { name: table.name.clone(), descriptor: table.encode() })
    }

    fn created(outcome: Outcome) -> Table {
        let Outcome::Table(record) = outcome else { panic!("{outcome:?}") };
        Table::decode(&record).unwrap()
    }

    fn fault(name: &str, message: &str) -> Outcome {
        Outcome::Fault { name: name.into(), message: message.into() }
    }

    #[test]
    fn a_table_is_created_once_and_described_as_created() {
        let mut view = MemoryView::new(1234);
        let made = created(create(&mut view, &table("orders")));
        assert_eq!(made.created_ms, 1234);
        assert_eq!((made.uuid[6] >> 4, made.uuid[8] >> 6), (4, 2));
        assert_eq!(Table { id: TableId(0), uuid: [0; 16], created_ms: 0, ..made.clone() }, table("orders"));
        assert_eq!(created(go(&mut view, Operation::DescribeTable { name: "orders".into() })), made);
        let again = create(&mut view, &table("orders"));
        assert_eq!(again, fault("ResourceInUseException", "Table already exists: orders"));
    }

    #[test]
    fn consecutive_tables_lie_far_apart_and_ids_are_never_reused() {
        let mut view = MemoryView::default();
        let first = created(create(&mut view, &table("t-1"))).id;
        let second = created(create(&mut view, &table("t-2"))).id;
        let third = created(create(&mut view, &table("t-3"))).id;
        assert_eq!([first, second, third], [TableId(1 << 31), TableId(1 << 30), TableId(3 << 30)]);
        go(&mut view, Operation::DeleteTable { name: "t-3".into() });
        assert_eq!(created(create(&mut view, &table("t-3"))).id, TableId(1 << 29));
    }

    #[test]
    fn a_refused_table_takes_no_id() {
        let mut view = MemoryView::default();
        let junk = Operation::CreateTable { name: "junk".into(), descriptor: Bytes::from_static(b"?") };
        assert_eq!(go(&mut view, junk), fault("ValidationException", "The table descriptor is not valid"));
        let other = Operation::CreateTable { name: "other".into(), descriptor: table("name").encode() };
        assert_eq!(go(&mut view, other), fault("ValidationException", "The table descriptor is not valid"));
        assert!(view.records().is_empty());
    }

    #[test]
    fn deleting_removes_the_descriptor_unless_it_is_protected() {
        let mut view = MemoryView::default();
        let made = created(create(&mut view, &table("orders")));
        let delete = |name: &str| Operation::DeleteTable { name: name.into() };
        assert_eq!(created(go(&mut view, delete("orders"))), made);
        let missing = fault("ResourceNotFoundException", "Requested resource not found: Table: orders not found");
        assert_eq!(go(&mut view, delete("orders")), missing);
        assert_eq!(go(&mut view, Operation::DescribeTable { name: "orders".into() }), missing);
        create(&mut view, &Table { deletion_protection: true, ..table("kept") });
        assert!(matches!(go(&mut view, delete("kept")), Outcome::Fault { name, .. } if name == "ValidationException"));
        created(go(&mut view, Operation::DescribeTable { name: "kept".into() }));
    }

    #[test]
    fn tables_are_listed_by_name_in_pages() {
        let mut view = MemoryView::default();
        for name in ["bb-2", "aaa", "bb", "ccc"] {
            create(&mut view, &table(name));
        }
        let mut list = |start_after: &str, limit| match go(
            &mut view,
            Operation::ListTables { start_after: start_after.into(), limit },
        ) {
            Outcome::Tables { names, more } => (names, more),
            other => panic!("{other:?}"),
        };
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(list("", 100), (names(&["aaa", "bb", "bb-2", "ccc"]), false));
        assert_eq!(list("", 2), (names(&["aaa", "bb"]), true));
        assert_eq!(list("bb", 2), (names(&["bb-2", "ccc"]), false));
        assert_eq!(list("ccc", 2), (names(&[]), false));
        assert_eq!(list("b", 4).0, names(&["bb", "bb-2", "ccc"]));
    }
}
