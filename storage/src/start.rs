//! From a configuration to a serving node, and back.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::Stream;
use keyspace::NodeId;
use openraft::async_runtime::WatchReceiver;
use proto::connect::Accepted;
use proto::{Dialer, wire};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::config::StorageConfig;
use crate::engine::rocks::{RocksEngine, RocksMemory, RocksOptions};
use crate::engine::{Engine, EngineError};
use crate::group::machine;
use crate::node::format::{DataDir, FormatError};
use crate::node::register::{self, PlacementClient};
use crate::node::{Node, NodeError, collect, supervise, sweep};
use crate::raft::log::{Flushing, LogError, SharedLog, SharedLogOptions};
use crate::raft::snapshot::SnapshotStore;
use crate::raft::transport::{ClockTable, RaftService, Transport, TransportOptions};
use crate::relay::serve::RelayService;
use crate::server::replicas::ReplicaService;
use crate::server::serve::StorageService;

/// Groups whose leftovers wait for the sweep.
const LEFTOVERS: usize = 64;

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum StorageError {
    /// The directory is in use, of another format, or unreadable.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// An engine does not open.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The Raft log does not open.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A replica does not start.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The placement refuses this node.
    #[error("the placement refuses this node: {0}")]
    Refused(String),
    /// The address cannot be listened on, or a directory cannot be used.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// What a node stands on.
pub struct Surroundings<Incoming> {
    /// Data of all groups,
    pub data: Arc<dyn Engine>,
    /// and their Raft logs.
    pub log: Arc<dyn Engine>,
    /// Where the log is synced.
    pub flushing: Flushing,
    /// The directory that these belong to; beside them it holds the node's identity and snapshots on their way.
    pub dir: DataDir,
    /// Opens connections to peers and to the placement.
    pub dialer: Dialer,
    /// Where the node is reached,
    pub address: SocketAddr,
    /// and the connections that arrive there.
    pub incoming: Incoming,
}

/// A running storage node.
pub struct Storage {
    /// Where it serves gRPC.
    pub address: SocketAddr,
    /// Its identity.
    pub node_id: NodeId,
    node: Arc<Node>,
    /// Stops what keeps the node in touch: supervision and heartbeats.
    stop: CancellationToken,
    /// Stops the listener.
    close: CancellationToken,
    /// Its streams would keep the listener from ending.
    raft: RaftService<Node>,
    tasks: TaskTracker,
}

impl Storage {
    /// Opens the directory and starts over it, on TCP.
    pub async fn start(config: StorageConfig) -> Result<Self, StorageError> {
        let io = |what: String| move |source| StorageError::Io { what, source };
        let listener = TcpListener::bind(config.listen).await.map_err(io(format!("listening on {}", config.listen)))?;
        let address = listener.local_addr().map_err(io("own address".to_owned()))?;
        // With a listener of one's own the builder's `tcp_nodelay` has no effect, and an answer waits 40 ms for an ACK.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let dir = DataDir::open(&config.data_dir)?;
        let memory = RocksMemory::new(config.engine.block_cache_bytes, config.engine.write_buffer_bytes * 2);
        let data_options = RocksOptions::data().memory(&memory).write_buffer_bytes(config.engine.write_buffer_bytes);
        let data: Arc<dyn Engine> = Arc::new(RocksEngine::open(&dir.data(), &data_options)?);
        let log: Arc<dyn Engine> = Arc::new(RocksEngine::open(&dir.log(), &RocksOptions::log().memory(&memory))?);
        let (flushing, dialer) = (Flushing::Thread, Dialer::default());
        Self::start_in(config, Surroundings { data, log, flushing, dir, dialer, address, incoming }).await
    }

    /// Registers with the placement if the disk is fresh, starts the replicas, and serves.
    pub async fn start_in<Incoming, Io>(
        config: StorageConfig,
        surroundings: Surroundings<Incoming>,
    ) -> Result<Self, StorageError>
    where
        Incoming: Stream<Item = io::Result<Io>> + Send + 'static,
        Io: Accepted,
    {
        let Surroundings { data, log, flushing, mut dir, dialer, address, incoming } = surroundings;
        let io = |what: String| move |source| StorageError::Io { what, source };
        let advertised = config.advertise.clone().unwrap_or_else(|| address.to_string());
        let stop = CancellationToken::new();
        let log_options = SharedLogOptions {
            tail_group_bytes: config.log.tail_bytes,
            tail_node_bytes: config.log.tail_bytes * 4,
            flushing,
            ..SharedLogOptions::default()
        };
        let log = SharedLog::open_with(log, log_options)?;

        let held = machine::interrupted_installations(&*data).map_err(io("interrupted snapshots".to_owned()))?;
        let held: Vec<_> = held.into_iter().map(|(_, dir)| dir).collect();
        let snapshots = SnapshotStore::open(&dir.snapshots(), &held).map_err(io("snapshot directory".to_owned()))?;
        machine::finish_installations(&*data).map_err(io("interrupted snapshots".to_owned()))?;

        let node_id = identify(&mut dir, &config, &dialer, &advertised, &stop).await?;
        let clocks = ClockTable::default();
        let transport = Transport::new(
            node_id,
            clocks.clone(),
            snapshots.clone(),
            TransportOptions { dialer: dialer.clone(), ..TransportOptions::default() },
        );
        let (found, leftovers) = mpsc::channel(LEFTOVERS);
        let node = Arc::new(Node::new(node_id, config.clone(), dir, data, log, transport, found));
        node.start_replicas().await?;

        let tasks = TaskTracker::new();
        let close = CancellationToken::new();
        let raft = RaftService::new(node.clone(), clocks, snapshots);
        serve(&tasks, incoming, &node, &raft, close.clone());
        tasks.spawn(supervise::supervise(node.clone(), stop.clone()));
        tasks.spawn(sweep::sweep(node.clone(), config.placement.clone(), dialer.clone(), leftovers, stop.clone()));
        tasks.spawn(collect::collect(node.clone(), stop.clone()));
        let news = Arc::new(Notify::new());
        tasks.spawn(register::watch_leadership(node.clone(), news.clone(), stop.clone()));
        let placement = PlacementClient::new(config.placement.clone(), dialer);
        tasks.spawn(register::heartbeat(node.clone(), placement, advertised, news, stop.clone()));
        tracing::info!(node = node_id.0, %address, "storage node serves");
        Ok(Self { address, node_id, node, stop, close, raft, tasks })
    }

    /// Whether every replica is up and knows a leader.
    pub fn is_ready(&self) -> bool {
        let replicas = self.node.all();
        replicas.iter().all(|replica| replica.raft.server_metrics().borrow_watched().current_leader.is_some())
    }

    /// Hands leaderships over, finishes what is under way, and stops.
    pub async fn shutdown(self) {
        self.node.leave().await;
        self.stop.cancel();
        self.raft.close();
        self.close.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        // Connections that end by themselves hold the engines a little longer; whoever opens the directory next must
        // find it free.
        let deadline = tokio::time::Instant::now() + GRACE * 5;
        while Arc::strong_count(&self.node) > 1 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(GRACE / 20).await;
        }
    }
}

/// The node id of the disk: known, or given out by the placement now.
async fn identify(
    dir: &mut DataDir,
    config: &StorageConfig,
    dialer: &Dialer,
    advertised: &str,
    stop: &CancellationToken,
) -> Result<NodeId, StorageError> {
    if let Some(node_id) = dir.identity().node_id {
        return Ok(node_id);
    }
    let request = wire::RegisterNodeRequest {
        node_id: 0,
        disk_id: dir.identity().disk_id.clone(),
        address: advertised.to_owned(),
    };
    let mut placement = PlacementClient::new(config.placement.clone(), dialer.clone());
    let refused = |error: tonic::Status| StorageError::Refused(error.message().to_owned());
    let response = register::register(&mut placement, request, stop).await.map_err(refused)?;
    let node_id = NodeId(response.node_id);
    dir.claim(node_id, &response.cluster_id)?;
    Ok(node_id)
}

fn serve<Io: Accepted>(
    tasks: &TaskTracker,
    incoming: impl Stream<Item = io::Result<Io>> + Send + 'static,
    node: &Arc<Node>,
    raft: &RaftService<Node>,
    close: CancellationToken,
) {
    use wire::replicas_server::ReplicasServer;
    use wire::storage_server::StorageServer;

    let max = crate::raft::transport::MAX_MESSAGE_BYTES;
    let (health, health_service) = tonic_health::server::health_reporter();
    let storage = StorageServer::new(StorageService::new(node.clone(), close.clone()))
        .max_decoding_message_size(max)
        .max_encoding_message_size(max);
    let relay = wire::relay_server::RelayServer::new(RelayService::start(close.clone()))
        .max_decoding_message_size(max)
        .max_encoding_message_size(max);
    let replicas = ReplicasServer::new(ReplicaService::new(node.clone()));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were compiled with this binary");
    let raft = raft.server();
    tasks.spawn(async move {
        health.set_serving::<StorageServer<StorageService>>().await;
        let served = crate::raft::transport::tune(Server::builder())
            .add_service(health_service)
            .add_service(reflection)
            .add_service(storage)
            .add_service(raft)
            .add_service(replicas)
            .add_service(relay)
            .serve_with_incoming_shutdown(incoming, close.clone().cancelled_owned());
        // Peers keep their streams open for ever: after the grace the server is dropped with them.
        tokio::select! {
            result = served => if let Err(error) = result { tracing::error!(%error, "gRPC server ended") },
            () = async { close.cancelled().await; tokio::time::sleep(GRACE).await } => {}
        }
    });
}

/// Open streams get this long to finish at shutdown.
const GRACE: std::time::Duration = std::time::Duration::from_millis(200);
