//! Kills runs of crossdock at random moments and checks that nobody can tell afterwards. `cargo xtask chaos` starts it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use crossdock_tests::chaos::SCENARIOS;

/// Kills runs of crossdock at random moments and checks that nobody can tell afterwards.
#[derive(Parser)]
struct Arguments {
    /// Kills, over all scenarios
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// Records of a run
    #[arg(long, default_value_t = 20_000)]
    records: u32,
    /// Another seed gives other moments; by default the time gives one, and it is printed
    #[arg(long)]
    seed: Option<u64>,
}

#[allow(clippy::print_stdout, reason = "this is a command line tool")]
fn main() {
    let arguments = Arguments::parse();
    let started = Instant::now();
    let seed = arguments.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |now| now.as_secs())
    });
    let each = arguments
        .kills
        .div_ceil(u32::try_from(SCENARIOS.len()).unwrap_or(1));
    let (mut kills, mut runs) = (0, 0);
    for scenario in SCENARIOS {
        let tally = scenario.kill(arguments.records, each, seed, |text| println!("{text}"));
        kills += tally.kills;
        runs += tally.runs;
    }
    println!(
        "{kills} kills over {runs} runs with seed {seed}: every output is that of an undisturbed run ({:.0} s)",
        started.elapsed().as_secs_f64()
    );
}
