//! Half-open intervals of encoded keys.

use std::cmp::Ordering;
use std::fmt;

use bytes::Bytes;

/// `start ≤ key < end`. An empty `start` is the beginning of the keyspace, an `end` of `None` its end.
///
/// Invariant: never empty, `start < end`.
/// Ordered by start, then by end: of two intervals with one start the shorter comes first.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyRange {
    start: Bytes,
    end: Option<Bytes>,
}

impl KeyRange {
    /// `None` when the interval would be empty.
    pub fn new(start: impl Into<Bytes>, end: Option<Bytes>) -> Option<Self> {
        let start = start.into();
        match &end {
            Some(end) if *end <= start => None,
            _ => Some(Self { start, end }),
        }
    }

    /// The whole keyspace.
    pub fn all() -> Self {
        Self { start: Bytes::new(), end: None }
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start: Bytes = prefix.into();
        let end = successor_of_prefix(&start);
        Self { start, end }
    }

    /// First key, inclusive.
    pub fn start(&self) -> &Bytes {
        &self.start
    }

    /// Where the interval stops, exclusive; `None` at the end of the keyspace.
    pub fn end(&self) -> Option<&Bytes> {
        self.end.as_ref()
    }

    /// Whether `key` lies inside.
    pub fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && self.end.as_ref().is_none_or(|end| *key < **end)
    }

    /// Whether all of `other` lies inside.
    pub fn covers(&self, other: &KeyRange) -> bool {
        self.start <= other.start
            && match (&self.end, &other.end) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(mine), Some(theirs)) => theirs <= mine,
            }
    }

    /// The common part, if there is one.
    pub fn intersect(&self, other: &KeyRange) -> Option<KeyRange> {
        let start = self.start.clone().max(other.start.clone());
        let end = match (&self.end, &other.end) {
            (None, end) | (end, None) => end.clone(),
            (Some(a), Some(b)) => Some(a.min(b).clone()),
        };
        KeyRange::new(start, end)
    }

    /// Both halves at `key`, which must lie strictly inside: neither half is empty.
    pub fn split_at(&self, key: &Bytes) -> Option<(KeyRange, KeyRange)> {
        (self.contains(key) && *key != self.start).then(|| {
            (
                KeyRange { start: self.start.clone(), end: Some(key.clone()) },
                KeyRange { start: key.clone(), end: self.end.clone() },
            )
        })
    }
}

impl Ord for KeyRange {
    fn cmp(&self, other: &Self) -> Ordering {
        self.start.cmp(&other.start).then_with(|| match (&self.end, &other.end) {
            (Some(mine), Some(theirs)) => mine.cmp(theirs),
            // No end is behind every end.
            (mine, theirs) => mine.is_none().cmp(&theirs.is_none()),
        })
    }
}

impl PartialOrd for KeyRange {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:?}, ", self.start)?;
        match &self.end {
            Some(end) => write!(f, "{end:?})"),
            None => f.write_str("+inf)"),
        }
    }
}

/// The smallest byte string above everything that begins with `prefix`; `None` if there is none.
pub fn successor_of_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|&byte| byte != 0xFF)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}
