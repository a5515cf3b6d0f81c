//! Strings: from JSON and to JSON.

use std::borrow::Cow;

use super::scan;
use crate::{short::append, utf8};

/// The text of a string, from the bytes between its quotes. `None` when they are no valid JSON string.
#[inline]
pub(super) fn decode(inner: &[u8]) -> Option<Cow<'_, str>> {
    match scan::plain_ascii(inner) {
        Some(text) => Some(Cow::Borrowed(text)),
        None => decode_any(inner),
    }
}

#[inline(never)]
fn decode_any(inner: &[u8]) -> Option<Cow<'_, str>> {
    match scan::text_stop::<false>(inner, 0) {
        None => utf8::text(inner).map(Cow::Borrowed),
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
#[inline]
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    match scan::short_quoted(text.as_bytes(), b"\"") {
        Some((block, length)) => push_block(block, length, out),
        None => write_any_string(text.as_bytes(), out),
    }
}

/// Appends this text as the key of a member, colon included. Answers whether it has escapes.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "most keys are literals: the compiler does all but the copying"
)]
pub(super) fn write_key(name: &str, out: &mut Vec<u8>) -> bool {
    match scan::short_quoted(name.as_bytes(), b"\":") {
        Some((block, length)) => {
            push_block(block, length, out);
            false
        }
        None => write_any_key(name, out),
    }
}

#[inline(never)]
fn write_any_key(name: &str, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    write_any_string(name.as_bytes(), out);
    let escaped = out.len() - start > name.len() + 2;
    out.push(b':');
    escaped
}

/// Appends the first so many bytes. All of them are copied, since that takes no loop.
#[inline]
fn push_block(block: [u8; 16], length: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&block);
    out.truncate(start + length);
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
