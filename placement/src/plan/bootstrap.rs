//! The first groups of a cluster: where their replicas are, and how they share the keyspace.
//!
//! ```text
//! ""  .. "k"   DynamoDB: table ids, evenly over the groups
//! "k" .. "r"   RawKV: one range, the one with identity 1
//! "r" .. "s"   Redis: slots, evenly over the groups
//! "s" ..       system: one range
//! ```
//!
//! Byte strings that no language uses fall to the range below: the ranges cover everything.

use bytes::Bytes;
use keyspace::{Epoch, GroupId, KeyRange, NodeId, RangeId, RangeState, ReplicaId, Route, TableId, layout, slot};

/// Replicas of a group, if there are that many nodes.
pub const REPLICATION_FACTOR: usize = 3;

/// A group to be founded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedGroup {
    /// Its identity.
    pub group: GroupId,
    /// Its voters; the first one starts the group.
    pub members: Vec<(ReplicaId, NodeId)>,
    /// What it owns.
    pub routes: Vec<Route>,
}

/// Plans `groups` groups (at least one) with identities from 1 over `nodes` (at least one, each named once).
///
/// Every node gets as many replicas and starts as many groups as any other, give or take one.
pub fn plan_bootstrap(nodes: &[NodeId], groups: u32) -> Vec<PlannedGroup> {
    assert!(!nodes.is_empty() && groups > 0, "a cluster has at least one node and one group");
    let mut routes = divide_keyspace(groups);
    let mut led = vec![0_u32; nodes.len()];
    let replicas = nodes.len().min(REPLICATION_FACTOR);
    (0..groups)
        .map(|number| {
            let group = GroupId(u64::from(number) + 1);
            // Going round the nodes gives each the same number of replicas.
            let first = number as usize * replicas;
            let mut on: Vec<usize> = (first..first + replicas).map(|at| at % nodes.len()).collect();
            let starts = (0..replicas).min_by_key(|&at| led[on[at]]).expect("a group has at least one member");
            on.swap(0, starts);
            led[on[0]] += 1;
            let members = (1..).map(ReplicaId).zip(on.into_iter().map(|at| nodes[at])).collect();
            let (mine, rest) = std::mem::take(&mut routes).into_iter().partition(|route| route.group == group);
            routes = rest;
            PlannedGroup { group, members, routes: mine }
        })
        .collect()
}

/// Routes for the whole keyspace, all at epoch 1.
fn divide_keyspace(groups: u32) -> Vec<Route> {
    let tag = |tag: u8| Bytes::copy_from_slice(&[tag]);
    let raw = (tag(layout::RAW), GroupId(1));
    let system = (tag(layout::SYSTEM), GroupId(u64::from(groups)));
    let redis = (0..groups).map(|number| {
        let start = match number {
            0 => tag(layout::REDIS),
            number => layout::redis_slot(share(u64::from(slot::SLOTS), number, groups) as u16).into(),
        };
        (start, GroupId(u64::from(number) + 1))
    });
    let dynamo = (0..groups).map(|number| {
        let start = match number {
            0 => Bytes::new(),
            number => layout::dynamo_table(TableId(share(1 << 32, number, groups) as u32)).into(),
        };
        (start, GroupId(u64::from(number) + 1))
    });
    // In this order they get their identities: RawKV has 1, which the examples name.
    let starts: Vec<(Bytes, GroupId)> = [raw, system].into_iter().chain(redis).chain(dynamo).collect();
    let mut boundaries: Vec<Bytes> = starts.iter().map(|(start, _)| start.clone()).collect();
    boundaries.sort();
    (1..)
        .zip(starts)
        .map(|(id, (start, group))| {
            let end = boundaries.iter().find(|boundary| **boundary > start).cloned();
            Route {
                range_id: RangeId(id),
                range: KeyRange::new(start, end).expect("the end is the next larger boundary"),
                group,
                epoch: Epoch(1),
                state: RangeState::Active,
                parent: RangeId(0),
            }
        })
        .collect()
}

/// Where the share of `number` begins when `all` is divided evenly; below `all`.
fn share(all: u64, number: u32, groups: u32) -> u64 {
    all * u64::from(number) / u64::from(groups)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use keyspace::RouteMap;
    use proptest::prelude::*;

    use super::*;

    fn routes_of(plan: &[PlannedGroup]) -> Vec<Route> {
        plan.iter().flat_map(|group| group.routes.clone()).collect()
    }

    fn spread(counts: &BTreeMap<NodeId, usize>) -> usize {
        counts.values().max().unwrap() - counts.values().min().unwrap()
    }

    proptest! {
        #[test]
        fn every_key_is_covered_once_and_every_node_has_its_share(nodes in 1u64..40, groups in 1u32..200) {
            let nodes: Vec<NodeId> = (1..=nodes).map(|id| NodeId(id * 3)).collect();
            let plan = plan_bootstrap(&nodes, groups);
            prop_assert_eq!(plan.len(), groups as usize);

            let routes = routes_of(&plan);
            let map = RouteMap::new(1, routes.clone()).unwrap();
            for route in map.routes() {
                prop_assert!(layout::is_unit_boundary(route.range.start()));
            }
            let ids: Vec<u64> = routes.iter().map(|route| route.range_id.0).collect();
            prop_assert_eq!(ids.iter().max().copied().unwrap(), ids.len() as u64, "identities without a gap");

            let none: BTreeMap<NodeId, usize> = nodes.iter().map(|node| (*node, 0)).collect();
            let (mut replicas, mut led) = (none.clone(), none);
            for group in &plan {
                let mut on: Vec<NodeId> = group.members.iter().map(|(_, node)| *node).collect();
                *led.get_mut(&on[0]).unwrap() += 1;
                for node in &on {
                    *replicas.get_mut(node).unwrap() += 1;
                }
                on.sort();
                on.dedup();
                prop_assert_eq!(on.len(), nodes.len().min(REPLICATION_FACTOR), "replicas on different nodes");
            }
            prop_assert!(spread(&replicas) <= 1, "{:?}", replicas);
            prop_assert!(spread(&led) <= 1, "{:?}", led);
        }

        #[test]
        fn redis_keys_spread_over_the_groups(groups in 1u32..64) {
            let plan = plan_bootstrap(&[NodeId(1)], groups);
            let map = RouteMap::new(1, routes_of(&plan)).unwrap();
            let mut slots: BTreeMap<GroupId, usize> = BTreeMap::new();
            for slot in 0..slot::SLOTS {
                *slots.entry(map.lookup(&layout::redis_slot(slot)).group).or_default() += 1;
            }
            prop_assert_eq!(slots.len(), groups as usize);
            prop_assert!(slots.values().max().unwrap() - slots.values().min().unwrap() <= 1);
        }
    }

    #[test]
    fn the_first_range_is_all_of_raw_kv() {
        for groups in [1, 6] {
            let routes = routes_of(&plan_bootstrap(&[NodeId(1)], groups));
            let first = routes.iter().find(|route| route.range_id == RangeId(1)).unwrap();
            assert!(first.range.covers(&KeyRange::prefix("k")));
            assert_eq!(first.range.start(), "k");
        }
    }

    #[test]
    fn three_groups_divide_the_keyspace_so() {
        let plan = plan_bootstrap(&[NodeId(1), NodeId(2), NodeId(3)], 3);
        let members: Vec<Vec<u64>> =
            plan.iter().map(|group| group.members.iter().map(|(_, node)| node.0).collect()).collect();
        assert_eq!(members, [[1, 2, 3], [2, 1, 3], [3, 2, 1]]);
        let routes = RouteMap::new(1, routes_of(&plan)).unwrap();
        let starts: Vec<(String, u64)> = routes
            .routes()
            .iter()
            .map(|route| (keyspace::human::print(route.range.start(), &keyspace::human::NoTables), route.group.0))
            .collect();
        let expected = [
            ("", 1),
            ("dynamo:#1431655765", 2),
            ("dynamo:#2863311530", 3),
            ("raw:", 1),
            ("redis:", 1),
            ("redis:slot:5461", 2),
            ("redis:slot:10922", 3),
            ("system:", 3),
        ];
        assert_eq!(starts, expected.map(|(start, group)| (start.to_owned(), group)));
    }
}
