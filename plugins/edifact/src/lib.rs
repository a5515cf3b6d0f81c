//! EDIFACT interchanges as a source: ORDERS, INVOIC, DESADV, PRICAT and others as JSON records.
//!
//! [`source`] (config) → [`layout`] (service segments, messages; [`envelope`], [`signs`]) → [`token`] (segments and their
//! parts) → [`shape`] (what belongs together) → [`record`] (one JSON object, named by [`field`], with [`value`] for numbers
//! and dates and [`charset`] for texts). What EDIFACT has in common with other files is in `file_drop`.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::print_stdout,
        reason = "tests"
    )
)]

mod charset;
mod envelope;
mod field;
mod layout;
mod record;
mod shape;
mod signs;
mod source;
mod token;
mod value;

pub use source::EdifactSource;

crossdock_sdk::export! { manifest: "plugin.json", source: source::EdifactSource }

#[cfg(test)]
mod tests;
