//! Reads a catalogue from the Akeneo PIM REST API.
//!
//! - [`config`]: what to read; [`stream`]: what Akeneo offers and how it is asked
//! - [`source`]: one stream after the other, page by page; [`answer`]: what comes back, by its [`outline`];
//!   [`item`]: one item of it
//! - [`state`]: the snapshot; [`mark`]: what a later run asks for; [`probe`]: `check`

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod answer;
mod config;
mod item;
mod mark;
mod outline;
mod probe;
mod source;
mod state;
mod stream;
#[cfg(test)]
mod tests;

pub use source::AkeneoSource;

crossdock_sdk::export! { manifest: "plugin.json", source: AkeneoSource }
