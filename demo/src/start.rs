//! Bringing the tiers up in one process, and down again.

use std::net::SocketAddr;
use std::path::PathBuf;

use gateway::{Gateway, GatewayConfig};
use monitoring::{Component, Endpoint, EndpointError, Health, RecorderError};
use placement::{Placement, PlacementConfig};
use storage::{Storage, StorageConfig};

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
