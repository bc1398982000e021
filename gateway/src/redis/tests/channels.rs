//! Publish and subscribe, over two gateways.

use super::*;

#[tokio::test]
async fn a_message_reaches_the_subscribers_of_every_gateway() {
    let harness = Harness::start().await;
    let other = harness.another_gateway().await;
    let (mut here, mut there, mut publisher) =
        (harness.client().await, Client::connect(other).await, harness.client().await);
    assert_eq!(here.ask_text("subscribe news").await, "subscribe news 1");
    assert_eq!(there.ask_text("psubscribe n*s").await, "psubscribe n*s 1");
    assert_eq!(there.ask_text("subscribe news").await, "subscribe news 2");
    assert_eq!(publisher.ask_text("publish news hello").await, "3");
    assert_eq!(text(&here.reply().await), "message news hello");
    assert_eq!(text(&there.reply().await), "message news hello");
    assert_eq!(text(&there.reply().await), "pmessage n*s news hello");
    assert_eq!(publisher.ask_text("pubsub numsub news other").await, "news 2 other 0");
    assert_eq!(publisher.ask_text("publish nobody x").await, "0");
    assert_eq!(here.ask_text("unsubscribe").await, "unsubscribe news 0");
    assert_eq!(here.ask_text("unsubscribe").await, "unsubscribe (nil) 0");
    assert_eq!(here.ask_text("get k").await, "(nil)");
    assert_eq!(publisher.ask_text("publish news again").await, "2");
    drop(there);
    // The other gateway sees the end of the connection a little later.
    while publisher.ask_text("publish news again").await != "0" {}
}

#[tokio::test]
async fn a_subscriber_of_resp2_may_do_little_else() {
    let harness = Harness::start().await;
    let (mut client, mut other) = (harness.client().await, harness.client().await);
    client.request(&["subscribe", "a", "b"]).await;
    assert_eq!(text(&client.reply().await), "subscribe a 1");
    assert_eq!(text(&client.reply().await), "subscribe b 2");
    assert_eq!(client.ask_text("ssubscribe s").await, "ssubscribe s 1");
    let refused = client.ask_text("get k").await;
    assert!(refused.starts_with("ERR Can't execute 'get': only (P|S)SUBSCRIBE"), "{refused}");
    assert_eq!(client.ask_text("ping").await, "pong ");
    assert_eq!(other.ask_text("spublish s x").await, "1");
    assert_eq!(text(&client.reply().await), "smessage s x");
    assert_eq!(client.ask_text("reset").await, "RESET");
    assert_eq!(client.ask_text("get k").await, "(nil)");
    assert_eq!(other.ask_text("publish a x").await, "0");
    // In RESP3 a push is no reply, so nothing is forbidden.
    client.send("HELLO 3\r\nSUBSCRIBE a\r\nMULTI\r\nPING\r\nPUBLISH a x\r\nEXEC\r\nGET k\r\n").await;
    let expected = ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+PONG\r\n:1\r\n";
    let mut seen = String::new();
    while !seen.ends_with("_\r\n") {
        let mut bytes = [0; 1 << 10];
        let count = client.stream.read(&mut bytes).await.unwrap();
        seen += std::str::from_utf8(&bytes[..count]).unwrap();
    }
    assert!(seen.contains(expected), "{seen}");
    let push = ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n";
    if !seen.contains(push) {
        let mut bytes = vec![0; push.len()];
        client.stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), push);
    }
}
