//! Which timestamps exist.
//!
//! The oracle of placement gives out even numbers, each larger than all before. A read `at = t` sees the versions that
//! were written while their group had seen less than `t`; so a value written under `e` shows at `e + 1`. Timestamps
//! that the oracle has not reached are refused: reading at one would push the clocks of the groups ahead of it.

use std::sync::atomic::{AtomicU64, Ordering};

use proto::wire;
use proto::{Fault, FaultCode};
use tonic::Status;

use crate::router::Router;

/// Asks placement for timestamps and remembers the largest.
#[derive(Debug)]
pub(super) struct Oracle {
    router: Router,
    issued: AtomicU64,
}

impl Oracle {
    pub(super) fn new(router: Router) -> Self {
        Self { router, issued: AtomicU64::new(0) }
    }

    /// A timestamp above every one before. Whatever is written through this gateway from now on is not seen at it.
    pub(super) async fn now(&self) -> Result<u64, Status> {
        let ask = |mut client: proto::wire::distribution_client::DistributionClient<tonic::transport::Channel>| async move {
            client.get_timestamp(wire::GetTimestampRequest {}).await
        };
        let timestamp = self.router.placement().ask(true, ask).await?.timestamp;
        self.issued.fetch_max(timestamp, Ordering::Relaxed);
        self.router.observe_e(timestamp);
        Ok(timestamp)
    }

    /// Refuses a timestamp that the oracle has not reached.
    pub(super) async fn check(&self, timestamp: u64) -> Result<(), Status> {
        // What the groups have seen came from the oracle, or was checked here before.
        let reached = |issued: u64| timestamp <= issued.saturating_add(1);
        if reached(self.issued.load(Ordering::Relaxed)) || reached(self.now().await?) {
            return Ok(());
        }
        let sentence = format!("timestamp {timestamp} has not been issued yet");
        Err(Fault::new(FaultCode::InvalidArgument, sentence).into())
    }
}
