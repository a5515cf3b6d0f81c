//! Killed at any moment, a run leaves what an undisturbed run leaves. `cargo xtask chaos` is the long version.

use crossdock_tests::chaos::{DATABASE, FILES, Scenario};

const SEED: u64 = 20_260_807;

fn few_kills(scenario: &Scenario) {
    let tally = scenario.kill(2_500, 3, SEED, |text| println!("{text}"));
    assert_eq!(tally.kills, 3);
    assert!(tally.runs > 0);
}

#[test]
fn csv_to_files_survives_kills() {
    few_kills(&FILES);
}

#[test]
fn a_state_and_a_database_survive_kills() {
    few_kills(&DATABASE);
}
