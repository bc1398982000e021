//! Commands on hashes. Source of the rules: <https://redis.io/commands/?group=hash>, compared with redis-server 7.0.

use bytes::Bytes;

use super::access::{Database, Fault, Reply};
use super::bag::{Bag, Kind};
use super::counter::parse_float;
use super::database::parse_cursor;
use super::element_scan::{ScanOptions, page};
use super::error::RedisError;
use super::number::{parse_integer, parse_pick};
use super::table::HashCommand;
use super::value::Value;
use crate::view::View;

impl<V: View> Database<'_, V> {
    /// Runs a command on hashes.
    pub async fn on_hash(&mut self, command: HashCommand, args: &[Bytes]) -> Reply {
        let key = &args[1];
        match command {
            HashCommand::HDel => self.hdel(key, &args[2..]).await,
            HashCommand::HExists => Ok(Value::Integer(i64::from(self.field(key, &args[2]).await?.is_some()))),
            HashCommand::HGet => Ok(self.field(key, &args[2]).await?.map_or(Value::Null, Value::Bulk)),
            HashCommand::HGetAll => self.hgetall(key).await,
            HashCommand::HIncrBy => self.hincrby(key, &args[2], &args[3]).await,
            HashCommand::HIncrByFloat => self.hincrbyfloat(key, &args[2], &args[3]).await,
            HashCommand::HKeys => self.hkeys(key).await,
            HashCommand::HLen => {
                Ok(Value::Integer(self.open_bag(Kind::Hash, key).await?.map_or(0, |hash| hash.len()) as i64))
            }
            HashCommand::HMGet => self.hmget(key, &args[2..]).await,
            HashCommand::HMSet => self.hset("hmset", key, &args[2..]).await.map(|_| Value::OK),
            HashCommand::HRandField => self.hrandfield(key, &args[2..]).await,
            HashCommand::HScan => self.hscan(key, &args[2], &args[3..]).await,
            HashCommand::HSet => self.hset("hset", key, &args[2..]).await.map(Value::Integer),
            HashCommand::HSetNx => self.hsetnx(key, &args[2], &args[3]).await,
            HashCommand::HStrLen => {
                Ok(Value::Integer(self.field(key, &args[2]).await?.map_or(0, |value| value.len()) as i64))
            }
            HashCommand::HVals => self.hvals(key).await,
        }
    }

    async fn field(&mut self, key: &Bytes, field: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(match self.open_bag(Kind::Hash, key).await? {
            Some(hash) => hash.get(self.view, field).await?,
            None => None,
        })
    }

    /// HSET and HMSET key field value…: how many are new
    async fn hset(&mut self, command: &'static str, key: &Bytes, pairs: &[Bytes]) -> Result<i64, Fault> {
        let (pairs, rest) = pairs.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(RedisError::WrongArity { command }.into());
        }
        let mut hash = self.open_or_new_bag(Kind::Hash, key).await?;
        let mut new = 0;
        for [field, value] in pairs {
            new += i64::from(hash.insert(self.view, field, value.clone()).await?);
        }
        self.close_bag(&hash);
        Ok(new)
    }

    async fn hsetnx(&mut self, key: &Bytes, field: &[u8], value: &Bytes) -> Reply {
        let mut hash = self.open_or_new_bag(Kind::Hash, key).await?;
        let known = hash.has(self.view, field).await?;
        if !known {
            hash.write(self.view, field, value.clone(), false);
            self.close_bag(&hash);
        }
        Ok(Value::Integer(i64::from(!known)))
    }

    async fn hmget(&mut self, key: &Bytes, fields: &[Bytes]) -> Reply {
        let hash = self.open_bag(Kind::Hash, key).await?;
        let mut values = Vec::with_capacity(fields.len());
        for field in fields {
            let value = match &hash {
                Some(hash) => hash.get(self.view, field).await?,
                None => None,
            };
            values.push(value.map_or(Value::Null, Value::Bulk));
        }
        Ok(Value::Array(values))
    }

    async fn hdel(&mut self, key: &Bytes, fields: &[Bytes]) -> Reply {
        let Some(mut hash) = self.open_bag(Kind::Hash, key).await? else { return Ok(Value::Integer(0)) };
        let mut removed = 0;
        for field in fields {
            removed += i64::from(hash.remove(self.view, field).await?);
        }
        if removed > 0 {
            self.close_bag(&hash);
        }
        Ok(Value::Integer(removed))
    }

    async fn pairs(&mut self, key: &Bytes) -> Result<Vec<(Bytes, Bytes)>, Fault> {
        Ok(match self.open_bag(Kind::Hash, key).await? {
            Some(hash) => hash.all(self.view).await?,
            None => Vec::new(),
        })
    }

    async fn hgetall(&mut self, key: &Bytes) -> Reply {
        let pairs = self.pairs(key).await?;
        Ok(Value::Map(pairs.into_iter().map(|(field, value)| (Value::Bulk(field), Value::Bulk(value))).collect()))
    }

    async fn hkeys(&mut self, key: &Bytes) -> Reply {
        let pairs = self.pairs(key).await?;
        Ok(Value::Array(pairs.into_iter().map(|(field, _)| Value::Bulk(field)).collect()))
    }

    async fn hvals(&mut self, key: &Bytes) -> Reply {
        let pairs = self.pairs(key).await?;
        Ok(Value::Array(pairs.into_iter().map(|(_, value)| Value::Bulk(value)).collect()))
    }

    async fn hincrby(&mut self, key: &Bytes, field: &Bytes, increment: &[u8]) -> Reply {
        let increment = parse_integer(increment)?;
        let mut hash = self.open_or_new_bag(Kind::Hash, key).await?;
        let old = hash.get(self.view, field).await?;
        let number = match &old {
            Some(value) => parse_integer(value).map_err(|_| RedisError::HashNotAnInteger)?,
            None => 0,
        };
        let new = number.checked_add(increment).ok_or(RedisError::Overflow)?;
        self.write_field(&mut hash, field, new.to_string().into(), old.is_some());
        Ok(Value::Integer(new))
    }

    async fn hincrbyfloat(&mut self, key: &Bytes, field: &Bytes, increment: &[u8]) -> Reply {
        let increment = parse_float(increment)?;
        if !increment.is_finite() {
            return Err(RedisError::NotFiniteArgument.into());
        }
        let mut hash = self.open_or_new_bag(Kind::Hash, key).await?;
        let old = hash.get(self.view, field).await?;
        let sum = match &old {
            Some(value) => parse_float(value).map_err(|_| RedisError::HashNotAFloat)?.plus(increment),
            None => increment,
        };
        let new = Bytes::from(sum.to_plain().ok_or(RedisError::NotFinite)?);
        self.write_field(&mut hash, field, new.clone(), old.is_some());
        Ok(Value::Bulk(new))
    }

    fn write_field(&mut self, hash: &mut Bag, field: &Bytes, value: Bytes, known: bool) {
        hash.write(self.view, field, value, known);
        self.close_bag(hash);
    }

    /// HRANDFIELD key [count [WITHVALUES]]
    async fn hrandfield(&mut self, key: &Bytes, options: &[Bytes]) -> Reply {
        let Some(count) = options.first() else {
            return match self.open_bag(Kind::Hash, key).await? {
                Some(hash) => Ok(Value::Bulk(hash.pick(self.view).await?.0)),
                None => Ok(Value::Null),
            };
        };
        let with_values = match &options[1..] {
            [] => false,
            [word] if word.eq_ignore_ascii_case(b"withvalues") => true,
            _ => {
                parse_pick(count, false)?;
                return Err(RedisError::Syntax.into());
            }
        };
        let count = parse_pick(count, with_values)?;
        let Some(hash) = self.open_bag(Kind::Hash, key).await? else { return Ok(Value::Array(Vec::new())) };
        let picked = self.pick_from(&hash, count).await?;
        Ok(match with_values {
            true => {
                Value::Pairs(picked.into_iter().map(|(name, value)| (Value::Bulk(name), Value::Bulk(value))).collect())
            }
            false => Value::Array(picked.into_iter().map(|(name, _)| Value::Bulk(name)).collect()),
        })
    }

    /// Names of a bag at random: `count` different ones, or `-count` that may be the same.
    pub(super) async fn pick_from(&mut self, bag: &Bag, count: i64) -> Result<Vec<(Bytes, Bytes)>, Fault> {
        if count >= 0 {
            return Ok(bag.pick_some(self.view, count.unsigned_abs()).await?);
        }
        let mut picked = Vec::new();
        for _ in 0..count.unsigned_abs() {
            picked.push(bag.pick(self.view).await?);
        }
        Ok(picked)
    }

    async fn hscan(&mut self, key: &Bytes, cursor: &[u8], options: &[Bytes]) -> Reply {
        let cursor = parse_cursor(cursor)?;
        let Some(hash) = self.open_bag(Kind::Hash, key).await? else { return Ok(page(0, Vec::new())) };
        let options = ScanOptions::parse(options)?;
        let (next, pairs) = hash.page(self.view, cursor, options.count).await?;
        let listed = pairs.into_iter().filter(|(field, _)| options.takes(field));
        Ok(page(next, listed.flat_map(|(field, value)| [Value::Bulk(field), Value::Bulk(value)]).collect()))
    }
}
