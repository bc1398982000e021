//! The element records of one collection: their keys, and walks over them.
//!
//! Elements sort as the bytes that name them. A walk fetches records in steps that adapt to their size, so that a
//! collection of large values is not held in memory twice.

use bytes::Bytes;
use keyspace::{KeyRange, layout, range};

use crate::view::{Order, View, ViewError};

/// Records fetched in the first step of a walk.
const FIRST_STEP: usize = 32;
/// Records fetched in one step at most.
const MAX_STEP: usize = 1024;
/// About this many bytes are fetched in one step.
const STEP_BYTES: usize = 1 << 18;

/// Where the elements of one generation of a collection lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Elements {
    prefix: Bytes,
}

impl Elements {
    /// Of a key's collection.
    pub fn new(db: u8, key: &[u8], generation: u64) -> Self {
        Self { prefix: layout::redis_elements(db, key, generation).into() }
    }

    /// The elements whose names begin with `part`, which is not 0, as a collection of their own without it.
    pub fn part(&self, part: u8) -> Elements {
        debug_assert!(part != 0, "a zero is escaped and would not stand alone");
        Self { prefix: [&self.prefix[..], &[part]].concat().into() }
    }

    /// Encoded key of an element.
    pub fn key(&self, element: &[u8]) -> Vec<u8> {
        layout::redis_element(&self.prefix, element)
    }

    /// The element of an encoded key.
    pub fn name(&self, key: &[u8]) -> Result<Bytes, ViewError> {
        let element = layout::parse_redis_element(key, self.prefix.len());
        element.map(Bytes::from).map_err(|error| ViewError::Corrupt { key: key.to_vec(), reason: error.to_string() })
    }

    /// The value of an element.
    pub async fn get<V: View>(&self, view: &mut V, element: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(view.get(&self.key(element)).await?.map(|record| record.value))
    }

    /// Writes an element.
    pub fn put<V: View>(&self, view: &mut V, element: &[u8], value: Bytes) {
        view.put(self.key(element), value);
    }

    /// Removes an element.
    pub fn delete<V: View>(&self, view: &mut V, element: &[u8]) {
        view.delete(self.key(element));
    }

    /// Elements from `from` to below `to`; `None`: to the end of the collection. `None` when that is nothing.
    pub fn between(&self, from: &[u8], to: Option<&[u8]>) -> Option<KeyRange> {
        let end = match to {
            Some(to) => Some(self.key(to).into()),
            None => range::successor_of_prefix(&self.prefix),
        };
        KeyRange::new(self.key(from), end)
    }

    /// At most `limit` elements of a range with their values.
    pub async fn scan<V: View>(
        &self,
        view: &mut V,
        range: &KeyRange,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        let records = view.scan(range, order, limit).await?;
        records.into_iter().map(|(key, record)| Ok((self.name(&key)?, record.value))).collect()
    }

    /// Walks over a range.
    pub fn walk(&self, range: Option<KeyRange>, order: Order) -> Walk<'_> {
        Walk { elements: self, rest: range, order, step: FIRST_STEP }
    }

    /// Walks over everything, upwards.
    pub fn walk_all(&self) -> Walk<'_> {
        self.walk(Some(KeyRange::prefix(self.prefix.clone())), Order::Ascending)
    }

    /// Copies every element to another collection.
    pub async fn copy_to<V: View>(&self, view: &mut V, other: &Elements) -> Result<(), ViewError> {
        let mut walk = self.walk_all();
        while let Some(page) = walk.next(view).await? {
            for (element, value) in page {
                other.put(view, &element, value);
            }
        }
        Ok(())
    }
}

/// See [`Elements::walk`].
pub(super) struct Walk<'a> {
    elements: &'a Elements,
    rest: Option<KeyRange>,
    order: Order,
    step: usize,
}

impl Walk<'_> {
    /// Fetches no more than so many elements in the next step.
    pub fn limit_step(&mut self, elements: usize) {
        self.step = self.step.min(elements.max(1));
    }

    /// The next elements with their values; `None` at the end.
    pub async fn next<V: View>(&mut self, view: &mut V) -> Result<Option<Vec<(Bytes, Bytes)>>, ViewError> {
        let Some(rest) = self.rest.take() else { return Ok(None) };
        let records = view.scan(&rest, self.order, self.step).await?;
        let Some((last, _)) = records.last() else { return Ok(None) };
        if records.len() == self.step {
            self.rest = match self.order {
                Order::Ascending => KeyRange::new(after(last), rest.end().cloned()),
                Order::Descending => KeyRange::new(rest.start().clone(), Some(last.clone())),
            };
        }
        let bytes: usize = records.iter().map(|(key, record)| key.len() + record.value.len()).sum();
        let fitting = STEP_BYTES * records.len() / bytes.max(1);
        self.step = fitting.clamp(1, (self.step * 2).min(MAX_STEP));
        let named = records.into_iter().map(|(key, record)| Ok((self.elements.name(&key)?, record.value)));
        named.collect::<Result<_, _>>().map(Some)
    }

    /// Everything that is left.
    pub async fn rest<V: View>(mut self, view: &mut V) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        let mut all = Vec::new();
        while let Some(page) = self.next(view).await? {
            all.extend(page);
        }
        Ok(all)
    }
}

/// The smallest key above `key`.
fn after(key: &[u8]) -> Bytes {
    let mut next = key.to_vec();
    next.push(0);
    next.into()
}
