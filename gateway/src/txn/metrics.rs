//! Counters of transactions. Handles are made once: recording is an atomic addition.

use metrics::{Counter, counter};

/// How a transaction is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One request to one group.
    OneGroup,
    /// Every group evaluates its own parts.
    Shipped,
    /// The gateway evaluates.
    Computed,
    /// It only reads, from several groups.
    Read,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    /// A watched key has changed.
    Conflict,
    /// Anything else without effect.
    Refused,
    Unknown,
}

pub(super) struct TxnMetrics {
    transactions: [[Counter; 4]; 4],
    /// Attempts that met changed keys.
    pub(super) conflicts: Counter,
    /// Attempts that met locks.
    pub(super) lock_refusals: Counter,
    /// Attempts in ordered mode.
    pub(super) ordered: Counter,
    /// Locks that were not resolved by the one who took them: somebody else will.
    pub(super) left_behind: Counter,
}

impl TxnMetrics {
    pub(super) fn new() -> Self {
        let of = |kind: &'static str| {
            ["done", "conflict", "refused", "unknown"]
                .map(|outcome| counter!("gateway_transactions_total", "kind" => kind, "outcome" => outcome))
        };
        Self {
            transactions: ["one_group", "shipped", "computed", "read"].map(of),
            conflicts: counter!("gateway_transaction_conflicts_total"),
            lock_refusals: counter!("gateway_transaction_lock_refusals_total"),
            ordered: counter!("gateway_transaction_ordered_total"),
            left_behind: counter!("gateway_transaction_locks_left_total"),
        }
    }

    pub(super) fn ended(&self, kind: Kind, end: End) {
        self.transactions[kind as usize][end as usize].increment(1);
    }
}
