//! Sizes and times as people write them: `64MiB`, `500ms`.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A number of bytes: `512KiB`, `64MiB`, `1GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// A length of time: `500ms`, `30s`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub Duration);

/// A text is no size or no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantityError {
    /// Not a whole number and a unit.
    #[error("expected a size such as `64MiB` (B, kB, MB, GB, KiB, MiB, GiB); found `{0}`")]
    Size(String),
    /// Not whole numbers with units.
    #[error("expected a time such as `500ms`, `30s` or `1h30m` (ms, s, m, h, d); found `{0}`")]
    Time(String),
    /// It does not fit 64 bits.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

const SIZES: [(&str, u64); 8] = [
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];
const TIMES: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

impl FromStr for Size {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let wrong = || QuantityError::Size(text.to_owned());
        let end = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (digits, unit) = text.split_at(end);
        let (_, factor) = SIZES
            .iter()
            .find(|(name, _)| *name == unit.trim_start())
            .ok_or_else(wrong)?;
        if digits.is_empty() {
            return Err(wrong());
        }
        let too_large = || QuantityError::TooLarge(text.to_owned());
        let number: u64 = digits.parse().map_err(|_| too_large())?;
        number.checked_mul(*factor).map(Self).ok_or_else(too_large)
    }
}

impl FromStr for Time {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let wrong = || QuantityError::Time(text.to_owned());
        let too_large = || QuantityError::TooLarge(text.to_owned());
        let mut rest = text;
        let mut millis = 0_u64;
        while !rest.is_empty() || text.is_empty() {
            let end = rest
                .find(|c: char| !c.is_ascii_digit())
                .filter(|end| *end > 0)
                .ok_or_else(wrong)?;
            let (digits, tail) = rest.split_at(end);
            let unit_end = tail
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_end);
            let (_, factor) = TIMES
                .iter()
                .find(|(name, _)| *name == unit)
                .ok_or_else(wrong)?;
            let number: u64 = digits.parse().map_err(|_| too_large())?;
            millis = number
                .checked_mul(*factor)
                .and_then(|part| millis.checked_add(part))
                .ok_or_else(too_large)?;
            rest = tail;
        }
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
            .into_iter()
            .find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor))
            .unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let (unit, factor) = [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1_000),
        ]
        .into_iter()
        .find(|(_, factor)| millis > 0 && millis.is_multiple_of(*factor))
        .unwrap_or(("ms", 1));
        write!(f, "{}{unit}", millis / factor)
    }
}

macro_rules! text_form {
    ($name:ident, $title:literal, $pattern:literal, $examples:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Cow::<'_, str>::deserialize(from)?.parse().map_err(D::Error::custom)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "title": $title, "type": "string", "pattern": $pattern, "examples": $examples,
                })
            }
        }
    };
}

text_form!(
    Size,
    "a size",
    "^[0-9]+ ?(B|kB|KB|MB|GB|KiB|MiB|GiB)$",
    ["64MiB", "512KiB"]
);
text_form!(
    Time,
    "a time",
    "^([0-9]+(ms|s|m|h|d))+$",
    ["500ms", "30s", "1h30m"]
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, shown) in [
            ("0B", 0, "0B"),
            ("512B", 512, "512B"),
            ("1kB", 1_000, "1000B"),
            ("64MiB", 64 << 20, "64MiB"),
            ("1024 KiB", 1 << 20, "1MiB"),
            ("2GB", 2_000_000_000, "1953125KiB"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown));
        }
        for text in ["", "64", "MiB", "64mib", "-1B", "1.5GiB", "64MiB ", "1B2B"] {
            assert_eq!(
                text.parse::<Size>(),
                Err(QuantityError::Size(text.to_owned())),
                "{text}"
            );
        }
        for text in ["99999999999999999999B", "99999999999GiB"] {
            assert_eq!(
                text.parse::<Size>(),
                Err(QuantityError::TooLarge(text.to_owned()))
            );
        }
    }

    #[test]
    fn times_are_read_and_written() {
        for (text, millis, shown) in [
            ("0s", 0, "0ms"),
            ("500ms", 500, "500ms"),
            ("30s", 30_000, "30s"),
            ("1m30s", 90_000, "90s"),
            ("2d", 172_800_000, "2d"),
        ] {
            let time: Time = text.parse().unwrap();
            assert_eq!(
                (time.0.as_millis(), time.to_string().as_str()),
                (millis, shown)
            );
        }
        for text in ["", "30", "s", "30 s", "1.5s", "30S", "-1s", "s30", "30s "] {
            assert_eq!(
                text.parse::<Time>(),
                Err(QuantityError::Time(text.to_owned())),
                "{text}"
            );
        }
        assert!(matches!(
            "99999999999999999d".parse::<Time>(),
            Err(QuantityError::TooLarge(_))
        ));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(number in any::<u64>()) {
            prop_assert_eq!(Size(number).to_string().parse(), Ok(Size(number)));
            let time = Time(Duration::from_millis(number));
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}") {
            let _ = text.parse::<Size>();
            let _ = text.parse::<Time>();
        }
    }
}
