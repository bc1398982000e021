//! A database as one register: a transaction flushes it, writes the same new value under every key and counts the keys; a
//! reader reads and counts all of them at one moment.

use checkers::history::Outcome;
use checkers::linearizable::register::{Action, Answer};
use commands::Outcome as CommandOutcome;
use commands::redis::{SpanOutcome, SpanPart};
use gateway::txn::Part;

use super::{Client, line, number, part};

/// Nobody else's.
const DATABASE: u8 = 1;
const KEYS: usize = 4;
/// The register's name.
const NAME: &str = "database";

/// Works until there is nothing to do any more.
pub async fn work(mut client: Client) {
    while client.next().await {
        // All keys of all clients are locked meanwhile.
        match client.roll(12) {
            0..2 => read(&client).await,
            2 => replace(&client).await,
            _ => {}
        }
    }
}

async fn replace(client: &Client) {
    let value = client.book.draw();
    let flush = Part::over_database(DATABASE, SpanPart::Flush { all_databases: false });
    let sets = keys().map(|key| part(DATABASE, &line(["SET", &key, &value.to_string()])));
    let parts = [flush].into_iter().chain(sets).chain([count()]).collect();
    let ledger = &client.book.registers;
    let begun = ledger.begin(client.process, (NAME.to_owned(), Action::Write(value.cast_signed())));
    let ended = client.transact("replace a database", parts, Vec::new()).await;
    let ended = match ended {
        Outcome::Ok(outcomes) => {
            if counted(&outcomes) != Some(KEYS as u64) {
                client.book.outrages.lock().push(format!("a database just written holds {outcomes:?}"));
            }
            Outcome::Ok(Answer::Done)
        }
        Outcome::Failed => Outcome::Failed,
        Outcome::Unknown => Outcome::Unknown,
    };
    ledger.end(&begun, ended);
}

async fn read(client: &Client) {
    let parts = keys().map(|key| part(DATABASE, &line(["GET", &key]))).chain([count()]).collect();
    let ledger = &client.book.registers;
    let begun = ledger.begin(client.process, (NAME.to_owned(), Action::Read));
    let ended = match client.transact("read a database", parts, Vec::new()).await {
        Outcome::Ok(outcomes) => {
            let value = whole(&outcomes);
            if value.is_none() {
                client.book.outrages.lock().push(format!("a database in pieces: {outcomes:?}"));
            }
            value.map_or(Outcome::Failed, |value| Outcome::Ok(Answer::Value(value)))
        }
        // A read without an answer has no effect.
        Outcome::Failed | Outcome::Unknown => Outcome::Failed,
    };
    ledger.end(&begun, ended);
}

/// The value under all keys, if there is one under all or under none.
fn whole(outcomes: &[CommandOutcome]) -> Option<i64> {
    let value = |outcome: &CommandOutcome| match outcome {
        CommandOutcome::Redis(value) => number(value),
        _ => None,
    };
    let values: Option<Vec<i64>> = outcomes.get(..KEYS)?.iter().map(value).collect();
    let values = values?;
    let size = if values[0] == 0 { 0 } else { KEYS as u64 };
    (values.iter().all(|other| *other == values[0]) && counted(outcomes) == Some(size)).then_some(values[0])
}

fn count() -> Part {
    Part::over_database(DATABASE, SpanPart::Count { resume: None, limit: 1000 })
}

fn counted(outcomes: &[CommandOutcome]) -> Option<u64> {
    match outcomes.last()? {
        CommandOutcome::RedisSpan(SpanOutcome::Counted { keys, .. }) => Some(*keys),
        _ => None,
    }
}

fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|key| format!("key:{key}"))
}
