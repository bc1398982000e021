//! Trees of expressions as fields of a record, between gateway and leader.
//!
//! One tag byte for each node. Reading refuses what nests deeper than any expression could.

use super::condition::{Comparator, Condition, Operand};
use super::path::{MAX_ELEMENTS, Path, Step};
use super::projection::Projection;
use super::update::{Action, Sum, Term, Update};
use crate::dynamo::fields::{Fields, RecordError, put_bytes, put_length};
use crate::dynamo::record::{put_value, read_value};
use crate::dynamo::value::MAX_NESTING;

/// Deepest tree: each level takes an operator, of which an expression has 300.
const MAX_DEPTH: usize = 302;

const MEMBER: u8 = 1;
const INDEX: u8 = 2;

const AND: u8 = 1;
const OR: u8 = 2;
const NOT: u8 = 3;
const COMPARE: u8 = 4;
const BETWEEN: u8 = 5;
const IN: u8 = 6;
const EXISTS: u8 = 7;
const NOT_EXISTS: u8 = 8;
const TYPE: u8 = 9;
const BEGINS_WITH: u8 = 10;
const CONTAINS: u8 = 11;

const OF_PATH: u8 = 1;
const OF_VALUE: u8 = 2;
const OF_SIZE: u8 = 3;
const IF_NOT_EXISTS: u8 = 4;
const LIST_APPEND: u8 = 5;

const SET: u8 = 1;
const REMOVE: u8 = 2;
const ADD: u8 = 3;
const DELETE: u8 = 4;

const ONE: u8 = 1;
const PLUS: u8 = 2;
const MINUS: u8 = 3;

fn invalid(field: &'static str) -> RecordError {
    RecordError::Invalid { field }
}

fn deeper(depth: usize) -> Result<usize, RecordError> {
    depth.checked_sub(1).ok_or(invalid("depth of an expression"))
}

fn put_path(out: &mut Vec<u8>, path: &Path) {
    put_bytes(out, path.attribute.as_bytes());
    put_length(out, path.steps.len());
    for step in &path.steps {
        match step {
            Step::Member(name) => {
                out.push(MEMBER);
                put_bytes(out, name.as_bytes());
            }
            Step::Index(index) => {
                out.push(INDEX);
                out.extend(u32::try_from(*index).unwrap_or(u32::MAX).to_be_bytes());
            }
        }
    }
}

fn read_path(fields: &mut Fields<'_>) -> Result<Path, RecordError> {
    let attribute = fields.text("attribute name")?.to_owned();
    let count = fields.length("length of a path")?;
    if count >= MAX_ELEMENTS {
        return Err(invalid("length of a path"));
    }
    let step = |_| match fields.u8("step of a path")? {
        MEMBER => fields.text("member").map(|name| Step::Member(name.to_owned())),
        INDEX => fields.u32("index").map(|index| Step::Index(usize::try_from(index).unwrap_or(usize::MAX))),
        _ => Err(invalid("step of a path")),
    };
    Ok(Path { attribute, steps: (0..count).map(step).collect::<Result<_, _>>()? })
}

fn put_operand(out: &mut Vec<u8>, operand: &Operand) {
    match operand {
        Operand::Path(path) => {
            out.push(OF_PATH);
            put_path(out, path);
        }
        Operand::Value(value) => {
            out.push(OF_VALUE);
            put_value(out, value);
        }
        Operand::Size(of) => {
            out.push(OF_SIZE);
            put_operand(out, of);
        }
    }
}

fn read_operand(fields: &mut Fields<'_>, depth: usize) -> Result<Operand, RecordError> {
    let depth = deeper(depth)?;
    Ok(match fields.u8("operand")? {
        OF_PATH => Operand::Path(read_path(fields)?),
        OF_VALUE => Operand::Value(read_value(fields, MAX_NESTING)?),
        OF_SIZE => Operand::Size(Box::new(read_operand(fields, depth)?)),
        _ => return Err(invalid("operand")),
    })
}

/// Appends a condition.
pub fn put_condition(out: &mut Vec<u8>, condition: &Condition) {
    let both = |out: &mut Vec<u8>, tag: u8, a: &Operand, b: &Operand| {
        out.push(tag);
        put_operand(out, a);
        put_operand(out, b);
    };
    match condition {
        Condition::And(a, b) | Condition::Or(a, b) => {
            out.push(if matches!(condition, Condition::And(..)) { AND } else { OR });
            put_condition(out, a);
            put_condition(out, b);
        }
        Condition::Not(condition) => {
            out.push(NOT);
            put_condition(out, condition);
        }
        Condition::Compare(comparator, a, b) => {
            out.push(COMPARE);
            put_bytes(out, comparator.symbol().as_bytes());
            put_operand(out, a);
            put_operand(out, b);
        }
        Condition::Between { operand, lower, upper } => {
            both(out, BETWEEN, operand, lower);
            put_operand(out, upper);
        }
        Condition::In(operand, choices) => {
            out.push(IN);
            put_operand(out, operand);
            put_length(out, choices.len());
            choices.iter().for_each(|choice| put_operand(out, choice));
        }
        Condition::AttributeExists(path) => {
            out.push(EXISTS);
            put_path(out, path);
        }
        Condition::AttributeNotExists(path) => {
            out.push(NOT_EXISTS);
            put_path(out, path);
        }
        Condition::AttributeType(operand, name) => {
            out.push(TYPE);
            put_operand(out, operand);
            put_bytes(out, name.as_bytes());
        }
        Condition::BeginsWith(operand, prefix) => both(out, BEGINS_WITH, operand, prefix),
        Condition::Contains(operand, part) => both(out, CONTAINS, operand, part),
    }
}

/// Reads what [`put_condition`] appended.
pub fn read_condition(fields: &mut Fields<'_>) -> Result<Condition, RecordError> {
    condition_within(fields, MAX_DEPTH)
}

fn condition_within(fields: &mut Fields<'_>, depth: usize) -> Result<Condition, RecordError> {
    let depth = deeper(depth)?;
    let operand = |fields: &mut Fields<'_>| read_operand(fields, depth);
    Ok(match fields.u8("condition")? {
        AND => Condition::And(Box::new(condition_within(fields, depth)?), Box::new(condition_within(fields, depth)?)),
        OR => Condition::Or(Box::new(condition_within(fields, depth)?), Box::new(condition_within(fields, depth)?)),
        NOT => Condition::Not(Box::new(condition_within(fields, depth)?)),
        COMPARE => {
            let symbol = fields.text("comparator")?;
            let comparator = Comparator::ALL.into_iter().find(|comparator| comparator.symbol() == symbol);
            let comparator = comparator.ok_or(invalid("comparator"))?;
            Condition::Compare(comparator, operand(fields)?, operand(fields)?)
        }
        BETWEEN => Condition::Between { operand: operand(fields)?, lower: operand(fields)?, upper: operand(fields)? },
        IN => {
            let looked_at = operand(fields)?;
            let count = fields.length("number of choices")?;
            Condition::In(looked_at, (0..count).map(|_| operand(fields)).collect::<Result<_, _>>()?)
        }
        EXISTS => Condition::AttributeExists(read_path(fields)?),
        NOT_EXISTS => Condition::AttributeNotExists(read_path(fields)?),
        TYPE => Condition::AttributeType(operand(fields)?, fields.text("type name")?.to_owned()),
        BEGINS_WITH => Condition::BeginsWith(operand(fields)?, operand(fields)?),
        CONTAINS => Condition::Contains(operand(fields)?, operand(fields)?),
        _ => return Err(invalid("condition")),
    })
}

/// Appends a projection.
pub fn put_projection(out: &mut Vec<u8>, projection: &Projection) {
    put_length(out, projection.paths.len());
    projection.paths.iter().for_each(|path| put_path(out, path));
}

/// Reads what [`put_projection`] appended.
pub fn read_projection(fields: &mut Fields<'_>) -> Result<Projection, RecordError> {
    let count = fields.length("number of paths")?;
    Ok(Projection { paths: (0..count).map(|_| read_path(fields)).collect::<Result<_, _>>()? })
}

/// Appends an update.
pub fn put_update(out: &mut Vec<u8>, update: &Update) {
    put_length(out, update.actions.len());
    for action in &update.actions {
        let (tag, path) = match action {
            Action::Set(path, _) => (SET, path),
            Action::Remove(path) => (REMOVE, path),
            Action::Add(path, _) => (ADD, path),
            Action::Delete(path, _) => (DELETE, path),
        };
        out.push(tag);
        put_path(out, path);
        match action {
            Action::Set(_, sum) => put_sum(out, sum),
            Action::Remove(_) => {}
            Action::Add(_, value) | Action::Delete(_, value) => put_value(out, value),
        }
    }
}

/// Reads what [`put_update`] appended.
pub fn read_update(fields: &mut Fields<'_>) -> Result<Update, RecordError> {
    let count = fields.length("number of actions")?;
    let action = |_| {
        let tag = fields.u8("action")?;
        let path = read_path(fields)?;
        Ok(match tag {
            SET => Action::Set(path, read_sum(fields)?),
            REMOVE => Action::Remove(path),
            ADD => Action::Add(path, read_value(fields, MAX_NESTING)?),
            DELETE => Action::Delete(path, read_value(fields, MAX_NESTING)?),
            _ => return Err(invalid("action")),
        })
    };
    Ok(Update { actions: (0..count).map(action).collect::<Result<_, _>>()? })
}

fn put_sum(out: &mut Vec<u8>, sum: &Sum) {
    match sum {
        Sum::Value(term) => {
            out.push(ONE);
            put_term(out, term);
        }
        Sum::Plus(a, b) | Sum::Minus(a, b) => {
            out.push(if matches!(sum, Sum::Plus(..)) { PLUS } else { MINUS });
            put_term(out, a);
            put_term(out, b);
        }
    }
}

fn read_sum(fields: &mut Fields<'_>) -> Result<Sum, RecordError> {
    let term = |fields: &mut Fields<'_>| read_term(fields, MAX_DEPTH);
    Ok(match fields.u8("sum")? {
        ONE => Sum::Value(term(fields)?),
        PLUS => Sum::Plus(term(fields)?, term(fields)?),
        MINUS => Sum::Minus(term(fields)?, term(fields)?),
        _ => return Err(invalid("sum")),
    })
}

fn put_term(out: &mut Vec<u8>, term: &Term) {
    match term {
        Term::Path(path) => {
            out.push(OF_PATH);
            put_path(out, path);
        }
        Term::Value(value) => {
            out.push(OF_VALUE);
            put_value(out, value);
        }
        Term::IfNotExists(path, other) => {
            out.push(IF_NOT_EXISTS);
            put_path(out, path);
            put_term(out, other);
        }
        Term::ListAppend(first, second) => {
            out.push(LIST_APPEND);
            put_term(out, first);
            put_term(out, second);
        }
    }
}

fn read_term(fields: &mut Fields<'_>, depth: usize) -> Result<Term, RecordError> {
    let depth = deeper(depth)?;
    Ok(match fields.u8("term")? {
        OF_PATH => Term::Path(read_path(fields)?),
        OF_VALUE => Term::Value(read_value(fields, MAX_NESTING)?),
        IF_NOT_EXISTS => Term::IfNotExists(read_path(fields)?, Box::new(read_term(fields, depth)?)),
        LIST_APPEND => Term::ListAppend(Box::new(read_term(fields, depth)?), Box::new(read_term(fields, depth)?)),
        _ => return Err(invalid("term")),
    })
}
