//! SLOWLOG, LATENCY, MEMORY and what else is asked of a server.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use commands::redis::table::{ConfigCommand, LatencyCommand, MemoryCommand, SlowlogCommand};
use commands::redis::{RedisError, Value, parse_integer};

use super::{error, text};
use crate::redis::{Shared, info, process};

/// Entries that SLOWLOG GET answers without a number.
const SLOWLOG_ENTRIES: usize = 10;

pub(super) fn config(command: ConfigCommand, args: &[Bytes], shared: &Shared) -> Value {
    match command {
        ConfigCommand::Get => shared.parameters.get(&args[2..]),
        ConfigCommand::ResetStat => {
            shared.statistics.reset();
            shared.stats.reset();
            Value::OK
        }
        // As Redis says it when it was started without a file.
        ConfigCommand::Rewrite => error("ERR The server is running without a config file"),
        ConfigCommand::Set => shared.parameters.set(&args[2..]),
    }
}

pub(super) fn slowlog(command: SlowlogCommand, args: &[Bytes], shared: &Shared) -> Value {
    match command {
        SlowlogCommand::Get => match args {
            [_, _] => shared.slowlog.get(SLOWLOG_ENTRIES),
            [_, _, count] => match parse_integer(count) {
                Ok(-1) => shared.slowlog.get(usize::MAX),
                Ok(count) if count >= 0 => shared.slowlog.get(usize::try_from(count).unwrap_or(usize::MAX)),
                _ => error("ERR count should be greater than or equal to -1"),
            },
            _ => RedisError::WrongArity { command: "slowlog|get" }.into(),
        },
        SlowlogCommand::Len => Value::Integer(shared.slowlog.len() as i64),
        SlowlogCommand::Reset => {
            shared.slowlog.reset();
            Value::OK
        }
    }
}

pub(super) fn latency(command: LatencyCommand, args: &[Bytes], shared: &Shared) -> Value {
    match command {
        LatencyCommand::Doctor => {
            shared.latencies.doctor(shared.parameters.effects().latency_ms.load(Ordering::Relaxed))
        }
        LatencyCommand::Graph => shared.latencies.graph(&args[2]),
        LatencyCommand::Histogram => {
            let wanted: Vec<&[u8]> = args[2..].iter().map(|name| &name[..]).collect();
            shared.statistics.histograms(&wanted)
        }
        LatencyCommand::History => shared.latencies.history(&args[2]),
        LatencyCommand::Latest => shared.latencies.latest(),
        LatencyCommand::Reset => shared.latencies.reset(&args[2..]),
    }
}

/// Of the gateway's own memory: it keeps no data.
pub(super) fn memory(command: MemoryCommand, shared: &Shared) -> Value {
    match command {
        MemoryCommand::Doctor => text(
            "A gateway keeps no data: its memory is connections, requests under way and caches. What the data takes is \
             told by the metrics of the storage nodes."
                .to_owned(),
        ),
        MemoryCommand::MallocStats => text("The allocator of this gateway makes no report.\n".to_owned()),
        // The allocator gives memory back by itself.
        MemoryCommand::Purge => Value::OK,
        MemoryCommand::Stats => {
            let memory = process::memory();
            let waiting: usize = shared.clients.all().iter().map(|client| client.mailbox.waiting().1).sum();
            let entry = |name: &'static str, bytes: u64| (Value::bulk(name), Value::Integer(bytes as i64));
            Value::Map(vec![
                entry("peak.allocated", memory.peak),
                entry("total.allocated", memory.resident),
                entry("clients.normal", waiting as u64),
                entry("allocator.resident", memory.resident),
            ])
        }
    }
}

/// Every write is on the disks of a majority before it is answered, so the last one is as young as the question.
pub(super) fn last_save() -> Value {
    // A clock before 1970 is as good as none.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Value::Integer(now.as_secs() as i64)
}

pub(super) fn role() -> Value {
    Value::Array(vec![Value::bulk("master"), Value::Integer(0), Value::Array(Vec::new())])
}

/// A small picture of ranges on their nodes, and the version.
pub(super) fn lolwut() -> Value {
    let cells: String = (0..240)
        .map(|n| match (n % 40, rand::random::<u8>() % 8) {
            (39, _) => '\n',
            (_, 0) => '#',
            (_, 1 | 2) => '+',
            _ => '.',
        })
        .collect();
    text(format!("{cells}\nRedis ver. {}\n", info::REDIS_VERSION))
}
