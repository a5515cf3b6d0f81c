//! Folders of files as sources and sinks: what the file connectors of crossdock share.
//!
//! - [`find`]: which files the patterns of a config name
//! - [`text`], [`window`]: any file (gzip, code pages, byte order marks) as a sliding window of UTF-8
//! - [`settings`], [`source`]: the records of many files in order, resumable behind every record
//! - [`layout`]: how a connector takes a record from text
//! - [`output`]: files that appear whole or not at all, exactly once
//!
//! A connector adds the layout of its format: how a record is taken from text, how it is written.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod commit;
pub mod error;
pub mod find;
pub mod layout;
pub mod output;
mod page;
mod progress;
mod segment;
pub mod settings;
pub mod source;
pub mod text;
pub mod window;

pub use error::DropError;
