//! A cluster of real processes for a test.
//!
//! [`Cluster::builder`] says how many nodes, groups and gateways; [`ClusterBuilder::start`] writes a TOML file for each
//! process into a directory of its own, starts them on free ports and returns when the cluster serves, which means: a
//! write and a read of keys all over the keyspace worked through every gateway.
//!
//! From then on the test does what it likes to the processes. Dropping the cluster kills what still runs and removes its
//! files; when the test has failed, the end of every log is printed before. With `ELASTICKV_KEEP=1` the files stay.
//!
//! Only one cluster runs on a machine at a time, whatever runs the tests: a locked file sees to that, because several
//! clusters on two cores make times meaningless.

pub mod binaries;
mod config;
pub mod ports;
mod process;

use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proto::wire::cluster_client::ClusterClient;
use proto::wire::distribution_client::DistributionClient;
use proto::wire::replicas_client::ReplicasClient;
use proto::wire::{
    GetRouteRequest, GroupStatus, GroupsRequest, ListRoutesRequest, NodeStatus, NodesRequest, SplitRangeRequest,
    TransferLeaderRequest,
};
use tempfile::TempDir;
use tonic::transport::Channel;

pub use self::process::Process;
use crate::http;
use crate::network::{Member, Network};
use crate::resp::{Connection, Reply};

/// A start on a busy machine takes a few seconds; this only ends a start that hangs.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// For what the test itself asks of the placement or a node.
const OPERATOR_PATIENCE: Duration = Duration::from_secs(20);
/// Enough keys that every group owns some: slots are spread evenly.
const PROBE_KEYS: usize = 64;

/// What cluster to start.
#[derive(Debug, Clone)]
pub struct ClusterBuilder {
    nodes: usize,
    groups: usize,
    gateways: usize,
    storage_tables: String,
    data_directory: Option<(usize, PathBuf)>,
    directory: PathBuf,
    proxied: bool,
}

impl ClusterBuilder {
    /// Storage nodes: 1, or 3 and more. Default 3.
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Raft groups. Default 3.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Gateways. Default 1.
    pub fn gateways(mut self, gateways: usize) -> Self {
        self.gateways = gateways;
        self
    }

    /// TOML tables for the configuration of every storage node: `[log]`, `[limits]`, …
    pub fn storage_tables(mut self, tables: impl Into<String>) -> Self {
        self.storage_tables = tables.into();
        self
    }

    /// Where one node keeps its data, instead of in the cluster's own directory.
    pub fn data_directory(mut self, node: usize, directory: impl Into<PathBuf>) -> Self {
        self.data_directory = Some((node, directory.into()));
        self
    }

    /// Where the cluster's own directory is made. Default: the system's place for temporary files.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Puts a [`Network`] with faults on demand between the processes.
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// Starts everything and waits until it serves.
    pub fn start(self) -> Cluster {
        let mut cluster = self.prepare();
        cluster.start_all();
        cluster.wait_until_serving(START_TIMEOUT);
        cluster
    }

    /// Writes the configuration; nothing runs yet.
    pub fn prepare(self) -> Cluster {
        let lock = lock_machine();
        let directory =
            TempDir::with_prefix_in("elastickv-cluster-", &self.directory).expect("a temporary directory can be made");
        let root = directory.path().to_owned();
        let placement_config = config::Placement {
            listen: ports::free_address(),
            metrics: ports::free_address(),
            data: root.join("placement"),
            groups: self.groups,
            nodes: self.nodes,
        };
        let placement_address = placement_config.listen;
        let network = self.proxied.then(Network::new);
        let found_at = |member, listen| network.as_ref().map_or(listen, |network| network.front(member, listen));
        let placement_found_at = found_at(Member::Placement, placement_address);
        let placement = process(&root, "placement", "placement", &["serve"], &placement_config.to_toml());
        let nodes = (0..self.nodes)
            .map(|index| {
                let data = match &self.data_directory {
                    Some((node, directory)) if *node == index => directory.clone(),
                    _ => root.join(format!("node-{}", index + 1)),
                };
                let listen = ports::free_address();
                let config = config::Storage {
                    listen,
                    advertise: found_at(Member::Node(index), listen),
                    metrics: ports::free_address(),
                    data: data.clone(),
                    placement: placement_found_at,
                    more: self.storage_tables.clone(),
                };
                let name = format!("node-{}", index + 1);
                let process = process(&root, &name, "elastickv-storage", &[], &config.to_toml());
                Node { process, address: listen, advertised: config.advertise, metrics: config.metrics, data }
            })
            .collect();
        let gateways = (0..self.gateways)
            .map(|index| {
                let config = config::Gateway {
                    redis: ports::free_address(),
                    dynamo: ports::free_address(),
                    grpc: ports::free_address(),
                    metrics: ports::free_address(),
                    placement: placement_found_at,
                };
                let name = format!("gateway-{}", index + 1);
                let process = process(&root, &name, "elastickv-gateway", &[], &config.to_toml());
                let config::Gateway { redis, dynamo, grpc, metrics, .. } = config;
                Gateway { process, redis, dynamo, grpc, metrics }
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be built");
        let directory = Some(directory);
        let mut cluster =
            Cluster { placement, nodes, gateways, placement_address, network, runtime, directory, _lock: lock };
        for member in cluster.members() {
            let shown_id = cluster.process(member).shown_id();
            if let Some(network) = &cluster.network {
                network.admit(member, shown_id);
            }
        }
        cluster
    }
}

/// One storage node.
#[derive(Debug)]
pub struct Node {
    /// Its process.
    pub process: Process,
    /// gRPC of the storage tier.
    pub address: SocketAddr,
    /// Where the others find it: a proxy's address, or the same.
    pub advertised: SocketAddr,
    /// Metrics and health.
    pub metrics: SocketAddr,
    /// Its data directory.
    pub data: PathBuf,
}

impl Node {
    /// The sum of a metric over its labels, or its value under the labels given with the name; 0 when nothing has been
    /// recorded.
    pub fn metric(&self, name: &str) -> f64 {
        metric(self.metrics, name)
    }
}

/// One gateway.
#[derive(Debug)]
pub struct Gateway {
    /// Its process.
    pub process: Process,
    /// Redis.
    pub redis: SocketAddr,
    /// DynamoDB over HTTP.
    pub dynamo: SocketAddr,
    /// gRPC.
    pub grpc: SocketAddr,
    /// Metrics and health.
    pub metrics: SocketAddr,
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The placement.
    pub placement: Process,
    /// The storage nodes.
    pub nodes: Vec<Node>,
    /// The gateways.
    pub gateways: Vec<Gateway>,
    /// gRPC of the placement.
    pub placement_address: SocketAddr,
    network: Option<Network>,
    runtime: tokio::runtime::Runtime,
    directory: Option<TempDir>,
    _lock: File,
}

impl Cluster {
    /// Three nodes, three groups, one gateway, unless told otherwise.
    pub fn builder() -> ClusterBuilder {
        let directory = std::env::temp_dir();
        let storage_tables = String::new();
        ClusterBuilder {
            nodes: 3,
            groups: 3,
            gateways: 1,
            storage_tables,
            data_directory: None,
            directory,
            proxied: false,
        }
    }

    /// Redis of the first gateway.
    pub fn redis(&self) -> SocketAddr {
        self.gateways[0].redis
    }

    /// Redis of every gateway.
    pub fn all_redis(&self) -> Vec<SocketAddr> {
        self.gateways.iter().map(|gateway| gateway.redis).collect()
    }

    /// Every process.
    pub fn members(&self) -> Vec<Member> {
        let nodes = (0..self.nodes.len()).map(Member::Node);
        let gateways = (0..self.gateways.len()).map(Member::Gateway);
        std::iter::once(Member::Placement).chain(nodes).chain(gateways).collect()
    }

    /// The process of a member.
    pub fn process(&mut self, member: Member) -> &mut Process {
        match member {
            Member::Placement => &mut self.placement,
            Member::Node(index) => &mut self.nodes[index].process,
            Member::Gateway(index) => &mut self.gateways[index].process,
        }
    }

    /// The network between the processes.
    ///
    /// # Panics
    /// If the cluster was not built with [`ClusterBuilder::proxied`].
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("the cluster is proxied")
    }

    /// Locks of transactions that are held now, as the leaders see it; up to a second old.
    pub fn locks_held(&self) -> f64 {
        self.nodes.iter().map(|node| node.metric("storage_locks_held")).sum()
    }

    /// Splits the range that holds a hash slot of Redis before it, as an operator would.
    pub fn split_at_slot(&self, slot: u32) -> Result<(), tonic::Status> {
        let key = bytes::Bytes::from(format!("redis:slot:{slot}"));
        self.block_on(async {
            let unavailable = |error: tonic::transport::Error| tonic::Status::unavailable(error.to_string());
            let channel = endpoint(self.placement_address).connect().await.map_err(unavailable)?;
            let mut distribution = DistributionClient::new(channel);
            let version = distribution.list_routes(ListRoutesRequest {}).await?.into_inner().catalog_version;
            let route = distribution.get_route(GetRouteRequest { key: key.clone() }).await?.into_inner();
            let route_id = route.route.unwrap_or_default().route_id;
            let request = SplitRangeRequest { expected_catalog_version: version, route_id, split_key: key.clone() };
            let response = distribution.split_range(request).await?.into_inner();
            let (left, right) = (response.left.unwrap_or_default(), response.right.unwrap_or_default());
            assert_eq!((left.end, right.start), (key.clone(), key), "the halves meet where they were asked to");
            Ok(())
        })
    }

    /// Starts what does not run, in no particular order: each process waits for the others itself.
    pub fn start_all(&mut self) {
        let nodes = self.nodes.iter_mut().map(|node| &mut node.process);
        let gateways = self.gateways.iter_mut().map(|gateway| &mut gateway.process);
        for process in std::iter::once(&mut self.placement).chain(nodes).chain(gateways) {
            if !process.is_running() {
                process.start();
            }
        }
    }

    /// Waits until keys all over the keyspace can be written and read through every gateway. Gives the time it took.
    pub fn wait_until_serving(&mut self, timeout: Duration) -> Duration {
        let begin = Instant::now();
        for gateway in self.all_redis() {
            loop {
                match probe(gateway) {
                    Ok(()) => break,
                    Err(problem) => {
                        self.assert_running();
                        assert!(begin.elapsed() < timeout, "the cluster does not serve after {timeout:?}: {problem}");
                        std::thread::sleep(POLL);
                    }
                }
            }
        }
        begin.elapsed()
    }

    /// Whether keys all over the keyspace can be written and read through every gateway now, and if not, why.
    pub fn serves(&mut self) -> Result<(), String> {
        self.assert_running();
        self.all_redis().into_iter().try_for_each(probe)
    }

    /// Groups as the placement knows them.
    pub fn groups(&self) -> Vec<GroupStatus> {
        self.block_on(async {
            let mut client = ClusterClient::new(self.connect_placement().await);
            client.groups(GroupsRequest {}).await.expect("the placement lists groups").into_inner().groups
        })
    }

    /// Nodes as the placement knows them.
    pub fn node_statuses(&self) -> Vec<NodeStatus> {
        self.block_on(async {
            let mut client = ClusterClient::new(self.connect_placement().await);
            client.nodes(NodesRequest {}).await.expect("the placement lists nodes").into_inner().nodes
        })
    }

    /// Index of the node that leads a group, when the placement knows it.
    pub fn leader_index(&self, group_id: u64) -> Option<usize> {
        let group = self.groups().into_iter().find(|group| group.group_id == group_id)?;
        let node = self.node_statuses().into_iter().find(|node| node.node_id == group.leader_node_id)?;
        self.nodes.iter().position(|candidate| candidate.advertised.to_string() == node.address)
    }

    /// Waits until all nodes report and every member of every group holds what its leader had applied at the beginning.
    pub fn wait_until_replicated(&self, timeout: Duration) -> Duration {
        let begin = Instant::now();
        self.wait_for("all nodes to report", timeout, |cluster| {
            let statuses = cluster.node_statuses();
            statuses.len() == cluster.nodes.len() && statuses.iter().all(|node| node.alive)
        });
        let wanted: Vec<(u64, u64)> = self.groups().iter().map(|group| (group.group_id, group.applied_index)).collect();
        self.wait_for("all members to catch up", timeout.saturating_sub(begin.elapsed()), |cluster| {
            let groups = cluster.groups();
            wanted.iter().all(|(group_id, index)| {
                let group = groups.iter().find(|group| group.group_id == *group_id);
                group.is_some_and(|group| group.members.iter().all(|member| member.matched_index >= *index))
            })
        });
        begin.elapsed()
    }

    /// Makes one node lead every group.
    pub fn lead_everything_from(&self, node: usize, timeout: Duration) {
        self.move_leaders(|_| true, node, timeout);
    }

    /// Makes one node lead one group.
    pub fn move_leader(&self, group_id: u64, node: usize, timeout: Duration) {
        self.move_leaders(|group| group.group_id == group_id, node, timeout);
    }

    fn move_leaders(&self, which: impl Fn(&GroupStatus) -> bool, node: usize, timeout: Duration) {
        let node_id = self.node_id(node);
        self.wait_for("leaders to move", timeout, |cluster| {
            let mut groups = cluster.groups();
            groups.retain(|group| which(group));
            for group in groups.iter().filter(|group| group.leader_node_id != node_id) {
                let Some(leader) = cluster.leader_index(group.group_id) else { continue };
                let Some(member) = group.members.iter().find(|member| member.node_id == node_id) else { continue };
                let request = TransferLeaderRequest { group_id: group.group_id, to_replica_id: member.replica_id };
                let address = cluster.nodes[leader].address;
                // Refused while the leadership is changing; the next look asks again.
                drop(
                    cluster
                        .block_on(async { ReplicasClient::new(connect(address).await).transfer_leader(request).await }),
                );
            }
            groups.iter().all(|group| group.leader_node_id == node_id)
        });
    }

    /// The id that the placement has given to a node.
    pub fn node_id(&self, node: usize) -> u64 {
        let address = self.nodes[node].advertised.to_string();
        let status = self.node_statuses().into_iter().find(|status| status.address == address);
        status.unwrap_or_else(|| panic!("the placement does not know {address}")).node_id
    }

    /// A client of the placement's `Distribution`.
    pub fn distribution(&self) -> DistributionClient<Channel> {
        self.block_on(async { DistributionClient::new(self.connect_placement().await) })
    }

    /// Runs a future to its end on the cluster's own runtime.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Looks every 20 ms until `done` says so; panics with `what` when the time is up. Gives the time it took.
    pub fn wait_for(&self, what: &str, timeout: Duration, mut done: impl FnMut(&Self) -> bool) -> Duration {
        let begin = Instant::now();
        while !done(self) {
            assert!(begin.elapsed() < timeout, "waited {timeout:?} for {what}");
            std::thread::sleep(POLL);
        }
        begin.elapsed()
    }

    async fn connect_placement(&self) -> Channel {
        connect(self.placement_address).await
    }

    /// A process that has ended although nobody told it to is the reason why nothing serves.
    fn assert_running(&mut self) {
        let nodes = self.nodes.iter_mut().map(|node| &mut node.process);
        let gateways = self.gateways.iter_mut().map(|gateway| &mut gateway.process);
        for process in std::iter::once(&mut self.placement).chain(nodes).chain(gateways) {
            assert!(process.id().is_none() || process.is_running(), "{} has ended by itself", process.name);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let nodes = self.nodes.iter().map(|node| &node.process);
        let gateways = self.gateways.iter().map(|gateway| &gateway.process);
        if std::thread::panicking() {
            for process in std::iter::once(&self.placement).chain(nodes).chain(gateways) {
                eprintln!("\n--- end of the log of {} ---\n{}", process.name, process.log_end());
            }
        }
        if std::env::var_os("ELASTICKV_KEEP").is_some()
            && let Some(directory) = self.directory.take()
        {
            eprintln!("the cluster's files stay in {}", directory.keep().display());
        }
    }
}

/// Reads a metrics page and sums up one metric over its labels.
fn metric(address: SocketAddr, name: &str) -> f64 {
    let page = http::get(address, "/metrics").unwrap_or_else(|error| panic!("no metrics at {address}: {error}"));
    let of_name = |line: &&str| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
    };
    page.lines().filter(of_name).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

fn endpoint(address: SocketAddr) -> tonic::transport::Endpoint {
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address is a valid authority");
    endpoint.connect_timeout(OPERATOR_PATIENCE).timeout(OPERATOR_PATIENCE)
}

async fn connect(address: SocketAddr) -> Channel {
    endpoint(address).connect().await.unwrap_or_else(|error| panic!("{address} does not accept connections: {error}"))
}

/// Writes the configuration of one process and describes how to run it.
fn process(root: &Path, name: &str, program: &str, arguments: &[&str], config: &str) -> Process {
    let path = root.join(format!("{name}.toml"));
    fs::write(&path, config).expect("a configuration can be written");
    let mut arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    arguments.extend(["--config".to_owned(), path.display().to_string()]);
    Process::new(name, binaries::binary(program), arguments, root.join(format!("{name}.log")))
}

/// Writes and reads keys in many slots through one gateway.
fn probe(gateway: SocketAddr) -> Result<(), String> {
    let mut connection = Connection::open(gateway, Duration::from_secs(5)).map_err(|error| error.to_string())?;
    for key in 0..PROBE_KEYS {
        let key = format!("elastickv-probe:{key}");
        match connection.call(&["SET", &key, "1", "PX", "1"]).map_err(|error| error.to_string())? {
            Reply::Status(ok) if ok == "OK" => {}
            other => return Err(format!("SET {key} answered {other:?}")),
        }
        let reply = connection.call(&["GET", &key]).map_err(|error| error.to_string())?;
        if let Some(sentence) = reply.error() {
            return Err(format!("GET {key} answered {sentence}"));
        }
    }
    Ok(())
}

/// Waits for its turn; the lock goes with the file handle, also when the test is killed.
fn lock_machine() -> File {
    let path = std::env::temp_dir().join("elastickv-cluster-tests.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .unwrap_or_else(|error| panic!("{} cannot be opened: {error}", path.display()));
    file.lock().expect("the lock file can be locked");
    file
}
