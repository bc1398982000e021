//! DynamoDB operations.
//!
//! The gateway turns a client's words into [`value`]s, checks them against the table's descriptor ([`table`]) and sends
//! an [`Operation`] with the encoded key ([`key`]) and the item's [`record`] to the leader of that key, where it is
//! evaluated over a [`View`]. A leader looks into descriptors, never into items.
//!
//! Left out until their issue: expressions, indexes, streams, time to live, and giving back the items of a deleted
//! table (they stay stored, out of reach, because table ids are never reused).

use bytes::Bytes;

use crate::view::{View, ViewError};

mod fields;
mod items;
pub mod key;
pub mod record;
pub mod table;
mod tables;
pub mod value;

pub use fields::RecordError;
pub use table::Table;
pub use tables::names_above;
pub use value::{AttributeValue, Item};

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
    /// Writes an item.
    PutItem {
        /// Encoded item key.
        key: Bytes,
        /// Item record.
        item: Bytes,
        /// Answer the item that was there before.
        return_old: bool,
    },
    /// Reads an item.
    GetItem {
        /// Encoded item key.
        key: Bytes,
    },
    /// Removes an item.
    DeleteItem {
        /// Encoded item key.
        key: Bytes,
        /// Answer the item that was there before.
        return_old: bool,
    },
}

impl Operation {
    /// Whether it may write.
    pub fn writes(&self) -> bool {
        !matches!(self, Operation::DescribeTable { .. } | Operation::ListTables { .. } | Operation::GetItem { .. })
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
    /// The operation is refused by DynamoDB's rules.
    Fault {
        /// Name of the exception, without prefix.
        name: String,
        /// Message.
        message: String,
    },
}

/// Runs one operation.
pub async fn run<V: View>(view: &mut V, operation: &Operation) -> Result<Outcome, ViewError> {
    match operation {
        Operation::CreateTable { name, descriptor } => tables::create(view, name, descriptor).await,
        Operation::DeleteTable { name } => tables::delete(view, name).await,
        Operation::DescribeTable { name } => tables::describe(view, name).await,
        Operation::ListTables { start_after, limit } => tables::list(view, start_after, *limit).await,
        Operation::PutItem { key, item, return_old } => items::put(view, key, item, *return_old).await,
        Operation::GetItem { key } => items::get(view, key).await,
        Operation::DeleteItem { key, return_old } => items::delete(view, key, *return_old).await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use keyspace::TableId;

    use super::key::{KeyType, encode_key_part, item_key};
    use super::record::encode_item;
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

    #[test]
    fn items_are_put_read_and_removed() {
        let mut view = MemoryView::default();
        let part = encode_key_part(&AttributeValue::S("a".into())).unwrap();
        let key = item_key(TableId(1), &part, b"");
        let [first, second] = [1, 2]
            .map(|n: u32| encode_item(&Item::from([("n".into(), AttributeValue::N(n.to_string().parse().unwrap()))])));
        let get = || Operation::GetItem { key: key.clone() };
        let put = |item: &Bytes, return_old| Operation::PutItem { key: key.clone(), item: item.clone(), return_old };
        let delete = |return_old| Operation::DeleteItem { key: key.clone(), return_old };

        assert_eq!(go(&mut view, get()), Outcome::None);
        assert_eq!(go(&mut view, put(&first, true)), Outcome::None);
        assert_eq!(go(&mut view, get()), Outcome::Item(first.clone()));
        assert_eq!(go(&mut view, put(&second, true)), Outcome::Item(first.clone()));
        assert_eq!(go(&mut view, put(&first, false)), Outcome::None);
        assert_eq!(go(&mut view, delete(true)), Outcome::Item(first.clone()));
        view.take_accesses();
        assert_eq!(go(&mut view, delete(true)), Outcome::None);
        assert!(!view.take_accesses().wrote());
        go(&mut view, put(&first, false));
        assert_eq!(go(&mut view, delete(false)), Outcome::None);
        assert_eq!(go(&mut view, get()), Outcome::None);
    }

    #[test]
    fn reads_need_no_log_entry() {
        let key = Bytes::new();
        assert!(!Operation::GetItem { key: key.clone() }.writes());
        assert!(!Operation::DescribeTable { name: "t".into() }.writes());
        assert!(!Operation::ListTables { start_after: String::new(), limit: 1 }.writes());
        assert!(Operation::DeleteItem { key, return_old: false }.writes());
    }
}
