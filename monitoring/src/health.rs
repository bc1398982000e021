//! Health: whether a process lives, and whether it should get traffic.
//!
//! A [`Health`] is a board; each part of a process (a tier, a listener) writes its line through a [`Component`].
//! *Live* means that restarting the process would not help: it is lost only by [`Component::fail`]. *Ready* means that
//! every component has said so; a component begins as not ready, and dropping its last handle takes its line away, so
//! that a tier which was shut down cleanly leaves no trace.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// State of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Ready,
    NotReady(String),
    Failed(String),
}

/// The board. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Health {
    board: Arc<Mutex<Board>>,
}

#[derive(Debug, Default)]
struct Board {
    next_id: u64,
    /// In order of registration.
    lines: BTreeMap<u64, (String, State)>,
}

impl Health {
    /// An empty board: live, and not ready until something has registered and said that it is.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a component, not ready for the reason "starting".
    pub fn component(&self, name: impl Into<String>) -> Component {
        let mut board = self.lock();
        let id = board.next_id;
        board.next_id += 1;
        board.lines.insert(id, (name.into(), State::NotReady("starting".to_owned())));
        Component { line: Arc::new(Line { health: self.clone(), id }) }
    }

    /// False once a component has failed.
    pub fn is_live(&self) -> bool {
        self.lock().lines.values().all(|(_, state)| !matches!(state, State::Failed(_)))
    }

    /// True when there is a component and all of them are ready.
    pub fn is_ready(&self) -> bool {
        let board = self.lock();
        !board.lines.is_empty() && board.lines.values().all(|(_, state)| *state == State::Ready)
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        // Every critical section leaves the board valid at each step, so a panic elsewhere does not spoil it.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, id: u64, state: State) {
        if let Some(line) = self.lock().lines.get_mut(&id)
            && !matches!(line.1, State::Failed(_))
        {
            line.1 = state;
        }
    }
}

/// One line a component: `name: ready`.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for (name, state) in self.lock().lines.values() {
            match state {
                State::Ready => writeln!(text, "{name}: ready")?,
                State::NotReady(reason) => writeln!(text, "{name}: not ready: {reason}")?,
                State::Failed(reason) => writeln!(text, "{name}: failed: {reason}")?,
            }
        }
        f.write_str(&text)
    }
}

/// One component's handle to its line. Clones share the line; it goes when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Component {
    line: Arc<Line>,
}

#[derive(Debug)]
struct Line {
    health: Health,
    id: u64,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.health.lock().lines.remove(&self.id);
    }
}

impl Component {
    /// This component can take traffic.
    pub fn set_ready(&self) {
        self.line.health.set(self.line.id, State::Ready);
    }

    /// This component cannot take traffic now; the reason is shown to operators.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        self.line.health.set(self.line.id, State::NotReady(reason.into()));
    }

    /// This component cannot recover: the process should be restarted. There is no way back.
    pub fn fail(&self, reason: impl Into<String>) {
        self.line.health.set(self.line.id, State::Failed(reason.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_needs_every_component() {
        let health = Health::new();
        assert!(health.is_live() && !health.is_ready(), "nothing has registered");
        let storage = health.component("storage");
        let gateway = health.component("gateway");
        storage.set_ready();
        assert!(!health.is_ready());
        assert_eq!(health.to_string(), "storage: ready\ngateway: not ready: starting\n");
        gateway.set_ready();
        assert!(health.is_ready());
        gateway.set_not_ready("draining");
        assert!(health.is_live() && !health.is_ready());
        drop(gateway);
        assert!(health.is_ready(), "a component that has gone does not count");
    }

    #[test]
    fn a_failure_is_final() {
        let health = Health::new();
        let storage = health.component("storage");
        storage.fail("fsync failed");
        storage.set_ready();
        assert!(!health.is_live() && !health.is_ready());
        assert_eq!(health.to_string(), "storage: failed: fsync failed\n");
    }
}
