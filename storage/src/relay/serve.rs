//! The streams of the hub. What waits for a gateway is bounded: one that does not read loses its stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::Stream;
use metrics::{counter, gauge};
use parking_lot::Mutex;
use prost::Message;
use proto::wire;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::hub::{Hub, Outgoing, PeerId};

/// Most bytes that wait for one gateway.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// How often publishers are looked after that wait for a silent gateway.
const LOOK: Duration = Duration::from_millis(100);

/// The `Relay` service of a node.
#[derive(Clone)]
pub struct RelayService {
    shared: Arc<Shared>,
    close: CancellationToken,
}

struct Shared {
    state: Mutex<State>,
    /// Deadlines of deliveries count from here.
    began: Instant,
    /// There are deliveries to look after.
    busy: Notify,
}

#[derive(Default)]
struct State {
    hub: Hub,
    lines: HashMap<PeerId, Line>,
}

/// What waits for one gateway.
#[derive(Clone)]
struct Line {
    sink: mpsc::UnboundedSender<wire::ToGateway>,
    bytes: Arc<AtomicUsize>,
    /// Ends the stream.
    cut: CancellationToken,
}

impl RelayService {
    /// Streams end when `close` is cancelled.
    pub fn start(close: CancellationToken) -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), began: Instant::now(), busy: Notify::new() });
        tokio::spawn(close.clone().run_until_cancelled_owned(shared.clone().look_after_deliveries()));
        Self { shared, close }
    }
}

impl Shared {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn look_after_deliveries(self: Arc<Self>) {
        loop {
            self.busy.notified().await;
            while self.state.lock().hub.has_deliveries() {
                tokio::time::sleep(LOOK).await;
                let now_ms = self.now_ms();
                let mut state = self.state.lock();
                let out = state.hub.give_up(now_ms);
                state.send(out);
            }
        }
    }

    fn join(&self, line: Line) -> PeerId {
        let mut state = self.state.lock();
        let peer = state.hub.join();
        state.lines.insert(peer, line);
        gauge!("storage_relay_gateways").set(state.lines.len() as f64);
        peer
    }

    /// False: the stream is to be closed.
    fn hear(&self, peer: PeerId, said: wire::FromGateway) -> bool {
        let now_ms = self.now_ms();
        let mut state = self.state.lock();
        if !state.lines.contains_key(&peer) {
            return false;
        }
        match state.hub.hear(peer, said, now_ms) {
            Ok(out) => state.send(out),
            Err(reason) => {
                tracing::warn!(reason, "a gateway says what the relay does not know");
                return false;
            }
        }
        if state.hub.has_deliveries() {
            self.busy.notify_one();
        }
        true
    }

    fn leave(&self, peer: PeerId) {
        let mut state = self.state.lock();
        state.lines.remove(&peer);
        let out = state.hub.leave(peer);
        state.send(out);
        gauge!("storage_relay_gateways").set(state.lines.len() as f64);
    }
}

impl State {
    fn send(&mut self, out: Outgoing) {
        for (peer, told) in out {
            let Some(line) = self.lines.get(&peer) else { continue };
            let bytes = told.encoded_len();
            let waiting = line.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if waiting > MAX_WAITING_BYTES {
                counter!("storage_relay_cut_off_total").increment(1);
                line.cut.cancel();
                self.lines.remove(&peer);
            } else {
                // A receiver that is gone has ended its stream; its task says so to the hub.
                let _ = line.sink.send(told);
            }
        }
    }
}

type Told = std::pin::Pin<Box<dyn Stream<Item = Result<wire::ToGateway, Status>> + Send>>;

#[tonic::async_trait]
impl wire::relay_server::Relay for RelayService {
    type JoinStream = Told;

    async fn join(&self, request: Request<Streaming<wire::FromGateway>>) -> Result<Response<Told>, Status> {
        let mut said = request.into_inner();
        let (sink, told) = mpsc::unbounded_channel();
        let bytes = Arc::new(AtomicUsize::new(0));
        let cut = self.close.child_token();
        let peer = self.shared.join(Line { sink: sink.clone(), bytes: bytes.clone(), cut: cut.clone() });
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let hears = async {
                // An error ends the stream; the gateway joins again.
                while let Ok(Some(message)) = said.message().await {
                    if !shared.hear(peer, message) {
                        break;
                    }
                }
            };
            tokio::select! {
                () = hears => {}
                // Nobody reads any more.
                () = sink.closed() => {}
                () = cut.cancelled() => {}
            }
            shared.leave(peer);
        });
        let messages = futures::stream::unfold((told, bytes), |(mut told, bytes)| async move {
            let message: wire::ToGateway = told.recv().await?;
            bytes.fetch_sub(message.encoded_len(), Ordering::Relaxed);
            Some((Ok(message), (told, bytes)))
        });
        Ok(Response::new(Box::pin(messages)))
    }
}
