//! Finds the bytes that matter, 16 at a time.
//!
//! The one interface is [`masks`]: 16 bytes in, bit masks out. It has three bodies: `simd128` on wasm, SSE2 on x86-64,
//! plain code elsewhere. Only the load of the 16 bytes is unsafe.

/// Bytes looked at together.
pub(super) const LANES: usize = 16;

/// One bit per byte of a block, the lowest for the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Masks {
    /// `"`
    pub(super) quote: u32,
    /// `\`
    pub(super) backslash: u32,
    /// `{`, `}`, `[`, `]`
    pub(super) bracket: u32,
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[allow(unsafe_code, reason = "a vector load has no safe form")]
mod lanes {
    use std::arch::wasm32::{
        i8x16_bitmask, u8x16_eq, u8x16_lt, u8x16_splat, v128, v128_load, v128_or,
    };

    pub(super) type Block = v128;

    #[inline(always)]
    pub(super) fn load(bytes: &[u8; 16]) -> Block {
        // SAFETY: the reference proves that 16 bytes can be read; `v128_load` has no alignment requirement.
        unsafe { v128_load(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    pub(super) fn equal(block: Block, byte: u8) -> u32 {
        u32::from(i8x16_bitmask(u8x16_eq(block, u8x16_splat(byte))))
    }

    #[inline(always)]
    pub(super) fn either(block: Block, one: u8, other: u8) -> u32 {
        let found = v128_or(
            u8x16_eq(block, u8x16_splat(one)),
            u8x16_eq(block, u8x16_splat(other)),
        );
        u32::from(i8x16_bitmask(found))
    }

    #[inline(always)]
    pub(super) fn below(block: Block, byte: u8) -> u32 {
        u32::from(i8x16_bitmask(u8x16_lt(block, u8x16_splat(byte))))
    }

    #[inline(always)]
    pub(super) fn high(block: Block) -> u32 {
        u32::from(i8x16_bitmask(block))
    }

    #[inline(always)]
    pub(super) fn with_bits(block: Block, bits: u8) -> Block {
        v128_or(block, u8x16_splat(bits))
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector instructions")]
#[allow(
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "bytes and masks are bit patterns here"
)]
mod lanes {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_max_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };

    pub(super) type Block = __m128i;

    #[inline(always)]
    pub(super) fn load(bytes: &[u8; 16]) -> Block {
        // SAFETY: the reference proves that 16 bytes can be read; `loadu` has no alignment requirement; SSE2 is part
        // of every x86-64.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    pub(super) fn equal(block: Block, byte: u8) -> u32 {
        // SAFETY: SSE2 is part of every x86-64.
        unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(block, _mm_set1_epi8(byte as i8))) as u32 }
    }

    #[inline(always)]
    pub(super) fn either(block: Block, one: u8, other: u8) -> u32 {
        equal(block, one) | equal(block, other)
    }

    #[inline(always)]
    pub(super) fn below(block: Block, byte: u8) -> u32 {
        // SAFETY: SSE2 is part of every x86-64.
        unsafe {
            let limit = _mm_set1_epi8(byte as i8);
            let not_below = _mm_cmpeq_epi8(_mm_max_epu8(block, limit), block);
            !(_mm_movemask_epi8(not_below) as u32) & 0xFFFF
        }
    }

    #[inline(always)]
    pub(super) fn high(block: Block) -> u32 {
        // SAFETY: SSE2 is part of every x86-64.
        unsafe { _mm_movemask_epi8(block) as u32 }
    }

    #[inline(always)]
    pub(super) fn with_bits(block: Block, bits: u8) -> Block {
        // SAFETY: SSE2 is part of every x86-64.
        unsafe { _mm_or_si128(block, _mm_set1_epi8(bits as i8)) }
    }
}

#[cfg(not(any(
    all(target_arch = "wasm32", target_feature = "simd128"),
    target_arch = "x86_64"
)))]
use plain as lanes;

/// The same without vector instructions: the fallback, and what the tests compare the others with.
#[cfg(any(
    test,
    not(any(
        all(target_arch = "wasm32", target_feature = "simd128"),
        target_arch = "x86_64"
    ))
))]
mod plain {
    pub(super) type Block = [u8; 16];

    pub(super) fn load(bytes: &[u8; 16]) -> Block {
        *bytes
    }

    fn mask(block: Block, test: impl Fn(u8) -> bool) -> u32 {
        block
            .iter()
            .enumerate()
            .fold(0, |mask, (at, byte)| mask | u32::from(test(*byte)) << at)
    }

    pub(super) fn equal(block: Block, byte: u8) -> u32 {
        mask(block, |found| found == byte)
    }

    pub(super) fn either(block: Block, one: u8, other: u8) -> u32 {
        mask(block, |found| found == one || found == other)
    }

    pub(super) fn below(block: Block, byte: u8) -> u32 {
        mask(block, |found| found < byte)
    }

    pub(super) fn high(block: Block) -> u32 {
        mask(block, |found| found >= 0x80)
    }

    pub(super) fn with_bits(block: Block, bits: u8) -> Block {
        block.map(|byte| byte | bits)
    }
}

/// 16 bytes from `at`, when there are as many.
#[inline(always)]
fn block(bytes: &[u8], at: usize) -> Option<&[u8; LANES]> {
    bytes.get(at..)?.first_chunk()
}

/// The masks of 16 bytes.
#[inline(always)]
pub(super) fn masks(bytes: &[u8; LANES]) -> Masks {
    let block = lanes::load(bytes);
    // `[` and `]` differ from `{` and `}` in one bit. Setting it maps no other byte to these two.
    let folded = lanes::with_bits(block, 0x20);
    Masks {
        quote: lanes::equal(block, b'"'),
        backslash: lanes::equal(block, b'\\'),
        bracket: lanes::either(folded, b'{', b'}'),
    }
}

/// The first `"` or `\` at or behind `at`.
#[inline(always)]
pub(super) fn string_stop(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(sixteen) = block(bytes, at) {
        let found = lanes::either(lanes::load(sixteen), b'"', b'\\');
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize);
        }
        at += LANES;
    }
    let rest = bytes.get(at..)?;
    rest.iter()
        .position(|byte| matches!(byte, b'"' | b'\\'))
        .map(|found| at + found)
}

/// What ends a run of plain text in a string, at or behind `at`: `"`, `\`, a control character or, with `ascii`, a byte
/// above 0x7F.
#[inline(always)]
pub(super) fn text_stop<const ASCII: bool>(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(sixteen) = block(bytes, at) {
        let block = lanes::load(sixteen);
        let mut found = lanes::either(block, b'"', b'\\') | lanes::below(block, 0x20);
        if ASCII {
            found |= lanes::high(block);
        }
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize);
        }
        at += LANES;
    }
    let rest = bytes.get(at..)?;
    rest.iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | ..0x20) || (ASCII && *byte >= 0x80))
        .map(|found| at + found)
}

/// The next 16 bytes from `at` as masks, or fewer at the end of the text.
#[inline(always)]
pub(super) fn masks_at(bytes: &[u8], at: usize) -> Masks {
    if let Some(sixteen) = block(bytes, at) {
        return masks(sixteen);
    }
    let mut padded = [0; LANES];
    let rest = bytes.get(at..).unwrap_or_default();
    for (to, from) in padded.iter_mut().zip(rest) {
        *to = *from;
    }
    masks(&padded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn interesting() -> impl Strategy<Value = u8> {
        prop_oneof![
            prop::sample::select(b"\"\\{}[]\x00\x1f\x20\x7f\x80\xff@`y".to_vec()),
            any::<u8>(),
        ]
    }

    proptest! {
        #[test]
        fn masks_agree_with_plain_code(bytes in prop::array::uniform16(interesting())) {
            let (block, plain) = (lanes::load(&bytes), plain::load(&bytes));
            prop_assert_eq!(lanes::equal(block, b'"'), plain::equal(plain, b'"'));
            prop_assert_eq!(lanes::either(block, b'"', b'\\'), plain::either(plain, b'"', b'\\'));
            prop_assert_eq!(lanes::below(block, 0x20), plain::below(plain, 0x20));
            prop_assert_eq!(lanes::high(block), plain::high(plain));
            let brackets = bytes.iter().enumerate().fold(0, |mask, (at, byte)| {
                mask | u32::from(matches!(byte, b'{' | b'}' | b'[' | b']')) << at
            });
            prop_assert_eq!(masks(&bytes).bracket, brackets);
            prop_assert_eq!(plain::either(plain::with_bits(plain, 0x20), b'{', b'}'), brackets);
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
                position(|byte| byte == b'"' || byte == b'\\' || byte < 0x20 || byte >= 0x80)
            );
            prop_assert_eq!(string_stop(&bytes, bytes.len() + at), None);
            prop_assert_eq!(masks_at(&bytes, bytes.len() + at), Masks { quote: 0, backslash: 0, bracket: 0 });
        }
    }
}
