//! Whether and how a range may be cut in two.

use bytes::Bytes;
use keyspace::{Epoch, RangeId, RangeState, Route, layout};
use thiserror::Error;

/// Why a range is not cut.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SplitRefusal {
    /// The routes have changed since the caller looked.
    #[error("the catalog has version {found}, not {expected}; list the routes and decide again")]
    StaleVersion {
        /// What the caller has seen.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// No range has this identity.
    #[error("there is no route {0}")]
    UnknownRoute(RangeId),
    /// The key is the first one of the range or not in it at all.
    #[error("the split key must lie strictly inside route {0}: behind its first key and before its end")]
    OutsideRange(RangeId),
    /// The key lies inside what must stay together, or is no key at all.
    #[error("the split key would cut a key or an item in two, or is no key of the store")]
    InsideUnit,
    /// The range is being moved.
    #[error("route {range} is {state:?}; only an active range can be split")]
    NotActive {
        /// The range.
        range: RangeId,
        /// What it is doing.
        state: RangeState,
    },
}

/// Whether `route`, the route of `range_id` at version `found`, may be cut at `split_key`.
pub fn check_split(
    expected: u64,
    found: u64,
    range_id: RangeId,
    route: Option<&Route>,
    split_key: &Bytes,
) -> Result<(), SplitRefusal> {
    if expected != found {
        return Err(SplitRefusal::StaleVersion { expected, found });
    }
    let route = route.ok_or(SplitRefusal::UnknownRoute(range_id))?;
    if !layout::is_unit_boundary(split_key) {
        return Err(SplitRefusal::InsideUnit);
    }
    if route.range.split_at(split_key).is_none() {
        return Err(SplitRefusal::OutsideRange(range_id));
    }
    if route.state != RangeState::Active {
        return Err(SplitRefusal::NotActive { range: range_id, state: route.state });
    }
    Ok(())
}

/// Both halves of `parent`, one epoch later. `None` when the key does not lie strictly inside.
pub fn children(parent: &Route, split_key: &Bytes, left: RangeId, right: RangeId) -> Option<(Route, Route)> {
    let (left_range, right_range) = parent.range.split_at(split_key)?;
    let child = |range_id, range| Route {
        range_id,
        range,
        group: parent.group,
        epoch: Epoch(parent.epoch.0 + 1),
        state: RangeState::Active,
        parent: parent.range_id,
    };
    Some((child(left, left_range), child(right, right_range)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use keyspace::{GroupId, KeyRange};
    use proptest::prelude::*;

    use super::*;

    fn route(range: KeyRange, state: RangeState) -> Route {
        Route { range_id: RangeId(4), range, group: GroupId(2), epoch: Epoch(6), state, parent: RangeId(0) }
    }

    fn raw(user_key: &str) -> Bytes {
        layout::raw(user_key.as_bytes()).into()
    }

    #[test]
    fn each_refusal_has_its_case() {
        let active = route(KeyRange::new(raw("b"), Some(raw("m"))).unwrap(), RangeState::Active);
        let check = |expected, route: Option<&Route>, key: Bytes| check_split(expected, 3, RangeId(4), route, &key);
        let outside = Err(SplitRefusal::OutsideRange(RangeId(4)));
        assert_eq!(check(3, Some(&active), raw("g")), Ok(()));
        assert_eq!(check(2, Some(&active), raw("g")), Err(SplitRefusal::StaleVersion { expected: 2, found: 3 }));
        assert_eq!(check(3, None, raw("g")), Err(SplitRefusal::UnknownRoute(RangeId(4))));
        for key in ["a", "b", "m", "z"] {
            assert_eq!(check(3, Some(&active), raw(key)), outside, "{key}");
        }
        let fenced = route(active.range.clone(), RangeState::Fenced);
        assert!(matches!(check(3, Some(&fenced), raw("g")), Err(SplitRefusal::NotActive { .. })));
    }

    #[test]
    fn a_key_inside_a_redis_key_or_of_no_layout_is_refused() {
        let redis = route(KeyRange::prefix("r"), RangeState::Active);
        let element = keyspace::Key::Redis {
            db: 0,
            user_key: b"list".to_vec(),
            record: keyspace::RedisRecord::Element { generation: 1, element: vec![7] },
        };
        for key in [Bytes::from(element.encode()), Bytes::from_static(b"r\xff"), Bytes::from_static(b"zzz")] {
            assert_eq!(check_split(1, 1, RangeId(4), Some(&redis), &key), Err(SplitRefusal::InsideUnit), "{key:?}");
        }
        assert_eq!(check_split(1, 1, RangeId(4), Some(&redis), &layout::redis_slot(8192).into()), Ok(()));
        assert_eq!(check_split(1, 1, RangeId(4), Some(&redis), &layout::redis_unit(0, b"list").into()), Ok(()));
    }

    proptest! {
        #[test]
        fn an_accepted_split_divides_the_keys_and_grows_the_epoch(key in any::<Vec<u8>>(), probe in any::<Vec<u8>>()) {
            let parent = route(KeyRange::prefix("k"), RangeState::Active);
            let (key, probe) = (Bytes::from(layout::raw(&key)), layout::raw(&probe));
            prop_assert_eq!(check_split(1, 1, RangeId(4), Some(&parent), &key), Ok(()));
            let (left, right) = children(&parent, &key, RangeId(8), RangeId(9)).unwrap();
            prop_assert_eq!(left.range.contains(&probe), *probe < *key);
            prop_assert_eq!(right.range.contains(&probe), *probe >= *key);
            prop_assert!(left.epoch > parent.epoch && right.epoch > parent.epoch);
            prop_assert_eq!((left.parent, right.parent), (RangeId(4), RangeId(4)));
        }
    }
}
