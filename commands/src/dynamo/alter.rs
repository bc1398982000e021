//! Changes of a table that exists: what it would cost, its protection, its tags, and when its items expire.
//!
//! Each is one step at the leader of the descriptor, judged by the descriptor as it is there. What a table is made of,
//! its name, id and keys, never changes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use keyspace::layout;

use super::Outcome;
use super::fields::{Fields, RecordError, put_bytes, put_length};
use super::table::{Billing, Table, put_billing, read_billing};
use super::tables::{corrupt, not_found};
use crate::view::{View, ViewError};

const VERSION: u8 = 1;

const SETTINGS: u8 = 1;
const ADD_TAGS: u8 = 2;
const REMOVE_TAGS: u8 = 3;
const TIME_TO_LIVE: u8 = 4;

/// Most tags of a table.
pub const MAX_TAGS: usize = 50;

/// What shall change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alteration {
    /// What UpdateTable changes.
    Settings {
        /// What the client asks to pay.
        billing: Option<Billing>,
        /// It names the billing mode; else the mode has to be that of the table.
        names_mode: bool,
        /// Whether DeleteTable is refused.
        deletion_protection: Option<bool>,
    },
    /// Tags by key, added or replaced.
    AddTags(BTreeMap<String, String>),
    /// Keys of tags to remove, there or not.
    RemoveTags(BTreeSet<String>),
    /// Whether items expire.
    TimeToLive {
        /// By this attribute.
        attribute: String,
        /// They do.
        enabled: bool,
    },
}

impl Alteration {
    /// As a record.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        match self {
            Alteration::Settings { billing, names_mode, deletion_protection } => {
                out.push(SETTINGS);
                out.push(billing.is_some().into());
                billing.iter().for_each(|billing| put_billing(&mut out, *billing));
                out.push((*names_mode).into());
                out.push(deletion_protection.is_some().into());
                out.extend(deletion_protection.map(u8::from));
            }
            Alteration::AddTags(tags) => {
                out.push(ADD_TAGS);
                put_tags(&mut out, tags);
            }
            Alteration::RemoveTags(keys) => {
                out.push(REMOVE_TAGS);
                put_length(&mut out, keys.len());
                keys.iter().for_each(|key| put_bytes(&mut out, key.as_bytes()));
            }
            Alteration::TimeToLive { attribute, enabled } => {
                out.push(TIME_TO_LIVE);
                put_bytes(&mut out, attribute.as_bytes());
                out.push((*enabled).into());
            }
        }
        out.into()
    }

    /// Inverse of [`Alteration::encode`].
    pub fn decode(record: &[u8]) -> Result<Self, RecordError> {
        let mut fields = Fields::of_version(record, VERSION)?;
        let alteration = match fields.u8("alteration")? {
            SETTINGS => Alteration::Settings {
                billing: fields.boolean("billing")?.then(|| read_billing(&mut fields)).transpose()?,
                names_mode: fields.boolean("billing mode")?,
                deletion_protection: fields.boolean("protection")?.then(|| fields.boolean("protection")).transpose()?,
            },
            ADD_TAGS => Alteration::AddTags(read_tags(&mut fields)?),
            REMOVE_TAGS => {
                let count = fields.length("tags")?;
                let keys = (0..count).map(|_| fields.text("tag").map(str::to_owned));
                Alteration::RemoveTags(keys.collect::<Result<_, _>>()?)
            }
            TIME_TO_LIVE => Alteration::TimeToLive {
                attribute: fields.text("attribute")?.to_owned(),
                enabled: fields.boolean("enabled")?,
            },
            _ => return Err(RecordError::Invalid { field: "alteration" }),
        };
        fields.finish()?;
        Ok(alteration)
    }

    /// Changes the table, or says in AWS' words why it may not.
    fn apply(&self, table: &mut Table) -> Result<(), String> {
        match self {
            Alteration::Settings { billing, names_mode, deletion_protection } => {
                match (billing, table.billing) {
                    (Some(Billing::Provisioned { .. }), Billing::PayPerRequest) if !names_mode => {
                        return Err("One or more parameter values were invalid: Neither ReadCapacityUnits nor \
                                    WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"
                            .into());
                    }
                    (Some(Billing::Provisioned { read, write }), old)
                        if old == (Billing::Provisioned { read: *read, write: *write })
                            && deletion_protection.is_none() =>
                    {
                        return Err(format!(
                            "The provisioned throughput for the table will not change. The requested value equals the \
                             current value. Current ReadCapacityUnits provisioned for the table: {read}. Requested \
                             ReadCapacityUnits: {read}. Current WriteCapacityUnits provisioned for the table: {write}. \
                             Requested WriteCapacityUnits: {write}. Refer to the Amazon DynamoDB Developer Guide for \
                             current limits and how to request higher limits."
                        ));
                    }
                    (Some(billing), _) => table.billing = *billing,
                    (None, _) => {}
                }
                table.deletion_protection = deletion_protection.unwrap_or(table.deletion_protection);
            }
            Alteration::AddTags(tags) => {
                table.tags.extend(tags.clone());
                if table.tags.len() > MAX_TAGS {
                    return Err(format!(
                        "One or more parameter values were invalid: Number of tags exceeds the limit of {MAX_TAGS} \
                         for a resource"
                    ));
                }
            }
            Alteration::RemoveTags(keys) => table.tags.retain(|key, _| !keys.contains(key)),
            Alteration::TimeToLive { attribute, enabled } => match (&table.time_to_live, enabled) {
                (Some(active), _) if active != attribute => {
                    return Err(format!(
                        "TimeToLive is active on a different AttributeName: current AttributeName is {active}"
                    ));
                }
                (Some(_), true) => return Err("TimeToLive is already enabled".into()),
                (Some(_), false) => table.time_to_live = None,
                (None, false) => return Err("TimeToLive is already disabled".into()),
                (None, true) => table.time_to_live = Some(attribute.clone()),
            },
        }
        Ok(())
    }
}

/// Changes the descriptor and answers it.
pub(super) async fn run<V: View>(view: &mut V, name: &str, alteration: &Alteration) -> Result<Outcome, ViewError> {
    let key = layout::table_descriptor(name);
    let Some(found) = view.get(&key).await? else { return Ok(not_found(name)) };
    let mut table = Table::decode(&found.value).map_err(|error| corrupt(&key, &error))?;
    if let Err(refusal) = alteration.apply(&mut table) {
        return Ok(Outcome::validation(refusal));
    }
    let record = table.encode();
    view.put(key, record.clone());
    Ok(Outcome::Table(record))
}

/// Appends tags.
pub(super) fn put_tags(out: &mut Vec<u8>, tags: &BTreeMap<String, String>) {
    put_length(out, tags.len());
    for (key, value) in tags {
        put_bytes(out, key.as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

/// Inverse of [`put_tags`]: keys stand in order, each once.
pub(super) fn read_tags(fields: &mut Fields<'_>) -> Result<BTreeMap<String, String>, RecordError> {
    let mut tags = BTreeMap::new();
    for _ in 0..fields.length("tags")? {
        let (key, value) = (fields.text("tag")?.to_owned(), fields.text("tag")?.to_owned());
        if tags.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(RecordError::Invalid { field: "order of tags" });
        }
        tags.insert(key, value);
    }
    Ok(tags)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use keyspace::TableId;

    use super::super::key::KeyType;
    use super::super::table::KeyAttribute;
    use super::super::{Operation, run};
    use super::*;
    use crate::testing::{MemoryView, ready};

    fn with_table() -> MemoryView {
        let mut view = MemoryView::default();
        let table = Table {
            id: TableId(0),
            uuid: [0; 16],
            created_ms: 0,
            name: "orders".into(),
            arn: "arn".into(),
            partition_key: KeyAttribute { name: "p".into(), kind: KeyType::Text },
            sort_key: None,
            billing: Billing::PayPerRequest,
            deletion_protection: false,
            tags: BTreeMap::new(),
            time_to_live: None,
        };
        let create = Operation::CreateTable { name: "orders".into(), descriptor: table.encode() };
        ready(run(&mut view, &create)).unwrap();
        view
    }

    /// The table afterwards, or the message of the refusal.
    fn alter(view: &mut MemoryView, alteration: Alteration) -> Result<Table, String> {
        let alteration = Alteration::decode(&alteration.encode()).unwrap();
        match ready(run(view, &Operation::AlterTable { name: "orders".into(), alteration })).unwrap() {
            Outcome::Table(record) => Ok(Table::decode(&record).unwrap()),
            Outcome::Fault { message, .. } => Err(message),
            other => panic!("{other:?}"),
        }
    }

    fn settings(billing: Option<Billing>, names_mode: bool, protection: Option<bool>) -> Alteration {
        Alteration::Settings { billing, names_mode, deletion_protection: protection }
    }

    #[test]
    fn billing_and_protection_change() {
        let mut view = with_table();
        let five = Some(Billing::Provisioned { read: 5, write: 6 });
        assert!(alter(&mut view, settings(five, false, None)).unwrap_err().contains("BillingMode is PAY_PER_REQUEST"));
        assert_eq!(Some(alter(&mut view, settings(five, true, None)).unwrap().billing), five);
        assert!(alter(&mut view, settings(five, false, None)).unwrap_err().contains("will not change"));
        let protected = alter(&mut view, settings(None, false, Some(true))).unwrap();
        assert!(protected.deletion_protection && Some(protected.billing) == five);
        let free = alter(&mut view, settings(Some(Billing::PayPerRequest), true, None)).unwrap();
        assert!(free.deletion_protection && free.billing == Billing::PayPerRequest);
    }

    #[test]
    fn tags_are_added_replaced_and_removed() {
        let mut view = with_table();
        let tags = |range: std::ops::Range<u32>, value: &str| {
            Alteration::AddTags(range.map(|n| (n.to_string(), value.to_owned())).collect())
        };
        assert_eq!(alter(&mut view, tags(0..50, "a")).unwrap().tags.len(), 50);
        assert!(alter(&mut view, tags(50..51, "a")).unwrap_err().contains("limit of 50"));
        assert_eq!(alter(&mut view, tags(3..4, "b")).unwrap().tags["3"], "b");
        let removed = alter(&mut view, Alteration::RemoveTags(["3".into(), "none".into()].into())).unwrap();
        assert!(removed.tags.len() == 49 && !removed.tags.contains_key("3"));
    }

    #[test]
    fn items_expire_by_one_attribute() {
        let mut view = with_table();
        let mut ttl = |attribute: &str, enabled| {
            alter(&mut view, Alteration::TimeToLive { attribute: attribute.into(), enabled })
                .map(|table| table.time_to_live)
        };
        assert!(ttl("at", false).unwrap_err().contains("already disabled"));
        assert_eq!(ttl("at", true), Ok(Some("at".into())));
        assert!(ttl("at", true).unwrap_err().contains("already enabled"));
        assert!(ttl("other", true).unwrap_err().contains("different AttributeName: current AttributeName is at"));
        assert_eq!(ttl("at", false), Ok(None));
        assert_eq!(ttl("other", true), Ok(Some("other".into())));
    }

    #[test]
    fn no_table_cannot_be_changed() {
        let mut view = MemoryView::default();
        assert!(alter(&mut view, settings(None, false, Some(true))).unwrap_err().contains("Table: orders not found"));
    }
}
