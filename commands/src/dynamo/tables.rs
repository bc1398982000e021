//! Operations on table descriptors, evaluated at the leader of the system keys.
//!
//! Creating a table takes the next number of a sequence and reverses its bits: consecutive tables lie far apart in the
//! space of table ids, which bootstrap divides evenly among the groups. A global index has an id of its own. A number is given out once, so the items of a
//! deleted table can never show up in a later one of the same name.

use bytes::Bytes;
use keyspace::{Key, KeyRange, SystemKey, TableId, layout};

use super::Outcome;
use super::alter::allocate_indexes;
use super::fields::{Fields, RecordError};
use super::table::Table;
use super::token::is_reserved;
use crate::view::{Order, View, ViewError};

/// Exception names that tables answer.
const RESOURCE_IN_USE: &str = "ResourceInUseException";
pub(super) const RESOURCE_NOT_FOUND: &str = "ResourceNotFoundException";
pub(super) const LIMIT_EXCEEDED: &str = "LimitExceededException";
const VALIDATION: &str = "ValidationException";

/// Version byte of the sequence record.
const SEQUENCE_VERSION: u8 = 1;

/// Stores a descriptor under its name, completed with id, UUID and creation time.
pub(super) async fn create<V: View>(view: &mut V, name: &str, descriptor: &[u8]) -> Result<Outcome, ViewError> {
    let key = layout::table_descriptor(name);
    if view.get(&key).await?.is_some() {
        return Ok(fault(RESOURCE_IN_USE, format!("Table already exists: {name}")));
    }
    let mut table = match Table::decode(descriptor) {
        Ok(table) if table.name == name => table,
        Ok(_) | Err(_) => return Ok(fault(VALIDATION, "The table descriptor is not valid".into())),
    };
    let Some(id) = allocate(view).await? else { return Ok(no_ids_left()) };
    table.id = id;
    if !allocate_indexes(view, &mut table).await? {
        return Ok(no_ids_left());
    }
    table.uuid = random_uuid(view);
    table.created_ms = view.now_ms();
    let record = table.encode();
    view.put(key, record.clone());
    Ok(Outcome::Table(record))
}

/// Removes a descriptor and answers it. The items stay behind, out of reach (see the module).
pub(super) async fn delete<V: View>(view: &mut V, name: &str) -> Result<Outcome, ViewError> {
    let key = layout::table_descriptor(name);
    let Some(found) = view.get(&key).await? else { return Ok(not_found(name)) };
    let table = Table::decode(&found.value).map_err(|error| corrupt(&key, &error))?;
    if table.deletion_protection {
        let message = "Resource cannot be deleted as it is currently protected against deletion. Disable deletion \
                       protection first.";
        return Ok(fault(VALIDATION, message.into()));
    }
    view.delete(key);
    Ok(Outcome::Table(found.value))
}

/// Reads a descriptor.
pub(super) async fn describe<V: View>(view: &mut V, name: &str) -> Result<Outcome, ViewError> {
    let found = view.get(&layout::table_descriptor(name)).await?;
    Ok(found.map_or_else(|| not_found(name), |record| Outcome::Table(record.value)))
}

/// The range of keys that [`list`] reads: descriptors of tables with a name above `start_after`.
pub fn names_above(start_after: &str) -> KeyRange {
    let all = KeyRange::prefix(layout::table_descriptors());
    // An empty name sorts below every table, and no name can be empty.
    let mut above = layout::table_descriptor(start_after);
    above.push(0);
    KeyRange::new(above, all.end().cloned()).expect("a descriptor's key lies inside the prefix of descriptors")
}

/// Lists table names in order.
pub(super) async fn list<V: View>(view: &mut V, start_after: &str, limit: usize) -> Result<Outcome, ViewError> {
    let mut found = view.scan(&names_above(start_after), Order::Ascending, limit.saturating_add(1)).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let names = found.iter().map(|(key, _)| match Key::decode(key) {
        Ok(Key::System(SystemKey::Table { name })) => Ok(name),
        Ok(_) | Err(_) => Err(ViewError::Corrupt { key: key.to_vec(), reason: "not a table descriptor".into() }),
    });
    Ok(Outcome::Tables { names: names.collect::<Result<_, _>>()?, more })
}

/// The next table id; `None` when all have been given out.
pub(super) async fn allocate<V: View>(view: &mut V) -> Result<Option<TableId>, ViewError> {
    let key = Key::System(SystemKey::TableSequence).encode();
    let last = match view.get(&key).await? {
        Some(record) => decode_sequence(&record.value).map_err(|error| corrupt(&key, &error))?,
        None => 0,
    };
    let Some(next) = last.checked_add(1).filter(|next| !is_reserved(TableId(next.reverse_bits()))) else {
        return Ok(None);
    };
    let mut record = vec![SEQUENCE_VERSION];
    record.extend(next.to_be_bytes());
    view.put(key, Bytes::from(record));
    Ok(Some(TableId(next.reverse_bits())))
}

fn decode_sequence(record: &[u8]) -> Result<u32, RecordError> {
    let mut fields = Fields::of_version(record, SEQUENCE_VERSION)?;
    let last = fields.u32("table sequence")?;
    fields.finish()?;
    Ok(last)
}

/// A random UUID (RFC 9562, version 4).
fn random_uuid<V: View>(view: &mut V) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&view.random().to_be_bytes());
    uuid[8..].copy_from_slice(&view.random().to_be_bytes());
    uuid[6] = uuid[6] & 0x0F | 0x40;
    uuid[8] = uuid[8] & 0x3F | 0x80;
    uuid
}

/// What is answered where there is no such table.
pub(super) fn not_found(name: &str) -> Outcome {
    fault(RESOURCE_NOT_FOUND, format!("Requested resource not found: Table: {name} not found"))
}

pub(super) fn no_ids_left() -> Outcome {
    fault(LIMIT_EXCEEDED, "All table ids have been given out".into())
}

pub(super) fn fault(name: &str, message: String) -> Outcome {
    Outcome::Fault { name: name.to_owned(), message }
}

/// A descriptor that cannot be read.
pub(super) fn corrupt(key: &[u8], error: &RecordError) -> ViewError {
    ViewError::Corrupt { key: key.to_vec(), reason: error.to_string() }
}
