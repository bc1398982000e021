//! One Raft group: a set of ranges, their data, and the protocol that keeps it exact.
//!
//! The leader evaluates commands next to the data and replicates what they wrote; replicas apply that mechanically.
//! A file an activity:
//!
//! - [`execute`]: the executor, the group's only proposer; `office` is the loop of one term; [`propose`] is its way into
//!   the log.
//! - [`evaluate`]: what one request does, over the engine and the [`overlay`] of what is in flight; [`versions`] reads
//!   multi-version data.
//! - [`chain`] decides which entries of a term take effect, [`gate`] when a result may be seen.
//! - [`dedup`] makes requests take effect once.
//! - [`transact`]: the steps of transactions over several groups; [`locks`] are what they hold, [`records`] what was
//!   decided, [`wait`] who waits for them, [`leftovers`] what nobody
//!   looks after any more.
//! - [`standby`]: requests that wait for data.
//! - [`read`]: linearizable reads without an entry; [`contest`]: those that meet locks. [`suspend`] guards the lease they rest on.
//! - [`apply`]: what a replica does with a committed entry; [`state`] and [`ranges`] are what it keeps, [`keys`] where.
//! - [`machine`] is openraft's state machine over all that; [`split`] cuts ranges.
//! - [`collect`] finds versions that nobody can read any more.
//! - [`answer`] and [`request`] are the shapes of what comes in and goes out.
//!
//! Moving ranges between groups is not built yet.

pub mod answer;
pub mod apply;
pub mod chain;
pub mod collect;
pub mod contest;
pub mod dedup;
pub mod evaluate;
pub mod execute;
pub mod gate;
pub mod keys;
pub mod leftovers;
pub mod locks;
pub mod machine;
mod office;
pub mod overlay;
pub mod propose;
pub mod ranges;
pub mod read;
pub mod records;
pub mod request;
pub mod split;
pub mod standby;
pub mod state;
pub mod suspend;
pub mod transact;
pub mod versions;
pub mod wait;

use std::sync::Arc;

use arc_swap::ArcSwap;
use keyspace::NodeId;
use openraft::async_runtime::WatchReceiver;
use proto::wire;

use self::machine::StateMachine;
use self::request::{Outcome, Reason, refusal};
use crate::raft::transport::{ClockTable, wall_clock_ms};
use crate::raft::types::TypeConfig;

/// openraft's handle of one replica.
pub type GroupRaft = openraft::Raft<TypeConfig, StateMachine>;

/// The clock that a leader moves its group's time by.
#[derive(Clone)]
pub struct WallClock {
    peers: ClockTable,
    this: NodeId,
    /// Voters of the group, one list for each half of a joint configuration.
    voters: Arc<ArcSwap<Vec<Vec<NodeId>>>>,
}

impl WallClock {
    /// Of this node, trusted while a majority of the group's voters agrees with it.
    pub fn new(peers: ClockTable, this: NodeId) -> Self {
        Self { peers, this, voters: Arc::default() }
    }

    /// The group's voters have changed.
    pub fn set_voters(&self, voters: Vec<Vec<NodeId>>) {
        self.voters.store(Arc::new(voters));
    }

    /// Milliseconds since 1970; `None` while a majority disagrees, and the group's time must stand still.
    pub fn now_ms(&self) -> Option<u64> {
        let voters = self.voters.load();
        let agrees = voters.iter().all(|half| self.peers.majority_agrees(half, self.this));
        agrees.then(wall_clock_ms)
    }
}

/// The refusal of a replica that does not lead, with what it knows of who does.
pub fn not_leader(raft: &GroupRaft) -> Outcome {
    let server = raft.server_metrics().borrow_watched().clone();
    let leader = server.current_leader.filter(|leader| leader != raft.node_id());
    let node = leader.and_then(|leader| server.membership_config.membership().get_node(&leader).cloned());
    let term = openraft::vote::RaftVote::leader_id(&server.vote).term;
    let (leader_node_id, leader_address) = node.map(|node| (node.node_id, node.address)).unwrap_or_default();
    refusal(Reason::NotLeader(wire::NotLeader { leader_node_id, leader_address, term }))
}
