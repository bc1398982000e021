//! One replicated group, asked over the wire: the protocol of a single group as a gateway sees it.

#![allow(clippy::unwrap_used)]

mod support;

use keyspace::layout;
use proto::wire;
use proto::wire::redis_value::Kind;
use proto::wire::refusal::Reason;
use support::{Nodes, found, raw_get, raw_put, redis, redis_value, refusal, request};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_replicated_and_survives_a_restart_of_everything() {
    let mut nodes = Nodes::start(3).await;
    let mut client = nodes.client(nodes.leader().await).await;
    for n in 0..100 {
        client.results(Some(n + 1), raw_put(&format!("key {n}"), &format!("value {n}"))).await;
    }
    assert_eq!(found(&client.results(None, raw_get("key 7")).await).as_deref(), Some("value 7"));
    assert_eq!(found(&client.results(None, raw_get("key 100")).await), None);

    nodes.restart_all().await;
    let mut client = nodes.client(nodes.leader().await).await;
    for n in 0..100 {
        let read = client.results(None, raw_get(&format!("key {n}"))).await;
        assert_eq!(found(&read), Some(format!("value {n}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_takes_effect_once_even_at_the_next_leader() {
    let mut nodes = Nodes::start(3).await;
    let leader = nodes.leader().await;
    let mut client = nodes.client(leader).await;
    let counted = |result: &wire::CommandResult| redis_value(result);
    assert_eq!(counted(&client.results(Some(1), redis(&["INCR", "n"])).await), Kind::Integer(1));
    assert_eq!(counted(&client.results(Some(1), redis(&["INCR", "n"])).await), Kind::Integer(1), "same request");
    assert_eq!(counted(&client.results(Some(2), redis(&["INCR", "n"])).await), Kind::Integer(2));

    let twice = vec![
        request(100, Some(3), 1, vec![redis(&["INCR", "n"])]),
        request(101, Some(3), 1, vec![redis(&["INCR", "n"])]),
    ];
    let outcomes = client.send(twice).await;
    assert_eq!(outcomes[&100], outcomes[&101], "twice in one message");

    nodes.running.remove(&leader).unwrap().shutdown().await;
    let mut client = nodes.client(nodes.leader().await).await;
    assert_eq!(counted(&client.results(Some(2), redis(&["INCR", "n"])).await), Kind::Integer(2), "the stored reply");
    assert_eq!(counted(&client.results(None, redis(&["GET", "n"])).await), Kind::Bulk("3".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_gateway_has_declared_answered_is_refused() {
    let nodes = Nodes::start(1).await;
    let mut client = nodes.client(1).await;
    client.results(Some(5), redis(&["INCR", "n"])).await;
    // The stream's messages say "answered below 1"; a floor of 6 comes with the next one.
    let mut floor = nodes.client(1).await;
    let _ = floor.send_with_floor(6, request(1, Some(6), 1, vec![redis(&["INCR", "n"])])).await;
    let late = client.call(Some(5), vec![redis(&["INCR", "n"])]).await;
    assert!(matches!(refusal(late), Reason::TooOld(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_takes_what_follows_from_the_same_connection_along() {
    let nodes = Nodes::start(1).await;
    let mut client = nodes.client(1).await;
    let mut other = request(3, Some(3), 1, vec![redis(&["SET", "b", "1"])]);
    other.connection = 6;
    let message = vec![
        request(1, Some(1), 9, vec![redis(&["SET", "a", "1"])]),
        request(2, Some(2), 1, vec![redis(&["SET", "a", "2"])]),
        other,
    ];
    let outcomes = client.send(message).await;
    let Reason::StaleRoute(stale) = refusal(outcomes[&1].clone()) else { panic!("{:?}", outcomes[&1]) };
    assert_eq!((stale.ranges[0].range_id, stale.ranges[0].epoch), (1, 1));
    let Reason::NotExecuted(why) = refusal(outcomes[&2].clone()) else { panic!("{:?}", outcomes[&2]) };
    assert_eq!(why.reason(), wire::NotExecutedReason::Predecessor);
    assert!(matches!(outcomes[&3], wire::reply::Outcome::Results(_)), "another connection");
    assert_eq!(redis_value(&client.results(None, redis(&["GET", "a"])).await), Kind::Null(wire::Unit {}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_range_answers_the_old_epoch_with_its_halves() {
    let nodes = Nodes::start(1).await;
    let mut client = nodes.client(1).await;
    client.results(Some(1), raw_put("a", "left")).await;
    client.results(Some(2), raw_put("x", "right")).await;
    let split = wire::SplitReplicaRangeRequest {
        group_id: support::GROUP,
        range_id: 1,
        epoch: 1,
        split_key: layout::raw(b"g").into(),
        left_range_id: 2,
        right_range_id: 3,
    };
    let mut replicas = nodes.replicas(1).await;
    let halves = replicas.split_range(split.clone()).await.unwrap().into_inner();
    assert_eq!(halves.left.as_ref().unwrap().epoch, 2);
    assert_eq!(replicas.split_range(split).await.unwrap().into_inner(), halves, "may be repeated");

    let Reason::StaleRoute(stale) = refusal(client.call(None, vec![raw_get("a")]).await) else { panic!("served") };
    let known: Vec<_> = stale.ranges.iter().map(|range| (range.range_id, range.epoch)).collect();
    assert_eq!(known, [(2, 2), (3, 2)]);
    let mut right = request(50, None, 2, vec![raw_get("x")]);
    right.targets[0].range_id = 3;
    let outcomes = client.send(vec![right]).await;
    let wire::reply::Outcome::Results(results) = &outcomes[&50] else { panic!("{outcomes:?}") };
    assert_eq!(found(&results.results[0]).as_deref(), Some("right"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_key_stays_gone() {
    let nodes = Nodes::start(1).await;
    let mut client = nodes.client(1).await;
    client.results(Some(1), redis(&["SET", "k", "v", "PX", "30"])).await;
    // Until the leader's clock passes the expiry; then a read has time replicated before it says so.
    let mut reads = 0;
    while redis_value(&client.results(None, redis(&["GET", "k"])).await) != Kind::Null(wire::Unit {}) {
        reads += 1;
        assert!(reads < 100_000, "never expires");
    }
    assert_eq!(redis_value(&client.results(None, redis(&["EXISTS", "k"])).await), Kind::Integer(0));
    assert_eq!(redis_value(&client.results(Some(2), redis(&["SETNX", "k", "w"])).await), Kind::Integer(1));
}

/// A leader without its followers has its proposals first unanswered, then refused: the chain breaks, and a barrier
/// decides what was taken once the followers are back.
#[tokio::test(flavor = "multi_thread")]
async fn every_request_takes_effect_once_while_the_followers_vanish_and_return() {
    const REQUESTS: u64 = 30;
    let mut nodes = Nodes::start(3).await;
    let leader = nodes.leader().await;
    let followers: Vec<u64> = nodes.running.keys().copied().filter(|node| *node != leader).collect();
    for follower in &followers {
        nodes.running.remove(follower).unwrap().shutdown().await;
    }
    let mut waiting = Vec::new();
    for sequence in 1..=REQUESTS {
        let mut client = nodes.client(leader).await;
        waiting.push(tokio::spawn(async move { client.call(Some(sequence), vec![redis(&["INCR", "n"])]).await }));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    for follower in followers {
        nodes.start_node(follower).await;
    }
    let mut counted = Vec::new();
    for sequence in 1..=REQUESTS {
        // Whatever the first answer was, the same request asked again gets the one result that it has.
        let count = loop {
            let mut client = nodes.client(nodes.leader().await).await;
            if let wire::reply::Outcome::Results(results) =
                client.call(Some(sequence), vec![redis(&["INCR", "n"])]).await
            {
                break redis_value(&results.results[0]);
            }
        };
        let Kind::Integer(count) = count else { panic!("{count:?}") };
        counted.push(count);
    }
    for (sequence, answer) in waiting.into_iter().enumerate() {
        if let wire::reply::Outcome::Results(results) = answer.await.unwrap() {
            assert_eq!(redis_value(&results.results[0]), Kind::Integer(counted[sequence]), "one request, one result");
        }
    }
    counted.sort_unstable();
    assert_eq!(counted, (1..=REQUESTS as i64).collect::<Vec<_>>());
    let mut client = nodes.client(nodes.leader().await).await;
    let total = redis_value(&client.results(None, redis(&["GET", "n"])).await);
    assert_eq!(total, Kind::Bulk(REQUESTS.to_string().into()));
}

/// The very first write after the start must already know the time: otherwise its expiry lies in 1970.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_write_of_a_new_group_knows_the_time() {
    let nodes = Nodes::start(3).await;
    let mut client = nodes.client(nodes.leader().await).await;
    client.results(Some(1), redis(&["SET", "k", "v", "EX", "100"])).await;
    client.results(Some(2), redis(&["SET", "other", "v"])).await;
    let Kind::Integer(left) = redis_value(&client.results(None, redis(&["TTL", "k"])).await) else { panic!("no TTL") };
    assert!((90..=100).contains(&left), "{left}");
}
