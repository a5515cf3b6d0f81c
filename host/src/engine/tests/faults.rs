//! What a run does when stages fail.

use std::sync::{Arc, atomic::Ordering};

use super::memory::{World, first, many, none, on, same};
use crate::engine::{
    dead_letter::Threshold,
    fault::{Fault, FaultKind},
    run::{End, RunError},
    stage::*,
};

fn without(world: &World, gone: &[&str]) -> Vec<String> {
    world
        .input()
        .into_iter()
        .filter(|p| !gone.contains(&p.as_str()))
        .collect()
}

#[tokio::test]
async fn the_one_record_that_kills_is_found_and_its_neighbours_go_on_in_order() {
    // Invariant 5, for every kind of death and every kind of stage.
    for kind in [
        FaultKind::Trap,
        FaultKind::Memory,
        FaultKind::Time,
        FaultKind::Permanent,
        FaultKind::Contract,
    ] {
        for call in ["map.apply", "sink.write"] {
            let world = World {
                trouble: on(call, "537", kind),
                ..World::default()
            };
            let summary = world.run().await.unwrap();
            assert_eq!(
                world.visible("sink"),
                without(&world, &["537"]),
                "{call} {kind}"
            );
            let dead = world.journal.dead.lock().unwrap();
            assert_eq!(dead.len(), 1);
            assert_eq!(
                (&*dead[0].payload, dead[0].fault.as_str()),
                (&b"537"[..], kind.as_str())
            );
            assert_eq!(
                dead[0].stage,
                if call == "map.apply" { "map" } else { "sink" }
            );
            assert_eq!(summary.ledger.total().dead, 1);
            assert!(summary.ledger.balances());
        }
    }
}

#[tokio::test]
async fn a_stateful_stage_that_dies_is_brought_back_with_its_state() {
    for kind in [FaultKind::Trap, FaultKind::Permanent] {
        let world = World {
            stateful: true,
            trouble: on("map.apply", "537", kind),
            ..World::default()
        };
        world.run().await.unwrap();
        let visible = world.visible("sink");
        assert_eq!(visible.len(), 1000, "999 and the total");
        // The numbers have no gap although the record did.
        assert_eq!(
            (visible[536].as_str(), visible[537].as_str()),
            ("537:536", "538:538")
        );
        assert_eq!(visible[999], "total 999");
    }
}

#[tokio::test]
async fn a_stage_that_answers_differently_after_it_was_brought_back_is_found_and_named() {
    // Its snapshot is not its state: going on with it would lose or double records that nobody could name.
    for (stage, call) in [("map", "map.apply"), ("sink", "sink.write")] {
        let forgets = format!("{stage}.forgets");
        let mut world = World {
            stateful: stage == "map",
            trouble: Arc::new(move |c, p| {
                (c == forgets || (c == call && p.iter().any(|p| p == "537")))
                    .then(|| Fault::new(FaultKind::Trap, "537 is bad"))
            }),
            ..World::default()
        };
        let error = world.run().await.unwrap_err().to_string();
        assert!(error.contains(stage), "{error}");
        assert!(error.contains("answers differently"), "{error}");
        // What was committed before stays, and a version that keeps its state goes on from there.
        let committed = world.visible("sink").len();
        assert_eq!(committed, 500);
        world.trouble = none();
        world.run().await.unwrap();
        let visible = world.visible("sink");
        if stage == "map" {
            assert_eq!(visible.last().unwrap(), "total 1000");
        } else {
            same(&visible, &world.input(), "");
        }
    }
}

#[tokio::test]
async fn transient_faults_are_tried_again() {
    for call in [
        "source.read",
        "map.apply",
        "sink.write",
        "sink.commit",
        "source.open",
        "sink.open",
    ] {
        let world = World {
            trouble: first(call, 3, FaultKind::Transient),
            ..World::default()
        };
        let summary = world.run().await.unwrap_or_else(|e| panic!("{call}: {e}"));
        assert_eq!(summary.ledger.total().dead, 0, "{call}");
        same(&world.visible("sink"), &world.input(), call);
    }
}

#[tokio::test]
async fn a_source_that_traps_goes_on_exactly_behind_its_last_batch() {
    let world = World {
        trouble: first("source.read", 3, FaultKind::Trap),
        ..World::default()
    };
    world.run().await.unwrap();
    same(&world.visible("sink"), &world.input(), "");
    assert_eq!(world.opened("source"), 4);
}

#[tokio::test]
async fn an_outage_fails_the_run_and_the_next_one_goes_on() {
    for call in ["source.read", "map.apply", "sink.write", "sink.commit"] {
        let mut world = World {
            trouble: Arc::new(move |c, p| {
                let late = p.is_empty() || p.iter().any(|p| p == "700");
                (c == call && late).then(|| Fault::new(FaultKind::Transient, "down"))
            }),
            ..World::default()
        };
        let error = world.run().await.unwrap_err();
        assert!(
            matches!(&error, RunError::Stage(f) if f.fault.kind == FaultKind::Transient),
            "{error}"
        );
        let acknowledged = world.acknowledged.load(Ordering::SeqCst);
        assert!(
            acknowledged <= world.visible("sink").len() as u64,
            "{call}: nothing is acknowledged too early"
        );
        world.trouble = super::memory::none();
        world.run().await.unwrap();
        same(&world.visible("sink"), &world.input(), call);
    }
}

#[tokio::test]
async fn rejected_records_become_dead_letters_and_transient_ones_are_tried_again() {
    let tries = std::sync::atomic::AtomicU64::new(0);
    let trouble: super::memory::Trouble = Arc::new(move |call, p| {
        if call != "sink.record" {
            return None;
        }
        match p[0].as_str() {
            "3" => Some(Fault::new(FaultKind::Permanent, "three")),
            "5" | "17" if tries.fetch_add(1, Ordering::SeqCst) < 3 => {
                Some(Fault::new(FaultKind::Transient, "later"))
            }
            "8" => Some(Fault::new(FaultKind::Transient, "never")),
            _ => None,
        }
    });
    let world = World {
        trouble,
        ..World::default()
    };
    let summary = world.run().await.unwrap();
    let mut visible = world.visible("sink");
    visible.sort_by_key(|p| p.parse::<u64>().unwrap());
    same(&visible, &without(&world, &["3", "8"]), "");
    let dead = world.journal.dead.lock().unwrap();
    assert_eq!(
        dead.iter().map(|d| d.fault.as_str()).collect::<Vec<_>>(),
        ["permanent", "transient"]
    );
    assert_eq!(summary.ledger.total().written, 998);
    assert_eq!(summary.dead_letters, 2);
}

#[tokio::test]
async fn unreadable_input_is_counted_and_kept() {
    let world = World {
        unreadable_every: 100,
        ..World::default()
    };
    let summary = world.run().await.unwrap();
    let counts = summary.ledger.streams["numbers"];
    assert_eq!((counts.read, counts.dead, counts.written), (1000, 10, 990));
    assert_eq!(world.journal.dead.lock().unwrap().len(), 10);
}

#[tokio::test]
async fn a_record_is_dead_when_one_of_several_sinks_refuses_it() {
    let trouble: super::memory::Trouble = Arc::new(|call, p| {
        let refused =
            (call == "one.record" && p[0] == "1") || (call.ends_with(".record") && p[0] == "2");
        refused.then(|| Fault::new(FaultKind::Permanent, "no"))
    });
    let world = World {
        trouble,
        sinks: [("one", None), ("two", None)].into(),
        ..World::default()
    };
    let summary = world.run().await.unwrap();
    assert_eq!(
        (summary.ledger.total().dead, summary.ledger.total().written),
        (2, 998)
    );
    assert_eq!(summary.dead_letters, 3, "one per sink that refused");
    assert_eq!(world.visible("two").len(), 999);
    assert!(summary.ledger.balances());
}

#[tokio::test]
async fn too_many_dead_letters_stop_the_flow_and_are_kept() {
    let mut world = World {
        unreadable_every: 2,
        ..World::default()
    };
    world.settings.threshold = Threshold {
        max_count: Some(20),
        ..Threshold::default()
    };
    let summary = world.run().await.unwrap();
    assert!(
        matches!(&summary.end, End::TooManyDeadLetters(reason) if reason.contains("max-count: 20"))
    );
    let kept = world.journal.dead.lock().unwrap().len() as u64;
    assert_eq!(kept, summary.dead_letters);
    assert!(kept > 20 && kept < 500);
    assert!(
        !world.output.lock().unwrap()["sink"].finished,
        "the output is not put in place"
    );

    // Also when everything was read before the first record settled.
    let mut small = World {
        records: many(10),
        unreadable_every: 1,
        ..World::default()
    };
    small.settings.threshold = Threshold {
        max_share: Some(0.5),
        ..Threshold::default()
    };
    let summary = small.run().await.unwrap();
    assert!(
        matches!(summary.end, End::TooManyDeadLetters(_)),
        "{:?}",
        summary.end
    );
    assert_eq!(small.journal.dead.lock().unwrap().len(), 10);
}

#[tokio::test]
async fn a_liar_is_contained() {
    let lie = |input: &crate::engine::batch::Batch| Applied {
        output: Output::Select(vec![u32::try_from(input.len()).unwrap()]),
        rejected: vec![],
        filtered: vec![],
    };
    let world = World {
        records: many(20),
        map: Arc::new(lie),
        ..World::default()
    };
    let summary = world.run().await.unwrap();
    assert_eq!(summary.ledger.total().dead, 20);
    assert!(
        world
            .journal
            .dead
            .lock()
            .unwrap()
            .iter()
            .all(|d| d.fault == "contract")
    );
}

#[tokio::test]
async fn config_faults_and_a_full_disk_stop_the_run_and_lose_nothing() {
    let mut world = World {
        trouble: on("sink.write", "500", FaultKind::Config),
        ..World::default()
    };
    assert!(matches!(world.run().await.unwrap_err(), RunError::Stage(f) if f.stage == "sink"));
    assert!(world.journal.dead.lock().unwrap().is_empty());
    world.trouble = super::memory::none();
    *world.journal.fail_after.lock().unwrap() = Some(2);
    assert!(matches!(
        world.run().await.unwrap_err(),
        RunError::Storage(_)
    ));
    *world.journal.fail_after.lock().unwrap() = None;
    world.run().await.unwrap();
    same(&world.visible("sink"), &world.input(), "");
}
