//! OBJECT: how Redis would keep a value. Programs ask to see whether a collection is still in its compact form.

use bytes::Bytes;

use super::access::{Database, Reply};
use super::error::RedisError;
use super::number::parse_integer;
use super::record::{Content, Ranked};
use super::value::Value;
use crate::view::View;

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
        }))
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
