//! The library `bit`: arithmetic on 32 bits.

use mlua::{Error, Lua, MultiValue, Table, Value};

type One = fn(i32) -> i32;
type Fold = fn(i32, i32) -> i32;
type Shift = fn(i32, u32) -> i32;

fn int(value: Option<&Value>) -> mlua::Result<i32> {
    match value {
        Some(Value::Integer(number)) => Ok(*number as i32),
        // Rounded, and of what is too large the low bits, as the library does by adding 2^52 + 2^51.
        Some(Value::Number(number)) => Ok((number + 6_755_399_441_055_744.0).to_bits() as u32 as i32),
        Some(Value::String(text)) => match text.to_string_lossy().trim().parse::<f64>() {
            Ok(number) => Ok((number + 6_755_399_441_055_744.0).to_bits() as u32 as i32),
            Err(_) => Err(Error::runtime("bad argument (number expected, got string)")),
        },
        _ => Err(Error::runtime("bad argument (number expected)")),
    }
}

pub(crate) fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let ones: [(&str, One); 3] = [("tobit", |bits| bits), ("bnot", |bits| !bits), ("bswap", i32::swap_bytes)];
    for (name, function) in ones {
        table.set(
            name,
            lua.create_function(move |_, args: MultiValue| int(args.front()).map(function).map(f64::from))?,
        )?;
    }
    let folds: [(&str, Fold); 3] = [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
    for (name, function) in folds {
        let fold = lua.create_function(move |_, args: MultiValue| {
            let mut bits = int(args.front())?;
            for arg in args.iter().skip(1) {
                bits = function(bits, int(Some(arg))?);
            }
            Ok(f64::from(bits))
        })?;
        table.set(name, fold)?;
    }
    let shifts: [(&str, Shift); 5] = [
        ("lshift", |bits, by| bits << by),
        ("rshift", |bits, by| ((bits as u32) >> by) as i32),
        ("arshift", |bits, by| bits >> by),
        ("rol", |bits, by| bits.rotate_left(by)),
        ("ror", |bits, by| bits.rotate_right(by)),
    ];
    for (name, function) in shifts {
        let shift = lua.create_function(move |_, args: MultiValue| {
            Ok(f64::from(function(int(args.front())?, int(args.get(1))? as u32 & 31)))
        })?;
        table.set(name, shift)?;
    }
    let tohex = lua.create_function(|_, args: MultiValue| {
        let bits = int(args.front())? as u32;
        let digits = if args.len() > 1 { int(args.get(1))? } else { 8 };
        let shown = digits.unsigned_abs().min(8) as usize;
        let text = format!("{bits:08x}");
        let text = text[8 - shown..].to_owned();
        Ok(if digits < 0 { text.to_ascii_uppercase() } else { text })
    })?;
    table.set("tohex", tohex)?;
    Ok(table)
}
