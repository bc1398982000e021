//! What strangers send: too much, too slowly, too deep, or not HTTP at all. The listener answers or hangs up, and goes
//! on serving others.

use std::time::Instant;

use proptest::prelude::*;

use super::*;

const HEAD: &str = "POST / HTTP/1.1\r\nhost: test\r\nx-amz-target: DynamoDB_20120810.ListTables\r\n\
                    content-type: application/x-amz-json-1.0\r\n";

fn small() -> Limits {
    Limits { max_body_bytes: 64 << 10, ..Limits::default() }
}

async fn is_well(server: &Server) {
    assert_eq!(server.call("ListTables", "{}").await.body, r#"{"TableNames":[]}"#);
}

#[tokio::test]
async fn an_announced_body_that_is_too_large_is_refused_unread() {
    let server = Server::with_limits(small()).await;
    let mut client = server.connect().await;
    client.write(format!("{HEAD}content-length: 65537\r\n\r\n").as_bytes()).await.unwrap();
    // Nothing of the body has been sent.
    let reply = client.receive().await.unwrap();
    assert_eq!(reply.status, 413);
    assert!(reply.body.contains("Request size exceeded 65536 bytes"), "{reply:?}");
    assert_eq!(header(&reply.headers, "connection"), Some("close"));
    is_well(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_chunked_body_is_refused_where_it_gets_too_large() {
    let server = Server::with_limits(small()).await;
    let mut client = server.connect().await;
    client.write(format!("{HEAD}transfer-encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    for _ in 0..3 {
        client.write(chunk.as_bytes()).await.unwrap();
    }
    // The body has not ended, and never will.
    assert_eq!(client.receive().await.unwrap().status, 413);
    is_well(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_writes_all_before_it_reads_sees_the_refusal() {
    let server = Server::with_limits(small()).await;
    let body = vec![b' '; 8 << 20];
    let mut client = server.connect().await;
    client.write(format!("{HEAD}content-length: {}\r\n\r\n", body.len()).as_bytes()).await.unwrap();
    client.write(&body).await.unwrap();
    assert_eq!(client.receive().await.unwrap().status, 413);
    server.stop().await;
}

#[tokio::test]
async fn all_bodies_together_are_bounded() {
    let server = Server::with_limits(Limits { max_bodies_bytes: 100_000, ..small() }).await;
    let body = format!(r#"{{"Limit":1,"pad":"{}"}}"#, "x".repeat(60_000));
    let mut first = server.connect().await;
    first.write(format!("{HEAD}content-length: {}\r\n\r\n", body.len()).as_bytes()).await.unwrap();
    first.write(&body.as_bytes()[..body.len() - 1]).await.unwrap();
    // The first body is still arriving. It need not have been taken in yet, so the second may be let through first.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = server.call("ListTables", &body).await;
        if reply.body.contains("#ThrottlingException") {
            assert_eq!(reply.status, 400);
            break;
        }
        assert!(Instant::now() < deadline, "{reply:?}");
    }
    first.write(b"}").await.unwrap();
    assert_eq!(first.receive().await.unwrap().status, 200);
    assert_eq!(server.call("ListTables", &body).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn slow_bodies_and_silent_connections_are_given_up() {
    let brief = Duration::from_millis(100);
    let server = Server::with_limits(Limits { body_timeout: brief, idle_timeout: brief, ..small() }).await;
    let mut slow = server.connect().await;
    slow.write(format!("{HEAD}content-length: 10\r\n\r\n{{").as_bytes()).await.unwrap();
    assert_eq!(slow.receive().await.unwrap().status, 408);
    for beginning in ["", "P", "POST / HTTP/1.1\r\nhost:", "PRI * HTTP/2.0\r\n"] {
        let mut silent = server.connect().await;
        silent.write(beginning.as_bytes()).await.unwrap();
        assert!(silent.receive().await.is_none(), "{beginning:?}");
    }
    is_well(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn large_heads_are_refused() {
    let server = Server::start().await;
    let long = "x".repeat(20 << 10);
    for (head, statuses) in [
        (format!("POST / HTTP/1.1\r\nhost: test\r\nx: {long}\r\ncontent-length: 0\r\n\r\n"), [400, 400]),
        (format!("POST /?{long} HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n"), [400, 400]),
        (format!("POST / HTTP/1.1\r\nhost: test\r\nx: {}\r\n\r\n", long.repeat(10)), [431, 431]),
        (format!("POST / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000)), [431, 400]),
    ] {
        let mut client = server.connect().await;
        // The refusal may come before all has been sent.
        let _ = client.write(head.as_bytes()).await;
        let reply = client.receive().await.unwrap();
        assert!(statuses.contains(&reply.status), "{reply:?}");
    }
    is_well(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_request_is_answered_by_an_error() {
    let server = Server::start().await;
    for (request, status) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nhost: test\r\n\r\n".to_owned(), 200),
        ("PUT / HTTP/1.1\r\nhost: test\r\n\r\n".to_owned(), 405),
        ("POST /shell HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n".to_owned(), 404),
        ("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n".to_owned(), 400),
        (format!("{HEAD}content-length: -1\r\n\r\n"), 400),
        (format!("{HEAD}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"), 400),
        (format!("{HEAD}transfer-encoding: chunked\r\n\r\nzz\r\n"), 400),
        (format!("{HEAD}content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{{}}"), 400),
    ] {
        let mut client = server.connect().await;
        client.write(request.as_bytes()).await.unwrap();
        let reply = client.receive().await.unwrap();
        assert_eq!(reply.status, status, "{request:?} {reply:?}");
    }
    is_well(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn bad_json_is_a_serialization_exception() {
    let server = Server::start().await;
    let deep_list = format!(r#"{{"TableName":"orders","Item":{{"a":{}"#, r#"{"L":["#.repeat(200_000));
    let deep_skip = format!(r#"{{"x":{}"#, "[".repeat(1_000_000));
    for body in ["", " ", "null", "[]", "1", "{", "{\"a\"", "{}{}", "\u{FEFF}{}", &deep_list, &deep_skip] {
        let reply = server.call("PutItem", body).await;
        assert_eq!(reply.status, 400, "{reply:?}");
        assert!(reply.body.contains("#SerializationException"), "{reply:?}");
    }
    server.stop().await;
}

#[test]
fn junk_leaves_the_listener_serving() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Server::start());
    let request = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(|junk| [b"POST / HTTP/1.1\r\n", &junk[..]].concat()),
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(|junk| [
            HEAD.as_bytes(),
            b"content-length: 200\r\n\r\n",
            &junk[..]
        ]
        .concat()),
    ];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    let outcome = runner.run(&request, |junk| {
        runtime.block_on(async {
            let mut client = server.connect().await;
            let _ = client.write(&junk).await;
            drop(client);
            is_well(&server).await;
        });
        Ok(())
    });
    outcome.unwrap();
    runtime.block_on(server.stop());
}
