//! The Rust clients `redis` and `fred`, unchanged, against a cluster: each as its own documentation uses it.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use fred::prelude::{
    Builder, ClientLike, Config, EventInterface, FredResult, HashesInterface, KeysInterface, ListInterface,
    LuaInterface, PubsubInterface, SetOptions, SortedSetsInterface, TransactionInterface,
};
use fred::types::Expiration;
use futures::StreamExt;
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands, ErrorKind, Script};
use tests::cluster::Cluster;

/// A cluster of three groups with two gateways, and what is done at it.
fn at_a_cluster<F: Future<Output = ()>>(what: impl FnOnce(SocketAddr, SocketAddr) -> F) {
    let cluster = Cluster::builder().nodes(3).groups(3).gateways(2).start();
    let addresses = cluster.all_redis();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(60), what(addresses[0], addresses[1])).await })
        .unwrap();
}

#[test]
fn the_crate_redis_finds_what_it_expects() {
    at_a_cluster(|one, two| async move {
        for protocol in ["resp2", "resp3"] {
            let client = redis::Client::open(format!("redis://{one}/?protocol={protocol}")).unwrap();
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            let elsewhere = redis::Client::open(format!("redis://{two}/?protocol={protocol}")).unwrap();
            let mut other = elsewhere.get_multiplexed_async_connection().await.unwrap();
            values(&mut connection, &mut other).await;
            several_at_once(&mut connection).await;
            scripts_and_streams(&mut connection, &mut other).await;
            let _: () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
        }
        messages(one, two).await;
        as_a_cluster(one).await;
    });
}

async fn values(connection: &mut redis::aio::MultiplexedConnection, other: &mut redis::aio::MultiplexedConnection) {
    let _: () = connection.set("greeting", "hello").await.unwrap();
    let read: String = other.get("greeting").await.unwrap();
    assert_eq!(read, "hello");
    let nothing: Option<String> = other.get("nothing").await.unwrap();
    assert_eq!(nothing, None);
    let _: () = connection.hset_multiple("user", &[("name", "Ada"), ("born", "1815")]).await.unwrap();
    let user: HashMap<String, String> = other.hgetall("user").await.unwrap();
    assert_eq!((user["name"].as_str(), user["born"].as_str(), user.len()), ("Ada", "1815", 2));
    let _: () = connection.zadd_multiple("scores", &[(2.5, "b"), (1.0, "a")]).await.unwrap();
    let scores: Vec<(String, f64)> = other.zrange_withscores("scores", 0, -1).await.unwrap();
    assert_eq!(scores, [("a".to_owned(), 1.0), ("b".to_owned(), 2.5)]);
    // Errors are of the kind that a program asks for.
    let refused: Result<i64, _> = connection.incr("greeting", 1).await;
    assert_eq!(refused.unwrap_err().code(), Some("ERR"));
    let refused: Result<i64, _> = connection.lpush("greeting", 1).await;
    assert_eq!(refused.unwrap_err().code(), Some("WRONGTYPE"));
}

async fn several_at_once(connection: &mut redis::aio::MultiplexedConnection) {
    let (first, second): (i64, Vec<String>) = redis::pipe()
        .incr("count", 5)
        .cmd("RPUSH")
        .arg("queue")
        .arg("x")
        .arg("y")
        .ignore()
        .lrange("queue", 0, -1)
        .query_async(connection)
        .await
        .unwrap();
    assert_eq!((first, second), (5, vec!["x".to_owned(), "y".to_owned()]));
    let (count, old): (i64, String) =
        redis::pipe().atomic().incr("count", 1).getset("greeting", "bye").query_async(connection).await.unwrap();
    assert_eq!((count, old.as_str()), (6, "hello"));
    // WATCH, and another write between: nothing is done, which the client sees as nil.
    let _: () = redis::cmd("WATCH").arg("count").query_async(connection).await.unwrap();
    let _: () = connection.set("count", 40).await.unwrap();
    let nothing: Option<(i64,)> = redis::pipe().atomic().incr("count", 1).query_async(connection).await.unwrap();
    assert_eq!(nothing, None);
}

async fn scripts_and_streams(
    connection: &mut redis::aio::MultiplexedConnection,
    other: &mut redis::aio::MultiplexedConnection,
) {
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    let sum: i64 = script.key("sum").arg(4).invoke_async(connection).await.unwrap();
    assert_eq!(sum, 4);
    let sum: i64 = script.key("sum").arg(5).invoke_async(other).await.unwrap();
    assert_eq!(sum, 9);
    let unknown: Result<i64, _> = redis::cmd("EVALSHA").arg("0".repeat(40)).arg(0).query_async(connection).await;
    assert_eq!(unknown.unwrap_err().code(), Some("NOSCRIPT"));

    let _: String = connection.xadd("log", "*", &[("what", "began")]).await.unwrap();
    let _: () = connection.xgroup_create("log", "workers", 0).await.unwrap();
    let options = StreamReadOptions::default().group("workers", "one").count(10);
    let read: StreamReadReply = other.xread_options(&["log"], &[">"], &options).await.unwrap();
    let entry = &read.keys[0].ids[0];
    assert_eq!(entry.get::<String>("what").as_deref(), Some("began"));
    let done: i64 = other.xack("log", "workers", &[&entry.id]).await.unwrap();
    assert_eq!(done, 1);
}

async fn messages(one: SocketAddr, two: SocketAddr) {
    let mut listener = redis::Client::open(format!("redis://{one}/")).unwrap().get_async_pubsub().await.unwrap();
    listener.subscribe("news").await.unwrap();
    listener.psubscribe("wea*").await.unwrap();
    let mut speaker =
        redis::Client::open(format!("redis://{two}/")).unwrap().get_multiplexed_async_connection().await.unwrap();
    let _: i64 = speaker.publish("news", "first").await.unwrap();
    let _: i64 = speaker.publish("weather", "rain").await.unwrap();
    let mut heard = listener.on_message().map(|message| message.get_payload::<String>().unwrap());
    assert_eq!(heard.next().await.as_deref(), Some("first"));
    assert_eq!(heard.next().await.as_deref(), Some("rain"));
}

async fn as_a_cluster(one: SocketAddr) {
    let client = redis::cluster::ClusterClient::new(vec![format!("redis://{one}/")]).unwrap();
    let mut connection = client.get_async_connection().await.unwrap();
    for number in 0..50 {
        let _: () = connection.set(format!("key:{number}"), number).await.unwrap();
    }
    for number in 0..50 {
        let read: i64 = connection.get(format!("key:{number}")).await.unwrap();
        assert_eq!(read, number);
    }
    let refused: Result<(), _> = redis::cmd("NOSUCHCOMMAND").arg("key:1").query_async(&mut connection).await;
    assert_ne!(refused.unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn the_crate_fred_finds_what_it_expects() {
    at_a_cluster(|one, two| async move {
        with_fred(&format!("redis://{one}"), &format!("redis://{two}")).await.unwrap();
        // As of a cluster: it asks for the slots first.
        let client =
            Builder::from_config(Config::from_url(&format!("redis-cluster://{one}")).unwrap()).build().unwrap();
        client.init().await.unwrap();
        for number in 0..50 {
            let _: () = client.set(format!("slot:{number}"), number, None, None, false).await.unwrap();
        }
        for number in 0..50 {
            let read: i64 = client.get(format!("slot:{number}")).await.unwrap();
            assert_eq!(read, number);
        }
        client.quit().await.unwrap();
    });
}

async fn with_fred(one: &str, two: &str) -> FredResult<()> {
    let client = Builder::from_config(Config::from_url(one)?).build()?;
    client.init().await?;
    let other = Builder::from_config(Config::from_url(two)?).build()?;
    other.init().await?;

    let _: () = client.set("greeting", "hello", Some(Expiration::EX(60)), Some(SetOptions::NX), false).await?;
    let left: i64 = other.ttl("greeting").await?;
    assert!((50..=60).contains(&left), "{left}");
    let _: () = client.hset("user", [("name", "Ada"), ("born", "1815")]).await?;
    let user: HashMap<String, String> = other.hgetall("user").await?;
    assert_eq!(user["name"], "Ada");
    let _: () = client.zadd("scores", None, None, false, false, vec![(1.0, "a"), (2.5, "b")]).await?;
    let names: Vec<String> = other.zrange("scores", 0, -1, None, false, None, false).await?;
    assert_eq!(names, ["a", "b"]);

    let pipeline = client.pipeline();
    let _: () = pipeline.incr("count").await?;
    let _: () = pipeline.incr("count").await?;
    let counted: Vec<i64> = pipeline.all().await?;
    assert_eq!(counted, [1, 2]);

    let transaction = client.multi();
    let _: () = transaction.incr("count").await?;
    let _: () = transaction.get("greeting").await?;
    let (count, greeting): (i64, String) = transaction.exec(true).await?;
    assert_eq!((count, greeting.as_str()), (3, "hello"));

    let sum: i64 = client.eval("return redis.call('INCRBY', KEYS[1], ARGV[1])", "sum", 4).await?;
    assert_eq!(sum, 4);

    // A client that waits, and one that gives.
    let waiting = other.clone();
    let taken = tokio::spawn(async move { waiting.blpop::<(String, String), _>("queue", 20.0).await });
    let _: i64 = client.rpush("queue", "job").await?;
    assert_eq!(taken.await.unwrap()?, ("queue".to_owned(), "job".to_owned()));

    let subscriber = Builder::from_config(Config::from_url(two)?).build_subscriber_client()?;
    subscriber.init().await?;
    let mut heard = subscriber.message_rx();
    subscriber.subscribe("news").await?;
    let _: () = client.publish("news", "first").await?;
    let message = heard.recv().await.unwrap();
    assert_eq!(
        (message.channel.to_string(), message.value.as_str().unwrap().into_owned()),
        ("news".into(), "first".into())
    );

    let wrong: FredResult<i64> = client.incr("greeting").await;
    assert!(wrong.unwrap_err().details().contains("not an integer"));
    subscriber.quit().await?;
    other.quit().await?;
    client.quit().await
}
