//! openraft over this transport: three nodes in one process.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use futures::StreamExt;
use keyspace::{GroupId, NodeId, ReplicaId};
use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::RPCError;
use openraft::network::{NetStreamAppend, NetVote, RPCOption, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, VoteRequest};
use proto::wire;
use proto::wire::append_ack::Outcome;
use proto::wire::raft_client::RaftClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::testing::{Cluster, Road, patience, replica_id, term, until, write};
use crate::raft::types::{TypeConfig, Vote};

const G: GroupId = GroupId(1);

fn ttl() -> RPCOption {
    RPCOption::new(Duration::from_secs(2))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_groups_share_one_stream() {
    let groups: Vec<GroupId> = (1..=8).map(GroupId).collect();
    let cluster = Cluster::start(&groups).await;
    for round in 0..20 {
        for group in &groups {
            cluster.write(*group, format!("{group}/{round}")).await;
        }
    }
    for group in &groups {
        let index = cluster.write(*group, "last").await;
        let leader = cluster.nodes[0].replica(*group).machine;
        for node in [1, 2] {
            cluster.applied(node, *group, index).await;
            assert_eq!(cluster.nodes[node].replica(*group).machine.content(), leader.content());
        }
        assert_eq!(leader.content().len(), 21);
    }
    // One lane a group, all on the one link that a peer has.
    until("one lane a group", || cluster.nodes[0].transport.lanes_to(NodeId(2)) == groups.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_are_pipelined() {
    let cluster = Cluster::start(&[G]).await;
    let first = cluster.write(G, "first").await;
    cluster.applied(1, G, first).await;

    // The second node takes entries but makes none durable. With the third the group goes on, and everything must
    // reach the second node although it acknowledges nothing.
    let slow = cluster.nodes[1].replica(G);
    slow.log.hang();
    let mut last = first;
    for entry in 0..20 {
        last = cluster.write(G, format!("{entry}")).await;
    }
    until("twenty unacknowledged entries", || slow.log.last_index() == Some(last)).await;
    let acknowledged = || {
        let metrics = cluster.nodes[0].replica(G).raft.metrics().borrow_watched().clone();
        metrics.replication.unwrap()[&replica_id(G, NodeId(2)).0].unwrap().index()
    };
    assert_eq!(acknowledged(), first, "not one of them is acknowledged");
    // Longer than the deadline of an append: the lane was given up and replaced.
    tokio::time::sleep(Duration::from_millis(800)).await;
    slow.log.flush();
    until("all are acknowledged", || acknowledged() == last).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_is_replaced_and_replication_goes_on() {
    let cluster = Cluster::start(&[G, GroupId(2)]).await;
    for round in 0..3 {
        cluster.nodes[1].proxy.set(Road::Cut);
        let mut last = 0;
        for entry in 0..10 {
            last = cluster.write(G, format!("{round}/{entry}")).await;
        }
        let other = cluster.write(GroupId(2), format!("{round}")).await;
        cluster.nodes[1].proxy.set(Road::Open);
        cluster.applied(1, G, last).await;
        cluster.applied(1, GroupId(2), other).await;
    }
    let content = cluster.nodes[0].replica(G).machine.content();
    assert_eq!(content.len(), 30);
    assert_eq!(cluster.nodes[1].replica(G).machine.content(), content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_replaced_after_its_deadline() {
    let cluster = Cluster::start(&[G]).await;
    let first = cluster.write(G, "first").await;
    cluster.applied(1, G, first).await;
    // What is on its way is lost in the frozen connection; only a new connection can bring it.
    cluster.nodes[1].proxy.set(Road::Frozen);
    let last = cluster.write(G, "while frozen").await;
    until("the silent link is dropped", || cluster.nodes[0].transport.lanes_to(NodeId(2)) == 0).await;
    cluster.nodes[1].proxy.set(Road::Cut);
    cluster.nodes[1].proxy.set(Road::Open);
    cluster.applied(1, G, last).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_keep_an_idle_leader() {
    let groups: Vec<GroupId> = (1..=8).map(GroupId).collect();
    let cluster = Cluster::start(&groups).await;
    let terms: Vec<u64> = groups.iter().map(|group| term(&cluster.nodes[0].replica(*group))).collect();
    // Two election timeouts.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (group, before) in groups.iter().zip(terms) {
        for node in &cluster.nodes {
            let metrics = node.replica(*group).raft.metrics().borrow_watched().clone();
            assert_eq!(metrics.current_term, before, "nobody stood for election");
            assert_eq!(metrics.current_leader, Some(replica_id(*group, NodeId(1)).0));
        }
        let leader = cluster.nodes[0].replica(*group).raft;
        let acked = leader.as_leader().unwrap().last_quorum_acked().unwrap();
        assert!(acked.elapsed() < Duration::from_millis(1500), "the lease is fresh");
    }

    // The same stream has brought the clocks, both ways.
    let voters = [NodeId(1), NodeId(2), NodeId(3)];
    for node in &cluster.nodes[..2] {
        assert!(node.transport.clocks().majority_agrees(&voters, node.id));
    }
    let (offset, age) = cluster.nodes[0].transport.clocks().offset_ms(NodeId(2)).unwrap();
    assert!(offset.abs() < 200 && age < Duration::from_secs(1), "offset {offset} ms, {age:?} old");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pre_vote_asks_and_the_boot_hold_answers_nothing() {
    let cluster = Cluster::start(&[G]).await;
    let index = cluster.write(G, "entry").await;
    cluster.applied(1, G, index).await;
    let voter = cluster.nodes[1].replica(G);
    let before = voter.raft.metrics().borrow_watched().vote;

    let mut factory = cluster.nodes[2].transport.network(G, replica_id(G, NodeId(3)));
    let to = replica_id(G, NodeId(2)).0;
    let mut network = factory.new_client(to, &cluster.nodes[1].peer_node()).await;
    let log_end = voter.raft.metrics().borrow_watched().last_applied;
    let ask = VoteRequest::<TypeConfig>::new(Vote::new(99, replica_id(G, NodeId(3)).0), log_end);
    let answer = network.pre_vote(ask.clone(), ttl()).await.unwrap();
    assert!(!answer.vote_granted, "the leader is alive; openraft's default would have granted");
    assert_eq!(voter.raft.metrics().borrow_watched().vote, before, "asking changes nothing");

    cluster.nodes[1].hosted.set_boot_hold(true);
    assert!(network.pre_vote(ask.clone(), ttl()).await.is_err());
    assert!(network.vote(ask.clone(), ttl()).await.is_err());
    assert_eq!(voter.raft.metrics().borrow_watched().vote, before);
    cluster.nodes[1].hosted.set_boot_hold(false);
    assert!(!network.vote(ask, ttl()).await.unwrap().vote_granted, "within the lease");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over() {
    let cluster = Cluster::start(&[G]).await;
    cluster.write(G, "entry").await;
    let begun = Instant::now();
    let successor = replica_id(G, NodeId(3)).0;
    cluster.nodes[0].replica(G).raft.trigger().transfer_leader(successor).await.unwrap();
    for node in &cluster.nodes {
        let raft = node.replica(G).raft;
        raft.wait(patience()).current_leader(successor, "handed over").await.unwrap();
    }
    // An election without a transfer waits for the lease, 1500 ms, and then some.
    assert!(begun.elapsed() < Duration::from_millis(1500), "took {:?}", begun.elapsed());
    write(&cluster.nodes[2].replica(G).raft, "by the successor").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_does_not_live_there_is_refused() {
    let cluster = Cluster::start(&[G]).await;
    let index = cluster.write(G, "entry").await;
    cluster.applied(1, G, index).await;
    let mut factory = cluster.nodes[0].transport.network(G, replica_id(G, NodeId(1)));
    let node = cluster.nodes[1].peer_node();
    let stranger = 999;
    let vote = Vote::new_committed(50, replica_id(G, NodeId(1)).0);
    let beat = AppendEntriesRequest::<TypeConfig> { vote, prev_log_id: None, entries: vec![], leader_commit: None };
    let before = term(&cluster.nodes[1].replica(G));

    let mut entries = factory.new_client(stranger, &node).await;
    let ask = VoteRequest::new(Vote::new(50, replica_id(G, NodeId(1)).0), None);
    assert!(matches!(entries.vote(ask.clone(), ttl()).await, Err(RPCError::Unreachable(_))));
    assert!(matches!(entries.pre_vote(ask, ttl()).await, Err(RPCError::Unreachable(_))));
    let requests = futures::stream::iter(vec![beat.clone(), beat.clone(), beat.clone()]);
    let answers: Vec<_> = entries.stream_append(requests, ttl()).await.unwrap().collect().await;
    assert!(matches!(answers.as_slice(), [Err(RPCError::Unreachable(_))]), "{answers:?}");

    let mut beats = factory.new_heartbeat_client(stranger, &node).await;
    let request = Box::pin(futures::stream::once(async { beat }));
    let answers: Vec<_> = beats.stream_append(request, ttl()).await.unwrap().collect().await;
    assert!(matches!(answers.as_slice(), [Err(RPCError::Unreachable(_))]), "{answers:?}");
    assert_eq!(term(&cluster.nodes[1].replica(G)), before, "the replica that does live there saw nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withheld_replica_gets_no_entries_but_heartbeats() {
    let cluster = Cluster::start(&[G]).await;
    let first = cluster.write(G, "first").await;
    cluster.applied(2, G, first).await;
    let before = term(&cluster.nodes[2].replica(G));
    let until = Instant::now() + Duration::from_secs(2);
    cluster.nodes[0].transport.unreachable_until(G, replica_id(G, NodeId(3)), until);
    let last = cluster.write(G, "withheld").await;
    cluster.applied(1, G, last).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(cluster.nodes[2].replica(G).log.last_index(), Some(first));
    assert_eq!(term(&cluster.nodes[2].replica(G)), before, "it still hears its leader");
    cluster.applied(2, G, last).await;
    assert!(Instant::now() >= until);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_cannot_be_reached_is_unreachable() {
    let cluster = Cluster::start(&[G]).await;
    let mut factory = cluster.nodes[0].transport.network(G, replica_id(G, NodeId(1)));
    let nowhere = crate::raft::types::PeerNode { node_id: 77, address: String::new() };
    let mut network = factory.new_client(177, &nowhere).await;
    let ask = VoteRequest::new(Vote::new(50, replica_id(G, NodeId(1)).0), None);
    let error = network.vote(ask.clone(), ttl()).await.unwrap_err();
    assert!(error.to_string().contains("no address of node 77"), "{error}");

    // A port that was just free.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    cluster.nodes[0].transport.set_address(NodeId(77), &free.to_string());
    assert!(matches!(network.vote(ask.clone(), ttl()).await, Err(RPCError::Unreachable(_))));
    let request: AppendEntriesRequest<TypeConfig> =
        AppendEntriesRequest { vote: ask.vote, prev_log_id: None, entries: vec![], leader_commit: None };
    // Failing only once a request was taken: openraft's backoff is a pause in the stream of requests.
    let requests = futures::stream::iter([request]);
    assert!(matches!(network.stream_append(requests, ttl()).await, Err(RPCError::Unreachable(_))));

    // The placement's word counts, the address in memberships no longer.
    let right = cluster.nodes[1].peer_node().address;
    cluster.nodes[0].transport.set_address(NodeId(77), &right);
    let wrong = crate::raft::types::PeerNode { node_id: 77, address: free.to_string() };
    let mut network = factory.new_client(replica_id(G, NodeId(2)).0, &wrong).await;
    network.vote(ask, ttl()).await.unwrap();
}

/// One append of a hand-made leader.
fn append(lane: u64, to: ReplicaId, index: u64) -> wire::Append {
    let id = |index| wire::LogId { term: 50, index };
    wire::Append {
        address: Some(wire::ReplicaAddress { group_id: G.0, from_replica_id: 7, to_replica_id: to.0 }),
        lane,
        vote: Some(wire::Ballot { term: 50, replica_id: 7, committed: true }),
        prev_log_id: index.checked_sub(1).map(id),
        entries: vec![wire::LogEntry { id: Some(id(index)), payload: None }],
        leader_commit: None,
        end: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overrun_lane_ends_and_holds_up_no_other() {
    let node = super::testing::TestNode::start(1, super::testing::options()).await;
    let (stuck, brisk) = (ReplicaId(11), ReplicaId(12));
    let slow = node.host(G, stuck).await;
    node.host(G, brisk).await;
    slow.log.hang();

    let mut client = RaftClient::connect(format!("http://{}", node.proxy.address)).await.unwrap();
    let (frames, outward) = mpsc::channel(16);
    let mut acks = client.append(ReceiverStream::new(outward)).await.unwrap().into_inner();
    for index in 0..1000 {
        frames.send(wire::AppendFrame { appends: vec![append(1, stuck, index)] }).await.unwrap();
    }
    for index in 0..3 {
        frames.send(wire::AppendFrame { appends: vec![append(2, brisk, index)] }).await.unwrap();
    }
    let (mut overrun, mut matched) = (false, vec![]);
    while !overrun || matched.len() < 3 {
        let frame = tokio::time::timeout(patience().unwrap(), acks.message()).await.unwrap().unwrap().unwrap();
        for ack in frame.acks {
            match (ack.lane, ack.outcome.unwrap()) {
                (1, Outcome::Unavailable(reason)) => {
                    assert_eq!(reason, "the lane is overrun");
                    assert!(!overrun, "said once");
                    overrun = true;
                }
                (2, Outcome::Matched(at)) => matched.push(at.log_id.unwrap().index),
                other => panic!("unexpected {other:?}"),
            }
        }
    }
    assert_eq!(matched, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_ends_its_lane_only() {
    let node = super::testing::TestNode::start(1, super::testing::options()).await;
    node.host(G, ReplicaId(11)).await;
    let mut client = RaftClient::connect(format!("http://{}", node.proxy.address)).await.unwrap();
    let good = append(5, ReplicaId(11), 0);
    let junk = [
        wire::Append { address: None, ..append(1, ReplicaId(11), 0) },
        wire::Append { vote: None, ..append(2, ReplicaId(11), 0) },
        wire::Append { prev_log_id: Some(wire::LogId { term: 50, index: 9 }), ..append(3, ReplicaId(11), 0) },
        append(4, ReplicaId(7), 0),
    ];
    let appends = junk.into_iter().chain([good]).collect();
    let frames = tokio_stream::once(wire::AppendFrame { appends }).chain(futures::stream::pending());
    let mut acks = client.append(frames).await.unwrap().into_inner();
    let mut outcomes = std::collections::BTreeMap::new();
    while outcomes.len() < 5 {
        let frame = tokio::time::timeout(patience().unwrap(), acks.message()).await.unwrap().unwrap().unwrap();
        outcomes.extend(frame.acks.into_iter().map(|ack| (ack.lane, ack.outcome.unwrap())));
    }
    for lane in 1..=4 {
        assert!(matches!(outcomes[&lane], Outcome::Unavailable(_)), "{outcomes:?}");
    }
    assert!(matches!(outcomes[&5], Outcome::Matched(_)), "{outcomes:?}");
}
