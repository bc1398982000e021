//! Tests of the shared log: openraft's own suite, durability with the sync in the test's hand, crashes, replicas.

#![allow(clippy::unwrap_used)]

mod conformance;
mod crash;
mod gate;
mod reads;
mod replicas;
mod sync;

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use keyspace::{GroupId, ReplicaId};
use openraft::EntryPayload;
use openraft::alias::OneshotReceiverOf;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;

use super::encoding::log_id;
use super::{GroupLog, SharedLog, SharedLogOptions};
use crate::engine::Engine;
use crate::raft::types::{Entry, Payload, TypeConfig};

/// A callback as the test sees it.
type Flushed = OneshotReceiverOf<TypeConfig, Result<(), std::io::Error>>;

fn entry(term: u64, index: u64, payload: &[u8]) -> Entry {
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(Payload(Bytes::copy_from_slice(payload))) }
}

fn entries(term: u64, indexes: std::ops::Range<u64>) -> Vec<Entry> {
    indexes.map(|index| entry(term, index, format!("{term}.{index}").as_bytes())).collect()
}

/// Options under which a failed sync does not end the test process.
fn options() -> SharedLogOptions {
    SharedLogOptions { on_sync_failure: Arc::new(|_| {}), ..SharedLogOptions::default() }
}

fn callback() -> (IOFlushed<TypeConfig>, Flushed) {
    let (tx, rx) = TypeConfig::oneshot();
    (IOFlushed::signal(tx), rx)
}

/// Appends without waiting for the disk.
async fn append(log: &mut GroupLog, entries: Vec<Entry>) -> Flushed {
    let (callback, flushed) = callback();
    log.append(entries, callback).await.unwrap();
    flushed
}

/// Whether a callback has come, and how it ended.
fn outcome(flushed: &mut Flushed) -> Option<Result<(), std::io::Error>> {
    flushed.now_or_never().map(|result| result.unwrap())
}

/// The log of replica 1 of a group, created if need be.
async fn open_group(shared: &Arc<SharedLog>, group: u64) -> GroupLog {
    shared.create_replica(GroupId(group), ReplicaId(1)).await.unwrap();
    shared.group(GroupId(group), ReplicaId(1)).unwrap()
}

/// Opens a log on an engine, with one group.
async fn open(engine: Arc<dyn Engine>) -> (Arc<SharedLog>, GroupLog) {
    let shared = SharedLog::open_with(engine, options()).unwrap();
    let log = open_group(&shared, 1).await;
    (shared, log)
}
