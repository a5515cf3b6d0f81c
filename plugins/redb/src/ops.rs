//! Records as they are staged: several in one value, each with its table, key and payload.

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Op<'a> {
    /// The table.
    pub(crate) table: &'a str,
    /// The key.
    pub(crate) key: &'a [u8],
    /// The new value; `None` removes.
    pub(crate) value: Option<&'a [u8]>,
}

/// No value has this length: it marks a delete.
const DELETE: u32 = u32::MAX;

/// Appends an operation. Parts are never longer than a batch, which fits 32 bits.
pub(crate) fn push(into: &mut Vec<u8>, op: Op<'_>) {
    for part in [op.table.as_bytes(), op.key] {
        into.extend_from_slice(&length(part).to_le_bytes());
        into.extend_from_slice(part);
    }
    match op.value {
        None => into.extend_from_slice(&DELETE.to_le_bytes()),
        Some(value) => {
            into.extend_from_slice(&length(value).to_le_bytes());
            into.extend_from_slice(value);
        }
    }
}

fn length(part: &[u8]) -> u32 {
    u32::try_from(part.len()).unwrap_or(DELETE - 1)
}

/// Reads operations in the order in which they were appended. `None` in it: the bytes were damaged.
pub(crate) fn read(mut bytes: &[u8]) -> impl Iterator<Item = Option<Op<'_>>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let op = next(&mut bytes);
        if op.is_none() {
            bytes = &[];
        }
        Some(op)
    })
}

fn next<'a>(bytes: &mut &'a [u8]) -> Option<Op<'a>> {
    let length = word(bytes)?;
    let table = std::str::from_utf8(take(bytes, length)?).ok()?;
    let length = word(bytes)?;
    let key = take(bytes, length)?;
    let value = match word(bytes)? {
        DELETE => None,
        length => Some(take(bytes, length)?),
    };
    Some(Op { table, key, value })
}

fn word(bytes: &mut &[u8]) -> Option<u32> {
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*word))
}

fn take<'a>(bytes: &mut &'a [u8], length: u32) -> Option<&'a [u8]> {
    let (part, rest) = bytes.split_at_checked(length as usize)?;
    *bytes = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = (String, Vec<u8>, Option<Vec<u8>>);

    proptest! {
        #[test]
        fn what_is_staged_reads_back(ops in prop::collection::vec(any::<Owned>(), 0..8)) {
            let mut bytes = Vec::new();
            for (table, key, value) in &ops {
                push(&mut bytes, Op { table, key, value: value.as_deref() });
            }
            let read: Vec<Owned> = read(&bytes)
                .map(Option::unwrap)
                .map(|op| (op.table.to_owned(), op.key.to_vec(), op.value.map(<[u8]>::to_vec)))
                .collect();
            prop_assert_eq!(read, ops);
        }

        #[test]
        fn damage_ends_it_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for op in read(&bytes) {
                let _ = op;
            }
        }
    }
}
