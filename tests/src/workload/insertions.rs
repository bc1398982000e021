//! Insertions: keys that are set once, alone or several by one MSET, and looked up by MGET. What was acknowledged must be
//! there ever after.
//!
//! Each client inserts into sets of its own, and each set is kept as many keys, numbered from 0: so whoever reads knows
//! which keys to ask for.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use checkers::set::{Action, check};
use rand::Rng;
use rand::seq::IndexedRandom;

use super::client::{items, words};
use super::{Client, Histories, Workload};
use crate::resp::Reply;

/// Keys that one MGET asks for.
const SET_SIZE: u64 = 40;
const TOGETHER: u64 = 3;

/// The workload.
#[derive(Default)]
pub struct Insertions {
    histories: Histories<u64, Action<u64>, Vec<u64>>,
    /// Of each client: the set that it fills, and how many keys of it were tried.
    filling: Mutex<BTreeMap<u64, (u64, u64)>>,
}

fn key(set: u64, element: u64) -> String {
    format!("insertion:{set}:{element}")
}

impl Insertions {
    fn filling(&self) -> MutexGuard<'_, BTreeMap<u64, (u64, u64)>> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, client: &mut Client, set: u64) {
        let keys: Vec<String> = (0..SET_SIZE).map(|element| key(set, element)).collect();
        let called = client.now();
        let told = client.ask(&words(&format!("MGET {}", keys.join(" "))));
        let told = told.map(|reply| {
            let values = items(reply).into_iter().zip(0..);
            values.filter(|(value, _)| *value != Reply::Nil).map(|(_, element)| element).collect()
        });
        self.histories.note(set, client.operation(called, Action::Read, told));
    }

    fn insert(&self, client: &mut Client, set: u64, elements: std::ops::Range<u64>) {
        let verb = if elements.clone().count() == 1 { "SET" } else { "MSET" };
        let pairs: Vec<String> = elements.clone().map(|element| format!("{} 1", key(set, element))).collect();
        let called = client.now();
        let told = client.ask(&words(&format!("{verb} {}", pairs.join(" "))));
        for element in elements {
            let told = told.clone().map(|_: Reply| Vec::new());
            self.histories.note(set, client.operation(called, Action::Add(element), told));
        }
    }
}

impl Workload for Insertions {
    fn name(&self) -> &'static str {
        "insertions"
    }

    fn step(&self, client: &mut Client) {
        if client.random.random_bool(0.2) {
            let sets: Vec<u64> = self.filling().values().map(|(set, _)| *set).collect();
            return sets.choose(&mut client.random).copied().into_iter().for_each(|set| self.read(client, set));
        }
        let together = if client.random.random_bool(0.5) { 1 } else { TOGETHER };
        let fresh = client.unique();
        let (set, first) = {
            let mut filling = self.filling();
            let (set, tried) = filling.entry(client.number()).or_insert((fresh, 0));
            if *tried + together > SET_SIZE {
                (*set, *tried) = (fresh, 0);
            }
            let first = *tried;
            *tried += together;
            (*set, first)
        };
        self.insert(client, set, first..first + together);
    }

    fn finish(&self, client: &mut Client) {
        self.histories.keys().into_iter().for_each(|set| self.read(client, set));
    }

    fn judge(&self) -> Result<(), String> {
        let histories = self.histories.lock();
        histories
            .iter()
            .try_for_each(|(set, history)| check(history).map_err(|violation| format!("set {set}: {violation}")))
    }
}
