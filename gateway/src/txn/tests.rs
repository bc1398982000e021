//! Transactions over two groups that keep locks and records in memory, through real streams.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use commands::redis::{Invocation, Value};
use keyspace::{RouteMap, layout};
use proto::{Refusal, TransactionState, wire};

use super::*;
use crate::router::fake::{FakeNode, FakePlacement, Verdict, router, some_route, some_topology};
use crate::router::fake_transactions::{FakeGroups, Fault};

pub(super) struct Cluster {
    groups: FakeGroups,
    pub(super) transactions: Transactions,
    router: Router,
    nodes: [FakeNode; 2],
    _placement: FakePlacement,
}

/// hello (slot 866) and b (slot 3300) are of group 1; foo (slot 12182) and a (slot 15495) of group 2.
async fn cluster() -> Cluster {
    cluster_divided_at(layout::redis_slot(8192)).await
}

/// Keys below `middle` are of group 1, the others of group 2.
pub(super) async fn cluster_divided_at(middle: Vec<u8>) -> Cluster {
    let groups = FakeGroups::default();
    let node = || {
        let groups = groups.clone();
        FakeNode::start(move |request| groups.answer(request))
    };
    let nodes = [node().await, node().await];
    let routes = RouteMap::new(1, vec![some_route(1, b"", &middle, 1, 1), some_route(2, &middle, b"", 2, 1)]).unwrap();
    let placement = FakePlacement::start(&routes, some_topology(&[&nodes[0], &nodes[1]], [1, 2])).await;
    let router = router(&placement).await;
    let transactions = Transactions::new(router.clone());
    Cluster { groups, transactions, router, nodes, _placement: placement }
}

fn unit(key: &str) -> Bytes {
    layout::redis_unit(0, key.as_bytes()).into()
}

/// A command whose keys are the given ones.
fn part(line: &str, keys: &[&str]) -> Part {
    let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let mut units: Vec<Bytes> = keys.iter().map(|key| unit(key)).collect();
    units.sort_unstable();
    units.dedup();
    Part { command: Command::Redis(Invocation::new(0, args)), units }
}

fn work(parts: Vec<Part>) -> Work {
    Work::new(parts, Vec::new())
}

fn set(key: &str, value: &str) -> Part {
    part(&format!("SET {key} {value}"), &[key])
}

fn get(key: &str) -> Part {
    part(&format!("GET {key}"), &[key])
}

fn values(outcomes: Vec<Outcome>) -> Vec<Value> {
    let value = |outcome| match outcome {
        Outcome::Redis(value) => value,
        other => panic!("not a Redis value: {other:?}"),
    };
    outcomes.into_iter().map(value).collect()
}

fn bulk(text: &str) -> Value {
    Value::Bulk(Bytes::copy_from_slice(text.as_bytes()))
}

fn step_of(request: &wire::Request) -> Option<&wire::transact::Step> {
    match &request.kind {
        Some(wire::request::Kind::Transact(step)) => step.step.as_ref(),
        _ => None,
    }
}

impl Cluster {
    async fn run(&self, parts: Vec<Part>) -> Result<Vec<Value>, TxnError> {
        self.transactions.run(7, work(parts)).await.map(values)
    }

    /// Steps that were sent, by name, to both nodes, in no particular order.
    pub(super) fn steps(&self, name: fn(&wire::transact::Step) -> bool) -> usize {
        let requests = self.nodes.iter().flat_map(FakeNode::requests);
        requests.filter(|request| step_of(request).is_some_and(name)).count()
    }

    /// Whatever is executed as one request is never answered.
    pub(super) fn lose_answers_of_writes(&self) {
        self.groups.interfere(|request| match &request.kind {
            Some(wire::request::Kind::Exec(_)) => Fault::Afterwards(Verdict::Silence),
            _ => Fault::None,
        });
    }

    /// Returns when no lock is left.
    pub(super) async fn unlocked(&self) {
        let started = Instant::now();
        while self.groups.locks() > 0 {
            assert!(started.elapsed() < Duration::from_secs(5), "{} locks are left", self.groups.locks());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A transaction whose coordinator stops behind the prewrites, or behind the Commit.
    async fn abandoned(&self, committed: bool) {
        let units = [unit("hello"), unit("foo")];
        let transaction = self.router.begin_transaction(units[0].clone());
        let mut participants = Vec::new();
        for (unit, key) in units.iter().zip(["hello", "foo"]) {
            let prewrite = crate::router::Prewrite {
                units: vec![unit.clone()],
                participants: if key == "hello" { units.to_vec() } else { Vec::new() },
                commands: vec![set(key, "new").command],
                ..Default::default()
            };
            let voted = self.router.step(transaction.prewrite(prewrite)).await.unwrap();
            let crate::router::Transacted::Prepared { prepared, .. } = voted else { panic!("{voted:?}") };
            participants.push(proto::Participant { unit: unit.clone(), prepared });
        }
        if committed {
            let status =
                self.router.ask_anchor(transaction.commit(participants, vec![units[0].clone()], &[])).await.unwrap();
            assert_eq!(status.state, TransactionState::Committed);
        }
    }
}

#[tokio::test]
async fn parts_in_several_groups_take_effect_together() {
    let cluster = cluster().await;
    let parts = vec![set("foo", "1"), set("hello", "2"), part("INCR foo", &["foo"]), get("hello")];
    let replies = cluster.run(parts).await.unwrap();
    assert_eq!(replies, [Value::OK, Value::OK, Value::Integer(2), bulk("2")]);
    cluster.unlocked().await;
    assert_eq!(cluster.run(vec![get("foo"), get("hello")]).await.unwrap(), [bulk("2"), bulk("2")]);
    let started = Instant::now();
    while cluster.groups.count(TransactionState::Forgotten) == 0 {
        assert!(started.elapsed() < Duration::from_secs(5), "it is forgotten when everything is resolved");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A part that its language refuses undoes nothing.
    let replies = cluster.run(vec![set("foo", "word"), part("INCR foo", &["foo"]), set("hello", "3")]).await.unwrap();
    assert!(matches!(replies[1], Value::Error(_)));
    assert_eq!(cluster.run(vec![get("hello")]).await.unwrap(), [bulk("3")]);
}

#[tokio::test]
async fn one_group_is_one_request() {
    let cluster = cluster().await;
    cluster.run(vec![set("foo", "1"), part("INCR foo", &["foo"])]).await.unwrap();
    assert_eq!(cluster.nodes[1].requests().len(), 1);
    assert_eq!(cluster.steps(|_| true), 0);
}

#[tokio::test]
async fn watched_keys_hold_or_nothing_happens() {
    let cluster = cluster().await;
    cluster.run(vec![set("foo", "1")]).await.unwrap();
    for parts in [vec![set("foo", "2")], vec![set("foo", "2"), set("hello", "2")], vec![get("foo"), get("hello")]] {
        let units = vec![unit("foo"), unit("hello")];
        let seen = cluster.transactions.observe(7, units.clone()).await.unwrap();
        assert!(seen[0].is_some() && seen[1].is_none());
        let watching = || Work::new(parts.clone(), units.iter().cloned().zip(seen.clone()).collect());
        cluster.run(vec![set("foo", "1")]).await.unwrap();
        assert_eq!(cluster.transactions.run(7, watching()).await, Err(TxnError::Conflict));
        assert_eq!(cluster.run(vec![get("foo"), get("hello")]).await.unwrap(), [bulk("1"), Value::Null]);
        cluster.unlocked().await;
    }
    let seen = cluster.transactions.observe(7, vec![unit("foo")]).await.unwrap();
    let same = Work::new(vec![set("foo", "2"), set("hello", "2")], vec![(unit("foo"), seen[0])]);
    assert!(cluster.transactions.run(7, same).await.is_ok());
}

#[tokio::test]
async fn commands_over_groups_are_computed() {
    let cluster = cluster().await;
    let both = ["foo", "hello"];
    assert_eq!(cluster.run(vec![part("MSETNX foo 1 hello 2", &both)]).await.unwrap(), [Value::Integer(1)]);
    assert_eq!(cluster.run(vec![part("MSETNX foo 3 hello 4", &both)]).await.unwrap(), [Value::Integer(0)]);
    assert_eq!(
        cluster.run(vec![part("EXISTS foo hello a", &["foo", "hello", "a"])]).await.unwrap(),
        [Value::Integer(2)]
    );
    // What an earlier part wrote is seen by a later one.
    let parts = vec![set("a", "5"), part("DEL foo hello", &both), part("EXISTS foo a", &["foo", "a"]), get("hello")];
    let replies = cluster.run(parts).await.unwrap();
    assert_eq!(replies, [Value::OK, Value::Integer(2), Value::Integer(1), Value::Null]);
    cluster.unlocked().await;
    assert_eq!(
        cluster.run(vec![get("foo"), get("hello"), get("a")]).await.unwrap(),
        [Value::Null, Value::Null, bulk("5")]
    );
}

#[tokio::test]
async fn a_refused_prewrite_ends_in_ordered_mode() {
    let cluster = cluster().await;
    for computed in [false, true] {
        let mut refusals = 0;
        cluster.groups.interfere(move |request| match step_of(request) {
            Some(wire::transact::Step::Prewrite(prewrite))
                if !prewrite.waits && !prewrite.exclusive && refusals < 1 =>
            {
                refusals += 1;
                Fault::Instead(Verdict::Refuse(Refusal::Locked { locks: Vec::new() }))
            }
            _ => Fault::None,
        });
        let parts = match computed {
            false => vec![set("foo", "1"), set("hello", "1")],
            true => vec![part("MSETNX a 1 b 1", &["a", "b"])],
        };
        cluster.run(parts).await.unwrap();
        assert_eq!(cluster.steps(|step| matches!(step, wire::transact::Step::Begin(_))), 1 + usize::from(computed));
        cluster.unlocked().await;
    }
    assert_eq!(cluster.run(vec![get("foo"), get("b")]).await.unwrap(), [bulk("1"), bulk("1")]);
    assert_eq!(cluster.groups.count(TransactionState::Aborted), 2);
}

#[tokio::test]
async fn transactions_that_meet_all_succeed() {
    let cluster = cluster().await;
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..8 {
        let transactions = cluster.transactions.clone();
        tasks.spawn(async move {
            for round in 0..5 {
                let increments = vec![part("INCR foo", &["foo"]), part("INCR hello", &["hello"])];
                let computed = vec![
                    part("INCR foo", &["foo"]),
                    part("EXISTS foo hello", &["foo", "hello"]),
                    part("INCR hello", &["hello"]),
                ];
                let parts = if (client + round) % 4 == 0 { computed } else { increments };
                transactions.run(client, work(parts)).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(cluster.run(vec![get("foo"), get("hello")]).await.unwrap(), [bulk("40"), bulk("40")]);
    cluster.unlocked().await;
}

#[tokio::test]
async fn a_lost_answer_to_commit_is_asked_for_again() {
    let cluster = cluster().await;
    let mut lost = 0;
    cluster.groups.interfere(move |request| match step_of(request) {
        Some(wire::transact::Step::Commit(_)) if lost < 2 => {
            lost += 1;
            // First it is executed and not answered, then neither.
            if lost == 1 { Fault::Afterwards(Verdict::Break) } else { Fault::Instead(Verdict::Break) }
        }
        _ => Fault::None,
    });
    let parts = vec![part("APPEND foo x", &["foo"]), part("APPEND hello x", &["hello"])];
    assert_eq!(cluster.run(parts).await.unwrap(), [Value::Integer(1), Value::Integer(1)]);
    assert_eq!(cluster.run(vec![get("foo"), get("hello")]).await.unwrap(), [bulk("x"), bulk("x")]);
    assert_eq!(cluster.groups.count(TransactionState::Aborted), 0);
}

#[tokio::test]
async fn an_unanswered_commit_that_the_anchor_aborted_is_tried_again() {
    let cluster = cluster().await;
    let mut silent = true;
    cluster.groups.interfere(move |request| match step_of(request) {
        Some(wire::transact::Step::Commit(_)) if silent => Fault::Instead(Verdict::Silence),
        Some(wire::transact::Step::Abort(_)) => {
            silent = false;
            Fault::None
        }
        _ => Fault::None,
    });
    let parts = vec![part("APPEND foo x", &["foo"]), part("APPEND hello x", &["hello"])];
    assert_eq!(cluster.run(parts).await.unwrap(), [Value::Integer(1), Value::Integer(1)]);
    assert_eq!(cluster.groups.count(TransactionState::Aborted), 1);
}

#[tokio::test]
async fn what_the_anchor_never_says_stays_unknown() {
    let cluster = cluster().await;
    cluster.groups.interfere(move |request| match step_of(request) {
        Some(wire::transact::Step::Commit(_) | wire::transact::Step::Abort(_)) => Fault::Instead(Verdict::Silence),
        _ => Fault::None,
    });
    let ended = cluster.run(vec![set("foo", "1"), set("hello", "1")]).await;
    assert_eq!(ended, Err(TxnError::Router(RouterError::OutcomeUnknown)));
    assert_eq!(cluster.steps(|step| matches!(step, wire::transact::Step::Begin(_))), 0, "there is no second attempt");
}

#[tokio::test]
async fn left_locks_are_rolled_forward_or_back() {
    for committed in [true, false] {
        let cluster = cluster().await;
        cluster.run(vec![set("foo", "old"), set("hello", "old")]).await.unwrap();
        cluster.unlocked().await;
        cluster.abandoned(committed).await;
        if !committed {
            // Before that it may still be alive, so it is left alone.
            cluster.groups.advance_ms(3_000);
        }
        let appended = cluster.run(vec![part("APPEND foo +", &["foo"])]).await.unwrap();
        assert_eq!(appended, [Value::Integer(4)]);
        let expected = if committed { ["new", "new+"] } else { ["old", "old+"] };
        let replies = cluster.run(vec![get("hello"), get("foo")]).await.unwrap();
        assert_eq!(replies, expected.map(bulk));
    }
}

#[tokio::test]
async fn a_read_below_a_lock_waits_for_nobody() {
    let cluster = cluster().await;
    cluster.run(vec![set("foo", "old"), set("hello", "old")]).await.unwrap();
    cluster.unlocked().await;
    cluster.abandoned(false).await;
    assert_eq!(cluster.run(vec![get("foo")]).await.unwrap(), [bulk("old")]);
    assert_eq!(cluster.run(vec![get("foo"), get("hello")]).await.unwrap(), [bulk("old"), bulk("old")]);
    assert_eq!(cluster.groups.locks(), 2, "a read ends nobody's transaction");
}

#[tokio::test]
async fn a_read_above_a_committed_lock_sees_it() {
    let cluster = cluster().await;
    cluster.run(vec![set("foo", "old"), set("hello", "old")]).await.unwrap();
    cluster.unlocked().await;
    cluster.abandoned(true).await;
    assert!(cluster.groups.locks() > 0);
    assert_eq!(cluster.run(vec![get("foo")]).await.unwrap(), [bulk("new")]);
    assert_eq!(cluster.groups.locks(), 0);
}

#[tokio::test]
async fn reads_over_groups_never_show_half() {
    let cluster = cluster().await;
    let writer = {
        let transactions = cluster.transactions.clone();
        tokio::spawn(async move {
            for round in 0..60 {
                // One of both exists at any time, with the same number as the third key.
                let (lives, dies) = if round % 2 == 0 { ("foo", "hello") } else { ("hello", "foo") };
                let parts = vec![set(lives, "x"), part(&format!("DEL {dies}"), &[dies]), set("b", lives)];
                transactions.run(1, work(parts)).await.unwrap();
            }
        })
    };
    let mut seen = 0;
    while !writer.is_finished() {
        let parts = if seen % 2 == 0 {
            vec![get("foo"), get("hello"), get("b")]
        } else {
            vec![part("MGET foo hello b", &["foo", "hello", "b"])]
        };
        let mut replies = cluster.run(parts).await.unwrap();
        if let [Value::Array(items)] = replies.as_slice() {
            replies = items.clone();
        }
        match replies.as_slice() {
            [Value::Null, Value::Null, Value::Null] => {}
            [Value::Bulk(_), Value::Null, Value::Bulk(lives)] => assert_eq!(lives, "foo"),
            [Value::Null, Value::Bulk(_), Value::Bulk(lives)] => assert_eq!(lives, "hello"),
            half => panic!("half of a transaction: {half:?}"),
        }
        seen += 1;
    }
    writer.await.unwrap();
    assert!(seen > 0);
    cluster.unlocked().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_begins() {
    let cluster = cluster().await;
    let names: Vec<String> = (0..=MAX_KEYS).map(|n| format!("key{n}")).collect();
    let many = names.iter().map(|name| set(name, "v")).collect();
    assert!(matches!(cluster.run(many).await, Err(TxnError::TooManyKeys { .. })));
    let large = "v".repeat(MAX_BYTES);
    let parts = vec![set("foo", &large), set("hello", "v")];
    assert!(matches!(cluster.run(parts).await, Err(TxnError::TooLarge { .. })));
    assert_eq!(cluster.steps(|_| true), 0);
}
