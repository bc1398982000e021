//! Who is connected: what CLIENT LIST shows, whom CLIENT KILL and CLIENT UNBLOCK mean, and how sessions hear that the
//! gateway leaves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use commands::redis::acl::DEFAULT_USER;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::mailbox::Mailbox;
use super::pubsub::Subscriptions;

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
    /// Bytes of their arguments.
    pub(super) queued_bytes: AtomicUsize,
    /// Watched keys.
    pub(super) watched: AtomicU32,
    /// Bytes of the request that is being answered, as it came and of its arguments alone; 0 in between.
    pub(super) request_bytes: AtomicUsize,
    pub(super) argument_bytes: AtomicUsize,
    /// File descriptor; -1: none.
    pub(super) descriptor: AtomicI32,
    /// MONITOR was said.
    pub(super) is_monitor: AtomicBool,
    /// CLIENT NO-EVICT ON was said.
    pub(super) is_exempt: AtomicBool,
    /// It waits for the end of CLIENT PAUSE.
    is_paused: AtomicBool,
    pub(super) names: Mutex<Names>,
    /// What it is sent without having asked.
    pub(super) mailbox: Mailbox,
    /// Channels that it listens to.
    pub(super) subscriptions: Mutex<Subscriptions>,
    blocked: Mutex<Blocked>,
    unblocked: Notify,
    leaving: AtomicBool,
    kicked: Notify,
}

/// Whether a client waits for data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Blocked {
    #[default]
    No,
    Waits,
    Freed(Unblocked),
}

/// How a client that waits for data is freed before there is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unblocked {
    /// As if its time were over.
    Timeout,
    /// With an error.
    Error,
}

/// What a client has said about itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Of whom it is the connection, with the id of that user; `None`: of the default user.
    pub(super) user: Option<(Bytes, u64)>,
    /// CLIENT SETNAME.
    pub(super) name: String,
    /// CLIENT SETINFO LIB-NAME.
    pub(super) library: String,
    /// CLIENT SETINFO LIB-VER.
    pub(super) library_version: String,
    /// Full name of the last command.
    pub(super) last_command: &'static str,
}

/// Kinds of clients in CLIENT LIST and CLIENT KILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    PubSub,
    /// Master or replica: a connection that is never made to a gateway.
    Replication,
}

impl Kind {
    pub(super) fn parse(word: &[u8]) -> Option<Self> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Some(Kind::Normal),
            b"pubsub" => Some(Kind::PubSub),
            b"master" | b"replica" | b"slave" => Some(Kind::Replication),
            _ => None,
        }
    }
}

impl Client {
    /// Whether its user has this name.
    pub(super) fn is_of(&self, user: &[u8]) -> bool {
        self.names.lock().user.as_ref().map_or(DEFAULT_USER.as_bytes(), |(name, _)| name) == user
    }

    pub(super) fn kind(&self) -> Kind {
        if self.subscriptions.lock().any() { Kind::PubSub } else { Kind::Normal }
    }

    /// It waits for the end of CLIENT PAUSE until the guard is dropped.
    pub(super) fn pause(self: &Arc<Self>) -> PausedGuard {
        self.is_paused.store(true, Ordering::Relaxed);
        PausedGuard { client: self.clone() }
    }

    /// Whether it waits, for whatever it is.
    fn waits(&self) -> bool {
        self.is_paused.load(Ordering::Relaxed) || self.is_blocked()
    }

    /// A burst of requests has arrived, ending with this command.
    pub(super) fn note_request(&self, last_command: &'static str, now: Instant) {
        let since = now.saturating_duration_since(self.connected).as_millis() as u64;
        self.last_request_ms.store(since, Ordering::Relaxed);
        self.names.lock().last_command = last_command;
    }

    /// The client waits for data until the guard is dropped.
    pub(super) fn block(self: &Arc<Self>) -> BlockedGuard {
        *self.blocked.lock() = Blocked::Waits;
        BlockedGuard { client: self.clone() }
    }

    /// Whether it waits for data.
    pub(super) fn is_blocked(&self) -> bool {
        *self.blocked.lock() == Blocked::Waits
    }

    /// Frees the client if it waits for data; whether it did.
    pub(super) fn unblock(&self, how: Unblocked) -> bool {
        let mut blocked = self.blocked.lock();
        let waits = *blocked == Blocked::Waits;
        if waits {
            *blocked = Blocked::Freed(how);
            self.unblocked.notify_one();
        }
        waits
    }

    /// Returns when somebody frees the client.
    pub(super) async fn unblocked(&self) -> Unblocked {
        loop {
            if let Blocked::Freed(how) = *self.blocked.lock() {
                return how;
            }
            self.unblocked.notified().await;
        }
    }

    /// Returns when the gateway wants the connection closed.
    pub(super) async fn told_to_leave(&self) {
        loop {
            let kicked = self.kicked.notified();
            tokio::pin!(kicked);
            // From here on no kick is missed.
            kicked.as_mut().enable();
            if self.leaving.load(Ordering::Acquire) {
                return;
            }
            kicked.await;
        }
    }

    fn tell_to_leave(&self) {
        self.leaving.store(true, Ordering::Release);
        self.kicked.notify_waiters();
    }

    /// The letters of CLIENT LIST.
    fn flags(&self) -> String {
        let flags = [
            ('O', self.is_monitor.load(Ordering::Relaxed)),
            ('P', self.kind() == Kind::PubSub),
            ('b', self.waits()),
            ('x', self.queued.load(Ordering::Relaxed) >= 0),
            ('c', self.leaving.load(Ordering::Relaxed)),
            ('e', self.is_exempt.load(Ordering::Relaxed)),
        ];
        let flags: String = flags.into_iter().filter(|(_, set)| *set).map(|(letter, _)| letter).collect();
        if flags.is_empty() { "N".to_owned() } else { flags }
    }

    /// One line of CLIENT LIST. Sizes of buffers that a connection here does not have are 0.
    pub(super) fn describe(&self, now: Instant) -> String {
        let age = now.saturating_duration_since(self.connected);
        let idle = age.saturating_sub(Duration::from_millis(self.last_request_ms.load(Ordering::Relaxed)));
        let Names { user, name, library, library_version, last_command } = self.names.lock().clone();
        let user = user.map_or_else(|| DEFAULT_USER.into(), |(name, _)| String::from_utf8_lossy(&name).into_owned());
        let (sub, psub, ssub) = self.subscriptions.lock().counts();
        let (deliveries, delivery_bytes) = self.mailbox.waiting();
        let [request, arguments, queued] =
            [&self.request_bytes, &self.argument_bytes, &self.queued_bytes].map(|bytes| bytes.load(Ordering::Relaxed));
        format!(
            "id={} addr={} laddr={} fd={} name={name} age={} idle={} flags={} db={} sub={sub} psub={psub} ssub={ssub} multi={} \
             qbuf={request} qbuf-free=0 argv-mem={arguments} multi-mem={queued} rbs=0 rbp=0 obl=0 oll={deliveries} \
             omem={delivery_bytes} tot-mem={} events=r cmd={} user={user} redir=-1 resp={} watch={} \
             lib-name={library} lib-ver={library_version}\n",
            self.id,
            self.address,
            self.local_address,
            self.descriptor.load(Ordering::Relaxed),
            age.as_secs(),
            idle.as_secs(),
            self.flags(),
            self.database.load(Ordering::Relaxed),
            self.queued.load(Ordering::Relaxed),
            request + arguments + queued + delivery_bytes,
            if last_command.is_empty() { "NULL" } else { last_command },
            self.protocol.load(Ordering::Relaxed),
            self.watched.load(Ordering::Relaxed),
        )
    }
}

/// See [`Client::block`].
#[derive(Debug)]
pub(super) struct BlockedGuard {
    client: Arc<Client>,
}

impl Drop for BlockedGuard {
    fn drop(&mut self) {
        *self.client.blocked.lock() = Blocked::No;
    }
}

/// A client waits for the end of CLIENT PAUSE.
#[derive(Debug)]
pub(super) struct PausedGuard {
    client: Arc<Client>,
}

impl Drop for PausedGuard {
    fn drop(&mut self) {
        self.client.is_paused.store(false, Ordering::Relaxed);
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
            queued_bytes: AtomicUsize::new(0),
            watched: AtomicU32::new(0),
            request_bytes: AtomicUsize::new(0),
            argument_bytes: AtomicUsize::new(0),
            descriptor: AtomicI32::new(-1),
            is_monitor: AtomicBool::new(false),
            is_exempt: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
            names: Mutex::new(Names::default()),
            mailbox: Mailbox::default(),
            subscriptions: Mutex::default(),
            blocked: Mutex::default(),
            unblocked: Notify::new(),
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

    /// Those that wait: in a blocking command or for the end of CLIENT PAUSE.
    pub(super) fn count_waiting(&self) -> usize {
        self.table.lock().by_id.values().filter(|client| client.waits()).count()
    }

    pub(super) fn find(&self, id: u64) -> Option<Arc<Client>> {
        self.table.lock().by_id.get(&id).cloned()
    }

    /// All of them, in the order in which they came.
    pub(super) fn all(&self) -> Vec<Arc<Client>> {
        self.table.lock().by_id.values().cloned().collect()
    }

    /// CLIENT LIST of these.
    pub(super) fn list<'a>(clients: impl IntoIterator<Item = &'a Arc<Client>>) -> String {
        let now = Instant::now();
        clients.into_iter().map(|client| client.describe(now)).collect()
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
        assert!(Clients::list(&clients.all()).contains(" name=worker "));
        assert_eq!(Clients::list(clients.find(second.id).iter()).lines().count(), 1);
        assert!(clients.find(99).is_none());
        clients.remove(first.id);
        assert_eq!((clients.count(), Clients::list(&clients.all()).lines().count()), (1, 1));
    }

    #[test]
    fn only_a_client_that_waits_for_data_is_unblocked() {
        let clients = Clients::default();
        let address: SocketAddr = "127.0.0.1:7".parse().unwrap();
        let client = clients.add(address, address, 2).unwrap();
        assert!(!client.unblock(Unblocked::Timeout));
        let paused = client.pause();
        assert!(!client.unblock(Unblocked::Timeout) && clients.count_waiting() == 1);
        drop(paused);
        let blocked = client.block();
        assert!(client.describe(Instant::now()).contains(" flags=b "));
        assert!(client.unblock(Unblocked::Error) && !client.unblock(Unblocked::Timeout));
        drop(blocked);
        assert_eq!(clients.count_waiting(), 0);
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
