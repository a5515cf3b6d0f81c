//! Makes records up: for trying flows and for measuring them.
//!
//! Record `n` follows from the seed and `n` alone, so a snapshot is just the number of the next record, and two runs
//! with the same config give the same bytes.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod field;
mod source;

crossdock_sdk::export! { manifest: "plugin.json", source: source::GenerateSource }

#[cfg(test)]
mod tests;
