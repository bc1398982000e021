//! Which group serves which keys: an immutable, ordered snapshot of the route catalog.

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
}

/// A snapshot of all routes at one catalog version.
///
/// Invariants: routes are sorted by start, cover the whole keyspace and do not overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMap {
    version: u64,
    routes: Arc<[Route]>,
}

impl RouteMap {
    /// Checks the invariants.
    pub fn new(version: u64, mut routes: Vec<Route>) -> Result<Self, RouteError> {
        routes.sort_by(|a, b| a.range.start().cmp(b.range.start()));
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
        match covered_to {
            Some(at) => Err(RouteError::Gap { at }),
            None => Ok(Self { version, routes: routes.into() }),
        }
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

    /// The route with this identity.
    pub fn find(&self, range_id: RangeId) -> Option<&Route> {
        self.routes.iter().find(|route| route.range_id == range_id)
    }

    /// Takes over newer descriptors of some ranges, as a storage node reports them, without changing the version.
    ///
    /// Descriptors with an older epoch than what is known for their keys are ignored. `None` when nothing changes.
    pub fn refine(&self, fresher: &[Route]) -> Option<RouteMap> {
        let mut routes: Vec<Route> = self.routes.to_vec();
        let mut changed = false;
        for fresh in fresher {
            let overlapped: Vec<Route> =
                routes.iter().filter(|old| old.range.intersect(&fresh.range).is_some()).cloned().collect();
            let newer = overlapped.iter().all(|old| old.epoch < fresh.epoch);
            if !newer {
                continue;
            }
            routes.retain(|old| old.range.intersect(&fresh.range).is_none());
            for old in overlapped {
                routes.extend(remainders(&old, &fresh.range));
            }
            routes.push(fresh.clone());
            changed = true;
        }
        // A refinement only cuts and replaces, so the keyspace stays covered.
        changed.then(|| RouteMap::new(self.version, routes).expect("refining keeps the keyspace covered"))
    }

    fn index_of(&self, key: &[u8]) -> usize {
        // The first route starts at the empty key, so there is always one at or below.
        self.routes.partition_point(|route| **route.range.start() <= *key) - 1
    }
}

/// What is left of `old` on both sides of `cut`.
fn remainders(old: &Route, cut: &KeyRange) -> impl Iterator<Item = Route> {
    let left = KeyRange::new(old.range.start().clone(), Some(cut.start().clone()));
    let right = cut.end().and_then(|end| KeyRange::new(end.clone(), old.range.end().cloned()));
    let left = left.filter(|left| old.range.covers(left));
    let right = right.filter(|right| old.range.covers(right));
    let old = old.clone();
    left.into_iter().chain(right).map(move |range| Route { range, ..old.clone() })
}
