//! Requests that wait for data: BLPOP and its relatives, and whoever waits for a unit to change.
//!
//! Such a request is evaluated when it comes. If it finds nothing it stands by at each of its units, behind those who
//! came before, and is evaluated again whenever one of them is written: in the order of coming, so that the first who
//! came is the first served, whichever gateway it came by. It has had no effect until then, and holds nothing.
//!
//! It stands by for a limited time only. A gateway that wants to wait longer sends another request *instead of* it,
//! which takes over its turn; so nobody stands by for a gateway that is gone, and no request stays open for long. The
//! one that was replaced is answered that it still waits, as is one whose time is over.
//!
//! Turns are kept in memory: a new leader has none, the requests are sent to it again and stand in the order in which
//! they come.
//!
//! Pure: what stands by is a `T`, and time is handed in.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use keyspace::{KeyRange, RequestId};

/// A place in the order of coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn(u64);

#[derive(Debug)]
struct Standby<T> {
    id: RequestId,
    units: Vec<Bytes>,
    deadline_ms: u64,
    what: T,
}

/// Everything that stands by in a group.
///
/// Invariants: `by_unit` and `by_id` are `waiting` turned round.
#[derive(Debug)]
pub struct Standbys<T> {
    waiting: BTreeMap<Turn, Standby<T>>,
    by_unit: HashMap<Bytes, BTreeSet<Turn>>,
    by_id: HashMap<RequestId, Turn>,
    last: u64,
}

impl<T> Default for Standbys<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), by_unit: HashMap::new(), by_id: HashMap::new(), last: 0 }
    }
}

impl<T> Standbys<T> {
    /// Whether nobody stands by.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many stand by.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether somebody stands by at a unit.
    pub fn is_watched(&self, unit: &[u8]) -> bool {
        self.by_unit.contains_key(unit)
    }

    /// Has a request stand by until `deadline_ms`, at the turn that it had or behind everybody.
    pub fn stand_by(&mut self, turn: Option<Turn>, id: RequestId, units: Vec<Bytes>, deadline_ms: u64, what: T) {
        let turn = turn.unwrap_or_else(|| {
            self.last += 1;
            Turn(self.last)
        });
        for unit in &units {
            self.by_unit.entry(unit.clone()).or_default().insert(turn);
        }
        self.by_id.insert(id, turn);
        let before = self.waiting.insert(turn, Standby { id, units, deadline_ms, what });
        debug_assert!(before.is_none(), "a turn is taken before it is given again");
    }

    /// Who stands by at a unit, in order.
    pub fn at(&self, unit: &[u8]) -> impl Iterator<Item = Turn> + '_ {
        self.by_unit.get(unit).into_iter().flatten().copied()
    }

    /// Units in an interval at which somebody stands by.
    pub fn units_within(&self, keys: &KeyRange) -> impl Iterator<Item = &Bytes> {
        self.by_unit.keys().filter(|unit| keys.contains(unit))
    }

    /// Takes a request to evaluate it again, and its deadline. It stands by no longer.
    pub fn take(&mut self, turn: Turn) -> Option<(T, u64)> {
        let Standby { id, units, deadline_ms, what } = self.waiting.remove(&turn)?;
        for unit in units {
            if let Some(turns) = self.by_unit.get_mut(&unit) {
                turns.remove(&turn);
                if turns.is_empty() {
                    self.by_unit.remove(&unit);
                }
            }
        }
        if self.by_id.get(&id) == Some(&turn) {
            self.by_id.remove(&id);
        }
        Some((what, deadline_ms))
    }

    /// Takes the request of this name, whose turn another one gets.
    pub fn replace(&mut self, id: RequestId) -> Option<(Turn, T)> {
        let turn = *self.by_id.get(&id)?;
        self.take(turn).map(|(what, _)| (turn, what))
    }

    /// Whose time is over.
    pub fn overdue(&self, now_ms: u64) -> Vec<Turn> {
        let over = self.waiting.iter().filter(|(_, standby)| standby.deadline_ms <= now_ms);
        over.map(|(turn, _)| *turn).collect()
    }

    /// Ends all standing by.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        let last = self.last;
        let all = std::mem::replace(self, Self { last, ..Self::default() });
        all.waiting.into_values().map(|standby| standby.what)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn id(sequence: u64) -> RequestId {
        RequestId { incarnation: 1, sequence }
    }

    fn units(names: &[&'static str]) -> Vec<Bytes> {
        names.iter().map(|name| Bytes::from(*name)).collect()
    }

    fn at(standbys: &Standbys<&'static str>, unit: &str) -> Vec<Turn> {
        standbys.at(unit.as_bytes()).collect()
    }

    #[test]
    fn the_first_who_came_is_first_at_each_of_its_units() {
        let mut standbys = Standbys::default();
        standbys.stand_by(None, id(1), units(&["a", "b"]), 10, "first");
        standbys.stand_by(None, id(2), units(&["b"]), 10, "second");
        assert_eq!(at(&standbys, "b").len(), 2);
        let first = at(&standbys, "b")[0];
        assert_eq!(standbys.take(first), Some(("first", 10)));
        assert!(!standbys.is_watched(b"a") && standbys.is_watched(b"b"));
        standbys.stand_by(Some(first), id(1), units(&["a", "b"]), 10, "first");
        assert_eq!(at(&standbys, "b")[0], first, "it has kept its turn");
        assert_eq!(standbys.drain().collect::<Vec<_>>(), ["first", "second"]);
        assert!(standbys.is_empty() && standbys.by_unit.is_empty() && standbys.by_id.is_empty());
    }

    #[test]
    fn a_request_takes_over_the_turn_of_another() {
        let mut standbys = Standbys::default();
        standbys.stand_by(None, id(1), units(&["a"]), 10, "old");
        standbys.stand_by(None, id(2), units(&["a"]), 30, "other");
        let (turn, old) = standbys.replace(id(1)).unwrap();
        assert_eq!(old, "old");
        standbys.stand_by(Some(turn), id(3), units(&["a"]), 20, "new");
        assert!(standbys.replace(id(1)).is_none());
        assert_eq!(at(&standbys, "a")[0], turn);
        assert_eq!(standbys.overdue(19), []);
        assert_eq!(standbys.overdue(20), [turn]);
        let keys = KeyRange::new("a", Some("b".into())).unwrap();
        assert_eq!((standbys.len(), standbys.units_within(&keys).count()), (2, 1));
    }
}
