//! Files of JSON lines (`.jsonl`, `.ndjson`) as a source and a sink.
//!
//! What they have in common with other files (patterns, encodings, resuming, exactly-once output) is in `file_drop`.
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

mod lines;
mod sink;
mod source;

crossdock_sdk::export! { manifest: "plugin.json", source: source::JsonlSource, sink: sink::JsonlSink }

#[cfg(test)]
mod tests;
