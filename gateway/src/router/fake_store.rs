//! A fake node that really stores: it evaluates commands over a map in memory and knows nothing of groups.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use commands::redis::{Invocation, ScanPosition, Span, SpanPart};
use commands::testing::MemoryView;
use commands::{Command, Order, dynamo, raw, record};
use keyspace::KeyRange;
use proto::wire;

use super::fake::Verdict;
use super::results::result_of;

/// Evaluates one request. Dedup, routes and timestamps are not its affair.
pub(crate) fn evaluate(view: &mut MemoryView, request: &wire::Request) -> Verdict {
    let commands = match request.kind.as_ref().unwrap() {
        wire::request::Kind::Exec(exec) => &exec.commands,
        wire::request::Kind::Read(read) => &read.commands,
        wire::request::Kind::Transact(_) => panic!("this store knows nothing of transactions"),
    };
    Verdict::Results(run_all(view, commands))
}

/// Evaluates commands together.
pub(super) fn run_all(view: &mut MemoryView, commands: &[wire::Command]) -> wire::Results {
    let run = |command: &wire::Command| result_of(view.run(&from_wire(command.clone())).unwrap());
    wire::Results { results: commands.iter().map(run).collect() }
}

/// Whether a command may write.
pub(super) fn writes(command: &wire::Command) -> bool {
    from_wire(command.clone()).writes()
}

fn range(start: Bytes, end: Bytes) -> KeyRange {
    KeyRange::new(start, (!end.is_empty()).then_some(end)).unwrap()
}

fn from_wire(command: wire::Command) -> Command {
    use wire::command::Language;
    match command.language.unwrap() {
        Language::Redis(command) => Command::Redis(
            Invocation::new(command.db as u8, command.args)
                .telling(commands::redis::Classes::from_bits(command.telling)),
        ),
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
        Language::Record(command) => Command::Record(match command.operation.unwrap() {
            wire::record_command::Operation::Get(key) => record::Operation::Get { key },
            wire::record_command::Operation::Scan(scan) => record::Operation::Scan {
                range: range(scan.start, scan.end),
                order: if scan.reverse { Order::Descending } else { Order::Ascending },
                limit: scan.limit as usize,
            },
            wire::record_command::Operation::Observe(unit) => record::Operation::Observe { unit },
            wire::record_command::Operation::Write(writes) => record::Operation::Write {
                writes: writes.writes.into_iter().map(|write| (write.key, write.value)).collect(),
            },
            wire::record_command::Operation::Register(entry) => {
                record::Operation::Register { key: entry.key, value: entry.value }
            }
            wire::record_command::Operation::Replace(entry) => {
                record::Operation::Replace { key: entry.key, seen: entry.seen, value: entry.value }
            }
        }),
        Language::Dynamo(command) => Command::Dynamo(match command.operation.unwrap() {
            wire::dynamo_command::Operation::GetItem(get) => {
                let selection = |record: &Bytes| dynamo::Selection::decode(record).unwrap();
                let projection = Some(&get.selection).filter(|record| !record.is_empty()).map(selection);
                let projection = projection.and_then(|selection| selection.projection);
                dynamo::Operation::GetItem { key: get.key, projection }
            }
            wire::dynamo_command::Operation::WriteItem(write) => {
                dynamo::Operation::WriteItem(Box::new(write_of(write)))
            }
            wire::dynamo_command::Operation::Together(together) => {
                dynamo::Operation::Together(together.writes.into_iter().map(write_of).collect())
            }
            wire::dynamo_command::Operation::ReadPage(page) => {
                dynamo::Operation::ReadPage(Box::new(dynamo::PageRead {
                    range: range(page.start, page.end),
                    order: if page.reverse { Order::Descending } else { Order::Ascending },
                    max_items: page.max_items as usize,
                    max_bytes: page.max_bytes as usize,
                    selection: dynamo::Selection::decode(&page.selection).unwrap(),
                }))
            }
            other => panic!("the DynamoDB listener has tests of its own for {other:?}"),
        }),
    }
}

fn write_of(write: wire::DynamoWriteItem) -> dynamo::ItemWrite {
    dynamo::ItemWrite::decode(write.key, &write.write, write.item).unwrap()
}
