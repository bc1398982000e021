//! One replica of a group on this node: openraft over the shared log and the data, with its executor and reader.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyspace::{GroupId, NodeId, ReplicaId, Route};
use openraft::async_runtime::WatchReceiver;
use openraft::{Config, RaftMetrics, ServerState, SnapshotPolicy};
use proto::wire;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::Node;
use crate::config::{RaftTiming, Reads, StorageConfig};
use crate::group::execute::{Executor, ExecutorLimits, Internal, InternalDone, Job};
use crate::group::machine::StateMachine;
use crate::group::read::{QueuedRead, ReadCheck, ReadPolicy, Reader};
use crate::group::state::{StateError, Views};
use crate::group::{GroupRaft, WallClock};
use crate::raft::log::GroupLog;
use crate::raft::types::TypeConfig;

/// Jobs that wait for an executor before its senders have to wait.
const INBOX: usize = 4096;
/// How long a leader is asked again for something that it did not execute.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// Why a replica does not start or does not do what is asked.
#[derive(Debug, Error)]
pub enum ReplicaError {
    /// openraft refused its configuration or its stored state.
    #[error("replica of group {group} does not start: {reason}")]
    Start {
        /// The group.
        group: GroupId,
        /// What openraft said.
        reason: String,
    },
    /// The replica does not lead; the one that does may be known.
    #[error("this replica of group {0} does not lead")]
    NotLeader(GroupId),
    /// Asked again later, it may work.
    #[error("group {group}: {reason}")]
    Retry {
        /// The group.
        group: GroupId,
        /// Why not now.
        reason: String,
    },
    /// The group's state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A running replica.
pub struct Replica {
    /// The group.
    pub group: GroupId,
    /// This member.
    pub id: ReplicaId,
    /// openraft.
    pub raft: GroupRaft,
    /// Snapshots of the group.
    pub views: Arc<Views>,
    /// Its Raft log.
    pub log: GroupLog,
    /// The clock that its leader moves time by.
    pub clock: WallClock,
    /// To the executor.
    pub jobs: mpsc::Sender<Job>,
    /// To the reader.
    pub reads: mpsc::Sender<QueuedRead>,
    held_until: Option<Instant>,
    tasks: parking_lot::Mutex<JoinSet<()>>,
}

impl Replica {
    /// Starts the replica from its durable state.
    ///
    /// `restarted`: it has run before, and has forgotten the lease that it may have granted; it neither votes nor
    /// stands for election during the boot hold.
    pub async fn start(node: &Node, group: GroupId, id: ReplicaId, restarted: bool) -> Result<Self, ReplicaError> {
        let failed = |error: &dyn std::error::Error| ReplicaError::Start { group, reason: error.to_string() };
        let log = node.log.group(group, id).map_err(|error| failed(&error))?;
        let views = Arc::new(Views::new(node.data.clone(), group));
        let machine = StateMachine::new(group, node.data.clone(), views.clone(), log.clone());
        let config = raft_config(&node.config, !restarted).validate().map_err(|error| failed(&error))?;
        let network = node.transport.network(group, id);
        let raft = GroupRaft::new(id.0, Arc::new(config), network, log.clone(), machine)
            .await
            .map_err(|error| failed(&error))?;

        let policy = match node.config.reads {
            Reads::Lease => ReadPolicy::Lease(node.config.raft.read_lease()),
            Reads::ReadIndex => ReadPolicy::ReadIndex,
        };
        let check = ReadCheck::new(raft.clone(), policy);
        let clock = WallClock::new(node.transport.clocks().clone(), node.id);
        let (jobs, inbox) = mpsc::channel(INBOX);
        let (reads, read_queue) = mpsc::channel(INBOX);
        let limits = node.config.executor;
        let executor = Executor {
            group,
            raft: raft.clone(),
            views: views.clone(),
            check: check.clone(),
            clock: clock.clone(),
            leftovers: node.leftovers.clone(),
            limits: ExecutorLimits {
                pipeline_depth: limits.pipeline_depth.max(1),
                batch_bytes: limits.batch_bytes,
                batch_requests: limits.batch_requests.max(1),
                batch_timeout: Duration::from_millis(limits.batch_timeout_ms),
                lock_wait: Duration::from_millis(limits.lock_wait_ms),
            },
        };
        let reader = Reader {
            group,
            check,
            views: views.clone(),
            executor: jobs.clone(),
            clock: clock.clone(),
            raft: raft.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(executor.run(inbox));
        tasks.spawn(reader.run(read_queue));
        let held_until = restarted.then(|| Instant::now() + node.config.raft.boot_hold());
        if let Some(until) = held_until {
            let raft = raft.clone();
            tasks.spawn(async move {
                tokio::time::sleep_until(until.into()).await;
                raft.runtime_config().elect(true);
            });
        }
        let replica = Self { group, id, raft, views, log, clock, jobs, reads, held_until, tasks: tasks.into() };
        replica.learn_voters();
        Ok(replica)
    }

    /// Whether it may vote: not during its boot hold.
    pub fn votes(&self) -> bool {
        self.held_until.is_none_or(|until| Instant::now() >= until)
    }

    /// What openraft says of itself now.
    pub fn metrics(&self) -> RaftMetrics<TypeConfig> {
        // Cloned at once: openraft waits for whoever holds the borrow.
        self.raft.metrics().borrow_watched().clone()
    }

    /// Whether it leads its group.
    pub fn leads(&self) -> bool {
        self.raft.server_metrics().borrow_watched().state == ServerState::Leader
    }

    /// Its term, as far as it has voted.
    pub fn term(&self) -> u64 {
        openraft::vote::RaftVote::leader_id(&self.raft.server_metrics().borrow_watched().vote).term
    }

    /// Tells the clock which nodes must agree with it.
    pub fn learn_voters(&self) {
        let server = self.raft.server_metrics().borrow_watched().clone();
        let membership = server.membership_config.membership();
        let node_of = |id: &u64| membership.get_node(id).map(|node| NodeId(node.node_id));
        let halves = membership.get_joint_config().iter();
        self.clock.set_voters(halves.map(|half| half.iter().filter_map(node_of).collect()).collect());
    }

    /// Has the executor do something; only the leader's does. Every [`Internal`] may be repeated, so a leader that has
    /// only just taken office, or whose chain broke, is asked again for a while.
    pub async fn internal(&self, internal: Internal) -> Result<InternalDone, ReplicaError> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.internal_once(internal.clone()).await {
                Err(ReplicaError::Retry { .. }) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }

    async fn internal_once(&self, internal: Internal) -> Result<InternalDone, ReplicaError> {
        let group = self.group;
        let (done, result) = oneshot::channel();
        let stopped = || ReplicaError::Retry { group, reason: "the replica is stopping".to_owned() };
        self.jobs.send(Job::Internal(internal, done)).await.map_err(|_| stopped())?;
        match result.await.map_err(|_| stopped())? {
            InternalDone::Retry if !self.leads() => Err(ReplicaError::NotLeader(group)),
            InternalDone::Retry => Err(ReplicaError::Retry { group, reason: "not executed".to_owned() }),
            done => Ok(done),
        }
    }

    /// Gives a new group its first ranges. Nothing happens when it has some.
    pub async fn found(&self, routes: Vec<Route>) -> Result<(), ReplicaError> {
        self.internal(Internal::Found(routes)).await.map(drop)
    }

    /// Hands leadership to `to`, or to the most advanced other voter. Fire and forget: watch who leads.
    pub async fn hand_over(&self, to: Option<ReplicaId>) -> Option<ReplicaId> {
        let metrics = self.metrics();
        if metrics.state != ServerState::Leader {
            return None;
        }
        let voters: BTreeSet<u64> = metrics.membership_config.membership().voter_ids().collect();
        let matched = |id: &u64| metrics.replication.as_ref().and_then(|all| all.get(id).cloned()).flatten();
        let best = voters.iter().filter(|voter| **voter != self.id.0).max_by_key(|voter| matched(voter));
        let to = to.map(|to| to.0).filter(|to| voters.contains(to)).or(best.copied())?;
        self.raft.trigger().transfer_leader(to).await.ok()?;
        Some(ReplicaId(to))
    }

    /// Stops the tasks and openraft. The durable state stays.
    pub async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(group = self.group.0, %error, "replica did not stop cleanly");
        }
    }

    /// What the placement learns of this replica.
    pub fn report(&self) -> Result<wire::ReplicaReport, StateError> {
        let metrics = self.metrics();
        let leading = metrics.state == ServerState::Leader;
        let group = if leading { Some(self.group_report(&metrics)?) } else { None };
        Ok(wire::ReplicaReport {
            group_id: self.group.0,
            replica_id: self.id.0,
            term: metrics.current_term,
            leading,
            applied_index: metrics.last_applied.map_or(0, |applied| applied.index()),
            group,
        })
    }

    fn group_report(&self, metrics: &RaftMetrics<TypeConfig>) -> Result<wire::GroupReport, StateError> {
        let view = self.views.open()?;
        let ranges = view.ranges.iter().map(|owned| proto::route::range_report(&owned.route)).collect();
        let members = super::members::members(metrics);
        Ok(wire::GroupReport { members, ranges })
    }
}

/// openraft's settings: see openraft's facts in docs/decisions.
fn raft_config(config: &StorageConfig, enable_elect: bool) -> Config {
    let RaftTiming { heartbeat_interval_ms, election_timeout_min_ms, election_timeout_max_ms } = config.raft;
    Config {
        cluster_name: "elastickv".to_owned(),
        heartbeat_interval: heartbeat_interval_ms,
        heartbeat_min_interval: Some(heartbeat_interval_ms),
        election_timeout_min: election_timeout_min_ms,
        election_timeout_max: election_timeout_max_ms,
        enable_pre_vote: Some(true),
        enable_elect,
        enable_leader_restore: Some(false),
        max_payload_entries: 512,
        max_append_entries: Some(4096),
        api_channel_size: Some(4096),
        notification_channel_size: Some(4096),
        state_machine_channel_size: Some(64),
        // Snapshots are scheduled by the node, see `supervise`.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: config.log.keep_entries,
        // Deletions cost a range tombstone each: many entries at a time, but never more than are kept anyway.
        purge_batch_size: config.log.keep_entries.clamp(1, 4096),
        install_snapshot_timeout: 600_000,
        ..Config::default()
    }
}
