//! PutItem, UpdateItem, DeleteItem and GetItem.
//!
//! Reads are always strongly consistent; `ConsistentRead` only decides what the read would cost.

use std::sync::Arc;

use aws_smithy_json::serialize::{JsonObjectWriter, JsonValueWriter};
use bytes::Bytes;
use commands::dynamo::expression::Update;
use commands::dynamo::record::{decode_item, encode_item};
use commands::dynamo::value::{MAX_ITEM_BYTES, item_size};
use commands::dynamo::{Change, Item, ItemWrite, Operation, Outcome, Returns, Table};

use super::attribute::{read_item, write_item};
use super::capacity::{CapacityReport, Consumed, read_units};
use super::catalog::Catalog;
use super::constraints::Constraints;
use super::expressions::{ExpressionFields, Expressions, Known};
use super::fault::{Exception, Fault};
use super::json::Reader;
use super::key::{key_of_item, key_of_key};
use super::store::{Call, Store};

/// What PutItem and DeleteItem may say of the item as it is.
const WRITE: Known = Known { expressions: &["ConditionExpression"], legacy: &["Expected", "ConditionalOperator"] };
/// What UpdateItem may say besides.
const UPDATE: Known = Known {
    expressions: &["ConditionExpression", "UpdateExpression"],
    legacy: &["Expected", "ConditionalOperator", "AttributeUpdates"],
};
/// What GetItem may say.
const GET: Known = Known { expressions: &["ProjectionExpression"], legacy: &["AttributesToGet"] };

/// A request on one item, as far as its fields alone can be checked.
struct ItemRequest {
    table_name: String,
    /// The whole item, or its key.
    attributes: Item,
    expressions: Expressions,
    consistent_read: bool,
    returns: Returns,
    item_on_failure: bool,
    report: CapacityReport,
}

impl ItemRequest {
    /// `attributes_field` is `Item` or `Key`.
    fn read(body: &[u8], attributes_field: &str, known: &'static Known) -> Result<Self, Fault> {
        let (mut table_name, mut attributes, mut consistent_read) = (None, None, None);
        let (mut return_values, mut return_capacity, mut return_metrics) = (None, None, None);
        let mut return_failed = None;
        let mut expressions = ExpressionFields::new(known);
        let invalid = Reader::document(body, |reader, field| {
            match field {
                "TableName" => table_name = reader.string()?,
                "ConsistentRead" => consistent_read = reader.boolean()?,
                "ReturnValues" => return_values = reader.string()?,
                "ReturnConsumedCapacity" => return_capacity = reader.string()?,
                "ReturnItemCollectionMetrics" => return_metrics = reader.string()?,
                "ReturnValuesOnConditionCheckFailure" => return_failed = reader.string()?,
                field if field == attributes_field => attributes = read_item(reader)?,
                field => {
                    if !expressions.read(reader, field)? {
                        reader.skip()?;
                    }
                }
            }
            Ok(())
        })?;

        let mut constraints = Constraints::default();
        constraints.table_name("tableName", &table_name);
        constraints.required(&attributes_field.to_lowercase(), &attributes);
        let return_choices = ["ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"];
        constraints.choice("returnValues", &return_values, &return_choices);
        constraints.choice("returnConsumedCapacity", &return_capacity, &CapacityReport::CHOICES);
        constraints.choice("returnItemCollectionMetrics", &return_metrics, &["SIZE", "NONE"]);
        constraints.choice("returnValuesOnConditionCheckFailure", &return_failed, &["ALL_OLD", "NONE"]);
        constraints.finish()?;
        if let Some(fault) = invalid {
            return Err(fault);
        }
        Ok(Self {
            // Both were required above.
            table_name: table_name.unwrap_or_default(),
            attributes: attributes.unwrap_or_default(),
            expressions: expressions.parse()?,
            consistent_read: consistent_read.unwrap_or(false),
            returns: return_values.as_deref().and_then(Returns::from_name).unwrap_or_default(),
            item_on_failure: return_failed.as_deref() == Some("ALL_OLD"),
            report: CapacityReport::from_name(return_capacity.as_deref()),
        })
    }

    /// PutItem and DeleteItem know only the item as it was.
    fn check_returns(&self) -> Result<(), Fault> {
        match self.returns {
            Returns::None | Returns::AllOld => Ok(()),
            _ => Err(Fault::validation("ReturnValues can only be ALL_OLD or NONE")),
        }
    }

    /// Has the leader write, and answers the reply.
    async fn write<S: Store>(self, store: &S, table: &Arc<Table>, key: Bytes, change: Change) -> Result<String, Fault> {
        let write = ItemWrite {
            condition: self.expressions.condition,
            returns: self.returns,
            item_on_failure: self.item_on_failure,
            sizes: self.report.wanted(),
            ..ItemWrite::plain(key.clone(), change).on(table)
        };
        let outcome = store.call(Call::on_units(Operation::WriteItem(Box::new(write)), [key])).await?;
        let written = Written::of(outcome)?;
        Ok(reply(|object| {
            if let Some(attributes) = &written.attributes {
                write_item(object.key("Attributes"), attributes);
            }
            self.report.write(object, &Consumed::of_write(table, written.bytes, &written.entries, 1.0));
        }))
    }
}

/// What came of a write.
struct Written {
    attributes: Option<Item>,
    bytes: usize,
    entries: Vec<(String, usize)>,
}

impl Written {
    fn of(outcome: Outcome) -> Result<Self, Fault> {
        match outcome {
            Outcome::None => Ok(Self { attributes: None, bytes: 0, entries: Vec::new() }),
            Outcome::Item(record) => Ok(Self { attributes: Some(item_of(&record)?), bytes: 0, entries: Vec::new() }),
            Outcome::Written { attributes, old_bytes, new_bytes, entries } => {
                let attributes = attributes.as_ref().map(item_of).transpose()?;
                Ok(Self { attributes, bytes: old_bytes.max(new_bytes), entries })
            }
            Outcome::ConditionFailed { item } => Err(Fault::condition_failed(item.as_ref().map(item_of).transpose()?)),
            Outcome::Fault { name, message } => Err(Fault::from_leader(&name, message)),
            other => Err(Fault::internal(&format_args!("an item was written, answered was {other:?}"))),
        }
    }
}

/// Writes an item in place of whatever was there.
pub(super) async fn put<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let request = ItemRequest::read(body, "Item", &WRITE)?;
    request.check_returns()?;
    check_size(&request.attributes)?;
    let table = catalog.table(store, &request.table_name).await.map_err(table_missing)?;
    let key = key_of_item(&table, &request.attributes)?;
    let change = Change::Put(encode_item(&request.attributes));
    request.write(store, &table, key, change).await
}

/// Removes an item.
pub(super) async fn delete<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let request = ItemRequest::read(body, "Key", &WRITE)?;
    request.check_returns()?;
    let table = catalog.table(store, &request.table_name).await.map_err(table_missing)?;
    let key = key_of_key(&table, &request.attributes)?;
    request.write(store, &table, key, Change::Delete).await
}

/// Changes an item, or makes one.
pub(super) async fn update<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let mut request = ItemRequest::read(body, "Key", &UPDATE)?;
    let update = request.expressions.update.take().unwrap_or_default();
    let table = catalog.table(store, &request.table_name).await.map_err(table_missing)?;
    check_update(&table, &update)?;
    let key = key_of_key(&table, &request.attributes)?;
    let change = Change::Update { key_attributes: request.attributes.clone(), update };
    request.write(store, &table, key, change).await
}

/// Reads an item.
pub(super) async fn get<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let mut request = ItemRequest::read(body, "Key", &GET)?;
    let projection = request.expressions.projection.take();
    let table = catalog.table(store, &request.table_name).await.map_err(table_missing)?;
    let key = key_of_key(&table, &request.attributes)?;
    let outcome = store.call(Call::on_units(Operation::GetItem { key: key.clone(), projection }, [key])).await?;
    let found = found(outcome)?;
    Ok(reply(|object| {
        if let Some((item, _)) = &found {
            write_item(object.key("Item"), item);
        }
        let units = read_units(found.map_or(0, |(_, bytes)| bytes), request.consistent_read);
        request.report.write(object, &Consumed::of_table(&request.table_name, units));
    }))
}

/// An item that was read, or the part of it that was asked for, and the size of all of it.
pub(super) fn found(outcome: Outcome) -> Result<Option<(Item, usize)>, Fault> {
    match outcome {
        Outcome::Item(record) => {
            let item = item_of(&record)?;
            let bytes = item_size(&item);
            Ok(Some((item, bytes)))
        }
        Outcome::Part { item, bytes } => Ok(Some((item_of(&item)?, bytes))),
        Outcome::None => Ok(None),
        Outcome::Fault { name, message } => Err(Fault::from_leader(&name, message)),
        other => Err(Fault::internal(&format_args!("an item was asked for, answered was {other:?}"))),
    }
}

/// The item of a record that a leader answered.
pub(super) fn item_of(record: &Bytes) -> Result<Item, Fault> {
    decode_item(record).map_err(|error| Fault::internal(&error))
}

/// An item to be put is not too large.
pub(super) fn check_size(item: &Item) -> Result<(), Fault> {
    match item_size(item) > MAX_ITEM_BYTES {
        true => Err(Fault::validation("Item size has exceeded the maximum allowed size")),
        false => Ok(()),
    }
}

/// An item never changes its key.
pub(super) fn check_update(table: &Table, update: &Update) -> Result<(), Fault> {
    let is_key =
        |name: &str| table.partition_key.name == name || table.sort_key.as_ref().is_some_and(|key| key.name == name);
    match update.actions.iter().map(|action| &action.path().attribute).find(|name| is_key(name)) {
        None => Ok(()),
        Some(name) => {
            Err(Fault::parameter(format!("Cannot update attribute {name}. This attribute is part of the key")))
        }
    }
}

/// Operations on items word a missing table shorter than DescribeTable does.
pub(super) fn table_missing(fault: Fault) -> Fault {
    match fault.exception {
        Exception::ResourceNotFound => Fault::new(Exception::ResourceNotFound, "Requested resource not found"),
        _ => fault,
    }
}

/// A reply of these members.
pub(super) fn reply(members: impl FnOnce(&mut JsonObjectWriter<'_>)) -> String {
    let mut out = String::new();
    let mut object = JsonValueWriter::new(&mut out).start_object();
    members(&mut object);
    object.finish();
    out
}
