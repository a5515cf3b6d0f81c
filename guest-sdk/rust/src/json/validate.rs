//! The full check of a JSON text.

use super::MAX_DEPTH;
use super::error::{Error, Problem};
use super::scan;
use super::text;
use super::walk;
use crate::utf8;

/// Checks that the whole text is one JSON value by RFC 8259, in UTF-8, without a byte order mark, without unpaired
/// surrogates (which no text can hold) and nested at most [`MAX_DEPTH`] deep.
pub fn validate(text: &[u8]) -> Result<(), Error> {
    // Open containers, the innermost in the lowest bit: 1 for an object.
    let mut open: u128 = 0;
    let mut depth = 0;
    let mut at = walk::skip_space(text, 0);
    loop {
        // Here a value is expected.
        at = match text.get(at) {
            Some(byte @ (b'{' | b'[')) => {
                if depth == MAX_DEPTH {
                    return Err(Error::new(Problem::TooDeep, at));
                }
                depth += 1;
                open = open << 1 | u128::from(*byte == b'{');
                at = walk::skip_space(text, at + 1);
                match (byte, text.get(at)) {
                    (b'{', Some(b'}')) | (b'[', Some(b']')) => {
                        depth -= 1;
                        open >>= 1;
                        at + 1
                    }
                    (b'{', _) => {
                        at = key(text, at)?;
                        continue;
                    }
                    _ => continue,
                }
            }
            Some(b'"') => string(text, at)?,
            _ => walk::skip_value(text, at)?,
        };
        // Here a value has ended.
        loop {
            at = walk::skip_space(text, at);
            if depth == 0 {
                return if at == text.len() {
                    Ok(())
                } else {
                    Err(Error::new(Problem::Trailing, at))
                };
            }
            match (text.get(at), open & 1 == 1) {
                (Some(b','), true) => {
                    at = key(text, walk::skip_space(text, at + 1))?;
                    break;
                }
                (Some(b','), false) => {
                    at = walk::skip_space(text, at + 1);
                    break;
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    depth -= 1;
                    open >>= 1;
                    at += 1;
                }
                (Some(_), _) => return Err(Error::new(Problem::ExpectedComma, at)),
                (None, _) => return Err(Error::new(Problem::Truncated, at)),
            }
        }
    }
}

/// A key and its colon: the position of the value.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs as much as what is done")]
fn key(text: &[u8], at: usize) -> Result<usize, Error> {
    match text.get(at) {
        Some(b'"') => {}
        Some(_) => return Err(Error::new(Problem::ExpectedKey, at)),
        None => return Err(Error::new(Problem::Truncated, at)),
    }
    let colon = walk::skip_space(text, string(text, at)?);
    match text.get(colon) {
        Some(b':') => Ok(walk::skip_space(text, colon + 1)),
        Some(_) => Err(Error::new(Problem::ExpectedColon, colon)),
        None => Err(Error::new(Problem::Truncated, colon)),
    }
}

/// A string that starts with the quote at `at`: the position behind its closing quote.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs more than what is done")]
fn string(text: &[u8], at: usize) -> Result<usize, Error> {
    // Nearly every key and most values are short and plain.
    match scan::near_text_stop(text, at + 1) {
        Some(stop) if text[stop] == b'"' => Ok(stop + 1),
        _ => any_string(text, at),
    }
}

#[inline(never)]
fn any_string(text: &[u8], at: usize) -> Result<usize, Error> {
    let mut from = at + 1;
    let mut ascii = true;
    loop {
        let stop = if ascii {
            scan::text_stop::<true>(text, from)
        } else {
            scan::text_stop::<false>(text, from)
        };
        let Some(stop) = stop else {
            return Err(Error::new(Problem::Truncated, text.len()));
        };
        from = match text[stop] {
            b'"' => {
                if !ascii
                    && utf8::text(&text[at..stop]).is_none()
                    && let Err(error) = std::str::from_utf8(&text[at..stop])
                {
                    return Err(Error::new(Problem::Utf8, at + error.valid_up_to()));
                }
                return Ok(stop + 1);
            }
            b'\\' => escape(text, stop)?,
            byte if byte >= 0x80 => {
                ascii = false;
                stop + 1
            }
            _ => return Err(Error::new(Problem::Control, stop)),
        };
    }
}

/// An escape sequence that starts at `at`: the position behind it.
fn escape(text: &[u8], at: usize) -> Result<usize, Error> {
    match text.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match text::unicode(text, at) {
            Some((_, end)) => Ok(end),
            None => Err(Error::new(Problem::Escape, at)),
        },
        Some(_) => Err(Error::new(Problem::Escape, at)),
        None => Err(Error::new(Problem::Truncated, text.len())),
    }
}
