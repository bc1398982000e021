//! Updates: their tree, and the item that comes of them.
//!
//! Every operand is evaluated against the item as it was before. Then values are put in place, in the order of their
//! paths, so that indexes beyond the end of a list append in the order of their numbers. Last come removals, in the
//! opposite order, so that each index still means what it meant before.
//!
//! Source: AWS Developer Guide, "Update expressions".

use std::collections::BTreeSet;

use keyspace::decimal::DecimalError;
use thiserror::Error;

use super::path::{Path, Step};
use super::projection::Projection;
use crate::dynamo::value::{AttributeValue, Item, MAX_NESTING};

/// What shall become of an item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Their paths lead apart.
    pub actions: Vec<Action>,
}

/// One action of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `SET path = value`
    Set(Path, Sum),
    /// `REMOVE path`
    Remove(Path),
    /// `ADD path value`: a number to a number, elements to a set.
    Add(Path, AttributeValue),
    /// `DELETE path value`: elements from a set.
    Delete(Path, AttributeValue),
}

/// What is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sum {
    /// One value.
    Value(Term),
    /// The sum of two numbers.
    Plus(Term, Term),
    /// The difference of two numbers.
    Minus(Term, Term),
}

/// An operand of what is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// A value inside the item.
    Path(Path),
    /// A value of the request.
    Value(AttributeValue),
    /// What is at the path, or else this.
    IfNotExists(Path, Box<Term>),
    /// One list behind another.
    ListAppend(Box<Term>, Box<Term>),
}

/// Why an item cannot be updated. The texts are AWS'.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UpdateError {
    /// What would hold the value is not there, or is no map or list.
    #[error("The document path provided in the update expression is invalid for update")]
    InvalidPath,
    /// An operand is not there.
    #[error("The provided expression refers to an attribute that does not exist in the item")]
    Missing,
    /// An operand has the wrong type.
    #[error("An operand in the update expression has an incorrect data type")]
    WrongType,
    /// The item would be nested more deeply than items may be.
    #[error("Nesting Levels have exceeded supported limits")]
    TooDeep,
    /// A sum is no number of DynamoDB.
    #[error(transparent)]
    Number(#[from] DecimalError),
}

impl Action {
    /// What it changes.
    pub fn path(&self) -> &Path {
        match self {
            Action::Set(path, _) | Action::Remove(path) | Action::Add(path, _) | Action::Delete(path, _) => path,
        }
    }
}

impl Update {
    /// Whether it can only take something away: of no item, that makes none.
    pub fn only_removes(&self) -> bool {
        let removes = |action: &Action| matches!(action, Action::Remove(_) | Action::Delete(..));
        !self.actions.is_empty() && self.actions.iter().all(removes)
    }

    /// The parts of an item that it is about.
    pub fn touched(&self) -> Projection {
        Projection { paths: self.actions.iter().map(|action| action.path().clone()).collect() }
    }

    /// The item afterwards.
    pub fn apply(&self, item: &Item) -> Result<Item, UpdateError> {
        let mut values: Vec<(&Path, AttributeValue)> = Vec::new();
        let mut removals: BTreeSet<&Path> = BTreeSet::new();
        for action in &self.actions {
            match action {
                Action::Set(path, sum) => values.push((path, sum.value(item)?)),
                Action::Add(path, value) => values.push((path, added(path.find(item), value)?)),
                Action::Remove(path) => drop(removals.insert(path)),
                Action::Delete(path, value) => match path.find(item) {
                    Some(old) => match without(old, value)? {
                        Some(rest) => values.push((path, rest)),
                        None => drop(removals.insert(path)),
                    },
                    None => check_reachable(item, path)?,
                },
            }
        }
        for path in &removals {
            check_reachable(item, path)?;
        }
        values.sort_by_key(|(path, _)| *path);
        let mut updated = item.clone();
        for (path, value) in values {
            put(&mut updated, path, value)?;
        }
        for path in removals.into_iter().rev() {
            remove(&mut updated, path);
        }
        let too_deep = |value: &AttributeValue| !nests_within(value, MAX_NESTING);
        if updated.values().any(too_deep) { Err(UpdateError::TooDeep) } else { Ok(updated) }
    }
}

impl Sum {
    fn value(&self, item: &Item) -> Result<AttributeValue, UpdateError> {
        let numbers = |a: &Term, b: &Term| match (a.value(item)?, b.value(item)?) {
            (AttributeValue::N(a), AttributeValue::N(b)) => Ok((a, b)),
            _ => Err(UpdateError::WrongType),
        };
        Ok(match self {
            Sum::Value(term) => term.value(item)?,
            Sum::Plus(a, b) => {
                let (a, b) = numbers(a, b)?;
                AttributeValue::N(a.checked_add(&b)?)
            }
            Sum::Minus(a, b) => {
                let (a, b) = numbers(a, b)?;
                AttributeValue::N(a.checked_sub(&b)?)
            }
        })
    }
}

impl Term {
    fn value(&self, item: &Item) -> Result<AttributeValue, UpdateError> {
        match self {
            Term::Path(path) => path.find(item).cloned().ok_or(UpdateError::Missing),
            Term::Value(value) => Ok(value.clone()),
            Term::IfNotExists(path, other) => {
                path.find(item).map_or_else(|| other.value(item), |found| Ok(found.clone()))
            }
            Term::ListAppend(first, second) => match (first.value(item)?, second.value(item)?) {
                (AttributeValue::L(mut first), AttributeValue::L(second)) => {
                    first.extend(second);
                    Ok(AttributeValue::L(first))
                }
                _ => Err(UpdateError::WrongType),
            },
        }
    }
}

/// What ADD makes of a value.
fn added(old: Option<&AttributeValue>, value: &AttributeValue) -> Result<AttributeValue, UpdateError> {
    Ok(match (old, value) {
        (None, value) => value.clone(),
        (Some(AttributeValue::N(old)), AttributeValue::N(value)) => AttributeValue::N(old.checked_add(value)?),
        (Some(AttributeValue::Ss(old)), AttributeValue::Ss(more)) => AttributeValue::Ss(old | more),
        (Some(AttributeValue::Ns(old)), AttributeValue::Ns(more)) => AttributeValue::Ns(old | more),
        (Some(AttributeValue::Bs(old)), AttributeValue::Bs(more)) => AttributeValue::Bs(old | more),
        _ => return Err(UpdateError::WrongType),
    })
}

/// What DELETE leaves of a set; `None`: nothing, and no set is empty.
fn without(old: &AttributeValue, value: &AttributeValue) -> Result<Option<AttributeValue>, UpdateError> {
    fn rest<T: Ord + Clone>(
        old: &BTreeSet<T>,
        fewer: &BTreeSet<T>,
        of: fn(BTreeSet<T>) -> AttributeValue,
    ) -> Option<AttributeValue> {
        let left = old - fewer;
        (!left.is_empty()).then(|| of(left))
    }
    match (old, value) {
        (AttributeValue::Ss(old), AttributeValue::Ss(fewer)) => Ok(rest(old, fewer, AttributeValue::Ss)),
        (AttributeValue::Ns(old), AttributeValue::Ns(fewer)) => Ok(rest(old, fewer, AttributeValue::Ns)),
        (AttributeValue::Bs(old), AttributeValue::Bs(fewer)) => Ok(rest(old, fewer, AttributeValue::Bs)),
        _ => Err(UpdateError::WrongType),
    }
}

/// Whether there is a map or list that could hold what the path names.
fn check_reachable(item: &Item, path: &Path) -> Result<(), UpdateError> {
    let Some((last, holder)) = path.steps.split_last() else { return Ok(()) };
    let holder = Path { attribute: path.attribute.clone(), steps: holder.to_vec() };
    match (holder.find(item), last) {
        (Some(AttributeValue::M(_)), Step::Member(_)) | (Some(AttributeValue::L(_)), Step::Index(_)) => Ok(()),
        _ => Err(UpdateError::InvalidPath),
    }
}

/// The value that holds what the last step of a path names.
fn holder<'a>(item: &'a mut Item, path: &Path, steps: &[Step]) -> Option<&'a mut AttributeValue> {
    steps.iter().try_fold(item.get_mut(&path.attribute)?, |value, step| match (step, value) {
        (Step::Member(name), AttributeValue::M(members)) => members.get_mut(name),
        (Step::Index(index), AttributeValue::L(values)) => values.get_mut(*index),
        _ => None,
    })
}

fn put(item: &mut Item, path: &Path, value: AttributeValue) -> Result<(), UpdateError> {
    let Some((last, steps)) = path.steps.split_last() else {
        item.insert(path.attribute.clone(), value);
        return Ok(());
    };
    match (holder(item, path, steps), last) {
        (Some(AttributeValue::M(members)), Step::Member(name)) => drop(members.insert(name.clone(), value)),
        (Some(AttributeValue::L(values)), Step::Index(index)) => match values.get_mut(*index) {
            Some(old) => *old = value,
            None => values.push(value),
        },
        _ => return Err(UpdateError::InvalidPath),
    }
    Ok(())
}

/// What is not there is removed already.
fn remove(item: &mut Item, path: &Path) {
    let Some((last, steps)) = path.steps.split_last() else {
        item.remove(&path.attribute);
        return;
    };
    match (holder(item, path, steps), last) {
        (Some(AttributeValue::M(members)), Step::Member(name)) => drop(members.remove(name)),
        (Some(AttributeValue::L(values)), Step::Index(index)) if *index < values.len() => drop(values.remove(*index)),
        _ => {}
    }
}

/// Whether a value has at most so many levels of lists and maps.
fn nests_within(value: &AttributeValue, levels: usize) -> bool {
    match value {
        AttributeValue::M(members) => levels > 0 && members.values().all(|value| nests_within(value, levels - 1)),
        AttributeValue::L(values) => levels > 0 && values.iter().all(|value| nests_within(value, levels - 1)),
        _ => true,
    }
}
