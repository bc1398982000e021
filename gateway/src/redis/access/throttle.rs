//! Those who guess passwords wait: longer with every wrong one, and together with all others of their address.
//!
//! Each wrong password raises the level of an address, each second lowers it by one. Behind a wrong password the next
//! attempt from that address is looked at only after a time that doubles with the level, up to [`LONGEST`]; attempts
//! queue up. Where the queue is longer than [`QUEUE`], they are refused without a look at the password. Connections that
//! do not say passwords notice nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Behind the first wrong password.
const SHORTEST: Duration = Duration::from_millis(4);
const LONGEST: Duration = Duration::from_secs(1);
/// Longest wait for a turn.
const QUEUE: Duration = Duration::from_secs(5);
/// Addresses that are remembered; beyond it, those whose level is gone are forgotten, then all.
const MAX_ADDRESSES: usize = 10_000;

#[derive(Debug, Default)]
pub(in crate::redis) struct Throttle {
    addresses: Mutex<HashMap<IpAddr, Guesser>>,
}

#[derive(Clone, Copy, Debug)]
struct Guesser {
    level: u32,
    /// When the level was last counted.
    since: Instant,
    /// When the next attempt is looked at.
    next: Instant,
}

impl Guesser {
    fn settle(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        self.level = self.level.saturating_sub(u32::try_from(seconds).unwrap_or(u32::MAX));
        self.since += Duration::from_secs(seconds);
    }

    fn pause(&self) -> Duration {
        match self.level {
            0 => Duration::ZERO,
            level => (SHORTEST * (1 << (level - 1).min(10))).min(LONGEST),
        }
    }
}

impl Throttle {
    /// How long an attempt waits before it is looked at; `None`: it is not.
    pub(in crate::redis) fn turn(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let mut addresses = self.addresses.lock();
        let Some(guesser) = addresses.get_mut(&address) else { return Some(Duration::ZERO) };
        guesser.settle(now);
        let wait = guesser.next.saturating_duration_since(now);
        if wait > QUEUE {
            return None;
        }
        guesser.next = guesser.next.max(now) + guesser.pause();
        Some(wait)
    }

    /// A password was wrong.
    pub(super) fn failed(&self, address: IpAddr, now: Instant) {
        let mut addresses = self.addresses.lock();
        if addresses.len() >= MAX_ADDRESSES {
            addresses.retain(|_, guesser| {
                guesser.settle(now);
                guesser.level > 0
            });
            if addresses.len() >= MAX_ADDRESSES {
                addresses.clear();
            }
        }
        let guesser = addresses.entry(address).or_insert(Guesser { level: 0, since: now, next: now });
        guesser.settle(now);
        guesser.level = guesser.level.saturating_add(1).min(20);
        guesser.next = guesser.next.max(now + guesser.pause());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn wrong_passwords_cost_more_and_more_up_to_a_bound() {
        let throttle = Throttle::default();
        let (guesser, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..12 {
            let wait = throttle.turn(guesser, now).unwrap();
            now += wait;
            throttle.failed(guesser, now);
            waits.push(wait);
            assert_eq!(throttle.turn(other, now), Some(Duration::ZERO));
        }
        assert_eq!(waits[0], Duration::ZERO);
        assert!(waits.is_sorted() && waits[1] >= SHORTEST && waits.iter().all(|wait| *wait <= LONGEST), "{waits:?}");
        assert!(waits[9] >= LONGEST / 2, "{waits:?}");
        // Many at once stand in a queue, and only so many.
        let at_once = (0..100).filter(|_| throttle.turn(guesser, now).is_some()).count();
        assert!(at_once < 15, "{at_once}");
        // In time it is forgotten.
        now += Duration::from_secs(60);
        assert_eq!(throttle.turn(guesser, now), Some(Duration::ZERO));
        assert_eq!(throttle.turn(guesser, now), Some(Duration::ZERO));
    }
}
