//! Which bytes are text.
//!
//! The standard library looks at ASCII 8 bytes a turn and at all else byte by byte, and in a guest every turn of a loop
//! is a check for an interruption. Here 128 bytes of ASCII are a turn; what has others is left to `simdutf8`, with the
//! turns that have them.

use crate::json::scan;
use crate::lanes;

/// Bytes of ASCII in a turn of the loop.
const WIDE: usize = 128;

/// Shorter texts are looked at in one piece.
const SHORT: usize = 64;

/// The text that these bytes are; `None` when they are no UTF-8.
#[inline]
#[allow(unsafe_code, reason = "all of it was looked at already")]
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    let is_text = match bytes.len() {
        ..SHORT => scan::is_ascii(bytes) || is_short_text(bytes),
        _ => is_long_text(bytes),
    };
    // SAFETY: the bytes are UTF-8: ASCII, or what `simdutf8` says is UTF-8, from the start of a character to the end of
    // one. The tests compare all of that with the standard library.
    is_text.then(|| unsafe { std::str::from_utf8_unchecked(bytes) })
}

/// In one piece with zeros behind it, which are ASCII: so a character that is cut off is seen, and `simdutf8`, which
/// leaves less than 64 bytes to the standard library, has as many as it wants.
#[inline(never)]
fn is_short_text(bytes: &[u8]) -> bool {
    let mut piece = [0; SHORT];
    match bytes.len() {
        ..16 => {
            let (low, high) = lanes::words(bytes);
            put(&mut piece, 0, &low.to_le_bytes());
            put(&mut piece, 8, &high.to_le_bytes());
        }
        16..32 => ends::<16>(&mut piece, bytes),
        _ => ends::<32>(&mut piece, bytes),
    }
    simdutf8::basic::from_utf8(&piece).is_ok()
}

/// The first `N` bytes and then, over what of them overlaps, the last `N`: copies that take no loop.
#[inline]
fn ends<const N: usize>(piece: &mut [u8; SHORT], bytes: &[u8]) {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) {
        put(piece, 0, first);
        put(piece, bytes.len() - N, last);
    }
}

#[inline]
fn put<const N: usize>(piece: &mut [u8; SHORT], at: usize, bytes: &[u8; N]) {
    if let Some(place) = piece.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = *bytes;
    }
}

#[inline(never)]
fn is_long_text(bytes: &[u8]) -> bool {
    let (turns, rest) = bytes.as_chunks::<WIDE>();
    let mut at = 0;
    while let Some(turn) = turns.get(at) {
        at += 1;
        if is_ascii(turn) {
            continue;
        }
        // From here to the next turn that is ASCII: no character reaches into that one, as none began before this one.
        let start = at - 1;
        while turns.get(at).is_some_and(|turn| !is_ascii(turn)) {
            at += 1;
        }
        let end = if at < turns.len() {
            at * WIDE
        } else {
            bytes.len()
        };
        if simdutf8::basic::from_utf8(&bytes[start * WIDE..end]).is_err() {
            return false;
        }
        if end == bytes.len() {
            return true;
        }
    }
    scan::is_ascii(rest) || simdutf8::basic::from_utf8(rest).is_ok()
}

#[inline]
fn is_ascii(turn: &[u8; WIDE]) -> bool {
    let (blocks, _) = turn.as_chunks();
    let blocks = blocks.iter().map(lanes::load);
    blocks
        .reduce(lanes::or)
        .is_none_or(|all| lanes::high(all) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text of one to four bytes a character, some of it wide ASCII, with a byte or none broken.
    fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
        let run = prop_oneof![
            "[ -~]{0,300}",
            "[a-zà-ÿ]{0,70}",
            "[a-zà-ÿ\u{800}-\u{830}\u{10000}-\u{10030}]{0,20}",
        ];
        let broken = prop::option::weighted(0.7, (any::<prop::sample::Index>(), any::<u8>()));
        (prop::collection::vec(run, 0..5), broken, any::<bool>()).prop_map(|(runs, broken, cut)| {
            let mut bytes = runs.concat().into_bytes();
            if let (Some((at, byte)), false) = (broken, bytes.is_empty()) {
                let at = at.index(bytes.len());
                if cut {
                    bytes.truncate(at);
                } else {
                    bytes[at] = byte;
                }
            }
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn the_same_as_the_standard_library(bytes in nearly_text()) {
            prop_assert_eq!(text(&bytes), std::str::from_utf8(&bytes).ok());
        }

        #[test]
        fn of_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..6)) {
            prop_assert_eq!(text(&bytes), std::str::from_utf8(&bytes).ok());
        }
    }

    #[test]
    fn a_character_at_every_place_of_every_length() {
        for character in ["é", "€", "🦀"] {
            for length in 0..300 {
                let mut bytes = vec![b'a'; length];
                bytes.extend(character.bytes());
                for cut in 0..=character.len() {
                    let part = &bytes[..length + cut];
                    assert_eq!(text(part), std::str::from_utf8(part).ok(), "{length} {cut}");
                }
                bytes.extend([b'a'; 150]);
                assert!(text(&bytes).is_some());
                bytes[length] = 0x80;
                assert!(text(&bytes).is_none());
            }
        }
    }
}
