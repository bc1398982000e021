//! Replies as Lua values, and Lua values as replies.

use bytes::Bytes;
use mlua::{Error, Lua, Table, Value};

use crate::Reply;

/// Deepest nesting of an answer.
const MAX_DEPTH: usize = 1000;

/// A number in the form that Redis gives to arguments: whole numbers as such, others with 17 digits.
pub(crate) fn number_text(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e18 { format!("{}", number as i64) } else { precise(number, 17) }
}

/// `%.{digits}g` of C.
pub(crate) fn precise(number: f64, digits: usize) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    let scientific = format!("{:.*e}", digits - 1, number);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    trim(&format!("{:.*}", (digits as i32 - 1 - exponent).max(0) as usize, number))
}

pub(crate) fn from_reply(lua: &Lua, reply: &Reply) -> mlua::Result<Value> {
    let text = |bytes: &Bytes| lua.create_string(bytes).map(Value::String);
    let single = |field: &str, value: Value| -> mlua::Result<Value> {
        let table = lua.create_table()?;
        table.raw_set(field, value)?;
        Ok(Value::Table(table))
    };
    Ok(match reply {
        Reply::Simple(line) => single("ok", text(line)?)?,
        Reply::Error(line) => single("err", text(line)?)?,
        Reply::Integer(number) => Value::Number(*number as f64),
        Reply::Bulk(bytes) => text(bytes)?,
        // The caller says Null where RESP2 has one: false there, nil in RESP3.
        Reply::Null => Value::Nil,
        Reply::Boolean(value) => Value::Boolean(*value),
        Reply::Array(items) => {
            let table = lua.create_table()?;
            for (at, item) in items.iter().enumerate() {
                table.raw_set(at + 1, from_reply(lua, item)?)?;
            }
            Value::Table(table)
        }
        Reply::Double(number) => single("double", Value::Number(*number))?,
        Reply::Map(pairs) => {
            let map = lua.create_table()?;
            for (key, value) in pairs {
                map.raw_set(from_reply(lua, key)?, from_reply(lua, value)?)?;
            }
            single("map", Value::Table(map))?
        }
        Reply::Set(items) => {
            let set = lua.create_table()?;
            for item in items {
                set.raw_set(from_reply(lua, item)?, true)?;
            }
            single("set", Value::Table(set))?
        }
        Reply::BigNumber(digits) => single("big_number", text(digits)?)?,
        Reply::Verbatim { format, text: words } => {
            let table = lua.create_table()?;
            table.raw_set("format", text(format)?)?;
            table.raw_set("string", text(words)?)?;
            single("verbatim_string", Value::Table(table))?
        }
    })
}

pub(crate) fn to_reply(value: &Value, resp3: bool, depth: usize) -> mlua::Result<Reply> {
    if depth > MAX_DEPTH {
        return Ok(Reply::Error("ERR reached lua stack limit".into()));
    }
    Ok(match value {
        Value::String(text) => Reply::Bulk(Bytes::copy_from_slice(&text.as_bytes())),
        Value::Integer(number) => Reply::Integer(*number),
        Value::Number(number) => Reply::Integer(whole(*number)),
        Value::Boolean(value) if resp3 => Reply::Boolean(*value),
        Value::Boolean(true) => Reply::Integer(1),
        Value::Table(table) => from_table(table, resp3, depth)?,
        _ => Reply::Null,
    })
}

/// As C casts on x86-64: what does not fit is the smallest number.
fn whole(number: f64) -> i64 {
    if number.is_nan() || !(-9.3e18..9.223_372_036_854_776e18).contains(&number) { i64::MIN } else { number as i64 }
}

fn from_table(table: &Table, resp3: bool, depth: usize) -> mlua::Result<Reply> {
    let line = |text: &mlua::LuaString| -> Bytes {
        let mut line = text.as_bytes().to_vec();
        line.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
        line.into()
    };
    if let Value::String(text) = table.raw_get("err")? {
        let line = line(&text);
        return Ok(Reply::Error(line.strip_prefix(b"-").map_or(line.clone(), |rest| line.slice_ref(rest))));
    }
    if let Value::String(text) = table.raw_get("ok")? {
        return Ok(Reply::Simple(line(&text)));
    }
    match table.raw_get("double")? {
        Value::Number(number) => return Ok(Reply::Double(number)),
        Value::Integer(number) => return Ok(Reply::Double(number as f64)),
        _ => {}
    }
    if let Value::Table(map) = table.raw_get("map")? {
        let mut pairs = Vec::new();
        for pair in map.pairs::<Value, Value>() {
            let (key, value) = pair?;
            pairs.push((to_reply(&key, resp3, depth + 1)?, to_reply(&value, resp3, depth + 1)?));
        }
        return Ok(Reply::Map(pairs));
    }
    if let Value::Table(set) = table.raw_get("set")? {
        let mut items = Vec::new();
        for pair in set.pairs::<Value, Value>() {
            items.push(to_reply(&pair?.0, resp3, depth + 1)?);
        }
        return Ok(Reply::Set(items));
    }
    if let Value::String(digits) = table.raw_get("big_number")? {
        return Ok(Reply::BigNumber(line(&digits)));
    }
    if let Value::Table(verbatim) = table.raw_get("verbatim_string")?
        && let (Value::String(format), Value::String(text)) = (verbatim.raw_get("format")?, verbatim.raw_get("string")?)
    {
        let text = Bytes::copy_from_slice(&text.as_bytes());
        return Ok(Reply::Verbatim { format: line(&format), text });
    }
    let mut items = Vec::new();
    for at in 1.. {
        // What a metatable would make of it is not asked: the script is over.
        match table.raw_get::<Value>(at)? {
            Value::Nil => break,
            item => items.push(to_reply(&item, resp3, depth + 1)?),
        }
        if items.len() > 16 << 20 {
            return Err(Error::runtime("an answer has too many items"));
        }
    }
    Ok(Reply::Array(items))
}
