//! The one place where entries that touch group state enter the Raft log. The executor alone calls it; a house-rule
//! test counts the call sites.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardToLeader};
use openraft::impls::ProgressResponder;
use openraft::raft::responder::Responder as _;
use planted::Fault;

use super::GroupRaft;
use crate::raft::types::{Applied, Payload, TypeConfig};

type Responder = ProgressResponder<TypeConfig, WriteResult>;
type WriteResult = openraft::raft::ClientWriteResult<TypeConfig>;
type ServerMetrics = openraft::metrics::RaftServerMetrics<TypeConfig>;
type Metrics = openraft::RaftMetrics<TypeConfig>;

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Applied, and taken by the chain.
    Taken,
    /// Applied, and without effect on every replica.
    Skipped,
    /// Never entered the log.
    Refused,
    /// Nobody here knows: the office is lost.
    Unknown,
}

/// A proposal on its way.
pub struct Proposal {
    result: tokio::sync::oneshot::Receiver<WriteResult>,
}

impl Proposal {
    /// Waits for the decision. May be dropped and called again.
    pub async fn verdict(&mut self) -> Verdict {
        match (&mut self.result).await {
            Ok(result) => judge(result),
            Err(_) => Verdict::Unknown,
        }
    }

    /// The decision, if there is one.
    pub fn try_verdict(&mut self) -> Option<Verdict> {
        match self.result.try_recv() {
            Ok(result) => Some(judge(result)),
            Err(tokio::sync::oneshot::error::TryRecvError::Empty) => None,
            Err(tokio::sync::oneshot::error::TryRecvError::Closed) => Some(Verdict::Unknown),
        }
    }
}

fn judge(result: WriteResult) -> Verdict {
    match result {
        Ok(response) => match response.data {
            Applied::Taken => Verdict::Taken,
            Applied::Skipped => Verdict::Skipped,
        },
        Err(ClientWriteError::ForwardToLeader(_)) => Verdict::Refused,
        Err(ClientWriteError::LogEntryDiscarded(_)) => Verdict::Unknown,
        Err(ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_)) => {
            unreachable!("only membership changes are refused like this")
        }
    }
}

async fn append(raft: &GroupRaft, term: u64, payload: Bytes, responder: Responder) -> Option<()> {
    raft.write(Payload(payload)).responder(responder).with_leader(term).await.ok()
}

/// With a planted fault of the chain, so often a proposal goes astray.
const MISLAID_EVERY: u64 = 40;
/// With [`Fault::OldRunTaken`], one comes so much later: behind the barrier that decided about it.
const LATE: Duration = Duration::from_secs(7);

/// Proposes entries.
pub struct Proposer {
    raft: GroupRaft,
    /// For the planted faults alone.
    proposals: AtomicU64,
}

impl Proposer {
    /// For one group.
    pub fn new(raft: GroupRaft) -> Self {
        Self { raft, proposals: AtomicU64::new(0) }
    }

    /// Proposes an entry as one that only the leader of `term` may append. `None`: the replica has stopped.
    pub async fn propose(&self, term: u64, payload: Bytes) -> Option<Proposal> {
        let (responder, result) = ProgressResponder::complete_only();
        match self.mislaid() {
            None => append(&self.raft, term, payload, responder).await?,
            // What openraft does now and then to one message of a stream, only more often.
            Some(Fault::ChainCheckOff) => {
                responder.on_complete(Err(ClientWriteError::ForwardToLeader(ForwardToLeader::empty())));
            }
            Some(_) => {
                let raft = self.raft.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(LATE).await;
                    append(&raft, term, payload, responder).await
                });
            }
        }
        Some(Proposal { result })
    }

    /// The planted fault that this proposal falls victim to.
    fn mislaid(&self) -> Option<Fault> {
        let fault = [Fault::ChainCheckOff, Fault::OldRunTaken].into_iter().find(|fault| planted::is_on(*fault))?;
        (self.proposals.fetch_add(1, Ordering::Relaxed) % MISLAID_EVERY == MISLAID_EVERY - 1).then_some(fault)
    }

    /// Watches whether this replica leads.
    pub fn watch_office(&self) -> OfficeWatch {
        OfficeWatch { server: self.raft.server_metrics(), metrics: self.raft.metrics(), id: *self.raft.node_id() }
    }
}

type Watch<T> = openraft::alias::WatchReceiverOf<TypeConfig, T>;

/// Who leads, as openraft publishes it.
pub struct OfficeWatch {
    server: Watch<ServerMetrics>,
    metrics: Watch<Metrics>,
    id: u64,
}

impl OfficeWatch {
    /// The term of this replica's office, once it has applied an entry of that term.
    pub fn ready(&self) -> Option<u64> {
        let metrics = self.metrics.borrow_watched();
        let leads = metrics.state == ServerState::Leader && metrics.current_leader == Some(self.id);
        let applied_own = metrics
            .last_applied
            .as_ref()
            .is_some_and(|applied| applied.committed_leader_id().term == metrics.current_term);
        (leads && applied_own && metrics.running_state.is_ok()).then_some(metrics.current_term)
    }

    /// Whether this replica still leads in `term`.
    pub fn holds(&self, term: u64) -> bool {
        let server = self.server.borrow_watched();
        server.state == ServerState::Leader && openraft::vote::RaftVote::leader_id(&server.vote).term == term
    }

    /// Waits for news; false when the replica has stopped.
    pub async fn changed(&mut self) -> bool {
        // Before an office everything matters (what is applied); during one, only who leads.
        if self.ready().is_some() { self.server.changed().await.is_ok() } else { self.metrics.changed().await.is_ok() }
    }
}
