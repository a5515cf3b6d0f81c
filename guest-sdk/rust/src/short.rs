//! Short byte strings: most of what a record consists of.
//!
//! Copying or comparing a few bytes is a handful of instructions. Left to the compiler it is a call of the host
//! (`memory.copy`) or a loop over bytes (`memcmp`), each with its own check whether the guest is to be interrupted.
//! Here lengths up to 64 bytes need neither loop nor call: two overlapping halves cover every length between theirs and
//! twice theirs.

/// Appends these bytes.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs as much as what is done")]
pub(crate) fn append(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        0 => {}
        1..4 => few(out, bytes),
        4..8 => halves::<4>(out, bytes),
        8..16 => halves::<8>(out, bytes),
        16..32 => halves::<16>(out, bytes),
        32..=64 => halves::<32>(out, bytes),
        _ => out.extend_from_slice(bytes),
    }
}

/// The first `N` bytes and then, over what of them overlaps, the last `N`.
#[inline]
fn halves<const N: usize>(out: &mut Vec<u8>, bytes: &[u8]) {
    let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) else {
        return out.extend_from_slice(bytes);
    };
    out.reserve(2 * N);
    let start = out.len();
    out.extend_from_slice(first);
    out.truncate(start + bytes.len() - N);
    out.extend_from_slice(last);
}

#[inline]
fn few(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(4);
    match *bytes {
        [one] => out.push(one),
        [one, two] => out.extend_from_slice(&[one, two]),
        [one, two, three] => out.extend_from_slice(&[one, two, three]),
        _ => out.extend_from_slice(bytes),
    }
}

/// Whether these are the same bytes.
#[inline]
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && match one.len() {
            0 => true,
            1..4 => {
                let ends = one.first() == other.first() && one.last() == other.last();
                ends && one.get(1) == other.get(1)
            }
            4..8 => ends::<4>(one, other),
            8..16 => ends::<8>(one, other),
            16..=32 => ends::<16>(one, other),
            _ => one == other,
        }
}

#[inline]
fn ends<const N: usize>(one: &[u8], other: &[u8]) -> bool {
    one.first_chunk::<N>() == other.first_chunk::<N>()
        && one.last_chunk::<N>() == other.last_chunk::<N>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_length_is_appended_whole() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in 0..=200 {
            let mut out = b"before".to_vec();
            append(&mut out, &bytes[..length]);
            assert_eq!(
                out,
                [b"before", &bytes[..length]].concat(),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn one_other_byte_anywhere_is_seen() {
        for length in 0..=70 {
            let one = vec![b'a'; length];
            assert!(same(&one, &one.clone()));
            assert!(!same(&one, &vec![b'a'; length + 1]));
            for at in 0..length {
                let mut other = one.clone();
                other[at] = b'b';
                assert!(!same(&one, &other), "byte {at} of {length}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_same_as_the_plain_comparison(
            one in prop::collection::vec(prop::sample::select(b"ab".to_vec()), 0..40),
            other in prop::collection::vec(prop::sample::select(b"ab".to_vec()), 0..40),
        ) {
            prop_assert_eq!(same(&one, &other), one == other);
        }
    }
}
