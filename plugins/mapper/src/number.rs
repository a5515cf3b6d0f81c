//! Exact decimal numbers: what money needs. No floating point anywhere.

use rust_decimal::RoundingStrategy;
use rust_decimal::prelude::ToPrimitive;

/// A decimal of up to 28 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Decimal(rust_decimal::Decimal);

impl Decimal {
    /// Reads a number as JSON writes it (`15.5`, `1e3`). `None` when it is none, or has more than 28 digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.contains(['e', 'E']) {
            return Self::scientific(text);
        }
        rust_decimal::Decimal::from_str_exact(text).ok().map(Self)
    }

    /// `1.5e3` by moving the decimal point.
    fn scientific(text: &str) -> Option<Self> {
        let (mantissa, exponent) = text.split_once(['e', 'E'])?;
        let exponent: i32 = exponent.parse().ok()?;
        let mantissa = rust_decimal::Decimal::from_str_exact(mantissa).ok()?;
        if exponent.unsigned_abs() > 28 {
            return mantissa.is_zero().then_some(Self(mantissa));
        }
        let power = Self::power(exponent.unsigned_abs())?;
        if exponent >= 0 {
            return mantissa.checked_mul(power).map(Self);
        }
        let shifted = mantissa.checked_div(power)?;
        (shifted.checked_mul(power)? == mantissa).then_some(Self(shifted))
    }

    fn power(exponent: u32) -> Option<rust_decimal::Decimal> {
        rust_decimal::Decimal::try_from_i128_with_scale(10i128.checked_pow(exponent)?, 0).ok()
    }

    pub(crate) fn from_usize(value: usize) -> Self {
        Self(rust_decimal::Decimal::from(value))
    }

    pub(crate) fn add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    pub(crate) fn subtract(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    pub(crate) fn multiply(self, other: Self) -> Option<Self> {
        self.0.checked_mul(other.0).map(Self)
    }

    /// `None` also for a division by zero. Endless fractions are cut at 28 digits.
    pub(crate) fn divide(self, other: Self) -> Option<Self> {
        self.0.checked_div(other.0).map(Self)
    }

    /// Half is rounded away from zero, as on invoices.
    pub(crate) fn round(self, digits: u32) -> Self {
        Self(
            self.0
                .round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero),
        )
    }

    /// Moves the decimal point to the right by `digits`.
    pub(crate) fn shift_left(self, digits: u32) -> Option<Self> {
        self.0.checked_mul(Self::power(digits)?).map(Self)
    }

    pub(crate) fn floor(self) -> Self {
        Self(self.0.floor())
    }

    pub(crate) fn ceiling(self) -> Self {
        Self(self.0.ceil())
    }

    pub(crate) fn abs(self) -> Self {
        Self(self.0.abs())
    }

    pub(crate) fn is_whole(self) -> bool {
        self.0.fract().is_zero()
    }

    pub(crate) fn to_i64(self) -> Option<i64> {
        if self.is_whole() {
            self.0.to_i64()
        } else {
            None
        }
    }

    /// Without needless zeros: `15.50` is `15.5`.
    pub(crate) fn shortest(self) -> String {
        self.0.normalize().to_string()
    }

    /// With exactly this many digits behind the point.
    pub(crate) fn fixed(self, digits: u32) -> String {
        format!("{:.*}", digits as usize, self.round(digits).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn minor(text: &str) -> String {
        Decimal::parse(text)
            .unwrap()
            .shift_left(2)
            .unwrap()
            .round(0)
            .shortest()
    }

    #[test]
    fn money_is_exact() {
        assert_eq!(minor("15.5"), "1550");
        assert_eq!(minor("1.15"), "115");
        assert_eq!(minor("0.29"), "29");
        assert_eq!(minor("1.005"), "101");
        assert_eq!(minor("-1.005"), "-101");
        assert_eq!(minor("1e2"), "10000");
        assert_eq!(minor("12.5e-1"), "125");
    }

    #[test]
    fn too_long_numbers_are_refused_not_rounded() {
        assert_eq!(Decimal::parse("1.23456789012345678901234567890123"), None);
        assert_eq!(Decimal::parse("1e-29"), None);
        assert_eq!(Decimal::parse("0e-29").unwrap().shortest(), "0");
        assert_eq!(Decimal::parse("abc"), None);
        assert_eq!(Decimal::parse("-0.0").unwrap().shortest(), "0");
    }

    proptest! {
        #[test]
        fn minor_units_of_every_amount_of_cents(cents in -1_000_000_000i64..1_000_000_000) {
            let sign = if cents < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100);
            prop_assert_eq!(minor(&text), cents.to_string());
        }
    }
}
