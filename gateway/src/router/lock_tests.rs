//! Requests that meet locks of transactions, as seen by a node that holds them and by the anchor that decides.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use commands::redis::{Invocation, Value};
use commands::{Command, Outcome};
use keyspace::{RequestId, RouteMap, TransactionId, Version, layout};
use proto::{NotExecutedReason, Participant, Refusal, SeenLock, TransactionState, TransactionStatus, wire};

use super::fake::{FakeNode, FakePlacement, Verdict, router, some_route, some_topology};
use super::{Prepared, Router, RouterError};

const P: Version = Version { e: 4, s: 2 };

fn unit(key: &str) -> Bytes {
    layout::redis_unit(0, key.as_bytes()).into()
}

fn prepared(line: &str) -> Prepared {
    let args: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let units = vec![layout::redis_unit(0, &args[1]).into()];
    Prepared::one(Command::Redis(Invocation::new(0, args)), units)
}

/// A lock on x whose transaction is decided at the unit "anchor".
fn lock(age_ms: u64) -> SeenLock {
    let txn = TransactionId { request: RequestId { incarnation: 99, sequence: 5 }, attempt: 1 };
    SeenLock { unit: unit("x"), txn, anchor: unit("anchor"), prepared: P, age_ms }
}

fn contested() -> Verdict {
    let Verdict::Results(below) = Verdict::status("below") else { unreachable!() };
    let locks = vec![lock(0).into()];
    Verdict::Answer(wire::reply::Outcome::Contested(wire::Contested { below: Some(below), locks }))
}

fn transacted(answer: wire::transacted::Answer) -> Verdict {
    Verdict::Answer(wire::reply::Outcome::Transacted(wire::Transacted { answer: Some(answer) }))
}

fn says(state: TransactionState) -> Verdict {
    let committed = matches!(state, TransactionState::Committed | TransactionState::Forgotten);
    let status = TransactionStatus {
        state,
        committed_at: committed.then_some(P),
        participants: vec![Participant { unit: unit("x"), prepared: P }],
        response: wire::Results::default(),
    };
    transacted(wire::transacted::Answer::Status(status.into()))
}

fn resolved() -> Verdict {
    transacted(wire::transacted::Answer::Resolved(wire::Unit {}))
}

fn step_of(request: &wire::Request) -> Option<&wire::transact::Step> {
    match &request.kind {
        Some(wire::request::Kind::Transact(step)) => step.step.as_ref(),
        _ => None,
    }
}

fn is_read(request: &wire::Request) -> bool {
    matches!(request.kind, Some(wire::request::Kind::Read(_)))
}

async fn one_node(
    behaviour: impl FnMut(&wire::Request) -> Verdict + Send + 'static,
) -> (FakeNode, FakePlacement, Router) {
    let node = FakeNode::start(behaviour).await;
    let routes = RouteMap::new(1, vec![some_route(1, b"", b"", 1, 1)]).unwrap();
    let placement = FakePlacement::start(&routes, some_topology(&[&node], [1, 1])).await;
    let router = router(&placement).await;
    (node, placement, router)
}

/// What reading x answers while the anchor says `state`, and how often it was read.
async fn read_while(state: TransactionState) -> (Value, usize) {
    let (node, _placement, router) = one_node(move |request| match step_of(request) {
        Some(wire::transact::Step::Inquire(_)) => says(state),
        Some(wire::transact::Step::Resolve(_)) => resolved(),
        Some(other) => panic!("a read never sends {other:?}"),
        None if is_read(request) => contested(),
        None => Verdict::status("queued"),
    })
    .await;
    let answer = router.submit(7, vec![prepared("GET x")]).await.pop().unwrap().unwrap();
    let [Outcome::Redis(value)] = answer.as_slice() else { panic!("{answer:?}") };
    (value.clone(), node.requests().iter().filter(|request| is_read(request)).count())
}

#[tokio::test]
async fn a_read_takes_what_lies_below_an_undecided_lock() {
    let below = Value::Simple("below".into());
    assert_eq!(read_while(TransactionState::Pending).await, (below.clone(), 1));
    assert_eq!(read_while(TransactionState::Aborted).await, (below.clone(), 1));
    // Where the anchor knows nothing, the same lock must be there a second time.
    assert_eq!(read_while(TransactionState::Absent).await, (below, 2));
}

#[tokio::test]
async fn a_read_that_meets_committed_locks_again_and_again_waits_in_the_queue() {
    assert_eq!(read_while(TransactionState::Committed).await, (Value::Simple("queued".into()), 3));
}

#[tokio::test]
async fn a_locked_request_ends_the_lock_and_keeps_its_place() {
    for (age_ms, state) in [(0, TransactionState::Committed), (3_000, TransactionState::Aborted)] {
        let locked = Arc::new(AtomicUsize::new(1));
        let (node, _placement, router) = one_node(move |request| match step_of(request) {
            Some(wire::transact::Step::Inquire(_)) if age_ms == 0 => says(state),
            Some(wire::transact::Step::Abort(wire::Abort { only_dead: true })) if age_ms > 0 => says(state),
            Some(wire::transact::Step::Resolve(resolve)) => {
                assert_eq!(resolve.committed_at.is_some(), state == TransactionState::Committed);
                assert_eq!(resolve.participants[0].prepared, Some(P.into()));
                locked.store(0, Ordering::Relaxed);
                resolved()
            }
            Some(other) => panic!("unexpected {other:?}"),
            None if request.targets[0].key == unit("x") && locked.load(Ordering::Relaxed) > 0 => {
                Verdict::Refuse(Refusal::Locked { locks: vec![lock(age_ms)] })
            }
            None => Verdict::status("OK"),
        })
        .await;
        let requests = ["SET a 1", "SET x 1", "SET b 1", "SET x 2"].map(prepared).into();
        let answers = router.submit(7, requests).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let execs = |request: &wire::Request| match &request.kind {
            Some(wire::request::Kind::Exec(exec)) => Some(exec.sequence),
            _ => None,
        };
        let sent: Vec<u64> = node.requests().iter().filter_map(execs).collect();
        assert_eq!(sent, [1, 2, 3, 4, 2, 3, 4], "what was refused together is sent again together");
    }
}

#[tokio::test]
async fn a_lock_of_the_living_is_waited_for_until_the_deadline() {
    let (_node, _placement, router) = one_node(|request| match step_of(request) {
        Some(_) => says(TransactionState::Pending),
        None => Verdict::Refuse(Refusal::Locked { locks: vec![lock(10_000)] }),
    })
    .await;
    let answer = router.submit(0, vec![prepared("SET x 1")]).await.pop().unwrap();
    assert_eq!(answer, Err(RouterError::Unavailable(super::Reason::Locked)));
}

#[tokio::test]
async fn steps_are_repeated_and_hold_their_sequence() {
    let mut refusals =
        vec![Refusal::Busy, Refusal::OutcomeUnknown, Refusal::NotExecuted(NotExecutedReason::Overloaded)];
    let (node, _placement, router) = one_node(move |request| match refusals.pop() {
        Some(refusal) => Verdict::Refuse(refusal),
        None if step_of(request).is_some() => says(TransactionState::Pending),
        None => Verdict::status("OK"),
    })
    .await;
    let transaction = router.begin_transaction(unit("a"));
    let status = router.ask_anchor(transaction.begin(&[unit("a"), unit("b")])).await.unwrap();
    assert_eq!(status.state, TransactionState::Pending);
    let sent = node.requests();
    assert!(sent.len() == 4 && sent.iter().all(|request| request.kind == sent[0].kind));
    // The groups may forget it when nobody can repeat a step any more, and not before.
    let finished = async |router: &Router| {
        router.submit(0, vec![prepared("SET a 1")]).await.pop().unwrap().unwrap();
        node.batches().pop().unwrap().answered_below
    };
    assert_eq!(finished(&router).await, 1);
    drop(transaction);
    assert!(finished(&router).await > 1);
}

#[tokio::test]
async fn refusals_that_a_coordinator_acts_on_are_not_repeated() {
    let ended = || match says(TransactionState::Aborted) {
        Verdict::Answer(wire::reply::Outcome::Transacted(wire::Transacted {
            answer: Some(wire::transacted::Answer::Status(status)),
        })) => Refusal::Ended(Box::new(status.try_into().unwrap())),
        _ => unreachable!(),
    };
    let mut refusals = vec![ended(), Refusal::Locked { locks: vec![lock(0)] }, Refusal::Conflict { unit: unit("x") }];
    let (node, _placement, router) = one_node(move |_| Verdict::Refuse(refusals.pop().unwrap())).await;
    let transaction = router.begin_transaction(unit("x"));
    for error in [RouterError::Conflict, RouterError::Locked, RouterError::Ended] {
        let prewrite = super::Prewrite { units: vec![unit("x")], ..Default::default() };
        assert_eq!(router.step(transaction.prewrite(prewrite)).await, Err(error));
    }
    assert_eq!(node.requests().len(), 3);
}
