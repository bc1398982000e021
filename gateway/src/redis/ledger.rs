//! What is kept of commands until they are answered: which they are, for the statistics and the log of slow commands, and
//! whether their client wants to hear the answer (CLIENT REPLY).

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use commands::redis::table::Flag;
use commands::redis::{RedisError, Spec, Value};

use super::clients::Client;
use super::statistics::Fate;
use super::{Shared, monitor, slowlog};

/// What CLIENT REPLY has said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Replies {
    #[default]
    On,
    Off,
    /// The next command is not answered.
    SkipNext,
}

impl Replies {
    /// A command comes: whether it goes unanswered.
    pub(super) fn next(&mut self) -> bool {
        let silent = *self != Replies::On;
        if *self == Replies::SkipNext {
            *self = Replies::On;
        }
        silent
    }
}

/// How a command line was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It runs.
    Run,
    /// It is no command that could run: unknown, wrong number of arguments, not permitted.
    Refused,
    /// It waits for EXEC, which counts it.
    Queued,
}

/// One command line.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Full name; empty if there is no such command.
    pub(super) name: &'static str,
    pub(super) taken: Taken,
    is_fast: bool,
    in_slowlog: bool,
    pub(super) silent: bool,
    /// The first arguments, in the ledger.
    args: Range<usize>,
    /// How many there are.
    count: usize,
    /// How long it took, if it was answered at once.
    pub(super) took: Option<Duration>,
}

/// Command lines in order, of one burst.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
    args: Vec<Bytes>,
}

/// A command line that stands alone.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) entry: Entry,
    args: Vec<Bytes>,
    pub(super) since: Instant,
}

impl Ledger {
    /// Notes a command line before anything is known of it: until then it is refused.
    pub(super) fn begin(&mut self, args: &[Bytes], silent: bool, keep_args: bool) {
        let from = self.args.len();
        if keep_args {
            self.args.extend(args.iter().take(slowlog::MAX_ARGUMENTS).cloned());
        }
        self.entries.push(Entry {
            name: "",
            taken: Taken::Refused,
            is_fast: false,
            in_slowlog: false,
            silent,
            args: from..self.args.len(),
            count: args.len(),
            took: None,
        });
    }

    /// It is this command.
    pub(super) fn name(&mut self, spec: &Spec, taken: Taken) {
        if let Some(entry) = self.entries.last_mut() {
            entry.name = spec.name;
            entry.taken = taken;
            entry.is_fast = spec.has(Flag::Fast);
            entry.in_slowlog = !spec.has(Flag::SkipSlowlog);
            if monitor::has_secrets(spec) {
                let shown: Vec<Bytes> = monitor::shown(spec, &self.args[entry.args.clone()]);
                self.args.splice(entry.args.clone(), shown);
            }
        }
    }

    /// It is not one.
    pub(super) fn refuse(&mut self, error: &RedisError) {
        if let (Some(entry), RedisError::WrongArity { command }) = (self.entries.last_mut(), error) {
            entry.name = command;
        }
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Entry> {
        self.entries.last_mut()
    }

    /// The last command line was taken and `answers` replies are there: the line keeps one, or comes out as it stands.
    pub(super) fn settle(&mut self, answers: usize) -> Option<Standing> {
        if self.entries.len() > answers {
            let entry = self.entries.pop()?;
            let args = self.args.split_off(entry.args.start);
            return Some(Standing { entry, args, since: Instant::now() });
        }
        while self.entries.len() < answers {
            // A command with several replies is counted with the first.
            let silent = self.entries.last().is_some_and(|entry| entry.silent);
            self.begin(&[], silent, false);
            if let Some(entry) = self.entries.last_mut() {
                entry.taken = Taken::Queued;
            }
        }
        None
    }

    /// Counts the reply of a command line; whether it goes unanswered.
    pub(super) fn answered(&self, at: usize, value: &Value, took: Duration, client: &Client, shared: &Shared) -> bool {
        let Some(entry) = self.entries.get(at) else { return false };
        let args = self.args.get(entry.args.clone()).unwrap_or_default();
        entry.count(|| args.to_vec(), value, entry.took.unwrap_or(took), client, shared);
        entry.silent
    }
}

impl Standing {
    /// Counts the reply; whether it goes unanswered.
    pub(super) fn answered(&self, value: &Value, client: &Client, shared: &Shared) -> bool {
        self.entry.count(|| self.args.clone(), value, self.since.elapsed(), client, shared);
        self.entry.silent
    }
}

impl Entry {
    /// `args` are asked for if it was slow; none are kept when nothing is.
    fn count(
        &self,
        args: impl FnOnce() -> Vec<Bytes>,
        value: &Value,
        took: Duration,
        client: &Client,
        shared: &Shared,
    ) {
        let error = match value {
            Value::Error(line) => Some(line),
            _ => None,
        };
        if let Some(line) = error {
            shared.statistics.count_error(line);
        }
        let fate = match (self.taken, error) {
            (Taken::Queued, None) => return,
            (Taken::Run, None) => Fate::Ran,
            (Taken::Run, Some(_)) => Fate::Failed,
            (Taken::Refused | Taken::Queued, _) => Fate::Rejected,
        };
        let effects = shared.parameters.effects();
        shared.statistics.count(self.name, fate, took, effects.tracks_latency.load(Ordering::Relaxed));
        if fate == Fate::Rejected {
            return;
        }
        let latency_ms = effects.latency_ms.load(Ordering::Relaxed);
        if latency_ms > 0 && took.as_millis() >= latency_ms.unsigned_abs().into() {
            shared.latencies.add(self.is_fast, took);
        }
        let slow_us = effects.slow_us.load(Ordering::Relaxed);
        if slow_us >= 0 && took.as_micros() >= slow_us.unsigned_abs().into() && self.in_slowlog {
            let name = client.names.lock().name.clone();
            let most = effects.slowlog_entries.load(Ordering::Relaxed);
            shared.slowlog.add(&args(), self.count, took, client.address.to_string(), name, most);
        }
    }
}

/// Counts a command that ran inside another: of a transaction or a script. `args` is its whole line.
pub(super) fn count_inner(
    spec: &Spec,
    args: &[Bytes],
    value: &Value,
    took: Duration,
    client: &Client,
    shared: &Shared,
) {
    let entry = Entry {
        name: spec.name,
        taken: Taken::Run,
        is_fast: spec.has(Flag::Fast),
        in_slowlog: !spec.has(Flag::SkipSlowlog),
        silent: false,
        args: 0..0,
        count: args.len(),
        took: None,
    };
    let shown = || monitor::shown(spec, &args[..args.len().min(slowlog::MAX_ARGUMENTS)]);
    entry.count(shown, value, took, client, shared);
}
