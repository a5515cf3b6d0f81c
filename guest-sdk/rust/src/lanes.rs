//! 16 bytes at once, in three bodies: `simd128` on wasm, SSE2 on x86-64, plain code elsewhere.
//!
//! Only its loads and instructions are unsafe; what is done with them is slices and integers.

/// Bytes looked at together.
pub(crate) const LANES: usize = 16;

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[allow(unsafe_code, reason = "a vector load has no safe form")]
mod vector {
    use std::arch::wasm32::{
        i8x16_bitmask, u8x16_eq, u8x16_lt, u8x16_splat, u64x2, v128, v128_load, v128_or,
    };

    pub(crate) type Block = v128;

    #[inline]
    pub(crate) fn load(bytes: &[u8; 16]) -> Block {
        // SAFETY: the reference proves that 16 bytes can be read; `v128_load` has no alignment requirement.
        unsafe { v128_load(bytes.as_ptr().cast()) }
    }

    #[inline]
    pub(crate) fn of_words(low: u64, high: u64) -> Block {
        u64x2(low, high)
    }

    #[inline]
    pub(crate) fn equal(block: Block, byte: u8) -> u32 {
        u32::from(i8x16_bitmask(u8x16_eq(block, u8x16_splat(byte))))
    }

    #[inline]
    pub(crate) fn either(block: Block, one: u8, other: u8) -> u32 {
        let found = v128_or(
            u8x16_eq(block, u8x16_splat(one)),
            u8x16_eq(block, u8x16_splat(other)),
        );
        u32::from(i8x16_bitmask(found))
    }

    #[inline]
    pub(crate) fn below(block: Block, byte: u8) -> u32 {
        u32::from(i8x16_bitmask(u8x16_lt(block, u8x16_splat(byte))))
    }

    #[inline]
    pub(crate) fn high(block: Block) -> u32 {
        u32::from(i8x16_bitmask(block))
    }

    #[inline]
    pub(crate) fn with_bits(block: Block, bits: u8) -> Block {
        or(block, u8x16_splat(bits))
    }

    #[inline]
    pub(crate) fn or(one: Block, other: Block) -> Block {
        v128_or(one, other)
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector instructions")]
#[allow(
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "bytes and masks are bit patterns here"
)]
mod vector {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_max_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set_epi64x, _mm_set1_epi8,
    };

    pub(crate) type Block = __m128i;

    #[inline]
    pub(crate) fn load(bytes: &[u8; 16]) -> Block {
        // SAFETY: the reference proves that 16 bytes can be read; `loadu` has no alignment requirement; SSE2 is part
        // of every x86-64.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[inline]
    pub(crate) fn of_words(low: u64, high: u64) -> Block {
        // SAFETY: SSE2 is part of every x86-64.
        unsafe { _mm_set_epi64x(high as i64, low as i64) }
    }

    #[inline]
    pub(crate) fn equal(block: Block, byte: u8) -> u32 {
        // SAFETY: SSE2 is part of every x86-64.
        unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(block, _mm_set1_epi8(byte as i8))) as u32 }
    }

    #[inline]
    pub(crate) fn either(block: Block, one: u8, other: u8) -> u32 {
        equal(block, one) | equal(block, other)
    }

    #[inline]
    pub(crate) fn below(block: Block, byte: u8) -> u32 {
        // SAFETY: SSE2 is part of every x86-64.
        unsafe {
            let limit = _mm_set1_epi8(byte as i8);
            let not_below = _mm_cmpeq_epi8(_mm_max_epu8(block, limit), block);
            !(_mm_movemask_epi8(not_below) as u32) & 0xFFFF
        }
    }

    #[inline]
    pub(crate) fn high(block: Block) -> u32 {
        // SAFETY: SSE2 is part of every x86-64.
        unsafe { _mm_movemask_epi8(block) as u32 }
    }

    #[inline]
    pub(crate) fn with_bits(block: Block, bits: u8) -> Block {
        // SAFETY: SSE2 is part of every x86-64.
        unsafe { _mm_or_si128(block, _mm_set1_epi8(bits as i8)) }
    }

    #[inline]
    pub(crate) fn or(one: Block, other: Block) -> Block {
        // SAFETY: SSE2 is part of every x86-64.
        unsafe { _mm_or_si128(one, other) }
    }
}

#[cfg(any(
    all(target_arch = "wasm32", target_feature = "simd128"),
    target_arch = "x86_64"
))]
pub(crate) use vector::*;

#[cfg(not(any(
    all(target_arch = "wasm32", target_feature = "simd128"),
    target_arch = "x86_64"
)))]
pub(crate) use plain::*;

/// The same without vector instructions: the fallback, and what the tests compare the others with.
#[cfg(any(
    test,
    not(any(
        all(target_arch = "wasm32", target_feature = "simd128"),
        target_arch = "x86_64"
    ))
))]
pub(crate) mod plain {
    pub(crate) type Block = [u8; 16];

    pub(crate) fn load(bytes: &[u8; 16]) -> Block {
        *bytes
    }

    pub(crate) fn of_words(low: u64, high: u64) -> Block {
        (u128::from(low) | u128::from(high) << 64).to_le_bytes()
    }

    fn mask(block: Block, test: impl Fn(u8) -> bool) -> u32 {
        block
            .iter()
            .enumerate()
            .fold(0, |mask, (at, byte)| mask | u32::from(test(*byte)) << at)
    }

    pub(crate) fn equal(block: Block, byte: u8) -> u32 {
        mask(block, |found| found == byte)
    }

    pub(crate) fn either(block: Block, one: u8, other: u8) -> u32 {
        mask(block, |found| found == one || found == other)
    }

    pub(crate) fn below(block: Block, byte: u8) -> u32 {
        mask(block, |found| found < byte)
    }

    pub(crate) fn high(block: Block) -> u32 {
        mask(block, |found| found >= 0x80)
    }

    pub(crate) fn with_bits(block: Block, bits: u8) -> Block {
        block.map(|byte| byte | bits)
    }

    pub(crate) fn or(one: Block, other: Block) -> Block {
        std::array::from_fn(|at| one[at] | other[at])
    }
}

/// Fewer than 16 bytes as the two halves of a block, zeros behind them.
#[inline]
pub(crate) fn words(rest: &[u8]) -> (u64, u64) {
    let bits = |bytes: usize| u32::try_from(bytes * 8).unwrap_or_default();
    if let (Some(first), Some(last)) = (rest.first_chunk::<8>(), rest.last_chunk::<8>()) {
        let high = u64::from_le_bytes(*last).checked_shr(bits(16 - rest.len()));
        return (u64::from_le_bytes(*first), high.unwrap_or_default());
    }
    if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        let high = u64::from(u32::from_le_bytes(*last)) << bits(rest.len() - 4);
        return (u64::from(u32::from_le_bytes(*first)) | high, 0);
    }
    let byte = |at: usize| u64::from(rest.get(at).copied().unwrap_or_default());
    (byte(0) | byte(1) << 8 | byte(2) << 16, 0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::lanes;
    use proptest::prelude::*;

    /// Any byte, most often one of those that code looks for, or one beside it.
    pub(crate) fn interesting() -> impl Strategy<Value = u8> {
        prop_oneof![
            prop::sample::select(b"\"\\{}[]\x00\x1f\x20\x7f\x80\xff@`y".to_vec()),
            any::<u8>(),
        ]
    }

    proptest! {
        #[test]
        fn masks_agree_with_plain_code(
            bytes in prop::array::uniform16(interesting()),
            other in prop::array::uniform16(interesting()),
        ) {
            let (block, plain) = (lanes::load(&bytes), plain::load(&bytes));
            prop_assert_eq!(lanes::equal(block, b'"'), plain::equal(plain, b'"'));
            prop_assert_eq!(lanes::either(block, b'"', b'\\'), plain::either(plain, b'"', b'\\'));
            prop_assert_eq!(lanes::below(block, 0x20), plain::below(plain, 0x20));
            prop_assert_eq!(lanes::high(block), plain::high(plain));
            let (both, plain_both) = (lanes::or(block, lanes::load(&other)), plain::or(plain, other));
            prop_assert_eq!(lanes::high(both), plain::high(plain_both));
            let folded = plain::with_bits(plain, 0x20);
            prop_assert_eq!(lanes::either(lanes::with_bits(block, 0x20), b'{', b'}'), plain::either(folded, b'{', b'}'));
            let is_bracket = |at: &usize| matches!(bytes[*at], b'{' | b'}' | b'[' | b']');
            let brackets = (0..LANES).filter(is_bracket).fold(0, |mask, at| mask | 1 << at);
            prop_assert_eq!(plain::either(folded, b'{', b'}'), brackets);
        }

        #[test]
        fn the_last_bytes_are_a_block(bytes in prop::collection::vec(interesting(), 0..LANES)) {
            let mut padded = [0; LANES];
            padded[..bytes.len()].copy_from_slice(&bytes);
            let (low, high) = words(&bytes);
            prop_assert_eq!(plain::of_words(low, high), padded);
            let (block, whole) = (lanes::of_words(low, high), lanes::load(&padded));
            prop_assert_eq!(lanes::either(block, b'"', b'\\'), lanes::either(whole, b'"', b'\\'));
            prop_assert_eq!(lanes::below(block, 0x20), lanes::below(whole, 0x20));
        }
    }
}
