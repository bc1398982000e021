//! Item records: what is stored at an item's key, and sent between gateway and leader.
//!
//! Version byte, number of attributes, then name and value of each in the order of names. A value is a tag byte and
//! its content. The form is canonical, so two records of equal items are equal bytes; decoding refuses every other
//! form, and anything nested deeper than an item may be.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::fields::{Fields, RecordError, put_bytes, put_length};
use super::value::{AttributeValue, Item, MAX_NESTING};

const VERSION: u8 = 1;

const TEXT: u8 = 1;
const NUMBER: u8 = 2;
const BYTES: u8 = 3;
const FALSE: u8 = 4;
const TRUE: u8 = 5;
const NULL: u8 = 6;
const MAP: u8 = 7;
const LIST: u8 = 8;
const TEXT_SET: u8 = 9;
const NUMBER_SET: u8 = 10;
const BYTES_SET: u8 = 11;

/// The record of an item.
pub fn encode_item(item: &Item) -> Bytes {
    let mut out = vec![VERSION];
    put_members(&mut out, item);
    out.into()
}

/// Inverse of [`encode_item`].
pub fn decode_item(record: &[u8]) -> Result<Item, RecordError> {
    let mut fields = Fields::of_version(record, VERSION)?;
    let item = read_members(&mut fields, MAX_NESTING)?;
    fields.finish()?;
    Ok(item)
}

fn put_members(out: &mut Vec<u8>, members: &BTreeMap<String, AttributeValue>) {
    put_length(out, members.len());
    for (name, value) in members {
        put_bytes(out, name.as_bytes());
        put_value(out, value);
    }
}

pub(super) fn put_value(out: &mut Vec<u8>, value: &AttributeValue) {
    match value {
        AttributeValue::S(text) => {
            out.push(TEXT);
            put_bytes(out, text.as_bytes());
        }
        AttributeValue::N(number) => {
            out.push(NUMBER);
            number.encode_ordered(out);
        }
        AttributeValue::B(bytes) => {
            out.push(BYTES);
            put_bytes(out, bytes);
        }
        AttributeValue::Bool(value) => out.push(if *value { TRUE } else { FALSE }),
        AttributeValue::Null => out.push(NULL),
        AttributeValue::M(members) => {
            out.push(MAP);
            put_members(out, members);
        }
        AttributeValue::L(values) => {
            out.push(LIST);
            put_length(out, values.len());
            values.iter().for_each(|value| put_value(out, value));
        }
        AttributeValue::Ss(texts) => {
            out.push(TEXT_SET);
            put_length(out, texts.len());
            texts.iter().for_each(|text| put_bytes(out, text.as_bytes()));
        }
        AttributeValue::Ns(numbers) => {
            out.push(NUMBER_SET);
            put_length(out, numbers.len());
            numbers.iter().for_each(|number| number.encode_ordered(out));
        }
        AttributeValue::Bs(all) => {
            out.push(BYTES_SET);
            put_length(out, all.len());
            all.iter().for_each(|bytes| put_bytes(out, bytes));
        }
    }
}

/// `depth`: how many more levels of lists and maps may follow.
fn read_members(fields: &mut Fields<'_>, depth: usize) -> Result<BTreeMap<String, AttributeValue>, RecordError> {
    let mut members = BTreeMap::new();
    for _ in 0..fields.length("number of attributes")? {
        let name = fields.text("attribute name")?;
        let ascending = members.last_key_value().is_none_or(|(last, _): (&String, _)| last.as_str() < name);
        ascending.then_some(()).ok_or(RecordError::Invalid { field: "order of attributes" })?;
        members.insert(name.to_owned(), read_value(fields, depth)?);
    }
    Ok(members)
}

pub(super) fn read_value(fields: &mut Fields<'_>, depth: usize) -> Result<AttributeValue, RecordError> {
    let deeper = || depth.checked_sub(1).ok_or(RecordError::Invalid { field: "nesting" });
    Ok(match fields.u8("attribute type")? {
        TEXT => AttributeValue::S(fields.text("text")?.to_owned()),
        NUMBER => AttributeValue::N(fields.number()?),
        BYTES => AttributeValue::B(read_bytes(fields)?),
        FALSE => AttributeValue::Bool(false),
        TRUE => AttributeValue::Bool(true),
        NULL => AttributeValue::Null,
        MAP => AttributeValue::M(read_members(fields, deeper()?)?),
        LIST => {
            let depth = deeper()?;
            let count = fields.length("list length")?;
            AttributeValue::L((0..count).map(|_| read_value(fields, depth)).collect::<Result<_, _>>()?)
        }
        TEXT_SET => AttributeValue::Ss(read_set(fields, |fields| fields.text("text").map(str::to_owned))?),
        NUMBER_SET => AttributeValue::Ns(read_set(fields, Fields::number)?),
        BYTES_SET => AttributeValue::Bs(read_set(fields, read_bytes)?),
        _ => return Err(RecordError::Invalid { field: "attribute type" }),
    })
}

/// A set in ascending order, not empty.
fn read_set<'a, T: Ord>(
    fields: &mut Fields<'a>,
    mut read: impl FnMut(&mut Fields<'a>) -> Result<T, RecordError>,
) -> Result<BTreeSet<T>, RecordError> {
    let count = fields.length("set size")?;
    let mut set = BTreeSet::new();
    for _ in 0..count {
        let element = read(fields)?;
        let ascending = set.last().is_none_or(|last| *last < element);
        ascending.then_some(()).ok_or(RecordError::Invalid { field: "order of a set" })?;
        set.insert(element);
    }
    if set.is_empty() { Err(RecordError::Invalid { field: "set size" }) } else { Ok(set) }
}

fn read_bytes(fields: &mut Fields<'_>) -> Result<Bytes, RecordError> {
    fields.bytes("bytes").map(Bytes::copy_from_slice)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use keyspace::decimal::Decimal;
    use proptest::collection::{btree_map, btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    fn numbers() -> impl Strategy<Value = Decimal> {
        (any::<i64>(), -100_i32..100).prop_map(|(digits, exponent)| format!("{digits}e{exponent}").parse().unwrap())
    }

    fn binaries() -> impl Strategy<Value = Bytes> {
        vec(any::<u8>(), 0..12).prop_map(Bytes::from)
    }

    fn values() -> impl Strategy<Value = AttributeValue> {
        let leaf = prop_oneof![
            ".{0,8}".prop_map(AttributeValue::S),
            numbers().prop_map(AttributeValue::N),
            binaries().prop_map(AttributeValue::B),
            any::<bool>().prop_map(AttributeValue::Bool),
            Just(AttributeValue::Null),
            btree_set(".{0,4}", 1..4).prop_map(AttributeValue::Ss),
            btree_set(numbers(), 1..4).prop_map(AttributeValue::Ns),
            btree_set(binaries(), 1..4).prop_map(AttributeValue::Bs),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(AttributeValue::L),
                btree_map(".{0,4}", inner, 0..4).prop_map(AttributeValue::M),
            ]
        })
    }

    proptest! {
        #[test]
        fn items_survive_the_round_trip(item in btree_map(".{1,6}", values(), 0..5)) {
            prop_assert_eq!(decode_item(&encode_item(&item)).unwrap(), item);
        }

        #[test]
        fn what_decodes_is_canonical(item in btree_map(".{1,6}", values(), 0..4), at: prop::sample::Index, byte: u8) {
            let mut record = encode_item(&item).to_vec();
            let at = at.index(record.len());
            record[at] = byte;
            if let Ok(decoded) = decode_item(&record) {
                prop_assert_eq!(encode_item(&decoded), record);
            }
        }

        #[test]
        fn junk_is_refused_without_panic(junk in vec(any::<u8>(), 0..64)) {
            let mut record = vec![VERSION];
            record.extend(junk);
            if let Ok(decoded) = decode_item(&record) {
                prop_assert_eq!(encode_item(&decoded), record);
            }
        }
    }

    fn nested(levels: usize) -> Item {
        let deepest = (0..levels).fold(AttributeValue::Null, |inner, _| AttributeValue::L(vec![inner]));
        Item::from([("a".into(), deepest)])
    }

    #[test]
    fn nesting_is_bounded() {
        assert_eq!(decode_item(&encode_item(&nested(MAX_NESTING))).unwrap(), nested(MAX_NESTING));
        let too_deep = encode_item(&nested(MAX_NESTING + 1));
        assert_eq!(decode_item(&too_deep), Err(RecordError::Invalid { field: "nesting" }));
        // One byte a level: would exhaust the stack if it were followed.
        let mut abyss = vec![VERSION, 1, 1, b'a'];
        abyss.extend([LIST, 1].repeat(1 << 20));
        assert_eq!(decode_item(&abyss), Err(RecordError::Invalid { field: "nesting" }));
    }

    #[test]
    fn another_version_is_refused_by_name() {
        assert_eq!(decode_item(&[2, 0]), Err(RecordError::UnknownVersion { found: 2 }));
        assert_eq!(decode_item(&[]), Err(RecordError::Truncated { field: "version" }));
        assert_eq!(decode_item(&[VERSION, 0, 9]), Err(RecordError::Trailing { count: 1 }));
    }
}
