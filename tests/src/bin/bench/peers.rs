//! The systems beside us, started as their documentation says for durable writes: a Redis server that syncs its append
//! log before it answers, and an etcd cluster of three processes.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tests::cluster::Process;
use tests::cluster::binaries::on_path;
use tests::cluster::ports::free_address;
use tests::resp::Connection;

const START_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// A running redis-server.
pub struct Redis {
    /// Where it listens.
    pub address: SocketAddr,
    _process: Process,
}

impl Redis {
    /// `--appendonly yes --appendfsync always`: one process, every write synced before its answer.
    pub fn start(root: &Path) -> Result<Self, String> {
        let directory = root.join("redis");
        fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let address = free_address();
        let arguments = format!(
            "--port {} --bind {} --dir {} --appendonly yes --appendfsync always --save",
            address.port(),
            address.ip(),
            directory.display()
        );
        let mut arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        arguments.push(String::new());
        let program = on_path("redis-server").ok_or("redis-server is not installed; scripts/setup.sh does it")?;
        let mut process = Process::new("redis-server", program, arguments, directory.join("log"));
        process.start();
        wait_until("redis-server", || {
            let mut connection = Connection::open(address, POLL).ok()?;
            connection.line("PING").ok()?.text().filter(|answer| answer == "PONG").map(drop)
        })?;
        Ok(Self { address, _process: process })
    }
}

/// A running etcd cluster.
pub struct EtcdCluster {
    /// `http://host:port` of the member that leads.
    pub leader: String,
    _processes: Vec<Process>,
}

impl EtcdCluster {
    /// Three members with their defaults: each syncs its log before it counts.
    pub fn start(root: &Path) -> Result<Self, String> {
        let program = on_path("etcd").ok_or("etcd is not installed; scripts/setup.sh does it")?;
        let members: Vec<(SocketAddr, SocketAddr)> = (0..3).map(|_| (free_address(), free_address())).collect();
        let all: Vec<String> =
            members.iter().enumerate().map(|(index, (_, peer))| format!("m{index}=http://{peer}")).collect();
        let mut processes = Vec::new();
        for (index, (client, peer)) in members.iter().enumerate() {
            let directory = root.join(format!("etcd-{index}"));
            let arguments = [
                format!("--name=m{index}"),
                format!("--data-dir={}", directory.display()),
                format!("--listen-client-urls=http://{client}"),
                format!("--advertise-client-urls=http://{client}"),
                format!("--listen-peer-urls=http://{peer}"),
                format!("--initial-advertise-peer-urls=http://{peer}"),
                format!("--initial-cluster={}", all.join(",")),
                "--log-level=error".to_owned(),
            ];
            let log = root.join(format!("etcd-{index}.log"));
            let mut process = Process::new(format!("etcd {index}"), program.clone(), arguments.to_vec(), log);
            process.start();
            processes.push(process);
        }
        let endpoints: Vec<String> = members.iter().map(|(client, _)| format!("http://{client}")).collect();
        let leader = wait_until("etcd", || leader_of(&endpoints))?;
        Ok(Self { leader, _processes: processes })
    }
}

/// Asks etcdctl which endpoint leads.
fn leader_of(endpoints: &[String]) -> Option<String> {
    let output = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &endpoints.join(","), "endpoint", "status", "--write-out=json"])
        .output()
        .ok()?;
    let statuses: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let statuses = statuses.as_array().filter(|statuses| statuses.len() == endpoints.len())?;
    let leads = |status: &&serde_json::Value| status["Status"]["leader"] == status["Status"]["header"]["member_id"];
    statuses.iter().find(leads)?["Endpoint"].as_str().map(str::to_owned)
}

fn wait_until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> Result<T, String> {
    let begin = Instant::now();
    loop {
        if let Some(result) = done() {
            return Ok(result);
        }
        if begin.elapsed() > START_TIMEOUT {
            return Err(format!("{what} did not become ready in {START_TIMEOUT:?}"));
        }
        std::thread::sleep(POLL);
    }
}
