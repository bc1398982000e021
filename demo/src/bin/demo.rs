//! `elastickv-demo`: a whole cluster in one process, for a look around. Ctrl-C stops it; the data stays.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use demo::{Demo, DemoConfig, Ports};
use monitoring::LogsConfig;
use tokio::signal::unix::{SignalKind, signal};

/// As the tiers have it in their own binaries.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A cluster of Elastickv in one process.
#[derive(Parser)]
#[command(name = "elastickv-demo", version)]
struct Arguments {
    /// Storage nodes: 1, or 3 and more [default: 3, or what the directory holds].
    #[arg(long)]
    nodes: Option<usize>,
    /// Raft groups [default: 3, or what the directory holds].
    #[arg(long)]
    groups: Option<u32>,
    /// Where the data is kept from one run to the next.
    #[arg(long, value_name = "DIR", default_value = "elastickv-data")]
    data_dir: PathBuf,
    /// Listen on consecutive ports from here (three Redis, DynamoDB, gRPC, placement, metrics, storage nodes) instead of
    /// the documented ones; 0 takes free ones.
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
    /// What to log, as `tracing` directives; ELASTICKV_LOG overrides it.
    #[arg(long, value_name = "FILTER", default_value = "warn,openraft=error")]
    log: String,
}

impl Arguments {
    fn ports(&self) -> Result<Ports, String> {
        match self.base_port {
            None => Ok(Ports::documented()),
            Some(0) => Ok(Ports::any()),
            Some(base) => {
                let ports = Ports::from_base(base, self.nodes.unwrap_or(demo::layout::DEFAULT_NODES));
                ports.ok_or_else(|| format!("there are not enough ports from {base} on"))
            }
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("elastickv-demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    monitoring::init_tracing(&LogsConfig { filter: arguments.log.clone(), ..LogsConfig::default() })?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let config = DemoConfig {
        ports: arguments.ports()?,
        data_dir: arguments.data_dir.clone(),
        nodes: arguments.nodes,
        groups: arguments.groups,
    };
    println!("Starting …");
    let demo = tokio::select! {
        started = Demo::start(config) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    println!("{}", welcome(&demo, &arguments));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    println!("Stopping …");
    demo.shutdown().await?;
    Ok(())
}

/// What there is and what to type.
fn welcome(demo: &Demo, arguments: &Arguments) -> String {
    let ports: Vec<u16> = demo.redis.iter().map(std::net::SocketAddr::port).collect();
    let redis: Vec<String> = demo.redis.iter().map(ToString::to_string).collect();
    let (dynamodb, grpc) = (demo.dynamodb.port(), demo.grpc.port());
    format!(
        "\n\
         A cluster of {nodes} storage nodes with {groups} Raft groups serves; its data is in {data}\n\
         \n\
         \x20 Redis      {redis}\n\
         \x20 DynamoDB   http://{dynamodb_address}\n\
         \x20 gRPC       {grpc_address}\n\
         \x20 placement  {placement}\n\
         \x20 metrics    http://{metrics}/metrics\n\
         \n\
         Try\n\
         \n\
         \x20 redis-cli -p {first} SET greeting hello\n\
         \x20 redis-cli -p {second} GET greeting\n\
         \x20 aws dynamodb list-tables --endpoint-url http://localhost:{dynamodb}   # any credentials, any region\n\
         \x20 grpcurl -plaintext localhost:{grpc} elastickv.Distribution/ListRoutes\n\
         \n\
         Ctrl-C stops it; the data stays.",
        nodes = demo.layout.nodes,
        groups = demo.layout.groups,
        data = arguments.data_dir.display(),
        redis = redis.join("  "),
        dynamodb_address = demo.dynamodb,
        grpc_address = demo.grpc,
        placement = demo.placement_address,
        metrics = demo.metrics,
        first = ports[0],
        second = ports[1],
    )
}
