//! One cluster, three languages, three gateways: what one has written the others read.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::cluster::binaries::on_path;
use tests::reflect::{ReflectError, Reflecting};
use tests::resp::{Connection, Reply};
use tonic::Code;

const TIMEOUT: Duration = Duration::from_secs(30);

#[test]
fn what_one_gateway_writes_the_others_read() {
    let cluster = Cluster::builder().gateways(3).start();
    let mut connections: Vec<Connection> = cluster
        .all_redis()
        .into_iter()
        .map(|address| Connection::open(address, TIMEOUT).expect("a gateway accepts"))
        .collect();
    for number in 0..50 {
        let (key, value) = (format!("shared:{number}"), format!("value {number}"));
        let written = connections[number % 3].call(&["SET", &key, &value]).expect("SET is answered");
        assert_eq!(written, Reply::Status("OK".into()));
        for connection in &mut connections {
            let read = connection.call(&["GET", &key]).expect("GET is answered");
            assert_eq!(read.text().as_ref(), Some(&value), "{key}");
        }
    }
    for number in 1..=30 {
        let counted = connections[number % 3].line("INCR counter").expect("INCR is answered");
        assert_eq!(counted, Reply::Integer(number as i64));
    }
}

#[test]
fn dynamodb_by_the_aws_command_line() {
    if on_path("aws").is_none() {
        println!("skipped: no aws command line here; scripts/setup.sh installs it");
        return;
    }
    let cluster = Cluster::builder().gateways(2).start();
    let dynamo = |gateway: usize, arguments: &[&str]| aws(cluster.gateways[gateway].dynamo, arguments);
    let created = dynamo(
        0,
        &[
            "create-table",
            "--table-name=orders",
            "--attribute-definitions",
            "AttributeName=customer,AttributeType=S",
            "AttributeName=number,AttributeType=N",
            "--key-schema",
            "AttributeName=customer,KeyType=HASH",
            "AttributeName=number,KeyType=RANGE",
            "--billing-mode=PAY_PER_REQUEST",
        ],
    );
    assert_eq!(created["TableDescription"]["TableName"], "orders");
    let item = json!({"customer": {"S": "ada"}, "number": {"N": "7"}, "lines": {"L": [{"S": "tea"}, {"NULL": true}]}});
    dynamo(0, &["put-item", "--table-name=orders", &format!("--item={item}")]);
    let key = json!({"customer": {"S": "ada"}, "number": {"N": "7.0"}});
    let got = dynamo(1, &["get-item", "--table-name=orders", "--consistent-read", &format!("--key={key}")]);
    assert_eq!(got["Item"], item);
    assert_eq!(dynamo(1, &["list-tables"])["TableNames"], json!(["orders"]));
}

fn aws(address: SocketAddr, arguments: &[&str]) -> Value {
    let output = Command::new("aws")
        .args(["dynamodb", "--endpoint-url", &format!("http://{address}"), "--output=json"])
        .args(arguments)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_PAGER", "")
        .output()
        .expect("aws starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "aws {arguments:?}: {complaint}");
    if output.stdout.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(&output.stdout).expect("aws prints JSON")
}

/// What a client without any `.proto` file does: it sees the routes, splits at `g`, and is refused for good reasons.
#[test]
fn a_reflecting_client_lists_and_splits() {
    let cluster = Cluster::builder().start();
    // The same service at the gateway and at the placement.
    cluster.block_on(async {
        for (address, split_key, human) in
            [(cluster.gateways[0].grpc, "Zw==", "raw:g"), (cluster.placement_address, "bQ==", "raw:m")]
        {
            let client = Reflecting::connect(&address.to_string()).await.expect("the port accepts");
            let services = client.services().await.expect("reflection is on");
            assert!(services.iter().any(|service| service == "elastickv.Distribution"), "{services:?}");
            split_and_be_refused(&client, split_key, human).await;
        }
    });
}

async fn split_and_be_refused(client: &Reflecting, split_key: &str, human: &str) {
    let listed = client.call("elastickv.Distribution/ListRoutes", &json!({})).await.expect("routes are listed");
    let version = number(&listed["catalogVersion"]);
    let before = listed["routes"].as_array().map_or(0, Vec::len);
    assert!(version > 0 && before > 0, "{listed}");
    let found = client.call("elastickv.Distribution/GetRoute", &json!({"key": split_key})).await.expect("a route");
    let route_id = found["route"]["routeId"].clone();

    let split = |version: u64, route: Value, key: &str| {
        let request = json!({"expectedCatalogVersion": version.to_string(), "routeId": route, "splitKey": key});
        async move { client.call("elastickv.Distribution/SplitRange", &request).await }
    };
    let done = split(version, route_id.clone(), split_key).await.expect("the split is done");
    let newer = number(&done["catalogVersion"]);
    assert!(newer > version, "{done}");
    let (left, right) = (&done["left"], &done["right"]);
    assert_eq!(left["end"], right["start"], "{done}");
    assert_eq!(bytes(&right["start"]), human.as_bytes(), "{done}");
    assert_eq!((&left["parentRouteId"], &right["parentRouteId"]), (&route_id, &route_id), "{done}");
    assert_eq!((&left["raftGroupId"], &right["raftGroupId"]), (&found["raftGroupId"], &found["raftGroupId"]));

    let listed = client.call("elastickv.Distribution/ListRoutes", &json!({})).await.expect("routes are listed");
    assert_eq!(listed["routes"].as_array().map_or(0, Vec::len), before + 1);
    let code = |outcome: Result<Value, ReflectError>| outcome.err().and_then(|error| error.code());
    let (left_id, right_id) = (left["routeId"].clone(), right["routeId"].clone());
    assert_eq!(code(split(version, right_id.clone(), "eg==").await), Some(Code::Aborted), "stale version");
    assert_eq!(code(split(newer, json!("99999999"), "eg==").await), Some(Code::NotFound), "no such route");
    assert_eq!(code(split(newer, right_id, split_key).await), Some(Code::InvalidArgument), "at the boundary");
    assert_eq!(code(split(newer, left_id, "eg==").await), Some(Code::InvalidArgument), "outside");
}

/// 64-bit integers are strings in protobuf's JSON.
fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("not a number: {value}"))
}

/// Bytes are base64 in protobuf's JSON.
fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_else(|| panic!("not bytes: {value}"));
    STANDARD.decode(text).expect("protobuf's JSON holds base64")
}
