//! The meta record of a Redis key: what is stored under `layout::redis_meta`.
//!
//! ```text
//! version (u8, 1) · type (u8) · expire-at ms (u64, big-endian; 0: never) · payload of the type
//! ```
//!
//! | type | payload |
//! | --- | --- |
//! | 1 string | the value |
//!
//! A collection will be a type of its own whose payload is its generation, element count and ends; its elements are
//! records of their own. Until this version knows a type, meeting it is [`ViewError::Corrupt`], never a guess.

use bytes::{BufMut, Bytes, BytesMut};

use super::error::RedisError;
use crate::view::ViewError;

/// The format that this module writes.
const VERSION: u8 = 1;
const TYPE_STRING: u8 = 1;
/// Version, type and expiry.
const HEADER_LEN: usize = 10;

/// A decoded meta record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Milliseconds since 1970 from which the key is gone; `None`: never. Not 0.
    pub expire_at_ms: Option<u64>,
    /// What the key holds.
    pub content: Content,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A string.
    String(Bytes),
}

impl Content {
    /// The answer of TYPE.
    pub fn type_name(&self) -> &'static str {
        match self {
            Content::String(_) => "string",
        }
    }

    /// The value, for a command that works on strings only.
    pub fn into_string(self) -> Result<Bytes, RedisError> {
        match self {
            Content::String(value) => Ok(value),
        }
    }
}

impl Meta {
    /// The bytes that are stored.
    pub fn encode(&self) -> Bytes {
        let Content::String(value) = &self.content;
        let mut out = BytesMut::with_capacity(HEADER_LEN + value.len());
        out.put_u8(VERSION);
        out.put_u8(TYPE_STRING);
        out.put_u64(self.expire_at_ms.unwrap_or(0));
        out.put_slice(value);
        out.freeze()
    }

    /// Inverse of [`Meta::encode`]; `key` is named in the error. A string's value shares the record's memory.
    pub fn decode(key: &[u8], record: &Bytes) -> Result<Meta, ViewError> {
        let corrupt = |reason: String| ViewError::Corrupt { key: key.to_vec(), reason };
        let Some((&[version, kind, ref expiry @ ..], _)) = record.split_first_chunk::<HEADER_LEN>() else {
            return Err(corrupt(format!("meta record of {} bytes is too short", record.len())));
        };
        if version != VERSION {
            return Err(corrupt(format!("meta record has version {version}, this program knows {VERSION}")));
        }
        if kind != TYPE_STRING {
            return Err(corrupt(format!("meta record has type {kind}, which this program does not know")));
        }
        let expire_at_ms = expiry.iter().fold(0, |ms, &byte| (ms << 8) | u64::from(byte));
        Ok(Meta {
            expire_at_ms: (expire_at_ms != 0).then_some(expire_at_ms),
            content: Content::String(record.slice(HEADER_LEN..)),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_on_disk_are_these() {
        let meta = Meta { expire_at_ms: Some(0x0102), content: Content::String("hi".into()) };
        assert_eq!(meta.encode(), &[1, 1, 0, 0, 0, 0, 0, 0, 1, 2, b'h', b'i'][..]);
    }

    #[test]
    fn unknown_versions_and_types_are_named() {
        let reason = |bytes: &'static [u8]| match Meta::decode(b"k", &Bytes::from_static(bytes)) {
            Err(ViewError::Corrupt { key, reason }) if key == b"k" => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(&[2, 1, 0, 0, 0, 0, 0, 0, 0, 0]), "meta record has version 2, this program knows 1");
        assert_eq!(reason(&[1, 9, 0, 0, 0, 0, 0, 0, 0, 0]), "meta record has type 9, which this program does not know");
        assert_eq!(reason(&[1, 1, 0]), "meta record of 3 bytes is too short");
    }

    proptest! {
        #[test]
        fn records_round_trip(value in proptest::collection::vec(any::<u8>(), 0..200), expiry in proptest::option::of(1u64..)) {
            let meta = Meta { expire_at_ms: expiry, content: Content::String(value.into()) };
            prop_assert_eq!(Meta::decode(b"", &meta.encode()).unwrap(), meta);
        }

        #[test]
        fn junk_is_refused_or_is_exactly_what_encoding_writes(junk in proptest::collection::vec(any::<u8>(), 0..40)) {
            let junk = Bytes::from(junk);
            if let Ok(meta) = Meta::decode(b"", &junk) {
                prop_assert_eq!(meta.encode(), junk);
            }
        }
    }
}
