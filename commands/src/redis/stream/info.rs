//! XINFO: what there is to know of a stream, its groups and their consumers.

use bytes::Bytes;

use super::super::access::{Database, Fault, Reply};
use super::super::error::RedisError;
use super::super::number::parse_integer;
use super::super::value::Value;
use super::group::{Group, OpenGroup};
use super::id::Id;
use super::log::{Log, Stream, entry_value};
use super::refusal::StreamRefusal;
use crate::view::{Order, View};

/// Entries that FULL lists unless it is told.
const FULL_COUNT: usize = 10;
/// Redis keeps so many entries in a node of its tree.
const NODE: u64 = 100;

fn field(name: &'static str, value: Value) -> (Value, Value) {
    (Value::bulk(name), value)
}

fn number(number: u64) -> Value {
    Value::Integer(number as i64)
}

/// What a group has read and what is left, as far as either is known.
fn progress(log: &Log, group: &Group) -> [(Value, Value); 2] {
    let read = match group.read {
        _ if log.added == 0 => Some(0),
        Some(read) if !log.has_gap_behind(group.last) => Some(read),
        _ => log.count_up_to(group.last),
    };
    let lag = read.map(|read| if log.added == 0 { 0 } else { log.added.wrapping_sub(read) });
    [field("entries-read", group.read.map_or(Value::Null, number)), field("lag", lag.map_or(Value::Null, number))]
}

impl<V: View> Database<'_, V> {
    /// XINFO STREAM key [FULL [COUNT count]]
    pub(super) async fn xinfo_stream(&mut self, args: &[Bytes]) -> Reply {
        let stream = self.open_stream(&args[2]).await?.ok_or(RedisError::NoSuchKey)?;
        let wrong = || StreamRefusal::subcommand(&args[1], "XINFO");
        let full = match &args[3..] {
            [] => None,
            [full] if full.eq_ignore_ascii_case(b"full") => Some(FULL_COUNT),
            [full, word, count] if full.eq_ignore_ascii_case(b"full") && word.eq_ignore_ascii_case(b"count") => {
                match usize::try_from(parse_integer(count)?) {
                    Ok(0) => Some(usize::MAX),
                    Ok(count) => Some(count),
                    Err(_) => Some(FULL_COUNT),
                }
            }
            _ => return Err(wrong().into()),
        };
        let log = stream.log;
        let nodes = log.length.div_ceil(NODE);
        let mut fields = vec![
            field("length", number(log.length)),
            field("radix-tree-keys", number(nodes)),
            field("radix-tree-nodes", number(nodes + 1)),
            field("last-generated-id", log.last.value()),
            field("max-deleted-entry-id", log.max_deleted.value()),
            field("entries-added", number(log.added)),
            field("recorded-first-entry-id", log.first.value()),
        ];
        let all = (Id::ZERO, Id::MAX);
        let Some(count) = full else {
            fields.push(field("groups", number(log.groups)));
            for (name, order) in [("first-entry", Order::Ascending), ("last-entry", Order::Descending)] {
                let entry = stream.range(self.view, all, order, 1).await?.pop();
                fields.push(field(name, entry.map_or(Value::Null, entry_value)));
            }
            return Ok(Value::Map(fields));
        };
        let entries = stream.range(self.view, all, Order::Ascending, count).await?;
        fields.push(field("entries", Value::Array(entries.into_iter().map(entry_value).collect())));
        let mut groups = Vec::new();
        for group in stream.groups(self.view).await? {
            groups.push(self.full_group(&stream, &group, count).await?);
        }
        fields.push(field("groups", Value::Array(groups)));
        Ok(Value::Map(fields))
    }

    async fn full_group(&mut self, stream: &Stream, open: &OpenGroup, count: usize) -> Result<Value, Fault> {
        let group = &open.group;
        let [read, lag] = progress(&stream.log, group);
        let mut pending = Vec::new();
        for (id, entry) in open.pending_from(self.view, (Id::ZERO, Id::MAX), Order::Ascending, count).await? {
            pending.push(Value::Array(vec![
                id.value(),
                Value::Bulk(entry.consumer),
                number(entry.delivered_ms),
                number(entry.deliveries),
            ]));
        }
        let mut consumers = Vec::new();
        for (name, consumer) in open.consumers(self.view).await? {
            let mut owned = Vec::new();
            for id in open.owned_ids(self.view, &consumer, Id::ZERO, count).await? {
                if let Some(entry) = open.pending(self.view, id).await? {
                    owned.push(Value::Array(vec![id.value(), number(entry.delivered_ms), number(entry.deliveries)]));
                }
            }
            consumers.push(Value::Map(vec![
                field("name", Value::Bulk(name)),
                field("seen-time", number(consumer.seen_ms)),
                field("pel-count", number(consumer.pending)),
                field("pending", Value::Array(owned)),
            ]));
        }
        Ok(Value::Map(vec![
            field("name", Value::Bulk(group.name.clone())),
            field("last-delivered-id", group.last.value()),
            read,
            lag,
            field("pel-count", number(group.pending)),
            field("pending", Value::Array(pending)),
            field("consumers", Value::Array(consumers)),
        ]))
    }

    /// XINFO GROUPS key
    pub(super) async fn xinfo_groups(&mut self, args: &[Bytes]) -> Reply {
        let stream = self.open_stream(&args[2]).await?.ok_or(RedisError::NoSuchKey)?;
        let groups = stream.groups(self.view).await?;
        let shown = |OpenGroup { group, .. }: OpenGroup| {
            let [read, lag] = progress(&stream.log, &group);
            Value::Map(vec![
                field("name", Value::Bulk(group.name.clone())),
                field("consumers", number(group.consumers)),
                field("pending", number(group.pending)),
                field("last-delivered-id", group.last.value()),
                read,
                lag,
            ])
        };
        Ok(Value::Array(groups.into_iter().map(shown).collect()))
    }

    /// XINFO CONSUMERS key group
    pub(super) async fn xinfo_consumers(&mut self, args: &[Bytes]) -> Reply {
        let stream = self.open_stream(&args[2]).await?.ok_or(RedisError::NoSuchKey)?;
        let group = stream.group(self.view, &args[3]).await?;
        let group = group.ok_or_else(|| StreamRefusal::no_group(&args[2], &args[3]))?;
        let now = self.view.now_ms();
        let consumers = group.consumers(self.view).await?.into_iter().map(|(name, consumer)| {
            Value::Map(vec![
                field("name", Value::Bulk(name)),
                field("pending", number(consumer.pending)),
                field("idle", number(now.saturating_sub(consumer.seen_ms))),
            ])
        });
        Ok(Value::Array(consumers.collect()))
    }
}
