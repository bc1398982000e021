//! Transactions over several groups, as Redis clients meet them: all or nothing, at one instant, whoever dies.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::cluster::Cluster;
use tests::resp::{Connection, Reply};

const TIMEOUT: Duration = Duration::from_secs(30);
/// A dead coordinator's locks are gone after this.
const LOCKS_GONE: Duration = Duration::from_secs(5);

fn open(address: SocketAddr) -> Connection {
    Connection::open(address, TIMEOUT).unwrap()
}

fn integer(reply: &Reply) -> i64 {
    match reply {
        Reply::Integer(number) => *number,
        other => other.text().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no number: {other:?}")),
    }
}

fn items(reply: Reply) -> Vec<Reply> {
    match reply {
        Reply::Array(items) => items,
        other => panic!("not an array: {other:?}"),
    }
}

/// With three groups over the hash slots, these lie in all of them.
const ACCOUNTS: [&str; 6] = ["acct:0", "acct:1", "acct:2", "acct:3", "acct:4", "acct:5"];
const START: i64 = 100;

#[test]
fn commands_on_keys_of_several_groups_are_atomic() {
    let cluster = Cluster::builder().nodes(1).groups(3).start();
    let mut redis = open(cluster.redis());
    assert_eq!(redis.line("MSET a 1 b 2 c 3 d 4 e 5").unwrap().text().as_deref(), Some("OK"));
    let read: Vec<_> = items(redis.line("MGET a b c d e nothing").unwrap()).iter().map(Reply::text).collect();
    let expected = ["1", "2", "3", "4", "5"].map(|text| Some(text.to_owned()));
    assert_eq!(read[..5], expected);
    assert_eq!(read[5], None);
    assert_eq!(integer(&redis.line("EXISTS a b a nothing").unwrap()), 3);
    assert_eq!(integer(&redis.line("MSETNX x 1 y 2 a 3").unwrap()), 0);
    assert_eq!(integer(&redis.line("EXISTS x y").unwrap()), 0, "all or nothing");
    assert_eq!(integer(&redis.line("MSETNX x 1 y 2 z 3").unwrap()), 1);
    assert_eq!(redis.line("RENAME x renamed").unwrap().text().as_deref(), Some("OK"));
    assert_eq!(redis.line("GET renamed").unwrap().text().as_deref(), Some("1"));
    assert_eq!(integer(&redis.line("COPY renamed copied").unwrap()), 1);
    assert_eq!(integer(&redis.line("DEL a b c d e renamed copied x y z").unwrap()), 9);
    assert_eq!(integer(&redis.line("DBSIZE").unwrap()), 0);
}

#[test]
fn commands_over_a_whole_database_take_their_turn_inside_multi() {
    let cluster = Cluster::builder().nodes(1).groups(3).start();
    let mut redis = open(cluster.redis());
    redis.line("MSET a 1 b 2 c 3 d 4 e 5").unwrap();
    let queued = ["MULTI", "DBSIZE", "SET f 6", "FLUSHDB", "DBSIZE", "SET a new", "SET z new", "KEYS *", "DBSIZE"];
    for line in queued {
        redis.line(line).unwrap();
    }
    let replies = items(redis.line("EXEC").unwrap());
    let sizes = [&replies[0], &replies[3], &replies[7]].map(integer);
    assert_eq!(sizes, [5, 0, 2], "{replies:?}");
    let mut keys: Vec<_> = items(replies[6].clone()).iter().filter_map(Reply::text).collect();
    keys.sort();
    assert_eq!(keys, ["a", "z"]);
    assert_eq!(redis.line("GET a").unwrap().text().as_deref(), Some("new"));
    assert_eq!(redis.line("GET b").unwrap().text(), None);
    redis.line("SELECT 1").unwrap();
    redis.line("SET kept x").unwrap();
    for line in ["MULTI", "SELECT 0", "FLUSHDB", "SCAN 0 COUNT 100", "EXEC"] {
        redis.line(line).unwrap();
    }
    redis.line("SELECT 1").unwrap();
    assert_eq!(integer(&redis.line("DBSIZE").unwrap()), 1, "of another database");
    assert_eq!(redis.line("FLUSHALL").unwrap().text().as_deref(), Some("OK"));
    assert_eq!(integer(&redis.line("DBSIZE").unwrap()), 0);
}

/// Writers set all of a few keys in all groups, together; a flush takes all of them or none, so whoever reads all of them
/// at one moment finds all or none.
#[test]
fn a_flush_is_of_one_moment_over_all_groups() {
    const KEYS: &str = "a b c d e f";
    let cluster = Cluster::builder().nodes(1).groups(3).start();
    let address = cluster.redis();
    let stop = Arc::new(AtomicBool::new(false));
    let repeat = |line: String| {
        let stop = stop.clone();
        thread::spawn(move || {
            let mut redis = open(address);
            let mut done = 0;
            while !stop.load(Ordering::Relaxed) {
                let reply = redis.line(&line).unwrap();
                assert_eq!(reply.text().as_deref(), Some("OK"), "{reply:?}");
                done += 1;
            }
            done
        })
    };
    let all: String = KEYS.split(' ').map(|key| format!(" {key} x")).collect();
    let workers = [repeat(format!("MSET{all}")), repeat(format!("MSET{all}")), repeat("FLUSHALL".to_owned())];
    let mut redis = open(address);
    let until = Instant::now() + Duration::from_secs(3);
    let mut seen = [0; 2];
    while Instant::now() < until {
        let found = integer(&redis.line(&format!("EXISTS {KEYS}")).unwrap());
        assert!(found == 0 || found == 6, "{found} of 6 keys");
        seen[usize::from(found > 0)] += 1;
    }
    stop.store(true, Ordering::Relaxed);
    let done = workers.map(|worker| worker.join().unwrap());
    assert!(done.iter().chain(&seen).all(|count| *count > 0), "done {done:?}, seen {seen:?}");
}

#[test]
fn exec_over_several_groups_runs_everything_or_nothing() {
    let cluster = Cluster::builder().nodes(1).groups(3).start();
    let (mut redis, mut other) = (open(cluster.redis()), open(cluster.redis()));
    for line in ["MULTI", "SET a 1", "INCR b", "LPUSHX-NOT-A-COMMAND a"] {
        redis.line(line).unwrap();
    }
    assert!(redis.line("EXEC").unwrap().error().is_some_and(|error| error.starts_with("EXECABORT")));
    assert_eq!(integer(&redis.line("EXISTS a b").unwrap()), 0);

    for line in ["MULTI", "SET a text", "INCR a", "INCR b", "GET c"] {
        redis.line(line).unwrap();
    }
    let replies = items(redis.line("EXEC").unwrap());
    assert_eq!(replies[0].text().as_deref(), Some("OK"));
    assert!(replies[1].error().is_some(), "a failing command is a result");
    assert_eq!((integer(&replies[2]), replies[3].text()), (1, None));

    redis.line("WATCH a c").unwrap();
    other.line("SET c changed").unwrap();
    for line in ["MULTI", "SET a lost", "SET b lost"] {
        redis.line(line).unwrap();
    }
    let nothing = redis.line("EXEC").unwrap();
    assert!(nothing.text().is_none() && nothing.error().is_none(), "nil: {nothing:?}");
    assert_eq!(redis.line("GET a").unwrap().text().as_deref(), Some("text"));
}

#[test]
fn hot_keys_in_two_groups_see_every_increment_and_no_conflict() {
    const CLIENTS: usize = 100;
    const ROUNDS: i64 = 10;
    let cluster = Cluster::builder().nodes(1).groups(3).gateways(2).start();
    let gateways = cluster.all_redis();
    let workers: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let gateway = gateways[client % gateways.len()];
            thread::spawn(move || {
                let mut redis = open(gateway);
                for _ in 0..ROUNDS {
                    for line in ["MULTI", "INCR hot:a", "INCR hot:b"] {
                        redis.line(line).unwrap();
                    }
                    let replies = items(redis.line("EXEC").unwrap());
                    assert_eq!(integer(&replies[0]), integer(&replies[1]), "both in one instant");
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let mut redis = open(cluster.redis());
    let total = i64::try_from(CLIENTS).unwrap() * ROUNDS;
    let read = items(redis.line("MGET hot:a hot:b").unwrap());
    assert_eq!(read.iter().map(integer).collect::<Vec<_>>(), [total, total]);
}

/// Moves money until told to stop. An error after which nobody knows is not an error of the bank.
fn move_money(gateway: SocketAddr, seed: usize, stop: &AtomicBool, moved: &AtomicU64) {
    let mut connection = Connection::open(gateway, TIMEOUT).ok();
    let mut step = seed;
    while !stop.load(Ordering::Relaxed) {
        step = step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (from, to) = (ACCOUNTS[(step >> 33) % 6], ACCOUNTS[(step >> 40) % 6]);
        let Some(redis) = &mut connection else {
            connection = Connection::open(gateway, TIMEOUT).ok();
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        let lines = ["MULTI".to_owned(), format!("DECRBY {from} 5"), format!("INCRBY {to} 5")];
        let done = lines.iter().try_for_each(|line| redis.line(line).map(drop)).and_then(|()| redis.line("EXEC"));
        match done {
            Ok(Reply::Array(_)) => drop(moved.fetch_add(1, Ordering::Relaxed)),
            Ok(_) => {}
            Err(_) => connection = None,
        }
    }
}

fn total(redis: &mut Connection) -> Option<i64> {
    let mut line = vec!["MGET"];
    line.extend(ACCOUNTS);
    match redis.call(&line).unwrap() {
        Reply::Array(items) => Some(items.iter().map(integer).sum()),
        _ => None,
    }
}

#[test]
fn the_bank_keeps_its_total_while_gateways_and_leaders_die() {
    let mut cluster = Cluster::builder().nodes(3).groups(3).gateways(3).start();
    let reading = cluster.gateways[0].redis;
    let mut redis = open(reading);
    for account in ACCOUNTS {
        redis.line(&format!("SET {account} {START}")).unwrap();
    }
    let everything = START * i64::try_from(ACCOUNTS.len()).unwrap();
    let (stop, moved) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let workers: Vec<_> = (0..12)
        .map(|worker| {
            let gateway = cluster.gateways[worker % 3].redis;
            let (stop, moved) = (stop.clone(), moved.clone());
            thread::spawn(move || move_money(gateway, worker + 1, &stop, &moved))
        })
        .collect();
    let wait_for = |more: u64| {
        let (target, began) = (moved.load(Ordering::Relaxed) + more, Instant::now());
        while moved.load(Ordering::Relaxed) < target {
            assert!(began.elapsed() < TIMEOUT, "no transfers");
            thread::sleep(Duration::from_millis(5));
        }
    };
    wait_for(200);
    assert_eq!(total(&mut redis), Some(everything));

    cluster.gateways[2].process.kill();
    let killed = Instant::now();
    let mut writer = open(reading);
    for account in ACCOUNTS {
        assert_eq!(writer.line(&format!("INCRBY {account} 0")).unwrap().error(), None);
    }
    assert!(killed.elapsed() < LOCKS_GONE, "locks of the dead gateway stood for {:?}", killed.elapsed());
    assert_eq!(total(&mut redis), Some(everything));

    let leader = cluster.leader_index(2).unwrap();
    cluster.nodes[leader].process.kill();
    wait_for(100);
    assert_eq!(total(&mut redis), Some(everything));
    stop.store(true, Ordering::Relaxed);
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert_eq!(total(&mut redis), Some(everything));
    println!("{} transfers", moved.load(Ordering::Relaxed));
}

#[test]
fn programs_commit_what_has_not_changed_since_they_read_it() {
    use proto::wire::transactional_kv_client::TransactionalKvClient;
    use proto::wire::{CommitRequest, GetRequest, GetTimestampRequest, Kv, PreWriteRequest, PutRequest};
    let cluster = Cluster::builder().nodes(1).groups(3).start();
    let endpoint = format!("http://{}", cluster.gateways[0].grpc);
    let mut distribution = cluster.distribution();
    cluster.block_on(async {
        let mut kv = TransactionalKvClient::connect(endpoint).await.unwrap();
        let put = |key: &'static str, value: &'static str| PutRequest { key: key.into(), value: value.into() };
        kv.put(put("x", "1")).await.unwrap();
        kv.put(put("y", "1")).await.unwrap();
        let mut prewrite = async |kv: &mut TransactionalKvClient<_>| {
            let start_ts = distribution.get_timestamp(GetTimestampRequest {}).await.unwrap().into_inner().timestamp;
            let mutations = vec![Kv { key: "x".into(), value: "2".into(), error: None }];
            let (deletes, reads) = (vec!["z".into()], vec!["y".into()]);
            let prewrite = PreWriteRequest { mutations, start_ts, deletes, reads, lock_ttl: 0 };
            assert_eq!(kv.pre_write(prewrite).await.unwrap().into_inner().errors, []);
            CommitRequest { start_ts, keys: vec![] }
        };
        let commit = prewrite(&mut kv).await;
        kv.put(put("y", "changed")).await.unwrap();
        let conflict = kv.commit(commit).await.unwrap().into_inner();
        assert!(!conflict.success && conflict.errors[0].retryable, "{conflict:?}");
        let get = GetRequest { key: "x".into() };
        assert_eq!(kv.get(get.clone()).await.unwrap().into_inner().value, "1", "no part of it took effect");

        let commit = prewrite(&mut kv).await;
        let committed = kv.commit(commit).await.unwrap().into_inner();
        assert!(committed.success && committed.commit_index > 0, "{committed:?}");
        assert_eq!(kv.get(get).await.unwrap().into_inner().value, "2");
    });
}

#[test]
fn a_transaction_in_one_group_is_one_entry() {
    const TRANSACTIONS: u32 = 50;
    let cluster = Cluster::builder().nodes(1).groups(1).start();
    let mut redis = open(cluster.redis());
    redis.line("SET first 1").unwrap();
    let entries = || cluster.nodes[0].metric("storage_batches_total");
    let before = entries();
    let began = Instant::now();
    for _ in 0..TRANSACTIONS {
        for line in ["MULTI", "INCR a", "INCR b", "SET c 1", "APPEND d x", "EXEC"] {
            redis.line(line).unwrap();
        }
    }
    // Once a second the leader may tidy up, in an entry of its own.
    let tidying = began.elapsed().as_secs_f64() + 2.0;
    let entries = entries() - before;
    assert!((f64::from(TRANSACTIONS)..=f64::from(TRANSACTIONS) + tidying).contains(&entries), "{entries} entries");
}
