//! Commands on one set, and SMOVE. Source of the rules: <https://redis.io/commands/?group=set>, compared with
//! redis-server 7.0. What combines several sets is in [`super::set_algebra`].

use bytes::Bytes;

use super::access::{Database, Fault, Reply};
use super::bag::Kind;
use super::database::parse_cursor;
use super::element_scan::{ScanOptions, page};
use super::error::RedisError;
use super::number::{parse_not_negative, parse_pick};
use super::set_algebra::Operation;
use super::table::SetCommand;
use super::value::Value;
use crate::view::View;

impl<V: View> Database<'_, V> {
    /// Runs a command on sets.
    pub async fn on_set(&mut self, command: SetCommand, args: &[Bytes]) -> Reply {
        let key = &args[1];
        match command {
            SetCommand::SAdd => self.sadd(key, &args[2..]).await,
            SetCommand::SCard => {
                Ok(Value::Integer(self.open_bag(Kind::Set, key).await?.map_or(0, |set| set.len()) as i64))
            }
            SetCommand::SDiff => self.combine(Operation::Difference, &args[1..]).await,
            SetCommand::SDiffStore => self.combine_into(key, Operation::Difference, &args[2..]).await,
            SetCommand::SInter => self.combine(Operation::Intersection, &args[1..]).await,
            SetCommand::SInterCard => self.sintercard(&args[1..]).await,
            SetCommand::SInterStore => self.combine_into(key, Operation::Intersection, &args[2..]).await,
            SetCommand::SIsMember => Ok(Value::Integer(self.count_of(key, &args[2]).await?)),
            SetCommand::SMembers => self.smembers(key).await,
            SetCommand::SMIsMember => self.smismember(key, &args[2..]).await,
            SetCommand::SMove => self.smove(key, &args[2], &args[3]).await,
            SetCommand::SPop => self.spop(key, &args[2..]).await,
            SetCommand::SRandMember => self.srandmember(key, &args[2..]).await,
            SetCommand::SRem => self.srem(key, &args[2..]).await,
            SetCommand::SScan => self.sscan(key, &args[2], &args[3..]).await,
            SetCommand::SUnion => self.combine(Operation::Union, &args[1..]).await,
            SetCommand::SUnionStore => self.combine_into(key, Operation::Union, &args[2..]).await,
        }
    }

    async fn sadd(&mut self, key: &Bytes, members: &[Bytes]) -> Reply {
        let mut set = self.open_or_new_bag(Kind::Set, key).await?;
        let mut added = 0;
        for member in members {
            added += i64::from(set.insert(self.view, member, Bytes::new()).await?);
        }
        if added > 0 {
            self.close_bag(&set);
        }
        Ok(Value::Integer(added))
    }

    async fn srem(&mut self, key: &Bytes, members: &[Bytes]) -> Reply {
        let Some(mut set) = self.open_bag(Kind::Set, key).await? else { return Ok(Value::Integer(0)) };
        let mut removed = 0;
        for member in members {
            removed += i64::from(set.remove(self.view, member).await?);
        }
        if removed > 0 {
            self.close_bag(&set);
        }
        Ok(Value::Integer(removed))
    }

    async fn count_of(&mut self, key: &Bytes, member: &[u8]) -> Result<i64, Fault> {
        Ok(match self.open_bag(Kind::Set, key).await? {
            Some(set) => i64::from(set.has(self.view, member).await?),
            None => 0,
        })
    }

    async fn smismember(&mut self, key: &Bytes, members: &[Bytes]) -> Reply {
        let set = self.open_bag(Kind::Set, key).await?;
        let mut found = Vec::with_capacity(members.len());
        for member in members {
            let has = match &set {
                Some(set) => set.has(self.view, member).await?,
                None => false,
            };
            found.push(Value::Integer(i64::from(has)));
        }
        Ok(Value::Array(found))
    }

    async fn smembers(&mut self, key: &Bytes) -> Reply {
        Ok(Value::Set(match self.open_bag(Kind::Set, key).await? {
            Some(set) => names(set.all(self.view).await?),
            None => Vec::new(),
        }))
    }

    /// SMOVE source destination member
    async fn smove(&mut self, source: &Bytes, destination: &Bytes, member: &Bytes) -> Reply {
        let Some(mut from) = self.open_bag(Kind::Set, source).await? else { return Ok(Value::Integer(0)) };
        let mut to = self.open_or_new_bag(Kind::Set, destination).await?;
        if source == destination {
            return Ok(Value::Integer(i64::from(from.has(self.view, member).await?)));
        }
        if !from.remove(self.view, member).await? {
            return Ok(Value::Integer(0));
        }
        self.close_bag(&from);
        if to.insert(self.view, member, Bytes::new()).await? {
            self.close_bag(&to);
        }
        Ok(Value::Integer(1))
    }

    /// SPOP key [count]
    async fn spop(&mut self, key: &Bytes, options: &[Bytes]) -> Reply {
        let count = match options {
            [] => None,
            [count] => Some(parse_not_negative(count)?),
            _ => return Err(RedisError::Syntax.into()),
        };
        let Some(mut set) = self.open_bag(Kind::Set, key).await? else {
            return Ok(if count.is_some() { Value::Set(Vec::new()) } else { Value::Null });
        };
        let picked = match count {
            Some(0) => return Ok(Value::Set(Vec::new())),
            Some(count) => set.pick_some(self.view, count.unsigned_abs()).await?,
            None => vec![set.pick(self.view).await?],
        };
        if picked.len() as u64 == set.len() {
            // Everything goes: one record says so.
            self.remove(key);
        } else {
            for (member, _) in &picked {
                set.remove(self.view, member).await?;
            }
            self.close_bag(&set);
        }
        let mut members = names(picked);
        Ok(if count.is_some() { Value::Set(members) } else { members.pop().unwrap_or(Value::Null) })
    }

    /// SRANDMEMBER key [count]
    async fn srandmember(&mut self, key: &Bytes, options: &[Bytes]) -> Reply {
        let count = match options {
            [] => None,
            [count] => Some(parse_pick(count, false)?),
            _ => return Err(RedisError::Syntax.into()),
        };
        let Some(set) = self.open_bag(Kind::Set, key).await? else {
            return Ok(if count.is_some() { Value::Array(Vec::new()) } else { Value::Null });
        };
        Ok(match count {
            Some(count) => Value::Array(names(self.pick_from(&set, count).await?)),
            None => Value::Bulk(set.pick(self.view).await?.0),
        })
    }

    async fn sscan(&mut self, key: &Bytes, cursor: &[u8], options: &[Bytes]) -> Reply {
        let cursor = parse_cursor(cursor)?;
        let Some(set) = self.open_bag(Kind::Set, key).await? else { return Ok(page(0, Vec::new())) };
        let options = ScanOptions::parse(options)?;
        let (next, members) = set.page(self.view, cursor, options.count).await?;
        Ok(page(next, names(members.into_iter().filter(|(member, _)| options.takes(member)))))
    }
}

fn names(found: impl IntoIterator<Item = (Bytes, Bytes)>) -> Vec<Value> {
    found.into_iter().map(|(name, _)| Value::Bulk(name)).collect()
}
