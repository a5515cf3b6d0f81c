//! What separates and quotes in a CSV file, and how the config says so.

use std::fmt;

use crossdock_sdk::prelude::{Fault, Result};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// The signs of a CSV file. All of them are single ASCII characters, so they can be looked for in UTF-8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) delimiter: u8,
    /// `None`: nothing quotes.
    pub(crate) quote: Option<u8>,
    /// A backslash takes the meaning of the character behind it, inside quotes and outside.
    pub(crate) backslash: bool,
    /// A line that begins with it is a comment.
    pub(crate) comment: Option<u8>,
    /// Spaces and tabs around unquoted cells and around quotes do not count.
    pub(crate) trim: bool,
}

/// How a quote inside quotes is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Escape {
    /// Twice, as RFC 4180 has it.
    #[default]
    Double,
    /// With a backslash before it. Twice is understood as well.
    Backslash,
}

/// One ASCII character of the config: itself, or a word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Byte(u8),
    /// `auto`
    Auto,
    /// `none`, or an empty text
    None,
}

impl<'de> Deserialize<'de> for Sign {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Sign;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("one ASCII character")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Sign, E> {
                match text {
                    "" | "none" => Ok(Sign::None),
                    "auto" => Ok(Sign::Auto),
                    "tab" | "\\t" => Ok(Sign::Byte(b'\t')),
                    text => match text.as_bytes() {
                        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => {
                            Ok(Sign::Byte(*byte))
                        }
                        _ => Err(E::custom(format!(
                            "`{text}` is not one ASCII character (or `tab`)"
                        ))),
                    },
                }
            }
        }
        from.deserialize_str(Reader)
    }
}

impl Dialect {
    /// Refuses signs that mean two things.
    pub(crate) fn checked(self) -> Result<Self> {
        let clash = |field: &str, message: &str| Err(Fault::config(message).field(field));
        if self.quote == Some(self.delimiter) {
            return clash(
                "/quote",
                "the quote and the delimiter are the same character",
            );
        }
        if self.comment == Some(self.delimiter)
            || (self.comment.is_some() && self.comment == self.quote)
        {
            return clash(
                "/comment",
                "the comment sign is also the delimiter or the quote",
            );
        }
        if self.backslash && (self.delimiter == b'\\' || self.quote == Some(b'\\')) {
            return clash(
                "/escape",
                "the backslash escapes, so it cannot be the delimiter or the quote",
            );
        }
        if self.trim && matches!(self.delimiter, b' ') {
            return clash(
                "/trim",
                "spaces cannot be trimmed where a space is the delimiter",
            );
        }
        Ok(self)
    }
}
