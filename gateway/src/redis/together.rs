//! What runs as one transaction: the queue of EXEC, and a command whose keys lie in several groups.
//!
//! Each command becomes one part of the transaction. A command whose keys lie in several groups, as far as the routes
//! are known, is divided by key where that can be done ([`commands::redis::divide`]): then each part runs at the leader
//! of its key, with the transaction as what holds them together. A command that cannot be divided is one part, and the
//! coordinator evaluates it itself. Both give the same replies, so it does not matter if the routes change meanwhile.

use bytes::Bytes;
use commands::redis::database::parse;
use commands::redis::script;
use commands::redis::split::Merge;
use commands::redis::{Divided, Invocation, RedisError, Spec, Value, divide, units};
use commands::{Command, Outcome};
use keyspace::Version;

use super::{database, refusal};
use crate::router::{Router, RouterError};
use crate::txn::{Part, Transactions, TxnError, Work};

/// The reply of one command.
#[derive(Debug)]
enum Share {
    /// It is answered without being run.
    Answered(Value),
    /// That of its part.
    Whole,
    /// Those of so many parts, merged.
    Divided(usize, Merge),
    /// Of a command that promises no moment (SCAN, RANDOMKEY): run behind the others.
    Behind(Invocation),
}

/// Commands that are to run together, in order.
#[derive(Debug, Default)]
pub(super) struct Together {
    parts: Vec<Part>,
    shares: Vec<Share>,
}

impl Together {
    /// Adds a command on named keys.
    pub(super) fn add(&mut self, router: &Router, spec: &Spec, invocation: Invocation) {
        match self.try_add(router, spec, invocation) {
            Ok(share) => self.shares.push(share),
            Err(error) => self.add_answered(error.into()),
        }
    }

    /// Adds a command whose reply is known.
    pub(super) fn add_answered(&mut self, value: Value) {
        self.shares.push(Share::Answered(value));
    }

    /// Adds a command over a whole database.
    pub(super) fn add_over_database(&mut self, invocation: Invocation) {
        let share = match parse(&invocation) {
            Err(error) => Share::Answered(error.into()),
            Ok(request) => match database::span_part(&request) {
                None => Share::Behind(invocation),
                Some(part) => {
                    self.parts.push(Part::over_database(invocation.db, part));
                    Share::Whole
                }
            },
        };
        self.shares.push(share);
    }

    fn try_add(&mut self, router: &Router, spec: &Spec, invocation: Invocation) -> Result<Share, RedisError> {
        let whole = units(spec, &invocation)?;
        if whole.is_empty() {
            return Err(RedisError::WrongArity { command: spec.name });
        }
        let divided = if router.lie_apart(&whole) { divide(&invocation)? } else { None };
        let Some(Divided { parts, merge }) = divided else {
            self.parts.push(Part { command: Command::Redis(invocation), units: whole });
            return Ok(Share::Whole);
        };
        let count = parts.len();
        for part in parts {
            let units = units(spec, &part)?;
            self.parts.push(Part { command: Command::Redis(part), units });
        }
        Ok(Share::Divided(count, merge))
    }

    /// Runs them if the observed units are as they were; one reply a command.
    pub(super) async fn run(
        self,
        router: &Router,
        transactions: &Transactions,
        connection: u64,
        observed: Vec<(Bytes, Option<Version>)>,
    ) -> Result<Vec<Value>, TxnError> {
        let Self { parts, shares } = self;
        let outcomes = if !parts.is_empty() {
            run_parts(transactions, connection, parts, observed).await?
        } else {
            // Nothing to hold together: a look is enough.
            let (units, versions): (Vec<_>, Vec<_>) = observed.into_iter().unzip();
            if !units.is_empty() && transactions.observe(connection, units).await? != versions {
                return Err(TxnError::Conflict);
            }
            Vec::new()
        };
        let mut values = outcomes.into_iter().map(|outcome| match outcome {
            Outcome::Redis(value) => value,
            Outcome::RedisSpan(outcome) => database::whole_value(outcome),
            _ => refusal::unexpected(),
        });
        let mut replies = Vec::with_capacity(shares.len());
        for share in shares {
            replies.push(match share {
                Share::Answered(value) => value,
                Share::Whole => values.next().unwrap_or_else(refusal::unexpected),
                Share::Divided(count, merge) => {
                    let replies: Vec<Value> = values.by_ref().take(count).collect();
                    let merged = if replies.len() == count { merge.apply(replies) } else { None };
                    merged.unwrap_or_else(refusal::unexpected)
                }
                Share::Behind(invocation) => database::run(router, transactions, connection, invocation).await,
            });
        }
        Ok(replies)
    }
}

/// Runs parts; scripts first where their keys live, and if they reach beyond these, as what may touch everything.
async fn run_parts(
    transactions: &Transactions,
    connection: u64,
    parts: Vec<Part>,
    observed: Vec<(Bytes, Option<Version>)>,
) -> Result<Vec<Outcome>, TxnError> {
    let Some(free) = set_free(&parts) else {
        return transactions.run(connection, Work::new(parts, observed)).await;
    };
    match transactions.run(connection, Work::new(parts, observed.clone())).await {
        Err(TxnError::Router(RouterError::Beyond)) => transactions.run(connection, Work::new(free, observed)).await,
        ended => ended,
    }
}

/// The same parts with scripts that are not confined; `None`: none of them was.
fn set_free(parts: &[Part]) -> Option<Vec<Part>> {
    let free = |part: &Part| match &part.command {
        Command::Redis(invocation) => script::set_free(invocation),
        _ => None,
    };
    let frees: Vec<Option<Invocation>> = parts.iter().map(free).collect();
    frees.iter().any(Option::is_some).then(|| {
        let replace = |(part, free): (&Part, Option<Invocation>)| match free {
            Some(free) => Part { command: Command::Redis(free), units: part.units.clone() },
            None => part.clone(),
        };
        parts.iter().zip(frees).map(replace).collect()
    })
}

/// Runs one command whose keys lie in several groups.
pub(super) async fn run_one(
    router: &Router,
    transactions: &Transactions,
    connection: u64,
    spec: &Spec,
    invocation: Invocation,
) -> Value {
    let mut together = Together::default();
    together.add(router, spec, invocation);
    match together.run(router, transactions, connection, Vec::new()).await {
        Ok(mut replies) => replies.pop().unwrap_or_else(refusal::unexpected),
        Err(error) => refusal::transaction(&error),
    }
}
