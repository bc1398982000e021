//! Outcomes as a group would answer them: what the anchor of a transaction keeps for a repetition of its request.

use commands::redis::{Event, SpanOutcome, Value};
use commands::{Outcome, dynamo, raw, record};
use proto::wire;

/// Results larger than this are not kept. Nobody can ask for them: a request that a client names itself, which is
/// the only one that another coordinator may repeat, answers with less.
const MAX_KEPT_BYTES: usize = 64 << 10;

/// One result for each outcome; none at all when they are too large to keep.
pub(super) fn results_of(outcomes: &[Outcome]) -> wire::Results {
    use prost::Message;
    let results = wire::Results { results: outcomes.iter().cloned().map(result_of).collect() };
    if results.encoded_len() > MAX_KEPT_BYTES { wire::Results::default() } else { results }
}

/// One outcome on the wire.
pub(super) fn result_of(outcome: Outcome) -> wire::CommandResult {
    use wire::command_result::Language;
    let language = match outcome {
        Outcome::Redis(value) => Language::Redis(value_to_wire(value)),
        Outcome::RedisSpan(outcome) => Language::RedisSpan(span_to_wire(outcome)),
        Outcome::Raw(outcome) => Language::Raw(raw_to_wire(outcome)),
        Outcome::Dynamo(outcome) => Language::Dynamo(dynamo_to_wire(outcome)),
        Outcome::Record(outcome) => Language::Record(record_to_wire(outcome)),
    };
    wire::CommandResult { language: Some(language) }
}

fn value_to_wire(value: Value) -> wire::RedisValue {
    use wire::redis_value::Kind;
    let items = |items: Vec<Value>| wire::RedisValues { items: items.into_iter().map(value_to_wire).collect() };
    let kind = match value {
        Value::Simple(status) => Kind::Simple(status.into_owned()),
        Value::Error(error) => Kind::Error(error),
        Value::Integer(integer) => Kind::Integer(integer),
        Value::Bulk(bytes) => Kind::Bulk(bytes),
        Value::Null => Kind::Null(wire::Unit {}),
        Value::Array(values) => Kind::Array(items(values)),
        Value::NullArray => Kind::NullArray(wire::Unit {}),
        Value::Double(double) => Kind::Double(double),
        Value::Decimal(digits) => Kind::Decimal(digits),
        Value::Boolean(boolean) => Kind::Boolean(boolean),
        Value::Map(pairs) => Kind::Map(items(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect())),
        Value::Pairs(pairs) => {
            Kind::Pairs(items(pairs.into_iter().flat_map(|(first, second)| [first, second]).collect()))
        }
        Value::Streams(pairs) => {
            Kind::Streams(items(pairs.into_iter().flat_map(|(name, entries)| [name, entries]).collect()))
        }
        Value::Told(reply, events) => {
            let event = |event: Event| wire::RedisEvent { name: event.name, db: event.db.into(), key: event.key };
            let events = events.into_iter().map(event).collect();
            Kind::Told(Box::new(wire::RedisTold { reply: Some(Box::new(value_to_wire(*reply))), events }))
        }
        Value::Set(values) => Kind::Set(items(values)),
        Value::BigNumber(digits) => Kind::BigNumber(digits),
        Value::Verbatim { format, text } => Kind::Verbatim(wire::RedisVerbatim { format, text }),
    };
    wire::RedisValue { kind: Some(kind) }
}

fn span_to_wire(outcome: SpanOutcome) -> wire::RedisSpanResult {
    use wire::redis_span_result::Part;
    let part = match outcome {
        SpanOutcome::Scanned { keys, next } => {
            let position = next.unwrap_or_default();
            Part::Scanned(wire::RedisScanned {
                keys,
                done: next.is_none(),
                next_slot: position.slot.into(),
                next_above_hash: position.above_hash.unwrap_or_default(),
                next_whole_slot: position.above_hash.is_none(),
            })
        }
        SpanOutcome::Counted { keys, resume } => {
            Part::Counted(wire::RedisCounted { keys, resume: resume.unwrap_or_default() })
        }
        SpanOutcome::Flushed => Part::Flushed(wire::Unit {}),
    };
    wire::RedisSpanResult { part: Some(part) }
}

fn raw_to_wire(outcome: raw::Outcome) -> wire::RawResult {
    use wire::raw_result::Result as Kind;
    let result = match outcome {
        raw::Outcome::Written(version) => Kind::Written(version.into()),
        raw::Outcome::Found { value, version } => Kind::Found(wire::RawFound { value, version: Some(version.into()) }),
        raw::Outcome::Missing => Kind::Missing(wire::Unit {}),
        raw::Outcome::Pairs { pairs, truncated } => {
            let pairs = pairs.into_iter().map(|(key, value)| wire::RawPair { key, value }).collect();
            Kind::Pairs(wire::RawPairs { pairs, truncated })
        }
    };
    wire::RawResult { result: Some(result) }
}

fn dynamo_to_wire(outcome: dynamo::Outcome) -> wire::DynamoResult {
    use wire::dynamo_result::Result as Kind;
    let result = match outcome {
        dynamo::Outcome::Item(item) => Kind::Item(item),
        dynamo::Outcome::None => Kind::None(wire::Unit {}),
        dynamo::Outcome::Table(descriptor) => Kind::Table(descriptor),
        dynamo::Outcome::Tables { names, more } => Kind::Tables(wire::DynamoTableNames { names, more }),
        dynamo::Outcome::Fault { name, message } => Kind::Fault(wire::DynamoFault { name, message }),
        dynamo::Outcome::Part { item, bytes } => Kind::Part(wire::DynamoPart { item, bytes: bytes as u64 }),
        dynamo::Outcome::Written { attributes, old_bytes, new_bytes, entries } => {
            let entry = |(index, bytes)| wire::DynamoEntryWritten { index, bytes: bytes as u64 };
            Kind::Written(wire::DynamoWritten {
                attributes: attributes.unwrap_or_default(),
                old_bytes: old_bytes as u64,
                new_bytes: new_bytes as u64,
                entries: entries.into_iter().map(entry).collect(),
            })
        }
        dynamo::Outcome::Page(page) => Kind::Page(wire::DynamoPage {
            items: page.items,
            count: page.count as u64,
            scanned: page.scanned as u64,
            bytes: page.bytes as u64,
            last: page.last.unwrap_or_default(),
            more: page.more,
            passed: page.passed.unwrap_or_default(),
        }),
        dynamo::Outcome::Together(outcomes) => {
            Kind::Together(wire::DynamoResults { results: outcomes.into_iter().map(dynamo_to_wire).collect() })
        }
        dynamo::Outcome::ConditionFailed { item } => {
            Kind::ConditionFailed(wire::DynamoConditionFailed { item: item.unwrap_or_default() })
        }
    };
    wire::DynamoResult { result: Some(result) }
}

fn record_to_wire(outcome: record::Outcome) -> wire::RecordResult {
    use record::Found;
    use wire::record_result::Result as Kind;
    let found = |(key, record): (bytes::Bytes, commands::Record)| wire::FoundRecord {
        key,
        value: record.value,
        version: Some(record.version.into()),
    };
    let result = match outcome.found {
        Found::Record(None) | Found::Observed(None) => Kind::Missing(wire::Unit {}),
        Found::Record(Some(record)) => Kind::Found(found((bytes::Bytes::new(), record))),
        Found::Records(records) => {
            Kind::Records(wire::FoundRecords { records: records.into_iter().map(found).collect() })
        }
        Found::Observed(Some(version)) => Kind::Observed(version.into()),
        Found::Gone(version) => Kind::Gone(version.into()),
    };
    wire::RecordResult { now_ms: outcome.now_ms, result: Some(result) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use keyspace::Version;

    use super::*;
    use crate::router::wire::all_outcomes;

    #[test]
    fn what_is_kept_reads_as_it_was() {
        let version = Version { e: 3, s: 4 };
        let record = commands::Record { value: Bytes::from("v"), version };
        let of_record = |found| Outcome::Record(record::Outcome { now_ms: 9, found });
        let map = Value::Map(vec![(Value::Bulk("k".into()), Value::Array(vec![Value::Integer(-1), Value::Null]))]);
        let outcomes = vec![
            Outcome::Redis(map),
            Outcome::Redis(Value::Error("ERR no".into())),
            Outcome::RedisSpan(SpanOutcome::Counted { keys: 7, resume: None }),
            Outcome::Raw(raw::Outcome::Found { value: "v".into(), version }),
            Outcome::Dynamo(dynamo::Outcome::None),
            of_record(record::Found::Record(Some(record.clone()))),
            of_record(record::Found::Records(vec![("key".into(), record)])),
            of_record(record::Found::Gone(version)),
        ];
        assert_eq!(all_outcomes(results_of(&outcomes)), Ok(outcomes));
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let large = Outcome::Redis(Value::Bulk(vec![0; MAX_KEPT_BYTES].into()));
        assert!(results_of(&[large]).results.is_empty());
    }
}
