//! DynamoDB operations.

use bytes::Bytes;

use crate::view::{View, ViewError};

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
    let _ = (view, operation);
    Ok(Outcome::None)
}
