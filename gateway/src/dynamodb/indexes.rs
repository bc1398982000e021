//! Secondary indexes as clients define them and as tables describe them.
//!
//! Definitions are read the same way for CreateTable and UpdateTable: fields first, of which the API declares what each
//! may be, then what must hold between them, in AWS' words and order.

use aws_smithy_json::serialize::JsonObjectWriter;
use aws_smithy_types::Number;
use commands::dynamo::Table;
use commands::dynamo::index::{Index, MAX_LOCAL_INDEXES, Projected, Scope, Stage};
use commands::dynamo::key::KeyType;
use commands::dynamo::table::{Billing, KeyAttribute};
use keyspace::TableId;

use super::constraints::Constraints;
use super::create_table::{Pair, Throughput, check_pairs, check_throughput, read_pairs, read_throughput};
use super::fault::Fault;
use super::json::Reader;

/// Most attributes that one index names to be projected, and the longest of their names.
const MAX_NON_KEY: usize = 20;
const MAX_NAME: usize = 255;

/// An index as it came.
#[derive(Default)]
pub(super) struct IndexFields {
    pub(super) name: Option<String>,
    key_schema: Option<Vec<Pair>>,
    projection: Option<ProjectionFields>,
    pub(super) throughput: Option<Throughput>,
}

#[derive(Default)]
struct ProjectionFields {
    kind: Option<String>,
    non_key: Option<Vec<Option<String>>>,
}

impl IndexFields {
    /// Reads the members of one definition; `None`: it is not there.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Fault> {
        let mut index = Self::default();
        let present = reader.object(|reader, field| {
            match field {
                "IndexName" => index.name = reader.string()?,
                "KeySchema" => index.key_schema = read_pairs(reader, "KeyType")?,
                "Projection" => index.projection = read_projection(reader)?,
                "ProvisionedThroughput" => index.throughput = read_throughput(reader)?,
                _ => drop(reader.skip()?),
            }
            Ok(())
        })?;
        Ok(present.then_some(index))
    }

    /// Reads a list of definitions.
    pub(super) fn read_all(reader: &mut Reader<'_>) -> Result<Option<Vec<Self>>, Fault> {
        let mut indexes = Vec::new();
        let present = reader.list(|reader| {
            indexes.push(Self::read(reader)?.unwrap_or_default());
            Ok(())
        })?;
        Ok(present.then_some(indexes))
    }

    /// What the API declares of the fields.
    pub(super) fn check(&self, constraints: &mut Constraints, field: &str) {
        constraints.table_name(&format!("{field}.indexName"), &self.name);
        check_pairs(constraints, &format!("{field}.keySchema"), &self.key_schema);
        let at = format!("{field}.projection");
        constraints.required(&at, &self.projection);
        if let Some(projection) = &self.projection {
            let kinds = ["ALL", "INCLUDE", "KEYS_ONLY"];
            constraints.choice(&format!("{at}.projectionType"), &projection.kind, &kinds);
            if let Some(names) = &projection.non_key {
                constraints.count(&format!("{at}.nonKeyAttributes"), names.len(), 1, MAX_NON_KEY);
            }
            for (position, name) in projection.non_key.iter().flatten().enumerate() {
                let at = format!("{at}.nonKeyAttributes.{}.member", position + 1);
                constraints.required(&at, name);
                name.iter().for_each(|name| constraints.length(&at, name, 1, MAX_NAME));
            }
        }
        if let Some(throughput) = &self.throughput {
            check_throughput(constraints, &format!("{field}.provisionedThroughput"), throughput);
        }
    }

    /// The index, if its parts fit together. Needs the constraints to hold.
    fn build(&self, definitions: &Definitions, scope: Scope) -> Result<Index, Fault> {
        let (partition_key, sort_key) = definitions.keys(self.key_schema.as_deref().unwrap_or_default())?;
        Ok(Index {
            name: self.name.clone().unwrap_or_default(),
            scope,
            partition_key,
            sort_key,
            projection: self.projection.as_ref().map_or(Ok(Projected::KeysOnly), ProjectionFields::build)?,
        })
    }

    /// A global index, of a table that is paid for so.
    pub(super) fn global(&self, definitions: &Definitions, billing: Billing) -> Result<Index, Fault> {
        let scope = |billing| Scope::Global { id: TableId(0), stage: Stage::Active, billing };
        let index = self.build(definitions, scope(Billing::PayPerRequest))?;
        let name = &index.name;
        let of_index = match (billing, &self.throughput) {
            (Billing::PayPerRequest, Some(_)) => Err(Fault::parameter(format!(
                "ProvisionedThroughput should not be specified for index: {name} when BillingMode is PAY_PER_REQUEST"
            ))),
            (Billing::Provisioned { .. }, None) => {
                Err(Fault::parameter(format!("ProvisionedThroughput must be specified for index: {name}")))
            }
            (_, Some(throughput)) => Ok(throughput.billing()),
            (Billing::PayPerRequest, None) => Ok(Billing::PayPerRequest),
        };
        Ok(Index { scope: scope(of_index?), ..index })
    }
}

impl ProjectionFields {
    fn build(&self) -> Result<Projected, Fault> {
        let kind = self.kind.as_deref();
        match (kind, &self.non_key) {
            (None, _) => Err(Fault::parameter("Unknown ProjectionType: null")),
            (Some("INCLUDE"), Some(names)) => Ok(Projected::Include(names.iter().flatten().cloned().collect())),
            (Some("INCLUDE"), None) => {
                Err(Fault::parameter("ProjectionType is INCLUDE, but NonKeyAttributes is not specified"))
            }
            (Some(kind), Some(_)) => {
                Err(Fault::parameter(format!("ProjectionType is {kind}, but NonKeyAttributes is specified")))
            }
            (Some("ALL"), None) => Ok(Projected::All),
            (Some(_), None) => Ok(Projected::KeysOnly),
        }
    }
}

fn read_projection(reader: &mut Reader<'_>) -> Result<Option<ProjectionFields>, Fault> {
    let mut projection = ProjectionFields::default();
    let present = reader.object(|reader, field| {
        match field {
            "ProjectionType" => projection.kind = reader.string()?,
            "NonKeyAttributes" => projection.non_key = reader.strings()?,
            _ => drop(reader.skip()?),
        }
        Ok(())
    })?;
    Ok(present.then_some(projection))
}

/// Attributes and their types, as a request defines them.
pub(super) struct Definitions(pub(super) Vec<(String, KeyType)>);

impl Definitions {
    /// Of definitions of which the constraints hold.
    pub(super) fn of(pairs: &[Pair]) -> Self {
        let defined = |(name, kind): (&str, &str)| Some((name.to_owned(), KeyType::from_name(kind)?));
        Self(pairs.iter().filter_map(Pair::both).filter_map(defined).collect())
    }

    fn names(&self) -> String {
        self.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The key attributes of a schema, each with its type. Needs the constraints to hold.
    pub(super) fn keys(&self, schema: &[Pair]) -> Result<(KeyAttribute, Option<KeyAttribute>), Fault> {
        let schema: Vec<(&str, &str)> = schema.iter().filter_map(Pair::both).collect();
        let Some((&(partition, role), sort)) = schema.split_first() else {
            return Err(Fault::internal(&"a key schema without elements has passed"));
        };
        if role != "HASH" {
            let message = "Invalid KeySchema: The first KeySchemaElement is not a HASH key type";
            return Err(Fault::validation(message));
        }
        for &(name, role) in sort {
            if role != "RANGE" {
                let message = "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type";
                return Err(Fault::validation(message));
            }
            if name == partition {
                let message = "Both the Hash Key and the Range Key element in the KeySchema have the same name";
                return Err(Fault::validation(message));
            }
        }
        let define = |name: &str| {
            let found = self.0.iter().find(|(defined, _)| defined == name);
            found.map(|(_, kind)| KeyAttribute { name: name.to_owned(), kind: *kind }).ok_or_else(|| {
                let keys = schema.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
                Fault::parameter(format!(
                    "Some index key attributes are not defined in AttributeDefinitions. Keys: [{keys}], \
                     AttributeDefinitions: [{}]",
                    self.names()
                ))
            })
        };
        Ok((define(partition)?, sort.first().map(|(name, _)| define(name)).transpose()?))
    }

    /// Refuses definitions of attributes that are none of these keys.
    pub(super) fn check_used<'a>(&self, keys: impl Iterator<Item = &'a KeyAttribute>) -> Result<(), Fault> {
        let mut used: Vec<&str> = Vec::new();
        for key in keys {
            if !used.contains(&key.name.as_str()) {
                used.push(&key.name);
            }
        }
        match self.0.iter().all(|(name, _)| used.contains(&name.as_str())) {
            true => Ok(()),
            false => Err(Fault::parameter(format!(
                "Some AttributeDefinitions are not used. AttributeDefinitions: [{}], keys used: [{}]",
                self.names(),
                used.join(", ")
            ))),
        }
    }
}

/// The local indexes of a table with these keys.
pub(super) fn local_indexes(
    fields: &[IndexFields],
    definitions: &Definitions,
    partition_key: &KeyAttribute,
    has_sort_key: bool,
) -> Result<Vec<Index>, Fault> {
    if fields.is_empty() {
        return Err(Fault::parameter("List of LocalSecondaryIndexes is empty"));
    }
    if !has_sort_key {
        return Err(Fault::parameter(
            "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex",
        ));
    }
    let mut indexes = Vec::with_capacity(fields.len());
    for (fields, lane) in fields.iter().zip(1..=u8::MAX) {
        let index = fields.build(definitions, Scope::Local { lane })?;
        let name = &index.name;
        if index.sort_key.is_none() {
            return Err(Fault::parameter(format!("Index KeySchema does not have a range key for index: {name}")));
        }
        if index.partition_key.name != partition_key.name {
            return Err(Fault::parameter(format!(
                "Index KeySchema does not have the same leading hash key as table KeySchema for index: {name}. index \
                 hash key: {}, table hash key: {}",
                index.partition_key.name, partition_key.name
            )));
        }
        indexes.push(index);
    }
    match fields.len() > MAX_LOCAL_INDEXES {
        true => Err(Fault::parameter("Number of LocalSecondaryIndexes exceeds per-table limit of 5")),
        false => Ok(indexes),
    }
}

/// Refuses a name that two indexes have.
pub(super) fn check_distinct(indexes: &[Index]) -> Result<(), Fault> {
    let is_second = |(at, index): &(usize, &Index)| indexes[..*at].iter().any(|other| other.name == index.name);
    match indexes.iter().enumerate().find(is_second) {
        None => Ok(()),
        Some((_, index)) => Err(Fault::parameter(format!("Duplicate index name: {}", index.name))),
    }
}

/// Adds the members that describe a table's indexes.
pub(super) fn write_indexes(object: &mut JsonObjectWriter<'_>, table: &Table) {
    for (member, local) in [("LocalSecondaryIndexes", true), ("GlobalSecondaryIndexes", false)] {
        let mut indexes = table.indexes.iter().filter(|index| index.is_local() == local).peekable();
        if indexes.peek().is_none() {
            continue;
        }
        let mut array = object.key(member).start_array();
        for index in indexes {
            let mut description = array.value().start_object();
            write_index(&mut description, table, index);
            description.finish();
        }
        array.finish();
    }
}

fn write_index(object: &mut JsonObjectWriter<'_>, table: &Table, index: &Index) {
    object.key("IndexName").string(&index.name);
    object.key("IndexArn").string(&format!("{}/index/{}", table.arn, index.name));
    write_key_schema(object, &index.partition_key, index.sort_key.as_ref());
    let mut projection = object.key("Projection").start_object();
    projection.key("ProjectionType").string(index.projection.name());
    if let Projected::Include(names) = &index.projection {
        let mut array = projection.key("NonKeyAttributes").start_array();
        names.iter().for_each(|name| array.value().string(name));
        array.finish();
    }
    projection.finish();
    let Scope::Global { stage, billing, .. } = &index.scope else { return };
    object.key("IndexStatus").string(if index.is_active() { "ACTIVE" } else { "CREATING" });
    if !index.is_active() {
        object.key("Backfilling").boolean(!matches!(stage, Stage::Announced { .. }));
    }
    write_throughput(object, *billing);
}

/// Adds the member `KeySchema`.
pub(super) fn write_key_schema(
    object: &mut JsonObjectWriter<'_>,
    partition_key: &KeyAttribute,
    sort_key: Option<&KeyAttribute>,
) {
    let mut schema = object.key("KeySchema").start_array();
    for (key, role) in [Some((partition_key, "HASH")), sort_key.map(|key| (key, "RANGE"))].into_iter().flatten() {
        let mut element = schema.value().start_object();
        element.key("AttributeName").string(&key.name);
        element.key("KeyType").string(role);
        element.finish();
    }
    schema.finish();
}

/// Adds the member `ProvisionedThroughput`.
pub(super) fn write_throughput(object: &mut JsonObjectWriter<'_>, billing: Billing) {
    let (read, write) = match billing {
        Billing::Provisioned { read, write } => (read, write),
        Billing::PayPerRequest => (0, 0),
    };
    let mut throughput = object.key("ProvisionedThroughput").start_object();
    throughput.key("NumberOfDecreasesToday").number(Number::PosInt(0));
    throughput.key("ReadCapacityUnits").number(Number::PosInt(read));
    throughput.key("WriteCapacityUnits").number(Number::PosInt(write));
    throughput.finish();
}
