//! Free ports for servers that are stopped and started again.
//!
//! A port that the system hands out for "0" comes from the range that it also uses for outgoing connections: while its
//! server is down, any client may get it. So ports are taken from below that range, tried one after the other.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 21_000;
/// Outgoing connections begin at 32768 on Linux.
const COUNT: u16 = 11_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// An address on the loopback interface that nobody listens on, another one at each call.
pub fn free_address() -> SocketAddr {
    // Processes begin at different places.
    let begin = u16::try_from(std::process::id() * 37 % u32::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + ((u32::from(begin) + u32::from(step)) % u32::from(COUNT)) as u16;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("all ports from {FIRST} to {} are taken", FIRST + COUNT);
}
