//! Calls to storage nodes, and what their failures mean.
//!
//! Every call may be repeated, so what a failure decides is only: ask another member, try again later, or give up. A
//! failure also tells whether the call can have had an effect; that of a cut connection can.

use std::collections::HashMap;
use std::time::Duration;

use keyspace::{GroupId, NodeId};
use parking_lot::Mutex;
use proto::wire::replicas_client::ReplicasClient;
use proto::{Dialer, Fault, FaultCode};
use thiserror::Error;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use super::Reconciler;
use crate::catalog::{MemberRecord, Snapshot};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a call had no success.
#[derive(Clone, Debug, Error)]
pub(super) enum CallError {
    /// The node was reached and did nothing: somebody else leads, or it has no such replica yet.
    #[error("{0}")]
    NotHere(String),
    /// Nobody knows whether it had an effect.
    #[error("{0}")]
    Unclear(String),
    /// It will be refused however often it is repeated.
    #[error("{0}")]
    Refused(Fault),
}

/// Connections to storage nodes, one a node, made when first needed.
pub(super) struct StorageNodes {
    dialer: Dialer,
    channels: Mutex<HashMap<NodeId, (String, Channel)>>,
}

impl StorageNodes {
    pub(super) fn new(dialer: Dialer) -> Self {
        Self { dialer, channels: Mutex::default() }
    }

    /// A client for a node; a new connection when its address has changed.
    fn client(&self, node: NodeId, address: &str) -> Result<ReplicasClient<Channel>, CallError> {
        let mut channels = self.channels.lock();
        if let Some((_, channel)) = channels.get(&node).filter(|(known, _)| known == address) {
            return Ok(ReplicasClient::new(channel.clone()));
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| CallError::NotHere(format!("node {node} has a bad address {address:?}: {error}")))?;
        let channel = self.dialer.connect_lazy(&endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true));
        channels.insert(node, (address.to_owned(), channel.clone()));
        Ok(ReplicasClient::new(channel))
    }
}

impl Reconciler {
    /// Calls one node.
    pub(super) async fn call_node<T, F>(
        &self,
        snapshot: &Snapshot,
        node: NodeId,
        deadline: Duration,
        call: impl FnOnce(ReplicasClient<Channel>) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let unknown = || CallError::NotHere(format!("there is no node {node}"));
        let address = &snapshot.node(node).ok_or_else(unknown)?.address;
        let client = self.storage.client(node, address)?;
        match tokio::time::timeout(deadline, call(client)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(judge(node, address, &status)),
            Err(_) => {
                let waited = deadline.as_secs_f32();
                Err(CallError::Unclear(format!("node {node} at {address} did not answer within {waited} s")))
            }
        }
    }

    /// Calls the leader of a group: the node that last said it leads, then the other members in their order.
    pub(super) async fn call_leader<T, F>(
        &self,
        snapshot: &Snapshot,
        group: GroupId,
        members: &[MemberRecord],
        deadline: Duration,
        call: impl Fn(ReplicasClient<Channel>) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let hint = self.presence().leader(group).node;
        let mut candidates: Vec<NodeId> = Vec::new();
        for member in members {
            if !candidates.contains(&member.node) {
                candidates.push(member.node);
            }
        }
        candidates.sort_by_key(|node| Some(*node) != hint);
        let mut failures = Vec::new();
        let mut unclear = false;
        for node in candidates {
            match self.call_node(snapshot, node, deadline, &call).await {
                Ok(answer) => return Ok(answer),
                Err(CallError::Refused(fault)) => return Err(CallError::Refused(fault)),
                Err(CallError::NotHere(failure)) => failures.push(failure),
                Err(CallError::Unclear(failure)) => {
                    unclear = true;
                    failures.push(failure);
                }
            }
        }
        let reason = format!("no member of group {group} answers as its leader ({})", failures.join("; "));
        Err(if unclear { CallError::Unclear(reason) } else { CallError::NotHere(reason) })
    }
}

fn judge(node: NodeId, address: &str, status: &Status) -> CallError {
    let reason = format!("node {node} at {address}: {}", status.message());
    match Fault::of(status) {
        Ok(Some(fault)) => match fault.code {
            FaultCode::NotLeading | FaultCode::NotFound | FaultCode::Overloaded => CallError::NotHere(reason),
            FaultCode::Unavailable | FaultCode::OutcomeUnknown | FaultCode::Internal => CallError::Unclear(reason),
            FaultCode::InvalidArgument
            | FaultCode::StaleCatalog
            | FaultCode::Conflict
            | FaultCode::Unsupported
            | FaultCode::FailedPrecondition => CallError::Refused(fault),
        },
        // Made by the transport, or by something between us and the node.
        Ok(None) | Err(_) => match status.code() {
            Code::FailedPrecondition => CallError::NotHere(reason),
            _ => CallError::Unclear(reason),
        },
    }
}
