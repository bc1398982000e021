//! openraft's state machine over the group's data: applies committed entries, makes and installs snapshots.
//!
//! One call of [`RaftStateMachine::apply`] becomes one engine batch: data, dedup records, range table, membership and
//! the head with the applied log id, so that a crash leaves all of them or none. The data engine syncs nothing by
//! itself; what it may lose is still in the log, which is purged only behind a snapshot, and building a snapshot
//! syncs the data first (I9).

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use keyspace::GroupId;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, RaftSnapshotBuilder};
use planted::Fault;
use prost::Message;
use proto::wire;

use super::apply::Applier;
use super::keys::GroupKeys;
use super::state::{FORMAT, Head, StateError, Views};
use crate::aside::aside;
use crate::engine::{Batch, Engine};
use crate::raft::log::GroupLog;
use crate::raft::snapshot::{FrozenRange, ReceivedFiles, SnapshotData};
use crate::raft::transport::convert::{log_id_in, log_id_out, membership_in, membership_out};
use crate::raft::types::{Applied, LogId, StoredMembership, TypeConfig};

type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotData>;

/// The replicated state machine of one group on this node.
#[derive(Clone)]
pub struct StateMachine {
    group: GroupId,
    engine: Arc<dyn Engine>,
    views: Arc<Views>,
    log: GroupLog,
}

fn io_error(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

impl StateMachine {
    /// Over the node's data engine. Entries are applied only when `log` has them durable on this node.
    pub fn new(group: GroupId, engine: Arc<dyn Engine>, views: Arc<Views>, log: GroupLog) -> Self {
        Self { group, engine, views, log }
    }

    fn keys(&self) -> GroupKeys {
        GroupKeys::new(self.group)
    }

    fn membership(&self, snapshot: &dyn crate::engine::Snapshot) -> Result<StoredMembership, StateError> {
        match snapshot.get(&self.keys().membership())? {
            Some(bytes) => decode_membership(bytes),
            None => Ok(StoredMembership::default()),
        }
    }

    /// Meta data and content of one moment, without copying anything.
    fn freeze(&self) -> Result<Snapshot, StateError> {
        let view = self.views.open()?;
        let last_membership = self.membership(&*view.snapshot)?;
        let (start, end) = self.keys().all();
        let frozen = FrozenRange::new(self.engine.clone(), view.snapshot, start.into(), end.into());
        let meta = SnapshotMeta { last_log_id: applied_log_id(&view.head), last_membership };
        Ok(Snapshot { meta, snapshot: SnapshotData::Frozen(frozen) })
    }
}

fn applied_log_id(head: &Head) -> Option<LogId> {
    head.applied.map(|(term, index)| log_id_in(wire::LogId { term, index }))
}

fn encode_membership(membership: &StoredMembership) -> Vec<u8> {
    wire::GroupMembership {
        format: FORMAT,
        log_id: membership.log_id().map(log_id_out),
        membership: Some(membership_out(membership.membership())),
    }
    .encode_to_vec()
}

fn decode_membership(bytes: Bytes) -> Result<StoredMembership, StateError> {
    let wire = wire::GroupMembership::decode(bytes).map_err(|error| StateError::Junk(error.to_string()))?;
    if wire.format != FORMAT {
        return Err(StateError::UnknownFormat { found: wire.format });
    }
    let membership = membership_in(wire.membership.unwrap_or_default())
        .map_err(|error| StateError::Junk(format!("membership: {error}")))?;
    Ok(StoredMembership::new(wire.log_id.map(log_id_in), membership))
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let view = self.views.open().map_err(io_error)?;
        let membership = self.membership(&*view.snapshot).map_err(io_error)?;
        Ok((applied_log_id(&view.head), membership))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        let view = self.views.open().map_err(io_error)?;
        let mut applier = Applier::new(self.group, view.head, view.ranges);
        let mut answers = Vec::new();
        let mut last_index = None;
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let (term, index) = (*entry.log_id.committed_leader_id(), entry.log_id.index());
            last_index = Some(index);
            let applied = match entry.payload {
                EntryPayload::Blank => {
                    applier.pass(term.term, index);
                    Applied::Taken
                }
                EntryPayload::Membership(membership) => {
                    applier.pass(term.term, index);
                    applier.membership(encode_membership(&StoredMembership::new(Some(entry.log_id), membership)));
                    Applied::Taken
                }
                EntryPayload::Normal(payload) => applier.apply(term.term, index, payload.0).map_err(io_error)?,
            };
            answers.extend(responder.map(|responder| (responder, applied)));
        }
        let Some(last_index) = last_index else { return Ok(()) };
        // Data must never run ahead of this node's own log: after a crash the store would refuse to start.
        self.log.wait_durable(last_index).await?;
        let (batch, ..) = applier.finish();
        self.engine.write(&batch).map_err(io_error)?;
        for (responder, applied) in answers {
            responder.send(applied);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        let SnapshotData::Received(files) = snapshot else {
            // At start openraft hands back the current state, which is installed already.
            return Ok(());
        };
        // A truncation that came before must not be lost behind data that contradicts what it removed.
        self.log.sync().await?;
        let engine = self.engine.clone();
        let group = self.group;
        aside(move || install(&*engine, group, files)).await??;
        self.views.forget();
        let installed = self.views.open().map_err(io_error)?.head.applied;
        tracing::info!(group = self.group.0, ?installed, announced = ?meta.last_log_id, "installed a snapshot");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let snapshot = self.freeze().map_err(io_error)?;
        Ok(snapshot.meta.last_log_id.is_some().then_some(snapshot))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;

    /// Makes everything applied so far durable: only then may the log be purged up to it.
    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let snapshot = self.freeze().map_err(io_error)?;
        if planted::is_on(Fault::PurgePastFlushed) {
            return Ok(snapshot);
        }
        let engine = self.engine.clone();
        aside(move || engine.sync()).await?.map_err(io_error)?;
        Ok(snapshot)
    }
}

/// Outside every group's prefix: which groups have an installation that began and was not seen to end.
fn installing_key(group: GroupId) -> Vec<u8> {
    let mut key = vec![0xFF; 8];
    key.extend_from_slice(&group.0.to_be_bytes());
    key
}

/// Replaces a group's data by received files. Survives a crash at any point: [`finish_installations`] repeats it.
fn install(engine: &dyn Engine, group: GroupId, mut files: ReceivedFiles) -> io::Result<()> {
    files.hold();
    let dir = files.dir().to_string_lossy().into_owned();
    let mut marker = Batch::default();
    marker.put(installing_key(group), dir.into_bytes());
    engine.write(&marker).map_err(io_error)?;
    engine.sync().map_err(io_error)?;
    replace(engine, group, files)
}

fn replace(engine: &dyn Engine, group: GroupId, files: ReceivedFiles) -> io::Result<()> {
    let (start, end) = GroupKeys::new(group).all();
    engine.replace(&start, &end, files.files()).map_err(io_error)?;
    let mut done = Batch::default();
    done.delete(installing_key(group));
    engine.write(&done).map_err(io_error)?;
    engine.sync().map_err(io_error)?;
    files.release();
    Ok(())
}

/// Directories of installations that a crash has interrupted, by group.
pub fn interrupted_installations(engine: &dyn Engine) -> io::Result<Vec<(GroupId, std::path::PathBuf)>> {
    let (start, end) = (vec![0xFF; 8], vec![0xFF; 17]);
    let snapshot = engine.snapshot();
    let mut cursor = snapshot.cursor(&start, &end);
    let mut found = Vec::new();
    cursor.seek(&start).map_err(io_error)?;
    while let Some((key, dir)) = cursor.current() {
        let group = key.last_chunk::<8>().map(|id| GroupId(u64::from_be_bytes(*id)));
        let group = group.ok_or_else(|| io::Error::other(format!("installation marker {key:02x?}")))?;
        found.push((group, std::path::PathBuf::from(String::from_utf8_lossy(dir).into_owned())));
        cursor.next().map_err(io_error)?;
    }
    Ok(found)
}

/// Repeats the installations that a crash has interrupted. Before any group starts.
pub fn finish_installations(engine: &dyn Engine) -> io::Result<()> {
    for (group, dir) in interrupted_installations(engine)? {
        tracing::warn!(group = group.0, "finishing a snapshot installation that was interrupted");
        replace(engine, group, ReceivedFiles::reopen(&dir)?)?;
    }
    Ok(())
}
