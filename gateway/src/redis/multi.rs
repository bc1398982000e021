//! The transaction of one connection: what is queued behind MULTI, and what is watched.
//!
//! ```text
//!          MULTI                 EXEC: run, then forget queue and watches
//!  plain ────────► queueing ───► DISCARD, RESET: forget both
//!                    │  ▲
//!                    └──┘ any other command: QUEUED, or refused; behind a refusal EXEC only discards
//! ```
//!
//! WATCH notes the version of each key's lock unit, as the group has it at that moment; EXEC brings the versions along,
//! and the groups compare them under the same locks under which the queue runs. A key is the same again only with the
//! same version, or absent then and now. All of it lives in the session: another gateway, or the same one after a
//! restart, knows nothing of it, as no transaction survives its connection.
//!
//! Bounds: [`MAX_QUEUED`] commands and [`MAX_QUEUED_BYTES`] in the queue, [`MAX_WATCHED`] watched keys. What is beyond is
//! refused like an unknown command, so the transaction is discarded as a whole, never cut.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use commands::redis::table::Flag;
use commands::redis::{GatewayCommand, Place, PubSubCommand, RedisError, RegistryCommand, Spec, Value, keys, resolve};
use keyspace::Version;

use super::clients::Client;
use super::request::MAX_REQUEST_BYTES;

/// Most commands of a transaction.
pub(super) const MAX_QUEUED: usize = 16_384;
/// Most bytes of arguments of a transaction: as many as one request may have.
pub(super) const MAX_QUEUED_BYTES: usize = MAX_REQUEST_BYTES;
/// Most keys that a connection watches.
pub(super) const MAX_WATCHED: usize = 4096;

/// A command between MULTI and EXEC.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Queued {
    /// On named keys.
    Keyed(&'static Spec, Vec<Bytes>),
    /// Over a whole database.
    Database(Vec<Bytes>),
    /// For the gateway alone.
    Local(GatewayCommand, Vec<Bytes>),
    /// SCRIPT or FUNCTION: behind the others.
    Registry(RegistryCommand, Vec<Bytes>),
    /// About channels: behind the others, as it is no part of what happens at one moment.
    PubSub(PubSubCommand, Vec<Bytes>),
    /// Answered whenever it runs: UNWATCH, because EXEC forgets what is watched anyway.
    Answered(Value),
}

/// What EXEC finds.
#[derive(Debug)]
pub(super) enum Exec {
    /// It runs nothing; this is the reply.
    Answered(Value),
    /// It runs these, if what was watched is still as it was.
    Runs(Work),
}

/// What EXEC runs.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) commands: Vec<Queued>,
    pub(super) watched: Vec<(Bytes, Option<Version>)>,
}

/// The state of one connection. `client` shows it to others.
#[derive(Debug)]
pub(super) struct Transaction {
    queue: Option<Queue>,
    watched: BTreeMap<Bytes, Option<Version>>,
    /// Versions could not be had: the client asked to be protected and is not, so EXEC must not run.
    unguarded: bool,
    client: Arc<Client>,
}

/// Invariant: `refused` implies that `commands` is empty, because they will never run.
#[derive(Debug, Default)]
struct Queue {
    commands: Vec<Queued>,
    bytes: usize,
    refused: bool,
}

impl Transaction {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { queue: None, watched: BTreeMap::new(), unguarded: false, client }
    }

    /// Whether MULTI was said.
    pub(super) fn is_queueing(&self) -> bool {
        self.queue.is_some()
    }

    /// Whether EXEC would run something that `may_write`.
    pub(super) fn may_write(&self, may_write: impl Fn(&Spec) -> bool) -> bool {
        let writes = |queued: &Queued| match queued {
            Queued::Keyed(spec, _) => may_write(spec),
            Queued::Database(args) | Queued::PubSub(_, args) => resolve(args).is_ok_and(&may_write),
            Queued::Registry(..) | Queued::Local(..) | Queued::Answered(_) => false,
        };
        self.queue.as_ref().is_some_and(|queue| queue.commands.iter().any(writes))
    }

    /// MULTI
    pub(super) fn begin(&mut self) -> Value {
        if self.queue.is_some() {
            // Redis says so and goes on queueing.
            return error("ERR MULTI calls can not be nested");
        }
        self.queue = Some(Queue::default());
        self.client.queued.store(0, Ordering::Relaxed);
        Value::OK
    }

    /// A command between MULTI and EXEC, whose number of arguments is right.
    pub(super) fn queue(&mut self, spec: &'static Spec, args: Vec<Bytes>) -> Value {
        if let Err(error) = keys(spec, &args) {
            return self.refuse(error);
        }
        let bytes: usize = args.iter().map(|arg| arg.len() + size_of::<Bytes>()).sum();
        let queued = match spec.place {
            Place::AtLeader(_) => Queued::Keyed(spec, args),
            Place::AtGateway(command) => Queued::Local(command, args),
            Place::OverDatabase(_) => Queued::Database(args),
            Place::PubSub(command) => Queued::PubSub(command, args),
            Place::Registry(command) => Queued::Registry(command, args),
            // The others are never queued.
            Place::InSession(_) => Queued::Answered(Value::OK),
            Place::Container => return self.refuse(RedisError::WrongArity { command: spec.name }),
        };
        if spec.has(Flag::NoMulti) {
            self.discard_at_exec();
            return error("ERR Command not allowed inside a transaction");
        }
        self.push(queued, bytes)
    }

    fn push(&mut self, queued: Queued, bytes: usize) -> Value {
        let queue = self.queue.get_or_insert_default();
        if queue.refused {
            return queued_reply();
        }
        if queue.commands.len() == MAX_QUEUED || queue.bytes + bytes > MAX_QUEUED_BYTES {
            self.discard_at_exec();
            return Value::Error(format!(
                "ERR A transaction has at most {MAX_QUEUED} commands and {MAX_QUEUED_BYTES} bytes"
            ));
        }
        queue.bytes += bytes;
        queue.commands.push(queued);
        self.client.queued_bytes.store(queue.bytes, Ordering::Relaxed);
        self.client.queued.store(queue.commands.len() as i32, Ordering::Relaxed);
        queued_reply()
    }

    /// A command line that is no command: between MULTI and EXEC it spoils the transaction.
    pub(super) fn refuse(&mut self, error: RedisError) -> Value {
        if error == (RedisError::WrongArity { command: "exec" }) {
            // EXEC ends the transaction even if it is given arguments.
            self.end();
            let line = error.to_string();
            let sentence = line.strip_prefix("ERR ").unwrap_or(&line);
            return Value::Error(format!("EXECABORT Transaction discarded because of: {sentence}"));
        }
        self.discard_at_exec();
        error.into()
    }

    /// The error line of a command that the user may not run: a transaction does not survive it.
    pub(super) fn refuse_permission(&mut self, line: String, is_exec: bool) -> Value {
        if is_exec && self.is_queueing() {
            self.end();
            return Value::Error(format!("EXECABORT Transaction discarded because of: {line}"));
        }
        self.discard_at_exec();
        Value::Error(line)
    }

    fn discard_at_exec(&mut self) {
        if let Some(queue) = &mut self.queue {
            *queue = Queue { refused: true, ..Queue::default() };
        }
    }

    /// EXEC. What was queued and watched is forgotten, whatever comes of it; what CLIENT LIST shows stays until
    /// [`Transaction::end`].
    pub(super) fn exec(&mut self) -> Exec {
        let Some(queue) = self.queue.take() else {
            return Exec::Answered(error("ERR EXEC without MULTI"));
        };
        let watched = std::mem::take(&mut self.watched);
        self.client.watched.store(0, Ordering::Relaxed);
        let unguarded = std::mem::take(&mut self.unguarded);
        if queue.refused || unguarded || (queue.commands.is_empty() && watched.is_empty()) {
            self.end();
            return Exec::Answered(match () {
                () if queue.refused => error("EXECABORT Transaction discarded because of previous errors."),
                // As if it had changed: whoever watches is ready for that and tries again.
                () if unguarded => Value::NullArray,
                () => Value::Array(Vec::new()),
            });
        }
        Exec::Runs(Work { commands: queue.commands, watched: watched.into_iter().collect() })
    }

    /// DISCARD
    pub(super) fn discard(&mut self) -> Value {
        if self.queue.is_none() {
            return error("ERR DISCARD without MULTI");
        }
        self.end();
        Value::OK
    }

    /// UNWATCH
    pub(super) fn unwatch(&mut self) -> Value {
        self.watched.clear();
        self.unguarded = false;
        self.client.watched.store(0, Ordering::Relaxed);
        Value::OK
    }

    /// Forgets queue and watches.
    pub(super) fn end(&mut self) {
        self.queue = None;
        self.client.queued.store(-1, Ordering::Relaxed);
        self.client.queued_bytes.store(0, Ordering::Relaxed);
        self.unwatch();
    }

    /// WATCH: which of these units are not watched yet. A key that is watched twice keeps the older version.
    pub(super) fn not_watched(&self, units: Vec<Bytes>) -> Result<Vec<Bytes>, Value> {
        let new: Vec<Bytes> = units.into_iter().filter(|unit| !self.watched.contains_key(unit)).collect();
        if self.watched.len() + new.len() > MAX_WATCHED {
            return Err(Value::Error(format!("ERR A connection watches at most {MAX_WATCHED} keys")));
        }
        Ok(new)
    }

    /// WATCH: these are their versions.
    pub(super) fn watch(&mut self, observed: impl IntoIterator<Item = (Bytes, Option<Version>)>) {
        self.watched.extend(observed);
        self.client.watched.store(self.watched.len() as u32, Ordering::Relaxed);
    }

    /// WATCH failed.
    pub(super) fn watch_failed(&mut self) {
        self.unguarded = true;
    }
}

/// What WATCH is told between MULTI and EXEC; the transaction goes on.
pub(super) fn watch_inside_multi() -> Value {
    error("ERR WATCH inside MULTI is not allowed")
}

fn queued_reply() -> Value {
    Value::simple("QUEUED")
}

fn error(line: &str) -> Value {
    Value::Error(line.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::redis::clients::Clients;

    fn transaction() -> Transaction {
        let address = "127.0.0.1:7".parse().unwrap();
        Transaction::new(Clients::default().add(address, address, 1).unwrap())
    }

    fn queue(transaction: &mut Transaction, line: &str) -> Value {
        let args: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        match resolve(&args) {
            Ok(spec) => transaction.queue(spec, args),
            Err(error) => transaction.refuse(error),
        }
    }

    fn answered(exec: Exec) -> Value {
        match exec {
            Exec::Answered(value) => value,
            Exec::Runs(work) => panic!("it runs {work:?}"),
        }
    }

    #[test]
    fn the_queue_is_bounded_in_commands() {
        let mut transaction = transaction();
        transaction.begin();
        for _ in 0..MAX_QUEUED {
            assert_eq!(queue(&mut transaction, "get k"), Value::simple("QUEUED"));
        }
        assert!(queue(&mut transaction, "get k").is_error());
        assert_eq!(queue(&mut transaction, "get k"), Value::simple("QUEUED"), "though it will not run");
        let Value::Error(line) = answered(transaction.exec()) else { panic!("not an error") };
        assert_eq!(line, "EXECABORT Transaction discarded because of previous errors.");
        assert_eq!(transaction.client.queued.load(Ordering::Relaxed), -1);
    }

    #[test]
    fn the_queue_is_bounded_in_bytes() {
        let mut transaction = transaction();
        transaction.begin();
        let args = |bytes: usize| vec!["set".into(), "k".into(), Bytes::from(vec![b'v'; bytes])];
        let spec = resolve(&args(1)).unwrap();
        assert!(!transaction.queue(spec, args(MAX_QUEUED_BYTES / 2)).is_error());
        assert!(transaction.queue(spec, args(MAX_QUEUED_BYTES / 2)).is_error());
        assert!(transaction.queue.as_ref().unwrap().commands.is_empty(), "what will not run takes no memory");
    }

    #[test]
    fn a_key_that_is_watched_twice_keeps_its_older_version() {
        let mut transaction = transaction();
        let unit = Bytes::from("u");
        assert_eq!(transaction.not_watched(vec![unit.clone()]).unwrap(), vec![unit.clone()]);
        transaction.watch([(unit.clone(), None)]);
        assert!(transaction.not_watched(vec![unit]).unwrap().is_empty());
        let many = (0..MAX_WATCHED).map(|n| Bytes::from(n.to_string())).collect();
        assert!(transaction.not_watched(many).is_err());
    }

    #[test]
    fn a_watch_that_failed_lets_nothing_run() {
        let mut transaction = transaction();
        transaction.watch_failed();
        transaction.begin();
        queue(&mut transaction, "get k");
        assert_eq!(answered(transaction.exec()), Value::NullArray);
        transaction.begin();
        queue(&mut transaction, "get k");
        assert!(matches!(transaction.exec(), Exec::Runs(_)));
    }
}
