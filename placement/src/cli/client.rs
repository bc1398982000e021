//! The connection of a command to its placement, and its errors in words that say what to do.

use std::time::Duration;

use proto::wire::cluster_client::ClusterClient;
use proto::wire::distribution_client::DistributionClient;
use proto::{Fault, FaultCode};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection to one placement.
pub struct Client {
    endpoint: String,
    channel: Channel,
}

impl Client {
    /// Connects, so that an unreachable placement is noticed before anything is asked.
    pub async fn connect(endpoint: &str) -> Result<Self, Failure> {
        let bad_endpoint = |error: tonic::transport::Error| Failure {
            message: format!("--endpoint {endpoint:?}: {error}; write it as http://host:port"),
            retryable: false,
        };
        let target = Endpoint::from_shared(endpoint.to_owned()).map_err(bad_endpoint)?;
        let channel = target.connect_timeout(CONNECT_TIMEOUT).connect().await.map_err(|error| Failure {
            message: format!(
                "cannot reach the placement at {endpoint} ({}). Start it with `placement serve`, or name another one with \
                 --endpoint or PLACEMENT_ENDPOINT",
                innermost(&error)
            ),
            retryable: true,
        })?;
        Ok(Self { endpoint: endpoint.to_owned(), channel })
    }

    /// Routes and timestamps.
    pub fn distribution(&self) -> DistributionClient<Channel> {
        DistributionClient::new(self.channel.clone())
    }

    /// Nodes, groups and jobs.
    pub fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel.clone())
    }

    /// What a failed call means for who typed the command.
    pub fn failure(&self, status: &Status) -> Failure {
        let Ok(Some(fault)) = Fault::of(status) else {
            let message = format!("{} did not answer the call: {}", self.endpoint, status.message());
            return Failure { message, retryable: true };
        };
        let advice = match fault.code {
            FaultCode::StaleCatalog => "; `placement routes list` shows the routes of the current version",
            FaultCode::OutcomeUnknown => "; `placement jobs list` shows what it waits for",
            FaultCode::NotLeading => "; `placement groups list` shows which groups have a leader",
            _ => "",
        };
        Failure { message: format!("{}{advice}", fault.message), retryable: fault.retryable }
    }
}

/// The last cause: what the operating system said.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
