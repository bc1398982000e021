//! Commands over a whole database, as the gateway sees them: KEYS, SCAN, DBSIZE, FLUSHDB, FLUSHALL, RANDOMKEY, and those
//! of CLUSTER over a slot.
//!
//! The gateway parses the arguments here and turns the request into [`super::Span`]s, one a range, in key order:
//!
//! - SCAN: [`super::SpanPart::Scan`] from the cursor's position, range after range, until `count` keys were looked at.
//! - KEYS: the same with a large count, until all ranges are done.
//! - DBSIZE: [`super::SpanPart::Count`], summed.
//! - FLUSHDB, FLUSHALL: [`super::SpanPart::Flush`] on every range.
//! - RANDOMKEY: a scan with count 1 from [`super::cursor::random_position`], wrapping around once.
//! - CLUSTER COUNTKEYSINSLOT, CLUSTER GETKEYSINSLOT: a scan from the beginning of the slot to its end.

use bytes::Bytes;
use keyspace::slot::SLOTS;

use super::Invocation;
use super::cursor::from_cursor;
use super::error::RedisError;
use super::number::parse_integer;
use super::table::DatabaseCommand;
use super::{Place, ScanPosition, resolve};

/// SCAN's COUNT when the client gives none.
const DEFAULT_COUNT: usize = 10;

/// A parsed command over a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseRequest {
    /// KEYS: all keys that match; `None`: all keys.
    Keys {
        /// Glob pattern.
        pattern: Option<Bytes>,
    },
    /// SCAN: a page of keys.
    Scan {
        /// Where to go on; `None`: the cursor lies behind everything, the page is empty and the last.
        from: Option<ScanPosition>,
        /// About this many keys looked at, at least 1.
        count: usize,
        /// Glob pattern; `None`: all keys.
        pattern: Option<Bytes>,
        /// Only keys of this type, as the client wrote it.
        type_name: Option<String>,
    },
    /// DBSIZE: the number of keys.
    Size,
    /// FLUSHDB, FLUSHALL.
    Flush {
        /// FLUSHALL.
        all_databases: bool,
    },
    /// RANDOMKEY: one key, or nil.
    RandomKey,
    /// CLUSTER COUNTKEYSINSLOT: the number of keys in a slot.
    SlotSize {
        /// Below [`SLOTS`].
        slot: u16,
    },
    /// CLUSTER GETKEYSINSLOT: some keys of a slot.
    SlotKeys {
        /// Below [`SLOTS`].
        slot: u16,
        /// At most so many.
        count: usize,
    },
}

/// Reads a command line whose [`Place`] is `OverDatabase`.
pub fn parse(invocation: &Invocation) -> Result<DatabaseRequest, RedisError> {
    let args = &invocation.args;
    let spec = resolve(args)?;
    let Place::OverDatabase(command) = spec.place else {
        return Err(RedisError::Misplaced { command: spec.name });
    };
    match command {
        DatabaseCommand::Keys => Ok(DatabaseRequest::Keys { pattern: selective(&args[1]) }),
        DatabaseCommand::Scan => parse_scan(args),
        DatabaseCommand::DbSize => Ok(DatabaseRequest::Size),
        DatabaseCommand::FlushDb => parse_flush(args, false),
        DatabaseCommand::FlushAll => parse_flush(args, true),
        DatabaseCommand::RandomKey => Ok(DatabaseRequest::RandomKey),
        DatabaseCommand::CountKeysInSlot => {
            let slot = parse_slot(parse_integer(&args[2])?).ok_or(RedisError::InvalidSlot)?;
            Ok(DatabaseRequest::SlotSize { slot })
        }
        DatabaseCommand::KeysInSlot => {
            let (slot, count) = (parse_integer(&args[2])?, parse_integer(&args[3])?);
            match (parse_slot(slot), usize::try_from(count)) {
                (Some(slot), Ok(count)) => Ok(DatabaseRequest::SlotKeys { slot, count }),
                _ => Err(RedisError::InvalidSlotOrCount),
            }
        }
    }
}

fn parse_slot(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|slot| *slot < SLOTS)
}

fn parse_scan(args: &[Bytes]) -> Result<DatabaseRequest, RedisError> {
    let from = from_cursor(parse_cursor(&args[1])?);
    let (mut count, mut pattern, mut type_name) = (DEFAULT_COUNT, None, None);
    for option in args[2..].chunks(2) {
        let [name, value] = option else {
            return Err(RedisError::Syntax);
        };
        if name.eq_ignore_ascii_case(b"count") {
            let wanted = parse_integer(value)?;
            count = usize::try_from(wanted).ok().filter(|&count| count > 0).ok_or(RedisError::Syntax)?;
        } else if name.eq_ignore_ascii_case(b"match") {
            pattern = selective(value);
        } else if name.eq_ignore_ascii_case(b"type") {
            type_name = Some(String::from_utf8_lossy(value).into_owned());
        } else {
            return Err(RedisError::Syntax);
        }
    }
    Ok(DatabaseRequest::Scan { from, count, pattern, type_name })
}

/// A cursor of SCAN and its relatives.
pub(super) fn parse_cursor(text: &[u8]) -> Result<u64, RedisError> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or(RedisError::InvalidCursor)
}

/// `*` selects everything, the empty key included, which the pattern itself would not match.
fn selective(pattern: &Bytes) -> Option<Bytes> {
    (**pattern != *b"*").then(|| pattern.clone())
}

/// ASYNC and SYNC make no difference: a flush is one record a range either way.
fn parse_flush(args: &[Bytes], all_databases: bool) -> Result<DatabaseRequest, RedisError> {
    match &args[1..] {
        [] => Ok(DatabaseRequest::Flush { all_databases }),
        [mode] if mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async") => {
            Ok(DatabaseRequest::Flush { all_databases })
        }
        _ => Err(RedisError::Syntax),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<DatabaseRequest, RedisError> {
        let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        parse(&Invocation::new(0, args))
    }

    #[test]
    fn scan_reads_its_options_in_any_order_and_the_last_one_wins() {
        let request = parsed("scan 0 TYPE String match a* Count 3 COUNT 5").unwrap();
        let wanted = DatabaseRequest::Scan {
            from: Some(ScanPosition::default()),
            count: 5,
            pattern: Some("a*".into()),
            type_name: Some("String".into()),
        };
        assert_eq!(request, wanted);
        let everything =
            DatabaseRequest::Scan { from: Some(ScanPosition::default()), count: 10, pattern: None, type_name: None };
        assert_eq!(parsed("SCAN 0 MATCH *").unwrap(), everything);
    }

    #[test]
    fn refusals_are_those_of_redis() {
        for cursor in ["x", "-1", " 1", "18446744073709551616"] {
            let args = vec![Bytes::from_static(b"scan"), Bytes::copy_from_slice(cursor.as_bytes())];
            assert_eq!(parse(&Invocation::new(0, args)), Err(RedisError::InvalidCursor), "{cursor:?}");
        }
        assert_eq!(parsed("scan 0 count 0"), Err(RedisError::Syntax));
        assert_eq!(parsed("scan 0 count"), Err(RedisError::Syntax));
        assert_eq!(parsed("scan 0 count x"), Err(RedisError::NotAnInteger));
        assert_eq!(parsed("scan 0 what ever"), Err(RedisError::Syntax));
        assert_eq!(parsed("flushall now"), Err(RedisError::Syntax));
        assert_eq!(parsed("flushdb sync async"), Err(RedisError::Syntax));
        assert_eq!(parsed("keys"), Err(RedisError::WrongArity { command: "keys" }));
        assert_eq!(parsed("get k"), Err(RedisError::Misplaced { command: "get" }));
    }

    #[test]
    fn a_cursor_behind_everything_is_a_finished_scan() {
        let request = parsed("scan 18446744073709551615").unwrap();
        assert!(matches!(request, DatabaseRequest::Scan { from: None, .. }));
    }
}
