//! CSV files as a source and a sink.
//!
//! Reading: [`source`] (config) → [`layout`] (preamble, header) → [`scan`] (cells of a row) → [`row`] (one JSON
//! object, with [`value`] for typed columns). Writing: [`sink`] (config, columns) → [`write`](mod@write) (one row).
//! What CSV has in common with other files (patterns, encodings, resuming, exactly-once output) is in `file_drop`.
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

mod dialect;
mod header;
mod layout;
mod row;
mod scan;
mod sink;
mod sniff;
mod source;
mod value;
mod write;

pub use source::CsvSource;

crossdock_sdk::export! { manifest: "plugin.json", source: source::CsvSource, sink: sink::CsvSink }

#[cfg(test)]
mod tests;
