//! OBJECT: how Redis would keep a value. Programs ask to see whether a collection is still in its compact form. And MEMORY
//! USAGE: how much is kept here.

use bytes::Bytes;
use keyspace::layout;

use super::access::{Database, Reply};
use super::elements::Elements;
use super::error::RedisError;
use super::number::parse_integer;
use super::record::{Content, Ranked};
use super::value::Value;
use crate::view::View;

/// How many elements MEMORY USAGE looks at unless it is told.
const DEFAULT_SAMPLES: usize = 5;
/// Longest string that Redis keeps together with its header.
const EMBEDDED_BYTES: usize = 44;
/// Below this, Redis keeps one of each integer for everybody.
const SHARED_INTEGERS: i64 = 10_000;
/// Redis' count of who shares such an integer.
const SHARED: i64 = i32::MAX as i64;

impl<V: View> Database<'_, V> {
    /// OBJECT ENCODING key
    pub async fn object_encoding(&mut self, key: &Bytes) -> Reply {
        let Some(meta) = self.load(key).await? else { return Ok(Value::Null) };
        Ok(Value::bulk(match meta.content {
            Content::String(value) if parse_integer(&value).is_ok() => "int",
            Content::String(value) if value.len() <= EMBEDDED_BYTES => "embstr",
            Content::String(_) => "raw",
            Content::Hash(members) if members.compact => "listpack",
            Content::Set(members) if members.compact => "intset",
            Content::Hash(_) | Content::Set(_) => "hashtable",
            Content::List(_) => "quicklist",
            Content::SortedSet(Ranked { members, .. }) if members.compact => "listpack",
            Content::SortedSet(_) => "skiplist",
            Content::Stream(_) => "stream",
        }))
    }

    /// MEMORY USAGE key [SAMPLES count]: bytes of the records of a key, keys and values, before compression and
    /// replication. Of a collection some records are looked at, and the others count as much on average.
    pub async fn memory_usage(&mut self, key: &Bytes, options: &[Bytes]) -> Reply {
        let mut samples = DEFAULT_SAMPLES;
        for option in options.chunks(2) {
            samples = match option {
                [word, count] if word.eq_ignore_ascii_case(b"samples") => match parse_integer(count)? {
                    0 => usize::MAX,
                    count => usize::try_from(count).map_err(|_| RedisError::Syntax)?,
                },
                _ => return Err(RedisError::Syntax.into()),
            };
        }
        let Some(meta) = self.load(key).await? else { return Ok(Value::Null) };
        let own = layout::redis_meta(self.db, key).len() + meta.encode().len();
        let Some(generation) = meta.content.generation() else { return Ok(Value::Integer(own as i64)) };
        let elements = Elements::new(self.db, key, generation);
        let mut walk = elements.walk_all();
        let (mut seen, mut bytes) = (0, 0);
        while seen < samples {
            walk.limit_step(samples - seen);
            let Some(page) = walk.next(self.view).await? else { break };
            seen += page.len();
            bytes += page.iter().map(|(element, value)| elements.key(element).len() + value.len()).sum::<usize>();
        }
        let (seen, bytes) = (seen as u128, bytes as u128);
        let all = u128::from(meta.content.records()).max(seen);
        let estimate = bytes * all / seen.max(1);
        Ok(Value::Integer(own as i64 + i64::try_from(estimate).unwrap_or(i64::MAX)))
    }

    /// OBJECT REFCOUNT key
    pub async fn object_refcount(&mut self, key: &Bytes) -> Reply {
        let Some(meta) = self.load(key).await? else { return Ok(Value::Null) };
        let number = meta.content.into_string().ok().and_then(|value| parse_integer(&value).ok());
        let shared = number.is_some_and(|number| (0..SHARED_INTEGERS).contains(&number));
        Ok(Value::Integer(if shared { SHARED } else { 1 }))
    }

    /// OBJECT IDLETIME key: nothing is evicted, so nobody counts
    pub async fn object_idletime(&mut self, key: &Bytes) -> Reply {
        Ok(if self.exists(key).await? { Value::Integer(0) } else { Value::Null })
    }

    /// OBJECT FREQ key: nothing is evicted, least of all by frequency
    pub async fn object_freq(&mut self, key: &Bytes) -> Reply {
        if self.exists(key).await? { Err(RedisError::NoFrequency.into()) } else { Ok(Value::Null) }
    }
}
