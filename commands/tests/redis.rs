//! Scenarios of Redis commands as scripts: `tests/redis/*`, one scenario each.
//!
//! A line is a command line; a prefix selects the database (`1: get k`). Beside Redis' commands there are `advance
//! <ms>`, which moves the clock, and `records`, which counts what is stored, expired records included. After a change
//! of behaviour `UPDATE_GOLDENFILES=1 cargo test -p commands --test redis` writes the new answers; read the diff.

#![allow(clippy::unwrap_used)]

use std::error::Error;

use bytes::Bytes;
use commands::redis::cursor::to_cursor;
use commands::redis::{
    DatabaseRequest, Invocation, Place, Span, SpanOutcome, SpanPart, Value, database, format_double, resolve, run,
    run_span, writes,
};
use commands::testing::{MemoryView, ready};
use goldenscript::{Argument, Command, Context};
use keyspace::{KeyRange, layout};

#[derive(Default)]
struct Scenario {
    view: MemoryView,
}

impl goldenscript::Runner for Scenario {
    type Command = Command;

    fn run(&mut self, command: &Command, context: &Context) -> Result<String, Box<dyn Error>> {
        let args: Vec<Bytes> = std::iter::once(command.name.clone())
            .chain(command.args.iter().map(|argument| match argument {
                Argument::Positional(word) => word.clone(),
                other => other.to_string(),
            }))
            .map(Bytes::from)
            .collect();
        let shown: Vec<String> = args.iter().map(word).collect();
        let db = context.prefix.as_deref().map_or(Ok(0), str::parse)?;
        let answer = match command.name.as_str() {
            "advance" => {
                self.view.advance_ms(std::str::from_utf8(&args[1])?.parse()?);
                format!("now {}", self.now())
            }
            "records" => self.view.records().len().to_string(),
            _ => text(&self.answer(&Invocation::new(db, args))),
        };
        Ok(format!("{} → {answer}", shown.join(" ")))
    }
}

impl Scenario {
    fn now(&self) -> u64 {
        use commands::View;
        self.view.now_ms()
    }

    fn answer(&mut self, invocation: &Invocation) -> Value {
        match resolve(&invocation.args).map(|spec| spec.place) {
            Ok(Place::OverDatabase(_)) => self.over_database(invocation),
            _ => {
                self.view.take_accesses();
                let value = ready(run(&mut self.view, invocation)).unwrap();
                self.view.step();
                let wrote = self.view.take_accesses().wrote();
                assert!(!wrote || writes(invocation), "what writes says so");
                assert!(!wrote || !value.is_error(), "what is refused writes nothing");
                value
            }
        }
    }

    fn over_database(&mut self, invocation: &Invocation) -> Value {
        let part = match database::parse(invocation) {
            Err(error) => return error.into(),
            Ok(DatabaseRequest::Scan { from, count, pattern, type_name }) => {
                SpanPart::Scan { from: from.unwrap(), count, pattern, type_name }
            }
            Ok(DatabaseRequest::Keys { pattern }) => {
                SpanPart::Scan { from: Default::default(), count: 10_000, pattern, type_name: None }
            }
            Ok(DatabaseRequest::Size) => SpanPart::Count { resume: None, limit: 10_000 },
            Ok(DatabaseRequest::Flush { all_databases }) => SpanPart::Flush { all_databases },
            Ok(DatabaseRequest::RandomKey) => panic!("random answers are no script"),
            Ok(DatabaseRequest::SlotSize { .. } | DatabaseRequest::SlotKeys { .. }) => {
                panic!("CLUSTER is compared by the differential test")
            }
        };
        let span = Span { db: invocation.db, range: KeyRange::prefix(vec![layout::REDIS]), part };
        match ready(run_span(&mut self.view, &span)).unwrap() {
            SpanOutcome::Scanned { keys, next } => Value::Array(vec![
                Value::bulk(to_cursor(next).to_string()),
                Value::Array(keys.into_iter().map(Value::Bulk).collect()),
            ]),
            SpanOutcome::Counted { keys, .. } => Value::Integer(keys as i64),
            SpanOutcome::Flushed => Value::OK,
        }
    }
}

fn word(word: &Bytes) -> String {
    let plain = !word.is_empty() && word.iter().all(u8::is_ascii_graphic);
    if plain { String::from_utf8_lossy(word).into_owned() } else { format!("\"{}\"", word.escape_ascii()) }
}

fn text(value: &Value) -> String {
    match value {
        Value::Simple(text) => text.to_string(),
        Value::Error(text) => format!("({text})"),
        Value::Integer(number) => number.to_string(),
        Value::Bulk(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        Value::Null | Value::NullArray => "nil".to_owned(),
        Value::Double(number) => format_double(*number),
        Value::Decimal(digits) => digits.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", ")),
        Value::Set(items) => format!("{{{}}}", items.iter().map(text).collect::<Vec<_>>().join(", ")),
        Value::Map(pairs) | Value::Pairs(pairs) | Value::Streams(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| format!("{}: {}", text(key), text(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}"),
    }
}

/// One test a script.
macro_rules! scenarios {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/redis/", stringify!($name));
                goldenscript::run(&mut Scenario::default(), path).unwrap();
            }
        )*

        #[test]
        fn every_script_is_run() {
            let mut scripts: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/redis"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            scripts.sort();
            assert_eq!(scripts, [$(stringify!($name)),*]);
        }
    };
}

scenarios! {
    bits_and_sketches
    blocking
    conditions_of_expire
    copies
    counters
    databases
    expiry
    floats
    getex
    hashes
    lists
    moves
    places
    refusals
    renames
    scan
    set_options
    sets
    several_keys
    sorted_sets
    sorts
    streams
    subsequences
    substrings
}
