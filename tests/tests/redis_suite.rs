//! A part of Redis' own test suite, some minutes long, against three gateways: `tests/compat/redis` tells the rest.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use tests::cluster::Cluster;

/// Units of several kinds that take seconds each.
const UNITS: [&str; 7] =
    ["unit/type/incr", "unit/bitfield", "unit/multi", "unit/pubsub", "unit/functions", "unit/protocol", "unit/quit"];

/// The suite comes from a Debian mirror, and is Tcl.
fn is_there(runner: &Path) -> bool {
    let has_tcl = Command::new("tclsh").arg("/dev/null").status().is_ok_and(|status| status.success());
    let fetched = has_tcl && Command::new(runner).arg("--fetch").status().is_ok_and(|status| status.success());
    if !fetched {
        eprintln!(
            "skipped: Redis' test suite cannot be fetched here, or there is no tclsh; scripts/setup.sh installs it"
        );
    }
    fetched
}

#[test]
fn tests_of_redis_pass_that_passed_before() {
    let runner = Path::new(env!("CARGO_MANIFEST_DIR")).join("compat/redis/run.py");
    if !is_there(&runner) {
        return;
    }
    let cluster = Cluster::builder().nodes(3).groups(3).gateways(3).start();
    let addresses = cluster.all_redis().into_iter().map(|address| address.to_string());
    let ran = Command::new(&runner).args(addresses).arg("--units").args(UNITS).output().unwrap();
    let told = [String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr)].concat();
    assert!(ran.status.success(), "{told}");
}
