//! The library `cjson`.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Error, LightUserData, Lua, Table, Value};

use crate::convert::precise;

/// Deepest nesting, both ways.
const MAX_DEPTH: usize = 1000;

struct Options {
    keep_buffer: Cell<bool>,
    max_depth: Cell<usize>,
    max_decode_depth: Cell<usize>,
    precision: Cell<usize>,
    invalid_numbers: Cell<bool>,
    sparse_convert: Cell<bool>,
    sparse_ratio: Cell<usize>,
    sparse_safe: Cell<usize>,
}

pub(crate) fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let options = Rc::new(Options {
        keep_buffer: Cell::new(true),
        max_depth: Cell::new(MAX_DEPTH),
        max_decode_depth: Cell::new(MAX_DEPTH),
        precision: Cell::new(14),
        invalid_numbers: Cell::new(false),
        sparse_convert: Cell::new(false),
        sparse_ratio: Cell::new(2),
        sparse_safe: Cell::new(10),
    });
    let own = options.clone();
    let encode = lua.create_function(move |lua, value: Value| {
        let mut text = Vec::new();
        write(&value, 0, &own, &mut text)?;
        lua.create_string(text)
    })?;
    table.set("encode", encode)?;
    let own = options.clone();
    let decode = lua.create_function(move |lua, text: mlua::LuaString| {
        let bytes = text.as_bytes();
        let mut reader = Reader { lua, bytes: &bytes, at: 0, max_depth: own.max_decode_depth.get() };
        let value = reader.value(0)?;
        reader.space();
        if reader.at < reader.bytes.len() {
            return Err(reader.unexpected("the end"));
        }
        Ok(value)
    })?;
    table.set("decode", decode)?;
    table.set("null", Value::LightUserData(LightUserData(std::ptr::null_mut())))?;
    let own = options.clone();
    let keep = lua.create_function(move |_, on: Option<bool>| {
        on.into_iter().for_each(|on| own.keep_buffer.set(on));
        Ok(own.keep_buffer.get())
    })?;
    table.set("encode_keep_buffer", keep)?;
    let own = options.clone();
    let depth = lua.create_function(move |_, depth: Option<usize>| {
        depth.into_iter().for_each(|depth| own.max_depth.set(depth.clamp(1, MAX_DEPTH)));
        Ok(own.max_depth.get())
    })?;
    table.set("encode_max_depth", depth)?;
    let own = options.clone();
    let depth = lua.create_function(move |_, depth: Option<usize>| {
        depth.into_iter().for_each(|depth| own.max_decode_depth.set(depth.clamp(1, MAX_DEPTH)));
        Ok(own.max_decode_depth.get())
    })?;
    table.set("decode_max_depth", depth)?;
    let own = options.clone();
    let precision = lua.create_function(move |_, digits: Option<usize>| {
        digits.into_iter().for_each(|digits| own.precision.set(digits.clamp(1, 17)));
        Ok(own.precision.get())
    })?;
    table.set("encode_number_precision", precision)?;
    let own = options.clone();
    let invalid = lua.create_function(move |_, on: Option<bool>| {
        on.into_iter().for_each(|on| own.invalid_numbers.set(on));
        Ok(own.invalid_numbers.get())
    })?;
    table.set("encode_invalid_numbers", invalid)?;
    let sparse =
        lua.create_function(move |_, (convert, ratio, safe): (Option<bool>, Option<usize>, Option<usize>)| {
            convert.into_iter().for_each(|on| options.sparse_convert.set(on));
            ratio.into_iter().for_each(|ratio| options.sparse_ratio.set(ratio));
            safe.into_iter().for_each(|safe| options.sparse_safe.set(safe));
            Ok((options.sparse_convert.get(), options.sparse_ratio.get(), options.sparse_safe.get()))
        })?;
    table.set("encode_sparse_array", sparse)?;
    Ok(table)
}

/// The length of a table that is an array.
fn array_len(table: &Table, options: &Options) -> mlua::Result<Option<usize>> {
    let (mut largest, mut items) = (0_usize, 0_usize);
    for pair in table.pairs::<Value, Value>() {
        let index = match pair?.0 {
            Value::Integer(index) if index > 0 => index as usize,
            Value::Number(index) if index > 0.0 && index.fract() == 0.0 => index as usize,
            _ => return Ok(None),
        };
        largest = largest.max(index);
        items += 1;
    }
    let sparse = options.sparse_ratio.get() > 0
        && largest > items.saturating_mul(options.sparse_ratio.get())
        && largest > options.sparse_safe.get();
    if sparse {
        if !options.sparse_convert.get() {
            return Err(Error::runtime("Cannot serialise table: excessively sparse array"));
        }
        return Ok(None);
    }
    Ok((items > 0).then_some(largest))
}

fn write(value: &Value, depth: usize, options: &Options, text: &mut Vec<u8>) -> mlua::Result<()> {
    match value {
        Value::Nil | Value::LightUserData(LightUserData(_)) => text.extend_from_slice(b"null"),
        Value::Boolean(value) => text.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Integer(number) => text.extend_from_slice(number.to_string().as_bytes()),
        Value::Number(number) if !number.is_finite() && !options.invalid_numbers.get() => {
            return Err(Error::runtime("Cannot serialise number: must not be NaN or Inf"));
        }
        Value::Number(number) => text.extend_from_slice(precise(*number, options.precision.get()).as_bytes()),
        Value::String(string) => write_string(&string.as_bytes(), text),
        Value::Table(table) => {
            let depth = depth + 1;
            if depth > options.max_depth.get() {
                return Err(Error::runtime(format!("Cannot serialise, excessive depth ({depth})")));
            }
            if let Some(len) = array_len(table, options)? {
                text.push(b'[');
                for at in 1..=len {
                    if at > 1 {
                        text.push(b',');
                    }
                    write(&table.raw_get(at)?, depth, options, text)?;
                }
                text.push(b']');
                return Ok(());
            }
            text.push(b'{');
            let mut first = true;
            for pair in table.pairs::<Value, Value>() {
                let (key, value) = pair?;
                if !std::mem::take(&mut first) {
                    text.push(b',');
                }
                match &key {
                    Value::String(name) => write_string(&name.as_bytes(), text),
                    Value::Integer(_) | Value::Number(_) => {
                        text.push(b'"');
                        write(&key, depth, options, text)?;
                        text.push(b'"');
                    }
                    _ => {
                        let kind = key.type_name();
                        let why = format!("Cannot serialise {kind}: table key must be a number or string");
                        return Err(Error::runtime(why));
                    }
                }
                text.push(b':');
                write(&value, depth, options, text)?;
            }
            text.push(b'}');
        }
        other => return Err(Error::runtime(format!("Cannot serialise {}: type not supported", other.type_name()))),
    }
    Ok(())
}

fn write_string(string: &[u8], text: &mut Vec<u8>) {
    text.push(b'"');
    for &byte in string {
        match byte {
            b'"' => text.extend_from_slice(b"\\\""),
            b'\\' => text.extend_from_slice(b"\\\\"),
            b'/' => text.extend_from_slice(b"\\/"),
            8 => text.extend_from_slice(b"\\b"),
            9 => text.extend_from_slice(b"\\t"),
            10 => text.extend_from_slice(b"\\n"),
            12 => text.extend_from_slice(b"\\f"),
            13 => text.extend_from_slice(b"\\r"),
            0..32 | 127 => text.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => text.push(byte),
        }
    }
    text.push(b'"');
}

struct Reader<'a> {
    lua: &'a Lua,
    bytes: &'a [u8],
    at: usize,
    max_depth: usize,
}

impl Reader<'_> {
    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn unexpected(&self, wanted: &str) -> Error {
        let found = match self.bytes.get(self.at) {
            None => "T_END",
            Some(b'{') => "T_OBJ_BEGIN",
            Some(b'}') => "T_OBJ_END",
            Some(b'[') => "T_ARR_BEGIN",
            Some(b']') => "T_ARR_END",
            Some(b',') => "T_COMMA",
            Some(b':') => "T_COLON",
            Some(b'"') => "T_STRING",
            Some(_) => "invalid token",
        };
        Error::runtime(format!("Expected {wanted} but found {found} at character {}", self.at + 1))
    }

    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> mlua::Result<Value> {
        self.space();
        if depth > self.max_depth {
            let at = self.at;
            return Err(Error::runtime(format!("Found too many nested data structures ({depth}) at character {at}")));
        }
        for (word, value) in [
            ("null", Value::LightUserData(LightUserData(std::ptr::null_mut()))),
            ("true", Value::Boolean(true)),
            ("false", Value::Boolean(false)),
        ] {
            if self.bytes[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        match self.bytes.get(self.at) {
            Some(b'"') => Ok(Value::String(self.lua.create_string(self.string()?)?)),
            Some(b'[') => {
                self.at += 1;
                let table = self.lua.create_table()?;
                if self.take(b']') {
                    return Ok(Value::Table(table));
                }
                for at in 1.. {
                    table.raw_set(at, self.value(depth + 1)?)?;
                    if self.take(b']') {
                        break;
                    }
                    if !self.take(b',') {
                        return Err(self.unexpected("comma or array end"));
                    }
                }
                Ok(Value::Table(table))
            }
            Some(b'{') => {
                self.at += 1;
                let table = self.lua.create_table()?;
                if self.take(b'}') {
                    return Ok(Value::Table(table));
                }
                loop {
                    self.space();
                    if self.bytes.get(self.at) != Some(&b'"') {
                        return Err(self.unexpected("object key string"));
                    }
                    let name = self.string()?;
                    if !self.take(b':') {
                        return Err(self.unexpected("colon"));
                    }
                    let value = self.value(depth + 1)?;
                    table.raw_set(self.lua.create_string(name)?, value)?;
                    if self.take(b'}') {
                        return Ok(Value::Table(table));
                    }
                    if !self.take(b',') {
                        return Err(self.unexpected("comma or object end"));
                    }
                }
            }
            _ => self.number(),
        }
    }

    fn number(&mut self) -> mlua::Result<Value> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).count();
        let number = std::str::from_utf8(&rest[..len]).ok().and_then(|text| text.parse::<f64>().ok());
        let number = number.ok_or_else(|| self.unexpected("value"))?;
        self.at += len;
        Ok(Value::Number(number))
    }

    fn string(&mut self) -> mlua::Result<Vec<u8>> {
        let mut text = Vec::new();
        self.at += 1;
        loop {
            let byte = *self.bytes.get(self.at).ok_or_else(|| self.unexpected("end of string"))?;
            self.at += 1;
            match byte {
                b'"' => return Ok(text),
                b'\\' => {
                    let escape = *self.bytes.get(self.at).ok_or_else(|| self.unexpected("escape code"))?;
                    self.at += 1;
                    match escape {
                        b'"' | b'\\' | b'/' => text.push(escape),
                        b'b' => text.push(8),
                        b'f' => text.push(12),
                        b'n' => text.push(10),
                        b'r' => text.push(13),
                        b't' => text.push(9),
                        b'u' => {
                            let mut code = self.four_digits()?;
                            if (0xD800..0xDC00).contains(&code) && self.bytes[self.at..].starts_with(b"\\u") {
                                self.at += 2;
                                let low = self.four_digits()?;
                                code = 0x10000 + ((code & 0x3FF) << 10) + (low & 0x3FF);
                            }
                            let letter = char::from_u32(code).ok_or_else(|| self.unexpected("unicode escape code"))?;
                            text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                        }
                        _ => return Err(self.unexpected("escape code")),
                    }
                }
                byte if byte < 32 => return Err(self.unexpected("end of string")),
                _ => text.push(byte),
            }
        }
    }

    fn four_digits(&mut self) -> mlua::Result<u32> {
        let digits = self.bytes.get(self.at..self.at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        code.ok_or_else(|| self.unexpected("unicode escape code"))
    }
}
