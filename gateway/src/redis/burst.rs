//! One burst of a client's pipeline: the requests that were in the buffer together, and their replies in order.
//!
//! Commands for the leaders become one bundle for the router. Within it the leaders keep the order (PROTOCOL §2): so a
//! read of a unit that the burst also writes takes its turn as an `Exec` instead of a concurrent `Read`, in both
//! directions: neither does it miss a write before it, nor does it see one behind it.
//!
//! Commands whose keys lie in several groups are not put into a burst: the session runs them alone. A range may move to
//! another group while a burst is under way, though; then a command on several keys comes back as
//! [`RouterError::CrossGroup`], not executed. Behind the burst it can still run in its turn, unless a later command of
//! the burst has a key in common with it: that one has run, and the client is told to try again.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use commands::redis::reads_beyond;
use commands::redis::script::is_script;
use commands::redis::{Invocation, RedisError, Spec, Value, units, writes};
use commands::{Command, Outcome};

use super::ledger::Ledger;
use super::refusal;
use crate::router::{Answer, Completion, Prepared, Router, RouterError};

/// A reply, or the promise of one.
#[derive(Debug)]
enum Reply {
    Ready(Value),
    /// The next answer of the bundle.
    Routed,
}

/// A command for a leader that is not handed in yet.
#[derive(Debug)]
struct Keyed {
    invocation: Invocation,
    units: Vec<Bytes>,
    /// Where its units stand in the burst's `units`.
    named: std::ops::Range<usize>,
    writes: bool,
}

/// A command on several keys, kept until it is certain that one group has them all.
#[derive(Debug)]
struct Several {
    /// Which answer of the bundle is its.
    answer: usize,
    /// As in [`Keyed`].
    named: std::ops::Range<usize>,
    spec: &'static Spec,
    invocation: Invocation,
}

/// Requests that were read and not handed in yet.
#[derive(Debug, Default)]
pub(super) struct Burst {
    replies: Vec<Reply>,
    keyed: Vec<Keyed>,
    several: Vec<Several>,
    /// Hashes of all units, in the order of the commands.
    units: Vec<u64>,
    /// Bytes of the arguments for leaders.
    bytes: usize,
    pub(super) ledger: Ledger,
}

impl Burst {
    /// A command that is answered already.
    pub(super) fn answer(&mut self, value: Value) {
        self.replies.push(Reply::Ready(value));
    }

    /// A command on named keys. It comes back if they lie in several groups, or are not all that it reads.
    pub(super) fn route(
        &mut self,
        spec: &'static Spec,
        invocation: Invocation,
        hashing: &RandomState,
        router: &Router,
    ) -> Result<(), Invocation> {
        // The texts of scripts must be found first.
        if reads_beyond(&invocation) || is_script(&invocation.args) {
            return Err(invocation);
        }
        match units(spec, &invocation) {
            Ok(units) if !units.is_empty() => {
                let first = self.units.len();
                if units.len() > 1 {
                    if router.lie_apart(&units) {
                        return Err(invocation);
                    }
                    let (answer, named) = (self.keyed.len(), first..first + units.len());
                    self.several.push(Several { answer, named, spec, invocation: invocation.clone() });
                }
                self.units.extend(units.iter().map(|unit| hashing.hash_one(&unit[..])));
                let writes = writes(&invocation);
                self.bytes += invocation.args.iter().map(Bytes::len).sum::<usize>();
                self.keyed.push(Keyed { invocation, units, named: first..self.units.len(), writes });
                self.replies.push(Reply::Routed);
            }
            // MGET and its like need at least one key, which the arity says already.
            Ok(_) => self.answer(RedisError::WrongArity { command: spec.name }.into()),
            Err(error) => self.answer(error.into()),
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.replies.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hashes of the units that it touches.
    pub(super) fn units(&self) -> &[u64] {
        &self.units
    }

    /// Hands the commands in, in order.
    pub(super) fn hand_in(self, router: &Router, connection: u64) -> SentBurst {
        let Burst { replies, keyed, several, units, bytes, ledger } = self;
        let started = Instant::now();
        if keyed.is_empty() {
            return SentBurst {
                replies,
                several,
                units,
                bytes,
                ledger,
                started,
                completion: None,
                answers: Vec::new(),
            };
        }
        let mixed = keyed.iter().any(|command| command.writes) && keyed.iter().any(|command| !command.writes);
        let mut written: Vec<u64> = Vec::new();
        if mixed {
            let writers = keyed.iter().filter(|command| command.writes);
            written = writers.flat_map(|command| &units[command.named.clone()]).copied().collect();
            written.sort_unstable();
        }
        let prepare = |command: Keyed| {
            let behind_writes =
                !command.writes && units[command.named.clone()].iter().any(|unit| written.binary_search(unit).is_ok());
            let prepared = Prepared::known(Command::Redis(command.invocation), command.units, command.writes);
            if behind_writes { prepared.in_order() } else { prepared }
        };
        let requests = keyed.into_iter().map(prepare).collect();
        let completion = Some(router.submit(connection, requests));
        SentBurst { replies, several, units, bytes, ledger, started, completion, answers: Vec::new() }
    }
}

/// A burst that was handed in.
#[derive(Debug)]
pub(super) struct SentBurst {
    replies: Vec<Reply>,
    several: Vec<Several>,
    pub(super) units: Vec<u64>,
    pub(super) bytes: usize,
    pub(super) ledger: Ledger,
    pub(super) started: Instant,
    /// `None` once all answers are there.
    completion: Option<Completion>,
    answers: Vec<Answer>,
}

impl SentBurst {
    pub(super) fn len(&self) -> usize {
        self.replies.len()
    }

    /// Ready when every reply is.
    pub(super) fn poll_done(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(completion) = &mut self.completion {
            match Pin::new(completion).poll(context) {
                Poll::Ready(answers) => {
                    self.answers = answers;
                    self.completion = None;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// What can still run behind the burst, once that is done, because the routes have changed meanwhile: the number
    /// of the answer, and the command.
    pub(super) fn take_apart(&mut self) -> Vec<(usize, &'static Spec, Invocation)> {
        let Self { several, answers, units, .. } = self;
        let may_run = |command: &Several| {
            let behind = units.get(command.named.end..).unwrap_or_default();
            let own = units.get(command.named.clone()).unwrap_or_default();
            answers.get(command.answer) == Some(&Err(RouterError::CrossGroup))
                && !own.iter().any(|unit| behind.contains(unit))
        };
        let taken = several.drain(..).filter(may_run);
        taken.map(|command| (command.answer, command.spec, command.invocation)).collect()
    }

    /// Puts the reply of such a command into its place.
    pub(super) fn replace(&mut self, answer: usize, value: Value) {
        if let Some(place) = self.answers.get_mut(answer) {
            *place = Ok(vec![Outcome::Redis(value)]);
        }
    }

    /// The replies in order, once it is done.
    pub(super) fn into_replies(self) -> impl Iterator<Item = Value> {
        debug_assert!(self.completion.is_none(), "the burst is done");
        let mut answers = self.answers.into_iter();
        self.replies.into_iter().map(move |reply| match reply {
            Reply::Ready(value) => value,
            Reply::Routed => value_of(answers.next()),
        })
    }
}

/// The reply that an answer of the router makes.
pub(super) fn value_of(answer: Option<Answer>) -> Value {
    match answer {
        Some(Ok(mut outcomes)) => match (outcomes.pop(), outcomes.is_empty()) {
            (Some(Outcome::Redis(value)), true) => value,
            _ => refusal::unexpected(),
        },
        Some(Err(error)) => refusal::reply(&error),
        None => refusal::unexpected(),
    }
}

/// Units of the bursts of one connection that are handed in and unanswered, with how often each is named.
///
/// Two units with one hash are taken for the same: then a burst waits that need not.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    units: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
}

impl Outstanding {
    pub(super) fn add(&mut self, units: &[u64]) {
        for unit in units {
            *self.units.entry(*unit).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, units: &[u64]) {
        for unit in units {
            if let Some(count) = self.units.get_mut(unit) {
                *count -= 1;
                if *count == 0 {
                    self.units.remove(unit);
                }
            }
        }
        if self.units.is_empty() && self.units.capacity() > 256 {
            self.units = HashMap::default();
        }
    }

    /// Whether one of these is unanswered.
    pub(super) fn holds_any(&self, units: &[u64]) -> bool {
        !self.units.is_empty() && units.iter().any(|unit| self.units.contains_key(unit))
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use commands::redis::resolve;

    use super::*;

    /// A burst that is answered: of each command its line, its units and whether they came to lie apart.
    fn answered(commands: &[(&str, &[u64], bool)]) -> SentBurst {
        let (mut units, mut several, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for (answer, (line, own, apart)) in commands.iter().enumerate() {
            let args: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
            let named = units.len()..units.len() + own.len();
            units.extend_from_slice(own);
            if own.len() > 1 {
                let spec = resolve(&args).unwrap();
                several.push(Several { answer, named, spec, invocation: Invocation::new(0, args) });
            }
            let done = Ok(vec![Outcome::Redis(Value::OK)]);
            answers.push(if *apart { Err(RouterError::CrossGroup) } else { done });
        }
        let replies = commands.iter().map(|_| Reply::Routed).collect();
        SentBurst {
            replies,
            several,
            units,
            bytes: 0,
            ledger: Ledger::default(),
            started: Instant::now(),
            completion: None,
            answers,
        }
    }

    #[test]
    fn what_came_to_lie_apart_runs_unless_something_behind_it_has() {
        let mut burst = answered(&[
            ("set x 1", &[9], false),
            ("mset a 1 b 2", &[1, 2], true),
            ("mset c 1 d 2", &[3, 4], true),
            ("mget e f", &[5, 6], false),
            ("set d 3", &[4], false),
        ]);
        let taken = burst.take_apart();
        assert_eq!(taken.len(), 1);
        let (answer, spec, invocation) = &taken[0];
        assert_eq!((*answer, spec.name, &invocation.args[1][..]), (1, "mset", &b"a"[..]));
        burst.replace(1, Value::Integer(7));
        let replies: Vec<Value> = burst.into_replies().collect();
        assert_eq!(replies[1], Value::Integer(7));
        assert!(matches!(&replies[2], Value::Error(line) if line.starts_with("TRYAGAIN ")), "{replies:?}");
        assert_eq!(replies[4], Value::OK);
    }

    #[test]
    fn a_unit_is_outstanding_until_its_last_burst_is_answered() {
        let mut outstanding = Outstanding::default();
        assert!(!outstanding.holds_any(&[1]));
        outstanding.add(&[1, 2, 1]);
        outstanding.add(&[1]);
        outstanding.remove(&[1, 2, 1]);
        assert!(outstanding.holds_any(&[2, 1]) && !outstanding.holds_any(&[2]));
        outstanding.remove(&[1]);
        assert!(!outstanding.holds_any(&[1, 2]));
    }
}
