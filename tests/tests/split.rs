//! Splits, as an operator asks for them over gRPC, while clients are at work.

use std::time::Duration;

use bytes::Bytes;
use proto::wire::{ListRoutesRequest, SplitRangeRequest};
use tests::cluster::Cluster;
use tests::load::{Load, LoadOptions};

const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn splits_under_load_reach_no_client() {
    let cluster = Cluster::builder().gateways(3).start();
    let load = Load::start(&cluster.all_redis(), LoadOptions::named("split"));
    load.wait_for(500, TIMEOUT);
    let mut distribution = cluster.distribution();
    for slot in (500..16_384).step_by(1000) {
        let key = Bytes::from(format!("redis:slot:{slot}"));
        let response = cluster.block_on(async {
            let version = distribution.list_routes(ListRoutesRequest {}).await?.into_inner().catalog_version;
            let route = distribution.get_route(proto::wire::GetRouteRequest { key: key.clone() }).await?.into_inner();
            let route_id = route.route.unwrap_or_default().route_id;
            let request = SplitRangeRequest { expected_catalog_version: version, route_id, split_key: key.clone() };
            distribution.split_range(request).await
        });
        let response = response.unwrap_or_else(|status| panic!("split at slot {slot}: {status}")).into_inner();
        let (left, right) = (response.left.unwrap_or_default(), response.right.unwrap_or_default());
        assert_eq!((left.end, right.start), (key.clone(), key));
        load.wait_for(50, TIMEOUT);
    }
    let record = load.stop();
    println!("16 splits, {} answers, longest silence {:?}", record.acknowledged, record.longest_silence);
    assert!(record.errors.is_empty(), "errors reached clients: {:?}", record.errors);
    record.assert_nothing_lost(cluster.redis());
}
