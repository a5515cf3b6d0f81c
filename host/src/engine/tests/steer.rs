//! A run is paused, and given dead letters again, while records flow.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    live::{endless, request, run_while, undisturbed},
    memory::{none, on},
};
use crate::engine::{
    fault::{Fault, FaultKind},
    replay::{Replay, Replayed},
    run::{Command, Control, Phase},
    swap::SwapState,
};

#[tokio::test]
async fn a_pause_settles_everything_and_reads_no_more() {
    let world = endless(false);
    let (summary, ()) = run_while(&world, async |live| {
        live.until(|p| p.epoch >= 2).await;
        live.pause.send_replace(true);
        live.until(|p| p.phase == Phase::Paused).await;
        let visible = world.visible("sink").len() as u64;
        let checkpoint = world.journal.checkpoint.lock().unwrap().clone().unwrap();
        assert_eq!(checkpoint.counts["numbers"].written, visible);
        let read = world.progress.borrow().stages[0].records_in;
        assert_eq!(read, visible, "all that was read is visible");
        // A stage can be swapped meanwhile.
        let mut request = request(live.candidate("map", none()));
        request.probation.time = Duration::ZERO;
        assert_eq!(live.swap(request).await.unwrap().state, SwapState::Done);
        assert_eq!(world.progress.borrow().stages[0].records_in, read);
        live.pause.send_replace(false);
        live.until(|p| p.stages[0].records_in > read + 500).await;
        world.stop.cancel();
    })
    .await;
    undisturbed(&world, &summary.unwrap(), "paused");
}

#[tokio::test]
async fn a_run_that_begins_paused_says_so() {
    let world = endless(false);
    let (commands, receiver) = mpsc::channel(4);
    let (_pause, paused) = watch::channel(true);
    let control = Control {
        stop: world.stop.clone(),
        pause: paused,
        commands: receiver,
        progress: world.progress.clone(),
    };
    let mut progress = world.progress.subscribe();
    let looking = async {
        let said = progress.wait_for(|p| p.phase == Phase::Paused);
        let said = tokio::time::timeout(Duration::from_secs(20), said).await;
        world.stop.cancel();
        said.is_ok_and(|said| said.is_ok())
    };
    let (summary, said) = tokio::join!(world.run_with(control), looking);
    drop(commands);
    assert!(said, "it never said that it is paused");
    assert_eq!(summary.unwrap().records, 0);
}

#[tokio::test]
async fn dead_letters_of_another_flow_or_stage_are_refused() {
    let mut world = endless(false);
    world.trouble = on("map.apply", "11", FaultKind::Permanent);
    let (summary, answers) = run_while(&world, async |live| {
        live.until(|p| p.epoch >= 3).await;
        let own = world.journal.dead.lock().unwrap()[0].clone();
        let foreign = crate::storage::DeadLetter {
            flow: "other".into(),
            ..own.clone()
        };
        let gone = crate::storage::DeadLetter {
            stage: "gone".into(),
            ..own
        };
        let mut answers = Vec::new();
        for letter in [foreign, gone] {
            let (answer, answered) = oneshot::channel();
            let letters = vec![letter];
            let replay = Command::Replay(Replay { letters, answer });
            live.commands.send(replay).await.ok().unwrap();
            answers.push(answered.await.unwrap().unwrap_err());
        }
        world.stop.cancel();
        answers
    })
    .await;
    assert!(answers[0].contains("of flow `other`"), "{answers:?}");
    assert!(answers[1].contains("stage `gone`"), "{answers:?}");
    assert_eq!(summary.unwrap().ledger.total().replayed, 0);
}

#[tokio::test]
async fn dead_letters_are_given_again_from_their_stage() {
    let mended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let mut world = endless(false);
    world.trouble = Arc::new(move |call, payloads| {
        let at = call == "map.apply" || call == "sink.record";
        let bad = at
            && !is_mended.load(std::sync::atomic::Ordering::SeqCst)
            && payloads.iter().any(|p| {
                (call == "map.apply" && p == "11") || (call == "sink.record" && p == "22")
            });
        bad.then(|| Fault::new(FaultKind::Permanent, "for now"))
    });
    let (summary, replayed) = run_while(&world, async |live| {
        live.until(|p| p.epoch >= 3).await;
        mended.store(true, std::sync::atomic::Ordering::SeqCst);
        let letters = world.journal.dead.lock().unwrap().clone();
        assert_eq!(letters.len(), 2);
        let (answer, answered) = oneshot::channel();
        let replay = Command::Replay(Replay { letters, answer });
        live.commands.send(replay).await.ok().unwrap();
        let replayed = answered.await.unwrap().unwrap();
        world.stop.cancel();
        replayed
    })
    .await;
    assert_eq!(
        replayed,
        Replayed {
            records: 2,
            dead_letters: 0
        }
    );
    let summary = summary.unwrap();
    let total = summary.ledger.total();
    assert!(summary.ledger.balances(), "{total:?}");
    assert_eq!((total.replayed, total.dead), (2, 2));
    let visible = world.visible("sink");
    assert_eq!(visible.len() as u64, total.read);
    for again in ["11", "22"] {
        assert_eq!(visible.iter().filter(|v| *v == again).count(), 1, "{again}");
    }
    let removed = world.journal.removed.lock().unwrap().len();
    assert_eq!(removed, 2, "they are gone with the same commit");
}
