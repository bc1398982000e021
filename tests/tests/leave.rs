//! Nodes that go away in an orderly manner, and nodes that come back after a long time.

use std::time::Duration;

use tests::cluster::Cluster;
use tests::load::{Load, LoadOptions};
use tests::resp::Connection;

const TIMEOUT: Duration = Duration::from_secs(60);
/// What a node logs when it has taken over a snapshot from a leader.
const SNAPSHOT_INSTALLED: &str = "installed a snapshot";
/// The aim is 0.5 s; the bound leaves room for a machine that compiles something meanwhile.
const HANDOVER_BOUND: Duration = Duration::from_secs(3);

#[test]
fn a_clean_stop_hands_leaders_over_first() {
    let mut cluster = Cluster::builder().start();
    let load = Load::start(&cluster.all_redis(), LoadOptions::named("handover"));
    load.wait_for(500, TIMEOUT);
    let group = cluster.groups()[0].group_id;
    let leader = cluster.leader_index(group).expect("a group that answers has a leader");
    let status = cluster.nodes[leader].process.stop(Duration::from_secs(20));
    load.wait_for(1000, TIMEOUT);
    let record = load.stop();
    println!("longest silence of a client while a leader left: {:?}", record.longest_silence);
    assert!(status.success(), "a clean stop ends with {status}");
    assert!(record.errors.is_empty(), "errors reached clients: {:?}", record.errors);
    assert!(record.longest_silence < HANDOVER_BOUND, "silent for {:?}", record.longest_silence);
    record.assert_nothing_lost(cluster.redis());
}

#[test]
fn a_node_that_missed_more_than_the_log_keeps_takes_a_snapshot() {
    let tables = "[log]\nsnapshot_every_bytes = 262144\nkeep_entries = 10\n";
    let mut cluster = Cluster::builder().groups(2).storage_tables(tables).start();
    cluster.nodes[2].process.kill();
    let missed_from: Vec<(u64, f64)> =
        cluster.groups().iter().map(|group| (group.group_id, group.applied_index as f64)).collect();

    let value = "v".repeat(500);
    let mut connection = Connection::open(cluster.redis(), TIMEOUT).expect("the gateway accepts");
    let mut keys = Vec::new();
    cluster.wait_for("the logs to be cut behind the stopped node", TIMEOUT, |cluster| {
        let batch: Vec<String> = (0..500).map(|number| format!("missed:{}", keys.len() + number)).collect();
        batch.iter().for_each(|key| connection.queue(&["SET", key, &value]));
        connection.flush().expect("the gateway reads");
        for key in &batch {
            let reply = connection.receive().expect("the gateway answers");
            assert_eq!(reply.text().as_deref(), Some("OK"), "SET {key}: {reply:?}");
        }
        keys.extend(batch);
        missed_from.iter().all(|(group, index)| {
            let purged = format!("storage_raft_purged_index{{group=\"{group}\"}}");
            cluster.nodes[..2].iter().all(|node| node.metric(&purged) > *index + 20.0)
        })
    });

    cluster.nodes[2].process.start();
    let caught_up = cluster.wait_until_replicated(TIMEOUT);
    let installed = cluster.nodes[2].process.log().matches(SNAPSHOT_INSTALLED).count();
    println!("caught up after {caught_up:?}; snapshots taken: {installed}");
    assert!(installed > 0, "it caught up without a snapshot: the log kept too much for this test");

    // Only what the returned node has is left to answer from.
    cluster.lead_everything_from(2, TIMEOUT);
    for batch in keys.chunks(500) {
        batch.iter().for_each(|key| connection.queue(&["GET", key]));
        connection.flush().expect("the gateway reads");
        for key in batch {
            let reply = connection.receive().expect("the gateway answers");
            assert_eq!(reply.text().as_ref(), Some(&value), "GET {key}: {reply:?}");
        }
    }
}
