//! Adding, changing and removing members.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::access::{Database, Reply};
use super::super::error::RedisError;
use super::super::list::{parse_mpop, parse_mpop_count};
use super::super::number::parse_not_negative;
use super::super::value::Value;
use super::Scored;
use super::score::parse_double;
use crate::view::{Order, View};

/// The options of ZADD.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct AddOptions {
    /// NX: only members that are not there.
    pub only_new: bool,
    /// XX: only members that are there.
    pub only_existing: bool,
    /// GT: only to a higher score.
    pub only_higher: bool,
    /// LT: only to a lower score.
    pub only_lower: bool,
    /// CH: count changes, too.
    pub count_changes: bool,
    /// INCR: add to the score.
    increment: bool,
}

impl AddOptions {
    /// Reads options up to the first word that is none.
    pub fn parse(mut args: &[Bytes]) -> (Self, &[Bytes]) {
        let mut options = Self::default();
        while let [word, rest @ ..] = args {
            match word.to_ascii_lowercase().as_slice() {
                b"nx" => options.only_new = true,
                b"xx" => options.only_existing = true,
                b"gt" => options.only_higher = true,
                b"lt" => options.only_lower = true,
                b"ch" => options.count_changes = true,
                b"incr" => options.increment = true,
                _ => break,
            }
            args = rest;
        }
        (options, args)
    }

    fn check(&self, pairs: usize) -> Result<(), RedisError> {
        let Self { only_new, only_existing, only_higher, only_lower, increment, .. } = *self;
        if only_new && only_existing {
            Err(RedisError::ZaddNxXx)
        } else if (only_new && (only_higher || only_lower)) || (only_higher && only_lower) {
            Err(RedisError::ZaddGtLtNx)
        } else if increment && pairs > 1 {
            Err(RedisError::ZaddIncrPairs)
        } else {
            Ok(())
        }
    }
}

impl<V: View> Database<'_, V> {
    /// ZADD key options… score member…
    pub(super) async fn zadd(&mut self, key: &Bytes, args: &[Bytes]) -> Reply {
        let (options, pairs) = AddOptions::parse(args);
        let (pairs, rest) = pairs.as_chunks::<2>();
        if pairs.is_empty() || !rest.is_empty() {
            return Err(RedisError::Syntax.into());
        }
        options.check(pairs.len())?;
        let scored =
            |[score, member]: &[Bytes; 2]| Ok((member.clone(), parse_double(score).ok_or(RedisError::NotAFloat)?));
        let members: Vec<Scored> = pairs.iter().map(scored).collect::<Result<_, RedisError>>()?;
        self.add_members(key, options, &members).await
    }

    /// ZINCRBY key increment member
    pub(super) async fn zincrby(&mut self, key: &Bytes, increment: &[u8], member: &Bytes) -> Reply {
        let increment = parse_double(increment).ok_or(RedisError::NotAFloat)?;
        let options = AddOptions { increment: true, ..AddOptions::default() };
        self.add_members(key, options, &[(member.clone(), increment)]).await
    }

    /// Adds members under conditions: how many, or with INCR the score.
    pub(in super::super) async fn add_members(
        &mut self,
        key: &Bytes,
        options: AddOptions,
        members: &[Scored],
    ) -> Reply {
        let mut set = match self.open_sorted_set(key).await? {
            None if options.only_existing => {
                return Ok(if options.increment { Value::Null } else { Value::Integer(0) });
            }
            None => self.new_sorted_set(key),
            Some(set) => set,
        };
        let (mut added, mut updated, mut processed) = (0, 0, None);
        // A new set is written at once when it is known: an order is built much faster than it grows.
        let mut new = (set.len() == 0).then(BTreeMap::new);
        for (member, score) in members {
            let old = match &new {
                Some(new) => new.get(member).copied(),
                None => set.score(self.view, member).await?,
            };
            let mut score = *score;
            match old {
                Some(_) if options.only_new => continue,
                None if options.only_existing => continue,
                Some(old) => {
                    if options.increment {
                        score += old;
                        if score.is_nan() {
                            return Err(RedisError::ScoreNotANumber.into());
                        }
                    }
                    if (options.only_lower && score >= old) || (options.only_higher && score <= old) {
                        continue;
                    }
                    if score == old {
                        processed = Some(score);
                        continue;
                    }
                    updated += 1;
                }
                None => added += 1,
            }
            match &mut new {
                Some(new) => _ = new.insert(member.clone(), score),
                None => set.write(self.view, member, old, score).await?,
            }
            processed = Some(score);
        }
        if let Some(new) = new {
            set.fill(self.view, &new.into_iter().collect::<Vec<_>>());
        }
        if added + updated > 0 {
            self.close_sorted_set(&set);
        }
        Ok(match options.increment {
            true => processed.map_or(Value::Null, Value::Double),
            false => Value::Integer(if options.count_changes { added + updated } else { added }),
        })
    }

    /// ZREM key member…
    pub(super) async fn zrem(&mut self, key: &Bytes, members: &[Bytes]) -> Reply {
        let Some(mut set) = self.open_sorted_set(key).await? else { return Ok(Value::Integer(0)) };
        let mut removed = 0;
        for member in members {
            if set.len() > 0
                && let Some(score) = set.score(self.view, member).await?
            {
                set.remove(self.view, member, score).await?;
                removed += 1;
            }
        }
        if removed > 0 {
            self.close_sorted_set(&set);
        }
        Ok(Value::Integer(removed))
    }

    /// ZPOPMIN and ZPOPMAX key [count]
    pub(super) async fn zpop(&mut self, key: &Bytes, order: Order, options: &[Bytes]) -> Reply {
        let count = match options {
            [] => None,
            [count] => Some(parse_not_negative(count)?),
            _ => return Err(RedisError::Syntax.into()),
        };
        let Some(mut set) = self.open_sorted_set(key).await? else { return Ok(Value::Array(Vec::new())) };
        let ranks = outermost(set.len(), count.map_or(1, i64::unsigned_abs), order);
        let members = self.remove_ranks(&mut set, ranks, order).await?;
        let mut pairs = members.into_iter().map(|(member, score)| (Value::Bulk(member), Value::Double(score)));
        Ok(match count {
            Some(_) => Value::Pairs(pairs.collect()),
            // One member and its score, in both versions of the protocol.
            None => Value::Array(pairs.next().map_or_else(Vec::new, |(member, score)| vec![member, score])),
        })
    }

    /// BZPOPMIN and BZPOPMAX key… timeout: of the first sorted set that there is
    pub(super) async fn zpop_first(&mut self, keys: &[Bytes], order: Order) -> Reply {
        for key in keys {
            if let Some(mut set) = self.open_sorted_set(key).await? {
                let ranks = outermost(set.len(), 1, order);
                let popped = self.remove_ranks(&mut set, ranks, order).await?;
                let popped = popped.into_iter().flat_map(|(member, score)| [Value::Bulk(member), Value::Double(score)]);
                return Ok(Value::Array(std::iter::once(Value::Bulk(key.clone())).chain(popped).collect()));
            }
        }
        Ok(Value::NullArray)
    }

    /// ZMPOP numkeys key… MIN|MAX [COUNT count]: of the first sorted set that there is
    pub(super) async fn zmpop(&mut self, args: &[Bytes]) -> Reply {
        let (keys, order, count) = parse_zmpop(args)?;
        for key in keys {
            if let Some(mut set) = self.open_sorted_set(key).await? {
                let ranks = outermost(set.len(), count, order);
                let members = self.remove_ranks(&mut set, ranks, order).await?;
                let pair = |(member, score)| Value::Array(vec![Value::Bulk(member), Value::Double(score)]);
                let members = Value::Array(members.into_iter().map(pair).collect());
                return Ok(Value::Array(vec![Value::Bulk(key.clone()), members]));
            }
        }
        Ok(Value::NullArray)
    }
}

/// The keys of ZMPOP, which end and how many.
pub(in super::super) fn parse_zmpop(args: &[Bytes]) -> Result<(&[Bytes], Order, u64), RedisError> {
    let (keys, options) = parse_mpop(args)?;
    let [end, options @ ..] = options else { return Err(RedisError::Syntax) };
    let order = match end.to_ascii_lowercase().as_slice() {
        b"min" => Order::Ascending,
        b"max" => Order::Descending,
        _ => return Err(RedisError::Syntax),
    };
    Ok((keys, order, parse_mpop_count(options)?))
}

/// The ranks of the first `count` members in an order.
fn outermost(len: u64, count: u64, order: Order) -> std::ops::Range<u64> {
    let count = count.min(len);
    match order {
        Order::Ascending => 0..count,
        Order::Descending => len - count..len,
    }
}
