//! The listener: connections in, hyper over each, and the way out.
//!
//! HTTP/1.1 and HTTP/2 share the port; the first bytes of a connection tell them apart. A connection beyond the bound
//! is answered 503 and closed. When the gateway leaves, it stops accepting, lets every connection finish the requests
//! that have begun, and closes what is left after a bounded time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use metrics::{counter, gauge};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::exchange::{Exchange, MAX_HEADER_BYTES};
use super::store::Store;

/// Bounds of the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once.
    pub max_connections: usize,
    /// Requests being executed at once, over all connections.
    pub max_requests: usize,
    /// Size of one request's body.
    pub max_body_bytes: usize,
    /// Size of the bodies of all requests in flight.
    pub max_bodies_bytes: usize,
    /// How long a connection may take to send the head of its next request.
    pub idle_timeout: Duration,
    /// How long a request may take to send its body.
    pub body_timeout: Duration,
    /// How long connections may take to finish when the gateway leaves.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    /// AWS' bound on bodies; for the rest, room for a few thousand clients in about 300 MB.
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_requests: 4096,
            max_body_bytes: 16 << 20,
            max_bodies_bytes: 256 << 20,
            // Longer than the minute for which most SDKs keep a connection, so that they close it, not we.
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Buffer for the head of an HTTP/1.1 request; beyond it hyper itself answers 431.
const HEAD_BUFFER_BYTES: usize = 64 << 10;
/// Requests that one HTTP/2 connection may have in flight.
const MAX_STREAMS: u32 = 256;
/// How often an HTTP/2 connection is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long to leave the listener alone after it failed, for lack of file descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a connection beyond the bound is told.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Serves until `shutdown`, then drains; returns when the last connection is closed.
pub async fn serve(
    listener: TcpListener,
    store: impl Store,
    limits: Limits,
    shutdown: CancellationToken,
) -> io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "DynamoDB listens");
    let connections = Arc::new(Semaphore::new(limits.max_connections));
    let exchange = Exchange::new(store, limits.clone());
    let http = http(&limits);
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "DynamoDB cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = connections.clone().try_acquire_owned() else {
            counter!("gateway_dynamodb_connections_refused_total").increment(1);
            // A courtesy: whoever cannot take it at once sees a closed connection.
            let _ = stream.try_write(BUSY);
            continue;
        };
        let connection = Connection { exchange: exchange.clone(), limits: limits.clone(), _permit: permit };
        tasks.spawn(connection.run(http.clone(), stream, shutdown.clone()));
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
    Ok(())
}

fn http(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(limits.idle_timeout).max_buf_size(HEAD_BUFFER_BYTES);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).expect("a few kilobytes"));
    http
}

/// One client connection.
struct Connection<S> {
    exchange: Arc<Exchange<S>>,
    limits: Limits,
    _permit: OwnedSemaphorePermit,
}

impl<S: Store> Connection<S> {
    async fn run(self, http: auto::Builder<TokioExecutor>, stream: TcpStream, shutdown: CancellationToken) {
        gauge!("gateway_dynamodb_connections").increment(1.0);
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a DynamoDB connection waits for full packets");
        }
        let begun = AtomicBool::new(false);
        let service = service_fn(|request: Request<Incoming>| {
            begun.store(true, Ordering::Relaxed);
            let exchange = self.exchange.clone();
            async move { Ok::<_, std::convert::Infallible>(exchange.answer(request).await) }
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // hyper starts its own clock when it knows the version of HTTP; until then this one runs.
        let silence = async {
            tokio::time::sleep(self.limits.idle_timeout).await;
            if begun.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = silence => Ok(()),
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(self.limits.drain_timeout, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            // Junk, resets and time-outs: the client's business, interesting only to who looks for it.
            tracing::debug!(%error, "a DynamoDB connection ended");
        }
        gauge!("gateway_dynamodb_connections").decrement(1.0);
    }
}
