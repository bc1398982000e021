//! `SplitRange`: what it refuses, what it does, and what a crash between its steps leaves.

use std::time::Duration;

use bytes::Bytes;
use keyspace::{Key, RedisRecord, layout};
use proto::{Fault, FaultCode};
use tonic::Code;

use super::fake::{Mishap, Nodes, Running};

#[tokio::test]
async fn the_well_known_example_works_as_written() {
    let (running, _nodes) = Running::bootstrapped(3).await;
    let done = running.split(1, 1, b"g").await.unwrap();
    let (left, right) = (done.left.unwrap(), done.right.unwrap());
    assert_eq!(done.catalog_version, 2);
    assert_eq!((&*left.start, &*left.end), (&b"raw:"[..], &b"raw:g"[..]));
    assert_eq!((&*right.start, &*right.end), (&b"raw:g"[..], &b"redis:"[..]));
    assert_eq!((left.parent_route_id, right.parent_route_id, left.epoch, right.epoch), (1, 1, 2, 2));
    assert_eq!(left.encoded_end, layout::raw(b"g"));

    let listed = running.routes().await;
    assert_eq!(listed.catalog_version, 2);
    assert!(listed.routes.contains(&left) && listed.routes.contains(&right));
    assert!(listed.routes.iter().all(|route| route.route_id != 1));
    assert_eq!(running.jobs().await, []);

    // Repeated as it is, it names a version that is no more.
    assert_eq!(running.split(1, 1, b"g").await.unwrap_err().code(), Code::Aborted);
    running.stop().await;
}

#[tokio::test]
async fn every_refusal_has_its_code_and_changes_nothing() {
    let (running, nodes) = Running::bootstrapped(3).await;
    let element = Key::Redis {
        db: 0,
        user_key: b"list".to_vec(),
        record: RedisRecord::Element { generation: 1, element: vec![1] },
    };
    let inside_unit = element.encode().iter().fold("0x".to_owned(), |hex, byte| format!("{hex}{byte:02x}"));
    let of_list = running.distribution();
    let of_list = of_list.clone().get_route(proto::wire::GetRouteRequest { key: "redis:0:list".into() }).await;
    let redis_route = of_list.unwrap().into_inner().route.unwrap().route_id;
    let cases: [(u64, u64, &[u8], Code); 8] = [
        (9, 1, b"g", Code::Aborted),
        (1, 99, b"g", Code::NotFound),
        (1, 1, b"raw:", Code::InvalidArgument),
        (1, 1, b"redis:", Code::InvalidArgument),
        (1, 1, b"system:table:x", Code::InvalidArgument),
        (1, 1, b"0x7", Code::InvalidArgument),
        (1, 1, b"dynamo:unknown", Code::InvalidArgument),
        (1, redis_route, inside_unit.as_bytes(), Code::InvalidArgument),
    ];
    for (version, route, key, code) in cases {
        let refused = running.split(version, route, key).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(Fault::of(&refused).unwrap().is_some(), "programs find the reason in the details");
    }
    assert_eq!(running.routes().await.catalog_version, 1);
    assert_eq!(running.jobs().await, []);
    assert!(nodes.world().calls.keys().all(|(_, call)| *call != "split_range"), "no node was asked");
    running.stop().await;
}

#[tokio::test]
async fn a_group_without_leader_refuses_and_another_leader_is_found() {
    let (running, nodes) = Running::bootstrapped(3).await;
    nodes.world().groups.get_mut(&1).unwrap().leader = 0;
    let refused = running.split(1, 1, b"g").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(Fault::of(&refused).unwrap().unwrap().code, FaultCode::NotLeading);
    assert_eq!((running.routes().await.catalog_version, running.jobs().await.len()), (1, 0));

    // The placement still believes in the old leader, and finds the new one.
    let old = nodes.world().groups[&1].members[0].node_id;
    nodes.world().groups.get_mut(&1).unwrap().leader = old % 3 + 1;
    assert_eq!(running.split(1, 1, b"g").await.unwrap().catalog_version, 2);
    running.stop().await;
}

#[tokio::test]
async fn what_the_group_refuses_is_refused_and_forgotten() {
    let (running, nodes) = Running::bootstrapped(3).await;
    nodes.world().groups.get_mut(&1).unwrap().ranges[0].epoch = 5;
    let refused = running.split(1, 1, b"g").await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert_eq!((running.routes().await.catalog_version, running.jobs().await.len()), (1, 0));
    running.stop().await;
}

#[tokio::test]
async fn one_split_at_a_time_of_a_range() {
    let (running, nodes) = Running::bootstrapped(3).await;
    (1..=3).for_each(|node| nodes.set_mishap(node, Some(Mishap::Nothing)));
    let mut client = running.distribution();
    let split_key = Bytes::from("g");
    let request = proto::wire::SplitRangeRequest { expected_catalog_version: 1, route_id: 1, split_key };
    let first = tokio::spawn(async move { client.split_range(request).await });
    running.wait_for_failure().await;
    let busy = running.split(1, 1, b"h").await.unwrap_err();
    assert_eq!((busy.code(), Fault::of(&busy).unwrap().unwrap().code), (Code::Aborted, FaultCode::Conflict));
    (1..=3).for_each(|node| nodes.set_mishap(node, None));
    assert_eq!(first.await.unwrap().unwrap().into_inner().catalog_version, 2);
    running.stop().await;
}

/// Crashes while the split is at `mishap`, starts again, and expects it to be finished once.
async fn resumes_after(mishap: Mishap) {
    let directory = tempfile::tempdir().unwrap();
    let nodes = Nodes::open(3).await;
    let running = Running::start(Some(directory.path())).await;
    nodes.register_all(&running).await;
    running.wait_for_bootstrap().await;
    (1..=3).for_each(|node| nodes.set_mishap(node, Some(mishap)));
    let mut client = running.distribution();
    let split_key = Bytes::from("g");
    let request = proto::wire::SplitRangeRequest { expected_catalog_version: 1, route_id: 1, split_key };
    let caller = tokio::spawn(async move { client.split_range(request).await });
    running.wait_for_failure().await;
    assert_eq!(running.routes().await.catalog_version, 1);
    running.stop().await;
    let unknown = caller.await.unwrap().unwrap_err();
    assert!(matches!(unknown.code(), Code::Unknown | Code::Unavailable | Code::Cancelled), "{unknown:?}");

    (1..=3).for_each(|node| nodes.set_mishap(node, None));
    let running = Running::start(Some(directory.path())).await;
    running.wait_for_jobs().await;
    let listed = running.routes().await;
    assert_eq!(listed.catalog_version, 2);
    assert_eq!(listed.routes.iter().filter(|route| route.parent_route_id == 1).count(), 2);
    assert_eq!(running.split(1, 1, b"g").await.unwrap_err().code(), Code::Aborted);
    running.stop().await;
}

#[tokio::test]
async fn a_crash_before_the_group_has_cut_resumes() {
    resumes_after(Mishap::Nothing).await;
}

#[tokio::test]
async fn a_crash_after_the_group_has_cut_resumes() {
    resumes_after(Mishap::AnswerLost).await;
}

#[tokio::test]
async fn a_heartbeat_that_is_faster_than_the_answer_counts_once() {
    let (running, nodes) = Running::bootstrapped(3).await;
    (1..=3).for_each(|node| nodes.set_mishap(node, Some(Mishap::AnswerLost)));
    let mut client = running.distribution();
    let split_key = Bytes::from("g");
    let request = proto::wire::SplitRangeRequest { expected_catalog_version: 1, route_id: 1, split_key };
    let caller = tokio::spawn(async move { client.split_range(request).await });
    running.wait_for_failure().await;
    nodes.beat(&running).await;
    let listed = running.routes().await;
    assert_eq!(listed.catalog_version, 2, "the catalog is an index of what the groups report");
    assert_eq!(listed.routes.iter().filter(|route| route.parent_route_id == 1).count(), 2);

    (1..=3).for_each(|node| nodes.set_mishap(node, None));
    let done = tokio::time::timeout(Duration::from_secs(30), caller).await.unwrap().unwrap().unwrap();
    assert_eq!(done.into_inner().catalog_version, 2);
    assert_eq!(running.routes().await, listed);
    running.stop().await;
}
