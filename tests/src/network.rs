//! The network between the processes of a cluster, with faults on demand.
//!
//! Every process is told the address of a proxy instead of that of another process: gateways and nodes find the placement
//! there, and a node advertises its proxy's address, so that gateways, other nodes and the placement find it there. One
//! proxy stands before each process that is connected to. Who has connected is looked up in `/proc`, by the process that
//! holds the other end of the socket; so each pair of processes is a link of its own, in each direction, although all
//! come to the same port.
//!
//! What happens to the bytes from one process to another is a [`Condition`], set with [`Network::set`] and effective at
//! once, also for what is under way on open connections:
//!
//! * *held*: they arrive when the condition is over, as TCP sends again what a cut cable swallowed. Messages that are late
//!   by seconds are what a protocol fears most.
//! * *swallowed*: they never arrive, and neither side is told: half-open. As a hole in a stream is nothing that TCP would
//!   deliver, the connection is reset when the condition is over.
//! * *slow*: every portion is late by so much.
//!
//! A partition both ways is two conditions, one for each direction. The end of a connection is under the same condition as
//! its bytes, and so is its beginning. [`Network::reset`] breaks what is open.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::cluster::ports;

const PORTION: usize = 64 << 10;

/// A process of the cluster; nodes and gateways by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// The placement.
    Placement,
    /// A storage node.
    Node(usize),
    /// A gateway.
    Gateway(usize),
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Member::Placement => write!(f, "placement"),
            Member::Node(index) => write!(f, "node-{}", index + 1),
            Member::Gateway(index) => write!(f, "gateway-{}", index + 1),
        }
    }
}

/// What happens to bytes from one process to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// They arrive.
    Clear,
    /// They arrive this much later.
    Slow(Duration),
    /// They arrive when this is over.
    Held,
    /// They do not arrive.
    Swallowed,
}

/// One direction between two processes.
#[derive(Clone, Copy, Debug)]
struct Way {
    condition: Condition,
    /// How often the connections that were open have been broken.
    resets: u64,
}

/// The proxies of one cluster. They end when this is dropped.
#[derive(Debug)]
pub struct Network {
    shared: Arc<Shared>,
    runtime: Runtime,
}

#[derive(Debug, Default)]
struct Shared {
    /// From whom to whom.
    ways: Mutex<HashMap<(Member, Member), watch::Sender<Way>>>,
    /// Process ids; 0 while a process does not run.
    processes: Mutex<Vec<(Member, Arc<AtomicU32>)>>,
}

impl Network {
    /// Without any process yet.
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("network")
            .enable_all()
            .build()
            .expect("a runtime can be built");
        Self { shared: Arc::default(), runtime }
    }

    /// Lets a process, whose id `process` always tells, connect to the others.
    pub(crate) fn admit(&self, member: Member, process: Arc<AtomicU32>) {
        lock(&self.shared.processes).push((member, process));
    }

    /// Begins a proxy before `member`, which listens at `target`, and gives the address that the others use.
    pub(crate) fn front(&self, member: Member, target: SocketAddr) -> SocketAddr {
        let address = ports::free_address();
        let listener =
            self.runtime.block_on(TcpListener::bind(address)).expect("an address that was free a moment ago is free");
        let shared = self.shared.clone();
        self.runtime.spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(relay(shared.clone(), stream, member, target))),
                    Err(error) => eprintln!("the proxy before {member} cannot accept: {error}"),
                }
            }
        });
        address
    }

    /// Puts bytes from one process to another under a condition.
    pub fn set(&self, from: Member, to: Member, condition: Condition) {
        self.shared.way(from, to).send_modify(|way| way.condition = condition);
    }

    /// Breaks the connections that one process has opened to another: both ends see a reset.
    pub fn reset(&self, from: Member, to: Member) {
        self.shared.way(from, to).send_modify(|way| way.resets += 1);
    }

    /// Ends every condition.
    pub fn heal(&self) {
        for way in lock(&self.shared.ways).values() {
            way.send_modify(|way| way.condition = Condition::Clear);
        }
    }
}

impl Shared {
    fn way(&self, from: Member, to: Member) -> watch::Sender<Way> {
        let clear = || watch::Sender::new(Way { condition: Condition::Clear, resets: 0 });
        lock(&self.ways).entry((from, to)).or_insert_with(clear).clone()
    }

    /// The process that holds the other end of a connection to this machine; none if it is gone by now.
    fn owner(&self, stream: &TcpStream) -> io::Result<Option<Member>> {
        let Some(inode) = inode(stream.peer_addr()?, stream.local_addr()?)? else { return Ok(None) };
        let socket = format!("socket:[{inode}]");
        for (member, process) in &*lock(&self.processes) {
            let id = process.load(Ordering::SeqCst);
            let Ok(files) = fs::read_dir(format!("/proc/{id}/fd")) else { continue };
            let mut links = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
            if id != 0 && links.any(|link| link.as_os_str() == socket.as_str()) {
                return Ok(Some(*member));
            }
        }
        Ok(None)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of the socket from `local` to `remote`, as the system lists it.
fn inode(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<String>> {
    let (local, remote) = (listed(local)?, listed(remote)?);
    let table = fs::read_to_string("/proc/net/tcp")?;
    let found = table
        .lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        .find(|fields| fields.len() > 9 && fields[1] == local && fields[2] == remote);
    Ok(found.map(|fields| fields[9].to_owned()).filter(|inode| inode != "0"))
}

/// An address as `/proc/net/tcp` writes it: the bytes as a number of this machine, in hexadecimal.
fn listed(address: SocketAddr) -> io::Result<String> {
    match address {
        SocketAddr::V4(address) => {
            Ok(format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port()))
        }
        SocketAddr::V6(_) => Err(io::Error::new(ErrorKind::Unsupported, "the network is one of IPv4")),
    }
}

/// Carries one connection until it ends, or breaks it.
async fn relay(shared: Arc<Shared>, mut source: TcpStream, to: Member, target: SocketAddr) {
    let from = match shared.owner(&source) {
        Ok(Some(member)) => member,
        // Whoever it was is gone, or is none of us.
        Ok(None) => return,
        Err(error) => return eprintln!("the proxy before {to} cannot tell who connects: {error}"),
    };
    let (mut there, mut back) = (shared.way(from, to).subscribe(), shared.way(to, from).subscribe());
    // A connection begins with a message there and one back.
    passes(&mut there).await;
    passes(&mut back).await;
    let resets = there.borrow().resets;
    let Ok(mut destination) = TcpStream::connect(target).await else { return abort(source) };
    let mut cut = there.clone();
    let nodelay = source.set_nodelay(true).and_then(|()| destination.set_nodelay(true));
    let whole = {
        let (mut source_read, mut source_write) = source.split();
        let (mut target_read, mut target_write) = destination.split();
        let (mut there_too, mut back_too) = (there.clone(), back.clone());
        let outward = carry(&mut source_read, &mut target_write, &mut there, &mut back);
        let homeward = carry(&mut target_read, &mut source_write, &mut back_too, &mut there_too);
        tokio::select! {
            ended = async { tokio::try_join!(outward, homeward) } => ended.is_ok(),
            _ = cut.wait_for(|way| way.resets > resets) => false,
        }
    };
    if !whole || nodelay.is_err() {
        abort(source);
        abort(destination);
    }
}

/// Ends a connection so that the other side sees an error and not an end.
fn abort(stream: TcpStream) {
    // It may be broken already, which is just as good.
    drop(stream.set_zero_linger());
}

/// Waits until messages pass this way.
async fn passes(way: &mut watch::Receiver<Way>) {
    // The sender is never dropped while somebody relays.
    drop(way.wait_for(|way| matches!(way.condition, Condition::Clear | Condition::Slow(_))).await);
}

/// Carries bytes one way. An error means that the connection must be broken; its reason does not matter.
async fn carry(
    source: &mut ReadHalf<'_>,
    target: &mut WriteHalf<'_>,
    way: &mut watch::Receiver<Way>,
    back: &mut watch::Receiver<Way>,
) -> io::Result<()> {
    let mut buffer = vec![0; PORTION];
    let mut has_hole = false;
    loop {
        let read = if has_hole {
            tokio::select! {
                read = source.read(&mut buffer) => read,
                // It is over, and the stream cannot go on.
                () = passes(way) => return Err(ErrorKind::ConnectionReset.into()),
            }
        } else {
            source.read(&mut buffer).await
        };
        loop {
            let condition = way.borrow_and_update().condition;
            match condition {
                Condition::Clear | Condition::Slow(_) if has_hole => return Err(ErrorKind::ConnectionReset.into()),
                Condition::Clear => break,
                Condition::Slow(delay) => {
                    tokio::time::sleep(delay).await;
                    break;
                }
                Condition::Swallowed if read.as_ref().is_ok_and(|count| *count > 0) => {
                    has_hole = true;
                    break;
                }
                // An end or an error cannot be carried over a hole: it waits.
                Condition::Held | Condition::Swallowed => {
                    if way.changed().await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        if has_hole {
            continue;
        }
        let count = read?;
        let written = if count == 0 { target.shutdown().await } else { target.write_all(&buffer[..count]).await };
        if let Err(error) = written {
            // The word of the failure comes from the other side.
            passes(back).await;
            return Err(error);
        }
        if count == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    const A: Member = Member::Gateway(0);
    const B: Member = Member::Node(0);
    const SHORT: Duration = Duration::from_millis(150);

    /// This process as A, connected to itself as B.
    fn connected() -> (Network, TcpStream, TcpStream) {
        let network = Network::new();
        network.admit(A, Arc::new(AtomicU32::new(std::process::id())));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = network.front(B, listener.local_addr().unwrap());
        let a = TcpStream::connect(address).unwrap();
        let (b, _) = listener.accept().unwrap();
        for stream in [&a, &b] {
            stream.set_read_timeout(Some(SHORT)).unwrap();
        }
        (network, a, b)
    }

    fn arrives(from: &mut TcpStream, to: &mut TcpStream) -> bool {
        from.write_all(b"x").unwrap();
        to.read(&mut [0; 8]).is_ok_and(|count| count == 1)
    }

    #[test]
    fn bytes_and_ends_arrive() {
        let (_network, mut a, mut b) = connected();
        assert!(arrives(&mut a, &mut b) && arrives(&mut b, &mut a));
        drop(a);
        assert_eq!(b.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn held_bytes_arrive_when_it_is_over_and_the_other_way_is_free() {
        let (network, mut a, mut b) = connected();
        network.set(A, B, Condition::Held);
        assert!(!arrives(&mut a, &mut b) && arrives(&mut b, &mut a));
        network.heal();
        assert_eq!(b.read(&mut [0; 8]).unwrap(), 1);
        assert!(arrives(&mut a, &mut b));
    }

    #[test]
    fn swallowed_bytes_break_the_connection_when_it_is_over() {
        let (network, mut a, mut b) = connected();
        network.set(A, B, Condition::Swallowed);
        assert!(!arrives(&mut a, &mut b) && arrives(&mut b, &mut a));
        network.heal();
        assert_eq!(b.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_dead_process_is_not_heard_of_while_its_words_are_held() {
        let (network, mut a, mut b) = connected();
        network.set(B, A, Condition::Held);
        drop(b.write_all(b"x"));
        drop(b);
        assert_eq!(a.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        network.heal();
        assert_eq!(a.read(&mut [0; 8]).unwrap(), 1);
        assert_eq!(a.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn a_reset_is_seen_at_both_ends_and_a_new_connection_works() {
        let (network, mut a, mut b) = connected();
        assert!(arrives(&mut a, &mut b));
        network.reset(A, B);
        for stream in [&mut a, &mut b] {
            assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    }

    #[test]
    fn slow_bytes_take_their_time() {
        let (network, mut a, mut b) = connected();
        network.set(A, B, Condition::Slow(SHORT * 2));
        assert!(!arrives(&mut a, &mut b));
        b.set_read_timeout(Some(SHORT * 20)).unwrap();
        assert_eq!(b.read(&mut [0; 8]).unwrap(), 1);
    }
}
