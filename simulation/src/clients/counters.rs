//! Counters: INCR and GET.

use checkers::history::Outcome;
use checkers::linearizable::counter::Action;

use super::{Client, line, number};

pub(super) const KEYS: usize = 3;

/// What is asked of which counter. It starts at 0.
pub type Call = (String, Action);

/// Works until there is nothing to do any more.
pub async fn work(mut client: Client) {
    while client.next().await {
        let key = format!("counter:{}", client.roll(KEYS));
        let (action, command) = if client.roll(3) == 0 {
            (Action::Read, line(["GET", &key]))
        } else {
            (Action::Add(1), line(["INCR", &key]))
        };
        let ledger = &client.book.counters;
        let begun = ledger.begin(client.process, (key, action));
        let ended = match client.run(&[command]).await {
            Outcome::Ok(values) => number(&values[0]).map_or(Outcome::Unknown, Outcome::Ok),
            Outcome::Failed => Outcome::Failed,
            Outcome::Unknown if action == Action::Read => Outcome::Failed,
            Outcome::Unknown => Outcome::Unknown,
        };
        ledger.end(&begun, ended);
    }
}
