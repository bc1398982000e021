//! Clients that wait for data or messages, over real processes and several gateways.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tests::cluster::Cluster;
use tests::resp::{Connection, Reply};

const TIMEOUT: Duration = Duration::from_secs(30);

fn open(address: SocketAddr) -> Connection {
    Connection::open(address, TIMEOUT).unwrap()
}

/// Sends a line without waiting for its reply.
fn begin(connection: &mut Connection, line: &str) {
    connection.queue(&line.split(' ').collect::<Vec<_>>());
    connection.flush().unwrap();
}

fn words(reply: Reply) -> Vec<String> {
    match reply {
        Reply::Array(items) => items.into_iter().flat_map(words).collect(),
        Reply::Integer(number) => vec![number.to_string()],
        other => vec![other.text().unwrap_or_else(|| format!("{other:?}"))],
    }
}

/// Waits until so many clients of a gateway wait for data.
fn wait_until_blocked(observer: &mut Connection, count: usize) {
    let deadline = Instant::now() + TIMEOUT;
    let wanted = format!("blocked_clients:{count}\r\n");
    while !observer.line("INFO clients").unwrap().text().unwrap().contains(&wanted) {
        assert!(Instant::now() < deadline, "{wanted}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Requests that stand by, over all nodes.
fn standbys(cluster: &Cluster) -> f64 {
    cluster.nodes.iter().map(|node| node.metric("storage_standbys")).sum()
}

#[test]
fn who_waits_first_is_served_first_whichever_gateway_he_came_by() {
    let cluster = Cluster::builder().nodes(3).groups(3).gateways(2).start();
    let addresses = cluster.all_redis();
    let [mut first, mut second, mut third] = [open(addresses[0]), open(addresses[1]), open(addresses[0])];
    let [mut here, mut there] = [open(addresses[0]), open(addresses[1])];
    // A turn begins where the leader knows of it; what the gateways count runs ahead of that.
    for (waiter, line) in [
        (&mut first, "BLPOP queue 0"),
        (&mut second, "BRPOP queue 0"),
        (&mut third, "BLMOVE queue {queue}2 LEFT LEFT 0"),
    ] {
        let before = standbys(&cluster);
        begin(waiter, line);
        cluster.wait_for("one more that stands by", TIMEOUT, |cluster| standbys(cluster) == before + 1.0);
    }
    assert_eq!(words(there.line("RPUSH queue a").unwrap()), ["1"]);
    assert_eq!(words(first.receive().unwrap()), ["queue", "a"]);
    assert_eq!(words(here.line("RPUSH queue b c").unwrap()), ["2"]);
    assert_eq!(words(second.receive().unwrap()), ["queue", "c"]);
    assert_eq!(words(third.receive().unwrap()), ["b"]);
    assert_eq!(words(here.line("LRANGE {queue}2 0 -1").unwrap()), ["b"]);
    // Nothing comes.
    let before = Instant::now();
    assert!(matches!(first.line("BLPOP queue 0.2").unwrap(), Reply::Nil));
    assert!(before.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_wait_survives_a_change_of_leaders_and_longer_than_any_request() {
    let cluster = Cluster::builder().nodes(3).groups(1).gateways(1).start();
    let mut waiter = open(cluster.redis());
    let mut pusher = open(cluster.redis());
    begin(&mut waiter, "BLPOP queue 0");
    wait_until_blocked(&mut pusher, 1);
    for node in 0..3 {
        cluster.lead_everything_from(node, TIMEOUT);
    }
    // Its request has been replaced by another one in the meantime.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(words(pusher.line("RPUSH queue a").unwrap()), ["1"]);
    assert_eq!(words(waiter.receive().unwrap()), ["queue", "a"]);
}

#[test]
fn wait_knows_what_a_majority_has() {
    let cluster = Cluster::builder().nodes(3).groups(2).gateways(1).start();
    let mut client = open(cluster.redis());
    client.line("SET k v").unwrap();
    for (line, replicas) in [("WAIT 0 0", "1"), ("WAIT 1 0", "1"), ("WAIT 2 50", "1")] {
        assert_eq!(words(client.line(line).unwrap()), [replicas], "{line}");
    }
}

#[test]
fn who_has_gone_takes_nothing_along() {
    let cluster = Cluster::builder().nodes(1).groups(3).gateways(1).start();
    let mut pusher = open(cluster.redis());
    for keys in ["queue", "queue other third fourth"] {
        let mut waiter = open(cluster.redis());
        begin(&mut waiter, &format!("BLPOP {keys} 0"));
        wait_until_blocked(&mut pusher, 1);
        drop(waiter);
        wait_until_blocked(&mut pusher, 0);
        cluster.wait_for("nobody to stand by", TIMEOUT, |cluster| standbys(cluster) == 0.0);
        assert_eq!(words(pusher.line("RPUSH queue a").unwrap()), ["1"]);
        assert_eq!(words(pusher.line("LPOP queue").unwrap()), ["a"]);
    }
}

#[test]
fn keys_of_several_groups_are_waited_for_together() {
    let cluster = Cluster::builder().nodes(1).groups(3).gateways(2).start();
    let addresses = cluster.all_redis();
    let (mut waiter, mut here, mut there) = (open(addresses[0]), open(addresses[0]), open(addresses[1]));
    for key in ["a", "b", "c", "d", "e"] {
        begin(&mut waiter, "BLPOP a b c d e 0");
        wait_until_blocked(&mut here, 1);
        assert_eq!(words(there.line(&format!("RPUSH {key} x")).unwrap()), ["1"]);
        assert_eq!(words(waiter.receive().unwrap()), [key, "x"]);
        assert_eq!(words(there.line(&format!("LLEN {key}")).unwrap()), ["0"]);
    }
    assert!(matches!(waiter.line("BZPOPMIN a b c d e 0.05").unwrap(), Reply::Nil));
    // Written by a transaction over several groups.
    begin(&mut waiter, "BZMPOP 0 5 a b c d e MIN");
    wait_until_blocked(&mut here, 1);
    for line in ["MULTI", "ZADD d 1 one", "SET other x", "EXEC"] {
        there.line(line).unwrap();
    }
    assert_eq!(words(waiter.receive().unwrap()), ["d", "one", "1"]);
}

#[test]
fn streams_are_waited_for_from_now_on() {
    let cluster = Cluster::builder().nodes(1).groups(3).gateways(2).start();
    let addresses = cluster.all_redis();
    let (mut waiter, mut there) = (open(addresses[0]), open(addresses[1]));
    there.line("XADD s 1-1 f old").unwrap();
    for (waits, comes, told) in [
        ("XREAD BLOCK 0 STREAMS s other $ $", "XADD s 2-1 f new", &["s", "2-1", "f", "new"][..]),
        ("XREAD BLOCK 0 STREAMS s other $ $", "XADD other 1-1 f new", &["other", "1-1", "f", "new"]),
        ("XREADGROUP GROUP g c BLOCK 0 STREAMS s >", "XADD s 3-1 f x", &["s", "3-1", "f", "x"]),
        (
            "XREADGROUP GROUP g d BLOCK 0 STREAMS s >",
            "XGROUP DESTROY s g",
            &[r#"Error("NOGROUP the consumer group this client was blocked on no longer exists")"#],
        ),
        (
            "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
            "DEL s",
            &[r#"Error("UNBLOCKED the stream key no longer exists")"#],
        ),
    ] {
        // The group has read everything, whether it is new or not.
        there.line("XGROUP CREATE s g $").unwrap();
        there.line("XGROUP SETID s g $").unwrap();
        begin(&mut waiter, waits);
        cluster.wait_for("somebody to stand by", TIMEOUT, |cluster| standbys(cluster) >= 1.0);
        there.line(comes).unwrap();
        assert_eq!(words(waiter.receive().unwrap()), told, "{waits}");
        cluster.wait_for("nobody to stand by", TIMEOUT, |cluster| standbys(cluster) == 0.0);
    }
    assert!(matches!(waiter.line("XREAD BLOCK 50 STREAMS s $").unwrap(), Reply::Nil));
}

#[test]
fn a_message_reaches_the_subscribers_of_every_gateway() {
    let mut cluster = Cluster::builder().nodes(3).groups(3).gateways(2).start();
    let addresses = cluster.all_redis();
    let (mut here, mut there, mut publisher) = (open(addresses[0]), open(addresses[1]), open(addresses[1]));
    assert_eq!(words(here.line("SUBSCRIBE news").unwrap()), ["subscribe", "news", "1"]);
    assert_eq!(words(there.line("PSUBSCRIBE n?ws").unwrap()), ["psubscribe", "n?ws", "1"]);
    for message in 0..100 {
        assert_eq!(words(publisher.line(&format!("PUBLISH news {message}")).unwrap()), ["2"]);
    }
    for message in 0..100 {
        assert_eq!(words(here.receive().unwrap()), ["message", "news", &message.to_string()]);
        assert_eq!(words(there.receive().unwrap()), ["pmessage", "n?ws", "news", &message.to_string()]);
    }
    assert_eq!(words(publisher.line("PUBSUB NUMSUB news").unwrap()), ["news", "1"]);
    assert_eq!(words(publisher.line("PUBSUB CHANNELS").unwrap()), ["news"]);
    // The node that carries the channel's messages dies; another one carries them.
    cluster.nodes[0].process.kill();
    let deadline = Instant::now() + TIMEOUT;
    while words(publisher.line("PUBLISH news after").unwrap()) != ["2"] {
        assert!(Instant::now() < deadline);
    }
    while words(here.receive().unwrap())[2] != "after" {}
}

#[test]
fn events_of_keys_reach_the_subscribers_of_every_gateway() {
    let cluster = Cluster::builder().nodes(3).groups(3).gateways(2).start();
    let [mut writer, mut listener] = [open(cluster.all_redis()[0]), open(cluster.all_redis()[1])];
    assert_eq!(words(listener.line("PSUBSCRIBE __key*").unwrap()), ["psubscribe", "__key*", "1"]);
    // Nobody has asked for them yet.
    assert_eq!(writer.line("SET quiet 1").unwrap().error(), None);
    assert_eq!(writer.line("CONFIG SET notify-keyspace-events KEA").unwrap().error(), None);
    for line in ["LPUSH list a", "BRPOP list 1", "MULTI", "SET one 1", "SET other 2 EX 100", "EXEC"] {
        assert_eq!(writer.line(line).unwrap().error(), None);
    }
    let script = ["EVAL", "redis.call('SET', KEYS[1], 1) redis.call('DEL', KEYS[1])", "1", "scripted"];
    assert_eq!(writer.call(&script).unwrap().error(), None);
    assert_eq!(words(writer.line("DEL one other nothing").unwrap()), ["2"]);
    for (event, key) in [
        ("lpush", "list"),
        ("rpop", "list"),
        ("del", "list"),
        ("set", "one"),
        ("set", "other"),
        ("expire", "other"),
        ("set", "scripted"),
        ("del", "scripted"),
        ("del", "one"),
        ("del", "other"),
    ] {
        let keyspace = words(listener.receive().unwrap());
        assert_eq!(keyspace, ["pmessage", "__key*", &format!("__keyspace@0__:{key}"), event]);
        let keyevent = words(listener.receive().unwrap());
        assert_eq!(keyevent, ["pmessage", "__key*", &format!("__keyevent@0__:{event}"), key]);
    }
}
