//! Who is connected: what CLIENT LIST shows, and how sessions hear that the gateway leaves.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// One connection, as others see it. The session keeps it current.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: u64,
    pub(super) address: SocketAddr,
    pub(super) local_address: SocketAddr,
    connected: Instant,
    /// Milliseconds after `connected`.
    last_request_ms: AtomicU64,
    pub(super) database: AtomicU8,
    pub(super) protocol: AtomicU8,
    /// Commands queued behind MULTI; -1: none was said.
    pub(super) queued: AtomicI32,
    /// Watched keys.
    pub(super) watched: AtomicU32,
    pub(super) names: Mutex<Names>,
    leaving: AtomicBool,
    kicked: Notify,
}

/// What a client has said about itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// CLIENT SETNAME.
    pub(super) name: String,
    /// CLIENT SETINFO LIB-NAME.
    pub(super) library: String,
    /// CLIENT SETINFO LIB-VER.
    pub(super) library_version: String,
    /// Full name of the last command.
    pub(super) last_command: &'static str,
}

impl Client {
    /// A burst of requests has arrived, ending with this command.
    pub(super) fn note_request(&self, last_command: &'static str, now: Instant) {
        let since = now.saturating_duration_since(self.connected).as_millis() as u64;
        self.last_request_ms.store(since, Ordering::Relaxed);
        self.names.lock().last_command = last_command;
    }

    /// Returns when the gateway wants the connection closed.
    pub(super) async fn told_to_leave(&self) {
        while !self.leaving.load(Ordering::Acquire) {
            self.kicked.notified().await;
        }
    }

    fn tell_to_leave(&self) {
        self.leaving.store(true, Ordering::Release);
        // One permit is kept if the session is not waiting just now.
        self.kicked.notify_one();
    }

    /// One line of CLIENT LIST: the fields of Redis that mean something here.
    pub(super) fn describe(&self, now: Instant) -> String {
        let age = now.saturating_duration_since(self.connected);
        let idle = age.saturating_sub(Duration::from_millis(self.last_request_ms.load(Ordering::Relaxed)));
        let Names { name, library, library_version, last_command } = self.names.lock().clone();
        let queued = self.queued.load(Ordering::Relaxed);
        let flags = if queued < 0 { "N" } else { "x" };
        format!(
            "id={} addr={} laddr={} name={name} age={} idle={} flags={flags} db={} sub=0 psub=0 ssub=0 \
             multi={queued} watch={} cmd={last_command} user=default resp={} lib-name={library} lib-ver={library_version}\n",
            self.id,
            self.address,
            self.local_address,
            age.as_secs(),
            idle.as_secs(),
            self.database.load(Ordering::Relaxed),
            self.watched.load(Ordering::Relaxed),
            self.protocol.load(Ordering::Relaxed),
        )
    }
}

/// All connections of the listener.
#[derive(Debug, Default)]
pub(super) struct Clients {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last_id: u64,
    leaving: bool,
    by_id: BTreeMap<u64, Arc<Client>>,
}

impl Clients {
    /// Adds a connection unless there are `limit` already.
    pub(super) fn add(&self, address: SocketAddr, local_address: SocketAddr, limit: usize) -> Option<Arc<Client>> {
        let mut table = self.table.lock();
        if table.by_id.len() >= limit {
            return None;
        }
        table.last_id += 1;
        let client = Arc::new(Client {
            id: table.last_id,
            address,
            local_address,
            connected: Instant::now(),
            last_request_ms: AtomicU64::new(0),
            database: AtomicU8::new(0),
            protocol: AtomicU8::new(2),
            queued: AtomicI32::new(-1),
            watched: AtomicU32::new(0),
            names: Mutex::new(Names::default()),
            leaving: AtomicBool::new(table.leaving),
            kicked: Notify::new(),
        });
        table.by_id.insert(client.id, client.clone());
        Some(client)
    }

    pub(super) fn remove(&self, id: u64) {
        self.table.lock().by_id.remove(&id);
    }

    pub(super) fn count(&self) -> usize {
        self.table.lock().by_id.len()
    }

    /// CLIENT LIST; `ids`: only these.
    pub(super) fn list(&self, ids: Option<&[u64]>) -> String {
        let clients: Vec<Arc<Client>> = {
            let table = self.table.lock();
            match ids {
                None => table.by_id.values().cloned().collect(),
                Some(ids) => ids.iter().filter_map(|id| table.by_id.get(id).cloned()).collect(),
            }
        };
        let now = Instant::now();
        let mut list = String::new();
        for client in clients {
            // Writing to a string cannot fail.
            let _ = list.write_str(&client.describe(now));
        }
        list
    }

    /// Tells every session, and those that are still to come, to finish.
    pub(super) fn tell_all_to_leave(&self) {
        let mut table = self.table.lock();
        table.leaving = true;
        table.by_id.values().for_each(|client| client.tell_to_leave());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_and_listed() {
        let clients = Clients::default();
        let address: SocketAddr = "127.0.0.1:7".parse().unwrap();
        let first = clients.add(address, address, 2).unwrap();
        let second = clients.add(address, address, 2).unwrap();
        assert!(clients.add(address, address, 2).is_none());
        second.names.lock().name = "worker".into();
        assert!(clients.list(None).contains("name=worker"));
        assert_eq!(clients.list(Some(&[second.id, 99])).lines().count(), 1);
        clients.remove(first.id);
        assert_eq!((clients.count(), clients.list(None).lines().count()), (1, 1));
    }

    #[tokio::test]
    async fn sessions_hear_that_the_gateway_leaves_whenever_they_ask() {
        let clients = Clients::default();
        let address: SocketAddr = "127.0.0.1:7".parse().unwrap();
        let early = clients.add(address, address, 9).unwrap();
        clients.tell_all_to_leave();
        early.told_to_leave().await;
        clients.add(address, address, 9).unwrap().told_to_leave().await;
    }
}
