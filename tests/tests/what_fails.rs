//! What fails, and what then: the rows of the protocol's table that take a whole cluster, one test each. Where the other
//! rows are shown, `docs/testing.md` says.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use keyspace::slot::slot_of;
use planted::Point;
use tests::cluster::Cluster;
use tests::network::{Condition, Member};
use tests::resp::{Connection, Reply};

const TIMEOUT: Duration = Duration::from_secs(30);
/// A dead coordinator's locks are gone after this, on a machine with time to spare.
const LOCKS_GONE: Duration = Duration::from_secs(5);
/// The same on any machine: whoever needs longer waits for something that does not come.
const AT_LAST: Duration = Duration::from_secs(25);
/// What the gauges of locks may be behind.
const GAUGE_LAG: Duration = Duration::from_millis(1500);
/// Longer than others wait for a coordinator's sign of life.
const SILENCE: Duration = Duration::from_millis(4500);

/// These lie in two groups.
const KEYS: [&str; 2] = ["left", "right"];

/// Three nodes, two groups, three gateways, of which the second does as `point` says.
fn cluster(point: Point, action: &str) -> Cluster {
    let mut cluster = Cluster::builder().groups(2).gateways(3).prepare();
    let failpoints = format!("{}={action}", point.name());
    cluster.gateways[1].process.set_environment(&[("FAILPOINTS", &failpoints)]);
    cluster.start_all();
    cluster.wait_until_serving(TIMEOUT * 2);
    assert_ne!(group_of(&cluster, KEYS[0]), group_of(&cluster, KEYS[1]), "a test over groups has keys in two");
    cluster
}

fn group_of(cluster: &Cluster, key: &str) -> u64 {
    let key = format!("redis:slot:{}", slot_of(key.as_bytes())).into();
    let mut distribution = cluster.distribution();
    let request = proto::wire::GetRouteRequest { key };
    cluster.block_on(distribution.get_route(request)).unwrap().into_inner().route.unwrap().raft_group_id
}

fn open(cluster: &Cluster, gateway: usize) -> Connection {
    Connection::open(cluster.gateways[gateway].redis, TIMEOUT).unwrap()
}

/// INCR of both keys in one MULTI.
fn add_one_to_each(redis: &mut Connection) -> std::io::Result<Reply> {
    for line in ["MULTI", &format!("INCR {}", KEYS[0]), &format!("INCR {}", KEYS[1])] {
        redis.line(line)?;
    }
    redis.line("EXEC")
}

fn numbers(redis: &mut Connection) -> [u64; 2] {
    KEYS.map(|key| redis.line(&format!("GET {key}")).unwrap().text().map_or(0, |text| text.parse().unwrap()))
}

/// Both keys can be written through another gateway and all locks go.
fn assert_locks_go(cluster: &Cluster, since: Instant) {
    let mut redis = open(cluster, 0);
    for key in KEYS {
        let reply = redis.line(&format!("INCRBY {key} 0")).unwrap();
        assert_eq!(reply.error(), None);
    }
    println!("locks stood in the way for {:?}", since.elapsed());
    cluster.wait_for("all locks to go", AT_LAST, |cluster| cluster.locks_held() == 0.0);
}

/// The second gateway dies in the transaction, at `point`; `effect` is what remains of it.
fn a_gateway_dies(point: Point, effect: u64) {
    let mut cluster = cluster(point, "return");
    let answer = add_one_to_each(&mut open(&cluster, 1));
    let died = Instant::now();
    assert!(answer.is_err(), "the gateway is dead: {answer:?}");
    // Its connections end a little before it does.
    cluster.gateways[1].process.wait(AT_LAST);
    assert_locks_go(&cluster, died);
    assert_eq!(numbers(&mut open(&cluster, 0)), [effect, effect]);
}

#[test]
fn a_gateway_that_dies_with_everything_locked_leaves_nothing() {
    a_gateway_dies(Point::Prepared, 0);
}

#[test]
fn a_gateway_that_dies_after_commit_has_committed() {
    a_gateway_dies(Point::Decided, 1);
}

#[test]
fn a_gateway_that_dies_before_forget_has_committed() {
    let mut cluster = cluster(Point::Resolved, "return");
    // This client hears of it before the gateway dies, or not.
    drop(add_one_to_each(&mut open(&cluster, 1)));
    let died = Instant::now();
    while cluster.gateways[1].process.is_running() {
        assert!(died.elapsed() < TIMEOUT, "the gateway passes no such point");
        thread::sleep(Duration::from_millis(5));
    }
    assert_locks_go(&cluster, died);
    assert_eq!(numbers(&mut open(&cluster, 0)), [1, 1]);
}

#[test]
fn a_gateway_that_dies_between_its_prewrites_in_order_leaves_nothing_of_that_transaction() {
    let mut cluster = cluster(Point::RunPrepared, "return");
    // Only a transaction that has met locks takes its own in order.
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let (gateway, stop) = (cluster.gateways[2 * (worker % 2)].redis, stop.clone());
            thread::spawn(move || {
                let mut redis = Connection::open(gateway, TIMEOUT).unwrap();
                let mut done = 0;
                while !stop.load(Ordering::Relaxed) {
                    let reply = add_one_to_each(&mut redis).unwrap();
                    assert!(matches!(reply, Reply::Array(_)), "{reply:?}");
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut redis = open(&cluster, 1);
    let mut done = 0;
    while let Ok(reply) = add_one_to_each(&mut redis) {
        assert!(matches!(reply, Reply::Array(_)), "{reply:?}");
        done += 1;
    }
    // The others go on behind it.
    thread::sleep(LOCKS_GONE);
    stop.store(true, Ordering::Relaxed);
    // Its connections end a little before it does.
    cluster.gateways[1].process.wait(AT_LAST);
    let done = done + workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>();
    println!("{done} transactions");
    assert_eq!(numbers(&mut open(&cluster, 0)), [done, done], "nothing of the one that died in between");
    cluster.wait_for("all locks to go", AT_LAST, |cluster| cluster.locks_held() == 0.0);
}

#[test]
fn two_resolvers_and_a_gateway_that_wakes_agree() {
    const OTHERS: u64 = 5;
    let mut cluster = cluster(Point::Prepared, "1*sleep(700)");
    let gateway = cluster.gateways[1].redis;
    let paused = thread::spawn(move || add_one_to_each(&mut Connection::open(gateway, TIMEOUT).unwrap()).unwrap());
    cluster.wait_for("everything to be locked", TIMEOUT, |cluster| cluster.locks_held() > 0.0);
    cluster.gateways[1].process.pause();
    let began = Instant::now();
    let resolvers: Vec<_> = [0, 2]
        .map(|gateway| cluster.gateways[gateway].redis)
        .map(|gateway| {
            thread::spawn(move || {
                let mut redis = Connection::open(gateway, TIMEOUT).unwrap();
                for _ in 0..OTHERS {
                    let reply = add_one_to_each(&mut redis).unwrap();
                    assert!(matches!(reply, Reply::Array(_)), "{reply:?}");
                }
            })
        })
        .into();
    thread::sleep(SILENCE.saturating_sub(began.elapsed()));
    cluster.gateways[1].process.resume();
    resolvers.into_iter().for_each(|resolver| resolver.join().unwrap());
    // It hears from the anchor that it was aborted, and tries again.
    let reply = paused.join().unwrap();
    assert!(matches!(reply, Reply::Array(_)), "{reply:?}");
    assert_eq!(numbers(&mut open(&cluster, 0)), [2 * OTHERS + 1; 2]);
    cluster.wait_for("all locks to go", AT_LAST, |cluster| cluster.locks_held() == 0.0);
}

#[test]
fn a_range_that_splits_between_prewrite_and_commit_takes_its_locks_along() {
    let cluster = cluster(Point::Prepared, "1*sleep(2500)");
    let gateway = cluster.gateways[1].redis;
    let slow = thread::spawn(move || add_one_to_each(&mut Connection::open(gateway, TIMEOUT).unwrap()).unwrap());
    cluster.wait_for("everything to be locked", TIMEOUT, |cluster| cluster.locks_held() > 0.0);
    for key in KEYS {
        cluster.split_at_slot(u32::from(slot_of(key.as_bytes()))).unwrap();
    }
    assert!(cluster.locks_held() > 0.0, "the splits came between");
    let reply = slow.join().unwrap();
    assert!(matches!(reply, Reply::Array(_)), "{reply:?}");
    assert_eq!(numbers(&mut open(&cluster, 0)), [1, 1]);
    cluster.wait_for("all locks to go", AT_LAST, |cluster| cluster.locks_held() == 0.0);
}

#[test]
fn a_prewrite_that_arrives_after_the_end_is_refused() {
    let mut cluster = Cluster::builder().groups(2).gateways(2).proxied().start();
    let groups = KEYS.map(|key| group_of(&cluster, key));
    assert_ne!(groups[0], groups[1]);
    // The second gateway's words to the leader of one group are held, so only the prewrite to the other one arrives.
    cluster.lead_everything_from(0, TIMEOUT);
    let mut redis = open(&cluster, 1);
    assert_eq!(redis.line("SET warm up").unwrap().error(), None);
    cluster.move_leader(groups[1], 1, TIMEOUT);
    assert_eq!(redis.line(&format!("INCRBY {} 0", KEYS[1])).unwrap().error(), None, "it knows the new leader");
    let (gateway, late) = (Member::Gateway(1), cluster.leader_index(groups[1]).unwrap());
    cluster.network().set(gateway, Member::Node(late), Condition::Held);
    let client = thread::spawn(move || add_one_to_each(&mut redis));
    cluster.wait_for("the first lock", TIMEOUT, |cluster| cluster.locks_held() > 0.0);
    cluster.gateways[1].process.kill();
    let died = Instant::now();
    assert!(client.join().unwrap().is_err());
    assert_locks_go(&cluster, died);
    // What the dead gateway said to the other group arrives now.
    cluster.network().heal();
    thread::sleep(GAUGE_LAG);
    cluster.wait_for("a late lock to go", AT_LAST, |cluster| cluster.locks_held() == 0.0);
    assert_eq!(numbers(&mut open(&cluster, 0)), [0, 0]);
}

#[test]
fn without_the_placement_transactions_go_on() {
    let mut cluster = Cluster::builder().groups(2).start();
    let mut redis = open(&cluster, 0);
    assert!(matches!(add_one_to_each(&mut redis).unwrap(), Reply::Array(_)));
    cluster.placement.kill();
    for _ in 0..20 {
        assert!(matches!(add_one_to_each(&mut redis).unwrap(), Reply::Array(_)));
    }
    let read = redis.line(&format!("MGET {} {}", KEYS[0], KEYS[1])).unwrap();
    assert_eq!(read, Reply::Array(vec![Reply::Bulk(b"21".to_vec()); 2]));
}
