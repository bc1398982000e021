//! The library `cmsgpack`.

use mlua::{Error, Lua, MultiValue, Table, Value};

/// Deepest nesting; below it a table is nil, as in Redis.
const MAX_DEPTH: usize = 16;

pub(crate) fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let pack = lua.create_function(|lua, values: MultiValue| {
        if values.is_empty() {
            return Err(Error::runtime("bad argument #0 to 'pack' (MessagePack pack needs input.)"));
        }
        let mut bytes = Vec::new();
        for value in &values {
            write(value, 0, &mut bytes)?;
        }
        lua.create_string(bytes)
    })?;
    table.set("pack", pack)?;
    let unpack = lua.create_function(|lua, bytes: mlua::LuaString| {
        let bytes = bytes.as_bytes();
        let mut reader = Reader { lua, bytes: &bytes, at: 0 };
        let mut values = MultiValue::new();
        while reader.at < reader.bytes.len() {
            values.push_back(reader.value(0)?);
        }
        Ok(values)
    })?;
    table.set("unpack", unpack)?;
    for (name, all) in [("unpack_one", false), ("unpack_limit", true)] {
        let limited =
            lua.create_function(move |lua, (bytes, first, second): (mlua::LuaString, Option<i64>, Option<i64>)| {
                let (limit, offset) =
                    if all { (first.unwrap_or(0), second.unwrap_or(0)) } else { (1, first.unwrap_or(0)) };
                let bytes = bytes.as_bytes();
                let start = usize::try_from(offset).ok().filter(|start| *start <= bytes.len());
                let Some(at) = start.filter(|_| limit >= 0) else {
                    return Err(Error::runtime("Invalid request to unpack with offset or limit."));
                };
                let mut reader = Reader { lua, bytes: &bytes, at };
                let mut values = Vec::new();
                while reader.at < reader.bytes.len() && (limit == 0 || (values.len() as i64) < limit) {
                    values.push(reader.value(0)?);
                }
                let next = if reader.at < reader.bytes.len() { reader.at as f64 } else { -1.0 };
                let mut results = MultiValue::from_iter([Value::Number(next)]);
                results.extend(values);
                Ok(results)
            })?;
        table.set(name, limited)?;
    }
    Ok(table)
}

fn write(value: &Value, depth: usize, bytes: &mut Vec<u8>) -> mlua::Result<()> {
    match value {
        Value::Boolean(value) => bytes.push(if *value { 0xC3 } else { 0xC2 }),
        Value::Integer(number) => write_integer(*number, bytes),
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 9.2e18 => write_integer(*number as i64, bytes),
        Value::Number(number) => {
            let short = *number as f32;
            if f64::from(short) == *number {
                bytes.push(0xCA);
                bytes.extend_from_slice(&short.to_be_bytes());
            } else {
                bytes.push(0xCB);
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
        Value::String(text) => {
            let text = text.as_bytes();
            head(text.len(), (0xA0, 32), Some(0xD9), (0xDA, 0xDB), bytes);
            bytes.extend_from_slice(&text);
        }
        Value::Table(table) if depth < MAX_DEPTH => {
            // Twice over it: the interpreter has no room for references to all items of a large table.
            let (mut count, mut is_array) = (0_usize, true);
            for pair in table.pairs::<Value, Value>() {
                let pair = pair?;
                is_array &= matches!(pair.0, Value::Integer(at) if at > 0)
                    || matches!(pair.0, Value::Number(at) if at > 0.0 && at.fract() == 0.0);
                count += 1;
            }
            let len = table.raw_len();
            if is_array && count > 0 && len == count {
                head(len, (0x90, 16), None, (0xDC, 0xDD), bytes);
                for at in 1..=len {
                    write(&table.raw_get(at)?, depth + 1, bytes)?;
                }
            } else if count == 0 {
                // Nobody can tell an empty list from an empty map.
                bytes.push(0x90);
            } else {
                head(count, (0x80, 16), None, (0xDE, 0xDF), bytes);
                for pair in table.pairs::<Value, Value>() {
                    let (key, value) = pair?;
                    write(&key, depth + 1, bytes)?;
                    write(&value, depth + 1, bytes)?;
                }
            }
        }
        _ => bytes.push(0xC0),
    }
    Ok(())
}

fn head(len: usize, (tiny, below): (u8, usize), byte: Option<u8>, (short, long): (u8, u8), bytes: &mut Vec<u8>) {
    match (len, byte) {
        _ if len < below => bytes.push(tiny | len as u8),
        (0..256, Some(byte)) => bytes.extend_from_slice(&[byte, len as u8]),
        (0..65_536, _) => {
            bytes.push(short);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(long);
            bytes.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}

fn write_integer(number: i64, bytes: &mut Vec<u8>) {
    let (code, wide): (u8, usize) = match number {
        -32..=0x7F => return bytes.push(number as u8),
        0x80..=0xFF => (0xCC, 1),
        0x100..=0xFFFF => (0xCD, 2),
        0x1_0000..=0xFFFF_FFFF => (0xCE, 4),
        0x1_0000_0000.. => (0xCF, 8),
        -0x80..-32 => (0xD0, 1),
        -0x8000..-0x80 => (0xD1, 2),
        -0x8000_0000..-0x8000 => (0xD2, 4),
        _ => (0xD3, 8),
    };
    bytes.push(code);
    bytes.extend_from_slice(&number.to_be_bytes()[8 - wide..]);
}

struct Reader<'a> {
    lua: &'a Lua,
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, len: usize) -> mlua::Result<&[u8]> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| Error::runtime("Missing bytes in input."))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self, wide: usize) -> mlua::Result<u64> {
        Ok(self.take(wide)?.iter().fold(0, |number, &byte| (number << 8) | u64::from(byte)))
    }

    fn text(&mut self, len: u64) -> mlua::Result<Value> {
        let lua = self.lua;
        let bytes = self.take(len as usize)?;
        Ok(Value::String(lua.create_string(bytes)?))
    }

    fn array(&mut self, len: u64, depth: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table()?;
        for at in 1..=len {
            table.raw_set(at, self.value(depth + 1)?)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, len: u64, depth: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table()?;
        for _ in 0..len {
            let (key, value) = (self.value(depth + 1)?, self.value(depth + 1)?);
            if matches!(key, Value::Nil) {
                return Err(Error::runtime("Bad data format in input."));
            }
            table.raw_set(key, value)?;
        }
        Ok(Value::Table(table))
    }

    fn value(&mut self, depth: usize) -> mlua::Result<Value> {
        if depth > 1000 {
            return Err(Error::runtime("Bad data format in input."));
        }
        let code = self.take(1)?[0];
        let signed = |number: u64, bits: u32| Value::Number(((number << (64 - bits)) as i64 >> (64 - bits)) as f64);
        Ok(match code {
            0..=0x7F => Value::Number(f64::from(code)),
            0xE0..=0xFF => Value::Number(f64::from(code as i8)),
            0x80..=0x8F => self.map(u64::from(code & 15), depth)?,
            0x90..=0x9F => self.array(u64::from(code & 15), depth)?,
            0xA0..=0xBF => self.text(u64::from(code & 31))?,
            0xC0 => Value::Nil,
            0xC2 | 0xC3 => Value::Boolean(code == 0xC3),
            0xCA => Value::Number(f64::from(f32::from_bits(self.number(4)? as u32))),
            0xCB => Value::Number(f64::from_bits(self.number(8)?)),
            0xCC..=0xCF => Value::Number(self.number(1 << (code - 0xCC))? as f64),
            0xD0..=0xD3 => {
                let wide = 1 << (code - 0xD0);
                signed(self.number(wide)?, wide as u32 * 8)
            }
            0xC4..=0xC6 => {
                let len = self.number(1 << (code - 0xC4))?;
                self.text(len)?
            }
            0xD9..=0xDB => {
                let len = self.number(1 << (code - 0xD9))?;
                self.text(len)?
            }
            0xDC | 0xDD => {
                let len = self.number(if code == 0xDC { 2 } else { 4 })?;
                self.array(len, depth)?
            }
            0xDE | 0xDF => {
                let len = self.number(if code == 0xDE { 2 } else { 4 })?;
                self.map(len, depth)?
            }
            _ => return Err(Error::runtime("Bad data format in input.")),
        })
    }
}
