//! UpdateTable, tags, and time to live: what may change of a table that exists.
//!
//! Each request becomes one [`Alteration`], which the leader of the descriptor judges and makes. Everything takes
//! effect when it is answered: the table is never UPDATING, time to live never ENABLING. Only a new index is not
//! complete at once: it is CREATING until [`super::fill`] has filled it.

use std::collections::{BTreeMap, BTreeSet};

use aws_smithy_json::serialize::JsonObjectWriter;
use aws_smithy_types::Number;
use bytes::Bytes;
use commands::dynamo::alter::{Alteration, IndexUpdate};
use commands::dynamo::table::Billing;
use commands::dynamo::{Index, Operation, Table};
use keyspace::{Key, SystemKey, layout};

use super::catalog::{Catalog, describe, descriptor};
use super::constraints::Constraints;
use super::create_table::{
    BillingFields, Pair, Throughput, check_definitions, check_throughput, read_pairs, read_switch,
};
use super::fault::{Exception, Fault};
use super::indexes::{Definitions, IndexFields};
use super::items::reply;
use super::json::Reader;
use super::store::{Call, Store};
use super::tables::{ARN_PREFIX, read_table_name, write_active};

/// Most characters of a tag's key, and of its value.
const MAX_TAG_KEY: usize = 128;
const MAX_TAG_VALUE: usize = 256;
/// Longest attribute name of a time to live.
const MAX_TTL_ATTRIBUTE: usize = 255;
/// What AWS grants an account and a table in its regions. Nothing here is bounded by them.
const ACCOUNT_UNITS: u64 = 80_000;
const TABLE_UNITS: u64 = 40_000;

/// An element of GlobalSecondaryIndexUpdates as it came.
#[derive(Default)]
struct IndexUpdateFields {
    create: Option<IndexFields>,
    update: Option<IndexFields>,
    delete: Option<IndexFields>,
}

impl IndexUpdateFields {
    fn read_all(reader: &mut Reader<'_>) -> Result<Option<Vec<Self>>, Fault> {
        let mut updates = Vec::new();
        let present = reader.list(|reader| {
            let mut update = Self::default();
            reader.object(|reader, field| {
                match field {
                    "Create" => update.create = IndexFields::read(reader)?,
                    "Update" => update.update = IndexFields::read(reader)?,
                    "Delete" => update.delete = IndexFields::read(reader)?,
                    _ => drop(reader.skip()?),
                }
                Ok(())
            })?;
            updates.push(update);
            Ok(())
        })?;
        Ok(present.then_some(updates))
    }

    fn check(&self, constraints: &mut Constraints, field: &str) {
        self.create.iter().for_each(|index| index.check(constraints, &format!("{field}.create")));
        if let Some(index) = &self.delete {
            constraints.table_name(&format!("{field}.delete.indexName"), &index.name);
        }
        if let Some(index) = &self.update {
            constraints.table_name(&format!("{field}.update.indexName"), &index.name);
            let at = format!("{field}.update.provisionedThroughput");
            constraints.required(&at, &index.throughput);
            index.throughput.iter().for_each(|throughput| check_throughput(constraints, &at, throughput));
        }
    }

    /// Needs the constraints to hold.
    fn build(&self, definitions: &Definitions, billing: Billing) -> Result<IndexUpdate, Fault> {
        let name = |index: &IndexFields| index.name.clone().unwrap_or_default();
        match (&self.create, &self.update, &self.delete) {
            (Some(index), None, None) => index.global(definitions, billing).map(IndexUpdate::Create),
            (None, Some(index), None) => {
                let billing = index.throughput.as_ref().map_or(Billing::PayPerRequest, Throughput::billing);
                Ok(IndexUpdate::Billing { name: name(index), billing })
            }
            (None, None, Some(index)) => Ok(IndexUpdate::Delete { name: name(index) }),
            (None, None, None) => Err(Fault::parameter(
                "One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, \
                 GlobalSecondaryIndexUpdate.Delete must not be null",
            )),
            _ => Err(Fault::parameter(
                "Only one of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, \
                 GlobalSecondaryIndexUpdate.Delete may be specified",
            )),
        }
    }
}

/// What becomes of the indexes of a table, as far as the request and the table now can tell.
async fn index_updates<S: Store>(
    store: &S,
    table_name: &str,
    definitions: Vec<Pair>,
    billing: Option<Billing>,
    fields: &[IndexUpdateFields],
) -> Result<Vec<IndexUpdate>, Fault> {
    let table = descriptor(store.call(describe(table_name)).await?)?;
    let given = Definitions::of(&definitions);
    let mut known = Definitions::of(&definitions);
    for key in table.keys().chain(table.indexes.iter().flat_map(Index::keys)) {
        match known.0.iter().find(|(name, _)| *name == key.name) {
            None => known.0.push((key.name.clone(), key.kind)),
            Some((_, kind)) if *kind == key.kind => {}
            Some((name, _)) => {
                return Err(Fault::parameter(format!(
                    "AttributeDefinitions defines the attribute {name} as another type than the table has: {}",
                    key.kind.name()
                )));
            }
        }
    }
    let billing = billing.unwrap_or(table.billing);
    let updates: Vec<IndexUpdate> =
        fields.iter().map(|fields| fields.build(&known, billing)).collect::<Result<_, _>>()?;
    for (at, update) in updates.iter().enumerate() {
        if updates[..at].iter().any(|other| other.name() == update.name()) {
            return Err(Fault::parameter(format!(
                "Only one global secondary index update per index is allowed simultaneously. Index: {}",
                update.name()
            )));
        }
        if matches!((update, billing), (IndexUpdate::Billing { .. }, Billing::PayPerRequest)) {
            return Err(Fault::parameter(format!(
                "ProvisionedThroughput should not be specified for index: {} when BillingMode is PAY_PER_REQUEST",
                update.name()
            )));
        }
    }
    let created = updates.iter().filter_map(|update| match update {
        IndexUpdate::Create(index) => Some(index),
        _ => None,
    });
    given.check_used(table.keys().chain(table.indexes.iter().chain(created).flat_map(Index::keys)))?;
    Ok(updates)
}

/// Changes billing, protection and global indexes.
pub(super) async fn update<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let (mut table_name, mut protection, mut unsupported) = (None, None, None);
    let (mut definitions, mut index_fields) = (None, None);
    let mut billing = BillingFields::default();
    Reader::document(body, |reader, field| {
        let refuse = match field {
            "TableName" => {
                table_name = reader.string()?;
                None
            }
            "DeletionProtectionEnabled" => {
                protection = reader.boolean()?;
                None
            }
            "AttributeDefinitions" => {
                definitions = read_pairs(reader, "AttributeType")?;
                None
            }
            "GlobalSecondaryIndexUpdates" => {
                index_fields = IndexUpdateFields::read_all(reader)?;
                None
            }
            "ReplicaUpdates" => reader.skip_list()?.then_some("ReplicaUpdates"),
            "SSESpecification" => read_switch(reader, "Enabled")?.then_some("SSESpecification"),
            "StreamSpecification" => read_switch(reader, "StreamEnabled")?.then_some("StreamSpecification"),
            "TableClass" => {
                reader.string()?.is_some_and(|class| class != "STANDARD").then_some("TableClass other than STANDARD")
            }
            "OnDemandThroughput" => reader.skip()?.then_some("OnDemandThroughput"),
            "WarmThroughput" => reader.skip()?.then_some("WarmThroughput"),
            field => {
                if !billing.read(reader, field)? {
                    reader.skip()?;
                }
                None
            }
        };
        unsupported = unsupported.or(refuse);
        Ok(())
    })?;
    let mut constraints = Constraints::default();
    constraints.table_name("tableName", &table_name);
    billing.check(&mut constraints);
    check_definitions(&mut constraints, &definitions);
    let index_fields = index_fields.unwrap_or_default();
    for (position, update) in index_fields.iter().enumerate() {
        update.check(&mut constraints, &format!("globalSecondaryIndexUpdates.{}.member", position + 1));
    }
    constraints.finish()?;
    if let Some(option) = unsupported {
        return Err(Fault::unsupported(option));
    }
    let names_mode = billing.names_mode();
    let billing = if billing.is_empty() { None } else { Some(billing.billing()?) };
    if billing.is_none() && protection.is_none() && index_fields.is_empty() {
        return Err(Fault::validation(
            "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or \
             SSESpecification or ReplicaUpdates is required",
        ));
    }
    let table_name = table_name.unwrap_or_default();
    let indexes = match index_fields.is_empty() {
        true => Vec::new(),
        false => index_updates(store, &table_name, definitions.unwrap_or_default(), billing, &index_fields).await?,
    };
    if indexes.iter().any(|update| !matches!(update, IndexUpdate::Billing { .. })) {
        if protection.is_some() {
            return Err(Fault::validation("DeletionProtection modification must be the only operation in the request"));
        }
        if billing.is_some() && !names_mode {
            return Err(Fault::validation("You cannot create or delete index while updating table IOPS"));
        }
    }
    let alteration = Alteration::Settings { billing, names_mode, deletion_protection: protection, indexes };
    let table = alter(store, catalog, table_name, alteration).await?;
    Ok(reply(|object| {
        let mut description = object.key("TableDescription").start_object();
        write_active(&mut description, &table);
        description.finish();
    }))
}

/// Has the leader change the descriptor.
async fn alter<S: Store>(store: &S, catalog: &Catalog, name: String, alteration: Alteration) -> Result<Table, Fault> {
    let sequence = alteration.allocates().then(|| Key::System(SystemKey::TableSequence).encode());
    let units = std::iter::once(layout::table_descriptor(&name)).chain(sequence).map(Bytes::from);
    let units: Vec<Bytes> = units.collect();
    let outcome = store.call(Call::on_units(Operation::AlterTable { name, alteration }, units)).await;
    // Whatever the outcome: it may have changed.
    catalog.forget();
    descriptor(outcome?)
}

/// Adds tags. The reply has no body.
pub(super) async fn tag<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let (mut arn, mut tags) = (None, None);
    Reader::document(body, |reader, field| {
        match field {
            "ResourceArn" => arn = reader.string()?,
            "Tags" => tags = read_tags(reader)?,
            _ => drop(reader.skip()?),
        }
        Ok(())
    })?;
    let mut constraints = Constraints::default();
    constraints.required("resourceArn", &arn);
    constraints.required("tags", &tags);
    let tags = tags.unwrap_or_default();
    check_tags(&mut constraints, &tags);
    constraints.finish()?;
    let (name, arn) = named(arn)?;
    let tags = tags_by_key(tags)?;
    if tags.is_empty() {
        return Err(Fault::parameter("Atleast one Tag Key should be provided as Input."));
    }
    alter(store, catalog, name, Alteration::AddTags(tags)).await.map_err(|fault| not_found(fault, &arn))?;
    Ok(String::new())
}

/// Removes tags. The reply has no body.
pub(super) async fn untag<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let (mut arn, mut keys) = (None, None);
    Reader::document(body, |reader, field| {
        match field {
            "ResourceArn" => arn = reader.string()?,
            "TagKeys" => keys = reader.strings()?,
            _ => drop(reader.skip()?),
        }
        Ok(())
    })?;
    let mut constraints = Constraints::default();
    constraints.required("resourceArn", &arn);
    constraints.required("tagKeys", &keys);
    constraints.finish()?;
    let (name, arn) = named(arn)?;
    let keys: BTreeSet<String> = keys.into_iter().flatten().flatten().collect();
    if keys.is_empty() {
        return Err(Fault::parameter("Atleast one Tag Key should be provided as Input."));
    }
    alter(store, catalog, name, Alteration::RemoveTags(keys)).await.map_err(|fault| not_found(fault, &arn))?;
    Ok(String::new())
}

/// Lists the tags of a table: all of them, there are never many.
pub(super) async fn list_tags<S: Store>(store: &S, body: &[u8]) -> Result<String, Fault> {
    let mut arn = None;
    Reader::document(body, |reader, field| {
        match field {
            "ResourceArn" => arn = reader.string()?,
            _ => drop(reader.skip()?),
        }
        Ok(())
    })?;
    let mut constraints = Constraints::default();
    constraints.required("resourceArn", &arn);
    constraints.finish()?;
    let (name, arn) = named(arn)?;
    let found = descriptor(store.call(describe(&name)).await?);
    let table = found.map_err(|fault| not_found(fault, &arn))?;
    Ok(reply(|object| {
        let mut array = object.key("Tags").start_array();
        for (key, value) in &table.tags {
            let mut tag = array.value().start_object();
            tag.key("Key").string(key);
            tag.key("Value").string(value);
            tag.finish();
        }
        array.finish();
    }))
}

/// Tags as they came: keys and values.
pub(super) type TagFields = Vec<(Option<String>, Option<String>)>;

/// Reads a list of tags.
pub(super) fn read_tags(reader: &mut Reader<'_>) -> Result<Option<TagFields>, Fault> {
    let mut tags = Vec::new();
    let present = reader.list(|reader| {
        let (mut key, mut value) = (None, None);
        reader.object(|reader, field| {
            match field {
                "Key" => key = reader.string()?,
                "Value" => value = reader.string()?,
                _ => drop(reader.skip()?),
            }
            Ok(())
        })?;
        tags.push((key, value));
        Ok(())
    })?;
    Ok(present.then_some(tags))
}

/// What the API declares of tags.
pub(super) fn check_tags(constraints: &mut Constraints, tags: &TagFields) {
    for (index, (key, value)) in tags.iter().enumerate() {
        let at = |field: &str| format!("tags.{}.member.{field}", index + 1);
        constraints.required(&at("key"), key);
        constraints.required(&at("value"), value);
        key.iter().for_each(|key| constraints.length(&at("key"), key, 1, MAX_TAG_KEY));
        value.iter().for_each(|value| constraints.length(&at("value"), value, 0, MAX_TAG_VALUE));
    }
}

/// Tags of letters, digits, spaces and `+ - = . _ : / @`, each key once.
pub(super) fn tags_by_key(tags: TagFields) -> Result<BTreeMap<String, String>, Fault> {
    let allowed = |c: char| c.is_alphanumeric() || c.is_whitespace() || "+-=._:/@".contains(c);
    let mut by_key = BTreeMap::new();
    for (key, value) in tags {
        let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
        if let Some(wrong) = key.chars().chain(value.chars()).find(|c| !allowed(*c)) {
            return Err(Fault::parameter(format!("A tag may not contain the character '{wrong}'")));
        }
        if by_key.insert(key.clone(), value).is_some() {
            return Err(Fault::parameter(format!("Duplicate tag key: {key}")));
        }
    }
    Ok(by_key)
}

/// The table that an ARN names, and the ARN.
fn named(arn: Option<String>) -> Result<(String, String), Fault> {
    let arn = arn.unwrap_or_default();
    let name = arn.strip_prefix(ARN_PREFIX).filter(|name| !name.is_empty() && !name.contains('/'));
    match name {
        Some(name) => Ok((name.to_owned(), arn)),
        None => Err(Fault::parameter(format!("Invalid ResourceArn: {arn} is not the ARN of a table"))),
    }
}

fn not_found(fault: Fault, arn: &str) -> Fault {
    match fault.exception {
        Exception::ResourceNotFound => Fault::new(
            Exception::ResourceNotFound,
            format!("Requested resource not found: ResourcArn: {arn} not found"),
        ),
        _ => fault,
    }
}

/// Switches time to live on or off.
pub(super) async fn update_time_to_live<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let (mut table_name, mut specified, mut attribute, mut enabled) = (None, None, None, None);
    Reader::document(body, |reader, field| {
        match field {
            "TableName" => table_name = reader.string()?,
            "TimeToLiveSpecification" => {
                let present = reader.object(|reader, field| {
                    match field {
                        "AttributeName" => attribute = reader.string()?,
                        "Enabled" => enabled = reader.boolean()?,
                        _ => drop(reader.skip()?),
                    }
                    Ok(())
                })?;
                specified = present.then_some(());
            }
            _ => drop(reader.skip()?),
        }
        Ok(())
    })?;
    let mut constraints = Constraints::default();
    constraints.table_name("tableName", &table_name);
    constraints.required("timeToLiveSpecification", &specified);
    if specified.is_some() {
        constraints.required("timeToLiveSpecification.attributeName", &attribute);
        constraints.required("timeToLiveSpecification.enabled", &enabled);
    }
    if let Some(attribute) = &attribute {
        constraints.length("timeToLiveSpecification.attributeName", attribute, 1, MAX_TTL_ATTRIBUTE);
    }
    constraints.finish()?;
    let (attribute, enabled) = (attribute.unwrap_or_default(), enabled.unwrap_or_default());
    let alteration = Alteration::TimeToLive { attribute: attribute.clone(), enabled };
    alter(store, catalog, table_name.unwrap_or_default(), alteration).await?;
    Ok(reply(|object| {
        let mut specification = object.key("TimeToLiveSpecification").start_object();
        specification.key("AttributeName").string(&attribute);
        specification.key("Enabled").boolean(enabled);
        specification.finish();
    }))
}

/// Says whether items expire, and by which attribute.
pub(super) async fn describe_time_to_live<S: Store>(store: &S, body: &[u8]) -> Result<String, Fault> {
    let name = read_table_name(body)?;
    let table = descriptor(store.call(describe(&name)).await?)?;
    Ok(reply(|object| {
        let mut description = object.key("TimeToLiveDescription").start_object();
        if let Some(attribute) = &table.time_to_live {
            description.key("AttributeName").string(attribute);
        }
        description.key("TimeToLiveStatus").string(if table.time_to_live.is_some() { "ENABLED" } else { "DISABLED" });
        description.finish();
    }))
}

/// There are no backups, and it says so.
pub(super) async fn describe_continuous_backups<S: Store>(store: &S, body: &[u8]) -> Result<String, Fault> {
    let name = read_table_name(body)?;
    descriptor(store.call(describe(&name)).await?).map_err(|fault| match fault.exception {
        Exception::ResourceNotFound => Fault::new(Exception::TableNotFound, format!("Table not found: {name}")),
        _ => fault,
    })?;
    Ok(reply(|object| {
        let mut description = object.key("ContinuousBackupsDescription").start_object();
        description.key("ContinuousBackupsStatus").string("DISABLED");
        let mut recovery: JsonObjectWriter<'_> = description.key("PointInTimeRecoveryDescription").start_object();
        recovery.key("PointInTimeRecoveryStatus").string("DISABLED");
        recovery.finish();
        description.finish();
    }))
}

/// What AWS grants; for tools that compare with it.
pub(super) fn describe_limits() -> String {
    reply(|object| {
        for (name, units) in [
            ("AccountMaxReadCapacityUnits", ACCOUNT_UNITS),
            ("AccountMaxWriteCapacityUnits", ACCOUNT_UNITS),
            ("TableMaxReadCapacityUnits", TABLE_UNITS),
            ("TableMaxWriteCapacityUnits", TABLE_UNITS),
        ] {
            object.key(name).number(Number::PosInt(units));
        }
    })
}
