//! Time.

use crate::imports;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub fn now_ms() -> u64 {
    imports::now_ms()
}
