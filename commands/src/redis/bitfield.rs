//! BITFIELD: integers of 1 to 64 bits anywhere in a string.

use bytes::Bytes;

use super::access::{Database, Reply, StoredString};
use super::bitmap::{bit_at, parse_offset};
use super::error::RedisError;
use super::number::parse_integer;
use super::value::Value;
use crate::view::View;

/// What becomes of a number that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// An integer type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Width {
    signed: bool,
    bits: u32,
}

impl Width {
    /// `i1` to `i64`, `u1` to `u63`.
    fn parse(text: &[u8]) -> Result<Self, RedisError> {
        let (signed, digits) = match text.split_first() {
            Some((b'i', digits)) => (true, digits),
            Some((b'u', digits)) => (false, digits),
            _ => return Err(RedisError::NotABitfieldType),
        };
        let most = if signed { 64 } else { 63 };
        let bits = parse_integer(digits).ok().filter(|bits| (1..=most).contains(bits));
        bits.map(|bits| Self { signed, bits: bits as u32 }).ok_or(RedisError::NotABitfieldType)
    }

    fn bounds(self) -> (i128, i128) {
        match self.signed {
            true => (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1),
            false => (0, (1 << self.bits) - 1),
        }
    }

    /// The number as it can be written; `None`: it does not fit, and must not be made to.
    fn fit(self, number: i128, overflow: Overflow) -> Option<i128> {
        let (least, most) = self.bounds();
        match overflow {
            _ if (least..=most).contains(&number) => Some(number),
            Overflow::Fail => None,
            Overflow::Saturate => Some(number.clamp(least, most)),
            Overflow::Wrap => {
                let modulus = 1_i128 << self.bits;
                let wrapped = number.rem_euclid(modulus);
                Some(if wrapped > most { wrapped - modulus } else { wrapped })
            }
        }
    }

    fn read(self, bytes: &[u8], at: usize) -> i128 {
        let bits = (at..at + self.bits as usize).fold(0, |bits: i128, at| bits << 1 | i128::from(bit_at(bytes, at)));
        let negative = self.signed && bits >> (self.bits - 1) == 1;
        if negative { bits - (1 << self.bits) } else { bits }
    }

    fn write(self, bytes: &mut [u8], at: usize, number: i128) {
        for bit in 0..self.bits as usize {
            let (place, mask) = ((at + bit) / 8, 0x80 >> ((at + bit) % 8));
            match number >> (self.bits as usize - 1 - bit) & 1 {
                0 => bytes[place] &= !mask,
                _ => bytes[place] |= mask,
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64, Overflow),
    IncrBy(i64, Overflow),
}

/// One of the operations of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    width: Width,
    at: usize,
    action: Action,
}

impl<V: View> Database<'_, V> {
    /// BITFIELD and BITFIELD_RO key operations…
    pub(super) async fn bitfield(&mut self, key: &Bytes, args: &[Bytes], only_read: bool) -> Reply {
        let steps = parse_steps(args)?;
        let written = steps.iter().filter(|step| step.action != Action::Get);
        let end = written.map(|step| step.at + step.width.bits as usize).max();
        if end.is_some() && only_read {
            return Err(RedisError::BitfieldOnlyRead.into());
        }
        let StoredString { value, expire_at_ms } = self.load_string(key).await?.unwrap_or_default();
        let mut bytes = value.to_vec();
        bytes.resize(bytes.len().max(end.map_or(0, |end| end.div_ceil(8))), 0);
        let replies = steps.iter().map(|step| step.run(&mut bytes)).collect();
        if end.is_some() {
            self.store_string(key, bytes.into(), expire_at_ms);
        }
        Ok(Value::Array(replies))
    }
}

impl Step {
    fn run(self, bytes: &mut [u8]) -> Value {
        let Self { width, at, action } = self;
        let old = width.read(bytes, at);
        let reply = match action {
            Action::Get => Some(old),
            Action::Set(number, overflow) => {
                // An unsigned field takes a negative number for a very large one.
                let number = if width.signed { i128::from(number) } else { i128::from(number as u64) };
                width.fit(number, overflow).map(|fitting| {
                    width.write(bytes, at, fitting);
                    old
                })
            }
            Action::IncrBy(by, overflow) => {
                let new = width.fit(old + i128::from(by), overflow);
                new.inspect(|new| width.write(bytes, at, *new))
            }
        };
        reply.map_or(Value::Null, |number| Value::Integer(number as i64))
    }
}

fn parse_steps(mut args: &[Bytes]) -> Result<Vec<Step>, RedisError> {
    let mut steps = Vec::new();
    let mut overflow = Overflow::Wrap;
    while let [word, rest @ ..] = args {
        let word = word.to_ascii_lowercase();
        let (number, behind) = match (word.as_slice(), rest) {
            (b"overflow", [kind, behind @ ..]) => {
                overflow = match kind.to_ascii_lowercase().as_slice() {
                    b"wrap" => Overflow::Wrap,
                    b"sat" => Overflow::Saturate,
                    b"fail" => Overflow::Fail,
                    _ => return Err(RedisError::NotAnOverflow),
                };
                args = behind;
                continue;
            }
            (b"get", [_, _, behind @ ..]) => (None, behind),
            (b"set" | b"incrby", [_, _, number, behind @ ..]) => (Some(number), behind),
            _ => return Err(RedisError::Syntax),
        };
        let width = Width::parse(&rest[0])?;
        let at = match rest[1].strip_prefix(b"#") {
            Some(index) => {
                let index = parse_integer(index).ok().and_then(|index| index.checked_mul(i64::from(width.bits)));
                parse_offset(index.ok_or(RedisError::NotABitOffset)?.to_string().as_bytes())?
            }
            None => parse_offset(&rest[1])?,
        };
        let action = match number {
            None => Action::Get,
            Some(number) if word == b"set" => Action::Set(parse_integer(number)?, overflow),
            Some(number) => Action::IncrBy(parse_integer(number)?, overflow),
        };
        steps.push(Step { width, at, action });
        args = behind;
    }
    Ok(steps)
}
