//! Lists: transactions over several keys that append and read.
//!
//! A list is a string to which tokens are appended, `7,12,`: APPEND needs no read, and GET shows the whole order.

use checkers::history::Outcome;
use checkers::serializable::Step;
use commands::redis::Value;

use super::{Client, line};

pub(super) const KEYS: usize = 6;
const MOST_STEPS: usize = 4;

/// A transaction.
pub type Steps = Vec<Step<String, u64>>;

/// Works until there is nothing to do any more.
pub async fn work(mut client: Client) {
    while client.next().await {
        let steps = draw(&mut client);
        let lines: Vec<Vec<String>> = steps.iter().map(command).collect();
        let ledger = &client.book.lists;
        let begun = ledger.begin(client.process, steps.clone());
        match client.run(&lines).await {
            Outcome::Ok(values) => match fill(steps, &values) {
                Some(filled) => ledger.end_as(&begun, filled, Outcome::Ok(())),
                None => client.book.outrages.lock().push(format!("{lines:?} was answered {values:?}")),
            },
            Outcome::Failed => ledger.end(&begun, Outcome::Failed),
            Outcome::Unknown => ledger.end(&begun, Outcome::Unknown),
        }
    }
}

/// One in five only reads.
fn draw(client: &mut Client) -> Steps {
    let reads_only = client.roll(5) == 0;
    let count = 1 + client.roll(MOST_STEPS);
    (0..count)
        .map(|_| {
            let key = format!("list:{}", client.roll(KEYS));
            if reads_only || client.roll(2) == 0 {
                Step::Read(key, None)
            } else {
                Step::Append(key, client.book.draw())
            }
        })
        .collect()
}

fn command(step: &Step<String, u64>) -> Vec<String> {
    match step {
        Step::Append(key, token) => line(["APPEND", key, &format!("{token},")]),
        Step::Read(key, _) => line(["GET", key]),
    }
}

/// The steps with what was read.
fn fill(steps: Steps, values: &[Value]) -> Option<Steps> {
    let filled = |(step, value): (Step<String, u64>, &Value)| match step {
        Step::Read(key, _) => Some(Step::Read(key, Some(tokens(value)?))),
        append => Some(append),
    };
    steps.into_iter().zip(values).map(filled).collect()
}

fn tokens(value: &Value) -> Option<Vec<u64>> {
    let text = match value {
        Value::Null => "",
        Value::Bulk(bytes) => std::str::from_utf8(bytes).ok()?,
        _ => return None,
    };
    text.split_terminator(',').map(|token| token.parse().ok()).collect()
}
