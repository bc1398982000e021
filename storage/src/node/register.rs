//! Telling the placement: registration of a fresh disk, then a heartbeat a second.
//!
//! Nothing here is on the path of a read or a write. A node that has registered once starts and serves with the
//! placement down; it only does not learn of new addresses meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keyspace::NodeId;
use metrics::counter;
use proto::Dialer;
use proto::status::{Fault, FaultCode};
use proto::wire;
use proto::wire::cluster_client::ClusterClient;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::Node;
use crate::raft::transport::wall_clock_ms;

const INTERVAL: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(3);
/// A changed leader is told at once, but not more often than this.
const SPACING: Duration = Duration::from_millis(50);

/// A client of the first placement endpoint that answers, in turn.
pub struct PlacementClient {
    endpoints: Vec<String>,
    dialer: Dialer,
    next: usize,
}

impl PlacementClient {
    /// Of these endpoints, `http://host:port`.
    pub fn new(endpoints: Vec<String>, dialer: Dialer) -> Self {
        Self { endpoints, dialer, next: 0 }
    }

    async fn connect(&mut self) -> Result<ClusterClient<Channel>, tonic::Status> {
        let endpoint = self.endpoints.get(self.next % self.endpoints.len().max(1)).cloned().unwrap_or_default();
        self.next += 1;
        let unavailable = |error: tonic::transport::Error| tonic::Status::unavailable(format!("{endpoint}: {error}"));
        let target = Endpoint::from_shared(endpoint.clone())
            .map_err(unavailable)?
            .connect_timeout(DEADLINE)
            .timeout(DEADLINE)
            .tcp_nodelay(true);
        let channel = self.dialer.connect(&target).await.map_err(unavailable)?;
        Ok(ClusterClient::new(channel))
    }
}

/// Registers the disk, trying until the placement answers. Refusals (another cluster, a foreign id) are final.
pub async fn register(
    placement: &mut PlacementClient,
    request: wire::RegisterNodeRequest,
    stop: &CancellationToken,
) -> Result<wire::RegisterNodeResponse, tonic::Status> {
    let mut told = false;
    loop {
        let answer = match placement.connect().await {
            Ok(mut client) => client.register_node(request.clone()).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(response) => return Ok(response.into_inner()),
            Err(error) if is_final(&error) => return Err(error),
            Err(error) if !told => {
                told = true;
                tracing::info!(%error, "waiting for the placement");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return Err(tonic::Status::cancelled("stopped before the placement answered")),
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    }
}

/// Whether asking again cannot help: the placement knows this identity with another disk, or not at all. A placement that
/// does not lead answers with the same gRPC code, so the fault decides.
fn is_final(error: &tonic::Status) -> bool {
    let fault = Fault::of(error).ok().flatten();
    fault.is_some_and(|fault| matches!(fault.code, FaultCode::InvalidArgument | FaultCode::FailedPrecondition))
}

/// Sends heartbeats until cancelled; at once when `news` says so.
pub async fn heartbeat(
    node: Arc<Node>,
    mut placement: PlacementClient,
    address: String,
    news: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut client = None;
    loop {
        match send(&node, &mut placement, &mut client, &address).await {
            Ok(response) => learn(&node, response),
            Err(error) => {
                counter!("storage_heartbeats_failed_total").increment(1);
                tracing::debug!(%error, "heartbeat not answered");
                client = None;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
            () = news.notified() => tokio::time::sleep(SPACING).await,
        }
    }
}

async fn send(
    node: &Node,
    placement: &mut PlacementClient,
    client: &mut Option<ClusterClient<Channel>>,
    address: &str,
) -> Result<wire::HeartbeatResponse, tonic::Status> {
    let connected = match client {
        Some(client) => client,
        None => client.insert(placement.connect().await?),
    };
    let mut replicas = Vec::new();
    for replica in node.all() {
        match replica.report() {
            Ok(report) => replicas.push(report),
            Err(error) => tracing::error!(group = replica.group.0, %error, "replica cannot be reported"),
        }
    }
    let request = wire::HeartbeatRequest {
        node_id: node.id.0,
        address: address.to_owned(),
        replicas,
        clock_ms: wall_clock_ms(),
        seen_e: node.seen_e.load(Ordering::Relaxed),
    };
    connected.heartbeat(request).await.map(tonic::Response::into_inner)
}

fn learn(node: &Node, response: wire::HeartbeatResponse) {
    for peer in response.nodes {
        if peer.node_id != node.id.0 {
            node.transport.set_address(NodeId(peer.node_id), &peer.address);
        }
    }
    node.seen_e.fetch_max(response.oracle, Ordering::Relaxed);
    node.safe_point_e.fetch_max(response.safe_point, Ordering::Relaxed);
}

/// Tells `news` whenever leadership of a group moves to or from this node, until cancelled.
pub async fn watch_leadership(node: Arc<Node>, news: Arc<Notify>, stop: CancellationToken) {
    let mut led = Vec::new();
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        let leads: Vec<_> = node.all().iter().filter(|replica| replica.leads()).map(|replica| replica.group).collect();
        if leads != led {
            led = leads;
            news.notify_one();
        }
    }
}
