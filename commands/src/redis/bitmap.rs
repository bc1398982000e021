//! Strings as arrays of bits, the highest bit of a byte first. Source of the rules:
//! <https://redis.io/commands/?group=bitmap>, compared with redis-server 7.0. Integers of any width are in
//! [`super::bitfield`].

use bytes::Bytes;

use super::access::{Database, Reply, StoredString};
use super::error::{MAX_VALUE_BYTES, RedisError};
use super::number::parse_integer;
use super::table::BitmapCommand;
use super::value::Value;
use crate::view::View;

/// Bits, or bytes of eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Bit,
    Byte,
}

impl Unit {
    fn parse(word: &[u8]) -> Result<Self, RedisError> {
        match word.to_ascii_lowercase().as_slice() {
            b"bit" => Ok(Unit::Bit),
            b"byte" => Ok(Unit::Byte),
            _ => Err(RedisError::Syntax),
        }
    }

    /// The bits from one place to another of a string, both included and from the end when negative. What lies before the
    /// beginning is the beginning, of the end, too.
    fn bits(self, start: i64, end: i64, bytes: usize) -> std::ops::Range<usize> {
        let width = if self == Unit::Bit { 1 } else { 8 };
        let places = (bytes * 8 / width) as i64;
        let from_front = |index: i64| if index < 0 { places.saturating_add(index).max(0) } else { index };
        let (first, last) = (from_front(start), from_front(end).min(places - 1));
        if first > last { 0..0 } else { first as usize * width..(last as usize + 1) * width }
    }
}

impl<V: View> Database<'_, V> {
    /// Runs a command on bits.
    pub async fn on_bitmap(&mut self, command: BitmapCommand, args: &[Bytes]) -> Reply {
        let key = &args[1];
        match command {
            BitmapCommand::BitCount => self.bitcount(key, &args[2..]).await,
            BitmapCommand::BitField => self.bitfield(key, &args[2..], false).await,
            BitmapCommand::BitFieldRo => self.bitfield(key, &args[2..], true).await,
            BitmapCommand::BitOp => self.bitop(key, &args[2], &args[3..]).await,
            BitmapCommand::BitPos => self.bitpos(key, &args[2], &args[3..]).await,
            BitmapCommand::GetBit => self.getbit(key, &args[2]).await,
            BitmapCommand::SetBit => self.setbit(key, &args[2], &args[3]).await,
        }
    }

    async fn setbit(&mut self, key: &Bytes, offset: &[u8], bit: &[u8]) -> Reply {
        let offset = parse_offset(offset)?;
        let bit = parse_integer(bit).ok().filter(|bit| matches!(bit, 0 | 1)).ok_or(RedisError::NotABit)?;
        let StoredString { value, expire_at_ms } = self.load_string(key).await?.unwrap_or_default();
        let old = bit_at(&value, offset);
        let mut bytes = value.to_vec();
        bytes.resize(bytes.len().max(offset / 8 + 1), 0);
        let mask = 0x80 >> (offset % 8);
        match bit {
            0 => bytes[offset / 8] &= !mask,
            _ => bytes[offset / 8] |= mask,
        }
        self.store_string(key, bytes.into(), expire_at_ms);
        Ok(Value::Integer(i64::from(old)))
    }

    async fn getbit(&mut self, key: &Bytes, offset: &[u8]) -> Reply {
        let offset = parse_offset(offset)?;
        let value = self.load_string(key).await?.unwrap_or_default().value;
        Ok(Value::Integer(i64::from(bit_at(&value, offset))))
    }

    /// BITCOUNT key [start end [BYTE|BIT]]
    async fn bitcount(&mut self, key: &Bytes, options: &[Bytes]) -> Reply {
        let Some(StoredString { value, .. }) = self.load_string(key).await? else { return Ok(Value::Integer(0)) };
        let bits = match options {
            [] => 0..value.len() * 8,
            [start, end, unit @ ..] if unit.len() <= 1 => {
                let (start, end) = (parse_integer(start)?, parse_integer(end)?);
                if start < 0 && end < 0 && start > end {
                    return Ok(Value::Integer(0));
                }
                let unit = unit.first().map_or(Ok(Unit::Byte), |unit| Unit::parse(unit))?;
                unit.bits(start, end, value.len())
            }
            _ => return Err(RedisError::Syntax.into()),
        };
        Ok(Value::Integer(count_ones(&value, bits) as i64))
    }

    /// BITPOS key bit [start [end [BYTE|BIT]]]
    async fn bitpos(&mut self, key: &Bytes, bit: &[u8], options: &[Bytes]) -> Reply {
        let wanted = match parse_integer(bit)? {
            0 => false,
            1 => true,
            _ => return Err(RedisError::NotAWantedBit.into()),
        };
        let Some(StoredString { value, .. }) = self.load_string(key).await? else {
            return Ok(Value::Integer(if wanted { -1 } else { 0 }));
        };
        let (start, end, unit) = match options {
            [] => (0, None, Unit::Byte),
            [start] => (parse_integer(start)?, None, Unit::Byte),
            [start, end, unit @ ..] if unit.len() <= 1 => {
                let start = parse_integer(start)?;
                let unit = unit.first().map_or(Ok(Unit::Byte), |unit| Unit::parse(unit))?;
                (start, Some(parse_integer(end)?), unit)
            }
            _ => return Err(RedisError::Syntax.into()),
        };
        let bits = unit.bits(start, end.unwrap_or(-1), value.len());
        if bits.is_empty() {
            return Ok(Value::Integer(-1));
        }
        let behind = value.len() * 8;
        Ok(Value::Integer(match first_bit(&value, bits, wanted) {
            Some(at) => at as i64,
            // Without an end, what is behind the string counts as zeros.
            None if !wanted && end.is_none() => behind as i64,
            None => -1,
        }))
    }

    /// BITOP operation destination key…: what a string is too short for counts as zeros
    async fn bitop(&mut self, operation: &[u8], destination: &Bytes, keys: &[Bytes]) -> Reply {
        let combine: fn(u8, u8) -> u8 = match operation.to_ascii_lowercase().as_slice() {
            b"and" => |left, right| left & right,
            b"or" => |left, right| left | right,
            b"xor" => |left, right| left ^ right,
            b"not" if keys.len() > 1 => return Err(RedisError::BitopNotOfSeveral.into()),
            b"not" => |left, _| left,
            _ => return Err(RedisError::Syntax.into()),
        };
        let negates = operation.eq_ignore_ascii_case(b"not");
        let mut strings = Vec::with_capacity(keys.len());
        for key in keys {
            strings.push(self.load_string(key).await?.unwrap_or_default().value);
        }
        let len = strings.iter().map(Bytes::len).max().unwrap_or(0);
        if len == 0 {
            if self.exists(destination).await? {
                self.remove(destination);
            }
            return Ok(Value::Integer(0));
        }
        let Some((first, others)) = strings.split_first() else { return Err(RedisError::Syntax.into()) };
        let mut combined = first.to_vec();
        combined.resize(len, 0);
        for other in others {
            for (at, byte) in combined.iter_mut().enumerate() {
                *byte = combine(*byte, other.get(at).copied().unwrap_or(0));
            }
        }
        if negates {
            combined.iter_mut().for_each(|byte| *byte = !*byte);
        }
        self.store_string(destination, combined.into(), None);
        Ok(Value::Integer(len as i64))
    }
}

/// The place of a bit, as SETBIT and BITFIELD read it.
pub(super) fn parse_offset(text: &[u8]) -> Result<usize, RedisError> {
    let offset = parse_integer(text).ok().and_then(|offset| usize::try_from(offset).ok());
    offset.filter(|offset| offset / 8 < MAX_VALUE_BYTES).ok_or(RedisError::NotABitOffset)
}

/// A bit; beyond the end they are 0.
pub(super) fn bit_at(bytes: &[u8], at: usize) -> bool {
    bytes.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0)
}

fn count_ones(bytes: &[u8], bits: std::ops::Range<usize>) -> usize {
    let (first, last) = (bits.start.div_ceil(8), bits.end / 8);
    if first >= last {
        return bits.filter(|&at| bit_at(bytes, at)).count();
    }
    let edges = (bits.start..first * 8).chain(last * 8..bits.end).filter(|&at| bit_at(bytes, at)).count();
    edges + bytes[first..last].iter().map(|byte| byte.count_ones() as usize).sum::<usize>()
}

fn first_bit(bytes: &[u8], bits: std::ops::Range<usize>, wanted: bool) -> Option<usize> {
    let without = if wanted { 0x00 } else { 0xFF };
    let mut at = bits.start;
    while at < bits.end {
        if at.is_multiple_of(8) && bytes.get(at / 8) == Some(&without) {
            at += 8;
        } else if bit_at(bytes, at) == wanted {
            return Some(at);
        } else {
            at += 1;
        }
    }
    None
}
