//! LCS: the longest common subsequence of two strings, by the table of all pairs of their beginnings.

use bytes::Bytes;

use super::access::{Database, Fault, Reply};
use super::error::RedisError;
use super::number::parse_integer;
use super::value::Value;
use crate::view::View;

/// Most entries of the table.
const MAX_CELLS: usize = 1 << 25;

/// What to answer.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    length: bool,
    matches: bool,
    shortest_match: usize,
    match_lengths: bool,
}

impl Options {
    fn parse(mut args: &[Bytes]) -> Result<Self, RedisError> {
        let mut options = Self::default();
        while let [word, rest @ ..] = args {
            args = rest;
            match (word.to_ascii_lowercase().as_slice(), rest) {
                (b"len", _) => options.length = true,
                (b"idx", _) => options.matches = true,
                (b"withmatchlen", _) => options.match_lengths = true,
                (b"minmatchlen", [number, behind @ ..]) => {
                    options.shortest_match = usize::try_from(parse_integer(number)?).unwrap_or(0);
                    args = behind;
                }
                _ => return Err(RedisError::Syntax),
            }
        }
        if options.length && options.matches { Err(RedisError::LcsLenAndIdx) } else { Ok(options) }
    }
}

/// A stretch that both strings have: where it begins in each, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    left: usize,
    right: usize,
    len: usize,
}

/// The subsequence, and its stretches from the last to the first.
struct Common {
    bytes: Vec<u8>,
    matches: Vec<Match>,
}

impl<V: View> Database<'_, V> {
    /// LCS key1 key2 options…
    pub async fn lcs(&mut self, left: &Bytes, right: &Bytes, options: &[Bytes]) -> Reply {
        let (left, right) = (self.lcs_string(left).await?, self.lcs_string(right).await?);
        let options = Options::parse(options)?;
        if (left.len() + 1).saturating_mul(right.len() + 1) > MAX_CELLS {
            return Err(RedisError::LcsTooLong.into());
        }
        let Common { bytes, matches } = common(&left, &right);
        let length = Value::Integer(bytes.len() as i64);
        if options.length {
            return Ok(length);
        }
        if !options.matches {
            return Ok(Value::bulk(bytes));
        }
        let long_enough = matches.into_iter().filter(|found| found.len >= options.shortest_match);
        let shown = long_enough.map(|found| {
            let range = |start: usize| {
                Value::Array(vec![Value::Integer(start as i64), Value::Integer((start + found.len - 1) as i64)])
            };
            let mut parts = vec![range(found.left), range(found.right)];
            parts.extend(options.match_lengths.then_some(Value::Integer(found.len as i64)));
            Value::Array(parts)
        });
        Ok(Value::Map(vec![(Value::bulk("matches"), Value::Array(shown.collect())), (Value::bulk("len"), length)]))
    }

    async fn lcs_string(&mut self, key: &Bytes) -> Result<Bytes, Fault> {
        let Some(meta) = self.load(key).await? else { return Ok(Bytes::new()) };
        meta.content.into_string().map_err(|_| RedisError::LcsOfStringsOnly.into())
    }
}

fn common(left: &[u8], right: &[u8]) -> Common {
    let width = right.len() + 1;
    // How long the common subsequence of the first i and the first j bytes is.
    let mut lengths = vec![0_u32; (left.len() + 1) * width];
    for i in 1..=left.len() {
        for j in 1..=right.len() {
            lengths[i * width + j] = match left[i - 1] == right[j - 1] {
                true => lengths[(i - 1) * width + j - 1] + 1,
                false => lengths[(i - 1) * width + j].max(lengths[i * width + j - 1]),
            };
        }
    }
    let (mut i, mut j) = (left.len(), right.len());
    let mut bytes = Vec::with_capacity(lengths[i * width + j] as usize);
    let mut matches: Vec<Match> = Vec::new();
    // Whether the last match goes on where the walk stands.
    let mut open = false;
    while i > 0 && j > 0 {
        if left[i - 1] == right[j - 1] {
            bytes.push(left[i - 1]);
            (i, j) = (i - 1, j - 1);
            match matches.last_mut().filter(|_| open) {
                Some(last) => *last = Match { left: i, right: j, len: last.len + 1 },
                None => matches.push(Match { left: i, right: j, len: 1 }),
            }
            open = true;
        } else {
            match lengths[(i - 1) * width + j] > lengths[i * width + j - 1] {
                true => i -= 1,
                false => j -= 1,
            }
            open = false;
        }
    }
    bytes.reverse();
    Common { bytes, matches }
}
