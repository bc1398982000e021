//! Sum and difference, exact or refused: a result that needs more than 38 digits is an error, never rounded.
//!
//! Exponents may lie 293 places apart, so both numbers are written out digit by digit over the places that either of
//! them uses. That is at most some 300 additions of single digits.

use std::cmp::Ordering;

use super::{Decimal, DecimalError};

impl Decimal {
    /// The sum.
    pub fn checked_add(&self, other: &Decimal) -> Result<Decimal, DecimalError> {
        if self.is_zero() || other.is_zero() {
            return Ok(if self.is_zero() { *other } else { *self });
        }
        let low = self.exponent.min(other.exponent);
        let high = self.magnitude().max(other.magnitude()) + 1;
        let places = usize::try_from(high - low + 1).expect("the highest place is above the lowest");
        let (a, b) = (self.digits_over(low, places), other.digits_over(low, places));
        let (negative, digits) = if self.negative == other.negative {
            (self.negative, sum(&a, &b))
        } else {
            match a.cmp(&b) {
                Ordering::Equal => return Ok(Decimal::ZERO),
                Ordering::Greater => (self.negative, difference(&a, &b)),
                Ordering::Less => (other.negative, difference(&b, &a)),
            }
        };
        let leading_zeros = digits.iter().take_while(|&&digit| digit == 0).count();
        Decimal::from_digits(negative, &digits[leading_zeros..], low.into())
    }

    /// The difference.
    pub fn checked_sub(&self, other: &Decimal) -> Result<Decimal, DecimalError> {
        self.checked_add(&Decimal { negative: !other.negative && !other.is_zero(), ..*other })
    }

    /// The coefficient, highest digit first, over `places` places of which the last counts `10^low`.
    fn digits_over(&self, low: i32, places: usize) -> Vec<u8> {
        let shift = usize::try_from(self.exponent - low).expect("no exponent is below the lowest place");
        let mut digits = vec![0; places];
        let mut rest = self.coefficient;
        for digit in digits.iter_mut().rev().skip(shift) {
            *digit = u8::try_from(rest % 10).expect("one digit");
            rest /= 10;
        }
        digits
    }
}

fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut digits = vec![0; a.len()];
    let mut carry = 0;
    for ((digit, a), b) in digits.iter_mut().zip(a).zip(b).rev() {
        let total = a + b + carry;
        *digit = total % 10;
        carry = total / 10;
    }
    debug_assert_eq!(carry, 0, "one place was left for the carry");
    digits
}

/// Of digits that are not below those subtracted.
fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut digits = vec![0; a.len()];
    let mut borrow = 0;
    for ((digit, a), b) in digits.iter_mut().zip(a).zip(b).rev() {
        let owed = b + borrow;
        borrow = u8::from(*a < owed);
        *digit = a + 10 * borrow - owed;
    }
    debug_assert_eq!(borrow, 0, "the larger number comes first");
    digits
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn sums_are_exact() {
        let cases = [
            ("0.1", "0.2", "0.3"),
            ("1", "-1", "0"),
            ("0", "-7", "-7"),
            ("-7", "0", "-7"),
            ("999", "1", "1000"),
            ("1000", "-0.001", "999.999"),
            ("-5", "3", "-2"),
            ("3", "-5", "-2"),
            ("99999999999999999999999999999999999999", "1", "100000000000000000000000000000000000000"),
            ("1e-130", "1e-130", "2e-130"),
            ("9e125", "-8e125", "1e125"),
        ];
        for (a, b, sum) in cases {
            assert_eq!(number(a).checked_add(&number(b)), Ok(number(sum)), "{a} + {b}");
            assert_eq!(number(sum).checked_sub(&number(b)), Ok(number(a)), "{sum} - {b}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(number("1e125").checked_add(&number("1e-130")), Err(DecimalError::TooManyDigits));
        assert_eq!(number("9e125").checked_add(&number("1e125")), Err(DecimalError::Overflow));
        assert_eq!(number("-9e125").checked_sub(&number("1e125")), Err(DecimalError::Overflow));
        let (a, b) = (number("11e-130"), number("1e-129"));
        assert_eq!(a.checked_sub(&b), Ok(number("1e-130")));
        assert_eq!(number("1e38").checked_add(&number("0.5")), Err(DecimalError::TooManyDigits));
    }

    proptest! {
        #[test]
        fn it_adds_as_integers_do(a in -(1i128 << 90)..1 << 90, b in -(1i128 << 90)..1 << 90, places in 0u32..20) {
            let scaled = |integer: i128| number(&format!("{integer}e-{places}"));
            prop_assert_eq!(scaled(a).checked_add(&scaled(b)), Ok(scaled(a + b)));
            prop_assert_eq!(scaled(a).checked_sub(&scaled(b)), Ok(scaled(a - b)));
        }
    }
}
