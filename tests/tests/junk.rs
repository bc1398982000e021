//! What no client should send: each port answers with a clear error or closes, and goes on serving everybody else.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use proto::wire::{RawGetRequest, RawGetResponse, RawPutRequest};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use tests::cluster::Cluster;
use tests::http;
use tests::reflect::Reflecting;
use tests::resp::{Connection, Reply, encode};
use tonic::Code;

const TIMEOUT: Duration = Duration::from_secs(30);
/// A gateway that has been fed junk for a while. A fresh one takes a tenth of it.
const MEMORY_BOUND_MIB: u64 = 512;

#[test]
fn junk_is_refused_and_the_service_lives_on() {
    let mut cluster = Cluster::builder().nodes(1).start();
    let mut steady = Connection::open(cluster.redis(), TIMEOUT).expect("the gateway accepts");
    assert_eq!(steady.line("SET kept 1").expect("an answer"), Reply::Status("OK".into()));

    malformed_resp(cluster.redis());
    wrong_commands(cluster.redis());
    oversized_resp(cluster.redis());
    http_junk(cluster.gateways[0].dynamo);
    cluster.block_on(grpc_junk(cluster.gateways[0].grpc));
    let gateway = &cluster.gateways[0];
    let every_port = [
        gateway.redis,
        gateway.dynamo,
        gateway.grpc,
        gateway.metrics,
        cluster.placement_address,
        cluster.nodes[0].address,
        cluster.nodes[0].metrics,
    ];
    for address in every_port {
        random_bytes(address);
    }

    assert_eq!(steady.line("GET kept").expect("the connection from before still works"), Reply::Bulk(b"1".to_vec()));
    cluster.wait_until_serving(TIMEOUT);
    let id = cluster.gateways[0].process.id().expect("the gateway runs");
    let memory = resident_mib(id);
    assert!(memory < MEMORY_BOUND_MIB, "the gateway holds {memory} MiB");
}

fn open(address: SocketAddr) -> Connection {
    Connection::open(address, TIMEOUT).expect("the gateway accepts")
}

/// Bytes that are no request: an error line, then the connection is closed.
fn malformed_resp(address: SocketAddr) {
    for (bytes, complaint) in [
        (&b"*1\r\n:1\r\n"[..], "expected '$'"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*99999999999\r\n", "invalid multibulk length"),
        (b"*1\r\n$-5\r\n", "invalid bulk length"),
        (b"*1\r\n$999999999999\r\n", "invalid bulk length"),
        (b"*1\r\n$4\r\nPINGxx\r\n", "CRLF"),
        (b"SET \"a\r\n", "unbalanced quotes"),
    ] {
        let mut connection = open(address);
        connection.send_raw(bytes).expect("the gateway reads");
        let reply = connection.receive().unwrap_or_else(|error| panic!("{bytes:?}: {error}"));
        let sentence = reply.error().unwrap_or_else(|| panic!("{bytes:?} was answered {reply:?}")).to_owned();
        assert!(sentence.starts_with("ERR Protocol error") && sentence.contains(complaint), "{bytes:?}: {sentence}");
        connection.expect_close().unwrap_or_else(|error| panic!("{bytes:?}: {error}"));
    }
}

/// Requests that are well formed and wrong: an error, and the connection goes on.
fn wrong_commands(address: SocketAddr) {
    let mut connection = open(address);
    for (words, complaint) in [
        ("GET", "wrong number of arguments for 'get' command"),
        ("SET a", "wrong number of arguments for 'set' command"),
        ("SET a b NX XX", "syntax error"),
        ("SET a b EX nine", "not an integer"),
        ("NOSUCHCOMMAND a b", "unknown command 'NOSUCHCOMMAND'"),
        ("INCRBY a 99999999999999999999", "not an integer"),
        ("SELECT 99999", "out of range"),
        ("HELLO 9", "NOPROTO"),
    ] {
        let reply = connection.line(words).expect("an answer");
        let sentence = reply.error().unwrap_or_else(|| panic!("{words} was answered {reply:?}"));
        assert!(sentence.contains(complaint), "{words}: {sentence}");
    }
    assert_eq!(connection.line("PING").expect("an answer"), Reply::Status("PONG".into()));
}

/// More than the bounds allow, announced or sent.
fn oversized_resp(address: SocketAddr) {
    // A value over 32 MB is refused when it is announced, without waiting for it.
    let mut connection = open(address);
    connection.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$64000000\r\n").expect("the gateway reads");
    let reply = connection.receive().expect("an answer");
    assert!(reply.error().is_some(), "{reply:?}");

    // An inline command without an end.
    let mut connection = open(address);
    let endless = vec![b'x'; 1 << 20];
    // The gateway may close before it has read everything, which is the point.
    drop(connection.send_raw(&endless));
    match connection.receive() {
        Ok(reply) => assert!(reply.error().is_some_and(|sentence| sentence.contains("too big inline")), "{reply:?}"),
        Err(error) => println!("closed in the middle of an endless line: {error}"),
    }

    // Forty clients that announce the most and stop half way do not add up to forty times the most.
    let half: Vec<Connection> = (0..40)
        .map(|_| {
            let mut connection = open(address);
            connection.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$32000000\r\n").expect("the gateway reads");
            connection.send_raw(&vec![b'x'; 64 << 10]).expect("the gateway reads");
            connection
        })
        .collect();
    assert_eq!(open(address).line("PING").expect("an answer"), Reply::Status("PONG".into()));
    drop(half);

    // The largest value is taken and comes back whole.
    let mut connection = open(address);
    let value = vec![b'v'; 30_000_000];
    let mut request = Vec::new();
    encode(&mut request, &[b"SET", &b"large"[..], &value]);
    connection.send_raw(&request).expect("the gateway reads");
    assert_eq!(connection.receive().expect("an answer"), Reply::Status("OK".into()));
    let read = connection.line("GET large").expect("an answer");
    assert!(matches!(&read, Reply::Bulk(bytes) if *bytes == value), "the large value came back different");
    assert_eq!(connection.line("DEL large").expect("an answer"), Reply::Integer(1));
}

fn http_junk(address: SocketAddr) {
    let post = |target: &str, body: &str| {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/x-amz-json-1.0\r\n\
             x-amz-target: {target}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        http::exchange(address, request.as_bytes()).expect("an answer")
    };
    let list = "DynamoDB_20120810.ListTables";
    assert!(post(list, "{}").starts_with("HTTP/1.1 200"), "a good request works: {}", post(list, "{}"));
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (target, body) in [
        ("DynamoDB_20120810.NoSuchOperation", "{}"),
        ("nonsense", "{}"),
        (list, "{"),
        (list, "null"),
        (list, "\u{0}"),
        (list, nested.as_str()),
        ("DynamoDB_20120810.PutItem", r#"{"TableName":"none","Item":{"id":{"S":"a","N":"1"}}}"#),
        ("DynamoDB_20120810.PutItem", r#"{"TableName":7}"#),
        ("DynamoDB_20120810.GetItem", r#"{"TableName":"no-such-table","Key":{"id":{"S":"a"}}}"#),
    ] {
        let answer = post(target, body);
        let shown = &body[..body.len().min(60)];
        assert!(answer.starts_with("HTTP/1.1 4"), "{target} {shown}: {answer}");
        assert!(answer.contains("__type"), "{target} {shown}: {answer}");
    }
    for junk in [
        "GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "BREW / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n",
    ] {
        let answer = http::exchange(address, junk.as_bytes()).unwrap_or_default();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{junk:?}: {answer}");
    }
    let long_header = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    // The server may close before everything is sent.
    let answer = http::exchange(address, long_header.as_bytes()).unwrap_or_default();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
}

async fn grpc_junk(address: SocketAddr) {
    let client = Reflecting::connect(&address.to_string()).await.expect("the gateway accepts");
    // Fields that this version does not know are skipped.
    let mut request = BytesMut::from(&RawPutRequest { key: "future".into(), value: "1".into() }.encode_to_vec()[..]);
    request.put_slice(&[0xfa, 0x3f, 3, b'n', b'e', b'w']);
    client.call_bytes("elastickv.RawKV/RawPut", request.freeze()).await.expect("unknown fields do no harm");
    let request = RawGetRequest { key: "future".into(), ts: 0 }.encode_to_vec();
    let answer = client.call_bytes("elastickv.RawKV/RawGet", request.into()).await.expect("an answer");
    assert_eq!(RawGetResponse::decode(answer).expect("a RawGetResponse").value, Bytes::from("1"));

    // A body that is no message, one that is too large, a method that is not there.
    let cut = Bytes::from_static(&[0x0a, 200, 1, 2]);
    let refused = client.call_bytes("elastickv.RawKV/RawPut", cut).await.expect_err("a cut message is no message");
    assert!(refused.code().is_some(), "{refused}");
    let large = RawPutRequest { key: "large".into(), value: vec![0; 100 << 20].into() }.encode_to_vec();
    let refused = client.call_bytes("elastickv.RawKV/RawPut", large.into()).await.expect_err("100 MB are too large");
    assert!(refused.code().is_some(), "{refused}");
    let client = Reflecting::connect(&address.to_string()).await.expect("the gateway accepts");
    let refused = client.call_bytes("elastickv.RawKV/NoSuchMethod", Bytes::new()).await.expect_err("no such method");
    assert_eq!(refused.code(), Some(Code::Unimplemented), "{refused}");
    let empty = RawPutRequest { key: Bytes::new(), value: "1".into() }.encode_to_vec();
    // Whether an empty key is allowed is the tier's business; here it only must be answered.
    drop(client.call_bytes("elastickv.RawKV/RawPut", empty.into()).await);
}

/// Noise, the same in each run. Whatever comes back, the port must still be there afterwards.
fn random_bytes(address: SocketAddr) {
    let mut random = StdRng::seed_from_u64(7);
    for length in [1, 17, 300, 5000] {
        let mut bytes = vec![0; length];
        random.fill_bytes(&mut bytes);
        bytes.extend_from_slice(b"\r\n\r\n");
        let mut connection = open(address);
        // The server may close at any time, or wait for more until it is closed from here.
        drop(connection.send_raw(&bytes));
    }
    open(address);
}

fn resident_mib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says how much it holds");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1024
}
