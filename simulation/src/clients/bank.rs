//! A bank: money moves between accounts of several groups, and every reader of all accounts sees the same total.

use std::collections::BTreeMap;

use checkers::bank::{Action, Bank};
use checkers::history::Outcome;

use super::{Client, line, number};

/// How many accounts there are.
pub const ACCOUNTS: usize = 5;
/// What each holds at first.
pub const DEPOSIT: i64 = 100;

/// What is asked of the bank: accounts go by their numbers.
pub type Call = Action<usize>;
/// What it answers: the balances of the accounts that were touched.
pub type Reply = BTreeMap<usize, i64>;

/// As it opens. Nobody asks what an account holds before money leaves it.
pub fn opened() -> Bank<usize> {
    Bank { initial: (0..ACCOUNTS).map(|account| (account, DEPOSIT)).collect(), overdraft: true }
}

/// Works until there is nothing to do any more.
pub async fn work(mut client: Client) {
    while !open(&client).await {
        if !client.next().await {
            return;
        }
    }
    while client.next().await {
        let call = match client.roll(3) {
            0 => Call::Read,
            _ => {
                let (from, distance) = (client.roll(ACCOUNTS), 1 + client.roll(ACCOUNTS - 1));
                Call::Transfer { from, to: (from + distance) % ACCOUNTS, amount: 1 + client.roll(20) as i64 }
            }
        };
        let ledger = &client.book.bank;
        let begun = ledger.begin(client.process, call.clone());
        let ended = match client.run(&lines(&call)).await {
            Outcome::Ok(values) => {
                let balances: Option<Vec<i64>> = values.iter().map(number).collect();
                balances.map_or(Outcome::Unknown, |balances| Outcome::Ok(touched(&call).zip(balances).collect()))
            }
            Outcome::Failed => Outcome::Failed,
            Outcome::Unknown => Outcome::Unknown,
        };
        ledger.end(&begun, ended);
    }
}

/// All accounts are opened together, once: whoever comes later finds them. Whether they are open now.
async fn open(client: &Client) -> bool {
    let mut command = line(["MSETNX"]);
    for account in 0..ACCOUNTS {
        command.extend([name(account), DEPOSIT.to_string()]);
    }
    matches!(client.run(&[command]).await, Outcome::Ok(_))
}

fn lines(call: &Call) -> Vec<Vec<String>> {
    match call {
        Call::Read => (0..ACCOUNTS).map(|account| line(["GET", &name(account)])).collect(),
        Call::Transfer { from, to, amount } => {
            let amount = amount.to_string();
            vec![line(["DECRBY", &name(*from), &amount]), line(["INCRBY", &name(*to), &amount])]
        }
    }
}

/// Whose balances are answered, in order.
fn touched(call: &Call) -> impl Iterator<Item = usize> {
    match call {
        Call::Read => (0..ACCOUNTS).collect(),
        Call::Transfer { from, to, .. } => vec![*from, *to],
    }
    .into_iter()
}

pub(super) fn name(account: usize) -> String {
    format!("account:{account}")
}
