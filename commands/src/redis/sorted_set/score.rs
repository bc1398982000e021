//! Scores: how Redis reads and writes them, and how they sort as bytes.

use super::super::extended::Extended;

/// Digits that tell any two numbers apart.
const DIGITS: i32 = 17;

/// Reads a number as ZADD and GEOADD do; `None`: it is none, or too large or too small for one.
pub fn parse_double(text: &[u8]) -> Option<f64> {
    let number = read(text)?;
    let names_infinity = text.iter().any(|byte| byte.eq_ignore_ascii_case(&b'i'));
    let digits = text.split(|byte| matches!(byte, b'e' | b'E' | b'p' | b'P')).next().unwrap_or_default();
    let hexadecimal = digits.iter().any(|byte| matches!(byte, b'x' | b'X'));
    let names_zero = !digits.iter().any(|byte| match hexadecimal {
        true => byte.is_ascii_hexdigit() && *byte != b'0',
        false => matches!(byte, b'1'..=b'9'),
    });
    ((number.is_finite() || names_infinity) && (number != 0.0 || names_zero)).then_some(number)
}

/// Reads a number as the bounds of an interval are read: blanks before it, nothing for 0, too large for infinity.
pub fn parse_bound(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii_start();
    if text.is_empty() { Some(0.0) } else { read(text) }
}

fn read(text: &[u8]) -> Option<f64> {
    let text_str = std::str::from_utf8(text).ok()?;
    let unsigned = text_str.trim_start_matches(['+', '-']);
    if unsigned.starts_with("0x") || unsigned.starts_with("0X") {
        return Extended::parse(text)?.to_double();
    }
    text_str.parse::<f64>().ok().filter(|number| !number.is_nan())
}

/// Writes a number with 17 significant digits, as `%.17g` does: 0.1 is `0.10000000000000001`.
pub fn format_double(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{:.*e}", (DIGITS - 1) as usize, number.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let significant = digits.trim_end_matches('0');
    let sign = if number < 0.0 { "-" } else { "" };
    if !(-4..DIGITS).contains(&exponent) {
        let (first, rest) = significant.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{point}{rest}e{exponent_sign}{:02}", exponent.abs());
    }
    if exponent < 0 {
        let zeros = "0".repeat((-exponent - 1) as usize);
        return format!("{sign}0.{zeros}{significant}");
    }
    let (whole, fraction) = digits.split_at(exponent as usize + 1);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Eight bytes that sort as the numbers do. The two zeros are one.
pub fn to_order(score: f64) -> [u8; 8] {
    let bits = (score + 0.0).to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits ^ (1 << 63) };
    ordered.to_be_bytes()
}

/// Eight bytes above those of every number up to `score`, and not above those of a larger one.
pub fn above_in_order(score: f64) -> [u8; 8] {
    u64::from_be_bytes(to_order(score)).saturating_add(1).to_be_bytes()
}

/// The score at the front of a place in the order, and where the name begins.
pub fn from_order(place: &[u8]) -> Option<(f64, usize)> {
    let ordered = u64::from_be_bytes(*place.first_chunk::<8>()?);
    let bits = if ordered >> 63 == 1 { ordered ^ (1 << 63) } else { !ordered };
    Some((f64::from_bits(bits), 8))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_written_as_c_does() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (0.1, "0.10000000000000001"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (123_456_789.125, "123456789.125"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (1e300, "1.0000000000000001e+300"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(format_double(number), text);
        }
    }

    #[test]
    fn numbers_are_read_as_c_does() {
        for (text, number) in [
            ("1", 1.0),
            ("+.5", 0.5),
            ("5.", 5.0),
            ("-1e2", -100.0),
            ("InF", f64::INFINITY),
            ("0x10", 16.0),
            ("0e9", 0.0),
        ] {
            assert_eq!(parse_double(text.as_bytes()), Some(number), "{text}");
        }
        for text in ["", " 1", "1 ", "x", "nan", "1e400", "1e-400", "--1", "0x"] {
            assert_eq!(parse_double(text.as_bytes()), None, "{text}");
        }
        assert_eq!(
            (parse_bound(b""), parse_bound(b" 1"), parse_bound(b"1e400")),
            (Some(0.0), Some(1.0), Some(f64::INFINITY))
        );
    }

    proptest! {
        #[test]
        fn bytes_sort_as_scores(a: f64, b: f64) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(to_order(a).partial_cmp(&to_order(b)), a.partial_cmp(&b));
            prop_assert_eq!(from_order(&to_order(a)).unwrap().0, a);
            prop_assert_eq!(above_in_order(a) <= to_order(b), a < b);
        }

        #[test]
        fn what_is_written_reads_back(number: f64) {
            prop_assume!(!number.is_nan());
            prop_assert_eq!(parse_bound(format_double(number).as_bytes()), Some(number));
        }
    }
}
