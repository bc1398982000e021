//! A bank: who wants to move money watches both accounts, reads them, and moves it if it is there. Nobody may see another
//! total, an account below zero, or a balance that the transfers do not explain.

use std::collections::BTreeMap;

use checkers::bank::{Action, Bank, BankOperation, check};
use rand::Rng;

use super::client::{items, number, words};
use super::{Client, Histories, Told, Workload};

/// Spread over the hash slots, and so over the groups.
const ACCOUNTS: u64 = 8;
const START: i64 = 100;
const MOST: i64 = 60;

/// The workload.
#[derive(Default)]
pub struct Transfers {
    /// One history of the whole run.
    history: Histories<(), Action<String>, BTreeMap<String, i64>>,
}

fn accounts() -> Vec<String> {
    (0..ACCOUNTS).map(|number| format!("account:{number}")).collect()
}

impl Transfers {
    fn note(&self, operation: BankOperation<String>) {
        self.history.note((), operation);
    }

    fn read(&self, client: &mut Client, in_transaction: bool) {
        let called = client.now();
        let told = if in_transaction {
            let commands: Vec<_> = accounts().iter().map(|account| words(&format!("GET {account}"))).collect();
            client.transact(&commands)
        } else {
            client.ask(&words(&format!("MGET {}", accounts().join(" ")))).map(items)
        };
        let told = told.map(|balances| accounts().into_iter().zip(balances.iter().map(number)).collect());
        self.note(client.operation(called, Action::Read, told));
    }

    /// None where the transfer was not even tried.
    fn transfer(&self, client: &mut Client) -> Option<()> {
        let (from, to) = (client.random.random_range(0..ACCOUNTS), client.random.random_range(0..ACCOUNTS - 1));
        let names = accounts();
        let (from, to) = (&names[from as usize], &names[((from + 1 + to) % ACCOUNTS) as usize]);
        let amount = client.random.random_range(1..=MOST);
        client.watch(&[from, to])?;
        let Told::Answer(balance) = client.ask(&words(&format!("GET {from}"))) else { return None };
        if number(&balance) < amount {
            return None;
        }
        let called = client.now();
        let commands = [words(&format!("DECRBY {from} {amount}")), words(&format!("INCRBY {to} {amount}"))];
        let told = client.transact(&commands);
        let told =
            told.map(|balances| [from, to].map(String::clone).into_iter().zip(balances.iter().map(number)).collect());
        self.note(client.operation(called, Action::Transfer { from: from.clone(), to: to.clone(), amount }, told));
        Some(())
    }
}

impl Workload for Transfers {
    fn name(&self) -> &'static str {
        "transfers"
    }

    fn prepare(&self, client: &mut Client) -> Result<(), String> {
        let balances: Vec<String> = accounts().iter().map(|account| format!("{account} {START}")).collect();
        match client.ask(&words(&format!("MSET {}", balances.join(" ")))) {
            Told::Answer(_) => Ok(()),
            told => Err(format!("the accounts cannot be opened: {told:?}")),
        }
    }

    fn step(&self, client: &mut Client) {
        match client.random.random_range(0..4) {
            0 => self.read(client, false),
            1 => self.read(client, true),
            // Too little money, or a lost connection: the next step tries another one.
            _ => drop(self.transfer(client)),
        }
    }

    fn finish(&self, client: &mut Client) {
        self.read(client, false);
        self.read(client, true);
    }

    fn judge(&self) -> Result<(), String> {
        let initial = accounts().into_iter().map(|account| (account, START)).collect();
        let bank = Bank { initial, overdraft: false };
        let histories = self.history.lock();
        histories.values().try_for_each(|history| check(&bank, history).map_err(|violation| violation.to_string()))
    }
}
