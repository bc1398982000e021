//! The library `struct`: values as the bytes of C structures.

use mlua::{Error, Lua, MultiValue, Table, Value};

/// What a letter of a format stands for.
enum Item {
    /// Signed or not, so many bytes.
    Integer {
        signed: bool,
        wide: usize,
    },
    Float,
    Double,
    Padding,
    /// So many bytes; 0: all of the rest, or as many as the number before it says.
    Chars(usize),
    /// Up to a zero byte.
    Terminated,
}

struct Format<'a> {
    letters: &'a [u8],
    at: usize,
    little: bool,
    align: usize,
}

impl Format<'_> {
    fn number(&mut self) -> mlua::Result<Option<usize>> {
        let rest = &self.letters[self.at..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = std::str::from_utf8(&rest[..digits]).unwrap_or_default();
        self.at += digits;
        if text.is_empty() {
            return Ok(None);
        }
        let number = text.parse::<i32>().map_err(|_| Error::runtime("integral size overflow"))?;
        Ok(Some(number as usize))
    }

    fn next(&mut self) -> mlua::Result<Option<Item>> {
        loop {
            let Some(&letter) = self.letters.get(self.at) else { return Ok(None) };
            self.at += 1;
            let integer = |signed, wide| Ok(Some(Item::Integer { signed, wide }));
            return match letter {
                b'b' | b'B' => integer(letter == b'b', 1),
                b'h' | b'H' => integer(letter == b'h', 2),
                b'l' | b'L' => integer(letter == b'l', 8),
                b'T' => integer(false, 8),
                b'i' | b'I' => {
                    let wide = self.number()?.unwrap_or(4);
                    if wide > 32 || wide == 0 {
                        let why = format!("integral size {wide} is larger than limit of 32");
                        return Err(Error::runtime(why));
                    }
                    integer(letter == b'i', wide)
                }
                b'f' => Ok(Some(Item::Float)),
                b'd' | b'n' => Ok(Some(Item::Double)),
                b'x' => Ok(Some(Item::Padding)),
                b'c' => Ok(Some(Item::Chars(self.number()?.unwrap_or(1)))),
                b's' => Ok(Some(Item::Terminated)),
                b' ' => continue,
                b'<' | b'>' => {
                    self.little = letter == b'<';
                    continue;
                }
                b'=' => {
                    self.little = true;
                    continue;
                }
                b'!' => {
                    self.align = self.number()?.unwrap_or(8);
                    if !self.align.is_power_of_two() {
                        return Err(Error::runtime("alignment is not a power of 2"));
                    }
                    continue;
                }
                _ => Err(Error::runtime(format!("invalid format option '{}'", char::from(letter)))),
            };
        }
    }

    /// Bytes before an item that stands at this place.
    fn padding(&self, item: &Item, place: usize) -> usize {
        let size = match item {
            Item::Integer { wide, .. } => *wide,
            Item::Float => 4,
            Item::Double => 8,
            _ => return 0,
        };
        let align = size.min(self.align);
        if align <= 1 { 0 } else { place.next_multiple_of(align) - place }
    }
}

fn number_of(value: Option<Value>) -> mlua::Result<f64> {
    match value {
        Some(Value::Integer(number)) => Ok(number as f64),
        Some(Value::Number(number)) => Ok(number),
        Some(Value::String(text)) => {
            text.to_string_lossy().trim().parse().map_err(|_| Error::runtime("bad argument (number expected)"))
        }
        _ => Err(Error::runtime("bad argument (number expected, got no value)")),
    }
}

fn push(bytes: &mut Vec<u8>, mut number: Vec<u8>, little: bool) {
    if !little {
        number.reverse();
    }
    bytes.extend(number);
}

pub(crate) fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let pack = lua.create_function(|lua, (letters, values): (mlua::LuaString, MultiValue)| {
        let letters = letters.as_bytes();
        let mut format = Format { letters: &letters, at: 0, little: true, align: 1 };
        let mut values = values.into_iter();
        let mut bytes = Vec::new();
        while let Some(item) = format.next()? {
            let padding = format.padding(&item, bytes.len());
            bytes.resize(bytes.len() + padding, 0);
            match item {
                Item::Integer { wide, .. } => {
                    let number = number_of(values.next())?;
                    let number = if number < 0.0 { number as i64 as u64 } else { number as u64 };
                    let mut own = number.to_le_bytes().to_vec();
                    own.resize(wide, if (number as i64) < 0 { 0xFF } else { 0 });
                    push(&mut bytes, own, format.little);
                }
                Item::Float => {
                    let number = number_of(values.next())? as f32;
                    push(&mut bytes, number.to_le_bytes().to_vec(), format.little);
                }
                Item::Double => {
                    push(&mut bytes, number_of(values.next())?.to_le_bytes().to_vec(), format.little);
                }
                Item::Padding => bytes.push(0),
                Item::Chars(_) | Item::Terminated => {
                    let Some(Value::String(text)) = values.next() else {
                        return Err(Error::runtime("bad argument (string expected)"));
                    };
                    let text = text.as_bytes();
                    match item {
                        Item::Chars(len) if len > text.len() => return Err(Error::runtime("string too short")),
                        Item::Chars(len) => bytes.extend_from_slice(if len == 0 { &text } else { &text[..len] }),
                        _ => {
                            bytes.extend_from_slice(&text);
                            bytes.push(0);
                        }
                    }
                }
            }
        }
        lua.create_string(bytes)
    })?;
    table.set("pack", pack)?;
    table.set(
        "unpack",
        lua.create_function(|lua, args: (mlua::LuaString, mlua::LuaString, Option<i64>)| unpack(lua, args))?,
    )?;
    let size = lua.create_function(|_, letters: mlua::LuaString| {
        let letters = letters.as_bytes();
        let mut format = Format { letters: &letters, at: 0, little: true, align: 1 };
        let mut total = 0_usize;
        while let Some(item) = format.next()? {
            total += format.padding(&item, total);
            total += match item {
                Item::Integer { wide, .. } => wide,
                Item::Float => 4,
                Item::Double => 8,
                Item::Padding => 1,
                Item::Chars(len) if len > 0 => len,
                Item::Chars(_) | Item::Terminated => return Err(Error::runtime("variable-length format")),
            };
        }
        Ok(total as f64)
    })?;
    table.set("size", size)?;
    Ok(table)
}

fn unpack(
    lua: &Lua,
    (letters, bytes, from): (mlua::LuaString, mlua::LuaString, Option<i64>),
) -> mlua::Result<MultiValue> {
    let (letters, bytes) = (letters.as_bytes(), bytes.as_bytes());
    let mut format = Format { letters: &letters, at: 0, little: true, align: 1 };
    let from = from.unwrap_or(1);
    if from < 1 {
        return Err(Error::runtime("offset must be 1 or greater"));
    }
    let mut at = usize::try_from(from - 1).unwrap_or(usize::MAX);
    let short = || Error::runtime("data string too short");
    let mut values: Vec<Value> = Vec::new();
    while let Some(item) = format.next()? {
        at = at.checked_add(format.padding(&item, at)).ok_or_else(short)?;
        let rest = bytes.get(at..).ok_or_else(short)?;
        let fixed = |len: usize| -> mlua::Result<Vec<u8>> {
            let mut own = rest.get(..len).ok_or_else(short)?.to_vec();
            if !format.little {
                own.reverse();
            }
            Ok(own)
        };
        match item {
            Item::Integer { signed, wide } => {
                let mut own = fixed(wide)?;
                let negative = signed && own.last().is_some_and(|byte| byte & 0x80 != 0);
                own.resize(wide.max(8), if negative { 0xFF } else { 0 });
                let number = own[..8].iter().rev().fold(0_u64, |number, &byte| (number << 8) | u64::from(byte));
                values.push(Value::Number(if signed { number as i64 as f64 } else { number as f64 }));
                at += wide;
            }
            Item::Float => {
                let own = fixed(4)?;
                values.push(Value::Number(f64::from(f32::from_le_bytes([own[0], own[1], own[2], own[3]]))));
                at += 4;
            }
            Item::Double => {
                let own = fixed(8)?;
                let bits = own.iter().rev().fold(0_u64, |number, &byte| (number << 8) | u64::from(byte));
                values.push(Value::Number(f64::from_bits(bits)));
                at += 8;
            }
            Item::Padding => at += rest.first().map(|_| 1).ok_or_else(short)?,
            Item::Chars(0) => {
                let Some(Value::Number(len)) = values.pop() else {
                    return Err(Error::runtime("format 'c0' needs a previous size"));
                };
                let text = rest.get(..len as usize).ok_or_else(short)?;
                values.push(Value::String(lua.create_string(text)?));
                at += text.len();
            }
            Item::Chars(len) => {
                values.push(Value::String(lua.create_string(rest.get(..len).ok_or_else(short)?)?));
                at += len;
            }
            Item::Terminated => {
                let end = rest.iter().position(|&byte| byte == 0);
                let end = end.ok_or_else(|| Error::runtime("unfinished string in data"))?;
                values.push(Value::String(lua.create_string(&rest[..end])?));
                at += end + 1;
            }
        }
    }
    values.push(Value::Number((at + 1) as f64));
    Ok(values.into_iter().collect())
}
