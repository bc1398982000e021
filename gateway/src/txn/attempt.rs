//! One attempt of a transaction: its locks, its heartbeat, and its end, which only the anchor decides.
//!
//! Invariants, kept by the types:
//!
//! - A further attempt is made of [`Aborted`], and [`Aborted`] only of the anchor's word that this attempt is aborted.
//! - [`Ending::Undecided`] turns into nothing: whoever does not know how an attempt ended never tries again.
//! - Once Commit was sent, an attempt that cannot be found committed or aborted is [`Ending::Undecided`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use commands::Outcome;
use keyspace::{TransactionId, Version};
use planted::{Fault, Point};
use proto::{Participant, TransactionState, TransactionStatus};
use tokio::task::AbortHandle;

use super::metrics::TxnMetrics;
use super::shape::{by_group, group_of};
use crate::router::{Prepared, Prewrite, Router, RouterError, Transacted, Transaction, stored_response};

/// Between two signs of life. Others believe in 3 s of silence.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long locks are resolved in the background; what is left is resolved by those whose way it is in.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(60);
const RESOLVE_PAUSE: Duration = Duration::from_millis(500);
/// How long the next attempt waits for the locks of the last one to go.
const CLEANUP_PATIENCE: Duration = Duration::from_secs(1);

/// What attempts need from outside.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) router: Router,
    pub(super) metrics: Arc<TxnMetrics>,
}

/// One attempt.
pub(super) struct Attempt {
    context: Context,
    transaction: Transaction,
    /// Every unit that a prewrite named, so that a lock may be there; with its p once that is known.
    locks: BTreeMap<Bytes, Option<Version>>,
    /// A record may exist at the anchor.
    begun: bool,
    /// For the planted faults alone: prewrites that will come a second time.
    repeated: Vec<Prewrite>,
    heartbeat: AbortHandle,
}

/// The anchor has said that an attempt is aborted.
pub(super) struct Aborted {
    context: Context,
    transaction: Transaction,
    /// Where its locks may still be.
    locks: Vec<Bytes>,
}

/// How an attempt ended.
pub(super) enum Ending {
    /// It took effect, and this is what its client is answered.
    Committed(Vec<Outcome>),
    /// It did not, and never will.
    Aborted(Aborted),
    /// Nobody knows yet. If Commit was not sent, it will not take effect.
    Undecided,
}

impl Attempt {
    /// The first attempt of a new request whose smallest unit is `anchor`.
    pub(super) fn first(context: &Context, anchor: Bytes) -> Self {
        Self::of(context.clone(), context.router.begin_transaction(anchor))
    }

    fn of(context: Context, transaction: Transaction) -> Self {
        let heartbeat = tokio::spawn(beat(context.router.clone(), transaction.clone())).abort_handle();
        Self { context, transaction, locks: BTreeMap::new(), begun: false, repeated: Vec::new(), heartbeat }
    }

    /// The unit whose group decides.
    pub(super) fn anchor(&self) -> &Bytes {
        self.transaction.anchor()
    }

    pub(super) fn id(&self) -> TransactionId {
        self.transaction.id()
    }

    /// Makes the record at the anchor before anything is locked.
    pub(super) async fn begin(&mut self, units: &[Bytes]) -> Result<(), RouterError> {
        self.begun = true;
        let status = self.context.router.ask_anchor(self.transaction.begin(units)).await?;
        match status.state {
            TransactionState::Pending => Ok(()),
            // Whatever it is, the Abort that follows finds out.
            _ => Err(RouterError::Ended),
        }
    }

    /// Prewrites at the same time, each for units of one group: all are prepared, or the first refusal. The outcomes
    /// are those of each prewrite's commands.
    pub(super) async fn prewrite(&mut self, prewrites: Vec<Prewrite>) -> Result<Vec<Vec<Outcome>>, RouterError> {
        let units: Vec<Vec<Bytes>> = prewrites.iter().map(|prewrite| prewrite.units.clone()).collect();
        for unit in units.iter().flatten() {
            self.locks.entry(unit.clone()).or_insert(None);
        }
        self.begun = true;
        if [Fault::NoCheckOfP, Fault::CollectAtForget].into_iter().any(planted::is_on) {
            self.repeated.extend(prewrites.iter().cloned());
        }
        let steps = prewrites.into_iter().map(|prewrite| self.transaction.prewrite(prewrite)).collect();
        let answers = self.context.router.steps(steps).await;
        let mut outcomes = Vec::with_capacity(answers.len());
        let mut refused: Option<RouterError> = None;
        for (units, answer) in units.into_iter().zip(answers) {
            match answer {
                Ok(Transacted::Prepared { prepared, outcomes: found }) => {
                    self.locks.extend(units.into_iter().map(|unit| (unit, Some(prepared))));
                    outcomes.push(found);
                }
                Ok(_) => refused = Some(RouterError::Protocol("a prewrite without vote".into())),
                // A changed key says more than a lock: it may be the client's answer.
                Err(RouterError::Conflict) => refused = Some(RouterError::Conflict),
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
        }
        refused.map_or(Ok(outcomes), Err)
    }

    /// Whether the anchor still says Pending: then every lock that was answered before is held at this moment.
    pub(super) async fn is_pending(&self) -> Result<bool, RouterError> {
        let status = self.context.router.ask_anchor(self.transaction.inquire()).await?;
        Ok(status.state == TransactionState::Pending)
    }

    /// Everything is prepared: decides for it. `outcomes` are what the client is answered.
    pub(super) async fn commit(self, outcomes: Vec<Outcome>) -> Ending {
        let Some(participants) = self.participants() else {
            debug_assert!(false, "commit before every prewrite has voted");
            return self.abort().await;
        };
        let anchor = self.transaction.anchor();
        let mut here = vec![anchor.clone()];
        if let Some(routes) = self.context.router.routes() {
            let home = group_of(&routes, anchor);
            here = self.locks.keys().filter(|unit| group_of(&routes, unit) == home).cloned().collect();
        }
        let commit = self.transaction.commit(participants.clone(), here.clone(), &outcomes);
        let mut answer = self.context.router.ask_anchor(commit).await;
        if answer == Err(RouterError::CrossGroup) {
            // Certainly not decided: what lay beside the anchor has moved. Then it is resolved like all others.
            here.clear();
            let commit = self.transaction.commit(participants, vec![anchor.clone()], &outcomes);
            answer = self.context.router.ask_anchor(commit).await;
        }
        planted::point(Point::Decided);
        let status = match answer {
            Ok(status) => Some(status),
            Err(error) => {
                // It may be committed or not, or become so yet. An Abort makes sure, one way or the other.
                tracing::info!(txn = %self.id(), %error, "a commit was not answered");
                here.clear();
                self.ask_to_abort().await
            }
        };
        let Some(status) = status else { return Ending::Undecided };
        match status.state {
            TransactionState::Committed | TransactionState::Forgotten => self.committed(&status, &here, outcomes),
            TransactionState::Aborted => Ending::Aborted(self.aborted()),
            // An anchor that has no record, or does not decide, cannot say what became of it.
            TransactionState::Absent | TransactionState::Pending => {
                tracing::error!(txn = %self.id(), state = ?status.state, "the anchor does not decide a commit");
                Ending::Undecided
            }
        }
    }

    /// Something was refused: decides against it.
    pub(super) async fn abort(self) -> Ending {
        if !self.begun {
            // Nothing was ever sent, so there is nothing that could have been decided.
            return Ending::Aborted(self.aborted());
        }
        let Some(status) = self.ask_to_abort().await else { return Ending::Undecided };
        match status.state {
            TransactionState::Aborted => Ending::Aborted(self.aborted()),
            TransactionState::Committed | TransactionState::Forgotten => {
                // Another coordinator has executed the same request before. Whose way the locks of this one are in asks
                // the anchor as well, and ends them as it says.
                stored_response(status).map_or(Ending::Undecided, Ending::Committed)
            }
            TransactionState::Absent | TransactionState::Pending => Ending::Undecided,
        }
    }

    /// Nobody waits for the end any more: aborts in the background.
    pub(super) fn abandon(self) {
        tokio::spawn(async move {
            if let Ending::Aborted(aborted) = self.abort().await {
                aborted.clean_up().await;
            }
        });
    }

    async fn ask_to_abort(&self) -> Option<TransactionStatus> {
        match self.context.router.ask_anchor(self.transaction.abort()).await {
            Ok(status) => Some(status),
            Err(error) => {
                tracing::warn!(txn = %self.id(), %error, "the anchor does not say how a transaction ends");
                None
            }
        }
    }

    fn participants(&self) -> Option<Vec<Participant>> {
        let participant = |(unit, prepared): (&Bytes, &Option<Version>)| {
            Some(Participant { unit: unit.clone(), prepared: (*prepared)? })
        };
        self.locks.iter().map(participant).collect()
    }

    /// `resolved`, sorted: locks that ended with the decision.
    fn committed(self, status: &TransactionStatus, resolved: &[Bytes], outcomes: Vec<Outcome>) -> Ending {
        let mut participants = self.participants().unwrap_or_default();
        let repeated = self.repeated.clone();
        participants.retain(|participant| resolved.binary_search(&participant.unit).is_err());
        let (context, transaction, committed_at) =
            (self.context.clone(), self.transaction.clone(), status.committed_at);
        tokio::spawn(async move {
            if resolve_all(&context, &transaction, committed_at, participants).await {
                repeat(&context, &transaction, &repeated, Fault::NoCheckOfP).await;
                planted::point(Point::Resolved);
                // If this is not answered, the record stays a while longer: no harm.
                let _ = context.router.step(transaction.forget()).await;
                repeat(&context, &transaction, &repeated, Fault::CollectAtForget).await;
            }
        });
        Ending::Committed(outcomes)
    }

    fn aborted(self) -> Aborted {
        let locks = self.locks.keys().cloned().collect();
        Aborted { context: self.context.clone(), transaction: self.transaction.clone(), locks }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

impl Aborted {
    /// Tries again, when the locks of this attempt are out of the way.
    pub(super) async fn next_attempt(self) -> Attempt {
        let (context, transaction) = (self.context.clone(), self.transaction.clone());
        let cleaning = tokio::spawn(self.clean_up());
        // It goes on in the background.
        let _ = tokio::time::timeout(CLEANUP_PATIENCE, cleaning).await;
        Attempt::of(context, transaction.next_attempt())
    }

    /// Removes its locks.
    pub(super) async fn clean_up(self) {
        // With the decision to abort, p does not matter.
        let participant = |unit| Participant { unit, prepared: Version::MIN };
        let participants = self.locks.into_iter().map(participant).collect();
        resolve_all(&self.context, &self.transaction, None, participants).await;
    }
}

/// With this planted fault, prewrites arrive again when everything is over, as a network may have it.
async fn repeat(context: &Context, transaction: &Transaction, prewrites: &[Prewrite], fault: Fault) {
    if planted::is_on(fault) {
        let steps = prewrites.iter().cloned().map(|prewrite| transaction.prewrite(prewrite)).collect();
        context.router.steps(steps).await;
        tokio::time::sleep(RESOLVE_PATIENCE / 10).await;
    }
}

/// Ends all locks, wherever they lie by now. Whether every group has acknowledged.
async fn resolve_all(
    context: &Context,
    transaction: &Transaction,
    committed_at: Option<Version>,
    participants: Vec<Participant>,
) -> bool {
    let started = Instant::now();
    let prepared: BTreeMap<Bytes, Version> = participants.into_iter().map(|it| (it.unit, it.prepared)).collect();
    let mut left: Vec<Bytes> = prepared.keys().cloned().collect();
    while !left.is_empty() {
        // Routes, once known, stay known.
        let Some(routes) = context.router.routes() else { return false };
        let shares = by_group(&routes, &left);
        let step = |units: &Vec<Bytes>| -> Prepared {
            let participant = |unit: &Bytes| Participant { unit: unit.clone(), prepared: prepared[unit] };
            transaction.resolve(committed_at, units.iter().map(participant).collect())
        };
        let answers = context.router.steps(shares.iter().map(step).collect()).await;
        let mut moved = false;
        left.clear();
        for (units, answer) in shares.into_iter().zip(answers) {
            match answer {
                Ok(_) => {}
                Err(error) => {
                    moved |= error == RouterError::CrossGroup;
                    left.extend(units);
                }
            }
        }
        if !left.is_empty() && !moved {
            if started.elapsed() >= RESOLVE_PATIENCE {
                tracing::warn!(txn = %transaction.id(), locks = left.len(), "locks are left to others");
                context.metrics.left_behind.increment(left.len() as u64);
                return false;
            }
            tokio::time::sleep(RESOLVE_PAUSE).await;
        }
    }
    true
}

/// Signs of life, each second.
async fn beat(router: Router, transaction: Transaction) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        if let Err(error) = router.step(transaction.heartbeat()).await {
            tracing::debug!(txn = %transaction.id(), %error, "a heartbeat was not answered");
        }
    }
}
