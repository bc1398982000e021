//! Talking to placement: any of its processes may answer, one of them leads.
//!
//! Channels are opened on first use and kept. A call is tried at each address in turn, beginning with the one that
//! answered last, until somebody answers.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proto::wire::distribution_client::DistributionClient;
use proto::{Dialer, Fault, FaultCode};
use thiserror::Error;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// How long one process may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one call may take; the route stream has no bound.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The address of a placement process is not one.
#[derive(Debug, Error)]
#[error("placement address {address:?}: {source}")]
pub struct AddressError {
    /// As configured.
    pub address: String,
    /// What is wrong with it.
    pub source: tonic::transport::Error,
}

/// Clients of all placement processes.
#[derive(Debug)]
pub(crate) struct Placement {
    channels: Vec<Channel>,
    /// The one that answered last.
    preferred: AtomicUsize,
}

impl Placement {
    /// Opens nothing yet. Needs a running tokio.
    pub(crate) fn new(addresses: &[String], dialer: &Dialer) -> Result<Self, AddressError> {
        let channel = |address: &String| {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))
                .map_err(|source| AddressError { address: address.clone(), source })?;
            let endpoint = endpoint
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(Duration::from_secs(5))
                .keep_alive_timeout(Duration::from_secs(5));
            Ok(dialer.connect_lazy(&endpoint))
        };
        let channels = addresses.iter().map(channel).collect::<Result<_, AddressError>>()?;
        Ok(Self { channels, preferred: AtomicUsize::new(0) })
    }

    /// The client to use now.
    pub(crate) fn client(&self) -> Option<DistributionClient<Channel>> {
        let index = self.preferred.load(Ordering::Relaxed) % self.channels.len().max(1);
        self.channels.get(index).cloned().map(DistributionClient::new)
    }

    /// The client to use now did not answer: take the next one.
    pub(crate) fn turn(&self) {
        self.preferred.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks one process after the other until one of them answers. The last refusal is handed on.
    ///
    /// `repeatable`: whether a call that may have reached a process that is gone now can be made again.
    pub(crate) async fn ask<T, F>(
        &self,
        repeatable: bool,
        call: impl Fn(DistributionClient<Channel>) -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let mut refusal = Status::unavailable("no placement process is configured");
        for _ in 0..self.channels.len() {
            let Some(client) = self.client() else { break };
            let answered = tokio::time::timeout(CALL_TIMEOUT, call(client)).await;
            match answered.unwrap_or_else(|_| Err(Status::deadline_exceeded("placement did not answer in time"))) {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => {
                    let elsewhere = match Fault::of(&status) {
                        Ok(Some(fault)) => fault.code == FaultCode::NotLeading,
                        // Not its own words: it may be gone, and may have got the call before.
                        _ => repeatable && matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded),
                    };
                    if !elsewhere {
                        return Err(status);
                    }
                    self.turn();
                    refusal = status;
                }
            }
        }
        Err(refusal)
    }
}
