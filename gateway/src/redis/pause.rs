//! CLIENT PAUSE: until when commands of clients wait, and which.
//!
//! Who waits is woken by CLIENT UNPAUSE or by the clock, and looks again. A pause holds for this gateway only.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Which commands wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Held {
    /// Those that may write, or be seen by other clients.
    Writes,
    All,
}

/// The pause of a gateway, if there is one.
#[derive(Debug, Default)]
pub(super) struct Pause {
    until: Mutex<Option<(Held, Instant)>>,
    /// Whether there may be one: looked at with every command.
    on: AtomicBool,
    changed: Notify,
}

impl Pause {
    /// CLIENT PAUSE. A pause of all that is under way stays one of all, and the later end counts, as in Redis.
    pub(super) fn begin(&self, held: Held, duration: Duration) {
        let mut until = self.until.lock();
        let now = Instant::now();
        let end = now + duration;
        *until = Some(match until.filter(|(_, end)| *end > now) {
            None => (held, end),
            Some((before, earlier)) => (before.max(held), earlier.max(end)),
        });
        self.on.store(true, Ordering::Release);
        drop(until);
        self.changed.notify_waiters();
    }

    /// CLIENT UNPAUSE
    pub(super) fn end(&self) {
        let mut until = self.until.lock();
        *until = None;
        self.on.store(false, Ordering::Release);
        drop(until);
        self.changed.notify_waiters();
    }

    /// Whether it may be that something has to wait.
    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// Whether a command has to wait now.
    pub(super) fn holds(&self, writes: bool) -> bool {
        self.end_for(writes).is_some()
    }

    /// Returns when such a command need not wait any more.
    pub(super) async fn over(&self, writes: bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let Some(end) = self.end_for(writes) else { return };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(end.into()) => {}
            }
        }
    }

    fn end_for(&self, writes: bool) -> Option<Instant> {
        let mut until = self.until.lock();
        let (held, end) = (*until)?;
        if end <= Instant::now() {
            *until = None;
            self.on.store(false, Ordering::Release);
            return None;
        }
        (writes || held == Held::All).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pause_ends_by_itself_and_by_command() {
        let pause = Pause::default();
        assert!(!pause.holds(true));
        pause.begin(Held::Writes, Duration::from_secs(600));
        assert!(pause.holds(true) && !pause.holds(false));
        pause.over(false).await;
        // A shorter one does not shorten it, a stronger one holds more.
        pause.begin(Held::All, Duration::from_millis(1));
        assert!(pause.holds(false));
        let (_, ()) = tokio::join!(pause.over(true), async { pause.end() });
        pause.begin(Held::All, Duration::from_millis(5));
        pause.over(false).await;
        assert!(!pause.holds(true));
    }
}
