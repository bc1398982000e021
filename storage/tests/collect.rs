//! What nobody can read any more is removed; what somebody can, stays.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use keyspace::{GroupId, layout};
use proto::wire;
use storage::engine::Engine;
use storage::engine::rocks::{RocksEngine, RocksOptions};
use storage::group::keys::GroupKeys;
use support::{GROUP, Nodes, raw_get, raw_put, redis, request};

fn read_at(ticket: u64, at: u64) -> wire::Request {
    let mut read = request(ticket, None, 1, vec![raw_get("kept")]);
    if let Some(wire::request::Kind::Read(read)) = &mut read.kind {
        read.at = at;
    }
    read
}

/// Versions of a key that are stored.
fn versions(data: &RocksEngine, key: &[u8]) -> usize {
    let start = GroupKeys::new(GroupId(GROUP)).data_prefix(key);
    let mut end = start.clone();
    end.extend([0xFF; 17]);
    let snapshot = data.snapshot();
    let mut cursor = snapshot.cursor(&start, &end);
    cursor.seek(&start).unwrap();
    let mut versions = 0;
    while cursor.current().is_some() {
        versions += 1;
        cursor.next().unwrap();
    }
    versions
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_deleted_and_expired_keys_are_removed_behind_the_safe_point() {
    let mut nodes = Nodes::start(3).await;
    let leader = nodes.leader().await;
    let mut client = nodes.client(leader).await;
    for sequence in 1..=30 {
        client.results(Some(sequence), raw_put("kept", &sequence.to_string())).await;
    }
    client.results(Some(31), redis(&["SET", "gone", "x"])).await;
    client.results(Some(32), redis(&["DEL", "gone"])).await;
    client.results(Some(33), redis(&["SET", "expired", "x", "PX", "1"])).await;
    client.results(Some(34), redis(&["SET", "expires", "x", "EX", "1000"])).await;
    // A reader at 50 makes the group promise that what comes later is above.
    client.send(vec![read_at(900, 50)]).await;
    client.results(Some(35), raw_put("kept", "above")).await;

    nodes.raise_safe_point(50);
    for ticket in 1000.. {
        let outcome = client.send(vec![read_at(ticket, 49)]).await.into_values().next().unwrap();
        if matches!(support::refused(outcome), Some(wire::refusal::Reason::Rejected(_))) {
            break;
        }
        assert!(ticket < 1200, "nothing was collected within 10 s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let at_safe_point = client.send(vec![read_at(2000, 50)]).await.into_values().next().unwrap();
    let wire::reply::Outcome::Results(results) = at_safe_point else { panic!("{at_safe_point:?}") };
    assert_eq!(support::found(&results.results[0]).as_deref(), Some("30"), "the oldest snapshot is whole");
    for storage in std::mem::take(&mut nodes.running).into_values() {
        storage.shutdown().await;
    }
    // Whoever led has applied what it answered by.
    let data = RocksEngine::open(&nodes.path(leader).join("data"), &RocksOptions::data()).unwrap();
    let redis_versions = |name: &[u8]| versions(&data, &layout::redis_meta(0, name));
    assert_eq!(versions(&data, &layout::raw(b"kept")), 2);
    assert_eq!([redis_versions(b"gone"), redis_versions(b"expired"), redis_versions(b"expires")], [0, 0, 1]);
}
