//! What crossdock promises, through its public command line: one file per promise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod layering;
mod main_job;
mod resume;
