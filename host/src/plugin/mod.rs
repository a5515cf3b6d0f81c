//! Plugins as the engine's stages: the only module that knows wasmtime.
//!
//! | file | what it is |
//! |---|---|
//! | [`runtime`] | the front door: load a plugin, make openers of its kinds, check a config |
//! | `engine` | wasmtime's configuration and the ticker that lets long calls be interrupted |
//! | `compiler` | machine code of a component, made in a process of its own |
//! | `cache` | machine code on disk, so that a component is compiled once |
//! | `exports` | what a component exports: whether it is all there, and where |
//! | `wit` | the contract versions this host offers, one file each: bindings and conversions |
//! | `backtrace` | what the guest was doing when it failed, as text |
//! | `instance` | one sandbox: store, limits, and what a failed call means |
//! | `source`, `transformer`, `sink` | the engine's traits over an instance |
//! | `open` | what a stage has open at the same time: requests, lookups, connections |
//! | `senses` | time and random numbers that repeat, for recordings |
//! | `tape` | every import with its answer, for recordings |
//! | `verify` | what a plugin returned is checked before the engine sees it |
//! | [`host_api`] | what a plugin may import, one file per interface |
//! | [`permission`], [`limits`] | what a stage was granted, how much it may use |

mod backtrace;
mod cache;
mod captured;
mod compiler;
mod engine;
mod error;
mod exports;
pub mod host_api;
mod instance;
pub mod limits;
mod meter;
mod open;
pub mod permission;
pub mod runtime;
mod senses;
mod sink;
mod source;
mod state;
mod tape;
#[cfg(test)]
mod tests;
mod transformer;
mod verify;
mod wit;

pub use compiler::compiles_here;
pub use error::PluginError;
pub use host_api::http_client::{
    HttpBody, HttpError, HttpRequest, HttpResponse, HttpSend, HttpStreamRequest,
    HttpStreamResponse, NoHttp,
};
pub use host_api::metrics::{Metric, MetricValue};
pub use host_api::tables::NoTables;
pub use limits::Limits;
pub use permission::{Denial, DenialWatcher, Grants, Growth, Hints, Need, growth, missing};
pub use runtime::{
    Plugin, Runtime, RuntimeOptions, StageContext, StreamInfo, admit, config_digest,
};
pub use senses::FixedSenses;
pub use tape::{Answered, Asked, Blob, Given, Import, Recording, Tape};
