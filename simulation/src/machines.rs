//! The machines: what runs on each, and what of it survives a crash.
//!
//! A storage machine has a disk, which forgets what was not synced when the power goes and nothing when only the process
//! dies. The placement's catalog is durable. A gateway has nothing, and its clients die with it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gateway::router::{Router, RouterConfig};
use parking_lot::Mutex;
use placement::catalog::Catalog;
use placement::catalog::memory::MemoryCatalog;
use placement::{CatalogChoice, Placement, PlacementConfig};
use proto::wire::distribution_client::DistributionClient;
use rand_simulated::rngs::StdRng;
use rand_simulated::seq::IndexedRandom;
use rand_simulated::{RngExt, SeedableRng};
use storage::config::Reads;
use storage::engine::memory::MemoryEngine;
use storage::node::format::DataDir;
use storage::raft::log::Flushing;
use storage::{Storage, StorageConfig};
use tonic::transport::Endpoint;

use crate::clients::Clients;
use crate::network::Wires;

/// Every machine has one process, which listens here.
pub const PORT: u16 = 7000;

/// The machine of a placement.
#[derive(Clone)]
pub struct PlacementMachine {
    /// Where it is.
    pub ip: IpAddr,
    /// Groups that the bootstrap founds.
    pub groups: u32,
    /// Nodes that the bootstrap waits for.
    pub nodes: usize,
    /// Survives.
    pub catalog: Arc<MemoryCatalog>,
    /// To the others.
    pub wires: Wires,
}

impl PlacementMachine {
    /// Runs the process until it is killed.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn run(self) -> turmoil::Result {
        let config = PlacementConfig {
            catalog: CatalogChoice::Memory,
            bootstrap_nodes: self.nodes,
            groups: self.groups,
            ..PlacementConfig::default()
        };
        let surroundings = placement::Surroundings {
            catalog: self.catalog.clone() as Arc<dyn Catalog>,
            clock: placement::oracle::system_clock(),
            dialer: self.wires.dialer(),
            address: SocketAddr::new(self.ip, PORT),
            incoming: self.wires.listen(PORT).await?,
        };
        let placement = Placement::start_in(config, surroundings).await?;
        std::future::pending::<()>().await;
        placement.shutdown().await;
        Ok(())
    }
}

/// The machine of a storage node.
#[derive(Clone)]
pub struct StorageMachine {
    /// Where it is.
    pub ip: IpAddr,
    /// Where the placement is.
    pub placement: IpAddr,
    /// The data on its disk,
    pub data: MemoryEngine,
    /// and its Raft logs.
    pub log: MemoryEngine,
    /// A real directory, for the identity of the node and for snapshots on their way.
    pub dir: PathBuf,
    /// How the nodes are configured.
    pub tuning: Tuning,
    /// Decides how long syncs take.
    pub disk_seed: u64,
    /// To the others.
    pub wires: Wires,
}

impl StorageMachine {
    /// Runs the process until it is killed.
    ///
    /// # Errors
    /// If it does not start, for one because what the disk holds contradicts itself.
    pub async fn run(self) -> turmoil::Result {
        let address = SocketAddr::new(self.ip, PORT);
        let mut config = StorageConfig::in_dir(&self.dir);
        config.placement = vec![format!("http://{}", SocketAddr::new(self.placement, PORT))];
        self.tuning.apply(&mut config);
        // The real disk below the simulation may be as full as it likes.
        config.limits.disk_reserve_bytes = 0;
        let surroundings = storage::Surroundings {
            data: Arc::new(self.data.clone()),
            log: Arc::new(self.log.clone()),
            flushing: Flushing::Task(disk_times(self.disk_seed)),
            dir: DataDir::open(&self.dir)?,
            dialer: self.wires.dialer(),
            address,
            incoming: self.wires.listen(PORT).await?,
        };
        let storage = Storage::start_in(config, surroundings).await?;
        std::future::pending::<()>().await;
        storage.shutdown().await;
        Ok(())
    }

    /// The power is gone, and with it what was not synced. The process must be dead.
    pub fn lose_power(&self) {
        self.data.crash();
        self.log.crash();
    }
}

/// What the nodes of a run are told, drawn from the seed: bounds that are far away in production are close here.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    reads: Reads,
    /// How large a log grows, in bytes, before it is cut,
    cut_bytes: u64,
    /// and what is kept of it: a replica that misses more gets a snapshot.
    kept_entries: u64,
    pipeline_depth: usize,
    batch_timeout_ms: u64,
}

impl Tuning {
    /// Draws one.
    pub fn draw(dice: &mut StdRng) -> Self {
        let cuts = dice.random_bool(0.6);
        Self {
            reads: if dice.random_bool(0.7) { Reads::Lease } else { Reads::ReadIndex },
            cut_bytes: if cuts { dice.random_range(8..200) << 10 } else { 64 << 20 },
            kept_entries: if cuts { dice.random_range(20..400) } else { 50_000 },
            pipeline_depth: dice.random_range(1..=8),
            batch_timeout_ms: *[200, 1_000, 5_000].choose(dice).expect("there are some"),
        }
    }

    fn apply(self, config: &mut StorageConfig) {
        config.reads = self.reads;
        config.log.snapshot_every_bytes = self.cut_bytes;
        config.log.keep_entries = self.kept_entries;
        config.executor.pipeline_depth = self.pipeline_depth;
        config.executor.batch_timeout_ms = self.batch_timeout_ms;
    }
}

/// Mostly a quick disk, now and then a slow one.
fn disk_times(seed: u64) -> Arc<dyn Fn() -> Duration + Send + Sync> {
    let dice = Mutex::new(StdRng::seed_from_u64(seed));
    Arc::new(move || {
        let mut dice = dice.lock();
        let micros = match dice.random_range(0..1000) {
            0 => dice.random_range(50_000..600_000),
            1..50 => dice.random_range(5_000..50_000),
            _ => dice.random_range(100..3_000),
        };
        Duration::from_micros(micros)
    })
}

/// The machine of a gateway, with its clients.
#[derive(Clone)]
pub struct GatewayMachine {
    /// Where the placement is.
    pub placement: IpAddr,
    /// How long it asks for an outcome before it says that it is unknown.
    pub unknown_timeout: Duration,
    /// Who works through it.
    pub clients: Clients,
    /// To the others.
    pub wires: Wires,
}

impl GatewayMachine {
    /// Runs the process until it is killed.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn run(self) -> turmoil::Result {
        let config = RouterConfig {
            placement: vec![SocketAddr::new(self.placement, PORT).to_string()],
            dialer: self.wires.dialer(),
            max_requests: 1_000,
            max_bytes: 16 << 20,
            refused_timeout: Duration::from_secs(5),
            unknown_timeout: self.unknown_timeout,
        };
        let router = Router::start(&config)?;
        let placement = Endpoint::from_shared(format!("http://{}", SocketAddr::new(self.placement, PORT)))?;
        self.clients.work(&router, &DistributionClient::new(self.wires.dialer().connect_lazy(&placement)));
        std::future::pending::<()>().await;
        router.stop();
        Ok(())
    }
}
