//! Registers: SET of values that are written once, and GET. Each key must be linearizable.

use checkers::linearizable::register::{Action, Answer};
use checkers::linearizable::{check_each, check_register};
use rand::Rng;

use super::client::{number, words};
use super::{Client, Histories, Workload};

const KEYS: u64 = 8;

/// The workload.
#[derive(Default)]
pub struct Registers {
    histories: Histories<String, Action<i64>, Answer<i64>>,
}

impl Registers {
    fn read(&self, client: &mut Client, key: String) {
        let called = client.now();
        let told = client.ask(&words(&format!("GET {key}"))).map(|reply| Answer::Value(number(&reply)));
        self.histories.note(key, client.operation(called, Action::Read, told));
    }
}

impl Workload for Registers {
    fn name(&self) -> &'static str {
        "registers"
    }

    fn step(&self, client: &mut Client) {
        let key = format!("register:{}:{}", client.window(), client.random.random_range(0..KEYS));
        if client.random.random_bool(0.5) {
            return self.read(client, key);
        }
        let value = client.unique() as i64;
        let called = client.now();
        let told = client.ask(&words(&format!("SET {key} {value}")));
        self.histories.note(key, client.operation(called, Action::Write(value), told.map(|_| Answer::Done)));
    }

    fn finish(&self, client: &mut Client) {
        self.histories.keys().into_iter().for_each(|key| self.read(client, key));
    }

    fn judge(&self) -> Result<(), String> {
        check_each(&self.histories.lock(), |history| check_register(&0, history))
            .map_err(|(key, refusal)| format!("{key}: {refusal}"))
    }
}
