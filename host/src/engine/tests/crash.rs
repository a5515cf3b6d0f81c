//! The run dies at any moment and goes on as if it had not.

use super::memory::{World, first, many, same};
use crate::engine::fault::FaultKind;

/// Polls the run a number of times, then drops it where it is, as a kill does, until one run ends by itself.
async fn run_with_crashes(world: &World, random: &mut fastrand::Rng) -> u32 {
    for crashes in 0.. {
        let polls = random.u32(1..150);
        let mut run = Box::pin(world.run());
        let mut ended = None;
        for _ in 0..polls {
            tokio::select! {
                biased;
                end = &mut run => { ended = Some(end); break; }
                () = tokio::task::yield_now() => {}
            }
        }
        if let Some(end) = ended {
            end.unwrap();
            return crashes;
        }
    }
    unreachable!("the loop has no end")
}

#[tokio::test]
async fn the_output_is_that_of_an_undisturbed_run() {
    // Invariants 1 and 2: output, counts, dead letters and table writes, whatever the moment of the crash.
    let mut total = 0;
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let world = |trouble| World {
            stateful: seed % 2 == 0,
            unreadable_every: 50,
            records: many(400),
            trouble,
            ..World::default()
        };
        let undisturbed = world(super::memory::none());
        undisturbed.run().await.unwrap();
        let trouble = if seed % 3 == 0 {
            first("map.apply", 2, FaultKind::Trap)
        } else {
            super::memory::none()
        };
        let mut crashed = world(trouble);
        crashed.settings.checkpoint_records = random.u64(1..60);
        total += run_with_crashes(&crashed, &mut random).await;
        same(
            &crashed.visible("sink"),
            &undisturbed.visible("sink"),
            &format!("seed {seed}"),
        );
        let counts = |w: &World| {
            w.journal
                .checkpoint
                .lock()
                .unwrap()
                .as_ref()
                .unwrap()
                .counts
                .clone()
        };
        assert_eq!(counts(&crashed), counts(&undisturbed), "seed {seed}");
        let dead = |w: &World| {
            w.journal
                .dead
                .lock()
                .unwrap()
                .iter()
                .map(|d| d.payload.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(dead(&crashed), dead(&undisturbed), "seed {seed}");
        let tables = |w: &World| {
            let tables = w.journal.tables.lock().unwrap();
            tables
                .iter()
                .filter(|((t, _), _)| t == "seen")
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(tables(&crashed), tables(&undisturbed), "seed {seed}");
    }
    assert!(total > 100, "the runs crashed {total} times");
}
