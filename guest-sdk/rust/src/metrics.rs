//! Numbers for dashboards. Names are `[a-z0-9_]`, up to 64 bytes; the host adds flow, stage and plugin as labels.

use crate::imports;

/// Adds to a counter.
pub fn count(name: &str, delta: u64) {
    imports::count(name, delta);
}

/// Sets a gauge.
pub fn gauge(name: &str, value: f64) {
    imports::gauge(name, value);
}
