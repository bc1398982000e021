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
    out.reserve(bytes.len() + 2);
    for &byte in bytes {
        out.push(byte);
        if byte == ESCAPE {
            out.push(ESCAPED_ZERO);
        }
    }
    out.extend_from_slice(&[ESCAPE, TERMINATOR]);
}

/// Appends `bytes` escaped but not terminated: the smallest encoded string that starts with `bytes` is not below it.
pub fn put_bytes_prefix(out: &mut Vec<u8>, bytes: &[u8]) {
    put_bytes(out, bytes);
    out.truncate(out.len() - 2);
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
