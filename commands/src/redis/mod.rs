//! Redis commands.
//!
//! A command line goes through these steps, the first two in the gateway as well as at the leader:
//!
//! 1. [`resolve`] finds it in the one [`table`] and checks the number of arguments;
//! 2. [`keys`] says where its keys stand, [`units`] which lock units it touches, by which it is routed, and [`Place`]
//!    who evaluates it; [`divide`] parts it by key when its keys lie in several groups;
//! 3. [`run`] evaluates a command on named keys over a [`View`]; [`run_span`] one range's part of a command over a whole
//!    database ([`database`] parses those);
//! 4. what Redis refuses is a [`Value::Error`] with the sentence of [`RedisError`]; only a failing store is a
//!    [`ViewError`].
//!
//! A key is a meta record ([`record`]), of a collection with a record an element. Each family has a module: strings in
//! [`string`], [`counter`], [`bitmap`], [`hyperloglog`] and [`lcs`]; hashes and sets in [`hash`] and [`set`], over what
//! they have in common ([`bag`]); lists in [`list`]; sorted sets, whose order is counted ([`counted`]), in [`sorted_set`],
//! and places, which are members of these, in [`geo`]; streams in [`stream`]. What waits for data is told by [`blocking`]. What all types share is in [`generic`], [`expiry`] and [`object`].
//!
//! The rules are those of Redis 7.0; `docs/redis.md` lists the differences. Keys expire when the view says so
//! ([`View::expired`]): nobody looks at a clock here. Expired records are skipped, not removed: they are overwritten,
//! or reclaimed with the old versions of other keys.

use bytes::Bytes;
use keyspace::KeyRange;

use crate::view::{View, ViewError};

mod access;
pub mod acl;
mod arguments;
mod bag;
mod bitfield;
mod bitmap;
pub mod blocking;
mod counted;
mod counter;
pub mod cursor;
pub mod database;
pub mod describe;
mod dump;
mod element_scan;
mod elements;
pub mod error;
pub mod events;
mod expiry;
mod extended;
mod generic;
mod geo;
pub mod glob;
mod hash;
mod hyperloglog;
mod lcs;
mod list;
mod list_middle;
mod natural;
mod number;
mod object;
mod options;
mod record;
pub mod script;
mod set;
mod set_algebra;
pub mod sort;
mod sorted_set;
mod span;
pub mod split;
mod stream;
mod string;
pub mod table;
mod units;
mod value;

use access::{Database, Fault};
pub use database::DatabaseRequest;
use error::MAX_VALUE_BYTES;
pub use error::RedisError;
use events::Notes;
pub use events::{Classes, Event};
pub use number::{parse_database, parse_integer};
use options::TimeForm;
pub use record::live_generation;
pub use sorted_set::score::format_double;
pub use span::run_span;
pub use split::{Divided, divide};
pub use table::{
    DatabaseCommand, GatewayCommand, KeyCommand, Place, PubSubCommand, RegistryCommand, ScriptCommand, Spec,
    TransactionCommand, keys, lookup, resolve, writes,
};
pub use units::units;
pub use value::Value;

/// One command as a client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Selected database.
    pub db: u8,
    /// Name first, never empty.
    pub args: Vec<Bytes>,
    /// What is told of its effects, beside the reply.
    pub telling: Classes,
}

impl Invocation {
    /// Nothing is told of it but the reply.
    pub fn new(db: u8, args: Vec<Bytes>) -> Self {
        Self { db, args, telling: Classes::default() }
    }

    /// The same, of whose effects these classes are told.
    #[must_use]
    pub fn telling(mut self, telling: Classes) -> Self {
        self.telling = telling;
        self
    }
}

/// One range's part of a command over a whole database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Selected database.
    pub db: u8,
    /// Part of the Redis keyspace, inside one route.
    pub range: KeyRange,
    /// What to do there.
    pub part: SpanPart,
}

/// What [`Span`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanPart {
    /// Lists keys in (slot, hash within the slot) order.
    Scan {
        /// Where to begin.
        from: ScanPosition,
        /// Stop behind this many keys looked at.
        count: usize,
        /// Glob pattern that keys must match.
        pattern: Option<Bytes>,
        /// Type name that keys must have.
        type_name: Option<String>,
    },
    /// Counts live keys.
    Count {
        /// Encoded key to go on behind.
        resume: Option<Bytes>,
        /// Stop behind this many keys looked at.
        limit: usize,
    },
    /// Removes every key.
    Flush {
        /// Of all databases, not only `db`.
        all_databases: bool,
    },
}

/// Where a SCAN goes on: a slot, and the hash above which that slot's keys are still to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScanPosition {
    /// Slot, up to `SLOTS`.
    pub slot: u16,
    /// `None`: the slot from its beginning.
    pub above_hash: Option<u64>,
}

/// What came of a [`Span`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanOutcome {
    /// Of `Scan`.
    Scanned {
        /// User keys.
        keys: Vec<Bytes>,
        /// Where to go on inside this range; `None` when it is done.
        next: Option<ScanPosition>,
    },
    /// Of `Count`.
    Counted {
        /// Live keys seen.
        keys: u64,
        /// Where to go on; `None` when the range is done.
        resume: Option<Bytes>,
    },
    /// Of `Flush`.
    Flushed,
}

/// When the Redis key with this meta record at `key` expires, in milliseconds since 1970; `None`: never.
pub fn expires_at(key: &[u8], meta: &Bytes) -> Result<Option<u64>, ViewError> {
    record::Meta::decode(key, meta).map(|meta| meta.expire_at_ms)
}

/// Whether a command, scripts with their envelopes, may touch keys that it does not name: some SORTs, and scripts that are
/// not confined.
pub fn reads_beyond(invocation: &Invocation) -> bool {
    let is_free = |args: &[Bytes]| script::is_script(args) && !script::is_confined(args);
    sort::reads_beyond(invocation) || is_free(&invocation.args)
}

/// Runs one command on named keys. A command that Redis refuses is a [`Value::Error`] and writes nothing.
pub async fn run<V: View>(view: &mut V, invocation: &Invocation) -> Result<Value, ViewError> {
    if let Ok(Spec { place: Place::AtLeader(KeyCommand::Script(_)), .. }) = resolve(&invocation.args) {
        return script::run(view, invocation).await;
    }
    let (value, events) = tell(view, invocation).await?;
    Ok(value.with_events(events))
}

/// Runs one command, and what is told of it.
async fn tell<V: View>(view: &mut V, invocation: &Invocation) -> Result<(Value, Vec<Event>), ViewError> {
    let Invocation { db, args, telling } = invocation;
    if telling.tell() {
        view.note(Some(Notes::new(*telling)));
        if let (true, Ok(units)) =
            (telling.any_of(Classes::NEW), resolve(args).and_then(|spec| units(spec, invocation)))
        {
            for unit in units {
                view.get(&keyspace::layout::version_key(&unit)).await?;
            }
        }
    }
    let value = match evaluate(view, invocation).await {
        Ok(value) => value,
        Err(Fault::Refused(error)) => error.into(),
        Err(Fault::View(error)) => return Err(error),
    };
    let notes = if telling.tell() { view.note(None) } else { None };
    let told = notes.zip(resolve(args).ok()).map(|(notes, spec)| notes.events(spec, *db, args, &value));
    Ok((value, told.unwrap_or_default()))
}

async fn evaluate<V: View>(view: &mut V, invocation: &Invocation) -> Result<Value, Fault> {
    let args = &invocation.args;
    let spec = resolve(args)?;
    let Place::AtLeader(command) = spec.place else {
        return Err(RedisError::Misplaced { command: spec.name }.into());
    };
    keys(spec, args)?;
    if args.iter().any(|arg| arg.len() > MAX_VALUE_BYTES) {
        return Err(RedisError::StringTooLong.into());
    }
    if spec.has(table::Flag::Blocking) {
        blocking::patience(spec, args)?;
    }
    let mut database = Database { db: invocation.db, view };
    // The arity has been checked: the arguments that the arms index exist.
    match command {
        KeyCommand::Append => database.append(&args[1], &args[2]).await,
        KeyCommand::Bitmap(command) => database.on_bitmap(command, args).await,
        KeyCommand::Copy => database.copy(&args[1], &args[2], &args[3..]).await,
        KeyCommand::Decr => database.add(&args[1], -1).await,
        KeyCommand::DecrBy => database.add(&args[1], counter::negated(&args[2])?).await,
        KeyCommand::Del => database.del(&args[1..]).await,
        KeyCommand::Dump => database.dump(&args[1]).await,
        KeyCommand::Exists => database.count_existing(&args[1..]).await,
        KeyCommand::Expire => database.expire(spec.name, TimeForm::SECONDS, &args[1], &args[2], &args[3..]).await,
        KeyCommand::ExpireAt => {
            database.expire(spec.name, TimeForm::UNIX_SECONDS, &args[1], &args[2], &args[3..]).await
        }
        KeyCommand::ExpireTime => database.time_to_live(TimeForm::UNIX_SECONDS, &args[1]).await,
        KeyCommand::Geo(command) => database.on_geo(command, spec.name, args).await,
        KeyCommand::Get => database.get(&args[1]).await,
        KeyCommand::GetDel => database.getdel(&args[1]).await,
        KeyCommand::GetEx => database.getex(&args[1], &args[2..]).await,
        KeyCommand::GetRange => database.getrange(&args[1], &args[2], &args[3]).await,
        KeyCommand::GetSet => database.getset(&args[1], &args[2]).await,
        KeyCommand::Hash(command) => database.on_hash(command, args).await,
        KeyCommand::HyperLogLog(command) => database.on_hyperloglog(command, args).await,
        KeyCommand::Incr => database.add(&args[1], 1).await,
        KeyCommand::IncrBy => database.add(&args[1], number::parse_integer(&args[2])?).await,
        KeyCommand::IncrByFloat => database.add_float(&args[1], &args[2]).await,
        KeyCommand::Lcs => database.lcs(&args[1], &args[2], &args[3..]).await,
        KeyCommand::List(command) => database.on_list(command, args).await,
        KeyCommand::MemoryUsage => database.memory_usage(&args[2], &args[3..]).await,
        KeyCommand::MGet => database.mget(&args[1..]).await,
        KeyCommand::Move => database.move_to(&args[1], &args[2]).await,
        KeyCommand::MSet => database.mset(&args[1..]),
        KeyCommand::MSetNx => database.msetnx(&args[1..]).await,
        KeyCommand::ObjectEncoding => database.object_encoding(&args[2]).await,
        KeyCommand::ObjectFreq => database.object_freq(&args[2]).await,
        KeyCommand::ObjectIdleTime => database.object_idletime(&args[2]).await,
        KeyCommand::ObjectRefCount => database.object_refcount(&args[2]).await,
        KeyCommand::Persist => database.persist(&args[1]).await,
        KeyCommand::PExpire => database.expire(spec.name, TimeForm::MILLISECONDS, &args[1], &args[2], &args[3..]).await,
        KeyCommand::PExpireAt => {
            database.expire(spec.name, TimeForm::UNIX_MILLISECONDS, &args[1], &args[2], &args[3..]).await
        }
        KeyCommand::PExpireTime => database.time_to_live(TimeForm::UNIX_MILLISECONDS, &args[1]).await,
        KeyCommand::PSetEx => database.setex(spec.name, TimeForm::MILLISECONDS, &args[1], &args[2], &args[3]),
        KeyCommand::PTtl => database.time_to_live(TimeForm::MILLISECONDS, &args[1]).await,
        KeyCommand::Rename => database.rename(&args[1], &args[2]).await,
        KeyCommand::RenameNx => database.renamenx(&args[1], &args[2]).await,
        KeyCommand::Restore => database.restore(&args[1], &args[2], &args[3], &args[4..]).await,
        // [`run`] has taken it; scripts do not run scripts.
        KeyCommand::Script(_) => Err(RedisError::Misplaced { command: spec.name }.into()),
        KeyCommand::Set => database.set(&args[1], &args[2], &args[3..]).await,
        KeyCommand::SetEx => database.setex(spec.name, TimeForm::SECONDS, &args[1], &args[2], &args[3]),
        KeyCommand::SetNx => database.setnx(&args[1], &args[2]).await,
        KeyCommand::SetRange => database.setrange(&args[1], &args[2], &args[3]).await,
        KeyCommand::Sets(command) => database.on_set(command, args).await,
        KeyCommand::Sort => database.sort(&args[1], &args[2..], sort::Form::ReadWrite).await,
        KeyCommand::SortRo => database.sort(&args[1], &args[2..], sort::Form::ReadOnly).await,
        KeyCommand::SortedSet(command) => database.on_sorted_set(command, spec.name, args).await,
        KeyCommand::Stream(command) => database.on_stream(command, args).await,
        KeyCommand::StrLen => database.strlen(&args[1]).await,
        KeyCommand::Ttl => database.time_to_live(TimeForm::SECONDS, &args[1]).await,
        KeyCommand::Type => database.type_of(&args[1]).await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use keyspace::layout;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{MemoryView, ready};

    fn answer(view: &mut MemoryView, args: Vec<Bytes>) -> Result<Value, ViewError> {
        ready(run(view, &Invocation::new(0, args)))
    }

    #[test]
    fn keys_and_values_have_limits() {
        let mut view = MemoryView::default();
        let long_key = Bytes::from(vec![b'k'; error::MAX_KEY_BYTES + 1]);
        let long_value = Bytes::from(vec![b'v'; MAX_VALUE_BYTES + 1]);
        let set = Bytes::from("set");
        let refused = answer(&mut view, vec![set.clone(), long_key, "v".into()]).unwrap();
        assert_eq!(refused, RedisError::KeyTooLong.into());
        let refused = answer(&mut view, vec!["mset".into(), "a".into(), "v".into(), "b".into(), long_value.clone()]);
        assert_eq!(refused.unwrap(), RedisError::StringTooLong.into());
        assert!(view.records().is_empty());
        let longest = long_value.slice(1..);
        assert_eq!(answer(&mut view, vec![set, "k".into(), longest]).unwrap(), Value::OK);
    }

    #[test]
    fn a_record_of_another_version_is_no_value() {
        let mut view = MemoryView::default();
        view.put(layout::redis_meta(0, b"k"), Bytes::from_static(&[9, 1, 0, 0, 0, 0, 0, 0, 0, 0]));
        let error = answer(&mut view, vec!["get".into(), "k".into()]).unwrap_err();
        assert!(matches!(error, ViewError::Corrupt { .. }), "{error}");
    }

    #[test]
    fn a_command_touches_one_record_a_key() {
        let mut view = MemoryView::default();
        let mut cost = |line: &str| {
            let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
            view.take_accesses();
            answer(&mut view, args).unwrap();
            let accesses = view.take_accesses();
            (accesses.gets, accesses.puts + accesses.deletes)
        };
        assert_eq!(cost("set k v"), (0, 1));
        assert_eq!(cost("get k"), (1, 0));
        assert_eq!(cost("set k v nx get"), (1, 0));
        assert_eq!(cost("append k v"), (1, 1));
        assert_eq!(cost("mset a 1 b 2"), (0, 2));
        assert_eq!(cost("del a none"), (2, 1));
    }

    proptest! {
        /// Whatever a client sends: no panic, and an error has written nothing.
        #[test]
        fn junk_is_answered(
            lines in proptest::collection::vec(
                (0..table::all().count(), proptest::collection::vec("(nx|get|ex|px|-?[0-9]{1,20}|.{0,3})", 0..5)),
                1..20,
            ),
        ) {
            let mut view = MemoryView::default();
            for (name, words) in lines {
                let name = table::all().nth(name).unwrap().name;
                let args: Vec<Bytes> = std::iter::once(name.into()).chain(words.into_iter().map(Bytes::from)).collect();
                view.take_accesses();
                let value = answer(&mut view, args).unwrap();
                prop_assert!(!value.is_error() || !view.take_accesses().wrote());
            }
        }
    }
}
