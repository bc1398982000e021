//! A fake node that really stores: it evaluates commands over a map in memory and knows nothing of groups.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use commands::redis::{Invocation, ScanPosition, Span, SpanOutcome, SpanPart, Value};
use commands::testing::MemoryView;
use commands::{Command, Order, Outcome, raw};
use keyspace::KeyRange;
use proto::wire;

use super::fake::Verdict;

/// Evaluates one request. Dedup, routes and timestamps are not its affair.
pub(crate) fn evaluate(view: &mut MemoryView, request: &wire::Request) -> Verdict {
    let commands = match request.kind.as_ref().unwrap() {
        wire::request::Kind::Exec(exec) => &exec.commands,
        wire::request::Kind::Read(read) => &read.commands,
    };
    let run = |command: &wire::Command| to_wire(view.run(&from_wire(command.clone())).unwrap());
    Verdict::Results(wire::Results { results: commands.iter().map(run).collect() })
}

fn range(start: Bytes, end: Bytes) -> KeyRange {
    KeyRange::new(start, (!end.is_empty()).then_some(end)).unwrap()
}

fn from_wire(command: wire::Command) -> Command {
    use wire::command::Language;
    match command.language.unwrap() {
        Language::Redis(command) => Command::Redis(Invocation { db: command.db as u8, args: command.args }),
        Language::RedisSpan(span) => {
            let part = match span.part.unwrap() {
                wire::redis_span::Part::Scan(scan) => SpanPart::Scan {
                    from: ScanPosition {
                        slot: scan.slot as u16,
                        above_hash: (!scan.whole_slot).then_some(scan.above_hash),
                    },
                    count: scan.count as usize,
                    pattern: scan.has_match.then_some(scan.match_pattern),
                    type_name: (!scan.type_name.is_empty()).then_some(scan.type_name),
                },
                wire::redis_span::Part::Count(count) => SpanPart::Count {
                    resume: (!count.resume.is_empty()).then_some(count.resume),
                    limit: count.limit as usize,
                },
                wire::redis_span::Part::Flush(flush) => SpanPart::Flush { all_databases: flush.all_databases },
            };
            Command::RedisSpan(Span { db: span.db as u8, range: range(span.start, span.end), part })
        }
        Language::Raw(command) => Command::Raw(match command.operation.unwrap() {
            wire::raw_command::Operation::Put(put) => raw::Operation::Put { key: put.key, value: put.value },
            wire::raw_command::Operation::Delete(delete) => raw::Operation::Delete { key: delete.key },
            wire::raw_command::Operation::Get(get) => raw::Operation::Get { key: get.key },
            wire::raw_command::Operation::Scan(scan) => raw::Operation::Scan {
                range: range(scan.start, scan.end),
                order: if scan.reverse { Order::Descending } else { Order::Ascending },
                limit: scan.limit as usize,
            },
        }),
        Language::Dynamo(_) => panic!("the DynamoDB listener has tests of its own"),
    }
}

fn to_wire(outcome: Outcome) -> wire::CommandResult {
    use wire::command_result::Language;
    let language = match outcome {
        Outcome::Redis(value) => Language::Redis(value_to_wire(value)),
        Outcome::RedisSpan(outcome) => {
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
            Language::RedisSpan(wire::RedisSpanResult { part: Some(part) })
        }
        Outcome::Raw(outcome) => {
            use wire::raw_result::Result as Kind;
            let result = match outcome {
                raw::Outcome::Written(version) => Kind::Written(version.into()),
                raw::Outcome::Found { value, version } => {
                    Kind::Found(wire::RawFound { value, version: Some(version.into()) })
                }
                raw::Outcome::Missing => Kind::Missing(wire::Unit {}),
                raw::Outcome::Pairs { pairs, truncated } => {
                    let pairs = pairs.into_iter().map(|(key, value)| wire::RawPair { key, value }).collect();
                    Kind::Pairs(wire::RawPairs { pairs, truncated })
                }
            };
            Language::Raw(wire::RawResult { result: Some(result) })
        }
        Outcome::Dynamo(_) => panic!("the DynamoDB listener has tests of its own"),
    };
    wire::CommandResult { language: Some(language) }
}

/// What the commands of these tests answer.
fn value_to_wire(value: Value) -> wire::RedisValue {
    use wire::redis_value::Kind;
    let kind = match value {
        Value::Simple(status) => Kind::Simple(status.into_owned()),
        Value::Error(error) => Kind::Error(error),
        Value::Integer(integer) => Kind::Integer(integer),
        Value::Bulk(bytes) => Kind::Bulk(bytes),
        Value::Null => Kind::Null(wire::Unit {}),
        Value::Array(items) => Kind::Array(wire::RedisValues { items: items.into_iter().map(value_to_wire).collect() }),
        other => panic!("no command on strings answers {other:?}"),
    };
    wire::RedisValue { kind: Some(kind) }
}
