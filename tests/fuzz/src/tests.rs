//! Every input of the corpus is survived, and the fuzzer finds what there is to find.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{
    corpus,
    fuzzer::{self, Failure, Options},
    mutate,
    targets::{self, Target},
};

fn options(millis: u64) -> Options {
    Options {
        time: Duration::from_millis(millis),
        seed: 1,
        noted: None,
    }
}

#[test]
fn every_target_survives_its_corpus_and_a_moment_of_chance() {
    for target in targets::ALL {
        let corpus = corpus(target).unwrap();
        assert!(!corpus.is_empty(), "{} has no inputs", target.name);
        let outcome = fuzzer::fuzz(target, &corpus, &options(100)).unwrap();
        if let Some((failure, input)) = outcome.failure {
            panic!(
                "{}: {failure}: {:?}",
                target.name,
                String::from_utf8_lossy(&input)
            );
        }
        assert!(outcome.inputs >= corpus.len() as u64);
    }
}

#[test]
fn what_is_wrong_is_found_and_made_short() {
    let broken = Target {
        name: "broken",
        run: |input| assert!(!input.windows(3).any(|three| three == b"bad"), "found it"),
        words: &["bad"],
    };
    let corpus = [b"something that is long and good".to_vec()];
    let outcome = fuzzer::fuzz(&broken, &corpus, &options(20_000)).unwrap();
    let (failure, input) = outcome.failure.unwrap();
    assert!(
        matches!(&failure, Failure::Panicked(text) if text.contains("found it")),
        "{failure}"
    );
    assert_eq!(input, b"bad");
}

#[test]
fn an_input_that_is_slow_once_is_no_finding() {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let slow = Target {
        name: "slow",
        run: |_| {
            if CALLS.fetch_add(1, Ordering::SeqCst) == 0 {
                std::thread::sleep(Duration::from_millis(2100));
            }
        },
        words: &[],
    };
    assert!(fuzzer::run(&slow, b"").is_ok());
    assert_eq!(CALLS.load(Ordering::SeqCst), 3);
}

#[test]
fn changes_stay_within_bounds() {
    let mut rng = fastrand::Rng::with_seed(7);
    let others = [b"other".to_vec(), Vec::new()];
    let mut input = b"x".to_vec();
    for _ in 0..20_000 {
        mutate::change(&mut input, &others, &["word"], &mut rng);
        assert!(input.len() <= mutate::MAX_LENGTH);
    }
}
