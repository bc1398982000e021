//! What the DynamoDB listener needs of the rest of the gateway: somebody who executes one operation.

use std::future::Future;

use bytes::Bytes;
use commands::Command;
use commands::dynamo::{Operation, Outcome};
use keyspace::KeyRange;
use thiserror::Error;

use crate::router::{Router, RouterError};

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

/// Executes operations; in a gateway the router.
pub trait Store: Send + Sync + 'static {
    /// Executes one operation, at most once. Faults of DynamoDB's own rules are outcomes, not errors.
    fn call(&self, call: Call) -> impl Future<Output = Result<Outcome, StoreError>> + Send;
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

impl Store for Router {
    async fn call(&self, call: Call) -> Result<Outcome, StoreError> {
        let outcomes = Router::call(self, vec![Command::Dynamo(call.operation)], call.units, call.intervals).await?;
        match <[_; 1]>::try_from(outcomes) {
            Ok([commands::Outcome::Dynamo(outcome)]) => Ok(outcome),
            other => Err(StoreError::Internal(format!("one DynamoDB outcome was expected, not {other:?}"))),
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
            RouterError::SnapshotTooOld | RouterError::Ended | RouterError::Protocol(_) => {
                StoreError::Internal(error.to_string())
            }
        }
    }
}
