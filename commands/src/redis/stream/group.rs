//! Consumer groups: their records, and what is pending in them.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use keyspace::KeyRange;

use super::super::elements::Elements;
use super::id::Id;
use super::log::{Stream, all_of, corrupt, read_id};
use crate::view::{Order, View, ViewError};

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub name: Bytes,
    /// In the names of what belongs to it; never used again.
    pub number: u64,
    /// The last id that was delivered.
    pub last: Id,
    /// How many entries it has read, as far as that is known.
    pub read: Option<u64>,
    /// How many entries are pending.
    pub pending: u64,
    /// How many consumers it has.
    pub consumers: u64,
}

/// A consumer of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Consumer {
    pub number: u64,
    pub seen_ms: u64,
    pub pending: u64,
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub delivered_ms: u64,
    pub deliveries: u64,
    pub consumer: Bytes,
}

impl Group {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(50);
        out.put_u64(self.number);
        out.put_u128(self.last.0);
        out.put_u8(u8::from(self.read.is_some()));
        out.put_u64(self.read.unwrap_or(0));
        out.put_u64(self.pending);
        out.put_u64(self.consumers);
        out.freeze()
    }

    fn decode(name: Bytes, mut record: Bytes) -> Option<Self> {
        let number = record.try_get_u64().ok()?;
        let last = Id(record.try_get_u128().ok()?);
        let known = record.try_get_u8().ok()? == 1;
        let read = record.try_get_u64().ok()?;
        let (pending, consumers) = (record.try_get_u64().ok()?, record.try_get_u64().ok()?);
        Some(Self { name, number, last, read: known.then_some(read), pending, consumers })
    }
}

impl Consumer {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(24);
        [self.number, self.seen_ms, self.pending].into_iter().for_each(|number| out.put_u64(number));
        out.freeze()
    }

    fn decode(mut record: Bytes) -> Option<Self> {
        let mut number = || record.try_get_u64().ok();
        Some(Self { number: number()?, seen_ms: number()?, pending: number()? })
    }
}

impl Pending {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(16 + self.consumer.len());
        out.put_u64(self.delivered_ms);
        out.put_u64(self.deliveries);
        out.put_slice(&self.consumer);
        out.freeze()
    }

    fn decode(mut record: Bytes) -> Option<Self> {
        let (delivered_ms, deliveries) = (record.try_get_u64().ok()?, record.try_get_u64().ok()?);
        Some(Self { delivered_ms, deliveries, consumer: record })
    }
}

/// A group, open for reading and changes. After changes, [`OpenGroup::close`].
#[derive(Clone, Debug)]
pub(super) struct OpenGroup {
    pub group: Group,
    /// Those that were looked at, to be written.
    changed: BTreeMap<Bytes, Consumer>,
    consumers: Elements,
    pending: Elements,
    owned: Elements,
}

fn name_of(number: u64, rest: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), rest].concat()
}

fn owned_name(group: u64, consumer: u64, id: Id) -> Vec<u8> {
    [&group.to_be_bytes()[..], &consumer.to_be_bytes(), &id.bytes()].concat()
}

/// Everything of a part whose names begin with a number.
fn numbered(elements: &Elements, number: u64) -> Option<KeyRange> {
    elements.between(&number.to_be_bytes(), Some(&(number + 1).to_be_bytes()))
}

impl Stream {
    /// The group of a name, if there is one.
    pub(super) async fn group<V: View>(&self, view: &mut V, name: &Bytes) -> Result<Option<OpenGroup>, ViewError> {
        if self.log.groups == 0 {
            return Ok(None);
        }
        let records = self.group_records();
        let Some(record) = records.get(view, name).await? else { return Ok(None) };
        let group = Group::decode(name.clone(), record).ok_or_else(|| corrupt(&records, name))?;
        Ok(Some(self.open_group(group)))
    }

    /// All groups, by name.
    pub(super) async fn groups<V: View>(&self, view: &mut V) -> Result<Vec<OpenGroup>, ViewError> {
        let records = self.group_records();
        let all = all_of(records.walk_all(), view).await?;
        all.into_iter()
            .map(|(name, record)| {
                let group = Group::decode(name.clone(), record).ok_or_else(|| corrupt(&records, &name))?;
                Ok(self.open_group(group))
            })
            .collect()
    }

    fn open_group(&self, group: Group) -> OpenGroup {
        let (consumers, pending, owned) = (self.consumer_records(), self.pending_records(), self.owned_records());
        OpenGroup { group, changed: BTreeMap::new(), consumers, pending, owned }
    }

    /// A group that is not there yet.
    pub(super) fn new_group(&mut self, name: &Bytes, last: Id, read: Option<u64>) -> OpenGroup {
        self.log.groups += 1;
        let number = self.new_number();
        self.open_group(Group { name: name.clone(), number, last, read, pending: 0, consumers: 0 })
    }

    /// Removes a group and all that belongs to it.
    pub(super) async fn remove_group<V: View>(&mut self, view: &mut V, group: &OpenGroup) -> Result<(), ViewError> {
        for elements in [&group.consumers, &group.pending, &group.owned] {
            let walk = elements.walk(numbered(elements, group.group.number), Order::Ascending);
            for (name, _) in all_of(walk, view).await? {
                elements.delete(view, &name);
            }
        }
        self.group_records().delete(view, &group.group.name);
        self.log.groups -= 1;
        Ok(())
    }
}

impl OpenGroup {
    /// Writes what has changed.
    pub fn close<V: View>(&self, view: &mut V, stream: &Stream) {
        stream.group_records().put(view, &self.group.name, self.group.encode());
        for (name, consumer) in &self.changed {
            self.consumers.put(view, &name_of(self.group.number, name), consumer.encode());
        }
    }

    /// The consumer of a name, if there is one.
    pub async fn consumer<V: View>(&mut self, view: &mut V, name: &Bytes) -> Result<Option<Consumer>, ViewError> {
        if let Some(consumer) = self.changed.get(name) {
            return Ok(Some(consumer.clone()));
        }
        let key = name_of(self.group.number, name);
        let Some(record) = self.consumers.get(view, &key).await? else { return Ok(None) };
        Consumer::decode(record).map(Some).ok_or_else(|| corrupt(&self.consumers, &key))
    }

    /// Notes a change of a consumer.
    pub fn set_consumer(&mut self, name: &Bytes, consumer: Consumer) {
        self.changed.insert(name.clone(), consumer);
    }

    /// Adds a consumer that is not there.
    pub fn add_consumer(&mut self, stream: &mut Stream, name: &Bytes, now_ms: u64) -> Consumer {
        let consumer = Consumer { number: stream.new_number(), seen_ms: now_ms, pending: 0 };
        self.group.consumers += 1;
        self.set_consumer(name, consumer.clone());
        consumer
    }

    /// The consumer of a name, seen now; added if it is not there.
    pub async fn seen_consumer<V: View>(
        &mut self,
        view: &mut V,
        stream: &mut Stream,
        name: &Bytes,
    ) -> Result<Consumer, ViewError> {
        let now_ms = view.now_ms();
        match self.consumer(view, name).await? {
            Some(mut consumer) => {
                consumer.seen_ms = now_ms;
                self.set_consumer(name, consumer.clone());
                Ok(consumer)
            }
            None => Ok(self.add_consumer(stream, name, now_ms)),
        }
    }

    /// All consumers by name.
    pub async fn consumers<V: View>(&self, view: &mut V) -> Result<Vec<(Bytes, Consumer)>, ViewError> {
        let walk = self.consumers.walk(numbered(&self.consumers, self.group.number), Order::Ascending);
        let all = all_of(walk, view).await?;
        all.into_iter()
            .map(|(name, record)| {
                let consumer = Consumer::decode(record).ok_or_else(|| corrupt(&self.consumers, &name))?;
                Ok((name.slice(8..), consumer))
            })
            .collect()
    }

    /// Removes a consumer and what is pending for it; how much that was.
    pub async fn remove_consumer<V: View>(&mut self, view: &mut V, name: &Bytes) -> Result<Option<u64>, ViewError> {
        let Some(consumer) = self.consumer(view, name).await? else { return Ok(None) };
        for id in self.owned_ids(view, &consumer, Id::ZERO, usize::MAX).await? {
            self.pending.delete(view, &name_of(self.group.number, &id.bytes()));
            self.owned.delete(view, &owned_name(self.group.number, consumer.number, id));
        }
        self.consumers.delete(view, &name_of(self.group.number, name));
        self.group.pending -= consumer.pending;
        self.group.consumers -= 1;
        self.changed.remove(name);
        Ok(Some(consumer.pending))
    }

    /// What is pending under an id.
    pub async fn pending<V: View>(&self, view: &mut V, id: Id) -> Result<Option<Pending>, ViewError> {
        if self.group.pending == 0 {
            return Ok(None);
        }
        let name = name_of(self.group.number, &id.bytes());
        let Some(record) = self.pending.get(view, &name).await? else { return Ok(None) };
        Pending::decode(record).map(Some).ok_or_else(|| corrupt(&self.pending, &name))
    }

    /// At most `count` of what is pending from an id to below another.
    pub async fn pending_from<V: View>(
        &self,
        view: &mut V,
        (from, to): (Id, Id),
        order: Order,
        count: usize,
    ) -> Result<Vec<(Id, Pending)>, ViewError> {
        let mut found = Vec::new();
        if from > to || count == 0 || self.group.pending == 0 {
            return Ok(found);
        }
        let number = self.group.number;
        let end = match to.next() {
            Some(end) => name_of(number, &end.bytes()),
            None => (number + 1).to_be_bytes().to_vec(),
        };
        let range = self.pending.between(&name_of(number, &from.bytes()), Some(&end));
        let mut walk = self.pending.walk(range, order);
        while found.len() < count {
            walk.limit_step(count - found.len());
            let Some(page) = walk.next(view).await? else { break };
            for (name, record) in page {
                let pending = Pending::decode(record).ok_or_else(|| corrupt(&self.pending, &name))?;
                found.push((read_id(&self.pending, &name)?, pending));
            }
        }
        found.truncate(count);
        Ok(found)
    }

    /// Ids of at most `count` entries that are pending for a consumer, from an id on.
    pub async fn owned_ids<V: View>(
        &self,
        view: &mut V,
        consumer: &Consumer,
        from: Id,
        count: usize,
    ) -> Result<Vec<Id>, ViewError> {
        let mut ids = Vec::new();
        if consumer.pending == 0 {
            return Ok(ids);
        }
        let number = self.group.number;
        let end = name_of(number, &(consumer.number + 1).to_be_bytes());
        let range = self.owned.between(&owned_name(number, consumer.number, from), Some(&end));
        let mut walk = self.owned.walk(range, Order::Ascending);
        while ids.len() < count {
            walk.limit_step(count - ids.len());
            let Some(page) = walk.next(view).await? else { break };
            for (name, _) in page {
                ids.push(read_id(&self.owned, &name)?);
            }
        }
        ids.truncate(count);
        Ok(ids)
    }

    /// Writes that an entry is pending; `before`: for whom it was.
    pub async fn set_pending<V: View>(
        &mut self,
        view: &mut V,
        id: Id,
        pending: Pending,
        before: Option<&Pending>,
    ) -> Result<(), ViewError> {
        self.pending.put(view, &name_of(self.group.number, &id.bytes()), pending.encode());
        match before {
            Some(before) if before.consumer == pending.consumer => return Ok(()),
            Some(before) => self.disown(view, id, &before.consumer.clone()).await?,
            None => self.group.pending += 1,
        }
        if let Some(mut consumer) = self.consumer(view, &pending.consumer).await? {
            consumer.pending += 1;
            self.owned.put(view, &owned_name(self.group.number, consumer.number, id), Bytes::new());
            self.set_consumer(&pending.consumer, consumer);
        }
        Ok(())
    }

    async fn disown<V: View>(&mut self, view: &mut V, id: Id, name: &Bytes) -> Result<(), ViewError> {
        if let Some(mut consumer) = self.consumer(view, name).await? {
            consumer.pending -= 1;
            self.owned.delete(view, &owned_name(self.group.number, consumer.number, id));
            self.set_consumer(name, consumer);
        }
        Ok(())
    }

    /// Forgets that an entry is pending.
    pub async fn settle<V: View>(&mut self, view: &mut V, id: Id, pending: &Pending) -> Result<(), ViewError> {
        self.pending.delete(view, &name_of(self.group.number, &id.bytes()));
        self.group.pending -= 1;
        self.disown(view, id, &pending.consumer.clone()).await
    }
}
