//! What a healthy run does.

use std::{sync::Arc, time::Duration};

use super::memory::{World, many, payloads, same};
use crate::engine::{
    batch::{Batch, NO_ORIGIN},
    overlay::Overlay,
    run::{End, Phase},
    stage::*,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_transformers_keep_the_order() {
    // Invariant 3: the mapper yields at random, four instances at the same time.
    let world = World {
        records: many(5000),
        ..World::default()
    };
    let summary = world.run().await.unwrap();
    assert_eq!(summary.end, End::Finished);
    same(&world.visible("sink"), &world.input(), "");
    assert_eq!(summary.ledger.total().written, 5000);
    assert!(summary.ledger.balances());
    assert!(summary.epochs >= 50);
    assert_eq!(
        world.acknowledged.load(std::sync::atomic::Ordering::SeqCst),
        5000
    );
    assert!(world.output.lock().unwrap()["sink"].finished);
    assert_eq!(world.progress.borrow().phase, Phase::Done);
    assert_eq!(world.progress.borrow().stages[2].records_in, 5000);
}

#[tokio::test]
async fn a_stateful_transformer_sees_batches_in_order_and_gives_what_it_held() {
    let world = World {
        stateful: true,
        ..World::default()
    };
    let summary = world.run().await.unwrap();
    let mut expected: Vec<String> = (0..1000).map(|n| format!("{}:{n}", n + 1)).collect();
    expected.push("total 1000".into());
    same(&world.visible("sink"), &expected, "");
    let streams = &summary.ledger.streams;
    assert_eq!(
        (
            streams["numbers"].read,
            streams["numbered"].written,
            streams["numbered"].expanded
        ),
        (1000, 1001, 1)
    );
}

#[tokio::test]
async fn filtered_split_and_routed_records_are_counted() {
    // Every 4 records: one filtered, one selected away, one doubled into another stream, one kept.
    let map = |input: &Batch| {
        let names = payloads(input);
        let mut kept = crate::engine::batch::Builder::new("numbers", input.form());
        let mut other = crate::engine::batch::Builder::new("other", input.form());
        for (at, record) in (0_u32..).zip(input.records()) {
            let n: u64 = names[at as usize].parse().unwrap();
            let flags = at << 8;
            match n % 4 {
                0 => {}
                1 => {
                    other.push(crate::engine::batch::Record { flags, ..record });
                    other.push(crate::engine::batch::Record { flags, ..record });
                }
                2 => other.push(crate::engine::batch::Record {
                    flags: NO_ORIGIN << 8,
                    ..record
                }),
                _ => kept.push(crate::engine::batch::Record { flags, ..record }),
            }
        }
        Applied {
            output: Output::Replace(vec![kept.build(), other.build()]),
            rejected: vec![],
            filtered: vec![Tally {
                reason: "every fourth".into(),
                count: 2,
            }],
        }
    };
    let world = World {
        map: Arc::new(map),
        sinks: [("sink", Some(["numbers".to_owned()].into())), ("two", None)].into(),
        ..World::default()
    };
    let summary = world.run().await.unwrap();
    let total = summary.ledger.total();
    assert!(summary.ledger.balances());
    // Read 1000; 250 filtered, 250 became two, 250 vanished and appeared from nowhere, 250 kept.
    assert_eq!(
        (total.read, total.filtered, total.expanded, total.written),
        (1000, 500, 500, 1000)
    );
    assert_eq!(world.visible("sink").len(), 250);
    assert_eq!(world.visible("two").len(), 1000);
    assert_eq!(summary.ledger.filtered["map"]["every fourth"], 200);
}

#[tokio::test]
async fn a_stream_that_no_sink_takes_is_filtered_with_a_reason() {
    let world = World {
        sinks: [("sink", Some(["other".to_owned()].into()))].into(),
        ..World::default()
    };
    let summary = world.run().await.unwrap();
    assert_eq!(
        summary.ledger.filtered["sinks"]["no sink takes stream `numbers`"],
        1000
    );
    assert!(summary.ledger.balances());
}

#[tokio::test]
async fn a_finished_flow_goes_on_with_what_is_new() {
    let mut world = World::default();
    world.run().await.unwrap();
    world.records = many(1500);
    let summary = world.run().await.unwrap();
    assert!(summary.resumed);
    assert_eq!(
        summary.ledger.total().read,
        500,
        "a new run with counts of its own"
    );
    same(&world.visible("sink"), &world.input(), "");
}

#[tokio::test]
async fn stop_drains_and_the_next_run_goes_on() {
    let mut world = World {
        endless: Arc::new(true.into()),
        records: many(777),
        ..World::default()
    };
    let mut progress = world.progress.subscribe();
    let stop = world.stop.clone();
    let (summary, ()) = tokio::join!(world.run(), async move {
        progress
            .wait_for(|p| p.phase == Phase::Waiting)
            .await
            .unwrap();
        stop.cancel();
    });
    let summary = summary.unwrap();
    assert_eq!(summary.end, End::Stopped);
    same(&world.visible("sink"), &world.input(), "");
    world.stop = tokio_util::sync::CancellationToken::new();
    world.endless = Arc::default();
    world.records = many(1000);
    let again = world.run().await.unwrap();
    assert_eq!(again.run, summary.run, "the run goes on");
    assert_eq!(again.ledger.total().read, 1000);
    assert_eq!(again.records, 223);
    same(&world.visible("sink"), &world.input(), "");
}

#[tokio::test]
async fn a_flow_without_end_checkpoints_by_time() {
    let mut world = World {
        endless: Arc::new(true.into()),
        records: many(5),
        ..World::default()
    };
    world.settings.checkpoint_every = Duration::from_millis(1);
    let mut progress = world.progress.subscribe();
    let stop = world.stop.clone();
    let (summary, ()) = tokio::join!(world.run(), async move {
        progress.wait_for(|p| p.epoch >= 1).await.unwrap();
        stop.cancel();
    });
    assert_eq!(summary.unwrap().end, End::Stopped);
    assert_eq!(world.visible("sink").len(), 5);
}

#[tokio::test]
async fn what_is_in_flight_is_bounded() {
    // Invariant 6: the sink is stuck in its first write, so the source may run ahead by the bound and no further.
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let mut world = World {
        records: many(10_000),
        ..World::default()
    };
    world.settings.in_flight_batches = 5;
    world.settings.checkpoint_records = u64::MAX;
    let held = Arc::clone(&gate);
    let reads = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&reads);
    world.trouble = Arc::new(move |call, _| {
        let is_read = u64::from(call == "source.read");
        counted.fetch_add(is_read, std::sync::atomic::Ordering::SeqCst);
        (call == "sink.write" && held.available_permits() == 0).then(|| {
            let mut fault = crate::engine::fault::Fault::new(
                crate::engine::fault::FaultKind::Transient,
                "stuck",
            );
            fault.retry_after = Some(Duration::from_millis(1));
            fault
        })
    });
    world.settings.retry.attempts = u32::MAX;
    let run = world.run();
    tokio::pin!(run);
    for _ in 0..500 {
        tokio::select! {
            _ = &mut run => panic!("the sink is stuck"),
            () = tokio::task::yield_now() => {}
        }
    }
    let most = reads.load(std::sync::atomic::Ordering::SeqCst);
    assert!((1..=6).contains(&most), "read {most} batches");
    gate.add_permits(1);
    assert_eq!(run.await.unwrap().ledger.total().written, 10_000);
}

#[tokio::test]
async fn tables_are_written_with_the_checkpoint_and_read_before_it() {
    let world = World::default();
    world.run().await.unwrap();
    let tables = world.journal.tables.lock().unwrap();
    assert_eq!(
        tables.iter().filter(|((t, _), _)| t == "seen").count(),
        1000
    );
    assert_eq!(
        tables.iter().filter(|((t, _), _)| t == "receipts").count(),
        100,
        "one receipt per batch"
    );
}

#[test]
fn the_overlay_lies_over_the_store() {
    let journal = Arc::new(super::memory::MemoryJournal::default());
    for key in ["a", "b", "c", "d"] {
        journal
            .tables
            .lock()
            .unwrap()
            .insert(("t".into(), key.into()), b"1".to_vec());
    }
    let overlay = Overlay::new(journal);
    let write = |key: &str, value: Option<&str>| TableWrite {
        table: "t".into(),
        key: key.into(),
        value: value.map(Into::into),
    };
    overlay.add(1, &[write("b", None), write("bb", Some("2"))]);
    overlay.add(2, &[write("c", Some("3"))]);
    let keys = |found: Vec<(String, Vec<u8>)>| {
        found
            .into_iter()
            .map(|(k, _)| k)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(keys(overlay.find("t", "", "", 10).unwrap()), "a bb c d");
    assert_eq!(keys(overlay.find("t", "", "a", 2).unwrap()), "bb c");
    assert_eq!(keys(overlay.find("t", "b", "", 10).unwrap()), "bb");
    assert_eq!(
        overlay.get_many("t", &["c", "b", "a", "x"]).unwrap(),
        [Some(b"3".to_vec()), None, Some(b"1".to_vec()), None]
    );
    overlay.durable(1);
    assert_eq!(
        overlay.get_many("t", &["b", "c"]).unwrap(),
        [Some(b"1".to_vec()), Some(b"3".to_vec())]
    );
}

#[tokio::test]
async fn worn_instances_are_replaced() {
    for stateful in [false, true] {
        let mut world = World {
            stateful,
            ..World::default()
        };
        world.recycle.records = 50;
        world.run().await.unwrap();
        assert_eq!(
            world.visible("sink").len(),
            if stateful { 1001 } else { 1000 }
        );
        for stage in ["source", "map", "sink"] {
            assert!(
                world.opened(stage) > 4,
                "{stage} was opened {} times",
                world.opened(stage)
            );
        }
    }
}

#[tokio::test]
async fn another_plugin_does_not_get_a_foreign_snapshot() {
    let world = World::default();
    world.run().await.unwrap();
    if let Some(checkpoint) = world.journal.checkpoint.lock().unwrap().as_mut() {
        checkpoint.stages.get_mut("sink").unwrap().plugin = "other".into();
    }
    let error = world.run().await.unwrap_err().to_string();
    assert!(
        error.contains("plugin `other`") && error.contains("--from-start"),
        "{error}"
    );
}
