//! Writes on one item, evaluated at the leader of the item's key: put, delete, update, or only a check.
//!
//! A write is judged against the item as it is ([`judge`], pure): its condition first, then what becomes of the item.
//! Alone it takes effect at once ([`run`]); together with others only if all of them may ([`together`]). Items are
//! their own lock units. The place of a transaction's token is written here too, though it holds no item ([`token`]).
//!
//! A write that carries its table's descriptor ([`ItemWrite::indexed`]) changes the entries of the item in the same
//! breath ([`index::changes`]). Entries are written blindly: whoever holds the item's version, or its lock, is the only
//! one who may write its entries.

use std::sync::Arc;

use bytes::Bytes;
use keyspace::TableId;

use super::Outcome;
use super::expression::record::{put_condition, put_update, read_condition, read_update};
use super::expression::{Condition, Update};
use super::fields::{Fields, RecordError, put_bytes};
use super::index::{self, EntryChange};
use super::record::{decode_item, encode_item};
use super::table::Table;
use super::token::{self, Claim, put_claim, read_claim};
use super::value::{Item, MAX_ITEM_BYTES, item_size};
use crate::view::{View, ViewError};

const VERSION: u8 = 1;
/// As version 1, with the descriptor of an indexed table in front.
const INDEXED: u8 = 2;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const UPDATE: u8 = 3;
const CHECK: u8 = 4;
const CLAIM: u8 = 5;
const MEND: u8 = 6;

/// A write on one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemWrite {
    /// Encoded item key.
    pub key: Bytes,
    /// What to do.
    pub change: Change,
    /// Only if this is true of the item, or of an empty one where there is none.
    pub condition: Option<Condition>,
    /// What to answer.
    pub returns: Returns,
    /// Answer the item if the condition is not true of it.
    pub item_on_failure: bool,
    /// Answer how large the item was and is.
    pub sizes: bool,
    /// The table, if it has indexes: the entries of the item change with it.
    pub indexed: Option<Arc<Table>>,
}

/// What becomes of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is replaced by this record.
    Put(Bytes),
    /// It is removed.
    Delete,
    /// It is changed, or made.
    Update {
        /// The attributes of its key, of which an item is made.
        key_attributes: Item,
        /// What to change.
        update: Update,
    },
    /// Nothing.
    Check,
    /// The token of the transaction is claimed. The key is the token's place, not an item's.
    Claim(Claim),
    /// Nothing of the item; one index comes to say what the item implies.
    Mend {
        /// The global index.
        index: TableId,
        /// The encoded key of an entry of the item that was found in the index.
        stale: Option<Bytes>,
    },
}

/// What a write answers of the item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Returns {
    /// Nothing.
    #[default]
    None,
    /// All of it as it was.
    AllOld,
    /// All of it as it is.
    AllNew,
    /// What the update is about, as it was.
    UpdatedOld,
    /// What the update is about, as it is.
    UpdatedNew,
}

impl Returns {
    const ALL: [Returns; 5] =
        [Returns::None, Returns::AllOld, Returns::AllNew, Returns::UpdatedOld, Returns::UpdatedNew];

    /// The name of the choice in the API.
    pub fn name(self) -> &'static str {
        match self {
            Returns::None => "NONE",
            Returns::AllOld => "ALL_OLD",
            Returns::AllNew => "ALL_NEW",
            Returns::UpdatedOld => "UPDATED_OLD",
            Returns::UpdatedNew => "UPDATED_NEW",
        }
    }

    /// Inverse of [`Returns::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|returns| returns.name() == name)
    }
}

impl ItemWrite {
    /// The same on an item of this table, whose indexes it maintains.
    #[must_use]
    pub fn on(mut self, table: &Arc<Table>) -> Self {
        self.indexed = (!table.indexes.is_empty()).then(|| table.clone());
        self
    }

    /// A write without conditions and indexes that answers nothing.
    pub fn plain(key: Bytes, change: Change) -> Self {
        Self {
            key,
            change,
            condition: None,
            returns: Returns::None,
            item_on_failure: false,
            sizes: false,
            indexed: None,
        }
    }

    /// Everything but the key and the record of a put item, which travel beside it.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![if self.indexed.is_some() { INDEXED } else { VERSION }];
        self.indexed.iter().for_each(|table| put_bytes(&mut out, &table.encode()));
        match &self.change {
            Change::Put(_) => out.push(PUT),
            Change::Delete => out.push(DELETE),
            Change::Check => out.push(CHECK),
            Change::Claim(claim) => {
                out.push(CLAIM);
                put_claim(&mut out, claim);
            }
            Change::Mend { index, stale } => {
                out.push(MEND);
                out.extend(index.0.to_be_bytes());
                // No key is empty.
                put_bytes(&mut out, stale.as_deref().unwrap_or_default());
            }
            Change::Update { key_attributes, update } => {
                out.push(UPDATE);
                put_bytes(&mut out, &encode_item(key_attributes));
                put_update(&mut out, update);
            }
        }
        put_bytes(&mut out, self.returns.name().as_bytes());
        out.push(self.item_on_failure.into());
        out.push(self.sizes.into());
        out.push(self.condition.is_some().into());
        self.condition.iter().for_each(|condition| put_condition(&mut out, condition));
        out.into()
    }

    /// Inverse of [`ItemWrite::encode`]. `item` is the record of a put item, else empty.
    pub fn decode(key: Bytes, record: &[u8], item: Bytes) -> Result<Self, RecordError> {
        let is_indexed = record.first() == Some(&INDEXED);
        let mut fields = Fields::of_version(record, if is_indexed { INDEXED } else { VERSION })?;
        let indexed = is_indexed.then(|| Table::decode(fields.bytes("table")?).map(Arc::new)).transpose()?;
        let change = match fields.u8("change")? {
            PUT => Change::Put(item.clone()),
            DELETE => Change::Delete,
            CHECK => Change::Check,
            CLAIM => Change::Claim(read_claim(&mut fields)?),
            MEND => Change::Mend {
                index: TableId(fields.u32("index id")?),
                stale: Some(fields.bytes("entry")?).filter(|key| !key.is_empty()).map(Bytes::copy_from_slice),
            },
            UPDATE => Change::Update {
                key_attributes: decode_item(fields.bytes("key attributes")?)?,
                update: read_update(&mut fields)?,
            },
            _ => return Err(RecordError::Invalid { field: "change" }),
        };
        if matches!(change, Change::Put(_)) == item.is_empty() {
            return Err(RecordError::Invalid { field: "item" });
        }
        let returns = Returns::from_name(fields.text("returns")?).ok_or(RecordError::Invalid { field: "returns" })?;
        let write = Self {
            key,
            change,
            returns,
            item_on_failure: fields.boolean("item on failure")?,
            sizes: fields.boolean("sizes")?,
            condition: fields.boolean("condition")?.then(|| read_condition(&mut fields)).transpose()?,
            indexed,
        };
        fields.finish()?;
        Ok(write)
    }

    /// Bytes that it brings along, roughly.
    pub fn payload_bytes(&self) -> usize {
        match &self.change {
            Change::Put(item) => item.len(),
            Change::Delete | Change::Check | Change::Mend { .. } => 0,
            Change::Update { .. } | Change::Claim(_) => self.encode().len(),
        }
    }

    /// Whether anything depends on the item that is there.
    fn needs_old(&self) -> bool {
        // Removing reads too, so that deleting at random leaves no tombstones behind.
        !matches!(self.change, Change::Put(_))
            || self.condition.is_some()
            || self.returns != Returns::None
            || self.sizes
            || self.indexed.is_some()
    }
}

/// What shall happen to an item, and what is answered when it has.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Apply {
        effect: Effect,
        entries: Vec<EntryChange>,
        outcome: Outcome,
    },
    /// Nothing happens.
    Refuse(Outcome),
}

#[derive(Debug, PartialEq, Eq)]
enum Effect {
    Put(Bytes),
    Delete,
    None,
}

/// Runs one write.
pub(super) async fn run<V: View>(view: &mut V, write: &ItemWrite) -> Result<Outcome, ViewError> {
    let verdict = look(view, write).await?;
    Ok(match verdict {
        Verdict::Apply { effect, entries, outcome } => {
            apply(view, write, effect, entries);
            outcome
        }
        Verdict::Refuse(outcome) => outcome,
    })
}

/// Runs all writes, each on an item of its own, or none of them. One outcome for each: if any is a refusal, nothing
/// has been written.
pub(super) async fn together<V: View>(view: &mut V, writes: &[ItemWrite]) -> Result<Outcome, ViewError> {
    let mut verdicts = Vec::with_capacity(writes.len());
    for write in writes {
        verdicts.push(look(view, write).await?);
    }
    let refused = verdicts.iter().any(|verdict| matches!(verdict, Verdict::Refuse(_)));
    let mut outcomes = Vec::with_capacity(writes.len());
    for (write, verdict) in writes.iter().zip(verdicts) {
        outcomes.push(match verdict {
            Verdict::Apply { .. } if refused => Outcome::None,
            Verdict::Apply { effect, entries, outcome } => {
                apply(view, write, effect, entries);
                outcome
            }
            Verdict::Refuse(outcome) => outcome,
        });
    }
    Ok(Outcome::Together(outcomes))
}

async fn look<V: View>(view: &mut V, write: &ItemWrite) -> Result<Verdict, ViewError> {
    if let Change::Claim(claim) = &write.change {
        return Ok(match token::judge(view, &write.key, claim).await? {
            Ok(record) => Verdict::Apply { effect: Effect::Put(record), entries: Vec::new(), outcome: Outcome::None },
            Err(refusal) => Verdict::Refuse(refusal),
        });
    }
    let old = if write.needs_old() { view.get(&write.key).await?.map(|record| record.value) } else { None };
    judge(write, old.as_ref())
        .map_err(|error| ViewError::Corrupt { key: write.key.to_vec(), reason: error.to_string() })
}

fn apply<V: View>(view: &mut V, write: &ItemWrite, effect: Effect, entries: Vec<EntryChange>) {
    for EntryChange { key, record, .. } in entries {
        match record {
            Some(record) => view.put(key.to_vec(), record),
            None => view.delete(key.to_vec()),
        }
    }
    match effect {
        Effect::Put(record) => view.put(write.key.to_vec(), record),
        Effect::Delete => view.delete(write.key.to_vec()),
        Effect::None => {}
    }
}

/// What a write does to the item that is there.
fn judge(write: &ItemWrite, old: Option<&Bytes>) -> Result<Verdict, RecordError> {
    let decoded = write.condition.is_some()
        || write.sizes
        || write.indexed.is_some()
        || matches!(write.change, Change::Update { .. });
    let old_item = if decoded { old.map(|record| decode_item(record)).transpose()? } else { None };
    if let Some(condition) = &write.condition {
        let nothing = Item::new();
        if !condition.holds(old_item.as_ref().unwrap_or(&nothing)) {
            let item = old.filter(|_| write.item_on_failure).cloned();
            return Ok(Verdict::Refuse(Outcome::ConditionFailed { item }));
        }
    }
    let old_bytes = old_item.as_ref().map_or(0, item_size);
    let all_old = || old.filter(|_| write.returns == Returns::AllOld).cloned();
    let (effect, attributes, new_item) = match &write.change {
        Change::Put(record) => {
            let new_item = (write.sizes || write.indexed.is_some()).then(|| decode_item(record)).transpose()?;
            (Effect::Put(record.clone()), all_old(), new_item)
        }
        Change::Delete if old.is_none() => (Effect::None, None, None),
        Change::Delete => (Effect::Delete, all_old(), None),
        // A claim has been judged by what stands at its place.
        Change::Check | Change::Claim(_) | Change::Mend { .. } => (Effect::None, None, old_item.clone()),
        Change::Update { update, .. } if old_item.is_none() && update.only_removes() => (Effect::None, None, None),
        Change::Update { key_attributes, update } => {
            let before = old_item.as_ref().unwrap_or(key_attributes);
            let updated = match update.apply(before) {
                Ok(updated) => updated,
                Err(error) => return Ok(Verdict::Refuse(Outcome::validation(error.to_string()))),
            };
            if item_size(&updated) > MAX_ITEM_BYTES {
                let message = "Item size to update has exceeded the maximum allowed size";
                return Ok(Verdict::Refuse(Outcome::validation(message.into())));
            }
            let checked =
                write.indexed.as_ref().map_or(Ok(()), |table| index::check_keys(table, &updated, Some(before)));
            if let Err(message) = checked {
                return Ok(Verdict::Refuse(Outcome::validation(message)));
            }
            let record = encode_item(&updated);
            let part = |item: &Item| Some(update.touched().apply(item)).filter(|part| !part.is_empty());
            let attributes = match write.returns {
                Returns::None => None,
                Returns::AllOld => old.cloned(),
                Returns::AllNew => Some(record.clone()),
                Returns::UpdatedOld => old_item.as_ref().and_then(part).as_ref().map(encode_item),
                Returns::UpdatedNew => part(&updated).as_ref().map(encode_item),
            };
            (Effect::Put(record), attributes, Some(updated))
        }
    };
    let entries = match (&write.indexed, &write.change) {
        (None, _) => Vec::new(),
        (Some(table), Change::Mend { index, stale }) => index::mend(table, *index, old_item.as_ref(), stale.as_ref()),
        (Some(table), _) => index::changes(table, old_item.as_ref(), new_item.as_ref()),
    };
    let outcome = match (attributes, write.sizes) {
        (attributes, true) => Outcome::Written {
            attributes,
            old_bytes,
            new_bytes: new_item.as_ref().map_or(0, item_size),
            entries: entries.iter().map(|entry| (entry.index.clone(), entry.bytes)).collect(),
        },
        (Some(record), false) => Outcome::Item(record),
        (None, false) => Outcome::None,
    };
    Ok(Verdict::Apply { effect, entries, outcome })
}
