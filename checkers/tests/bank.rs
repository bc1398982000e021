//! Banks: good histories accepted, each way to lose or make money planted and found.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use checkers::bank::{Action, Bank, BankOperation, Violation, check};
use checkers::history::Operation;
use generated::stretches;
use proptest::prelude::*;

mod generated;

type Op = BankOperation<&'static str>;

const ACCOUNTS: [&str; 3] = ["a", "b", "c"];

/// Ten in each of three accounts.
fn bank() -> Bank<&'static str> {
    Bank { initial: ACCOUNTS.map(|account| (account, 10)).into(), overdraft: false }
}

fn move_(from: &'static str, to: &'static str, amount: i64) -> Action<&'static str> {
    Action::Transfer { from, to, amount }
}

fn transfer(span: RangeInclusive<u64>, from: &'static str, to: &'static str, amount: i64) -> Op {
    Operation::ok(0, span, move_(from, to, amount), BTreeMap::new())
}

fn read(span: RangeInclusive<u64>, balances: [i64; 3]) -> Op {
    Operation::ok(1, span, Action::Read, ACCOUNTS.into_iter().zip(balances).collect())
}

fn lost(called: u64, from: &'static str, to: &'static str, amount: i64) -> Op {
    Operation::unknown(0, called.., move_(from, to, amount))
}

fn refuses(history: &[Op]) -> Violation {
    check(&bank(), history).expect_err("a planted fault is found")
}

#[test]
fn transfers_and_reads_one_after_the_other_are_accepted() {
    let history = [
        read(0..=1, [10, 10, 10]),
        transfer(2..=3, "a", "b", 4),
        read(4..=5, [6, 14, 10]),
        Operation::ok(0, 6..=7, move_("b", "c", 1), [("b", 13), ("c", 11)].into()),
        transfer(8..=9, "a", "a", 5),
        read(10..=11, [6, 13, 11]),
    ];
    check(&bank(), &history).unwrap();
}

#[test]
fn a_total_that_nobody_put_in_is_found() {
    let history = [transfer(0..=9, "a", "b", 4), read(5..=6, [6, 10, 10])];
    assert!(matches!(refuses(&history), Violation::Total { expected: 30, found: 26, .. }), "half of a transfer");
}

#[test]
fn an_overdrawn_account_is_found_where_that_is_forbidden() {
    let history = [transfer(0..=1, "a", "b", 11), read(2..=3, [-1, 21, 10])];
    assert!(matches!(refuses(&history), Violation::Overdrawn { account, .. } if account.contains('a')));
    check(&Bank { overdraft: true, ..bank() }, &history).unwrap();
}

#[test]
fn a_lost_transfer_is_found_although_the_total_is_right() {
    let history = [transfer(0..=1, "a", "b", 4), read(2..=3, [10, 10, 10])];
    assert!(matches!(refuses(&history), Violation::Balance { found: 10, lowest: 6, highest: 6, .. }));
}

#[test]
fn a_transfer_executed_twice_is_found_although_the_total_is_right() {
    for doubled in [transfer(0..=1, "a", "b", 4), lost(0, "a", "b", 4)] {
        assert!(matches!(refuses(&[doubled, read(2..=3, [2, 18, 10])]), Violation::Balance { .. }));
    }
}

#[test]
fn a_failed_or_later_transfer_is_in_no_read() {
    let failed = Operation::failed(0, 0..=1, move_("a", "b", 4));
    assert!(matches!(refuses(&[failed, read(2..=3, [6, 14, 10])]), Violation::Balance { .. }));
    let later = transfer(4..=5, "a", "b", 4);
    assert!(matches!(refuses(&[later, read(2..=3, [6, 14, 10])]), Violation::Balance { .. }));
}

#[test]
fn a_transfer_of_unknown_outcome_is_there_or_not() {
    for balances in [[6, 14, 10], [10, 10, 10]] {
        check(&bank(), &[lost(0, "a", "b", 4), read(2..=3, balances)]).unwrap();
        check(&bank(), &[transfer(1..=5, "a", "b", 4), read(2..=3, balances)]).unwrap();
    }
}

#[test]
fn an_answer_of_a_transfer_is_read_too() {
    let wrong = Operation::ok(0, 0..=1, move_("a", "b", 4), [("a", 10)].into());
    assert!(matches!(refuses(&[wrong]), Violation::Balance { found: 10, lowest: 6, highest: 6, .. }));
}

#[test]
fn a_missing_and_an_unknown_account_are_found() {
    let silent: Op = Operation::ok(1, 0..=1, Action::Read, [("a", 10), ("b", 20)].into());
    assert!(matches!(refuses(&[silent]), Violation::Accounts { account, .. } if account.contains('c')));
    let more: Op = Operation::ok(1, 0..=1, Action::Read, [("a", 10), ("b", 10), ("c", 0), ("z", 10)].into());
    assert!(matches!(refuses(&[more]), Violation::Accounts { account, .. } if account.contains('z')));
}

proptest! {
    /// Whatever a bank in memory answers is accepted, whoever overlaps and whichever answers get lost.
    #[test]
    fn what_a_bank_does_is_accepted(
        stretches in stretches(4, 60),
        dice in prop::collection::vec((0u8..4, 0usize..3, 0usize..3, 0i64..9, 0u8..6), 60),
    ) {
        let mut balances = bank().initial;
        let history: Vec<Op> = stretches
            .iter()
            .zip(dice)
            .map(|(stretch, (what, from, to, amount, fate))| {
                let span = stretch.called..=stretch.answered;
                if what == 0 {
                    return Operation::ok(stretch.process, span, Action::Read, balances.clone());
                }
                let (from, to) = (ACCOUNTS[from], ACCOUNTS[to]);
                let action = move_(from, to, amount);
                if balances[from] < amount {
                    return Operation::failed(stretch.process, span, action);
                }
                if fate == 0 {
                    return Operation::unknown(stretch.process, stretch.called.., action);
                }
                *balances.get_mut(from).unwrap() -= amount;
                *balances.get_mut(to).unwrap() += amount;
                if fate == 1 {
                    return Operation::unknown(stretch.process, stretch.called.., action);
                }
                let answer = [from, to].map(|account| (account, balances[account])).into();
                Operation::ok(stretch.process, span, action, answer)
            })
            .collect();
        check(&bank(), &history).unwrap();
    }
}
