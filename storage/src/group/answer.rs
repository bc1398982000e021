//! Outcomes in wire form, and the one thing that the group must know of records: whether a unit has expired.

use bytes::Bytes;
use commands::{Outcome, Record, ViewError, dynamo, raw, record, redis};
use keyspace::Version;
use keyspace::layout;
use proto::wire;

/// Whether a unit with this version record is gone at `now_ms`. Only Redis keys expire.
pub fn is_expired(unit: &[u8], record: &Bytes, now_ms: u64) -> Result<bool, ViewError> {
    if unit.first() != Some(&layout::REDIS) {
        return Ok(false);
    }
    Ok(redis::expires_at(unit, record)?.is_some_and(|expire_at| expire_at <= now_ms))
}

/// An outcome as it travels.
pub fn to_wire(outcome: Outcome) -> wire::CommandResult {
    use wire::command_result::Language;
    let language = match outcome {
        Outcome::Redis(value) => Language::Redis(redis_value(value)),
        Outcome::RedisSpan(outcome) => Language::RedisSpan(redis_span(outcome)),
        Outcome::Raw(outcome) => Language::Raw(raw_result(outcome)),
        Outcome::Dynamo(outcome) => Language::Dynamo(dynamo_result(outcome)),
        Outcome::Record(outcome) => Language::Record(record_result(outcome)),
    };
    wire::CommandResult { language: Some(language) }
}

fn redis_value(value: redis::Value) -> wire::RedisValue {
    use redis::Value;
    use wire::redis_value::Kind;
    let values = |items: Vec<Value>| wire::RedisValues { items: items.into_iter().map(redis_value).collect() };
    let kind = match value {
        Value::Simple(text) => Kind::Simple(text.to_string()),
        Value::Error(text) => Kind::Error(text),
        Value::Integer(number) => Kind::Integer(number),
        Value::Bulk(bytes) => Kind::Bulk(bytes),
        Value::Null => Kind::Null(wire::Unit {}),
        Value::NullArray => Kind::NullArray(wire::Unit {}),
        Value::Array(items) => Kind::Array(values(items)),
        Value::Double(number) => Kind::Double(number),
        Value::Decimal(digits) => Kind::Decimal(digits),
        Value::Boolean(truth) => Kind::Boolean(truth),
        Value::Map(pairs) => Kind::Map(values(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect())),
        Value::Pairs(pairs) => {
            Kind::Pairs(values(pairs.into_iter().flat_map(|(first, second)| [first, second]).collect()))
        }
        Value::Streams(pairs) => {
            Kind::Streams(values(pairs.into_iter().flat_map(|(name, entries)| [name, entries]).collect()))
        }
        Value::Told(reply, events) => {
            let event =
                |event: redis::Event| wire::RedisEvent { name: event.name, db: event.db.into(), key: event.key };
            let events = events.into_iter().map(event).collect();
            Kind::Told(Box::new(wire::RedisTold { reply: Some(Box::new(redis_value(*reply))), events }))
        }
        Value::Set(items) => Kind::Set(values(items)),
        Value::BigNumber(digits) => Kind::BigNumber(digits),
        Value::Verbatim { format, text } => Kind::Verbatim(wire::RedisVerbatim { format, text }),
    };
    wire::RedisValue { kind: Some(kind) }
}

fn redis_span(outcome: redis::SpanOutcome) -> wire::RedisSpanResult {
    use wire::redis_span_result::Part;
    let part = match outcome {
        redis::SpanOutcome::Scanned { keys, next } => {
            let position = next.unwrap_or_default();
            Part::Scanned(wire::RedisScanned {
                keys,
                done: next.is_none(),
                next_slot: u32::from(position.slot),
                next_above_hash: position.above_hash.unwrap_or_default(),
                next_whole_slot: position.above_hash.is_none(),
            })
        }
        redis::SpanOutcome::Counted { keys, resume } => {
            Part::Counted(wire::RedisCounted { keys, resume: resume.unwrap_or_default() })
        }
        redis::SpanOutcome::Flushed => Part::Flushed(wire::Unit {}),
    };
    wire::RedisSpanResult { part: Some(part) }
}

fn stamp(version: Version) -> wire::VersionStamp {
    wire::VersionStamp { e: version.e, s: version.s }
}

fn raw_result(outcome: raw::Outcome) -> wire::RawResult {
    use wire::raw_result::Result;
    let result = match outcome {
        raw::Outcome::Written(version) => Result::Written(stamp(version)),
        raw::Outcome::Found { value, version } => {
            Result::Found(wire::RawFound { value, version: Some(stamp(version)) })
        }
        raw::Outcome::Missing => Result::Missing(wire::Unit {}),
        raw::Outcome::Pairs { pairs, truncated } => {
            let pairs = pairs.into_iter().map(|(key, value)| wire::RawPair { key, value }).collect();
            Result::Pairs(wire::RawPairs { pairs, truncated })
        }
    };
    wire::RawResult { result: Some(result) }
}

fn record_result(outcome: record::Outcome) -> wire::RecordResult {
    use wire::record_result::Result;
    let found = |key: Bytes, record: Record| wire::FoundRecord {
        key,
        value: record.value,
        version: Some(stamp(record.version)),
    };
    let missing = Result::Missing(wire::Unit {});
    let result = match outcome.found {
        record::Found::Record(record) => record.map_or(missing, |record| Result::Found(found(Bytes::new(), record))),
        record::Found::Observed(version) => version.map_or(missing, |version| Result::Observed(stamp(version))),
        record::Found::Gone(version) => Result::Gone(stamp(version)),
        record::Found::Records(records) => {
            let records = records.into_iter().map(|(key, record)| found(key, record)).collect();
            Result::Records(wire::FoundRecords { records })
        }
    };
    wire::RecordResult { now_ms: outcome.now_ms, result: Some(result) }
}

fn dynamo_result(outcome: dynamo::Outcome) -> wire::DynamoResult {
    use wire::dynamo_result::Result;
    let result = match outcome {
        dynamo::Outcome::Item(item) => Result::Item(item),
        dynamo::Outcome::None => Result::None(wire::Unit {}),
        dynamo::Outcome::Table(descriptor) => Result::Table(descriptor),
        dynamo::Outcome::Tables { names, more } => Result::Tables(wire::DynamoTableNames { names, more }),
        dynamo::Outcome::Fault { name, message } => Result::Fault(wire::DynamoFault { name, message }),
        dynamo::Outcome::Part { item, bytes } => Result::Part(wire::DynamoPart { item, bytes: bytes as u64 }),
        dynamo::Outcome::Written { attributes, old_bytes, new_bytes, entries } => {
            let entry = |(index, bytes)| wire::DynamoEntryWritten { index, bytes: bytes as u64 };
            Result::Written(wire::DynamoWritten {
                attributes: attributes.unwrap_or_default(),
                old_bytes: old_bytes as u64,
                new_bytes: new_bytes as u64,
                entries: entries.into_iter().map(entry).collect(),
            })
        }
        dynamo::Outcome::Page(page) => Result::Page(wire::DynamoPage {
            items: page.items,
            count: page.count as u64,
            scanned: page.scanned as u64,
            bytes: page.bytes as u64,
            last: page.last.unwrap_or_default(),
            more: page.more,
            passed: page.passed.unwrap_or_default(),
        }),
        dynamo::Outcome::Together(outcomes) => {
            Result::Together(wire::DynamoResults { results: outcomes.into_iter().map(dynamo_result).collect() })
        }
        dynamo::Outcome::ConditionFailed { item } => {
            Result::ConditionFailed(wire::DynamoConditionFailed { item: item.unwrap_or_default() })
        }
    };
    wire::DynamoResult { result: Some(result) }
}
