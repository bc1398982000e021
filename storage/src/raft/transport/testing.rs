//! What the tests of the transport run over: nodes in one process, each behind a proxy that can be cut or frozen,
//! with openraft over a log in memory and a state machine over the engine in memory.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use keyspace::{GroupId, NodeId, ReplicaId};
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::storage::{EntryResponder, IOFlushed, RaftLogStorage, RaftStateMachine};
use openraft::{
    Config, EntryPayload, LogState, OptionalSend, Raft, RaftLogReader, RaftSnapshotBuilder, SnapshotPolicy,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;

use super::{ClockTable, RaftService, ReplicaHandle, Replicas, Transport, TransportOptions, tune};
use crate::engine::memory::MemoryEngine;
use crate::engine::{Batch, Engine};
use crate::raft::snapshot::{FrozenRange, SnapshotData, SnapshotStore};
use crate::raft::types::{Applied, Entry, LogId, Payload, PeerNode, StoredMembership, TypeConfig, Vote};

pub(super) type TestRaft = Raft<TypeConfig, Machine>;

/// A log in memory, whose completions can be held back like those of a disk that hangs.
#[derive(Clone, Default)]
pub(super) struct MemoryLog(Arc<Mutex<LogInner>>);

#[derive(Default)]
struct LogInner {
    entries: BTreeMap<u64, Entry>,
    vote: Option<Vote>,
    purged: Option<LogId>,
    hangs: bool,
    held: Vec<IOFlushed<TypeConfig>>,
}

impl MemoryLog {
    /// From now on appends are visible, but not durable, until [`Self::flush`].
    pub(super) fn hang(&self) {
        self.0.lock().hangs = true;
    }

    pub(super) fn flush(&self) {
        let held = {
            let mut inner = self.0.lock();
            inner.hangs = false;
            std::mem::take(&mut inner.held)
        };
        for callback in held {
            callback.io_completed(Ok(()));
        }
    }

    pub(super) fn last_index(&self) -> Option<u64> {
        self.0.lock().entries.last_key_value().map(|(index, _)| *index)
    }
}

impl RaftLogReader<TypeConfig> for MemoryLog {
    async fn try_get_log_entries<B: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: B,
    ) -> Result<Vec<Entry>, io::Error> {
        Ok(self.0.lock().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.0.lock().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        // Few at a time, so that a long log takes many requests.
        self.try_get_log_entries(start..end.min(start + 4)).await
    }
}

impl RaftLogStorage<TypeConfig> for MemoryLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let inner = self.0.lock();
        let last = inner.entries.last_key_value().map(|(_, entry)| entry.log_id).or(inner.purged);
        Ok(LogState { last_purged_log_id: inner.purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.0.lock().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut inner = self.0.lock();
        inner.entries.extend(entries.into_iter().map(|entry| (entry.log_id.index(), entry)));
        if inner.hangs {
            inner.held.push(callback);
        } else {
            drop(inner);
            callback.io_completed(Ok(()));
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let mut inner = self.0.lock();
        inner.entries.split_off(&last.map_or(0, |last| last.index() + 1));
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let mut inner = self.0.lock();
        inner.entries = inner.entries.split_off(&(upto.index() + 1));
        inner.purged = Some(upto);
        Ok(())
    }
}

/// Keeps the payload of entry `i` under `group · i` in an engine.
#[derive(Clone)]
pub(super) struct Machine {
    engine: Arc<dyn Engine>,
    group: GroupId,
    applied: Arc<Mutex<(Option<LogId>, StoredMembership)>>,
}

impl Machine {
    fn new(engine: Arc<dyn Engine>, group: GroupId) -> Self {
        Self { engine, group, applied: Arc::default() }
    }

    fn bounds(&self) -> (Bytes, Bytes) {
        let bound = |group: u64| Bytes::from(group.to_be_bytes().to_vec());
        (bound(self.group.0), bound(self.group.0 + 1))
    }

    fn key(&self, index: u64) -> Bytes {
        Bytes::from([self.group.0.to_be_bytes(), index.to_be_bytes()].concat())
    }

    /// Everything applied, in log order.
    pub(super) fn content(&self) -> Vec<(Bytes, Bytes)> {
        let snapshot = self.engine.snapshot();
        let (start, end) = self.bounds();
        let mut cursor = snapshot.cursor(&start, &end);
        cursor.seek(&start).unwrap();
        let mut content = Vec::new();
        while let Some((key, value)) = cursor.current() {
            content.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            cursor.next().unwrap();
        }
        content
    }

    fn now(&self) -> SnapshotOf<TypeConfig, SnapshotData> {
        let (last_log_id, last_membership) = self.applied.lock().clone();
        let (start, end) = self.bounds();
        let frozen = FrozenRange::new(self.engine.clone(), self.engine.snapshot(), start, end);
        SnapshotOf::<TypeConfig, SnapshotData> {
            meta: SnapshotMetaOf::<TypeConfig> { last_log_id, last_membership },
            snapshot: SnapshotData::Frozen(frozen),
        }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, SnapshotData>, io::Error> {
        Ok(self.now())
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok(self.applied.lock().clone())
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            let mut batch = Batch::default();
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(Payload(payload)) => batch.put(self.key(entry.log_id.index()), payload),
                EntryPayload::Membership(membership) => {
                    self.applied.lock().1 = StoredMembership::new(Some(entry.log_id), membership);
                }
            }
            self.engine.write(&batch).map_err(io::Error::other)?;
            self.applied.lock().0 = Some(entry.log_id);
            if let Some(responder) = responder {
                responder.send(Applied::Taken);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<TypeConfig>,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let SnapshotData::Received(mut received) = snapshot else { panic!("only received snapshots are installed") };
        received.hold();
        let (start, end) = self.bounds();
        self.engine.replace(&start, &end, received.files()).map_err(io::Error::other)?;
        received.release();
        *self.applied.lock() = (meta.last_log_id, meta.last_membership.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<TypeConfig, SnapshotData>>, io::Error> {
        let any = self.applied.lock().0.is_some();
        Ok(any.then(|| self.now()))
    }
}

/// One replica of a test node.
#[derive(Clone)]
pub(super) struct Replica {
    pub(super) raft: TestRaft,
    pub(super) log: MemoryLog,
    pub(super) machine: Machine,
}

/// The replicas of a test node.
#[derive(Default)]
pub(super) struct Hosted {
    replicas: Mutex<HashMap<(GroupId, ReplicaId), Replica>>,
    boot_hold: Mutex<bool>,
}

impl Hosted {
    pub(super) fn set_boot_hold(&self, hold: bool) {
        *self.boot_hold.lock() = hold;
    }
}

impl Replicas for Hosted {
    type StateMachine = Machine;

    fn find(&self, group: GroupId, to_replica: ReplicaId) -> Option<ReplicaHandle<Machine>> {
        let raft = self.replicas.lock().get(&(group, to_replica))?.raft.clone();
        Some(ReplicaHandle { raft, votes: !*self.boot_hold.lock() })
    }
}

/// How a proxy treats connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Road {
    Open,
    /// Existing connections are closed, and so is each new one.
    Cut,
    /// Connections stay, nothing passes.
    Frozen,
}

/// Stands before a node.
pub(super) struct Proxy {
    pub(super) address: String,
    road: watch::Sender<Road>,
    /// Bytes that went towards the node.
    passed: Arc<AtomicU64>,
}

impl Proxy {
    async fn before(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (road, watched) = watch::channel(Road::Open);
        let passed = Arc::new(AtomicU64::new(0));
        let counter = passed.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, road, counter) = (target.clone(), watched.clone(), counter.clone());
                if *road.borrow() == Road::Cut {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(target).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    let inward = carry(from_client, to_server, road.clone(), counter);
                    let outward = carry(from_server, to_client, road, Arc::default());
                    tokio::select! { () = inward => {}, () = outward => {} }
                });
            }
        });
        Self { address, road, passed }
    }

    pub(super) fn set(&self, road: Road) {
        self.road.send_replace(road);
    }

    pub(super) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut road: watch::Receiver<Road>,
    counter: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        if *road.borrow_and_update() == Road::Cut {
            return;
        }
        if road.wait_for(|road| *road != Road::Frozen).await.is_err() {
            return;
        }
        let read = tokio::select! {
            changed = road.changed() => {
                if changed.is_err() {
                    return;
                }
                continue;
            }
            read = from.read(&mut buffer) => read,
        };
        let Ok(read @ 1..) = read else { return };
        if road.wait_for(|road| *road != Road::Frozen).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        counter.fetch_add(read as u64, Ordering::Relaxed);
    }
}

/// A node with its server, behind its proxy.
pub(super) struct TestNode {
    pub(super) id: NodeId,
    pub(super) transport: Transport,
    pub(super) hosted: Arc<Hosted>,
    pub(super) proxy: Proxy,
    engine: Arc<dyn Engine>,
    service: RaftService<Hosted>,
    server: tokio::task::JoinHandle<()>,
    pub(super) files: tempfile::TempDir,
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.service.close();
        self.server.abort();
    }
}

impl TestNode {
    pub(super) async fn start(id: u64, options: TransportOptions) -> Self {
        let id = NodeId(id);
        let files = tempfile::tempdir().unwrap();
        let store = SnapshotStore::open(files.path(), &[]).unwrap();
        let (clocks, hosted) = (ClockTable::default(), Arc::new(Hosted::default()));
        let service = RaftService::new(hosted.clone(), clocks.clone(), store.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::before(listener.local_addr().unwrap().to_string()).await;
        let router = tune(tonic::transport::Server::builder()).add_service(service.server());
        let server = tokio::spawn(async move {
            // Ends when the node is dropped.
            let _ = router.serve_with_incoming(TcpListenerStream::new(listener)).await;
        });
        let transport = Transport::new(id, clocks, store, options);
        Self { id, transport, hosted, proxy, engine: Arc::new(MemoryEngine::new()), service, server, files }
    }

    /// Starts a replica; it waits for members.
    pub(super) async fn host(&self, group: GroupId, replica: ReplicaId) -> Replica {
        let config = Config {
            cluster_name: group.to_string(),
            heartbeat_interval: 100,
            election_timeout_min: 1000,
            election_timeout_max: 1500,
            enable_pre_vote: Some(true),
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: 0,
            install_snapshot_timeout: 60_000,
            ..Config::default()
        };
        let (log, machine) = (MemoryLog::default(), Machine::new(self.engine.clone(), group));
        let network = self.transport.network(group, replica);
        let config = Arc::new(config.validate().unwrap());
        let raft = Raft::new(replica.0, config, network, log.clone(), machine.clone()).await.unwrap();
        let replica_state = Replica { raft, log, machine };
        self.hosted.replicas.lock().insert((group, replica), replica_state.clone());
        replica_state
    }

    pub(super) fn replica(&self, group: GroupId) -> Replica {
        let replicas = self.hosted.replicas.lock();
        replicas.iter().find(|((of, _), _)| *of == group).unwrap().1.clone()
    }

    pub(super) fn peer_node(&self) -> PeerNode {
        PeerNode { node_id: self.id.0, address: self.proxy.address.clone() }
    }
}

/// Three nodes with a replica of every group on each, all led by the first.
pub(super) struct Cluster {
    pub(super) nodes: Vec<TestNode>,
}

/// The id of the replica of `group` on node `node`.
pub(super) fn replica_id(group: GroupId, node: NodeId) -> ReplicaId {
    ReplicaId(group.0 * 100 + node.0)
}

impl Cluster {
    pub(super) async fn start(groups: &[GroupId]) -> Self {
        let mut nodes = Vec::new();
        for id in 1..=3 {
            nodes.push(TestNode::start(id, options()).await);
        }
        let cluster = Self { nodes };
        for group in groups {
            let mut members = BTreeMap::new();
            for node in &cluster.nodes {
                let replica = replica_id(*group, node.id);
                node.host(*group, replica).await;
                members.insert(replica.0, node.peer_node());
            }
            let first = &cluster.nodes[0].replica(*group).raft;
            first.initialize(members).await.unwrap();
            let leads = first.wait(patience()).current_leader(replica_id(*group, NodeId(1)).0, "the first leads").await;
            leads.unwrap();
        }
        cluster
    }

    /// Writes one entry at the first node and returns its index.
    pub(super) async fn write(&self, group: GroupId, payload: impl Into<Bytes>) -> u64 {
        write(&self.nodes[0].replica(group).raft, payload).await
    }

    /// Waits until a node has applied an entry.
    pub(super) async fn applied(&self, node: usize, group: GroupId, index: u64) {
        let raft = self.nodes[node].replica(group).raft;
        raft.wait(patience()).applied_index_at_least(Some(index), "applies").await.unwrap();
    }
}

pub(super) fn options() -> TransportOptions {
    TransportOptions {
        append_timeout: Duration::from_millis(500),
        keepalive_interval: Duration::from_secs(1),
        keepalive_timeout: Duration::from_secs(1),
        clock_interval: Duration::from_millis(100),
        ..TransportOptions::default()
    }
}

/// No test waits longer for anything.
pub(super) fn patience() -> Option<Duration> {
    Some(Duration::from_secs(20))
}

/// Writes one entry at a leader and returns its index.
pub(super) async fn write(raft: &TestRaft, payload: impl Into<Bytes>) -> u64 {
    let payload = Payload(payload.into());
    let written = async {
        loop {
            match raft.client_write(payload.clone()).await {
                Ok(response) => return response.log_id.index(),
                // Not appended: the quorum has been quiet for a moment, as right after the election.
                Err(error) if error.forward_to_leader().is_some() => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(patience().unwrap(), written).await.unwrap()
}

/// Waits for a condition.
pub(super) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(patience().unwrap(), waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// The term of a replica.
pub(super) fn term(replica: &Replica) -> u64 {
    replica.raft.metrics().borrow_watched().current_term
}
