//! Parsing of update expressions: sections in any order, each at most once.

use super::lexer::Kind;
use super::parse::{Parser, Placeholders, parse};
use super::path::Path;
use super::problem::{ExpressionError, Problem, Purpose};
use super::update::{Action, Sum, Term, Update};
use crate::dynamo::value::AttributeValue;

/// Parses an UpdateExpression.
pub fn parse_update(text: &str, placeholders: &mut Placeholders) -> Result<Update, ExpressionError> {
    parse(Purpose::Update, text, placeholders, |parser| parser.update())
}

/// The sections of an update expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Set,
    Remove,
    Add,
    Delete,
}

impl Section {
    const ALL: [Section; 4] = [Section::Set, Section::Remove, Section::Add, Section::Delete];

    fn name(self) -> &'static str {
        match self {
            Section::Set => "SET",
            Section::Remove => "REMOVE",
            Section::Add => "ADD",
            Section::Delete => "DELETE",
        }
    }
}

impl Parser<'_> {
    fn update(&mut self) -> Result<Update, Problem> {
        let mut actions = Vec::new();
        let mut paths = Vec::new();
        let mut seen = Vec::new();
        loop {
            let found = Section::ALL.into_iter().find(|section| self.tokens.take_word(section.name()));
            let section = found.ok_or_else(|| self.tokens.syntax_error())?;
            if seen.contains(&section) {
                self.problems.note(Problem::SectionTwice { section: section.name() });
            }
            seen.push(section);
            loop {
                let path = self.path()?;
                self.add_distinct(&mut paths, path.clone());
                actions.push(self.action(section, path)?);
                if !self.tokens.take(",") {
                    break;
                }
            }
            if self.tokens.peek().kind == Kind::End {
                return Ok(Update { actions });
            }
        }
    }

    fn action(&mut self, section: Section, path: Path) -> Result<Action, Problem> {
        Ok(match section {
            Section::Set => {
                self.tokens.expect("=")?;
                Action::Set(path, self.sum()?)
            }
            Section::Remove => Action::Remove(path),
            Section::Add => Action::Add(path, self.section_value(section)?),
            Section::Delete => Action::Delete(path, self.section_value(section)?),
        })
    }

    /// The value behind the path of ADD and DELETE: a set, or a number to be added.
    fn section_value(&mut self, section: Section) -> Result<AttributeValue, Problem> {
        let value = self.value().ok_or_else(|| self.tokens.syntax_error())?;
        let kind = match &value {
            AttributeValue::Ss(_) | AttributeValue::Ns(_) | AttributeValue::Bs(_) => None,
            AttributeValue::N(_) if section == Section::Add => None,
            AttributeValue::N(_) => Some("NUMBER"),
            AttributeValue::S(_) => Some("STRING"),
            AttributeValue::B(_) => Some("BINARY"),
            AttributeValue::Bool(_) => Some("BOOLEAN"),
            AttributeValue::Null => Some("NULL"),
            AttributeValue::M(_) => Some("MAP"),
            AttributeValue::L(_) => Some("LIST"),
        };
        if let Some(kind) = kind {
            self.problems.note(Problem::SectionOperandType { section: section.name(), kind });
        }
        Ok(value)
    }

    /// One term, or two with plus or minus between them; perhaps in parentheses.
    fn sum(&mut self) -> Result<Sum, Problem> {
        // Parentheses around one term are that term's: `(a) + b`.
        let enclosed = self.tokens.peek().is("(") && self.encloses_sum();
        if enclosed {
            self.tokens.next();
        }
        let first = self.term()?;
        let operator = ["+", "-"].into_iter().find(|symbol| self.tokens.take(symbol));
        let sum = match operator {
            None => Sum::Value(first),
            Some(symbol) => {
                let second = self.term()?;
                for term in [&first, &second] {
                    if let Some(kind) = static_type(term).filter(|kind| *kind != "N") {
                        self.note_operand(symbol, kind);
                    }
                }
                if symbol == "+" { Sum::Plus(first, second) } else { Sum::Minus(first, second) }
            }
        };
        if enclosed {
            self.tokens.expect(")")?;
        }
        Ok(sum)
    }

    /// Whether the parenthesis that is next ends behind the whole value.
    fn encloses_sum(&self) -> bool {
        let mut open = 0_usize;
        for at in 0.. {
            let token = self.tokens.peek_behind(at);
            if token.kind == Kind::End {
                return false;
            }
            open += usize::from(token.is("("));
            open = open.saturating_sub(usize::from(token.is(")")));
            if open == 0 {
                let behind = self.tokens.peek_behind(at + 1);
                return !behind.is("+") && !behind.is("-");
            }
        }
        false
    }

    fn term(&mut self) -> Result<Term, Problem> {
        if self.tokens.take("(") {
            if self.tokens.peek().is("(") {
                return Err(Problem::RedundantParentheses);
            }
            let term = self.term()?;
            self.tokens.expect(")")?;
            return Ok(term);
        }
        if self.at_function() {
            return self.term_function();
        }
        match self.value() {
            Some(value) => Ok(Term::Value(value)),
            None => self.path().map(Term::Path),
        }
    }

    /// Functions nest as far as the bound on operators lets them.
    fn term_function(&mut self) -> Result<Term, Problem> {
        let name = self.tokens.next().text;
        self.tokens.expect("(")?;
        let mut operands = Vec::new();
        loop {
            operands.push(self.term()?);
            if !self.tokens.take(",") {
                break;
            }
        }
        self.tokens.expect(")")?;
        let count = operands.len();
        let nothing = Term::Value(AttributeValue::Null);
        if !["if_not_exists", "list_append"].contains(&name) {
            self.problems.note(Problem::UnknownFunction { function: name.to_owned() });
            return Ok(nothing);
        }
        let Ok([first, second]) = <[Term; 2]>::try_from(operands) else {
            self.problems.note(Problem::OperandCount { function: name.to_owned(), count });
            return Ok(nothing);
        };
        if name == "list_append" {
            for term in [&first, &second] {
                if let Some(kind) = static_type(term).filter(|kind| *kind != "L") {
                    self.note_operand(name, kind);
                }
            }
            return Ok(Term::ListAppend(Box::new(first), Box::new(second)));
        }
        match first {
            Term::Path(path) => Ok(Term::IfNotExists(path, Box::new(second))),
            _ => {
                self.problems.note(Problem::NotAPath { function: name.to_owned() });
                Ok(nothing)
            }
        }
    }

    fn note_operand(&mut self, function: &str, kind: &str) {
        self.problems.note(Problem::OperandType { function: function.to_owned(), kind: kind.to_owned() });
    }
}

/// The type of a term, as far as it does not depend on the item.
fn static_type(term: &Term) -> Option<&'static str> {
    match term {
        Term::Value(value) => Some(value.type_name()),
        Term::ListAppend(..) => Some("L"),
        Term::Path(_) | Term::IfNotExists(..) => None,
    }
}
