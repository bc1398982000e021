//! What CreateTable accepts.
//!
//! Options that this server keeps (key schema, indexes, billing mode, deletion protection) are checked as AWS checks them;
//! options that it does not have yet are accepted where they say "none" and refused otherwise.

use std::collections::BTreeMap;

use commands::dynamo::alter::{MAX_TAGS, check_projected};
use commands::dynamo::index::{Index, MAX_GLOBAL_INDEXES};
use commands::dynamo::table::{Billing, KeyAttribute};

use super::alter_table::{TagFields, check_tags, read_tags, tags_by_key};
use super::constraints::Constraints;
use super::fault::Fault;
use super::indexes::{Definitions, IndexFields, check_distinct, local_indexes};
use super::json::Reader;

/// Longest name of a key attribute, in bytes.
const MAX_KEY_NAME_BYTES: usize = 255;

/// A valid request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CreateTable {
    pub(super) table_name: String,
    pub(super) partition_key: KeyAttribute,
    pub(super) sort_key: Option<KeyAttribute>,
    pub(super) billing: Billing,
    pub(super) deletion_protection: bool,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) indexes: Vec<Index>,
}

/// The fields as they came.
#[derive(Default)]
struct Fields {
    table_name: Option<String>,
    /// Names and types.
    definitions: Option<Vec<Pair>>,
    /// Names and roles.
    key_schema: Option<Vec<Pair>>,
    local: Option<Vec<IndexFields>>,
    global: Option<Vec<IndexFields>>,
    billing: BillingFields,
    deletion_protection: bool,
    tags: Option<TagFields>,
    /// The first option that is not there yet.
    unsupported: Option<&'static str>,
}

/// Who pays what.
#[derive(Default)]
pub(super) struct BillingFields {
    mode: Option<String>,
    throughput: Option<Throughput>,
}

/// An attribute's name, and its type or role.
#[derive(Default)]
pub(super) struct Pair {
    name: Option<String>,
    second: Option<String>,
}

/// Capacity units.
#[derive(Default)]
pub(super) struct Throughput {
    read: Option<i64>,
    write: Option<i64>,
}

impl CreateTable {
    pub(super) fn read(body: &[u8]) -> Result<Self, Fault> {
        let mut fields = Fields::default();
        Reader::document(body, |reader, field| fields.read(reader, field))?;
        fields.check_constraints()?;
        if let Some(option) = fields.unsupported {
            return Err(Fault::unsupported(option));
        }
        let billing = fields.billing.billing()?;
        let tags = tags_by_key(fields.tags.take().unwrap_or_default())?;
        if tags.len() > MAX_TAGS {
            return Err(Fault::parameter(format!("Number of tags exceeds the limit of {MAX_TAGS} for a resource")));
        }
        let (partition_key, sort_key, indexes) = fields.keys(billing)?;
        Ok(Self {
            // It was required among the constraints.
            table_name: fields.table_name.unwrap_or_default(),
            partition_key,
            sort_key,
            billing,
            deletion_protection: fields.deletion_protection,
            tags,
            indexes,
        })
    }
}

impl Fields {
    fn read(&mut self, reader: &mut Reader<'_>, field: &str) -> Result<(), Fault> {
        match field {
            "TableName" => self.table_name = reader.string()?,
            "AttributeDefinitions" => self.definitions = read_pairs(reader, "AttributeType")?,
            "KeySchema" => self.key_schema = read_pairs(reader, "KeyType")?,
            "DeletionProtectionEnabled" => self.deletion_protection = reader.boolean()?.unwrap_or(false),
            "LocalSecondaryIndexes" => self.local = IndexFields::read_all(reader)?,
            "GlobalSecondaryIndexes" => self.global = IndexFields::read_all(reader)?,
            "Tags" => self.tags = read_tags(reader)?,
            "SSESpecification" => self.refuse_if(read_switch(reader, "Enabled")?, "SSESpecification"),
            "StreamSpecification" => self.refuse_if(read_switch(reader, "StreamEnabled")?, "StreamSpecification"),
            "TableClass" => {
                let class = reader.string()?;
                self.refuse_if(class.is_some_and(|class| class != "STANDARD"), "TableClass other than STANDARD");
            }
            "OnDemandThroughput" => self.refuse_if(reader.skip()?, "OnDemandThroughput"),
            "WarmThroughput" => self.refuse_if(reader.skip()?, "WarmThroughput"),
            "ResourcePolicy" => self.refuse_if(reader.skip()?, "ResourcePolicy"),
            "GlobalTableSourceArn" => self.refuse_if(reader.skip()?, "GlobalTableSourceArn"),
            field => {
                if !self.billing.read(reader, field)? {
                    reader.skip()?;
                }
            }
        }
        Ok(())
    }

    fn refuse_if(&mut self, wanted: bool, option: &'static str) {
        if wanted {
            self.unsupported.get_or_insert(option);
        }
    }

    fn check_constraints(&self) -> Result<(), Fault> {
        let mut constraints = Constraints::default();
        constraints.required("attributeDefinitions", &self.definitions);
        check_definitions(&mut constraints, &self.definitions);
        constraints.table_name("tableName", &self.table_name);
        check_pairs(&mut constraints, "keySchema", &self.key_schema);
        for (list, indexes) in [("localSecondaryIndexes", &self.local), ("globalSecondaryIndexes", &self.global)] {
            for (position, index) in indexes.iter().flatten().enumerate() {
                index.check(&mut constraints, &format!("{list}.{}.member", position + 1));
            }
        }
        self.billing.check(&mut constraints);
        self.tags.iter().for_each(|tags| check_tags(&mut constraints, tags));
        constraints.finish()
    }

    /// The key attributes of the table, and its indexes. Needs the constraints to hold.
    fn keys(&self, billing: Billing) -> Result<(KeyAttribute, Option<KeyAttribute>, Vec<Index>), Fault> {
        let definitions = Definitions::of(self.definitions.as_deref().unwrap_or_default());
        let schema = self.key_schema.as_deref().unwrap_or_default();
        let (partition_key, sort_key) = definitions.keys(schema)?;
        if self.local.is_none() && self.global.is_none() && definitions.0.len() != schema.len() {
            return Err(Fault::parameter(
                "Number of attributes in KeySchema does not exactly match number of attributes defined in \
                 AttributeDefinitions",
            ));
        }
        let mut indexes = Vec::new();
        if let Some(local) = &self.local {
            indexes = local_indexes(local, &definitions, &partition_key, sort_key.is_some())?;
            check_distinct(&indexes)?;
        }
        if let Some(global) = &self.global {
            if global.is_empty() {
                return Err(Fault::parameter("List of GlobalSecondaryIndexes is empty"));
            }
            for fields in global {
                indexes.push(fields.global(&definitions, billing)?);
                check_distinct(&indexes)?;
            }
            if global.len() > MAX_GLOBAL_INDEXES {
                return Err(Fault::parameter("GlobalSecondaryIndex count exceeds the per-table limit of 20"));
            }
        }
        let of_table = std::iter::once(&partition_key).chain(&sort_key);
        definitions.check_used(of_table.chain(indexes.iter().flat_map(Index::keys)))?;
        check_projected(&indexes).map_err(Fault::validation)?;
        Ok((partition_key, sort_key, indexes))
    }
}

impl BillingFields {
    /// Reads a field if it is one of these; answers whether it was.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, field: &str) -> Result<bool, Fault> {
        match field {
            "BillingMode" => self.mode = reader.string()?,
            "ProvisionedThroughput" => self.throughput = read_throughput(reader)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.mode.is_none() && self.throughput.is_none()
    }

    pub(super) fn names_mode(&self) -> bool {
        self.mode.is_some()
    }

    /// What the API declares of them.
    pub(super) fn check(&self, constraints: &mut Constraints) {
        constraints.choice("billingMode", &self.mode, &["PROVISIONED", "PAY_PER_REQUEST"]);
        if let Some(throughput) = &self.throughput {
            check_throughput(constraints, "provisionedThroughput", throughput);
        }
    }

    /// What they say together.
    pub(super) fn billing(&self) -> Result<Billing, Fault> {
        match (self.mode.as_deref(), &self.throughput) {
            (Some("PAY_PER_REQUEST"), None) => Ok(Billing::PayPerRequest),
            (Some("PAY_PER_REQUEST"), Some(_)) => Err(Fault::parameter(
                "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
            )),
            (_, Some(throughput)) => Ok(throughput.billing()),
            (_, None) => Err(Fault::parameter(
                "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
            )),
        }
    }
}

impl Throughput {
    /// Needs the constraints to hold.
    pub(super) fn billing(&self) -> Billing {
        let units = |units: Option<i64>| units.and_then(|units| u64::try_from(units).ok()).unwrap_or_default();
        Billing::Provisioned { read: units(self.read), write: units(self.write) }
    }
}

/// What the API declares of capacity units.
pub(super) fn check_throughput(constraints: &mut Constraints, field: &str, throughput: &Throughput) {
    for (name, units) in [("readCapacityUnits", throughput.read), ("writeCapacityUnits", throughput.write)] {
        constraints.required(&format!("{field}.{name}"), &units);
        constraints.bounds(&format!("{field}.{name}"), units, 1, i64::MAX);
    }
}

/// What the API declares of attribute definitions.
pub(super) fn check_definitions(constraints: &mut Constraints, definitions: &Option<Vec<Pair>>) {
    for (index, definition) in definitions.iter().flatten().enumerate() {
        let field = format!("attributeDefinitions.{}.member", index + 1);
        check_name(constraints, &field, &definition.name);
        constraints.required(&format!("{field}.attributeType"), &definition.second);
        constraints.choice(&format!("{field}.attributeType"), &definition.second, &["B", "N", "S"]);
    }
}

/// What the API declares of a key schema.
pub(super) fn check_pairs(constraints: &mut Constraints, field: &str, key_schema: &Option<Vec<Pair>>) {
    constraints.required(field, key_schema);
    if let Some(elements) = key_schema {
        constraints.count(field, elements.len(), 1, 2);
    }
    for (index, element) in key_schema.iter().flatten().enumerate() {
        let field = format!("{field}.{}.member", index + 1);
        check_name(constraints, &field, &element.name);
        constraints.required(&format!("{field}.keyType"), &element.second);
        constraints.choice(&format!("{field}.keyType"), &element.second, &["HASH", "RANGE"]);
    }
}

impl Pair {
    pub(super) fn both(&self) -> Option<(&str, &str)> {
        self.name.as_deref().zip(self.second.as_deref())
    }
}

fn check_name(constraints: &mut Constraints, field: &str, name: &Option<String>) {
    let field = format!("{field}.attributeName");
    constraints.required(&field, name);
    if let Some(name) = name {
        constraints.length(&field, name, 1, MAX_KEY_NAME_BYTES);
    }
}

/// Reads a list of names with a second word each: types or roles.
pub(super) fn read_pairs(reader: &mut Reader<'_>, second: &str) -> Result<Option<Vec<Pair>>, Fault> {
    let mut pairs = Vec::new();
    let present = reader.list(|reader| {
        let mut pair = Pair::default();
        reader.object(|reader, field| {
            match field {
                "AttributeName" => pair.name = reader.string()?,
                field if field == second => pair.second = reader.string()?,
                _ => drop(reader.skip()?),
            }
            Ok(())
        })?;
        pairs.push(pair);
        Ok(())
    })?;
    Ok(present.then_some(pairs))
}

/// Reads capacity units.
pub(super) fn read_throughput(reader: &mut Reader<'_>) -> Result<Option<Throughput>, Fault> {
    let mut throughput = Throughput::default();
    let present = reader.object(|reader, field| {
        match field {
            "ReadCapacityUnits" => throughput.read = reader.integer()?,
            "WriteCapacityUnits" => throughput.write = reader.integer()?,
            _ => drop(reader.skip()?),
        }
        Ok(())
    })?;
    Ok(present.then_some(throughput))
}

/// A specification that its own member switches on.
pub(super) fn read_switch(reader: &mut Reader<'_>, switch: &str) -> Result<bool, Fault> {
    let mut on = false;
    reader.object(|reader, field| {
        match field {
            field if field == switch => on = reader.boolean()?.unwrap_or(false),
            _ => drop(reader.skip()?),
        }
        Ok(())
    })?;
    Ok(on)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use commands::dynamo::key::KeyType;

    use super::*;

    const KEYS: &str = r#""KeySchema":[{"AttributeName":"p","KeyType":"HASH"}],
                          "AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"}]"#;

    /// A request with these fields besides name, keys and billing mode.
    fn with(more: &str) -> Result<CreateTable, Fault> {
        let body = format!(r#"{{"TableName":"orders",{KEYS},"BillingMode":"PAY_PER_REQUEST"{more}}}"#);
        CreateTable::read(body.as_bytes())
    }

    /// A request with this key schema and these definitions, each `name:second` in a comma-separated list.
    fn with_keys(schema: &str, definitions: &str) -> Result<CreateTable, Fault> {
        let list = |pairs: &str, second: &str| {
            let pair = |pair: &str| {
                let (name, value) = pair.split_once(':').unwrap();
                format!(r#"{{"AttributeName":"{name}","{second}":"{value}"}}"#)
            };
            pairs.split(',').filter(|text| !text.is_empty()).map(pair).collect::<Vec<_>>().join(",")
        };
        let (schema, definitions) = (list(schema, "KeyType"), list(definitions, "AttributeType"));
        let body = format!(
            r#"{{"TableName":"orders","KeySchema":[{schema}],"AttributeDefinitions":[{definitions}],
                "BillingMode":"PAY_PER_REQUEST"}}"#
        );
        CreateTable::read(body.as_bytes())
    }

    #[test]
    fn keys_have_roles_and_types() {
        let request = with_keys("p:HASH,s:RANGE", "s:N,p:B").unwrap();
        assert_eq!(request.partition_key, KeyAttribute { name: "p".into(), kind: KeyType::Bytes });
        assert_eq!(request.sort_key, Some(KeyAttribute { name: "s".into(), kind: KeyType::Number }));
    }

    #[test]
    fn key_schemas_that_make_no_table() {
        let cases = [
            ("p:RANGE", "p:S", "The first KeySchemaElement is not a HASH key type"),
            ("p:HASH,s:HASH", "p:S,s:S", "The second KeySchemaElement is not a RANGE key type"),
            ("p:HASH,p:RANGE", "p:S", "have the same name"),
            ("p:HASH", "q:S", "not defined in AttributeDefinitions. Keys: [p], AttributeDefinitions: [q]"),
            ("p:HASH", "p:S,q:S", "does not exactly match number of attributes defined in AttributeDefinitions"),
            ("p:HASH", "p:BOOL", "at 'attributeDefinitions.1.member.attributeType' failed to satisfy constraint"),
            ("p:KEY", "p:S", "Member must satisfy enum value set: [HASH, RANGE]"),
            ("", "p:S", "at 'keySchema' failed to satisfy constraint"),
            ("p:HASH,s:RANGE,t:RANGE", "p:S", "Member must have length less than or equal to 2"),
        ];
        for (schema, definitions, message) in cases {
            let fault = with_keys(schema, definitions).unwrap_err();
            assert!(fault.message.contains(message), "{}", fault.message);
        }
    }

    #[test]
    fn billing_is_one_or_the_other() {
        let body = |more: &str| CreateTable::read(format!(r#"{{"TableName":"orders",{KEYS}{more}}}"#).as_bytes());
        let units = r#","ProvisionedThroughput":{"ReadCapacityUnits":3,"WriteCapacityUnits":4}"#;
        assert_eq!(body(units).unwrap().billing, Billing::Provisioned { read: 3, write: 4 });
        assert_eq!(with("").unwrap().billing, Billing::PayPerRequest);
        assert!(with(units).unwrap_err().message.contains("when BillingMode is PAY_PER_REQUEST"));
        assert!(body("").unwrap_err().message.contains("when BillingMode is PROVISIONED"));
        let zero = r#","ProvisionedThroughput":{"ReadCapacityUnits":0,"WriteCapacityUnits":1}"#;
        assert!(body(zero).unwrap_err().message.contains("greater than or equal to 1"));
    }

    #[test]
    fn options_that_say_none_are_accepted_and_others_refused() {
        let none = [
            r#""Tags":[]"#,
            r#""SSESpecification":{"Enabled":false}"#,
            r#""StreamSpecification":{"StreamEnabled":false}"#,
            r#""TableClass":"STANDARD""#,
            r#""GlobalSecondaryIndexes":null"#,
            r#""SomethingNew":{"a":[1]}"#,
        ];
        for option in none {
            assert!(with(&format!(",{option}")).is_ok(), "{option}");
        }
        let some = [
            r#""SSESpecification":{"Enabled":true}"#,
            r#""StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_IMAGE"}"#,
            r#""TableClass":"STANDARD_INFREQUENT_ACCESS""#,
            r#""OnDemandThroughput":{}"#,
        ];
        for option in some {
            let fault = with(&format!(",{option}")).unwrap_err();
            assert!(fault.message.ends_with("is not supported yet"), "{option}: {}", fault.message);
        }
    }

    #[test]
    fn all_missing_fields_are_named() {
        let message = CreateTable::read(b"{}").unwrap_err().message;
        for field in ["attributeDefinitions", "tableName", "keySchema"] {
            assert!(message.contains(&format!("Value null at '{field}'")), "{message}");
        }
    }
}
