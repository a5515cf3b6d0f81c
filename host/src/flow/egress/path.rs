//! Paths that every server reads in the same way.

/// How often a path is decoded to find dots in it: servers behind servers decode more than once.
const MAX_DECODING: usize = 4;

/// Whether a path has no dot segments, however often it is decoded.
pub fn is_plain(path: &str) -> bool {
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..MAX_DECODING {
        // Some servers take `..;x` for `..`.
        let has_dots = bytes
            .split(|byte| matches!(byte, b'/' | b'\\'))
            .any(|part| matches!(part.split(|byte| *byte == b';').next(), Some(b"." | b"..")));
        if has_dots {
            return false;
        }
        let decoded = decode(&bytes);
        if decoded == bytes {
            return true;
        }
        bytes = decoded;
    }
    // Encoded more often than anything sane is.
    false
}

/// Decodes `%2e` and the like once.
pub fn decode(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%'
            && let (Some(high), Some(low)) = (digit(bytes.get(at + 1)), digit(bytes.get(at + 2)))
            && let Ok(value) = u8::try_from(high * 16 + low)
        {
            decoded.push(value);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    decoded
}
