//! How a process opens connections to the other tiers: over TCP, or over whatever stands for the network.
//!
//! A tier says to whom and on what terms (an [`Endpoint`]); the [`Dialer`] that it was given at its start opens the
//! connection. A process runs over TCP. A simulation hands in a [`Network`] of its own, and the tiers do not notice.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Error, Uri};
use tower::service_fn;

/// Bytes in order, both ways.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for C {}

/// A connection that somebody else has opened.
pub trait Accepted: Connection + Connected {}

impl<C: Connection + Connected> Accepted for C {}

/// What a connection is waited for with.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<Box<dyn Connection>>> + Send>>;

/// What connections are opened over, when it is not TCP.
pub trait Network: Send + Sync + 'static {
    /// Opens a connection to `host:port`.
    fn dial(&self, address: String) -> Dialing;
}

/// Opens connections. Cheap to clone.
#[derive(Clone, Default)]
pub struct Dialer {
    /// None: TCP.
    network: Option<Arc<dyn Network>>,
}

impl Dialer {
    /// Over a network of one's own.
    pub fn over(network: Arc<dyn Network>) -> Self {
        Self { network: Some(network) }
    }

    /// Opens a connection now.
    ///
    /// # Errors
    /// If nobody answers there in time.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, Error> {
        match &self.network {
            None => endpoint.connect().await,
            Some(network) => endpoint.connect_with_connector(service_fn(dials(network.clone()))).await,
        }
    }

    /// A channel that opens its connection when it is first used, and again when that is lost.
    pub fn connect_lazy(&self, endpoint: &Endpoint) -> Channel {
        match &self.network {
            None => endpoint.connect_lazy(),
            Some(network) => endpoint.connect_with_connector_lazy(service_fn(dials(network.clone()))),
        }
    }
}

/// The network as tonic takes it.
fn dials(network: Arc<dyn Network>) -> impl Fn(Uri) -> Opening + Clone + Send + 'static {
    move |uri| {
        let dialing = network.dial(uri.authority().map_or_else(String::new, ToString::to_string));
        Box::pin(async move { dialing.await.map(TokioIo::new) })
    }
}

type Opening = Pin<Box<dyn Future<Output = io::Result<TokioIo<Box<dyn Connection>>>> + Send>>;

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.network.is_some() { "Dialer(given network)" } else { "Dialer(TCP)" })
    }
}
