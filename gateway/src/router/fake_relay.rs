//! The relay of a fake node: it hands every message to every gateway that has joined it.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use parking_lot::Mutex;
use proto::wire;
use proto::wire::from_gateway::Kind as Said;
use proto::wire::to_gateway::Kind as Told;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

type Line = mpsc::UnboundedSender<Result<wire::ToGateway, Status>>;

/// Of one node.
#[derive(Clone, Default)]
pub(super) struct FakeRelay {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    lines: Vec<Line>,
    topics: Vec<wire::Topic>,
    /// Who published under which ticket, how many have not delivered, and to how many the others have.
    pending: HashMap<u64, (Line, u64, usize, u64)>,
    last: u64,
}

impl FakeRelay {
    fn hear(&self, line: &Line, said: Said) {
        let mut state = self.state.lock();
        let tell = |line: &Line, told| drop(line.send(Ok(wire::ToGateway { kind: Some(told) })));
        match said {
            Said::Interest(interest) => {
                state.topics.retain(|topic| !interest.removed.contains(topic));
                state.topics.extend(interest.added);
                tell(line, Told::Noted(interest.number));
            }
            Said::List(list) => {
                let in_space = state.topics.iter().filter(|topic| topic.space == list.space);
                let names = in_space.map(|topic| topic.name.clone()).collect();
                tell(line, Told::Topics(wire::Topics { ticket: list.ticket, names }));
            }
            Said::Publish(publish) => {
                state.last += 1;
                let delivery = state.last;
                let owed = state.lines.len();
                state.pending.insert(delivery, (line.clone(), publish.ticket, owed, 0));
                for line in &state.lines {
                    tell(
                        line,
                        Told::Delivery(wire::Delivery {
                            delivery,
                            topic: publish.topic.clone(),
                            message: publish.message.clone(),
                            count_only: publish.count_only,
                        }),
                    );
                }
            }
            Said::Delivered(delivered) => {
                let (publisher, ticket, owed, sum) = state.pending.get_mut(&delivered.delivery).unwrap();
                *owed -= 1;
                *sum += delivered.receivers;
                if *owed == 0 {
                    tell(publisher, Told::Published(wire::Published { ticket: *ticket, receivers: *sum }));
                }
            }
        }
    }
}

#[tonic::async_trait]
impl wire::relay_server::Relay for FakeRelay {
    type JoinStream = Pin<Box<dyn Stream<Item = Result<wire::ToGateway, Status>> + Send>>;

    async fn join(&self, request: Request<Streaming<wire::FromGateway>>) -> Result<Response<Self::JoinStream>, Status> {
        let mut said = request.into_inner();
        let (line, told) = mpsc::unbounded_channel();
        self.state.lock().lines.push(line.clone());
        let relay = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = said.message().await {
                relay.hear(&line, message.kind.unwrap());
            }
            relay.state.lock().lines.retain(|other| !other.same_channel(&line));
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(told))))
    }
}
