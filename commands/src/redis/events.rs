//! Keyspace events: what the subscribers of `__keyspace@0__:key` and `__keyevent@0__:event` are told of a command.
//!
//! While a command is evaluated its view keeps [`Notes`]: which keys it found, and which it changed. What a change is called
//! follows from the command line ([`Notes::events`]), by the rules of Redis 7.0: an event for what was done, and `del` behind it
//! when nothing is left of the key.
//!
//! A view that keeps no notes costs nothing. Whoever handed in the command gets the events with its outcome, and
//! publishes them when it has taken effect.

use std::collections::BTreeMap;

use bytes::Bytes;
use keyspace::layout;

use super::table::Spec;
use super::value::Value;
use crate::view::Record;

/// Kinds of events, as `notify-keyspace-events` names them by a letter each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(u32);

impl Classes {
    /// `K`: on channels named by keys.
    pub const KEYSPACE: Classes = Classes(1);
    /// `E`: on channels named by events.
    pub const KEYEVENT: Classes = Classes(1 << 1);
    const GENERIC: Classes = Classes(1 << 2);
    const STRING: Classes = Classes(1 << 3);
    const LIST: Classes = Classes(1 << 4);
    const SET: Classes = Classes(1 << 5);
    const HASH: Classes = Classes(1 << 6);
    const SORTED_SET: Classes = Classes(1 << 7);
    const STREAM: Classes = Classes(1 << 8);
    const MISS: Classes = Classes(1 << 9);
    /// `n`: keys that were not there before.
    pub const NEW: Classes = Classes(1 << 10);

    /// Reads letters; those of events that never happen here (expired, evicted, modules) mean nothing.
    pub fn parse(letters: &str) -> Self {
        let class = |letter: char| match letter {
            'K' => Self::KEYSPACE,
            'E' => Self::KEYEVENT,
            'g' => Self::GENERIC,
            '$' => Self::STRING,
            'l' => Self::LIST,
            's' => Self::SET,
            'h' => Self::HASH,
            'z' => Self::SORTED_SET,
            't' => Self::STREAM,
            'm' => Self::MISS,
            'n' => Self::NEW,
            'A' => Self::parse("g$lshzt"),
            _ => Self::default(),
        };
        Self(letters.chars().fold(0, |all, letter| all | class(letter).0))
    }

    /// As a number, to send it.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// From [`Classes::bits`].
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether any of `other` is among them.
    pub fn any_of(self, other: Classes) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether anything is ever told.
    pub fn tell(self) -> bool {
        let channels = Self::KEYSPACE.0 | Self::KEYEVENT.0;
        self.0 & channels != 0 && self.0 & !channels != 0
    }
}

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `set`, `del`, …
    pub name: String,
    /// Database of the key.
    pub db: u8,
    /// The user's key.
    pub key: Bytes,
}

impl Event {
    /// Channels and messages by which it is told.
    pub fn messages(&self, classes: Classes) -> Vec<(Bytes, Bytes)> {
        let Self { name, db, key } = self;
        let mut messages = Vec::new();
        if classes.any_of(Classes::KEYSPACE) {
            let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
            messages.push((channel.into(), name.clone().into()));
        }
        if classes.any_of(Classes::KEYEVENT) {
            messages.push((format!("__keyevent@{db}__:{name}").into(), key.clone()));
        }
        messages
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Noted {
    /// Whether there was something, as far as it was looked at.
    before: Option<bool>,
    /// Whether there is something now, if it was changed.
    after: Option<bool>,
}

/// What a view notes of the keys of a command.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    classes: Classes,
    keys: BTreeMap<(u8, Bytes), Noted>,
}

impl Notes {
    /// Of events of these classes.
    pub fn new(classes: Classes) -> Self {
        Self { classes, ..Self::default() }
    }

    /// This record of an encoded key was read.
    pub fn found(&mut self, key: &[u8], record: Option<&Record>, now_ms: u64) {
        if let Some((db, user_key)) = layout::parse_redis_meta(key) {
            let expires_at = |record: &Record| super::expires_at(key, &record.value).ok().flatten();
            let live = record.is_some_and(|record| expires_at(record).is_none_or(|at| at > now_ms));
            let noted = self.keys.entry((db, user_key.into())).or_default();
            if noted.after.is_none() {
                noted.before.get_or_insert(live);
            }
        }
    }

    /// The record of an encoded key was written or (`false`) removed.
    pub fn changed(&mut self, key: &[u8], exists: bool) {
        if let Some((db, user_key)) = layout::parse_redis_meta(key) {
            self.keys.entry((db, user_key.into())).or_default().after = Some(exists);
        }
    }

    /// What is told of the command, which has been evaluated, in order.
    pub fn events(&self, spec: &Spec, db: u8, args: &[Bytes], reply: &Value) -> Vec<Event> {
        let mut telling = Telling { notes: self, db, events: Vec::new() };
        if !reply.is_error() {
            telling.tell_all(spec, args, reply);
        }
        telling.events
    }
}

/// The events of one command.
struct Telling<'n> {
    notes: &'n Notes,
    db: u8,
    events: Vec<Event>,
}

impl Telling<'_> {
    fn noted(&self, key: &Bytes) -> Noted {
        self.notes.keys.get(&(self.db, key.clone())).copied().unwrap_or_default()
    }

    fn is_changed(&self, key: &Bytes) -> bool {
        self.noted(key).after.is_some()
    }

    fn tell_of(&mut self, class: Classes, name: &str, db: u8, key: &Bytes) {
        if self.notes.classes.any_of(class) {
            self.events.push(Event { name: name.to_owned(), db, key: key.clone() });
        }
    }

    fn tell(&mut self, class: Classes, name: &str, key: &Bytes) {
        self.tell_of(class, name, self.db, key);
    }

    /// `del`, if nothing is left.
    fn tell_end(&mut self, key: &Bytes) {
        if self.noted(key).after == Some(false) {
            self.tell(Classes::GENERIC, "del", key);
        }
    }

    /// What was done to a key, and `del` if nothing is left of it; nothing if it was not changed.
    fn regular(&mut self, class: Classes, name: &str, key: &Bytes) {
        if self.is_changed(key) {
            self.tell_new(self.db, key);
            self.tell(class, name, key);
            self.tell_end(key);
        }
    }

    /// What was stored; or `del`, if nothing was.
    fn stored(&mut self, class: Classes, name: &str, key: &Bytes) {
        match self.noted(key).after {
            Some(true) => {
                self.tell_new(self.db, key);
                self.tell(class, name, key);
            }
            Some(false) => self.tell(Classes::GENERIC, "del", key),
            None => {}
        }
    }

    /// The one key that was changed, of a command that picks it.
    fn picked(&self) -> Option<Bytes> {
        self.notes.keys.iter().find(|(_, noted)| noted.after.is_some()).map(|((_, key), _)| key.clone())
    }

    fn tell_all(&mut self, spec: &Spec, args: &[Bytes], reply: &Value) {
        use Classes as C;
        let has = |word: &str| args.iter().any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
        let added = |name: &'static str| (reply == &Value::Integer(1)).then_some(name);
        let Some(first) = args.get(1).cloned() else { return };
        self.tell_misses(spec, args);
        let name = spec.name;
        match name {
            "append" | "setrange" | "incrbyfloat" => self.regular(C::STRING, name, &first),
            "incr" | "decr" | "incrby" | "decrby" => self.regular(C::STRING, "incrby", &first),
            "setbit" | "bitfield" => self.regular(C::STRING, "setbit", &first),
            "pfadd" | "pfmerge" => self.regular(C::STRING, "pfadd", &first),
            "getset" | "setnx" => self.regular(C::STRING, "set", &first),
            "mset" | "msetnx" => args[1..].iter().step_by(2).for_each(|key| self.regular(C::STRING, "set", key)),
            "set" | "setex" | "psetex" => {
                self.regular(C::STRING, "set", &first);
                let expires = name != "set" || ["EX", "PX", "EXAT", "PXAT"].iter().any(|word| has(word));
                if expires && self.noted(&first).after == Some(true) {
                    self.tell(C::GENERIC, "expire", &first);
                }
            }
            "bitop" => self.stored(C::STRING, "set", &args[2]),
            "lpush" | "rpush" | "lpop" | "rpop" | "lrem" | "lset" | "linsert" | "ltrim" => {
                self.regular(C::LIST, name, &first);
            }
            "lpushx" | "rpushx" => self.regular(C::LIST, &name[..5], &first),
            "blpop" | "brpop" => self.popped(C::LIST, &name[1..]),
            "lmpop" | "blmpop" => self.popped(C::LIST, if has("LEFT") { "lpop" } else { "rpop" }),
            "rpoplpush" | "brpoplpush" => self.moved("rpop", "lpush", &first, &args[2]),
            "lmove" | "blmove" => {
                let left = |at: usize| args[at].eq_ignore_ascii_case(b"left");
                let (pop, push) = (if left(3) { "lpop" } else { "rpop" }, if left(4) { "lpush" } else { "rpush" });
                self.moved(pop, push, &first, &args[2]);
            }
            "hset" | "hmset" | "hsetnx" => self.regular(C::HASH, "hset", &first),
            "hincrby" | "hincrbyfloat" | "hdel" => self.regular(C::HASH, name, &first),
            "sadd" | "srem" | "spop" => self.regular(C::SET, name, &first),
            "smove" => {
                self.regular(C::SET, "srem", &first);
                if args[2] != first {
                    self.regular(C::SET, "sadd", &args[2]);
                }
            }
            "sinterstore" | "sunionstore" | "sdiffstore" => self.stored(C::SET, name, &first),
            "zadd" if has("INCR") => self.regular(C::SORTED_SET, "zincr", &first),
            "zincrby" => self.regular(C::SORTED_SET, "zincr", &first),
            "zadd" | "geoadd" => self.regular(C::SORTED_SET, "zadd", &first),
            "zrem" | "zpopmin" | "zpopmax" | "zremrangebyscore" | "zremrangebyrank" | "zremrangebylex" => {
                self.regular(C::SORTED_SET, name, &first);
            }
            "bzpopmin" | "bzpopmax" => self.popped(C::SORTED_SET, &name[1..]),
            "zmpop" | "bzmpop" => self.popped(C::SORTED_SET, if has("MIN") { "zpopmin" } else { "zpopmax" }),
            "zunionstore" | "zinterstore" | "zdiffstore" | "zrangestore" | "geosearchstore" => {
                self.stored(C::SORTED_SET, name, &first);
            }
            "georadius" | "georadiusbymember" => {
                if let Some(key) = self.picked() {
                    self.stored(C::SORTED_SET, "georadiusstore", &key);
                }
            }
            "xadd" | "xdel" | "xtrim" | "xsetid" => self.regular(C::STREAM, name, &first),
            "xgroup|create" => self.regular(C::STREAM, "xgroup-create", &args[2]),
            "xgroup|setid" => self.regular(C::STREAM, "xgroup-setid", &args[2]),
            "xgroup|delconsumer" => self.regular(C::STREAM, "xgroup-delconsumer", &args[2]),
            "xgroup|destroy" | "xgroup|createconsumer" => {
                if let Some(verb) = added(&name["xgroup|".len()..]) {
                    self.tell(C::STREAM, &format!("xgroup-{verb}"), &args[2]);
                }
            }
            "del" | "unlink" => args[1..].iter().for_each(|key| self.tell_end(key)),
            "getdel" => self.tell_end(&first),
            "expire" | "pexpire" | "expireat" | "pexpireat" => self.stored(C::GENERIC, "expire", &first),
            "persist" => self.regular(C::GENERIC, "persist", &first),
            "getex" => self.stored(C::GENERIC, if has("PERSIST") { "persist" } else { "expire" }, &first),
            "restore" => self.regular(C::GENERIC, "restore", &first),
            "rename" | "renamenx" if self.is_changed(&args[2]) && args[2] != first => {
                self.tell_new(self.db, &args[2]);
                self.tell(C::GENERIC, "rename_from", &first);
                self.tell(C::GENERIC, "rename_to", &args[2]);
            }
            "copy" => self.elsewhere("copy_to", &args[2]),
            "move" if self.is_changed(&first) => {
                self.tell(C::GENERIC, "move_from", &first);
                self.elsewhere("move_to", &first);
            }
            "sort" => {
                if let Some(key) = self.picked() {
                    self.stored(C::LIST, "sortstore", &key);
                }
            }
            _ => {}
        }
    }

    /// `keymiss`, of keys that were to be read and are not there.
    fn tell_misses(&mut self, spec: &Spec, args: &[Bytes]) {
        if !self.notes.classes.any_of(Classes::MISS) {
            return;
        }
        let read = spec.keys.iter().filter(|keys| keys.access.contains(&"RO"));
        for at in read.flat_map(|keys| keys.indexes(args)) {
            if self.noted(&args[at]).before == Some(false) {
                self.tell(Classes::MISS, "keymiss", &args[at]);
            }
        }
    }

    /// `new`, of a key that was not there before.
    fn tell_new(&mut self, db: u8, key: &Bytes) {
        let noted = self.notes.keys.get(&(db, key.clone())).copied().unwrap_or_default();
        if noted.before == Some(false) && noted.after == Some(true) {
            self.tell_of(Classes::NEW, "new", db, key);
        }
    }

    fn popped(&mut self, class: Classes, name: &str) {
        if let Some(key) = self.picked() {
            self.regular(class, name, &key);
        }
    }

    fn moved(&mut self, pop: &str, push: &str, from: &Bytes, to: &Bytes) {
        if self.is_changed(to) {
            self.tell_new(self.db, to);
            self.tell(Classes::LIST, push, to);
            self.tell(Classes::LIST, pop, from);
            self.tell_end(from);
        }
    }

    /// An event of a key that came to be, perhaps in another database.
    fn elsewhere(&mut self, name: &str, key: &Bytes) {
        let came = |((_, other), noted): &(&(u8, Bytes), &Noted)| other == key && noted.after == Some(true);
        if let Some(db) = self.notes.keys.iter().find(came).map(|((db, _), _)| *db) {
            self.tell_new(db, key);
            self.tell_of(Classes::GENERIC, name, db, key);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::redis::{Invocation, run};
    use crate::testing::{MemoryView, ready};

    /// `event:key` of each event that a command line tells, with everything told.
    fn told(view: &mut MemoryView, line: &str) -> Vec<String> {
        let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let invocation = Invocation::new(0, args).telling(Classes::parse("KEAmn"));
        let (reply, events) = ready(run(view, &invocation)).unwrap().apart();
        assert!(!reply.is_error(), "{line}: {reply:?}");
        let text = |event: Event| format!("{}:{}", event.name, String::from_utf8_lossy(&event.key));
        events.into_iter().map(text).collect()
    }

    /// Each line is what a redis-server 7.0.15 tells.
    #[test]
    fn commands_tell_what_redis_tells() {
        let mut view = MemoryView::default();
        for (line, expected) in [
            ("set s 1 ex 100", "new:s set:s expire:s"),
            ("set s 1", "set:s"),
            ("incr s", "incrby:s"),
            ("append s x", "append:s"),
            ("get nothing", "keymiss:nothing"),
            ("getex s ex 10", "expire:s"),
            ("getex s persist", "persist:s"),
            ("mset a 1 b 2", "new:a set:a new:b set:b"),
            ("del a nothing b", "del:a del:b"),
            ("rpush l 1 2 3", "new:l rpush:l"),
            ("lpop l", "lpop:l"),
            ("lmove l m left right", "new:m rpush:m lpop:l"),
            ("blpop l 1", "lpop:l del:l"),
            ("lmpop 2 l m left", "lpop:m del:m"),
            ("sadd t a b", "new:t sadd:t"),
            ("smove t u a", "srem:t new:u sadd:u"),
            ("spop t", "spop:t del:t"),
            ("sinterstore u t u", "keymiss:t del:u"),
            ("sadd u x", "new:u sadd:u"),
            ("sunionstore v u", "new:v sunionstore:v"),
            ("hset h f 1", "new:h hset:h"),
            ("hincrby h f 1", "hincrby:h"),
            ("hdel h f", "hdel:h del:h"),
            ("zadd z 1 a 2 b", "new:z zadd:z"),
            ("zadd z incr 1 a", "zincr:z"),
            ("zpopmin z", "zpopmin:z"),
            ("zrangestore y z 0 -1", "new:y zrangestore:y"),
            ("xadd x * f v", "new:x xadd:x"),
            ("xgroup create x g $", "xgroup-create:x"),
            ("rename x w", "new:w rename_from:x rename_to:w"),
            ("copy s c", "new:c copy_to:c"),
            ("expire s 100", "expire:s"),
            ("persist s", "persist:s"),
            ("expire s -1", "del:s"),
            ("srem u nothing", ""),
        ] {
            assert_eq!(told(&mut view, line).join(" "), expected, "{line}");
        }
    }

    #[test]
    fn only_what_was_asked_for_is_told() {
        let mut view = MemoryView::default();
        let mut tell = |letters: &str, line: &str| {
            let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
            ready(run(&mut view, &Invocation::new(3, args).telling(Classes::parse(letters)))).unwrap().apart().1
        };
        assert!(tell("", "set k 1").is_empty());
        assert!(tell("$", "set k 1").is_empty(), "on no channel");
        assert!(tell("KEl", "set k 1").is_empty());
        let classes = Classes::parse("E$");
        let [event] = &tell("E$", "set k 1")[..] else { panic!("one event") };
        assert_eq!(event.messages(classes), [("__keyevent@3__:set".into(), "k".into())]);
        assert_eq!(event.messages(Classes::parse("KA"))[0], ("__keyspace@3__:k".into(), "set".into()));
    }
}
