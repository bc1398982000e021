//! Document paths: from an item to a value inside it.

use std::fmt;

use crate::dynamo::value::{AttributeValue, Item};

/// Longest path, in elements.
pub const MAX_ELEMENTS: usize = 32;

/// `attribute.member[0]`, with all `#names` in place. Ordered element by element, list indexes by number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// The attribute of the item.
    pub attribute: String,
    /// From there inwards.
    pub steps: Vec<Step>,
}

/// One step inwards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// To a member of a map.
    Member(String),
    /// To an element of a list.
    Index(usize),
}

/// How two paths stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They lead apart.
    Apart,
    /// One is a part of the other, or they are equal.
    Overlap,
    /// Where they part, one expects a map and the other a list.
    Conflict,
}

impl Path {
    /// A whole attribute.
    pub fn attribute(name: impl Into<String>) -> Self {
        Self { attribute: name.into(), steps: Vec::new() }
    }

    /// The value at the path.
    pub fn find<'a>(&self, item: &'a Item) -> Option<&'a AttributeValue> {
        self.steps.iter().try_fold(item.get(&self.attribute)?, |value, step| step.find(value))
    }

    /// How this path stands to another one.
    pub fn relation(&self, other: &Path) -> Relation {
        if self.attribute != other.attribute {
            return Relation::Apart;
        }
        for pair in self.steps.iter().zip(&other.steps) {
            match pair {
                (a, b) if a == b => {}
                (Step::Member(_), Step::Member(_)) | (Step::Index(_), Step::Index(_)) => return Relation::Apart,
                (Step::Member(_), Step::Index(_)) | (Step::Index(_), Step::Member(_)) => return Relation::Conflict,
            }
        }
        Relation::Overlap
    }
}

impl Step {
    /// The value one step inwards.
    pub fn find<'a>(&self, value: &'a AttributeValue) -> Option<&'a AttributeValue> {
        match (self, value) {
            (Step::Member(name), AttributeValue::M(members)) => members.get(name),
            (Step::Index(index), AttributeValue::L(values)) => values.get(*index),
            _ => None,
        }
    }
}

impl fmt::Display for Path {
    /// As AWS names paths in its messages: `[a, b, [0]]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.attribute)?;
        for step in &self.steps {
            match step {
                Step::Member(name) => write!(f, ", {name}")?,
                Step::Index(index) => write!(f, ", [{index}]")?,
            }
        }
        f.write_str("]")
    }
}
