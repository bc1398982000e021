//! The gateway: the stateless front tier. It speaks Redis, DynamoDB and gRPC to clients, and hands commands to the
//! storage nodes that evaluate them.
//!
//! # One SET
//!
//! `SET user:7 ada` arrives on a connection of the Redis listener.
//!
//! 1. `redis::serve` has accepted the connection and runs a `redis::session::Session` for it. `Session::read` takes
//!    what has arrived, and `RequestParser::next` cuts off complete requests; their arguments are slices of the buffer.
//! 2. `Session::take` asks the command table (`commands::redis::resolve`) what SET is: evaluated by the leader of its
//!    key. `Burst::route` encodes the lock unit of `user:7` and keeps the command. PING would be answered right here.
//! 3. When nothing more can be read, `Session::hand_in` hands all commands of the burst to [`router::Router::submit`]
//!    as one bundle, unless an earlier burst with the same unit is unanswered.
//! 4. The router counts it against its bounds, gives it a sequence (its name for ever), and `Core::dispatch` looks up
//!    the range and epoch of the unit, the group of the range, and the node that leads the group.
//! 5. The `Link` to that node puts it into the next `RequestBatch` with whatever else waits, and `stream` writes the
//!    batch onto the one stream to the node.
//! 6. The leader evaluates it, replicates it, and answers. `Link::receive` finds the request by its ticket and fills its
//!    slot in the bundle; the last slot of the bundle wakes the session.
//! 7. `Session::write_finished` writes the replies of the burst in order, as one write.
//!
//! If the leader has moved, the reply is a refusal: `Core::understand` learns the new leader from it, and `Core::retry`
//! sends the same request, under the same sequence, there. If the stream breaks, nobody knows whether the SET took
//! effect; the repetition finds out, because a group remembers what it has answered.
//!
//! # One GetItem
//!
//! `GetItem` on table `orders` arrives on a connection of the DynamoDB listener.
//!
//! 1. `dynamodb::serve` has accepted the connection; hyper reads the HTTP request, and `dynamodb::exchange` its body,
//!    within bounds.
//! 2. The operation is read from `X-Amz-Target`, and its JSON token by token, checked against what the API allows.
//! 3. The catalog of tables answers the descriptor of `orders`, from memory or from the store.
//! 4. The key attributes become the encoded key of the item, which is its lock unit.
//! 5. [`dynamodb::Store::call`] of the [`dynamodb::Backend`] submits a bundle of one `Read`; steps 4 to 6 above follow.
//! 6. The item record that comes back becomes JSON.
//!
//! # One MULTI
//!
//! `MULTI · SET a 1 · INCR b · EXEC`, where `a` and `b` lie in two groups.
//!
//! 1. EXEC makes one [`txn::Work`] of the queued commands and hands it to [`txn::Transactions::run`].
//! 2. `shape::shape` finds the groups of the units. Were it one, the work would be one `Exec`, as above.
//! 3. `coordinate::run` makes an `Attempt`; [`router::Router::begin_transaction`] names it.
//! 4. `Attempt::prewrite` sends a prewrite to each group, with [`router::Router::steps`]. The groups evaluate, lock and vote.
//! 5. `Attempt::commit` sends the votes to the anchor, which decides. The client is answered.
//! 6. `resolve_all` has the groups turn their locks into data.
//!
//! Whoever meets one of these locks meanwhile is sent back with it, and `Core::unlock` or `Core::settle_contested` ask the
//! anchor what to make of it.
//!
//! # What is absent
//!
//! The gateway keeps no state that survives a restart, and none that other gateways must know: any client may talk to
//! any of them. There is no TLS, and users are known to Redis only.

pub mod config;
pub mod dynamodb;
pub mod grpc;
pub mod redis;
pub mod registry;
pub mod router;
pub mod txn;

use std::io;
use std::net::SocketAddr;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use config::{ConfigError, GatewayConfig, ListenerConfig};

use crate::router::{AddressError, Router};

/// Why a gateway does not start, or stops.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A placement address makes no sense.
    #[error(transparent)]
    Placement(#[from] AddressError),
    /// An address cannot be listened on.
    #[error("{language} cannot listen on {address}: {source}; stop what listens there, or set another `listen`")]
    Listen {
        /// `Redis`, `DynamoDB` or `gRPC`.
        language: &'static str,
        /// Where it should have listened.
        address: SocketAddr,
        /// Why it cannot.
        source: io::Error,
    },
    /// A listener broke.
    #[error("the {language} listener broke: {reason}")]
    Broke {
        /// `Redis`, `DynamoDB` or `gRPC`.
        language: &'static str,
        /// How.
        reason: String,
    },
}

/// A running gateway. Dropping it closes its listeners without waiting; [`Gateway::shutdown`] waits.
#[derive(Debug)]
pub struct Gateway {
    /// Where Redis is spoken, if it is.
    pub redis_address: Option<SocketAddr>,
    /// Where DynamoDB is spoken, if it is.
    pub dynamodb_address: Option<SocketAddr>,
    /// Where gRPC is spoken, if it is.
    pub grpc_address: Option<SocketAddr>,
    router: Router,
    stop: CancellationToken,
    listeners: JoinSet<Result<(), GatewayError>>,
}

impl Gateway {
    /// Opens the listeners and begins to follow the routes. Clients may connect at once; what they ask waits until
    /// routes are known ([`Gateway::wait_ready`]).
    pub async fn start(config: GatewayConfig) -> Result<Self, GatewayError> {
        config.check()?;
        let redis = bind("Redis", &config.redis).await?;
        let dynamodb = bind("DynamoDB", &config.dynamodb).await?;
        let grpc = bind("gRPC", &config.grpc).await?;
        let router = Router::start(&config.router())?;
        let stop = CancellationToken::new();
        let mut gateway = Self {
            redis_address: redis.as_ref().map(|(_, address)| *address),
            dynamodb_address: dynamodb.as_ref().map(|(_, address)| *address),
            grpc_address: grpc.as_ref().map(|(_, address)| *address),
            router: router.clone(),
            stop: stop.clone(),
            listeners: JoinSet::new(),
        };
        let broke =
            |language| move |error: &dyn std::error::Error| GatewayError::Broke { language, reason: error.to_string() };
        if let Some((listener, _)) = redis {
            let serving = redis::serve(listener, router.clone(), config.redis_limits(), stop.clone());
            gateway.listeners.spawn(async move { serving.await.map_err(|error| broke("Redis")(&error)) });
        }
        if let Some((listener, _)) = dynamodb {
            let backend = dynamodb::Backend::new(router.clone());
            tokio::spawn(dynamodb::expire(backend.clone(), stop.clone()));
            tokio::spawn(dynamodb::fill(backend.clone(), stop.clone()));
            let serving = dynamodb::serve(listener, backend, config.dynamodb_limits(), stop.clone());
            gateway.listeners.spawn(async move { serving.await.map_err(|error| broke("DynamoDB")(&error)) });
        }
        if let Some((listener, _)) = grpc {
            let serving = grpc::serve(listener, router, config.drain_timeout(), stop);
            gateway.listeners.spawn(async move { serving.await.map_err(|error| broke("gRPC")(&error)) });
        }
        Ok(gateway)
    }

    /// Whether routes and nodes are known.
    pub fn is_ready(&self) -> bool {
        self.router.is_ready()
    }

    /// Returns when routes and nodes are known.
    pub async fn wait_ready(&self) {
        self.router.wait_ready().await;
    }

    /// The way to the storage nodes.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Returns when a listener breaks; as long as all is well, never.
    pub async fn broken(&mut self) -> GatewayError {
        while let Some(ended) = self.listeners.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(panicked) => return GatewayError::Broke { language: "gateway", reason: panicked.to_string() },
            }
        }
        std::future::pending().await
    }

    /// Stops accepting, lets clients finish, leaves. Takes at most about the configured time.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.listeners.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "a listener broke while the gateway was leaving"),
                Err(error) => tracing::error!(%error, "a listener panicked while the gateway was leaving"),
            }
        }
        self.router.stop();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
        self.router.stop();
    }
}

/// `None` for a listener that is switched off.
async fn bind(
    language: &'static str,
    config: &ListenerConfig,
) -> Result<Option<(TcpListener, SocketAddr)>, GatewayError> {
    if !config.enabled {
        return Ok(None);
    }
    let refused = |source| GatewayError::Listen { language, address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok(Some((listener, address)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{Duration, Instant};

    use commands::testing::MemoryView;
    use keyspace::RouteMap;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::router::fake::{FakeNode, FakePlacement, Verdict, some_route, some_topology};
    use crate::router::fake_store;

    fn config(placement: String) -> GatewayConfig {
        GatewayConfig {
            placement: vec![placement],
            redis: ListenerConfig::on_loopback(0),
            dynamodb: ListenerConfig::on_loopback(0),
            grpc: ListenerConfig::disabled(),
            ..GatewayConfig::default()
        }
    }

    #[tokio::test]
    async fn a_gateway_starts_serves_and_leaves() {
        // It stores nothing, but knows that there are no users.
        let node = FakeNode::start(|request| match request.targets.iter().any(|target| target.is_interval) {
            true => fake_store::evaluate(&mut MemoryView::default(), request),
            false => Verdict::status("OK"),
        })
        .await;
        let routes = RouteMap::new(1, vec![some_route(1, b"", b"", 1, 1)]).unwrap();
        let placement = FakePlacement::start(&routes, some_topology(&[&node], [1, 1])).await;
        let gateway = Gateway::start(config(placement.address.clone())).await.unwrap();
        gateway.wait_ready().await;
        assert!(gateway.grpc_address.is_none() && gateway.dynamodb_address.is_some());

        let address = gateway.redis_address.unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"SET k v\r\n").await.unwrap();
        let mut reply = [0; 5];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!(&reply, b"+OK\r\n");

        let taken = GatewayConfig {
            redis: ListenerConfig { listen: address, ..config(String::new()).redis },
            ..config("a:1".into())
        };
        let refused = Gateway::start(taken).await.unwrap_err().to_string();
        assert!(refused.contains("Redis cannot listen on") && refused.contains(&address.to_string()), "{refused}");

        let started = Instant::now();
        gateway.shutdown().await;
        assert!(started.elapsed() < Duration::from_secs(5), "an idle client does not hold it up");
        assert_eq!(client.read(&mut reply).await.unwrap(), 0);
        assert!(TcpStream::connect(address).await.is_err());
    }
}
