//! RESP3 values, of which RESP2's are a part.

use std::borrow::Cow;

use bytes::Bytes;

use super::events::Event;

/// What a command answers. Which bytes a client gets depends on the protocol version it asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+OK`
    Simple(Cow<'static, str>),
    /// `-ERR …`: code and sentence.
    Error(String),
    /// `:1`
    Integer(i64),
    /// `$3`
    Bulk(Bytes),
    /// `_` in RESP3, `$-1` in RESP2.
    Null,
    /// `_` in RESP3, `*-1` in RESP2.
    NullArray,
    /// `*2`
    Array(Vec<Value>),
    /// `,1.5` in RESP3, a bulk string in RESP2.
    Double(f64),
    /// `,1.5` in RESP3, a bulk string in RESP2: a number in digits of its own.
    Decimal(String),
    /// `#t` in RESP3, `:1` in RESP2.
    Boolean(bool),
    /// `%1` in RESP3, a flat array in RESP2.
    Map(Vec<(Value, Value)>),
    /// An array of arrays of two in RESP3, a flat array in RESP2.
    Pairs(Vec<(Value, Value)>),
    /// A reply, and what is told of the effects of its command. Never inside another value.
    Told(Box<Value>, Vec<Event>),
    /// `%1` in RESP3, an array of arrays of two in RESP2.
    Streams(Vec<(Value, Value)>),
    /// `~2` in RESP3, an array in RESP2.
    Set(Vec<Value>),
    /// `(123` in RESP3, a bulk string in RESP2.
    BigNumber(String),
    /// `=15 txt:…` in RESP3, a bulk string in RESP2.
    Verbatim {
        /// Three letters: `txt` or `mkd`.
        format: String,
        /// The text.
        text: Bytes,
    },
}

impl Value {
    /// `+OK`
    pub const OK: Value = Value::Simple(Cow::Borrowed("OK"));

    /// `+text`, of a text without line breaks.
    pub const fn simple(text: &'static str) -> Value {
        Value::Simple(Cow::Borrowed(text))
    }

    /// `$…`
    pub fn bulk(bytes: impl Into<Bytes>) -> Value {
        Value::Bulk(bytes.into())
    }

    /// The same reply, with what is told of the effects of its command.
    #[must_use]
    pub fn with_events(self, events: Vec<Event>) -> Value {
        if events.is_empty() { self } else { Value::Told(Box::new(self), events) }
    }

    /// The reply, and what is told.
    pub fn apart(self) -> (Value, Vec<Event>) {
        match self {
            Value::Told(reply, events) => (*reply, events),
            reply => (reply, Vec::new()),
        }
    }

    /// Whether it is an error reply.
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }
}
