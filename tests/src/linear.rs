//! Is a history of reads and writes of one register linearizable?
//!
//! Each operation takes effect at one moment between its call and its return. The history is linearizable when such
//! moments can be chosen so that every read sees the newest write before it. [`check`] searches for that order the way
//! Wing and Gong described: walk along the calls and returns in time; a call may be put next in the order when it fits
//! the register's value; a return that is reached while its call is not in the order yet means that a choice before was
//! wrong. What was tried is remembered as (operations in the order, value), so that no dead end is entered twice.
//!
//! An operation whose outcome is unknown (the connection broke) has no return: a write may take effect at any time after
//! its call, or never; a read says nothing and is ignored. A lost write whose value nobody has read is ignored too: it
//! may as well never have happened, and trying every moment for each of them would take forever.
//!
//! Registers are independent, so histories are checked key by key. Left out: operations that read and write at once
//! (a counter is checked by its bounds instead, see [`crate::load`]).

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

/// What an operation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<V> {
    /// Stored this value.
    Write(V),
    /// Answered this value.
    Read(V),
}

/// One operation of a history. Times are of one clock, in any unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<V> {
    /// When the client sent it.
    pub called: u64,
    /// When the client had the answer; none when it never got one.
    pub returned: Option<u64>,
    /// What it did.
    pub action: Action<V>,
}

/// The history fits no order.
#[derive(Debug, Clone, thiserror::Error)]
#[error("not linearizable: behind {explained} explained operations nothing makes {stuck} possible")]
pub struct Violation {
    /// How many operations the longest explanation covers.
    pub explained: usize,
    /// The operation that the longest explanation fails at, with its neighbours in time.
    pub stuck: String,
}

/// Checks a history of one register that holds `initial` at first. The order of `operations` does not matter.
pub fn check<V: Clone + Eq + Hash + Debug>(initial: &V, operations: &[Operation<V>]) -> Result<(), Violation> {
    let read: HashSet<&V> = operations
        .iter()
        .filter_map(|operation| match &operation.action {
            Action::Read(value) => operation.returned.and(Some(value)),
            Action::Write(_) => None,
        })
        .collect();
    let matters = |operation: &&Operation<V>| match &operation.action {
        Action::Write(value) => operation.returned.is_some() || read.contains(value),
        Action::Read(_) => operation.returned.is_some(),
    };
    let operations: Vec<&Operation<V>> = operations.iter().filter(matters).collect();
    let mut timeline = Timeline::of(&operations);
    let mut open = operations.iter().filter(|operation| operation.returned.is_some()).count();
    let mut value = initial.clone();
    let mut ordered = BitSet::new(operations.len());
    let mut seen: HashSet<(BitSet, V)> = HashSet::new();
    let mut order: Vec<(usize, V)> = Vec::new();
    let mut best = (0, None);

    let mut at = timeline.first();
    while open > 0 {
        let event = at.expect("a return lies ahead while an operation is open");
        let index = timeline.operation(event);
        let next_value = match &operations[index].action {
            _ if timeline.is_return(event) => None,
            Action::Write(written) => Some(written.clone()),
            Action::Read(read) => (*read == value).then(|| value.clone()),
        };
        if timeline.is_return(event) {
            if best.1.is_none() || order.len() > best.0 {
                best = (order.len(), Some(index));
            }
            let Some((undone, before)) = order.pop() else {
                let stuck = describe(&operations, best.1.unwrap_or(index));
                return Err(Violation { explained: best.0, stuck });
            };
            ordered.remove(undone);
            value = before;
            timeline.restore(undone);
            open += usize::from(operations[undone].returned.is_some());
            at = timeline.after_call(undone);
            continue;
        }
        if let Some(next_value) = next_value {
            ordered.insert(index);
            if seen.insert((ordered.clone(), next_value.clone())) {
                order.push((index, std::mem::replace(&mut value, next_value)));
                timeline.lift(index);
                open -= usize::from(operations[index].returned.is_some());
                at = timeline.first();
                continue;
            }
            ordered.remove(index);
        }
        at = timeline.after(event);
    }
    Ok(())
}

/// The operation and what overlaps it, for the person who reads the failed test.
fn describe<V: Debug>(operations: &[&Operation<V>], stuck: usize) -> String {
    let it = operations[stuck];
    let end = it.returned.unwrap_or(u64::MAX);
    let overlapping: Vec<_> = operations
        .iter()
        .enumerate()
        .filter(|(index, other)| {
            *index != stuck && other.called <= end && other.returned.unwrap_or(u64::MAX) >= it.called
        })
        .map(|(_, other)| other)
        .take(12)
        .collect();
    let before = operations.iter().filter(|other| other.returned.is_some_and(|returned| returned < it.called));
    let mut before: Vec<_> = before.collect();
    before.sort_by_key(|other| std::cmp::Reverse(other.returned));
    before.truncate(4);
    format!("{it:?}; at the same time: {overlapping:?}; shortly before: {before:?}")
}

/// Calls and returns in order of time, as a doubly linked list from which operations are lifted and put back.
struct Timeline {
    /// Per event: the operation.
    operation: Vec<usize>,
    is_return: Vec<bool>,
    /// Neighbours, by event; `NONE` at the ends. The extra last slot is the head.
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Per operation: the events.
    call: Vec<usize>,
    back: Vec<Option<usize>>,
}

const NONE: usize = usize::MAX;

impl Timeline {
    fn of<V>(operations: &[&Operation<V>]) -> Self {
        let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * operations.len());
        for (index, operation) in operations.iter().enumerate() {
            events.push((operation.called, false, index));
            if let Some(returned) = operation.returned {
                events.push((returned, true, index));
            }
        }
        // At one moment calls come before returns: such operations overlap.
        events.sort_unstable();
        let count = events.len();
        let mut timeline = Timeline {
            operation: events.iter().map(|event| event.2).collect(),
            is_return: events.iter().map(|event| event.1).collect(),
            next: (0..=count).map(|event| if event + 1 < count { event + 1 } else { NONE }).collect(),
            previous: (0..=count).map(|event| if event == 0 { count } else { event - 1 }).collect(),
            call: vec![NONE; operations.len()],
            back: vec![None; operations.len()],
        };
        timeline.next[count] = if count == 0 { NONE } else { 0 };
        for (event, (_, is_return, index)) in events.iter().enumerate() {
            if *is_return {
                timeline.back[*index] = Some(event);
            } else {
                timeline.call[*index] = event;
            }
        }
        timeline
    }

    fn first(&self) -> Option<usize> {
        self.after(self.operation.len())
    }

    fn after(&self, event: usize) -> Option<usize> {
        Some(self.next[event]).filter(|next| *next != NONE)
    }

    fn after_call(&self, operation: usize) -> Option<usize> {
        self.after(self.call[operation])
    }

    fn operation(&self, event: usize) -> usize {
        self.operation[event]
    }

    fn is_return(&self, event: usize) -> bool {
        self.is_return[event]
    }

    fn lift(&mut self, operation: usize) {
        self.unlink(self.call[operation]);
        if let Some(back) = self.back[operation] {
            self.unlink(back);
        }
    }

    /// Undoes the newest [`Timeline::lift`]; the neighbours are as they were then.
    fn restore(&mut self, operation: usize) {
        if let Some(back) = self.back[operation] {
            self.relink(back);
        }
        self.relink(self.call[operation]);
    }

    fn unlink(&mut self, event: usize) {
        let (previous, next) = (self.previous[event], self.next[event]);
        self.next[previous] = next;
        if next != NONE {
            self.previous[next] = previous;
        }
    }

    fn relink(&mut self, event: usize) {
        let (previous, next) = (self.previous[event], self.next[event]);
        self.next[previous] = event;
        if next != NONE {
            self.previous[next] = event;
        }
    }
}

/// Which operations are in the order.
#[derive(Clone, PartialEq, Eq, Hash)]
struct BitSet(Vec<u64>);

impl BitSet {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    fn remove(&mut self, index: usize) {
        self.0[index / 64] &= !(1 << (index % 64));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(called: u64, returned: u64, value: u32) -> Operation<u32> {
        Operation { called, returned: Some(returned), action: Action::Write(value) }
    }

    fn read(called: u64, returned: u64, value: u32) -> Operation<u32> {
        Operation { called, returned: Some(returned), action: Action::Read(value) }
    }

    fn lost(called: u64, value: u32) -> Operation<u32> {
        Operation { called, returned: None, action: Action::Write(value) }
    }

    #[test]
    fn one_after_the_other() {
        assert!(check(&0, &[read(0, 1, 0), write(2, 3, 7), read(4, 5, 7)]).is_ok());
        assert!(check::<u32>(&0, &[]).is_ok());
    }

    #[test]
    fn a_stale_read_is_found() {
        let error = check(&0, &[write(0, 1, 7), read(2, 3, 0)]);
        assert!(error.is_err_and(|violation| violation.stuck.contains("Read(0)")));
    }

    #[test]
    fn a_lost_acknowledged_write_is_found() {
        assert!(check(&0, &[write(0, 1, 7), write(2, 3, 8), read(4, 5, 7)]).is_err());
    }

    #[test]
    fn overlapping_writes_may_end_in_either_order_but_not_in_both() {
        let writes = [write(0, 10, 1), write(0, 10, 2)];
        for last in [1, 2] {
            assert!(check(&0, &[&writes[..], &[read(11, 12, last), read(13, 14, last)]].concat()).is_ok());
        }
        assert!(check(&0, &[&writes[..], &[read(11, 12, 1), read(13, 14, 2)]].concat()).is_err());
    }

    #[test]
    fn a_value_does_not_go_back() {
        // Two readers see a write that is still under way; the later one must not see the older value.
        assert!(check(&0, &[write(0, 10, 1), read(2, 3, 1), read(4, 5, 0)]).is_err());
        assert!(check(&0, &[write(0, 10, 1), read(2, 3, 0), read(4, 5, 1)]).is_ok());
    }

    #[test]
    fn a_write_without_an_answer_may_happen_late_or_never_but_not_early_and_only_once() {
        assert!(check(&0, &[lost(0, 5), read(10, 11, 0), read(12, 13, 5)]).is_ok());
        assert!(check(&0, &[lost(0, 5), read(10, 11, 0)]).is_ok());
        assert!(check(&0, &[read(0, 1, 5), lost(2, 5)]).is_err());
        assert!(check(&0, &[lost(0, 5), read(1, 2, 5), write(3, 4, 6), read(5, 6, 5)]).is_err());
    }

    #[test]
    fn a_value_that_nobody_wrote_is_found() {
        assert!(check(&0, &[write(0, 1, 1), read(0, 9, 3)]).is_err());
    }

    #[test]
    fn many_lost_writes_stay_cheap() {
        let mut history: Vec<_> = (0..40).map(|value| lost(value, 1000 + value as u32)).collect();
        for step in 0..400 {
            history.push(write(100 + 10 * step, 105 + 10 * step, step as u32 + 1));
            history.push(read(106 + 10 * step, 109 + 10 * step, step as u32 + 1));
        }
        assert!(check(&0, &history).is_ok());
        history.push(read(10_000, 10_001, 3));
        assert!(check(&0, &history).is_err());
    }

    /// Every order of the operations that respects real time, tried one by one.
    fn check_by_brute_force(value: u32, left: &[Operation<u32>]) -> bool {
        if left.iter().all(|operation| operation.returned.is_none()) {
            return true;
        }
        let first_return = left.iter().filter_map(|operation| operation.returned).min().unwrap_or(u64::MAX);
        (0..left.len()).filter(|index| left[*index].called <= first_return).any(|index| {
            let mut rest = left.to_vec();
            match rest.remove(index).action {
                Action::Write(written) => check_by_brute_force(written, &rest),
                Action::Read(read) => read == value && check_by_brute_force(value, &rest),
            }
        })
    }

    proptest! {
        #[test]
        fn agrees_with_brute_force(
            steps in prop::collection::vec((0u64..12, 0u64..6, 0u32..3, any::<bool>(), 0u8..6), 0..7)
        ) {
            let history: Vec<_> = steps
                .into_iter()
                .map(|(called, length, value, is_write, fate)| match (is_write, fate) {
                    (true, 0) => lost(called, value),
                    (true, _) => write(called, called + length, value),
                    (false, _) => read(called, called + length, value),
                })
                .collect();
            prop_assert_eq!(check(&0, &history).is_ok(), check_by_brute_force(0, &history));
        }
    }
}
