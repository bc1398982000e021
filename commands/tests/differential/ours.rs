//! This crate behind the same interface as a server: what the gateway does, in a few lines.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use commands::redis::cursor::from_cursor;
use commands::redis::{
    DatabaseRequest, GatewayCommand, Invocation, Place, ScanPosition, Span, SpanOutcome, SpanPart, Value, database,
    describe, format_double, resolve, run, run_span,
};
use commands::testing::{MemoryView, ready};
use keyspace::{KeyRange, layout};

use crate::Line;

/// A database in memory.
pub struct Ours {
    view: MemoryView,
}

impl Ours {
    /// Empty.
    pub fn new() -> Self {
        Self { view: MemoryView::new(now_ms()) }
    }

    /// The reply to a command line of database 0, as a client with RESP3 sees it.
    pub fn answer(&mut self, line: &Line) -> Value {
        self.view.set_now_ms(now_ms());
        let invocation = Invocation::new(0, line.clone());
        let value = match resolve(line) {
            Err(error) => error.into(),
            Ok(spec) => match spec.place {
                Place::AtLeader(_) => {
                    let value = ready(run(&mut self.view, &invocation)).unwrap();
                    self.view.step();
                    value
                }
                Place::OverDatabase(_) => self.over_database(&invocation),
                Place::AtGateway(GatewayCommand::Describe) => describe::answer(line),
                Place::AtGateway(_)
                | Place::Registry(_)
                | Place::InSession(_)
                | Place::PubSub(_)
                | Place::Container => {
                    panic!("{} is for a gateway", spec.name)
                }
            },
        };
        in_resp3(value)
    }

    fn over_database(&mut self, invocation: &Invocation) -> Value {
        match database::parse(invocation) {
            Err(error) => error.into(),
            Ok(DatabaseRequest::Keys { pattern }) => {
                let mut found = Vec::new();
                let mut from = from_cursor(0);
                while let Some(at) = from {
                    let part = SpanPart::Scan { from: at, count: 100, pattern: pattern.clone(), type_name: None };
                    let (keys, next) = self.scan(part);
                    found.extend(keys.into_iter().map(Value::Bulk));
                    from = next;
                }
                Value::Array(found)
            }
            Ok(DatabaseRequest::Size) => match self.span(SpanPart::Count { resume: None, limit: usize::MAX }) {
                SpanOutcome::Counted { keys, .. } => Value::Integer(keys as i64),
                other => panic!("{other:?}"),
            },
            Ok(DatabaseRequest::Flush { all_databases }) => {
                self.span(SpanPart::Flush { all_databases });
                Value::OK
            }
            Ok(DatabaseRequest::RandomKey) => {
                let part = SpanPart::Scan { from: ScanPosition::default(), count: 1, pattern: None, type_name: None };
                self.scan(part).0.pop().map_or(Value::Null, Value::Bulk)
            }
            Ok(request @ DatabaseRequest::Scan { .. }) => panic!("{request:?}: cursors differ by design"),
            Ok(request @ (DatabaseRequest::SlotSize { .. } | DatabaseRequest::SlotKeys { .. })) => {
                panic!("{request:?}: needs a cluster")
            }
        }
    }

    fn scan(&mut self, part: SpanPart) -> (Vec<Bytes>, Option<ScanPosition>) {
        match self.span(part) {
            SpanOutcome::Scanned { keys, next } => (keys, next),
            other => panic!("{other:?}"),
        }
    }

    fn span(&mut self, part: SpanPart) -> SpanOutcome {
        let range = KeyRange::prefix(vec![layout::REDIS]);
        ready(run_span(&mut self.view, &Span { db: 0, range, part })).unwrap()
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// As RESP3 shows it: with one null, pairs as arrays, and numbers as text, so that their digits are compared.
fn in_resp3(value: Value) -> Value {
    let all = |items: Vec<Value>| items.into_iter().map(in_resp3).collect();
    match value {
        Value::NullArray => Value::Null,
        Value::Array(items) => Value::Array(all(items)),
        Value::Set(items) => Value::Set(all(items)),
        Value::Map(pairs) => {
            Value::Map(pairs.into_iter().map(|(key, value)| (in_resp3(key), in_resp3(value))).collect())
        }
        Value::Streams(pairs) => in_resp3(Value::Map(pairs)),
        Value::Pairs(pairs) => {
            Value::Array(pairs.into_iter().map(|(key, value)| Value::Array(all(vec![key, value]))).collect())
        }
        Value::Decimal(digits) => Value::Simple(format!(",{digits}").into()),
        Value::Double(number) => Value::Simple(format!(",{}", format_double(number)).into()),
        other => other,
    }
}
