//! Union, intersection and difference of sets, and their STORE forms.
//!
//! An intersection goes through the smallest set and asks the others; a difference goes through the first set and asks
//! the others, or through the others and strikes out, whichever looks at fewer members. The sets may lie in different
//! groups: then the gateway evaluates this over what it reads from them.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::access::{Database, Fault, Reply};
use super::bag::{Bag, Kind};
use super::error::RedisError;
use super::number::parse_counted;
use super::value::Value;
use crate::view::View;

/// How sets become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// What the first has and no other.
    Difference,
    /// What all have.
    Intersection,
    /// What any has.
    Union,
}

impl<V: View> Database<'_, V> {
    /// SUNION, SINTER, SDIFF key…
    pub(super) async fn combine(&mut self, operation: Operation, keys: &[Bytes]) -> Reply {
        let members = self.combined(operation, keys, u64::MAX).await?;
        Ok(Value::Set(members.into_iter().map(Value::Bulk).collect()))
    }

    /// SUNIONSTORE, SINTERSTORE, SDIFFSTORE destination key…: replaces whatever is there
    pub(super) async fn combine_into(&mut self, destination: &Bytes, operation: Operation, keys: &[Bytes]) -> Reply {
        let members = self.combined(operation, keys, u64::MAX).await?;
        if members.is_empty() {
            if self.exists(destination).await? {
                self.remove(destination);
            }
            return Ok(Value::Integer(0));
        }
        let mut set = self.new_bag(Kind::Set, destination);
        for member in &members {
            set.write(self.view, member, Bytes::new(), false);
        }
        self.close_bag(&set);
        Ok(Value::Integer(members.len() as i64))
    }

    /// SINTERCARD numkeys key… [LIMIT limit]
    pub(super) async fn sintercard(&mut self, args: &[Bytes]) -> Reply {
        let (keys, options) = parse_counted(args)?;
        let limit = parse_limit(options)?;
        Ok(Value::Integer(self.combined(Operation::Intersection, keys, limit).await?.len() as i64))
    }

    /// The members, each once; of an intersection at most `limit`.
    async fn combined(&mut self, operation: Operation, keys: &[Bytes], limit: u64) -> Result<Vec<Bytes>, Fault> {
        let mut sets = Vec::with_capacity(keys.len());
        for key in keys {
            sets.push(self.open_bag(Kind::Set, key).await?);
        }
        match operation {
            Operation::Union => self.union(sets.into_iter().flatten().collect()).await,
            Operation::Intersection => match sets.into_iter().collect() {
                Some(sets) => self.intersection(sets, limit).await,
                None => Ok(Vec::new()),
            },
            Operation::Difference => {
                let mut sets = sets.into_iter();
                match sets.next().flatten() {
                    Some(first) => self.difference(first, sets.flatten().collect()).await,
                    None => Ok(Vec::new()),
                }
            }
        }
    }

    async fn union(&mut self, sets: Vec<Bag>) -> Result<Vec<Bytes>, Fault> {
        let mut members = BTreeSet::new();
        for set in sets {
            let mut walk = set.walk();
            while let Some(page) = walk.next(self.view).await? {
                members.extend(page.into_iter().map(|(member, _)| member));
            }
        }
        Ok(members.into_iter().collect())
    }

    async fn intersection(&mut self, mut sets: Vec<Bag>, limit: u64) -> Result<Vec<Bytes>, Fault> {
        sets.sort_by_key(Bag::len);
        let Some((smallest, others)) = sets.split_first() else { return Ok(Vec::new()) };
        let mut members = Vec::new();
        let mut walk = smallest.walk();
        while let Some(page) = walk.next(self.view).await? {
            for (member, _) in page {
                if self.all_have(others, &member).await? {
                    members.push(member);
                    if members.len() as u64 >= limit {
                        return Ok(members);
                    }
                }
            }
        }
        Ok(members)
    }

    async fn all_have(&mut self, sets: &[Bag], member: &[u8]) -> Result<bool, Fault> {
        for set in sets {
            if !set.has(self.view, member).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn difference(&mut self, first: Bag, others: Vec<Bag>) -> Result<Vec<Bytes>, Fault> {
        let asking = first.len().saturating_mul(others.len() as u64);
        let striking: u64 = others.iter().map(Bag::len).sum();
        let members = first.all(self.view).await?.into_iter().map(|(member, _)| member);
        if striking < asking {
            let mut left: BTreeSet<Bytes> = members.collect();
            for set in &others {
                let mut walk = set.walk();
                while let Some(page) = walk.next(self.view).await? {
                    page.iter().for_each(|(member, _)| _ = left.remove(member));
                }
            }
            return Ok(left.into_iter().collect());
        }
        let mut left = Vec::new();
        for member in members {
            if !self.any_has(&others, &member).await? {
                left.push(member);
            }
        }
        Ok(left)
    }

    async fn any_has(&mut self, sets: &[Bag], member: &[u8]) -> Result<bool, Fault> {
        for set in sets {
            if set.has(self.view, member).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// LIMIT of SINTERCARD and ZINTERCARD; 0 means none.
pub(super) fn parse_limit(mut options: &[Bytes]) -> Result<u64, RedisError> {
    let mut limit = u64::MAX;
    while let [word, rest @ ..] = options {
        let ([number, behind @ ..], true) = (rest, word.eq_ignore_ascii_case(b"limit")) else {
            return Err(RedisError::Syntax);
        };
        let number = super::number::parse_integer(number).ok().and_then(|number| u64::try_from(number).ok());
        limit = match number.ok_or(RedisError::NegativeLimit)? {
            0 => u64::MAX,
            number => number,
        };
        options = behind;
    }
    Ok(limit)
}
