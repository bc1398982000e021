//! Secondary indexes: which entry an item has in each index of its table, and what a write changes of them.
//!
//! An *entry* stands for one item in one index. Its key orders it by the index' key attributes and, behind these, by the
//! item's own key, so that items that are equal in the index have an entry each. Its record is the projected part of the
//! item. An item without one of the key attributes has no entry: the index is sparse.
//!
//! | index | key of an entry |
//! | --- | --- |
//! | local | the table's id and partition, a *lane* of its own, sort attribute · the item's sort key |
//! | global | an id of its own, its partition attribute, (sort attribute ·) the item's partition key · its sort key |
//!
//! An entry follows from its item alone ([`Index::entry_key`]), and is written with the item ([`changes`]) by whoever
//! writes the item. Entries are their own lock units, and may lie in any group.
//!
//! Source: AWS Developer Guide, "Improving data access with secondary indexes".

use bytes::Bytes;
use keyspace::codec::{Reader, put_bytes as put_part};
use keyspace::{Key, KeyRange, TableId, layout};

use super::expression::{Comparator, KeyTest};
use super::fields::{Fields, RecordError, put_bytes, put_length};
use super::key::{KeyType, decode_key_part, encode_key_part};
use super::record::encode_item;
use super::table::{Billing, KeyAttribute, Table, put_billing, put_key_attribute, read_billing, read_key_attribute};
use super::value::{AttributeValue, Item, item_size};

/// Longest value of a partition key and of a sort key, in bytes: of tables and of indexes.
pub const MAX_PARTITION_KEY_BYTES: usize = 2048;
/// See [`MAX_PARTITION_KEY_BYTES`].
pub const MAX_SORT_KEY_BYTES: usize = 1024;
/// Most global indexes of a table.
pub const MAX_GLOBAL_INDEXES: usize = 20;
/// Most local indexes of a table.
pub const MAX_LOCAL_INDEXES: usize = 5;

/// The lane of the items themselves.
pub const ITEMS: u8 = 0;

const LOCAL: u8 = 1;
const GLOBAL: u8 = 2;

const ALL: u8 = 1;
const KEYS_ONLY: u8 = 2;
const INCLUDE: u8 = 3;

const ACTIVE: u8 = 1;
const ANNOUNCED: u8 = 2;
const CLEANING: u8 = 3;
const FILLING: u8 = 4;

/// A secondary index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Unique among the indexes of its table.
    pub name: String,
    /// Where its entries lie.
    pub scope: Scope,
    /// The attribute that decides where an entry lies; of a local index that of the table.
    pub partition_key: KeyAttribute,
    /// The attribute that orders entries of one partition.
    pub sort_key: Option<KeyAttribute>,
    /// What of an item its entry holds.
    pub projection: Projected,
}

/// Where the entries of an index lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Beside the items, partition by partition.
    Local {
        /// Which of the table's local indexes, from 1.
        lane: u8,
    },
    /// Anywhere.
    Global {
        /// Names the entries as a table's id names items; 0 until the index is created. Never reused.
        id: TableId,
        /// Whether it can be read yet.
        stage: Stage,
        /// What the client asked to pay; reported, never enforced.
        billing: Billing,
    },
}

/// How far a global index is. Whoever knows the index maintains it, in every stage.
///
/// 1. An index on a new table is `Active` at once: there are no items without entries.
/// 2. An index on a table that exists is `Announced`. For a while there are writers who do not know it, and they leave
///    items without entries, and entries of items that have changed.
/// 3. When all know it, entries that no item implies are removed (`Cleaning`),
/// 4. then every item gets its entry (`Filling`), and the index is `Active`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Complete.
    Active,
    /// Not yet known to every writer.
    Announced {
        /// Since when, by the time of the descriptor's group.
        since_ms: u64,
    },
    /// Entries are compared with their items.
    Cleaning,
    /// Items get their entries.
    Filling {
        /// All items up to this encoded key have theirs; empty: none.
        up_to: Bytes,
    },
}

impl Stage {
    /// Whether an index can go on from this stage to the next one.
    pub(super) fn leads_to(&self, next: &Stage) -> bool {
        match (self, next) {
            (Stage::Announced { .. }, Stage::Cleaning) | (Stage::Cleaning, Stage::Filling { .. }) => true,
            (Stage::Filling { up_to: before }, Stage::Filling { up_to }) => before < up_to,
            (Stage::Filling { .. }, Stage::Active) => true,
            _ => false,
        }
    }
}

/// What of an item its entry holds, besides the key attributes of index and table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Projected {
    /// Everything.
    All,
    /// Nothing.
    KeysOnly,
    /// These attributes, in the client's order.
    Include(Vec<String>),
}

impl Projected {
    /// The name of the choice in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Projected::All => "ALL",
            Projected::KeysOnly => "KEYS_ONLY",
            Projected::Include(_) => "INCLUDE",
        }
    }
}

/// What a write changes of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryChange {
    /// Name of the index.
    pub index: String,
    /// Encoded key of the entry.
    pub key: Bytes,
    /// Its record; `None`: it is removed.
    pub record: Option<Bytes>,
    /// The larger of its sizes before and after, by the rule of item sizes.
    pub bytes: usize,
}

/// An entry.
struct Entry {
    key: Bytes,
    item: Item,
}

impl Index {
    /// Whether it is a local one.
    pub fn is_local(&self) -> bool {
        matches!(self.scope, Scope::Local { .. })
    }

    /// Whether it can be read.
    pub fn is_active(&self) -> bool {
        matches!(self.scope, Scope::Local { .. } | Scope::Global { stage: Stage::Active, .. })
    }

    /// Its key attributes: one or two.
    pub fn keys(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.partition_key).chain(&self.sort_key)
    }

    /// Whether entries hold this attribute.
    pub fn projects(&self, table: &Table, attribute: &str) -> bool {
        let is_key = || self.keys().chain(table.keys()).any(|key| key.name == attribute);
        match &self.projection {
            Projected::All => true,
            Projected::KeysOnly => is_key(),
            Projected::Include(names) => names.iter().any(|name| name == attribute) || is_key(),
        }
    }

    /// The encoded key of the entry of an item, or of any attributes among which are the keys of index and table;
    /// `None`: there is no entry.
    pub fn entry_key(&self, table: &Table, item: &Item) -> Option<Bytes> {
        let part = |schema: &KeyAttribute, limit| {
            let value = item.get(&schema.name)?;
            if fits(schema, value, limit).is_err() { None } else { encode_key_part(value) }
        };
        let partition = part(&self.partition_key, MAX_PARTITION_KEY_BYTES)?;
        let mut sort = Vec::new();
        if let Some(schema) = &self.sort_key {
            put_part(&mut sort, &part(schema, MAX_SORT_KEY_BYTES)?);
        }
        if !self.is_local() {
            put_part(&mut sort, &encode_key_part(item.get(&table.partition_key.name)?)?);
        }
        if let Some(schema) = &table.sort_key {
            put_part(&mut sort, &encode_key_part(item.get(&schema.name)?)?);
        }
        let (id, lane) = self.home(table);
        Some(layout::dynamo(id, &partition, lane, &sort).into())
    }

    /// The attributes of an encoded key of an entry: the keys of index and table. `None`: it is no key of the index.
    pub fn key_attributes(&self, table: &Table, key: &[u8]) -> Option<Item> {
        let Ok(Key::Dynamo { table: id, partition_key, index, sort_key }) = Key::decode(key) else { return None };
        ((id, index) == self.home(table)).then_some(())?;
        let mut item = Item::from([(self.partition_key.name.clone(), decode_key_part(&partition_key)?)]);
        let mut reader = Reader::new(&sort_key);
        let of_table = table.keys().skip(usize::from(self.is_local()));
        for schema in self.sort_key.iter().chain(of_table) {
            item.insert(schema.name.clone(), decode_key_part(&reader.bytes("key part").ok()?)?);
        }
        reader.rest().is_empty().then_some(item)
    }

    fn home(&self, table: &Table) -> (TableId, u8) {
        match self.scope {
            Scope::Local { lane } => (table.id, lane),
            Scope::Global { id, .. } => (id, ITEMS),
        }
    }

    fn entry(&self, table: &Table, item: &Item) -> Option<Entry> {
        let key = self.entry_key(table, item)?;
        let item = match &self.projection {
            Projected::All => item.clone(),
            _ => item.iter().filter(|(name, _)| self.projects(table, name)).map(cloned).collect(),
        };
        Some(Entry { key, item })
    }

    /// Refuses values that the index cannot hold, in AWS' words.
    fn check(&self, item: &Item) -> Result<(), (&KeyAttribute, Misfit)> {
        let limits = [MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES];
        for (schema, limit) in self.keys().zip(limits) {
            if let Some(value) = item.get(&schema.name) {
                fits(schema, value, limit).map_err(|misfit| (schema, misfit))?;
            }
        }
        Ok(())
    }
}

fn cloned((name, value): (&String, &AttributeValue)) -> (String, AttributeValue) {
    (name.clone(), value.clone())
}

/// Why a value cannot be in a key of an index.
enum Misfit {
    Type { actual: &'static str },
    Empty { kind: &'static str },
    TooLong { limit: usize },
}

fn fits(schema: &KeyAttribute, value: &AttributeValue, limit: usize) -> Result<(), Misfit> {
    let (kind, length) = match value {
        value if value.type_name() != schema.kind.name() => return Err(Misfit::Type { actual: value.type_name() }),
        AttributeValue::S(text) => ("string", text.len()),
        AttributeValue::B(bytes) => ("binary", bytes.len()),
        _ => return Ok(()),
    };
    match length {
        0 => Err(Misfit::Empty { kind }),
        length if length > limit => Err(Misfit::TooLong { limit }),
        _ => Ok(()),
    }
}

/// Refuses an item that some index cannot hold; the sentence is AWS'. Of an update, what was there `before` and has not
/// changed may stay: it is older than the index, and has no entry.
pub fn check_keys(table: &Table, item: &Item, before: Option<&Item>) -> Result<(), String> {
    let mut refused = table.indexes.iter().filter_map(|index| index.check(item).err().map(|misfit| (index, misfit)));
    let changed = |schema: &KeyAttribute| before.is_none_or(|old| old.get(&schema.name) != item.get(&schema.name));
    let Some((index, (schema, misfit))) = refused.find(|(_, (schema, _))| changed(schema)) else { return Ok(()) };
    let (index, name) = (&index.name, &schema.name);
    Err(match misfit {
        Misfit::Type { actual } => format!(
            "One or more parameter values were invalid: Type mismatch for Index Key {name} Expected: {} Actual: \
             {actual} IndexName: {index}",
            schema.kind.name()
        ),
        Misfit::Empty { kind } if before.is_some() => format!(
            "One or more parameter values are not valid. The update expression attempted to update a secondary index \
             key to a value that is not supported. The AttributeValue for a key attribute cannot contain an empty \
             {kind} value."
        ),
        Misfit::Empty { kind } => format!(
            "One or more parameter values are not valid. A value specified for a secondary index key is not supported. \
             The AttributeValue for a key attribute cannot contain an empty {kind} value. IndexName: {index}, \
             IndexKey: {name}"
        ),
        // The missing space is AWS'.
        Misfit::TooLong { limit: MAX_PARTITION_KEY_BYTES } => {
            "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes"
                .to_owned()
        }
        Misfit::TooLong { limit } => format!(
            "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit \
             of {limit} bytes"
        ),
    })
}

/// What becomes of the entries of an item that was `old` and is `new`.
pub fn changes(table: &Table, old: Option<&Item>, new: Option<&Item>) -> Vec<EntryChange> {
    let mut changes = Vec::new();
    for index in &table.indexes {
        let entry = |item: Option<&Item>| item.and_then(|item| index.entry(table, item));
        let (before, after) = (entry(old), entry(new));
        if let (Some(before), Some(after)) = (&before, &after)
            && before.key == after.key
        {
            if before.item != after.item {
                let bytes = item_size(&before.item).max(item_size(&after.item));
                changes.push(EntryChange { bytes, ..put(index, after) });
            }
            continue;
        }
        changes.extend(before.map(|entry| EntryChange {
            index: index.name.clone(),
            bytes: item_size(&entry.item),
            key: entry.key,
            record: None,
        }));
        changes.extend(after.as_ref().map(|entry| put(index, entry)));
    }
    changes
}

fn put(index: &Index, entry: &Entry) -> EntryChange {
    EntryChange {
        index: index.name.clone(),
        key: entry.key.clone(),
        record: Some(encode_item(&entry.item)),
        bytes: item_size(&entry.item),
    }
}

/// What makes one index say of an item what the item implies: its entry is put, and `stale`, the key of an entry that
/// was found, removed if it is another.
pub(super) fn mend(table: &Table, index: TableId, item: Option<&Item>, stale: Option<&Bytes>) -> Vec<EntryChange> {
    let Some(index) = table.indexes.iter().find(|known| known.global_id() == Some(index)) else { return Vec::new() };
    let entry = item.and_then(|item| index.entry(table, item));
    let is_stale = |key: &&Bytes| entry.as_ref().is_none_or(|entry| entry.key != **key);
    let removed = stale.filter(is_stale).map(|key| EntryChange {
        index: index.name.clone(),
        key: key.clone(),
        record: None,
        bytes: 0,
    });
    removed.into_iter().chain(entry.as_ref().map(|entry| put(index, entry))).collect()
}

impl Index {
    /// The id of a global index.
    pub fn global_id(&self) -> Option<TableId> {
        match self.scope {
            Scope::Local { .. } => None,
            Scope::Global { id, .. } => Some(id),
        }
    }
}

/// What Query and Scan read: the items of a table, or the entries of one of its indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    id: TableId,
    lane: u8,
    /// Behind the sort attribute stand further parts of the key.
    composite: bool,
    /// Other records lie in between.
    mixed: bool,
}

impl Source {
    /// The items of a table.
    pub fn items(table: &Table) -> Self {
        let mixed = table.indexes.iter().any(Index::is_local);
        Self { id: table.id, lane: ITEMS, composite: false, mixed }
    }

    /// The entries of an index.
    pub fn entries(table: &Table, index: &Index) -> Self {
        let (id, lane) = index.home(table);
        Self { id, lane, composite: true, mixed: index.is_local() }
    }

    /// All of its encoded keys; others may lie in between, see [`Source::lane`].
    pub fn all(&self) -> KeyRange {
        KeyRange::prefix(layout::dynamo_table(self.id))
    }

    /// Encoded keys of these partition hashes; `end`: exclusive, `None` for the last one's end.
    pub fn hashes(&self, start: u16, end: Option<u16>) -> Option<KeyRange> {
        let key = |hash: u16| Bytes::from(layout::dynamo_hash(self.id, hash));
        KeyRange::new(key(start), end.map(key).or_else(|| self.all().end().cloned()))
    }

    /// The lane that a reader of more than one partition has to keep to.
    pub fn lane(&self) -> Option<u8> {
        self.mixed.then_some(self.lane)
    }

    /// Encoded keys of one partition.
    pub fn partition(&self, partition_key: &[u8]) -> KeyRange {
        KeyRange::prefix(self.prefix(partition_key, b""))
    }

    /// Encoded keys of one partition of whose sort attribute this is true; `None`: there can be none.
    ///
    /// # Panics
    ///
    /// When a value of the test is none that a key may hold.
    pub fn sorted(&self, partition_key: &[u8], test: &KeyTest) -> Option<KeyRange> {
        let part = |value: &AttributeValue| encode_key_part(value).expect("values of key conditions have a key's type");
        let framed = |value: &AttributeValue| {
            let mut framed = Vec::new();
            put_part(&mut framed, &part(value));
            framed
        };
        // All keys with a value lie in one interval: of items it holds one key.
        let at = |value: &AttributeValue| match self.composite {
            true => KeyRange::prefix(self.prefix(partition_key, &framed(value))),
            false => {
                let key = Bytes::from(layout::dynamo(self.id, partition_key, self.lane, &part(value)));
                let behind = [&key[..], &[0]].concat();
                KeyRange::new(key, Some(behind.into())).expect("a key lies below what begins with it")
            }
        };
        let beginning = |value: &AttributeValue| {
            let mut sort = framed(value);
            sort.truncate(sort.len() - TERMINATOR_BYTES);
            let sort = if self.composite { sort } else { part(value) };
            KeyRange::prefix(self.prefix(partition_key, &sort))
        };
        let all = self.partition(partition_key);
        let (start, end) = (all.start().clone(), all.end().cloned());
        match test {
            KeyTest::Compare(Comparator::Equal, value) => Some(at(value)),
            KeyTest::Compare(Comparator::Less, value) => KeyRange::new(start, Some(at(value).start().clone())),
            KeyTest::Compare(Comparator::LessOrEqual, value) => KeyRange::new(start, at(value).end().cloned()),
            KeyTest::Compare(Comparator::Greater, value) => KeyRange::new(at(value).end()?.clone(), end),
            KeyTest::Compare(Comparator::GreaterOrEqual, value) => KeyRange::new(at(value).start().clone(), end),
            KeyTest::Compare(Comparator::NotEqual, _) => Some(all),
            KeyTest::Between(lower, upper) => KeyRange::new(at(lower).start().clone(), at(upper).end().cloned()),
            KeyTest::BeginsWith(prefix) => Some(beginning(prefix)),
        }
    }

    /// What keys begin with whose sort key begins with these bytes.
    fn prefix(&self, partition_key: &[u8], sort: &[u8]) -> Vec<u8> {
        let mut key = layout::dynamo(self.id, partition_key, self.lane, sort);
        key.truncate(key.len() - TERMINATOR_BYTES);
        key
    }
}

/// Behind every escaped part of a key.
const TERMINATOR_BYTES: usize = 2;

/// Appends indexes.
pub(super) fn put_indexes(out: &mut Vec<u8>, indexes: &[Index]) {
    put_length(out, indexes.len());
    indexes.iter().for_each(|index| put_index(out, index));
}

/// Appends an index.
pub(super) fn put_index(out: &mut Vec<u8>, index: &Index) {
    put_bytes(out, index.name.as_bytes());
    match &index.scope {
        Scope::Local { lane } => out.extend([LOCAL, *lane]),
        Scope::Global { id, stage, billing } => {
            out.push(GLOBAL);
            out.extend(id.0.to_be_bytes());
            put_stage(out, stage);
            put_billing(out, *billing);
        }
    }
    put_key_attribute(out, &index.partition_key);
    out.push(index.sort_key.is_some().into());
    index.sort_key.iter().for_each(|key| put_key_attribute(out, key));
    match &index.projection {
        Projected::All => out.push(ALL),
        Projected::KeysOnly => out.push(KEYS_ONLY),
        Projected::Include(names) => {
            out.push(INCLUDE);
            put_length(out, names.len());
            names.iter().for_each(|name| put_bytes(out, name.as_bytes()));
        }
    }
}

/// Inverse of [`put_indexes`].
pub(super) fn read_indexes(fields: &mut Fields<'_>) -> Result<Vec<Index>, RecordError> {
    let count = fields.length("indexes")?;
    (0..count).map(|_| read_index(fields)).collect()
}

/// Inverse of [`put_index`].
pub(super) fn read_index(fields: &mut Fields<'_>) -> Result<Index, RecordError> {
    let name = fields.text("index name")?.to_owned();
    let scope = match fields.u8("scope of an index")? {
        LOCAL => Scope::Local { lane: fields.u8("lane")? },
        GLOBAL => Scope::Global {
            id: TableId(fields.u32("index id")?),
            stage: read_stage(fields)?,
            billing: read_billing(fields)?,
        },
        _ => return Err(RecordError::Invalid { field: "scope of an index" }),
    };
    Ok(Index {
        name,
        scope,
        partition_key: read_key_attribute(fields)?,
        sort_key: fields.boolean("sort key")?.then(|| read_key_attribute(fields)).transpose()?,
        projection: match fields.u8("projection")? {
            ALL => Projected::All,
            KEYS_ONLY => Projected::KeysOnly,
            INCLUDE => {
                let count = fields.length("projected attributes")?;
                let names = (0..count).map(|_| fields.text("projected attribute").map(str::to_owned));
                Projected::Include(names.collect::<Result<_, _>>()?)
            }
            _ => return Err(RecordError::Invalid { field: "projection" }),
        },
    })
}

/// Appends a stage.
pub(super) fn put_stage(out: &mut Vec<u8>, stage: &Stage) {
    match stage {
        Stage::Active => out.push(ACTIVE),
        Stage::Announced { since_ms } => {
            out.push(ANNOUNCED);
            out.extend(since_ms.to_be_bytes());
        }
        Stage::Cleaning => out.push(CLEANING),
        Stage::Filling { up_to } => {
            out.push(FILLING);
            put_bytes(out, up_to);
        }
    }
}

/// Inverse of [`put_stage`].
pub(super) fn read_stage(fields: &mut Fields<'_>) -> Result<Stage, RecordError> {
    Ok(match fields.u8("stage")? {
        ACTIVE => Stage::Active,
        ANNOUNCED => Stage::Announced { since_ms: fields.u64("announcement")? },
        CLEANING => Stage::Cleaning,
        FILLING => Stage::Filling { up_to: Bytes::copy_from_slice(fields.bytes("filled up to")?) },
        _ => return Err(RecordError::Invalid { field: "stage" }),
    })
}

/// The type of an attribute by the keys of table and indexes.
pub fn kind_of(table: &Table, attribute: &str) -> Option<KeyType> {
    let of_indexes = table.indexes.iter().flat_map(Index::keys);
    table.keys().chain(of_indexes).find(|key| key.name == attribute).map(|key| key.kind)
}
