//! Reading a request's JSON, token by token, straight into typed fields.
//!
//! No tree of the document is ever built: what nobody asks for is skipped, what is asked for goes where it belongs, and
//! recursion is bounded by who recurses (`attribute`). Two classes of errors, as AWS has them: a document that is not
//! JSON or has a number where a string belongs is a SerializationException at once; a value that has the right shape
//! and a wrong content is remembered by [`Reader::invalidate`] until the whole document has been read, because broken
//! JSON and missing fields are reported before it.

use std::borrow::Cow;
use std::iter::Peekable;

use aws_smithy_json::deserialize::error::DeserializeError;
use aws_smithy_json::deserialize::token::{EscapedStr, skip_value};
use aws_smithy_json::deserialize::{JsonTokenIterator, Token, json_token_iter};
use aws_smithy_types::Number;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::fault::Fault;

/// Reads one document.
pub(super) struct Reader<'a> {
    tokens: Peekable<JsonTokenIterator<'a>>,
    /// The first value of right shape and wrong content.
    invalid: Option<Fault>,
}

impl<'a> Reader<'a> {
    /// Reads a document that must be one object: `member` is called for each of its members with the value ahead and
    /// must consume it. Answers the first invalid value, if any: for the caller to report in its turn.
    pub(super) fn document(
        body: &'a [u8],
        member: impl FnMut(&mut Self, &str) -> Result<(), Fault>,
    ) -> Result<Option<Fault>, Fault> {
        let mut reader = Self { tokens: json_token_iter(body).peekable(), invalid: None };
        if !reader.object(member)? {
            return Err(Fault::serialization("Start of structure expected"));
        }
        match reader.tokens.next() {
            None => Ok(reader.invalid),
            Some(_) => Err(Fault::serialization("The request goes on behind the end of its structure")),
        }
    }

    /// Remembers that a value is invalid; the first one counts.
    pub(super) fn invalidate(&mut self, fault: Fault) {
        self.invalid.get_or_insert(fault);
    }

    /// Reads the members of an object; `false` for null.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), Fault>,
    ) -> Result<bool, Fault> {
        match self.next()? {
            Token::StartObject { .. } => {}
            Token::ValueNull { .. } => return Ok(false),
            other => return Err(misplaced(&other, "a structure")),
        }
        loop {
            match self.next()? {
                Token::EndObject { .. } => return Ok(true),
                Token::ObjectKey { key, .. } => {
                    let key = unescape(key)?;
                    member(self, &key)?;
                }
                other => return Err(misplaced(&other, "a member")),
            }
        }
    }

    /// Reads the elements of a list; `false` for null.
    pub(super) fn list(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<bool, Fault> {
        match self.next()? {
            Token::StartArray { .. } => {}
            Token::ValueNull { .. } => return Ok(false),
            other => return Err(misplaced(&other, "a list")),
        }
        loop {
            if let Some(Ok(Token::EndArray { .. })) = self.tokens.peek() {
                self.next()?;
                return Ok(true);
            }
            element(self)?;
        }
    }

    /// A list of strings, `None` for null.
    pub(super) fn strings(&mut self) -> Result<Option<Vec<Option<String>>>, Fault> {
        let mut all = Vec::new();
        let present = self.list(|reader| {
            all.push(reader.string()?);
            Ok(())
        })?;
        Ok(present.then_some(all))
    }

    pub(super) fn string(&mut self) -> Result<Option<String>, Fault> {
        match self.next()? {
            Token::ValueString { value, .. } => Ok(Some(unescape(value)?.into_owned())),
            Token::ValueNull { .. } => Ok(None),
            other => Err(misplaced(&other, "String")),
        }
    }

    pub(super) fn boolean(&mut self) -> Result<Option<bool>, Fault> {
        match self.next()? {
            Token::ValueBool { value, .. } => Ok(Some(value)),
            Token::ValueNull { .. } => Ok(None),
            other => Err(misplaced(&other, "Boolean")),
        }
    }

    /// A whole number. Fractions are refused, numbers beyond 64 bits count as the largest or smallest one.
    pub(super) fn integer(&mut self) -> Result<Option<i64>, Fault> {
        match self.next()? {
            Token::ValueNumber { value: Number::PosInt(value), .. } => {
                Ok(Some(i64::try_from(value).unwrap_or(i64::MAX)))
            }
            Token::ValueNumber { value: Number::NegInt(value), .. } => Ok(Some(value)),
            // Casting saturates.
            Token::ValueNumber { value: Number::Float(value), .. } if value.fract() == 0.0 => Ok(Some(value as i64)),
            Token::ValueNull { .. } => Ok(None),
            other => Err(misplaced(&other, "Long")),
        }
    }

    /// Bytes in base64.
    pub(super) fn binary(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let Some(text) = self.string()? else { return Ok(None) };
        let bytes = STANDARD.decode(text);
        bytes.map(Some).map_err(|_| Fault::serialization("A binary value is not valid base64"))
    }

    /// Passes over a value; answers whether it is something else than null.
    pub(super) fn skip(&mut self) -> Result<bool, Fault> {
        let null = self.is_null();
        skip_value(&mut self.tokens).map_err(malformed)?;
        Ok(!null)
    }

    /// Whether the value ahead is null.
    pub(super) fn is_null(&mut self) -> bool {
        matches!(self.tokens.peek(), Some(Ok(Token::ValueNull { .. })))
    }

    /// Passes over a list; answers whether it has elements.
    pub(super) fn skip_list(&mut self) -> Result<bool, Fault> {
        let mut elements = false;
        self.list(|reader| {
            elements = true;
            reader.skip().map(|_| ())
        })?;
        Ok(elements)
    }

    fn next(&mut self) -> Result<Token<'a>, Fault> {
        match self.tokens.next() {
            Some(token) => token.map_err(malformed),
            None => Err(Fault::serialization("Unexpected end of the request")),
        }
    }
}

fn unescape(text: EscapedStr<'_>) -> Result<Cow<'_, str>, Fault> {
    text.to_unescaped().map_err(|_| Fault::serialization("A string has an invalid escape sequence"))
}

/// The document is not JSON. The tokenizer's own words name an offset and a character, nothing internal.
fn malformed(error: DeserializeError) -> Fault {
    Fault::serialization(format!("The request is not valid JSON: {error}"))
}

/// A value of one JSON type stands where another belongs; worded as AWS does.
fn misplaced(found: &Token<'_>, wanted: &str) -> Fault {
    let message = match found {
        Token::StartObject { .. } => "Start of structure or map found where not expected".to_owned(),
        Token::StartArray { .. } => "Start of list found where not expected".to_owned(),
        Token::ValueNumber { value: Number::Float(_), .. } => format!("DECIMAL_VALUE cannot be converted to {wanted}"),
        Token::ValueNumber { .. } => format!("NUMBER_VALUE cannot be converted to {wanted}"),
        Token::ValueString { .. } => format!("STRING_VALUE cannot be converted to {wanted}"),
        Token::ValueBool { value: true, .. } => format!("TRUE_VALUE cannot be converted to {wanted}"),
        Token::ValueBool { value: false, .. } => format!("FALSE_VALUE cannot be converted to {wanted}"),
        Token::ValueNull { .. } => format!("NULL_VALUE cannot be converted to {wanted}"),
        Token::EndObject { .. } | Token::EndArray { .. } | Token::ObjectKey { .. } => format!("{wanted} expected"),
    };
    Fault::serialization(message)
}

#[cfg(test)]
mod tests {
    use super::super::fault::Exception;
    use super::*;

    fn skim(body: &[u8]) -> Result<Option<Fault>, Fault> {
        Reader::document(body, |reader, _| reader.skip().map(|_| ()))
    }

    #[test]
    fn only_one_object_is_a_document() {
        assert_eq!(skim(br#" {"a": [1, {"b": null}]} "#), Ok(None));
        for body in
            ["", " ", "null", "[]", "1", "{", "{}{}", "{} x", r#"{"a":}"#, r#"{"a":1,}"#, "\u{0}", r#"{"a":"\ud800"}"#]
        {
            let skimmed = skim(body.as_bytes());
            // Strings that are skipped are not unescaped.
            assert!(skimmed.is_err() || body.contains("ud800"), "{body:?}: {skimmed:?}");
        }
        assert_eq!(skim(b"{\"a\":\"\xFF\"}").map_err(|fault| fault.exception), Err(Exception::Serialization));
    }

    #[test]
    fn an_abyss_is_refused_without_following_it() {
        let abyss = [br#"{"a":"#.as_slice(), &[b'['; 1 << 20]].concat();
        assert_eq!(skim(&abyss).map_err(|fault| fault.exception), Err(Exception::Serialization));
    }

    #[test]
    fn types_are_not_converted() {
        let string = |body: &str| Reader::document(body.as_bytes(), |reader, _| reader.string().map(|_| ()));
        let message = |body: &str| string(body).map_err(|fault| fault.message);
        assert_eq!(message(r#"{"a":1}"#), Err("NUMBER_VALUE cannot be converted to String".into()));
        assert_eq!(message(r#"{"a":{}}"#), Err("Start of structure or map found where not expected".into()));
        assert_eq!(message(r#"{"a":null}"#), Ok(None));
    }

    #[test]
    fn integers_saturate_and_have_no_fraction() {
        let integer = |body: &str| {
            let mut value = None;
            let read = Reader::document(body.as_bytes(), |reader, _| {
                value = reader.integer()?;
                Ok(())
            });
            read.map(|_| value)
        };
        assert_eq!(integer(r#"{"a":-3}"#), Ok(Some(-3)));
        assert_eq!(integer(r#"{"a":1e3}"#), Ok(Some(1000)));
        assert_eq!(integer(r#"{"a":99999999999999999999}"#), Ok(Some(i64::MAX)));
        assert!(integer(r#"{"a":1.5}"#).is_err());
        assert!(integer(r#"{"a":"1"}"#).is_err());
    }
}
