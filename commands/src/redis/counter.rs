//! Strings as numbers: INCR and its relatives.

use bytes::Bytes;

use super::access::{Database, Fault, StoredString};
use super::error::RedisError;
use super::extended::Extended;
use super::number::parse_integer;
use super::value::Value;
use crate::view::View;

impl<V: View> Database<'_, V> {
    /// INCR, DECR, INCRBY, DECRBY: adds to an integer, 0 when the key is missing
    pub async fn add(&mut self, key: &Bytes, increment: i64) -> Result<Value, Fault> {
        let found = self.load_string(key).await?;
        let (old, expire_at_ms) = match found {
            Some(StoredString { value, expire_at_ms }) => (parse_integer(&value)?, expire_at_ms),
            None => (0, None),
        };
        let new = old.checked_add(increment).ok_or(RedisError::Overflow)?;
        self.store_string(key, new.to_string().into(), expire_at_ms);
        Ok(Value::Integer(new))
    }

    /// INCRBYFLOAT key increment
    pub async fn add_float(&mut self, key: &Bytes, increment: &[u8]) -> Result<Value, Fault> {
        let found = self.load_string(key).await?;
        let (old, expire_at_ms) = match &found {
            Some(found) => (parse_float(&found.value)?, found.expire_at_ms),
            None => (Extended::ZERO, None),
        };
        let new = Bytes::from(old.plus(parse_float(increment)?).to_plain().ok_or(RedisError::NotFinite)?);
        self.store_string(key, new.clone(), expire_at_ms);
        Ok(Value::Bulk(new))
    }
}

/// The increment of a DECRBY.
pub(super) fn negated(decrement: &[u8]) -> Result<i64, RedisError> {
    parse_integer(decrement)?.checked_neg().ok_or(RedisError::DecrementOverflow)
}

/// A number as INCRBYFLOAT reads it.
pub(super) fn parse_float(text: &[u8]) -> Result<Extended, RedisError> {
    Extended::parse(text).ok_or(RedisError::NotAFloat)
}
