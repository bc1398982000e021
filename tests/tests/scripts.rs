//! Scripts over real processes: known to every gateway, atomic over groups, and held to the permissions of who runs them.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use tests::cluster::Cluster;
use tests::resp::{Connection, Reply};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Takes one from a randomly chosen account and gives it to another. The first key counts transfers.
const TRANSFER: &str = "redis.call('DECR', KEYS[math.random(2, #KEYS)]) redis.call('INCR', KEYS[math.random(2, #KEYS)]) \
                        return redis.call('INCR', KEYS[1])";
/// What all accounts hold.
const TOTAL: &str = "local sum = 0 \
                     for account = 2, #KEYS do sum = sum + (redis.call('GET', KEYS[account]) or 0) end return sum";
const CLIENTS: usize = 6;
const ROUNDS: usize = 25;

fn open(address: SocketAddr) -> Connection {
    Connection::open(address, TIMEOUT).unwrap()
}

fn call(connection: &mut Connection, words: &[&str]) -> Reply {
    connection.call(words).unwrap()
}

fn eval(connection: &mut Connection, script: &str, keys: &[&str]) -> Reply {
    let count = keys.len().to_string();
    call(connection, &[&["EVAL", script, &count], keys].concat())
}

/// Many transfers through all gateways, with somebody who looks at all accounts meanwhile.
fn nothing_is_lost(keys: &[&str]) {
    let cluster = Cluster::builder().nodes(3).groups(4).gateways(3).start();
    let addresses = cluster.all_redis();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let address = addresses[client % addresses.len()];
            scope.spawn(move || {
                let mut connection = open(address);
                let mut done = 0;
                while done < ROUNDS {
                    match eval(&mut connection, TRANSFER, keys) {
                        Reply::Integer(_) => done += 1,
                        // Nothing took effect.
                        Reply::Error(line) => assert!(line.starts_with("TRYAGAIN"), "{line}"),
                        other => panic!("{other:?}"),
                    }
                    if done % 5 == 0 {
                        assert!(matches!(eval(&mut connection, TOTAL, keys), Reply::Integer(0)), "a transfer in half");
                    }
                }
            });
        }
    });
    let mut connection = open(addresses[1]);
    let transfers = connection.line(&format!("GET {}", keys[0])).unwrap();
    assert_eq!(transfers.text().unwrap(), (CLIENTS * ROUNDS).to_string());
}

#[test]
fn scripts_over_several_groups_are_atomic() {
    nothing_is_lost(&["transfers", "left", "right", "far", "away"]);
}

#[test]
fn scripts_at_one_leader_are_atomic() {
    nothing_is_lost(&["{bank}transfers", "{bank}a", "{bank}b", "{bank}c"]);
}

#[test]
fn every_gateway_knows_scripts_and_libraries() {
    let cluster = Cluster::builder().nodes(1).groups(2).gateways(2).start();
    let [mut one, mut other] = [open(cluster.all_redis()[0]), open(cluster.all_redis()[1])];
    let sha = call(&mut one, &["SCRIPT", "LOAD", "return redis.call('INCRBY', KEYS[1], ARGV[1])"]).text().unwrap();
    assert!(matches!(call(&mut other, &["EVALSHA", &sha, "1", "counter", "5"]), Reply::Integer(5)));
    let library =
        "#!lua name=shop\nredis.register_function('sold', function(keys, args) return redis.call('INCR', keys[1]) end)";
    assert_eq!(call(&mut one, &["FUNCTION", "LOAD", library]).text().unwrap(), "shop");
    assert!(matches!(call(&mut other, &["FCALL", "sold", "1", "counter"]), Reply::Integer(6)));
    // Inside a transaction, and with keys that it does not name.
    let beyond = "return redis.call('INCR', 'count' .. 'er') + redis.call('INCR', 'elsewhere')";
    for words in [&["MULTI"][..], &["EVALSHA", &sha, "1", "counter", "1"], &["EVAL", beyond, "1", "counter"]] {
        assert_eq!(call(&mut other, words).error(), None);
    }
    match call(&mut other, &["EXEC"]) {
        Reply::Array(items) => assert!(matches!(items[..], [Reply::Integer(7), Reply::Integer(9)]), "{items:?}"),
        reply => panic!("{reply:?}"),
    }
    call(&mut other, &["FUNCTION", "FLUSH"]);
    assert_eq!(call(&mut one, &["FCALL", "sold", "1", "counter"]).error().unwrap(), "ERR Function not found");
}

#[test]
fn a_script_may_do_no_more_than_who_runs_it() {
    let cluster = Cluster::builder().nodes(1).groups(2).gateways(1).start();
    let mut connection = open(cluster.redis());
    let rules = ["ACL", "SETUSER", "limited", "on", "nopass", "+@read", "+@scripting", "+multi", "+exec", "~app:*"];
    assert_eq!(call(&mut connection, &rules).error(), None);
    assert_eq!(call(&mut connection, &["AUTH", "limited", "any"]).error(), None);
    assert!(matches!(eval(&mut connection, "return redis.call('GET', KEYS[1])", &["app:a"]), Reply::Nil));
    for (script, keys) in [
        ("return redis.call('SET', KEYS[1], 'x')", &["app:a"][..]),
        ("return redis.call('GET', 'other')", &["app:a"]),
        ("return redis.call('GET', 'other')", &[]),
    ] {
        let line = eval(&mut connection, script, keys).error().unwrap_or_default().to_owned();
        assert!(line.starts_with("ERR The user executing the script can't"), "{script}: {line}");
        assert_eq!(call(&mut connection, &["MULTI"]).error(), None);
        assert_eq!(eval(&mut connection, script, keys).error(), None);
        match call(&mut connection, &["EXEC"]) {
            Reply::Array(items) => assert!(items[0].error().is_some_and(|line| line.contains("can't")), "{items:?}"),
            reply => panic!("{reply:?}"),
        }
    }
}
