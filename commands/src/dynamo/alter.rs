//! Changes of a table that exists: what it would cost, its protection, its tags, when its items expire, and its global
//! indexes.
//!
//! Each is one step at the leader of the descriptor, judged by the descriptor as it is there. What a table is made of,
//! its name, id and keys, never changes. A new index begins `Announced` and is led through its stages
//! ([`super::index::Stage`]) by whoever fills it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use keyspace::{TableId, layout};

use super::Outcome;
use super::fields::{Fields, RecordError, put_bytes, put_length};
use super::index::{Index, MAX_GLOBAL_INDEXES, Scope, Stage, kind_of, put_index, put_stage, read_index, read_stage};
use super::table::{Billing, Table, put_billing, read_billing};
use super::tables::{LIMIT_EXCEEDED, RESOURCE_NOT_FOUND, allocate, corrupt, fault, no_ids_left, not_found};
use crate::view::{View, ViewError};

const VERSION: u8 = 1;

const SETTINGS: u8 = 1;
const ADD_TAGS: u8 = 2;
const REMOVE_TAGS: u8 = 3;
const TIME_TO_LIVE: u8 = 4;
const INDEXES: u8 = 5;
const STAGE: u8 = 6;

const CREATE: u8 = 1;
const DELETE: u8 = 2;
const BILLING: u8 = 3;

/// Most attributes that the indexes of a table name to be projected, together.
pub const MAX_PROJECTED: usize = 100;

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
        /// What becomes of global indexes.
        indexes: Vec<IndexUpdate>,
    },
    /// A global index goes on to its next stage, if it can.
    Stage {
        /// Which index.
        index: TableId,
        /// Where to.
        stage: Stage,
        /// How long an index has to be announced.
        wait_ms: u64,
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

/// What becomes of a global index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexUpdate {
    /// It is made. The leader gives it its id and stage.
    Create(Index),
    /// It goes.
    Delete {
        /// Name of the index.
        name: String,
    },
    /// It would cost something else.
    Billing {
        /// Name of the index.
        name: String,
        /// What the client asks to pay.
        billing: Billing,
    },
}

impl IndexUpdate {
    /// The index that it is about.
    pub fn name(&self) -> &str {
        match self {
            IndexUpdate::Create(index) => &index.name,
            IndexUpdate::Delete { name } | IndexUpdate::Billing { name, .. } => name,
        }
    }
}

impl Alteration {
    /// Whether it makes something that needs an id.
    pub fn allocates(&self) -> bool {
        let creates = |update: &IndexUpdate| matches!(update, IndexUpdate::Create(_));
        matches!(self, Alteration::Settings { indexes, .. } if indexes.iter().any(creates))
    }

    /// As a record.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        match self {
            Alteration::Settings { billing, names_mode, deletion_protection, indexes } => {
                out.push(if indexes.is_empty() { SETTINGS } else { INDEXES });
                if !indexes.is_empty() {
                    put_length(&mut out, indexes.len());
                    indexes.iter().for_each(|update| put_index_update(&mut out, update));
                }
                out.push(billing.is_some().into());
                billing.iter().for_each(|billing| put_billing(&mut out, *billing));
                out.push((*names_mode).into());
                out.push(deletion_protection.is_some().into());
                out.extend(deletion_protection.map(u8::from));
            }
            Alteration::Stage { index, stage, wait_ms } => {
                out.push(STAGE);
                out.extend(index.0.to_be_bytes());
                put_stage(&mut out, stage);
                out.extend(wait_ms.to_be_bytes());
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
            tag @ (SETTINGS | INDEXES) => Alteration::Settings {
                indexes: if tag == INDEXES { read_index_updates(&mut fields)? } else { Vec::new() },
                billing: fields.boolean("billing")?.then(|| read_billing(&mut fields)).transpose()?,
                names_mode: fields.boolean("billing mode")?,
                deletion_protection: fields.boolean("protection")?.then(|| fields.boolean("protection")).transpose()?,
            },
            STAGE => Alteration::Stage {
                index: TableId(fields.u32("index id")?),
                stage: read_stage(&mut fields)?,
                wait_ms: fields.u64("wait")?,
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

    /// Changes the table, or says in AWS' words why it may not. A new index has no id yet.
    fn apply(&self, table: &mut Table, now_ms: u64) -> Result<(), Outcome> {
        self.change(table, now_ms).map_err(|refusal| match refusal {
            Refusal::Validation(message) => Outcome::validation(message),
            Refusal::Other(outcome) => outcome,
        })
    }

    fn change(&self, table: &mut Table, now_ms: u64) -> Result<(), Refusal> {
        match self {
            Alteration::Settings { billing, names_mode, deletion_protection, indexes } => {
                match (billing, table.billing) {
                    (Some(Billing::Provisioned { .. }), Billing::PayPerRequest) if !names_mode => {
                        return Err("One or more parameter values were invalid: Neither ReadCapacityUnits nor \
                                    WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"
                            .into());
                    }
                    (Some(Billing::Provisioned { read, write }), old)
                        if old == (Billing::Provisioned { read: *read, write: *write })
                            && deletion_protection.is_none()
                            && indexes.is_empty() =>
                    {
                        return Err(format!(
                            "The provisioned throughput for the table will not change. The requested value equals the \
                             current value. Current ReadCapacityUnits provisioned for the table: {read}. Requested \
                             ReadCapacityUnits: {read}. Current WriteCapacityUnits provisioned for the table: {write}. \
                             Requested WriteCapacityUnits: {write}. Refer to the Amazon DynamoDB Developer Guide for \
                             current limits and how to request higher limits."
                        )
                        .into());
                    }
                    (Some(billing), _) => table.billing = *billing,
                    (None, _) => {}
                }
                table.deletion_protection = deletion_protection.unwrap_or(table.deletion_protection);
                update_indexes(table, indexes, now_ms)?;
                match_billing(table)?;
            }
            Alteration::Stage { index, stage: next, wait_ms } => {
                let known = table.indexes.iter_mut().find_map(|known| match &mut known.scope {
                    Scope::Global { id, stage, .. } if id == index => Some(stage),
                    _ => None,
                });
                let stage = known.ok_or_else(no_such_index)?;
                let early =
                    matches!(stage, Stage::Announced { since_ms } if now_ms < since_ms.saturating_add(*wait_ms));
                if stage.leads_to(next) && !early {
                    *stage = next.clone();
                }
            }
            Alteration::AddTags(tags) => {
                table.tags.extend(tags.clone());
                if table.tags.len() > MAX_TAGS {
                    return Err(format!(
                        "One or more parameter values were invalid: Number of tags exceeds the limit of {MAX_TAGS} \
                         for a resource"
                    )
                    .into());
                }
            }
            Alteration::RemoveTags(keys) => table.tags.retain(|key, _| !keys.contains(key)),
            Alteration::TimeToLive { attribute, enabled } => match (&table.time_to_live, enabled) {
                (Some(active), _) if active != attribute => {
                    return Err(format!(
                        "TimeToLive is active on a different AttributeName: current AttributeName is {active}"
                    )
                    .into());
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
    if let Err(refusal) = alteration.apply(&mut table, view.now_ms()) {
        return Ok(refusal);
    }
    if !allocate_indexes(view, &mut table).await? {
        return Ok(no_ids_left());
    }
    let record = table.encode();
    if record != found.value {
        view.put(key, record.clone());
    }
    Ok(Outcome::Table(record))
}

/// Gives ids to the global indexes that have none; `false` when none are left.
pub(super) async fn allocate_indexes<V: View>(view: &mut V, table: &mut Table) -> Result<bool, ViewError> {
    for index in &mut table.indexes {
        if let Scope::Global { id: id @ TableId(0), .. } = &mut index.scope {
            match allocate(view).await? {
                Some(allocated) => *id = allocated,
                None => return Ok(false),
            }
        }
    }
    Ok(true)
}

/// Why a table may not be changed so.
enum Refusal {
    Validation(String),
    Other(Outcome),
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Refusal::Validation(message)
    }
}

impl From<&str> for Refusal {
    fn from(message: &str) -> Self {
        Refusal::Validation(message.to_owned())
    }
}

fn no_such_index() -> Refusal {
    Refusal::Other(fault(RESOURCE_NOT_FOUND, "Requested resource not found".into()))
}

fn update_indexes(table: &mut Table, updates: &[IndexUpdate], now_ms: u64) -> Result<(), Refusal> {
    let moves = |update: &&IndexUpdate| !matches!(update, IndexUpdate::Billing { .. });
    let is_building = |table: &Table| table.indexes.iter().find(|index| !index.is_active()).map(|it| it.name.clone());
    if updates.iter().filter(moves).count() > 1 {
        return Err(one_at_a_time());
    }
    for update in updates {
        let at = table.indexes.iter().position(|index| index.name == *update.name());
        let global = at.filter(|at| !table.indexes[*at].is_local());
        match update {
            IndexUpdate::Billing { billing, .. } => {
                let at = global.ok_or_else(no_such_index)?;
                if let Scope::Global { billing: known, .. } = &mut table.indexes[at].scope {
                    if known == billing {
                        return Err(format!(
                            "The provisioned throughput for the index {} will not change. The requested value equals \
                             the current value.",
                            update.name()
                        )
                        .into());
                    }
                    *known = *billing;
                }
            }
            IndexUpdate::Delete { name } => {
                let at = global.ok_or_else(no_such_index)?;
                if is_building(table).is_some_and(|building| building != *name) {
                    return Err(one_at_a_time());
                }
                table.indexes.remove(at);
            }
            IndexUpdate::Create(index) => {
                if at.is_some() {
                    return Err("Attempting to create an index which already exists".into());
                }
                if is_building(table).is_some() {
                    return Err(one_at_a_time());
                }
                if table.indexes.iter().filter(|index| !index.is_local()).count() >= MAX_GLOBAL_INDEXES {
                    let message = "One or more parameter values were invalid: GlobalSecondaryIndex count exceeds the \
                                   per-table limit of 20";
                    return Err(Refusal::Other(fault(LIMIT_EXCEEDED, message.into())));
                }
                check_kinds(table, index)?;
                let mut index = index.clone();
                if let Scope::Global { id, stage, .. } = &mut index.scope {
                    (*id, *stage) = (TableId(0), Stage::Announced { since_ms: now_ms });
                }
                table.indexes.push(index);
                check_projected(&table.indexes)?;
            }
        }
    }
    Ok(())
}

fn one_at_a_time() -> Refusal {
    let message = "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table";
    Refusal::Other(fault(LIMIT_EXCEEDED, message.into()))
}

/// An attribute has one type in all keys of a table.
fn check_kinds(table: &Table, index: &Index) -> Result<(), Refusal> {
    let odd = index.keys().find(|key| kind_of(table, &key.name).is_some_and(|kind| kind != key.kind));
    match odd {
        None => Ok(()),
        Some(key) => Err(format!(
            "One or more parameter values were invalid: AttributeDefinitions defines the attribute {} as another type \
             than the keys of the table and its indexes have",
            key.name
        )
        .into()),
    }
}

/// Refuses too many projected attributes, of all indexes together.
pub fn check_projected(indexes: &[Index]) -> Result<(), String> {
    let names = |index: &Index| match &index.projection {
        super::index::Projected::Include(names) => names.len(),
        _ => 0,
    };
    match indexes.iter().map(names).sum::<usize>() {
        count if count > MAX_PROJECTED => Err(format!(
            "One or more parameter values were invalid: The total number of NonKeyAttributes of all indexes, {count}, \
             exceeds the per-table limit of {MAX_PROJECTED}"
        )),
        _ => Ok(()),
    }
}

/// Global indexes are paid for as their table is.
fn match_billing(table: &mut Table) -> Result<(), Refusal> {
    for index in &mut table.indexes {
        if let Scope::Global { billing, .. } = &mut index.scope {
            match (table.billing, &*billing) {
                (Billing::PayPerRequest, _) => *billing = Billing::PayPerRequest,
                (Billing::Provisioned { .. }, Billing::Provisioned { .. }) => {}
                (Billing::Provisioned { .. }, Billing::PayPerRequest) => {
                    return Err(format!(
                        "One or more parameter values were invalid: ProvisionedThroughput must be specified for index: \
                         {}",
                        index.name
                    )
                    .into());
                }
            }
        }
    }
    Ok(())
}

fn put_index_update(out: &mut Vec<u8>, update: &IndexUpdate) {
    match update {
        IndexUpdate::Create(index) => {
            out.push(CREATE);
            put_index(out, index);
        }
        IndexUpdate::Delete { name } => {
            out.push(DELETE);
            put_bytes(out, name.as_bytes());
        }
        IndexUpdate::Billing { name, billing } => {
            out.push(BILLING);
            put_bytes(out, name.as_bytes());
            put_billing(out, *billing);
        }
    }
}

/// Of [`put_index_update`]; never none.
fn read_index_updates(fields: &mut Fields<'_>) -> Result<Vec<IndexUpdate>, RecordError> {
    let count = fields.length("index updates")?;
    if count == 0 {
        return Err(RecordError::Invalid { field: "index updates" });
    }
    let mut updates = Vec::with_capacity(count);
    for _ in 0..count {
        updates.push(match fields.u8("index update")? {
            CREATE => IndexUpdate::Create(read_index(fields)?),
            DELETE => IndexUpdate::Delete { name: fields.text("index name")?.to_owned() },
            BILLING => {
                IndexUpdate::Billing { name: fields.text("index name")?.to_owned(), billing: read_billing(fields)? }
            }
            _ => return Err(RecordError::Invalid { field: "index update" }),
        });
    }
    Ok(updates)
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
            indexes: Vec::new(),
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
        Alteration::Settings { billing, names_mode, deletion_protection: protection, indexes: Vec::new() }
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
