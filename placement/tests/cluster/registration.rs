//! Who is let in, and what survives a restart of the placement.

use tonic::Code;

use super::fake::Running;

#[tokio::test]
async fn an_identity_belongs_to_a_disk() {
    let running = Running::start(None).await;
    let first = running.register(0, "disk-a", "127.0.0.1:7001").await.unwrap();
    let second = running.register(0, "disk-b", "127.0.0.1:7002").await.unwrap();
    assert_eq!((first.node_id, second.node_id), (1, 2));
    assert_eq!(first.cluster_id, second.cluster_id);
    assert_eq!(first.cluster_id.len(), 32);

    // The node crashed before it had noted down its identity.
    assert_eq!(running.register(0, "disk-a", "127.0.0.1:7001").await.unwrap(), first);
    // It moved.
    assert_eq!(running.register(1, "disk-a", "127.0.0.1:7005").await.unwrap(), first);
    let nodes = running.cluster().nodes(proto::wire::NodesRequest {}).await.unwrap().into_inner().nodes;
    let addresses: Vec<_> = nodes.iter().map(|node| (node.node_id, &*node.address, node.alive)).collect();
    assert_eq!(addresses, [(1, "127.0.0.1:7005", true), (2, "127.0.0.1:7002", true)]);

    let refused = running.register(2, "disk-c", "127.0.0.1:7003").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("node 2 has another disk"), "{refused}");
    let refused = running.register(9, "disk-c", "127.0.0.1:7003").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("this cluster has no node 9"), "{refused}");
    for (disk, address) in [("", "127.0.0.1:7003"), ("disk-c", "0.0.0.0:7003"), ("disk-c", "nowhere")] {
        let refused = running.register(0, disk, address).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{disk} {address}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_heartbeat_needs_a_registered_node_and_sane_content() {
    let running = Running::start(None).await;
    let beat = |node_id, seen_e| proto::wire::HeartbeatRequest {
        node_id,
        address: "127.0.0.1:7001".to_owned(),
        seen_e,
        ..Default::default()
    };
    assert_eq!(running.cluster().heartbeat(beat(1, 0)).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(running.cluster().heartbeat(beat(0, 0)).await.unwrap_err().code(), Code::InvalidArgument);
    running.register(0, "disk-a", "127.0.0.1:7001").await.unwrap();
    assert_eq!(running.cluster().heartbeat(beat(1, u64::MAX)).await.unwrap_err().code(), Code::InvalidArgument);

    let seen = 1 << 62;
    let answer = running.cluster().heartbeat(beat(1, seen)).await.unwrap().into_inner();
    assert!(answer.oracle > seen, "the oracle never falls below what a node has seen");
    assert!(answer.safe_point < answer.oracle);
    assert_eq!(answer.nodes[0].address, "127.0.0.1:7001");
    running.stop().await;
}

#[tokio::test]
async fn identities_and_timestamps_go_on_behind_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let timestamp = async |running: &Running| {
        let answer = running.distribution().get_timestamp(proto::wire::GetTimestampRequest {}).await;
        answer.unwrap().into_inner().timestamp
    };
    let running = Running::start(Some(directory.path())).await;
    let first = running.register(0, "disk-a", "127.0.0.1:7001").await.unwrap();
    let mut before = timestamp(&running).await;
    for _ in 0..100 {
        let next = timestamp(&running).await;
        assert!(next > before && next % 2 == 0);
        before = next;
    }
    running.stop().await;

    let running = Running::start(Some(directory.path())).await;
    assert!(timestamp(&running).await > before);
    assert_eq!(running.register(1, "disk-a", "127.0.0.1:7001").await.unwrap(), first);
    assert_eq!(running.register(0, "disk-b", "127.0.0.1:7002").await.unwrap().node_id, 2);
    running.stop().await;
}
