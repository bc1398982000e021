//! What the DynamoDB listener needs of the rest of the gateway: somebody who executes one operation.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use commands::Command;
use commands::dynamo::{Operation, Outcome};
use keyspace::KeyRange;
use thiserror::Error;

use crate::router::{Prepared, Router, RouterError};
use crate::txn::{Part, Transactions, TxnError, Work};

/// How long a request waits for the first word from placement.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// One operation and the keys that it touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What to do.
    pub operation: Operation,
    /// Encoded lock units that it reads or writes.
    pub units: Vec<Bytes>,
    /// Intervals of encoded keys that it scans.
    pub intervals: Vec<KeyRange>,
}

impl Call {
    /// An operation on named keys.
    pub fn on_units(operation: Operation, units: impl IntoIterator<Item = Bytes>) -> Self {
        Self { operation, units: units.into_iter().collect(), intervals: Vec::new() }
    }

    /// An operation that scans.
    pub fn on_interval(operation: Operation, interval: KeyRange) -> Self {
        Self { operation, units: Vec::new(), intervals: vec![interval] }
    }
}

/// Executes operations; in a gateway [`Backend`]. Faults of DynamoDB's own rules are outcomes, not errors.
pub trait Store: Send + Sync + 'static {
    /// Executes one operation, at most once.
    fn call(&self, call: Call) -> impl Future<Output = Result<Outcome, StoreError>> + Send;

    /// Executes operations of which none depends on another, each at most once; one answer for each.
    fn call_all(&self, calls: Vec<Call>) -> impl Future<Output = Vec<Result<Outcome, StoreError>>> + Send;

    /// Executes operations on items at one moment, wherever their keys lie; one outcome for each. Writes take effect
    /// all or, if one is refused, not at all.
    fn transact(&self, calls: Vec<Call>) -> impl Future<Output = Result<Vec<Outcome>, StoreError>> + Send;

    /// The parts of a range of encoded keys that single routes cover now, in key order.
    fn parts_of(&self, range: &KeyRange) -> impl Future<Output = Result<Vec<KeyRange>, StoreError>> + Send;
}

/// Why an operation has no outcome.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// The keys lie in several groups. Not executed.
    #[error("the keys of the request lie in several groups")]
    CrossGroup,
    /// Too much is in flight. Not executed.
    #[error("too many requests are in flight")]
    Overloaded,
    /// Nobody serves the keys at the moment. Not executed.
    #[error("nobody serves the keys at the moment")]
    Unavailable,
    /// The disk of whoever serves the keys is full. Not executed.
    #[error("the disk is full")]
    DiskFull,
    /// The request breaks a limit; the sentence is meant for the client. Not executed.
    #[error("{0}")]
    Rejected(String),
    /// It may or may not have been executed.
    #[error("the outcome of the request is not known")]
    OutcomeUnknown,
    /// The store broke its contract or cannot evaluate the operation.
    #[error("the store failed: {0}")]
    Internal(String),
}

/// The store of a gateway.
#[derive(Clone, Debug)]
pub struct Backend {
    router: Router,
    transactions: Transactions,
}

impl Backend {
    /// Over the groups that `router` knows.
    pub fn new(router: Router) -> Self {
        Self { transactions: Transactions::new(router.clone()), router }
    }
}

impl Store for Backend {
    async fn call(&self, call: Call) -> Result<Outcome, StoreError> {
        if call.operation.reaches_beyond() {
            return self.transact(vec![call]).await.and_then(only);
        }
        let outcomes = self.router.call(vec![Command::Dynamo(call.operation)], call.units, call.intervals).await?;
        single(outcomes)
    }

    async fn call_all(&self, calls: Vec<Call>) -> Vec<Result<Outcome, StoreError>> {
        let (beyond, calls): (Vec<_>, Vec<_>) =
            calls.into_iter().enumerate().partition(|(_, call)| call.operation.reaches_beyond());
        let prepare = |call: Call| Prepared::many(vec![Command::Dynamo(call.operation)], call.units, call.intervals);
        let (places, calls): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
        let transactions = async {
            let run =
                |(place, call): (usize, Call)| async move { (place, self.transact(vec![call]).await.and_then(only)) };
            futures::future::join_all(beyond.into_iter().map(run)).await
        };
        let simple = async {
            match calls.is_empty() {
                true => Vec::new(),
                false => self.router.submit(0, calls.into_iter().map(prepare).collect()).await,
            }
        };
        let (beyond, simple) = tokio::join!(transactions, simple);
        let simple = places.into_iter().zip(simple.into_iter().map(|answer| single(answer?)));
        let mut answers: Vec<_> = simple.chain(beyond).collect();
        answers.sort_unstable_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    async fn transact(&self, calls: Vec<Call>) -> Result<Vec<Outcome>, StoreError> {
        let part = |call: Call| Part { command: Command::Dynamo(call.operation), units: call.units };
        let writes = calls.iter().any(|call| call.operation.writes());
        let work = Work::new(calls.into_iter().map(part).collect(), Vec::new());
        let work = if writes { work.all_or_none() } else { work };
        self.transactions.run(0, work).await?.into_iter().map(|outcome| single(vec![outcome])).collect()
    }

    async fn parts_of(&self, range: &KeyRange) -> Result<Vec<KeyRange>, StoreError> {
        // Without routes there are no parts, which is not the same as no items.
        let ready = tokio::time::timeout(READY_TIMEOUT, self.router.wait_ready()).await;
        ready.map_err(|_| StoreError::Unavailable)?;
        Ok(self.router.parts_of(range))
    }
}

/// The outcome of a transaction of one operation.
fn only(mut outcomes: Vec<Outcome>) -> Result<Outcome, StoreError> {
    match (outcomes.pop(), outcomes.is_empty()) {
        (Some(outcome), true) => Ok(outcome),
        _ => Err(StoreError::Internal("one DynamoDB outcome was expected".into())),
    }
}

fn single(outcomes: Vec<commands::Outcome>) -> Result<Outcome, StoreError> {
    match <[_; 1]>::try_from(outcomes) {
        Ok([commands::Outcome::Dynamo(outcome)]) => Ok(outcome),
        other => Err(StoreError::Internal(format!("one DynamoDB outcome was expected, not {other:?}"))),
    }
}

impl From<TxnError> for StoreError {
    fn from(error: TxnError) -> Self {
        match error {
            TxnError::Router(error) => error.into(),
            TxnError::Conflict => StoreError::Unavailable,
            TxnError::TooManyKeys { .. } | TxnError::TooLarge { .. } => StoreError::Rejected(error.to_string()),
            TxnError::DatabaseTooLarge | TxnError::Mixed => StoreError::Internal(error.to_string()),
        }
    }
}

impl From<RouterError> for StoreError {
    fn from(error: RouterError) -> Self {
        match error {
            RouterError::Overloaded => StoreError::Overloaded,
            RouterError::CrossGroup => StoreError::CrossGroup,
            // Conflicts come from observed versions, of which these operations have none: as good as a bad moment.
            RouterError::Unavailable(_) | RouterError::Conflict | RouterError::Locked => StoreError::Unavailable,
            RouterError::OutcomeUnknown => StoreError::OutcomeUnknown,
            RouterError::DiskFull => StoreError::DiskFull,
            RouterError::Rejected(reason) => StoreError::Rejected(reason),
            RouterError::SnapshotTooOld
            | RouterError::Ended
            | RouterError::StillWaits
            | RouterError::Beyond
            | RouterError::Protocol(_) => StoreError::Internal(error.to_string()),
        }
    }
}
