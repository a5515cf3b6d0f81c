//! What the tests and the demo share.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

pub mod akeneo;
pub mod catalogue;
pub mod chaos;
pub mod daemon;
pub mod gate;
pub mod host;
pub mod hostile_registry;
pub mod languages;
pub mod lookup_server;
pub mod mount;
pub mod names;
pub mod registry;
pub mod storm;
pub mod trap_server;
pub mod variant;
