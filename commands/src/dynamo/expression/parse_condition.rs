//! Parsing of conditions, filters and key conditions.
//!
//! Precedence: comparisons and functions, then NOT, AND, OR. Parentheses and operators wait on a stack of their own
//! ([`Waiting`]), so that no expression, however nested, uses the stack of the thread. A comparison is read in one go;
//! its operands may stand in one pair of parentheses each, and functions nest in functions only as far as the bound
//! on operators lets them.

use super::condition::{Comparator, Condition, Operand, compare};
use super::lexer::{Kind, Token};
use super::parse::{Parser, Placeholders, parse};
use super::problem::{ExpressionError, Problem, Purpose};
use crate::dynamo::value::AttributeValue;

/// Most operands in the list behind IN.
const MAX_CHOICES: usize = 100;
/// Names of attribute types.
const TYPES: [&str; 10] = ["B", "NULL", "SS", "BOOL", "L", "BS", "N", "NS", "S", "M"];

/// Parses a ConditionExpression, FilterExpression or KeyConditionExpression.
pub fn parse_condition(
    purpose: Purpose,
    text: &str,
    placeholders: &mut Placeholders,
) -> Result<Condition, ExpressionError> {
    parse(purpose, text, placeholders, |parser| parser.condition())
}

/// What waits for the condition to its right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Waiting {
    Parenthesis,
    Or,
    And,
    Not,
}

/// A condition that has been read, and whether parentheses of its own stand around it.
struct Read {
    condition: Condition,
    enclosed: bool,
}

/// An operand as it is written: more can be written than can be meant.
#[derive(Clone, Debug)]
enum Written {
    Operand(Operand),
    /// A function that says yes or no.
    Predicate(&'static str, Condition),
    /// Noted as a problem.
    Nonsense,
}

impl Parser<'_> {
    fn condition(&mut self) -> Result<Condition, Problem> {
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut done: Vec<Read> = Vec::new();
        loop {
            // An operand of AND, OR and NOT.
            if self.tokens.take_word("NOT") {
                waiting.push(Waiting::Not);
                continue;
            }
            if self.tokens.peek().is("(") && !self.encloses_operand() {
                self.tokens.next();
                waiting.push(Waiting::Parenthesis);
                continue;
            }
            let condition = self.comparison()?;
            done.push(Read { condition, enclosed: false });

            // What may stand behind it.
            loop {
                let token = self.tokens.peek();
                let operator = match () {
                    () if token.is_word("AND") => Waiting::And,
                    () if token.is_word("OR") => Waiting::Or,
                    () if token.is(")") => {
                        reduce(&mut waiting, &mut done, Waiting::Or);
                        if waiting.pop() != Some(Waiting::Parenthesis) {
                            return Err(self.tokens.syntax_error());
                        }
                        self.tokens.next();
                        if let Some(read) = done.last_mut()
                            && std::mem::replace(&mut read.enclosed, true)
                        {
                            self.problems.note(Problem::RedundantParentheses);
                        }
                        continue;
                    }
                    () => {
                        reduce(&mut waiting, &mut done, Waiting::Or);
                        return match (done.pop(), waiting.is_empty()) {
                            (Some(read), true) => Ok(read.condition),
                            _ => Err(self.tokens.syntax_error()),
                        };
                    }
                };
                self.tokens.next();
                reduce(&mut waiting, &mut done, operator);
                waiting.push(operator);
                break;
            }
        }
    }

    /// Whether the parenthesis that is next stands around an operand, not around a condition: `(a) = :b`.
    fn encloses_operand(&self) -> bool {
        let mut open = 0;
        for at in 0.. {
            let token = self.tokens.peek_behind(at);
            let keyword = |word: &&str| token.is_word(word);
            match () {
                () if token.is("(") => open += 1,
                () if token.is(")") => open -= 1,
                () if token.kind == Kind::End => return false,
                () if ["AND", "OR", "NOT", "BETWEEN", "IN"].iter().any(keyword) => return false,
                () if comparator(&token).is_some() => return false,
                () => {}
            }
            if open == 0 {
                let behind = self.tokens.peek_behind(at + 1);
                let compared = comparator(&behind).is_some() || behind.is_word("BETWEEN") || behind.is_word("IN");
                // Doubled parentheses around an operand: their inner pair ends before the outer one.
                return compared;
            }
        }
        false
    }

    /// A comparison, BETWEEN, IN, or a function that says yes or no.
    fn comparison(&mut self) -> Result<Condition, Problem> {
        let first = self.operand()?;
        let token = self.tokens.peek();
        if let Some(comparator) = comparator(&token) {
            self.tokens.next();
            let second = self.operand()?;
            let (a, b) = (self.plain(first), self.plain(second));
            self.check_distinct(comparator.symbol(), &a, &b);
            if comparator.orders() {
                self.check_ordered(comparator.symbol(), &a);
                self.check_ordered(comparator.symbol(), &b);
            }
            return Ok(Condition::Compare(comparator, a, b));
        }
        if self.tokens.take_word("BETWEEN") {
            let lower = self.operand()?;
            if !self.tokens.take_word("AND") {
                return Err(self.tokens.syntax_error());
            }
            let upper = self.operand()?;
            let (operand, lower, upper) = (self.plain(first), self.plain(lower), self.plain(upper));
            [&operand, &lower, &upper].into_iter().for_each(|operand| self.check_ordered("BETWEEN", operand));
            self.check_bounds(&lower, &upper);
            return Ok(Condition::Between { operand, lower, upper });
        }
        if self.tokens.take_word("IN") {
            self.tokens.expect("(")?;
            let mut choices = Vec::new();
            loop {
                let choice = self.operand()?;
                choices.push(self.plain(choice));
                if !self.tokens.take(",") {
                    break;
                }
            }
            self.tokens.expect(")")?;
            if choices.len() > MAX_CHOICES {
                self.problems.note(Problem::TooManyChoices { count: choices.len() });
            }
            let operand = self.plain(first);
            return Ok(Condition::In(operand, choices));
        }
        match first {
            Written::Predicate(_, condition) => Ok(condition),
            Written::Operand(Operand::Size(_)) => {
                self.problems.note(Problem::MisusedFunction { function: "size".into() });
                Ok(placeholder_condition())
            }
            Written::Nonsense => Ok(placeholder_condition()),
            Written::Operand(_) => Err(self.tokens.syntax_error()),
        }
    }

    /// A path, a value or a function, with or without parentheses around it.
    fn operand(&mut self) -> Result<Written, Problem> {
        if self.tokens.take("(") {
            let doubled = self.tokens.take("(");
            if self.tokens.peek().is("(") {
                return Err(Problem::RedundantParentheses);
            }
            let operand = self.bare_operand()?;
            if doubled {
                self.problems.note(Problem::RedundantParentheses);
                self.tokens.expect(")")?;
            }
            self.tokens.expect(")")?;
            return Ok(operand);
        }
        self.bare_operand()
    }

    fn bare_operand(&mut self) -> Result<Written, Problem> {
        if self.at_function()
            && !["AND", "OR", "NOT", "IN", "BETWEEN"].iter().any(|word| self.tokens.peek().is_word(word))
        {
            return self.function();
        }
        if let Some(value) = self.value() {
            return Ok(Written::Operand(Operand::Value(value)));
        }
        // These can only be operators here.
        if ["AND", "OR", "NOT", "IN", "BETWEEN"].iter().any(|word| self.tokens.peek().is_word(word)) {
            return Err(self.tokens.syntax_error());
        }
        self.path().map(|path| Written::Operand(Operand::Path(path)))
    }

    fn function(&mut self) -> Result<Written, Problem> {
        let name = self.tokens.next().text;
        self.tokens.expect("(")?;
        let mut operands = Vec::new();
        loop {
            let operand = self.operand()?;
            operands.push(self.plain(operand));
            if !self.tokens.take(",") {
                break;
            }
        }
        self.tokens.expect(")")?;
        Ok(self.call(name, operands))
    }

    /// An operand that has a value. A function that says yes or no has none.
    fn plain(&mut self, written: Written) -> Operand {
        match written {
            Written::Operand(operand) => operand,
            Written::Predicate(function, _) => {
                self.problems.note(Problem::MisusedFunction { function: function.to_owned() });
                Operand::Value(AttributeValue::Null)
            }
            Written::Nonsense => Operand::Value(AttributeValue::Null),
        }
    }

    /// Checks a function's operands.
    fn call(&mut self, name: &str, operands: Vec<Operand>) -> Written {
        const FUNCTIONS: [(&str, usize); 6] = [
            ("attribute_exists", 1),
            ("attribute_not_exists", 1),
            ("attribute_type", 2),
            ("begins_with", 2),
            ("contains", 2),
            ("size", 1),
        ];
        let Some((name, wanted)) = FUNCTIONS.into_iter().find(|(known, _)| *known == name) else {
            self.problems.note(Problem::UnknownFunction { function: name.to_owned() });
            return Written::Nonsense;
        };
        let count = operands.len();
        if count != wanted {
            self.problems.note(Problem::OperandCount { function: name.to_owned(), count });
            return if name == "size" { Written::Nonsense } else { Written::Predicate(name, placeholder_condition()) };
        }
        if let [a, b] = operands.as_slice() {
            self.check_distinct(name, a, b);
        }
        let mut operands = operands.into_iter();
        let (Some(first), second) = (operands.next(), operands.next()) else { return Written::Nonsense };
        let condition = match (name, first, second) {
            ("attribute_exists", Operand::Path(path), _) => Condition::AttributeExists(path),
            ("attribute_not_exists", Operand::Path(path), _) => Condition::AttributeNotExists(path),
            ("attribute_exists" | "attribute_not_exists", _, _) => {
                self.problems.note(Problem::NotAPath { function: name.to_owned() });
                placeholder_condition()
            }
            ("size", operand, _) => {
                if let Some(kind @ ("N" | "BOOL" | "NULL")) = static_type(&operand) {
                    self.note_type(name, kind);
                }
                return Written::Operand(Operand::Size(Box::new(operand)));
            }
            ("attribute_type", operand, Some(kind)) => self.attribute_type(operand, kind),
            ("begins_with", operand, Some(prefix)) => {
                for operand in [&operand, &prefix] {
                    if let Some(kind) = static_type(operand).filter(|kind| !["S", "B"].contains(kind)) {
                        self.note_type(name, kind);
                    }
                }
                Condition::BeginsWith(operand, prefix)
            }
            (_, operand, Some(part)) => Condition::Contains(operand, part),
            (_, _, None) => placeholder_condition(),
        };
        Written::Predicate(name, condition)
    }

    fn attribute_type(&mut self, operand: Operand, kind: Operand) -> Condition {
        match kind {
            Operand::Value(AttributeValue::S(name)) => {
                if !TYPES.contains(&name.as_str()) {
                    self.problems.note(Problem::UnknownType { name: name.clone() });
                }
                Condition::AttributeType(operand, name)
            }
            other => {
                self.note_type("attribute_type", static_type(&other).unwrap_or("{NS,SS,L,BS,N,M,B,BOOL,NULL,S}"));
                placeholder_condition()
            }
        }
    }

    fn note_type(&mut self, function: &str, kind: &str) {
        self.problems.note(Problem::OperandType { function: function.to_owned(), kind: kind.to_owned() });
    }

    fn check_distinct(&mut self, operator: &str, a: &Operand, b: &Operand) {
        if let (Operand::Path(a), Operand::Path(b)) = (a, b)
            && a == b
        {
            self.problems.note(Problem::SameOperand { operator: operator.to_owned(), path: a.to_string() });
        }
    }

    /// Only text, numbers and bytes have an order.
    fn check_ordered(&mut self, operator: &str, operand: &Operand) {
        if let Some(kind) = static_type(operand).filter(|kind| !["S", "N", "B"].contains(kind)) {
            self.note_type(operator, kind);
        }
    }

    fn check_bounds(&mut self, lower: &Operand, upper: &Operand) {
        let (Operand::Value(low), Operand::Value(high)) = (lower, upper) else { return };
        let (lower, upper) = (printed(low), printed(high));
        if low.type_name() != high.type_name() {
            self.problems.note(Problem::BoundTypes { lower, upper });
        } else if compare(low, high).is_some_and(std::cmp::Ordering::is_gt) {
            self.problems.note(Problem::BoundOrder { lower, upper });
        }
    }
}

/// Gives operators that bind at least as strongly as `operator` what they wait for.
fn reduce(waiting: &mut Vec<Waiting>, done: &mut Vec<Read>, operator: Waiting) {
    while let Some(top) = waiting.last().copied().filter(|top| *top >= operator) {
        let Some(right) = done.pop() else { return };
        let right = Box::new(right.condition);
        let condition = match top {
            Waiting::Not => Condition::Not(right),
            Waiting::And | Waiting::Or => {
                let Some(left) = done.pop() else { return };
                let left = Box::new(left.condition);
                if top == Waiting::And { Condition::And(left, right) } else { Condition::Or(left, right) }
            }
            Waiting::Parenthesis => unreachable!("a parenthesis binds more weakly than any operator"),
        };
        done.push(Read { condition, enclosed: false });
        waiting.pop();
    }
}

fn comparator(token: &Token<'_>) -> Option<Comparator> {
    Comparator::ALL.into_iter().find(|comparator| token.is(comparator.symbol()))
}

/// Stands where a problem was noted.
fn placeholder_condition() -> Condition {
    Condition::AttributeExists(super::path::Path::attribute(""))
}

/// The type of an operand, as far as it does not depend on the item.
fn static_type(operand: &Operand) -> Option<&'static str> {
    match operand {
        Operand::Path(_) => None,
        Operand::Value(value) => Some(value.type_name()),
        Operand::Size(_) => Some("N"),
    }
}

/// A value as AWS prints it in messages about bounds.
fn printed(value: &AttributeValue) -> String {
    match value {
        AttributeValue::S(text) => format!("{{S:{text}}}"),
        AttributeValue::N(number) => format!("{{N:{number}}}"),
        other => format!("{{{}:…}}", other.type_name()),
    }
}
