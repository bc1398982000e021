//! Integers as Redis reads them.

use bytes::Bytes;
use keyspace::layout::REDIS_DATABASES;

use super::error::RedisError;

/// Most things that one command picks with repetitions.
const MAX_PICKS: i64 = 1 << 20;

/// A 64-bit integer in its one canonical form: no sign but `-`, no leading zeros, no blanks.
pub fn parse_integer(text: &[u8]) -> Result<i64, RedisError> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let text = std::str::from_utf8(text).ok().filter(|_| canonical);
    text.and_then(|text| text.parse().ok()).ok_or(RedisError::NotAnInteger)
}

/// The number of a database, as SELECT and COPY read it.
pub fn parse_database(text: &[u8]) -> Result<u8, RedisError> {
    let index = i32::try_from(parse_integer(text)?).map_err(|_| RedisError::NotA32BitInteger)?;
    u8::try_from(index).ok().filter(|index| *index < REDIS_DATABASES).ok_or(RedisError::NoSuchDatabase)
}

/// A number of things to take: SPOP, LPOP and their like.
pub(super) fn parse_not_negative(text: &[u8]) -> Result<i64, RedisError> {
    parse_integer(text).ok().filter(|number| *number >= 0).ok_or(RedisError::NotPositive)
}

/// How many to pick at random, negative: with repetitions; of things that come in `pairs` half as many.
pub(super) fn parse_pick(text: &[u8], pairs: bool) -> Result<i64, RedisError> {
    let count = parse_integer(text)?;
    if count == i64::MIN {
        return Err(RedisError::NotASymmetricInteger);
    }
    let most = if pairs { i64::MAX / 2 } else { i64::MAX };
    if count.abs() > most || count < -MAX_PICKS { Err(RedisError::OutOfRange) } else { Ok(count) }
}

/// A number of keys and the keys, and what follows them.
pub(super) fn parse_counted(args: &[Bytes]) -> Result<(&[Bytes], &[Bytes]), RedisError> {
    let [number, rest @ ..] = args else { return Err(RedisError::Syntax) };
    let number = parse_integer(number).ok().filter(|number| *number > 0).ok_or(RedisError::NoKeysCounted)?;
    usize::try_from(number).ok().and_then(|number| rest.split_at_checked(number)).ok_or(RedisError::TooManyKeysCounted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_canonical_form_is_an_integer() {
        for text in ["", "-", "+1", "01", "-0", " 1", "1 ", "1.0", "0x1", "9223372036854775808", "-9223372036854775809"]
        {
            assert_eq!(parse_integer(text.as_bytes()), Err(RedisError::NotAnInteger), "{text:?}");
        }
        assert_eq!(parse_integer(b"0"), Ok(0));
    }

    #[test]
    fn databases_have_small_numbers() {
        assert_eq!((parse_database(b"0"), parse_database(b"15")), (Ok(0), Ok(15)));
        assert_eq!(parse_database(b"16"), Err(RedisError::NoSuchDatabase));
        assert_eq!(parse_database(b"-1"), Err(RedisError::NoSuchDatabase));
        assert_eq!(parse_database(b"3000000000"), Err(RedisError::NotA32BitInteger));
        assert_eq!(parse_database(b"01"), Err(RedisError::NotAnInteger));
    }

    proptest! {
        #[test]
        fn integers_round_trip(number: i64) {
            prop_assert_eq!(parse_integer(number.to_string().as_bytes()), Ok(number));
        }
    }
}
