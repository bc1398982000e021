//! Projections: the parts of an item that are asked for, in the shape that they have in the item.
//!
//! What is not there is left out. Elements of lists move together: of `[a, b, c]`, indexes 2 and 0 give `[a, c]`.

use std::collections::BTreeMap;

use super::path::{Path, Step};
use crate::dynamo::value::{AttributeValue, Item};

/// Paths, none a part of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projection {
    /// In the order in which they were written.
    pub paths: Vec<Path>,
}

/// What of a value is asked for.
#[derive(Default)]
struct Wanted<'a> {
    /// All of it.
    whole: bool,
    members: BTreeMap<&'a str, Wanted<'a>>,
    elements: BTreeMap<usize, Wanted<'a>>,
}

impl Projection {
    /// Of whole attributes.
    pub fn of_attributes<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { paths: names.into_iter().map(Path::attribute).collect() }
    }

    /// The parts of an item.
    pub fn apply(&self, item: &Item) -> Item {
        let mut attributes: BTreeMap<&str, Wanted<'_>> = BTreeMap::new();
        for path in &self.paths {
            attributes.entry(&path.attribute).or_default().add(&path.steps);
        }
        members_of(item, &attributes)
    }
}

fn members_of(members: &Item, wanted: &BTreeMap<&str, Wanted<'_>>) -> Item {
    let part = |(name, wanted): (&&str, &Wanted<'_>)| Some(((*name).to_owned(), wanted.of(members.get(*name)?)?));
    wanted.iter().filter_map(part).collect()
}

impl<'a> Wanted<'a> {
    fn add(&mut self, steps: &'a [Step]) {
        match steps.split_first() {
            None => self.whole = true,
            Some((Step::Member(name), rest)) => self.members.entry(name).or_default().add(rest),
            Some((Step::Index(index), rest)) => self.elements.entry(*index).or_default().add(rest),
        }
    }

    /// `None`: nothing of the value is asked for.
    fn of(&self, value: &AttributeValue) -> Option<AttributeValue> {
        if self.whole {
            return Some(value.clone());
        }
        match value {
            AttributeValue::M(members) => {
                let found = members_of(members, &self.members);
                (!found.is_empty()).then_some(AttributeValue::M(found))
            }
            AttributeValue::L(values) => {
                let part = |(index, wanted): (&usize, &Wanted<'_>)| wanted.of(values.get(*index)?);
                let found: Vec<_> = self.elements.iter().filter_map(part).collect();
                (!found.is_empty()).then_some(AttributeValue::L(found))
            }
            _ => None,
        }
    }
}
