//! A database file as a sink. `README.md` says what it promises; `database.rs` keeps it.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod database;
mod file;
mod ops;
mod sink;

crossdock_sdk::export! { manifest: "plugin.json", sink: sink::RedbSink }

#[cfg(test)]
mod tests;
