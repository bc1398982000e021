//! Key attributes: which attributes of an item make its key, and their order-preserving bytes.
//!
//! A key part is a type byte and its content: text in UTF-8, bytes as they are, numbers in the order-preserving form of
//! `keyspace::decimal`. All keys of one table have the same types, so the type byte never decides an order; it keeps
//! keys readable without the table's descriptor.

use bytes::Bytes;
use keyspace::codec::Reader;
use keyspace::decimal::Decimal;
use keyspace::{Key, TableId, layout};

use super::index::ITEMS;
use super::table::Table;
use super::value::{AttributeValue, Item};

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
pub(super) fn decode_key_part(part: &[u8]) -> Option<AttributeValue> {
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
    layout::dynamo(table, partition_key, ITEMS, sort_key).into()
}

/// The key attributes of the item at an encoded key; `None` if it is no key of the table.
pub fn key_attributes(table: &Table, key: &[u8]) -> Option<Item> {
    let Ok(Key::Dynamo { table: id, partition_key, index: ITEMS, sort_key }) = Key::decode(key) else { return None };
    (id == table.id).then_some(())?;
    let mut item = Item::from([(table.partition_key.name.clone(), decode_key_part(&partition_key)?)]);
    match &table.sort_key {
        Some(schema) => drop(item.insert(schema.name.clone(), decode_key_part(&sort_key)?)),
        None => sort_key.is_empty().then_some(())?,
    }
    Some(item)
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

    proptest! {
        #[test]
        fn texts_and_bytes_sort_as_they_are(a: Vec<u8>, b: Vec<u8>, c in ".{0,8}", d in ".{0,8}") {
            let keys = sort_keys(&[AttributeValue::B(a.clone().into()), AttributeValue::B(b.clone().into())]);
            prop_assert_eq!(keys[0].cmp(&keys[1]), a.cmp(&b));
            let keys = sort_keys(&[AttributeValue::S(c.clone()), AttributeValue::S(d.clone())]);
            prop_assert_eq!(keys[0].cmp(&keys[1]), c.cmp(&d));
        }
    }
}
