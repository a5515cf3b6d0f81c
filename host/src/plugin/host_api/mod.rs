//! What a plugin may import from the contract: one file per interface, one trait implementation each.
//!
//! What can be *used* of it is what the stage was granted; everything else is answered with `denied`, counted and
//! logged.

pub mod http_client;
pub mod metrics;
pub mod tables;

mod clock;
pub(super) mod log;
mod random;

pub(super) use super::wit::since_v0_1::host::crossdock::plugin as contract;

/// The interface of shared types has no functions.
impl contract::plugin_types::Host for super::state::State {}
