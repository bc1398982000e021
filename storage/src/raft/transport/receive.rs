//! Receives snapshots: chunk by chunk into files, each checked, then over to openraft.
//!
//! What has arrived of a broken transfer is kept for a while. When the same snapshot (same log position, same files
//! with the same sums) is offered again to the same replica, the sender is told to go on behind it; anything else
//! makes it worthless. A new transfer to a replica takes over from one that still seems to run: its connection has
//! most likely died unnoticed.
//!
//! Every chunk carries a sum, and so does every file. A bad chunk is refused and the transfer resumes before it; a
//! bad file throws away everything.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keyspace::{GroupId, ReplicaId};
use metrics::counter;
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use proto::wire;
use proto::wire::snapshot_answer::Answer;
use proto::wire::snapshot_part::Part;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::convert::{Address, SnapshotTitle, ballot_out, snapshot_in};
use super::serve::{ReplicaHandle, Replicas};
use crate::aside::aside;
use crate::raft::snapshot::{ReceivedFiles, SnapshotData, SnapshotStore, TransferDir, file_name};
use crate::raft::types::{LogId, TypeConfig};

/// No sender sends larger chunks.
const MAX_CHUNK_BYTES: usize = 4 << 20;

/// The next chunk comes within this time, or the transfer has broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// What arrived of a broken transfer is kept this long.
const KEEP: Duration = Duration::from_secs(600);

/// The snapshots on their way to this node.
pub(super) struct Inbox {
    store: SnapshotStore,
    slots: Mutex<HashMap<(GroupId, ReplicaId), Arc<Slot>>>,
}

/// What one replica is receiving.
#[derive(Default)]
struct Slot {
    /// Cancelled by the next transfer.
    turn: Mutex<CancellationToken>,
    partial: tokio::sync::Mutex<Option<Partial>>,
}

/// A snapshot that has not arrived completely.
///
/// Files before `position` are complete, checked and durable; of the one at `position`, `offset` bytes are written.
struct Partial {
    identity: Identity,
    dir: TransferDir,
    position: usize,
    offset: u64,
    sum: crc32fast::Hasher,
    open: Option<File>,
    touched: Instant,
}

#[derive(PartialEq)]
struct Identity {
    last_log_id: Option<LogId>,
    files: Vec<wire::SnapshotFile>,
}

/// What a broken transfer leaves behind.
enum Failure {
    /// What was written is good: it may resume.
    Resumable(Status),
    /// Nothing written can be trusted, or kept.
    Worthless(Status),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Worthless(match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Status::resource_exhausted("disk full"),
            _ => Status::internal(format!("cannot store the snapshot: {error}")),
        })
    }
}

type Answers = mpsc::Sender<Result<wire::SnapshotAnswer, Status>>;

impl Inbox {
    pub(super) fn new(store: SnapshotStore) -> Self {
        Self { store, slots: Mutex::default() }
    }

    /// Takes one transfer to its end: everything received, installed.
    pub(super) async fn receive<R: Replicas>(
        self: &Arc<Self>,
        replicas: &R,
        mut parts: Streaming<wire::SnapshotPart>,
        answers: &Answers,
    ) -> Result<wire::InstallSnapshotResponse, Status> {
        let Some(Part::Header(mut header)) = next(&mut parts).await? else {
            return Err(Status::invalid_argument("a transfer begins with its header"));
        };
        let address = Address::try_from(header.address.take())?;
        let title = snapshot_in(header, address)?;
        let replica = find(replicas, address)?;
        let seen = replica.raft.metrics().borrow_watched().vote;
        if seen > title.vote {
            // The sender is no leader any more; it need not send anything.
            return Ok(wire::InstallSnapshotResponse { vote: Some(ballot_out(&seen)) });
        }
        drop(replica);

        let slot = self.slots.lock().entry((address.group, address.to)).or_default().clone();
        let turn = CancellationToken::new();
        std::mem::replace(&mut *slot.turn.lock(), turn.clone()).cancel();
        let result = tokio::select! {
            () = turn.cancelled() => Err(taken_over()),
            mut partial = slot.partial.lock() => {
                self.receive_files(&title, &mut partial, &turn, &mut parts, answers).await
            }
        };
        let received = match result {
            Ok(received) => received,
            Err(status) => {
                tracing::warn!(group = %address.group, replica = %address.to, %status, "snapshot transfer broke off");
                self.clone().forget_later(address, slot);
                return Err(status);
            }
        };

        // The replica may have gone meanwhile.
        let replica = find(replicas, address)?;
        let meta = SnapshotMetaOf::<TypeConfig> { last_log_id: title.last_log_id, last_membership: title.membership };
        let snapshot = SnapshotOf::<TypeConfig, SnapshotData> { meta, snapshot: SnapshotData::Received(received) };
        let installed = replica.raft.install_full_snapshot(title.vote, snapshot).await;
        let installed = installed.map_err(|fatal| Status::unavailable(fatal.to_string()))?;
        Ok(wire::InstallSnapshotResponse { vote: Some(ballot_out(&installed.vote)) })
    }

    /// Takes all chunks, from where an earlier attempt has left off.
    async fn receive_files(
        &self,
        title: &SnapshotTitle,
        slot: &mut Option<Partial>,
        turn: &CancellationToken,
        parts: &mut Streaming<wire::SnapshotPart>,
        answers: &Answers,
    ) -> Result<ReceivedFiles, Status> {
        let identity = Identity { last_log_id: title.last_log_id, files: title.files.clone() };
        let mut partial = match slot.take().filter(|partial| partial.identity == identity) {
            Some(partial) => partial,
            None => Partial::begin(&self.store, identity).await?,
        };
        let outcome = partial.fill(turn, parts, answers).await;
        match outcome {
            Ok(()) => partial.finish().await.map_err(|error| Failure::from(error).into_status()),
            Err(Failure::Worthless(status)) => Err(status),
            Err(Failure::Resumable(status)) => {
                partial.touched = Instant::now();
                *slot = Some(partial);
                Err(status)
            }
        }
    }

    /// Removes what a broken transfer has left, unless it is resumed in time.
    fn forget_later(self: Arc<Self>, address: Address, slot: Arc<Slot>) {
        tokio::spawn(async move {
            tokio::time::sleep(KEEP).await;
            let mut partial = slot.partial.lock().await;
            if partial.as_ref().is_some_and(|partial| partial.touched.elapsed() >= KEEP) {
                *partial = None;
            }
            if partial.is_none() {
                let mut slots = self.slots.lock();
                // The map and this task: nobody else is about to use it.
                if Arc::strong_count(&slot) == 2 {
                    slots.remove(&(address.group, address.to));
                }
            }
        });
    }
}

impl Failure {
    fn into_status(self) -> Status {
        match self {
            Self::Resumable(status) | Self::Worthless(status) => status,
        }
    }
}

fn taken_over() -> Status {
    Status::aborted("another transfer to this replica took over")
}

fn find<R: Replicas>(replicas: &R, address: Address) -> Result<ReplicaHandle<R::StateMachine>, Status> {
    let found = replicas.find(address.group, address.to);
    found.ok_or_else(|| {
        Status::failed_precondition(format!("no replica {} of group {} lives here", address.to, address.group))
    })
}

/// The next part, in time. `None` at the end of the stream.
async fn next(parts: &mut Streaming<wire::SnapshotPart>) -> Result<Option<Part>, Status> {
    let message = tokio::time::timeout(PATIENCE, parts.message());
    let message = message.await.map_err(|_| Status::deadline_exceeded("nothing came for too long"))??;
    message.map(|part| part.part.ok_or_else(|| Status::invalid_argument("an empty part"))).transpose()
}

impl Partial {
    async fn begin(store: &SnapshotStore, identity: Identity) -> Result<Self, Status> {
        let store = store.clone();
        let dir = aside(move || store.fresh("in")).await.and_then(|dir| dir);
        let dir = dir.map_err(|error| Failure::from(error).into_status())?;
        let (position, offset, sum) = (0, 0, crc32fast::Hasher::new());
        Ok(Self { identity, dir, position, offset, sum, open: None, touched: Instant::now() })
    }

    /// Receives until every file is complete.
    async fn fill(
        &mut self,
        turn: &CancellationToken,
        parts: &mut Streaming<wire::SnapshotPart>,
        answers: &Answers,
    ) -> Result<(), Failure> {
        self.complete_files().await?;
        let resume = wire::SnapshotResume { file: self.position as u32, offset: self.offset };
        let resume = wire::SnapshotAnswer { answer: Some(Answer::Resume(resume)) };
        // A sender that is gone shows in the parts.
        let _ = answers.send(Ok(resume)).await;
        while self.position < self.identity.files.len() {
            let part = tokio::select! {
                () = turn.cancelled() => return Err(Failure::Resumable(taken_over())),
                part = next(parts) => part.map_err(Failure::Resumable)?,
            };
            match part {
                Some(Part::Chunk(chunk)) => self.take(chunk).await?,
                Some(Part::Header(_)) => return Err(malformed("a second header")),
                None => return Err(Failure::Resumable(Status::cancelled("the sender stopped"))),
            }
        }
        Ok(())
    }

    async fn take(&mut self, chunk: wire::SnapshotChunk) -> Result<(), Failure> {
        let Some(announced) = self.identity.files.get(self.position) else { return Err(malformed("a chunk too many")) };
        if chunk.file as usize != self.position || chunk.offset != self.offset {
            return Err(malformed("a chunk out of order"));
        }
        let length = chunk.data.len() as u64;
        if length == 0 || chunk.data.len() > MAX_CHUNK_BYTES || length > announced.size_bytes - self.offset {
            return Err(malformed("a chunk of a wrong size"));
        }
        if crc32fast::hash(&chunk.data) != chunk.crc32 {
            return Err(Failure::Resumable(Status::data_loss("a chunk was damaged on its way")));
        }
        let mut file = match self.open.take() {
            Some(file) => file,
            None => self.open_file().await?,
        };
        self.sum.update(&chunk.data);
        self.open = Some(aside(move || file.write_all(&chunk.data).map(|()| file)).await.flatten()?);
        self.offset += length;
        counter!("storage_snapshot_received_bytes_total").increment(length);
        self.complete_files().await
    }

    async fn open_file(&self) -> io::Result<File> {
        let path = self.dir.path().join(file_name(self.position));
        aside(move || OpenOptions::new().create_new(true).write(true).open(path)).await.flatten()
    }

    /// Closes the present file if it is complete, and passes over empty ones.
    async fn complete_files(&mut self) -> Result<(), Failure> {
        while let Some(announced) = self.identity.files.get(self.position) {
            if self.offset < announced.size_bytes {
                return Ok(());
            }
            let file = match self.open.take() {
                Some(file) => file,
                None => self.open_file().await?,
            };
            aside(move || file.sync_all()).await.flatten()?;
            if std::mem::take(&mut self.sum).finalize() != announced.crc32 {
                let name = &announced.name;
                return Err(Failure::Worthless(Status::data_loss(format!("the sum of {name} is wrong"))));
            }
            self.position += 1;
            self.offset = 0;
        }
        Ok(())
    }

    /// Makes the directory durable, too.
    async fn finish(self) -> io::Result<ReceivedFiles> {
        let files: Vec<PathBuf> =
            (0..self.position).map(|position| self.dir.path().join(file_name(position))).collect();
        let dir = self.dir.path().to_owned();
        aside(move || File::open(dir)?.sync_all()).await.flatten()?;
        Ok(ReceivedFiles::new(self.dir, files))
    }
}

/// A sender that does this does not get further by doing it again.
fn malformed(what: &'static str) -> Failure {
    Failure::Worthless(Status::invalid_argument(what))
}
