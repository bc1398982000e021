//! The steps of transactions at one group, asked over the wire as a coordinator does.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use keyspace::layout;
use proto::wire;
use proto::wire::refusal::Reason;
use proto::wire::reply::Outcome;
use proto::wire::transact::Step;
use proto::wire::transacted::Answer;
use proto::wire::{TransactionState, VersionStamp};
use support::{Client, Nodes, found, raw_get, raw_put, refusal, request, step};

fn unit(key: &str) -> Bytes {
    layout::raw(key.as_bytes()).into()
}

fn prewrite(commands: Vec<wire::Command>, participants: &[&str]) -> wire::Prewrite {
    let participants = participants.iter().map(|key| unit(key)).collect();
    wire::Prewrite { commands, participants, fingerprint: 7, ..Default::default() }
}

fn commit(prepared: &[(&str, VersionStamp)]) -> Step {
    let participant = |(key, p): &(&str, VersionStamp)| wire::Participant { unit: unit(key), prepared: Some(*p) };
    let participants = prepared.iter().map(participant).collect();
    Step::Commit(wire::Commit { participants, response: Some(wire::Results::default()) })
}

struct Coordinator {
    client: Client,
    ticket: u64,
}

impl Coordinator {
    async fn at(nodes: &Nodes) -> Self {
        Self { client: nodes.client(nodes.leader().await).await, ticket: 1000 }
    }

    async fn step(&mut self, sequence: u64, keys: &[&str], what: Step) -> Outcome {
        self.ticket += 1;
        let request = step(self.ticket, sequence, "a", keys, what);
        self.client.send(vec![request]).await.into_values().next().unwrap()
    }

    async fn prepare(&mut self, sequence: u64, keys: &[&str], what: wire::Prewrite) -> VersionStamp {
        match self.step(sequence, keys, Step::Prewrite(what)).await {
            Outcome::Transacted(wire::Transacted { answer: Some(Answer::Prepared(vote)) }) => vote.prepared.unwrap(),
            other => panic!("not prepared: {other:?}"),
        }
    }

    async fn status(&mut self, sequence: u64, what: Step) -> wire::TransactionStatus {
        match self.step(sequence, &["a"], what).await {
            Outcome::Transacted(wire::Transacted { answer: Some(Answer::Status(status)) }) => status,
            other => panic!("no status: {other:?}"),
        }
    }

    async fn get(&mut self, key: &str) -> Option<String> {
        found(&self.client.results(None, raw_get(key)).await)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_takes_effect_at_its_commit_and_once() {
    let nodes = Nodes::start(1).await;
    let mut at = Coordinator::at(&nodes).await;
    at.client.results(Some(1), raw_put("a", "old")).await;

    let writes = vec![raw_put("a", "new"), raw_put("b", "new")];
    let p = at.prepare(2, &["a", "b"], prewrite(writes.clone(), &["a", "b"])).await;
    let again = at.prepare(2, &["a", "b"], prewrite(writes, &["a", "b"])).await;
    assert_eq!(p, again, "a repeated prewrite gets the stored vote");

    let Outcome::Contested(contested) = at.client.call(None, vec![raw_get("a")]).await else { panic!("not contested") };
    assert_eq!(found(&contested.below.unwrap().results[0]).as_deref(), Some("old"));
    assert_eq!(contested.locks[0].prepared, Some(p));
    assert_eq!(at.status(2, Step::Inquire(wire::Inquire {})).await.state(), TransactionState::Pending);

    let committed = at.status(2, commit(&[("a", p), ("b", p)])).await;
    assert_eq!(committed.state(), TransactionState::Committed);
    assert_eq!(at.get("a").await.as_deref(), Some("new"));
    assert_eq!(at.get("b").await.as_deref(), Some("new"));
    assert_eq!(at.status(2, commit(&[("a", p), ("b", p)])).await, committed, "decided once");
    assert_eq!(at.status(2, Step::Abort(wire::Abort::default())).await, committed, "too late to abort");

    let same_request = at.client.call(Some(2), vec![raw_put("a", "twice")]).await;
    assert_eq!(same_request, Outcome::Results(wire::Results::default()), "I7: the response of the transaction");
    let forgotten = at.status(2, Step::Forget(wire::Forget {})).await;
    assert_eq!(forgotten.state(), TransactionState::Forgotten);
    assert_eq!(forgotten.committed_at, committed.committed_at);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prewrite_behind_the_end_is_refused() {
    let nodes = Nodes::start(1).await;
    let mut at = Coordinator::at(&nodes).await;
    let tombstone = at.status(2, Step::Abort(wire::Abort::default())).await;
    assert_eq!(tombstone.state(), TransactionState::Aborted);
    let late = at.step(2, &["a"], Step::Prewrite(prewrite(vec![raw_put("a", "1")], &["a"]))).await;
    let Reason::Ended(status) = refusal(late) else { panic!("not refused by the tombstone") };
    assert_eq!(status.state(), TransactionState::Aborted);
    assert_eq!(at.status(2, commit(&[])).await.state(), TransactionState::Aborted);
    assert_eq!(at.status(3, commit(&[])).await.state(), TransactionState::Absent, "nobody knows");

    at.prepare(4, &["a"], prewrite(vec![raw_put("a", "1")], &["a"])).await;
    let alive = at.status(4, Step::Abort(wire::Abort { only_dead: true })).await;
    assert_eq!(alive.state(), TransactionState::Pending, "its coordinator may still live");
    assert_eq!(at.status(4, Step::Abort(wire::Abort::default())).await.state(), TransactionState::Aborted);
    assert_eq!(at.get("a").await, None, "its locks here went with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_with_another_p_is_dropped_without_effect() {
    let nodes = Nodes::start(1).await;
    let mut at = Coordinator::at(&nodes).await;
    // As at a participant: the record lives elsewhere.
    let p = at.prepare(2, &["b"], prewrite(vec![raw_put("b", "late")], &[])).await;
    let resolve = |p: VersionStamp, c: u64| {
        let participant = wire::Participant { unit: unit("b"), prepared: Some(p) };
        let committed_at = Some(VersionStamp { e: c, s: 1 });
        Step::Resolve(wire::Resolve { committed_at, participants: vec![participant] })
    };
    at.step(2, &["b"], resolve(VersionStamp { s: p.s - 1, ..p }, 100)).await;
    assert_eq!(at.get("b").await, None, "prepared again after the decision: never data");

    let p = at.prepare(3, &["b"], prewrite(vec![raw_put("b", "good")], &[])).await;
    assert!(p.e >= 100, "the decision has raised the clock of the group: {p:?}");
    at.step(3, &["b"], resolve(p, 200)).await;
    at.step(3, &["b"], resolve(p, 200)).await;
    assert_eq!(at.get("b").await.as_deref(), Some("good"));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_wait_for_locks_in_order_and_not_for_ever() {
    let nodes = Nodes::start(1).await;
    let mut at = Coordinator::at(&nodes).await;
    let p = at.prepare(2, &["a"], prewrite(vec![raw_put("a", "locked")], &["a"])).await;
    let impatient = at.step(3, &["a"], Step::Prewrite(prewrite(vec![raw_put("a", "x")], &[]))).await;
    let Reason::Locked(locked) = refusal(impatient) else { panic!("a prewrite does not wait unless it says so") };
    assert_eq!(locked.locks[0].txn.unwrap().sequence, 2);

    // Both wait; the deadline of neither has passed when the lock goes.
    let mut other = Coordinator::at(&nodes).await;
    let waiting = tokio::spawn(async move {
        let mut message = vec![
            request(1, Some(10), 1, vec![raw_put("a", "first")]),
            request(2, Some(11), 1, vec![raw_put("a", "second")]),
            request(3, Some(12), 1, vec![raw_put("c", "free")]),
        ];
        for (connection, request) in message.iter_mut().enumerate() {
            request.connection = 20 + connection as u64;
        }
        other.client.send(message).await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(at.get("c").await.as_deref(), Some("free"), "others do not wait");
    at.status(2, commit(&[("a", p)])).await;
    let outcomes = waiting.await.unwrap();
    assert!(outcomes.values().all(|outcome| matches!(outcome, Outcome::Results(_))), "{outcomes:?}");
    assert_eq!(at.get("a").await.as_deref(), Some("second"), "in the order of their coming");

    at.prepare(4, &["a"], prewrite(vec![raw_put("a", "locked")], &["a"])).await;
    let tired = at.client.call(Some(20), vec![raw_put("a", "x")]).await;
    let Reason::Locked(locked) = refusal(tired) else { panic!("waits end") };
    assert!(locked.locks[0].age_ms >= support::LOCK_WAIT_MS, "{locked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_observed_must_not_have_changed() {
    let nodes = Nodes::start(1).await;
    let mut at = Coordinator::at(&nodes).await;
    at.client.results(Some(1), raw_put("a", "1")).await;
    let observed = vec![wire::ObservedUnit { unit: unit("a"), version: None }];
    let stale = wire::Prewrite { observed, ..prewrite(vec![raw_put("b", "2")], &[]) };
    let refused = at.step(2, &["a", "b"], Step::Prewrite(stale)).await;
    assert!(matches!(refusal(refused), Reason::Conflict(_)));
    assert_eq!(at.get("a").await.as_deref(), Some("1"), "nothing is locked");
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_and_records_outlive_their_leader() {
    let mut nodes = Nodes::start(3).await;
    let leader = nodes.leader().await;
    let mut at = Coordinator::at(&nodes).await;
    let p = at.prepare(2, &["a", "b"], prewrite(vec![raw_put("a", "1"), raw_put("b", "2")], &["a", "b"])).await;
    nodes.running.remove(&leader).unwrap().shutdown().await;
    let mut at = Coordinator::at(&nodes).await;
    assert!(matches!(at.client.call(None, vec![raw_get("b")]).await, Outcome::Contested(_)));
    assert_eq!(at.status(2, commit(&[("a", p), ("b", p)])).await.state(), TransactionState::Committed);
    assert_eq!(at.get("b").await.as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_connection_overtakes_what_waits() {
    let nodes = Nodes::start(1).await;
    let mut at = Coordinator::at(&nodes).await;
    let p = at.prepare(2, &["a"], prewrite(vec![raw_put("a", "locked")], &["a"])).await;
    let mut other = Coordinator::at(&nodes).await;
    let waiting = tokio::spawn(async move {
        let message = vec![
            request(1, Some(10), 1, vec![raw_put("a", "1"), raw_put("b", "2")]),
            request(2, Some(11), 1, vec![raw_put("b", "3")]),
        ];
        other.client.send(message).await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    at.status(2, commit(&[("a", p)])).await;
    let outcomes = waiting.await.unwrap();
    assert!(matches!(outcomes[&1], Outcome::Results(_)), "{outcomes:?}");
    let Reason::NotExecuted(why) = refusal(outcomes[&2].clone()) else { panic!("{outcomes:?}") };
    assert_eq!(why.reason(), wire::NotExecutedReason::Predecessor, "it comes again, behind the other");
    assert_eq!(at.get("b").await.as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_filled_whoever_waits_for_it() {
    let nodes = Nodes::start(1).await;
    let mut at = Coordinator::at(&nodes).await;
    let lock = wire::Prewrite { exclusive: true, waits: true, ..prewrite(vec![], &["a"]) };
    at.prepare(2, &["a"], lock.clone()).await;
    let mut other = Coordinator::at(&nodes).await;
    let waiting = tokio::spawn(async move { other.client.call(Some(10), vec![raw_put("a", "behind")]).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let intents = vec![wire::Intent { key: unit("a"), value: Some("filled".into()) }];
    let fill = wire::Prewrite { intents, fingerprint: 8, ..prewrite(vec![], &[]) };
    let p = at.prepare(2, &["a"], fill).await;
    let delayed = at.step(2, &["a"], Step::Prewrite(lock)).await;
    assert!(matches!(refusal(delayed), Reason::Rejected(_)), "what is filled stays filled");
    at.status(2, commit(&[("a", p)])).await;
    assert!(matches!(waiting.await.unwrap(), Outcome::Results(_)));
    assert_eq!(at.get("a").await.as_deref(), Some("behind"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_behind_the_floor_contradicts_nothing() {
    let nodes = Nodes::start(1).await;
    let mut coordinator = Coordinator::at(&nodes).await;
    let p = coordinator.prepare(1, &["a"], prewrite(vec![raw_put("a", "done")], &["a"])).await;
    assert_eq!(coordinator.status(1, commit(&[("a", p)])).await.state(), TransactionState::Committed);
    coordinator.status(1, Step::Forget(wire::Forget {})).await;
    // Nothing of it can be under way any more; the group collects its record.
    coordinator.client.send_with_floor(2, request(1, Some(2), 1, vec![raw_put("b", "x")])).await;
    let inquire = || Step::Inquire(wire::Inquire {});
    let mut looks = 0;
    while coordinator.status(1, inquire()).await.state() != TransactionState::Absent {
        looks += 1;
        assert!(looks < 200, "the record is not collected within 10 s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Somebody who met a late lock of it may drop that. Somebody else, who inquires, must not learn that it was aborted.
    let abort = Step::Abort(wire::Abort { only_dead: false });
    assert_eq!(coordinator.status(1, abort).await.state(), TransactionState::Aborted);
    assert_eq!(coordinator.status(1, inquire()).await.state(), TransactionState::Absent);
    assert_eq!(coordinator.get("a").await.as_deref(), Some("done"));
}
