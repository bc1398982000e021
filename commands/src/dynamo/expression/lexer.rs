//! Expressions as tokens.
//!
//! The lexer also counts operators, so that an expression with too many of them is refused before anything recurses
//! over it: each level of a tree takes an operator.

use super::problem::Problem;

/// Longest expression in bytes.
const MAX_BYTES: usize = 4096;
/// Most operators and functions of an expression.
const MAX_OPERATORS: usize = 300;

/// What a token is; its text stands in the [`Token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A bare name, which may be a keyword where one can stand.
    Word,
    /// `#name`
    Name,
    /// `:value`
    Value,
    /// Digits.
    Number,
    /// Punctuation and operators.
    Symbol,
    End,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    start: usize,
}

impl Token<'_> {
    pub(super) fn is(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }

    /// Capitals make no difference.
    pub(super) fn is_word(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// The tokens of one expression. Behind the last stands [`Kind::End`], for ever.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    text: &'a str,
    all: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn of(text: &'a str) -> Result<Self, Problem> {
        if text.len() > MAX_BYTES {
            return Err(Problem::TooLong { bytes: text.len() });
        }
        let mut tokens = Self { text, all: Vec::new(), at: 0 };
        let mut start = 0;
        while let Some(first) = text[start..].chars().next() {
            let rest = &text[start..];
            if matches!(first, ' ' | '\t' | '\r' | '\n') {
                start += 1;
                continue;
            }
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let run = |from: usize, part: fn(char) -> bool| {
                rest[from..].find(|c: char| !part(c)).map_or(rest.len(), |length| from + length)
            };
            let (kind, length) = match first {
                'a'..='z' | 'A'..='Z' | '_' => (Kind::Word, run(0, |c| c.is_ascii_alphanumeric() || c == '_')),
                '0'..='9' => (Kind::Number, run(0, |c| c.is_ascii_digit())),
                '#' | ':' if rest[1..].starts_with(is_part) => {
                    let kind = if first == '#' { Kind::Name } else { Kind::Value };
                    (kind, run(1, |c| c.is_ascii_alphanumeric() || c == '_'))
                }
                '<' if rest.starts_with("<>") || rest.starts_with("<=") => (Kind::Symbol, 2),
                '>' if rest.starts_with(">=") => (Kind::Symbol, 2),
                '(' | ')' | '[' | ']' | '.' | ',' | '=' | '<' | '>' | '+' | '-' => (Kind::Symbol, 1),
                other => {
                    tokens.all.push(Token { kind: Kind::Symbol, text: &rest[..other.len_utf8()], start });
                    tokens.at = tokens.all.len() - 1;
                    return Err(tokens.syntax_error());
                }
            };
            tokens.all.push(Token { kind, text: &rest[..length], start });
            start += length;
        }
        if tokens.all.is_empty() {
            return Err(Problem::Empty);
        }
        let count = tokens.operators();
        if count > MAX_OPERATORS {
            return Err(Problem::TooManyOperators { count });
        }
        Ok(tokens)
    }

    /// Comparators, keywords between operands, functions, plus and minus.
    fn operators(&self) -> usize {
        const SYMBOLS: [&str; 8] = ["=", "<>", "<", "<=", ">", ">=", "+", "-"];
        const KEYWORDS: [&str; 5] = ["AND", "OR", "NOT", "BETWEEN", "IN"];
        let is_operator = |(at, token): (usize, &Token<'_>)| match token.kind {
            Kind::Symbol => SYMBOLS.contains(&token.text),
            Kind::Word => {
                KEYWORDS.iter().any(|keyword| token.is_word(keyword)) || self.all.get(at + 1).is_some_and(|t| t.is("("))
            }
            _ => false,
        };
        self.all.iter().enumerate().filter(|found| is_operator(*found)).count()
    }

    pub(super) fn peek(&self) -> Token<'a> {
        self.peek_behind(0)
    }

    /// The token behind the next `count` ones.
    pub(super) fn peek_behind(&self, count: usize) -> Token<'a> {
        let end = Token { kind: Kind::End, text: "", start: self.text.len() };
        self.all.get(self.at + count).copied().unwrap_or(end)
    }

    pub(super) fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at = (self.at + 1).min(self.all.len());
        token
    }

    /// Passes over a symbol if it is next.
    pub(super) fn take(&mut self, symbol: &str) -> bool {
        let found = self.peek().is(symbol);
        self.at += usize::from(found);
        found
    }

    /// Passes over a keyword if it is next.
    pub(super) fn take_word(&mut self, keyword: &str) -> bool {
        let found = self.peek().is_word(keyword);
        self.at += usize::from(found);
        found
    }

    /// Passes over a symbol that must be next.
    pub(super) fn expect(&mut self, symbol: &str) -> Result<(), Problem> {
        if self.take(symbol) { Ok(()) } else { Err(self.syntax_error()) }
    }

    /// The next token cannot stand where it stands.
    pub(super) fn syntax_error(&self) -> Problem {
        let token = self.peek();
        let from = self.at.checked_sub(1).and_then(|at| self.all.get(at)).map_or(token.start, |before| before.start);
        let to = self.all.get(self.at + 1).map_or(token.end(), Token::end);
        let name = if token.kind == Kind::End { "<EOF>" } else { token.text };
        Problem::Syntax { token: name.to_owned(), near: self.text[from..to].trim().to_owned() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        Tokens::of(text).unwrap().all.iter().map(|token| token.text).collect()
    }

    #[test]
    fn tokens_need_no_spaces() {
        let found = texts("a.#b[10]<>:v_1 AND\tc<=d>=e");
        assert_eq!(found, ["a", ".", "#b", "[", "10", "]", "<>", ":v_1", "AND", "c", "<=", "d", ">=", "e"]);
    }

    #[test]
    fn bounds() {
        assert_eq!(Tokens::of(" \n").unwrap_err(), Problem::Empty);
        assert_eq!(Tokens::of(&"a".repeat(4097)).unwrap_err(), Problem::TooLong { bytes: 4097 });
        assert!(Tokens::of(&"NOT ".repeat(300)).is_ok());
        assert_eq!(Tokens::of(&"NOT ".repeat(301)).unwrap_err(), Problem::TooManyOperators { count: 301 });
        assert_eq!(Tokens::of(&"f(".repeat(301)).unwrap_err(), Problem::TooManyOperators { count: 301 });
    }

    #[test]
    fn what_is_no_token_is_a_syntax_error() {
        for (text, token, near) in [("a ! b", "!", "a !"), ("# ", "#", "#"), ("a = é", "é", "= é")] {
            let expected = Problem::Syntax { token: token.into(), near: near.into() };
            assert_eq!(Tokens::of(text).unwrap_err(), expected);
        }
    }
}
