//! Transactions: each anomaly planted and found by name, good histories accepted, and good histories made bad.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use checkers::history::{Operation, Outcome};
use checkers::serializable::AnomalyKind::{self, Circle, RealTimeCircle};
use checkers::serializable::{Phenomenon, Reason, Step, Transaction, Violation, check};
use generated::{Stretch, stretches};
use proptest::prelude::*;

mod generated;

type Txn = Transaction<&'static str, u32>;

fn append(key: &'static str, value: u32) -> Step<&'static str, u32> {
    Step::Append(key, value)
}

fn read(key: &'static str, list: &[u32]) -> Step<&'static str, u32> {
    Step::Read(key, Some(list.to_vec()))
}

fn ok(span: RangeInclusive<u64>, steps: &[Step<&'static str, u32>]) -> Txn {
    Operation::ok(0, span, steps.to_vec(), ())
}

/// One that overlaps with everything.
fn long(steps: &[Step<&'static str, u32>]) -> Txn {
    ok(0..=1000, steps)
}

fn lost(called: u64, steps: &[Step<&'static str, u32>]) -> Txn {
    Operation::unknown(0, called.., steps.to_vec())
}

#[track_caller]
fn refuses(history: &[Txn], kind: AnomalyKind) -> Violation {
    let violation = check(history).expect_err("a planted anomaly is found");
    assert!(violation.has(kind), "no {} in {violation}", kind.name());
    violation
}

/// The one circle has these edges, from whichever it begins.
#[track_caller]
fn refuses_for(history: &[Txn], kind: AnomalyKind, reasons: &[Reason]) {
    let violation = refuses(history, kind);
    assert_eq!(violation.anomalies.len(), 1, "{violation}");
    let links = &violation.anomalies[0].links;
    let mut found: Vec<Reason> = links.iter().map(|link| link.reason).collect();
    for pair in links.windows(2) {
        assert_eq!(pair[0].to, pair[1].from, "{violation}");
    }
    assert_eq!(links.last().unwrap().to, links[0].from, "{violation}");
    let fits = (0..found.len()).any(|_| {
        found.rotate_left(1);
        found == reasons
    });
    assert!(fits, "{reasons:?} is not the circle of {violation}");
}

#[test]
fn serial_transactions_are_accepted() {
    check::<u32, u32>(&[]).unwrap();
    check(&[
        ok(0..=1, &[append("x", 1), read("x", &[1]), append("x", 2)]),
        ok(2..=3, &[read("x", &[1, 2]), append("y", 3), append("x", 4), read("x", &[1, 2, 4])]),
        ok(4..=5, &[read("y", &[3]), read("z", &[]), read("x", &[1, 2, 4]), read("y", &[3])]),
    ])
    .unwrap();
}

#[test]
fn g0_dirty_writes() {
    let history = [
        long(&[append("x", 1), append("y", 1)]),
        long(&[append("x", 2), append("y", 2)]),
        long(&[read("x", &[1, 2]), read("y", &[2, 1])]),
    ];
    refuses_for(&history, Circle(Phenomenon::G0), &[Reason::Ww, Reason::Ww]);
}

#[test]
fn g0_between_two_appends_of_one_transaction() {
    let history = [long(&[append("x", 1), append("x", 3)]), long(&[append("x", 2)]), long(&[read("x", &[1, 2, 3])])];
    refuses_for(&history, Circle(Phenomenon::G0), &[Reason::Ww, Reason::Ww]);
}

#[test]
fn g1a_aborted_read() {
    let history = [Operation::failed(0, 0..=9, vec![append("x", 1)]), long(&[read("x", &[1])])];
    refuses(&history, AnomalyKind::AbortedRead);
}

#[test]
fn g1b_intermediate_read() {
    let writer = long(&[append("x", 1), append("x", 2)]);
    refuses(&[writer.clone(), long(&[read("x", &[1])])], AnomalyKind::IntermediateRead);
    refuses(&[writer, long(&[append("x", 3), read("x", &[1, 3])])], AnomalyKind::IntermediateRead);
}

#[test]
fn g1c_circular_information_flow() {
    let history = [long(&[append("x", 1), read("y", &[2])]), long(&[append("y", 2), read("x", &[1])])];
    refuses_for(&history, Circle(Phenomenon::G1c), &[Reason::Wr, Reason::Wr]);
}

#[test]
fn g_single_lost_update() {
    let history =
        [long(&[read("x", &[]), append("x", 1)]), long(&[read("x", &[]), append("x", 2)]), long(&[read("x", &[1, 2])])];
    refuses_for(&history, Circle(Phenomenon::GSingle), &[Reason::Rw, Reason::Ww]);
}

#[test]
fn g_single_read_skew() {
    let history = [long(&[append("x", 1), append("y", 1)]), long(&[read("x", &[1]), read("y", &[])])];
    refuses_for(&history, Circle(Phenomenon::GSingle), &[Reason::Rw, Reason::Wr]);
}

#[test]
fn g2_write_skew() {
    let history =
        [long(&[read("y", &[]), append("x", 1)]), long(&[read("x", &[]), append("y", 2)]), long(&[read("x", &[1])])];
    refuses_for(&history, Circle(Phenomenon::G2), &[Reason::Rw, Reason::Rw]);
}

#[test]
fn g2_long_fork() {
    let history = [
        long(&[append("x", 1)]),
        long(&[append("y", 2)]),
        long(&[read("x", &[1]), read("y", &[])]),
        long(&[read("x", &[]), read("y", &[2])]),
    ];
    refuses_for(&history, Circle(Phenomenon::G2), &[Reason::Rw, Reason::Wr, Reason::Rw, Reason::Wr]);
}

#[test]
fn g2_of_appends_that_nobody_read() {
    let history = [long(&[read("x", &[]), append("x", 1)]), long(&[read("x", &[]), append("x", 2)])];
    refuses_for(&history, Circle(Phenomenon::G2), &[Reason::Rw, Reason::Rw]);
    // One alone comes before nobody.
    check(&history[..1]).unwrap();
}

#[test]
fn g0_realtime_appends_in_the_wrong_order() {
    let history = [ok(0..=1, &[append("x", 1)]), ok(2..=3, &[append("x", 2)]), long(&[read("x", &[2, 1])])];
    refuses_for(&history, RealTimeCircle(Phenomenon::G0), &[Reason::Ww, Reason::RealTime]);
}

#[test]
fn g1c_realtime_read_from_the_future() {
    let history = [ok(0..=1, &[read("x", &[1])]), ok(2..=3, &[append("x", 1)])];
    refuses_for(&history, RealTimeCircle(Phenomenon::G1c), &[Reason::Wr, Reason::RealTime]);
}

#[test]
fn g_single_realtime_stale_read() {
    let history = [ok(0..=1, &[append("x", 1)]), long(&[read("x", &[1])]), ok(2..=3, &[read("x", &[])])];
    refuses_for(&history, RealTimeCircle(Phenomenon::GSingle), &[Reason::Rw, Reason::RealTime]);
    // At the same instant they overlap.
    check(&[ok(0..=2, &[append("x", 1)]), long(&[read("x", &[1])]), ok(2..=3, &[read("x", &[])])]).unwrap();
}

#[test]
fn g2_realtime_fork_that_only_the_clock_shows() {
    let history = [
        long(&[append("x", 1)]),
        ok(1..=2, &[append("y", 2)]),
        long(&[read("x", &[1]), read("y", &[])]),
        ok(5..=6, &[read("x", &[])]),
        ok(7..=1000, &[read("y", &[2])]),
    ];
    refuses_for(&history, RealTimeCircle(Phenomenon::G2), &[Reason::Rw, Reason::RealTime, Reason::Rw, Reason::Wr]);
}

#[test]
fn internal_own_append_not_seen() {
    refuses(&[long(&[append("x", 1), read("x", &[])])], AnomalyKind::Internal);
    refuses(&[long(&[read("x", &[1]), append("x", 1)])], AnomalyKind::Internal);
}

#[test]
fn internal_two_states_in_one_transaction() {
    let writers = [ok(0..=1, &[append("x", 1)]), long(&[append("x", 2)])];
    let reader = ok(2..=3, &[read("x", &[1]), read("x", &[1, 2])]);
    refuses(&[&writers[..], &[reader]].concat(), AnomalyKind::Internal);
}

#[test]
fn incompatible_order() {
    let writers = [long(&[append("x", 1)]), long(&[append("x", 2)])];
    let readers = [long(&[read("x", &[1, 2])]), long(&[read("x", &[2, 1])])];
    refuses(&[writers, readers].concat(), AnomalyKind::IncompatibleOrder);
}

#[test]
fn duplicate_element() {
    refuses(&[long(&[append("x", 1)]), long(&[read("x", &[1, 1])])], AnomalyKind::Duplicate);
}

#[test]
fn invented_element() {
    refuses(&[long(&[append("x", 1)]), long(&[read("x", &[1, 7])])], AnomalyKind::Invented);
    // The value exists, but at another key.
    refuses(&[long(&[append("x", 1)]), long(&[read("y", &[1])])], AnomalyKind::Invented);
}

#[test]
fn lost_append() {
    let history = [ok(0..=1, &[append("x", 1)]), ok(0..=1, &[append("x", 2)]), ok(2..=3, &[read("x", &[2])])];
    refuses(&history, AnomalyKind::LostAppend);
    // Nobody has looked since.
    check(&[ok(2..=3, &[append("x", 1)]), ok(0..=1, &[read("x", &[])])]).unwrap();
}

#[test]
fn torn_appends() {
    let writer = long(&[append("x", 1), append("x", 2)]);
    refuses(&[writer.clone(), long(&[read("x", &[2, 1])])], AnomalyKind::TornAppends);
    refuses(&[writer, long(&[read("x", &[2])])], AnomalyKind::TornAppends);
}

#[test]
fn reused_value() {
    refuses(&[long(&[append("x", 1)]), long(&[append("x", 1)])], AnomalyKind::ReusedValue);
}

#[test]
fn unknown_outcomes_may_have_happened_or_not() {
    let unknown = lost(0, &[append("x", 1), append("y", 1)]);
    check(&[unknown.clone(), ok(5..=6, &[read("x", &[]), read("y", &[])])]).unwrap();
    check(&[unknown.clone(), ok(5..=6, &[read("x", &[1]), read("y", &[1])])]).unwrap();
    // Late, but whole.
    check(&[unknown.clone(), ok(5..=6, &[read("x", &[])]), ok(7..=8, &[read("x", &[1])])]).unwrap();
    let half = [unknown.clone(), ok(5..=6, &[read("x", &[1]), read("y", &[])])];
    refuses_for(&half, Circle(Phenomenon::GSingle), &[Reason::Rw, Reason::Wr]);
    let gone_again = [unknown, ok(5..=6, &[read("x", &[1])]), ok(7..=8, &[read("x", &[])])];
    let reasons = [Reason::Rw, Reason::Wr, Reason::RealTime];
    refuses_for(&gone_again, RealTimeCircle(Phenomenon::GSingle), &reasons);
}

#[test]
fn an_unknown_outcome_does_not_happen_before_it_was_asked_for() {
    let history = [lost(5, &[append("x", 1)]), ok(0..=1, &[read("x", &[1])])];
    refuses_for(&history, RealTimeCircle(Phenomenon::G1c), &[Reason::Wr, Reason::RealTime]);
}

#[test]
fn an_explanation_names_the_transactions() {
    let history = [ok(0..=1, &[append("x", 1)]), long(&[read("x", &[1])]), ok(2..=3, &[read("x", &[])])];
    let text = check(&history).unwrap_err().to_string();
    for line in [
        "G-single-realtime: each of these must come before the next",
        "T2 before T0 (rw): T2 read \"x\" without the 1 of T0",
        "T0 before T2 (real time): it was over when T2 began",
        "T0: process 0, 0..=1: append 1 to \"x\" -> ok",
        "T2: process 0, 2..=3: read \"x\": [] -> ok",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

/// What a step asks: a key, and whether to append.
type Ask = (u8, bool);

/// A history of transactions that took effect one after the other at their moments. Fate 0 fails, 1 is lost after it took
/// effect, 2 before.
fn play(steps: &[(Stretch, Vec<Ask>, u8)]) -> Vec<Transaction<u8, u32>> {
    let mut store: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
    let mut fresh = 0;
    let mut history = Vec::new();
    for (Stretch { process, called, answered, .. }, asks, fate) in steps {
        let mut after = store.clone();
        let steps = asks.iter().map(|(key, appends)| {
            let list = after.entry(*key).or_default();
            if *appends {
                fresh += 1;
                list.push(fresh);
                Step::Append(*key, fresh)
            } else {
                Step::Read(*key, (*fate > 2).then(|| list.clone()))
            }
        });
        let steps: Vec<_> = steps.collect();
        if !matches!(fate, 0 | 2) {
            store = after;
        }
        history.push(match fate {
            0 => Operation::failed(*process, *called..=*answered, steps),
            1 | 2 => Operation::unknown(*process, *called.., steps),
            _ => Operation::ok(*process, *called..=*answered, steps, ()),
        });
    }
    history
}

fn any_history() -> impl Strategy<Value = Vec<Transaction<u8, u32>>> {
    let asks = prop::collection::vec((0u8..5, any::<bool>()), 1..5);
    (stretches(6, 100), prop::collection::vec((asks, 0u8..20), 100)).prop_map(|(stretches, asks)| {
        let steps = stretches.into_iter().zip(asks).map(|(stretch, (asks, fate))| (stretch, asks, fate));
        play(&steps.collect::<Vec<_>>())
    })
}

/// The lists read by transactions that read the key once and do not append to it: (transaction, step, key, list).
fn plain_reads(history: &[Transaction<u8, u32>]) -> Vec<(usize, usize, u8, Vec<u32>)> {
    let mut reads = Vec::new();
    for (number, transaction) in history.iter().enumerate().filter(|(_, txn)| txn.answer().is_some()) {
        for (place, step) in transaction.action().iter().enumerate() {
            let Step::Read(key, Some(list)) = step else { continue };
            let of_key = |step: &&Step<u8, u32>| matches!(step, Step::Append(k, _) | Step::Read(k, _) if k == key);
            if transaction.action().iter().filter(of_key).count() == 1 {
                reads.push((number, place, *key, list.clone()));
            }
        }
    }
    reads
}

fn writer(history: &[Transaction<u8, u32>], key: u8, value: u32) -> &Transaction<u8, u32> {
    history.iter().find(|txn| txn.action().contains(&Step::Append(key, value))).unwrap()
}

fn with_read(history: &mut [Transaction<u8, u32>], number: usize, place: usize, list: Vec<u32>) {
    let txn = &history[number];
    let mut steps = txn.action().clone();
    let Step::Read(_, read) = &mut steps[place] else { panic!("step {place} is no read") };
    *read = Some(list);
    history[number] = Operation::ok(txn.process(), txn.invoked()..=txn.completed().unwrap(), steps, ());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_global_rejects: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn good_histories_are_accepted(history in any_history()) {
        prop_assert_eq!(check(&history), Ok(()));
    }

    #[test]
    fn stale_reads_are_refused(mut history in any_history(), which in any::<prop::sample::Index>()) {
        let mut reads = plain_reads(&history);
        reads.retain(|(number, _, key, list)| {
            list.last().is_some_and(|value| writer(&history, *key, *value).precedes(&history[*number]))
        });
        prop_assume!(!reads.is_empty());
        let (number, place, _, mut list) = which.get(&reads).clone();
        list.pop();
        with_read(&mut history, number, place, list);
        prop_assert!(check(&history).is_err());
    }

    #[test]
    fn lost_updates_are_refused(mut history in any_history(), which in any::<prop::sample::Index>()) {
        let reads = plain_reads(&history);
        let mut lost: Vec<(u8, u32)> = reads.iter().flat_map(|(number, _, key, list)| {
            let (history, reads) = (&history, &reads);
            list.iter().filter(move |value| {
                let writer = writer(history, *key, **value);
                let only_here = |txn: &Transaction<u8, u32>| txn.action().iter().filter(|step| matches!(step, Step::Read(k, _) if k == key)).count() == 0;
                let read_plainly = history.iter().enumerate().all(|(n, txn)| {
                    txn.answer().is_none() || only_here(txn) || reads.iter().any(|(number, _, k, _)| *number == n && k == key)
                });
                writer.precedes(&history[*number]) && only_here(writer) && read_plainly
            }).map(|value| (*key, *value))
        }).collect();
        lost.dedup();
        prop_assume!(!lost.is_empty());
        let (key, value) = *which.get(&lost);
        for (number, place, _, mut list) in reads.into_iter().filter(|read| read.2 == key) {
            list.retain(|other| *other != value);
            with_read(&mut history, number, place, list);
        }
        let violation = check(&history).unwrap_err();
        prop_assert!(violation.has(AnomalyKind::LostAppend), "{}", violation);
    }

    #[test]
    fn swapped_orders_are_refused(mut history in any_history(), which in any::<prop::sample::Index>()) {
        let reads = plain_reads(&history);
        let long: Vec<_> = reads.iter().filter(|(number, _, key, list)| {
            list.len() > 1 && reads.iter().any(|(other, _, k, l)| other != number && k == key && l.len() >= list.len())
        }).collect();
        prop_assume!(!long.is_empty());
        let (number, place, _, mut list) = (*which.get(&long)).clone();
        let last = list.len() - 1;
        list.swap(last - 1, last);
        with_read(&mut history, number, place, list);
        let violation = check(&history).unwrap_err();
        prop_assert!(violation.has(AnomalyKind::IncompatibleOrder), "{}", violation);
    }

    #[test]
    fn duplicates_are_refused(mut history in any_history(), which in any::<prop::sample::Index>()) {
        let mut reads = plain_reads(&history);
        reads.retain(|read| !read.3.is_empty());
        prop_assume!(!reads.is_empty());
        let (number, place, _, mut list) = which.get(&reads).clone();
        list.push(list[0]);
        with_read(&mut history, number, place, list);
        let violation = check(&history).unwrap_err();
        prop_assert!(violation.has(AnomalyKind::Duplicate), "{}", violation);
    }

    /// An acknowledged transaction that the store rolled back after somebody saw it.
    #[test]
    fn failed_transactions_that_were_seen_are_refused(mut history in any_history(), which in any::<prop::sample::Index>()) {
        let seen: Vec<usize> = plain_reads(&history).into_iter().flat_map(|(_, _, key, list)| {
            let history = &history;
            list.into_iter().map(move |value| history.iter().position(|txn| txn.action().contains(&Step::Append(key, value))).unwrap())
        }).filter(|number| *history[*number].outcome() == Outcome::Ok(())).collect();
        prop_assume!(!seen.is_empty());
        let number = *which.get(&seen);
        let txn = &history[number];
        history[number] = Operation::failed(txn.process(), txn.invoked()..=txn.completed().unwrap(), txn.action().clone());
        let violation = check(&history).unwrap_err();
        prop_assert!(violation.has(AnomalyKind::AbortedRead), "{}", violation);
    }
}

/// Every serial order of these transactions, tried one by one, each as soon as it may come.
fn serial(store: &BTreeMap<u8, Vec<u32>>, left: &[&Transaction<u8, u32>]) -> bool {
    (left.is_empty())
        || (0..left.len()).any(|index| {
            let mut rest = left.to_vec();
            let txn = rest.remove(index);
            if rest.iter().any(|other| other.precedes(txn)) {
                return false;
            }
            let mut store = store.clone();
            let fits = txn.action().iter().all(|step| match step {
                Step::Append(key, value) => {
                    store.entry(*key).or_default().push(*value);
                    true
                }
                Step::Read(key, list) => list.as_ref().is_none_or(|list| store.entry(*key).or_default() == list),
            });
            fits && serial(&store, &rest)
        })
}

/// With each choice of the transactions of unknown outcome.
fn is_serializable(history: &[Transaction<u8, u32>]) -> bool {
    let (ok, unknown): (Vec<_>, Vec<_>) =
        history.iter().filter(|txn| *txn.outcome() != Outcome::Failed).partition(|txn| txn.answer().is_some());
    (0..1 << unknown.len()).any(|choice: u32| {
        let chosen = unknown.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1).map(|(_, txn)| *txn);
        serial(&BTreeMap::new(), &chosen.chain(ok.iter().copied()).collect::<Vec<_>>())
    })
}

/// Up to five transactions that read any beginning of the lists, and their own appends behind it.
fn any_short_history() -> impl Strategy<Value = Vec<Transaction<u8, u32>>> {
    let asks = prop::collection::vec((0u8..2, any::<bool>(), 0usize..5), 1..4);
    let txn = (asks, 0u64..10, 0u64..8, 0u8..10);
    (prop::collection::vec(txn, 1..6), any::<u64>()).prop_map(|(txns, seed)| {
        let appends =
            txns.iter().map(|(asks, ..)| asks.iter().filter(|(_, appends, _)| *appends).count()).sum::<usize>();
        let mut dice = generated::Dice(seed);
        let mut order: Vec<u32> = (1..=appends as u32).collect();
        if dice.roll(3) > 0 {
            (1..order.len()).for_each(|at| order.swap(at, dice.roll(at as u64 + 1) as usize));
        }
        let mut fresh = 0;
        let mut key_of = BTreeMap::new();
        for (key, appends, _) in txns.iter().flat_map(|(asks, ..)| asks) {
            if *appends {
                fresh += 1;
                key_of.insert(fresh, *key);
            }
        }
        fresh = 0;
        let played = txns.into_iter().map(|(asks, called, length, fate)| {
            let first_own = fresh + 1;
            let mut steps = Vec::new();
            for (key, appends, depth) in asks {
                if appends {
                    fresh += 1;
                    steps.push(Step::Append(key, fresh));
                    continue;
                }
                let of_key = order.iter().copied().filter(|value| key_of[value] == key);
                let mut list: Vec<u32> = of_key
                    .filter(|value| *value < first_own || dice.roll(9) == 0 || *value > fresh)
                    .take(depth)
                    .collect();
                list.extend((first_own..=fresh).filter(|value| key_of[value] == key));
                steps.push(Step::Read(key, (fate > 1).then_some(list)));
            }
            match fate {
                0 => Operation::failed(0, called..=called + length, steps),
                1 => Operation::unknown(0, called.., steps),
                _ => Operation::ok(0, called..=called + length, steps, ()),
            }
        });
        played.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_verdict_agrees_with_trying_everything(history in any_short_history()) {
        let verdict = check(&history);
        prop_assert_eq!(verdict.is_ok(), is_serializable(&history), "{:?}", verdict);
    }
}
