//! What can be wrong with an expression, in AWS' sentences, and which of several problems is reported.
//!
//! A parser goes on behind a problem that leaves it a tree, and keeps the one that AWS would report: its validation
//! passes over the whole expression once for each class of problems ([`Problem::rank`]).

use thiserror::Error;

/// What an expression is for; the name of its parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `ConditionExpression`
    Condition,
    /// `FilterExpression`
    Filter,
    /// `KeyConditionExpression`
    KeyCondition,
    /// `ProjectionExpression`
    Projection,
    /// `UpdateExpression`
    Update,
}

impl Purpose {
    /// The name of the parameter.
    pub fn parameter(self) -> &'static str {
        match self {
            Purpose::Condition => "ConditionExpression",
            Purpose::Filter => "FilterExpression",
            Purpose::KeyCondition => "KeyConditionExpression",
            Purpose::Projection => "ProjectionExpression",
            Purpose::Update => "UpdateExpression",
        }
    }
}

/// An expression that is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("Invalid {}: {problem}", .purpose.parameter())]
pub struct ExpressionError {
    /// Which of the request's expressions.
    pub purpose: Purpose,
    /// Why.
    pub problem: Problem,
}

/// Why an expression is refused. The texts are AWS'.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Problem {
    #[error("The expression can not be empty;")]
    Empty,
    #[error("Expression size has exceeded the maximum allowed size; expression size: {bytes}")]
    TooLong { bytes: usize },
    #[error("The expression contains too many operators; operator count: {count}")]
    TooManyOperators { count: usize },
    #[error("Syntax error; token: \"{token}\", near: \"{near}\"")]
    Syntax { token: String, near: String },
    #[error("The expression has redundant parentheses;")]
    RedundantParentheses,
    #[error("Attribute name is a reserved keyword; reserved keyword: {word}")]
    Reserved { word: String },
    #[error("Invalid function name; function: {function}")]
    UnknownFunction { function: String },
    #[error("The function is not allowed to be used this way in an expression; function: {function}")]
    MisusedFunction { function: String },
    #[error("The \"{section}\" section can only be used once in an update expression;")]
    SectionTwice { section: &'static str },
    #[error("An expression attribute name used in the document path is not defined; attribute name: {name}")]
    UndefinedName { name: String },
    #[error("An expression attribute value used in expression is not defined; attribute value: {name}")]
    UndefinedValue { name: String },
    #[error(
        "Incorrect number of operands for operator or function; operator or function: {function}, number of operands: \
         {count}"
    )]
    OperandCount { function: String, count: usize },
    #[error(
        "The first operand must be distinct from the remaining operands for this operator or function; operator: \
         {operator}, first operand: {path}"
    )]
    SameOperand { operator: String, path: String },
    #[error("Operator or function requires a document path; operator or function: {function}")]
    NotAPath { function: String },
    #[error("Incorrect operand type for operator or function; operator or function: {function}, operand type: {kind}")]
    OperandType { function: String, kind: String },
    #[error(
        "Incorrect operand type for operator or function; operator: {section}, operand type: {kind}, typeSet: \
         ALLOWED_FOR_{section}_OPERAND"
    )]
    SectionOperandType { section: &'static str, kind: &'static str },
    #[error("Invalid attribute type name found; type: {name}, valid types: {{B,NULL,SS,BOOL,L,BS,N,NS,S,M}}")]
    UnknownType { name: String },
    #[error(
        "The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: \
         AttributeValue: {lower}, upper bound operand: AttributeValue: {upper}"
    )]
    BoundTypes { lower: String, upper: String },
    #[error(
        "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: \
         AttributeValue: {lower}, upper bound operand: AttributeValue: {upper}"
    )]
    BoundOrder { lower: String, upper: String },
    #[error("The IN operator is provided with too many operands; number of operands: {count}")]
    TooManyChoices { count: usize },
    #[error(
        "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: {one}, path \
         two: {two}"
    )]
    Overlap { one: String, two: String },
    #[error(
        "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: {one}, \
         path two: {two}"
    )]
    Conflict { one: String, two: String },
    #[error("The document path has too many nesting levels; nesting levels: {levels}")]
    TooDeep { levels: usize },
    #[error("Invalid operator used in KeyConditionExpression: {operator}")]
    KeyOperator { operator: String },
    #[error("KeyConditionExpressions cannot have conditions on nested attributes")]
    NestedKey,
    #[error("KeyConditionExpressions must only contain one condition per key")]
    TwoConditions,
}

impl Problem {
    /// Lower is reported first. Problems that end the parsing at once have none above them.
    fn rank(&self, purpose: Purpose) -> u8 {
        match self {
            Problem::Empty | Problem::TooLong { .. } | Problem::Syntax { .. } | Problem::TooManyOperators { .. } => 0,
            Problem::RedundantParentheses => 1,
            Problem::Reserved { .. } if purpose == Purpose::Update => 2,
            Problem::UnknownFunction { .. } => 3,
            Problem::MisusedFunction { .. } => 4,
            Problem::Reserved { .. } => 5,
            Problem::SectionTwice { .. } => 6,
            Problem::UndefinedName { .. } | Problem::UndefinedValue { .. } => 7,
            Problem::TooDeep { .. } => 8,
            Problem::Overlap { .. } => 9,
            Problem::Conflict { .. } => 10,
            Problem::OperandCount { .. } => 11,
            Problem::SameOperand { .. } => 12,
            Problem::SectionOperandType { .. }
            | Problem::NotAPath { .. }
            | Problem::OperandType { .. }
            | Problem::UnknownType { .. }
            | Problem::BoundTypes { .. }
            | Problem::BoundOrder { .. }
            | Problem::TooManyChoices { .. } => 13,
            Problem::KeyOperator { .. } | Problem::NestedKey | Problem::TwoConditions => 14,
        }
    }
}

/// The problem that is reported of those found so far: the first of the lowest rank.
#[derive(Debug)]
pub(super) struct Problems {
    purpose: Purpose,
    first: Option<(u8, Problem)>,
}

impl Problems {
    pub(super) fn new(purpose: Purpose) -> Self {
        Self { purpose, first: None }
    }

    pub(super) fn note(&mut self, problem: Problem) {
        let rank = problem.rank(self.purpose);
        if self.first.as_ref().is_none_or(|(first, _)| rank < *first) {
            self.first = Some((rank, problem));
        }
    }

    /// The tree, if nothing was wrong with it.
    pub(super) fn finish<T>(self, tree: T) -> Result<T, ExpressionError> {
        match self.first {
            None => Ok(tree),
            Some((_, problem)) => Err(ExpressionError { purpose: self.purpose, problem }),
        }
    }
}
