//! The door between the domain and the wire: commands go out, results come in.
//!
//! Nothing of `proto::wire` is seen by the callers of the router. Results that make no sense are refused with
//! [`RouterError::Protocol`]; so the rest of the gateway never meets a half-valid value.

use std::borrow::Cow;

use bytes::Bytes;
use commands::dynamo::{Change, ItemWrite, Page, Selection};
use commands::redis::{Event, Invocation, ScanPosition, Span, SpanOutcome, SpanPart, Value};
use commands::{Command, Order, Outcome, Record, dynamo, raw, record};
use keyspace::slot::SLOTS;
use keyspace::{KeyRange, Version};
use proto::wire;

use super::RouterError;

/// Deepest nesting of arrays and maps inside one reply.
const MAX_DEPTH: usize = 32;

/// The statuses that commands answer most, which therefore cost no allocation.
const USUAL_STATUSES: [&str; 3] = ["OK", "none", "string"];

/// Bytes of keys and values in a command, roughly.
pub(super) fn command_bytes(command: &wire::Command) -> usize {
    use wire::command::Language;
    match &command.language {
        Some(Language::Redis(command)) => command.args.iter().map(|arg| arg.len() + 8).sum(),
        Some(Language::Raw(wire::RawCommand { operation: Some(wire::raw_command::Operation::Put(put)) })) => {
            put.key.len() + put.value.len()
        }
        Some(Language::Record(wire::RecordCommand {
            operation: Some(wire::record_command::Operation::Register(entry)),
        })) => entry.key.len() + entry.value.as_ref().map_or(0, bytes::Bytes::len),
        Some(Language::Record(wire::RecordCommand {
            operation: Some(wire::record_command::Operation::Write(writes)),
        })) => {
            let bytes = |write: &wire::RecordWrite| write.key.len() + write.value.as_ref().map_or(0, bytes::Bytes::len);
            writes.writes.iter().map(bytes).sum()
        }
        Some(Language::Record(wire::RecordCommand {
            operation: Some(wire::record_command::Operation::Replace(entry)),
        })) => {
            entry.key.len() + [&entry.seen, &entry.value].into_iter().flatten().map(bytes::Bytes::len).sum::<usize>()
        }
        Some(Language::Dynamo(wire::DynamoCommand { operation: Some(operation) })) => match operation {
            wire::dynamo_command::Operation::WriteItem(write) => write_bytes(write),
            wire::dynamo_command::Operation::Together(together) => together.writes.iter().map(write_bytes).sum(),
            wire::dynamo_command::Operation::ReadPage(page) => page.selection.len(),
            _ => 0,
        },
        // Names, keys and limits only.
        Some(Language::RedisSpan(_) | Language::Raw(_) | Language::Dynamo(_) | Language::Record(_)) | None => 0,
    }
}

fn write_bytes(write: &wire::DynamoWriteItem) -> usize {
    write.key.len() + write.write.len() + write.item.len()
}

/// A command as storage reads it.
pub(super) fn command_to_wire(command: Command) -> wire::Command {
    use wire::command::Language;
    let language = match command {
        Command::Redis(Invocation { db, args, telling }) => {
            Language::Redis(wire::RedisCommand { db: u32::from(db), args, telling: telling.bits() })
        }
        Command::RedisSpan(span) => Language::RedisSpan(span_to_wire(span)),
        Command::Raw(operation) => Language::Raw(raw_to_wire(operation)),
        Command::Dynamo(operation) => Language::Dynamo(dynamo_to_wire(operation)),
        Command::Record(operation) => Language::Record(record_to_wire(operation)),
    };
    wire::Command { language: Some(language) }
}

fn span_to_wire(span: Span) -> wire::RedisSpan {
    use wire::redis_span::Part;
    let part = match span.part {
        SpanPart::Scan { from, count, pattern, type_name } => Part::Scan(wire::RedisScanPart {
            slot: u32::from(from.slot),
            above_hash: from.above_hash.unwrap_or_default(),
            whole_slot: from.above_hash.is_none(),
            count: clamped(count),
            has_match: pattern.is_some(),
            match_pattern: pattern.unwrap_or_default(),
            type_name: type_name.unwrap_or_default(),
        }),
        SpanPart::Count { resume, limit } => {
            Part::Count(wire::RedisCountPart { resume: resume.unwrap_or_default(), limit: clamped(limit) })
        }
        SpanPart::Flush { all_databases } => Part::Flush(wire::RedisFlushPart { all_databases }),
    };
    let (start, end) = bounds(&span.range);
    wire::RedisSpan { db: u32::from(span.db), start, end, part: Some(part) }
}

fn raw_to_wire(operation: raw::Operation) -> wire::RawCommand {
    use wire::raw_command::Operation;
    let operation = match operation {
        raw::Operation::Put { key, value } => Operation::Put(wire::RawPut { key, value }),
        raw::Operation::Delete { key } => Operation::Delete(wire::RawDelete { key }),
        raw::Operation::Get { key } => Operation::Get(wire::RawGet { key }),
        raw::Operation::Scan { range, order, limit } => {
            let (start, end) = bounds(&range);
            Operation::Scan(wire::RawScan {
                start,
                end,
                to_keyspace_end: range.end().is_none(),
                limit: clamped(limit),
                reverse: order == Order::Descending,
            })
        }
    };
    wire::RawCommand { operation: Some(operation) }
}

fn dynamo_to_wire(operation: dynamo::Operation) -> wire::DynamoCommand {
    use wire::dynamo_command::Operation;
    let operation = match operation {
        dynamo::Operation::CreateTable { name, descriptor } => {
            Operation::CreateTable(wire::DynamoCreateTable { name, descriptor })
        }
        dynamo::Operation::DeleteTable { name } => Operation::DeleteTable(wire::DynamoDeleteTable { name }),
        dynamo::Operation::AlterTable { name, alteration } => {
            Operation::AlterTable(wire::DynamoAlterTable { name, alteration: alteration.encode() })
        }
        dynamo::Operation::DescribeTable { name } => Operation::DescribeTable(wire::DynamoDescribeTable { name }),
        dynamo::Operation::ListTables { start_after, limit } => {
            Operation::ListTables(wire::DynamoListTables { start_after, limit: clamped(limit) })
        }
        dynamo::Operation::GetItem { key, projection } => {
            let selection = |projection| Selection { projection: Some(projection), ..Selection::default() }.encode();
            let selection = projection.map(selection).unwrap_or_default();
            Operation::GetItem(wire::DynamoGetItem { key, selection })
        }
        dynamo::Operation::WriteItem(write) => Operation::WriteItem(write_to_wire(*write)),
        dynamo::Operation::Together(writes) => {
            Operation::Together(wire::DynamoTogether { writes: writes.into_iter().map(write_to_wire).collect() })
        }
        dynamo::Operation::ReadPage(page) => {
            let (start, end) = bounds(&page.range);
            Operation::ReadPage(wire::DynamoReadPage {
                start,
                end,
                reverse: page.order == Order::Descending,
                max_items: clamped(page.max_items),
                max_bytes: clamped(page.max_bytes),
                selection: page.selection.encode(),
            })
        }
    };
    wire::DynamoCommand { operation: Some(operation) }
}

fn write_to_wire(write: ItemWrite) -> wire::DynamoWriteItem {
    let record = write.encode();
    let item = match write.change {
        Change::Put(item) => item,
        Change::Delete | Change::Update { .. } | Change::Check | Change::Claim(_) | Change::Mend { .. } => Bytes::new(),
    };
    wire::DynamoWriteItem { key: write.key, write: record, item }
}

fn record_to_wire(operation: record::Operation) -> wire::RecordCommand {
    use wire::record_command::Operation;
    let operation = match operation {
        record::Operation::Get { key } => Operation::Get(key),
        record::Operation::Scan { range, order, limit } => {
            let (start, end) = bounds(&range);
            Operation::Scan(wire::RecordScan {
                start,
                end,
                to_keyspace_end: range.end().is_none(),
                limit: clamped(limit),
                reverse: order == Order::Descending,
            })
        }
        record::Operation::Observe { unit } => Operation::Observe(unit),
        record::Operation::Write { writes } => {
            let write = |(key, value)| wire::RecordWrite { key, value };
            Operation::Write(wire::RecordWrites { writes: writes.into_iter().map(write).collect() })
        }
        record::Operation::Register { key, value } => Operation::Register(wire::RecordRegister { key, value }),
        record::Operation::Replace { key, seen, value } => Operation::Replace(wire::RecordReplace { key, seen, value }),
    };
    wire::RecordCommand { operation: Some(operation) }
}

/// Units and the versions at which somebody saw them.
pub(super) fn observed_to_wire(observed: Vec<(Bytes, Option<Version>)>) -> Vec<wire::ObservedUnit> {
    let observed = observed.into_iter();
    observed.map(|(unit, version)| wire::ObservedUnit { unit, version: version.map(Into::into) }).collect()
}

fn bounds(range: &KeyRange) -> (Bytes, Bytes) {
    (range.start().clone(), range.end().cloned().unwrap_or_default())
}

/// Limits larger than the wire can say mean the same as the largest it can.
fn clamped(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

/// The results of a request, which must be as many as its commands.
pub(super) fn outcomes(results: wire::Results, commands: usize) -> Result<Vec<Outcome>, RouterError> {
    if results.results.len() != commands {
        return Err(junk(format!("{} results for {commands} commands", results.results.len())));
    }
    all_outcomes(results)
}

/// All results, however many.
pub(super) fn all_outcomes(results: wire::Results) -> Result<Vec<Outcome>, RouterError> {
    results.results.into_iter().map(outcome).collect()
}

fn outcome(result: wire::CommandResult) -> Result<Outcome, RouterError> {
    use wire::command_result::Language;
    Ok(match result.language.ok_or_else(|| missing("language of a result"))? {
        Language::Redis(value) => Outcome::Redis(redis_value(value, 0)?),
        Language::RedisSpan(part) => Outcome::RedisSpan(span_outcome(part)?),
        Language::Raw(result) => Outcome::Raw(raw_outcome(result)?),
        Language::Dynamo(result) => Outcome::Dynamo(dynamo_outcome(result)?),
        Language::Record(result) => Outcome::Record(record_outcome(result)?),
    })
}

fn redis_value(value: wire::RedisValue, depth: usize) -> Result<Value, RouterError> {
    use wire::redis_value::Kind;
    if depth > MAX_DEPTH {
        return Err(junk("a reply is nested too deeply"));
    }
    let items = |values: wire::RedisValues| -> Result<Vec<Value>, RouterError> {
        values.items.into_iter().map(|item| redis_value(item, depth + 1)).collect()
    };
    Ok(match value.kind.ok_or_else(|| missing("kind of a Redis value"))? {
        Kind::Simple(status) => Value::Simple(shared(status)),
        Kind::Error(error) => Value::Error(error),
        Kind::Integer(integer) => Value::Integer(integer),
        Kind::Bulk(bytes) => Value::Bulk(bytes),
        Kind::Null(wire::Unit {}) => Value::Null,
        Kind::Array(values) => Value::Array(items(values)?),
        Kind::NullArray(wire::Unit {}) => Value::NullArray,
        Kind::Double(double) => Value::Double(double),
        Kind::Decimal(digits) => Value::Decimal(digits),
        Kind::Boolean(boolean) => Value::Boolean(boolean),
        Kind::Map(values) => Value::Map(in_pairs(items(values)?)?),
        Kind::Pairs(values) => Value::Pairs(in_pairs(items(values)?)?),
        Kind::Streams(values) => Value::Streams(in_pairs(items(values)?)?),
        Kind::Told(told) => {
            let reply = redis_value(*told.reply.ok_or_else(|| missing("reply with events"))?, depth + 1)?;
            let event = |event: wire::RedisEvent| -> Result<Event, RouterError> {
                let db = u8::try_from(event.db).map_err(|_| junk("an event of no database"))?;
                Ok(Event { name: event.name, db, key: event.key })
            };
            reply.with_events(told.events.into_iter().map(event).collect::<Result<_, _>>()?)
        }
        Kind::Set(values) => Value::Set(items(values)?),
        Kind::BigNumber(digits) => Value::BigNumber(digits),
        Kind::Verbatim(wire::RedisVerbatim { format, text }) => Value::Verbatim { format, text },
    })
}

fn in_pairs(items: Vec<Value>) -> Result<Vec<(Value, Value)>, RouterError> {
    if !items.len().is_multiple_of(2) {
        return Err(junk("one of a pair is missing"));
    }
    let mut items = items.into_iter();
    let mut pairs = Vec::with_capacity(items.len() / 2);
    while let (Some(first), Some(second)) = (items.next(), items.next()) {
        pairs.push((first, second));
    }
    Ok(pairs)
}

fn shared(status: String) -> Cow<'static, str> {
    USUAL_STATUSES.iter().find(|usual| **usual == status).map_or(Cow::Owned(status), |usual| Cow::Borrowed(*usual))
}

fn span_outcome(result: wire::RedisSpanResult) -> Result<SpanOutcome, RouterError> {
    use wire::redis_span_result::Part;
    Ok(match result.part.ok_or_else(|| missing("part of a span result"))? {
        Part::Scanned(scanned) => {
            let slot = u16::try_from(scanned.next_slot).ok().filter(|slot| *slot <= SLOTS);
            let slot = slot.ok_or_else(|| junk(format!("slot {}", scanned.next_slot)))?;
            let above_hash = (!scanned.next_whole_slot).then_some(scanned.next_above_hash);
            let next = (!scanned.done).then_some(ScanPosition { slot, above_hash });
            SpanOutcome::Scanned { keys: scanned.keys, next }
        }
        Part::Counted(wire::RedisCounted { keys, resume }) => {
            SpanOutcome::Counted { keys, resume: Some(resume).filter(|resume| !resume.is_empty()) }
        }
        Part::Flushed(wire::Unit {}) => SpanOutcome::Flushed,
    })
}

fn raw_outcome(result: wire::RawResult) -> Result<raw::Outcome, RouterError> {
    use wire::raw_result::Result as Kind;
    Ok(match result.result.ok_or_else(|| missing("RawKV result"))? {
        Kind::Written(version) => raw::Outcome::Written(version_from_wire(version)),
        Kind::Found(wire::RawFound { value, version }) => {
            let version = version.ok_or_else(|| missing("version of a value"))?;
            raw::Outcome::Found { value, version: version_from_wire(version) }
        }
        Kind::Missing(wire::Unit {}) => raw::Outcome::Missing,
        Kind::Pairs(wire::RawPairs { pairs, truncated }) => {
            let pairs = pairs.into_iter().map(|pair| (pair.key, pair.value)).collect();
            raw::Outcome::Pairs { pairs, truncated }
        }
    })
}

fn dynamo_outcome(result: wire::DynamoResult) -> Result<dynamo::Outcome, RouterError> {
    use wire::dynamo_result::Result as Kind;
    Ok(match result.result.ok_or_else(|| missing("DynamoDB result"))? {
        Kind::Item(item) => dynamo::Outcome::Item(item),
        Kind::None(wire::Unit {}) => dynamo::Outcome::None,
        Kind::Table(descriptor) => dynamo::Outcome::Table(descriptor),
        Kind::Tables(wire::DynamoTableNames { names, more }) => dynamo::Outcome::Tables { names, more },
        Kind::Fault(wire::DynamoFault { name, message }) => dynamo::Outcome::Fault { name, message },
        Kind::Part(wire::DynamoPart { item, bytes }) => dynamo::Outcome::Part { item, bytes: size(bytes)? },
        Kind::Written(written) => dynamo::Outcome::Written {
            attributes: some_record(written.attributes),
            old_bytes: size(written.old_bytes)?,
            new_bytes: size(written.new_bytes)?,
            entries: {
                let entry = |entry: wire::DynamoEntryWritten| Ok((entry.index, size(entry.bytes)?));
                written.entries.into_iter().map(entry).collect::<Result<_, RouterError>>()?
            },
        },
        Kind::Page(page) => dynamo::Outcome::Page(Page {
            items: page.items,
            count: size(page.count)?,
            scanned: size(page.scanned)?,
            bytes: size(page.bytes)?,
            last: some_record(page.last),
            more: page.more,
            passed: some_record(page.passed),
        }),
        Kind::Together(wire::DynamoResults { results }) => {
            let nested = |result: &wire::DynamoResult| matches!(result.result, Some(Kind::Together(_)));
            if results.iter().any(nested) {
                return Err(junk("results of DynamoDB inside one another"));
            }
            dynamo::Outcome::Together(results.into_iter().map(dynamo_outcome).collect::<Result<_, _>>()?)
        }
        Kind::ConditionFailed(wire::DynamoConditionFailed { item }) => {
            dynamo::Outcome::ConditionFailed { item: some_record(item) }
        }
    })
}

/// No record and no key is empty.
fn some_record(bytes: Bytes) -> Option<Bytes> {
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

fn size(size: u64) -> Result<usize, RouterError> {
    usize::try_from(size).map_err(|_| junk(format!("size {size}")))
}

fn record_outcome(result: wire::RecordResult) -> Result<record::Outcome, RouterError> {
    use record::Found;
    use wire::record_result::Result as Kind;
    let found = match result.result.ok_or_else(|| missing("record result"))? {
        // Of a unit that was observed as well: who asked knows what was asked.
        Kind::Missing(wire::Unit {}) => Found::Record(None),
        Kind::Found(found) => Found::Record(Some(found_record(found)?.1)),
        Kind::Records(wire::FoundRecords { records }) => {
            Found::Records(records.into_iter().map(found_record).collect::<Result<_, _>>()?)
        }
        Kind::Observed(version) => Found::Observed(Some(version_from_wire(version))),
        Kind::Gone(version) => Found::Gone(version_from_wire(version)),
    };
    Ok(record::Outcome { now_ms: result.now_ms, found })
}

fn found_record(found: wire::FoundRecord) -> Result<(Bytes, Record), RouterError> {
    let version = found.version.ok_or_else(|| missing("version of a record"))?;
    Ok((found.key, Record { value: found.value, version: version_from_wire(version) }))
}

fn version_from_wire(version: wire::VersionStamp) -> Version {
    Version { e: version.e, s: version.s }
}

fn junk(what: impl Into<String>) -> RouterError {
    RouterError::Protocol(what.into())
}

fn missing(what: &str) -> RouterError {
    junk(format!("{what} is missing"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn redis(kind: wire::redis_value::Kind) -> wire::RedisValue {
        wire::RedisValue { kind: Some(kind) }
    }

    fn results(values: Vec<wire::RedisValue>) -> wire::Results {
        let result = |value| wire::CommandResult { language: Some(wire::command_result::Language::Redis(value)) };
        wire::Results { results: values.into_iter().map(result).collect() }
    }

    #[test]
    fn half_valid_results_are_refused() {
        use wire::redis_value::Kind;
        let refused = |results, commands| matches!(outcomes(results, commands), Err(RouterError::Protocol(_)));
        assert!(refused(results(vec![redis(Kind::Integer(1))]), 2));
        assert!(refused(results(vec![wire::RedisValue { kind: None }]), 1));
        let odd = wire::RedisValues { items: vec![redis(Kind::Integer(1))] };
        assert!(refused(results(vec![redis(Kind::Map(odd))]), 1));
        let mut deep = redis(Kind::Integer(1));
        for _ in 0..=MAX_DEPTH {
            deep = redis(Kind::Array(wire::RedisValues { items: vec![deep] }));
        }
        assert!(refused(results(vec![deep]), 1));
        let scanned = wire::RedisScanned { next_slot: u32::from(SLOTS) + 1, ..Default::default() };
        let part = wire::RedisSpanResult { part: Some(wire::redis_span_result::Part::Scanned(scanned)) };
        let span = wire::CommandResult { language: Some(wire::command_result::Language::RedisSpan(part)) };
        assert!(refused(wire::Results { results: vec![span] }, 1));
    }

    #[test]
    fn limits_beyond_the_wire_are_the_largest() {
        assert_eq!((clamped(7), clamped(usize::MAX)), (7, u32::MAX));
    }

    proptest! {
        #[test]
        fn damaged_results_never_panic(
            texts in prop::collection::vec("[a-z]{0,4}", 1..4),
            at: prop::sample::Index,
            byte: u8,
        ) {
            let values = texts.into_iter().map(|text| redis(wire::redis_value::Kind::Simple(text))).collect();
            let mut bytes = results(values).encode_to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(results) = wire::Results::decode(bytes.as_slice()) {
                let _ = outcomes(results, 1);
            }
        }
    }
}
