//! Encodings: every file is read as UTF-8, whatever it was written in.

use encoding_rs::{Decoder, DecoderResult, UTF_16BE, UTF_16LE, WINDOWS_1252};
use serde::Deserialize;

/// What the bytes of a text file mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Encoding {
    /// UTF-8, checked record by record.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// The Western European code page of Windows.
    #[serde(rename = "windows-1252")]
    Windows1252,
    /// ISO 8859-1: every byte is the code point of the same number.
    #[serde(rename = "latin-1", alias = "iso-8859-1")]
    Latin1,
    /// UTF-16; little endian unless the byte order mark says otherwise.
    #[serde(rename = "utf-16", alias = "utf-16le")]
    Utf16,
    /// UTF-16, big endian.
    #[serde(rename = "utf-16be")]
    Utf16Be,
}

impl Encoding {
    /// The name in configs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Windows1252 => "windows-1252",
            Self::Latin1 => "latin-1",
            Self::Utf16 => "utf-16",
            Self::Utf16Be => "utf-16be",
        }
    }

    /// What a byte order mark at the start says, and its length. It wins over the config, as everywhere.
    pub(crate) fn of_mark(start: &[u8]) -> Option<(Self, usize)> {
        match start {
            [0xEF, 0xBB, 0xBF, ..] => Some((Self::Utf8, 3)),
            [0xFF, 0xFE, ..] => Some((Self::Utf16, 2)),
            [0xFE, 0xFF, ..] => Some((Self::Utf16Be, 2)),
            _ => None,
        }
    }

    /// `text` in this encoding, appended to `out`; or the first character that it lacks.
    pub fn encode(self, text: &str, out: &mut Vec<u8>) -> Result<(), char> {
        match self {
            Self::Utf8 => out.extend_from_slice(text.as_bytes()),
            Self::Utf16 => out.extend(text.encode_utf16().flat_map(u16::to_le_bytes)),
            Self::Utf16Be => out.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
            Self::Latin1 => {
                for c in text.chars() {
                    out.push(u8::try_from(u32::from(c)).map_err(|_| c)?);
                }
            }
            Self::Windows1252 => {
                let mut encoder = WINDOWS_1252.new_encoder();
                let mut rest = text;
                out.reserve(text.len());
                while !rest.is_empty() {
                    let (result, read) =
                        encoder.encode_from_utf8_to_vec_without_replacement(rest, out, true);
                    rest = rest.get(read..).unwrap_or_default();
                    match result {
                        encoding_rs::EncoderResult::InputEmpty => break,
                        encoding_rs::EncoderResult::OutputFull => out.reserve(rest.len().max(16)),
                        encoding_rs::EncoderResult::Unmappable(c) => return Err(c),
                    }
                }
            }
        }
        Ok(())
    }

    /// The byte order mark of this encoding; none for the one-byte code pages.
    pub fn mark(self) -> &'static [u8] {
        match self {
            Self::Utf8 => b"\xEF\xBB\xBF",
            Self::Utf16 => b"\xFF\xFE",
            Self::Utf16Be => b"\xFE\xFF",
            Self::Windows1252 | Self::Latin1 => b"",
        }
    }
}

/// What one conversion did.
pub(crate) struct Converted {
    /// Bytes of the input that are done with.
    pub(crate) taken: usize,
    /// Bytes of UTF-8 written.
    pub(crate) made: usize,
    /// The whole input has been converted.
    pub(crate) done: bool,
}

/// A running conversion to UTF-8.
pub(crate) enum Transcoder {
    Latin1,
    Other(Box<Decoder>),
}

impl Transcoder {
    /// `None` when the bytes are UTF-8 already.
    pub(crate) fn of(encoding: Encoding) -> Option<Self> {
        let encoding = match encoding {
            Encoding::Utf8 => return None,
            Encoding::Latin1 => return Some(Self::Latin1),
            Encoding::Windows1252 => WINDOWS_1252,
            Encoding::Utf16 => UTF_16LE,
            Encoding::Utf16Be => UTF_16BE,
        };
        Some(Self::Other(Box::new(
            encoding.new_decoder_without_bom_handling(),
        )))
    }

    /// Converts as much of `from` as fits into `to` (at least 16 bytes long). With `last` the input ends with `from`;
    /// once that is done there must be no further call. What cannot be read becomes the byte 0xFF, which is never valid, so that the record
    /// around it is refused instead of quietly repaired.
    pub(crate) fn convert(&mut self, from: &[u8], to: &mut [u8], last: bool) -> Converted {
        match self {
            Self::Latin1 => {
                let (taken, made) = encoding_rs::mem::convert_latin1_to_utf8_partial(from, to);
                Converted {
                    taken,
                    made,
                    done: last && taken == from.len(),
                }
            }
            Self::Other(decoder) => {
                // One byte stays free for the mark of malformed input.
                let room = to.len().saturating_sub(1);
                let space = to.get_mut(..room).unwrap_or_default();
                let (result, taken, mut made) =
                    decoder.decode_to_utf8_without_replacement(from, space, last);
                if matches!(result, DecoderResult::Malformed(..))
                    && let Some(byte) = to.get_mut(made)
                {
                    *byte = 0xFF;
                    made += 1;
                }
                Converted {
                    taken,
                    made,
                    done: last && matches!(result, DecoderResult::InputEmpty),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(encoding: Encoding, bytes: &[u8], piece: usize) -> Vec<u8> {
        let Some(mut transcoder) = Transcoder::of(encoding) else {
            return bytes.to_vec();
        };
        let (mut out, mut at) = (Vec::new(), 0);
        let mut space = [0; 17];
        loop {
            let end = (at + piece).min(bytes.len());
            let step = transcoder.convert(&bytes[at..end], &mut space, end == bytes.len());
            at += step.taken;
            out.extend_from_slice(&space[..step.made]);
            if step.done {
                return out;
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_reads_back(text in "[a-zA-Z0-9äöüß€ÿ ,\n\"]{0,80}", piece in 1usize..9) {
            for encoding in [Encoding::Utf8, Encoding::Windows1252, Encoding::Utf16, Encoding::Utf16Be, Encoding::Latin1] {
                let mut bytes = Vec::new();
                match encoding.encode(&text, &mut bytes) {
                    Ok(()) => prop_assert_eq!(decode(encoding, &bytes, piece), text.as_bytes()),
                    Err(c) => prop_assert!(encoding == Encoding::Latin1 && c == '€'),
                }
            }
        }
    }

    #[test]
    fn malformed_input_stays_visible() {
        // A lone high surrogate, then `a`.
        let out = decode(Encoding::Utf16, &[0x00, 0xD8, 0x61, 0x00], 3);
        assert_eq!(out, [0xFF, b'a']);
        assert_eq!(
            decode(Encoding::Utf16, &[0x61, 0x00, 0x62], 2),
            [b'a', 0xFF]
        );
        assert_eq!(
            decode(Encoding::Latin1, &[0x80, 0xE9], 8),
            "\u{80}é".as_bytes()
        );
        assert_eq!(
            decode(Encoding::Windows1252, &[0x80, 0xE9], 8),
            "€é".as_bytes()
        );
        let mut out = Vec::new();
        assert_eq!(Encoding::Windows1252.encode("a✓", &mut out), Err('✓'));
    }
}
