//! The fields that item and descriptor records are made of: lengths, byte strings, text and fixed-width integers.
//!
//! Lengths are base-128, low groups first, in the fewest bytes that hold them. Reading accepts exactly what writing
//! produces and never allocates more than the record's own size.

use keyspace::codec::Reader;
use keyspace::decimal::Decimal;
use thiserror::Error;

/// Why bytes are not a record of this version.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    /// The record was written by a version of the software that this one does not know.
    #[error("record version {found} is not known; upgrade this process")]
    UnknownVersion {
        /// The version byte.
        found: u8,
    },
    /// The bytes end inside a field.
    #[error("record ends inside {field}")]
    Truncated {
        /// The field that was being read.
        field: &'static str,
    },
    /// A field holds what writing never produces.
    #[error("invalid {field}")]
    Invalid {
        /// The field.
        field: &'static str,
    },
    /// The record goes on behind its last field.
    #[error("{count} bytes behind the end of the record")]
    Trailing {
        /// How many.
        count: usize,
    },
}

/// Appends a length or a count.
pub(super) fn put_length(out: &mut Vec<u8>, length: usize) {
    let mut rest = length;
    while rest >= 0x80 {
        // Masked to seven bits, so the cast keeps all of it.
        out.push((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends a byte string behind its length.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Reads fields off the front of a record.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Checks the version byte and stands behind it.
    pub(super) fn of_version(record: &'a [u8], version: u8) -> Result<Self, RecordError> {
        let mut fields = Self { rest: record };
        match fields.u8("version")? {
            found if found == version => Ok(fields),
            found => Err(RecordError::UnknownVersion { found }),
        }
    }

    /// Succeeds only at the end of the record.
    pub(super) fn finish(self) -> Result<(), RecordError> {
        if self.rest.is_empty() { Ok(()) } else { Err(RecordError::Trailing { count: self.rest.len() }) }
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], RecordError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(RecordError::Truncated { field })?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, RecordError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, RecordError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, RecordError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// A yes or no in one byte.
    pub(super) fn boolean(&mut self, field: &'static str) -> Result<bool, RecordError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RecordError::Invalid { field }),
        }
    }

    /// A length, which can never be more than what is left: every counted thing takes at least one byte.
    pub(super) fn length(&mut self, field: &'static str) -> Result<usize, RecordError> {
        let mut length = 0_usize;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.u8(field)?;
            length |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                let shortest = shift == 0 || byte != 0;
                return match shortest {
                    true if length <= self.rest.len() => Ok(length),
                    true => Err(RecordError::Truncated { field }),
                    false => Err(RecordError::Invalid { field }),
                };
            }
        }
        Err(RecordError::Invalid { field })
    }

    /// A byte string behind its length.
    pub(super) fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], RecordError> {
        let length = self.length(field)?;
        let (head, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(head)
    }

    /// A number in its ordered form, which delimits itself.
    pub(super) fn number(&mut self) -> Result<Decimal, RecordError> {
        let mut reader = Reader::new(self.rest);
        let number = Decimal::decode_ordered(&mut reader).map_err(|_| RecordError::Invalid { field: "number" })?;
        self.rest = reader.rest();
        Ok(number)
    }

    /// UTF-8 behind its length in bytes.
    pub(super) fn text(&mut self, field: &'static str) -> Result<&'a str, RecordError> {
        std::str::from_utf8(self.bytes(field)?).map_err(|_| RecordError::Invalid { field })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn length(bytes: &[u8]) -> Result<usize, RecordError> {
        Fields { rest: bytes }.length("length")
    }

    #[test]
    fn lengths_have_one_form() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, 409_600] {
            let mut out = Vec::new();
            put_length(&mut out, value);
            out.resize(out.len() + value, 0);
            assert_eq!(length(&out), Ok(value));
        }
        assert_eq!(length(&[0x80, 0x00]), Err(RecordError::Invalid { field: "length" }));
        assert_eq!(length(&[0x80]), Err(RecordError::Truncated { field: "length" }));
        assert_eq!(length(&[0xFF; 9]), Err(RecordError::Invalid { field: "length" }));
    }

    #[test]
    fn a_length_beyond_the_record_is_refused_before_anything_is_allocated() {
        assert_eq!(length(&[0xFF, 0xFF, 0xFF, 0x7F]), Err(RecordError::Truncated { field: "length" }));
    }
}
