//! Reads: one item by its key, and neighbouring items page by page.
//!
//! A page is a part of what Query and Scan ask for: the items of one range of encoded keys, filtered and projected next
//! to the data. It ends where the range does, behind so many items, or before the item with which what was looked at
//! would exceed 1 MB; then it says behind which key to go on.
//!
//! In a table with local indexes, items and entries lie beside each other, partition by partition. A read of more than
//! one partition keeps to one *lane*: what lies in others is passed over, though not for ever; a page that has passed
//! over much ends there.
//!
//! Left out: a page promises nothing about items beyond it, which may change before the next page is read, as in AWS.

use bytes::Bytes;
use keyspace::{Key, KeyRange};

use super::Outcome;
use super::expression::record::{put_condition, put_projection, read_condition, read_projection};
use super::expression::{Condition, Projection};
use super::fields::{Fields, RecordError};
use super::record::{decode_item, encode_item};
use super::value::item_size;
use crate::view::{Order, View, ViewError};

const VERSION: u8 = 1;
/// As version 1, with the lane in front.
const WITH_LANE: u8 = 2;

/// What a page may look at, in bytes by the rule of item sizes.
pub const MAX_PAGE_BYTES: usize = 1 << 20;
/// Records that are fetched at a time.
const STEP: usize = 64;
/// Records of other lanes that a page passes over.
const MAX_PASSED: usize = 4096;

/// A page to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRead {
    /// Encoded keys, inside one route.
    pub range: KeyRange,
    /// Upwards or downwards.
    pub order: Order,
    /// Look at no more items than this.
    pub max_items: usize,
    /// Look at no more bytes than this; one item is always looked at.
    pub max_bytes: usize,
    /// How to choose and what to answer.
    pub selection: Selection,
}

/// Which items to answer, and what of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only items of which this is true.
    pub filter: Option<Condition>,
    /// Only these parts of them.
    pub projection: Option<Projection>,
    /// Nothing of them: they are only counted.
    pub count_only: bool,
    /// Only what lies in this lane; others are not even looked at.
    pub lane: Option<u8>,
}

impl Selection {
    /// As a record.
    pub fn encode(&self) -> Bytes {
        let mut out = match self.lane {
            // Nodes that know no lanes read what needs none.
            None => vec![VERSION],
            Some(lane) => vec![WITH_LANE, lane],
        };
        out.extend([self.count_only, self.filter.is_some()].map(u8::from));
        self.filter.iter().for_each(|filter| put_condition(&mut out, filter));
        out.push(self.projection.is_some().into());
        self.projection.iter().for_each(|projection| put_projection(&mut out, projection));
        out.into()
    }

    /// Inverse of [`Selection::encode`].
    pub fn decode(record: &[u8]) -> Result<Self, RecordError> {
        let has_lane = record.first() == Some(&WITH_LANE);
        let mut fields = Fields::of_version(record, if has_lane { WITH_LANE } else { VERSION })?;
        let selection = Self {
            lane: has_lane.then(|| fields.u8("lane")).transpose()?,
            count_only: fields.boolean("count only")?,
            filter: fields.boolean("filter")?.then(|| read_condition(&mut fields)).transpose()?,
            projection: fields.boolean("projection")?.then(|| read_projection(&mut fields)).transpose()?,
        };
        fields.finish()?;
        Ok(selection)
    }
}

/// Items of one range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Item records, in order; none where items are only counted.
    pub items: Vec<Bytes>,
    /// How many items were chosen.
    pub count: usize,
    /// How many items were looked at.
    pub scanned: usize,
    /// How large they are together.
    pub bytes: usize,
    /// The encoded key of the last item looked at.
    pub last: Option<Bytes>,
    /// The page ended before its range: go on behind the last item.
    pub more: bool,
    /// The page ended because it passed over so much of other lanes: go on behind this key, not behind the last item.
    pub passed: Option<Bytes>,
}

/// Reads an item, or parts of it.
pub(super) async fn get<V: View>(
    view: &mut V,
    key: &Bytes,
    projection: Option<&Projection>,
) -> Result<Outcome, ViewError> {
    let Some(record) = view.get(key).await? else { return Ok(Outcome::None) };
    let Some(projection) = projection else { return Ok(Outcome::Item(record.value)) };
    let item = decode_item(&record.value).map_err(|error| corrupt(key, &error))?;
    Ok(Outcome::Part { item: encode_item(&projection.apply(&item)), bytes: item_size(&item) })
}

/// Reads a page.
pub(super) async fn page<V: View>(view: &mut V, read: &PageRead) -> Result<Outcome, ViewError> {
    let mut page = Page::default();
    let mut passed = 0;
    let mut reached = None;
    let mut rest = Some(read.range.clone());
    while let Some(range) = rest.take() {
        let step = match read.selection.lane {
            None => STEP.min(read.max_items - page.scanned),
            Some(_) => STEP,
        };
        let found = view.scan(&range, read.order, step).await?;
        let more = found.len() == step;
        for (key, record) in found {
            if page.scanned >= read.max_items {
                break;
            }
            if read.selection.lane.is_some_and(|lane| lane_of(&key) != Some(lane)) {
                passed += 1;
                reached = Some(key);
                continue;
            }
            let item = decode_item(&record.value).map_err(|error| corrupt(&key, &error))?;
            let bytes = item_size(&item);
            if page.scanned > 0 && page.bytes + bytes > read.max_bytes {
                page.more = true;
                return Ok(Outcome::Page(page));
            }
            page.scanned += 1;
            page.bytes += bytes;
            if read.selection.filter.as_ref().is_none_or(|filter| filter.holds(&item)) {
                page.count += 1;
                if !read.selection.count_only {
                    let part = read.selection.projection.as_ref().map(|projection| projection.apply(&item));
                    page.items.push(part.as_ref().map_or(record.value, encode_item));
                }
            }
            reached = Some(key.clone());
            page.last = Some(key);
        }
        if page.scanned >= read.max_items {
            // Whether there are more is not looked up: AWS answers a key to go on behind here too.
            page.more = true;
            return Ok(Outcome::Page(page));
        }
        if more && passed >= MAX_PASSED {
            page.more = true;
            page.passed = reached;
            return Ok(Outcome::Page(page));
        }
        if more {
            rest = reached.as_ref().and_then(|last| behind(&range, last, read.order));
        }
    }
    Ok(Outcome::Page(page))
}

/// The lane in which an encoded key lies.
pub fn lane_of(key: &[u8]) -> Option<u8> {
    match Key::decode(key) {
        Ok(Key::Dynamo { index, .. }) => Some(index),
        _ => None,
    }
}

/// What of a range lies behind a key, in the order of reading.
pub fn behind(range: &KeyRange, last: &[u8], order: Order) -> Option<KeyRange> {
    match order {
        Order::Ascending => KeyRange::new([last, &[0]].concat(), range.end().cloned()),
        Order::Descending => KeyRange::new(range.start().clone(), Some(last.to_vec().into())),
    }
}

fn corrupt(key: &[u8], error: &RecordError) -> ViewError {
    ViewError::Corrupt { key: key.to_vec(), reason: error.to_string() }
}
