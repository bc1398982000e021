//! Splits, as an operator asks for them over gRPC, while clients are at work.

use std::time::Duration;

use tests::cluster::Cluster;
use tests::load::{Load, LoadOptions};

const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn splits_under_load_reach_no_client() {
    let cluster = Cluster::builder().gateways(3).start();
    let load = Load::start(&cluster.all_redis(), LoadOptions::named("split"));
    load.wait_for(500, TIMEOUT);
    for slot in (500..16_384).step_by(1000) {
        cluster.split_at_slot(slot).unwrap_or_else(|status| panic!("split at slot {slot}: {status}"));
        load.wait_for(50, TIMEOUT);
    }
    let record = load.stop();
    println!("16 splits, {} answers, longest silence {:?}", record.acknowledged, record.longest_silence);
    assert!(record.errors.is_empty(), "errors reached clients: {:?}", record.errors);
    record.assert_nothing_lost(cluster.redis());
}
