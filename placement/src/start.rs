//! A running placement: from a configuration to an open port, and back.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use proto::Dialer;
use proto::connect::Accepted;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use crate::catalog::embedded::EmbeddedCatalog;
use crate::catalog::memory::MemoryCatalog;
use crate::catalog::{Catalog, CatalogError};
use crate::config::{CatalogChoice, ConfigError, PlacementConfig};
use crate::leadership::OnlyPlacement;
use crate::oracle::{Clock, Oracle, system_clock};
use crate::reconcile::Reconciler;
use crate::server::{self, ServeError, Services};

/// Why a placement does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The catalog cannot be opened.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The port cannot be opened.
    #[error("cannot listen on {address}: {source}; stop what listens there, or set another `listen`")]
    Listen {
        /// Where it should have listened.
        address: SocketAddr,
        /// Why it cannot.
        source: std::io::Error,
    },
}

/// What a placement stands on.
pub struct Surroundings<Incoming> {
    /// The records of the cluster.
    pub catalog: Arc<dyn Catalog>,
    /// What the oracle's timestamps stay near.
    pub clock: Clock,
    /// Opens connections to storage nodes.
    pub dialer: Dialer,
    /// Where it is reached,
    pub address: SocketAddr,
    /// and the connections that arrive there.
    pub incoming: Incoming,
}

/// A placement of this process. Dropping it stops it without waiting; [`Placement::shutdown`] waits.
pub struct Placement {
    address: SocketAddr,
    reconciler: Arc<Reconciler>,
    serving: JoinHandle<Result<(), ServeError>>,
    stop: CancellationToken,
}

impl Placement {
    /// Opens the catalog, resumes what it says is unfinished, and serves.
    pub async fn start(config: PlacementConfig) -> Result<Self, StartError> {
        let catalog: Arc<dyn Catalog> = match config.catalog {
            CatalogChoice::Memory => Arc::new(MemoryCatalog::new()),
            CatalogChoice::Embedded => {
                let path = config.data_dir.join("catalog");
                let opening = tokio::task::spawn_blocking(move || {
                    let unavailable = |error: std::io::Error| CatalogError::Unavailable {
                        reason: format!("making {}: {error}", path.display()),
                    };
                    std::fs::create_dir_all(&path).map_err(unavailable)?;
                    EmbeddedCatalog::open(&path)
                });
                Arc::new(opening.await.map_err(|error| CatalogError::Unavailable { reason: error.to_string() })??)
            }
        };
        let listen_error = |source| StartError::Listen { address: config.listen, source };
        let listener = server::listen(config.listen).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let (clock, dialer) = (system_clock(), Dialer::default());
        Self::start_in(config, Surroundings { catalog, clock, dialer, address, incoming }).await
    }

    /// Starts in given surroundings.
    pub async fn start_in<Incoming, Io>(
        config: PlacementConfig,
        surroundings: Surroundings<Incoming>,
    ) -> Result<Self, StartError>
    where
        Incoming: Stream<Item = io::Result<Io>> + Send + 'static,
        Io: Accepted,
    {
        let Surroundings { catalog, clock, dialer, address, incoming } = surroundings;
        let policy = config.policy()?;
        let stop = CancellationToken::new();
        let oracle = Arc::new(Oracle::open(catalog.clone(), clock).await?);
        let reconciler = Reconciler::start(catalog, oracle, policy, dialer, stop.clone()).await?;
        let services = Services::new(reconciler.clone(), Arc::new(OnlyPlacement));
        let serving = tokio::spawn(services.serve(incoming));
        tracing::info!(%address, "placement serves");
        Ok(Self { address, reconciler, serving, stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Completes when the cluster is bootstrapped and its routes can be listed.
    pub async fn bootstrapped(&self) -> Result<(), CatalogError> {
        loop {
            let snapshot = self.reconciler.catalog().snapshot().await?;
            if snapshot.route_version() > 0 {
                return Ok(());
            }
            match self.reconciler.catalog().watch(snapshot.revision()).await {
                Ok(mut commits) => drop(commits.next().await),
                Err(CatalogError::Compacted { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Stops serving, lets jobs rest where they are and closes the catalog.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        match (&mut self.serving).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "placement did not serve to its end"),
            Err(error) => tracing::error!(%error, "placement stopped serving"),
        }
        self.reconciler.stopped().await;
        tracing::info!("placement is down");
    }
}

impl Drop for Placement {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
