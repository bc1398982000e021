//! Table descriptors: what a gateway must know of a table, and the record that is stored under its name.
//!
//! The gateway fills in what the client chose; the leader that creates the table fills in what must be chosen once:
//! id, UUID and creation time. A descriptor never changes afterwards (UpdateTable comes with a later version byte).

use bytes::Bytes;
use keyspace::TableId;

use super::fields::{Fields, RecordError, put_bytes};
use super::key::KeyType;

const VERSION: u8 = 1;

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
    /// The record of the table.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        out.extend(self.id.0.to_be_bytes());
        out.extend(self.uuid);
        out.extend(self.created_ms.to_be_bytes());
        put_bytes(&mut out, self.name.as_bytes());
        put_bytes(&mut out, self.arn.as_bytes());
        put_key_attribute(&mut out, &self.partition_key);
        out.push(self.sort_key.is_some().into());
        self.sort_key.iter().for_each(|key| put_key_attribute(&mut out, key));
        match self.billing {
            Billing::PayPerRequest => out.push(PAY_PER_REQUEST),
            Billing::Provisioned { read, write } => {
                out.push(PROVISIONED);
                out.extend(read.to_be_bytes());
                out.extend(write.to_be_bytes());
            }
        }
        out.push(self.deletion_protection.into());
        out.into()
    }

    /// Inverse of [`Table::encode`].
    pub fn decode(record: &[u8]) -> Result<Self, RecordError> {
        let mut fields = Fields::of_version(record, VERSION)?;
        let table = Self {
            id: TableId(fields.u32("table id")?),
            uuid: fields.array("UUID")?,
            created_ms: fields.u64("creation time")?,
            name: fields.text("table name")?.to_owned(),
            arn: fields.text("ARN")?.to_owned(),
            partition_key: read_key_attribute(&mut fields)?,
            sort_key: fields.boolean("sort key")?.then(|| read_key_attribute(&mut fields)).transpose()?,
            billing: match fields.u8("billing mode")? {
                PAY_PER_REQUEST => Billing::PayPerRequest,
                PROVISIONED => {
                    Billing::Provisioned { read: fields.u64("read capacity")?, write: fields.u64("write capacity")? }
                }
                _ => return Err(RecordError::Invalid { field: "billing mode" }),
            },
            deletion_protection: fields.boolean("deletion protection")?,
        };
        fields.finish()?;
        Ok(table)
    }
}

fn put_key_attribute(out: &mut Vec<u8>, key: &KeyAttribute) {
    put_bytes(out, key.name.as_bytes());
    out.push(key.kind.tag());
}

fn read_key_attribute(fields: &mut Fields<'_>) -> Result<KeyAttribute, RecordError> {
    let name = fields.text("key attribute")?.to_owned();
    let kind = KeyType::from_tag(fields.u8("key type")?).ok_or(RecordError::Invalid { field: "key type" })?;
    Ok(KeyAttribute { name, kind })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key_attributes() -> impl Strategy<Value = KeyAttribute> {
        let kinds = prop_oneof![Just(KeyType::Text), Just(KeyType::Number), Just(KeyType::Bytes)];
        (".{1,8}", kinds).prop_map(|(name, kind)| KeyAttribute { name, kind })
    }

    fn tables() -> impl Strategy<Value = Table> {
        let billing = prop_oneof![
            Just(Billing::PayPerRequest),
            any::<(u64, u64)>().prop_map(|(read, write)| Billing::Provisioned { read, write }),
        ];
        let identity = (any::<u32>(), any::<[u8; 16]>(), any::<u64>(), "[a-z]{3,9}");
        (identity, key_attributes(), prop::option::of(key_attributes()), billing, any::<bool>()).prop_map(
            |((id, uuid, created_ms, name), partition_key, sort_key, billing, deletion_protection)| Table {
                id: TableId(id),
                uuid,
                created_ms,
                arn: format!("arn:{name}"),
                name,
                partition_key,
                sort_key,
                billing,
                deletion_protection,
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
    fn another_version_is_refused_by_name() {
        assert_eq!(Table::decode(&[9]), Err(RecordError::UnknownVersion { found: 9 }));
    }
}
