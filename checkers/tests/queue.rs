//! Queues: good histories accepted, lost, doubled, hidden, invented and reordered elements planted and found.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use checkers::history::Operation;
use checkers::queue::{Action, Order, QueueOperation, Violation, check};
use generated::stretches;
use proptest::prelude::*;

mod generated;

type Op = QueueOperation<u32>;

fn put(span: RangeInclusive<u64>, element: u32) -> Op {
    Operation::ok(0, span, Action::Put(element), None)
}

fn take(span: RangeInclusive<u64>, element: u32) -> Op {
    Operation::ok(1, span, Action::Take, Some(element))
}

fn empty(span: RangeInclusive<u64>) -> Op {
    Operation::ok(1, span, Action::Take, None)
}

fn unheard(called: u64) -> Op {
    Operation::unknown(2, called.., Action::Take)
}

fn accepts(history: &[Op]) {
    check(Order::PerProducer, history).unwrap();
}

fn refuses(history: &[Op]) -> Violation {
    check(Order::PerProducer, history).expect_err("a planted fault is found")
}

#[test]
fn one_after_the_other_is_accepted() {
    accepts(&[]);
    accepts(&[empty(0..=1), put(2..=3, 1), put(4..=5, 2), take(6..=7, 1), take(8..=9, 2), empty(10..=11)]);
}

#[test]
fn a_lost_element_is_found() {
    assert!(matches!(refuses(&[put(0..=1, 1), empty(2..=3)]), Violation::Lost { takers: 0, .. }));
    let one_of_two = [put(0..=1, 1), put(0..=1, 2), unheard(2), empty(3..=4)];
    assert!(matches!(refuses(&one_of_two), Violation::Lost { takers: 1, elements, .. } if elements.len() == 2));
    let too_late = [put(0..=1, 1), empty(2..=3), unheard(4)];
    assert!(matches!(refuses(&too_late), Violation::Lost { takers: 0, .. }));
}

#[test]
fn a_taker_of_unknown_outcome_accounts_for_one() {
    accepts(&[put(0..=1, 1), unheard(1), empty(2..=3)]);
    accepts(&[put(0..=1, 1), unheard(1), take(2..=3, 1)]);
}

#[test]
fn a_producer_of_unknown_outcome_owes_nothing() {
    let lost = Operation::unknown(0, 0.., Action::Put(1));
    accepts(&[lost.clone(), empty(2..=3)]);
    accepts(&[lost, empty(2..=3), take(4..=5, 1)]);
}

#[test]
fn a_hidden_element_is_found() {
    let history = [put(0..=1, 1), unheard(0), empty(2..=3), take(4..=5, 1)];
    assert!(matches!(refuses(&history), Violation::Hidden { .. }));
    accepts(&[put(0..=1, 1), empty(2..=5), take(4..=6, 1)]);
}

#[test]
fn a_doubled_element_is_found() {
    assert!(matches!(refuses(&[put(0..=1, 1), take(2..=3, 1), take(4..=5, 1)]), Violation::Doubled { .. }));
}

#[test]
fn an_invented_element_is_found() {
    assert!(matches!(refuses(&[take(0..=1, 1)]), Violation::Invented { .. }));
    assert!(matches!(refuses(&[take(0..=1, 1), put(2..=3, 1)]), Violation::Invented { .. }), "too early");
    let failed = Operation::failed(0, 0..=1, Action::Put(1));
    assert!(matches!(refuses(&[failed, take(2..=3, 1)]), Violation::Invented { .. }));
}

#[test]
fn elements_of_one_producer_that_change_places_are_found_where_that_is_forbidden() {
    let history = [put(0..=1, 1), put(2..=3, 2), take(4..=5, 2), take(6..=7, 1)];
    assert!(matches!(refuses(&history), Violation::Reordered { .. }));
    check(Order::Any, &history).unwrap();
    accepts(&[put(0..=1, 1), put(2..=3, 2), take(4..=6, 2), take(6..=7, 1)]);
    let other_producer = Operation::ok(7, 2..=3, Action::Put(2), None);
    accepts(&[put(0..=1, 1), other_producer, take(4..=5, 2), take(6..=7, 1)]);
}

#[test]
fn an_element_put_in_twice_cannot_be_judged() {
    assert!(matches!(refuses(&[put(0..=1, 1), put(2..=3, 1)]), Violation::Reused { .. }));
}

proptest! {
    /// Whatever a queue in memory answers is accepted, whichever answers get lost.
    #[test]
    fn what_a_queue_does_is_accepted(
        stretches in stretches(4, 60),
        dice in prop::collection::vec((any::<bool>(), 0u8..6), 60),
    ) {
        let mut queue = VecDeque::new();
        let mut history: Vec<Op> = Vec::new();
        for (element, (stretch, (puts, fate))) in (0u32..).zip(stretches.iter().zip(dice)) {
            let action = if puts { Action::Put(element) } else { Action::Take };
            let mut answer = None;
            if fate != 0 && puts {
                queue.push_back(element);
            } else if fate != 0 {
                answer = queue.pop_front();
            }
            history.push(match fate {
                0 | 1 => Operation::unknown(stretch.process, stretch.called.., action),
                _ => Operation::ok(stretch.process, stretch.called..=stretch.answered, action, answer),
            });
        }
        let end = 1 + stretches.iter().map(|stretch| stretch.answered).max().unwrap_or(0);
        for (later, element) in (0u64..).zip(queue) {
            history.push(take(end + 2 * later..=end + 2 * later + 1, element));
        }
        history.push(empty(end + 1000..=end + 1001));
        check(Order::PerProducer, &history).unwrap();
    }
}
