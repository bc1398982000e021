//! The gRPC services of the placement.
//!
//! - [`distribution`]: `Distribution`, what operators, programs and gateways ask about routes and timestamps;
//! - [`watch`]: its `WatchRoutes`, by which gateways keep their routes;
//! - [`cluster`]: `Cluster`, where storage nodes report and operators look at the cluster;
//! - [`faults`]: every error of the placement in the closed set of wire errors.
//!
//! Server reflection and the standard health service are on the same port. Each call first makes sure that this
//! placement leads.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::Stream;
use proto::connect::Accepted;
use proto::wire;
use proto::wire::cluster_server::ClusterServer;
use proto::wire::distribution_server::DistributionServer;
use proto::{Fault, FaultCode};
use tokio::net::TcpListener;
use tonic::Status;
use tonic::transport::Server;

use crate::leadership::Leadership;
use crate::reconcile::Reconciler;

pub mod cluster;
pub mod distribution;
pub mod faults;
pub mod watch;

/// Frames beyond this size are refused: a heartbeat of thousands of ranges fits many times.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// What every service works on. Clones share it.
#[derive(Clone)]
pub struct Services {
    reconciler: Arc<Reconciler>,
    leadership: Arc<dyn Leadership>,
}

impl Services {
    /// Services over a running reconciler.
    pub fn new(reconciler: Arc<Reconciler>, leadership: Arc<dyn Leadership>) -> Self {
        Self { reconciler, leadership }
    }

    /// The reconciler, if this placement leads.
    fn leading(&self) -> Result<&Arc<Reconciler>, Status> {
        if self.leadership.is_leading() {
            return Ok(&self.reconciler);
        }
        let message = format!("placement {} does not lead; ask another one", self.leadership.placement_id());
        Err(Fault::new(FaultCode::NotLeading, message).into())
    }

    /// Serves until the reconciler is told to stop and every open call has been answered.
    pub async fn serve<Io: Accepted>(
        self,
        incoming: impl Stream<Item = std::io::Result<Io>> + Send + 'static,
    ) -> Result<(), ServeError> {
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<DistributionServer<Services>>().await;
        health.set_serving::<ClusterServer<Services>>().await;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(wire::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .with_service_name("elastickv.Distribution")
                .with_service_name("elastickv.Cluster")
                .with_service_name("grpc.health.v1.Health")
        };
        let stopping = self.reconciler.stopping().clone();
        Server::builder()
            .http2_keepalive_interval(Some(std::time::Duration::from_secs(10)))
            .add_service(health_service)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .add_service(DistributionServer::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
            .add_service(ClusterServer::new(self).max_decoding_message_size(MAX_MESSAGE_BYTES))
            .serve_with_incoming_shutdown(incoming, stopping.cancelled_owned())
            .await?;
        Ok(())
    }
}

/// Why the services ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The connections could not be served.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors of the API are damaged.
    #[error(transparent)]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Opens the port.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}
