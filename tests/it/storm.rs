//! A storm of swaps of real components in a real daemon. `cargo xtask chaos --swaps N` is the long version.

use crossdock_tests::storm::storm;

#[test]
fn a_storm_of_swaps_cannot_be_told_from_the_output() {
    let tally = storm(24, 20_261_127, |text| println!("{text}"));
    println!("{tally:?}");
    for ended in ["done", "refused", "rolled-back"] {
        assert!(tally.ended.get(ended).is_some_and(|n| *n > 3), "{tally:?}");
    }
    assert!(tally.records > 10_000, "{tally:?}");
}
