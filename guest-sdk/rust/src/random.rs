//! Random numbers.

use crate::imports;

/// One uniformly distributed number, from the operating system.
pub fn u64() -> u64 {
    imports::next_u64()
}
