//! Finds the bytes that matter, 16 at a time.
//!
//! The instructions are those of [`lanes`]; all here is slices and integers.

use crate::lanes::{self, LANES, words};

/// Bytes of one [`Masks`].
pub(super) const WIDTH: usize = 64;

/// One bit per byte of 64, the lowest for the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Masks {
    /// `"`
    pub(super) quote: u64,
    /// `\`
    pub(super) backslash: u64,
    /// `{`, `}`, `[`, `]`
    pub(super) bracket: u64,
}

/// 16 bytes from `at`, when there are as many.
#[inline]
fn block(bytes: &[u8], at: usize) -> Option<&[u8; LANES]> {
    bytes.get(at..)?.first_chunk()
}

/// The masks of 64 bytes.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs as much as what is done")]
fn masks(bytes: &[u8; WIDTH]) -> Masks {
    let mut masks = Masks {
        quote: 0,
        backslash: 0,
        bracket: 0,
    };
    let (blocks, _) = bytes.as_chunks::<LANES>();
    for (number, sixteen) in blocks.iter().enumerate() {
        let block = lanes::load(sixteen);
        // `[` and `]` differ from `{` and `}` in one bit. Setting it maps no other byte to these two.
        let folded = lanes::with_bits(block, 0x20);
        let shift = number * LANES;
        masks.quote |= u64::from(lanes::equal(block, b'"')) << shift;
        masks.backslash |= u64::from(lanes::equal(block, b'\\')) << shift;
        masks.bracket |= u64::from(lanes::either(folded, b'{', b'}')) << shift;
    }
    masks
}

/// The masks of 64 bytes from `at`, or of fewer at the end of the text: then the bits of the rest are 0.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs as much as what is done")]
pub(super) fn masks_at(bytes: &[u8], at: usize) -> Masks {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first_chunk() {
        Some(whole) => masks(whole),
        None => last_masks(rest),
    }
}

#[inline(never)]
fn last_masks(rest: &[u8]) -> Masks {
    let mut padded = [0; WIDTH];
    padded[..rest.len()].copy_from_slice(rest);
    masks(&padded)
}

/// What one block of 64 bytes tells the next.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Carry {
    /// All bits set when the block ended inside a string.
    in_string: u64,
    /// 1 when its last byte was a backslash that escapes the next byte.
    escape: u64,
}

/// The brackets that are not inside of strings. The technique is that of simdjson (Langdale and Lemire, 2019).
#[inline]
pub(super) fn brackets(masks: Masks, carry: &mut Carry) -> u64 {
    let quotes = masks.quote & !escaped(masks.backslash, &mut carry.escape);
    // A bit is set when the number of quotes up to it is odd.
    let mut inside = quotes;
    for shift in [1, 2, 4, 8, 16, 32] {
        inside ^= inside << shift;
    }
    inside ^= carry.in_string;
    carry.in_string = 0_u64.wrapping_sub(inside >> 63);
    masks.bracket & !inside
}

/// The bytes that a backslash before them escapes: those behind a run of backslashes of odd length.
#[inline]
fn escaped(backslash: u64, carry: &mut u64) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let backslash = backslash & !*carry;
    if backslash == 0 {
        return std::mem::take(carry);
    }
    let follows = backslash << 1 | *carry;
    // Adding a run's start to the run carries to the byte behind it; a run that starts at an odd position and one that
    // starts at an even one are then told apart by where the carry lies.
    let odd_starts = backslash & !EVEN & !follows;
    let (runs, overflow) = odd_starts.overflowing_add(backslash);
    *carry = u64::from(overflow);
    (EVEN ^ (runs << 1)) & follows
}

/// The text of bytes that are ASCII and plain: no `"`, no `\`, no control character. `None` for all others.
#[inline]
#[allow(unsafe_code, reason = "all of it was looked at already")]
pub(super) fn plain_ascii(bytes: &[u8]) -> Option<&str> {
    match text_stop::<true>(bytes, 0) {
        // SAFETY: `text_stop::<true>` stops at every byte above 0x7F. It did not, so the bytes are ASCII, which is
        // UTF-8. The tests compare it with plain code for all lengths and bytes.
        None => Some(unsafe { std::str::from_utf8_unchecked(bytes) }),
        Some(_) => None,
    }
}

/// Whether all bytes are ASCII.
#[inline]
pub(crate) fn is_ascii(bytes: &[u8]) -> bool {
    first(bytes, 0, lanes::high).is_none()
}

/// Where a run of digits that starts at `at` ends, or where it is 16 bytes later. The same position when fewer than 16
/// bytes are left.
#[inline]
pub(super) fn near_digits_end(bytes: &[u8], at: usize) -> usize {
    let Some(sixteen) = block(bytes, at) else {
        return at;
    };
    let block = lanes::load(sixteen);
    let digits = lanes::below(block, b'9' + 1) & !lanes::below(block, b'0');
    at + digits.trailing_ones() as usize
}

/// A quote, the text and what comes behind it, with the length of these together. `None` when they are longer than 16
/// bytes, or the text holds something that a JSON string does not hold as it is.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "of a literal the compiler does all of it"
)]
pub(super) fn short_quoted<const N: usize>(
    bytes: &[u8],
    behind: &[u8; N],
) -> Option<([u8; LANES], usize)> {
    let length = 1 + bytes.len() + N;
    if length > LANES {
        return None;
    }
    let (low, high) = words(bytes);
    let block = lanes::of_words(low, high);
    let found = lanes::either(block, b'"', b'\\') | lanes::below(block, 0x20);
    if found & !(u32::MAX << bytes.len()) != 0 {
        return None;
    }
    let behind = behind
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u64::from(*byte));
    // One byte further, and then the rest at the first free one: in one of the words, or across both.
    let (mut low, mut high) = (low << 8 | u64::from(b'"'), high << 8 | low >> 56);
    let at = 1 + bytes.len();
    if at < 8 {
        low |= behind << (at * 8);
        high |= behind
            .checked_shr(64 - u32::try_from(at * 8).unwrap_or(0))
            .unwrap_or(0);
    } else {
        high |= behind << ((at - 8) * 8);
    }
    let mut whole = [0; LANES];
    whole[..8].copy_from_slice(&low.to_le_bytes());
    whole[8..].copy_from_slice(&high.to_le_bytes());
    Some((whole, length))
}

/// The first `"` or `\` in the 32 bytes from `at`, as far as there are 16 and 16.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs more than what is done")]
pub(super) fn near_string_stop(bytes: &[u8], at: usize) -> Option<usize> {
    near(bytes, at, |block| lanes::either(block, b'"', b'\\'))
}

/// The same for what ends a run of plain ASCII, see [`text_stop`].
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs more than what is done")]
pub(super) fn near_text_stop(bytes: &[u8], at: usize) -> Option<usize> {
    near(bytes, at, text_end::<true>)
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs more than what is done")]
fn near(bytes: &[u8], at: usize, test: impl Fn(lanes::Block) -> u32) -> Option<usize> {
    let found = test(lanes::load(block(bytes, at)?));
    if found != 0 {
        return Some(at + found.trailing_zeros() as usize);
    }
    let at = at + LANES;
    let found = test(lanes::load(block(bytes, at)?));
    (found != 0).then(|| at + found.trailing_zeros() as usize)
}

/// The first `"` or `\` at or behind `at`.
#[inline]
pub(super) fn string_stop(bytes: &[u8], at: usize) -> Option<usize> {
    first(bytes, at, |block| lanes::either(block, b'"', b'\\'))
}

/// What ends a run of plain text in a string, at or behind `at`: `"`, `\`, a control character or, with `ascii`, a byte
/// above 0x7F.
#[inline]
pub(super) fn text_stop<const ASCII: bool>(bytes: &[u8], at: usize) -> Option<usize> {
    first(bytes, at, text_end::<ASCII>)
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs more than what is done")]
fn text_end<const ASCII: bool>(block: lanes::Block) -> u32 {
    let found = lanes::either(block, b'"', b'\\') | lanes::below(block, 0x20);
    if ASCII {
        found | lanes::high(block)
    } else {
        found
    }
}

/// The first byte that is one of these.
#[inline]
pub(crate) fn find_any<const N: usize>(bytes: &[u8], wanted: &[u8; N]) -> Option<usize> {
    first(bytes, 0, |block| {
        let found = |found, byte: &u8| found | lanes::equal(block, *byte);
        wanted.iter().fold(0, found)
    })
}

/// The first byte at or behind `at` whose bit `test` sets.
///
/// Most texts end within 32 bytes: these are looked at without a loop, so that they cost no check for an interruption.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs more than what is done")]
fn first(bytes: &[u8], at: usize, test: impl Fn(lanes::Block) -> u32) -> Option<usize> {
    let Some(sixteen) = block(bytes, at) else {
        return last(bytes, at, test);
    };
    let found = test(lanes::load(sixteen));
    if found != 0 {
        return Some(at + found.trailing_zeros() as usize);
    }
    let at = at + LANES;
    let Some(sixteen) = block(bytes, at) else {
        return last(bytes, at, test);
    };
    let found = test(lanes::load(sixteen));
    if found != 0 {
        return Some(at + found.trailing_zeros() as usize);
    }
    further(bytes, at + LANES, test)
}

/// The same behind the first 32 bytes.
#[inline(never)]
fn further(bytes: &[u8], mut at: usize, test: impl Fn(lanes::Block) -> u32) -> Option<usize> {
    while let Some(sixteen) = block(bytes, at) {
        let found = test(lanes::load(sixteen));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize);
        }
        at += LANES;
    }
    last(bytes, at, test)
}

/// The same for the last bytes, fewer than 16.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs more than what is done")]
fn last(bytes: &[u8], at: usize, test: impl Fn(lanes::Block) -> u32) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let (low, high) = words(rest);
    let found = test(lanes::of_words(low, high)) & !(u32::MAX << rest.len());
    (found != 0).then(|| at + found.trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::tests::interesting;
    use proptest::prelude::*;

    fn mask(bytes: &[u8], test: impl Fn(u8) -> bool) -> u64 {
        bytes
            .iter()
            .enumerate()
            .fold(0, |mask, (at, byte)| mask | u64::from(test(*byte)) << at)
    }

    proptest! {
        #[test]
        fn plain_ascii_is_just_that(bytes in prop::collection::vec(prop_oneof![20 => 0x20_u8..0x7f, 1 => interesting()], 0..70)) {
            let plain = bytes.iter().all(|byte| (0x20..0x80).contains(byte) && !matches!(byte, b'"' | b'\\'));
            prop_assert_eq!(plain_ascii(&bytes), plain.then(|| std::str::from_utf8(&bytes).unwrap()));
        }

        #[test]
        fn short_texts_are_quoted(text in "[a-zä\"\\\\\u{1}]{0,16}") {
            let bytes = text.as_bytes();
            let plain = !bytes.iter().any(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'));
            let expect = |behind: &str| {
                let whole = format!("\"{text}{behind}");
                (plain && whole.len() <= LANES).then_some(whole)
            };
            let found = |quoted: Option<([u8; LANES], usize)>| {
                quoted.map(|(block, length)| String::from_utf8(block[..length].to_vec()).unwrap())
            };
            prop_assert_eq!(found(short_quoted(bytes, b"\"")), expect("\""));
            prop_assert_eq!(found(short_quoted(bytes, b"\":")), expect("\":"));
        }
    }

    proptest! {
        #[test]
        fn masks_have_a_bit_for_each_byte(bytes in prop::collection::vec(interesting(), 0..150), at in 0usize..160) {
            let window = &bytes[at.min(bytes.len())..bytes.len().min(at + WIDTH).max(at.min(bytes.len()))];
            prop_assert_eq!(masks_at(&bytes, at), Masks {
                quote: mask(window, |byte| byte == b'"'),
                backslash: mask(window, |byte| byte == b'\\'),
                bracket: mask(window, |byte| matches!(byte, b'{' | b'}' | b'[' | b']')),
            });
        }

        #[test]
        fn brackets_in_strings_do_not_count(
            bytes in prop::collection::vec(prop::sample::select(b"\"\\\\\\{}[] a".to_vec()), 0..300)
        ) {
            let (mut in_string, mut escape) = (false, false);
            let mut expected = Vec::new();
            for (at, byte) in bytes.iter().enumerate() {
                let was_escaped = std::mem::replace(&mut escape, false);
                match byte {
                    b'\\' => escape = !was_escaped,
                    b'"' if !was_escaped => in_string = !in_string,
                    b'{' | b'}' | b'[' | b']' if !in_string => expected.push(at),
                    _ => {}
                }
            }
            let mut carry = Carry::default();
            let mut found = Vec::new();
            for at in (0..bytes.len()).step_by(WIDTH) {
                let mut hits = brackets(masks_at(&bytes, at), &mut carry);
                while hits != 0 {
                    found.push(at + hits.trailing_zeros() as usize);
                    hits &= hits - 1;
                }
            }
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn stops_agree_with_plain_code(bytes in prop::collection::vec(interesting(), 0..70), at in 0usize..80) {
            let from = at.min(bytes.len());
            let position = |test: fn(u8) -> bool| {
                bytes[from..].iter().position(|byte| test(*byte)).map(|found| from + found)
            };
            prop_assert_eq!(string_stop(&bytes, from), position(|byte| byte == b'"' || byte == b'\\'));
            let text = |byte| byte == b'"' || byte == b'\\' || byte < 0x20;
            prop_assert_eq!(text_stop::<false>(&bytes, from), position(text));
            prop_assert_eq!(
                text_stop::<true>(&bytes, from),
                position(|byte| matches!(byte, b'"' | b'\\' | ..0x20 | 0x80..))
            );
            prop_assert_eq!(string_stop(&bytes, bytes.len() + at), None);
            prop_assert_eq!(find_any(&bytes[from..], b"\"@\0"), bytes[from..].iter().position(|byte| b"\"@\0".contains(byte)));
        }
    }
}
