//! The network between the simulated machines: turmoil's, as the tiers take it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use proto::Dialer;
use proto::connect::{Connection, Dialing, Network};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;
use turmoil::net::{TcpListener, TcpStream};

use crate::trace::Trace;

/// Opens connections through the simulation. Cheap to clone.
#[derive(Clone)]
pub struct Wires {
    trace: Trace,
}

impl Wires {
    /// Everything written goes into the trace.
    pub fn new(trace: Trace) -> Self {
        Self { trace }
    }

    /// What the tiers take.
    pub fn dialer(&self) -> Dialer {
        Dialer::over(Arc::new(self.clone()))
    }

    /// The connections that arrive at this machine's port.
    ///
    /// # Errors
    /// If somebody listens there.
    pub async fn listen(&self, port: u16) -> io::Result<BoxStream<'static, io::Result<Wire>>> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
        let trace = self.trace.clone();
        let accepting = stream::unfold((listener, trace), |(listener, trace)| async move {
            let accepted = listener.accept().await;
            let wire = accepted.map(|(stream, _)| Wire { stream, trace: trace.clone() });
            Some((wire, (listener, trace)))
        });
        Ok(accepting.boxed())
    }
}

impl Network for Wires {
    fn dial(&self, address: String) -> Dialing {
        let trace = self.trace.clone();
        Box::pin(async move {
            let address: SocketAddr = address.parse().map_err(io::Error::other)?;
            let stream = TcpStream::connect(address).await?;
            Ok(Box::new(Wire { stream, trace }) as Box<dyn Connection>)
        })
    }
}

/// A connection.
pub struct Wire {
    stream: TcpStream,
    trace: Trace,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.trace.note((self.stream.local_addr().ok(), bytes));
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Wire {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}
