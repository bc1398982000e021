//! The listener as a client sees it, over fake storage nodes that really store.

#![allow(clippy::unwrap_used)]

mod access;
mod channels;
mod server;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use keyspace::{RouteMap, layout};
use parking_lot::Mutex;
use proto::wire;
use redis_protocol::resp2::types::OwnedFrame as Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Limits;
use crate::router::fake::{FakeNode, FakePlacement, Verdict, router, some_route, some_topology};
use crate::router::fake_transactions::FakeGroups;

/// One gateway over two groups. `{b}` is in group 1, `foo` in group 2.
struct Harness {
    nodes: [FakeNode; 2],
    placement: FakePlacement,
    groups: FakeGroups,
    address: std::net::SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Harness {
    async fn start() -> Self {
        Self::with_connections(100).await
    }

    async fn with_connections(max_connections: usize) -> Self {
        Self::with(max_connections, "").await
    }

    async fn with(max_connections: usize, requirepass: &str) -> Self {
        let groups = FakeGroups::default();
        let node = || {
            let groups = groups.clone();
            FakeNode::start(move |request| groups.answer(request))
        };
        let nodes = [node().await, node().await];
        // Cut in the middle of the slots, and once inside slot 12182, which is that of "foo".
        let middle = layout::redis_slot(8192);
        let inside = [layout::redis_slot(12182), b"\x00m".to_vec()].concat();
        let routes = vec![
            some_route(1, b"", &middle, 1, 1),
            some_route(2, &middle, &inside, 2, 1),
            some_route(3, &inside, b"", 2, 1),
        ];
        let topology = some_topology(&[&nodes[0], &nodes[1]], [1, 2]);
        let placement = FakePlacement::start(&RouteMap::new(1, routes).unwrap(), topology).await;
        let router = router(&placement).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let limits = Limits { max_connections, drain_timeout: Duration::from_secs(5), requirepass: requirepass.into() };
        let serving = tokio::spawn(super::serve(listener, router, limits, shutdown.clone()));
        Self { nodes, placement, groups, address, shutdown, serving }
    }

    async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Where another gateway listens, over the same nodes.
    async fn another_gateway(&self) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits =
            Limits { max_connections: 100, drain_timeout: Duration::from_secs(5), requirepass: Default::default() };
        tokio::spawn(super::serve(listener, router(&self.placement).await, limits, self.shutdown.clone()));
        address
    }

    /// Makes the first group wait with its answers until the returned gate is opened.
    fn stall_group_1(&self) -> Arc<Mutex<bool>> {
        let open = Arc::new(Mutex::new(false));
        let groups = self.groups.clone();
        let gate = open.clone();
        self.nodes[0].behave(move |request| {
            if *gate.lock() {
                groups.answer(request)
            } else {
                Verdict::Refuse(proto::Refusal::NotExecuted(proto::NotExecutedReason::Overloaded))
            }
        });
        open
    }
}

struct Client {
    stream: TcpStream,
    input: BytesMut,
}

impl Client {
    async fn connect(address: std::net::SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), input: BytesMut::new() }
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends words as one request.
    async fn request(&mut self, words: &[&str]) {
        let mut bytes = format!("*{}\r\n", words.len());
        for word in words {
            bytes += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.send(bytes).await;
    }

    async fn reply(&mut self) -> Frame {
        loop {
            if let Some((frame, _, _)) = redis_protocol::resp2::decode::decode_bytes_mut(&mut self.input).unwrap() {
                return frame.to_owned_frame();
            }
            assert!(self.stream.read_buf(&mut self.input).await.unwrap() > 0, "the gateway closed the connection");
        }
    }

    /// Sends one request and takes its reply.
    async fn ask(&mut self, line: &str) -> Frame {
        self.request(&line.split(' ').collect::<Vec<_>>()).await;
        self.reply().await
    }

    async fn ask_integer(&mut self, line: &str) -> i64 {
        match self.ask(line).await {
            Frame::Integer(integer) => integer,
            other => panic!("{line}: {other:?}"),
        }
    }

    async fn ask_text(&mut self, line: &str) -> String {
        text(&self.ask(line).await)
    }

    /// Everything until the gateway closes the connection.
    async fn rest(&mut self) -> String {
        let mut rest = self.input.split().to_vec();
        self.stream.read_to_end(&mut rest).await.unwrap();
        String::from_utf8(rest).unwrap()
    }
}

fn text(frame: &Frame) -> String {
    match frame {
        Frame::SimpleString(bytes) | Frame::BulkString(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        Frame::Error(error) => error.clone(),
        Frame::Integer(integer) => integer.to_string(),
        Frame::Null => "(nil)".to_owned(),
        Frame::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
    }
}

#[tokio::test]
async fn commands_reach_the_groups_and_replies_keep_their_order() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    // One write: keys of both groups, commands for the gateway, an unknown one, wrong arity.
    client
        .send("SET {b}1 x\r\nPING\r\nSET foo y\r\nGET {b}1\r\nGET foo\r\nnope 1 2\r\nGET\r\nECHO end\r\nGET none\r\n")
        .await;
    let mut replies = Vec::new();
    for _ in 0..9 {
        replies.push(text(&client.reply().await));
    }
    assert_eq!(
        replies,
        [
            "OK",
            "PONG",
            "OK",
            "x",
            "y",
            "ERR unknown command 'nope', with args beginning with: '1' '2' ",
            "ERR wrong number of arguments for 'get' command",
            "end",
            "(nil)",
        ]
    );
    let first: Vec<wire::Request> = harness.nodes[0].requests();
    assert!(first.iter().any(|request| request.connection != 0));
}

#[tokio::test]
async fn a_read_behind_a_write_of_its_unit_takes_its_turn() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    client.send("GET {b}1\r\nSET {b}1 x\r\nGET {b}1\r\nGET {b}2\r\n").await;
    for expected in ["(nil)", "OK", "x", "(nil)"] {
        assert_eq!(text(&client.reply().await), expected);
    }
    let is_exec = |request: &wire::Request| matches!(request.kind, Some(wire::request::Kind::Exec(_)));
    let execs: Vec<bool> = harness.nodes[0].requests().iter().map(is_exec).collect();
    assert_eq!(execs, [true, true, true, false]);
}

#[tokio::test]
async fn a_burst_waits_for_an_earlier_one_on_the_same_unit_only() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let gate = harness.stall_group_1();
    client.request(&["SET", "{b}1", "x"]).await;
    while harness.nodes[0].requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Another unit goes ahead.
    client.request(&["SET", "foo", "y"]).await;
    while harness.nodes[1].requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The same unit does not: until the first is answered, the leader never sees this one.
    client.request(&["APPEND", "{b}1", "z"]).await;
    let names = |node: &FakeNode| -> Vec<Bytes> {
        let name = |request: wire::Request| match request.kind {
            Some(wire::request::Kind::Exec(exec)) => match exec.commands[0].language.clone() {
                Some(wire::command::Language::Redis(command)) => command.args[0].clone(),
                _ => Bytes::new(),
            },
            _ => Bytes::new(),
        };
        node.requests().into_iter().map(name).collect()
    };
    let seen = harness.nodes[0].requests().len();
    while harness.nodes[0].requests().len() < seen + 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(names(&harness.nodes[0]).iter().all(|name| name == "SET"));
    *gate.lock() = true;
    for expected in ["OK", "OK", "2"] {
        assert_eq!(text(&client.reply().await), expected);
    }
}

#[tokio::test]
async fn commands_on_several_keys_of_one_group_are_one_request() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    assert_eq!(client.ask_text("MSET {b}1 x {b}2 y {b}1 z").await, "OK");
    assert_eq!(client.ask_text("MGET {b}1 {b}2 {b}3").await, "z y (nil)");
    assert_eq!(client.ask_integer("EXISTS {b}1 {b}1 {b}2").await, 3);
    assert_eq!(client.ask_integer("DEL {b}1 {b}2").await, 2);
    assert_eq!(harness.nodes[0].requests().len(), 4);
}

#[tokio::test]
async fn commands_over_a_database_see_all_ranges_and_wait_their_turn() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    for n in 0..300 {
        client.request(&["SET", &format!("key:{n}"), "v"]).await;
    }
    // The keys of slot 12182, which two ranges share.
    for n in 0..40 {
        client.request(&["SET", &format!("{{foo}}{n}"), "v"]).await;
    }
    client.send("DBSIZE\r\nSET late v\r\nDBSIZE\r\n").await;
    for _ in 0..340 {
        assert_eq!(text(&client.reply().await), "OK");
    }
    assert_eq!(client.reply().await, Frame::Integer(340));
    assert_eq!(text(&client.reply().await), "OK");
    assert_eq!(client.reply().await, Frame::Integer(341));

    let Frame::Array(keys) = client.ask("KEYS *").await else { panic!("KEYS answers an array") };
    assert_eq!(keys.len(), 341);
    let Frame::Array(keys) = client.ask("KEYS {foo}1?").await else { panic!("KEYS answers an array") };
    assert_eq!(keys.len(), 10);

    for count in ["1", "7", "1000"] {
        let mut found = std::collections::HashMap::new();
        let mut cursor = "0".to_owned();
        loop {
            let Frame::Array(page) = client.ask(&format!("SCAN {cursor} COUNT {count}")).await else { panic!("SCAN") };
            cursor = text(&page[0]);
            let Frame::Array(keys) = &page[1] else { panic!("SCAN") };
            keys.iter().for_each(|key| *found.entry(text(key)).or_insert(0) += 1);
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(found.len(), 341, "COUNT {count}");
        assert!(found.values().all(|times| *times == 1), "nothing changed, so nothing is listed twice");
    }
    assert!(client.ask_text("RANDOMKEY").await.len() > 3);
    assert_eq!(client.ask_text("SELECT 1").await, "OK");
    assert_eq!(client.ask_text("RANDOMKEY").await, "(nil)");
    assert_eq!(client.ask_text("SET other v").await, "OK");
    assert_eq!(client.ask_text("SELECT 0").await, "OK");
    assert_eq!(client.ask_text("FLUSHDB").await, "OK");
    assert_eq!(client.ask_integer("DBSIZE").await, 0);
    assert_eq!(client.ask_text("SCAN 0").await, "0 ");
    assert_eq!(client.ask_text("SELECT 1").await, "OK");
    assert_eq!(client.ask_integer("DBSIZE").await, 1);
    assert_eq!(client.ask_text("FLUSHALL ASYNC").await, "OK");
    assert_eq!(client.ask_integer("DBSIZE").await, 0);

    // Storage takes a flush only if it covers all Redis keys of a range.
    let locked = |request: wire::Request| {
        let target = request.targets.iter().find(|target| target.is_interval)?;
        let is_step = matches!(request.kind, Some(wire::request::Kind::Transact(_)));
        is_step.then(|| (target.key.clone(), target.end.clone()))
    };
    let first: Vec<_> = harness.nodes[0].requests().into_iter().filter_map(locked).collect();
    let middle = Bytes::from(layout::redis_slot(8192));
    assert_eq!(first, vec![(Bytes::from_static(b"r"), middle); 2]);
}

#[tokio::test]
async fn hello_changes_the_version_for_what_follows() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    client.send("GET none\r\nHELLO 3 SETNAME worker\r\nGET none\r\nCONFIG GET maxclients\r\nHELLO 2\r\nGET none\r\nQUIT\r\n").await;
    let replies = client.rest().await;
    let [before, rest] = replies.split_once("%7\r\n").map(|(a, b)| [a, b]).unwrap();
    assert_eq!(before, "$-1\r\n");
    assert!(
        rest.contains("$5\r\nproto\r\n:3\r\n") && rest.contains("*0\r\n_\r\n%1\r\n$10\r\nmaxclients\r\n$3\r\n100\r\n")
    );
    assert!(rest.ends_with("*0\r\n$-1\r\n+OK\r\n"), "{rest}");
}

#[tokio::test]
async fn connections_can_name_themselves_and_see_each_other() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let mut other = harness.client().await;
    assert_eq!(other.ask_text("CLIENT SETNAME other").await, "OK");
    assert_eq!(other.ask_text("CLIENT GETNAME").await, "other");
    assert_eq!(client.ask_text("CLIENT GETNAME").await, "(nil)");
    client.send("CLIENT SETNAME 'a b'\r\n").await;
    assert!(text(&client.reply().await).starts_with("ERR Client names cannot contain"));
    assert_eq!(client.ask_text("CLIENT SETINFO LIB-NAME tests").await, "OK");
    assert!(client.ask_text("CLIENT SETINFO LIB-X tests").await.starts_with("ERR Unrecognized option"));
    let id = client.ask_integer("CLIENT ID").await;
    let list = client.ask_text("CLIENT LIST").await;
    assert!(list.contains("name=other") && list.contains("lib-name=tests") && list.lines().count() == 2, "{list}");
    let own = client.ask_text(&format!("CLIENT LIST ID {id}")).await;
    assert!(own.starts_with(&format!("id={id} ")) && own.contains("cmd=client|list"), "{own}");
    assert!(client.ask_text("CLIENT INFO").await.contains("lib-name=tests"));
    assert_eq!(client.ask_text("CLIENT NO-EVICT on").await, "OK");
    assert_eq!(client.ask_text("CLIENT NO-EVICT maybe").await, "ERR syntax error");
    assert!(client.ask_text("INFO").await.contains("connected_clients:2\r\n"));
    assert!(!client.ask_text("INFO server").await.contains("connected_clients"));
    assert_eq!(client.ask_text("INFO nothing").await, "");
    assert!(client.ask_text("AUTH secret").await.starts_with("ERR AUTH <password> called without any password"));
    assert_eq!(client.ask_text("AUTH default secret").await, "OK");
    assert!(client.ask_text("AUTH somebody secret").await.starts_with("WRONGPASS"));
    assert_eq!(client.ask_text("SELECT 16").await, "ERR DB index is out of range");
    assert!(client.ask_text("CONFIG SIT save 1").await.starts_with("ERR unknown subcommand 'SIT'"));
    assert!(client.ask_integer("COMMAND COUNT").await > 50);
    assert_eq!(client.ask_text("CONFIG GET appendo*").await, "appendonly yes");
    assert_eq!(client.ask_text("TIME").await.split(' ').count(), 2);
}

#[tokio::test]
async fn junk_is_answered_and_ends_the_connection_behind_what_came_before() {
    let harness = Harness::start().await;
    for (junk, sentence) in [
        ("*1\r\n:1\r\n", "ERR Protocol error: expected '$', got ':'"),
        ("*2000000\r\n", "ERR Protocol error: invalid multibulk length"),
        ("*1\r\n$99999999\r\n", "ERR Protocol error: invalid bulk length"),
        ("GET \"a\r\n", "ERR Protocol error: unbalanced quotes in request"),
    ] {
        let mut client = harness.client().await;
        client.send(format!("SET {{b}}1 x\r\n{junk}")).await;
        assert_eq!(client.rest().await, format!("+OK\r\n-{sentence}\r\n"));
    }
    let mut browser = harness.client().await;
    browser.send("POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET {b}1 evil\r\n").await;
    assert_eq!(browser.rest().await, "");
    assert_eq!(harness.client().await.ask_text("GET {b}1").await, "x");
}

#[tokio::test]
async fn connections_are_bounded() {
    let harness = Harness::with_connections(1).await;
    let mut first = harness.client().await;
    assert_eq!(first.ask_text("PING").await, "PONG");
    assert_eq!(harness.client().await.rest().await, "-ERR max number of clients reached\r\n");
    drop(first);
    // The place is free when the gateway has noticed.
    loop {
        let mut next = harness.client().await;
        next.send("PING\r\n").await;
        let mut answer = [0; 1];
        if next.stream.read_exact(&mut answer).await.is_ok() && answer == *b"+" {
            break;
        }
    }
}

#[tokio::test]
async fn leaving_answers_what_was_asked() {
    let harness = Harness::start().await;
    let mut idle = harness.client().await;
    assert_eq!(idle.ask_text("PING").await, "PONG");
    let mut busy = harness.client().await;
    let gate = harness.stall_group_1();
    busy.request(&["SET", "{b}1", "x"]).await;
    while harness.nodes[0].requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    harness.shutdown.cancel();
    assert_eq!(idle.rest().await, "");
    *gate.lock() = true;
    assert_eq!(busy.rest().await, "+OK\r\n");
    harness.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn large_values_and_deep_pipelines_pass() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let value = "v".repeat(3 << 20);
    client.request(&["SET", "{b}1", &value]).await;
    assert_eq!(text(&client.reply().await), "OK");
    for _ in 0..20 {
        client.request(&["GET", "{b}1"]).await;
    }
    for _ in 0..20 {
        assert_eq!(client.reply().await, Frame::BulkString(value.clone().into_bytes()));
    }
    let increments = "INCR {b}n\r\n".repeat(5000);
    client.send(increments).await;
    for n in 1..=5000 {
        assert_eq!(client.reply().await, Frame::Integer(n));
    }
}
