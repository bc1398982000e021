//! kill -9, of one process or of all, while clients are at work: what was acknowledged stays, and every read is right.

use std::time::{Duration, Instant};

use tests::cluster::Cluster;
use tests::load::{Load, LoadOptions};

/// The aim is 4 s; the bound leaves room for a machine that compiles something meanwhile.
const SILENCE_BOUND: Duration = Duration::from_secs(10);
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn each_node_dies_in_turn_under_load() {
    let mut cluster = Cluster::builder().gateways(3).start();
    let load = Load::start(&cluster.all_redis(), LoadOptions::named("turn"));
    load.wait_for(500, RECOVERY_TIMEOUT);
    for node in 0..cluster.nodes.len() {
        cluster.nodes[node].process.kill();
        load.wait_for(500, RECOVERY_TIMEOUT);
        cluster.nodes[node].process.start();
        cluster.wait_until_replicated(RECOVERY_TIMEOUT);
        load.wait_for(200, RECOVERY_TIMEOUT);
    }
    let record = load.stop();
    println!(
        "{} answers, {} errors, longest silence {:?}",
        record.acknowledged,
        record.errors.len(),
        record.longest_silence
    );
    assert!(record.longest_silence < SILENCE_BOUND, "silent for {:?}", record.longest_silence);
    assert!(record.errors.is_empty(), "errors reached clients: {:?}", record.errors);
    record.assert_nothing_lost(cluster.redis());
}

#[test]
fn a_leader_dies_under_load() {
    let mut cluster = Cluster::builder().start();
    let load = Load::start(&cluster.all_redis(), LoadOptions::named("leader"));
    load.wait_for(500, RECOVERY_TIMEOUT);
    let group = cluster.groups()[0].group_id;
    let leader = cluster.leader_index(group).expect("a group that answers has a leader");
    let killed = Instant::now();
    cluster.nodes[leader].process.kill();
    load.wait_for(500, RECOVERY_TIMEOUT);
    let back = killed.elapsed();
    cluster.wait_for("another leader", RECOVERY_TIMEOUT, |cluster| {
        cluster.leader_index(group).is_some_and(|index| index != leader)
    });
    let record = load.stop();
    println!("500 answers {back:?} after the kill; longest silence of a client {:?}", record.longest_silence);
    assert!(record.longest_silence < SILENCE_BOUND, "silent for {:?}", record.longest_silence);
    record.assert_nothing_lost(cluster.redis());
}

#[test]
fn everything_dies_at_once_and_comes_back() {
    let mut cluster = Cluster::builder().start();
    let load = Load::start(&cluster.all_redis(), LoadOptions::named("all"));
    load.wait_for(2000, RECOVERY_TIMEOUT);
    for node in &mut cluster.nodes {
        node.process.kill();
    }
    cluster.placement.kill();
    let record = load.abandon();
    cluster.gateways[0].process.kill();
    cluster.start_all();
    let back = cluster.wait_until_serving(RECOVERY_TIMEOUT);
    println!("{} acknowledged inserts; serving again after {back:?}", record.inserts.len());
    record.assert_nothing_lost(cluster.redis());
}

#[test]
fn a_paused_leader_does_not_answer_from_the_past() {
    let mut cluster = Cluster::builder().gateways(3).start();
    let load = Load::start(&cluster.all_redis(), LoadOptions::named("pause"));
    load.wait_for(500, RECOVERY_TIMEOUT);
    for _ in 0..2 {
        let group = cluster.groups()[0].group_id;
        let leader = cluster.leader_index(group).expect("a group that answers has a leader");
        cluster.nodes[leader].process.pause();
        // Long enough for the others to elect somebody and take writes which the paused one knows nothing of.
        load.wait_for(500, RECOVERY_TIMEOUT);
        cluster.nodes[leader].process.resume();
        load.wait_for(500, RECOVERY_TIMEOUT);
        cluster.wait_until_replicated(RECOVERY_TIMEOUT);
    }
    let record = load.stop();
    println!("longest silence {:?}, {} errors", record.longest_silence, record.errors.len());
    record.assert_nothing_lost(cluster.redis());
}

#[test]
fn without_the_placement_reads_and_writes_go_on() {
    let mut cluster = Cluster::builder().start();
    let load = Load::start(&cluster.all_redis(), LoadOptions::named("static"));
    load.wait_for(200, RECOVERY_TIMEOUT);
    cluster.placement.kill();
    load.wait_for(1000, RECOVERY_TIMEOUT);
    cluster.placement.start();
    load.wait_for(200, RECOVERY_TIMEOUT);
    let record = load.stop();
    assert!(record.errors.is_empty(), "errors reached clients: {:?}", record.errors);
    record.assert_nothing_lost(cluster.redis());
}
