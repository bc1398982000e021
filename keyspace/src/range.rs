//! Half-open intervals of encoded keys.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;

use crate::layout;

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

    /// As an ordered map takes them.
    pub fn bounds(&self) -> impl RangeBounds<Bytes> {
        (Bound::Included(self.start.clone()), self.end.clone().map_or(Bound::Unbounded, Bound::Excluded))
    }

    /// The Redis keys among these.
    pub fn redis_part(&self) -> Option<KeyRange> {
        self.intersect(&KeyRange::prefix(vec![layout::REDIS]))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Short strings over few bytes: intervals of them often touch, overlap and contain each other.
    fn strings() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0x00), Just(b'a'), Just(b'b'), Just(0xFF)], 0..4)
    }

    fn ranges() -> impl Strategy<Value = KeyRange> {
        (strings(), prop::option::of(strings()))
            .prop_filter_map("empty", |(start, end)| KeyRange::new(start, end.map(Bytes::from)))
    }

    #[test]
    fn an_interval_is_never_empty() {
        assert_eq!(KeyRange::new("b", Some("b".into())), None);
        assert_eq!(KeyRange::new("b", Some("a".into())), None);
        assert_eq!(KeyRange::new("", Some("".into())), None);
        assert_eq!(KeyRange::new("", None), Some(KeyRange::all()));
    }

    #[test]
    fn a_prefix_ends_behind_its_last_extension() {
        assert_eq!(KeyRange::prefix("ab").end().unwrap(), "ac");
        assert_eq!(KeyRange::prefix(vec![1, 0xFF, 0xFF]).end().unwrap(), &[2u8][..]);
        assert_eq!(KeyRange::prefix(vec![0xFF]).end(), None);
        assert_eq!(KeyRange::prefix(""), KeyRange::all());
    }

    proptest! {
        #[test]
        fn an_ordered_map_is_cut_where_the_interval_is(range in ranges(), keys in prop::collection::btree_set(strings(), 0..20)) {
            let keys: std::collections::BTreeSet<Bytes> = keys.into_iter().map(Bytes::from).collect();
            let inside: Vec<_> = keys.iter().filter(|key| range.contains(key)).collect();
            prop_assert_eq!(keys.range(range.bounds()).collect::<Vec<_>>(), inside);
        }

        #[test]
        fn contains_is_what_the_bounds_say(range in ranges(), key in strings()) {
            let below_end = range.end().is_none_or(|end| key < *end);
            prop_assert_eq!(range.contains(&key), key >= *range.start() && below_end);
            prop_assert!(range.contains(range.start()));
        }

        #[test]
        fn a_prefix_contains_exactly_its_extensions(prefix in strings(), key in strings()) {
            prop_assert_eq!(KeyRange::prefix(prefix.clone()).contains(&key), key.starts_with(&prefix));
        }

        #[test]
        fn the_common_part_has_the_common_keys(a in ranges(), b in ranges(), key in strings()) {
            let common = a.intersect(&b);
            let has = common.as_ref().is_some_and(|common| common.contains(&key));
            prop_assert_eq!(has, a.contains(&key) && b.contains(&key));
            prop_assert_eq!(&common, &b.intersect(&a));
            prop_assert_eq!(a.covers(&b), common == Some(b));
        }

        #[test]
        fn both_halves_make_the_whole(range in ranges(), at in strings(), key in strings()) {
            let at = Bytes::from(at);
            let inside = range.contains(&at) && at != *range.start();
            match range.split_at(&at) {
                None => prop_assert!(!inside),
                Some((left, right)) => {
                    prop_assert!(inside && left.intersect(&right).is_none() && left < right);
                    prop_assert!(range.covers(&left) && range.covers(&right));
                    prop_assert_eq!(range.contains(&key), left.contains(&key) != right.contains(&key));
                }
            }
        }

        #[test]
        fn of_one_start_the_shorter_comes_first(a in ranges(), b in ranges()) {
            if a.start() == b.start() && a != b {
                prop_assert_eq!(a < b, b.covers(&a));
            } else {
                prop_assert_eq!(a.cmp(&b), a.start().cmp(b.start()));
            }
        }
    }
}
