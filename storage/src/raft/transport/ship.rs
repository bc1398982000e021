//! Sends a snapshot: export to files, then chunk by chunk, resuming where the receiver says.
//!
//! A transfer that breaks off is repeated from the same files, so the receiver keeps what it has. It ends for good
//! when the receiver refuses it, when it stops getting further, or when openraft cancels it or its time is up (then
//! this future is dropped, and the files go with it). Reading, sending and the receiver's writing overlap by no more
//! than HTTP/2's window and a few chunks; the rate is bounded.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::counter;
use openraft::alias::SnapshotOf;
use openraft::raft::SnapshotResponse;
use proto::wire;
use proto::wire::raft_client::RaftClient;
use proto::wire::snapshot_answer::Answer;
use proto::wire::snapshot_part::Part;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::convert::{Address, Malformed, SnapshotTitle, ballot_in, snapshot_out};
use super::peer::Peer;
use super::{Shared, TransportError};
use crate::aside::aside;
use crate::engine::ExportedFile;
use crate::raft::snapshot::{FrozenRange, SnapshotData, SnapshotStore, TransferDir, file_name};
use crate::raft::types::{TypeConfig, Vote};

/// Size of a chunk, in bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// Attempts in a row that get no further than the one before.
const MAX_FRUITLESS: u32 = 5;

/// Between attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Sends a snapshot and waits until it is installed. Answers the receiver's vote.
pub(super) async fn ship(
    shared: &Arc<Shared>,
    peer: &Arc<Peer>,
    address: Address,
    vote: Vote,
    snapshot: SnapshotOf<TypeConfig, SnapshotData>,
) -> Result<SnapshotResponse<TypeConfig>, TransportError> {
    let SnapshotData::Frozen(frozen) = snapshot.snapshot else {
        return Err(Malformed("a received snapshot is not sent on").into());
    };
    let turn = shared.transfers.acquire().await;
    let _turn = turn.map_err(|_| TransportError::Broken("shutting down".to_owned()))?;
    let export = Export::write(&shared.snapshots, frozen).await?;
    let title = SnapshotTitle {
        vote,
        last_log_id: snapshot.meta.last_log_id,
        membership: snapshot.meta.last_membership,
        files: export.announce(),
    };
    tracing::info!(group = %address.group, to = %address.to, bytes = export.bytes(), "snapshot transfer begins");

    let (mut fruitless, mut farthest) = (0, None);
    loop {
        let mut reached = None;
        let error = match attempt(peer, address, &title, &export, &mut reached).await {
            Ok(vote) => {
                tracing::info!(group = %address.group, to = %address.to, "snapshot transfer is complete");
                return Ok(SnapshotResponse::new(vote));
            }
            Err(error) => error,
        };
        if reached > farthest {
            (fruitless, farthest) = (0, reached);
        }
        fruitless += 1;
        let repeat = match &error {
            TransportError::Down { .. } | TransportError::Broken(_) | TransportError::TimedOut(_) => true,
            TransportError::NoAddress(_)
            | TransportError::Refused(_)
            | TransportError::Withheld
            | TransportError::Malformed(_) => false,
        };
        if !repeat || fruitless >= MAX_FRUITLESS {
            return Err(error);
        }
        tracing::warn!(group = %address.group, to = %address.to, %error, "snapshot transfer broke off, resuming");
        tokio::time::sleep(PAUSE).await;
    }
}

/// A snapshot as files, as long as it lives.
struct Export {
    _dir: TransferDir,
    files: Vec<ExportedFile>,
}

impl Export {
    async fn write(store: &SnapshotStore, frozen: FrozenRange) -> Result<Self, TransportError> {
        let store = store.clone();
        let written = aside(move || {
            let dir = store.fresh("out").map_err(|error| error.to_string())?;
            let files = frozen.export(dir.path()).map_err(|error| error.to_string())?;
            Ok::<_, String>(Self { _dir: dir, files })
        });
        let written = written.await.unwrap_or_else(|failed| Err(failed.to_string()));
        // Not a storage error for openraft, which would stop the group: most likely the disk is full for now.
        written.map_err(|reason| {
            tracing::error!(reason, "cannot export a snapshot");
            TransportError::Refused(format!("export failed: {reason}"))
        })
    }

    fn announce(&self) -> Vec<wire::SnapshotFile> {
        let file = |(position, file): (usize, &ExportedFile)| wire::SnapshotFile {
            name: file_name(position),
            size_bytes: file.size_bytes,
            crc32: file.crc32,
        };
        self.files.iter().enumerate().map(file).collect()
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}

/// One connection's worth of sending. `reached` becomes the receiver's position.
async fn attempt(
    peer: &Arc<Peer>,
    address: Address,
    title: &SnapshotTitle,
    export: &Export,
    reached: &mut Option<(usize, u64)>,
) -> Result<Vote, TransportError> {
    let stall = peer.options.snapshot_stall;
    let of_status = |status: tonic::Status| TransportError::of_status(&status, peer.node, stall);
    let mut client = RaftClient::new(peer.dial_apart().await?);
    let (parts, outward) = mpsc::channel(2);
    let header = wire::SnapshotPart { part: Some(Part::Header(snapshot_out(address, title))) };
    // The queue is new: there is room.
    let _ = parts.send(header).await;
    let opened = within(stall, client.install_snapshot(ReceiverStream::new(outward))).await?;
    let mut answers = opened.map_err(of_status)?.into_inner();

    let resume = match within(stall, answers.message()).await?.map_err(of_status)? {
        Some(wire::SnapshotAnswer { answer: Some(Answer::Resume(resume)) }) => resume,
        // It knows a higher vote.
        Some(wire::SnapshotAnswer { answer: Some(Answer::Installed(installed)) }) => {
            return Ok(ballot_in(installed.vote)?);
        }
        _ => return Err(Malformed("no position to resume from").into()),
    };
    let from = (resume.file as usize, resume.offset);
    *reached = Some(from);

    let sending = send_chunks(export, from, &parts, stall, peer.options.snapshot_bytes_per_second);
    let complete = tokio::select! {
        // Nothing is due before the last chunk: this is a refusal, or the end of the stream.
        early = installed(&mut answers) => return early?.map_err(of_status),
        sent = sending => sent?,
    };
    drop(parts);
    let outcome = if complete {
        // Installing may take minutes; the connection is probed, and openraft's deadline bounds it.
        installed(&mut answers).await
    } else {
        within(stall, installed(&mut answers)).await?
    };
    outcome?.map_err(of_status)
}

/// The receiver's last word.
async fn installed(
    answers: &mut Streaming<wire::SnapshotAnswer>,
) -> Result<Result<Vote, tonic::Status>, TransportError> {
    match answers.message().await {
        Ok(Some(wire::SnapshotAnswer { answer: Some(Answer::Installed(installed)) })) => {
            Ok(Ok(ballot_in(installed.vote)?))
        }
        Ok(Some(_)) => Err(Malformed("not the end of a snapshot transfer").into()),
        Ok(None) => Err(TransportError::Broken("the receiver closed the stream".to_owned())),
        Err(status) => Ok(Err(status)),
    }
}

/// Sends everything behind `from`. False if the stream was closed under it.
async fn send_chunks(
    export: &Export,
    from: (usize, u64),
    parts: &mpsc::Sender<wire::SnapshotPart>,
    stall: Duration,
    bytes_per_second: u64,
) -> Result<bool, TransportError> {
    let mut next_at = Instant::now();
    for (position, file) in export.files.iter().enumerate().skip(from.0) {
        let mut offset = if position == from.0 { from.1 } else { 0 };
        let reader = Reader::open(&file.path).await?;
        while offset < file.size_bytes {
            let data = reader.chunk(offset).await?;
            if data.is_empty() {
                return Err(TransportError::Broken("a snapshot file became shorter".to_owned()));
            }
            let bytes = data.len() as u64;
            let chunk = wire::SnapshotChunk {
                file: u32::try_from(position).map_err(|_| Malformed("too many files"))?,
                offset,
                crc32: crc32fast::hash(&data),
                data,
            };
            tokio::time::sleep_until(next_at).await;
            next_at =
                next_at.max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / bytes_per_second.max(1) as f64);
            let part = wire::SnapshotPart { part: Some(Part::Chunk(chunk)) };
            if within(stall, parts.send(part)).await?.is_err() {
                return Ok(false);
            }
            offset += bytes;
            counter!("storage_snapshot_sent_bytes_total").increment(bytes);
        }
    }
    Ok(true)
}

/// Reads a file in chunks.
struct Reader {
    file: Arc<File>,
    path: PathBuf,
}

impl Reader {
    async fn open(path: &Path) -> Result<Self, TransportError> {
        let path = path.to_owned();
        let opened = aside({
            let path = path.clone();
            move || File::open(path)
        });
        let file = opened.await.flatten().map_err(|error| unreadable(&path, &error))?;
        Ok(Self { file: Arc::new(file), path })
    }

    /// [`CHUNK_BYTES`] from an offset on, fewer at the end.
    async fn chunk(&self, offset: u64) -> Result<Bytes, TransportError> {
        let file = self.file.clone();
        let read = aside(move || {
            let mut data = vec![0; CHUNK_BYTES];
            let mut filled = 0;
            while filled < CHUNK_BYTES {
                match file.read_at(&mut data[filled..], offset + filled as u64) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            data.truncate(filled);
            Ok(data)
        });
        read.await.flatten().map(Bytes::from).map_err(|error| unreadable(&self.path, &error))
    }
}

fn unreadable(path: &Path, error: &io::Error) -> TransportError {
    TransportError::Broken(format!("{}: {error}", path.display()))
}

async fn within<T>(stall: Duration, work: impl Future<Output = T>) -> Result<T, TransportError> {
    tokio::time::timeout(stall, work).await.map_err(|_| TransportError::TimedOut(stall))
}
