//! Integers as Redis reads them.

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

    proptest! {
        #[test]
        fn integers_round_trip(number: i64) {
            prop_assert_eq!(parse_integer(number.to_string().as_bytes()), Ok(number));
        }
    }
}
