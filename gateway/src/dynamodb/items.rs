//! PutItem, GetItem and DeleteItem, without expressions.
//!
//! Reads are always strongly consistent; `ConsistentRead` only decides what the read would cost.

use aws_smithy_json::serialize::{JsonObjectWriter, JsonValueWriter};
use bytes::Bytes;
use commands::dynamo::record::{decode_item, encode_item};
use commands::dynamo::value::{MAX_ITEM_BYTES, item_size};
use commands::dynamo::{Item, Operation, Outcome};

use super::attribute::{read_item, write_item};
use super::capacity::{CapacityReport, read_units, write_units};
use super::catalog::Catalog;
use super::constraints::Constraints;
use super::fault::{Exception, Fault};
use super::json::Reader;
use super::key::{key_of_item, key_of_key};
use super::store::{Call, Store};

/// Parameters of AWS that would change what an operation does and are therefore refused, not ignored.
const UNSUPPORTED: [&str; 8] = [
    "AttributesToGet",
    "ConditionExpression",
    "ConditionalOperator",
    "Expected",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ProjectionExpression",
    "ReturnValuesOnConditionCheckFailure",
];

/// A request on one item, as far as its fields alone can be checked.
struct ItemRequest {
    table_name: String,
    /// The whole item, or its key.
    attributes: Item,
    consistent_read: bool,
    return_old: bool,
    report: CapacityReport,
}

impl ItemRequest {
    /// `attributes_field` is `Item` or `Key`.
    fn read(body: &[u8], attributes_field: &str) -> Result<Self, Fault> {
        let (mut table_name, mut attributes, mut consistent_read) = (None, None, None);
        let (mut return_values, mut return_capacity, mut return_metrics) = (None, None, None);
        let mut unsupported = None;
        let invalid = Reader::document(body, |reader, field| {
            match field {
                "TableName" => table_name = reader.string()?,
                "ConsistentRead" => consistent_read = reader.boolean()?,
                "ReturnValues" => return_values = reader.string()?,
                "ReturnConsumedCapacity" => return_capacity = reader.string()?,
                "ReturnItemCollectionMetrics" => return_metrics = reader.string()?,
                field if field == attributes_field => attributes = read_item(reader)?,
                field => {
                    let known = UNSUPPORTED.iter().find(|known| **known == field);
                    if reader.skip()? {
                        unsupported = unsupported.or(known);
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
        constraints.finish()?;
        if let Some(parameter) = unsupported {
            return Err(Fault::unsupported(parameter));
        }
        if let Some(fault) = invalid {
            return Err(fault);
        }
        let return_old = match return_values.as_deref() {
            None | Some("NONE") => false,
            Some("ALL_OLD") => true,
            Some(_) => return Err(Fault::validation("ReturnValues can only be ALL_OLD or NONE")),
        };
        Ok(Self {
            // Both were required above.
            table_name: table_name.unwrap_or_default(),
            attributes: attributes.unwrap_or_default(),
            consistent_read: consistent_read.unwrap_or(false),
            return_old,
            report: CapacityReport::from_name(return_capacity.as_deref()),
        })
    }

    /// Whether the leader must answer the old item: to be returned, or because its size decides what the write costs.
    fn needs_old(&self) -> bool {
        self.return_old || self.report.wanted()
    }

    /// The reply to a write.
    fn written(&self, old: Option<&Item>, new_bytes: usize) -> String {
        reply(|object| {
            if let Some(old) = old.filter(|_| self.return_old) {
                write_item(object.key("Attributes"), old);
            }
            let bytes = old.map_or(0, item_size).max(new_bytes);
            self.report.write(object, &self.table_name, write_units(bytes));
        })
    }
}

/// Writes an item in place of whatever was there.
pub(super) async fn put<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let request = ItemRequest::read(body, "Item")?;
    let bytes = item_size(&request.attributes);
    if bytes > MAX_ITEM_BYTES {
        return Err(Fault::validation("Item size has exceeded the maximum allowed size"));
    }
    let table = catalog.table(store, &request.table_name).await.map_err(table_missing)?;
    let key = key_of_item(&table, &request.attributes)?;
    let item = encode_item(&request.attributes);
    let operation = Operation::PutItem { key: key.clone(), item, return_old: request.needs_old() };
    let old = execute(store, operation, key).await?;
    Ok(request.written(old.as_ref(), bytes))
}

/// Removes an item.
pub(super) async fn delete<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let request = ItemRequest::read(body, "Key")?;
    let table = catalog.table(store, &request.table_name).await.map_err(table_missing)?;
    let key = key_of_key(&table, &request.attributes)?;
    let operation = Operation::DeleteItem { key: key.clone(), return_old: request.needs_old() };
    let old = execute(store, operation, key).await?;
    Ok(request.written(old.as_ref(), 0))
}

/// Reads an item.
pub(super) async fn get<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let request = ItemRequest::read(body, "Key")?;
    let table = catalog.table(store, &request.table_name).await.map_err(table_missing)?;
    let key = key_of_key(&table, &request.attributes)?;
    let found = execute(store, Operation::GetItem { key: key.clone() }, key).await?;
    Ok(reply(|object| {
        if let Some(item) = &found {
            write_item(object.key("Item"), item);
        }
        let units = read_units(found.as_ref().map_or(0, item_size), request.consistent_read);
        request.report.write(object, &request.table_name, units);
    }))
}

/// Executes an operation on one item, which is its own lock unit.
async fn execute<S: Store>(store: &S, operation: Operation, key: Bytes) -> Result<Option<Item>, Fault> {
    match store.call(Call::on_units(operation, [key])).await? {
        Outcome::Item(record) => decode_item(&record).map(Some).map_err(|error| Fault::internal(&error)),
        Outcome::None => Ok(None),
        Outcome::Fault { name, message } => Err(Fault::from_leader(&name, message)),
        other => Err(Fault::internal(&format_args!("an item was asked for, answered was {other:?}"))),
    }
}

/// Operations on items word a missing table shorter than DescribeTable does.
fn table_missing(fault: Fault) -> Fault {
    match fault.exception {
        Exception::ResourceNotFound => Fault::new(Exception::ResourceNotFound, "Requested resource not found"),
        _ => fault,
    }
}

fn reply(members: impl FnOnce(&mut JsonObjectWriter<'_>)) -> String {
    let mut out = String::new();
    let mut object = JsonValueWriter::new(&mut out).start_object();
    members(&mut object);
    object.finish();
    out
}
