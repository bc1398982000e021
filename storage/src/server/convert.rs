//! Requests off the wire: what is not a valid request stops here.

use bytes::Bytes;
use commands::{Command, Order, dynamo, raw, record, redis};
use keyspace::layout::REDIS_DATABASES;
use keyspace::slot::SLOTS;
use keyspace::{Epoch, Key, KeyRange, RangeId, RequestId, SystemKey, Version};
use proto::{WireError, wire};

use crate::group::request::{ExecRequest, Prewrite, ReadRequest, Scope, Step, StepRequest, Target};

fn missing(message: &'static str, field: &'static str) -> WireError {
    WireError::Missing { message, field }
}

fn invalid(message: &'static str, field: &'static str) -> WireError {
    WireError::Invalid { message, field }
}

/// A request that may write.
pub fn exec(
    incarnation: u64,
    seen_e: u64,
    connection: u64,
    targets: Vec<wire::Target>,
    exec: wire::Exec,
) -> Result<ExecRequest, WireError> {
    let id: RequestId = proto::identity::request_id(incarnation, &exec)?;
    let observed = exec.observed.into_iter().map(observed).collect();
    Ok(ExecRequest {
        id,
        seen_e: seen_e.max(exec.first_e),
        anchor: exec.anchor,
        targets: targets.into_iter().map(target).collect::<Result<_, _>>()?,
        observed,
        commands: exec.commands.into_iter().map(command).collect::<Result<_, _>>()?,
        connection,
        patience_ms: exec.patience_ms,
        instead_of: (exec.instead_of != 0).then_some(RequestId { incarnation, sequence: exec.instead_of }),
    })
}

/// A request that changes nothing.
pub fn read(targets: Vec<wire::Target>, read: wire::Read) -> Result<ReadRequest, WireError> {
    Ok(ReadRequest {
        targets: targets.into_iter().map(target).collect::<Result<_, _>>()?,
        commands: read.commands.into_iter().map(command).collect::<Result<_, _>>()?,
        at: (read.at != 0).then_some(read.at),
        txn: read.txn.map(TryInto::try_into).transpose()?,
    })
}

/// A step of a transaction.
pub fn step(
    seen_e: u64,
    connection: u64,
    targets: Vec<wire::Target>,
    step: wire::Transact,
) -> Result<StepRequest, WireError> {
    use wire::transact::Step as Do;
    let mut seen_e = seen_e;
    let txn = step.txn.ok_or(missing("Transact", "txn"))?.try_into()?;
    let step_of = match step.step.ok_or(missing("Transact", "step"))? {
        Do::Begin(begin) => {
            seen_e = seen_e.max(begin.first_e);
            Step::Begin { participants: begin.participants }
        }
        Do::Prewrite(prewrite) => {
            seen_e = seen_e.max(prewrite.first_e);
            Step::Prewrite(Prewrite {
                participants: prewrite.participants,
                observed: prewrite.observed.into_iter().map(observed).collect(),
                commands: prewrite.commands.into_iter().map(command).collect::<Result<_, _>>()?,
                intents: prewrite.intents.into_iter().map(|intent| (intent.key, intent.value)).collect(),
                waits: prewrite.waits,
                exclusive: prewrite.exclusive,
                fingerprint: prewrite.fingerprint,
            })
        }
        Do::Commit(commit) => Step::Commit {
            participants: commit.participants.into_iter().map(participant).collect::<Result<_, _>>()?,
            response: commit.response.unwrap_or_default(),
        },
        Do::Abort(abort) => Step::Abort { only_dead: abort.only_dead },
        Do::Resolve(resolve) => Step::Resolve {
            committed_at: resolve.committed_at.map(version).transpose()?,
            participants: resolve.participants.into_iter().map(participant).collect::<Result<_, _>>()?,
        },
        Do::Forget(wire::Forget {}) => Step::Forget,
        Do::Heartbeat(wire::Heartbeat {}) => Step::Heartbeat,
        Do::Inquire(wire::Inquire {}) => Step::Inquire,
    };
    let targets = targets.into_iter().map(target).collect::<Result<_, _>>()?;
    Ok(StepRequest { txn, anchor: step.anchor, seen_e, targets, step: step_of, connection })
}

fn observed(unit: wire::ObservedUnit) -> (Bytes, Option<Version>) {
    (unit.unit, unit.version.map(Version::from))
}

fn participant(participant: wire::Participant) -> Result<(Bytes, Version), WireError> {
    let prepared = participant.prepared.ok_or(missing("Participant", "prepared"))?;
    Ok((participant.unit, version(prepared)?))
}

/// A version that the clock is brought up to. One near the end of the numbers would leave none for what comes.
fn version(stamp: wire::VersionStamp) -> Result<Version, WireError> {
    const END: u64 = 1 << 62;
    if stamp.e >= END || stamp.s >= END {
        return Err(invalid("VersionStamp", "s"));
    }
    Ok(stamp.into())
}

fn target(target: wire::Target) -> Result<Target, WireError> {
    let scope =
        if target.is_interval { Scope::Interval(interval(target.key, target.end)?) } else { Scope::Unit(target.key) };
    Ok(Target { scope, range_id: RangeId(target.range_id), epoch: Epoch(target.epoch) })
}

/// An empty end is the end of the keyspace.
fn interval(start: Bytes, end: Bytes) -> Result<KeyRange, WireError> {
    KeyRange::new(start, (!end.is_empty()).then_some(end)).ok_or(invalid("KeyRange", "end"))
}

fn command(command: wire::Command) -> Result<Command, WireError> {
    use wire::command::Language;
    match command.language.ok_or(missing("Command", "language"))? {
        Language::Redis(redis) => {
            if redis.args.is_empty() {
                return Err(missing("RedisCommand", "args"));
            }
            let telling = redis::Classes::from_bits(redis.telling);
            Ok(Command::Redis(redis::Invocation::new(db(redis.db)?, redis.args).telling(telling)))
        }
        Language::RedisSpan(span) => redis_span(span).map(Command::RedisSpan),
        Language::Raw(raw) => raw_operation(raw).map(Command::Raw),
        Language::Dynamo(dynamo) => dynamo_operation(dynamo).map(Command::Dynamo),
        Language::Record(record) => record_operation(record).map(Command::Record),
    }
}

fn record_operation(command: wire::RecordCommand) -> Result<record::Operation, WireError> {
    use wire::record_command::Operation;
    Ok(match command.operation.ok_or(missing("RecordCommand", "operation"))? {
        Operation::Get(key) => record::Operation::Get { key },
        Operation::Observe(unit) => record::Operation::Observe { unit },
        Operation::Write(writes) => {
            let write = |write: wire::RecordWrite| match Key::decode(&write.key) {
                Ok(_) => Ok((write.key, write.value)),
                Err(_) => Err(invalid("RecordWrite", "key")),
            };
            record::Operation::Write { writes: writes.writes.into_iter().map(write).collect::<Result<_, _>>()? }
        }
        Operation::Register(entry) => match Key::decode(&entry.key) {
            Ok(Key::System(SystemKey::Entry { .. })) => {
                record::Operation::Register { key: entry.key, value: entry.value }
            }
            _ => return Err(invalid("RecordRegister", "key")),
        },
        Operation::Replace(entry) => match Key::decode(&entry.key) {
            Ok(Key::System(SystemKey::Entry { .. })) => {
                record::Operation::Replace { key: entry.key, seen: entry.seen, value: entry.value }
            }
            _ => return Err(invalid("RecordReplace", "key")),
        },
        Operation::Scan(scan) => {
            if scan.to_keyspace_end != scan.end.is_empty() {
                return Err(invalid("RecordScan", "end"));
            }
            record::Operation::Scan {
                range: interval(scan.start, scan.end)?,
                order: if scan.reverse { Order::Descending } else { Order::Ascending },
                limit: size(scan.limit),
            }
        }
    })
}

fn db(db: u32) -> Result<u8, WireError> {
    u8::try_from(db).ok().filter(|db| *db < REDIS_DATABASES).ok_or(invalid("RedisCommand", "db"))
}

fn size(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn redis_span(span: wire::RedisSpan) -> Result<redis::Span, WireError> {
    use wire::redis_span::Part;
    let part = match span.part.ok_or(missing("RedisSpan", "part"))? {
        Part::Scan(scan) => {
            let slot = u16::try_from(scan.slot).ok().filter(|slot| *slot <= SLOTS);
            redis::SpanPart::Scan {
                from: redis::ScanPosition {
                    slot: slot.ok_or(invalid("RedisScanPart", "slot"))?,
                    above_hash: (!scan.whole_slot).then_some(scan.above_hash),
                },
                count: size(scan.count),
                pattern: scan.has_match.then_some(scan.match_pattern),
                type_name: (!scan.type_name.is_empty()).then_some(scan.type_name),
            }
        }
        Part::Count(count) => redis::SpanPart::Count {
            resume: (!count.resume.is_empty()).then_some(count.resume),
            limit: size(count.limit),
        },
        Part::Flush(flush) => redis::SpanPart::Flush { all_databases: flush.all_databases },
    };
    Ok(redis::Span { db: db(span.db)?, range: interval(span.start, span.end)?, part })
}

fn raw_operation(command: wire::RawCommand) -> Result<raw::Operation, WireError> {
    use wire::raw_command::Operation;
    Ok(match command.operation.ok_or(missing("RawCommand", "operation"))? {
        Operation::Put(put) => raw::Operation::Put { key: put.key, value: put.value },
        Operation::Delete(delete) => raw::Operation::Delete { key: delete.key },
        Operation::Get(get) => raw::Operation::Get { key: get.key },
        Operation::Scan(scan) => {
            if scan.to_keyspace_end != scan.end.is_empty() {
                return Err(invalid("RawScan", "end"));
            }
            raw::Operation::Scan {
                range: interval(scan.start, scan.end)?,
                order: if scan.reverse { Order::Descending } else { Order::Ascending },
                limit: size(scan.limit),
            }
        }
    })
}

fn dynamo_operation(command: wire::DynamoCommand) -> Result<dynamo::Operation, WireError> {
    use dynamo::Operation as Do;
    use wire::dynamo_command::Operation;
    Ok(match command.operation.ok_or(missing("DynamoCommand", "operation"))? {
        Operation::CreateTable(create) => Do::CreateTable { name: create.name, descriptor: create.descriptor },
        Operation::DeleteTable(delete) => Do::DeleteTable { name: delete.name },
        Operation::AlterTable(alter) => {
            let alteration = dynamo::alter::Alteration::decode(&alter.alteration);
            let alteration = alteration.map_err(|_| invalid("DynamoAlterTable", "alteration"))?;
            Do::AlterTable { name: alter.name, alteration }
        }
        Operation::DescribeTable(describe) => Do::DescribeTable { name: describe.name },
        Operation::ListTables(list) => Do::ListTables { start_after: list.start_after, limit: size(list.limit) },
        Operation::GetItem(get) => {
            let projection = match get.selection.is_empty() {
                true => None,
                false => selection(&get.selection, "DynamoGetItem")?.projection,
            };
            Do::GetItem { key: get.key, projection }
        }
        Operation::WriteItem(write) => Do::WriteItem(Box::new(item_write(write)?)),
        Operation::Together(together) => {
            Do::Together(together.writes.into_iter().map(item_write).collect::<Result<_, _>>()?)
        }
        Operation::ReadPage(page) => Do::ReadPage(Box::new(dynamo::PageRead {
            selection: selection(&page.selection, "DynamoReadPage")?,
            range: interval(page.start, page.end)?,
            order: if page.reverse { Order::Descending } else { Order::Ascending },
            max_items: size(page.max_items),
            max_bytes: size(page.max_bytes),
        })),
    })
}

fn item_write(write: wire::DynamoWriteItem) -> Result<dynamo::ItemWrite, WireError> {
    let decoded = dynamo::ItemWrite::decode(write.key, &write.write, write.item);
    decoded.map_err(|_| invalid("DynamoWriteItem", "write"))
}

fn selection(record: &[u8], message: &'static str) -> Result<dynamo::Selection, WireError> {
    dynamo::Selection::decode(record).map_err(|_| invalid(message, "selection"))
}
