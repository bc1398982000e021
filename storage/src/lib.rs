//! The storage tier: many Raft groups on one node, and the data.
//!
//! One SET, from the gateway's stream to its reply:
//!
//! 1. [`server::serve`] takes a message of the gateway apart; `server::convert` refuses junk; the request joins the
//!    queue of its group's executor.
//! 2. [`group::execute`]: the executor evaluates it with `group::evaluate::Evaluator::evaluate`: is the key's range here at
//!    that epoch, has the request been executed before, and then the command itself (`commands::run`) over the engine
//!    and the overlay of what is in flight. What it wrote goes into the batch being built, with its dedup record; the
//!    reply is sealed (`group::gate`).
//! 3. `group::propose::Proposer::propose` hands the batch to openraft as one entry, at its place in the chain.
//! 4. [`raft::log`] writes it unsynced and hands it to the node's one flusher, which syncs for all groups at once;
//!    meanwhile [`raft::transport`] sends it to the followers, who do the same.
//! 5. Durable on a majority, it is committed; `group::machine::StateMachine::apply` turns it into one engine batch
//!    (`group::apply`), on every replica alike.
//! 6. The executor learns that the chain has taken the batch, opens the seal, and the reply goes into the stream's next
//!    message.
//!
//! A GET does without 2 to 5: [`group::read`] proves leadership once for all reads that wait and reads one snapshot.
//!
//! [`relay`] carries messages between gateways. [`node`] keeps the replicas of a process, [`engine`] the disk. Absent: the node knows no other group's state, takes
//! no part in choosing routes, and never answers from a range that it does not serve.

pub mod config;
pub mod engine;
pub mod group;
pub mod node;
pub mod raft;
pub mod relay;
pub mod server;

mod aside;
mod start;

pub use config::StorageConfig;
pub use start::{Storage, StorageError, Surroundings};
