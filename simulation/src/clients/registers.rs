//! Registers: SET, GET, and compare-and-set as Redis clients do it, by WATCH, GET, MULTI, SET, EXEC.

use checkers::history::Outcome;
use checkers::linearizable::register::{Action, Answer};
use commands::redis::Value;

use super::{Client, line, number, unit};

pub(super) const KEYS: usize = 4;

/// What is asked of which register. It holds 0 at first; a value is written once.
pub type Call = (String, Action<i64>);
/// What it answers.
pub type Reply = Answer<i64>;

/// Works until there is nothing to do any more.
pub async fn work(mut client: Client) {
    while client.next().await {
        let key = format!("register:{}", client.roll(KEYS));
        match client.roll(10) {
            0..4 => drop(read(&client, &key).await),
            4..8 => write(&client, &key).await,
            _ => compare_and_set(&client, &key).await,
        }
    }
}

/// Only reads: where nothing can be written any more, somebody must still ask what is there.
pub async fn watch(mut client: Client) {
    while client.next().await {
        let key = format!("register:{}", client.roll(KEYS));
        read(&client, &key).await;
    }
}

async fn read(client: &Client, key: &str) -> Option<i64> {
    let ledger = &client.book.registers;
    let begun = ledger.begin(client.process, (key.to_owned(), Action::Read));
    let value = match client.run(&[line(["GET", key])]).await {
        Outcome::Ok(values) => number(&values[0]),
        Outcome::Failed | Outcome::Unknown => None,
    };
    // A read without an answer has no effect.
    ledger.end(&begun, value.map_or(Outcome::Failed, |value| Outcome::Ok(Answer::Value(value))));
    value
}

async fn write(client: &Client, key: &str) {
    let ledger = &client.book.registers;
    let value = client.book.draw();
    let begun = ledger.begin(client.process, (key.to_owned(), Action::Write(value.cast_signed())));
    let ended = client.run(&[line(["SET", key, &value.to_string()])]).await;
    ledger.end(&begun, done(ended, Answer::Done));
}

async fn compare_and_set(client: &Client, key: &str) {
    let Ok(versions) = client.transactions.observe(client.process, vec![unit(key)]).await else { return };
    let Some(expected) = read(client, key).await else { return };
    let ledger = &client.book.registers;
    let new = client.book.draw();
    let begun = ledger.begin(client.process, (key.to_owned(), Action::Cas { expected, new: new.cast_signed() }));
    let observed = vec![(unit(key), versions[0])];
    let ended = client.run_if(&[line(["SET", key, &new.to_string()])], observed).await;
    ledger.end(&begun, done(ended, Answer::Swapped(true)));
}

fn done<R>(ended: Outcome<Vec<Value>>, answer: R) -> Outcome<R> {
    match ended {
        Outcome::Ok(_) => Outcome::Ok(answer),
        Outcome::Failed => Outcome::Failed,
        Outcome::Unknown => Outcome::Unknown,
    }
}
