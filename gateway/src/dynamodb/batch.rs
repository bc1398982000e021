//! BatchGetItem and BatchWriteItem: many operations on single items in one request.
//!
//! Each operation is one of its own at its item's leader. What a gateway or the store cannot do at the moment is
//! answered as unprocessed, for the client to ask again; only if that is all of it, the request fails.

use std::collections::BTreeSet;

use bytes::Bytes;
use commands::dynamo::record::encode_item;
use commands::dynamo::{Change, Item, ItemWrite, Operation, Outcome, Projection};

use super::attribute::{read_item, write_item};
use super::capacity::{CapacityReport, Consumed, read_units};
use super::catalog::Catalog;
use super::constraints::Constraints;
use super::expressions::{ExpressionFields, Known};
use super::fault::Fault;
use super::items::{check_size, found, reply, table_missing};
use super::json::Reader;
use super::key::{key_of_item, key_of_key};
use super::store::{Call, Store, StoreError};

/// Most items of a BatchGetItem and of a BatchWriteItem.
const MAX_GETS: usize = 100;
const MAX_WRITES: usize = 25;
/// Most bytes that a BatchGetItem answers.
const MAX_REPLY_BYTES: usize = 16 << 20;

const GET: Known = Known { expressions: &["ProjectionExpression"], legacy: &["AttributesToGet"] };

/// What a BatchGetItem asks of one table.
struct TableGets {
    table_name: String,
    keys: Vec<Item>,
    expressions: ExpressionFields,
    consistent_read: bool,
}

/// Reads items of any tables.
pub(super) async fn get<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let (mut tables, mut return_capacity) = (None, None);
    let invalid = Reader::document(body, |reader, field| {
        match field {
            "RequestItems" => tables = read_tables(reader, read_gets)?,
            "ReturnConsumedCapacity" => return_capacity = reader.string()?,
            _ => drop(reader.skip()?),
        }
        Ok(())
    })?;
    let mut constraints = Constraints::default();
    constraints.required("requestItems", &tables);
    constraints.choice("returnConsumedCapacity", &return_capacity, &CapacityReport::CHOICES);
    let tables = tables.unwrap_or_default();
    for gets in &tables {
        constraints.table_name("requestItems", &Some(gets.table_name.clone()));
        constraints.count(&format!("requestItems.{}.member.keys", gets.table_name), gets.keys.len(), 1, MAX_GETS);
    }
    constraints.finish()?;
    if tables.iter().map(|gets| gets.keys.len()).sum::<usize>() > MAX_GETS {
        return Err(Fault::validation("Too many items requested for the BatchGetItem call"));
    }
    check_some(tables.is_empty())?;
    if let Some(fault) = invalid {
        return Err(fault);
    }

    let mut asked = Vec::new();
    let mut calls = Vec::new();
    for gets in tables {
        let again = gets.expressions.clone();
        let projection = gets.expressions.parse()?.projection;
        let table = catalog.table(store, &gets.table_name).await.map_err(table_missing)?;
        let mut seen = BTreeSet::new();
        for key in &gets.keys {
            let unit = key_of_key(&table, key)?;
            check_new(&mut seen, &unit)?;
            calls.push(get_call(unit, projection.clone()));
        }
        asked.push(Asked {
            table_name: gets.table_name,
            keys: gets.keys,
            again,
            consistent_read: gets.consistent_read,
        });
    }
    let mut answers = store.call_all(calls).await.into_iter();
    let mut bytes = 0;
    let mut read = Vec::with_capacity(asked.len());
    let mut last_error = None;
    let mut answered = false;
    for table in asked {
        let mut of_table = TableRead::default();
        for (key, answer) in table.keys.iter().zip(answers.by_ref()) {
            match answer {
                Ok(outcome) if bytes <= MAX_REPLY_BYTES => {
                    answered = true;
                    let item = found(outcome)?;
                    let size = item.as_ref().map_or(0, |(_, size)| *size);
                    bytes += size;
                    of_table.units += read_units(size, table.consistent_read);
                    of_table.items.extend(item.map(|(item, _)| item));
                }
                Ok(_) => of_table.unprocessed.push(key.clone()),
                Err(error) => last_error = Some(postponed(error, key, &mut of_table.unprocessed)?),
            }
        }
        read.push((table, of_table));
    }
    if let (Some(error), false) = (last_error, answered) {
        return Err(error.into());
    }
    let report = CapacityReport::from_name(return_capacity.as_deref());
    Ok(reply(|object| {
        let mut responses = object.key("Responses").start_object();
        for (table, read) in &read {
            let mut array = responses.key(&table.table_name).start_array();
            read.items.iter().for_each(|item| write_item(array.value(), item));
            array.finish();
        }
        responses.finish();
        let mut unprocessed = object.key("UnprocessedKeys").start_object();
        for (table, read) in read.iter().filter(|(_, read)| !read.unprocessed.is_empty()) {
            let mut again = unprocessed.key(&table.table_name).start_object();
            let mut keys = again.key("Keys").start_array();
            read.unprocessed.iter().for_each(|key| write_item(keys.value(), key));
            keys.finish();
            again.key("ConsistentRead").boolean(table.consistent_read);
            table.again.write_projection(&mut again);
            again.finish();
        }
        unprocessed.finish();
        let consumed: Vec<_> =
            read.iter().map(|(table, read)| Consumed::of_table(&table.table_name, read.units)).collect();
        report.write_tables(object, &consumed);
    }))
}

/// One table of a BatchGetItem.
struct Asked {
    table_name: String,
    keys: Vec<Item>,
    /// What the client has to send again with the keys that are left.
    again: ExpressionFields,
    consistent_read: bool,
}

#[derive(Default)]
struct TableRead {
    items: Vec<Item>,
    unprocessed: Vec<Item>,
    units: f64,
}

fn get_call(unit: Bytes, projection: Option<Projection>) -> Call {
    Call::on_units(Operation::GetItem { key: unit.clone(), projection }, [unit])
}

/// A write of a BatchWriteItem: the item to put, or the key to delete.
#[derive(Clone)]
enum Write {
    Put(Item),
    Delete(Item),
}

/// Puts and deletes items of any tables.
pub(super) async fn write<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let (mut tables, mut return_capacity, mut return_metrics) = (None, None, None);
    let invalid = Reader::document(body, |reader, field| {
        match field {
            "RequestItems" => tables = read_tables(reader, read_writes)?,
            "ReturnConsumedCapacity" => return_capacity = reader.string()?,
            "ReturnItemCollectionMetrics" => return_metrics = reader.string()?,
            _ => drop(reader.skip()?),
        }
        Ok(())
    })?;
    let mut constraints = Constraints::default();
    constraints.required("requestItems", &tables);
    constraints.choice("returnConsumedCapacity", &return_capacity, &CapacityReport::CHOICES);
    constraints.choice("returnItemCollectionMetrics", &return_metrics, &["SIZE", "NONE"]);
    let tables: Vec<(String, Vec<Option<Write>>)> = tables.unwrap_or_default();
    for (table_name, writes) in &tables {
        constraints.table_name("requestItems", &Some(table_name.clone()));
        constraints.count(&format!("requestItems.{table_name}.member"), writes.len(), 1, MAX_WRITES);
    }
    constraints.finish()?;
    if tables.iter().map(|(_, writes)| writes.len()).sum::<usize>() > MAX_WRITES {
        return Err(Fault::validation("Too many items requested for the BatchWriteItem call"));
    }
    check_some(tables.is_empty())?;
    if let Some(fault) = invalid {
        return Err(fault);
    }
    let report = CapacityReport::from_name(return_capacity.as_deref());

    let mut asked = Vec::new();
    let mut calls = Vec::new();
    for (table_name, writes) in tables {
        let one = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes";
        let writes: Option<Vec<Write>> = writes.into_iter().collect();
        let writes = writes.ok_or_else(|| Fault::validation(one))?;
        let table = catalog.table(store, &table_name).await.map_err(table_missing)?;
        let mut seen = BTreeSet::new();
        for write in &writes {
            let (unit, change) = match write {
                Write::Put(item) => {
                    check_size(item)?;
                    (key_of_item(&table, item)?, Change::Put(encode_item(item)))
                }
                Write::Delete(key) => (key_of_key(&table, key)?, Change::Delete),
            };
            check_new(&mut seen, &unit)?;
            let write = ItemWrite { sizes: report.wanted(), ..ItemWrite::plain(unit.clone(), change).on(&table) };
            calls.push(Call::on_units(Operation::WriteItem(Box::new(write)), [unit]));
        }
        asked.push((table, writes));
    }
    let mut answers = store.call_all(calls).await.into_iter();
    let (mut written, mut last_error, mut answered) = (Vec::with_capacity(asked.len()), None, false);
    for (table, writes) in asked {
        let (mut unprocessed, mut consumed) = (Vec::new(), vec![Consumed::of_table(&table.name, 0.0)]);
        for (write, answer) in writes.iter().zip(answers.by_ref()) {
            match answer {
                Ok(Outcome::Written { old_bytes, new_bytes, entries, .. }) => {
                    answered = true;
                    consumed.push(Consumed::of_write(&table, old_bytes.max(new_bytes), &entries, 1.0));
                }
                // Nobody wants to know the sizes.
                Ok(Outcome::None) => answered = true,
                Ok(Outcome::Fault { name, message }) => return Err(Fault::from_leader(&name, message)),
                Ok(other) => return Err(Fault::internal(&format_args!("an item was written, answered was {other:?}"))),
                Err(error) => last_error = Some(postponed(error, write, &mut unprocessed)?),
            }
        }
        written.push((table.name.clone(), unprocessed, consumed));
    }
    if let (Some(error), false) = (last_error, answered) {
        return Err(error.into());
    }
    Ok(reply(|object| {
        let mut again = object.key("UnprocessedItems").start_object();
        for (table_name, writes, _) in written.iter().filter(|(_, writes, _)| !writes.is_empty()) {
            let mut array = again.key(table_name).start_array();
            for write in writes {
                let (request, field, members) = match write {
                    Write::Put(item) => ("PutRequest", "Item", item),
                    Write::Delete(key) => ("DeleteRequest", "Key", key),
                };
                let mut outer = array.value().start_object();
                let mut inner = outer.key(request).start_object();
                write_item(inner.key(field), members);
                inner.finish();
                outer.finish();
            }
            array.finish();
        }
        again.finish();
        let consumed = written.iter().flat_map(|(_, _, consumed)| consumed.clone());
        report.write_tables(object, &Consumed::by_table(consumed));
    }))
}

/// What cannot be done at the moment may be asked again. Puts, deletes and reads may even if the outcome is unknown.
fn postponed<T: Clone>(error: StoreError, what: &T, unprocessed: &mut Vec<T>) -> Result<StoreError, Fault> {
    match error {
        StoreError::Overloaded | StoreError::Unavailable | StoreError::DiskFull | StoreError::OutcomeUnknown => {
            unprocessed.push(what.clone());
            Ok(error)
        }
        StoreError::CrossGroup | StoreError::Rejected(_) | StoreError::Internal(_) => Err(error.into()),
    }
}

fn check_some(empty: bool) -> Result<(), Fault> {
    let message = "1 validation error detected: Value '{}' at 'requestItems' failed to satisfy constraint: Member must \
                   have length greater than or equal to 1";
    if empty { Err(Fault::validation(message)) } else { Ok(()) }
}

fn check_new(seen: &mut BTreeSet<Bytes>, unit: &Bytes) -> Result<(), Fault> {
    match seen.insert(unit.clone()) {
        true => Ok(()),
        false => Err(Fault::validation("Provided list of item keys contains duplicates")),
    }
}

/// What is asked of each table.
fn read_tables<T>(
    reader: &mut Reader<'_>,
    mut read: impl FnMut(&mut Reader<'_>, &str) -> Result<T, Fault>,
) -> Result<Option<Vec<T>>, Fault> {
    let mut tables = Vec::new();
    let mut names = BTreeSet::new();
    let present = reader.object(|reader, table_name| {
        if !names.insert(table_name.to_owned()) {
            return Err(Fault::serialization("A map names one of its keys twice"));
        }
        tables.push(read(reader, table_name)?);
        Ok(())
    })?;
    Ok(present.then_some(tables))
}

fn read_gets(reader: &mut Reader<'_>, table_name: &str) -> Result<TableGets, Fault> {
    let mut gets = TableGets {
        table_name: table_name.to_owned(),
        keys: Vec::new(),
        expressions: ExpressionFields::new(&GET),
        consistent_read: false,
    };
    reader.object(|reader, field| {
        match field {
            "Keys" => drop(reader.list(|reader| {
                gets.keys.push(read_item(reader)?.unwrap_or_default());
                Ok(())
            })?),
            "ConsistentRead" => gets.consistent_read = reader.boolean()?.unwrap_or(false),
            field => {
                if !gets.expressions.read(reader, field)? {
                    reader.skip()?;
                }
            }
        }
        Ok(())
    })?;
    Ok(gets)
}

/// `None` stands for a request that is not exactly one put or delete.
fn read_writes(reader: &mut Reader<'_>, table_name: &str) -> Result<(String, Vec<Option<Write>>), Fault> {
    let mut writes = Vec::new();
    reader.list(|reader| {
        let mut found = Vec::with_capacity(1);
        reader.object(|reader, kind| {
            let mut members = None;
            let wanted = match kind {
                "PutRequest" => "Item",
                "DeleteRequest" => "Key",
                _ => return reader.skip().map(drop),
            };
            let present = reader.object(|reader, field| {
                match field {
                    field if field == wanted => members = read_item(reader)?,
                    _ => drop(reader.skip()?),
                }
                Ok(())
            })?;
            if present {
                let members = members.unwrap_or_default();
                found.push(if wanted == "Item" { Write::Put(members) } else { Write::Delete(members) });
            }
            Ok(())
        })?;
        writes.push(found.pop().filter(|_| found.is_empty()));
        Ok(())
    })?;
    Ok((table_name.to_owned(), writes))
}
