//! Throughput and latency of a three-node cluster, beside Redis and etcd on the same machine, in the same run.
//!
//! ```text
//! bench [--seconds 8] [--groups 3] [--gateways 1] [--data-dir DIR] [--no-peers] [--only TEXT] [--collections]
//!       [--storage-tables TOML] [--write-docs]
//! ```
//!
//! 1. The peers are measured, then stopped: a redis-server that syncs before it answers, three etcd processes.
//! 2. A cluster is started: placement, three storage nodes, gateways, each a process of its own.
//! 3. redis-benchmark drives SET, GET and INCR; drivers of this program drive RawKV and DynamoDB.
//! 4. A demo is started and left alone, for what it costs when idle.
//!
//! Values have 100 bytes, keys are random out of a hundred thousand, nothing runs at the same time as something else.
//! Everything shares the machine with its clients, so ratios mean more than figures.

mod collections;
mod drive;
mod dynamo;
mod etcd;
mod idle;
mod multi;
mod peers;
mod raw;
mod redis;
mod report;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use tests::cluster::Cluster;
use tests::cluster::binaries;

use self::drive::Figure;
use self::report::{Bound, Ratio, Report, Row};

const KEYS: u32 = 100_000;
const VALUE_BYTES: usize = 100;
/// Clients of the gRPC workloads, of etcd and of RawKV alike.
const GRPC_CLIENTS: usize = 256;
const DYNAMO_CLIENTS: usize = 64;
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.md");

/// Measures a cluster beside Redis and etcd.
#[derive(Debug, Parser)]
struct Options {
    /// Seconds a workload.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Raft groups of the cluster.
    #[arg(long, default_value_t = 3)]
    groups: usize,
    /// Gateways of the cluster; the clients use the first.
    #[arg(long, default_value_t = 1)]
    gateways: usize,
    /// Where everybody keeps data. Default: beside the built program, because /tmp may be memory.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Leave out Redis and etcd.
    #[arg(long)]
    no_peers: bool,
    /// Only workloads whose name contains this, and nothing else.
    #[arg(long, value_name = "TEXT", conflicts_with = "write_docs")]
    only: Option<String>,
    /// Only what commands on growing collections cost.
    #[arg(long, conflicts_with_all = ["only", "write_docs"])]
    collections: bool,
    /// TOML tables for the configuration of the storage nodes: how does another setting do?
    #[arg(long, value_name = "TOML", default_value = "")]
    storage_tables: String,
    /// Put the figures into docs/performance.md.
    #[arg(long)]
    write_docs: bool,
}

/// redis-benchmark's workloads, by the name they have in the table.
const REDIS_WORKLOADS: [(&str, redis::Workload); 9] = {
    const fn workload(test: &'static str, connections: u32, pipeline: u32, random_keys: bool) -> redis::Workload {
        redis::Workload { test, connections, pipeline, random_keys }
    }
    [
        ("SET, 200 connections", workload("set", 200, 1, true)),
        ("SET, 50 connections", workload("set", 50, 1, true)),
        ("SET, 1 connection", workload("set", 1, 1, true)),
        ("SET, 50 connections, -P 16", workload("set", 50, 16, true)),
        ("GET, 200 connections", workload("get", 200, 1, true)),
        ("GET, 50 connections", workload("get", 50, 1, true)),
        ("GET, 1 connection", workload("get", 1, 1, true)),
        ("GET, 50 connections, -P 16", workload("get", 50, 16, true)),
        ("INCR of one key, 200 connections", workload("incr", 200, 1, false)),
    ]
};

type Figures = BTreeMap<String, Figure>;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("bench: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let parent = options.data_dir.clone().unwrap_or_else(binaries::directory);
    fs::create_dir_all(&parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    let root = tempfile::TempDir::with_prefix_in("bench-", &parent).map_err(|error| error.to_string())?;
    let sync_ms = sync_latency_ms(root.path())?;
    println!("one fdatasync takes {sync_ms:.2} ms here\n");

    let duration = Duration::from_secs(options.seconds);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| error.to_string())?;
    if options.collections {
        let cluster = start_cluster(options, root.path());
        println!("\n{}", collections::run(cluster.redis(), duration)?);
        return Ok(());
    }
    if let Some(only) = &options.only {
        return measure_only(options, only, root.path(), duration);
    }
    let (redis, etcd) = if options.no_peers {
        (Figures::new(), Figures::new())
    } else {
        (measure_redis(root.path(), duration)?, runtime.block_on(measure_etcd(root.path(), duration))?)
    };
    let elastickv = measure_cluster(options, root.path(), &runtime, duration)?;
    let idle = idle::measure(root.path(), duration)?;

    let report = report(options, sync_ms, &elastickv, &redis, &etcd, &idle);
    let text = report.to_markdown();
    println!("\n{text}");
    if options.write_docs {
        let document = fs::read_to_string(DOCUMENT).map_err(|error| format!("{DOCUMENT}: {error}"))?;
        let renewed = report::replace_figures(&document, &text).ok_or("docs/performance.md has lost its marks")?;
        fs::write(DOCUMENT, renewed).map_err(|error| format!("{DOCUMENT}: {error}"))?;
        println!("docs/performance.md has the figures");
    }
    Ok(())
}

fn note(figures: &mut Figures, system: &str, name: &str, figure: Figure) {
    println!("{system:10} {name:34} {:8.0}/s  p50 {:6.2} ms  p99 {:7.2} ms", figure.rate, figure.p50_ms, figure.p99_ms);
    figures.insert(name.to_owned(), figure);
}

fn measure_redis(root: &Path, duration: Duration) -> Result<Figures, String> {
    let server = peers::Redis::start(root)?;
    let mut figures = Figures::new();
    for (name, workload) in REDIS_WORKLOADS {
        note(&mut figures, "Redis", name, workload.run(server.address, duration)?);
    }
    Ok(figures)
}

async fn measure_etcd(root: &Path, duration: Duration) -> Result<Figures, String> {
    let cluster = peers::EtcdCluster::start(root)?;
    let driver = etcd::Etcd::connect(&cluster.leader, GRPC_CLIENTS, KEYS, Bytes::from(vec![b'x'; VALUE_BYTES])).await?;
    let mut figures = Figures::new();
    for clients in [GRPC_CLIENTS, 1] {
        note(&mut figures, "etcd", &grpc_name("put", clients), driver.put(clients, duration).await?);
        note(&mut figures, "etcd", &grpc_name("get", clients), driver.get(clients, duration).await?);
    }
    Ok(figures)
}

fn grpc_name(operation: &str, clients: usize) -> String {
    format!("gRPC {operation}, {clients} client{}", if clients == 1 { "" } else { "s" })
}

fn dynamo_name(operation: &str) -> String {
    format!("DynamoDB {operation}, {DYNAMO_CLIENTS} clients")
}

fn start_cluster(options: &Options, root: &Path) -> Cluster {
    let builder = Cluster::builder().groups(options.groups).gateways(options.gateways).directory(root);
    builder.storage_tables(options.storage_tables.clone()).start()
}

/// Some of redis-benchmark's workloads, to see what a change does.
fn measure_only(options: &Options, only: &str, root: &Path, duration: Duration) -> Result<(), String> {
    let cluster = start_cluster(options, root);
    let mut figures = Figures::new();
    for (name, workload) in REDIS_WORKLOADS.into_iter().filter(|(name, _)| name.contains(only)) {
        note(&mut figures, "Elastickv", name, workload.run(cluster.redis(), duration)?);
    }
    Ok(())
}

fn measure_cluster(
    options: &Options,
    root: &Path,
    runtime: &tokio::runtime::Runtime,
    duration: Duration,
) -> Result<Figures, String> {
    let cluster = start_cluster(options, root);
    let gateway = &cluster.gateways[0];
    let mut figures = Figures::new();
    for (name, workload) in REDIS_WORKLOADS {
        note(&mut figures, "Elastickv", name, workload.run(gateway.redis, duration)?);
    }
    runtime.block_on(async {
        for (name, keys) in multi::PAIRS {
            note(&mut figures, "Elastickv", name, multi::run(gateway.redis, keys, duration).await?);
        }
        let raw = raw::Raw::connect(gateway.grpc, GRPC_CLIENTS, KEYS, Bytes::from(vec![b'x'; VALUE_BYTES])).await?;
        for clients in [GRPC_CLIENTS, 1] {
            note(&mut figures, "Elastickv", &grpc_name("put", clients), raw.put(clients, duration).await?);
            note(&mut figures, "Elastickv", &grpc_name("get", clients), raw.get(clients, duration).await?);
        }
        let dynamo = dynamo::Dynamo::prepare(gateway.dynamo, KEYS, VALUE_BYTES).await?;
        note(&mut figures, "Elastickv", &dynamo_name("PutItem"), dynamo.put(DYNAMO_CLIENTS, duration).await?);
        note(&mut figures, "Elastickv", &dynamo_name("GetItem"), dynamo.get(DYNAMO_CLIENTS, duration).await?);
        Ok(figures)
    })
}

fn report(
    options: &Options,
    sync_ms: f64,
    elastickv: &Figures,
    redis: &Figures,
    etcd: &Figures,
    idle: &idle::Idle,
) -> Report {
    let names = REDIS_WORKLOADS.iter().map(|(name, _)| (*name).to_owned());
    let grpc = [GRPC_CLIENTS, 1].into_iter().flat_map(|clients| ["put", "get"].map(|name| grpc_name(name, clients)));
    let dynamo = ["PutItem", "GetItem"].map(dynamo_name);
    let names = names.chain(multi::PAIRS.map(|(name, _)| name.to_owned()));
    let rows = names.chain(grpc).chain(dynamo).filter_map(|workload| {
        let elastickv = *elastickv.get(&workload)?;
        Some(Row { elastickv, redis: redis.get(&workload).copied(), etcd: etcd.get(&workload).copied(), workload })
    });
    let rate = |figures: &Figures, name: &str| figures.get(name).map(|figure| figure.rate);
    let quotient = |above: Option<f64>, below: Option<f64>| Some(above? / below?);
    let set = rate(elastickv, "SET, 200 connections");
    let ratios = [
        (
            "SET at 200 connections / etcd put at 256 clients",
            quotient(set, rate(etcd, &grpc_name("put", GRPC_CLIENTS))),
            Bound::AtLeast(4.0),
        ),
        (
            "GET at 200 connections / etcd linearizable get at 256 clients",
            quotient(rate(elastickv, "GET, 200 connections"), rate(etcd, &grpc_name("get", GRPC_CLIENTS))),
            Bound::AtLeast(6.0),
        ),
        (
            "INCR of one key / SET of random keys, 200 connections",
            quotient(rate(elastickv, "INCR of one key, 200 connections"), set),
            Bound::AtLeast(0.7),
        ),
        (
            "SET pipelined by 16 / not, 50 connections",
            quotient(rate(elastickv, "SET, 50 connections, -P 16"), rate(elastickv, "SET, 50 connections")),
            Bound::AtLeast(3.0),
        ),
        (
            "SET p50 of one client alone, ms",
            elastickv.get("SET, 1 connection").map(|figure| figure.p50_ms),
            Bound::AtMost(1.5),
        ),
        ("idle demo, percent of a core", Some(idle.cpu_percent), Bound::AtMost(5.0)),
        ("idle demo, MiB resident", Some(idle.memory_mib), Bound::AtMost(400.0)),
    ];
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    Report {
        setting: vec![
            format!("{cores} cores for servers and clients together; one fdatasync takes {sync_ms:.2} ms."),
            format!(
                "Elastickv: 3 storage nodes, {} groups, replication factor 3, {} gateway(s), 1 placement, each a process; \
                 a write is answered when a majority has synced it.",
                options.groups, options.gateways
            ),
            "Redis: one process, no replica, `--appendonly yes --appendfsync always`; a write is answered when this one \
             disk has synced it."
                .to_owned(),
            "etcd: 3 processes, clients at the leader; a write is answered when a majority has synced it, a read is \
             linearizable."
                .to_owned(),
            format!("{VALUE_BYTES}-byte values, random keys out of {KEYS}, {} s a workload.", options.seconds),
        ],
        rows: rows.collect(),
        ratios: ratios
            .into_iter()
            .filter_map(|(name, value, bound)| Some(Ratio { name, value: value?, bound }))
            .collect(),
    }
}

/// Median time of a small append and its sync, on the disk that everybody uses.
fn sync_latency_ms(root: &Path) -> Result<f64, String> {
    let fail = |error: std::io::Error| error.to_string();
    let mut file = fs::File::create(root.join("sync")).map_err(fail)?;
    let mut latencies = Vec::new();
    for _ in 0..100 {
        let begin = Instant::now();
        file.write_all(&[0; 512]).map_err(fail)?;
        file.sync_data().map_err(fail)?;
        latencies.push(begin.elapsed());
    }
    latencies.sort_unstable();
    Ok(latencies[latencies.len() / 2].as_secs_f64() * 1000.0)
}
