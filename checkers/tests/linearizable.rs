//! Objects one by one: what must be refused, what must be accepted, and the search compared with trying everything.

#![allow(clippy::unwrap_used)]

use checkers::history::{Operation, Outcome};
use checkers::linearizable::counter::{self, Counter, CounterOperation};
use checkers::linearizable::register::{Action, Answer, Register, RegisterOperation};
use checkers::linearizable::{Model, Refusal, by_key, check, check_each, check_register, check_within};
use generated::{Stretch, stretches};
use proptest::prelude::*;

mod generated;

type Op = RegisterOperation<u64>;

fn write(span: std::ops::RangeInclusive<u64>, value: u64) -> Op {
    Operation::ok(0, span, Action::Write(value), Answer::Done)
}

fn read(span: std::ops::RangeInclusive<u64>, value: u64) -> Op {
    Operation::ok(1, span, Action::Read, Answer::Value(value))
}

fn cas(span: std::ops::RangeInclusive<u64>, expected: u64, new: u64, swapped: bool) -> Op {
    Operation::ok(2, span, Action::Cas { expected, new }, Answer::Swapped(swapped))
}

fn lost(called: u64, value: u64) -> Op {
    Operation::unknown(3, called.., Action::Write(value))
}

fn add(span: std::ops::RangeInclusive<u64>, amount: i64, sum: i64) -> CounterOperation {
    Operation::ok(0, span, counter::Action::Add(amount), sum)
}

const REGISTER: Register<u64> = Register { initial: 0 };
const COUNTER: Counter = Counter { initial: 0 };

/// Both ways of judging a register, which must agree.
#[track_caller]
fn accepts(history: &[Op]) {
    check(&REGISTER, history).unwrap();
    check_register(&0, history).unwrap();
}

/// The explanation of the search and of the quicker judge; both must name this.
#[track_caller]
fn refuses(history: &[Op], named: &str) {
    for verdict in [check(&REGISTER, history), check_register(&0, history)] {
        let Err(Refusal::Violation(violation)) = verdict else { panic!("not refused: {verdict:?}") };
        assert!(violation.to_string().contains(named), "{violation} does not name {named}");
    }
}

#[test]
fn one_after_the_other() {
    accepts(&[]);
    accepts(&[read(0..=1, 0), write(2..=3, 7), read(4..=5, 7), cas(6..=7, 7, 8, true), cas(8..=9, 7, 9, false)]);
    check(&COUNTER, &[add(0..=1, 2, 2), add(2..=3, -3, -1)]).unwrap();
}

#[test]
fn a_stale_read_is_refused() {
    refuses(&[write(0..=1, 7), read(2..=3, 0)], "2..=3: Read -> Value(0)");
    refuses(&[write(0..=1, 7), write(2..=3, 8), read(4..=5, 8), read(6..=7, 7)], "6..=7: Read -> Value(7)");
}

#[test]
fn a_lost_acknowledged_write_is_refused() {
    refuses(&[write(0..=1, 7), write(2..=3, 8), read(4..=5, 7)], "Value(7)");
}

#[test]
fn a_value_that_nobody_wrote_is_refused() {
    refuses(&[write(0..=1, 1), read(0..=9, 3)], "Value(3)");
    refuses(&[Operation::failed(0, 0..=1, Action::Write(3)), read(2..=3, 3)], "Value(3)");
}

#[test]
fn a_read_before_the_write_is_refused() {
    refuses(&[read(0..=1, 5), write(2..=3, 5)], "0..=1: Read -> Value(5)");
    refuses(&[read(0..=1, 5), lost(2, 5)], "0..=1: Read -> Value(5)");
}

#[test]
fn a_value_that_goes_back_is_refused() {
    // Two readers see a write that is still under way; the later one must not see the older value.
    refuses(&[write(0..=10, 1), read(2..=3, 1), read(4..=5, 0)], "Value(0)");
    accepts(&[write(0..=10, 1), read(2..=3, 0), read(4..=5, 1)]);
}

#[test]
fn overlapping_writes_may_end_in_either_order_but_not_in_both() {
    let writes = [write(0..=10, 1), write(0..=10, 2)];
    for last in [1, 2] {
        accepts(&[&writes[..], &[read(11..=12, last), read(13..=14, last)]].concat());
    }
    refuses(&[&writes[..], &[read(11..=12, 1), read(13..=14, 2)]].concat(), "Value(");
}

#[test]
fn operations_that_share_an_instant_overlap() {
    accepts(&[write(0..=5, 1), read(5..=6, 0)]);
    refuses(&[write(0..=4, 1), read(5..=6, 0)], "Value(0)");
}

#[test]
fn a_write_of_unknown_outcome_happens_late_or_never_but_not_early_and_only_once() {
    accepts(&[lost(0, 5), read(10..=11, 0), read(12..=13, 5)]);
    accepts(&[lost(0, 5), read(10..=11, 0)]);
    refuses(&[lost(0, 5), read(1..=2, 5), write(3..=4, 6), read(5..=6, 5)], "5..=6: Read -> Value(5)");
}

#[test]
fn a_failed_write_never_happened() {
    accepts(&[Operation::failed(0, 0..=1, Action::Write(3)), read(2..=3, 0)]);
}

#[test]
fn two_swaps_from_one_value_are_refused() {
    refuses(&[cas(0..=9, 0, 1, true), cas(0..=9, 0, 2, true)], "Swapped(true)");
    accepts(&[cas(0..=9, 0, 1, true), cas(0..=9, 1, 0, true), cas(0..=9, 0, 2, true)]);
}

#[test]
fn a_swap_refused_without_a_reason_is_refused() {
    refuses(&[write(0..=1, 4), cas(2..=3, 4, 5, false)], "Swapped(false)");
    // Somebody's lost write may be the reason, though nobody reads its value.
    accepts(&[lost(0, 9), write(0..=1, 4), cas(2..=3, 4, 5, false)]);
}

#[test]
fn a_lost_swap_needs_its_value() {
    let swap = Operation::unknown(3, 0.., Action::Cas { expected: 1, new: 2 });
    refuses(&[swap.clone(), read(5..=6, 2)], "Value(2)");
    accepts(&[swap, write(3..=4, 1), read(5..=6, 2)]);
}

/// A write of the value that is there already is not idle: later it would bring the value back.
#[test]
fn a_write_of_the_same_value_may_come_later() {
    accepts(&[write(0..=1, 3), write(0..=20, 3), read(2..=3, 3), write(4..=5, 4), read(6..=7, 4), read(8..=9, 3)]);
}

#[test]
fn an_increment_that_ran_twice_is_refused() {
    let refusal = check(&COUNTER, &[add(0..=1, 1, 1), add(2..=3, 1, 3)]).unwrap_err();
    assert!(refusal.to_string().contains("Add(1) -> 3"), "{refusal}");
}

#[test]
fn an_increment_that_got_lost_is_refused() {
    assert!(check(&COUNTER, &[add(0..=1, 1, 1), add(2..=3, 1, 1)]).is_err());
    let read = Operation::ok(1, 4..=5, counter::Action::Read, 1);
    assert!(check(&COUNTER, &[add(0..=1, 1, 1), add(2..=3, 1, 2), read]).is_err());
}

#[test]
fn increments_of_unknown_outcome_count_at_most_once() {
    let lost = || Operation::unknown(3, 0.., counter::Action::Add(1));
    for (sum, fits) in [(1, true), (2, true), (3, true), (4, false)] {
        assert_eq!(check(&COUNTER, &[lost(), lost(), add(5..=6, 1, sum)]).is_ok(), fits, "{sum}");
    }
    // Forty that nobody tells apart are forty-one sums, not 2^40.
    let mut history: Vec<_> = (0..40).map(|at| Operation::unknown(3, at.., counter::Action::Add(1))).collect();
    history.extend((0..100).map(|step| add(100 + 2 * step..=101 + 2 * step, 1, step as i64 + 21)));
    check(&COUNTER, &history).unwrap();
    history.push(Operation::ok(1, 1000..=1001, counter::Action::Read, 141));
    assert!(matches!(check(&COUNTER, &history), Err(Refusal::Violation(_))));
}

#[test]
fn lost_writes_that_nobody_read_cost_nothing() {
    let mut history: Vec<_> = (0..60).map(|value| lost(value, 1000 + value)).collect();
    for step in 0..400 {
        history.push(write(100 + 10 * step..=105 + 10 * step, step + 1));
        history.push(read(106 + 10 * step..=109 + 10 * step, step + 1));
    }
    check_within(&REGISTER, &history, 2_000).unwrap();
    history.push(read(10_000..=10_001, 3));
    refuses(&history, "Value(3)");
}

#[test]
fn an_explanation_is_short() {
    let mut history: Vec<_> = (0..5_000).map(|step| write(10 * step..=10 * step + 40, step + 1)).collect();
    history.push(read(20_500..=20_501, 7));
    let verdicts = [check(&REGISTER, &history), check_register(&0, &history)];
    for refusal in verdicts.map(Result::unwrap_err) {
        assert!(matches!(refusal, Refusal::Violation(_)), "{refusal}");
        assert!(refusal.to_string().lines().count() < 25, "{refusal}");
        assert!(refusal.to_string().contains("20500..=20501: Read -> Value(7)"), "{refusal}");
    }
}

#[test]
fn a_search_that_is_too_large_says_so() {
    let writes = (0..30).map(|value| write(0..=100, value % 10));
    let refused = Operation::ok(2, 0..=100, Action::Cas { expected: 0, new: 99 }, Answer::Swapped(true));
    let history: Vec<_> = writes.chain([refused, read(101..=102, 77)]).collect();
    assert_eq!(check_within(&REGISTER, &history, 500), Err(Refusal::GaveUp { configurations: 500 }));
}

#[test]
fn keys_are_judged_one_by_one() {
    let good = [write(0..=1, 1), read(2..=3, 1)].map(|operation| ("good", operation));
    let bad = [write(0..=1, 2), read(2..=3, 1)].map(|operation| ("bad", operation));
    let judge = |history: &[Op]| check_register(&0, history);
    check_each(&by_key(good.clone()), judge).unwrap();
    let histories = by_key(good.into_iter().chain(bad));
    assert_eq!(check_each(&histories, judge).unwrap_err().0, &"bad");
}

/// A model of one's own that says no more than it must is judged the same.
struct Plain<M>(M);

impl<M: Model> Model for Plain<M> {
    type State = M::State;
    type Action = M::Action;
    type Answer = M::Answer;

    fn initial(&self) -> M::State {
        self.0.initial()
    }

    fn next(&self, state: &M::State, action: &M::Action, answer: Option<&M::Answer>) -> Option<M::State> {
        self.0.next(state, action, answer)
    }
}

/// Every order that respects time, tried one by one.
fn brute_force<M: Model>(model: &M, state: &M::State, left: &[&Operation<M::Action, M::Answer>]) -> bool {
    let first_end = left.iter().filter_map(|operation| operation.completed()).min();
    let Some(first_end) = first_end else { return true };
    (0..left.len()).filter(|index| left[*index].invoked() <= first_end).any(|index| {
        let mut rest = left.to_vec();
        let operation = rest.remove(index);
        let next = model.next(state, operation.action(), operation.answer());
        next.is_some_and(|next| brute_force(model, &next, &rest))
    })
}

fn is_linearizable<M: Model>(model: &M, history: &[Operation<M::Action, M::Answer>]) -> bool {
    let happened: Vec<_> = history.iter().filter(|operation| !matches!(operation.outcome(), Outcome::Failed)).collect();
    brute_force(model, &model.initial(), &happened)
}

/// Gives each stretch an operation and, by its fate, an outcome: 0 fails, 1 is lost after it took effect, 2 before.
fn play<M: Model<Action: Clone>>(
    model: &M,
    steps: &[(Stretch, M::Action, u8)],
    answer: impl Fn(&M::State, &M::Action) -> M::Answer,
) -> Vec<Operation<M::Action, M::Answer>> {
    let mut state = model.initial();
    let mut history = Vec::new();
    for (Stretch { process, called, answered, .. }, action, fate) in steps {
        let answer = answer(&state, action);
        if !matches!(fate, 0 | 2) {
            state = model.next(&state, action, Some(&answer)).unwrap();
        }
        history.push(match fate {
            0 => Operation::failed(*process, *called..=*answered, action.clone()),
            1 | 2 => Operation::unknown(*process, *called.., action.clone()),
            _ => Operation::ok(*process, *called..=*answered, action.clone(), answer),
        });
    }
    history
}

fn register_answer(state: &u64, action: &Action<u64>) -> Answer<u64> {
    match action {
        Action::Read => Answer::Value(*state),
        Action::Write(_) => Answer::Done,
        Action::Cas { expected, .. } => Answer::Swapped(expected == state),
    }
}

fn counter_answer(state: &i64, action: &counter::Action) -> i64 {
    COUNTER.next(state, action, None).unwrap()
}

/// Few values, so that they come again, and compare-and-set.
fn any_action() -> impl Strategy<Value = Action<u64>> {
    prop_oneof![
        Just(Action::Read),
        (0u64..3).prop_map(Action::Write),
        (0u64..3, 0u64..3).prop_map(|(expected, new)| Action::Cas { expected, new }),
    ]
}

fn any_counter_action() -> impl Strategy<Value = counter::Action> {
    prop_oneof![Just(counter::Action::Read), (-1i64..3).prop_map(counter::Action::Add)]
}

fn with_actions<A: Clone + std::fmt::Debug>(
    stretches: impl Strategy<Value = Vec<Stretch>>,
    action: impl Strategy<Value = A>,
    fates: u8,
) -> impl Strategy<Value = Vec<(Stretch, A, u8)>> {
    (stretches, prop::collection::vec((action, 0..fates), 150)).prop_map(|(stretches, actions)| {
        stretches.into_iter().zip(actions).map(|(stretch, (action, fate))| (stretch, action, fate)).collect()
    })
}

/// Reads and writes in which no value is written twice: writes are numbered.
fn with_distinct_values(steps: &mut [(Stretch, Action<u64>, u8)]) {
    for (number, (_, action, _)) in steps.iter_mut().enumerate() {
        if *action != Action::Read {
            *action = Action::Write(number as u64 + 1);
        }
    }
}

/// A read, and a value that was overwritten for certain before it was called: written before a write that was over before
/// another one was called that was over before the read was called.
fn a_stale_value(history: &[Op]) -> Option<(usize, u64)> {
    let writes: Vec<_> =
        history.iter().filter(|op| matches!(op.action(), Action::Write(_)) && op.answer().is_some()).collect();
    let stale = |read: &Op| {
        let overwritten = |old: &Op| writes.iter().any(|new| old.precedes(new) && new.precedes(read));
        writes.iter().rev().find(|old| overwritten(old)).map(|old| match old.action() {
            Action::Write(value) => *value,
            _ => unreachable!("a write was looked for"),
        })
    };
    let reads = history.iter().enumerate().filter(|(_, op)| *op.action() == Action::Read && op.answer().is_some());
    reads.rev().find_map(|(index, read)| stale(read).map(|value| (index, value)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn good_registers_are_accepted(steps in with_actions(stretches(8, 150), any_action(), 20)) {
        let history = play(&REGISTER, &steps, register_answer);
        prop_assert_eq!(check(&REGISTER, &history), Ok(()));
        prop_assert_eq!(check_register(&0, &history), Ok(()));
    }

    #[test]
    fn good_counters_are_accepted(steps in with_actions(stretches(8, 150), any_counter_action(), 20)) {
        let history = play(&COUNTER, &steps, counter_answer);
        prop_assert_eq!(check(&COUNTER, &history), Ok(()));
    }

    #[test]
    fn stale_reads_are_refused(mut steps in with_actions(stretches(6, 150), any_action(), 20)) {
        with_distinct_values(&mut steps);
        let mut history = play(&REGISTER, &steps, register_answer);
        prop_assert_eq!(check(&REGISTER, &history), Ok(()));
        prop_assert_eq!(check_register(&0, &history), Ok(()));
        let stale = a_stale_value(&history);
        prop_assume!(stale.is_some());
        let (index, value) = stale.unwrap();
        let op = &history[index];
        history[index] = Operation::ok(op.process(), op.invoked()..=op.completed().unwrap(), Action::Read, Answer::Value(value));
        for verdict in [check(&REGISTER, &history), check_register(&0, &history)] {
            prop_assert!(matches!(verdict, Err(Refusal::Violation(_))), "{:?}", verdict);
        }
    }

    /// An acknowledged increment that took no effect.
    #[test]
    fn lost_increments_are_refused(steps in with_actions(stretches(6, 100), Just(counter::Action::Add(1)), 1), lost in any::<prop::sample::Index>()) {
        let mut steps: Vec<_> = steps.into_iter().map(|(stretch, action, _)| (stretch, action, 3)).collect();
        let lost = lost.index(steps.len());
        steps[lost].2 = 2;
        let mut history = play(&COUNTER, &steps, counter_answer);
        let Stretch { process, called, answered, .. } = steps[lost].0;
        let sum = history[..lost].iter().rev().find_map(|op| op.answer().copied()).unwrap_or(0) + 1;
        history[lost] = Operation::ok(process, called..=answered, counter::Action::Add(1), sum);
        history.push(Operation::ok(9, 1_000_000..=1_000_001, counter::Action::Read, steps.len() as i64 - 1));
        prop_assert!(matches!(check(&COUNTER, &history), Err(Refusal::Violation(_))));
    }
}

/// Seven operations with any answers, right or wrong.
fn any_short_history() -> impl Strategy<Value = Vec<Op>> {
    let answered = prop_oneof![
        2 => (0u64..3).prop_map(|value| (Action::Read, Answer::Value(value))),
        2 => (0u64..3).prop_map(|value| (Action::Write(value), Answer::Done)),
        1 => (0u64..3, 0u64..3, any::<bool>())
            .prop_map(|(expected, new, swapped)| (Action::Cas { expected, new }, Answer::Swapped(swapped))),
    ];
    let operation =
        (answered, 0u64..16, 0u64..8, 0u8..12).prop_map(|((action, answer), called, length, fate)| match fate {
            0 => Operation::failed(0, called..=called + length, action),
            1 | 2 => Operation::unknown(0, called.., action),
            _ => Operation::ok(0, called..=called + length, action, answer),
        });
    prop::collection::vec(operation, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_search_agrees_with_trying_everything(history in any_short_history()) {
        let truth = is_linearizable(&REGISTER, &history);
        prop_assert_eq!(check(&REGISTER, &history).is_ok(), truth);
        prop_assert_eq!(check(&Plain(REGISTER), &history).is_ok(), truth);
    }

    #[test]
    fn zones_agree_with_trying_everything(mut history in any_short_history()) {
        // No value twice, and no compare-and-set: then it is the zones that judge.
        let mut written = std::collections::HashSet::from([0]);
        history.retain(|op| match op.action() {
            Action::Read => true,
            Action::Write(value) => written.insert(*value),
            Action::Cas { .. } => false,
        });
        prop_assert_eq!(check_register(&0, &history).is_ok(), is_linearizable(&REGISTER, &history));
    }

    #[test]
    fn counters_agree_with_trying_everything(
        steps in prop::collection::vec((any_counter_action(), -1i64..6, 0u64..16, 0u64..8, 0u8..6), 0..8)
    ) {
        let history: Vec<CounterOperation> = steps
            .into_iter()
            .map(|(action, sum, called, length, fate)| match fate {
                0 | 1 => Operation::unknown(0, called.., action),
                _ => Operation::ok(0, called..=called + length, action, sum),
            })
            .collect();
        let truth = is_linearizable(&COUNTER, &history);
        prop_assert_eq!(check(&COUNTER, &history).is_ok(), truth);
        prop_assert_eq!(check(&Plain(COUNTER), &history).is_ok(), truth);
    }
}
