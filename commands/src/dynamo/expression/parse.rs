//! What the parsers of all expressions share: placeholders, paths, lists.
//!
//! Names and values are put in place while parsing. What is missing is noted as a problem and stands as itself in the
//! tree, which is then thrown away.

use std::collections::{BTreeMap, BTreeSet};

use super::lexer::{Kind, Token, Tokens};
use super::path::{MAX_ELEMENTS, Path, Relation, Step};
use super::problem::{ExpressionError, Problem, Problems, Purpose};
use super::projection::Projection;
use super::reserved::is_reserved;
use crate::dynamo::value::{AttributeValue, Item};

/// The names and values that a request defines for its expressions, and which of them were used.
#[derive(Clone, Debug, Default)]
pub struct Placeholders {
    names: BTreeMap<String, String>,
    values: Item,
    used: BTreeSet<String>,
}

impl Placeholders {
    /// `names` and `values` with their `#` and `:`.
    pub fn new(names: BTreeMap<String, String>, values: Item) -> Self {
        Self { names, values, used: BTreeSet::new() }
    }

    /// The sentence about what no expression has used, if there is such.
    pub fn unused(&self) -> Result<(), String> {
        let check = |parameter: &str, keys: Vec<&String>| {
            let unused: Vec<&str> =
                keys.into_iter().filter(|key| !self.used.contains(*key)).map(String::as_str).collect();
            match unused.is_empty() {
                true => Ok(()),
                false => {
                    Err(format!("Value provided in {parameter} unused in expressions: keys: {{{}}}", unused.join(", ")))
                }
            }
        };
        check("ExpressionAttributeNames", self.names.keys().collect())?;
        check("ExpressionAttributeValues", self.values.keys().collect())
    }
}

/// One expression while it is read.
pub(super) struct Parser<'a> {
    pub(super) tokens: Tokens<'a>,
    pub(super) problems: Problems,
    placeholders: &'a mut Placeholders,
}

/// Reads a whole expression with `read`, which leaves nothing behind.
pub(super) fn parse<T>(
    purpose: Purpose,
    text: &str,
    placeholders: &mut Placeholders,
    read: impl FnOnce(&mut Parser<'_>) -> Result<T, Problem>,
) -> Result<T, ExpressionError> {
    let fatal = |problem| ExpressionError { purpose, problem };
    let tokens = Tokens::of(text).map_err(fatal)?;
    let mut parser = Parser { tokens, problems: Problems::new(purpose), placeholders };
    let tree = read(&mut parser).map_err(fatal)?;
    if parser.tokens.peek().kind != Kind::End {
        return Err(fatal(parser.tokens.syntax_error()));
    }
    parser.problems.finish(tree)
}

/// Parses a ProjectionExpression.
pub fn parse_projection(text: &str, placeholders: &mut Placeholders) -> Result<Projection, ExpressionError> {
    parse(Purpose::Projection, text, placeholders, |parser| {
        let mut paths = Vec::new();
        loop {
            let path = parser.path()?;
            parser.add_distinct(&mut paths, path);
            if !parser.tokens.take(",") {
                return Ok(Projection { paths });
            }
        }
    })
}

impl Parser<'_> {
    /// A path that must be next.
    pub(super) fn path(&mut self) -> Result<Path, Problem> {
        let attribute = self.element()?;
        let mut steps = Vec::new();
        loop {
            if self.tokens.take(".") {
                steps.push(Step::Member(self.element()?));
            } else if self.tokens.take("[") {
                if self.tokens.peek().kind != Kind::Number {
                    return Err(self.tokens.syntax_error());
                }
                // No list is as long as the largest index that this can say.
                let index = self.tokens.next().text.parse::<u32>().unwrap_or(u32::MAX);
                self.tokens.expect("]")?;
                steps.push(Step::Index(usize::try_from(index).unwrap_or(usize::MAX)));
            } else {
                break;
            }
        }
        let levels = steps.len() + 1;
        if levels > MAX_ELEMENTS {
            self.problems.note(Problem::TooDeep { levels });
        }
        Ok(Path { attribute, steps })
    }

    /// A name, as it is or by its placeholder.
    fn element(&mut self) -> Result<String, Problem> {
        match self.tokens.peek() {
            Token { kind: Kind::Word, text, .. } => {
                self.tokens.next();
                if is_reserved(text) {
                    self.problems.note(Problem::Reserved { word: text.to_owned() });
                }
                Ok(text.to_owned())
            }
            Token { kind: Kind::Name, text, .. } => {
                self.tokens.next();
                self.placeholders.used.insert(text.to_owned());
                let name = self.placeholders.names.get(text).cloned();
                Ok(name.unwrap_or_else(|| {
                    self.problems.note(Problem::UndefinedName { name: text.to_owned() });
                    text.to_owned()
                }))
            }
            _ => Err(self.tokens.syntax_error()),
        }
    }

    /// A value of the request, if its placeholder is next.
    pub(super) fn value(&mut self) -> Option<AttributeValue> {
        let Token { kind: Kind::Value, text, .. } = self.tokens.peek() else { return None };
        self.tokens.next();
        self.placeholders.used.insert(text.to_owned());
        let value = self.placeholders.values.get(text).cloned();
        Some(value.unwrap_or_else(|| {
            self.problems.note(Problem::UndefinedValue { name: text.to_owned() });
            AttributeValue::Null
        }))
    }

    /// Adds a path that must lead apart from all others.
    pub(super) fn add_distinct(&mut self, paths: &mut Vec<Path>, path: Path) {
        for other in paths.iter() {
            let (one, two) = (other.to_string(), path.to_string());
            match other.relation(&path) {
                Relation::Apart => {}
                Relation::Overlap => self.problems.note(Problem::Overlap { one, two }),
                Relation::Conflict => self.problems.note(Problem::Conflict { one, two }),
            }
        }
        paths.push(path);
    }

    /// Whether a function call is next: a word and its parenthesis.
    pub(super) fn at_function(&self) -> bool {
        self.tokens.peek().kind == Kind::Word && self.tokens.peek_behind(1).is("(")
    }
}
