//! `placement serve`: the server, with its log and its metrics, until SIGTERM or Ctrl-C.

use std::path::PathBuf;

use clap::Args;
use monitoring::{Endpoint, Health};
use placement::{Placement, PlacementConfig};
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;

/// How to serve.
#[derive(Debug, Args)]
pub struct Serve {
    /// Configuration file; see config/placement.toml. Without one, every default holds.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Serve {
    /// Serves until a signal comes.
    pub async fn run(&self) -> Result<(), Failure> {
        let config = match &self.config {
            Some(path) => PlacementConfig::read(path).map_err(refused)?,
            None => PlacementConfig::default(),
        };
        monitoring::init_tracing(&config.logs).map_err(refused)?;
        let health = Health::new();
        let component = health.component("placement");
        let endpoint = match config.monitoring_listen {
            Some(address) => {
                let metrics = monitoring::install_metrics().map_err(refused)?;
                Some(Endpoint::serve(address, metrics, health).await.map_err(refused)?)
            }
            None => None,
        };
        // Before the port opens, so that a signal that comes early is not lost.
        let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
        let placement = Placement::start(config).await.map_err(refused)?;
        component.set_ready();
        tokio::select! {
            _ = terminate.recv() => {}
            pressed = tokio::signal::ctrl_c() => pressed.map_err(refused)?,
        }
        component.set_not_ready("stopping");
        placement.shutdown().await;
        if let Some(endpoint) = endpoint {
            endpoint.shutdown().await.map_err(refused)?;
        }
        Ok(())
    }
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure { message: error.to_string(), retryable: false }
}
