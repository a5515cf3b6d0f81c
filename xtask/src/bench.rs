//! `bench`: see `tests/bench`.

use clap::Args;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {}

/// Measures.
pub(crate) fn run(_options: &Options) -> Result<(), String> {
    Err("not yet".into())
}
