//! The first groups of a cluster.

use std::collections::BTreeMap;

use keyspace::RouteMap;
use proto::wire;
use tonic::Code;

use super::fake::{Mishap, Nodes, Running};

#[tokio::test]
async fn three_nodes_get_groups_that_share_the_keyspace() {
    let running = Running::start(None).await;
    let nodes = Nodes::open(3).await;
    running.register(0, "disk-1", &nodes.addresses[0]).await.unwrap();
    assert_eq!(running.routes().await, wire::ListRoutesResponse::default());
    let early = running.distribution().get_route(wire::GetRouteRequest { key: "g".into() }).await.unwrap_err();
    assert_eq!(early.code(), Code::Unavailable);
    assert!(early.message().contains("not bootstrapped"), "{early}");

    nodes.register_all(&running).await;
    running.wait_for_bootstrap().await;
    nodes.beat(&running).await;
    let listed = running.routes().await;
    assert_eq!(listed.catalog_version, 1);
    let map = RouteMap::try_from(wire::RouteSnapshot { version: 1, routes: listed.routes.clone() }).unwrap();
    assert!(map.routes().iter().all(|route| route.epoch.0 == 1 && route.parent.0 == 0));
    assert_eq!(map.lookup(&keyspace::layout::raw(b"g")).range_id.0, 1);

    let found = running.distribution().get_route(wire::GetRouteRequest { key: "g".into() }).await.unwrap().into_inner();
    assert_eq!((&*found.start, &*found.end, found.raft_group_id), (&b"raw:"[..], &b"redis:"[..], 1));

    let groups = running.cluster().groups(wire::GroupsRequest {}).await.unwrap().into_inner().groups;
    assert_eq!(groups.len(), 3);
    assert!(groups.iter().all(|group| group.members.len() == 3 && group.members.iter().all(|member| member.voter)));
    let mut leaders: Vec<u64> = groups.iter().map(|group| group.leader_node_id).collect();
    leaders.sort_unstable();
    assert_eq!(leaders, [1, 2, 3], "every node leads one of three groups");
    let listed_nodes = running.cluster().nodes(wire::NodesRequest {}).await.unwrap().into_inner().nodes;
    assert!(listed_nodes.iter().all(|node| node.alive && node.replicas == 3 && node.leaders == 1), "{listed_nodes:?}");
    assert_eq!(running.jobs().await, []);
    running.stop().await;
}

#[tokio::test]
async fn a_bootstrap_that_a_crash_interrupts_is_resumed_as_planned() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = Nodes::open(3).await;
    let running = Running::start(Some(directory.path())).await;
    // Node 2 does what it is told, but nobody hears of it.
    nodes.set_mishap(2, Some(Mishap::AnswerLost));
    nodes.register_all(&running).await;
    running.wait_for_failure().await;
    assert_eq!(running.routes().await.catalog_version, 0, "nothing is visible before everything runs");
    let planned = |nodes: &Nodes| -> BTreeMap<u64, Vec<u64>> {
        let world = nodes.world();
        world
            .groups
            .iter()
            .map(|(id, group)| (*id, group.ranges.iter().map(|range| range.range_id).collect()))
            .collect()
    };
    let before = planned(&nodes);
    running.stop().await;

    nodes.set_mishap(2, None);
    let running = Running::start(Some(directory.path())).await;
    running.wait_for_bootstrap().await;
    running.wait_for_jobs().await;
    assert_eq!(running.routes().await.catalog_version, 1);
    let after = planned(&nodes);
    assert_eq!(after.len(), 3);
    assert!(before.iter().all(|(group, ranges)| after[group] == *ranges), "the plan is the one of the first attempt");
    running.stop().await;

    // The third start finds nothing to do.
    let calls = nodes.world().calls.clone();
    let running = Running::start(Some(directory.path())).await;
    nodes.register_all(&running).await;
    running.wait_for_bootstrap().await;
    assert_eq!(nodes.world().calls, calls);
    running.stop().await;
}
