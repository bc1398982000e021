//! The order-preserving byte codec: comparing encoded bytes is comparing the values.
//!
//! - Byte strings: `0x00` becomes `0x00 0xFF`, and `0x00 0x01` ends the string. A string therefore sorts before its
//!   own extensions, and nothing encoded is a prefix of something else encoded.
//! - Integers: big-endian.
//!
//! Decoding accepts exactly what encoding produces; everything else is [`CodecError`].

use thiserror::Error;

/// Why bytes are not a key of this keyspace.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CodecError {
    /// The bytes end inside a field.
    #[error("key ends inside {field}")]
    Truncated {
        /// The field that was being read.
        field: &'static str,
    },
    /// An escaped byte string holds `0x00` followed by neither `0xFF` nor `0x01`.
    #[error("invalid escape 0x00 0x{found:02x}")]
    BadEscape {
        /// The byte behind `0x00`.
        found: u8,
    },
    /// A tag byte that no layout uses.
    #[error("unknown {field} 0x{found:02x}")]
    UnknownTag {
        /// The field that the tag stands in.
        field: &'static str,
        /// The byte found.
        found: u8,
    },
    /// A field holds a value outside its domain.
    #[error("invalid {field}")]
    Invalid {
        /// The field.
        field: &'static str,
    },
    /// The key goes on behind its last field.
    #[error("{count} bytes behind the end of the key")]
    Trailing {
        /// How many.
        count: usize,
    },
}

const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xFF;
const TERMINATOR: u8 = 0x01;

/// Appends `bytes` escaped and terminated.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_bytes_prefix(out, bytes);
    out.extend_from_slice(&[ESCAPE, TERMINATOR]);
}

/// Appends `bytes` escaped but not terminated: every encoded string that starts with `bytes` starts with the result.
pub fn put_bytes_prefix(out: &mut Vec<u8>, bytes: &[u8]) {
    // Room for the terminator, too.
    out.reserve(bytes.len() + 2);
    for run in bytes.split_inclusive(|&byte| byte == ESCAPE) {
        out.extend_from_slice(run);
        if run.ends_with(&[ESCAPE]) {
            out.push(ESCAPED_ZERO);
        }
    }
}

/// Reads fields off the front of an encoded key.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Succeeds only at the end of the key.
    pub fn finish(self) -> Result<(), CodecError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CodecError::Trailing { count: self.rest.len() }) }
    }

    /// The next `N` bytes as they are.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], CodecError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(CodecError::Truncated { field })?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, CodecError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, CodecError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, CodecError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, CodecError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// An escaped, terminated byte string, unescaped.
    pub fn bytes(&mut self, field: &'static str) -> Result<Vec<u8>, CodecError> {
        let encoded = self.raw_bytes(field)?;
        let mut out = Vec::with_capacity(encoded.len());
        let mut rest = &encoded[..encoded.len() - 2];
        while let Some(zero) = rest.iter().position(|&byte| byte == ESCAPE) {
            out.extend_from_slice(&rest[..=zero]);
            rest = &rest[zero + 2..];
        }
        out.extend_from_slice(rest);
        Ok(out)
    }

    /// An escaped byte string as it stands in the key, its terminator included.
    pub fn raw_bytes(&mut self, field: &'static str) -> Result<&'a [u8], CodecError> {
        let mut at = 0;
        loop {
            let zero = self.rest[at..].iter().position(|&b| b == ESCAPE).ok_or(CodecError::Truncated { field })? + at;
            match self.rest.get(zero + 1) {
                Some(&ESCAPED_ZERO) => at = zero + 2,
                Some(&TERMINATOR) => {
                    let (head, rest) = self.rest.split_at(zero + 2);
                    self.rest = rest;
                    return Ok(head);
                }
                Some(&found) => return Err(CodecError::BadEscape { found }),
                None => return Err(CodecError::Truncated { field }),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, bytes);
        out
    }

    /// Short strings over the bytes that the escape gives a meaning, and others.
    fn strings() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0x00), Just(0x01), Just(0xFE), Just(0xFF), any::<u8>()], 0..6)
    }

    #[test]
    fn the_encoding_is_the_documented_one() {
        assert_eq!(encoded(b""), [0x00, 0x01]);
        assert_eq!(encoded(b"a\0b"), [b'a', 0x00, 0xFF, b'b', 0x00, 0x01]);
        assert_eq!(encoded(b"\0\0"), [0x00, 0xFF, 0x00, 0xFF, 0x00, 0x01]);
    }

    #[test]
    fn errors_name_the_field() {
        let read = |bytes: &'static [u8]| Reader::new(bytes).bytes("name");
        assert_eq!(read(b"ab"), Err(CodecError::Truncated { field: "name" }));
        assert_eq!(read(b"ab\0"), Err(CodecError::Truncated { field: "name" }));
        assert_eq!(read(b"ab\0\x02"), Err(CodecError::BadEscape { found: 2 }));
        assert_eq!(Reader::new(&[1]).u16("slot"), Err(CodecError::Truncated { field: "slot" }));
        assert_eq!(Reader::new(&[1, 2]).finish(), Err(CodecError::Trailing { count: 2 }));
    }

    proptest! {
        #[test]
        fn encodings_sort_as_their_strings_and_none_begins_another(a in strings(), b in strings()) {
            prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), a.cmp(&b));
            prop_assert!(a == b || !encoded(&b).starts_with(&encoded(&a)));
        }

        #[test]
        fn strings_round_trip_with_what_follows(bytes in strings(), behind in strings()) {
            let key = [encoded(&bytes), behind.clone()].concat();
            let mut reader = Reader::new(&key);
            prop_assert_eq!(reader.clone().raw_bytes("name").unwrap(), encoded(&bytes));
            prop_assert_eq!(reader.bytes("name"), Ok(bytes));
            prop_assert_eq!(reader.rest(), behind);
        }

        #[test]
        fn a_prefix_begins_exactly_the_strings_that_it_begins(prefix in strings(), bytes in strings()) {
            let mut start = Vec::new();
            put_bytes_prefix(&mut start, &prefix);
            prop_assert_eq!(encoded(&bytes).starts_with(&start), bytes.starts_with(&prefix));
        }

        #[test]
        fn what_is_read_is_what_would_be_written(junk in strings()) {
            let mut reader = Reader::new(&junk);
            if let Ok(bytes) = reader.bytes("name") {
                prop_assert_eq!([encoded(&bytes), reader.rest().to_vec()].concat(), junk);
            }
        }
    }
}
