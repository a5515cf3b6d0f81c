//! Kills runs of crossdock at random moments, swaps random stages of a flow among good and bad versions, and checks that
//! nobody can tell afterwards. `cargo xtask chaos` starts it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use crossdock_tests::{chaos::SCENARIOS, storm};

/// Kills runs and swaps stages at random moments and checks that nobody can tell afterwards.
#[derive(Parser)]
struct Arguments {
    /// Kills, over all scenarios
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// Swaps of random stages under load, after the kills
    #[arg(long, default_value_t = 0)]
    swaps: u32,
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
    if arguments.kills > 0 {
        kill(&arguments, seed);
    }
    if arguments.swaps > 0 {
        swap(arguments.swaps, seed);
    }
    println!(
        "with seed {seed}: every output is that of an undisturbed run ({:.0} s)",
        started.elapsed().as_secs_f64()
    );
}

#[allow(clippy::print_stdout, reason = "this is a command line tool")]
fn kill(arguments: &Arguments, seed: u64) {
    let each = arguments
        .kills
        .div_ceil(u32::try_from(SCENARIOS.len()).unwrap_or(1));
    let (mut kills, mut runs) = (0, 0);
    for scenario in SCENARIOS {
        let tally = scenario.kill(arguments.records, each, seed, |text| println!("{text}"));
        kills += tally.kills;
        runs += tally.runs;
    }
    println!("{kills} kills over {runs} runs");
}

#[allow(clippy::print_stdout, reason = "this is a command line tool")]
fn swap(swaps: u32, seed: u64) {
    let storm::Tally {
        ended,
        pauses,
        records,
    } = storm::storm(swaps, seed, |text| println!("{text}"));
    let ended: Vec<_> = ended
        .iter()
        .map(|(how, count)| format!("{count} {how}"))
        .collect();
    println!(
        "{swaps} swaps ({}) while {records} records went through: none lost, none doubled, in order",
        ended.join(", ")
    );
    for (stage, mut pauses) in pauses {
        pauses.sort_unstable();
        let at = |share: usize| pauses[(pauses.len() - 1) * share / 100];
        println!(
            "  pause of {stage}: p50 {} us, p99 {} us, over {} swaps",
            at(50),
            at(99),
            pauses.len()
        );
    }
}
