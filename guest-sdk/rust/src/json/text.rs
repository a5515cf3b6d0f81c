//! Strings: from JSON and to JSON.

use std::borrow::Cow;

use super::scan;
use crate::short::append;

/// The text of a string, from the bytes between its quotes. `None` when they are no valid JSON string.
pub(super) fn decode(inner: &[u8]) -> Option<Cow<'_, str>> {
    match scan::text_stop::<false>(inner, 0) {
        None => std::str::from_utf8(inner).ok().map(Cow::Borrowed),
        Some(stop) => unescape(inner, stop).map(Cow::Owned),
    }
}

#[inline(never)]
fn unescape(inner: &[u8], mut stop: usize) -> Option<String> {
    let mut out = Vec::with_capacity(inner.len());
    let mut done = 0;
    loop {
        out.extend_from_slice(&inner[done..stop]);
        if stop == inner.len() {
            return String::from_utf8(out).ok();
        }
        if inner[stop] != b'\\' {
            return None;
        }
        done = stop + 2;
        match inner.get(stop + 1)? {
            byte @ (b'"' | b'\\' | b'/') => out.push(*byte),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let (character, end) = unicode(inner, stop)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                done = end;
            }
            _ => return None,
        }
        stop = scan::text_stop::<false>(inner, done).unwrap_or(inner.len());
    }
}

/// The integer that this number is, when it is written as one that fits.
pub(super) fn integer(number: &[u8]) -> Option<i64> {
    let (negative, digits) = match number {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // 18 digits fit always; the few longer ones are left to the standard library.
    if digits.is_empty() || digits.len() > 18 {
        return std::str::from_utf8(number).ok()?.parse().ok();
    }
    let mut sum = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = sum * 10 + i64::from(digit);
    }
    Some(if negative { -sum } else { sum })
}

/// The character of the escape `\uXXXX` (or a surrogate pair of them) at `at`, and where it ends.
pub(super) fn unicode(inner: &[u8], at: usize) -> Option<(char, usize)> {
    let first = hex4(inner, at + 2)?;
    if !(0xD800..0xDC00).contains(&first) {
        return char::from_u32(first).map(|character| (character, at + 6));
    }
    if inner.get(at + 6..at + 8)? != br"\u" {
        return None;
    }
    let second = hex4(inner, at + 8)?;
    if !(0xDC00..0xE000).contains(&second) {
        return None;
    }
    let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
    char::from_u32(code).map(|character| (character, at + 12))
}

fn hex4(inner: &[u8], at: usize) -> Option<u32> {
    inner.get(at..at + 4)?.iter().try_fold(0, |number, byte| {
        char::from(*byte)
            .to_digit(16)
            .map(|digit| number << 4 | digit)
    })
}

/// Appends this text as a JSON string, quotes included.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    if let Some(whole) = scan::short_plain(bytes) {
        out.reserve(whole.len() + 2);
        out.push(b'"');
        let start = out.len();
        out.extend_from_slice(&whole);
        out.truncate(start + bytes.len());
        out.push(b'"');
    } else {
        write_any_string(bytes, out);
    }
}

/// The same for texts that are longer or have something to escape.
#[inline(never)]
fn write_any_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut done = 0;
    while let Some(stop) = scan::text_stop::<false>(bytes, done) {
        append(out, &bytes[done..stop]);
        match bytes[stop] {
            b'"' => out.extend_from_slice(br#"\""#),
            b'\\' => out.extend_from_slice(br"\\"),
            b'\n' => out.extend_from_slice(br"\n"),
            b'\r' => out.extend_from_slice(br"\r"),
            b'\t' => out.extend_from_slice(br"\t"),
            8 => out.extend_from_slice(br"\b"),
            12 => out.extend_from_slice(br"\f"),
            byte => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(br"\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
        done = stop + 1;
    }
    append(out, &bytes[done..]);
    out.push(b'"');
}
