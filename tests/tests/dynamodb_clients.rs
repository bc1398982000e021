//! DynamoDB as its users meet it: clients of AWS, unchanged but for the endpoint, against three gateways and groups.

use std::path::Path;
use std::process::Command;

use tests::cluster::Cluster;

#[test]
fn boto3_finds_what_it_knows() {
    let has_boto3 = Command::new("python3").args(["-c", "import boto3"]).output();
    if !has_boto3.is_ok_and(|output| output.status.success()) {
        println!("skipped: no python3 with boto3 here; scripts/setup.sh installs it");
        return;
    }
    let cluster = Cluster::builder().nodes(1).groups(3).gateways(3).start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("compat/dynamodb/with_boto3.py");
    let endpoints = cluster.gateways.iter().map(|gateway| format!("http://{}", gateway.dynamo));
    let output = Command::new("python3").arg(script).args(endpoints).output().expect("python3 runs");
    let (printed, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}{log}");
}
