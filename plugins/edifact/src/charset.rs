//! The character sets that a `UNB` can name.

use std::borrow::Cow;

use encoding_rs::{
    Encoding, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6, ISO_8859_7, ISO_8859_8,
    ISO_8859_15, WINDOWS_1252, WINDOWS_1254,
};
use serde::Deserialize;

/// The setting `encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(crate) enum Setting {
    /// What the `UNB` says.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "windows-1252")]
    Windows1252,
    #[serde(rename = "iso-8859-1")]
    Latin1,
    #[serde(rename = "iso-8859-2")]
    Latin2,
    #[serde(rename = "iso-8859-5")]
    Cyrillic,
    #[serde(rename = "iso-8859-7")]
    Greek,
    #[serde(rename = "iso-8859-9")]
    Turkish,
    #[serde(rename = "iso-8859-15")]
    Latin9,
}

/// What the bytes between the separators mean. All of these leave ASCII as it is, so that the separators are known before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Charset {
    /// UNOA, UNOB.
    Ascii,
    Utf8,
    /// UNOC, byte for byte.
    Latin1,
    Other(&'static Encoding),
}

impl Charset {
    /// Of the syntax identifier of a `UNB` (`UNOC`), unless the setting or a byte order mark knows better.
    pub(crate) fn of(setting: Setting, marked: bool, syntax: &str) -> Result<Self, String> {
        if marked {
            return Ok(Self::Utf8);
        }
        Ok(match setting {
            Setting::Utf8 => Self::Utf8,
            Setting::Windows1252 => Self::Other(WINDOWS_1252),
            Setting::Latin1 => Self::Latin1,
            Setting::Latin2 => Self::Other(ISO_8859_2),
            Setting::Cyrillic => Self::Other(ISO_8859_5),
            Setting::Greek => Self::Other(ISO_8859_7),
            Setting::Turkish => Self::Other(WINDOWS_1254),
            Setting::Latin9 => Self::Other(ISO_8859_15),
            Setting::Auto => match syntax {
                "UNOC" => Self::Latin1,
                "UNOD" => Self::Other(ISO_8859_2),
                "UNOE" => Self::Other(ISO_8859_5),
                "UNOF" => Self::Other(ISO_8859_7),
                "UNOG" => Self::Other(ISO_8859_3),
                "UNOH" => Self::Other(ISO_8859_4),
                "UNOI" => Self::Other(ISO_8859_6),
                "UNOJ" => Self::Other(ISO_8859_8),
                // Turkish ISO 8859-9 is Windows-1254 but for control characters, which no text has.
                "UNOK" => Self::Other(WINDOWS_1254),
                "UNOL" => Self::Other(ISO_8859_15),
                "UNOW" | "UNOY" => Self::Utf8,
                "UNOX" => {
                    return Err(
                        "UNOX (ISO 2022, which switches between character sets) is not known; if the file is in truth \
                         in another one, set `encoding`"
                            .to_owned(),
                    );
                }
                // UNOA, UNOB, and what other agencies define on them (IATA's IATA, IATB).
                _ => Self::Ascii,
            },
        })
    }

    /// The text, or the first byte that is none.
    pub(crate) fn decode(self, bytes: &[u8]) -> Result<Cow<'_, str>, u8> {
        if bytes.is_ascii() {
            // ASCII is UTF-8.
            return Ok(String::from_utf8_lossy(bytes));
        }
        let first = || {
            let odd = bytes.iter().find(|byte| !byte.is_ascii());
            odd.copied().unwrap_or_default()
        };
        match self {
            Self::Ascii => Err(first()),
            Self::Latin1 => Ok(encoding_rs::mem::decode_latin1(bytes)),
            Self::Utf8 => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Cow::Borrowed(text)),
                Err(error) => Err(bytes.get(error.valid_up_to()).copied().unwrap_or_default()),
            },
            Self::Other(encoding) => encoding
                .decode_without_bom_handling_and_without_replacement(bytes)
                .ok_or_else(first),
        }
    }
}
