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
                // All members have this score, or it is not said which are in the interval.
                let (_, score) = set.at(view, 0).await?;
                let low = match min {
                    NameEdge::Lowest => 0,
                    NameEdge::Highest => set.len(),
                    NameEdge::Name(edge) => set.below(view, &place(score, edge, edge.open)).await?,
                };
                let high = match max {
                    NameEdge::Lowest => 0,
                    NameEdge::Highest => set.len(),
                    NameEdge::Name(edge) => set.below(view, &place(score, edge, !edge.open)).await?,
                };
                (low, high)
            }
        };
        Ok(if low < high { low..high } else { 0..0 })
    }
}

fn place(score: f64, edge: &Edge<Bytes>, above: bool) -> Bytes {
    let place = in_order(score, &edge.at);
    if above { just_above(&place).into() } else { place }
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
