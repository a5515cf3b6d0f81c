//! Keeps the contract but for the one promise that its config names: each lie has to fail the check that is about it, and
//! the honest one none.

mod sink;
mod source;
mod transformer;

use crossdock_sdk::prelude::*;

crossdock_sdk::export! {
    manifest: "plugin.json",
    source: source::Liar,
    transformer: transformer::Liar,
    sink: sink::Liar,
}

/// A snapshot that is a number.
fn number(snapshot: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(snapshot).ok();
    let number = text.and_then(|text| text.parse().ok());
    number.ok_or_else(|| Fault::config("this is no snapshot of `liar`"))
}
