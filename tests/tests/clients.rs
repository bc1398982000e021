//! Clients of Redis and applications built on it, unchanged, against a cluster: the scripts in `tests/compat/clients`, and
//! redis-benchmark.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use tests::cluster::Cluster;

/// The interpreter that has the clients, if there is one.
fn python() -> Option<&'static str> {
    let probe = ["-c", "import celery, limits, redis, redis_lock, rq"];
    let has_clients = Command::new("python3").args(probe).output().is_ok_and(|probed| probed.status.success());
    if !has_clients {
        eprintln!(
            "skipped: python3 lacks what tests/compat/clients/requirements.txt names; scripts/setup.sh installs it"
        );
    }
    has_clients.then_some("python3")
}

/// Runs a script with the addresses of all gateways.
fn run(script: &str) {
    let Some(python) = python() else { return };
    let cluster = Cluster::builder().nodes(3).groups(3).gateways(2).start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("compat/clients").join(script);
    let addresses = cluster.all_redis().into_iter().map(|address| address.to_string());
    let ran = Command::new(python).arg(script).args(addresses).output().unwrap();
    let told = [String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr)].concat();
    assert!(ran.status.success(), "{told}");
}

#[test]
fn redis_py_finds_what_it_expects() {
    run("redis_py.py");
}

#[test]
fn applications_built_on_redis_run() {
    run("applications.py");
}

#[test]
fn redis_benchmark_runs_its_list_without_an_error() {
    let cluster = Cluster::builder().nodes(3).groups(3).start();
    let address = cluster.redis();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let ran = Command::new("redis-benchmark")
        .args(["-h", &host, "-p", &port, "-n", "500", "-c", "10", "-r", "1000", "--csv"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(
        ran.status.success() && !(told.clone() + &complaints).to_lowercase().contains("error"),
        "{told}{complaints}"
    );
    let list = "PING_INLINE PING_MBULK SET GET INCR LPUSH RPUSH LPOP RPOP SADD HSET SPOP ZADD ZPOPMIN";
    for test in list.split(' ').chain(["LRANGE_600 (first 600 elements)", "MSET (10 keys)"]) {
        assert!(told.contains(&format!("\"{test}\",")), "{test}: {told}");
    }
}
