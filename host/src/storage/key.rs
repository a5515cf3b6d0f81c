//! The keys of the one tree: a tag, then names with their length in front, then numbers big-endian, so that what belongs
//! together lies together and sorts as people expect.

/// What kind of entry it is: the first byte of a key.
const META: u8 = b'm';
const CHECKPOINT: u8 = b'c';
const DEAD_LETTER: u8 = b'd';
const DEAD_LETTER_BY_FLOW: u8 = b'f';
const TABLE: u8 = b't';
const BLOB_USE: u8 = b'b';
const GRANTED: u8 = b'g';

/// The format of the whole store, a big-endian `u32`.
pub(super) const STORE_FORMAT: &[u8] = b"mformat";
/// The last dead-letter id given, a big-endian `u64`.
pub(super) const LAST_DEAD_LETTER: &[u8] = b"mdead-letter";
/// How many batches were applied, a big-endian `u64`.
pub(super) const SEQUENCE: &[u8] = b"msequence";

const _: () =
    assert!(STORE_FORMAT[0] == META && LAST_DEAD_LETTER[0] == META && SEQUENCE[0] == META);

fn named(tag: u8, name: &str, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + 8 + name.len() + rest.len());
    key.push(tag);
    key.extend_from_slice(&(name.len() as u64).to_be_bytes());
    key.extend_from_slice(name.as_bytes());
    key.extend_from_slice(rest);
    key
}

/// The name inside a key that starts with tag and name.
fn name_in(key: &[u8]) -> Option<&str> {
    let length = u64::from_be_bytes(key.get(1..9)?.try_into().ok()?);
    let end = usize::try_from(length).ok()?.checked_add(9)?;
    std::str::from_utf8(key.get(9..end)?).ok()
}

pub(super) fn checkpoint(flow: &str) -> Vec<u8> {
    named(CHECKPOINT, flow, &[])
}

pub(super) fn checkpoints() -> Vec<u8> {
    vec![CHECKPOINT]
}

pub(super) fn flow_of_checkpoint(key: &[u8]) -> Option<&str> {
    name_in(key)
}

pub(super) fn granted(flow: &str) -> Vec<u8> {
    named(GRANTED, flow, &[])
}

pub(super) fn dead_letter(id: u64) -> Vec<u8> {
    let mut key = vec![DEAD_LETTER];
    key.extend_from_slice(&id.to_be_bytes());
    key
}

pub(super) fn dead_letters() -> Vec<u8> {
    vec![DEAD_LETTER]
}

pub(super) fn dead_letter_of_flow(flow: &str, id: u64) -> Vec<u8> {
    named(DEAD_LETTER_BY_FLOW, flow, &id.to_be_bytes())
}

pub(super) fn dead_letters_of_flow(flow: &str) -> Vec<u8> {
    named(DEAD_LETTER_BY_FLOW, flow, &[])
}

pub(super) fn dead_letters_by_flow() -> Vec<u8> {
    vec![DEAD_LETTER_BY_FLOW]
}

pub(super) fn flow_of_dead_letter(key: &[u8]) -> Option<&str> {
    name_in(key)
}

/// What is stored under [`dead_letter_of_flow`], so that retention need not read the dead letter: when it was made and
/// its weight.
pub(super) fn dead_letter_note(at_ms: u64, weight: u64) -> Vec<u8> {
    [at_ms.to_be_bytes(), weight.to_be_bytes()].concat()
}

/// When a dead letter was made, and its weight, from what [`dead_letter_note`] made.
pub(super) fn note_of_dead_letter(note: &[u8]) -> Option<(u64, u64)> {
    let (at_ms, weight) = note.split_first_chunk::<8>()?;
    let weight = <[u8; 8]>::try_from(weight).ok()?;
    Some((u64::from_be_bytes(*at_ms), u64::from_be_bytes(weight)))
}

/// The number that ends a key.
pub(super) fn id_in(key: &[u8]) -> Option<u64> {
    let at = key.len().checked_sub(8)?;
    Some(u64::from_be_bytes(key.get(at..)?.try_into().ok()?))
}

pub(super) fn table(table: &str, key: &str) -> Vec<u8> {
    named(TABLE, table, key.as_bytes())
}

/// A key of a table without what [`table`] put before it.
pub(super) fn key_in_table<'a>(table: &str, key: &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(key.get(9 + table.len()..)?).ok()
}

/// Says that `owner`'s value is in a blob.
pub(super) fn blob_use(hash: &[u8; 32], owner: &[u8]) -> Vec<u8> {
    let mut key = blob_uses(hash);
    key.extend_from_slice(owner);
    key
}

pub(super) fn blob_uses(hash: &[u8; 32]) -> Vec<u8> {
    let mut key = vec![BLOB_USE];
    key.extend_from_slice(hash);
    key
}
