//! Jobs: what takes several steps, and must not end between two of them.
//!
//! A job is a record of the catalog before anything is done about it. One task carries it out: an *attempt* runs all
//! steps from the first one, which is right because each may be repeated; what fails for now is attempted again after a
//! growing pause; the last step deletes the record together with writing the result. A placement that starts resumes
//! whatever it finds. So at most one task carries out a job at any time, and a finished job leaves no record.

use std::sync::Arc;
use std::time::Duration;

use proto::{Fault, FaultCode};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Reconciler;
use super::call::CallError;
use super::split::SplitDone;
use crate::catalog::{self, CatalogError, Job, JobId, JobKind, MemberRecord, RecordId, Transaction};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The first groups run, and the routes are in the catalog.
    Bootstrapped,
    /// The range is cut.
    Split(Box<SplitDone>),
    /// The group has these members.
    MembersChanged(Vec<MemberRecord>),
    /// The replica is gone.
    ReplicaRemoved,
}

/// How far a job is.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Steps are still to be done.
    Working {
        /// Why the last attempt did not get further, if it did not.
        last_failure: Option<String>,
    },
    /// The record is gone: the job is done, or it was refused and has changed nothing.
    Finished(Result<Done, Fault>),
}

/// Why an attempt did not get to its end.
#[derive(Clone, Debug)]
pub(super) enum Setback {
    /// Attempt it again later.
    Later {
        /// What it waits for.
        reason: String,
        /// Whether this attempt certainly has changed nothing anywhere.
        untouched: bool,
    },
    /// It will never succeed, and has changed nothing.
    Refused(Fault),
}

impl From<CatalogError> for Setback {
    fn from(error: CatalogError) -> Self {
        Setback::Later { reason: error.to_string(), untouched: false }
    }
}

impl From<CallError> for Setback {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotHere(reason) => Setback::Later { reason, untouched: true },
            CallError::Unclear(reason) => Setback::Later { reason, untouched: false },
            CallError::Refused(fault) => Setback::Refused(fault),
        }
    }
}

impl Setback {
    /// For steps that have to succeed some day: what is refused now is asked for again later.
    pub(super) fn waiting(error: CallError) -> Self {
        match error {
            CallError::Refused(fault) => Setback::Later { reason: fault.message, untouched: false },
            other => other.into(),
        }
    }
}

impl Reconciler {
    /// Carries out a job whose record is in the catalog. `resumed`: an earlier process may have done some steps.
    pub(super) fn start_job(self: &Arc<Self>, job: Job, resumed: bool) -> watch::Receiver<Progress> {
        let (progress, seen) = watch::channel(Progress::Working { last_failure: None });
        self.running.lock().insert(job.id, seen.clone());
        let reconciler = self.clone();
        self.tasks.spawn(async move {
            if let Some(result) = reconciler.carry_out(&job, resumed, &progress).await {
                match &result {
                    Ok(_) => tracing::info!(job = %job.id, kind = job.kind.name(), "a job is done"),
                    Err(fault) => tracing::warn!(job = %job.id, kind = job.kind.name(), %fault, "a job was refused"),
                }
                progress.send_replace(Progress::Finished(result));
            }
            reconciler.running.lock().remove(&job.id);
        });
        seen
    }

    /// Waits until a job is finished; `None` when the placement stops before.
    pub(super) async fn finished(&self, mut progress: watch::Receiver<Progress>) -> Option<Result<Done, Fault>> {
        let finished = progress.wait_for(|progress| matches!(progress, Progress::Finished(_))).await.ok()?;
        match &*finished {
            Progress::Finished(result) => Some(result.clone()),
            Progress::Working { .. } => None,
        }
    }

    /// Why the last attempt of a running job did not get further.
    pub fn last_failure(&self, job: JobId) -> Option<String> {
        match &*self.running.lock().get(&job)?.borrow() {
            Progress::Working { last_failure } => last_failure.clone(),
            Progress::Finished(_) => None,
        }
    }

    /// Attempts a job until it is done or refused; `None` when the placement stops before.
    async fn carry_out(
        self: &Arc<Self>,
        job: &Job,
        resumed: bool,
        progress: &watch::Sender<Progress>,
    ) -> Option<Result<Done, Fault>> {
        let begun = Instant::now();
        let mut untouched = !resumed;
        let mut pause = FIRST_PAUSE;
        loop {
            let attempt = tokio::select! {
                () = self.stop.cancelled() => return None,
                attempt = self.attempt(job) => attempt,
            };
            let (fault, reason) = match attempt {
                Ok(done) => return Some(Ok(done)),
                Err(Setback::Refused(fault)) => (Some(fault), String::new()),
                Err(Setback::Later { reason, untouched: this_time }) => {
                    untouched &= this_time;
                    let hopeless = untouched && begun.elapsed() >= self.policy.split_patience;
                    // Somebody waits for a split, and nothing has happened yet: say so rather than go on for ever.
                    let given_up = matches!(job.kind, JobKind::Split { .. }) && hopeless;
                    (given_up.then(|| Fault::new(FaultCode::NotLeading, reason.clone())), reason)
                }
            };
            let reason = match fault {
                None => reason,
                Some(fault) => match self.abandon(job).await {
                    Ok(()) => return Some(Err(fault)),
                    Err(error) => error.to_string(),
                },
            };
            tracing::warn!(job = %job.id, kind = job.kind.name(), reason, "a job has to wait");
            progress.send_replace(Progress::Working { last_failure: Some(reason) });
            let jittered = pause.mul_f64(rand::random_range(0.75..1.25));
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = tokio::time::sleep(jittered) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(self: &Arc<Self>, job: &Job) -> Result<Done, Setback> {
        match &job.kind {
            JobKind::Bootstrap { groups } => self.attempt_bootstrap(job.id, groups).await,
            JobKind::Split { group, range, epoch, split_key, left, right } => {
                let cut = super::split::Cut {
                    group: *group,
                    range: *range,
                    epoch: *epoch,
                    split_key: split_key.clone(),
                    left: *left,
                    right: *right,
                };
                self.attempt_split(job.id, cut).await
            }
            JobKind::ChangeMembers { group, add, remove } => self.attempt_change(job.id, *group, *add, *remove).await,
            JobKind::RemoveReplica { group, member } => self.attempt_removal(job.id, *group, *member).await,
        }
    }

    /// Deletes the record of a job that was refused.
    async fn abandon(&self, job: &Job) -> Result<(), CatalogError> {
        catalog::update(self.catalog(), |snapshot| {
            let transaction = Transaction::over(snapshot);
            Ok(match snapshot.job(job.id) {
                Some(_) => (transaction.delete(RecordId::Job(job.id)), ()),
                None => (transaction, ()),
            })
        })
        .await
    }
}
