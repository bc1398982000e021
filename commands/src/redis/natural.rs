//! Natural numbers of any size, as far as converting decimal text to and from binary needs them.

use std::cmp::Ordering;

/// Little-endian limbs. Invariant: no zero limb at the upper end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Natural(Vec<u32>);

/// Decimal digits that fit a limb.
const CHUNK_DIGITS: usize = 9;
const CHUNK: u32 = 1_000_000_000;

impl From<u64> for Natural {
    fn from(number: u64) -> Self {
        Self::trimmed(vec![number as u32, (number >> 32) as u32])
    }
}

impl Natural {
    fn trimmed(mut limbs: Vec<u32>) -> Self {
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        Self(limbs)
    }

    /// The number that digits of `base` (at most 16) write; values, not characters.
    pub fn from_digits(digits: impl Iterator<Item = u8>, base: u32) -> Self {
        let mut number = Self::default();
        let (mut factor, mut chunk) = (1_u32, 0_u32);
        for digit in digits {
            (factor, chunk) = (factor * base, chunk * base + u32::from(digit));
            // One pass over the limbs for many digits; a factor times 16 still fits.
            if factor >= 1 << 24 {
                number.scale(factor, chunk);
                (factor, chunk) = (1, 0);
            }
        }
        number.scale(factor, chunk);
        number
    }

    /// Ten to the power of `exponent`.
    pub fn power_of_ten(exponent: usize) -> Self {
        let mut number = Self(vec![1]);
        for _ in 0..exponent / CHUNK_DIGITS {
            number.scale(CHUNK, 0);
        }
        number.scale(10_u32.pow((exponent % CHUNK_DIGITS) as u32), 0);
        number
    }

    /// Multiplies by `factor` and adds `summand`.
    fn scale(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for limb in &mut self.0 {
            let product = u64::from(*limb) * u64::from(factor) + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// Schoolbook product.
    pub fn times(&self, other: &Natural) -> Natural {
        let mut limbs = vec![0_u32; self.0.len() + other.0.len()];
        for (at, &left) in self.0.iter().enumerate() {
            let mut carry = 0_u64;
            for (limb, &right) in limbs[at..].iter_mut().zip(other.0.iter().chain(std::iter::once(&0))) {
                let sum = u64::from(*limb) + u64::from(left) * u64::from(right) + carry;
                *limb = sum as u32;
                carry = sum >> 32;
            }
        }
        Self::trimmed(limbs)
    }

    /// Whether it is 0.
    pub fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// Position of the highest set bit plus one; 0 of 0.
    pub fn bits(&self) -> usize {
        self.0.last().map_or(0, |top| self.0.len() * 32 - top.leading_zeros() as usize)
    }

    /// Times 2 to the power of `count`.
    pub fn shifted_left(&self, count: usize) -> Natural {
        let (limbs, bits) = (count / 32, count % 32);
        let mut shifted = vec![0; limbs];
        let mut carry = 0_u64;
        for &limb in &self.0 {
            carry |= u64::from(limb) << bits;
            shifted.push(carry as u32);
            carry >>= 32;
        }
        shifted.push(carry as u32);
        Self::trimmed(shifted)
    }

    /// The upper 128 bits, how many bits lie below them, and whether any of those is set.
    pub fn top(&self) -> (u128, usize, bool) {
        let below = self.bits().saturating_sub(128);
        let mut top = 0_u128;
        let mut lost = false;
        for (at, &limb) in self.0.iter().enumerate() {
            let bit = (at * 32) as isize - below as isize;
            let limb = u128::from(limb);
            if bit >= 0 {
                top |= limb << bit;
            } else {
                let cut = bit.unsigned_abs().min(32);
                top |= limb >> cut;
                lost |= limb & ((1 << cut) - 1) != 0;
            }
        }
        (top, below, lost)
    }

    /// The quotient, which must fit 128 bits, and whether there is a remainder.
    pub fn divided_by(mut self, divisor: &Natural) -> (u128, bool) {
        let width = (self.bits() + 1).saturating_sub(divisor.bits());
        debug_assert!(width <= 128, "the quotient fits");
        let mut quotient = 0;
        for shift in (0..width).rev() {
            let part = divisor.shifted_left(shift);
            if self.compare(&part) != Ordering::Less {
                self.subtract(&part);
                quotient |= 1 << shift;
            }
        }
        (quotient, !self.is_zero())
    }

    fn compare(&self, other: &Natural) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// Subtracts a number that is not larger.
    fn subtract(&mut self, other: &Natural) {
        let mut borrow = 0_i64;
        for (at, limb) in self.0.iter_mut().enumerate() {
            let difference = i64::from(*limb) - i64::from(other.0.get(at).copied().unwrap_or(0)) + borrow;
            *limb = difference as u32;
            borrow = difference >> 32;
        }
        debug_assert_eq!(borrow, 0, "the subtrahend is not larger");
        *self = Self::trimmed(std::mem::take(&mut self.0));
    }

    /// In decimal.
    pub fn to_decimal(&self) -> String {
        let mut rest = self.clone();
        let mut chunks = Vec::new();
        while !rest.is_zero() {
            let mut remainder = 0_u64;
            for limb in rest.0.iter_mut().rev() {
                let part = (remainder << 32) | u64::from(*limb);
                *limb = (part / u64::from(CHUNK)) as u32;
                remainder = part % u64::from(CHUNK);
            }
            chunks.push(remainder);
            rest = Self::trimmed(rest.0);
        }
        let Some(first) = chunks.pop() else {
            return "0".to_owned();
        };
        chunks.iter().rev().fold(first.to_string(), |text, chunk| text + &format!("{chunk:09}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn natural(number: u128) -> Natural {
        Natural::from_digits(number.to_string().bytes().map(|digit| digit - b'0'), 10)
    }

    #[test]
    fn zero_has_no_limbs() {
        assert!(natural(0).is_zero());
        assert_eq!(natural(0).to_decimal(), "0");
        assert_eq!(natural(0).bits(), 0);
    }

    proptest! {
        #[test]
        fn arithmetic_is_that_of_u128(a: u64, b in 1..u64::MAX, shift in 0..64_usize) {
            let (wide_a, wide_b) = (u128::from(a), u128::from(b));
            prop_assert_eq!(natural(wide_a), Natural::from(a));
            prop_assert_eq!(Natural::from(a).times(&Natural::from(b)), natural(wide_a * wide_b));
            prop_assert_eq!(Natural::from(a).shifted_left(shift), natural(wide_a << shift));
            let dividend = wide_a << shift;
            prop_assert_eq!(natural(dividend).divided_by(&natural(wide_b)), (dividend / wide_b, dividend % wide_b != 0));
            prop_assert_eq!(natural(dividend).bits() as u32, 128 - dividend.leading_zeros());
        }

        #[test]
        fn decimal_text_round_trips(text in "[1-9][0-9]{0,300}") {
            let number = Natural::from_digits(text.bytes().map(|digit| digit - b'0'), 10);
            prop_assert_eq!(number.to_decimal(), text);
        }

        #[test]
        fn the_top_is_what_lies_above(number: u64, shift in 0..500_usize, tail: bool) {
            let mut shifted = Natural::from(number | 1).shifted_left(shift + 1);
            shifted.0[0] |= u32::from(tail);
            let (top, below, lost) = shifted.top();
            prop_assert_eq!(lost, tail && below > 0);
            let (rebuilt, _, _) = natural(top).shifted_left(below).top();
            prop_assert_eq!(rebuilt, top);
            prop_assert_eq!(below, shifted.bits().saturating_sub(128));
        }

        #[test]
        fn powers_of_ten_are_ones_with_zeros(exponent in 0..400_usize) {
            prop_assert_eq!(Natural::power_of_ten(exponent).to_decimal(), format!("1{}", "0".repeat(exponent)));
        }
    }
}
