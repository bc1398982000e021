//! Intervals of ranks, scores and names, and the ranks that lie in them.

use bytes::Bytes;

use super::super::error::RedisError;
use super::super::list::span;
use super::super::number::parse_integer;
use super::score::{above_in_order, parse_bound, to_order};
use super::{SortedSet, in_order, just_above};
use crate::view::{View, ViewError};

/// By what an interval is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// Ranks, from the end when negative.
    Rank,
    /// Scores.
    Score,
    /// Names, of members that have one score.
    Name,
}

/// Members between two ends.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Interval {
    /// Both ends included.
    Ranks(i64, i64),
    /// Of scores.
    Scores(Edge<f64>, Edge<f64>),
    /// Of names.
    Names(NameEdge, NameEdge),
}

/// An end of an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Edge<T> {
    /// Where.
    pub at: T,
    /// What lies there does not belong to the interval.
    pub open: bool,
}

/// An end of an interval of names.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum NameEdge {
    /// `-`
    Lowest,
    /// `+`
    Highest,
    /// `[name`, `(name`
    Name(Edge<Bytes>),
}

impl Interval {
    /// Reads the two ends.
    pub fn parse(kind: Kind, min: &Bytes, max: &Bytes) -> Result<Self, RedisError> {
        Ok(match kind {
            Kind::Rank => Interval::Ranks(parse_integer(min)?, parse_integer(max)?),
            Kind::Score => Interval::Scores(score_edge(min)?, score_edge(max)?),
            Kind::Name => Interval::Names(name_edge(min)?, name_edge(max)?),
        })
    }

    /// The ranks of the members in it; empty: 0 to 0.
    pub async fn ranks<V: View>(&self, view: &mut V, set: &SortedSet) -> Result<std::ops::Range<u64>, ViewError> {
        let (low, high) = match self {
            Interval::Ranks(start, stop) => return Ok(span(*start, *stop, set.len())),
            Interval::Scores(min, max) => {
                let low = if min.open { above_in_order(min.at) } else { to_order(min.at) };
                let high = if max.open { to_order(max.at) } else { above_in_order(max.at) };
                if low >= high {
                    return Ok(0..0);
                }
                let high =
                    if max.at == f64::INFINITY && !max.open { set.len() } else { set.below(view, &high).await? };
                (set.below(view, &low).await?, high)
            }
            Interval::Names(min, max) => {
                let (_, lowest) = set.at(view, 0).await?;
                let (_, highest) = set.at(view, set.len() - 1).await?;
                if lowest == highest {
                    (min.rank(view, set, lowest, false).await?, max.rank(view, set, lowest, true).await?)
                } else {
                    // Names are in no order then, and Redis does not say what it finds: halving finds the same where they are.
                    let low = set.halve(view, |name| min.is_above(name)).await?;
                    (low, set.halve(view, |name| !max.is_below(name)).await?)
                }
            }
        };
        Ok(if low < high { low..high } else { 0..0 })
    }
}

impl NameEdge {
    /// How many members lie before it, if all have this score; at the upper end of an interval, with the one that it names.
    async fn rank<V: View>(&self, view: &mut V, set: &SortedSet, score: f64, upper: bool) -> Result<u64, ViewError> {
        match self {
            NameEdge::Lowest => Ok(0),
            NameEdge::Highest => Ok(set.len()),
            NameEdge::Name(edge) => {
                let place = in_order(score, &edge.at);
                set.below(view, &if edge.open == upper { place } else { just_above(&place).into() }).await
            }
        }
    }

    /// Whether a name lies before an interval that begins here.
    fn is_above(&self, name: &[u8]) -> bool {
        match self {
            NameEdge::Lowest => false,
            NameEdge::Highest => true,
            NameEdge::Name(edge) => name < &edge.at[..] || edge.open && name == edge.at,
        }
    }

    /// Whether a name lies behind an interval that ends here.
    fn is_below(&self, name: &[u8]) -> bool {
        match self {
            NameEdge::Lowest => true,
            NameEdge::Highest => false,
            NameEdge::Name(edge) => name > &edge.at[..] || edge.open && name == edge.at,
        }
    }
}

fn score_edge(text: &Bytes) -> Result<Edge<f64>, RedisError> {
    let (open, number) = match text.strip_prefix(b"(") {
        Some(number) => (true, number),
        None => (false, &text[..]),
    };
    Ok(Edge { at: parse_bound(number).ok_or(RedisError::NotAnInterval)?, open })
}

fn name_edge(text: &Bytes) -> Result<NameEdge, RedisError> {
    Ok(match text.first() {
        Some(b'-') if text.len() == 1 => NameEdge::Lowest,
        Some(b'+') if text.len() == 1 => NameEdge::Highest,
        Some(b'[') => NameEdge::Name(Edge { at: text.slice(1..), open: false }),
        Some(b'(') => NameEdge::Name(Edge { at: text.slice(1..), open: true }),
        _ => return Err(RedisError::NotANameInterval),
    })
}
