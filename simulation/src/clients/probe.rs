//! Whether everything serves again: one client a gateway, which begins when all others rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use checkers::history::Outcome;

use super::{Client, bank, counters, line, lists, registers};

/// Reads every key and writes one of its own until that succeeds.
pub async fn work(mut client: Client, served: Arc<AtomicBool>) {
    while client.next().await {}
    let mut commands: Vec<Vec<String>> =
        keys().map(|key| line(["GET", &key])).chain([line(["SET", "probe", &client.process.to_string()])]).collect();
    while let Some(command) = commands.last().cloned() {
        match client.run(&[command]).await {
            Outcome::Ok(_) => drop(commands.pop()),
            Outcome::Failed | Outcome::Unknown => drop(client.next().await),
        }
    }
    served.store(true, Ordering::Relaxed);
}

fn keys() -> impl Iterator<Item = String> {
    let of = |kind: &'static str, count: usize| (0..count).map(move |number| format!("{kind}:{number}"));
    of("register", registers::KEYS)
        .chain(of("counter", counters::KEYS))
        .chain(of("list", lists::KEYS))
        .chain(of("account", bank::ACCOUNTS))
}
