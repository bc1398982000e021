//! The port for operators: `/metrics`, `/livez`, `/readyz`, over HTTP/1.1.
//!
//! `/livez` and `/readyz` answer 200 or 503 with one line a component. The port shows no data and changes nothing; it
//! has no authentication and belongs on an inner network.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Health, Metrics};

/// How often recorded samples are folded, whether or not somebody scrapes.
const FOLD_INTERVAL: Duration = Duration::from_secs(5);

/// The operators' port could not be opened, or broke.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address cannot be bound.
    #[error("cannot listen on {address} for metrics and health: {source}")]
    Bind {
        /// The address from the configuration.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// Serving stopped with an error.
    #[error("the metrics and health port broke: {0}")]
    Serve(#[from] io::Error),
    /// The serving task panicked.
    #[error("the metrics and health port panicked")]
    Panicked,
}

/// A running operators' port. Dropping it stops it at once; [`Endpoint::shutdown`] waits.
#[derive(Debug)]
pub struct Endpoint {
    local_address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<io::Result<()>>,
    folding: JoinHandle<()>,
}

impl Endpoint {
    /// Binds `address` (port 0: any free one) and serves until shut down or dropped.
    pub async fn serve(address: SocketAddr, metrics: Metrics, health: Health) -> Result<Self, EndpointError> {
        let bind_error = |source| EndpointError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind_error)?;
        let local_address = listener.local_addr().map_err(bind_error)?;
        let (stop, mut stopped) = watch::channel(false);
        let router = router(metrics.clone(), health);
        let serving = tokio::spawn(async move {
            axum::serve(listener, router)
                // An error means that the sender is gone, which is a stop as well.
                .with_graceful_shutdown(async move { drop(stopped.wait_for(|stop| *stop).await) })
                .await
        });
        let folding = tokio::spawn(async move {
            let mut interval = tokio::time::interval(FOLD_INTERVAL);
            loop {
                interval.tick().await;
                metrics.fold_samples();
            }
        });
        Ok(Self { local_address, stop, serving, folding })
    }

    /// The address in use.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Stops accepting, finishes the requests under way, returns.
    pub async fn shutdown(mut self) -> Result<(), EndpointError> {
        self.stop.send_replace(true);
        match (&mut self.serving).await {
            Ok(served) => Ok(served?),
            Err(_) => Err(EndpointError::Panicked),
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.serving.abort();
        self.folding.abort();
    }
}

fn router(metrics: Metrics, health: Health) -> Router {
    Router::new()
        .route("/metrics", get(render).with_state(metrics))
        .route("/livez", get(live).with_state(health.clone()))
        .route("/readyz", get(ready).with_state(health))
}

async fn render(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}

async fn live(State(health): State<Health>) -> impl IntoResponse {
    answer(health.is_live(), &health)
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    answer(health.is_ready(), &health)
}

fn answer(good: bool, health: &Health) -> (StatusCode, String) {
    (if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, health.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::install_metrics;

    async fn fetch(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    }

    #[tokio::test]
    async fn the_port_answers_for_the_process() {
        let health = Health::new();
        let component = health.component("gateway");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint = Endpoint::serve(any, install_metrics().unwrap(), health).await.unwrap();
        let address = endpoint.local_address();

        metrics::counter!("elastickv_endpoint_test_total").increment(1);
        assert!(fetch(address, "/metrics").await.contains("elastickv_endpoint_test_total 1"));
        assert!(fetch(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let starting = fetch(address, "/readyz").await;
        assert!(
            starting.starts_with("HTTP/1.1 503") && starting.contains("gateway: not ready: starting"),
            "{starting}"
        );
        component.set_ready();
        assert!(fetch(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(fetch(address, "/other").await.starts_with("HTTP/1.1 404"));

        let taken = Endpoint::serve(address, install_metrics().unwrap(), Health::new()).await.unwrap_err();
        assert!(taken.to_string().contains(&address.to_string()), "{taken}");
        endpoint.shutdown().await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
