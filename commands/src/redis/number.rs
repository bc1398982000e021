//! Integers as Redis reads them.

use keyspace::layout::REDIS_DATABASES;

use super::error::RedisError;

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
