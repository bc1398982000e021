//! Does a bank keep its money?
//!
//! Transfers move money between accounts, so whoever reads all accounts at one moment finds the same total as everybody
//! else. A read that is not of one moment finds another one; so does a transfer of which one half took effect.
//!
//! The total says nothing of a transfer that was lost whole, or executed twice. So each balance is also held against what
//! was asked: transfers that were answered before the read began are in it, those that overlap with the read or whose
//! outcome is unknown may be, later and failed ones are not. That gives a lowest and a highest balance for the moment of
//! the read. In between the judge believes everything: which of the open transfers took effect, it does not guess.
//!
//! A transfer may be answered with the balances of its accounts, which are read like any others, except for the total.
//!
//! The time is that of sorting.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::history::{Operation, Outcome};

/// What a bank is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action<K> {
    /// Move `amount` from one account to another. Answered with the balances afterwards of those it tells of.
    Transfer {
        /// Who pays.
        from: K,
        /// Who is paid.
        to: K,
        /// How much.
        amount: i64,
    },
    /// Read all accounts. Answered with every balance.
    Read,
}

/// An operation of a bank.
pub type BankOperation<K> = Operation<Action<K>, BTreeMap<K, i64>>;

/// The bank before any transfer, and its rule.
#[derive(Clone, Debug)]
pub struct Bank<K> {
    /// What is in each account.
    pub initial: BTreeMap<K, i64>,
    /// Whether accounts may go below zero.
    pub overdraft: bool,
}

/// What is wrong, and the operation that shows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Money came from nowhere or went there.
    #[error("the total is {found} and not {expected} in {operation}")]
    Total {
        /// What the initial balances add up to.
        expected: i64,
        /// What the read balances add up to.
        found: i64,
        /// The read.
        operation: String,
    },
    /// An account below zero, where that is forbidden.
    #[error("{account} is overdrawn in {operation}")]
    Overdrawn {
        /// The account.
        account: String,
        /// The read or transfer.
        operation: String,
    },
    /// A balance that the transfers cannot have brought about: one was lost, doubled or invented.
    #[error("{account} holds {found}, which is not within {lowest}..={highest}, in {operation}")]
    Balance {
        /// The account.
        account: String,
        /// What was read.
        found: i64,
        /// If of the open transfers only those from it took effect.
        lowest: i64,
        /// If of the open transfers only those to it took effect.
        highest: i64,
        /// The read or transfer.
        operation: String,
    },
    /// An account that does not exist, or an existing one that a read of all is silent about.
    #[error("{account} is unknown or missing in {operation}")]
    Accounts {
        /// The account.
        account: String,
        /// The read or transfer.
        operation: String,
    },
}

/// Judges a history. Its order does not matter.
pub fn check<K: Ord + Debug>(bank: &Bank<K>, history: &[BankOperation<K>]) -> Result<(), Violation> {
    let ledger = Ledger::of(bank, history);
    let expected: i64 = bank.initial.values().sum();
    for operation in history {
        let Outcome::Ok(balances) = operation.outcome() else { continue };
        let unknown = balances.keys().find(|account| !bank.initial.contains_key(account));
        let silent = bank.initial.keys().find(|account| !balances.contains_key(account));
        let is_read = matches!(operation.action(), Action::Read);
        if let Some(account) = unknown.or(silent.filter(|_| is_read)) {
            return Err(Violation::Accounts { account: format!("{account:?}"), operation: operation.to_string() });
        }
        let found = balances.values().sum();
        if is_read && found != expected {
            return Err(Violation::Total { expected, found, operation: operation.to_string() });
        }
        for (account, &found) in balances {
            if found < 0 && !bank.overdraft {
                return Err(Violation::Overdrawn { account: format!("{account:?}"), operation: operation.to_string() });
            }
            let (lowest, highest) = ledger.bounds(account, operation);
            if !(lowest..=highest).contains(&found) {
                let (account, operation) = (format!("{account:?}"), operation.to_string());
                return Err(Violation::Balance { account, found, lowest, highest, operation });
            }
        }
    }
    Ok(())
}

/// By how much an action changes an account.
fn change_of<K: PartialEq>(action: &Action<K>, account: &K) -> i64 {
    match action {
        Action::Transfer { from, to, amount } => {
            let (paid, got) = (i64::from(from == account), i64::from(to == account));
            (got - paid) * amount
        }
        Action::Read => 0,
    }
}

/// Every change of one account, summed up along time.
#[derive(Default)]
struct Changes {
    /// By the moment at which the change may first be there.
    begun: Sums,
    /// By the moment from which on it must be there.
    done: Sums,
}

/// What has come in and what has gone out, up to each moment.
#[derive(Default)]
struct Sums(Vec<(u64, i64, i64)>);

impl Sums {
    fn note(&mut self, at: u64, change: i64) {
        self.0.push((at, change.max(0), change.min(0)));
    }

    fn sum_up(&mut self) {
        self.0.sort_unstable();
        let mut so_far = (0, 0);
        for (_, credit, debit) in &mut self.0 {
            so_far = (so_far.0 + *credit, so_far.1 + *debit);
            (*credit, *debit) = so_far;
        }
    }

    /// Credits and debits of all moments for which `is_before` holds, which must be the first ones.
    fn until(&self, is_before: impl Fn(u64) -> bool) -> (i64, i64) {
        let count = self.0.partition_point(|(at, _, _)| is_before(*at));
        count.checked_sub(1).map_or((0, 0), |last| (self.0[last].1, self.0[last].2))
    }
}

struct Ledger<'a, K> {
    accounts: BTreeMap<&'a K, (i64, Changes)>,
}

impl<'a, K: Ord> Ledger<'a, K> {
    fn of(bank: &'a Bank<K>, history: &'a [BankOperation<K>]) -> Self {
        let mut accounts: BTreeMap<&K, (i64, Changes)> =
            bank.initial.iter().map(|(account, balance)| (account, (*balance, Changes::default()))).collect();
        for operation in history {
            let Action::Transfer { from, to, .. } = operation.action() else { continue };
            if matches!(operation.outcome(), Outcome::Failed) || from == to {
                continue;
            }
            for account in [from, to] {
                let change = change_of(operation.action(), account);
                let (_, changes) = accounts.entry(account).or_default();
                changes.begun.note(operation.invoked(), change);
                if let Some(completed) = operation.completed() {
                    changes.done.note(completed, change);
                }
            }
        }
        for (_, changes) in accounts.values_mut() {
            changes.begun.sum_up();
            changes.done.sum_up();
        }
        Self { accounts }
    }

    /// The lowest and the highest balance that an account can have had when `operation` took effect.
    fn bounds(&self, account: &K, operation: &BankOperation<K>) -> (i64, i64) {
        let (initial, changes) = &self.accounts[account];
        let (done_credit, done_debit) = changes.done.until(|completed| completed < operation.invoked());
        let (credit, debit) =
            changes.begun.until(|invoked| operation.completed().is_none_or(|completed| invoked <= completed));
        // What the operation itself has changed is certainly there.
        let own = change_of(operation.action(), account);
        (initial + done_credit + debit + own.max(0), initial + credit + done_debit + own.min(0))
    }
}
