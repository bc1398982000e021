//! The listener as a program sees it, over a fake storage node that stores.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use commands::testing::MemoryView;
use keyspace::{RouteMap, layout};
use parking_lot::Mutex;
use proto::wire::distribution_client::DistributionClient;
use proto::wire::raw_kv_client::RawKvClient;
use proto::wire::transactional_kv_client::TransactionalKvClient;
use proto::{Fault, FaultCode, wire};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::router::fake::{FakeNode, FakePlacement, router, some_route, some_topology};
use crate::router::fake_store::evaluate;

struct Harness {
    nodes: [FakeNode; 2],
    placement: FakePlacement,
    channel: Channel,
    shutdown: CancellationToken,
}

impl Harness {
    /// User keys below "m" are in group 1, the others in group 2.
    async fn start() -> Self {
        let view = Arc::new(Mutex::new(MemoryView::default()));
        let store = |view: &Arc<Mutex<MemoryView>>| {
            let view = view.clone();
            move |request: &wire::Request| evaluate(&mut view.lock(), request)
        };
        let nodes = [FakeNode::start(store(&view)).await, FakeNode::start(store(&view)).await];
        let middle = layout::raw(b"m");
        let routes = vec![some_route(1, b"", &middle, 1, 1), some_route(2, &middle, b"", 2, 1)];
        let routes = RouteMap::new(1, routes).unwrap();
        let placement = FakePlacement::start(&routes, some_topology(&[&nodes[0], &nodes[1]], [1, 2])).await;
        let router = router(&placement).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        tokio::spawn(super::serve(listener, router, Duration::from_secs(2), shutdown.clone()));
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        Self { nodes, placement, channel, shutdown }
    }

    fn raw(&self) -> RawKvClient<Channel> {
        RawKvClient::new(self.channel.clone()).max_decoding_message_size(40 << 20).max_encoding_message_size(80 << 20)
    }

    async fn put(&self, key: &str, value: &str) -> u64 {
        let request = wire::RawPutRequest { key: key.to_owned().into(), value: value.to_owned().into() };
        let response = self.raw().raw_put(request).await.unwrap().into_inner();
        assert!(response.success);
        response.commit_index
    }

    async fn scan(&self, start: &str, end: &str, limit: i64, ts: u64, reverse: bool) -> Result<Vec<String>, Status> {
        let (start_key, end_key) = (start.to_owned().into(), end.to_owned().into());
        let request = wire::RawScanAtRequest { start_key, end_key, limit, ts, reverse };
        let pairs = self.raw().raw_scan_at(request).await?.into_inner().kv;
        Ok(pairs.into_iter().map(|pair| String::from_utf8(pair.key.to_vec()).unwrap()).collect())
    }

    /// The `at` of every read that the nodes have seen.
    fn read_timestamps(&self) -> Vec<u64> {
        let at = |request: wire::Request| match request.kind {
            Some(wire::request::Kind::Read(read)) => Some(read.at),
            _ => None,
        };
        self.nodes.iter().flat_map(|node| node.requests()).filter_map(at).collect()
    }
}

fn fault(status: &Status) -> FaultCode {
    Fault::of(status).unwrap().unwrap().code
}

#[tokio::test]
async fn keys_are_written_read_and_removed() {
    let harness = Harness::start().await;
    assert_eq!(harness.put("a", "1").await, 1, "written while its group had seen 0");
    let get = |key: &str, ts| wire::RawGetRequest { key: key.to_owned().into(), ts };
    let found = harness.raw().raw_get(get("a", 0)).await.unwrap().into_inner();
    assert_eq!((found.exists, &found.value[..], found.read_at_index), (true, &b"1"[..], 1));
    let latest = wire::RawLatestCommitTsRequest { key: "a".into() };
    let latest = harness.raw().raw_latest_commit_ts(latest).await.unwrap().into_inner();
    assert_eq!((latest.exists, latest.ts), (true, 1));
    harness.raw().raw_delete(wire::RawDeleteRequest { key: "a".into() }).await.unwrap();
    let found = harness.raw().raw_get(get("a", 0)).await.unwrap().into_inner();
    assert_eq!((found.exists, found.value.len()), (false, 0));
}

#[tokio::test]
async fn scans_cross_ranges_at_one_timestamp() {
    let harness = Harness::start().await;
    for key in ["a", "b", "k", "m", "n", "z"] {
        harness.put(key, "v").await;
    }
    harness.placement.set_oracle(10);
    assert_eq!(harness.scan("", "", 10, 0, false).await.unwrap(), ["a", "b", "k", "m", "n", "z"]);
    assert_eq!(harness.read_timestamps(), [12, 12], "one value of the oracle for both groups");
    assert_eq!(harness.scan("b", "n", 10, 0, true).await.unwrap(), ["m", "k", "b"]);
    assert_eq!(harness.scan("", "", 4, 0, true).await.unwrap(), ["z", "n", "m", "k"]);
    assert_eq!(harness.scan("n", "n", 4, 0, false).await.unwrap(), [""; 0]);
    let before = harness.read_timestamps().len();
    assert_eq!(harness.scan("a", "c", 10, 0, false).await.unwrap(), ["a", "b"]);
    assert_eq!(harness.read_timestamps().len() - before, 1);
    assert!(harness.read_timestamps().contains(&0), "one range needs no timestamp");
}

#[tokio::test]
async fn large_scans_go_on_where_an_answer_ended() {
    let harness = Harness::start().await;
    let value = "v".repeat(300_000);
    for n in 0..10 {
        harness.put(&format!("b{n}"), &value).await;
    }
    let keys: Vec<String> = (0..10).map(|n| format!("b{n}")).collect();
    assert_eq!(harness.scan("", "", 100, 0, false).await.unwrap(), keys);
    let reversed: Vec<String> = keys.iter().rev().cloned().collect();
    assert_eq!(harness.scan("b", "c", 100, 0, true).await.unwrap(), reversed);
    assert_eq!(harness.scan("b", "c", 7, 0, true).await.unwrap(), reversed[..7]);
}

#[tokio::test]
async fn timestamps_that_do_not_exist_yet_are_refused() {
    let harness = Harness::start().await;
    harness.placement.set_oracle(100);
    let refused = harness.scan("", "", 10, 500, false).await.unwrap_err();
    assert_eq!((refused.code(), fault(&refused)), (Code::InvalidArgument, FaultCode::InvalidArgument));
    assert!(refused.message().contains("500"));
    // Asking moved the oracle to 102; what was written under 102 shows at 103.
    assert!(harness.scan("", "", 10, 103, false).await.is_ok());
    let get = wire::RawGetRequest { key: "a".into(), ts: 102 };
    assert_eq!(harness.raw().raw_get(get).await.unwrap().into_inner().read_at_index, 102);
    // Later requests carry what was seen of the oracle.
    harness.put("a", "v").await;
    assert_eq!(harness.nodes[0].batches().pop().unwrap().seen_e, 102);
}

#[tokio::test]
async fn limits_are_refused_with_a_sentence() {
    let harness = Harness::start().await;
    for limit in [0, -1, 10_001] {
        let refused = harness.scan("", "", limit, 0, false).await.unwrap_err();
        assert_eq!(refused.message(), "limit must be 1 to 10000");
    }
    let long = wire::RawPutRequest { key: vec![0; (64 << 10) + 1].into(), value: "v".into() };
    assert_eq!(harness.raw().raw_put(long).await.unwrap_err().message(), "the key is longer than 65536 bytes");
    let large = wire::RawPutRequest { key: "k".into(), value: vec![0; (32 << 20) + 1].into() };
    let refused = harness.raw().raw_put(large).await.unwrap_err();
    assert_eq!(refused.message(), "the value is longer than 33554432 bytes");
    let huge = wire::RawPutRequest { key: "k".into(), value: vec![0; 41 << 20].into() };
    assert_eq!(harness.raw().raw_put(huge).await.unwrap_err().code(), Code::OutOfRange);
    let fits = wire::RawPutRequest { key: "k".into(), value: vec![7; 32 << 20].into() };
    harness.raw().raw_put(fits).await.unwrap();
    let found = harness.raw().raw_get(wire::RawGetRequest { key: "k".into(), ts: 0 }).await.unwrap().into_inner();
    assert_eq!(found.value.len(), 32 << 20);
}

#[tokio::test]
async fn what_is_prewritten_takes_effect_with_its_commit_and_not_before() {
    let harness = Harness::start().await;
    let mut client = TransactionalKvClient::new(harness.channel.clone());
    client.put(wire::PutRequest { key: "a".into(), value: "1".into() }).await.unwrap();
    let mut distribution = DistributionClient::new(harness.channel.clone());
    let timestamp = distribution.get_timestamp(wire::GetTimestampRequest {}).await.unwrap().into_inner().timestamp;
    let mutations = vec![wire::Kv { key: "a".into(), value: "2".into(), error: None }];
    let prewrite = wire::PreWriteRequest { mutations, start_ts: timestamp, ..Default::default() };
    assert_eq!(client.pre_write(prewrite.clone()).await.unwrap().into_inner().errors, []);
    let read = |value: &'static str| (bytes::Bytes::from(value), wire::GetRequest { key: "a".into() });
    let (old, get) = read("1");
    assert_eq!(client.get(get).await.unwrap().into_inner().value, old);

    let commit = wire::CommitRequest { start_ts: timestamp, keys: vec!["a".into()] };
    let committed = client.commit(commit.clone()).await.unwrap().into_inner();
    assert!(committed.success && committed.commit_index > timestamp, "{committed:?}");
    let (new, get) = read("2");
    assert_eq!(client.get(get).await.unwrap().into_inner().value, new);
    assert!(!client.commit(commit.clone()).await.unwrap().into_inner().success, "there is nothing to commit any more");

    client.rollback(wire::RollbackRequest { start_ts: timestamp }).await.unwrap();
    assert!(!client.commit(commit).await.unwrap().into_inner().success);
    let nameless = wire::PreWriteRequest { start_ts: 0, ..prewrite };
    assert_eq!(client.pre_write(nameless).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn distribution_is_placements_own_words() {
    let harness = Harness::start().await;
    let mut client = DistributionClient::new(harness.channel.clone());
    let routes = client.list_routes(wire::ListRoutesRequest {}).await.unwrap().into_inner();
    assert_eq!(routes.catalog_version, 7);
    let refused = client.split_range(wire::SplitRangeRequest::default()).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Aborted, "the fake splits nothing"));
    let first = client.get_timestamp(wire::GetTimestampRequest {}).await.unwrap().into_inner().timestamp;
    let second = client.get_timestamp(wire::GetTimestampRequest {}).await.unwrap().into_inner().timestamp;
    assert!(first < second);
    let mut events = client.watch_routes(wire::WatchRoutesRequest {}).await.unwrap().into_inner();
    let event = events.message().await.unwrap().unwrap();
    assert!(matches!(event.event, Some(wire::route_event::Event::Snapshot(_))));
}

#[tokio::test]
async fn reflection_shows_the_public_services_only() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let harness = Harness::start().await;
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(harness.channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(services) = answer else { panic!("{answer:?}") };
    let names: Vec<String> = services.service.into_iter().map(|service| service.name).collect();
    assert!(names.contains(&"elastickv.RawKV".to_owned()) && names.contains(&"elastickv.Distribution".to_owned()));
    assert!(!names.contains(&"elastickv.Raft".to_owned()), "{names:?}");
}

#[tokio::test]
async fn health_follows_routes_and_drain() {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    let harness = Harness::start().await;
    let mut client = HealthClient::new(harness.channel.clone());
    let watch = tonic_health::pb::HealthCheckRequest { service: "elastickv.RawKV".into() };
    let mut states = client.watch(watch).await.unwrap().into_inner();
    while states.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    harness.shutdown.cancel();
    let state = states.message().await.unwrap().unwrap();
    assert_eq!(state.status(), ServingStatus::NotServing);
}
