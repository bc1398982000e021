//! A stream, open for reading and changes: its entries and what the meta record tells of them.
//!
//! Element records are named by a first byte and what follows:
//!
//! | name | record |
//! | --- | --- |
//! | 1 · id | an entry: fields and values, each its length (u32) and bytes |
//! | 2 · name of a group | [`super::group::Group`] |
//! | 3 · group's number (u64) · name of a consumer | [`super::group::Consumer`] |
//! | 4 · group's number · id | [`super::group::Pending`] |
//! | 5 · group's number · consumer's number · id | ∅ |

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::super::access::{Database, Fault};
use super::super::elements::{Elements, Walk};
use super::super::error::RedisError;
use super::super::record::{Content, Meta};
use super::super::value::Value;
use super::id::Id;
use crate::view::{Order, View, ViewError};

/// What the meta record of a stream tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Of the element records.
    pub generation: u64,
    /// How many entries there are.
    pub length: u64,
    /// The first of them; zero when there is none.
    pub first: Id,
    /// The largest id ever given.
    pub last: Id,
    /// The largest id that was deleted.
    pub max_deleted: Id,
    /// How many entries were ever added.
    pub added: u64,
    /// How many groups there are.
    pub groups: u64,
    /// The next number of a group or consumer.
    pub serial: u64,
}

impl Log {
    /// Appends the payload of the meta record.
    pub fn put(&self, out: &mut BytesMut) {
        out.put_u64(self.generation);
        out.put_u64(self.length);
        for id in [self.first, self.last, self.max_deleted] {
            out.put_u128(id.0);
        }
        for number in [self.added, self.groups, self.serial] {
            out.put_u64(number);
        }
    }

    /// Inverse of [`Log::put`].
    pub fn read(payload: &mut Bytes) -> Option<Self> {
        let mut number = || payload.try_get_u64().ok();
        let (generation, length) = (number()?, number()?);
        let mut id = || payload.try_get_u128().ok().map(Id);
        let (first, last, max_deleted) = (id()?, id()?, id()?);
        let mut number = || payload.try_get_u64().ok();
        Some(Self {
            generation,
            length,
            first,
            last,
            max_deleted,
            added: number()?,
            groups: number()?,
            serial: number()?,
        })
    }

    /// Whether the largest deleted id lies at `from` or behind it, so that counting on from there is wrong.
    pub fn has_gap_behind(&self, from: Id) -> bool {
        self.length > 0 && self.max_deleted != Id::ZERO && self.first <= self.max_deleted && from <= self.max_deleted
    }

    /// How many entries had ever been added when this one was; `None`: it cannot be known.
    pub fn count_up_to(&self, id: Id) -> Option<u64> {
        if self.added == 0 {
            return Some(0);
        }
        if (self.length == 0 && id <= self.last) || id == self.last {
            return Some(self.added);
        }
        if id > self.last {
            return None;
        }
        if self.max_deleted == Id::ZERO || self.max_deleted < self.first {
            if id < self.first {
                return Some(self.added.wrapping_sub(self.length));
            }
            if id == self.first {
                return Some(self.added.wrapping_sub(self.length).wrapping_add(1));
            }
        }
        None
    }
}

/// See the module. After changes, [`Database::close_stream`].
#[derive(Clone, Debug)]
pub(in super::super) struct Stream {
    pub(super) key: Bytes,
    pub(super) log: Log,
    pub(super) expire_at_ms: Option<u64>,
    elements: Elements,
}

impl Stream {
    fn entries(&self) -> Elements {
        self.elements.part(1)
    }

    pub(super) fn group_records(&self) -> Elements {
        self.elements.part(2)
    }

    pub(super) fn consumer_records(&self) -> Elements {
        self.elements.part(3)
    }

    pub(super) fn pending_records(&self) -> Elements {
        self.elements.part(4)
    }

    pub(super) fn owned_records(&self) -> Elements {
        self.elements.part(5)
    }

    /// The fields of an entry, if it is there.
    pub(super) async fn entry<V: View>(&self, view: &mut V, id: Id) -> Result<Option<Value>, ViewError> {
        if self.log.length == 0 || id < self.log.first || id > self.log.last {
            return Ok(None);
        }
        let entries = self.entries();
        match entries.get(view, &id.bytes()).await? {
            Some(record) => fields(&entries, &id.bytes(), record).map(Some),
            None => Ok(None),
        }
    }

    /// At most `count` entries from the first to the last id.
    pub(super) async fn range<V: View>(
        &self,
        view: &mut V,
        (from, to): (Id, Id),
        order: Order,
        count: usize,
    ) -> Result<Vec<(Id, Value)>, ViewError> {
        let mut found = Vec::new();
        if from > to || self.log.length == 0 || count == 0 {
            return Ok(found);
        }
        let entries = self.entries();
        let to = to.next().map(Id::bytes);
        let range = entries.between(&from.bytes(), to.as_ref().map(|to| &to[..]));
        let mut walk = entries.walk(range, order);
        loop {
            walk.limit_step(count - found.len());
            let Some(page) = walk.next(view).await? else { return Ok(found) };
            for (name, record) in page {
                found.push((read_id(&entries, &name)?, fields(&entries, &name, record)?));
                if found.len() == count {
                    return Ok(found);
                }
            }
        }
    }

    /// The id of the first or last entry.
    pub(super) async fn edge<V: View>(&self, view: &mut V, order: Order) -> Result<Option<Id>, ViewError> {
        let found = self.range(view, (Id::ZERO, Id::MAX), order, 1).await?;
        Ok(found.first().map(|(id, _)| *id))
    }

    /// Adds an entry behind all others.
    pub(super) fn append<V: View>(&mut self, view: &mut V, id: Id, items: &[Bytes]) {
        let mut out = BytesMut::with_capacity(items.iter().map(|item| item.len() + 4).sum());
        for item in items {
            out.put_u32(item.len() as u32);
            out.put_slice(item);
        }
        self.entries().put(view, &id.bytes(), out.freeze());
        if self.log.length == 0 {
            self.log.first = id;
        }
        self.log.length += 1;
        self.log.added = self.log.added.wrapping_add(1);
        self.log.last = id;
    }

    /// Removes an entry; whether it was there. [`Stream::find_first`] when all are removed.
    pub(super) async fn delete<V: View>(&mut self, view: &mut V, id: Id) -> Result<bool, ViewError> {
        if self.log.length == 0 || id < self.log.first || id > self.log.last {
            return Ok(false);
        }
        let entries = self.entries();
        if entries.get(view, &id.bytes()).await?.is_none() {
            return Ok(false);
        }
        entries.delete(view, &id.bytes());
        self.log.length -= 1;
        Ok(true)
    }

    /// Removes entries from the front, those below an id if there is one, at most so many; how many. With `node` it removes
    /// whole nodes of so many entries, counted from the first that was ever added, or nothing.
    pub(super) async fn trim<V: View>(
        &mut self,
        view: &mut V,
        below: Option<Id>,
        most: u64,
        node: Option<u64>,
    ) -> Result<u64, ViewError> {
        let mut removed = 0;
        while self.log.length > 0 {
            if below.is_some_and(|below| self.log.first >= below) {
                break;
            }
            let wanted = match node {
                Some(node) => {
                    let behind_node_start = self.log.added.saturating_sub(self.log.length) % node;
                    (node - behind_node_start).min(self.log.length)
                }
                None => (most - removed).min(256),
            };
            if wanted == 0 || removed + wanted > most {
                break;
            }
            let entries = self.entries();
            let end = below.map(Id::bytes);
            let Some(range) = entries.between(&self.log.first.bytes(), end.as_ref().map(|end| &end[..])) else { break };
            let found = entries.scan(view, &range, Order::Ascending, wanted as usize).await?;
            if found.is_empty() || (node.is_some() && (found.len() as u64) < wanted) {
                break;
            }
            found.iter().for_each(|(name, _)| entries.delete(view, name));
            removed += found.len() as u64;
            self.log.length -= found.len() as u64;
            self.find_first(view).await?;
        }
        Ok(removed)
    }

    /// Looks up the first entry again.
    pub(super) async fn find_first<V: View>(&mut self, view: &mut V) -> Result<(), ViewError> {
        self.log.first = self.edge(view, Order::Ascending).await?.unwrap_or_default();
        Ok(())
    }

    /// A number that no group or consumer has had.
    pub(super) fn new_number(&mut self) -> u64 {
        self.log.serial += 1;
        self.log.serial
    }
}

/// The answer for an entry.
pub(super) fn entry_value((id, fields): (Id, Value)) -> Value {
    Value::Array(vec![id.value(), fields])
}

/// The id that ends the name of a record.
pub(super) fn read_id(elements: &Elements, name: &[u8]) -> Result<Id, ViewError> {
    let id = name.len().checked_sub(16).and_then(|at| Id::read(&name[at..]));
    id.ok_or_else(|| corrupt(elements, name))
}

/// A record that cannot be read.
pub(super) fn corrupt(elements: &Elements, name: &[u8]) -> ViewError {
    ViewError::Corrupt { key: elements.key(name), reason: "no record of a stream".to_owned() }
}

fn fields(elements: &Elements, name: &[u8], mut record: Bytes) -> Result<Value, ViewError> {
    let mut items = Vec::new();
    while !record.is_empty() {
        let len = record.try_get_u32().ok().map(|len| len as usize).filter(|len| *len <= record.len());
        items.push(Value::Bulk(record.split_to(len.ok_or_else(|| corrupt(elements, name))?)));
    }
    Ok(Value::Array(items))
}

/// Everything of a walk.
pub(super) async fn all_of<V: View>(walk: Walk<'_>, view: &mut V) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
    walk.rest(view).await
}

impl<V: View> Database<'_, V> {
    /// The stream at a key, if there is one.
    pub(super) async fn open_stream(&mut self, key: &Bytes) -> Result<Option<Stream>, Fault> {
        let Some(Meta { expire_at_ms, content }) = self.load(key).await? else { return Ok(None) };
        let Content::Stream(log) = content else { return Err(RedisError::WrongType.into()) };
        let elements = Elements::new(self.db, key, log.generation);
        Ok(Some(Stream { key: key.clone(), log, expire_at_ms, elements }))
    }

    /// An empty stream to put at a key.
    pub(super) fn new_stream(&mut self, key: &Bytes) -> Stream {
        let log = Log { generation: self.view.random(), ..Log::default() };
        Stream { key: key.clone(), log, expire_at_ms: None, elements: Elements::new(self.db, key, log.generation) }
    }

    /// Ends changes. An empty stream stays.
    pub(super) fn close_stream(&mut self, stream: &Stream) {
        self.store(&stream.key, &Meta { expire_at_ms: stream.expire_at_ms, content: Content::Stream(stream.log) });
    }
}
