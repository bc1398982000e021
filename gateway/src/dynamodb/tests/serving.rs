//! Connections: how many, how long, in which version of HTTP, and how they end.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.send("ListTables", "{}").await;
    }
    for _ in 0..3 {
        assert_eq!(client.receive().await.unwrap().status, 200);
    }
    // Refusals that read the whole request keep the connection too.
    client.send("Nonsense", "{}").await;
    assert_eq!(client.receive().await.unwrap().status, 400);
    client.send("ListTables", "{").await;
    assert_eq!(client.receive().await.unwrap().status, 400);
    client.send("ListTables", "{}").await;
    assert_eq!(client.receive().await.unwrap().status, 200);
    server.stop().await;
}

#[tokio::test]
async fn http2_is_spoken_on_the_same_port() {
    let server = Server::start().await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    for operation in ["CreateTable", "DescribeEndpoints"] {
        let request = hyper::Request::post(format!("http://{}/", server.address))
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header("content-type", "application/x-amz-json-1.0")
            .body(Full::new(Bytes::from(ORDERS)))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!((response.status(), response.version()), (hyper::StatusCode::OK, hyper::Version::HTTP_2));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let address = server.address.to_string();
        assert!(String::from_utf8_lossy(&body).contains(if operation == "CreateTable" { "ACTIVE" } else { &address }));
    }
    drop(sender);
    connection.await.unwrap().unwrap();
    server.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_bound_are_told_so() {
    let server = Server::with_limits(Limits { max_connections: 2, ..Limits::default() }).await;
    let mut clients = [server.connect().await, server.connect().await];
    for client in &mut clients {
        client.send("ListTables", "{}").await;
        assert_eq!(client.receive().await.unwrap().status, 200);
    }
    let mut third = server.connect().await;
    assert_eq!(third.receive().await.unwrap().status, 503);
    assert!(third.receive().await.is_none());
    drop(clients);
    // The listener hears of the closed connections in its own time.
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let mut client = server.connect().await;
        client.send("ListTables", "{}").await;
        match client.receive().await {
            Some(reply) if reply.status == 200 => break,
            _ => assert!(std::time::Instant::now() < deadline),
        }
    }
    server.stop().await;
}

/// Waits until the store has seen a call.
async fn called(server: &Server) {
    let waiting = async {
        while server.store.take_calls().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::test]
async fn requests_beyond_the_bound_are_throttled() {
    let server = Server::with_limits(Limits { max_requests: 1, ..Limits::default() }).await;
    server.store.close_gate();
    let mut first = server.connect().await;
    first.send("ListTables", "{}").await;
    called(&server).await;
    let reply = server.call("ListTables", "{}").await;
    assert_eq!(reply.status, 400);
    assert!(reply.body.contains("#ThrottlingException"), "{reply:?}");
    server.store.open_gate();
    assert_eq!(first.receive().await.unwrap().status, 200);
    assert_eq!(server.call("ListTables", "{}").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn leaving_finishes_what_has_begun_and_takes_nothing_new() {
    let server = Server::start().await;
    let mut idle = server.connect().await;
    idle.send("ListTables", "{}").await;
    assert_eq!(idle.receive().await.unwrap().status, 200);
    server.store.take_calls();
    server.store.close_gate();
    let mut busy = server.connect().await;
    busy.send("ListTables", "{}").await;
    called(&server).await;

    server.shutdown.cancel();
    assert!(idle.receive().await.is_none());
    let refused = async { while TcpStream::connect(server.address).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert!(!server.serving.is_finished());
    server.store.open_gate();
    assert_eq!(busy.receive().await.unwrap().status, 200);
    assert!(busy.receive().await.is_none());
    server.stop().await;
}

#[tokio::test]
async fn leaving_does_not_wait_for_ever() {
    let server = Server::with_limits(Limits { drain_timeout: Duration::from_millis(50), ..Limits::default() }).await;
    server.store.close_gate();
    let mut busy = server.connect().await;
    busy.send("ListTables", "{}").await;
    called(&server).await;
    server.stop().await;
}
