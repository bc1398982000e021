//! `elastickv-storage`: one storage node. SIGTERM and SIGINT hand its leaderships over before it stops.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use monitoring::{Component, Endpoint, Health};
use storage::{Storage, StorageConfig};
use tokio::signal::unix::{SignalKind, signal};

/// Requests are decoded, evaluated and applied on different threads: with the system's allocator the small allocations
/// that pass between them were a tenth of the node's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A storage node of Elastickv.
#[derive(Parser)]
#[command(name = "elastickv-storage", version)]
struct Arguments {
    /// Configuration file; see config/storage.toml for all options.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of this node; overrides the file.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address of gRPC; overrides the file.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Placement endpoints, `http://host:port`; override the file.
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    placement: Vec<String>,
}

impl Arguments {
    fn configuration(self) -> Result<StorageConfig, Box<dyn Error>> {
        let mut config = match (&self.config, &self.data_dir) {
            (Some(file), _) => {
                let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
                toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?
            }
            (None, Some(dir)) => StorageConfig::in_dir(dir),
            (None, None) => return Err("say where the node lives: --config FILE or --data-dir DIR".into()),
        };
        config.data_dir = self.data_dir.unwrap_or(config.data_dir);
        config.listen = self.listen.unwrap_or(config.listen);
        if !self.placement.is_empty() {
            config.placement = self.placement;
        }
        Ok(config)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("elastickv-storage: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let config = arguments.configuration()?;
    monitoring::init_tracing(&config.logs)?;
    let metrics = monitoring::install_metrics()?;
    let health = Health::new();
    let component = health.component("storage");
    component.set_not_ready("starting");
    let endpoint = match config.metrics {
        Some(address) => Some(Endpoint::serve(address, metrics, health.clone()).await?),
        None => None,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let storage = tokio::select! {
        started = Storage::start(config) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    tokio::select! {
        () = report_readiness(&storage, &component) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    component.set_not_ready("stopping");
    storage.shutdown().await;
    if let Some(endpoint) = endpoint {
        endpoint.shutdown().await?;
    }
    Ok(())
}

/// For ever.
async fn report_readiness(storage: &Storage, component: &Component) {
    let mut looks = tokio::time::interval(Duration::from_millis(200));
    loop {
        looks.tick().await;
        if storage.is_ready() {
            component.set_ready();
        } else {
            component.set_not_ready("a replica knows no leader");
        }
    }
}
