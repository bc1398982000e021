//! Which group serves which keys: an immutable, ordered snapshot of the route catalog.
//!
//! A snapshot is made in one of three ways, and each checks or keeps the invariants of [`RouteMap`]:
//!
//! 1. [`RouteMap::new`] from all routes of one catalog version,
//! 2. [`RouteMap::apply_delta`] from the change to the next catalog version, never over a gap,
//! 3. [`RouteMap::refine`] from what a storage node says about its own ranges, which may be fresher than the catalog.
//!
//! A refinement is a hint laid over the catalog's routes, not a part of them: the next delta is applied to the
//! catalog's routes, and whatever of the refinements is still newer is laid over the result again.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::ids::{Epoch, GroupId, RangeId};
use crate::range::KeyRange;

/// What the range of a route is doing. Only `Active` and `Exporting` serve (I10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RangeState {
    /// Receives its data from another group; does not serve yet.
    Importing,
    /// Serves.
    Active,
    /// Serves while its data is copied to another group.
    Exporting,
    /// Between two groups: nobody serves.
    Fenced,
    /// Lives in another group now; kept as a signpost.
    Moved(GroupId),
}

impl RangeState {
    /// Whether requests are answered in this state.
    pub fn serves(self) -> bool {
        matches!(self, RangeState::Active | RangeState::Exporting)
    }
}

/// One range and the group that serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Identity of the range.
    pub range_id: RangeId,
    /// The keys.
    pub range: KeyRange,
    /// The group that serves them.
    pub group: GroupId,
    /// Epoch of the range.
    pub epoch: Epoch,
    /// State of the range.
    pub state: RangeState,
    /// The range that this one was split from, 0 if none.
    pub parent: RangeId,
}

impl Route {
    /// The same route, for a part of its keys.
    fn cut_to(&self, range: KeyRange) -> Route {
        Route { range, ..self.clone() }
    }
}

/// Why a set of routes is no map.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RouteError {
    /// Two routes claim one key.
    #[error("ranges {left} and {right} overlap")]
    Overlap {
        /// The lower range.
        left: RangeId,
        /// The upper range.
        right: RangeId,
    },
    /// No route has a key.
    #[error("no route for keys from {at:?}")]
    Gap {
        /// First key without a route.
        at: Bytes,
    },
    /// Two routes have one identity.
    #[error("range {range_id} appears twice")]
    Duplicate {
        /// The identity.
        range_id: RangeId,
    },
    /// A delta does not follow the version that it would be applied to: a full snapshot is needed.
    #[error("the delta from version {previous} to {version} does not follow version {held}")]
    VersionGap {
        /// Version of the map.
        held: u64,
        /// Version that the delta starts from.
        previous: u64,
        /// Version that the delta leads to.
        version: u64,
    },
}

/// A snapshot of all routes at one catalog version.
///
/// Invariants: routes are sorted by start, cover the whole keyspace and do not overlap. In the catalog's routes each
/// range appears once; refined ones may show what is left of a range in several pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMap {
    version: u64,
    /// As the catalog has them.
    catalog: Arc<[Route]>,
    /// With the refinements; what lookups see.
    routes: Arc<[Route]>,
}

impl RouteMap {
    /// Checks the invariants.
    pub fn new(version: u64, mut routes: Vec<Route>) -> Result<Self, RouteError> {
        routes.sort_by(|a, b| a.range.cmp(&b.range));
        let mut covered_to = Some(Bytes::new());
        let mut previous = RangeId(0);
        for route in &routes {
            let start = route.range.start();
            match &covered_to {
                Some(to) if to < start => return Err(RouteError::Gap { at: to.clone() }),
                Some(to) if to == start => {}
                _ => return Err(RouteError::Overlap { left: previous, right: route.range_id }),
            }
            covered_to = route.range.end().cloned();
            previous = route.range_id;
        }
        if let Some(at) = covered_to {
            return Err(RouteError::Gap { at });
        }
        let mut ids: Vec<RangeId> = routes.iter().map(|route| route.range_id).collect();
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(RouteError::Duplicate { range_id: twice[0] });
        }
        let routes: Arc<[Route]> = routes.into();
        Ok(Self { version, catalog: Arc::clone(&routes), routes })
    }

    /// Catalog version of the snapshot.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All routes, ordered by start.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The route of a key.
    pub fn lookup(&self, key: &[u8]) -> &Route {
        &self.routes[self.index_of(key)]
    }

    /// The routes that share keys with `range`, in order.
    pub fn overlapping(&self, range: &KeyRange) -> &[Route] {
        let first = self.index_of(range.start());
        let count = match range.end() {
            None => self.routes.len() - first,
            Some(end) => self.routes[first..].partition_point(|route| route.range.start() < end),
        };
        &self.routes[first..first + count]
    }

    /// The route with this identity; its first piece when a refinement has cut it.
    pub fn find(&self, range_id: RangeId) -> Option<&Route> {
        self.routes.iter().find(|route| route.range_id == range_id)
    }

    /// The next snapshot: without the `removed` ranges and with the `upserted` ones, new or changed.
    ///
    /// Refuses a delta that does not start at this version, does not lead to a later one, or leaves no valid map.
    /// Refinements that are still newer than the catalog stay.
    pub fn apply_delta(
        &self,
        previous_version: u64,
        version: u64,
        removed: &[RangeId],
        upserted: Vec<Route>,
    ) -> Result<RouteMap, RouteError> {
        if previous_version != self.version || version <= previous_version {
            return Err(RouteError::VersionGap { held: self.version, previous: previous_version, version });
        }
        let goes = |id: RangeId| removed.contains(&id) || upserted.iter().any(|route| route.range_id == id);
        let mut routes: Vec<Route> = self.catalog.iter().filter(|route| !goes(route.range_id)).cloned().collect();
        routes.extend(upserted);
        let next = RouteMap::new(version, routes)?;
        Ok(next.refine(&self.routes).unwrap_or(next))
    }

    /// Takes over newer descriptors of some ranges, as a storage node reports them, without changing the version.
    ///
    /// For each key the descriptor with the highest epoch wins; an equal epoch changes nothing. `None` when nothing
    /// changes.
    pub fn refine(&self, fresher: &[Route]) -> Option<RouteMap> {
        let mut routes: Vec<Route> = self.routes.to_vec();
        let mut changed = false;
        for fresh in fresher {
            let first = routes.partition_point(|old| old.range.end().is_some_and(|end| end <= fresh.range.start()));
            let count = match fresh.range.end() {
                None => routes.len() - first,
                Some(end) => routes[first..].partition_point(|old| old.range.start() < end),
            };
            let overlapped = first..first + count;
            if routes[overlapped.clone()].iter().any(|old| old.epoch < fresh.epoch) {
                let laid_over = routes[overlapped.clone()].iter().flat_map(|old| lay_over(old, fresh)).collect();
                routes.splice(overlapped, joined(laid_over));
                changed = true;
            }
        }
        // Each route was replaced by pieces that cover the same keys, in order: the invariants hold.
        changed.then(|| RouteMap { routes: routes.into(), ..self.clone() })
    }

    fn index_of(&self, key: &[u8]) -> usize {
        // The first route starts at the empty key, so there is always one at or below.
        self.routes.partition_point(|route| **route.range.start() <= *key) - 1
    }
}

/// The keys of `old`, in order: where `fresh` is newer and has them they are its own, elsewhere they stay.
fn lay_over(old: &Route, fresh: &Route) -> Vec<Route> {
    let Some(common) = old.range.intersect(&fresh.range).filter(|_| old.epoch < fresh.epoch) else {
        return vec![old.clone()];
    };
    let below = KeyRange::new(old.range.start().clone(), Some(common.start().clone()));
    let above = match common.end() {
        Some(end) if common.end() != old.range.end() => KeyRange::new(end.clone(), old.range.end().cloned()),
        _ => None,
    };
    let below = below.map(|range| old.cut_to(range));
    let above = above.map(|range| old.cut_to(range));
    below.into_iter().chain([fresh.cut_to(common)]).chain(above).collect()
}

/// Puts neighbouring pieces of one route together again.
fn joined(pieces: Vec<Route>) -> Vec<Route> {
    let mut out: Vec<Route> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        if let Some(last) = out.last_mut() {
            let range = KeyRange::new(last.range.start().clone(), piece.range.end().cloned());
            if let Some(range) = range.filter(|range| last.cut_to(range.clone()) == piece.cut_to(range.clone())) {
                last.range = range;
                continue;
            }
        }
        out.push(piece);
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A route over `[start, end)` of one-byte keys; 0 starts at the beginning, 16 ends at the end.
    fn route(range_id: u64, start: u8, end: u8, epoch: u64) -> Route {
        let bytes = |at: u8| Bytes::from(vec![at; usize::from(at > 0)]);
        Route {
            range_id: RangeId(range_id),
            range: KeyRange::new(bytes(start), (end < 16).then(|| bytes(end))).unwrap(),
            group: GroupId(range_id % 3),
            epoch: Epoch(epoch),
            state: RangeState::Active,
            parent: RangeId(0),
        }
    }

    fn tiled(cuts: &[u8], epochs: &[u64]) -> Vec<Route> {
        let mut cuts: Vec<u8> = cuts.to_vec();
        cuts.extend([0, 16]);
        cuts.sort_unstable();
        cuts.dedup();
        let tile = |(n, pair): (usize, &[u8])| route(n as u64 + 1, pair[0], pair[1], epochs[n % epochs.len()]);
        cuts.windows(2).enumerate().map(tile).collect()
    }

    fn maps() -> impl Strategy<Value = RouteMap> {
        (prop::collection::vec(1u8..16, 0..6), prop::collection::vec(1u64..5, 1..7))
            .prop_map(|(cuts, epochs)| RouteMap::new(1, tiled(&cuts, &epochs)).unwrap())
    }

    fn fresh() -> impl Strategy<Value = Vec<Route>> {
        let one = (100u64..200, 0u8..16, 1u8..=16, 1u64..8);
        let one =
            one.prop_filter_map("empty", |(id, start, end, epoch)| (start < end).then(|| route(id, start, end, epoch)));
        prop::collection::vec(one, 0..5)
    }

    fn assert_covers(map: &RouteMap) {
        assert!(map.routes()[0].range.start().is_empty());
        assert!(map.routes().last().unwrap().range.end().is_none());
        for pair in map.routes().windows(2) {
            assert_eq!(pair[0].range.end(), Some(pair[1].range.start()), "routes touch");
        }
    }

    fn sample_keys() -> impl Iterator<Item = Vec<u8>> {
        (0u8..20).flat_map(|n| [vec![n], vec![n, 7]]).chain([vec![], vec![0xFF; 3]])
    }

    #[test]
    fn what_is_no_partition_of_the_keyspace_is_no_map() {
        assert_eq!(RouteMap::new(1, vec![]), Err(RouteError::Gap { at: Bytes::new() }));
        let at = Bytes::from_static(&[5]);
        assert_eq!(RouteMap::new(1, vec![route(1, 0, 5, 1)]), Err(RouteError::Gap { at: at.clone() }));
        assert_eq!(RouteMap::new(1, vec![route(1, 0, 5, 1), route(2, 6, 16, 1)]), Err(RouteError::Gap { at }));
        let overlap = RouteError::Overlap { left: RangeId(1), right: RangeId(2) };
        assert_eq!(RouteMap::new(1, vec![route(1, 0, 6, 1), route(2, 5, 16, 1)]), Err(overlap.clone()));
        assert_eq!(RouteMap::new(1, vec![route(2, 0, 16, 1), route(1, 0, 16, 1)]).map_err(|_| ()), Err(()));
        assert_eq!(RouteMap::new(1, vec![route(1, 0, 16, 1), route(2, 5, 16, 1)]), Err(overlap));
        let twice = RouteMap::new(1, vec![route(1, 0, 5, 1), route(1, 5, 16, 1)]);
        assert_eq!(twice, Err(RouteError::Duplicate { range_id: RangeId(1) }));
    }

    #[test]
    fn a_delta_over_a_gap_or_from_the_past_is_refused() {
        let map = RouteMap::new(5, vec![route(1, 0, 16, 1)]).unwrap();
        for (previous, version) in [(4, 5), (4, 6), (6, 7), (5, 5), (5, 4)] {
            let refused = map.apply_delta(previous, version, &[], vec![]);
            assert_eq!(refused, Err(RouteError::VersionGap { held: 5, previous, version }));
        }
        let halves = vec![route(2, 0, 8, 2), route(3, 8, 16, 2)];
        let split = map.apply_delta(5, 6, &[RangeId(1)], halves).unwrap();
        assert_eq!((split.version(), split.routes().len()), (6, 2));
        let changed = split.apply_delta(6, 7, &[], vec![route(2, 0, 8, 3)]).unwrap();
        assert_eq!(changed.lookup(&[1]).epoch, Epoch(3), "an upserted range replaces its older self");
        assert!(matches!(changed.apply_delta(7, 8, &[RangeId(2)], vec![]), Err(RouteError::Gap { .. })));
    }

    #[test]
    fn a_delta_that_repeats_a_refinement_applies_and_an_unrelated_one_keeps_it() {
        let map = RouteMap::new(5, vec![route(1, 0, 8, 1), route(2, 8, 16, 1)]).unwrap();
        let refined = map.refine(&[route(3, 0, 4, 2)]).unwrap();
        assert_eq!(refined.version(), 5);
        assert_eq!(refined.lookup(&[1]).range_id, RangeId(3));
        assert_eq!(refined.lookup(&[5]).range_id, RangeId(1), "what the report does not name stays");

        let unrelated = refined.apply_delta(5, 6, &[RangeId(2)], vec![route(9, 8, 16, 2)]).unwrap();
        assert_eq!(unrelated.lookup(&[1]).range_id, RangeId(3));
        assert_eq!(unrelated.lookup(&[9]).range_id, RangeId(9));

        let repeated = refined.apply_delta(5, 6, &[RangeId(1)], vec![route(3, 0, 4, 2), route(4, 4, 8, 2)]).unwrap();
        let expected = vec![route(3, 0, 4, 2), route(4, 4, 8, 2), route(2, 8, 16, 1)];
        assert_eq!(repeated, RouteMap::new(6, expected).unwrap());
    }

    #[test]
    fn a_refinement_over_several_routes_becomes_one() {
        let map = RouteMap::new(1, vec![route(1, 0, 5, 1), route(2, 5, 9, 1), route(3, 9, 16, 1)]).unwrap();
        let merged = map.refine(&[route(4, 0, 9, 2)]).unwrap();
        assert_eq!(merged.routes(), [route(4, 0, 9, 2), route(3, 9, 16, 1)]);
        assert_eq!(merged.refine(&[route(4, 0, 9, 2)]), None, "known already");
    }

    proptest! {
        #[test]
        fn lookups_agree_with_a_search_of_all_routes(map in maps(), start in 0u8..16, end in 1u8..=16) {
            for key in sample_keys() {
                let naive = map.routes().iter().find(|route| route.range.contains(&key)).unwrap();
                prop_assert_eq!(map.lookup(&key), naive);
                prop_assert_eq!(map.find(naive.range_id), Some(naive));
            }
            if start < end {
                let range = route(1, start, end, 1).range;
                let naive: Vec<_> = map.routes().iter().filter(|r| r.range.intersect(&range).is_some()).cloned().collect();
                prop_assert_eq!(map.overlapping(&range), &naive[..]);
            }
        }

        #[test]
        fn refining_leaves_each_key_with_the_highest_epoch_reported(map in maps(), fresh in fresh()) {
            let refined = map.refine(&fresh).unwrap_or_else(|| map.clone());
            assert_covers(&refined);
            for key in sample_keys() {
                let mut best = map.lookup(&key);
                for route in &fresh {
                    if route.range.contains(&key) && route.epoch > best.epoch {
                        best = route;
                    }
                }
                let got = refined.lookup(&key);
                prop_assert_eq!((got.range_id, got.epoch, got.group), (best.range_id, best.epoch, best.group));
            }
            prop_assert_eq!(refined.refine(&fresh), None, "refining twice changes nothing");
        }

        #[test]
        fn a_delta_leads_to_the_same_map_as_a_snapshot(map in maps(), next in maps(), fresh in fresh()) {
            // The next catalog has ranges of its own, every one newer than all before.
            let next: Vec<Route> = next.routes().iter().map(|route| Route {
                range_id: RangeId(route.range_id.0 + 1_000), epoch: Epoch(route.epoch.0 + 100), ..route.clone()
            }).collect();
            let removed: Vec<RangeId> = map.routes().iter().map(|route| route.range_id).collect();
            let refined = map.refine(&fresh).unwrap_or_else(|| map.clone());
            let applied = refined.apply_delta(1, 2, &removed, next.clone()).unwrap();
            prop_assert_eq!(applied, RouteMap::new(2, next).unwrap());
        }
    }
}
