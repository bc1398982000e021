//! Bringing the tiers up in one process, and down again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gateway::{Gateway, GatewayConfig, ListenerConfig};
use monitoring::{Component, Endpoint, EndpointError, Health, RecorderError};
use placement::{Placement, PlacementConfig};
use storage::{Storage, StorageConfig};
use tokio::task::JoinSet;

use crate::layout::{Layout, LayoutError};
use crate::ports::{Ports, local};
use crate::ready;

/// Gateways of a demo.
pub const GATEWAYS: usize = 3;

/// What demo to start.
#[derive(Debug, Clone)]
pub struct DemoConfig {
    /// Where everything is kept; made when it does not exist.
    pub data_dir: PathBuf,
    /// Storage nodes: 1, or 3 and more. None: what the directory holds, else 3.
    pub nodes: Option<usize>,
    /// Raft groups. None: what the directory holds, else 3.
    pub groups: Option<u32>,
    /// Where to listen.
    pub ports: Ports,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The directory does not fit.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Metrics cannot be recorded.
    #[error(transparent)]
    Recorder(#[from] RecorderError),
    /// The operators' port cannot be opened.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The placement does not start.
    #[error("placement: {0}")]
    Placement(#[from] placement::StartError),
    /// A storage node does not start.
    #[error("storage node {node}: {source}")]
    Storage {
        /// Counted from 1.
        node: usize,
        /// Why.
        source: storage::StorageError,
    },
    /// A gateway does not start.
    #[error("gateway {gateway}: {source}")]
    Gateway {
        /// Counted from 1.
        gateway: usize,
        /// Why.
        source: gateway::GatewayError,
    },
}

/// A running cluster in this process.
pub struct Demo {
    /// Its size.
    pub layout: Layout,
    /// Redis of each gateway.
    pub redis: Vec<SocketAddr>,
    /// DynamoDB over HTTP.
    pub dynamodb: SocketAddr,
    /// gRPC: RawKV, TransactionalKV, Distribution.
    pub grpc: SocketAddr,
    /// gRPC of the placement.
    pub placement_address: SocketAddr,
    /// Metrics and health.
    pub metrics: SocketAddr,
    placement: Placement,
    nodes: Vec<Storage>,
    gateways: Vec<Gateway>,
    component: Component,
    endpoint: Endpoint,
}

impl Demo {
    /// Starts everything and returns when the cluster serves through every gateway.
    pub async fn start(config: DemoConfig) -> Result<Self, DemoError> {
        let DemoConfig { data_dir, nodes, groups, ports } = config;
        let layout = Layout::settle(&data_dir, nodes, groups)?;
        let health = Health::new();
        let component = health.component("demo");
        let endpoint = Endpoint::serve(local(ports.metrics), monitoring::install_metrics()?, health).await?;

        let placement = Placement::start(PlacementConfig {
            listen: local(ports.placement),
            data_dir: data_dir.join("placement"),
            bootstrap_nodes: layout.nodes,
            groups: layout.groups,
            ..PlacementConfig::default()
        })
        .await?;
        let nodes = start_nodes(&data_dir, &ports, layout, placement.address()).await?;
        let gateways = start_gateways(&ports, placement.address()).await?;

        let redis: Vec<SocketAddr> = gateways.iter().filter_map(|gateway| gateway.redis_address).collect();
        for gateway in &redis {
            ready::wait_until_serving(*gateway).await;
        }
        component.set_ready();
        let first = &gateways[0];
        Ok(Self {
            layout,
            redis,
            dynamodb: first.dynamodb_address.expect("the first gateway speaks DynamoDB"),
            grpc: first.grpc_address.expect("the first gateway speaks gRPC"),
            placement_address: placement.address(),
            metrics: endpoint.local_address(),
            placement,
            nodes,
            gateways,
            component,
            endpoint,
        })
    }

    /// Clients first, then the data, then the placement, so that each finds what it needs to leave in order. The nodes leave
    /// at once: with all of them going there is nobody to hand leaderships to for long.
    pub async fn shutdown(self) -> Result<(), EndpointError> {
        self.component.set_not_ready("stopping");
        let gateways: JoinSet<()> = self.gateways.into_iter().map(Gateway::shutdown).collect();
        gateways.join_all().await;
        let nodes: JoinSet<()> = self.nodes.into_iter().map(Storage::shutdown).collect();
        nodes.join_all().await;
        self.placement.shutdown().await;
        self.endpoint.shutdown().await
    }
}

/// All at once: a fresh node waits for the placement, and a group for its members.
async fn start_nodes(
    data_dir: &Path,
    ports: &Ports,
    layout: Layout,
    placement: SocketAddr,
) -> Result<Vec<Storage>, DemoError> {
    let mut starting = JoinSet::new();
    for index in 0..layout.nodes {
        let node = index + 1;
        let config = StorageConfig {
            listen: local(ports.storage(index)),
            placement: vec![format!("http://{placement}")],
            ..StorageConfig::in_dir(data_dir.join(format!("node-{node}")))
        };
        starting.spawn(async move {
            let storage = Storage::start(config).await.map_err(|source| DemoError::Storage { node, source })?;
            Ok::<_, DemoError>((index, storage))
        });
    }
    let mut nodes = Vec::new();
    while let Some(started) = starting.join_next().await {
        nodes.push(started.expect("starting a node does not panic")?);
    }
    nodes.sort_by_key(|(index, _)| *index);
    Ok(nodes.into_iter().map(|(_, storage)| storage).collect())
}

/// The first gateway speaks everything, the others Redis.
async fn start_gateways(ports: &Ports, placement: SocketAddr) -> Result<Vec<Gateway>, DemoError> {
    let mut gateways = Vec::new();
    for (index, redis) in ports.redis.into_iter().enumerate() {
        let first = |port| if index == 0 { ListenerConfig::on_loopback(port) } else { ListenerConfig::disabled() };
        let config = GatewayConfig {
            placement: vec![placement.to_string()],
            redis: ListenerConfig::on_loopback(redis),
            dynamodb: first(ports.dynamodb),
            grpc: first(ports.grpc),
            ..GatewayConfig::default()
        };
        let started = Gateway::start(config).await;
        gateways.push(started.map_err(|source| DemoError::Gateway { gateway: index + 1, source })?);
    }
    Ok(gateways)
}
