//! The protocol between gateway and storage, as seen by a node that refuses, breaks off and moves ranges.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use commands::redis::{Invocation, Value};
use commands::{Command, Outcome};
use keyspace::human::NoTables;
use keyspace::{KeyRange, NodeId, RouteMap, layout};
use proto::{NotExecutedReason, Refusal, route, wire};

use super::fake::{FakeNode, FakePlacement, Verdict, router, some_route, some_topology};
use super::{Prepared, Reason, Router, RouterError};

fn unit(key: &str) -> Bytes {
    layout::redis_unit(0, key.as_bytes()).into()
}

fn command(words: &[&str]) -> Command {
    let args = words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    Command::Redis(Invocation::new(0, args))
}

fn set(key: &str) -> Prepared {
    Prepared::one(command(&["SET", key, "v"]), vec![unit(key)])
}

fn get(key: &str) -> Prepared {
    Prepared::one(command(&["GET", key]), vec![unit(key)])
}

/// The sequence of an `Exec`, 0 for a `Read`.
fn sequence(request: &wire::Request) -> u64 {
    match &request.kind {
        Some(wire::request::Kind::Exec(exec)) => exec.sequence,
        _ => 0,
    }
}

fn refusal(reason: NotExecutedReason) -> Verdict {
    Verdict::Refuse(Refusal::NotExecuted(reason))
}

fn not_leader(leader: Option<(u64, &FakeNode)>, term: u64) -> Verdict {
    Verdict::Refuse(Refusal::NotLeader {
        leader: leader.map(|(id, _)| NodeId(id)),
        address: leader.map(|(_, node)| node.address.clone()),
        term,
    })
}

/// The whole keyspace in one range of group 1.
fn one_range() -> RouteMap {
    RouteMap::new(1, vec![some_route(1, b"", b"", 1, 1)]).unwrap()
}

/// Everything below the middle of the Redis slots is of group 1, the rest of group 2.
fn two_ranges() -> RouteMap {
    let middle = layout::redis_slot(8192);
    RouteMap::new(1, vec![some_route(1, b"", &middle, 1, 1), some_route(2, &middle, b"", 2, 1)]).unwrap()
}

async fn one_node(
    behaviour: impl FnMut(&wire::Request) -> Verdict + Send + 'static,
) -> (FakeNode, FakePlacement, Router) {
    let node = FakeNode::start(behaviour).await;
    let placement = FakePlacement::start(&one_range(), some_topology(&[&node], [1, 1])).await;
    let router = router(&placement).await;
    (node, placement, router)
}

fn is_ok(answer: &super::Answer) -> bool {
    *answer == Ok(vec![Outcome::Redis(Value::OK)])
}

#[tokio::test]
async fn a_bundle_travels_in_one_batch_in_order() {
    let (node, _placement, router) = one_node(|_| Verdict::status("OK")).await;
    node.set_e(40);
    let answers = router.submit(7, vec![set("a"), get("b"), set("c")]).await;
    assert!(answers.iter().all(is_ok), "{answers:?}");
    let batches = node.batches();
    assert_eq!(batches.len(), 1);
    let batch = &batches[0];
    assert!(batch.incarnation != 0);
    assert_eq!((batch.answered_below, batch.seen_e), (1, 0));
    let keys: Vec<&Bytes> = batch.requests.iter().map(|request| &request.targets[0].key).collect();
    assert_eq!(keys, [&unit("a"), &unit("b"), &unit("c")]);
    assert_eq!(batch.requests.iter().map(sequence).collect::<Vec<_>>(), [1, 0, 2]);
    assert!(batch.requests.iter().all(|request| request.connection == 7 && request.group_id == 1));
    assert!(batch.requests.iter().all(|request| (request.targets[0].range_id, request.targets[0].epoch) == (1, 1)));

    // What was answered is declared with the next batch, and so is the largest oracle value seen.
    assert!(is_ok(&router.submit(7, vec![set("a")]).await[0]));
    let next = node.batches().pop().unwrap();
    assert_eq!((next.answered_below, next.seen_e, sequence(&next.requests[0])), (3, 40, 3));
    let Some(wire::request::Kind::Exec(exec)) = &next.requests[0].kind else { panic!("a SET is an Exec") };
    assert_eq!((exec.first_e, &exec.anchor), (40, &unit("a")));
}

#[tokio::test]
async fn what_a_refusal_takes_along_is_sent_again_together_and_in_order() {
    let mut refused = false;
    let (node, _placement, router) = one_node(move |request| {
        if request.targets[0].key == unit("b") && !std::mem::replace(&mut refused, true) {
            return refusal(NotExecutedReason::Overloaded);
        }
        Verdict::status("OK")
    })
    .await;
    let answers = router.submit(7, vec![set("a"), set("b"), get("c"), set("d")]).await;
    assert!(answers.iter().all(is_ok), "{answers:?}");
    let sent: Vec<Vec<u64>> =
        node.batches().iter().map(|batch| batch.requests.iter().map(sequence).collect()).collect();
    assert_eq!(sent, [vec![1, 2, 0, 3], vec![2, 0, 3]]);
    // While sequence 2 could be repeated, nothing above it was declared answered.
    assert_eq!(node.batches()[1].answered_below, 2);
}

#[tokio::test]
async fn a_broken_stream_repeats_the_same_request() {
    let mut first = true;
    let (node, _placement, router) =
        one_node(move |_| if std::mem::take(&mut first) { Verdict::Break } else { Verdict::status("OK") }).await;
    node.set_e(6);
    assert!(is_ok(&router.submit(7, vec![set("a")]).await[0]));
    let requests = node.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].kind, requests[1].kind, "sequence, first_e, anchor and commands stay");
    assert_eq!(router.in_flight(), 0);
}

#[tokio::test]
async fn a_stale_route_refines_the_map() {
    let middle = layout::redis_slot(8192);
    let halves = [some_route(5, b"", &middle, 1, 2), some_route(6, &middle, b"", 1, 2)];
    let (node, _placement, router) = one_node(move |request| {
        if request.targets.iter().all(|target| target.epoch == 2) {
            return Verdict::status("OK");
        }
        Verdict::Refuse(Refusal::StaleRoute { group: keyspace::GroupId(1), routes: halves.to_vec() })
    })
    .await;
    let started = Instant::now();
    assert!(is_ok(&router.submit(7, vec![set("foo")]).await[0]));
    assert!(started.elapsed() < Duration::from_millis(500), "it goes to the fresher route at once");
    let sent: Vec<(u64, u64)> =
        node.requests().iter().map(|it| (it.targets[0].range_id, it.targets[0].epoch)).collect();
    assert_eq!(sent, [(1, 1), (6, 2)]);
    assert_eq!(router.routes().unwrap().routes().len(), 2);
    // The next one knows.
    assert!(is_ok(&router.submit(7, vec![set("foo")]).await[0]));
    assert_eq!(node.requests().len(), 3);
}

#[tokio::test]
async fn a_hint_at_the_leader_is_followed_at_once() {
    let leader = FakeNode::start(|_| Verdict::status("OK")).await;
    let address = leader.address.clone();
    let follower = FakeNode::start(move |_| {
        Verdict::Refuse(Refusal::NotLeader { leader: Some(NodeId(2)), address: Some(address.clone()), term: 5 })
    })
    .await;
    let placement = FakePlacement::start(&one_range(), some_topology(&[&follower, &leader], [1, 1])).await;
    let router = router(&placement).await;
    for _ in 0..3 {
        assert!(is_ok(&router.submit(7, vec![set("a")]).await[0]));
    }
    assert_eq!((follower.requests().len(), leader.requests().len()), (1, 3), "the hint is remembered");
    // Placement is behind: its older term does not bring the follower back.
    placement.push(wire::route_event::Event::Topology(some_topology(&[&follower, &leader], [1, 1])));
    for _ in 0..3 {
        assert!(is_ok(&router.submit(7, vec![set("a")]).await[0]));
    }
    assert_eq!(follower.requests().len(), 1);
}

#[tokio::test]
async fn without_a_hint_the_voters_are_tried_in_turn() {
    let first = FakeNode::start(|_| not_leader(None, 1)).await;
    let second = FakeNode::start(|_| not_leader(None, 1)).await;
    let third = FakeNode::start(|_| Verdict::status("OK")).await;
    let placement = FakePlacement::start(&one_range(), some_topology(&[&first, &second, &third], [1, 1])).await;
    let router = router(&placement).await;
    assert!(is_ok(&router.submit(7, vec![set("a")]).await[0]));
    // The one that answered is remembered.
    let before = first.requests().len() + second.requests().len();
    assert!(is_ok(&router.submit(7, vec![set("a")]).await[0]));
    assert_eq!(first.requests().len() + second.requests().len(), before);
}

#[tokio::test]
async fn a_dead_leader_is_left_for_the_next_one() {
    let alive = FakeNode::start(|_| Verdict::status("OK")).await;
    let dead = FakeNode::start(|_| Verdict::Silence).await;
    let placement = FakePlacement::start(&one_range(), some_topology(&[&dead, &alive], [1, 1])).await;
    let router = router(&placement).await;
    let write = router.submit(7, vec![set("a")]);
    while dead.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(dead);
    assert!(is_ok(&write.await[0]));
    assert_eq!(alive.requests().iter().map(sequence).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn a_node_that_accepts_and_says_nothing_is_left() {
    let alive = FakeNode::start(|_| Verdict::status("OK")).await;
    // The kernel takes the connection; nobody ever answers on it.
    let hung = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut topology = some_topology(&[&alive, &alive], [2, 2]);
    topology.nodes[1].address = hung.local_addr().unwrap().to_string();
    let placement = FakePlacement::start(&one_range(), topology).await;
    let router = router(&placement).await;
    let started = Instant::now();
    assert!(is_ok(&router.submit(7, vec![set("a")]).await[0]));
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
}

#[tokio::test]
async fn silence_ends_in_an_unknown_outcome_for_writes_only() {
    let (_node, _placement, router) = one_node(|_| Verdict::Silence).await;
    let started = Instant::now();
    let answers = router.submit(7, vec![set("a"), get("b")]).await;
    assert_eq!(answers[0], Err(RouterError::OutcomeUnknown));
    assert_eq!(answers[1], Err(RouterError::Unavailable(Reason::NoAnswer)));
    assert!(started.elapsed() >= Duration::from_millis(2000));
    assert_eq!(router.in_flight(), 0, "late answers find nobody, but nothing leaks");
}

#[tokio::test]
async fn what_is_always_refused_is_given_up_as_not_executed() {
    let (_node, _placement, router) = one_node(|_| refusal(NotExecutedReason::Overloaded)).await;
    let started = Instant::now();
    let answers = router.submit(7, vec![set("a")]).await;
    assert_eq!(answers, [Err(RouterError::Unavailable(Reason::NodeOverloaded))]);
    assert!(started.elapsed() >= Duration::from_millis(800));
    let answers = router.submit(7, vec![]).await;
    assert!(answers.is_empty());
}

#[tokio::test]
async fn final_refusals_are_not_repeated() {
    let (node, _placement, router) = one_node(|request| {
        Verdict::Refuse(match &request.targets[0].key {
            key if *key == unit("full") => Refusal::NotExecuted(NotExecutedReason::DiskFull),
            key if *key == unit("old") => Refusal::TooOld,
            _ => Refusal::Rejected { message: "value too long".into() },
        })
    })
    .await;
    assert_eq!(router.submit(0, vec![set("full")]).await, [Err(RouterError::DiskFull)]);
    assert_eq!(router.submit(0, vec![set("old")]).await, [Err(RouterError::OutcomeUnknown)]);
    assert_eq!(router.submit(0, vec![get("old")]).await, [Err(RouterError::SnapshotTooOld)]);
    assert_eq!(router.submit(0, vec![set("k")]).await, [Err(RouterError::Rejected("value too long".into()))]);
    assert_eq!(node.requests().len(), 4);
}

#[tokio::test]
async fn bundles_part_by_group_and_requests_do_not() {
    let first = FakeNode::start(|_| Verdict::status("OK")).await;
    let second = FakeNode::start(|_| Verdict::status("OK")).await;
    let placement = FakePlacement::start(&two_ranges(), some_topology(&[&first, &second], [1, 2])).await;
    let router = router(&placement).await;
    // foo is in slot 12182, hello in slot 866.
    let both = Prepared::one(command(&["DEL", "foo", "hello"]), vec![unit("foo"), unit("hello")]);
    let answers = router.submit(7, vec![set("foo"), both, set("hello")]).await;
    assert!(is_ok(&answers[0]) && is_ok(&answers[2]));
    assert_eq!(answers[1], Err(RouterError::CrossGroup));
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
    assert_eq!(router.in_flight(), 0);
    // Its sequence is finished as well.
    assert!(is_ok(&router.submit(7, vec![set("foo")]).await[0]));
    assert_eq!(second.batches().pop().unwrap().answered_below, 4);
}

#[tokio::test]
async fn an_interval_becomes_a_target_for_each_range() {
    let middle = layout::redis_slot(8192);
    let node = FakeNode::start(|_| Verdict::status("OK")).await;
    let routes = RouteMap::new(1, vec![some_route(1, b"", &middle, 1, 3), some_route(2, &middle, b"", 1, 4)]).unwrap();
    let placement = FakePlacement::start(&routes, some_topology(&[&node], [1, 1])).await;
    let router = router(&placement).await;
    let interval = KeyRange::new(layout::redis_slot(8000), Some(layout::redis_slot(9000).into())).unwrap();
    router.call(vec![command(&["GET", "x"])], Vec::new(), vec![interval.clone()]).await.unwrap();
    let request = node.requests().pop().unwrap();
    let targets: Vec<(Bytes, Bytes, u64, bool)> = request
        .targets
        .iter()
        .map(|target| (target.key.clone(), target.end.clone(), target.epoch, target.is_interval))
        .collect();
    let middle = Bytes::from(middle);
    assert_eq!(
        targets,
        [(interval.start().clone(), middle.clone(), 3, true), (middle, interval.end().unwrap().clone(), 4, true),]
    );
    assert_eq!(router.parts_of(&interval).len(), 2);
}

#[tokio::test]
async fn a_gap_in_the_deltas_subscribes_again() {
    let (node, placement, router) = one_node(|_| Verdict::status("OK")).await;
    placement.subscribed(1).await;
    let map = one_range();
    let middle = layout::redis_slot(8192);
    let halves = [some_route(1, b"", &middle, 1, 2), some_route(2, &middle, b"", 1, 2)];
    // A delta that follows is applied.
    placement.push(wire::route_event::Event::Delta(route::delta(1, 2, &[], &halves, &NoTables)));
    while router.routes().unwrap().version() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(router.routes().unwrap().routes().len(), 2);
    // One that does not is never applied; the next subscription begins with an older snapshot, which is not either.
    placement.push(wire::route_event::Event::Delta(route::delta(3, 4, &[], &[], &NoTables)));
    placement.subscribed(3).await;
    assert_eq!(router.routes().unwrap().version(), 2);
    let caught_up = RouteMap::new(9, map.routes().to_vec()).unwrap();
    placement.begin_with(&caught_up, some_topology(&[&node], [1, 1]));
    while router.routes().unwrap().version() < 9 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(is_ok(&router.submit(0, vec![set("a")]).await[0]));
    assert_eq!(node.requests()[0].targets[0].epoch, 2, "fresher epochs outlive an older catalog");
}

#[tokio::test]
async fn beyond_the_bounds_it_refuses_at_once() {
    let (node, _placement, router) = one_node(|_| Verdict::Silence).await;
    let waiting = router.submit(7, (0..1000).map(|n| set(&n.to_string())).collect());
    let answers = router.submit(8, vec![set("a"), set("b")]).await;
    assert_eq!(answers, [Err(RouterError::Overloaded), Err(RouterError::Overloaded)]);
    assert_eq!(router.in_flight(), 1000);
    // Whoever waits no longer does not hold the room: the stream breaks, and nothing is repeated.
    while node.requests().len() < 1000 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(waiting);
    node.behave(|_| Verdict::status("OK"));
    node.break_streams();
    router.wait_idle().await;
    assert_eq!(node.requests().len(), 1000);
    assert!(is_ok(&router.submit(8, vec![set("a")]).await[0]));
}

#[tokio::test]
async fn junk_from_storage_is_an_error_and_not_a_panic() {
    let (_node, _placement, router) = one_node(|request| match &request.targets[0].key {
        key if *key == unit("none") => Verdict::Results(wire::Results { results: Vec::new() }),
        _ => Verdict::Results(wire::Results { results: vec![wire::CommandResult { language: None }] }),
    })
    .await;
    for key in ["none", "empty"] {
        let answers = router.submit(0, vec![get(key)]).await;
        assert!(matches!(answers[0], Err(RouterError::Protocol(_))), "{answers:?}");
    }
}

#[tokio::test]
async fn requests_before_the_first_word_of_placement_wait() {
    let node = FakeNode::start(|_| Verdict::status("OK")).await;
    let placement = FakePlacement::start(&one_range(), wire::Topology::default()).await;
    let config = super::RouterConfig {
        placement: vec!["127.0.0.1:1".to_owned(), placement.address.clone()],
        dialer: proto::Dialer::default(),
        max_requests: 10,
        max_bytes: 1 << 20,
        refused_timeout: Duration::from_secs(5),
        unknown_timeout: Duration::from_secs(5),
    };
    let router = Router::start(&config).unwrap();
    let early = router.submit(0, vec![set("a")]);
    assert!(!router.is_ready());
    placement.subscribed(1).await;
    placement.push(wire::route_event::Event::Topology(some_topology(&[&node], [1, 1])));
    assert!(is_ok(&early.await[0]));
    assert!(router.is_ready());
}
