//! Compare-and-set, as Redis knows it: WATCH a key, GET it, and SET it in a MULTI that comes to nothing when the key has
//! changed meanwhile. Each key must be a linearizable register, whose every value is set once.

use checkers::linearizable::register::{Action, Answer, Register};
use checkers::linearizable::{check, check_each};
use rand::Rng;

use super::client::{number, words};
use super::{Client, Histories, Told, Workload};

const KEYS: u64 = 6;

/// The workload.
#[derive(Default)]
pub struct Swaps {
    histories: Histories<String, Action<i64>, Answer<i64>>,
}

impl Swaps {
    /// GET; none when nothing was told.
    fn read(&self, client: &mut Client, key: &str) -> Option<i64> {
        let called = client.now();
        let told = client.ask(&words(&format!("GET {key}"))).map(|reply| number(&reply));
        let value = if let Told::Answer(value) = told { Some(value) } else { None };
        self.histories.note(key.to_owned(), client.operation(called, Action::Read, told.map(Answer::Value)));
        value
    }
}

impl Workload for Swaps {
    fn name(&self) -> &'static str {
        "swaps"
    }

    fn step(&self, client: &mut Client) {
        let key = format!("swap:{}:{}", client.window(), client.random.random_range(0..KEYS));
        let Some(expected) = client.watch(&[&key]).and_then(|()| self.read(client, &key)) else { return };
        let new = client.unique() as i64;
        let called = client.now();
        let told = client.transact(&[words(&format!("SET {key} {new}"))]).map(|_| Answer::Swapped(true));
        self.histories.note(key, client.operation(called, Action::Cas { expected, new }, told));
    }

    fn finish(&self, client: &mut Client) {
        for key in self.histories.keys() {
            self.read(client, &key);
        }
    }

    fn judge(&self) -> Result<(), String> {
        check_each(&self.histories.lock(), |history| check(&Register { initial: 0 }, history))
            .map_err(|(key, refusal)| format!("{key}: {refusal}"))
    }
}
