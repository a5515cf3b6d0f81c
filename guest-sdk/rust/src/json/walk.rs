//! Steps over values without looking at more than it must.

use super::error::{Error, Problem};
use super::scan;
use super::{Kind, MAX_DEPTH};
use crate::short::same;

/// The first byte at or behind `at` that is no white space.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs more than what is done")]
pub(super) fn skip_space(text: &[u8], at: usize) -> usize {
    // No white space and one space are what most writers leave: both without a loop.
    match text.get(at..) {
        Some([b'!'..=255, ..] | []) | None => at,
        Some([b' ', b'!'..=255, ..]) => at + 1,
        _ => skip_more_space(text, at),
    }
}

#[inline(never)]
fn skip_more_space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = text.get(at) {
        at += 1;
    }
    at
}

/// A string that starts with the quote at `at`: the position behind its closing quote, and whether it has escapes.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs more than what is done")]
pub(super) fn skip_string(text: &[u8], at: usize) -> Result<(usize, bool), Error> {
    // Nearly every key and most values end within the first 32 bytes.
    match scan::near_string_stop(text, at + 1) {
        Some(stop) if text[stop] == b'"' => Ok((stop + 1, false)),
        _ => skip_long_string(text, at),
    }
}

#[inline(never)]
fn skip_long_string(text: &[u8], at: usize) -> Result<(usize, bool), Error> {
    let mut from = at + 1;
    let mut escapes = false;
    loop {
        match scan::string_stop(text, from) {
            Some(stop) if text[stop] == b'"' => return Ok((stop + 1, escapes)),
            Some(stop) => {
                escapes = true;
                from = stop + 2;
            }
            None => return Err(Error::new(Problem::Truncated, text.len())),
        }
    }
}

/// What kind of value starts with this byte.
#[inline]
pub(super) fn kind_of(byte: u8) -> Option<Kind> {
    match byte {
        b'{' => Some(Kind::Object),
        b'[' => Some(Kind::Array),
        b'"' => Some(Kind::String),
        b'-' | b'0'..=b'9' => Some(Kind::Number),
        b't' | b'f' => Some(Kind::Bool),
        b'n' => Some(Kind::Null),
        _ => None,
    }
}

/// The position behind the value that starts at `at`. Scalars are checked, containers only for matching brackets.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs more than what is done")]
pub(super) fn skip_value(text: &[u8], at: usize) -> Result<usize, Error> {
    match text.get(at) {
        Some(b'"') => skip_string(text, at).map(|(end, _)| end),
        Some(b'{' | b'[') => skip_container(text, at),
        Some(b'-' | b'0'..=b'9') => skip_number(text, at),
        Some(b't') => skip_word(text, at, b"true"),
        Some(b'f') => skip_word(text, at, b"false"),
        Some(b'n') => skip_word(text, at, b"null"),
        Some(_) => Err(Error::new(Problem::ExpectedValue, at)),
        None => Err(Error::new(Problem::Truncated, at)),
    }
}

fn skip_word(text: &[u8], at: usize, word: &[u8]) -> Result<usize, Error> {
    let end = at + word.len();
    match text.get(at..end) {
        Some(found) if same(found, word) => Ok(end),
        Some(_) => Err(Error::new(Problem::ExpectedValue, at)),
        None => Err(Error::new(Problem::Truncated, text.len())),
    }
}

/// One digit or more.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs more than what is done")]
fn skip_digits(text: &[u8], start: usize) -> Result<usize, Error> {
    let near = scan::near_digits_end(text, start);
    match text.get(near) {
        Some(b'0'..=b'9') => skip_more_digits(text, near),
        _ if near == start => Err(Error::new(Problem::Number, start)),
        _ => Ok(near),
    }
}

/// One digit or more: a long number, or the parts of one that most have not.
#[inline(never)]
fn skip_more_digits(text: &[u8], start: usize) -> Result<usize, Error> {
    let mut at = start;
    while let Some(b'0'..=b'9') = text.get(at) {
        at += 1;
    }
    if at == start {
        return Err(Error::new(Problem::Number, at));
    }
    Ok(at)
}

/// RFC 8259: `-? (0 | [1-9][0-9]*) (\.[0-9]+)? ([eE][+-]?[0-9]+)?`
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs more than what is done")]
pub(super) fn skip_number(text: &[u8], at: usize) -> Result<usize, Error> {
    let start = if text.get(at) == Some(&b'-') {
        at + 1
    } else {
        at
    };
    let mut end = skip_digits(text, start)?;
    if text[start] == b'0' && end > start + 1 {
        return Err(Error::new(Problem::Number, start));
    }
    if text.get(end) == Some(&b'.') {
        end = skip_more_digits(text, end + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(end) {
        end += 1;
        if let Some(b'+' | b'-') = text.get(end) {
            end += 1;
        }
        end = skip_more_digits(text, end)?;
    }
    Ok(end)
}

/// A container that starts with the bracket at `start`. No recursion: open brackets are bits of a number, 1 for an
/// object.
fn skip_container(text: &[u8], start: usize) -> Result<usize, Error> {
    let mut open = Open { kinds: 0, depth: 0 };
    each_bracket(text, start, |hit| open.bracket(text[hit], hit))
}

/// Shows every bracket from `start` on that is not inside of a string, until `visit` says that it was the last one. The
/// position behind that.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs as much as what is done")]
pub(super) fn each_bracket(
    text: &[u8],
    start: usize,
    mut visit: impl FnMut(usize) -> Result<bool, Error>,
) -> Result<usize, Error> {
    let mut carry = scan::Carry::default();
    let mut at = start;
    while at < text.len() {
        let mut hits = scan::brackets(scan::masks_at(text, at), &mut carry);
        // Several in a turn: each turn is a check for an interruption.
        'all: while hits != 0 {
            for _ in 0..4 {
                let hit = at + hits.trailing_zeros() as usize;
                hits &= hits - 1;
                if visit(hit)? {
                    return Ok(hit + 1);
                }
                if hits == 0 {
                    break 'all;
                }
            }
        }
        at += scan::WIDTH;
    }
    Err(Error::new(Problem::Truncated, text.len()))
}

struct Open {
    kinds: u128,
    depth: usize,
}

impl Open {
    /// The next bracket. Whether all is closed with it.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a call costs as much as what is done")]
    fn bracket(&mut self, byte: u8, hit: usize) -> Result<bool, Error> {
        if matches!(byte, b'{' | b'[') {
            if self.depth == MAX_DEPTH {
                return Err(Error::new(Problem::TooDeep, hit));
            }
            self.depth += 1;
            self.kinds = self.kinds << 1 | u128::from(byte == b'{');
            return Ok(false);
        }
        if (self.kinds & 1 == 1) != (byte == b'}') {
            return Err(Error::new(Problem::Unbalanced, hit));
        }
        self.kinds >>= 1;
        self.depth -= 1;
        Ok(self.depth == 0)
    }
}
