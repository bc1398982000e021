//! Key attributes: which attributes of an item make its key, and their order-preserving bytes.
//!
//! A key part is a type byte and its content: text in UTF-8, bytes as they are, numbers in the order-preserving form of
//! `keyspace::decimal`. All keys of one table have the same types, so the type byte never decides an order; it keeps
//! keys readable without the table's descriptor.

use bytes::Bytes;
use keyspace::codec::Reader;
use keyspace::decimal::Decimal;
use keyspace::{Key, KeyRange, TableId, layout};

use super::expression::{Comparator, KeyTest};
use super::table::Table;
use super::value::{AttributeValue, Item};

/// Index 0 is the table itself; local indexes have larger ones.
const ITEM: u8 = 0;
/// Behind the sort key of every encoded key.
const TERMINATOR_BYTES: usize = 2;

/// What a key attribute may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// `S`
    Text,
    /// `N`
    Number,
    /// `B`
    Bytes,
}

impl KeyType {
    /// The name of the type as the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            KeyType::Text => "S",
            KeyType::Number => "N",
            KeyType::Bytes => "B",
        }
    }

    /// Inverse of [`KeyType::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [KeyType::Text, KeyType::Number, KeyType::Bytes].into_iter().find(|kind| kind.name() == name)
    }

    /// The byte that stands for it in keys and records.
    pub(super) fn tag(self) -> u8 {
        match self {
            KeyType::Number => 1,
            KeyType::Text => 2,
            KeyType::Bytes => 3,
        }
    }

    pub(super) fn from_tag(tag: u8) -> Option<Self> {
        [KeyType::Text, KeyType::Number, KeyType::Bytes].into_iter().find(|kind| kind.tag() == tag)
    }
}

/// The order-preserving bytes of a key attribute; `None` for a value that no key may hold.
pub fn encode_key_part(value: &AttributeValue) -> Option<Vec<u8>> {
    let tagged = |kind: KeyType, content: &[u8]| [&[kind.tag()], content].concat();
    match value {
        AttributeValue::S(text) => Some(tagged(KeyType::Text, text.as_bytes())),
        AttributeValue::B(bytes) => Some(tagged(KeyType::Bytes, bytes)),
        AttributeValue::N(number) => {
            let mut out = vec![KeyType::Number.tag()];
            number.encode_ordered(&mut out);
            Some(out)
        }
        _ => None,
    }
}

/// Inverse of [`encode_key_part`].
fn decode_key_part(part: &[u8]) -> Option<AttributeValue> {
    let (&tag, content) = part.split_first()?;
    match KeyType::from_tag(tag)? {
        KeyType::Text => String::from_utf8(content.to_vec()).ok().map(AttributeValue::S),
        KeyType::Bytes => Some(AttributeValue::B(Bytes::copy_from_slice(content))),
        KeyType::Number => {
            let mut reader = Reader::new(content);
            let number = Decimal::decode_ordered(&mut reader).ok()?;
            reader.rest().is_empty().then_some(AttributeValue::N(number))
        }
    }
}

/// The key of an item. Both parts come from [`encode_key_part`]; `sort_key` is empty in a table without one.
pub fn item_key(table: TableId, partition_key: &[u8], sort_key: &[u8]) -> Bytes {
    layout::dynamo(table, partition_key, ITEM, sort_key).into()
}

/// The key attributes of the item at an encoded key; `None` if it is no key of the table.
pub fn key_attributes(table: &Table, key: &[u8]) -> Option<Item> {
    let Ok(Key::Dynamo { table: id, partition_key, index: ITEM, sort_key }) = Key::decode(key) else { return None };
    (id == table.id).then_some(())?;
    let mut item = Item::from([(table.partition_key.name.clone(), decode_key_part(&partition_key)?)]);
    match &table.sort_key {
        Some(schema) => drop(item.insert(schema.name.clone(), decode_key_part(&sort_key)?)),
        None => sort_key.is_empty().then_some(())?,
    }
    Some(item)
}

/// The encoded keys of one partition's items.
pub fn partition_range(table: TableId, partition_key: &[u8]) -> KeyRange {
    // An empty sort key is its terminator alone.
    KeyRange::prefix(without_terminator(item_key(table, partition_key, b"")))
}

/// The encoded keys of those items of a partition of whose sort key this is true; `None`: there can be none.
///
/// # Panics
///
/// When a value of the test is none that a key may hold.
pub fn sort_range(table: TableId, partition_key: &[u8], test: &KeyTest) -> Option<KeyRange> {
    let key = |value: &AttributeValue| {
        let part = encode_key_part(value).expect("values of key conditions have a key's type");
        item_key(table, partition_key, &part)
    };
    let behind = |key: Bytes| Bytes::from([&key[..], &[0]].concat());
    let all = partition_range(table, partition_key);
    let (start, end) = (all.start().clone(), all.end().cloned());
    match test {
        KeyTest::Compare(Comparator::Equal, value) => KeyRange::new(key(value), Some(behind(key(value)))),
        KeyTest::Compare(Comparator::Less, value) => KeyRange::new(start, Some(key(value))),
        KeyTest::Compare(Comparator::LessOrEqual, value) => KeyRange::new(start, Some(behind(key(value)))),
        KeyTest::Compare(Comparator::Greater, value) => KeyRange::new(behind(key(value)), end),
        KeyTest::Compare(Comparator::GreaterOrEqual, value) => KeyRange::new(key(value), end),
        KeyTest::Compare(Comparator::NotEqual, _) => Some(all),
        KeyTest::Between(lower, upper) => KeyRange::new(key(lower), Some(behind(key(upper)))),
        KeyTest::BeginsWith(prefix) => Some(KeyRange::prefix(without_terminator(key(prefix)))),
    }
}

fn without_terminator(key: Bytes) -> Bytes {
    key.slice(..key.len() - TERMINATOR_BYTES)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use keyspace::Key;
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> AttributeValue {
        AttributeValue::N(text.parse().unwrap())
    }

    fn sort_keys(values: &[AttributeValue]) -> Vec<Bytes> {
        values.iter().map(|value| item_key(TableId(1), b"\x02p", &encode_key_part(value).unwrap())).collect()
    }

    #[test]
    fn numbers_sort_by_value_not_by_digits() {
        let keys = sort_keys(&["-1e10", "-2", "-1.5", "0", "1e-100", "9", "10", "1e125"].map(number));
        assert!(keys.is_sorted_by(|a, b| a < b));
        assert_eq!(encode_key_part(&number("1000")), encode_key_part(&number("1e3")));
        assert_eq!(encode_key_part(&number("1000")), encode_key_part(&number("+1000.0")));
    }

    #[test]
    fn only_scalars_make_keys() {
        assert_eq!(encode_key_part(&AttributeValue::Bool(true)), None);
        assert_eq!(encode_key_part(&AttributeValue::L(vec![])), None);
    }

    #[test]
    fn an_item_key_is_a_key_of_the_layout() {
        let part = encode_key_part(&AttributeValue::B(Bytes::from_static(b"\0\x01"))).unwrap();
        let key = item_key(TableId(7), &part, b"");
        let expected = Key::Dynamo { table: TableId(7), partition_key: part, index: 0, sort_key: vec![] };
        assert_eq!(Key::decode(&key).unwrap(), expected);
    }

    fn text(text: &str) -> AttributeValue {
        AttributeValue::S(text.into())
    }

    /// What a condition on sort keys says of a value.
    fn holds(test: &KeyTest, value: &AttributeValue) -> bool {
        use super::super::expression::compare;
        let at = |other: &AttributeValue| compare(value, other).unwrap();
        match test {
            KeyTest::Compare(Comparator::Equal, other) => at(other).is_eq(),
            KeyTest::Compare(Comparator::NotEqual, other) => at(other).is_ne(),
            KeyTest::Compare(Comparator::Less, other) => at(other).is_lt(),
            KeyTest::Compare(Comparator::LessOrEqual, other) => at(other).is_le(),
            KeyTest::Compare(Comparator::Greater, other) => at(other).is_gt(),
            KeyTest::Compare(Comparator::GreaterOrEqual, other) => at(other).is_ge(),
            KeyTest::Between(lower, upper) => at(lower).is_ge() && at(upper).is_le(),
            KeyTest::BeginsWith(prefix) => match (value, prefix) {
                (AttributeValue::S(text), AttributeValue::S(prefix)) => text.starts_with(prefix.as_str()),
                _ => false,
            },
        }
    }

    fn key_tests() -> impl Strategy<Value = KeyTest> {
        let value = "[ab\0é]{0,3}".prop_map(|value| text(&value));
        let comparator = prop::sample::select(
            Comparator::ALL.into_iter().filter(|known| *known != Comparator::NotEqual).collect::<Vec<_>>(),
        );
        prop_oneof![
            (comparator, value.clone()).prop_map(|(comparator, value)| KeyTest::Compare(comparator, value)),
            (value.clone(), value.clone()).prop_map(|(lower, upper)| KeyTest::Between(lower, upper)),
            value.prop_map(KeyTest::BeginsWith),
        ]
    }

    proptest! {
        #[test]
        fn a_range_of_sort_keys_holds_those_of_which_the_test_is_true(test in key_tests(), value in "[ab\0é]{0,4}") {
            let value = text(&value);
            let key = item_key(TableId(1), b"\x02p", &encode_key_part(&value).unwrap());
            let range = sort_range(TableId(1), b"\x02p", &test);
            prop_assert_eq!(range.is_some_and(|range| range.contains(&key)), holds(&test, &value));
            prop_assert!(partition_range(TableId(1), b"\x02p").contains(&key));
            let neighbour = item_key(TableId(1), b"\x02pp", &encode_key_part(&value).unwrap());
            prop_assert!(!partition_range(TableId(1), b"\x02p").contains(&neighbour));
        }

        #[test]
        fn texts_and_bytes_sort_as_they_are(a: Vec<u8>, b: Vec<u8>, c in ".{0,8}", d in ".{0,8}") {
            let keys = sort_keys(&[AttributeValue::B(a.clone().into()), AttributeValue::B(b.clone().into())]);
            prop_assert_eq!(keys[0].cmp(&keys[1]), a.cmp(&b));
            let keys = sort_keys(&[AttributeValue::S(c.clone()), AttributeValue::S(d.clone())]);
            prop_assert_eq!(keys[0].cmp(&keys[1]), c.cmp(&d));
        }
    }
}
