//! Conditions and filters: their tree, and what it says of an item.
//!
//! A missing attribute equals nothing: `a = b` is false where either is missing, and `a <> b` is true. Values of
//! different types are unequal, and neither is less than the other. Trees come from the parser or off the wire; both
//! bound their depth, so evaluation recurses.

use std::cmp::Ordering;

use bytes::Bytes;

use super::path::Path;
use crate::dynamo::value::{AttributeValue, Item};

/// Something that is true or false of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Both.
    And(Box<Condition>, Box<Condition>),
    /// At least one.
    Or(Box<Condition>, Box<Condition>),
    /// Not.
    Not(Box<Condition>),
    /// One operand beside another.
    Compare(Comparator, Operand, Operand),
    /// Between two bounds, both included.
    Between {
        /// What is looked at.
        operand: Operand,
        /// Not less than this.
        lower: Operand,
        /// Not more than this.
        upper: Operand,
    },
    /// Equal to one of these.
    In(Operand, Vec<Operand>),
    /// There is such an attribute.
    AttributeExists(Path),
    /// There is no such attribute.
    AttributeNotExists(Path),
    /// The attribute has the type of this name.
    AttributeType(Operand, String),
    /// Text or bytes that begin with others.
    BeginsWith(Operand, Operand),
    /// A part of a text or of bytes, an element of a set or list.
    Contains(Operand, Operand),
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparator {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparator {
    /// All of them.
    pub const ALL: [Comparator; 6] = [
        Comparator::Equal,
        Comparator::NotEqual,
        Comparator::Less,
        Comparator::LessOrEqual,
        Comparator::Greater,
        Comparator::GreaterOrEqual,
    ];

    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Comparator::Equal => "=",
            Comparator::NotEqual => "<>",
            Comparator::Less => "<",
            Comparator::LessOrEqual => "<=",
            Comparator::Greater => ">",
            Comparator::GreaterOrEqual => ">=",
        }
    }

    /// The one that says the same with its operands exchanged.
    pub fn mirrored(self) -> Self {
        match self {
            Comparator::Equal | Comparator::NotEqual => self,
            Comparator::Less => Comparator::Greater,
            Comparator::LessOrEqual => Comparator::GreaterOrEqual,
            Comparator::Greater => Comparator::Less,
            Comparator::GreaterOrEqual => Comparator::LessOrEqual,
        }
    }

    /// Whether it asks for an order, which only some types have.
    pub fn orders(self) -> bool {
        !matches!(self, Comparator::Equal | Comparator::NotEqual)
    }

    fn admits(self, order: Ordering) -> bool {
        match self {
            Comparator::Equal => order.is_eq(),
            Comparator::NotEqual => order.is_ne(),
            Comparator::Less => order.is_lt(),
            Comparator::LessOrEqual => order.is_le(),
            Comparator::Greater => order.is_gt(),
            Comparator::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// Something that has a value, or has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A value inside the item.
    Path(Path),
    /// A value of the request.
    Value(AttributeValue),
    /// How large a value is.
    Size(Box<Operand>),
}

impl Operand {
    fn attribute(&self) -> Option<&str> {
        match self {
            Operand::Path(path) => Some(&path.attribute),
            Operand::Value(_) => None,
            Operand::Size(of) => of.attribute(),
        }
    }

    fn value<'a>(&'a self, item: &'a Item) -> Option<Found<'a>> {
        match self {
            Operand::Path(path) => path.find(item).map(Found::There),
            Operand::Value(value) => Some(Found::There(value)),
            Operand::Size(of) => {
                let size = size(of.value(item)?.get())?;
                Some(Found::Computed(AttributeValue::N(size.to_string().parse().ok()?)))
            }
        }
    }
}

/// The value of an operand.
enum Found<'a> {
    There(&'a AttributeValue),
    Computed(AttributeValue),
}

impl Found<'_> {
    fn get(&self) -> &AttributeValue {
        match self {
            Found::There(value) => value,
            Found::Computed(value) => value,
        }
    }
}

/// Characters of a text (as UTF-16 counts them), bytes, elements. Other types have no size.
fn size(value: &AttributeValue) -> Option<usize> {
    match value {
        AttributeValue::S(text) => Some(text.encode_utf16().count()),
        AttributeValue::B(bytes) => Some(bytes.len()),
        AttributeValue::M(members) => Some(members.len()),
        AttributeValue::L(values) => Some(values.len()),
        AttributeValue::Ss(texts) => Some(texts.len()),
        AttributeValue::Ns(numbers) => Some(numbers.len()),
        AttributeValue::Bs(all) => Some(all.len()),
        AttributeValue::N(_) | AttributeValue::Bool(_) | AttributeValue::Null => None,
    }
}

/// How two values of one type are ordered; `None` for other types and for types without order.
pub fn compare(a: &AttributeValue, b: &AttributeValue) -> Option<Ordering> {
    match (a, b) {
        (AttributeValue::S(a), AttributeValue::S(b)) => Some(a.cmp(b)),
        (AttributeValue::N(a), AttributeValue::N(b)) => Some(a.cmp(b)),
        (AttributeValue::B(a), AttributeValue::B(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

impl Condition {
    /// The attributes that it looks at.
    pub fn attributes(&self) -> Vec<&str> {
        let mut found = Vec::new();
        let mut waiting = vec![self];
        while let Some(condition) = waiting.pop() {
            let operands: Vec<&Operand> = match condition {
                Condition::And(a, b) | Condition::Or(a, b) => {
                    waiting.extend([&**b, &**a]);
                    continue;
                }
                Condition::Not(condition) => {
                    waiting.push(condition);
                    continue;
                }
                Condition::AttributeExists(path) | Condition::AttributeNotExists(path) => {
                    found.push(path.attribute.as_str());
                    continue;
                }
                Condition::Compare(_, a, b) | Condition::BeginsWith(a, b) | Condition::Contains(a, b) => vec![a, b],
                Condition::Between { operand, lower, upper } => vec![operand, lower, upper],
                Condition::In(operand, choices) => std::iter::once(operand).chain(choices).collect(),
                Condition::AttributeType(operand, _) => vec![operand],
            };
            found.extend(operands.into_iter().filter_map(Operand::attribute));
        }
        found
    }

    /// Whether it is true of an item. Of no item, hand in an empty one.
    pub fn holds(&self, item: &Item) -> bool {
        match self {
            Condition::And(a, b) => a.holds(item) && b.holds(item),
            Condition::Or(a, b) => a.holds(item) || b.holds(item),
            Condition::Not(condition) => !condition.holds(item),
            Condition::Compare(comparator, a, b) => match (a.value(item), b.value(item)) {
                (Some(a), Some(b)) if comparator.orders() => {
                    compare(a.get(), b.get()).is_some_and(|order| comparator.admits(order))
                }
                (Some(a), Some(b)) => (a.get() == b.get()) == (*comparator == Comparator::Equal),
                (None, _) | (_, None) => *comparator == Comparator::NotEqual,
            },
            Condition::Between { operand, lower, upper } => {
                let not_less = |a: &Operand, b: &Operand| match (a.value(item), b.value(item)) {
                    (Some(a), Some(b)) => compare(a.get(), b.get()).is_some_and(Ordering::is_ge),
                    _ => false,
                };
                not_less(operand, lower) && not_less(upper, operand)
            }
            Condition::In(operand, choices) => operand.value(item).is_some_and(|value| {
                choices.iter().any(|choice| choice.value(item).is_some_and(|choice| choice.get() == value.get()))
            }),
            Condition::AttributeExists(path) => path.find(item).is_some(),
            Condition::AttributeNotExists(path) => path.find(item).is_none(),
            Condition::AttributeType(operand, name) => {
                operand.value(item).is_some_and(|value| value.get().type_name() == name)
            }
            Condition::BeginsWith(operand, prefix) => match (operand.value(item), prefix.value(item)) {
                (Some(value), Some(prefix)) => begins_with(value.get(), prefix.get()),
                _ => false,
            },
            Condition::Contains(operand, part) => match (operand.value(item), part.value(item)) {
                (Some(value), Some(part)) => contains(value.get(), part.get()),
                _ => false,
            },
        }
    }
}

fn begins_with(value: &AttributeValue, prefix: &AttributeValue) -> bool {
    match (value, prefix) {
        (AttributeValue::S(text), AttributeValue::S(prefix)) => text.starts_with(prefix.as_str()),
        (AttributeValue::B(bytes), AttributeValue::B(prefix)) => bytes.starts_with(prefix),
        _ => false,
    }
}

fn contains(value: &AttributeValue, part: &AttributeValue) -> bool {
    let holds = |bytes: &Bytes, part: &Bytes| part.is_empty() || bytes.windows(part.len()).any(|window| window == part);
    match (value, part) {
        (AttributeValue::S(text), AttributeValue::S(part)) => text.contains(part.as_str()),
        (AttributeValue::B(bytes), AttributeValue::B(part)) => holds(bytes, part),
        (AttributeValue::Ss(texts), AttributeValue::S(part)) => texts.contains(part),
        (AttributeValue::Ns(numbers), AttributeValue::N(part)) => numbers.contains(part),
        (AttributeValue::Bs(all), AttributeValue::B(part)) => all.contains(part),
        (AttributeValue::L(values), part) => values.contains(part),
        _ => false,
    }
}
