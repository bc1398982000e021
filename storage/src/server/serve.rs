//! The stream of a gateway: requests come in batches, go to the executors and readers of their groups, and are
//! answered in whatever order they are decided; whatever is decided goes into the next message.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::Stream;
use keyspace::GroupId;
use metrics::{counter, histogram};
use prost::Message;
use proto::wire;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::convert;
use crate::group::execute::{GatewayWord, Job, Requests};
use crate::group::read::QueuedRead;
use crate::group::request::{Ask, Decided, Reason, ReplyTo, not_executed, refusal, rejected};
use crate::node::Node;

/// Replies in one message.
const REPLIES_PER_MESSAGE: usize = 4096;
/// Bytes of replies in one message; a single reply may be larger.
const REPLY_BYTES_PER_MESSAGE: usize = 4 << 20;

/// The `Storage` service of a node.
pub struct StorageService {
    node: Arc<Node>,
    close: CancellationToken,
}

impl StorageService {
    /// Of this node. Streams end when `close` is cancelled.
    pub fn new(node: Arc<Node>, close: CancellationToken) -> Self {
        Self { node, close }
    }
}

type Replies = std::pin::Pin<Box<dyn Stream<Item = Result<wire::ReplyBatch, Status>> + Send>>;

#[tonic::async_trait]
impl wire::storage_server::Storage for StorageService {
    type ServeStream = Replies;

    async fn serve(&self, request: Request<Streaming<wire::RequestBatch>>) -> Result<Response<Replies>, Status> {
        let mut batches = request.into_inner();
        let (sink, decided) = mpsc::unbounded_channel();
        let node = self.node.clone();
        let close = self.close.clone();
        tokio::spawn(close.run_until_cancelled_owned(async move {
            // An error ends the stream; the gateway opens another and asks again.
            while let Ok(Some(batch)) = batches.message().await {
                take(&node, batch, &sink).await;
            }
        }));
        Ok(Response::new(Box::pin(replies(decided))))
    }
}

/// Packs replies into messages.
fn replies(decided: mpsc::UnboundedReceiver<Decided>) -> impl Stream<Item = Result<wire::ReplyBatch, Status>> + Send {
    futures::stream::unfold((decided, None::<Decided>), |(mut decided, left)| async move {
        // What a reply holds of the node's load is let go when it is taken into a message: flow control keeps messages
        // from being made faster than the gateway reads them.
        let (mut reply, _) = match left {
            Some(decided) => decided,
            None => decided.recv().await?,
        };
        let mut replies = Vec::new();
        let mut bytes = 0;
        let left = loop {
            bytes += reply.encoded_len();
            replies.push(reply);
            if replies.len() == REPLIES_PER_MESSAGE {
                break None;
            }
            match decided.try_recv() {
                Ok(next) if bytes + next.0.encoded_len() > REPLY_BYTES_PER_MESSAGE => break Some(next),
                Ok((next, _)) => reply = next,
                Err(_) => break None,
            }
        };
        Some((Ok(wire::ReplyBatch { replies }), (decided, left)))
    })
}

/// Hands the requests of one message to their groups.
async fn take(node: &Arc<Node>, batch: wire::RequestBatch, sink: &mpsc::UnboundedSender<Decided>) {
    histogram!("storage_message_requests").record(batch.requests.len() as f64);
    let gateway = GatewayWord { incarnation: batch.incarnation, answered_below: batch.answered_below };
    node.seen_e.fetch_max(batch.seen_e, Ordering::Relaxed);
    let mut execs: BTreeMap<GroupId, Vec<(Ask, ReplyTo)>> = BTreeMap::new();
    let mut reads: BTreeMap<GroupId, Vec<QueuedRead>> = BTreeMap::new();
    let mut refused: HashSet<u64> = HashSet::new();
    for request in batch.requests {
        let group = GroupId(request.group_id);
        let reply = ReplyTo::new(request.ticket, request.encoded_len(), sink.clone(), node.load.clone());
        let kind = request.kind.as_ref();
        let (writes, frees) = (grows(kind), matches!(kind, Some(wire::request::Kind::Transact(_))) && !grows(kind));
        if refused.contains(&request.connection) {
            reply.send(0, not_executed(wire::NotExecutedReason::Predecessor));
            continue;
        }
        if let Some(reason) = refuses(node, writes, frees) {
            if request.connection != 0 {
                refused.insert(request.connection);
            }
            counter!("storage_refused_total", "reason" => reason.as_str_name()).increment(1);
            reply.send(0, not_executed(reason));
            continue;
        }
        let converted = match request.kind {
            Some(wire::request::Kind::Exec(exec)) => {
                convert::exec(batch.incarnation, batch.seen_e, request.connection, request.targets, exec)
                    .map(|exec| Converted::Ask(Ask::Exec(exec)))
            }
            Some(wire::request::Kind::Read(read)) => convert::read(request.targets, read).map(Converted::Read),
            Some(wire::request::Kind::Transact(step)) => {
                convert::step(batch.seen_e, request.connection, request.targets, step)
                    .map(|step| Converted::Ask(Ask::Step(step)))
            }
            None => Err(proto::WireError::Missing { message: "Request", field: "kind" }),
        };
        match converted {
            Ok(Converted::Ask(ask)) => execs.entry(group).or_default().push((ask, reply)),
            Ok(Converted::Read(request)) => reads.entry(group).or_default().push(QueuedRead { request, reply }),
            Err(error) => reply.send(0, rejected(error.to_string())),
        }
    }
    // Executors first: a full inbox holds this stream back, which is the gateway's back-pressure.
    for (group, queued) in execs {
        match node.find(group) {
            Some(replica) => {
                // A stopped replica drops the job, which answers "unknown" for all of it.
                let _ = replica.jobs.send(Job::Requests(Requests::new(gateway, queued))).await;
            }
            None => queued.into_iter().for_each(|(_, reply)| reply.send(0, not_here())),
        }
    }
    for (group, queued) in reads {
        match node.find(group) {
            Some(replica) => {
                for read in queued {
                    let _ = replica.reads.send(read).await;
                }
            }
            None => queued.into_iter().for_each(|read| read.reply.send(0, not_here())),
        }
    }
}

enum Converted {
    Ask(Ask),
    Read(crate::group::request::ReadRequest),
}

/// Whether a request may need more disk. What ends a transaction is let through on a full one: it frees others.
fn grows(kind: Option<&wire::request::Kind>) -> bool {
    use wire::request::Kind;
    use wire::transact::Step;
    match kind {
        Some(Kind::Exec(_)) => true,
        Some(Kind::Transact(transact)) => matches!(transact.step, Some(Step::Begin(_) | Step::Prewrite(_))),
        Some(Kind::Read(_)) | None => false,
    }
}

/// Why the node takes nothing on at the moment.
///
/// What ends a transaction is taken on however much there is: it frees what others wait for.
fn refuses(node: &Node, writes: bool, frees: bool) -> Option<wire::NotExecutedReason> {
    let limits = node.config.limits;
    if node.draining.load(Ordering::Relaxed) && node.all().is_empty() {
        Some(wire::NotExecutedReason::Draining)
    } else if !frees && (node.load.requests() > limits.requests || node.load.bytes() > limits.request_bytes) {
        Some(wire::NotExecutedReason::Overloaded)
    } else if writes && node.disk_full.load(Ordering::Relaxed) {
        Some(wire::NotExecutedReason::DiskFull)
    } else {
        None
    }
}

/// No replica of the group lives here: ask another member.
fn not_here() -> crate::group::request::Outcome {
    refusal(Reason::NotLeader(wire::NotLeader::default()))
}
