//! Attribute values and items, and their size by the rule that DynamoDB documents.
//!
//! Everything is in canonical form: numbers compare by value, sets and maps are ordered, so two equal items are equal
//! here and as records. Limits on depth and size are checked where a client's words are read, not here.
//!
//! Source: AWS Developer Guide, "DynamoDB item sizes and formats".

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use keyspace::decimal::Decimal;

/// How deep lists and maps may lie in one another; also the bound on the recursion of everything that walks a value.
pub const MAX_NESTING: usize = 32;

/// The largest item, in bytes by [`item_size`].
pub const MAX_ITEM_BYTES: usize = 400 * 1024;

/// An item: attributes by name.
pub type Item = BTreeMap<String, AttributeValue>;

/// The value of an attribute. Sets are never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// `S`: text.
    S(String),
    /// `N`: a number of up to 38 digits.
    N(Decimal),
    /// `B`: bytes.
    B(Bytes),
    /// `BOOL`
    Bool(bool),
    /// `NULL`
    Null,
    /// `M`: attributes by name.
    M(BTreeMap<String, AttributeValue>),
    /// `L`: values in order.
    L(Vec<AttributeValue>),
    /// `SS`: a set of texts.
    Ss(BTreeSet<String>),
    /// `NS`: a set of numbers.
    Ns(BTreeSet<Decimal>),
    /// `BS`: a set of byte strings.
    Bs(BTreeSet<Bytes>),
}

impl AttributeValue {
    /// The name of the type as the API writes it.
    pub fn type_name(&self) -> &'static str {
        match self {
            AttributeValue::S(_) => "S",
            AttributeValue::N(_) => "N",
            AttributeValue::B(_) => "B",
            AttributeValue::Bool(_) => "BOOL",
            AttributeValue::Null => "NULL",
            AttributeValue::M(_) => "M",
            AttributeValue::L(_) => "L",
            AttributeValue::Ss(_) => "SS",
            AttributeValue::Ns(_) => "NS",
            AttributeValue::Bs(_) => "BS",
        }
    }

    /// Bytes that count towards the limit of an item and towards consumed capacity.
    pub fn size(&self) -> usize {
        /// Of a list or map, whatever it holds.
        const DOCUMENT_BYTES: usize = 3;
        /// Of each element of a list or map, besides its own size.
        const ELEMENT_BYTES: usize = 1;
        match self {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(number) => number_size(number),
            AttributeValue::B(bytes) => bytes.len(),
            AttributeValue::Bool(_) | AttributeValue::Null => 1,
            AttributeValue::M(members) => DOCUMENT_BYTES + item_size(members) + members.len() * ELEMENT_BYTES,
            AttributeValue::L(values) => {
                DOCUMENT_BYTES + values.iter().map(|value| value.size() + ELEMENT_BYTES).sum::<usize>()
            }
            AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
            AttributeValue::Ns(numbers) => numbers.iter().map(number_size).sum(),
            AttributeValue::Bs(all) => all.iter().map(Bytes::len).sum(),
        }
    }
}

/// Bytes of an item: its attribute names in UTF-8 and their values.
pub fn item_size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value.size()).sum()
}

/// One byte for every two significant digits, one byte more, and one for a minus sign.
fn number_size(number: &Decimal) -> usize {
    /// Sign, magnitude and end of an ordered number; between them stand its digits in pairs. Zero is a single byte.
    const FRAME_BYTES: usize = 3;
    let mut ordered = Vec::with_capacity(22);
    number.encode_ordered(&mut ordered);
    ordered.len().saturating_sub(FRAME_BYTES) + 1 + usize::from(number.is_negative())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn number(text: &str) -> AttributeValue {
        AttributeValue::N(text.parse().unwrap())
    }

    fn text(text: &str) -> AttributeValue {
        AttributeValue::S(text.into())
    }

    #[test]
    fn sizes_follow_the_documented_rule() {
        let cases = [
            (text(""), 0),
            (text("naïve"), 6),
            (number("0"), 1),
            (number("7"), 2),
            (number("-7"), 3),
            (number("1234"), 3),
            (number("12345"), 4),
            (number("1000"), 2),
            (number("0.0001"), 2),
            (number("-12.50"), 4),
            (AttributeValue::B(Bytes::from_static(&[0, 1, 2])), 3),
            (AttributeValue::Bool(true), 1),
            (AttributeValue::Null, 1),
            (AttributeValue::L(vec![]), 3),
            (AttributeValue::L(vec![text("ab"), AttributeValue::Null]), 3 + 3 + 2),
            (AttributeValue::M(Item::new()), 3),
            (AttributeValue::M(Item::from([("k".into(), text("ab"))])), 3 + 1 + 2 + 1),
            (AttributeValue::Ss(["a".into(), "bc".into()].into()), 3),
            (AttributeValue::Ns(["1".parse().unwrap(), "22".parse().unwrap()].into()), 4),
            (AttributeValue::Bs([Bytes::from_static(b"abc")].into()), 3),
        ];
        for (value, size) in cases {
            assert_eq!(value.size(), size, "{value:?}");
        }
        assert_eq!(item_size(&Item::from([("id".into(), text("abc")), ("n".into(), number("1"))])), 2 + 3 + 1 + 2);
    }
}
