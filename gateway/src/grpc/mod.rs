//! The gRPC listener: RawKV, TransactionalKV and Distribution, with health and reflection.
//!
//! - `raw` is RawKV: keys and values without types, and scans at a snapshot.
//! - `transactional` is TransactionalKV: reads at a timestamp, and a commit that takes effect if nothing has changed.
//! - `distribution` hands every question on to placement, so that programs need one address.
//! - `oracle` knows which timestamps exist.
//! - `refusal` makes gRPC errors of what the router may refuse.
//!
//! What is absent: authentication and TLS.

mod distribution;
mod oracle;
mod raw;
mod refusal;
mod transactional;

#[cfg(test)]
mod tests;

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use proto::wire::FILE_DESCRIPTOR_SET;
use proto::wire::distribution_server::DistributionServer;
use proto::wire::raw_kv_server::RawKvServer;
use proto::wire::transactional_kv_server::TransactionalKvServer;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use self::distribution::Forward;
use self::oracle::Oracle;
use self::raw::Raw;
use self::transactional::Transactional;
use crate::router::Router;

/// Longest key of RawKV.
const MAX_KEY_BYTES: usize = 64 << 10;
/// Longest value of RawKV.
const MAX_VALUE_BYTES: usize = 32 << 20;
/// Largest message in either direction.
const MAX_MESSAGE_BYTES: usize = 40 << 20;
/// The services that reflection shows.
const PUBLIC: [&str; 4] =
    ["elastickv.RawKV", "elastickv.TransactionalKV", "elastickv.Distribution", "grpc.health.v1.Health"];

/// Why the listener cannot serve.
#[derive(Debug, Error)]
pub enum GrpcError {
    /// The descriptors that were compiled in make no sense.
    #[error("server reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The listener broke.
    #[error("gRPC: {0}")]
    Serve(#[from] tonic::transport::Error),
}

/// Serves until `shutdown`, then finishes the calls under way, for at most `drain_timeout`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    drain_timeout: Duration,
    shutdown: CancellationToken,
) -> Result<(), GrpcError> {
    let reflection = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        PUBLIC.into_iter().fold(builder, |builder, name| builder.with_service_name(name))
    };
    let (health, health_service) = tonic_health::server::health_reporter();
    let oracle = Arc::new(Oracle::new(router.clone()));
    // With a listener of one's own the builder's `tcp_nodelay` has no effect.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .max_concurrent_streams(Some(1024))
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(health_service)
        .add_service(
            RawKvServer::new(Raw::new(router.clone(), oracle.clone()))
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            TransactionalKvServer::new(Transactional::new(Raw::new(router.clone(), oracle.clone()), router.clone()))
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(DistributionServer::new(Forward::new(router.clone(), oracle)))
        .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    tokio::spawn(report_health(health, router, shutdown.clone()));
    let mut server = std::pin::pin!(server.into_future());
    match shutdown.run_until_cancelled(&mut server).await {
        Some(ended) => Ok(ended?),
        None => match tokio::time::timeout(drain_timeout, server).await {
            Ok(ended) => Ok(ended?),
            // Streams of routes never end by themselves.
            Err(_) => Ok(()),
        },
    }
}

/// Serving once routes are known, not serving while the gateway leaves.
async fn report_health(health: tonic_health::server::HealthReporter, router: Router, shutdown: CancellationToken) {
    use tonic_health::ServingStatus::{NotServing, Serving};
    let services = ["", "elastickv.RawKV", "elastickv.Distribution"];
    for service in services {
        health.set_service_status(service, NotServing).await;
    }
    if shutdown.run_until_cancelled(router.wait_ready()).await.is_some() {
        for service in services {
            health.set_service_status(service, Serving).await;
        }
        shutdown.cancelled().await;
    }
    for service in services {
        health.set_service_status(service, NotServing).await;
    }
}
