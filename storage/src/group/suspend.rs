//! Whether this machine was suspended lately.
//!
//! openraft counts its leader lease by a clock that stands still during suspension, so a machine that wakes up would
//! believe in a lease that ended long ago. Two clocks tell: one counts suspended time and the other does not.

use std::time::Duration;

use parking_lot::Mutex;

/// Clocks are read one after the other; a smaller gap is that, not a suspension.
const NOISE: Duration = Duration::from_millis(20);

/// Remembers how far the two clocks were apart, and when that last changed.
#[derive(Debug, Default)]
pub struct SuspendGuard {
    last: Mutex<Option<Seen>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Time spent suspended since boot.
    suspended: Duration,
    /// Time since boot, suspended time included, when a suspension was last noticed.
    noticed_at: Option<Duration>,
}

impl SuspendGuard {
    /// Whether a suspension was noticed within the last `window` of time awake.
    pub fn suspended_within(&self, window: Duration) -> bool {
        self.notice(since_boot(), awake_since_boot(), window)
    }

    fn notice(&self, since_boot: Duration, awake: Duration, window: Duration) -> bool {
        let suspended = since_boot.saturating_sub(awake);
        let mut last = self.last.lock();
        let seen = last.get_or_insert(Seen { suspended, noticed_at: None });
        if suspended > seen.suspended + NOISE {
            *seen = Seen { suspended, noticed_at: Some(since_boot) };
        }
        seen.noticed_at.is_some_and(|at| since_boot.saturating_sub(at) <= window)
    }
}

fn since_boot() -> Duration {
    clock(rustix::time::ClockId::Boottime)
}

fn awake_since_boot() -> Duration {
    clock(rustix::time::ClockId::Monotonic)
}

fn clock(id: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(id);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspension_is_noticed_for_one_window() {
        let guard = SuspendGuard::default();
        let (s, window) = (Duration::from_secs, Duration::from_secs(1));
        assert!(!guard.notice(s(100), s(90), window), "suspended before the process began");
        assert!(!guard.notice(s(101), s(91), window));
        assert!(guard.notice(s(160), s(92), window), "58 s passed that the lease did not see");
        assert!(guard.notice(s(161), s(93), window));
        assert!(!guard.notice(s(163), s(95), window));
    }
}
