//! Looking at many bytes at once. In a guest every turn of a loop and every call costs a check whether it is to be
//! interrupted; what is here does 16 bytes or more a turn.

use crate::{json::scan, short, utf8};

/// The first byte that is one of these.
///
/// ```
/// # use crossdock_sdk::bytes::find_any;
/// assert_eq!(find_any(b"one; two, three", b",;"), Some(3));
/// assert_eq!(find_any(b"one", b",;"), None);
/// ```
#[inline]
pub fn find_any<const N: usize>(bytes: &[u8], wanted: &[u8; N]) -> Option<usize> {
    scan::find_any(bytes, wanted)
}

/// Appends these bytes: without call or loop up to 64 of them.
///
/// ```
/// # use crossdock_sdk::bytes::append;
/// let mut line = b"sku".to_vec();
/// append(&mut line, b",name");
/// assert_eq!(line, b"sku,name");
/// ```
#[inline]
pub fn append(out: &mut Vec<u8>, bytes: &[u8]) {
    short::append(out, bytes);
}

/// Whether these are the same bytes: without call or loop up to 32 of them.
///
/// ```
/// # use crossdock_sdk::bytes::same;
/// assert!(same(b"sku", b"sku"));
/// ```
#[inline]
pub fn same(one: &[u8], other: &[u8]) -> bool {
    short::same(one, other)
}

/// The text that these bytes are; `None` when they are no UTF-8.
///
/// ```
/// # use crossdock_sdk::bytes::text;
/// assert_eq!(text("Größe".as_bytes()), Some("Größe"));
/// assert_eq!(text(b"Gr\xf6\xdfe"), None);
/// ```
#[inline]
pub fn text(bytes: &[u8]) -> Option<&str> {
    utf8::text(bytes)
}
