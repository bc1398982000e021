//! DUMP and RESTORE: a value as one string of bytes.
//!
//! ```text
//! type (u8) · contents · version (u16, little-endian) · CRC-64 of all before it (u64, little-endian)
//! ```
//!
//! | type | contents |
//! | --- | --- |
//! | 1 string | the value, to the end |
//! | 2 hash | fields and values, alternating |
//! | 3 set | members |
//! | 4 list | elements from head to tail |
//! | 5 sorted set | members, each with its score (f64, big-endian), in order |
//!
//! A field, value, member or element is its length (u32, big-endian) and its bytes. The end has the form and the checksum
//! of Redis' own payloads, but a version that Redis never had ([`VERSION`]): neither side takes the other's payload for
//! its own, both refuse it. A payload says nothing of generations or trees: RESTORE builds the value with the same
//! functions as other commands, so whatever a client made up, what is stored is well-formed.

use std::collections::HashSet;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::access::{Database, Fault, Reply};
use super::bag::Kind;
use super::error::RedisError;
use super::list::End;
use super::number::parse_integer;
use super::record::Content;
use super::stream::refusal::StreamRefusal;
use super::value::Value;
use crate::view::{Order, View};

/// Above every version of Redis' RDB format.
const VERSION: u16 = 0xE001;
const FOOTER_LEN: usize = 10;
const TYPE_STRING: u8 = 1;
const TYPE_HASH: u8 = 2;
const TYPE_SET: u8 = 3;
const TYPE_LIST: u8 = 4;
const TYPE_SORTED_SET: u8 = 5;

/// The options of RESTORE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RestoreOptions {
    /// Over what is there.
    replace: bool,
    /// The time to live is a time since 1970.
    absolute: bool,
}

impl RestoreOptions {
    /// IDLETIME and FREQ, which exclude each other, are checked and mean nothing: nothing is evicted.
    fn parse(mut args: &[Bytes]) -> Result<Self, RedisError> {
        let mut options = Self::default();
        let (mut has_idletime, mut has_freq) = (false, false);
        while let [word, rest @ ..] = args {
            args = match (word.to_ascii_lowercase().as_slice(), rest) {
                (b"replace", rest) => {
                    options.replace = true;
                    rest
                }
                (b"absttl", rest) => {
                    options.absolute = true;
                    rest
                }
                (b"idletime", [seconds, rest @ ..]) if !has_freq => {
                    if parse_integer(seconds)? < 0 {
                        return Err(RedisError::InvalidIdleTime);
                    }
                    has_idletime = true;
                    rest
                }
                (b"freq", [frequency, rest @ ..]) if !has_idletime => {
                    if !(0..=255).contains(&parse_integer(frequency)?) {
                        return Err(RedisError::InvalidFrequency);
                    }
                    has_freq = true;
                    rest
                }
                _ => return Err(RedisError::Syntax),
            };
        }
        Ok(options)
    }
}

/// A value, out of a payload.
#[derive(Clone, Debug, PartialEq)]
enum Restored {
    String(Bytes),
    Hash(Vec<(Bytes, Bytes)>),
    Set(Vec<Bytes>),
    List(Vec<Bytes>),
    SortedSet(Vec<(Bytes, f64)>),
}

impl<V: View> Database<'_, V> {
    /// DUMP key
    pub(super) async fn dump(&mut self, key: &Bytes) -> Reply {
        let Some(meta) = self.load(key).await? else { return Ok(Value::Null) };
        let mut out = BytesMut::new();
        match meta.content {
            Content::String(value) => {
                out.put_u8(TYPE_STRING);
                out.put_slice(&value);
            }
            Content::Hash(_) => {
                out.put_u8(TYPE_HASH);
                for (field, value) in self.all_names(Kind::Hash, key).await? {
                    put_item(&mut out, &field);
                    put_item(&mut out, &value);
                }
            }
            Content::Set(_) => {
                out.put_u8(TYPE_SET);
                for (member, _) in self.all_names(Kind::Set, key).await? {
                    put_item(&mut out, &member);
                }
            }
            Content::List(ends) => {
                out.put_u8(TYPE_LIST);
                if let Some(list) = self.open_list(key).await? {
                    for element in list.values(self.view, ends.head..ends.tail, Order::Ascending).await? {
                        put_item(&mut out, &element);
                    }
                }
            }
            Content::Stream(_) => return Err(StreamRefusal::NoDump.into()),
            Content::SortedSet(_) => {
                out.put_u8(TYPE_SORTED_SET);
                if let Some(set) = self.open_sorted_set(key).await? {
                    for (member, score) in set.all(self.view).await? {
                        put_item(&mut out, &member);
                        out.put_f64(score);
                    }
                }
            }
        }
        Ok(Value::Bulk(sealed(out)))
    }

    async fn all_names(&mut self, kind: Kind, key: &Bytes) -> Result<Vec<(Bytes, Bytes)>, Fault> {
        Ok(match self.open_bag(kind, key).await? {
            Some(bag) => bag.all(self.view).await?,
            None => Vec::new(),
        })
    }

    /// RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]
    pub(super) async fn restore(&mut self, key: &Bytes, ttl: &[u8], payload: &Bytes, options: &[Bytes]) -> Reply {
        let options = RestoreOptions::parse(options)?;
        if !options.replace && self.exists(key).await? {
            return Err(RedisError::BusyKey.into());
        }
        let ttl = u64::try_from(parse_integer(ttl)?).map_err(|_| RedisError::InvalidTtl)?;
        let value = unsealed(payload).ok_or(RedisError::BadDumpSeal)?;
        let value = read_value(value).ok_or(RedisError::BadDumpFormat)?;
        let expire_at_ms = match ttl {
            0 => None,
            at if options.absolute => Some(at),
            ttl => Some(ttl.saturating_add(self.view.now_ms())),
        };
        if expire_at_ms.is_some_and(|at| self.view.expired(at)) {
            if self.exists(key).await? {
                self.remove(key);
            }
            return Ok(Value::OK);
        }
        self.put_restored(key, value).await?;
        if let Some(expire_at_ms) = expire_at_ms
            && let Some(mut meta) = self.load(key).await?
        {
            meta.expire_at_ms = Some(expire_at_ms);
            self.store(key, &meta);
        }
        Ok(Value::OK)
    }

    /// Writes a value in place of whatever is at a key.
    async fn put_restored(&mut self, key: &Bytes, value: Restored) -> Result<(), Fault> {
        match value {
            Restored::String(value) => self.store_string(key, value, None),
            Restored::Hash(fields) => {
                let mut hash = self.new_bag(Kind::Hash, key);
                fields.into_iter().for_each(|(field, value)| hash.write(self.view, &field, value, false));
                self.close_bag(&hash);
            }
            Restored::Set(members) => {
                let mut set = self.new_bag(Kind::Set, key);
                members.iter().for_each(|member| set.write(self.view, member, Bytes::new(), false));
                self.close_bag(&set);
            }
            Restored::List(elements) => {
                let list = self.new_list(key, None);
                self.push_all(list, End::Right, &elements);
            }
            Restored::SortedSet(members) => {
                self.store_sorted_set(key, &members).await?;
            }
        }
        Ok(())
    }
}

fn put_item(out: &mut BytesMut, item: &[u8]) {
    // A value is at most 32 MB.
    out.put_u32(item.len() as u32);
    out.put_slice(item);
}

fn sealed(mut out: BytesMut) -> Bytes {
    out.put_u16_le(VERSION);
    out.put_u64_le(crc64(&out));
    out.freeze()
}

/// A payload without its end, if version and checksum are right.
fn unsealed(payload: &Bytes) -> Option<Bytes> {
    let contents = payload.len().checked_sub(FOOTER_LEN)?;
    let mut footer = payload.slice(contents..);
    let (version, sum) = (footer.get_u16_le(), footer.get_u64_le());
    (version == VERSION && sum == crc64(&payload[..payload.len() - 8])).then(|| payload.slice(..contents))
}

/// The value of a payload; `None` if there is no such value. Nothing is empty, and no name is there twice.
fn read_value(mut from: Bytes) -> Option<Restored> {
    let kind = from.try_get_u8().ok()?;
    if kind == TYPE_STRING {
        return Some(Restored::String(from));
    }
    if from.is_empty() {
        return None;
    }
    let mut known = HashSet::new();
    match kind {
        TYPE_HASH => read_all(from, |from| {
            let (field, value) = (read_item(from)?, read_item(from)?);
            known.insert(field.clone()).then_some((field, value))
        })
        .map(Restored::Hash),
        TYPE_SET => {
            read_all(from, |from| read_item(from).filter(|member| known.insert(member.clone()))).map(Restored::Set)
        }
        TYPE_LIST => read_all(from, read_item).map(Restored::List),
        TYPE_SORTED_SET => read_all(from, |from| {
            let (member, score) = (read_item(from)?, from.try_get_f64().ok()?);
            (known.insert(member.clone()) && !score.is_nan()).then_some((member, score))
        })
        .map(Restored::SortedSet),
        _ => None,
    }
}

fn read_all<T>(mut from: Bytes, mut read: impl FnMut(&mut Bytes) -> Option<T>) -> Option<Vec<T>> {
    let mut all = Vec::new();
    while !from.is_empty() {
        all.push(read(&mut from)?);
    }
    Some(all)
}

fn read_item(from: &mut Bytes) -> Option<Bytes> {
    let len = usize::try_from(from.try_get_u32().ok()?).ok()?;
    (len <= from.len()).then(|| from.split_to(len))
}

/// CRC-64 with the polynomial of Jones, reflected, from 0: that of Redis.
fn crc64(bytes: &[u8]) -> u64 {
    const POLYNOMIAL: u64 = 0xAD93_D235_94C9_35A9;
    const TABLE: [u64; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut sum = byte as u64;
            let mut bit = 0;
            while bit < 8 {
                let carry = sum & 1 != 0;
                sum >>= 1;
                if carry {
                    sum ^= POLYNOMIAL.reverse_bits();
                }
                bit += 1;
            }
            table[byte] = sum;
            byte += 1;
        }
        table
    };
    bytes.iter().fold(0, |sum, &byte| (sum >> 8) ^ TABLE[((sum ^ u64::from(byte)) & 0xFF) as usize])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Invocation, run};
    use super::*;
    use crate::testing::{MemoryView, ready};

    fn ask(view: &mut MemoryView, args: Vec<Bytes>) -> Value {
        let value = ready(run(view, &Invocation::new(0, args))).unwrap();
        view.step();
        value
    }

    fn line(text: &str) -> Vec<Bytes> {
        text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    fn restore(view: &mut MemoryView, key: &str, payload: Bytes) -> Value {
        ask(view, vec!["restore".into(), key.to_owned().into(), "0".into(), payload, "replace".into()])
    }

    #[test]
    fn the_checksum_is_that_of_redis() {
        // The check value of this CRC in the catalogues.
        assert_eq!(crc64(b"123456789"), 0xE9C6_D914_C4B8_D9CA);
    }

    #[test]
    fn every_type_comes_back() {
        let mut view = MemoryView::default();
        for fill in ["set k value", "rpush k a b a", "sadd k a 1 b", "hset k f v g w", "zadd k 1.5 a -inf b 1.5 c"] {
            ask(&mut view, line("del k copy"));
            ask(&mut view, line(fill));
            let Value::Bulk(payload) = ask(&mut view, line("dump k")) else { panic!("{fill}") };
            assert_eq!(restore(&mut view, "copy", payload.clone()), Value::OK);
            assert_eq!(ask(&mut view, line("dump copy")), Value::Bulk(payload), "{fill}");
        }
        assert_eq!(ask(&mut view, line("zrank copy c")), Value::Integer(2));
    }

    #[test]
    fn what_no_value_looks_like_is_refused() {
        let mut view = MemoryView::default();
        let item = |text: &str| [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
        let payload = |contents: &[&[u8]]| sealed(BytesMut::from(&contents.concat()[..]));
        let bad: Value = RedisError::BadDumpFormat.into();
        for contents in [
            vec![],
            vec![vec![9], item("a")],
            vec![vec![TYPE_LIST]],
            vec![vec![TYPE_LIST], vec![0, 0, 0, 9, b'a']],
            vec![vec![TYPE_LIST], vec![0, 0]],
            vec![vec![TYPE_SET], item("a"), item("a")],
            vec![vec![TYPE_HASH], item("a")],
            vec![vec![TYPE_HASH], item("a"), item("1"), item("a"), item("2")],
            vec![vec![TYPE_SORTED_SET], item("a"), f64::NAN.to_be_bytes().to_vec()],
            vec![vec![TYPE_SORTED_SET], item("a")],
        ] {
            let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
            assert_eq!(restore(&mut view, "k", payload(&contents)), bad, "{contents:?}");
        }
        let wrong: Value = RedisError::BadDumpSeal.into();
        assert_eq!(restore(&mut view, "k", Bytes::from("short")), wrong);
        assert!(view.records().is_empty());
    }

    proptest! {
        #[test]
        fn junk_is_never_stored(junk in proptest::collection::vec(any::<u8>(), 0..60), kind in 0..8_u8) {
            let mut view = MemoryView::default();
            let refused = restore(&mut view, "k", junk.clone().into());
            prop_assert_eq!(refused, RedisError::BadDumpSeal.into());
            // Under a right seal it is a value or none.
            let mut contents = BytesMut::from(&[kind][..]);
            contents.put_slice(&junk);
            let value = restore(&mut view, "k", sealed(contents));
            prop_assert_eq!(value == Value::OK, !view.records().is_empty());
            if value == Value::OK {
                let Value::Bulk(payload) = ask(&mut view, line("dump k")) else { panic!("restored") };
                prop_assert_eq!(restore(&mut view, "k", payload), Value::OK);
            }
        }

        #[test]
        fn a_flipped_bit_is_noticed(value in ".{0,30}", at: prop::sample::Index, bit in 0..8_u8) {
            let mut view = MemoryView::default();
            ask(&mut view, vec!["set".into(), "k".into(), value.into()]);
            let Value::Bulk(payload) = ask(&mut view, line("dump k")) else { panic!("it is there") };
            let mut payload = payload.to_vec();
            let at = at.index(payload.len());
            payload[at] ^= 1 << bit;
            prop_assert_eq!(restore(&mut view, "k", payload.into()), RedisError::BadDumpSeal.into());
        }
    }
}
