//! Finishing what dead coordinators have left behind.
//!
//! A gateway may vanish between any two steps of a transaction. The leader of each group looks for locks
//! that are old and for decisions that nobody has carried to all participants (`World::leftovers`), and hands them to
//! this task:
//!
//! 1. For an old lock, ask the leader of its anchor to abort the transaction *if it is dead*, and believe what it says:
//!    Aborted, or Committed at c. Then resolve the lock in the group that holds it.
//! 2. For a decision, resolve all participants; when every group has answered, have the anchor's group forget it.
//!
//! Whatever cannot be reached now is found again. Gateways do the same for locks that stand in their
//! way, so all this only bounds how long a lock can stay: with the placement down it waits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keyspace::{GroupId, TransactionId};
use metrics::counter;
use proto::wire::distribution_client::DistributionClient;
use proto::wire::transact::Step;
use proto::wire::transacted::Answer;
use proto::{Dialer, wire};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::Node;
use crate::group::leftovers::{Decided, LeftLock, Leftovers};

/// Each call, and the connection it needs.
const DEADLINE: Duration = Duration::from_secs(2);
/// Not a gateway's: steps carry the transaction's own name, and nothing here has a sequence.
const NO_CONNECTION: u64 = 0;

/// Why something is left for the next round.
type Missed = String;

/// Until cancelled.
pub async fn sweep(
    node: Arc<Node>,
    placement: Vec<String>,
    dialer: Dialer,
    mut found: mpsc::Receiver<Leftovers>,
    stop: CancellationToken,
) {
    let mut round = Round { node, placement, dialer, channels: HashMap::new() };
    while let Some(Some(leftovers)) = stop.run_until_cancelled(found.recv()).await {
        let group = leftovers.group;
        if let Some(Err(missed)) = stop.run_until_cancelled(round.finish(leftovers)).await {
            counter!("storage_leftovers_missed_total").increment(1);
            tracing::debug!(group = group.0, missed, "leftovers of a transaction stay for now");
            round.channels.clear();
        }
    }
}

struct Round {
    node: Arc<Node>,
    placement: Vec<String>,
    dialer: Dialer,
    channels: HashMap<String, Channel>,
}

/// Where a unit lives now.
struct Place {
    group: GroupId,
    range_id: u64,
    epoch: u64,
}

impl Round {
    async fn finish(&mut self, leftovers: Leftovers) -> Result<(), Missed> {
        // Many locks of one transaction share one question.
        let mut by_transaction: BTreeMap<TransactionId, Vec<LeftLock>> = BTreeMap::new();
        for lock in leftovers.locks {
            by_transaction.entry(lock.txn).or_default().push(lock);
        }
        // One group that cannot be reached must not keep the others' locks.
        let mut missed = Ok(());
        for (txn, locks) in by_transaction {
            missed = self.end_locks(txn, locks).await.and(missed);
        }
        for decided in leftovers.decided {
            missed = self.carry_out(decided).await.and(missed);
        }
        missed
    }

    async fn end_locks(&mut self, txn: TransactionId, locks: Vec<LeftLock>) -> Result<(), Missed> {
        let Some(anchor) = locks.first().map(|lock| lock.anchor.clone()) else { return Ok(()) };
        let abort = Step::Abort(wire::Abort { only_dead: true });
        let Answer::Status(status) = self.step(txn, &anchor, vec![anchor.clone()], abort).await? else {
            return Err("the anchor gave no status".to_owned());
        };
        let committed_at = match status.state() {
            wire::TransactionState::Pending => return Ok(()),
            wire::TransactionState::Absent => return Err("the anchor knows nothing".to_owned()),
            wire::TransactionState::Aborted => None,
            wire::TransactionState::Committed | wire::TransactionState::Forgotten => status.committed_at,
        };
        // A unit that the decision does not name was locked too late: no p of it matches.
        let prepared: HashMap<Bytes, _> =
            status.participants.into_iter().map(|participant| (participant.unit, participant.prepared)).collect();
        counter!("storage_leftover_locks_total").increment(locks.len() as u64);
        for lock in locks {
            let p = prepared.get(&lock.unit).copied().flatten().unwrap_or_default();
            let participants = vec![wire::Participant { unit: lock.unit.clone(), prepared: Some(p) }];
            let resolve = Step::Resolve(wire::Resolve { committed_at, participants });
            self.step(txn, &anchor, vec![lock.unit], resolve).await?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, decided: Decided) -> Result<(), Missed> {
        let Decided { txn, anchor, at, participants } = decided;
        for (unit, p) in participants {
            let participants = vec![wire::Participant { unit: unit.clone(), prepared: Some(p.into()) }];
            let resolve = Step::Resolve(wire::Resolve { committed_at: Some(at.into()), participants });
            self.step(txn, &anchor, vec![unit], resolve).await?;
        }
        self.step(txn, &anchor, vec![anchor.clone()], Step::Forget(wire::Forget {})).await?;
        Ok(())
    }

    /// Asks the leader of the group that owns these units, which must lie in one range.
    async fn step(
        &mut self,
        txn: TransactionId,
        anchor: &Bytes,
        units: Vec<Bytes>,
        step: Step,
    ) -> Result<Answer, Missed> {
        let unit = units.first().ok_or("a step about nothing")?;
        let place = self.locate(unit).await?;
        let target = |key| wire::Target { key, range_id: place.range_id, epoch: place.epoch, ..Default::default() };
        let transact = wire::Transact { txn: Some(txn.into()), anchor: anchor.clone(), step: Some(step) };
        let request = wire::Request {
            ticket: 1,
            group_id: place.group.0,
            targets: units.into_iter().map(target).collect(),
            connection: NO_CONNECTION,
            kind: Some(wire::request::Kind::Transact(transact)),
        };
        let address = self.leader(place.group).await?;
        let channel = self.channel(&address).await?;
        let batch =
            wire::RequestBatch { incarnation: txn.request.incarnation, requests: vec![request], ..Default::default() };
        let ask = async {
            let mut client = wire::storage_client::StorageClient::new(channel);
            // The stream stays open until the answer is there.
            let (requests, outgoing) = mpsc::channel(1);
            let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
            let _ = requests.send(batch).await;
            let mut replies = client.serve(outgoing).await?.into_inner();
            let reply = replies.message().await?.and_then(|batch| batch.replies.into_iter().next());
            Ok::<_, tonic::Status>(reply.and_then(|reply| reply.outcome))
        };
        let outcome = tokio::time::timeout(DEADLINE, ask).await.map_err(|_| format!("{address} does not answer"))?;
        match outcome.map_err(|error| error.to_string())? {
            Some(wire::reply::Outcome::Transacted(wire::Transacted { answer: Some(answer) })) => Ok(answer),
            other => Err(format!("{address} answered {other:?}")),
        }
    }

    /// The range that owns a unit: one led here, else as the placement knows it.
    async fn locate(&mut self, unit: &Bytes) -> Result<Place, Missed> {
        for replica in self.node.all().iter().filter(|replica| replica.leads()) {
            let view = replica.views.open().map_err(|error| error.to_string())?;
            if let Some(owned) = view.ranges.lookup(unit).filter(|owned| owned.route.state.serves()) {
                let route = &owned.route;
                return Ok(Place { group: replica.group, range_id: route.range_id.0, epoch: route.epoch.0 });
            }
        }
        let hex: String = unit.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = Bytes::from(format!("0x{hex}"));
        let mut client = DistributionClient::new(self.placement_channel().await?);
        let route = client.get_route(wire::GetRouteRequest { key }).await.map_err(|error| error.to_string())?;
        let route = route.into_inner().route.ok_or("the placement knows no route")?;
        Ok(Place { group: GroupId(route.raft_group_id), range_id: route.route_id, epoch: route.epoch })
    }

    async fn leader(&mut self, group: GroupId) -> Result<String, Missed> {
        let mut client = wire::cluster_client::ClusterClient::new(self.placement_channel().await?);
        let groups = client.groups(wire::GroupsRequest {}).await.map_err(|error| error.to_string())?.into_inner();
        let nodes = client.nodes(wire::NodesRequest {}).await.map_err(|error| error.to_string())?.into_inner();
        let leader = groups.groups.iter().find(|status| status.group_id == group.0).map(|status| status.leader_node_id);
        let node = nodes.nodes.into_iter().find(|node| Some(node.node_id) == leader);
        node.map(|node| node.address).ok_or_else(|| format!("nobody is known to lead group {group}"))
    }

    async fn placement_channel(&mut self) -> Result<Channel, Missed> {
        let mut last = "no placement is configured".to_owned();
        for endpoint in self.placement.clone() {
            match self.channel(endpoint.trim_start_matches("http://")).await {
                Ok(channel) => return Ok(channel),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn channel(&mut self, address: &str) -> Result<Channel, Missed> {
        if let Some(known) = self.channels.get(address) {
            return Ok(known.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
        let endpoint = endpoint.connect_timeout(DEADLINE).timeout(DEADLINE).tcp_nodelay(true);
        let channel = self.dialer.connect(&endpoint).await.map_err(|error| format!("{address}: {error}"))?;
        self.channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}
