//! openraft's view of the sender: a network factory for each replica here, a network for each replica there.
//!
//! openraft's defaults are traps, so everything is implemented: `stream_append` pipelines, `pre_vote` really asks,
//! `transfer_leader` is delivered. Heartbeats come through a client of their own (`new_heartbeat_client`), as streams
//! of one request, and become pulses.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use keyspace::{GroupId, NodeId, ReplicaId};
use openraft::OptionalSend;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption, RPCTypes,
    RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use tokio::time::Instant;

use super::append::AppendLink;
use super::convert::{Address, Malformed, transfer_out, transfer_response_in, vote_request_out, vote_response_in};
use super::peer::{Patience, Peer};
use super::pulse::PulseLink;
use super::{Shared, TransportError, ship};
use crate::raft::snapshot::SnapshotData;
use crate::raft::types::{PeerNode, TypeConfig};

/// Makes the networks of one replica.
#[derive(Clone)]
pub struct GroupNetworkFactory {
    shared: Arc<Shared>,
    group: GroupId,
    from: ReplicaId,
}

impl GroupNetworkFactory {
    pub(super) fn new(shared: Arc<Shared>, group: GroupId, from: ReplicaId) -> Self {
        Self { shared, group, from }
    }

    fn network(&self, target: u64, node: &PeerNode, purpose: Purpose) -> GroupNetwork {
        let peer = self.shared.peer(NodeId(node.node_id));
        peer.hint_address(&node.address);
        let address = Address { group: self.group, from: self.from, to: ReplicaId(target) };
        GroupNetwork { shared: self.shared.clone(), peer, address, purpose }
    }
}

impl RaftNetworkFactory<TypeConfig> for GroupNetworkFactory {
    type Network = GroupNetwork;

    async fn new_client(&mut self, target: u64, node: &PeerNode) -> GroupNetwork {
        self.network(target, node, Purpose::Entries)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &PeerNode) -> GroupNetwork {
        self.network(target, node, Purpose::Heartbeats)
    }
}

/// Which stream its appends take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Entries,
    Heartbeats,
}

/// From one replica to another of the same group.
pub struct GroupNetwork {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    address: Address,
    purpose: Purpose,
}

type AppendStream<'s> = BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>;

impl GroupNetwork {
    /// Sends one heartbeat.
    async fn beat(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
        deadline: Duration,
    ) -> Result<StreamAppendResult<TypeConfig>, TransportError> {
        if !request.entries.is_empty() {
            return Err(Malformed("a heartbeat with entries").into());
        }
        self.on_calm_link(Patience::Backoff, deadline, async |link: &PulseLink| link.beat(self.address, request).await)
            .await
    }

    async fn ask(
        &self,
        request: VoteRequest<TypeConfig>,
        pre_vote: bool,
        deadline: Duration,
    ) -> Result<VoteResponse<TypeConfig>, TransportError> {
        let message = vote_request_out(self.address, &request, pre_vote);
        let answer = self
            .on_calm_link(Patience::TryNow, deadline, async |link: &PulseLink| {
                let response = link.client().vote(with_deadline(message, deadline)).await;
                response.map_err(|status| TransportError::of_status(&status, self.peer.node, deadline))
            })
            .await?;
        Ok(vote_response_in(answer.into_inner())?)
    }

    async fn transfer(
        &self,
        request: TransferLeaderRequest<TypeConfig>,
        deadline: Duration,
    ) -> Result<TransferLeaderResponse<TypeConfig>, TransportError> {
        let message = transfer_out(self.address, &request);
        let answer = self
            .on_calm_link(Patience::TryNow, deadline, async |link: &PulseLink| {
                let response = link.client().transfer_leader(with_deadline(message, deadline)).await;
                response.map_err(|status| TransportError::of_status(&status, self.peer.node, deadline))
            })
            .await?;
        Ok(transfer_response_in(answer.into_inner(), &request)?)
    }

    /// Does one thing on the calm link, until the deadline; a link that is silent meanwhile is closed.
    async fn on_calm_link<T>(
        &self,
        patience: Patience,
        deadline: Duration,
        work: impl AsyncFnOnce(&PulseLink) -> Result<T, TransportError>,
    ) -> Result<T, TransportError> {
        let begun = Instant::now();
        let timed_out = || TransportError::TimedOut(deadline);
        let link = tokio::time::timeout(deadline, self.peer.link::<PulseLink>(patience));
        let link = link.await.map_err(|_| timed_out())??;
        let sent = Instant::now();
        match tokio::time::timeout_at(begun + deadline, work(&link)).await {
            Ok(result) => result,
            Err(_) => {
                link.suspect(sent, deadline);
                Err(timed_out())
            }
        }
    }
}

/// The receiver stops working on it at the deadline, too.
fn with_deadline<T>(message: T, deadline: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(deadline);
    request
}

impl NetBackoff<TypeConfig> for GroupNetwork {
    fn backoff(&self) -> Option<Backoff> {
        let pauses = [50, 100, 200, 400].into_iter().chain(std::iter::repeat(500));
        Some(Backoff::new(pauses.map(Duration::from_millis)))
    }
}

impl NetStreamAppend<TypeConfig> for GroupNetwork {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<AppendStream<'s>, RPCError<TypeConfig>>>
    where
        S: futures::Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        let failed = |error: TransportError, address| error.for_openraft(RPCTypes::AppendEntries, address);
        let network: &'s Self = self;
        Box::pin(async move {
            let address = network.address;
            if network.purpose == Purpose::Heartbeats {
                let deadline = option.soft_ttl();
                let answers = input.then(move |request| async move {
                    network.beat(request, deadline).await.map_err(|error| failed(error, address))
                });
                return Ok(Box::pin(answers) as AppendStream<'s>);
            }
            // openraft waits out its backoff inside the stream of requests. Failing before a request was taken would
            // have it try again at once, for ever.
            let mut input = input;
            let Some(first) = input.next().await else { return Ok(Box::pin(stream::empty()) as AppendStream<'s>) };
            let input = stream::iter([first]).chain(input);
            let link = network.peer.link::<AppendLink>(Patience::Backoff).await;
            let lane = link.and_then(|link| link.lane(address, input, network.peer.options.append_timeout));
            let lane = lane.map_err(|error| failed(error, address))?;
            // Asked only now: a lane that exists is ended by `unreachable_until`, one that does not yet would slip by.
            if network.shared.is_withheld(address.group, address.to) {
                return Err(failed(TransportError::Withheld, address));
            }
            Ok(Box::pin(lane) as AppendStream<'s>)
        })
    }
}

impl NetVote<TypeConfig> for GroupNetwork {
    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.ask(request, false, option.soft_ttl()).await;
        answer.map_err(|error| error.for_openraft(RPCTypes::Vote, self.address))
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.ask(request, true, option.soft_ttl()).await;
        answer.map_err(|error| error.for_openraft(RPCTypes::Vote, self.address))
    }
}

impl NetTransferLeader<TypeConfig> for GroupNetwork {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.transfer(request, option.soft_ttl()).await;
        answer.map_err(|error| error.for_openraft(RPCTypes::TransferLeader, self.address))
    }
}

impl NetSnapshot<TypeConfig> for GroupNetwork {
    type SnapshotData = SnapshotData;

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let deadline = option.soft_ttl();
        let work = ship::ship(&self.shared, &self.peer, self.address, vote, snapshot);
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            result = tokio::time::timeout(deadline, work) => {
                let result = result.unwrap_or(Err(TransportError::TimedOut(deadline)));
                result.map_err(|error| error.for_openraft(RPCTypes::InstallSnapshot, self.address).into())
            }
        }
    }
}
