//! The listener over real sockets, with a store in memory behind it.

#![allow(clippy::unwrap_used)]

mod alter;
mod api;
mod expressions;
mod hostile;
mod index_definitions;
mod indexes;
mod legacy;
mod many;
mod serving;
mod tokens;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use commands::dynamo::{Operation, Outcome};
use commands::testing::MemoryView;
use keyspace::KeyRange;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Call, Limits, Store, StoreError, serve};

/// Patience of tests with things that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store in memory that can be told to fail or to wait.
#[derive(Clone)]
struct FakeStore {
    view: Arc<Mutex<MemoryView>>,
    failure: Arc<Mutex<Option<StoreError>>>,
    /// Each call takes one; a test that wants calls to wait takes all.
    gate: Arc<Semaphore>,
    calls: Arc<Mutex<Vec<Operation>>>,
    /// So many more calls are executed, and then none.
    left: Arc<Mutex<Option<usize>>>,
}

impl Default for FakeStore {
    fn default() -> Self {
        Self {
            view: Arc::default(),
            failure: Arc::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            calls: Arc::default(),
            left: Arc::default(),
        }
    }
}

impl FakeStore {
    fn fail_with(&self, error: Option<StoreError>) {
        *self.failure.lock().unwrap() = error;
    }

    /// Makes calls wait until permits are added to the gate.
    fn close_gate(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn open_gate(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS);
    }

    /// Operations since the last time.
    fn take_calls(&self) -> Vec<Operation> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

impl Store for FakeStore {
    async fn call_all(&self, calls: Vec<Call>) -> Vec<Result<Outcome, StoreError>> {
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            answers.push(self.call(call).await);
        }
        answers
    }

    async fn transact(&self, calls: Vec<Call>) -> Result<Vec<Outcome>, StoreError> {
        if !calls.iter().any(|call| call.operation.writes()) {
            return self.call_all(calls).await.into_iter().collect();
        }
        let units: Vec<_> = calls.iter().flat_map(|call| call.units.clone()).collect();
        let write = |call: Call| match call.operation {
            Operation::WriteItem(write) => *write,
            other => panic!("{other:?}"),
        };
        let together = Operation::Together(calls.into_iter().map(write).collect());
        match self.call(Call::on_units(together, units)).await? {
            Outcome::Together(outcomes) => Ok(outcomes),
            other => panic!("{other:?}"),
        }
    }

    /// Every range is cut at every seventh item.
    async fn parts_of(&self, range: &KeyRange) -> Result<Vec<KeyRange>, StoreError> {
        let cuts: Vec<_> = self.view.lock().unwrap().records().keys().step_by(7).cloned().collect();
        let mut parts = Vec::new();
        let mut rest = range.clone();
        for cut in cuts {
            if let Some((below, above)) = rest.split_at(&cut) {
                parts.push(below);
                rest = above;
            }
        }
        parts.push(rest);
        Ok(parts)
    }

    async fn call(&self, call: Call) -> Result<Outcome, StoreError> {
        self.calls.lock().unwrap().push(call.operation.clone());
        self.gate.acquire().await.unwrap().forget();
        self.gate.add_permits(1);
        if let Some(error) = self.failure.lock().unwrap().clone() {
            return Err(error);
        }
        if let Some(left) = &mut *self.left.lock().unwrap() {
            *left = left.checked_sub(1).ok_or(StoreError::Unavailable)?;
        }
        let command = commands::Command::Dynamo(call.operation.clone());
        let mut view = self.view.lock().unwrap();
        let before = view.records().clone();
        let outcome = view.run(&command).map_err(|error| StoreError::Internal(error.to_string()))?;
        // What a leader would refuse: keys beyond those that the request names.
        let tables = match &call.operation {
            Operation::WriteItem(write) => vec![write.indexed.clone()],
            Operation::Together(writes) => writes.iter().map(|write| write.indexed.clone()).collect(),
            _ => Vec::new(),
        };
        let is_entry = |key: &[u8]| {
            let mut tables = tables.iter().flatten();
            tables.any(|table| table.indexes.iter().any(|index| index.key_attributes(table, key).is_some()))
        };
        let named = |key: &[u8]| call.units.iter().any(|unit| **unit == *key) || is_entry(key);
        for key in before.keys().chain(view.records().keys()) {
            let changed = before.get(key) != view.records().get(key);
            assert!(!changed || named(key), "{:?} changed a key that it does not name", call.operation);
        }
        match &call.operation {
            Operation::GetItem { key, .. } => assert!(named(key)),
            Operation::ListTables { start_after, .. } => {
                let wanted = commands::dynamo::names_above(start_after);
                assert!(call.intervals.iter().any(|interval: &KeyRange| interval.covers(&wanted)));
            }
            Operation::ReadPage(page) => {
                assert!(call.intervals.iter().any(|interval: &KeyRange| interval.covers(&page.range)));
            }
            _ => {}
        }
        match outcome {
            commands::Outcome::Dynamo(outcome) => Ok(outcome),
            other => panic!("{other:?}"),
        }
    }
}

/// A listener on a port of its own.
struct Server {
    address: std::net::SocketAddr,
    store: FakeStore,
    shutdown: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start() -> Self {
        Self::with_limits(Limits::default()).await
    }

    async fn with_limits(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let store = FakeStore::default();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, store.clone(), limits, shutdown.clone()));
        Self { address, store, shutdown, serving }
    }

    async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), buffer: Vec::new() }
    }

    /// Sends one request on a connection of its own.
    async fn call(&self, operation: &str, body: &str) -> Reply {
        let mut client = self.connect().await;
        client.send(operation, body).await;
        client.receive().await.expect("a reply")
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.serving).await.unwrap().unwrap().unwrap();
    }
}

/// A connection that speaks HTTP/1.1 as plainly as possible.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: String,
    body: String,
}

impl Client {
    async fn send(&mut self, operation: &str, body: &str) {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: test\r\nx-amz-target: DynamoDB_20120810.{operation}\r\n\
             content-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.write(head.as_bytes()).await.unwrap();
        self.write(body.as_bytes()).await.unwrap();
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next reply; `None` when the connection ends instead.
    async fn receive(&mut self) -> Option<Reply> {
        tokio::time::timeout(PATIENCE, self.read_reply()).await.expect("an answer in time")
    }

    async fn read_reply(&mut self) -> Option<Reply> {
        let head_end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more().await?;
        };
        let headers = String::from_utf8(self.buffer.drain(..head_end).collect()).unwrap().to_ascii_lowercase();
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        let length = header(&headers, "content-length").unwrap_or("0").parse().unwrap();
        while self.buffer.len() < length {
            self.read_more().await?;
        }
        let body = String::from_utf8(self.buffer.drain(..length).collect()).unwrap();
        Some(Reply { status, headers, body })
    }

    async fn read_more(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}

/// The value of a header in a lower-case head.
fn header<'a>(headers: &'a str, name: &str) -> Option<&'a str> {
    headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// A table with a partition key `p` of text, ready for items.
const ORDERS: &str = r#"{"TableName":"orders","BillingMode":"PAY_PER_REQUEST",
    "KeySchema":[{"AttributeName":"p","KeyType":"HASH"}],
    "AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"}]}"#;
