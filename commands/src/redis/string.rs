//! Commands on strings. Source of the rules: <https://redis.io/commands/?group=string>, compared with redis-server 7.0.

use bytes::{Bytes, BytesMut};

use super::access::{Database, Reply, StoredString};
use super::error::{MAX_VALUE_BYTES, RedisError};
use super::number::parse_integer;
use super::options::{ExpiryChange, ExpiryOption, SetCondition, SetOptions, TimeForm, parse_getex};
use super::value::Value;
use crate::view::View;

fn or_null(found: Option<StoredString>) -> Value {
    found.map_or(Value::Null, |found| Value::Bulk(found.value))
}

impl<V: View> Database<'_, V> {
    /// GET key
    pub async fn get(&mut self, key: &Bytes) -> Reply {
        Ok(or_null(self.load_string(key).await?))
    }

    /// SET key value options…
    pub async fn set(&mut self, key: &Bytes, value: &Bytes, options: &[Bytes]) -> Reply {
        let SetOptions { condition, answer_old, expiry } = SetOptions::parse(options)?;
        let now_ms = self.now_ms();
        let expire_at_ms = match &expiry {
            ExpiryChange::To(option) => Some(option.to_expire_at_ms("set", now_ms)?),
            _ => None,
        };
        // Only a SET that looks at the old record reads it, and only GET minds its type.
        let looks = answer_old || condition.is_some() || expiry == ExpiryChange::Keep;
        let old = if looks { self.load(key).await? } else { None };
        let reply = match (&old, answer_old) {
            (_, false) => Value::OK,
            (None, true) => Value::Null,
            (Some(old), true) => Value::Bulk(old.content.clone().into_string()?),
        };
        let met = match condition {
            None => true,
            Some(SetCondition::Missing) => old.is_none(),
            Some(SetCondition::Existing) => old.is_some(),
        };
        if !met {
            return Ok(if answer_old { reply } else { Value::Null });
        }
        let kept = old.and_then(|old| old.expire_at_ms).filter(|_| expiry == ExpiryChange::Keep);
        self.store_string(key, value.clone(), expire_at_ms.or(kept));
        Ok(reply)
    }

    /// SETNX key value
    pub async fn setnx(&mut self, key: &Bytes, value: &Bytes) -> Reply {
        let exists = self.exists(key).await?;
        if !exists {
            self.store_string(key, value.clone(), None);
        }
        Ok(Value::Integer(i64::from(!exists)))
    }

    /// SETEX key seconds value, PSETEX key milliseconds value
    pub fn setex(
        &mut self,
        command: &'static str,
        form: TimeForm,
        key: &Bytes,
        number: &Bytes,
        value: &Bytes,
    ) -> Reply {
        let option = ExpiryOption { form, number: number.clone() };
        let expire_at_ms = option.to_expire_at_ms(command, self.now_ms())?;
        self.store_string(key, value.clone(), Some(expire_at_ms));
        Ok(Value::OK)
    }

    /// GETSET key value
    pub async fn getset(&mut self, key: &Bytes, value: &Bytes) -> Reply {
        let old = self.load_string(key).await?;
        self.store_string(key, value.clone(), None);
        Ok(or_null(old))
    }

    /// GETDEL key
    pub async fn getdel(&mut self, key: &Bytes) -> Reply {
        let old = self.load_string(key).await?;
        if old.is_some() {
            self.remove(key);
        }
        Ok(or_null(old))
    }

    /// GETEX key options…
    pub async fn getex(&mut self, key: &Bytes, options: &[Bytes]) -> Reply {
        let change = parse_getex(options)?;
        let Some(old) = self.load_string(key).await? else {
            return Ok(Value::Null);
        };
        let expire_at_ms = match &change {
            ExpiryChange::To(option) => Some(option.to_expire_at_ms("getex", self.now_ms())?),
            ExpiryChange::Drop => None,
            ExpiryChange::Default | ExpiryChange::Keep => old.expire_at_ms,
        };
        if expire_at_ms != old.expire_at_ms {
            self.store_string(key, old.value.clone(), expire_at_ms);
        }
        Ok(Value::Bulk(old.value))
    }

    /// MGET key…: null for what is missing or no string
    pub async fn mget(&mut self, keys: &[Bytes]) -> Reply {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let found = self.load(key).await?;
            let value = found.and_then(|meta| meta.content.into_string().ok());
            values.push(value.map_or(Value::Null, Value::Bulk));
        }
        Ok(Value::Array(values))
    }

    /// MSET key value…
    pub fn mset(&mut self, pairs: &[Bytes]) -> Reply {
        for (key, value) in in_pairs("mset", pairs)? {
            self.store_string(key, value.clone(), None);
        }
        Ok(Value::OK)
    }

    /// MSETNX key value…: all or none
    pub async fn msetnx(&mut self, pairs: &[Bytes]) -> Reply {
        for (key, _) in in_pairs("msetnx", pairs)? {
            if self.exists(key).await? {
                return Ok(Value::Integer(0));
            }
        }
        for (key, value) in in_pairs("msetnx", pairs)? {
            self.store_string(key, value.clone(), None);
        }
        Ok(Value::Integer(1))
    }

    /// APPEND key value
    pub async fn append(&mut self, key: &Bytes, tail: &Bytes) -> Reply {
        let Some(StoredString { value, expire_at_ms }) = self.load_string(key).await? else {
            self.store_string(key, tail.clone(), None);
            return Ok(length(tail.len()));
        };
        let len = check_length(value.len(), tail.len())?;
        let mut joined = BytesMut::with_capacity(len);
        joined.extend_from_slice(&value);
        joined.extend_from_slice(tail);
        self.store_string(key, joined.freeze(), expire_at_ms);
        Ok(length(len))
    }

    /// STRLEN key
    pub async fn strlen(&mut self, key: &Bytes) -> Reply {
        Ok(length(self.load_string(key).await?.map_or(0, |found| found.value.len())))
    }

    /// GETRANGE key start end: both ends inclusive, negative from the end, clamped
    pub async fn getrange(&mut self, key: &Bytes, start: &[u8], end: &[u8]) -> Reply {
        let (start, end) = (parse_integer(start)?, parse_integer(end)?);
        let value = self.load_string(key).await?.unwrap_or_default().value;
        let len = value.len() as i64;
        let from_front = |index: i64| if index < 0 { len.saturating_add(index).max(0) } else { index };
        let (first, last) = (from_front(start), from_front(end).min(len - 1));
        // Counted from the end a reversed range stays empty, also where clamping would make it one byte.
        if first > last || (start < 0 && end < 0 && start > end) {
            return Ok(Value::Bulk(Bytes::new()));
        }
        Ok(Value::Bulk(value.slice(first as usize..=last as usize)))
    }

    /// SETRANGE key offset value: zero bytes fill a gap
    pub async fn setrange(&mut self, key: &Bytes, offset: &[u8], patch: &Bytes) -> Reply {
        let offset = usize::try_from(parse_integer(offset)?).map_err(|_| RedisError::OffsetOutOfRange)?;
        let StoredString { value, expire_at_ms } = self.load_string(key).await?.unwrap_or_default();
        if patch.is_empty() {
            return Ok(length(value.len()));
        }
        let end = check_length(offset, patch.len())?;
        let mut patched = value.to_vec();
        patched.resize(patched.len().max(end), 0);
        patched[offset..end].copy_from_slice(patch);
        let len = patched.len();
        self.store_string(key, patched.into(), expire_at_ms);
        Ok(length(len))
    }
}

/// Keys and values; the arity in the table cannot say that they come in pairs.
fn in_pairs<'a>(
    command: &'static str,
    args: &'a [Bytes],
) -> Result<impl Iterator<Item = (&'a Bytes, &'a Bytes)>, RedisError> {
    let (pairs, rest) = args.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(RedisError::WrongArity { command });
    }
    Ok(pairs.iter().map(|[key, value]| (key, value)))
}

fn check_length(len: usize, more: usize) -> Result<usize, RedisError> {
    len.checked_add(more).filter(|&len| len <= MAX_VALUE_BYTES).ok_or(RedisError::StringTooLong)
}

fn length(len: usize) -> Value {
    Value::Integer(len as i64)
}
