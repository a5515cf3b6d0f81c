//! `chaos`: the long version of the tests `chaos` and `storm`.

use std::process::Command;

use clap::Args;

use crate::{Built, build, execute, guests, workspace};

/// How long and how hard.
#[derive(Args)]
pub(crate) struct Options {
    /// Kills, over all flows.
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// Swaps of random stages under load, among good and bad versions, after the kills.
    #[arg(long, default_value_t = 0)]
    swaps: u32,
    /// Records of a run.
    #[arg(long, default_value_t = 20_000)]
    records: u32,
    /// Another seed gives other moments. By default the time gives one, and it is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Kills the host as it is shipped.
    #[arg(long)]
    release: bool,
}

/// Builds everything, kills runs and swaps stages.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let root = workspace();
    guests::build(&root, &[("tests/plugins", "test-plugins")])?;
    let Built { crossdock, .. } = build(options.release)?;
    let chaos = crossdock.with_file_name("chaos");
    let mut command = Command::new(chaos);
    command
        .current_dir(&root)
        .env("CROSSDOCK_BIN", &crossdock)
        .args(["--kills", &options.kills.to_string()])
        .args(["--swaps", &options.swaps.to_string()])
        .args(["--records", &options.records.to_string()]);
    if let Some(seed) = options.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    execute(&mut command)
}
