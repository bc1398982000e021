//! What a leader's report says about routes: the catalog is an index of what the groups own.
//!
//! A route in a report takes the place of what the catalog has when it is newer for all of its keys, by epoch. At an equal
//! epoch only the state can be news, and only from the group that owns the range. Routes of one report are applied
//! together, because the group changed them together: the children of a split replace their parent at once. What would
//! leave a key without a route, or cut a route in pieces, is not applied; a later report will say more.

use std::collections::{BTreeMap, BTreeSet};

use keyspace::{RangeId, RangeState, Route, RouteMap};

/// A change of routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Correction {
    /// Ranges that are no more.
    pub removed: Vec<RangeId>,
    /// Routes that are new or changed.
    pub upserted: Vec<Route>,
}

/// What `reported`, all ranges of one group by its leader, changes about `known`. `None`: nothing, or nothing usable.
pub fn correct(known: &RouteMap, reported: &[Route]) -> Option<Correction> {
    // A signpost to another group, or a range that has not arrived yet, is not owned here.
    let owned = |route: &&Route| !matches!(route.state, RangeState::Moved(_) | RangeState::Importing);
    let news: Vec<Route> = reported.iter().filter(owned).filter(|route| is_news(known, route)).cloned().collect();
    if news.is_empty() {
        return None;
    }
    let gone: BTreeSet<RangeId> =
        news.iter().flat_map(|route| known.overlapping(&route.range)).map(|old| old.range_id).collect();
    let mut after: BTreeMap<RangeId, Route> = known
        .routes()
        .iter()
        .filter(|route| !gone.contains(&route.range_id))
        .map(|route| (route.range_id, route.clone()))
        .collect();
    for route in &news {
        if after.insert(route.range_id, route.clone()).is_some() {
            return None;
        }
    }
    RouteMap::new(known.version(), after.into_values().collect()).ok()?;
    let removed = gone.into_iter().filter(|id| news.iter().all(|route| route.range_id != *id)).collect();
    Some(Correction { removed, upserted: news })
}

fn is_news(known: &RouteMap, reported: &Route) -> bool {
    let overlapped = known.overlapping(&reported.range);
    match overlapped {
        [same] if same.epoch == reported.epoch => {
            let changed_state = Route { state: reported.state, ..same.clone() };
            changed_state == *reported && same.state != reported.state
        }
        _ => overlapped.iter().all(|old| old.epoch < reported.epoch),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use keyspace::{Epoch, GroupId, KeyRange};

    use super::*;

    fn route(id: u64, start: &'static str, end: &'static str, group: u64, epoch: u64) -> Route {
        Route {
            range_id: RangeId(id),
            range: KeyRange::new(start, (!end.is_empty()).then(|| Bytes::from(end))).unwrap(),
            group: GroupId(group),
            epoch: Epoch(epoch),
            state: RangeState::Active,
            parent: RangeId(0),
        }
    }

    fn known() -> RouteMap {
        RouteMap::new(5, vec![route(1, "", "g", 1, 3), route(2, "g", "p", 2, 3), route(3, "p", "", 1, 3)]).unwrap()
    }

    #[test]
    fn the_children_of_an_unknown_split_replace_their_parent() {
        let children = [route(8, "g", "k", 2, 4), route(9, "k", "p", 2, 4)];
        let expected = Correction { removed: vec![RangeId(2)], upserted: children.to_vec() };
        assert_eq!(correct(&known(), &children), Some(expected));
        assert_eq!(correct(&known(), &children[..1]), None, "half a split leaves a gap");
    }

    #[test]
    fn a_moved_range_changes_its_group_and_the_old_owner_does_not_change_it_back() {
        let at_target = route(2, "g", "p", 1, 4);
        let expected = Correction { removed: vec![], upserted: vec![at_target.clone()] };
        assert_eq!(correct(&known(), std::slice::from_ref(&at_target)), Some(expected));
        let signpost = Route { state: RangeState::Moved(GroupId(1)), epoch: Epoch(9), ..route(2, "g", "p", 2, 3) };
        assert_eq!(correct(&known(), &[signpost]), None);
        let importing = Route { state: RangeState::Importing, ..at_target };
        assert_eq!(correct(&known(), &[importing]), None);
    }

    #[test]
    fn what_is_known_or_older_changes_nothing() {
        assert_eq!(correct(&known(), &[route(1, "", "g", 1, 3), route(3, "p", "", 1, 3)]), None);
        assert_eq!(correct(&known(), &[route(7, "", "p", 1, 2)]), None);
        assert_eq!(correct(&known(), &[route(2, "g", "p", 9, 3)]), None, "another owner needs a higher epoch");
    }

    #[test]
    fn a_state_is_news_at_the_same_epoch() {
        let fenced = Route { state: RangeState::Fenced, ..route(2, "g", "p", 2, 3) };
        let expected = Correction { removed: vec![], upserted: vec![fenced.clone()] };
        assert_eq!(correct(&known(), &[fenced]), Some(expected));
    }

    #[test]
    fn a_report_of_news_beside_what_is_known_applies_the_news_only() {
        let report = [route(1, "", "g", 1, 3), route(3, "p", "t", 1, 4), route(10, "t", "", 1, 4)];
        let expected = Correction { removed: vec![], upserted: report[1..].to_vec() };
        assert_eq!(correct(&known(), &report), Some(expected));
    }
}
