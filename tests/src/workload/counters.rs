//! Counters: INCR and GET. Each key must be a linearizable counter: nothing lost, nothing run twice.

use checkers::linearizable::counter::{Action, Counter};
use checkers::linearizable::{check, check_each};
use rand::Rng;

use super::client::{number, words};
use super::{Client, Histories, Workload};

const KEYS: u64 = 6;

/// The workload.
#[derive(Default)]
pub struct Counters {
    histories: Histories<String, Action, i64>,
}

impl Counters {
    fn ask(&self, client: &mut Client, action: Action, key: String) {
        let verb = if action == Action::Read { "GET" } else { "INCR" };
        let called = client.now();
        let told = client.ask(&words(&format!("{verb} {key}"))).map(|reply| number(&reply));
        self.histories.note(key, client.operation(called, action, told));
    }
}

impl Workload for Counters {
    fn name(&self) -> &'static str {
        "counters"
    }

    fn step(&self, client: &mut Client) {
        let key = format!("counter:{}:{}", client.window(), client.random.random_range(0..KEYS));
        let action = if client.random.random_bool(0.7) { Action::Add(1) } else { Action::Read };
        self.ask(client, action, key);
    }

    fn finish(&self, client: &mut Client) {
        self.histories.keys().into_iter().for_each(|key| self.ask(client, Action::Read, key));
    }

    fn judge(&self) -> Result<(), String> {
        check_each(&self.histories.lock(), |history| check(&Counter::default(), history))
            .map_err(|(key, refusal)| format!("{key}: {refusal}"))
    }
}
