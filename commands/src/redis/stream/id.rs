//! The ids of stream entries: a time in milliseconds and a number within it, as clients write them and as they sort.

use bytes::Bytes;

use super::super::error::RedisError;
use super::super::value::Value;
use super::refusal::StreamRefusal;

/// Longest text that may be an id.
const MAX_TEXT: usize = 127;

/// An id: milliseconds since 1970 in the upper half, the number in the lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub u128);

impl Id {
    /// Below every entry.
    pub const ZERO: Self = Self(0);
    /// Above every other.
    pub const MAX: Self = Self(u128::MAX);

    /// Of its halves.
    pub fn new(ms: u64, number: u64) -> Self {
        Self((u128::from(ms) << 64) | u128::from(number))
    }

    /// Milliseconds.
    pub fn ms(self) -> u64 {
        (self.0 >> 64) as u64
    }

    /// The number within the millisecond.
    pub fn number(self) -> u64 {
        self.0 as u64
    }

    /// The next one; `None` behind the last.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    /// The one before; `None` before the first.
    pub fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// As it sorts in the names of records.
    pub fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Inverse of [`Id::bytes`].
    pub fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u128::from_be_bytes(bytes)))
    }

    /// `ms-number`
    pub fn value(self) -> Value {
        Value::bulk(format!("{}-{}", self.ms(), self.number()))
    }

    /// `ms` or `ms-number`, `-` and `+`; `number` stands for what is left out.
    pub fn parse(text: &[u8], number: u64) -> Result<Self, RedisError> {
        match text {
            b"-" => Ok(Self::ZERO),
            b"+" => Ok(Self::MAX),
            _ => Self::parse_strict(text, number),
        }
    }

    /// The same without `-` and `+`.
    pub fn parse_strict(text: &[u8], number: u64) -> Result<Self, RedisError> {
        let (ms, rest) = split(text)?;
        let number = rest.map_or(Some(number), parse_number).ok_or(StreamRefusal::InvalidId)?;
        Ok(Self::new(ms, number))
    }

    /// The first id of an interval, `(` excludes it.
    pub fn parse_start(text: &[u8]) -> Result<Self, RedisError> {
        match excluded(text) {
            Some(text) => Ok(Self::parse_strict(text, 0)?.next().ok_or(StreamRefusal::InvalidStart)?),
            None => Self::parse(text, 0),
        }
    }

    /// The last id of an interval, `(` excludes it.
    pub fn parse_end(text: &[u8]) -> Result<Self, RedisError> {
        match excluded(text) {
            Some(text) => Ok(Self::parse_strict(text, u64::MAX)?.previous().ok_or(StreamRefusal::InvalidEnd)?),
            None => Self::parse(text, u64::MAX),
        }
    }

    /// All of some ids.
    pub fn parse_all(texts: &[Bytes]) -> Result<Vec<Self>, RedisError> {
        texts.iter().map(|text| Self::parse_strict(text, 0)).collect()
    }
}

/// The id that XADD is to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewId {
    /// `*`
    Auto,
    /// `ms-*`
    Within(u64),
    /// This one.
    Given(Id),
}

impl NewId {
    pub(super) fn parse(text: &[u8]) -> Result<Self, RedisError> {
        if text == b"*" {
            return Ok(Self::Auto);
        }
        match split(text)? {
            (ms, Some(b"*")) => Ok(Self::Within(ms)),
            _ => Id::parse_strict(text, 0).map(Self::Given),
        }
    }
}

fn excluded(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"(").filter(|rest| !rest.is_empty())
}

fn split(text: &[u8]) -> Result<(u64, Option<&[u8]>), RedisError> {
    let invalid = StreamRefusal::InvalidId;
    if text.len() > MAX_TEXT {
        return Err(invalid.into());
    }
    let (ms, number) = match text.iter().position(|&byte| byte == b'-') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    Ok((parse_number(ms).ok_or(invalid)?, number))
}

/// A number of 64 bits as C reads it: blanks, a sign and leading zeros before it are no mistake, and what is negative in
/// such a form counts down from the largest.
fn parse_number(text: &[u8]) -> Option<u64> {
    if let Ok(number) = super::super::number::parse_integer(text) {
        return u64::try_from(number).ok();
    }
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let text = &text[text.iter().take_while(|byte| blank(byte)).count()..];
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if negative { number.wrapping_neg() } else { number })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        assert_eq!(Id::parse(b"5", 7), Ok(Id::new(5, 7)));
        assert_eq!(Id::parse(b"5-6", 7), Ok(Id::new(5, 6)));
        assert_eq!(Id::parse(b"18446744073709551615-18446744073709551615", 0), Ok(Id::MAX));
        assert_eq!(Id::parse(b"007", 0), Ok(Id::new(7, 0)));
        for text in ["", "x", "1-", "1-x", "18446744073709551616", "-1", "1--2"] {
            assert_eq!(Id::parse(text.as_bytes(), 0), Err(StreamRefusal::InvalidId.into()), "{text}");
        }
        assert_eq!(NewId::parse(b"5-*"), Ok(NewId::Within(5)));
        assert_eq!(Id::parse_start(b"(5-6"), Ok(Id::new(5, 7)));
        assert_eq!(Id::parse_end(b"(0-0"), Err(StreamRefusal::InvalidEnd.into()));
        assert!(Id::new(1, u64::MAX).next() == Some(Id::new(2, 0)));
    }
}
