//! The log of slow commands: SLOWLOG.
//!
//! A command is slow by the time from when it was handed in until it was answered, network to the storage nodes included.
//! Of its arguments the log keeps as many and as much as Redis does.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use commands::redis::Value;
use parking_lot::Mutex;

/// Most arguments of an entry; the last says how many more there were.
pub(super) const MAX_ARGUMENTS: usize = 32;
/// Most bytes of an argument.
const MAX_ARGUMENT_BYTES: usize = 128;

/// The last slow commands, newest first.
#[derive(Debug, Default)]
pub(super) struct Slowlog {
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    entries: VecDeque<Entry>,
    next_id: i64,
}

#[derive(Debug)]
struct Entry {
    id: i64,
    unix_time: i64,
    us: i64,
    args: Vec<Bytes>,
    address: String,
    name: String,
}

impl Slowlog {
    /// Adds a command of which the first [`MAX_ARGUMENTS`] of `count` arguments are given.
    pub(super) fn add(&self, args: &[Bytes], count: usize, took: Duration, address: String, name: String, most: usize) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut log = self.log.lock();
        let entry = Entry {
            id: log.next_id,
            unix_time: now.as_secs() as i64,
            us: i64::try_from(took.as_micros()).unwrap_or(i64::MAX),
            args: trimmed(args, count),
            address,
            name,
        };
        log.next_id += 1;
        log.entries.push_front(entry);
        log.entries.truncate(most);
    }

    /// SLOWLOG LEN
    pub(super) fn len(&self) -> usize {
        self.log.lock().entries.len()
    }

    /// SLOWLOG RESET
    pub(super) fn reset(&self) {
        self.log.lock().entries = VecDeque::new();
    }

    /// SLOWLOG GET of the last `count`.
    pub(super) fn get(&self, count: usize) -> Value {
        let entry = |entry: &Entry| {
            Value::Array(vec![
                Value::Integer(entry.id),
                Value::Integer(entry.unix_time),
                Value::Integer(entry.us),
                Value::Array(entry.args.iter().cloned().map(Value::Bulk).collect()),
                Value::Bulk(entry.address.clone().into()),
                Value::Bulk(entry.name.clone().into()),
            ])
        };
        Value::Array(self.log.lock().entries.iter().take(count).map(entry).collect())
    }
}

fn trimmed(args: &[Bytes], count: usize) -> Vec<Bytes> {
    let shown = if count > MAX_ARGUMENTS { MAX_ARGUMENTS - 1 } else { count };
    // A copy: what the argument is a slice of may be large.
    let short = |arg: &Bytes| match arg.len().checked_sub(MAX_ARGUMENT_BYTES) {
        None | Some(0) => Bytes::copy_from_slice(arg),
        Some(more) => [&arg[..MAX_ARGUMENT_BYTES], format!("... ({more} more bytes)").as_bytes()].concat().into(),
    };
    let mut kept: Vec<Bytes> = args.iter().take(shown).map(short).collect();
    if shown < count {
        kept.push(format!("... ({} more arguments)", count - shown).into());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_arguments_are_trimmed_as_redis_does() {
        let slowlog = Slowlog::default();
        let mut args: Vec<Bytes> = (0..33).map(|n| n.to_string().into()).collect();
        args[1] = vec![b'A'; 129].into();
        for _ in 0..3 {
            slowlog.add(&args[..MAX_ARGUMENTS], args.len(), Duration::from_micros(7), "a:1".into(), "n".into(), 2);
        }
        assert_eq!(slowlog.len(), 2);
        let Value::Array(entries) = slowlog.get(9) else { panic!("not an array") };
        let Some(Value::Array(fields)) = entries.first() else { panic!("no entry") };
        assert_eq!((&fields[0], &fields[2]), (&Value::Integer(2), &Value::Integer(7)));
        let Value::Array(shown) = &fields[3] else { panic!("no arguments") };
        assert_eq!(shown.len(), 32);
        assert_eq!(shown[1], Value::bulk(format!("{}... (1 more bytes)", "A".repeat(128))));
        assert_eq!(shown[31], Value::bulk("... (2 more arguments)"));
        slowlog.reset();
        assert_eq!(slowlog.get(9), Value::Array(Vec::new()));
    }
}
