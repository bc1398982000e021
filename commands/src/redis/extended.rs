//! The numbers of INCRBYFLOAT: the 80-bit floating point of x86, which Redis computes with there.
//!
//! A number is `mantissa · 2^exponent` with a 64-bit mantissa; reading, adding and writing round to the nearest, ties
//! to even, exactly as the C library and the processor do for Redis (`strtold`, `fadd`, `%.17Lf`). So INCRBYFLOAT
//! answers the same digits on every machine. Not supported, as in Redis: blanks around the number, and NaN.

use super::natural::Natural;

/// Exponent of the smallest subnormal number.
const MIN_EXPONENT: i32 = -16_445;
/// Exponent of the largest numbers.
const MAX_EXPONENT: i32 = 16_320;
/// Redis refuses longer texts.
const MAX_TEXT_BYTES: usize = 5 * 1024;
/// Digits behind the point that are written.
const FRACTION_DIGITS: usize = 17;
const FRACTION_SCALE: u128 = 100_000_000_000_000_000;

/// A number or an infinity.
///
/// Invariant: the mantissa has its highest bit set, or is 0, or the exponent is [`MIN_EXPONENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extended {
    /// Beyond the largest number, or the sum of two infinities.
    NotFinite,
    /// `±mantissa · 2^exponent`
    Finite {
        /// Sign.
        negative: bool,
        /// 64 bits.
        mantissa: u64,
        /// Of the lowest bit of the mantissa.
        exponent: i32,
    },
}

impl Extended {
    /// 0
    pub const ZERO: Self = Extended::Finite { negative: false, mantissa: 0, exponent: MIN_EXPONENT };

    /// Reads what `strtold` reads: decimal or hexadecimal, `inf`, `infinity`. `None` for anything else, and for numbers
    /// too large or too small.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= MAX_TEXT_BYTES {
            return None;
        }
        let text = text.to_ascii_lowercase();
        let (negative, text) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            (b'+', rest) => (false, rest),
            _ => (false, &*text),
        };
        match text {
            b"inf" | b"infinity" => Some(Extended::NotFinite),
            [b'0', b'x', hexadecimal @ ..] => parse_scaled(negative, hexadecimal, 16, b'p'),
            decimal => parse_scaled(negative, decimal, 10, b'e'),
        }
    }

    /// `number · 2^exponent`, rounded; `sticky`: and a little more, for which `number` has at least 66 bits.
    fn rounded(negative: bool, number: u128, exponent: i32, sticky: bool) -> Self {
        let bits = 128 - number.leading_zeros() as i32;
        let shift = (bits - 64).max(MIN_EXPONENT - exponent);
        let (mut mantissa, mut exponent) = (number, exponent + shift);
        if shift <= 0 {
            mantissa <<= shift.unsigned_abs().min(127);
        } else if shift > 127 {
            mantissa = 0;
        } else {
            let rest = number & ((1 << shift) - 1);
            let half = 1_u128 << (shift - 1);
            mantissa >>= shift;
            let up = rest > half || (rest == half && (sticky || mantissa & 1 == 1));
            mantissa += u128::from(up);
        }
        if mantissa >> 64 != 0 {
            (mantissa, exponent) = (mantissa >> 1, exponent + 1);
        }
        if exponent > MAX_EXPONENT {
            return Extended::NotFinite;
        }
        let exponent = if mantissa == 0 { MIN_EXPONENT } else { exponent };
        Extended::Finite { negative, mantissa: mantissa as u64, exponent }
    }

    /// Whether it is a number.
    pub fn is_finite(self) -> bool {
        matches!(self, Extended::Finite { .. })
    }

    /// The nearest 64-bit number; `None` beyond the largest.
    pub fn to_double(self) -> Option<f64> {
        let Extended::Finite { negative, mantissa, exponent } = self else { return None };
        // In two steps, each of which has a factor that is a number.
        let half = exponent / 2;
        let double = mantissa as f64 * 2_f64.powi(half) * 2_f64.powi(exponent - half);
        double.is_finite().then_some(if negative { -double } else { double })
    }

    /// The sum, rounded.
    pub fn plus(self, other: Self) -> Self {
        let (high, low) = match (self, other) {
            (Extended::Finite { exponent: left, .. }, Extended::Finite { exponent: right, .. }) if left < right => {
                (other, self)
            }
            _ => (self, other),
        };
        let (
            Extended::Finite { negative, mantissa: high, exponent: high_exponent },
            Extended::Finite { negative: low_negative, mantissa: low, exponent: low_exponent },
        ) = (high, low)
        else {
            return Extended::NotFinite;
        };
        // 62 bits of room below the higher number, one above it for the carry. What falls out below leaves a trace.
        const ROOM: i32 = 62;
        let (high, low) = (u128::from(high) << ROOM, u128::from(low) << ROOM);
        let distance = high_exponent - low_exponent;
        let (low, lost) = match distance {
            0..=127 => (low >> distance, low & ((1 << distance) - 1) != 0),
            _ => (0, low != 0),
        };
        let exponent = high_exponent - ROOM;
        if negative == low_negative {
            Self::rounded(negative, high + low, exponent, lost)
        } else if low > high {
            // Only at equal exponents, where nothing is lost.
            Self::rounded(low_negative, low - high, exponent, false)
        } else if high == low && !lost {
            Self::ZERO
        } else {
            Self::rounded(negative, high - low - u128::from(lost), exponent, lost)
        }
    }

    /// Without an exponent, with at most 17 digits behind the point and no zeros at the end; `None` of an infinity.
    pub fn to_plain(self) -> Option<String> {
        let Extended::Finite { negative, mantissa, exponent } = self else {
            return None;
        };
        let mut text = if exponent >= 0 {
            Natural::from(mantissa).shifted_left(exponent as usize).to_decimal()
        } else {
            let scaled = divide_by_power_of_two(u128::from(mantissa) * FRACTION_SCALE, exponent.unsigned_abs());
            let (whole, fraction) = (scaled / FRACTION_SCALE, scaled % FRACTION_SCALE);
            let text = format!("{whole}.{fraction:0width$}", width = FRACTION_DIGITS);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        if negative && text != "0" {
            text.insert(0, '-');
        }
        Some(text)
    }
}

/// `number / 2^count` to the nearest, ties to even; `number` is below 2^127.
fn divide_by_power_of_two(number: u128, count: u32) -> u128 {
    if count > 127 {
        return 0;
    }
    let (quotient, rest) = (number >> count, number & ((1 << count) - 1));
    let half = 1_u128 << (count - 1);
    quotient + u128::from(rest > half || (rest == half && quotient & 1 == 1))
}

/// Digits of `base`, at most one point among them, then perhaps `mark` and a decimal exponent.
fn parse_scaled(negative: bool, text: &[u8], base: u32, mark: u8) -> Option<Extended> {
    let (digits, scale) = match text.iter().position(|&byte| byte == mark) {
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let (whole, fraction) = match digits.iter().position(|&byte| byte == b'.') {
        Some(at) => (&digits[..at], &digits[at + 1..]),
        None => (digits, &[][..]),
    };
    let values: Vec<u8> = whole.iter().chain(fraction).map(|&digit| value_of(digit, base)).collect::<Option<_>>()?;
    if values.is_empty() {
        return None;
    }
    let significant = values.iter().position(|&value| value != 0).map_or(&[][..], |at| &values[at..]);
    let number = Natural::from_digits(significant.iter().copied(), base);
    if number.is_zero() {
        return Some(Extended::Finite { negative, mantissa: 0, exponent: MIN_EXPONENT });
    }
    let fraction_digits = fraction.len() as i64;
    let found = if base == 16 {
        let exponent = scale - 4 * fraction_digits;
        // Far outside of what can be told apart from infinity or zero: keeps the arithmetic in 32 bits.
        in_bounds(exponent + number.bits() as i64, 17_000)?;
        scaled_by_two(negative, &number, exponent)
    } else {
        let exponent = scale - fraction_digits;
        in_bounds(exponent + significant.len() as i64, 5_000)?;
        scaled_by_ten(negative, &number, exponent)
    };
    // Both ends of the range are errors to Redis.
    match found {
        Extended::NotFinite | Extended::Finite { mantissa: 0, .. } => None,
        found => Some(found),
    }
}

fn in_bounds(magnitude: i64, bound: i64) -> Option<()> {
    (-bound..=bound).contains(&magnitude).then_some(())
}

fn scaled_by_two(negative: bool, number: &Natural, exponent: i64) -> Extended {
    let (top, below, lost) = number.top();
    Extended::rounded(negative, top, (exponent + below as i64) as i32, lost)
}

fn scaled_by_ten(negative: bool, number: &Natural, exponent: i64) -> Extended {
    let power = Natural::power_of_ten(exponent.unsigned_abs() as usize);
    if exponent >= 0 {
        return scaled_by_two(negative, &number.times(&power), 0);
    }
    // A quotient of 70 bits or so, of which 64 are kept.
    let shift = (70 + power.bits()).saturating_sub(number.bits());
    let shifted = number.shifted_left(shift);
    // A long dividend gives its excess bits back first, so that the quotient fits.
    let excess = shifted.bits().saturating_sub(power.bits() + 100);
    let (quotient, lost) = shifted.divided_by(&power.shifted_left(excess));
    Extended::rounded(negative, quotient, excess as i32 - shift as i32, lost)
}

/// An exponent; beyond nine digits it is as good as a billion.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text.split_first()? {
        (b'-', digits) => (-1, digits),
        (b'+', digits) => (1, digits),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0_i64, |sum, &digit| (sum * 10 + i64::from(digit - b'0')).min(1_000_000_000));
    Some(sign * magnitude)
}

fn value_of(digit: u8, base: u32) -> Option<u8> {
    char::from(digit).to_digit(base).map(|value| value as u8)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(left: &str, right: &str) -> Option<String> {
        Extended::parse(left.as_bytes())?.plus(Extended::parse(right.as_bytes())?).to_plain()
    }

    /// The answers of redis-server 7.0.15 on x86-64; tests/differential.rs compares thousands more.
    #[test]
    fn sums_have_the_digits_of_redis() {
        for (left, right, answer) in [
            ("0", "0.1", "0.1"),
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "200", "5200"),
            ("3", "-3", "0"),
            ("-0", "-0", "0"),
            ("0", "-1e-18", "0"),
            ("1", "1.0e-17", "1.00000000000000001"),
            ("0", "0x1.8p1", "3"),
            ("0", "1e20", "100000000000000000000"),
        ] {
            assert_eq!(sum(left, right).as_deref(), Some(answer), "{left} + {right}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            " 1",
            "1 ",
            "1e",
            "1e+",
            ".",
            "-",
            "+-1",
            "0x",
            "0x.",
            "0xg",
            "nan",
            "1.2.3",
            "1e1.5",
            "infin",
            "1\0",
            "1e5000",
            "-1e5000",
            "1e-5000",
            "0x1p20000",
            "0x1p-20000",
            "1_000",
        ] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Extended::parse("9".repeat(MAX_TEXT_BYTES).as_bytes()), None);
        for text in ["+1", ".5", "5.", "0e999999999999", "1E5", "0X1P3", "00001", "-Infinity"] {
            assert!(Extended::parse(text.as_bytes()).is_some(), "{text:?}");
        }
    }

    #[test]
    fn infinity_is_a_number_without_a_sum() {
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("inf", "-inf"), None);
        assert_eq!(sum("1.1e4932", "1.1e4932"), None);
    }

    #[test]
    fn the_ends_of_the_range_are_read() {
        let smallest = Extended::parse(b"3.6451995318824746025e-4951").unwrap();
        assert_eq!(smallest, Extended::Finite { negative: false, mantissa: 1, exponent: MIN_EXPONENT });
        let largest = Extended::parse(b"1.18973149535723176502e+4932").unwrap();
        assert_eq!(largest, Extended::Finite { negative: false, mantissa: u64::MAX, exponent: MAX_EXPONENT });
        assert_eq!(Extended::parse(b"0x1p-16445"), Some(smallest));
    }

    proptest! {
        #[test]
        fn integers_are_exact(a in -(1_i64 << 62)..1 << 62, b in -(1_i64 << 62)..1 << 62) {
            prop_assert_eq!(sum(&a.to_string(), &b.to_string()), Some((a + b).to_string()));
        }

        #[test]
        fn hexadecimal_and_decimal_agree(number: u64) {
            prop_assert_eq!(Extended::parse(format!("{number:#x}").as_bytes()), Extended::parse(number.to_string().as_bytes()));
        }

        /// Every double is an extended number, and both are read to the nearest.
        #[test]
        fn doubles_are_read_exactly(number: f64) {
            prop_assume!(number.is_finite() && number != 0.0);
            let bits = number.to_bits();
            let (fraction, field) = (bits & ((1 << 52) - 1), (bits >> 52 & 0x7FF) as i32);
            let (mantissa, exponent) = if field == 0 { (fraction, -1074) } else { (fraction | 1 << 52, field - 1075) };
            let exact = Extended::rounded(number < 0.0, u128::from(mantissa), exponent, false);
            let text = format!("{}{}p{}", if number < 0.0 { "-0x" } else { "0x" }, format_args!("{mantissa:x}"), exponent);
            prop_assert_eq!(Extended::parse(text.as_bytes()), Some(exact));
        }

        #[test]
        fn junk_never_panics(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Extended::parse(&text).map(|number| number.plus(Extended::ZERO).to_plain());
        }

        #[test]
        fn numbers_of_any_length_never_panic(text in "-?[0-9]{1,600}(\\.[0-9]{0,600})?(e-?[0-9]{1,5})?") {
            let _ = Extended::parse(text.as_bytes()).map(Extended::to_plain);
        }
    }
}
