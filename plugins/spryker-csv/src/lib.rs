//! Writes the Spryker import CSV set and its import YAML.
//!
//! - [`config`]; [`sheet`]: the files and their columns; [`attribute`]: the two files of attributes
//! - [`row`]: one record becomes a row; [`cell`]: one value becomes a cell
//! - [`spool`]: rows until the end of the run; [`survivor`]: the last row of each key; [`category`]: their order
//! - [`publish`]: finished files; [`import`]: the import YAML; [`sink`]: the life of an instance

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod attribute;
mod category;
mod cell;
mod config;
mod import;
mod publish;
mod row;
mod sheet;
mod sink;
mod spool;
mod survivor;
#[cfg(test)]
mod tests;

pub use sink::SprykerSink;

// The arena: a row is many short texts, of which nothing stays but its bytes in a buffer.
crossdock_sdk::export! { manifest: "plugin.json", sink: SprykerSink, allocator: arena }
