//! Reading sorted sets by rank, score and name; and removing and storing what is read so.

use bytes::Bytes;

use super::super::access::{Database, Fault, Reply};
use super::super::error::RedisError;
use super::super::number::parse_integer;
use super::super::value::Value;
use super::interval::{Interval, Kind};
use super::{Scored, SortedSet, listed};
use crate::view::{Order, View, ViewError};

/// What a ZRANGE of any form asks for.
struct Query {
    interval: Interval,
    order: Order,
    /// Members passed over; negative: all.
    offset: i64,
    /// Negative: no limit.
    limit: i64,
    with_scores: bool,
}

impl Query {
    /// Reads min, max and options. The form of the command may fix kind and order; a form that stores has no scores.
    fn parse(kind: Option<Kind>, order: Option<Order>, args: &[Bytes], stores: bool) -> Result<Self, RedisError> {
        let ([min, max], mut options) = args.split_first_chunk::<2>().ok_or(RedisError::Syntax)?;
        let (mut own_kind, mut own_order) = (kind, order);
        let (mut offset, mut limit, mut with_scores) = (0, -1, false);
        while let [word, rest @ ..] = options {
            options = rest;
            match (word.to_ascii_lowercase().as_slice(), rest) {
                (b"withscores", _) if !stores => with_scores = true,
                (b"limit", [first, number, behind @ ..]) => {
                    (offset, limit) = (parse_integer(first)?, parse_integer(number)?);
                    options = behind;
                }
                (b"rev", _) if own_order.is_none() => own_order = Some(Order::Descending),
                (b"bylex", _) if own_kind.is_none() => own_kind = Some(Kind::Name),
                (b"byscore", _) if own_kind.is_none() => own_kind = Some(Kind::Score),
                _ => return Err(RedisError::Syntax),
            }
        }
        let (kind, order) = (own_kind.unwrap_or(Kind::Rank), own_order.unwrap_or(Order::Ascending));
        if limit != -1 && kind == Kind::Rank {
            return Err(RedisError::LimitOfRanks);
        }
        if with_scores && kind == Kind::Name {
            return Err(RedisError::ScoresOfNames);
        }
        // Backwards the higher end comes first; ranks count backwards themselves.
        let (min, max) = if order == Order::Descending && kind != Kind::Rank { (max, min) } else { (min, max) };
        Ok(Self { interval: Interval::parse(kind, min, max)?, order, offset, limit, with_scores })
    }

    async fn members<V: View>(&self, view: &mut V, set: &SortedSet) -> Result<Vec<Scored>, ViewError> {
        let mut ranks = self.interval.ranks(view, set).await?;
        if self.order == Order::Descending && matches!(self.interval, Interval::Ranks(..)) && !ranks.is_empty() {
            ranks = set.len() - ranks.end..set.len() - ranks.start;
        }
        let found = ranks.end - ranks.start;
        let passed = u64::try_from(self.offset).map_or(found, |offset| offset.min(found));
        let wanted = u64::try_from(self.limit).map_or(found - passed, |limit| limit.min(found - passed));
        let ranks = match self.order {
            Order::Ascending => ranks.start + passed..ranks.start + passed + wanted,
            Order::Descending => ranks.end - passed - wanted..ranks.end - passed,
        };
        set.between(view, ranks, self.order).await
    }
}

impl<V: View> Database<'_, V> {
    /// ZRANGE and its older forms: name, key, min, max, options…
    pub(super) async fn zrange(&mut self, kind: Option<Kind>, order: Option<Order>, args: &[Bytes]) -> Reply {
        let query = Query::parse(kind, order, &args[2..], false)?;
        let members = match self.open_sorted_set(&args[1]).await? {
            Some(set) => query.members(self.view, &set).await?,
            None => Vec::new(),
        };
        Ok(listed(members, query.with_scores))
    }

    /// ZRANGESTORE destination source min max options…
    pub(super) async fn zrangestore(&mut self, args: &[Bytes]) -> Reply {
        let query = Query::parse(None, None, &args[3..], true)?;
        let members = match self.open_sorted_set(&args[2]).await? {
            Some(set) => query.members(self.view, &set).await?,
            None => Vec::new(),
        };
        self.store_sorted_set(&args[1], &members).await
    }

    /// ZCOUNT and ZLEXCOUNT key min max
    pub(super) async fn zcount(&mut self, key: &Bytes, kind: Kind, min: &Bytes, max: &Bytes) -> Reply {
        let interval = Interval::parse(kind, min, max)?;
        let Some(set) = self.open_sorted_set(key).await? else { return Ok(Value::Integer(0)) };
        let ranks = interval.ranks(self.view, &set).await?;
        Ok(Value::Integer((ranks.end - ranks.start) as i64))
    }

    /// ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX key min max
    pub(super) async fn zremrange(&mut self, key: &Bytes, kind: Kind, min: &Bytes, max: &Bytes) -> Reply {
        let interval = Interval::parse(kind, min, max)?;
        let Some(mut set) = self.open_sorted_set(key).await? else { return Ok(Value::Integer(0)) };
        let ranks = interval.ranks(self.view, &set).await?;
        let members = self.remove_ranks(&mut set, ranks, Order::Ascending).await?;
        Ok(Value::Integer(members.len() as i64))
    }

    /// Removes the members with these ranks, and answers them in an order.
    pub(super) async fn remove_ranks(
        &mut self,
        set: &mut SortedSet,
        ranks: std::ops::Range<u64>,
        order: Order,
    ) -> Result<Vec<Scored>, Fault> {
        let members = set.between(self.view, ranks, order).await?;
        if members.len() as u64 == set.len() {
            // Everything goes: one record says so.
            self.remove(&set.key);
        } else if !members.is_empty() {
            for (member, score) in &members {
                set.remove(self.view, member, *score).await?;
            }
            self.close_sorted_set(set);
        }
        Ok(members)
    }

    /// ZRANK and ZREVRANK key member
    pub(super) async fn zrank(&mut self, key: &Bytes, member: &[u8], order: Order) -> Reply {
        let Some(set) = self.open_sorted_set(key).await? else { return Ok(Value::Null) };
        let Some(score) = set.score(self.view, member).await? else { return Ok(Value::Null) };
        let rank = set.rank(self.view, member, score).await?;
        let rank = if order == Order::Ascending { rank } else { set.len() - 1 - rank };
        Ok(Value::Integer(rank as i64))
    }
}
