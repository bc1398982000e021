//! Union, intersection and difference of sorted sets, and their STORE forms.
//!
//! Plain sets take part, too: their members have the score 1. Members are put together in memory; an intersection goes
//! through the smallest set and asks the others.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::access::{Database, Fault, Reply};
use super::super::bag::{Bag, Kind};
use super::super::error::RedisError;
use super::super::number::parse_integer;
use super::super::record::Content;
use super::super::set_algebra::parse_limit;
use super::super::value::Value;
use super::score::parse_double;
use super::{Scored, SortedSet, in_order, listed};
use crate::view::View;

/// How sorted sets become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Operation {
    /// What the first has and no other.
    Difference,
    /// What all have.
    Intersection,
    /// What any has.
    Union,
}

/// What becomes of several scores of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            // The sum of the two infinities is 0.
            Aggregate::Sum => not_nan(left + right),
            Aggregate::Min => left.min(right),
            Aggregate::Max => left.max(right),
        }
    }
}

fn not_nan(number: f64) -> f64 {
    if number.is_nan() { 0.0 } else { number }
}

/// One of the sets.
enum Source {
    Plain(Bag),
    Sorted(Box<SortedSet>),
    Missing,
}

impl Source {
    fn len(&self) -> u64 {
        match self {
            Source::Plain(set) => set.len(),
            Source::Sorted(set) => set.len(),
            Source::Missing => 0,
        }
    }

    async fn all<V: View>(&self, view: &mut V) -> Result<Vec<Scored>, Fault> {
        Ok(match self {
            Source::Plain(set) => set.all(view).await?.into_iter().map(|(member, _)| (member, 1.0)).collect(),
            Source::Sorted(set) => set.all(view).await?,
            Source::Missing => Vec::new(),
        })
    }

    async fn score<V: View>(&self, view: &mut V, member: &[u8]) -> Result<Option<f64>, Fault> {
        Ok(match self {
            Source::Plain(set) => set.has(view, member).await?.then_some(1.0),
            Source::Sorted(set) => set.score(view, member).await?,
            Source::Missing => None,
        })
    }
}

/// Options behind the keys.
struct Options {
    weights: Option<Vec<f64>>,
    aggregate: Aggregate,
    with_scores: bool,
}

impl Options {
    fn parse(mut args: &[Bytes], operation: Operation, keys: usize, stores: bool) -> Result<Self, RedisError> {
        let mut options = Self { weights: None, aggregate: Aggregate::Sum, with_scores: false };
        let combines = operation != Operation::Difference;
        while let [word, rest @ ..] = args {
            args = rest;
            match (word.to_ascii_lowercase().as_slice(), rest) {
                (b"weights", rest) if combines && rest.len() >= keys => {
                    let (weights, behind) = rest.split_at(keys);
                    let weight = |text: &Bytes| parse_double(text).ok_or(RedisError::WeightNotAFloat);
                    options.weights = Some(weights.iter().map(weight).collect::<Result<_, _>>()?);
                    args = behind;
                }
                (b"aggregate", [kind, behind @ ..]) if combines => {
                    options.aggregate = match kind.to_ascii_lowercase().as_slice() {
                        b"sum" => Aggregate::Sum,
                        b"min" => Aggregate::Min,
                        b"max" => Aggregate::Max,
                        _ => return Err(RedisError::Syntax),
                    };
                    args = behind;
                }
                (b"withscores", _) if !stores => options.with_scores = true,
                _ => return Err(RedisError::Syntax),
            }
        }
        Ok(options)
    }
}

impl<V: View> Database<'_, V> {
    /// ZUNION, ZINTER, ZDIFF numkeys key… options…
    pub(super) async fn zcombine(&mut self, operation: Operation, name: &'static str, args: &[Bytes]) -> Reply {
        let (sources, rest) = self.sources(name, args).await?;
        let options = Options::parse(rest, operation, sources.len(), false)?;
        let members = self.zcombined(operation, sources, &options).await?;
        Ok(listed(members, options.with_scores))
    }

    /// ZUNIONSTORE, ZINTERSTORE, ZDIFFSTORE destination numkeys key… options…
    pub(super) async fn zcombine_into(
        &mut self,
        destination: &Bytes,
        operation: Operation,
        name: &'static str,
        args: &[Bytes],
    ) -> Reply {
        let (sources, rest) = self.sources(name, args).await?;
        let options = Options::parse(rest, operation, sources.len(), true)?;
        let members = self.zcombined(operation, sources, &options).await?;
        self.store_sorted_set(destination, &members).await
    }

    /// ZINTERCARD numkeys key… [LIMIT limit]
    pub(super) async fn zintercard(&mut self, name: &'static str, args: &[Bytes]) -> Reply {
        let (mut sources, rest) = self.sources(name, args).await?;
        let limit = parse_limit(rest)?;
        sources.sort_by_key(Source::len);
        let Some((smallest, others)) = sources.split_first() else { return Ok(Value::Integer(0)) };
        let mut found = 0;
        'members: for (member, _) in smallest.all(self.view).await? {
            for other in others {
                if other.score(self.view, &member).await?.is_none() {
                    continue 'members;
                }
            }
            found += 1;
            if found >= limit {
                break;
            }
        }
        Ok(Value::Integer(found as i64))
    }

    /// The sets that are named, and what follows their names.
    async fn sources<'a>(
        &mut self,
        name: &'static str,
        args: &'a [Bytes],
    ) -> Result<(Vec<Source>, &'a [Bytes]), Fault> {
        let [number, rest @ ..] = args else { return Err(RedisError::Syntax.into()) };
        let number = parse_integer(number)?;
        if number < 1 {
            return Err(RedisError::NoInputKeys { command: name }.into());
        }
        let split = usize::try_from(number).ok().and_then(|number| rest.split_at_checked(number));
        let (keys, rest) = split.ok_or(RedisError::Syntax)?;
        let mut sources = Vec::with_capacity(keys.len());
        for key in keys {
            sources.push(match self.load(key).await?.map(|meta| meta.content) {
                None => Source::Missing,
                Some(Content::Set(_)) => self.open_bag(Kind::Set, key).await?.map_or(Source::Missing, Source::Plain),
                Some(_) => {
                    self.open_sorted_set(key).await?.map_or(Source::Missing, |set| Source::Sorted(Box::new(set)))
                }
            });
        }
        Ok((sources, rest))
    }

    /// The members with their scores, in order.
    async fn zcombined(
        &mut self,
        operation: Operation,
        sources: Vec<Source>,
        options: &Options,
    ) -> Result<Vec<Scored>, Fault> {
        let weight = |at: usize| options.weights.as_ref().and_then(|weights| weights.get(at)).copied().unwrap_or(1.0);
        let mut sources: Vec<(f64, Source)> =
            sources.into_iter().enumerate().map(|(at, source)| (weight(at), source)).collect();
        if operation != Operation::Difference {
            // Also the order in which scores are added up.
            sources.sort_by_key(|(_, source)| source.len());
        }
        let mut members: Vec<Scored> = match operation {
            Operation::Union => {
                let mut found: BTreeMap<Bytes, f64> = BTreeMap::new();
                for (weight, source) in &sources {
                    for (member, score) in source.all(self.view).await? {
                        let score = not_nan(weight * score);
                        let sum = |old: &mut f64| *old = options.aggregate.apply(*old, score);
                        found.entry(member).and_modify(sum).or_insert(score);
                    }
                }
                found.into_iter().collect()
            }
            Operation::Intersection => self.zintersection(&sources, options.aggregate).await?,
            Operation::Difference => {
                let Some(((_, first), others)) = sources.split_first() else { return Ok(Vec::new()) };
                let mut left = Vec::new();
                'members: for (member, score) in first.all(self.view).await? {
                    for (_, other) in others {
                        if other.score(self.view, &member).await?.is_some() {
                            continue 'members;
                        }
                    }
                    left.push((member, score));
                }
                left
            }
        };
        members.sort_by_cached_key(|(member, score)| in_order(*score, member));
        Ok(members)
    }

    async fn zintersection(&mut self, sources: &[(f64, Source)], aggregate: Aggregate) -> Result<Vec<Scored>, Fault> {
        let Some(((weight, smallest), others)) = sources.split_first() else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        'members: for (member, score) in smallest.all(self.view).await? {
            let mut score = not_nan(weight * score);
            for (weight, other) in others {
                match other.score(self.view, &member).await? {
                    // Zero times infinity is no number, and the sum with it 0; Redis does not mend the factor here.
                    Some(other) => score = aggregate.apply(score, weight * other),
                    None => continue 'members,
                }
            }
            found.push((member, score));
        }
        Ok(found)
    }
}
