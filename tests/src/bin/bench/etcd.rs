//! etcd's `Put` and linearizable `Range` over gRPC.
//!
//! The few messages are written down here: etcd's field numbers, only the fields in use. Unknown fields of answers are
//! skipped by the decoder.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use rand::Rng;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::drive::{Figure, drive};

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct PutResponse {}

/// Without a range end: one key. `serializable` (7) is left at its default: the read is linearizable.
#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct RangeResponse {
    #[prost(int64, tag = "4")]
    count: i64,
}

/// A driver of one etcd member, the leader for its best figures.
pub struct Etcd {
    channels: Vec<Channel>,
    keys: u32,
    value: Bytes,
}

impl Etcd {
    /// Connects to a member, `connections` times: each client has a connection of its own, like the clients of
    /// redis-benchmark.
    pub async fn connect(endpoint: &str, connections: usize, keys: u32, value: Bytes) -> Result<Self, String> {
        let mut channels = Vec::new();
        for _ in 0..connections {
            let endpoint = Endpoint::from_shared(endpoint.to_owned()).map_err(|error| error.to_string())?;
            channels.push(endpoint.connect().await.map_err(|error| format!("etcd: {error}"))?);
        }
        Ok(Self { channels, keys, value })
    }

    /// Puts of random keys.
    pub async fn put(&self, clients: usize, duration: Duration) -> Result<Figure, String> {
        drive(clients, duration, |client| {
            let (channel, keys, value) = (self.channels[client].clone(), self.keys, self.value.clone());
            move |_| {
                let request = PutRequest { key: random_key(keys), value: value.clone() };
                let channel = channel.clone();
                async move { call::<_, PutResponse>(channel, "/etcdserverpb.KV/Put", request).await.map(drop) }
            }
        })
        .await
    }

    /// Linearizable reads of random keys.
    pub async fn get(&self, clients: usize, duration: Duration) -> Result<Figure, String> {
        drive(clients, duration, |client| {
            let (channel, keys) = (self.channels[client].clone(), self.keys);
            move |_| {
                let request = RangeRequest { key: random_key(keys) };
                let channel = channel.clone();
                async move { call::<_, RangeResponse>(channel, "/etcdserverpb.KV/Range", request).await.map(drop) }
            }
        })
        .await
    }
}

fn random_key(keys: u32) -> Bytes {
    format!("key:{:012}", rand::rng().random_range(0..keys)).into()
}

async fn call<Ask, Answer>(channel: Channel, path: &'static str, request: Ask) -> Result<Answer, String>
where
    Ask: Message + Send + Sync + 'static,
    Answer: Message + Default + Send + Sync + 'static,
{
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| format!("etcd: {error}"))?;
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
    let answer = client.unary(Request::new(request), path, ProstCodec::<Ask, Answer>::default()).await;
    answer.map(tonic::Response::into_inner).map_err(|status: Status| format!("etcd: {status}"))
}
