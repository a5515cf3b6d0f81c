//! What a plugin may import: one file per interface of the contract, and one for each part of WASI that is not
//! wasmtime's as it is.
//!
//! What can be *used* of it is what the stage was granted; everything else is answered with `denied`, counted and
//! logged.

pub mod http_client;
pub mod metrics;
pub mod tables;

pub(super) mod clock;
pub(super) mod files;
pub(super) mod handles;
pub(super) mod log;
mod lookup;
pub(super) mod outgoing;
mod paths;
mod random;
pub(super) mod sockets;
pub(super) mod wasi_http;

pub(super) use super::wit::since_v0_1::host::crossdock::plugin as contract;

/// The interface of shared types has no functions.
impl contract::plugin_types::Host for super::state::State {}
