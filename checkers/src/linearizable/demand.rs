//! Which states are still needed, and who can bring them back: the search's look ahead.
//!
//! A read that answered 5 needs the state 5. Once the state is left, somebody must bring it back before the read is over, or
//! the order cannot be finished; without looking ahead that shows only when the search gets to the read, with a great many
//! other choices in between. The [`Footprint`]s of all operations say who needs and who leaves which state.
//!
//! Per state there are lists of those who need it, by the instant at which they are over, and of those who leave it behind,
//! by the instant of their call. Only the first of each list that is not in the order yet is ever asked for. A cursor stands
//! at or before it: it moves on when asked, and back when an operation is taken out of the order.

use std::collections::HashMap;
use std::hash::Hash;

use super::{Footprint, Leaves};

/// Operations with an instant each, in order of it.
#[derive(Default)]
struct Queue {
    members: Vec<(u64, usize)>,
    cursor: usize,
}

impl Queue {
    fn first_left(&mut self, ordered: &[bool]) -> Option<(u64, usize)> {
        while self.members.get(self.cursor).is_some_and(|(_, key)| ordered[*key]) {
            self.cursor += 1;
        }
        self.members.get(self.cursor).copied()
    }
}

/// What concerns one state.
#[derive(Default)]
struct Slot {
    /// By the instant at which they are over.
    needed_by: Queue,
    /// By the instant of their call.
    left_by: Queue,
    left_by_lost: Queue,
}

#[derive(Clone, Copy)]
enum List {
    Needed,
    Left,
    LeftByLost,
}

/// The lists. Operations are named by keys, counted from 0.
pub(super) struct Demand<S> {
    slot_of: HashMap<S, usize>,
    slots: Vec<Slot>,
    ordered: Vec<bool>,
    /// Per operation: the lists that it stands in, and where.
    places: Vec<[Option<(usize, List, usize)>; 2]>,
    /// Somebody does not say what it leaves, so it might be anything.
    unsaid: bool,
}

impl<S: Eq + Hash> Demand<S> {
    /// From each operation's key, call, end (none if it has no answer) and footprint, with keys from 0 to the last.
    pub(super) fn of(operations: impl IntoIterator<Item = (usize, u64, Option<u64>, Footprint<S>)>) -> Self {
        let mut demand =
            Self { slot_of: HashMap::new(), slots: Vec::new(), ordered: Vec::new(), places: Vec::new(), unsaid: false };
        let mut count = 0;
        for (key, called, over, Footprint { needs, leaves }) in operations {
            count = count.max(key + 1);
            // One without an answer needs nothing: it may as well not happen.
            if let Some((over, state)) = over.zip(needs) {
                demand.slot(state).needed_by.members.push((over, key));
            }
            match leaves {
                Leaves::AsItWas => {}
                Leaves::This(state) if over.is_some() => demand.slot(state).left_by.members.push((called, key)),
                Leaves::This(state) => demand.slot(state).left_by_lost.members.push((called, key)),
                Leaves::Unsaid => demand.unsaid = true,
            }
        }
        demand.ordered = vec![false; count];
        demand.places = vec![[None; 2]; count];
        for (number, slot) in demand.slots.iter_mut().enumerate() {
            for list in [List::Needed, List::Left, List::LeftByLost] {
                let queue = slot.queue(list);
                queue.members.sort_unstable();
                for (position, (_, key)) in queue.members.iter().enumerate() {
                    let [first, second] = &mut demand.places[*key];
                    *if first.is_none() { first } else { second } = Some((number, list, position));
                }
            }
        }
        demand
    }

    fn slot(&mut self, state: S) -> &mut Slot {
        let slot = *self.slot_of.entry(state).or_insert(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(Slot::default());
        }
        &mut self.slots[slot]
    }

    /// The operation is in the order now.
    pub(super) fn take(&mut self, key: usize) {
        self.ordered[key] = true;
    }

    /// The operation is not in the order any more.
    pub(super) fn untake(&mut self, key: usize) {
        self.ordered[key] = false;
        for (slot, list, position) in self.places[key].into_iter().flatten() {
            let queue = self.slots[slot].queue(list);
            queue.cursor = queue.cursor.min(position);
        }
    }

    /// Who needs this state, if nobody can bring it back in time: then it must not be left.
    pub(super) fn holds(&mut self, state: &S) -> Option<usize> {
        if self.unsaid {
            return None;
        }
        let slot = &mut self.slots[*self.slot_of.get(state)?];
        let (over, who) = slot.needed_by.first_left(&self.ordered)?;
        let in_time = |queue: &mut Queue| queue.first_left(&self.ordered).is_some_and(|(called, _)| called <= over);
        (!in_time(&mut slot.left_by) && !in_time(&mut slot.left_by_lost)).then_some(who)
    }

    /// By when this state is needed, if anybody needs it.
    pub(super) fn needed_by(&mut self, state: &S) -> Option<u64> {
        let slot = &mut self.slots[*self.slot_of.get(state)?];
        slot.needed_by.first_left(&self.ordered).map(|(over, _)| over)
    }

    /// By when this state is needed, if nobody whose answer is known can bring it about in time.
    pub(super) fn needed_of_lost_by(&mut self, state: &S) -> Option<u64> {
        let slot = &mut self.slots[*self.slot_of.get(state)?];
        let (over, _) = slot.needed_by.first_left(&self.ordered)?;
        let answered = slot.left_by.first_left(&self.ordered);
        answered.is_none_or(|(called, _)| called > over).then_some(over)
    }
}

impl Slot {
    fn queue(&mut self, list: List) -> &mut Queue {
        match list {
            List::Needed => &mut self.needed_by,
            List::Left => &mut self.left_by,
            List::LeftByLost => &mut self.left_by_lost,
        }
    }
}
