//! Attribute values in JSON: reading what clients send, writing what they get back.
//!
//! A value is an object with one member, its type: `{"S": "text"}`. Reading keeps to DynamoDB's rules for each type and
//! goes no deeper than items may nest, however deep the document is.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

use aws_smithy_json::serialize::{JsonObjectWriter, JsonValueWriter};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use commands::dynamo::value::MAX_NESTING;
use commands::dynamo::{AttributeValue, Item};
use keyspace::decimal::Decimal;

use super::fault::Fault;
use super::json::Reader;

/// Longest attribute name in bytes.
const MAX_NAME_BYTES: usize = 65_535;

/// Reads an item or a key: attributes by name. `None` for null.
pub(super) fn read_item(reader: &mut Reader<'_>) -> Result<Option<Item>, Fault> {
    read_members(reader, MAX_NESTING)
}

/// `depth`: how many levels of lists and maps may follow.
fn read_members(reader: &mut Reader<'_>, depth: usize) -> Result<Option<Item>, Fault> {
    let mut members = Item::new();
    let present = reader.object(|reader, name| {
        if name.is_empty() {
            reader.invalidate(Fault::parameter("Empty attribute name"));
        }
        if name.len() > MAX_NAME_BYTES {
            reader.invalidate(Fault::parameter("Attribute name is too large, must be less than 65536 bytes"));
        }
        let value = read_value(reader, depth)?;
        match members.entry(name.to_owned()) {
            Entry::Vacant(free) => free.insert(value),
            Entry::Occupied(_) => return Err(Fault::serialization("A map names one of its keys twice")),
        };
        Ok(())
    })?;
    Ok(present.then_some(members))
}

/// A value outside of an item; `None` for null.
pub(super) fn read_optional_value(reader: &mut Reader<'_>) -> Result<Option<AttributeValue>, Fault> {
    Ok(if reader.is_null() { reader.skip().map(|_| None)? } else { Some(read_value(reader, MAX_NESTING)?) })
}

/// An invalid value is remembered in the reader; what is answered in its place is never used.
fn read_value(reader: &mut Reader<'_>, depth: usize) -> Result<AttributeValue, Fault> {
    let mut values = Vec::with_capacity(1);
    let mut deferred = None;
    reader.object(|reader, kind| {
        match read_typed(reader, kind, depth)? {
            Typed::Value(value) => values.push(value),
            Typed::Invalid(fault) => {
                values.push(AttributeValue::Null);
                deferred.get_or_insert(fault);
            }
            Typed::Absent => {}
        }
        Ok(())
    })?;
    if values.len() != 1 {
        let problem = if values.is_empty() { "is empty" } else { "has more than one datatypes set" };
        let message = format!("Supplied AttributeValue {problem}, must contain exactly one of the supported datatypes");
        reader.invalidate(Fault::validation(message));
    } else if let Some(fault) = deferred {
        reader.invalidate(fault);
    }
    Ok(values.pop().unwrap_or(AttributeValue::Null))
}

/// One member of an attribute value.
enum Typed {
    Value(AttributeValue),
    Invalid(Fault),
    /// Null, or not a type that DynamoDB has.
    Absent,
}

impl Typed {
    fn from_option(value: Option<AttributeValue>) -> Self {
        value.map_or(Typed::Absent, Typed::Value)
    }

    fn from_result(value: Option<Result<AttributeValue, Fault>>) -> Self {
        match value {
            Some(Ok(value)) => Typed::Value(value),
            Some(Err(fault)) => Typed::Invalid(fault),
            None => Typed::Absent,
        }
    }
}

fn read_typed(reader: &mut Reader<'_>, kind: &str, depth: usize) -> Result<Typed, Fault> {
    Ok(match kind {
        "S" => Typed::from_option(reader.string()?.map(AttributeValue::S)),
        "N" => Typed::from_result(reader.string()?.map(|text| number(&text).map(AttributeValue::N))),
        "B" => Typed::from_option(reader.binary()?.map(|bytes| AttributeValue::B(bytes.into()))),
        "BOOL" => Typed::from_option(reader.boolean()?.map(AttributeValue::Bool)),
        "NULL" => Typed::from_result(reader.boolean()?.map(|null| {
            let problem = || Fault::parameter("Null attribute value types must have the value of true");
            null.then_some(AttributeValue::Null).ok_or_else(problem)
        })),
        "SS" => Typed::from_result(reader.strings()?.map(text_set)),
        "NS" => Typed::from_result(reader.strings()?.map(number_set)),
        "BS" => Typed::from_result(read_binaries(reader)?.map(binary_set)),
        "M" | "L" if depth == 0 => {
            let fault = Fault::validation("Nesting Levels have exceeded supported limits");
            if reader.skip()? { Typed::Invalid(fault) } else { Typed::Absent }
        }
        "M" => Typed::from_option(read_members(reader, depth - 1)?.map(AttributeValue::M)),
        "L" => {
            let mut values = Vec::new();
            let present = reader.list(|reader| {
                values.push(read_value(reader, depth - 1)?);
                Ok(())
            })?;
            Typed::from_option(present.then_some(AttributeValue::L(values)))
        }
        _ => {
            reader.skip()?;
            Typed::Absent
        }
    })
}

fn number(text: &str) -> Result<Decimal, Fault> {
    match text {
        "" => Err(Fault::validation("The parameter cannot be converted to a numeric value")),
        _ => text.parse().map_err(|error: keyspace::decimal::DecimalError| Fault::validation(error.to_string())),
    }
}

fn read_binaries(reader: &mut Reader<'_>) -> Result<Option<Vec<Option<Bytes>>>, Fault> {
    let mut all = Vec::new();
    let present = reader.list(|reader| {
        all.push(reader.binary()?.map(Bytes::from));
        Ok(())
    })?;
    Ok(present.then_some(all))
}

fn text_set(texts: Vec<Option<String>>) -> Result<AttributeValue, Fault> {
    let quoted = |set: &[String]| format!("[{}]", set.join(", "));
    set(texts, "string", quoted, Ok).map(AttributeValue::Ss)
}

fn number_set(texts: Vec<Option<String>>) -> Result<AttributeValue, Fault> {
    let quoted = |set: &[String]| format!("[{}]", set.join(", "));
    set(texts, "number", quoted, |text| number(&text)).map(AttributeValue::Ns)
}

fn binary_set(all: Vec<Option<Bytes>>) -> Result<AttributeValue, Fault> {
    let quoted = |_: &[Bytes]| "of binary values".to_owned();
    set(all, "binary", quoted, Ok).map(AttributeValue::Bs)
}

/// The elements of a set: some, none of them null, no two equal.
fn set<Raw: Clone, T: Ord>(
    elements: Vec<Option<Raw>>,
    kind: &str,
    quoted: impl FnOnce(&[Raw]) -> String,
    parse: impl Fn(Raw) -> Result<T, Fault>,
) -> Result<BTreeSet<T>, Fault> {
    if elements.is_empty() {
        return Err(Fault::parameter(format!("An {kind} set  may not be empty")));
    }
    let raw: Option<Vec<Raw>> = elements.into_iter().collect();
    let Some(raw) = raw else {
        return Err(Fault::parameter(format!("An {kind} set may not have a null {kind} as a member")));
    };
    let parsed: BTreeSet<T> = raw.iter().cloned().map(parse).collect::<Result<_, _>>()?;
    if parsed.len() < raw.len() {
        return Err(Fault::parameter(format!("Input collection {} contains duplicates.", quoted(&raw))));
    }
    Ok(parsed)
}

/// Writes an item or a key as one object.
pub(super) fn write_item(writer: JsonValueWriter<'_>, item: &Item) {
    let mut object = writer.start_object();
    for (name, value) in item {
        write_value(object.key(name), value);
    }
    object.finish();
}

/// Values come from records, whose nesting is bounded; so is this recursion.
fn write_value(writer: JsonValueWriter<'_>, value: &AttributeValue) {
    let mut object: JsonObjectWriter<'_> = writer.start_object();
    let member = object.key(value.type_name());
    match value {
        AttributeValue::S(text) => member.string(text),
        AttributeValue::N(number) => member.string_unchecked(&number.to_string()),
        AttributeValue::B(bytes) => member.string_unchecked(&STANDARD.encode(bytes)),
        AttributeValue::Bool(value) => member.boolean(*value),
        AttributeValue::Null => member.boolean(true),
        AttributeValue::M(members) => write_item(member, members),
        AttributeValue::L(values) => {
            let mut array = member.start_array();
            values.iter().for_each(|value| write_value(array.value(), value));
            array.finish();
        }
        AttributeValue::Ss(texts) => {
            let mut array = member.start_array();
            texts.iter().for_each(|text| array.value().string(text));
            array.finish();
        }
        AttributeValue::Ns(numbers) => {
            let mut array = member.start_array();
            numbers.iter().for_each(|number| array.value().string_unchecked(&number.to_string()));
            array.finish();
        }
        AttributeValue::Bs(all) => {
            let mut array = member.start_array();
            all.iter().for_each(|bytes| array.value().string_unchecked(&STANDARD.encode(bytes)));
            array.finish();
        }
    }
    object.finish();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::fault::Exception;
    use super::*;

    fn read(body: &[u8]) -> Result<Item, Fault> {
        let mut item = None;
        let invalid = Reader::document(body, |reader, _| {
            item = read_item(reader)?;
            Ok(())
        })?;
        invalid.map_or_else(|| Ok(item.unwrap_or_default()), Err)
    }

    fn read_attribute(value: &str) -> Result<AttributeValue, Fault> {
        read(format!(r#"{{"Item":{{"a":{value}}}}}"#).as_bytes()).map(|mut item| item.remove("a").unwrap())
    }

    fn write(item: &Item) -> String {
        let mut out = String::new();
        write_item(JsonValueWriter::new(&mut out), item);
        out
    }

    #[test]
    fn every_type_is_read_and_written_back() {
        let values = [
            r#"{"S":"a\"\\\u0001é"}"#,
            r#"{"S":""}"#,
            r#"{"N":"-12.5"}"#,
            r#"{"B":"AAEC"}"#,
            r#"{"B":""}"#,
            r#"{"BOOL":false}"#,
            r#"{"NULL":true}"#,
            r#"{"M":{"k":{"L":[{"S":"x"},{"M":{}}]}}}"#,
            r#"{"L":[]}"#,
            r#"{"SS":["a","b"]}"#,
            r#"{"NS":["1","2.5"]}"#,
            r#"{"BS":["AA==","AQ=="]}"#,
        ];
        for value in values {
            let item = Item::from([("a".to_owned(), read_attribute(value).unwrap())]);
            assert_eq!(write(&item), format!(r#"{{"a":{value}}}"#));
        }
    }

    #[test]
    fn numbers_have_one_form() {
        for text in ["1000", "1e3", "+1000", "1000.0", "01000"] {
            let value = read_attribute(&format!(r#"{{"N":"{text}"}}"#)).unwrap();
            assert_eq!(write(&Item::from([("a".into(), value)])), r#"{"a":{"N":"1000"}}"#);
        }
    }

    #[test]
    fn wrong_contents_are_validation_errors() {
        let cases = [
            ("{}", "Supplied AttributeValue is empty"),
            (r#"{"X":"a"}"#, "Supplied AttributeValue is empty"),
            (r#"{"S":null}"#, "Supplied AttributeValue is empty"),
            (r#"{"S":"a","N":"1"}"#, "more than one datatypes"),
            (r#"{"N":"b"}"#, "The parameter cannot be converted to a numeric value: b"),
            (r#"{"N":""}"#, "numeric"),
            (r#"{"N":"1e126"}"#, "Number overflow"),
            (r#"{"N":"1e-131"}"#, "Number underflow"),
            (r#"{"N":"123456789012345678901234567890123456789"}"#, "38 significant digits"),
            (r#"{"NULL":false}"#, "must have the value of true"),
            (r#"{"SS":[]}"#, "An string set  may not be empty"),
            (r#"{"SS":["a","a"]}"#, "Input collection [a, a] contains duplicates"),
            (r#"{"SS":["a",null]}"#, "null string"),
            (r#"{"NS":["1","1.0"]}"#, "duplicates"),
            (r#"{"NS":["1","x"]}"#, "numeric"),
            (r#"{"BS":["AA==","AA=="]}"#, "duplicates"),
            (r#"{"M":{"":{"S":"a"}}}"#, "Empty attribute name"),
            (r#"{"L":[{"S":"a"},{"N":"b"}]}"#, "numeric"),
        ];
        for (value, message) in cases {
            let fault = read_attribute(value).unwrap_err();
            assert_eq!(fault.exception, Exception::Validation, "{value}");
            assert!(fault.message.contains(message), "{value}: {}", fault.message);
        }
        let long = format!(r#"{{"Item":{{"{}":{{"S":"x"}}}}}}"#, "n".repeat(MAX_NAME_BYTES + 1));
        assert!(read(long.as_bytes()).unwrap_err().message.contains("65536"));
    }

    #[test]
    fn wrong_shapes_are_serialization_errors() {
        for value in [
            r#"{"S":1}"#,
            r#"{"N":1}"#,
            r#"{"B":"@"}"#,
            r#"{"B":"AAE"}"#,
            r#"{"SS":"a"}"#,
            r#"{"M":[]}"#,
            r#"{"L":{}}"#,
            r#"{"BOOL":"true"}"#,
            r#""text""#,
            r#"{"S":"\ud800"}"#,
            r#"{"M":{"k":{"S":"a"},"k":{"S":"b"}}}"#,
        ] {
            assert_eq!(read_attribute(value).unwrap_err().exception, Exception::Serialization, "{value}");
        }
    }

    #[test]
    fn broken_json_is_reported_before_an_invalid_value() {
        let fault = read(br#"{"Item":{"a":{"N":"x"},"#).unwrap_err();
        assert_eq!(fault.exception, Exception::Serialization);
    }

    fn nested(levels: usize) -> String {
        format!("{}{}{}", r#"{"L":["#.repeat(levels), r#"{"S":"x"}"#, "]}".repeat(levels))
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(read_attribute(&nested(MAX_NESTING)).is_ok());
        let fault = read_attribute(&nested(MAX_NESTING + 1)).unwrap_err();
        assert!(fault.message.contains("Nesting Levels"), "{}", fault.message);
        assert!(read_attribute(&nested(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn junk_never_panics(junk in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&junk);
        }

        #[test]
        fn scraps_of_json_never_panic(scraps in proptest::collection::vec(prop_oneof![
            Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just("null"), Just("true"), Just("-1e9"),
            Just("\"S\""), Just("\"N\""), Just("\"M\""), Just("\"L\""), Just("\"BS\""), Just("\"a\""), Just("\\u12"),
        ], 0..24)) {
            let _ = read(format!(r#"{{"Item":{}"#, scraps.concat()).as_bytes());
        }

        #[test]
        fn texts_survive(text in ".{0,12}", name in ".{1,6}") {
            let item = Item::from([(name, AttributeValue::S(text))]);
            prop_assert_eq!(read(format!(r#"{{"Item":{}}}"#, write(&item)).as_bytes()).unwrap(), item);
        }
    }
}
