//! Cutting a range in two, inside its group.
//!
//! Steps of the job: the group's leader cuts (one entry of its log, no data moves); one commit replaces the parent's route
//! by those of its children and deletes the job. Between the two a heartbeat may already have brought the children into
//! the catalog; then only the job is left to delete.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keyspace::{Epoch, GroupId, RangeId, Route};
use proto::route::reported_route;
use proto::{Fault, FaultCode, wire};
use thiserror::Error;

use super::heartbeat::put_routes;
use super::jobs::{Done, Setback};
use super::{Reconciler, settings};
use crate::catalog::{self, CatalogError, Job, JobId, JobKind, Record, RecordId, Snapshot, Transaction};
use crate::plan::correct::Correction;
use crate::plan::split::{SplitRefusal, check_split, children};

const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// How much longer than the split's patience its caller waits: what may have happened is not given up.
const ANSWER_MARGIN: Duration = Duration::from_secs(10);

/// Why a range was not split, or not yet.
#[derive(Clone, Debug, Error)]
pub enum SplitError {
    /// The request does not fit the catalog.
    #[error(transparent)]
    Refused(#[from] SplitRefusal),
    /// Another job is at this range.
    #[error("job {job} is splitting route {range} already; list the routes once it is done")]
    Busy {
        /// The range.
        range: RangeId,
        /// The job.
        job: JobId,
    },
    /// The group refused it, or has no leader. Nothing has changed.
    #[error(transparent)]
    Group(Fault),
    /// The job goes on without the caller.
    #[error("job {job} is still splitting route {range}; list the routes to see when it is done")]
    StillRunning {
        /// The range.
        range: RangeId,
        /// The job.
        job: JobId,
    },
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// What a split job does.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    pub group: GroupId,
    pub range: RangeId,
    pub epoch: Epoch,
    pub split_key: Bytes,
    pub left: RangeId,
    pub right: RangeId,
}

/// A range that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitDone {
    /// The version of the catalog since.
    pub version: u64,
    /// The lower half.
    pub left: Route,
    /// The upper half.
    pub right: Route,
}

impl Reconciler {
    /// Cuts a range at an encoded key, if the catalog has the version that the caller decided on.
    pub async fn split_range(
        self: &Arc<Self>,
        expected_version: u64,
        range: RangeId,
        split_key: Bytes,
    ) -> Result<SplitDone, SplitError> {
        let job = self.plan_split(expected_version, range, &split_key).await?;
        let id = job.id;
        let progress = self.start_job(job, false);
        let patience = self.policy.split_patience + ANSWER_MARGIN;
        let still_running = || SplitError::StillRunning { range, job: id };
        let finished = tokio::time::timeout(patience, self.finished(progress)).await.map_err(|_| still_running())?;
        match finished.ok_or_else(still_running)? {
            Ok(Done::Split(done)) => Ok(*done),
            Ok(other) => unreachable!("a split job ends with a split, not with {other:?}"),
            Err(fault) => Err(SplitError::Group(fault)),
        }
    }

    /// Checks the request and writes the job, both over one snapshot.
    async fn plan_split(&self, expected: u64, range: RangeId, split_key: &Bytes) -> Result<Job, SplitError> {
        catalog::update(self.catalog(), |snapshot| {
            let route = snapshot.route(range);
            check_split(expected, snapshot.route_version(), range, route, split_key)?;
            let route = route.ok_or(SplitRefusal::UnknownRoute(range))?;
            if let Some(busy) = snapshot.jobs().find(|job| cuts(job, range)) {
                return Err(SplitError::Busy { range, job: busy.id });
            }
            let mut settings = settings(snapshot)?;
            let kind = JobKind::Split {
                group: route.group,
                range,
                epoch: route.epoch,
                split_key: split_key.clone(),
                left: settings.take_range(),
                right: settings.take_range(),
            };
            let job = Job { id: settings.take_job(), kind };
            let transaction = Transaction::over(snapshot)
                .require(RecordId::RouteVersion)
                .require(RecordId::Route(range))
                .put(Record::Settings(settings))
                .put(Record::Job(job.clone()));
            Ok((transaction, job))
        })
        .await
    }

    /// Lets the group cut, then writes down what it did.
    pub(super) async fn attempt_split(&self, job: JobId, cut: Cut) -> Result<Done, Setback> {
        let snapshot = self.catalog().snapshot().await?;
        let parent = snapshot.route(cut.range).filter(|parent| parent.epoch == cut.epoch);
        let Some(parent) = parent else { return self.end_of_split(&snapshot, job, &cut).await };
        let group = snapshot.group(cut.group).ok_or_else(|| Setback::Later {
            reason: format!("the catalog has lost group {}", cut.group),
            untouched: true,
        })?;
        let request = wire::SplitReplicaRangeRequest {
            group_id: cut.group.0,
            range_id: cut.range.0,
            epoch: cut.epoch.0,
            split_key: cut.split_key.clone(),
            left_range_id: cut.left.0,
            right_range_id: cut.right.0,
        };
        let answer = self.call_leader(&snapshot, cut.group, &group.members, CALL_DEADLINE, |mut client| {
            let request = request.clone();
            async move { client.split_range(request).await }
        });
        let (left, right) = halves(answer.await?, parent, &cut)?;
        let version = catalog::update(self.catalog(), |snapshot| {
            Ok::<_, CatalogError>(publish(snapshot, job, &cut, &left, &right))
        });
        Ok(Done::Split(Box::new(SplitDone { version: version.await?, left, right })))
    }

    /// The parent is no more: a heartbeat has brought the children, or something else has happened to the range.
    async fn end_of_split(&self, snapshot: &Snapshot, job: JobId, cut: &Cut) -> Result<Done, Setback> {
        let (Some(left), Some(right)) = (snapshot.route(cut.left), snapshot.route(cut.right)) else {
            let message = format!("route {} has changed meanwhile; list the routes and decide again", cut.range);
            return Err(Setback::Refused(Fault::new(FaultCode::Conflict, message)));
        };
        let version =
            catalog::update(self.catalog(), |snapshot| Ok::<_, CatalogError>(publish(snapshot, job, cut, left, right)));
        let (version, left, right) = (version.await?, left.clone(), right.clone());
        Ok(Done::Split(Box::new(SplitDone { version, left, right })))
    }
}

fn cuts(job: &Job, wanted: RangeId) -> bool {
    matches!(job.kind, JobKind::Split { range, .. } if range == wanted)
}

/// The children as the group made them; they must be those that were asked for.
fn halves(answer: wire::SplitReplicaRangeResponse, parent: &Route, cut: &Cut) -> Result<(Route, Route), Setback> {
    let strange = |reason: String| Setback::Later { reason, untouched: false };
    let half = |report: Option<wire::RangeReport>| match report {
        Some(report) => reported_route(report, cut.group).map_err(|error| strange(error.to_string())),
        None => Err(strange("the group has answered a split without its halves".to_owned())),
    };
    let halves = (half(answer.left)?, half(answer.right)?);
    let expected = children(parent, &cut.split_key, cut.left, cut.right);
    if expected.is_none_or(|expected| expected != halves) {
        return Err(strange(format!("group {} has cut range {} otherwise than asked", cut.group, cut.range)));
    }
    Ok(halves)
}

/// The last step. Answers the version at which the children are in the catalog.
fn publish(snapshot: &Arc<Snapshot>, job: JobId, cut: &Cut, left: &Route, right: &Route) -> (Transaction, u64) {
    let version = snapshot.route_version();
    let transaction = Transaction::over(snapshot);
    if snapshot.job(job).is_none() {
        return (transaction, version);
    }
    let transaction = transaction.delete(RecordId::Job(job));
    if snapshot.route(cut.range).is_none_or(|parent| parent.epoch != cut.epoch) {
        // A heartbeat of the leader was faster.
        return (transaction, version);
    }
    let change = Correction { removed: vec![cut.range], upserted: vec![left.clone(), right.clone()] };
    (put_routes(snapshot, change, transaction), version + 1)
}
