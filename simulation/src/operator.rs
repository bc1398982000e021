//! An operator who splits ranges at random while the cluster works.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use proto::wire::distribution_client::DistributionClient;
use proto::wire::{ListRoutesRequest, SplitRangeRequest};
use rand_simulated::rngs::StdRng;
use rand_simulated::{RngExt, SeedableRng};
use tonic::Status;
use tonic::transport::Endpoint;

use crate::machines::PORT;
use crate::network::Wires;

/// Hash slots of Redis.
const SLOTS: u32 = 16_384;
const DEADLINE: Duration = Duration::from_secs(5);

/// The operator's machine.
#[derive(Clone)]
pub struct Operator {
    /// Where the placement is.
    pub placement: IpAddr,
    /// Decides what is split, and when.
    pub seed: u64,
    /// Longest time between two splits, in milliseconds.
    pub longest_pause_ms: u64,
    /// Nothing is begun any more.
    pub resting: Arc<AtomicBool>,
    /// Splits that were answered.
    pub splits: Arc<AtomicU64>,
    /// To the placement.
    pub wires: Wires,
}

impl Operator {
    /// Works until it is told to rest.
    ///
    /// # Errors
    /// Never; what fails is tried again.
    pub async fn run(self) -> turmoil::Result {
        let mut dice = StdRng::seed_from_u64(self.seed);
        while !self.resting.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(dice.random_range(500..self.longest_pause_ms))).await;
            let slot = dice.random_range(1..SLOTS);
            match tokio::time::timeout(DEADLINE, self.split_at(slot)).await {
                Ok(Ok(())) => drop(self.splits.fetch_add(1, Ordering::Relaxed)),
                Ok(Err(status)) => tracing::debug!(%status, slot, "not split"),
                Err(_) => tracing::debug!(slot, "nobody says whether it was split"),
            }
        }
        std::future::pending().await
    }

    async fn split_at(&self, slot: u32) -> Result<(), Status> {
        let unavailable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
        let endpoint = Endpoint::from_shared(format!("http://{}", SocketAddr::new(self.placement, PORT)));
        let channel = self.wires.dialer().connect(&endpoint.map_err(unavailable)?).await.map_err(unavailable)?;
        let mut placement = DistributionClient::new(channel);
        let listed = placement.list_routes(ListRoutesRequest {}).await?.into_inner();
        let key = format!("redis:slot:{slot}");
        let encoded = keyspace::layout::redis_slot(u16::try_from(slot).unwrap_or_default());
        let holds = |route: &&proto::wire::RouteDescriptor| {
            route.encoded_start[..] <= encoded[..]
                && (route.encoded_end.is_empty() || encoded[..] < route.encoded_end[..])
        };
        let route = listed.routes.iter().find(holds).ok_or_else(|| Status::not_found("no route holds the key"))?;
        let request = SplitRangeRequest {
            expected_catalog_version: listed.catalog_version,
            route_id: route.route_id,
            split_key: key.into_bytes().into(),
        };
        placement.split_range(request).await.map(drop)
    }
}
