//! Makes the cluster what the catalog says, and the catalog what the cluster says.
//!
//! In one direction, storage nodes register and send heartbeats ([`register`], [`heartbeat`]). What they report and
//! nobody needs to remember (who leads, who is alive) stays in memory ([`presence`]); what does need remembering
//! (members, routes) corrects the catalog. In the other direction, *jobs* ([`jobs`]) change the cluster over several
//! steps: `bootstrap`, [`split`], [`members`]. A job is a record of the catalog from before its first step until its
//! last one, each step may be repeated, and so a crash between any two of them resumes.
//!
//! Calls to storage nodes go through `call`; [`topology`] tells gateways where groups are.
//!
//! Left out: deciding by itself that something should move. Today operators ask, and the bootstrap asks once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use proto::Dialer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalog::{Catalog, CatalogError, JobId, Record, RecordId, Settings, Snapshot, Transaction, update};
use crate::oracle::{COUNTER_BITS, Oracle};

mod bootstrap;
mod call;
pub mod heartbeat;
pub mod jobs;
mod measure;
pub mod members;
pub mod presence;
pub mod register;
pub mod split;
pub mod topology;

use call::StorageNodes;
use jobs::Progress;
use presence::Presence;
use topology::Topology;

/// What an operator decides about the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The cluster is bootstrapped once this many nodes are there.
    pub bootstrap_nodes: usize,
    /// How many groups the bootstrap founds.
    pub groups: u32,
    /// A node that has been silent for longer counts as dead.
    pub node_timeout: Duration,
    /// How long a split waits for a leader of its group before it is given up.
    pub split_patience: Duration,
    /// Snapshots stay readable for so long.
    pub snapshot_age: Duration,
}

/// The running placement, below its gRPC services.
pub struct Reconciler {
    catalog: Arc<dyn Catalog>,
    oracle: Arc<Oracle>,
    policy: Policy,
    presence: Presence,
    storage: StorageNodes,
    running: Mutex<HashMap<JobId, watch::Receiver<Progress>>>,
    topology: watch::Sender<Arc<Topology>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Reconciler {
    /// Takes up what the catalog says is unfinished, and begins to watch and to measure.
    pub async fn start(
        catalog: Arc<dyn Catalog>,
        oracle: Arc<Oracle>,
        policy: Policy,
        dialer: Dialer,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, CatalogError> {
        found_cluster(&*catalog).await?;
        let reconciler = Arc::new(Self {
            catalog,
            oracle,
            policy,
            presence: Presence::new(policy.node_timeout, Instant::now()),
            storage: StorageNodes::new(dialer),
            running: Mutex::default(),
            topology: watch::Sender::default(),
            stop,
            tasks: TaskTracker::new(),
        });
        let snapshot = reconciler.catalog.snapshot().await?;
        for job in snapshot.jobs() {
            tracing::info!(job = %job.id, kind = job.kind.name(), "resuming a job");
            reconciler.start_job(job.clone(), true);
        }
        let tasks = &reconciler.tasks;
        tasks.spawn(reconciler.clone().bootstrap_when_complete());
        tasks.spawn(reconciler.clone().publish_topology());
        tasks.spawn(reconciler.clone().measure());
        let oracle = reconciler.oracle.clone();
        let stop = reconciler.stop.clone();
        tasks.spawn(async move { oracle.keep_ahead(stop).await });
        Ok(reconciler)
    }

    /// The records that all of this is about.
    pub fn catalog(&self) -> &dyn Catalog {
        &*self.catalog
    }

    /// The source of timestamps.
    pub fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    /// The oldest timestamp whose snapshot is promised, when the newest one is `oracle`.
    pub fn safe_point(&self, oracle: u64) -> u64 {
        // Nobody registers snapshots yet, so age alone decides.
        let age_ms = u64::try_from(self.policy.snapshot_age.as_millis()).unwrap_or(u64::MAX);
        oracle.saturating_sub(age_ms.saturating_mul(1 << COUNTER_BITS))
    }

    /// What heartbeats have said lately.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Where the groups are, now and whenever that changes.
    pub fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.topology.subscribe()
    }

    /// Cancelled when the placement goes away.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs a task that [`Reconciler::stopped`] waits for; it must end when [`Reconciler::stopping`] is cancelled.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Completes when everything that was begun has come to a halt. Unfinished jobs wait in the catalog.
    pub async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Gives a new cluster its identity.
async fn found_cluster(catalog: &dyn Catalog) -> Result<(), CatalogError> {
    let cluster_id = format!("{:032x}", rand::random::<u128>());
    update(catalog, |snapshot| {
        let mut transaction = Transaction::over(snapshot);
        if snapshot.settings().is_none() {
            transaction = transaction.put(Record::Settings(Settings::new(cluster_id.clone())));
        }
        Ok((transaction, ()))
    })
    .await
}

/// The settings, which exist since [`Reconciler::start`].
fn settings(snapshot: &Snapshot) -> Result<Settings, CatalogError> {
    let missing = || CatalogError::Damaged { key: RecordId::Settings.to_string(), reason: "it is missing".to_owned() };
    snapshot.settings().cloned().ok_or_else(missing)
}
