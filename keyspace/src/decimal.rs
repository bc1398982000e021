//! DynamoDB numbers: decimals of up to 38 significant digits and a magnitude from 1E-130 to 9.99…E+125.
//!
//! A number is kept as sign, coefficient and exponent, the coefficient without trailing zeros. So there is one form of
//! each number, however it was written: `1000`, `1e3`, `+1000` and `1000.0` are equal, print as `1000` and have one
//! key. Arithmetic is in `arithmetic`.
//!
//! In keys ([`Decimal::encode_ordered`]) a number is
//!
//! | bytes | content |
//! | --- | --- |
//! | 1 | 1 negative, 2 zero, 3 positive; zero ends here |
//! | 1 | magnitude + 130: the exponent when the first digit stands before the point |
//! | 1 to 19 | the digits in pairs, 2 + pair (0 to 99); an odd last digit counts tens |
//! | 1 | 1, below every pair: a number sorts before its own extensions |
//!
//! with every byte behind the sign complemented in negative numbers. Comparing encodings is comparing numbers, and
//! none is a prefix of another.
//!
//! Source: "Naming rules and data types", <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/>.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::codec::{CodecError, Reader};

mod arithmetic;

/// Significant digits of a number.
pub const MAX_DIGITS: u32 = 38;
/// Largest power of ten that a first digit may count.
pub const MAX_MAGNITUDE: i32 = 125;
/// Smallest power of ten that a first digit may count.
pub const MIN_MAGNITUDE: i32 = -130;

/// Why a text is no number of DynamoDB. The texts are DynamoDB's own.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecimalError {
    /// Not a decimal number at all.
    #[error("The parameter cannot be converted to a numeric value: {text}")]
    NotNumeric {
        /// What was found.
        text: String,
    },
    /// Needs more than [`MAX_DIGITS`] digits.
    #[error("Attempting to store more than 38 significant digits in a Number")]
    TooManyDigits,
    /// Above [`MAX_MAGNITUDE`].
    #[error("Number overflow. Attempting to store a number with magnitude larger than supported range")]
    Overflow,
    /// Below [`MIN_MAGNITUDE`] and not zero.
    #[error("Number underflow. Attempting to store a number with magnitude smaller than supported range")]
    Underflow,
}

/// A DynamoDB number: `±coefficient · 10^exponent`.
///
/// Invariants: the coefficient has at most [`MAX_DIGITS`] digits and no trailing zero; the magnitude is in bounds; zero
/// is positive and has exponent 0. Equal numbers are therefore equal field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Decimal {
    negative: bool,
    coefficient: u128,
    exponent: i32,
}

const NEGATIVE: u8 = 1;
const ZERO: u8 = 2;
const POSITIVE: u8 = 3;
const END_OF_DIGITS: u8 = 1;
const FIRST_PAIR: u8 = 2;

impl Decimal {
    /// Zero.
    pub const ZERO: Decimal = Decimal { negative: false, coefficient: 0, exponent: 0 };

    /// Whether this is zero.
    pub fn is_zero(&self) -> bool {
        self.coefficient == 0
    }

    /// Whether this is below zero.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// Checks the bounds on digits (without leading zeros) and their exponent.
    fn from_digits(negative: bool, digits: &[u8], exponent: i64) -> Result<Self, DecimalError> {
        let Some(last) = digits.iter().rposition(|&digit| digit != 0) else {
            return Ok(Self::ZERO);
        };
        let trailing_zeros = digits.len() - 1 - last;
        let digits = &digits[..=last];
        let magnitude = exponent.saturating_add(trailing_zeros as i64 + digits.len() as i64 - 1);
        if magnitude > i64::from(MAX_MAGNITUDE) {
            return Err(DecimalError::Overflow);
        }
        if magnitude < i64::from(MIN_MAGNITUDE) {
            return Err(DecimalError::Underflow);
        }
        if digits.len() > MAX_DIGITS as usize {
            return Err(DecimalError::TooManyDigits);
        }
        let coefficient = digits.iter().fold(0u128, |sum, &digit| sum * 10 + u128::from(digit));
        let exponent = i32::try_from(exponent + trailing_zeros as i64).expect("the magnitude is in bounds");
        Ok(Self { negative, coefficient, exponent })
    }

    /// Number of digits of the coefficient; 0 for zero.
    fn digit_count(&self) -> u32 {
        self.coefficient.checked_ilog10().map_or(0, |log| log + 1)
    }

    /// Power of ten that the first digit counts. Meaningless for zero.
    fn magnitude(&self) -> i32 {
        self.exponent + self.digit_count() as i32 - 1
    }

    /// The digits moved to the front of [`MAX_DIGITS`] places: equal magnitudes compare by it.
    fn aligned(&self) -> u128 {
        self.coefficient * 10u128.pow(MAX_DIGITS - self.digit_count())
    }

    /// Appends the form that sorts as numbers do. Self-delimiting, at most 22 bytes.
    pub fn encode_ordered(&self, out: &mut Vec<u8>) {
        if self.is_zero() {
            out.push(ZERO);
            return;
        }
        out.push(if self.negative { NEGATIVE } else { POSITIVE });
        let start = out.len();
        out.push(u8::try_from(self.magnitude() - MIN_MAGNITUDE).expect("the magnitude is in bounds"));
        let mut rest = self.aligned();
        let mut unit = 10u128.pow(MAX_DIGITS - 2);
        while rest > 0 {
            let pair = u8::try_from(rest / unit).expect("two digits");
            out.push(FIRST_PAIR + pair);
            rest %= unit;
            unit /= 100;
        }
        out.push(END_OF_DIGITS);
        if self.negative {
            out[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }

    /// Reads what [`Decimal::encode_ordered`] wrote off the front of a key; refuses every other form.
    pub fn decode_ordered(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        const FIELD: &str = "number";
        let negative = match reader.u8(FIELD)? {
            ZERO => return Ok(Self::ZERO),
            POSITIVE => false,
            NEGATIVE => true,
            found => return Err(CodecError::UnknownTag { field: FIELD, found }),
        };
        let mut next = || reader.u8(FIELD).map(|byte| if negative { !byte } else { byte });
        let magnitude = i64::from(next()?) + i64::from(MIN_MAGNITUDE);
        let mut digits = Vec::with_capacity(MAX_DIGITS as usize);
        loop {
            let byte = next()?;
            if byte == END_OF_DIGITS {
                break;
            }
            let pair = byte.checked_sub(FIRST_PAIR).filter(|&pair| pair < 100 && digits.len() < MAX_DIGITS as usize);
            let pair = pair.ok_or(CodecError::Invalid { field: FIELD })?;
            digits.extend([pair / 10, pair % 10]);
        }
        // A leading zero digit or a trailing zero pair would be a second encoding of the number.
        if digits.first().is_none_or(|&first| first == 0) || digits.ends_with(&[0, 0]) {
            return Err(CodecError::Invalid { field: FIELD });
        }
        let exponent = magnitude + 1 - digits.len() as i64;
        Self::from_digits(negative, &digits, exponent).map_err(|_| CodecError::Invalid { field: FIELD })
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    /// Optional sign, digits with at most one point among them, optional exponent. No white space, no `NaN`.
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let junk = || DecimalError::NotNumeric { text: text.to_owned() };
        let (negative, unsigned) = split_sign(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent).ok_or_else(junk)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
        if !all_digits || whole.len() + fraction.len() == 0 {
            return Err(junk());
        }
        let digits: Vec<u8> =
            whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0').skip_while(|&digit| digit == 0).collect();
        Self::from_digits(negative, &digits, exponent.saturating_sub(fraction.len() as i64))
    }
}

/// Whether the text begins with a minus, and what stands behind its sign.
fn split_sign(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

/// A decimal integer of any length; what no number could have is cut to what is out of bounds anyway.
fn parse_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let step = |sum: i64, byte: u8| sum.saturating_mul(10).saturating_add(i64::from(byte - b'0'));
    // Far from the ends of i64, so that what is added later cannot turn it around.
    let value = digits.bytes().fold(0i64, step).min(i64::MAX / 4);
    Some(if negative { -value } else { value })
}

impl fmt::Display for Decimal {
    /// Digits and at most one point: no exponent, no needless zeros, as DynamoDB answers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.coefficient.to_string();
        if self.negative {
            f.write_str("-")?;
        }
        match usize::try_from(self.exponent) {
            Ok(zeros) => write!(f, "{digits}{:0<zeros$}", ""),
            Err(_) => {
                let places = self.exponent.unsigned_abs() as usize;
                match digits.len().checked_sub(places) {
                    None | Some(0) => write!(f, "0.{digits:0>places$}"),
                    Some(point) => write!(f, "{}.{}", &digits[..point], &digits[point..]),
                }
            }
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| i8::from(!number.is_zero()) * if number.negative { -1 } else { 1 };
        sign(self).cmp(&sign(other)).then_with(|| {
            if self.is_zero() {
                return Ordering::Equal;
            }
            let absolute = self.magnitude().cmp(&other.magnitude()).then_with(|| self.aligned().cmp(&other.aligned()));
            if self.negative { absolute.reverse() } else { absolute }
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn encoded(number: &Decimal) -> Vec<u8> {
        let mut out = Vec::new();
        number.encode_ordered(&mut out);
        out
    }

    #[test]
    fn one_number_has_one_form_however_it_is_written() {
        let forms = [
            ("1000", &["1e3", "+1000", "1000.0", "1E+3", "001000", "10000e-1", "1000.", "0.1e4"][..]),
            ("0", &["-0", "0.000", "0e999999999999999999999", "+0", ".0", "-0e-7"]),
            ("-12.5", &["-12.50", "-125e-1", "-0.125e2"]),
            ("0.05", &[".05", "5e-2", "0.0500"]),
        ];
        for (canonical, others) in forms {
            assert_eq!(number(canonical).to_string(), canonical);
            for other in others {
                assert_eq!(number(other), number(canonical), "{other}");
                assert_eq!(number(other).to_string(), canonical);
                assert_eq!(encoded(&number(other)), encoded(&number(canonical)));
            }
        }
    }

    #[test]
    fn bounds_are_those_of_dynamodb() {
        let nines = "9".repeat(38);
        assert_eq!(number(&nines).to_string(), nines);
        assert_eq!(number(&format!("{nines}e88")).magnitude(), 125);
        assert_eq!(number("1e125").to_string().len(), 126);
        assert_eq!(number("-1e-130").to_string().len(), "-0.".len() + 130);
        assert_eq!(number(&format!("{nines}000")).digit_count(), 38, "trailing zeros are not significant");
        assert_eq!(number(&format!("0.000{nines}")).digit_count(), 38, "leading zeros are not significant");

        let refused = |text: &str| text.parse::<Decimal>().unwrap_err();
        for text in ["1e126", "-1e126", "10e125", "1e99999999999999999999999999", &"9".repeat(127)] {
            assert_eq!(refused(text), DecimalError::Overflow, "{text}");
        }
        for text in ["1e-131", "-1e-131", "0.1e-130", "1e-99999999999999999999999999"] {
            assert_eq!(refused(text), DecimalError::Underflow, "{text}");
        }
        for text in [&format!("{nines}1"), &format!("1.{nines}"), &format!("-{nines}.1e-60")] {
            assert_eq!(refused(text), DecimalError::TooManyDigits, "{text}");
        }
        for text in ["", "b", "+", "-", ".", "e5", "1e", "1e+", "1.2.3", "1e2e3", "--1", "1_0", " 1", "1 ", "NaN", "٣"]
        {
            assert_eq!(refused(text), DecimalError::NotNumeric { text: text.to_owned() });
        }
        assert_eq!(refused("b").to_string(), "The parameter cannot be converted to a numeric value: b");
    }

    #[test]
    fn encodings_that_no_number_has_are_refused() {
        let decode = |bytes: &[u8]| Decimal::decode_ordered(&mut Reader::new(bytes));
        assert_eq!(decode(&[POSITIVE, 130, FIRST_PAIR + 10, END_OF_DIGITS]), Ok(number("1")));
        assert!(decode(&[POSITIVE, 130, FIRST_PAIR + 9, END_OF_DIGITS]).is_err(), "leading zero");
        assert!(decode(&[POSITIVE, 130, FIRST_PAIR + 10, FIRST_PAIR, END_OF_DIGITS]).is_err(), "trailing zeros");
        assert!(decode(&[POSITIVE, 130, END_OF_DIGITS]).is_err(), "no digits");
        assert!(decode(&[POSITIVE, 130, FIRST_PAIR + 10]).is_err(), "cut off");
        assert!(decode(&[POSITIVE, 130, FIRST_PAIR + 100, END_OF_DIGITS]).is_err(), "no pair");
        assert!(decode(&[[POSITIVE, 130].to_vec(), vec![FIRST_PAIR + 11; 20], vec![1]].concat()).is_err(), "40 digits");
        assert!(decode(&[0]).is_err() && decode(&[4]).is_err() && decode(&[]).is_err(), "no sign");
    }

    /// Numbers that are often near each other, equal up to a digit, or of opposite sign.
    fn decimals() -> impl Strategy<Value = Decimal> {
        let coefficient = prop_oneof![0u128..120, 0..10u128.pow(38), (0u32..38).prop_map(|n| 10u128.pow(n) + 1)];
        let exponent = prop_oneof![-3i32..3, -130i32..=125];
        (any::<bool>(), coefficient, exponent).prop_filter_map("out of range", |(negative, coefficient, exponent)| {
            format!("{}{coefficient}e{exponent}", if negative { "-" } else { "" }).parse().ok()
        })
    }

    /// Compares by subtracting digit strings written out in full.
    fn naive_order(a: &Decimal, b: &Decimal) -> Ordering {
        let plain = |number: &Decimal| {
            let text = number.to_string();
            let (negative, text) = split_sign(&text);
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            (negative, format!("{whole:0>170}{fraction:0<170}"))
        };
        match (plain(a), plain(b)) {
            ((false, a), (false, b)) => a.cmp(&b),
            ((true, a), (true, b)) => b.cmp(&a),
            ((a, _), (b, _)) => b.cmp(&a),
        }
    }

    proptest! {
        #[test]
        fn text_and_encoding_round_trip(number in decimals()) {
            prop_assert_eq!(number.to_string().parse(), Ok(number));
            let bytes = encoded(&number);
            prop_assert!(bytes.len() <= 22);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(Decimal::decode_ordered(&mut reader), Ok(number));
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn numbers_their_encodings_and_their_digits_sort_alike(a in decimals(), b in decimals()) {
            prop_assert_eq!(a.cmp(&b), naive_order(&a, &b));
            prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), a.cmp(&b));
            prop_assert!(a == b || !encoded(&b).starts_with(&encoded(&a)), "no encoding is a prefix of another");
        }

        #[test]
        fn junk_is_refused_or_is_canonical(bytes in prop::collection::vec(prop_oneof![0u8..5, any::<u8>()], 0..26)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(number) = Decimal::decode_ordered(&mut reader) {
                prop_assert_eq!(encoded(&number), &bytes[..bytes.len() - reader.rest().len()]);
            }
        }

        #[test]
        fn junk_text_is_refused_or_prints_as_its_equal(text in "[-+]?[0-9.]{0,8}([eE][-+]?[0-9]{0,4})?|\\PC{0,10}") {
            if let Ok(number) = text.parse::<Decimal>() {
                prop_assert_eq!(number.to_string().parse(), Ok(number));
            }
        }
    }
}
