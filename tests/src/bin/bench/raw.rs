//! RawKV of a gateway, over gRPC: the same shape of request as etcd's.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use proto::wire::raw_kv_client::RawKvClient;
use proto::wire::{RawGetRequest, RawPutRequest};
use rand::Rng;
use tonic::transport::{Channel, Endpoint};

use crate::drive::{Figure, drive};

/// A driver of one gateway.
pub struct Raw {
    clients: Vec<RawKvClient<Channel>>,
    keys: u32,
    value: Bytes,
}

impl Raw {
    /// Connects to a gateway's gRPC port, `connections` times: each has a connection of its own, like the clients of
    /// redis-benchmark.
    pub async fn connect(address: SocketAddr, connections: usize, keys: u32, value: Bytes) -> Result<Self, String> {
        let mut clients = Vec::new();
        for _ in 0..connections {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
            let channel = endpoint.connect().await.map_err(|error| format!("RawKV: {error}"))?;
            clients.push(RawKvClient::new(channel));
        }
        Ok(Self { clients, keys, value })
    }

    /// Puts of random keys.
    pub async fn put(&self, clients: usize, duration: Duration) -> Result<Figure, String> {
        drive(clients, duration, |client| {
            let (client, keys, value) = (self.clients[client].clone(), self.keys, self.value.clone());
            move |_| {
                let (mut client, request) = (client.clone(), RawPutRequest { key: key(keys), value: value.clone() });
                async move { client.raw_put(request).await.map(drop).map_err(|status| format!("RawPut: {status}")) }
            }
        })
        .await
    }

    /// Reads of random keys.
    pub async fn get(&self, clients: usize, duration: Duration) -> Result<Figure, String> {
        drive(clients, duration, |client| {
            let (client, keys) = (self.clients[client].clone(), self.keys);
            move |_| {
                let (mut client, request) = (client.clone(), RawGetRequest { key: key(keys), ts: 0 });
                async move { client.raw_get(request).await.map(drop).map_err(|status| format!("RawGet: {status}")) }
            }
        })
        .await
    }
}

fn key(keys: u32) -> Bytes {
    format!("key:{:012}", rand::rng().random_range(0..keys)).into()
}
