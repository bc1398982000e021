//! The one place where entries that touch group state enter the Raft log. The executor alone calls it; a house-rule
//! test counts the call sites.

use bytes::Bytes;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;

use super::GroupRaft;
use crate::raft::types::{Applied, Payload, TypeConfig};

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

/// Proposes entries.
pub struct Proposer {
    raft: GroupRaft,
}

impl Proposer {
    /// For one group.
    pub fn new(raft: GroupRaft) -> Self {
        Self { raft }
    }

    /// Proposes an entry as one that only the leader of `term` may append. `None`: the replica has stopped.
    pub async fn propose(&self, term: u64, payload: Bytes) -> Option<Proposal> {
        let (responder, result) = ProgressResponder::complete_only();
        self.raft.write(Payload(payload)).responder(responder).with_leader(term).await.ok()?;
        Some(Proposal { result })
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
