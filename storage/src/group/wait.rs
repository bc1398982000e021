//! Requests that wait for locks of others.
//!
//! A request waits in one queue, that of the smallest unit that stands in its way. While it waits there it keeps a
//! reservation on each of its smaller units, which were free, and has none on larger ones; the first of a queue has
//! the unit itself reserved. Newcomers queue behind whoever waits and behind reservations. So everybody takes units in
//! key order, locks and reservations alike, and no circle of waiting can close. A request for a span waits at the
//! smallest locked unit inside and has the part below reserved.
//!
//! Whatever frees a unit wakes the first of its queue, which begins again: it is evaluated as if it had just come,
//! but in its old place ([`WaitQueues::obstacle`] knows its ticket). Each wait has a deadline, which ends its place and
//! its reservations.
//!
//! Pure: what waits is a `T`, and time is handed in.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use keyspace::KeyRange;

/// Names a request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

#[derive(Debug)]
struct Waiter {
    /// Everything that it may touch, in key order.
    units: Vec<Bytes>,
    /// Which of them it waits at; it has those before it reserved.
    at: usize,
    /// On the caller's clock.
    deadline_ms: u64,
}

/// Where a request waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Everything that it may touch, and what stands in its way, in key order.
    pub units: Vec<Bytes>,
    /// Which of them stands in its way.
    pub at: usize,
    /// Keys below that, of spans that it will lock: reserved like units.
    pub spans: Vec<KeyRange>,
}

/// The queues of a group.
///
/// Invariants: a waiter stands in exactly one queue; a unit is reserved by one waiter at most; `waiting` holds what
/// every waiter wants, but for those being evaluated right now.
#[derive(Debug)]
pub struct WaitQueues<T> {
    waiters: HashMap<Ticket, Waiter>,
    waiting: HashMap<Ticket, T>,
    queues: BTreeMap<Bytes, VecDeque<Ticket>>,
    reserved: HashMap<Bytes, Ticket>,
    reserved_spans: Vec<(KeyRange, Ticket)>,
    next: u64,
}

impl<T> Default for WaitQueues<T> {
    fn default() -> Self {
        Self {
            waiters: HashMap::new(),
            waiting: HashMap::new(),
            queues: BTreeMap::new(),
            reserved: HashMap::new(),
            reserved_spans: Vec::new(),
            next: 0,
        }
    }
}

impl<T> WaitQueues<T> {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// The first of `units` (in key order) that stands in the way of a newcomer, or of the waiter with this ticket:
    /// because it is `locked`, somebody waits for it, or somebody has it reserved. Units that are `mine` by a lock
    /// already are no obstacle, whoever waits for them.
    pub fn obstacle(
        &self,
        ticket: Option<Ticket>,
        units: &[Bytes],
        mine: impl Fn(&[u8]) -> bool,
        locked: impl Fn(&[u8]) -> bool,
    ) -> Option<usize> {
        if self.waiters.is_empty() {
            return units.iter().position(|unit| locked(unit));
        }
        units.iter().position(|unit| {
            // Whoever queues at a unit that is reserved waits for its reservation.
            let taken = match self.reserved.get(unit) {
                Some(by) => Some(*by) != ticket,
                None => self.first_at(unit).is_some_and(|first| Some(first) != ticket),
            };
            let spans = &self.reserved_spans;
            let taken = taken || spans.iter().any(|(keys, by)| Some(*by) != ticket && keys.contains(unit));
            locked(unit) || (taken && !mine(unit))
        })
    }

    /// Has a request wait at its obstacle, until `deadline_ms`. A waiter that was woken and met another
    /// obstacle moves on; its deadline stays. Gives back whom that wakes.
    pub fn park(
        &mut self,
        ticket: Option<Ticket>,
        what: T,
        Place { units, at, spans }: Place,
        deadline_ms: u64,
    ) -> Vec<Ticket> {
        let ticket = ticket.unwrap_or_else(|| {
            self.next += 1;
            Ticket(self.next)
        });
        self.waiting.insert(ticket, what);
        let mut woken = Vec::new();
        let mut deadline_ms = deadline_ms;
        if let Some(before) = self.waiters.get(&ticket) {
            deadline_ms = before.deadline_ms;
            if before.units[before.at] == units[at] {
                return woken;
            }
            woken = self.give_up_place(ticket);
        }
        for unit in &units[..at] {
            let other = self.reserved.insert(unit.clone(), ticket);
            debug_assert!(other.is_none_or(|other| other == ticket), "a reserved unit is an obstacle");
        }
        self.reserved_spans.extend(spans.into_iter().map(|keys| (keys, ticket)));
        self.queues.entry(units[at].clone()).or_default().push_back(ticket);
        self.waiters.insert(ticket, Waiter { units, at, deadline_ms });
        // Somebody behind it in the old queue may only have waited for its reservation, which it has again.
        woken.retain(|other| *other != ticket);
        woken
    }

    /// Takes what a woken waiter wants; its place is kept until it leaves or parks again.
    pub fn take(&mut self, ticket: Ticket) -> Option<T> {
        self.waiting.remove(&ticket)
    }

    /// A waiter is through. Gives back whom that wakes.
    pub fn leave(&mut self, ticket: Ticket) -> Vec<Ticket> {
        self.waiting.remove(&ticket);
        self.give_up_place(ticket)
    }

    /// Ends the place and the reservations of a waiter; gives back the firsts of the queues that this frees.
    fn give_up_place(&mut self, ticket: Ticket) -> Vec<Ticket> {
        let Some(Waiter { units, at, .. }) = self.waiters.remove(&ticket) else { return Vec::new() };
        let mut woken = Vec::new();
        if let Some(queue) = self.queues.get_mut(&units[at]) {
            let was_first = queue.front() == Some(&ticket);
            queue.retain(|other| *other != ticket);
            match queue.front() {
                Some(first) if was_first => woken.push(*first),
                Some(_) => {}
                None => drop(self.queues.remove(&units[at])),
            }
        }
        for unit in &units[..at] {
            if self.reserved.get(unit) == Some(&ticket) {
                self.reserved.remove(unit);
                woken.extend(self.first_at(unit));
            }
        }
        let (ended, kept) = std::mem::take(&mut self.reserved_spans).into_iter().partition(|(_, by)| *by == ticket);
        self.reserved_spans = kept;
        for (keys, _) in ended {
            woken.extend(self.queued_within(&keys).filter_map(|unit| self.first_at(unit)));
        }
        woken
    }

    /// Units of an interval that somebody waits for.
    pub fn queued_within(&self, keys: &KeyRange) -> impl Iterator<Item = &Bytes> {
        self.queues.range(keys.bounds()).map(|(unit, _)| unit)
    }

    /// Who is next when this unit becomes free.
    pub fn first_at(&self, unit: &[u8]) -> Option<Ticket> {
        self.queues.get(unit)?.front().copied()
    }

    /// Waiters whose time is over, and the unit that each waits at. They keep their places until they [`leave`].
    ///
    /// [`leave`]: WaitQueues::leave
    pub fn overdue(&self, now_ms: u64) -> Vec<(Ticket, Bytes)> {
        let over = self.waiters.iter().filter(|(_, waiter)| waiter.deadline_ms <= now_ms);
        over.map(|(ticket, waiter)| (*ticket, waiter.units[waiter.at].clone())).collect()
    }

    /// Ends all waiting.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        let all = std::mem::take(self);
        all.waiting.into_values()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn units(names: &[&str]) -> Vec<Bytes> {
        names.iter().map(|name| Bytes::copy_from_slice(name.as_bytes())).collect()
    }

    /// Locked units, and who waits; a request that gets through holds nothing.
    #[derive(Default)]
    struct Desk {
        locked: BTreeSet<Bytes>,
        queues: WaitQueues<(u32, Vec<Bytes>)>,
        served: Vec<u32>,
    }

    fn at_unit(units: Vec<Bytes>, at: usize) -> Place {
        Place { units, at, spans: Vec::new() }
    }

    impl Desk {
        fn come(&mut self, name: u32, wants: &[&str]) {
            self.serve(None, name, units(wants));
        }

        fn serve(&mut self, ticket: Option<Ticket>, name: u32, wants: Vec<Bytes>) {
            let obstacle = self.queues.obstacle(ticket, &wants, |_| false, |unit| self.locked.contains(unit));
            let woken = match obstacle {
                Some(at) => self.queues.park(ticket, (name, wants.clone()), at_unit(wants, at), 1000),
                None => {
                    self.served.push(name);
                    ticket.map(|ticket| self.queues.leave(ticket)).unwrap_or_default()
                }
            };
            self.wake(woken);
        }

        fn wake(&mut self, woken: Vec<Ticket>) {
            for ticket in woken {
                if let Some((name, wants)) = self.queues.take(ticket) {
                    self.serve(Some(ticket), name, wants);
                }
            }
        }

        fn unlock(&mut self, unit: &str) {
            self.locked.remove(unit.as_bytes());
            self.wake(self.queues.first_at(unit.as_bytes()).into_iter().collect());
        }
    }

    #[test]
    fn nobody_overtakes_whoever_waits() {
        let mut desk = Desk::default();
        desk.locked.extend(units(&["b"]));
        desk.come(1, &["a", "b"]);
        desk.come(2, &["b"]);
        desk.come(3, &["a"]);
        desk.come(4, &["c"]);
        assert_eq!(desk.served, [4], "a is reserved for the first, b is locked");
        desk.unlock("b");
        assert_eq!(desk.served, [4, 1, 2, 3]);
        assert!(desk.queues.is_empty() && desk.queues.reserved.is_empty() && desk.queues.queues.is_empty());
    }

    #[test]
    fn larger_units_are_not_reserved() {
        let mut desk = Desk::default();
        desk.locked.extend(units(&["a"]));
        desk.come(1, &["a", "b"]);
        desk.come(2, &["b"]);
        assert_eq!(desk.served, [2]);
    }

    #[test]
    fn who_waits_for_a_span_has_the_part_below_its_obstacle() {
        let mut desk = Desk::default();
        desk.locked.extend(units(&["d"]));
        let below = KeyRange::new("b", Some("d".into())).unwrap();
        let place = Place { units: units(&["b-span", "d"]), at: 1, spans: vec![below] };
        desk.queues.park(None, (1, units(&["b-span"])), place, 1000);
        desk.come(2, &["c"]);
        desk.come(3, &["e"]);
        desk.come(4, &["d"]);
        assert_eq!(desk.served, [3]);
        desk.unlock("d");
        assert_eq!(desk.served, [3, 1, 4, 2]);
        assert!(desk.queues.is_empty() && desk.queues.reserved_spans.is_empty());
    }

    #[test]
    fn a_deadline_ends_a_place_and_its_reservations() {
        let mut desk = Desk::default();
        desk.locked.extend(units(&["b"]));
        desk.come(1, &["a", "b"]);
        desk.come(2, &["a"]);
        assert!(desk.queues.overdue(999).is_empty());
        let (ticket, at) = desk.queues.overdue(1000).into_iter().find(|(_, at)| at == "b").unwrap();
        assert_eq!(at, "b");
        let woken = desk.queues.leave(ticket);
        desk.wake(woken);
        assert_eq!(desk.served, [2]);
    }

    proptest! {
        /// Once everything is unlocked, everybody has been served once, and nothing is left behind.
        #[test]
        fn everybody_is_served(
            locked in prop::collection::btree_set(0u8..6, 0..6),
            wants in prop::collection::vec(prop::collection::btree_set(0u8..6, 1..4), 1..12),
            order in Just((0u8..6).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let name = |unit: &u8| format!("{unit}");
            let mut desk = Desk::default();
            desk.locked.extend(locked.iter().map(|unit| Bytes::from(name(unit))));
            for (number, wants) in wants.iter().enumerate() {
                let wants: Vec<String> = wants.iter().map(name).collect();
                desk.come(u32::try_from(number).unwrap(), &wants.iter().map(String::as_str).collect::<Vec<_>>());
            }
            for unit in &order {
                desk.unlock(&name(unit));
            }
            desk.served.sort_unstable();
            let everybody: Vec<u32> = (0..u32::try_from(wants.len()).unwrap()).collect();
            prop_assert_eq!(&desk.served, &everybody);
            prop_assert!(desk.queues.is_empty() && desk.queues.reserved.is_empty() && desk.queues.queues.is_empty());
            prop_assert!(desk.queues.waiting.is_empty());
        }
    }
}
