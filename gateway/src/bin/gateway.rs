//! `elastickv-gateway`: one gateway. SIGTERM and SIGINT let its clients finish before it stops.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use gateway::{Gateway, GatewayConfig};
use monitoring::{Endpoint, Health};
use tokio::signal::unix::{SignalKind, signal};

/// A command costs about twenty small allocations, freed by other threads than made them: with the system's allocator
/// that was a fifth of the gateway's own time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A gateway of Elastickv: Redis, DynamoDB and gRPC.
#[derive(Parser)]
#[command(name = "elastickv-gateway", version)]
struct Arguments {
    /// Configuration file; see config/gateway.toml for all options.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of Redis; overrides the file.
    #[arg(long, value_name = "ADDRESS")]
    redis: Option<SocketAddr>,
    /// Address of DynamoDB; overrides the file.
    #[arg(long, value_name = "ADDRESS")]
    dynamodb: Option<SocketAddr>,
    /// Address of gRPC; overrides the file.
    #[arg(long, value_name = "ADDRESS")]
    grpc: Option<SocketAddr>,
    /// Address of metrics and health; overrides the file.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Placement addresses, `host:port`; override the file.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    placement: Vec<String>,
}

impl Arguments {
    fn configuration(self) -> Result<GatewayConfig, Box<dyn Error>> {
        let mut config = match &self.config {
            Some(file) => GatewayConfig::load(file)?,
            None => GatewayConfig::default(),
        };
        config.redis.listen = self.redis.unwrap_or(config.redis.listen);
        config.dynamodb.listen = self.dynamodb.unwrap_or(config.dynamodb.listen);
        config.grpc.listen = self.grpc.unwrap_or(config.grpc.listen);
        config.metrics = self.metrics.or(config.metrics);
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
            eprintln!("elastickv-gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let config = arguments.configuration()?;
    monitoring::init_tracing(&config.logs)?;
    // Installed whether or not it is shown: handles of metrics are made once.
    let metrics = monitoring::install_metrics()?;
    let health = Health::new();
    let component = health.component("gateway");
    component.set_not_ready("no routes are known yet");
    let endpoint = match config.metrics {
        Some(address) => Some(Endpoint::serve(address, metrics, health.clone()).await?),
        None => None,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut gateway = Gateway::start(config).await?;
    let mut ready = false;
    let broken = loop {
        let router = gateway.router().clone();
        tokio::select! {
            () = router.wait_ready(), if !ready => {
                ready = true;
                component.set_ready();
            }
            error = gateway.broken() => break Some(error),
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
        }
    };
    match &broken {
        Some(error) => component.fail(error.to_string()),
        // Load balancers look away before the listeners close.
        None => component.set_not_ready("leaving"),
    }
    gateway.shutdown().await;
    if let Some(endpoint) = endpoint {
        endpoint.shutdown().await?;
    }
    broken.map_or(Ok(()), |error| Err(error.into()))
}
