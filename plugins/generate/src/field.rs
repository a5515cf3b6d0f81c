//! What the fields of a made-up record hold.

use std::io::Write;

use serde::Deserialize;

/// How one field is filled.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Field {
    /// The number of the record, or with a prefix a text that ends in it: `SKU-0000042`.
    Sequence {
        prefix: Option<String>,
        #[serde(default)]
        digits: usize,
    },
    /// A whole number from `min` to `max`.
    Integer {
        #[serde(default)]
        min: i64,
        #[serde(default = "thousand")]
        max: i64,
    },
    /// A number with a fraction, from `min` to `max` (whole numbers), with this many digits behind the point.
    Decimal {
        #[serde(default)]
        min: i64,
        #[serde(default = "thousand")]
        max: i64,
        #[serde(default = "two")]
        digits: u32,
    },
    /// `true` or `false`.
    Boolean,
    /// A few words.
    Words {
        #[serde(default = "three")]
        count: usize,
    },
    /// One of these values.
    Choice { of: Vec<serde_json::Value> },
    /// A day of the years 2000 to 2029.
    Date,
    /// Sixteen hexadecimal digits.
    Id,
}

fn thousand() -> i64 {
    1000
}

fn two() -> u32 {
    2
}

fn three() -> usize {
    3
}

const WORDS: [&str; 32] = [
    "amber",
    "bolt",
    "cedar",
    "delta",
    "ember",
    "falcon",
    "grove",
    "harbour",
    "iris",
    "jade",
    "kite",
    "lumen",
    "mango",
    "north",
    "onyx",
    "pearl",
    "quartz",
    "river",
    "sable",
    "tundra",
    "umber",
    "violet",
    "willow",
    "xenon",
    "yarrow",
    "zephyr",
    "größe",
    "crème",
    "smörgås",
    "naïve",
    "žluť",
    "東京",
];

/// Numbers that follow from a seed (`SplitMix64`).
#[derive(Debug, Clone)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// Those of one record.
    pub(crate) fn of(seed: u64, record: u64) -> Self {
        let mut numbers = Self(seed);
        let mixed = numbers.next() ^ record;
        Self(mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One of `count` numbers from 0. The slight preference for small ones does not matter here.
    pub(crate) fn below(&mut self, count: u64) -> u64 {
        self.next() % count.max(1)
    }

    fn word(&mut self) -> &'static str {
        let index = usize::try_from(self.below(WORDS.len() as u64)).unwrap_or_default();
        WORDS.get(index).copied().unwrap_or_default()
    }

    /// A number from `min` to `max`.
    fn between(&mut self, min: i64, max: i64) -> i64 {
        let span = max.wrapping_sub(min).cast_unsigned().wrapping_add(1);
        let offset = if span == 0 {
            self.next()
        } else {
            self.below(span)
        };
        min.wrapping_add(offset.cast_signed())
    }
}

impl Field {
    /// What is wrong with it.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        match self {
            Self::Integer { min, max } | Self::Decimal { min, max, .. } if min > max => {
                Some("`min` is greater than `max`")
            }
            Self::Decimal { digits, min, max }
                if *digits > 9 || min.unsigned_abs().max(max.unsigned_abs()) > 1_000_000_000 =>
            {
                Some("a decimal has at most 9 digits behind the point and a billion before it")
            }
            Self::Choice { of } if of.is_empty() => Some("there is nothing to choose from"),
            Self::Sequence { digits, .. } if *digits > 20 => Some("a number has at most 20 digits"),
            Self::Words { count } if *count > 10_000 => Some("at most 10000 words"),
            _ => None,
        }
    }

    /// Appends the value of this field in record `number`, as JSON.
    pub(crate) fn write(&self, number: u64, numbers: &mut Numbers, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = match self {
            Self::Sequence {
                prefix: Some(prefix),
                digits,
            } => {
                crossdock_sdk::json::write_string(&format!("{prefix}{number:0digits$}"), out);
                Ok(())
            }
            Self::Sequence { prefix: None, .. } => write!(out, "{number}"),
            Self::Integer { min, max } => write!(out, "{}", numbers.between(*min, *max)),
            Self::Decimal { min, max, digits } => decimal(numbers, (*min, *max), *digits, out),
            Self::Boolean => write!(out, "{}", numbers.below(2) == 0),
            Self::Words { count } => {
                out.push(b'"');
                for index in 0..*count {
                    if index > 0 {
                        out.push(b' ');
                    }
                    out.extend_from_slice(numbers.word().as_bytes());
                }
                out.push(b'"');
                Ok(())
            }
            Self::Choice { of } => {
                let index = usize::try_from(numbers.below(of.len() as u64)).unwrap_or_default();
                let value = of.get(index).unwrap_or(&serde_json::Value::Null);
                serde_json::to_writer(&mut *out, value).map_err(std::io::Error::from)
            }
            Self::Date => {
                let (year, month, day) = (
                    2000 + numbers.below(30),
                    1 + numbers.below(12),
                    1 + numbers.below(28),
                );
                write!(out, "\"{year}-{month:02}-{day:02}\"")
            }
            Self::Id => write!(out, "\"{:016x}\"", numbers.next()),
        };
    }
}

fn decimal(
    numbers: &mut Numbers,
    (min, max): (i64, i64),
    digits: u32,
    out: &mut Vec<u8>,
) -> std::io::Result<()> {
    let scale = 10_i64.pow(digits.min(9));
    let value = numbers.between(min.saturating_mul(scale), max.saturating_mul(scale));
    if value < 0 {
        out.push(b'-');
    }
    let (whole, fraction) = (
        value.unsigned_abs() / scale.unsigned_abs(),
        value.unsigned_abs() % scale.unsigned_abs(),
    );
    match digits as usize {
        0 => write!(out, "{whole}"),
        width => write!(out, "{whole}.{fraction:0width$}"),
    }
}
