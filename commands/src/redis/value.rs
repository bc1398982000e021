//! RESP3 values, of which RESP2's are a part.

use bytes::Bytes;

/// What a command answers. Which bytes a client gets depends on the protocol version it asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+OK`
    Simple(&'static str),
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
    /// `#t` in RESP3, `:1` in RESP2.
    Boolean(bool),
    /// `%1` in RESP3, a flat array in RESP2.
    Map(Vec<(Value, Value)>),
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
    pub const OK: Value = Value::Simple("OK");
}
