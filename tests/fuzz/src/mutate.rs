//! Changes of inputs.

use fastrand::Rng;

/// No input grows longer.
pub(crate) const MAX_LENGTH: usize = 8 << 10;

/// Numbers at which things change.
const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1",
    "255",
    "256",
    "65536",
    "2147483648",
    "4294967295",
    "18446744073709551615",
    "1e308",
    "-0.0",
    "9223372036854775808",
];
/// Bytes at which readers of texts change their minds.
const BYTES: [u8; 24] = [
    0, b'\n', b'\r', b'\t', b' ', b'"', b'\'', b'\\', b'/', b'{', b'}', b'[', b']', b':', b',',
    b'-', b'#', b'&', b'*', b'$', 0x7F, 0x80, 0xC3, 0xFF,
];

/// Changes an input in a few ways. `others` is what it may be mixed with, `words` are texts that mean something.
pub(crate) fn change(input: &mut Vec<u8>, others: &[Vec<u8>], words: &[&str], rng: &mut Rng) {
    for _ in 0..=rng.usize(0..4) {
        once(input, others, words, rng);
    }
    input.truncate(MAX_LENGTH);
}

fn once(input: &mut Vec<u8>, others: &[Vec<u8>], words: &[&str], rng: &mut Rng) {
    let length = input.len();
    let at = rng.usize(0..=length);
    match rng.u8(0..12) {
        0 if length > 0 => input[at.min(length - 1)] ^= 1 << rng.u8(0..8),
        1 if length > 0 => input[at.min(length - 1)] = pick(&BYTES, rng).copied().unwrap_or(0),
        2 => insert(input, at, &[pick(&BYTES, rng).copied().unwrap_or(0)]),
        3 => drop(input.drain(range(length, rng))),
        4 => {
            let part = input[range(length, rng)].to_vec();
            insert(input, at, &part);
        }
        // Deep nesting, long lists.
        5 => {
            let part = input[range(length, rng)].to_vec();
            let part = &part[..part.len().min(64)];
            let room = MAX_LENGTH.saturating_sub(length) / part.len().max(1);
            let times = rng.usize(0..=room.min(2000));
            insert(input, at, &part.repeat(times));
        }
        6 | 7 => {
            if let Some(other) = pick(others, rng) {
                let part = &other[range(other.len(), rng)];
                let from = rng.usize(at..=length);
                input.splice(at..from, part.iter().copied());
            }
        }
        8 | 9 => {
            if let Some(word) = pick(words, rng) {
                insert(input, at, word.as_bytes());
            }
        }
        10 => number(input, at, rng),
        _ => {
            let part: Vec<u8> = input.drain(range(length, rng)).collect();
            let at = rng.usize(0..=input.len());
            insert(input, at, &part);
        }
    }
}

fn pick<'a, T>(from: &'a [T], rng: &mut Rng) -> Option<&'a T> {
    (!from.is_empty()).then(|| &from[rng.usize(0..from.len())])
}

/// A part of something of this length, short ones more often.
fn range(length: usize, rng: &mut Rng) -> std::ops::Range<usize> {
    let from = rng.usize(0..=length);
    let most = if rng.bool() { 8 } else { length };
    from..rng.usize(from..=length.min(from + most))
}

fn insert(input: &mut Vec<u8>, at: usize, part: &[u8]) {
    input.splice(at..at, part.iter().copied());
}

/// Another number in the place of the first one behind `at`.
fn number(input: &mut Vec<u8>, at: usize, rng: &mut Rng) {
    let digit = |byte: &u8| byte.is_ascii_digit();
    let Some(from) = input[at..].iter().position(digit).map(|offset| at + offset) else {
        return;
    };
    let end = input[from..].iter().position(|byte| !digit(byte));
    let end = end.map_or(input.len(), |offset| from + offset);
    let number = pick(&NUMBERS, rng).copied().unwrap_or_default();
    input.splice(from..end, number.bytes());
}
