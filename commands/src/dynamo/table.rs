//! Table descriptors: what a gateway must know of a table, and the record that is stored under its name.
//!
//! The gateway fills in what the client chose; the leader that creates the table fills in what must be chosen once:
//! id, UUID and creation time. Afterwards only what [`super::alter`] changes is not for ever.
//!
//! Version 1 had neither tags nor a time to live, version 2 no indexes; they are read as tables without them.

use std::collections::BTreeMap;

use bytes::Bytes;
use keyspace::TableId;

use super::alter::{put_tags, read_tags};
use super::fields::{Fields, RecordError, put_bytes};
use super::index::{Index, put_indexes, read_indexes};
use super::key::KeyType;

const VERSION: u8 = 3;
const WITHOUT_INDEXES: u8 = 2;
const WITHOUT_TAGS: u8 = 1;

const PAY_PER_REQUEST: u8 = 1;
const PROVISIONED: u8 = 2;

/// A DynamoDB table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Names the items; 0 until the table is created. Never reused, so items of a deleted table are out of reach.
    pub id: TableId,
    /// Unique among all tables of all time; zeros until the table is created.
    pub uuid: [u8; 16],
    /// Milliseconds since 1970; 0 until the table is created.
    pub created_ms: u64,
    /// Table name.
    pub name: String,
    /// Amazon resource name.
    pub arn: String,
    /// The attribute that decides where an item lives.
    pub partition_key: KeyAttribute,
    /// The attribute that orders items of one partition.
    pub sort_key: Option<KeyAttribute>,
    /// What the client asked to pay; reported, never enforced.
    pub billing: Billing,
    /// DeleteTable is refused.
    pub deletion_protection: bool,
    /// What the client notes of it, by key.
    pub tags: BTreeMap<String, String>,
    /// The attribute by which items expire, if they do.
    pub time_to_live: Option<String>,
    /// Its secondary indexes, in the order in which they were made; local ones first.
    pub indexes: Vec<Index>,
}

/// An attribute of the key schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAttribute {
    /// Attribute name.
    pub name: String,
    /// Attribute type.
    pub kind: KeyType,
}

/// How AWS would charge for the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Billing {
    /// `PAY_PER_REQUEST`
    PayPerRequest,
    /// `PROVISIONED`
    Provisioned {
        /// Read capacity units.
        read: u64,
        /// Write capacity units.
        write: u64,
    },
}

impl Table {
    /// Its key attributes: one or two.
    pub fn keys(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.partition_key).chain(&self.sort_key)
    }

    /// The index of this name.
    pub fn index(&self, name: &str) -> Option<&Index> {
        self.indexes.iter().find(|index| index.name == name)
    }

    /// The record of the table.
    pub fn encode(&self) -> Bytes {
        // A table without indexes can still be read by gateways that know none.
        let mut out = vec![if self.indexes.is_empty() { WITHOUT_INDEXES } else { VERSION }];
        out.extend(self.id.0.to_be_bytes());
        out.extend(self.uuid);
        out.extend(self.created_ms.to_be_bytes());
        put_bytes(&mut out, self.name.as_bytes());
        put_bytes(&mut out, self.arn.as_bytes());
        put_key_attribute(&mut out, &self.partition_key);
        out.push(self.sort_key.is_some().into());
        self.sort_key.iter().for_each(|key| put_key_attribute(&mut out, key));
        put_billing(&mut out, self.billing);
        out.push(self.deletion_protection.into());
        put_tags(&mut out, &self.tags);
        out.push(self.time_to_live.is_some().into());
        self.time_to_live.iter().for_each(|attribute| put_bytes(&mut out, attribute.as_bytes()));
        if !self.indexes.is_empty() {
            put_indexes(&mut out, &self.indexes);
        }
        out.into()
    }

    /// Inverse of [`Table::encode`].
    pub fn decode(record: &[u8]) -> Result<Self, RecordError> {
        let version = match record.first() {
            Some(&old @ (WITHOUT_TAGS | WITHOUT_INDEXES)) => old,
            _ => VERSION,
        };
        let mut fields = Fields::of_version(record, version)?;
        let mut table = Self {
            id: TableId(fields.u32("table id")?),
            uuid: fields.array("UUID")?,
            created_ms: fields.u64("creation time")?,
            name: fields.text("table name")?.to_owned(),
            arn: fields.text("ARN")?.to_owned(),
            partition_key: read_key_attribute(&mut fields)?,
            sort_key: fields.boolean("sort key")?.then(|| read_key_attribute(&mut fields)).transpose()?,
            billing: read_billing(&mut fields)?,
            deletion_protection: fields.boolean("deletion protection")?,
            tags: BTreeMap::new(),
            time_to_live: None,
            indexes: Vec::new(),
        };
        if version > WITHOUT_TAGS {
            table.tags = read_tags(&mut fields)?;
            let expires = fields.boolean("time to live")?;
            table.time_to_live = expires.then(|| fields.text("time to live").map(str::to_owned)).transpose()?;
        }
        if version > WITHOUT_INDEXES {
            table.indexes = read_indexes(&mut fields)?;
            if table.indexes.is_empty() {
                return Err(RecordError::Invalid { field: "indexes" });
            }
        }
        fields.finish()?;
        Ok(table)
    }
}

/// Appends a billing mode.
pub(super) fn put_billing(out: &mut Vec<u8>, billing: Billing) {
    match billing {
        Billing::PayPerRequest => out.push(PAY_PER_REQUEST),
        Billing::Provisioned { read, write } => {
            out.push(PROVISIONED);
            out.extend(read.to_be_bytes());
            out.extend(write.to_be_bytes());
        }
    }
}

/// Inverse of [`put_billing`].
pub(super) fn read_billing(fields: &mut Fields<'_>) -> Result<Billing, RecordError> {
    match fields.u8("billing mode")? {
        PAY_PER_REQUEST => Ok(Billing::PayPerRequest),
        PROVISIONED => {
            Ok(Billing::Provisioned { read: fields.u64("read capacity")?, write: fields.u64("write capacity")? })
        }
        _ => Err(RecordError::Invalid { field: "billing mode" }),
    }
}

/// Appends a key attribute.
pub(super) fn put_key_attribute(out: &mut Vec<u8>, key: &KeyAttribute) {
    put_bytes(out, key.name.as_bytes());
    out.push(key.kind.tag());
}

/// Inverse of [`put_key_attribute`].
pub(super) fn read_key_attribute(fields: &mut Fields<'_>) -> Result<KeyAttribute, RecordError> {
    let name = fields.text("key attribute")?.to_owned();
    let kind = KeyType::from_tag(fields.u8("key type")?).ok_or(RecordError::Invalid { field: "key type" })?;
    Ok(KeyAttribute { name, kind })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::index::{Projected, Scope, Stage};
    use super::*;

    fn key_attributes() -> impl Strategy<Value = KeyAttribute> {
        let kinds = prop_oneof![Just(KeyType::Text), Just(KeyType::Number), Just(KeyType::Bytes)];
        (".{1,8}", kinds).prop_map(|(name, kind)| KeyAttribute { name, kind })
    }

    fn indexes() -> impl Strategy<Value = Index> {
        let stages = prop_oneof![
            Just(Stage::Active),
            Just(Stage::Cleaning),
            any::<u64>().prop_map(|since_ms| Stage::Announced { since_ms }),
            any::<Vec<u8>>().prop_map(|up_to| Stage::Filling { up_to: up_to.into() }),
        ];
        let billing = Billing::Provisioned { read: 1, write: 2 };
        let scopes = prop_oneof![
            any::<u8>().prop_map(|lane| Scope::Local { lane }),
            (any::<u32>(), stages).prop_map(move |(id, stage)| Scope::Global { id: TableId(id), stage, billing }),
        ];
        let projections = prop_oneof![
            Just(Projected::All),
            Just(Projected::KeysOnly),
            prop::collection::vec(".{1,3}", 0..3).prop_map(Projected::Include),
        ];
        ("[a-z]{3}", scopes, key_attributes(), prop::option::of(key_attributes()), projections).prop_map(
            |(name, scope, partition_key, sort_key, projection)| Index {
                name,
                scope,
                partition_key,
                sort_key,
                projection,
            },
        )
    }

    fn tables() -> impl Strategy<Value = Table> {
        let billing = prop_oneof![
            Just(Billing::PayPerRequest),
            any::<(u64, u64)>().prop_map(|(read, write)| Billing::Provisioned { read, write }),
        ];
        let identity = (any::<u32>(), any::<[u8; 16]>(), any::<u64>(), "[a-z]{3,9}");
        let tags = prop::collection::btree_map(".{1,3}", ".{0,3}", 0..4);
        let rest = (any::<bool>(), tags, prop::option::of(".{1,4}"), prop::collection::vec(indexes(), 0..3));
        (identity, key_attributes(), prop::option::of(key_attributes()), billing, rest).prop_map(
            |((id, uuid, created_ms, name), partition_key, sort_key, billing, rest)| Table {
                id: TableId(id),
                uuid,
                created_ms,
                arn: format!("arn:{name}"),
                name,
                partition_key,
                sort_key,
                billing,
                deletion_protection: rest.0,
                tags: rest.1,
                time_to_live: rest.2,
                indexes: rest.3,
            },
        )
    }

    proptest! {
        #[test]
        fn descriptors_survive_the_round_trip(table in tables()) {
            prop_assert_eq!(Table::decode(&table.encode()).unwrap(), table);
        }

        #[test]
        fn what_decodes_is_canonical(table in tables(), at: prop::sample::Index, byte: u8) {
            let mut record = table.encode().to_vec();
            let at = at.index(record.len());
            record[at] = byte;
            if let Ok(decoded) = Table::decode(&record) {
                prop_assert_eq!(decoded.encode(), record);
            }
        }

        #[test]
        fn a_cut_descriptor_is_refused(table in tables(), at: prop::sample::Index) {
            let record = table.encode();
            prop_assert!(Table::decode(&record[..at.index(record.len())]).is_err());
        }
    }

    #[test]
    fn a_table_without_tags_is_read_as_it_was_written_then() {
        let key = KeyAttribute { name: "p".into(), kind: KeyType::Text };
        let table = Table {
            id: TableId(7),
            uuid: [1; 16],
            created_ms: 2,
            name: "orders".into(),
            arn: "arn".into(),
            partition_key: key,
            sort_key: None,
            billing: Billing::PayPerRequest,
            deletion_protection: true,
            tags: BTreeMap::new(),
            time_to_live: None,
            indexes: Vec::new(),
        };
        assert_eq!(table.encode()[0], WITHOUT_INDEXES, "gateways that know no indexes read it");
        let mut record = table.encode().to_vec();
        record.truncate(record.len() - 2);
        record[0] = WITHOUT_TAGS;
        assert_eq!(Table::decode(&record), Ok(table));
    }

    #[test]
    fn another_version_is_refused_by_name() {
        assert_eq!(Table::decode(&[9]), Err(RecordError::UnknownVersion { found: 9 }));
    }
}
