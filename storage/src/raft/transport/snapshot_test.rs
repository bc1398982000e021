//! Snapshot transfers, whole and broken.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use keyspace::{GroupId, NodeId, ReplicaId};
use proto::wire;
use proto::wire::raft_client::RaftClient;
use proto::wire::snapshot_answer::Answer;
use proto::wire::snapshot_part::Part;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::TransportOptions;
use super::testing::{Cluster, Road, TestNode, options, patience, replica_id, until, write};
use crate::engine::memory::MemoryEngine;
use crate::engine::{Batch, Engine};

const G: GroupId = GroupId(1);
const TO: ReplicaId = ReplicaId(31);
const VALUE_BYTES: usize = 100 << 10;

fn entries_of(dir: &tempfile::TempDir) -> usize {
    std::fs::read_dir(dir.path()).unwrap().count()
}

/// A leader whose log begins behind `count` entries, so that only a snapshot helps a newcomer.
async fn purged_cluster(count: u8) -> (Cluster, u64) {
    let cluster = Cluster::start(&[G]).await;
    let mut last = 0;
    for entry in 0..count {
        last = cluster.write(G, vec![entry; VALUE_BYTES]).await;
    }
    let raft = cluster.nodes[0].replica(G).raft;
    raft.trigger().snapshot().await.unwrap();
    raft.wait(patience()).metrics(|m| m.snapshot.is_some_and(|id| id.index() >= last), "built").await.unwrap();
    raft.trigger().purge_log(last).await.unwrap();
    raft.wait(patience()).metrics(|m| m.purged.is_some_and(|id| id.index() >= last), "purged").await.unwrap();
    (cluster, last)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_behind_the_log_gets_a_snapshot() {
    let (cluster, _) = purged_cluster(40).await;
    let newcomer = TestNode::start(4, options()).await;
    let id = replica_id(G, NodeId(4));
    let replica = newcomer.host(G, id).await;
    let leader = cluster.nodes[0].replica(G);
    leader.raft.add_learner(id.0, newcomer.peer_node(), true).await.unwrap();
    let last = cluster.write(G, "after").await;
    replica.raft.wait(patience()).applied_index_at_least(Some(last), "follows").await.unwrap();
    assert_eq!(replica.machine.content(), leader.machine.content());
    until("both ends have cleaned up", || entries_of(&newcomer.files) + entries_of(&cluster.nodes[0].files) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_transfer_resumes_where_it_was() {
    // 4 MB at 2 MB/s: two seconds, cut in the middle.
    let slow = TransportOptions { snapshot_bytes_per_second: 2 << 20, ..options() };
    let leader = TestNode::start(1, slow).await;
    let (from, to) = (ReplicaId(101), ReplicaId(104));
    let source = leader.host(G, from).await;
    source.raft.initialize(std::collections::BTreeMap::from([(from.0, leader.peer_node())])).await.unwrap();
    source.raft.wait(patience()).current_leader(from.0, "leads alone").await.unwrap();
    let mut last = 0;
    for entry in 0..40u8 {
        last = write(&source.raft, vec![entry; VALUE_BYTES]).await;
    }
    source.raft.trigger().snapshot().await.unwrap();
    source.raft.wait(patience()).metrics(|m| m.snapshot.is_some(), "built").await.unwrap();
    source.raft.trigger().purge_log(last).await.unwrap();
    source.raft.wait(patience()).metrics(|m| m.purged.is_some(), "purged").await.unwrap();

    let newcomer = TestNode::start(4, options()).await;
    let replica = newcomer.host(G, to).await;
    source.raft.add_learner(to.0, newcomer.peer_node(), false).await.unwrap();
    until("half of it has come", || newcomer.proxy.passed() > 2 << 20).await;
    newcomer.proxy.set(Road::Cut);
    tokio::time::sleep(Duration::from_millis(200)).await;
    newcomer.proxy.set(Road::Open);
    replica.raft.wait(patience()).applied_index_at_least(Some(last), "installed").await.unwrap();
    assert_eq!(replica.machine.content(), source.machine.content());
    assert!(newcomer.proxy.passed() < 5 << 20, "{} bytes passed: it began again", newcomer.proxy.passed());
}

/// An exported snapshot of a hand-made leader, in memory.
struct Exported {
    files: Vec<(wire::SnapshotFile, Bytes)>,
    content: Vec<(Bytes, Bytes)>,
}

fn exported() -> Exported {
    let engine = MemoryEngine::new();
    let mut batch = Batch::default();
    let mut content = Vec::new();
    for index in 0..20u64 {
        let key = Bytes::from([G.0.to_be_bytes(), index.to_be_bytes()].concat());
        let value = Bytes::from(vec![index as u8; 10 << 10]);
        batch.put(key.clone(), value.clone());
        content.push((key, value));
    }
    engine.write(&batch).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (start, end) = (G.0.to_be_bytes(), (G.0 + 1).to_be_bytes());
    let files = engine.export(&*engine.snapshot(), &start, &end, dir.path(), 64 << 10).unwrap();
    let files = files.iter().enumerate().map(|(position, file)| {
        let announced =
            wire::SnapshotFile { name: position.to_string(), size_bytes: file.size_bytes, crc32: file.crc32 };
        (announced, Bytes::from(std::fs::read(&file.path).unwrap()))
    });
    let files: Vec<_> = files.collect();
    assert!(files.len() > 1, "several files");
    Exported { files, content }
}

impl Exported {
    fn header(&self, to: ReplicaId) -> Part {
        let node = wire::MemberNode { replica_id: 7, node_id: 7, address: "nowhere".to_owned() };
        let learner = wire::MemberNode { replica_id: TO.0, node_id: 4, address: "nowhere".to_owned() };
        Part::Header(wire::SnapshotHeader {
            address: Some(wire::ReplicaAddress { group_id: G.0, from_replica_id: 7, to_replica_id: to.0 }),
            vote: Some(wire::Ballot { term: 5, replica_id: 7, committed: true }),
            last_log_id: Some(wire::LogId { term: 5, index: 20 }),
            membership_log_id: Some(wire::LogId { term: 1, index: 0 }),
            membership: Some(wire::Membership {
                configs: vec![wire::ReplicaSet { replica_ids: vec![7] }],
                nodes: vec![node, learner],
            }),
            files: self.files.iter().map(|(announced, _)| announced.clone()).collect(),
        })
    }

    /// Everything from a position on, in chunks of 10 KB.
    fn chunks(&self, from: (u32, u64)) -> Vec<wire::SnapshotChunk> {
        let mut chunks = Vec::new();
        for (file, (_, bytes)) in (0..).zip(&self.files).skip(from.0 as usize) {
            let mut offset = if file == from.0 { from.1 as usize } else { 0 };
            while offset < bytes.len() {
                let data = bytes.slice(offset..bytes.len().min(offset + (10 << 10)));
                let crc32 = crc32fast::hash(&data);
                offset += data.len();
                chunks.push(wire::SnapshotChunk { file, offset: (offset - data.len()) as u64, data, crc32 });
            }
        }
        chunks
    }
}

/// One transfer, by hand.
struct Transfer {
    parts: mpsc::Sender<wire::SnapshotPart>,
    answers: Streaming<wire::SnapshotAnswer>,
}

impl Transfer {
    async fn begin(node: &TestNode, header: Part) -> Self {
        let mut client = RaftClient::connect(format!("http://{}", node.proxy.address)).await.unwrap();
        let (parts, outward) = mpsc::channel(64);
        parts.send(wire::SnapshotPart { part: Some(header) }).await.unwrap();
        let answers = client.install_snapshot(ReceiverStream::new(outward)).await.unwrap().into_inner();
        Self { parts, answers }
    }

    async fn send(&self, chunks: impl IntoIterator<Item = wire::SnapshotChunk>) {
        for chunk in chunks {
            // The receiver may have hung up; the answer tells why.
            let _ = self.parts.send(wire::SnapshotPart { part: Some(Part::Chunk(chunk)) }).await;
        }
    }

    async fn answer(&mut self) -> Result<Answer, Status> {
        let answer = tokio::time::timeout(patience().unwrap(), self.answers.message()).await.unwrap();
        answer.map(|answer| answer.unwrap().answer.unwrap())
    }

    async fn resume(&mut self) -> (u32, u64) {
        match self.answer().await.unwrap() {
            Answer::Resume(resume) => (resume.file, resume.offset),
            Answer::Installed(_) => panic!("nothing was sent yet"),
        }
    }

    async fn refusal(&mut self) -> Code {
        self.answer().await.unwrap_err().code()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_chunk_is_refused_and_the_rest_resumes() {
    let node = TestNode::start(4, options()).await;
    let replica = node.host(G, TO).await;
    let exported = exported();

    let mut transfer = Transfer::begin(&node, exported.header(TO)).await;
    assert_eq!(transfer.resume().await, (0, 0));
    let mut chunks = exported.chunks((0, 0));
    let mut damaged = chunks[3].data.to_vec();
    damaged[100] ^= 1;
    chunks[3].data = damaged.into();
    let reached = (chunks[3].file, chunks[3].offset);
    transfer.send(chunks).await;
    assert_eq!(transfer.refusal().await, Code::DataLoss);

    let mut transfer = Transfer::begin(&node, exported.header(TO)).await;
    assert_eq!(transfer.resume().await, reached, "what came before it is kept");
    transfer.send(exported.chunks(reached)).await;
    assert!(matches!(transfer.answer().await, Ok(Answer::Installed(_))));
    assert_eq!(replica.machine.content(), exported.content);
    until("cleaned up", || entries_of(&node.files) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_a_wrong_sum_throws_everything_away() {
    let node = TestNode::start(4, options()).await;
    let replica = node.host(G, TO).await;
    let mut exported = exported();
    // The sender's disk has damaged the file after its sum was taken: each chunk is sent as it is.
    let mut bytes = exported.files[1].1.to_vec();
    bytes[50] ^= 1;
    exported.files[1].1 = bytes.into();

    let mut transfer = Transfer::begin(&node, exported.header(TO)).await;
    assert_eq!(transfer.resume().await, (0, 0));
    transfer.send(exported.chunks((0, 0))).await;
    assert_eq!(transfer.refusal().await, Code::DataLoss);
    until("nothing is kept", || entries_of(&node.files) == 0).await;
    let mut transfer = Transfer::begin(&node, exported.header(TO)).await;
    assert_eq!(transfer.resume().await, (0, 0));
    assert!(replica.machine.content().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disorder_is_refused() {
    let node = TestNode::start(4, options()).await;
    node.host(G, TO).await;
    let exported = exported();

    let mut transfer = Transfer::begin(&node, exported.header(ReplicaId(32))).await;
    assert_eq!(transfer.refusal().await, Code::FailedPrecondition, "another incarnation of the replica");
    let mut transfer = Transfer::begin(&node, Part::Chunk(exported.chunks((0, 0))[0].clone())).await;
    assert_eq!(transfer.refusal().await, Code::InvalidArgument, "no header");

    type Spoil = fn(&mut Vec<wire::SnapshotChunk>);
    let spoils: [Spoil; 4] = [
        |chunks| chunks.swap(1, 2),
        |chunks| chunks[0].offset = 5,
        |chunks| chunks[0].file = 1,
        |chunks| chunks[0].data = Bytes::new(),
    ];
    for spoil in spoils {
        let mut transfer = Transfer::begin(&node, exported.header(TO)).await;
        assert_eq!(transfer.resume().await, (0, 0));
        let mut chunks = exported.chunks((0, 0));
        spoil(&mut chunks);
        transfer.send(chunks).await;
        assert_eq!(transfer.refusal().await, Code::InvalidArgument);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_transfer_takes_over() {
    let node = TestNode::start(4, options()).await;
    let replica = node.host(G, TO).await;
    let exported = exported();
    let mut first = Transfer::begin(&node, exported.header(TO)).await;
    assert_eq!(first.resume().await, (0, 0));
    let chunks = exported.chunks((0, 0));
    let reached = (chunks[2].file, chunks[2].offset);
    first.send(chunks.into_iter().take(2)).await;
    until("two chunks arrived", || node.proxy.passed() > 20 << 10).await;

    let mut second = Transfer::begin(&node, exported.header(TO)).await;
    let resumed = second.resume().await;
    assert!(resumed <= reached, "at {resumed:?}");
    assert_eq!(first.refusal().await, Code::Aborted);
    second.send(exported.chunks(resumed)).await;
    assert!(matches!(second.answer().await, Ok(Answer::Installed(_))));
    assert_eq!(replica.machine.content(), exported.content);

    // A leader of the past learns so before it sends anything.
    let Part::Header(header) = exported.header(TO) else { panic!("a header") };
    let old = wire::Ballot { term: 4, replica_id: 7, committed: true };
    let last = wire::LogId { term: 4, index: 30 };
    let header = wire::SnapshotHeader { vote: Some(old), last_log_id: Some(last), ..header };
    let mut late = Transfer::begin(&node, Part::Header(header)).await;
    let Ok(Answer::Installed(installed)) = late.answer().await else { panic!("told at once") };
    assert_eq!(installed.vote.unwrap().term, 5);
}
