//! Keys as people write them, on the command line and in the public API.
//!
//! | text | encoded key |
//! | --- | --- |
//! | `raw:g` | RawKV key `g` |
//! | `redis:slot:8192` | first key of a Redis slot; `redis:slot:8192:db:3` of a database in it |
//! | `redis:0:user:7` | Redis key `user:7` of database 0 |
//! | `redis:meta:0:user:7` | its meta record, which holds the value of a string |
//! | `redis:element:0:0x0123456789abcdef:name:user:7` | an element of a collection: generation, element, key |
//! | `dynamo:orders:0x8000` | first key of a partition hash of a table; `dynamo:orders` of the table |
//! | `dynamo:#12:0x8000` | the same, with the table's id in the place of its name |
//! | `system:table:orders` | descriptor of a table |
//! | `system:table-sequence` | the counter of table ids |
//! | `system:script:…` `system:library:…` `system:user:alice` | what gateways have registered |
//! | `raw:` `redis:` `dynamo:` `system:` `system:table:` | first key of a language, of all table descriptors |
//! | `0x6b6700` | any bytes |
//!
//! In user keys, elements and names `\\` is a backslash and `\xHH` a byte; what is not printable text is printed so, and
//! so is a colon in an element.
//!
//! [`print()`] writes a form that [`parse`] reads back to the same bytes, whatever they are. The beginning and the end
//! of the keyspace are the empty text; which one is meant follows from where it stands.
//!
//! Table names live in the database, so both take a [`Tables`].

use std::fmt::Write as _;

use thiserror::Error;

use crate::codec::Reader;
use crate::ids::TableId;
use crate::layout::{self, DYNAMO, Key, RAW, REDIS, REDIS_DATABASES, RedisRecord, Registry, SYSTEM, SystemKey};
use crate::slot::SLOTS;

/// Knows the tables by name. What it does not know is written with the table's id.
pub trait Tables {
    /// The id of a table.
    fn id_of(&self, name: &str) -> Option<TableId>;
    /// The name of a table.
    fn name_of(&self, id: TableId) -> Option<String>;
}

/// Knows no table.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTables;

impl Tables for NoTables {
    fn id_of(&self, _: &str) -> Option<TableId> {
        None
    }

    fn name_of(&self, _: TableId) -> Option<String> {
        None
    }
}

/// Why a text names no key.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HumanError {
    /// Begins with no form's prefix.
    #[error("unknown form of key: {text:?}; known are raw:, redis:, dynamo:, system: and 0x")]
    UnknownForm {
        /// The text.
        text: String,
    },
    /// Not an even number of hexadecimal digits.
    #[error("{text:?} is not hexadecimal")]
    BadHex {
        /// The text behind `0x`.
        text: String,
    },
    /// A backslash followed by neither `\` nor `xHH`.
    #[error("bad escape in {text:?}: write \\\\ for a backslash and \\xHH for a byte")]
    BadEscape {
        /// The text.
        text: String,
    },
    /// A number that is none, or is out of bounds.
    #[error("{field} {text:?} is not a number from {min} to {max}")]
    BadNumber {
        /// What it would have named.
        field: &'static str,
        /// The text.
        text: String,
        /// Smallest value allowed.
        min: u32,
        /// Largest value allowed.
        max: u32,
    },
    /// A part of a form that does not exist.
    #[error("{text:?} is not a {form} key")]
    BadForm {
        /// The form.
        form: &'static str,
        /// The text behind the form's prefix.
        text: String,
    },
    /// No such table.
    #[error("unknown table {name:?}; write #id for a table known by its id only")]
    UnknownTable {
        /// The name.
        name: String,
    },
}

const PREFIXES: [&str; 5] = ["raw:", "redis:", "dynamo:", "system:", "0x"];

/// The encoded key that a text names; the empty text is the empty key, the beginning of the keyspace.
pub fn parse(text: &str, tables: &dyn Tables) -> Result<Vec<u8>, HumanError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return parse_hex(hex);
    }
    match text.split_once(':') {
        Some(("raw", rest)) => Ok(if rest.is_empty() { vec![RAW] } else { layout::raw(&unescape(rest)?) }),
        Some(("redis", rest)) => parse_redis(rest),
        Some(("dynamo", rest)) => parse_dynamo(rest, tables),
        Some(("system", rest)) => parse_system(rest),
        _ => Err(HumanError::UnknownForm { text: text.to_owned() }),
    }
}

/// The encoded key that bytes of the public API name: a text of one of the forms, else the RawKV user key.
///
/// So `g` is the RawKV key `g`. A user key that begins like a form (`redis:x`) is written with `raw:` before it.
pub fn parse_or_raw(bytes: &[u8], tables: &dyn Tables) -> Result<Vec<u8>, HumanError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_empty() || PREFIXES.iter().any(|prefix| text.starts_with(prefix)) => parse(text, tables),
        _ => Ok(layout::raw(bytes)),
    }
}

/// Writes an encoded key so that [`parse`] reads the same bytes back; hexadecimal where no other form fits.
pub fn print(key: &[u8], tables: &dyn Tables) -> String {
    print_form(key, tables).unwrap_or_else(|| {
        key.iter().fold("0x".to_owned(), |mut out, byte| {
            // Writing to a string cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
    })
}

fn print_form(key: &[u8], tables: &dyn Tables) -> Option<String> {
    let Some((&tag, rest)) = key.split_first() else {
        return Some(String::new());
    };
    match tag {
        RAW if rest.is_empty() => Some("raw:".to_owned()),
        RAW => match Key::decode(key).ok()? {
            // The empty key would read as the first key of the language.
            Key::Raw { user_key } if !user_key.is_empty() => Some(format!("raw:{}", escape(&user_key))),
            _ => None,
        },
        REDIS => print_redis(key),
        DYNAMO => print_dynamo(rest, tables),
        SYSTEM if rest.is_empty() => Some("system:".to_owned()),
        SYSTEM if key == layout::table_descriptors() => Some("system:table:".to_owned()),
        SYSTEM => match Key::decode(key) {
            Ok(Key::System(SystemKey::TableSequence)) => Some("system:table-sequence".to_owned()),
            Ok(Key::System(SystemKey::Table { name })) if !name.is_empty() => {
                Some(format!("system:table:{}", escape(name.as_bytes())))
            }
            Ok(Key::System(SystemKey::Entry { registry, name })) if !name.is_empty() => {
                Some(format!("system:{}:{}", registry.name(), escape(&name)))
            }
            Ok(_) => None,
            Err(_) => {
                let registry = Registry::ALL.into_iter().find(|registry| key == registry.prefix())?;
                Some(format!("system:{}:", registry.name()))
            }
        },
        _ => None,
    }
}

fn print_redis(key: &[u8]) -> Option<String> {
    let mut reader = Reader::new(key.get(1..)?);
    if reader.rest().is_empty() {
        return Some("redis:".to_owned());
    }
    if !layout::is_unit_boundary(key) {
        return print_redis_record(key);
    }
    let slot = reader.u16("slot").ok()?;
    if reader.rest().is_empty() {
        return Some(format!("redis:slot:{slot}"));
    }
    let db = reader.u8("database").ok()?;
    if reader.rest().is_empty() {
        return Some(format!("redis:slot:{slot}:db:{db}"));
    }
    Some(format!("redis:{db}:{}", escape(&reader.bytes("user key").ok()?)))
}

fn print_redis_record(key: &[u8]) -> Option<String> {
    let Key::Redis { db, user_key, record } = Key::decode(key).ok()? else { return None };
    let user_key = escape(&user_key);
    Some(match record {
        RedisRecord::Meta => format!("redis:meta:{db}:{user_key}"),
        RedisRecord::Element { generation, element } => {
            let element = escape(&element).replace(':', "\\x3a");
            format!("redis:element:{db}:0x{generation:016x}:{element}:{user_key}")
        }
    })
}

fn print_dynamo(rest: &[u8], tables: &dyn Tables) -> Option<String> {
    if rest.is_empty() {
        return Some("dynamo:".to_owned());
    }
    let mut reader = Reader::new(rest);
    let table = TableId(reader.u32("table id").ok()?);
    let hash = if reader.rest().is_empty() { None } else { Some(reader.u16("partition hash").ok()?) };
    reader.finish().ok()?;
    // A name that the form cannot carry is no table name of DynamoDB either.
    let name = tables.name_of(table).filter(|name| !name.is_empty() && !name.contains([':', '#']));
    let name = name.unwrap_or_else(|| format!("#{table}"));
    Some(match hash {
        None => format!("dynamo:{name}"),
        Some(hash) => format!("dynamo:{name}:0x{hash:04x}"),
    })
}

fn parse_redis(rest: &str) -> Result<Vec<u8>, HumanError> {
    if rest.is_empty() {
        return Ok(vec![REDIS]);
    }
    let bad_form = || HumanError::BadForm { form: "redis", text: rest.to_owned() };
    let (first, behind) = rest.split_once(':').ok_or_else(bad_form)?;
    match first {
        "slot" => {}
        "meta" => {
            let (db, user_key) = behind.split_once(':').ok_or_else(bad_form)?;
            return Ok(layout::redis_meta(database(db)?, &unescape(user_key)?));
        }
        "element" => {
            let mut fields = behind.splitn(4, ':');
            let mut field = || fields.next().ok_or_else(bad_form);
            let (db, generation) = (database(field()?)?, field()?);
            let digits = generation.strip_prefix("0x").filter(|hex| hex.len() == 16).ok_or_else(bad_form)?;
            let generation = parse_hex(digits)?.try_into().map_err(|_| bad_form())?;
            let record =
                RedisRecord::Element { generation: u64::from_be_bytes(generation), element: unescape(field()?)? };
            return Ok(Key::Redis { db, user_key: unescape(field()?)?, record }.encode());
        }
        _ => return Ok(layout::redis_unit(database(first)?, &unescape(behind)?)),
    }
    match behind.split_once(':') {
        None => Ok(layout::redis_slot(number("slot", behind, u32::from(SLOTS))?)),
        Some((slot, db)) => {
            let slot = number("slot", slot, u32::from(SLOTS) - 1)?;
            let db = db.strip_prefix("db:").ok_or_else(bad_form)?;
            Ok(layout::redis_slot_db(slot, database(db)?))
        }
    }
}

fn parse_dynamo(rest: &str, tables: &dyn Tables) -> Result<Vec<u8>, HumanError> {
    if rest.is_empty() {
        return Ok(vec![DYNAMO]);
    }
    let (name, hash) = match rest.split_once(':') {
        Some((name, hash)) => (name, Some(hash)),
        None => (rest, None),
    };
    let table = match name.strip_prefix('#') {
        Some(id) => TableId(number("table id", id, u32::MAX)?),
        None => tables.id_of(name).ok_or_else(|| HumanError::UnknownTable { name: name.to_owned() })?,
    };
    match hash {
        None => Ok(layout::dynamo_table(table)),
        Some(text) => {
            let bad_form = || HumanError::BadForm { form: "dynamo", text: rest.to_owned() };
            let digits = text.strip_prefix("0x").filter(|hex| hex.len() == 4).ok_or_else(bad_form)?;
            let hash = parse_hex(digits)?.try_into().map_err(|_| bad_form())?;
            Ok(layout::dynamo_hash(table, u16::from_be_bytes(hash)))
        }
    }
}

fn parse_system(rest: &str) -> Result<Vec<u8>, HumanError> {
    match rest {
        "" => Ok(vec![SYSTEM]),
        "table:" => Ok(layout::table_descriptors()),
        "table-sequence" => Ok(Key::System(SystemKey::TableSequence).encode()),
        _ => {
            let bad_form = || HumanError::BadForm { form: "system", text: rest.to_owned() };
            for registry in Registry::ALL {
                if let Some(name) = rest.strip_prefix(registry.name()).and_then(|rest| rest.strip_prefix(':')) {
                    return Ok(if name.is_empty() { registry.prefix() } else { registry.entry(&unescape(name)?) });
                }
            }
            let name = unescape(rest.strip_prefix("table:").ok_or_else(bad_form)?)?;
            Ok(layout::table_descriptor(std::str::from_utf8(&name).map_err(|_| bad_form())?))
        }
    }
}

fn database(text: &str) -> Result<u8, HumanError> {
    number("database", text, u32::from(REDIS_DATABASES) - 1)
}

/// Decimal digits only: no sign, up to `max`, which fits the type asked for.
fn number<T: TryFrom<u32>>(field: &'static str, text: &str, max: u32) -> Result<T, HumanError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let value = text.parse::<u32>().ok().filter(|&value| digits && value <= max);
    value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| HumanError::BadNumber {
        field,
        text: text.to_owned(),
        min: 0,
        max,
    })
}

fn parse_hex(text: &str) -> Result<Vec<u8>, HumanError> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2));
    let digits = digits.ok_or_else(|| HumanError::BadHex { text: text.to_owned() })?;
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Printable text as it is, all else as `\xHH`.
fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let put_byte = |out: &mut String, byte: u8| {
        // Writing to a string cannot fail.
        let _ = write!(out, "\\x{byte:02x}");
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            // What Rust's debug form shows as it is can be read on a screen; quotes are harmless here.
            let printable = matches!(c, '\'' | '"') || c.escape_debug().len() == 1;
            match c {
                '\\' => out.push_str("\\\\"),
                _ if printable => out.push(c),
                _ => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| put_byte(&mut out, byte)),
            }
        }
        chunk.invalid().iter().for_each(|&byte| put_byte(&mut out, byte));
    }
    out
}

fn unescape(text: &str) -> Result<Vec<u8>, HumanError> {
    let bad = || HumanError::BadEscape { text: text.to_owned() };
    let mut out = Vec::with_capacity(text.len());
    let mut parts = text.split('\\');
    out.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    while let Some(part) = parts.next() {
        if part.is_empty() {
            // Two backslashes in a row: one is meant, and text goes on behind the second.
            out.push(b'\\');
            out.extend_from_slice(parts.next().ok_or_else(bad)?.as_bytes());
            continue;
        }
        let hex = part.strip_prefix('x').and_then(|hex| hex.get(..2)).ok_or_else(bad)?;
        out.extend(parse_hex(hex).map_err(|_| bad())?);
        out.extend_from_slice(&part.as_bytes()[3..]);
    }
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Orders;

    impl Tables for Orders {
        fn id_of(&self, name: &str) -> Option<TableId> {
            (name == "orders").then_some(TableId(12))
        }

        fn name_of(&self, id: TableId) -> Option<String> {
            (id == TableId(12)).then(|| "orders".to_owned())
        }
    }

    #[test]
    fn forms_read_and_print_as_documented() {
        let element = RedisRecord::Element { generation: 0x0123_4567_89AB_CDEF, element: b"a:b".to_vec() };
        let element = Key::Redis { db: 0, user_key: b"user:7".to_vec(), record: element };
        let forms: [(&str, Vec<u8>); 24] = [
            ("", vec![]),
            ("raw:", vec![RAW]),
            ("raw:g", layout::raw(b"g")),
            ("raw:a:b", layout::raw(b"a:b")),
            ("raw:ключ \"1\"", layout::raw("ключ \"1\"".as_bytes())),
            ("raw:back\\\\slash\\x00\\xff\\x0a", layout::raw(b"back\\slash\x00\xff\n")),
            ("redis:", vec![REDIS]),
            ("redis:slot:0", layout::redis_slot(0)),
            ("redis:slot:8192", layout::redis_slot(8192)),
            ("redis:slot:16384", layout::redis_slot(16384)),
            ("redis:slot:8192:db:3", layout::redis_slot_db(8192, 3)),
            ("redis:15:user:7", layout::redis_unit(15, b"user:7")),
            ("redis:0:", layout::redis_unit(0, b"")),
            ("redis:meta:0:user:7", layout::redis_meta(0, b"user:7")),
            ("redis:element:0:0x0123456789abcdef:a\\x3ab:user:7", element.encode()),
            ("dynamo:", vec![DYNAMO]),
            ("dynamo:orders", layout::dynamo_table(TableId(12))),
            ("dynamo:orders:0x8000", layout::dynamo_hash(TableId(12), 0x8000)),
            ("dynamo:#13:0xffff", layout::dynamo_hash(TableId(13), 0xFFFF)),
            ("system:table:orders", layout::table_descriptor("orders")),
            ("system:table-sequence", Key::System(SystemKey::TableSequence).encode()),
            ("system:user:", Registry::Users.prefix()),
            ("system:user:alice", Registry::Users.entry(b"alice")),
            ("0x7a00", vec![0x7A, 0x00]),
        ];
        for (text, key) in forms {
            assert_eq!(parse(text, &Orders), Ok(key.clone()), "{text}");
            assert_eq!(print(&key, &Orders), text);
            assert_eq!(parse(&print(&key, &NoTables), &NoTables), Ok(key), "without names: {text}");
        }
        assert_eq!(parse("dynamo:#12", &Orders), parse("dynamo:orders", &Orders));
        assert_eq!(parse("0xFf", &NoTables), Ok(vec![0xFF]));
    }

    #[test]
    fn keys_that_would_read_as_another_are_printed_as_bytes() {
        assert_eq!(print(&layout::raw(b""), &NoTables), "0x6b0001");
        assert_eq!(print(&layout::table_descriptor(""), &NoTables), "0x73010001");
    }

    #[test]
    fn bytes_of_the_api_without_a_form_are_raw_keys() {
        let read = |bytes: &[u8]| parse_or_raw(bytes, &Orders);
        assert_eq!(read(b"g"), Ok(layout::raw(b"g")));
        assert_eq!(read(b"user:7"), Ok(layout::raw(b"user:7")));
        assert_eq!(read(b"back\\slash"), Ok(layout::raw(b"back\\slash")), "escapes belong to the forms");
        assert_eq!(read(b"raw:\xFF"), Ok(layout::raw(b"raw:\xFF")));
        assert_eq!(read(b"redis:slot:1"), Ok(layout::redis_slot(1)));
        assert_eq!(read(b"raw:redis:slot:1"), Ok(layout::raw(b"redis:slot:1")));
        assert_eq!(read(b""), Ok(vec![]));
        assert!(read(b"redis:slot:x").is_err());
    }

    #[test]
    fn junk_is_refused_by_name() {
        let refused = |text: &str| parse(text, &Orders).unwrap_err();
        let is_form = |text: &str| matches!(refused(text), HumanError::BadForm { .. });
        assert!(matches!(refused("g"), HumanError::UnknownForm { .. }));
        assert!(matches!(refused("table:orders"), HumanError::UnknownForm { .. }));
        for text in ["0x1", "0xg0", "0x é"] {
            assert!(matches!(refused(text), HumanError::BadHex { .. }), "{text}");
        }
        for text in ["raw:\\", "raw:a\\b", "raw:\\x4", "raw:\\xgg", "raw:\\xé0", "redis:0:\\\\\\"] {
            assert!(matches!(refused(text), HumanError::BadEscape { .. }), "{text}");
        }
        for text in
            ["redis:slot:16385", "redis:slot:16384:db:0", "redis:slot:+1", "redis:16:k", "redis:x:k", "dynamo:#"]
        {
            assert!(matches!(refused(text), HumanError::BadNumber { .. }), "{text}");
        }
        assert!(is_form("redis:0") && is_form("redis:slot:1:3"));
        assert!(is_form("dynamo:orders:8000") && is_form("dynamo:orders:0x800") && is_form("dynamo:orders:0x8000:x"));
        assert!(is_form("system:tables") && is_form("system:table:\\xff"));
        assert_eq!(refused("dynamo:users"), HumanError::UnknownTable { name: "users".to_owned() });
        assert_eq!(refused("redis:16:k").to_string(), "database \"16\" is not a number from 0 to 15");
    }

    fn keys() -> impl Strategy<Value = Vec<u8>> {
        let user_key =
            || prop_oneof![prop::collection::vec(any::<u8>(), 0..6), "\\PC{0,6}".prop_map(String::into_bytes)];
        prop_oneof![
            user_key().prop_map(|user_key| layout::raw(&user_key)),
            (0u8..16, user_key()).prop_map(|(db, user_key)| layout::redis_unit(db, &user_key)),
            (0u8..16, user_key(), any::<u64>(), user_key()).prop_map(|(db, user_key, generation, element)| {
                Key::Redis { db, user_key, record: RedisRecord::Element { generation, element } }.encode()
            }),
            (0u16..=16385).prop_map(layout::redis_slot),
            (0u16..=16385, 0u8..18).prop_map(|(slot, db)| layout::redis_slot_db(slot, db)),
            (10u32..14).prop_map(|table| layout::dynamo_table(TableId(table))),
            (10u32..14, any::<u16>()).prop_map(|(table, hash)| layout::dynamo_hash(TableId(table), hash)),
            (10u32..14, user_key(), any::<u8>(), user_key())
                .prop_map(|(table, partition, index, sort)| layout::dynamo(TableId(table), &partition, index, &sort)),
            "\\PC{0,6}".prop_map(|name| layout::table_descriptor(&name)),
            prop::collection::vec(
                prop_oneof![Just(b'k'), Just(b'r'), Just(b'd'), Just(b's'), 0u8..3, any::<u8>()],
                0..8
            ),
        ]
    }

    proptest! {
        #[test]
        fn every_key_round_trips(key in keys()) {
            for tables in [&Orders as &dyn Tables, &NoTables] {
                let text = print(&key, tables);
                prop_assert_eq!(parse(&text, tables), Ok(key.clone()), "{}", text);
                prop_assert_eq!(parse_or_raw(text.as_bytes(), tables), Ok(key.clone()), "{}", text);
                prop_assert!(text.chars().all(|c| !c.is_control()), "{:?}", text);
            }
        }

        #[test]
        fn junk_never_panics(text in "(raw:|redis:|redis:slot:|dynamo:|system:|0x)?[\\PC\\\\x]{0,8}", bytes: Vec<u8>) {
            if let Ok(key) = parse(&text, &Orders) {
                prop_assert_eq!(parse(&print(&key, &Orders), &Orders), Ok(key));
            }
            let _ = parse_or_raw(&bytes, &Orders);
        }
    }
}
