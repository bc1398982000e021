//! The meta record of a Redis key: what is stored under `layout::redis_meta`.
//!
//! ```text
//! version (u8, 1) · type (u8) · expire-at ms (u64, big-endian; 0: never) · payload of the type
//! ```
//!
//! | type | payload, integers big-endian | an element record |
//! | --- | --- | --- |
//! | 1 string | the value | none |
//! | 2 hash | generation (u64) · fields (u64) · flags (u8) | [`super::bag`]: field → value |
//! | 3 set | generation (u64) · members (u64) · flags (u8) | [`super::bag`]: member → ∅ |
//! | 4 list | generation (u64) · head (u64) · tail (u64) | [`super::list`]: position → value |
//! | 5 sorted set | generation (u64) · members (u64) · flags (u8) · height (u8) · children of the root (u16) | [`super::sorted_set`]: member → score, (score, member) → ∅, and counts |
//! | 6 stream | [`super::stream::log::Log`] | [`super::stream::log`]: id → entry, groups, consumers and what is pending |
//!
//! The first flag: the collection has outgrown the compact form that Redis keeps small ones in ([`Members::compact`]).
//! The version covers the element records too: they have no header of their own.
//!
//! # Generations
//!
//! Elements are records under `unit · generation` (`layout::redis_elements`), and only the meta record says which
//! generation counts. So removing, overwriting and expiry of a collection of any size are one write, of the meta record.
//! The rules that make this safe:
//!
//! 1. A collection that did not exist gets a generation of 64 random bits, and its meta record is written in the same
//!    evaluation as its first element. A generation is never used a second time.
//! 2. Every change of a collection rewrites its meta record, also when only an element differs: the version of the meta
//!    record is that of the unit, by which locks, WATCH and transactions go.
//! 3. *An element record is an orphan exactly if the meta record of its unit is absent or names another generation, or
//!    none* ([`live_generation`] against `layout::redis_generation`). By rule 1 an orphan stays one for ever, so whoever
//!    reclaims may remove it at any later time, in any order and only in part; nobody reads it. A reader of an older
//!    version may still need it: it is reclaimed when the meta record's change is behind what such readers can ask for.
//!    An expired collection is no orphan before its meta record is removed.
//!
//! Meeting a type or version that this program does not know is [`ViewError::Corrupt`], never a guess.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::error::RedisError;
use super::stream::log::Log;
use crate::view::ViewError;

/// The format that this module writes.
const VERSION: u8 = 1;
const TYPE_STRING: u8 = 1;
const TYPE_HASH: u8 = 2;
const TYPE_SET: u8 = 3;
const TYPE_LIST: u8 = 4;
const TYPE_SORTED_SET: u8 = 5;
const TYPE_STREAM: u8 = 6;
/// Version, type and expiry.
const HEADER_LEN: usize = 10;
const FLAG_EXPANDED: u8 = 1;

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
    /// A hash.
    Hash(Members),
    /// A set.
    Set(Members),
    /// A list.
    List(Ends),
    /// A sorted set.
    SortedSet(Ranked),
    /// A stream.
    Stream(Log),
}

/// How many elements a hash or a set has, and which records they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Members {
    /// Of the element records.
    pub generation: u64,
    /// Exactly. Never 0 in a stored record: an empty collection does not exist.
    pub count: u64,
    /// Redis would still keep it in its form for few, small elements: OBJECT ENCODING, and scans in one page.
    pub compact: bool,
}

/// Where a list begins and ends. Its elements stand at the positions from `head` to below `tail`, without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Of the element records.
    pub generation: u64,
    /// Position of the first element.
    pub head: u64,
    /// Position behind the last element.
    pub tail: u64,
}

/// A sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// Its members.
    pub members: Members,
    /// The root of the tree that counts them.
    pub root: Root,
}

/// The root of a counted order, see [`super::counted`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Root {
    /// Levels of nodes below the root; 0: its children are the entries.
    pub height: u8,
    /// How many children it has.
    pub children: u16,
}

impl Content {
    /// The answer of TYPE.
    pub fn type_name(&self) -> &'static str {
        match self {
            Content::String(_) => "string",
            Content::Hash(_) => "hash",
            Content::Set(_) => "set",
            Content::List(_) => "list",
            Content::SortedSet(_) => "zset",
            Content::Stream(_) => "stream",
        }
    }

    /// The value, for a command that works on strings only.
    pub fn into_string(self) -> Result<Bytes, RedisError> {
        match self {
            Content::String(value) => Ok(value),
            _ => Err(RedisError::WrongType),
        }
    }

    /// Of a collection.
    pub fn generation(&self) -> Option<u64> {
        match self {
            Content::String(_) => None,
            Content::Hash(members) | Content::Set(members) => Some(members.generation),
            Content::List(ends) => Some(ends.generation),
            Content::SortedSet(ranked) => Some(ranked.members.generation),
            Content::Stream(log) => Some(log.generation),
        }
    }

    /// How many element records a collection has, but for those that count a sorted set.
    pub fn records(&self) -> u64 {
        match self {
            Content::String(_) => 0,
            Content::Hash(members) | Content::Set(members) => members.count,
            Content::List(ends) => ends.len(),
            Content::SortedSet(ranked) => ranked.members.count.saturating_mul(2),
            Content::Stream(log) => log.length.saturating_add(log.groups),
        }
    }

    /// The same collection with its elements under another generation.
    pub fn with_generation(mut self, to: u64) -> Self {
        match &mut self {
            Content::String(_) => {}
            Content::Hash(members) | Content::Set(members) => members.generation = to,
            Content::List(ends) => ends.generation = to,
            Content::SortedSet(ranked) => ranked.members.generation = to,
            Content::Stream(log) => log.generation = to,
        }
        self
    }

    fn type_byte(&self) -> u8 {
        match self {
            Content::String(_) => TYPE_STRING,
            Content::Hash(_) => TYPE_HASH,
            Content::Set(_) => TYPE_SET,
            Content::List(_) => TYPE_LIST,
            Content::SortedSet(_) => TYPE_SORTED_SET,
            Content::Stream(_) => TYPE_STREAM,
        }
    }
}

/// The generation whose element records count, of the unit with this meta record at `key`; `None`: of none, because it
/// holds a string.
pub fn live_generation(key: &[u8], meta: &Bytes) -> Result<Option<u64>, ViewError> {
    Meta::decode(key, meta).map(|meta| meta.content.generation())
}

impl Members {
    fn put(&self, out: &mut BytesMut) {
        out.put_u64(self.generation);
        out.put_u64(self.count);
        out.put_u8(if self.compact { 0 } else { FLAG_EXPANDED });
    }

    fn read(payload: &mut Bytes) -> Option<Self> {
        let (generation, count) = (payload.try_get_u64().ok()?, payload.try_get_u64().ok()?);
        let flags = payload.try_get_u8().ok().filter(|flags| *flags <= FLAG_EXPANDED)?;
        Some(Self { generation, count, compact: flags == 0 })
    }
}

impl Meta {
    /// The bytes that are stored.
    pub fn encode(&self) -> Bytes {
        let room = if let Content::String(value) = &self.content { value.len() } else { 24 };
        let mut out = BytesMut::with_capacity(HEADER_LEN + room);
        out.put_u8(VERSION);
        out.put_u8(self.content.type_byte());
        out.put_u64(self.expire_at_ms.unwrap_or(0));
        match &self.content {
            Content::String(value) => out.put_slice(value),
            Content::Hash(members) | Content::Set(members) => members.put(&mut out),
            Content::List(ends) => {
                out.put_u64(ends.generation);
                out.put_u64(ends.head);
                out.put_u64(ends.tail);
            }
            Content::SortedSet(Ranked { members, root }) => {
                members.put(&mut out);
                out.put_u8(root.height);
                out.put_u16(root.children);
            }
            Content::Stream(log) => log.put(&mut out),
        }
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
        let mut payload = record.slice(HEADER_LEN..);
        let content = match kind {
            TYPE_STRING => Some(Content::String(std::mem::take(&mut payload))),
            TYPE_HASH => Members::read(&mut payload).map(Content::Hash),
            TYPE_SET => Members::read(&mut payload).map(Content::Set),
            TYPE_LIST => Ends::read(&mut payload).map(Content::List),
            TYPE_SORTED_SET => Ranked::read(&mut payload).map(Content::SortedSet),
            TYPE_STREAM => Log::read(&mut payload).map(Content::Stream),
            _ => return Err(corrupt(format!("meta record has type {kind}, which this program does not know"))),
        };
        let content = content.filter(|_| payload.is_empty());
        let content =
            content.ok_or_else(|| corrupt(format!("meta record of type {kind} has another length or flag")))?;
        let expire_at_ms = expiry.iter().fold(0, |ms, &byte| (ms << 8) | u64::from(byte));
        Ok(Meta { expire_at_ms: (expire_at_ms != 0).then_some(expire_at_ms), content })
    }
}

impl Ends {
    /// How many elements there are.
    pub fn len(&self) -> u64 {
        self.tail - self.head
    }

    fn read(payload: &mut Bytes) -> Option<Self> {
        let generation = payload.try_get_u64().ok()?;
        let (head, tail) = (payload.try_get_u64().ok()?, payload.try_get_u64().ok()?);
        (head <= tail).then_some(Self { generation, head, tail })
    }
}

impl Ranked {
    fn read(payload: &mut Bytes) -> Option<Self> {
        let members = Members::read(payload)?;
        let root = Root { height: payload.try_get_u8().ok()?, children: payload.try_get_u16().ok()? };
        Some(Self { members, root })
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
        let members = Members { generation: 0x0304, count: 5, compact: false };
        let content = |content| Meta { expire_at_ms: None, content }.encode()[HEADER_LEN..].to_vec();
        let bytes = [0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 0, 5, 1];
        assert_eq!(content(Content::Hash(members)), bytes);
        let ranked = Ranked { members, root: Root { height: 6, children: 0x0708 } };
        assert_eq!(content(Content::SortedSet(ranked)), [&bytes[..], &[6, 7, 8]].concat());
        let ends = Ends { generation: 1, head: 2, tail: 3 };
        assert_eq!(
            content(Content::List(ends)),
            [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]
        );
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
        assert_eq!(reason(&[1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 7]), "meta record of type 2 has another length or flag");
    }

    fn contents() -> impl Strategy<Value = Content> {
        let members = (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(generation, count, compact)| Members {
            generation,
            count,
            compact,
        });
        let ranked = (members.clone(), any::<u8>(), any::<u16>())
            .prop_map(|(members, height, children)| Ranked { members, root: Root { height, children } });
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(|value| Content::String(value.into())),
            members.clone().prop_map(Content::Hash),
            members.prop_map(Content::Set),
            proptest::collection::vec(any::<u8>(), 88)
                .prop_map(|bytes| { Content::Stream(Log::read(&mut bytes.into()).unwrap()) }),
            ranked.prop_map(Content::SortedSet),
            (any::<u64>(), any::<u64>(), any::<u64>())
                .prop_map(|(generation, a, b)| { Content::List(Ends { generation, head: a.min(b), tail: a.max(b) }) }),
        ]
    }

    proptest! {
        #[test]
        fn records_round_trip(expire_at_ms in proptest::option::of(1..u64::MAX), content in contents()) {
            let meta = Meta { expire_at_ms, content };
            let bytes = meta.encode();
            prop_assert_eq!(Meta::decode(b"k", &bytes).unwrap(), meta.clone());
            prop_assert_eq!(live_generation(b"k", &bytes).unwrap(), meta.content.generation());
        }

        #[test]
        fn junk_is_no_panic(junk in proptest::collection::vec(prop_oneof![0..8_u8, any::<u8>()], 0..40)) {
            let junk = Bytes::from(junk);
            if let Ok(meta) = Meta::decode(b"k", &junk) {
                prop_assert_eq!(meta.encode(), junk);
            }
        }
    }
}
