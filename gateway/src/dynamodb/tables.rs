//! CreateTable, DescribeTable, ListTables and DeleteTable, without streams.
//!
//! A table is ready when CreateTable answers: its status is ACTIVE at once, and waiters are content. Capacity is
//! reported as it was asked for and limits nothing.

use aws_smithy_json::serialize::{JsonObjectWriter, JsonValueWriter};
use aws_smithy_types::Number;
use bytes::Bytes;
use commands::dynamo::table::{Billing, KeyAttribute};
use commands::dynamo::{Index, Operation, Outcome, Table, names_above};
use keyspace::{Key, SystemKey, TableId, layout};
use uuid::Uuid;

use super::catalog::{Catalog, describe as describe_call, descriptor};
use super::constraints::Constraints;
use super::create_table::CreateTable;
use super::fault::Fault;
use super::indexes::{write_indexes, write_key_schema, write_throughput};
use super::json::Reader;
use super::store::{Call, Store};

/// Largest and default page of ListTables.
const LIST_LIMIT: i64 = 100;

/// Creates a table.
pub(super) async fn create<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let request = CreateTable::read(body)?;
    let name = request.table_name;
    let table = Table {
        id: TableId(0),
        uuid: [0; 16],
        created_ms: 0,
        arn: arn(&name),
        partition_key: request.partition_key,
        sort_key: request.sort_key,
        billing: request.billing,
        deletion_protection: request.deletion_protection,
        tags: request.tags,
        time_to_live: None,
        indexes: request.indexes,
        name: name.clone(),
    };
    let units = [layout::table_descriptor(&name), Key::System(SystemKey::TableSequence).encode()];
    let operation = Operation::CreateTable { name: name.clone(), descriptor: table.encode() };
    let outcome = store.call(Call::on_units(operation, units.map(Bytes::from))).await;
    // Whatever the outcome: it may have been created.
    catalog.forget();
    let table = descriptor(outcome?)?;
    Ok(reply("TableDescription", |object| write_active(object, &table)))
}

/// Reads a descriptor, never from memory.
pub(super) async fn describe<S: Store>(store: &S, body: &[u8]) -> Result<String, Fault> {
    let name = read_table_name(body)?;
    let table = descriptor(store.call(describe_call(&name)).await?)?;
    Ok(reply("Table", |object| write_active(object, &table)))
}

/// Deletes a table.
pub(super) async fn delete<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let name = read_table_name(body)?;
    let operation = Operation::DeleteTable { name: name.clone() };
    let outcome = store.call(Call::on_units(operation, [Bytes::from(layout::table_descriptor(&name))])).await;
    // Whatever the outcome: it may be gone.
    catalog.forget();
    let table = descriptor(outcome?)?;
    Ok(reply("TableDescription", |object| write_identity(object, &table, "DELETING")))
}

/// Lists table names in order.
pub(super) async fn list<S: Store>(store: &S, body: &[u8]) -> Result<String, Fault> {
    let (mut start_after, mut limit) = (None, None);
    Reader::document(body, |reader, field| {
        match field {
            "ExclusiveStartTableName" => start_after = reader.string()?,
            "Limit" => limit = reader.integer()?,
            _ => drop(reader.skip()?),
        }
        Ok(())
    })?;
    let mut constraints = Constraints::default();
    constraints.optional_table_name("exclusiveStartTableName", &start_after);
    constraints.bounds("limit", limit, 1, LIST_LIMIT);
    constraints.finish()?;

    let start_after = start_after.unwrap_or_default();
    let interval = names_above(&start_after);
    let limit = usize::try_from(limit.unwrap_or(LIST_LIMIT)).expect("the limit is in bounds");
    let (names, more) =
        match store.call(Call::on_interval(Operation::ListTables { start_after, limit }, interval)).await? {
            Outcome::Tables { names, more } => (names, more),
            Outcome::Fault { name, message } => return Err(Fault::from_leader(&name, message)),
            other => return Err(Fault::internal(&format_args!("table names were asked for, answered was {other:?}"))),
        };
    let mut out = String::new();
    let mut object = JsonValueWriter::new(&mut out).start_object();
    let mut array = object.key("TableNames").start_array();
    names.iter().for_each(|name| array.value().string(name));
    array.finish();
    if let Some(last) = names.last().filter(|_| more) {
        object.key("LastEvaluatedTableName").string(last);
    }
    object.finish();
    Ok(out)
}

/// Regions and accounts mean nothing here; ARNs have the shape that tools take apart.
pub(super) const ARN_PREFIX: &str = "arn:aws:dynamodb:elastickv:000000000000:table/";

fn arn(table_name: &str) -> String {
    format!("{ARN_PREFIX}{table_name}")
}

/// Reads a request that names a table and nothing else.
pub(super) fn read_table_name(body: &[u8]) -> Result<String, Fault> {
    let mut name = None;
    Reader::document(body, |reader, field| {
        match field {
            "TableName" => name = reader.string()?,
            _ => drop(reader.skip()?),
        }
        Ok(())
    })?;
    let mut constraints = Constraints::default();
    constraints.table_name("tableName", &name);
    constraints.finish()?;
    // It was required above.
    Ok(name.unwrap_or_default())
}

fn reply(member: &str, description: impl FnOnce(&mut JsonObjectWriter<'_>)) -> String {
    let mut out = String::new();
    let mut object = JsonValueWriter::new(&mut out).start_object();
    let mut inner = object.key(member).start_object();
    description(&mut inner);
    inner.finish();
    object.finish();
    out
}

/// Everything that is known of a table in service.
pub(super) fn write_active(object: &mut JsonObjectWriter<'_>, table: &Table) {
    write_identity(object, table, "ACTIVE");
    // Milliseconds since 1970 are exact in a float for the next 280,000 years.
    object.key("CreationDateTime").number(Number::Float(table.created_ms as f64 / 1000.0));

    write_key_schema(object, &table.partition_key, table.sort_key.as_ref());
    let mut defined: Vec<&KeyAttribute> = Vec::new();
    for key in table.keys().chain(table.indexes.iter().flat_map(Index::keys)) {
        if !defined.iter().any(|known| known.name == key.name) {
            defined.push(key);
        }
    }
    let mut definitions = object.key("AttributeDefinitions").start_array();
    for KeyAttribute { name, kind } in defined {
        let mut definition = definitions.value().start_object();
        definition.key("AttributeName").string(name);
        definition.key("AttributeType").string(kind.name());
        definition.finish();
    }
    definitions.finish();
    write_indexes(object, table);
}

/// What a table keeps while it goes away.
fn write_identity(object: &mut JsonObjectWriter<'_>, table: &Table, status: &str) {
    object.key("TableName").string(&table.name);
    object.key("TableStatus").string(status);
    object.key("TableArn").string(&table.arn);
    object.key("TableId").string(&Uuid::from_bytes(table.uuid).to_string());
    object.key("DeletionProtectionEnabled").boolean(table.deletion_protection);
    if table.billing == Billing::PayPerRequest {
        let mut billing = object.key("BillingModeSummary").start_object();
        billing.key("BillingMode").string("PAY_PER_REQUEST");
        billing.finish();
    }
    write_throughput(object, table.billing);
}
