//! Sets: good histories accepted, lost, doubled and invented elements planted and found.

#![allow(clippy::unwrap_used)]

use std::ops::RangeInclusive;

use checkers::history::Operation;
use checkers::set::{Action, SetOperation, Violation, check};
use generated::stretches;
use proptest::prelude::*;

mod generated;

type Op = SetOperation<u32>;

fn add(span: RangeInclusive<u64>, element: u32) -> Op {
    Operation::ok(0, span, Action::Add(element), Vec::new())
}

fn lost(called: u64, element: u32) -> Op {
    Operation::unknown(0, called.., Action::Add(element))
}

fn read(span: RangeInclusive<u64>, found: &[u32]) -> Op {
    Operation::ok(1, span, Action::Read, found.to_vec())
}

fn refuses(history: &[Op]) -> Violation {
    check(history).expect_err("a planted fault is found")
}

#[test]
fn additions_and_reads_one_after_the_other_are_accepted() {
    check(&[read(0..=1, &[]), add(2..=3, 1), read(4..=5, &[1]), add(6..=7, 2), read(8..=9, &[2, 1])]).unwrap();
    check::<u32>(&[]).unwrap();
}

#[test]
fn a_lost_element_is_found() {
    assert!(matches!(refuses(&[add(0..=1, 1), read(2..=3, &[])]), Violation::Lost { .. }));
    let seen = [lost(0, 1), read(2..=3, &[1]), read(4..=5, &[])];
    assert!(matches!(refuses(&seen), Violation::Lost { .. }), "what was seen once stays");
}

#[test]
fn reads_that_overlap_may_differ() {
    check(&[add(0..=9, 1), read(1..=5, &[1]), read(5..=8, &[])]).unwrap();
}

#[test]
fn a_doubled_element_is_found() {
    assert!(matches!(refuses(&[add(0..=1, 1), read(2..=3, &[1, 1])]), Violation::Doubled { .. }));
}

#[test]
fn an_invented_element_is_found() {
    assert!(matches!(refuses(&[read(0..=1, &[7])]), Violation::Invented { .. }));
    assert!(matches!(refuses(&[read(0..=1, &[1]), add(2..=3, 1)]), Violation::Invented { .. }), "too early");
    let failed = Operation::failed(0, 0..=1, Action::Add(1));
    assert!(matches!(refuses(&[failed, read(2..=3, &[1])]), Violation::Invented { .. }));
}

#[test]
fn an_addition_of_unknown_outcome_is_there_or_not() {
    check(&[lost(0, 1), read(2..=3, &[])]).unwrap();
    check(&[lost(0, 1), read(2..=3, &[]), read(4..=5, &[1])]).unwrap();
}

#[test]
fn an_element_added_twice_cannot_be_judged() {
    assert!(matches!(refuses(&[add(0..=1, 1), lost(0, 1)]), Violation::Reused { .. }));
}

proptest! {
    /// Whatever a set in memory answers is accepted; one element dropped from or put into the last read is not.
    #[test]
    fn what_a_set_does_is_accepted(
        stretches in stretches(4, 60),
        dice in prop::collection::vec((0u8..3, 0u8..6), 60),
    ) {
        let mut elements = Vec::new();
        let mut certain = None;
        let mut history: Vec<Op> = Vec::new();
        for (element, (stretch, (what, fate))) in (0u32..).zip(stretches.iter().zip(dice)) {
            let span = stretch.called..=stretch.answered;
            history.push(match (what, fate) {
                (0, _) => Operation::ok(stretch.process, span, Action::Read, elements.clone()),
                (_, 0) => Operation::unknown(stretch.process, stretch.called.., Action::Add(element)),
                (_, 1) => {
                    elements.push(element);
                    Operation::unknown(stretch.process, stretch.called.., Action::Add(element))
                }
                (_, 2) => Operation::failed(stretch.process, span, Action::Add(element)),
                _ => {
                    elements.push(element);
                    certain = Some(element);
                    Operation::ok(stretch.process, span, Action::Add(element), Vec::new())
                }
            });
        }
        let end = 1 + stretches.iter().map(|stretch| stretch.answered).max().unwrap_or(0);
        check(&history).unwrap();
        if let Some(certain) = certain {
            let without: Vec<u32> = elements.iter().copied().filter(|element| *element != certain).collect();
            let planted = [history.clone(), vec![read(end..=end, &without)]].concat();
            let found_lost = matches!(refuses(&planted), Violation::Lost { .. });
            prop_assert!(found_lost);
        }
        history.push(read(end..=end, &[elements, vec![u32::MAX]].concat()));
        let found_invented = matches!(refuses(&history), Violation::Invented { .. });
        prop_assert!(found_invented);
    }
}
