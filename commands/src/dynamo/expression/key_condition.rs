//! Key conditions: which neighbouring items of one partition a query is about.
//!
//! One comparison for equality with the partition key, and perhaps one comparison with the sort key.

use super::condition::{Comparator, Condition, Operand};
use super::path::Path;
use super::problem::{ExpressionError, Problem, Purpose};
use crate::dynamo::value::AttributeValue;

/// What a query says of the sort key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyTest {
    /// Compared with a value; never `<>`.
    Compare(Comparator, AttributeValue),
    /// Both bounds included.
    Between(AttributeValue, AttributeValue),
    /// Text or bytes that begin so.
    BeginsWith(AttributeValue),
}

impl KeyTest {
    /// Its values.
    pub fn values(&self) -> Vec<&AttributeValue> {
        match self {
            KeyTest::Compare(_, value) | KeyTest::BeginsWith(value) => vec![value],
            KeyTest::Between(lower, upper) => vec![lower, upper],
        }
    }
}

/// What the condition says of each attribute that it names.
pub fn key_tests(condition: Condition) -> Result<Vec<(String, KeyTest)>, ExpressionError> {
    let refuse = |problem| ExpressionError { purpose: Purpose::KeyCondition, problem };
    let mut tests: Vec<(String, KeyTest)> = Vec::new();
    let mut waiting = vec![condition];
    while let Some(condition) = waiting.pop() {
        if let Condition::And(first, second) = condition {
            waiting.extend([*second, *first]);
            continue;
        }
        let (path, test) = key_test(condition).map_err(refuse)?;
        if !path.steps.is_empty() {
            return Err(refuse(Problem::NestedKey));
        }
        if tests.iter().any(|(name, _)| *name == path.attribute) {
            return Err(refuse(Problem::TwoConditions));
        }
        tests.push((path.attribute, test));
    }
    Ok(tests)
}

fn key_test(condition: Condition) -> Result<(Path, KeyTest), Problem> {
    let operator = |operator: &str| Problem::KeyOperator { operator: operator.to_owned() };
    match condition {
        Condition::Compare(Comparator::NotEqual, ..) => Err(operator("<>")),
        Condition::Compare(comparator, Operand::Path(path), Operand::Value(value)) => {
            Ok((path, KeyTest::Compare(comparator, value)))
        }
        Condition::Compare(comparator, Operand::Value(value), Operand::Path(path)) => {
            Ok((path, KeyTest::Compare(comparator.mirrored(), value)))
        }
        Condition::Compare(_, Operand::Size(_), _) | Condition::Compare(_, _, Operand::Size(_)) => {
            Err(operator("size"))
        }
        Condition::Compare(comparator, ..) => Err(operator(comparator.symbol())),
        Condition::Between {
            operand: Operand::Path(path),
            lower: Operand::Value(lower),
            upper: Operand::Value(upper),
        } => Ok((path, KeyTest::Between(lower, upper))),
        Condition::BeginsWith(Operand::Path(path), Operand::Value(prefix)) => Ok((path, KeyTest::BeginsWith(prefix))),
        Condition::Between { .. } => Err(operator("BETWEEN")),
        Condition::BeginsWith(..) => Err(operator("begins_with")),
        Condition::And(..) => unreachable!("conjunctions were taken apart"),
        Condition::Or(..) => Err(operator("OR")),
        Condition::Not(_) => Err(operator("NOT")),
        Condition::In(..) => Err(operator("IN")),
        Condition::AttributeExists(_) => Err(operator("attribute_exists")),
        Condition::AttributeNotExists(_) => Err(operator("attribute_not_exists")),
        Condition::AttributeType(..) => Err(operator("attribute_type")),
        Condition::Contains(..) => Err(operator("contains")),
    }
}
