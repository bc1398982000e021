//! `WatchRoutes`: gapless, in order, and with the topology.

use std::time::Duration;

use keyspace::RouteMap;
use proto::route::apply_delta;
use proto::wire::{self, route_event::Event};
use tonic::Streaming;

use super::fake::{Nodes, Running};

async fn next(events: &mut Streaming<wire::RouteEvent>) -> Event {
    let event = tokio::time::timeout(Duration::from_secs(30), events.message()).await.unwrap();
    event.unwrap().unwrap().event.unwrap()
}

async fn watch(running: &Running) -> Streaming<wire::RouteEvent> {
    running.distribution().watch_routes(wire::WatchRoutesRequest {}).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_watcher_follows_every_version_from_the_bootstrap_on() {
    let running = Running::start(None).await;
    // Before there is anything to see.
    let mut events = watch(&running).await;
    let nodes = Nodes::open(3).await;
    nodes.register_all(&running).await;
    let Event::Snapshot(snapshot) = next(&mut events).await else { panic!("a snapshot comes first") };
    let mut map = RouteMap::try_from(snapshot).unwrap();
    assert_eq!(map.version(), 1);

    for version in 1..20_u64 {
        let key = format!("raw:{version:04}");
        let route = running.distribution().get_route(wire::GetRouteRequest { key: key.clone().into() }).await.unwrap();
        let route = route.into_inner().route.unwrap().route_id;
        running.split(version, route, key.as_bytes()).await.unwrap();
    }
    while map.version() < 20 {
        match next(&mut events).await {
            Event::Delta(delta) => map = apply_delta(&map, delta).unwrap(),
            Event::Topology(_) => {}
            Event::Snapshot(_) => panic!("a watcher that keeps up gets no second snapshot"),
        }
    }
    let listed = running.routes().await;
    let snapshot = wire::RouteSnapshot { version: listed.catalog_version, routes: listed.routes };
    assert_eq!(map, RouteMap::try_from(snapshot).unwrap());
    running.stop().await;
    let ended = tokio::time::timeout(Duration::from_secs(30), events.message()).await.unwrap();
    assert!(!matches!(ended, Ok(Some(_))), "the stream ends with the placement");
}

#[tokio::test]
async fn the_topology_follows_leaders_and_addresses() {
    let (running, nodes) = Running::bootstrapped(3).await;
    let mut events = watch(&running).await;
    assert!(matches!(next(&mut events).await, Event::Snapshot(_)));
    // Leaders are known a moment after the heartbeat that names them.
    let topology = loop {
        let Event::Topology(topology) = next(&mut events).await else { panic!("nothing was split") };
        if topology.groups.iter().all(|group| group.leader_node_id > 0) {
            break topology;
        }
    };
    let addresses: Vec<_> = topology.nodes.iter().map(|node| node.address.clone()).collect();
    assert_eq!(addresses, nodes.addresses);
    assert!(topology.groups.iter().all(|group| group.voter_node_ids.len() == 3));

    let leader = topology.groups[0].leader_node_id % 3 + 1;
    {
        let mut world = nodes.world();
        let group = world.groups.get_mut(&1).unwrap();
        (group.leader, group.term) = (leader, 2);
    }
    nodes.beat(&running).await;
    let changed = loop {
        let Event::Topology(topology) = next(&mut events).await else { panic!("nothing was split") };
        if topology.groups[0].term == 2 {
            break topology;
        }
    };
    assert_eq!(changed.groups[0].leader_node_id, leader);

    running.register(3, "disk-3", "127.0.0.1:9").await.unwrap();
    let Event::Topology(moved) = next(&mut events).await else { panic!("nothing was split") };
    assert_eq!(moved.nodes[2].address, "127.0.0.1:9");
    running.stop().await;
}
