//! Ranges and routes on the wire.
//!
//! Two messages carry a [`Route`]:
//!
//! - [`wire::RangeReport`], inside the cluster: encoded keys, every state. It comes from a replica of a group, so the
//!   group is not in it.
//! - [`wire::RouteDescriptor`], the public API: `start` and `end` in human form for people, `encoded_start` and
//!   `encoded_end` for programs, and the four states that operators know. Reading one uses the encoded keys only.
//!
//! A range that has moved away is described publicly as fenced: at the group that the descriptor names, nobody serves
//! it. Reading the description back therefore does not give `Moved` again.

use bytes::Bytes;
use keyspace::human::{self, Tables};
use keyspace::{Epoch, GroupId, KeyRange, RangeId, RangeState, Route, RouteMap};

use crate::WireError;
use crate::identity::present;
use crate::wire;

/// The message of a route inside the cluster. The group stays behind: the report goes with it.
pub fn range_report(route: &Route) -> wire::RangeReport {
    let (start, end) = bounds(&route.range);
    let (state, moved_to_group) = match route.state {
        RangeState::Importing => (wire::RangeState::Importing, 0),
        RangeState::Active => (wire::RangeState::Active, 0),
        RangeState::Exporting => (wire::RangeState::Exporting, 0),
        RangeState::Fenced => (wire::RangeState::Fenced, 0),
        RangeState::Moved(group) => (wire::RangeState::Moved, group.0),
    };
    wire::RangeReport {
        range_id: route.range_id.0,
        start,
        end,
        epoch: route.epoch.0,
        state: state.into(),
        moved_to_group,
        parent_range_id: route.parent.0,
    }
}

/// The route that a replica of `group` reports.
pub fn reported_route(report: wire::RangeReport, group: GroupId) -> Result<Route, WireError> {
    const MESSAGE: &str = "RangeReport";
    let unknown = WireError::UnknownEnum { message: MESSAGE, field: "state", found: report.state };
    let state = match wire::RangeState::try_from(report.state).map_err(|_| unknown)? {
        wire::RangeState::Unspecified => return Err(WireError::Missing { message: MESSAGE, field: "state" }),
        wire::RangeState::Importing => RangeState::Importing,
        wire::RangeState::Active => RangeState::Active,
        wire::RangeState::Exporting => RangeState::Exporting,
        wire::RangeState::Fenced => RangeState::Fenced,
        wire::RangeState::Moved => {
            RangeState::Moved(present(MESSAGE, "moved_to_group", report.moved_to_group).map(GroupId)?)
        }
    };
    Ok(Route {
        range_id: present(MESSAGE, "range_id", report.range_id).map(RangeId)?,
        range: key_range(MESSAGE, report.start, report.end)?,
        group,
        epoch: Epoch(report.epoch),
        state,
        parent: RangeId(report.parent_range_id),
    })
}

/// The public description of a route. `tables` names the DynamoDB tables in its bounds.
pub fn descriptor(route: &Route, tables: &dyn Tables) -> wire::RouteDescriptor {
    let (encoded_start, encoded_end) = bounds(&route.range);
    let state = match route.state {
        RangeState::Active => wire::RouteState::Active,
        RangeState::Exporting => wire::RouteState::MigratingSource,
        RangeState::Importing => wire::RouteState::MigratingTarget,
        RangeState::Fenced | RangeState::Moved(_) => wire::RouteState::WriteFenced,
    };
    wire::RouteDescriptor {
        route_id: route.range_id.0,
        start: human::print(&encoded_start, tables).into(),
        end: human::print(&encoded_end, tables).into(),
        raft_group_id: route.group.0,
        state: state.into(),
        parent_route_id: route.parent.0,
        epoch: route.epoch.0,
        encoded_start,
        encoded_end,
    }
}

impl TryFrom<wire::RouteDescriptor> for Route {
    type Error = WireError;

    fn try_from(descriptor: wire::RouteDescriptor) -> Result<Self, WireError> {
        const MESSAGE: &str = "RouteDescriptor";
        let unknown = WireError::UnknownEnum { message: MESSAGE, field: "state", found: descriptor.state };
        let state = match wire::RouteState::try_from(descriptor.state).map_err(|_| unknown)? {
            wire::RouteState::Unspecified => return Err(WireError::Missing { message: MESSAGE, field: "state" }),
            wire::RouteState::Active => RangeState::Active,
            wire::RouteState::WriteFenced => RangeState::Fenced,
            wire::RouteState::MigratingSource => RangeState::Exporting,
            wire::RouteState::MigratingTarget => RangeState::Importing,
        };
        Ok(Route {
            range_id: present(MESSAGE, "route_id", descriptor.route_id).map(RangeId)?,
            range: key_range(MESSAGE, descriptor.encoded_start, descriptor.encoded_end)?,
            group: present(MESSAGE, "raft_group_id", descriptor.raft_group_id).map(GroupId)?,
            epoch: Epoch(descriptor.epoch),
            state,
            parent: RangeId(descriptor.parent_route_id),
        })
    }
}

/// The full snapshot that begins a route stream.
pub fn snapshot(map: &RouteMap, tables: &dyn Tables) -> wire::RouteSnapshot {
    let routes = map.routes().iter().map(|route| descriptor(route, tables)).collect();
    wire::RouteSnapshot { version: map.version(), routes }
}

impl TryFrom<wire::RouteSnapshot> for RouteMap {
    type Error = WireError;

    fn try_from(snapshot: wire::RouteSnapshot) -> Result<Self, WireError> {
        Ok(RouteMap::new(snapshot.version, described(snapshot.routes)?)?)
    }
}

/// The change from one catalog version to a later one.
pub fn delta(
    previous_version: u64,
    version: u64,
    removed: &[RangeId],
    upserted: &[Route],
    tables: &dyn Tables,
) -> wire::RouteDelta {
    wire::RouteDelta {
        previous_version,
        version,
        removed_route_ids: removed.iter().map(|id| id.0).collect(),
        upserted: upserted.iter().map(|route| descriptor(route, tables)).collect(),
    }
}

/// The map after a delta. A delta that does not follow it is an error: ask for a full snapshot.
pub fn apply_delta(map: &RouteMap, delta: wire::RouteDelta) -> Result<RouteMap, WireError> {
    let removed: Vec<RangeId> = delta.removed_route_ids.into_iter().map(RangeId).collect();
    Ok(map.apply_delta(delta.previous_version, delta.version, &removed, described(delta.upserted)?)?)
}

/// Both bounds of an interval of encoded keys; no end is the empty one.
pub fn bounds(range: &KeyRange) -> (Bytes, Bytes) {
    (range.start().clone(), range.end().cloned().unwrap_or_default())
}

/// An interval from its bounds, of which an empty end is the end of the keyspace; `message` is named in the error.
pub fn key_range(message: &'static str, start: Bytes, end: Bytes) -> Result<KeyRange, WireError> {
    KeyRange::new(start, (!end.is_empty()).then_some(end)).ok_or(WireError::EmptyRange { message })
}

fn described(descriptors: Vec<wire::RouteDescriptor>) -> Result<Vec<Route>, WireError> {
    descriptors.into_iter().map(Route::try_from).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use keyspace::human::NoTables;
    use keyspace::{RouteError, layout};
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn route(range_id: u64, start: Vec<u8>, end: Vec<u8>) -> Route {
        Route {
            range_id: RangeId(range_id),
            range: key_range("test", start.into(), end.into()).unwrap(),
            group: GroupId(4),
            epoch: Epoch(9),
            state: RangeState::Active,
            parent: RangeId(1),
        }
    }

    /// Routes as replicas report them.
    pub(crate) fn routes(group: GroupId) -> impl Strategy<Value = Route> {
        let state = prop_oneof![
            Just(RangeState::Importing),
            Just(RangeState::Active),
            Just(RangeState::Exporting),
            Just(RangeState::Fenced),
            (1u64..9).prop_map(|id| RangeState::Moved(GroupId(id))),
        ];
        let bound = || prop::collection::vec(any::<u8>(), 0..5);
        (1..=u64::MAX, bound(), bound(), any::<u64>(), state, any::<u64>()).prop_filter_map(
            "empty range",
            move |(id, start, end, epoch, state, parent)| {
                let range = key_range("test", start.into(), end.into()).ok()?;
                Some(Route { range_id: RangeId(id), range, group, epoch: Epoch(epoch), state, parent: RangeId(parent) })
            },
        )
    }

    #[test]
    fn a_description_is_readable_and_precise() {
        let described = descriptor(&route(7, layout::raw(b"g"), layout::redis_slot(8192)), &NoTables);
        assert_eq!((&described.start[..], &described.end[..]), (&b"raw:g"[..], &b"redis:slot:8192"[..]));
        assert_eq!(described.encoded_start, layout::raw(b"g"));
        assert_eq!((described.route_id, described.raft_group_id, described.parent_route_id), (7, 4, 1));
        let whole = descriptor(&route(7, vec![], vec![]), &NoTables);
        assert!(whole.start.is_empty() && whole.end.is_empty());
    }

    #[test]
    fn junk_is_refused_by_field() {
        let good = range_report(&route(7, vec![1], vec![2]));
        let refused = |change: fn(&mut wire::RangeReport)| {
            let mut report = good.clone();
            change(&mut report);
            reported_route(report, GroupId(4)).unwrap_err()
        };
        let missing = |field| WireError::Missing { message: "RangeReport", field };
        let unknown = WireError::UnknownEnum { message: "RangeReport", field: "state", found: 77 };
        assert_eq!(refused(|report| report.range_id = 0), missing("range_id"));
        assert_eq!(refused(|report| report.state = 0), missing("state"));
        assert_eq!(refused(|report| report.state = 77), unknown);
        assert_eq!(refused(|report| report.state = wire::RangeState::Moved.into()), missing("moved_to_group"));
        assert_eq!(
            refused(|report| report.end = report.start.clone()),
            WireError::EmptyRange { message: "RangeReport" }
        );

        let good = descriptor(&route(7, vec![1], vec![2]), &NoTables);
        let refused = |change: fn(&mut wire::RouteDescriptor)| {
            let mut descriptor = good.clone();
            change(&mut descriptor);
            Route::try_from(descriptor).unwrap_err()
        };
        let missing = |field| WireError::Missing { message: "RouteDescriptor", field };
        assert_eq!(refused(|descriptor| descriptor.route_id = 0), missing("route_id"));
        assert_eq!(refused(|descriptor| descriptor.raft_group_id = 0), missing("raft_group_id"));
        assert_eq!(refused(|descriptor| descriptor.state = 0), missing("state"));
        assert!(matches!(refused(|descriptor| descriptor.state = -1), WireError::UnknownEnum { found: -1, .. }));
        assert!(matches!(
            refused(|descriptor| descriptor.encoded_end = Bytes::from_static(&[0])),
            WireError::EmptyRange { .. }
        ));
    }

    #[test]
    fn a_stream_of_snapshot_and_delta_leads_to_the_same_map() {
        let whole = RouteMap::new(3, vec![route(1, vec![], vec![])]).unwrap();
        let received = RouteMap::try_from(snapshot(&whole, &NoTables)).unwrap();
        assert_eq!(received, whole);

        let halves = [route(2, vec![], layout::raw(b"g")), route(3, layout::raw(b"g"), vec![])];
        let split = delta(3, 4, &[RangeId(1)], &halves, &NoTables);
        let received = apply_delta(&received, split.clone()).unwrap();
        assert_eq!(received, RouteMap::new(4, halves.to_vec()).unwrap());

        let gap = RouteError::VersionGap { held: 4, previous: 3, version: 4 };
        assert_eq!(apply_delta(&received, split), Err(WireError::Routes(gap)));
    }

    proptest! {
        #[test]
        fn reports_round_trip(route in routes(GroupId(3))) {
            prop_assert_eq!(reported_route(range_report(&route), GroupId(3)), Ok(route));
        }

        #[test]
        fn descriptions_round_trip_but_for_the_signpost(route in routes(GroupId(3))) {
            let state = if matches!(route.state, RangeState::Moved(_)) { RangeState::Fenced } else { route.state };
            prop_assert_eq!(Route::try_from(descriptor(&route, &NoTables)), Ok(Route { state, ..route }));
        }

        #[test]
        fn junk_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(report) = wire::RangeReport::decode(&bytes[..]) {
                let _ = reported_route(report, GroupId(1));
            }
            if let Ok(snapshot) = wire::RouteSnapshot::decode(&bytes[..]) {
                let _ = RouteMap::try_from(snapshot);
            }
        }

        #[test]
        fn odd_descriptors_never_panic(id in 0u64..3, group in 0u64..3, state in -2i32..9, start: Vec<u8>, end: Vec<u8>) {
            let descriptor = wire::RouteDescriptor {
                route_id: id,
                raft_group_id: group,
                state,
                encoded_start: start.into(),
                encoded_end: end.into(),
                ..Default::default()
            };
            let complete = id > 0 && group > 0 && (1..5).contains(&state);
            let read = Route::try_from(descriptor);
            prop_assert!(complete || read.is_err());
        }
    }
}
