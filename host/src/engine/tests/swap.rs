//! Another version takes over while records flow, and nobody can tell from the output.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::memory::{Trouble, World, first, many, none, on, same};
use crate::engine::{
    batch::Batch,
    fault::{Fault, FaultKind},
    replay::{Replay, Replayed},
    run::{Command, Control, End, Phase, RunError, Summary},
    shadow::ShadowReport,
    stage::{Applied, Output},
    swap::{Candidate, Probation, ShadowPlan, SwapRequest, SwapState, SwapStatus},
};

/// A run with somebody who can ask it for something.
struct Live<'a> {
    world: &'a World,
    commands: mpsc::Sender<Command>,
    pause: watch::Sender<bool>,
}

impl Live<'_> {
    async fn ask(&self, request: SwapRequest) {
        let _ = self.commands.send(Command::Swap(Box::new(request))).await;
    }

    /// Asks for a swap and waits for its end. `None`: the run was over before the switch.
    async fn swap(&self, request: SwapRequest) -> Option<SwapStatus> {
        let mut status = request.status.subscribe();
        self.ask(request).await;
        loop {
            if status.borrow_and_update().state.is_final() {
                return Some(status.borrow().clone());
            }
            if status.changed().await.is_err() {
                let last = status.borrow().clone();
                return last.state.is_final().then_some(last);
            }
        }
    }

    async fn swap_to(&self, candidate: Candidate) -> SwapStatus {
        self.swap(request(candidate))
            .await
            .expect("the run goes on")
    }

    async fn until(&self, condition: impl Fn(&crate::engine::run::Progress) -> bool) {
        let mut progress = self.world.progress.subscribe();
        let _ = progress.wait_for(|p| condition(p)).await;
    }

    fn candidate(&self, stage: &'static str, trouble: Trouble) -> Candidate {
        let version = self.world.version(stage, "2", trouble);
        match stage {
            "source" => Candidate::Source(version),
            "map" => Candidate::Transformer(version),
            _ => Candidate::Sink(version),
        }
    }
}

fn request(candidate: Candidate) -> SwapRequest {
    SwapRequest {
        stage: candidate.identity().plugin.as_str().into(),
        candidate,
        shadow: None,
        probation: Probation {
            time: Duration::from_millis(2),
            max_fault_share: 0.0,
        },
        open_time: Duration::from_secs(5),
        rewindable: true,
        cancel: CancellationToken::new(),
        status: watch::Sender::default(),
    }
}

/// Runs a world while somebody does something to it.
async fn run_while<T>(
    world: &World,
    doing: impl AsyncFnOnce(&Live<'_>) -> T,
) -> (Result<Summary, RunError>, T) {
    let (commands, receiver) = mpsc::channel(4);
    let (pause, paused) = watch::channel(false);
    let control = Control {
        stop: world.stop.clone(),
        pause: paused,
        commands: receiver,
        progress: world.progress.clone(),
    };
    let live = Live {
        world,
        commands,
        pause,
    };
    tokio::join!(world.run_with(control), doing(&live))
}

/// Records flow for as long as somebody does something; then the input ends.
fn endless(stateful: bool) -> World {
    World {
        records: many(1 << 40),
        stateful,
        settings: crate::engine::run::Settings {
            checkpoint_records: 50,
            ..World::default().settings
        },
        ..World::default()
    }
}

/// Whatever happened: the output is that of a run in which nothing happened, as far as it got.
fn undisturbed(world: &World, summary: &Summary, context: &str) {
    let visible = world.visible("sink");
    let expected: Vec<String> = (0..visible.len())
        .map(|n| {
            if world.stateful {
                format!("{}:{n}", n + 1)
            } else {
                n.to_string()
            }
        })
        .collect();
    same(&visible, &expected, context);
    let total = summary.ledger.total();
    assert!(summary.ledger.balances(), "{context}: {total:?}");
    assert_eq!(total.written, visible.len() as u64, "{context}");
    assert_eq!(total.read, visible.len() as u64, "{context}");
    assert_eq!(total.dead, 0, "{context}");
    assert_eq!(summary.records, total.read, "{context}");
}

const STAGES: [(&str, bool); 4] = [
    ("source", false),
    ("map", false),
    ("map", true),
    ("sink", false),
];

#[tokio::test]
async fn every_kind_of_stage_is_swapped_while_records_flow() {
    for (stage, stateful) in STAGES {
        let world = endless(stateful);
        let (summary, status) = run_while(&world, async |live| {
            live.until(|p| p.epoch >= 2).await;
            let status = live.swap_to(live.candidate(stage, none())).await;
            let epoch = world.progress.borrow().epoch;
            live.until(|p| p.epoch > epoch + 1).await;
            world.stop.cancel();
            status
        })
        .await;
        let summary = summary.unwrap();
        assert_eq!(
            status.state,
            SwapState::Done,
            "{stage}: {:?}",
            status.reason
        );
        let states: Vec<SwapState> = status.steps.iter().map(|s| s.state).collect();
        assert_eq!(
            states,
            [
                SwapState::Prepare,
                SwapState::Switch,
                SwapState::Probation,
                SwapState::Done
            ],
            "{stage}"
        );
        assert!(status.pause_us.is_some(), "{stage}");
        assert_eq!(summary.end, End::Stopped);
        undisturbed(&world, &summary, stage);
        let checkpoint = world.journal.checkpoint.lock().unwrap().clone().unwrap();
        assert_eq!(checkpoint.stages[stage].version, "2", "{stage}");
    }
}

#[tokio::test]
async fn a_version_that_fails_in_its_probation_leaves_no_trace() {
    let slow = |kind| first_after("trap", kind);
    for (stage, stateful) in STAGES {
        for kind in [
            FaultKind::Trap,
            FaultKind::Memory,
            FaultKind::Contract,
            FaultKind::Config,
        ] {
            let world = endless(stateful);
            let call: &'static str = match stage {
                "source" => "source.read",
                "map" => "map.apply",
                _ => "sink.write",
            };
            let (summary, status) = run_while(&world, async |live| {
                live.until(|p| p.epoch >= 2).await;
                let mut request = request(live.candidate(stage, slow(kind)(call)));
                request.probation.time = Duration::from_mins(1);
                let status = live.swap(request).await.unwrap();
                let epoch = world.progress.borrow().epoch;
                live.until(|p| p.epoch > epoch + 1).await;
                world.stop.cancel();
                status
            })
            .await;
            let context = format!("{stage} {kind}");
            let summary = summary.unwrap_or_else(|e| panic!("{context}: {e}"));
            assert_eq!(status.state, SwapState::RolledBack, "{context}");
            assert!(status.reason.is_some(), "{context}");
            undisturbed(&world, &summary, &context);
            let checkpoint = world.journal.checkpoint.lock().unwrap().clone().unwrap();
            assert_eq!(checkpoint.stages[stage].version, "1", "{context}");
        }
    }
}

/// Works for a few calls, and then fails for ever.
fn first_after(what: &'static str, kind: FaultKind) -> impl Fn(&'static str) -> Trouble {
    move |call| {
        let calls = std::sync::atomic::AtomicU64::new(0);
        Arc::new(move |c, _| {
            let fails = c == call && calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) >= 3;
            fails.then(|| Fault::new(kind, what))
        })
    }
}

#[tokio::test]
async fn a_version_that_rejects_more_than_the_old_one_is_rolled_back() {
    let world = endless(false);
    let (summary, status) = run_while(&world, async |live| {
        live.until(|p| p.epoch >= 2).await;
        let picky: Trouble = Arc::new(|call, payloads| {
            let bad = call == "sink.record" && payloads.iter().any(|p| p.ends_with('7'));
            bad.then(|| Fault::new(FaultKind::Permanent, "no sevens"))
        });
        let mut request = request(live.candidate("sink", picky));
        request.probation = Probation {
            time: Duration::from_mins(1),
            max_fault_share: 0.05,
        };
        let status = live.swap(request).await.unwrap();
        world.stop.cancel();
        status
    })
    .await;
    assert_eq!(status.state, SwapState::RolledBack);
    let reason = status.reason.unwrap();
    assert!(reason.contains("rejected"), "{reason}");
    undisturbed(&world, &summary.unwrap(), "rejections");
    assert!(world.journal.dead.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_version_that_cannot_be_opened_never_takes_over() {
    for (stage, stateful) in STAGES {
        let world = endless(stateful);
        let open: &'static str = match stage {
            "source" => "source.open",
            "map" => "map.open",
            _ => "sink.open",
        };
        let (summary, status) = run_while(&world, async |live| {
            live.until(|p| p.epoch >= 2).await;
            let refusing = first(open, u64::MAX, FaultKind::Config);
            let status = live.swap_to(live.candidate(stage, refusing)).await;
            let epoch = world.progress.borrow().epoch;
            live.until(|p| p.epoch > epoch + 1).await;
            world.stop.cancel();
            status
        })
        .await;
        assert_eq!(status.state, SwapState::Refused, "{stage}");
        undisturbed(&world, &summary.unwrap(), stage);
    }
}

#[tokio::test]
async fn a_stateful_version_may_refuse_the_snapshot() {
    let world = endless(true);
    let (summary, status) = run_while(&world, async |live| {
        live.until(|p| p.epoch >= 2).await;
        // It opens when it is tried, and not from the snapshot.
        let opened = std::sync::atomic::AtomicU64::new(0);
        let refusing: Trouble = Arc::new(move |call, _| {
            let second =
                call == "map.open" && opened.fetch_add(1, std::sync::atomic::Ordering::SeqCst) >= 1;
            second.then(|| Fault::new(FaultKind::Config, "I do not know this snapshot"))
        });
        let status = live.swap_to(live.candidate("map", refusing)).await;
        let epoch = world.progress.borrow().epoch;
        live.until(|p| p.epoch > epoch + 1).await;
        world.stop.cancel();
        status
    })
    .await;
    assert_eq!(status.state, SwapState::Refused);
    assert!(status.reason.unwrap().contains("do not know this snapshot"));
    undisturbed(&world, &summary.unwrap(), "refused");
}

#[tokio::test]
async fn the_end_of_the_input_ends_the_probation() {
    for (stage, stateful) in STAGES {
        for kind in [None, Some(FaultKind::Trap)] {
            let world = World {
                records: many(2_000),
                endless: Arc::new(true.into()),
                stateful,
                ..World::default()
            };
            let trouble = match kind {
                None => none(),
                Some(kind) => match stage {
                    "source" => on("source.read", "2999", kind),
                    "map" => on("map.apply", "2999", kind),
                    _ if stateful => none(),
                    _ => on("sink.write", "2999", kind),
                },
            };
            let (summary, status) = run_while(&world, async |live| {
                live.until(|p| p.epoch >= 2).await;
                let mut request = request(live.candidate(stage, trouble.clone()));
                request.probation.time = Duration::from_mins(1);
                let mut status = request.status.subscribe();
                let (ended, ()) = tokio::join!(live.swap(request), async {
                    let on_probation = |s: &SwapStatus| s.state == SwapState::Probation;
                    status.wait_for(on_probation).await.unwrap();
                    world.records.store(3_000, Ordering::SeqCst);
                    world.endless.store(false, Ordering::SeqCst);
                });
                ended
            })
            .await;
            let context = format!("{stage} {kind:?}");
            let summary = summary.unwrap_or_else(|e| panic!("{context}: {e}"));
            assert_eq!(summary.end, End::Finished, "{context}");
            let expected = if kind.is_some() {
                SwapState::RolledBack
            } else {
                SwapState::Done
            };
            assert_eq!(status.unwrap().state, expected, "{context}");
            assert_eq!(summary.ledger.total().read, 3_000, "{context}");
            let visible = world.visible("sink");
            let expected = 3_000 + usize::from(stateful);
            assert_eq!(visible.len(), expected, "{context}");
        }
    }
}

#[tokio::test]
async fn a_stop_in_the_probation_goes_back_to_the_old_version() {
    let world = endless(true);
    let (summary, status) = run_while(&world, async |live| {
        live.until(|p| p.epoch >= 2).await;
        let mut request = request(live.candidate("map", none()));
        request.probation.time = Duration::from_mins(1);
        let mut status = request.status.subscribe();
        live.ask(request).await;
        status
            .wait_for(|s| s.state == SwapState::Probation)
            .await
            .unwrap();
        world.stop.cancel();
        let last = status.wait_for(|s| s.state.is_final()).await.unwrap();
        last.clone()
    })
    .await;
    let summary = summary.unwrap();
    assert_eq!(summary.end, End::Stopped);
    assert_eq!(status.state, SwapState::RolledBack);
    undisturbed(&world, &summary, "stopped");
}

#[tokio::test]
async fn a_source_that_cannot_repeat_hands_back_instead() {
    let world = endless(true);
    let (summary, status) = run_while(&world, async |live| {
        live.until(|p| p.epoch >= 2).await;
        let trouble = on_every(7);
        let mut request = request(live.candidate("map", trouble));
        request.rewindable = false;
        request.probation.time = Duration::from_mins(1);
        let status = live.swap(request).await.unwrap();
        let epoch = world.progress.borrow().epoch;
        live.until(|p| p.epoch > epoch + 1).await;
        world.stop.cancel();
        status
    })
    .await;
    let summary = summary.unwrap();
    assert_eq!(status.state, SwapState::RolledBack);
    assert!(summary.ledger.balances());
    let checkpoint = world.journal.checkpoint.lock().unwrap().clone().unwrap();
    assert_eq!(checkpoint.stages["map"].version, "1");
}

/// Traps on every payload that ends so.
fn on_every(digit: u8) -> Trouble {
    Arc::new(move |call, payloads| {
        let bad = call == "map.apply"
            && payloads
                .iter()
                .any(|p| p.as_bytes().last() == Some(&(b'0' + digit)));
        bad.then(|| Fault::new(FaultKind::Trap, "bad digit"))
    })
}

#[tokio::test]
async fn the_shadow_shows_differences_and_changes_nothing() {
    for stateful in [false, true] {
        let world = endless(stateful);
        let (summary, status) = run_while(&world, async |live| {
            live.until(|p| p.epoch >= 2).await;
            let mut request = request(live.candidate("map", none()));
            let other = if stateful {
                // Starts where the live one is: no difference.
                world.version("map", "2", none())
            } else {
                let mut changed = endless(false);
                changed.map = Arc::new(drop_sevens);
                changed.version("map", "2", none())
            };
            request.shadow = Some(ShadowPlan {
                opener: other,
                records: 500,
                time: Duration::from_secs(20),
                max_difference: Some(0.01),
            });
            let status = live.swap(request).await.unwrap();
            world.stop.cancel();
            status
        })
        .await;
        undisturbed(&world, &summary.unwrap(), "shadow");
        let report: ShadowReport = status.shadow.unwrap();
        assert!(
            report.records >= 500 || report.ended.is_some(),
            "{report:?}"
        );
        if stateful {
            assert_eq!(report.different, 0, "{report:?}");
            assert_eq!(status.state, SwapState::Done);
        } else {
            assert_eq!(status.state, SwapState::Refused);
            assert!(report.different > 0);
            let first = report.differences.first().unwrap();
            assert!(first.key.ends_with('7') && first.candidate.is_none());
        }
    }
}

fn drop_sevens(batch: &Batch) -> Applied {
    let kept = (0_u32..)
        .zip(batch.records())
        .filter(|(_, r)| !r.payload.ends_with(b"7"))
        .map(|(at, _)| at);
    Applied {
        output: Output::Select(kept.collect()),
        rejected: vec![],
        filtered: vec![],
    }
}

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

/// 1,000 swaps of random stages among good, refusing, trapping, looping and lying versions.
#[tokio::test]
async fn a_storm_of_swaps_loses_nothing_and_doubles_nothing() {
    for stateful in [false, true] {
        let world = endless(stateful);
        let mut random = fastrand::Rng::with_seed(7);
        let (summary, counts) = run_while(&world, async |live| {
            let (mut done, mut back, mut refused) = (0, 0, 0);
            for _ in 0..500 {
                let stage = ["source", "map", "sink"][random.usize(..3)];
                let (open, call, record): (&'static str, &'static str, &'static str) = match stage {
                    "source" => ("source.open", "source.read", "source.none"),
                    "map" => ("map.open", "map.apply", "map.apply"),
                    _ => ("sink.open", "sink.write", "sink.record"),
                };
                let kinds = [
                    FaultKind::Trap,
                    FaultKind::Time,
                    FaultKind::Contract,
                    FaultKind::Memory,
                ];
                let kind = kinds[random.usize(..4)];
                let choice = random.u32(..5);
                let trouble = match choice {
                    0 | 1 => none(),
                    2 => first(open, u64::MAX, FaultKind::Config),
                    3 => first_after("storm", kind)(call),
                    _ => first_after("storm", FaultKind::Permanent)(record),
                };
                let mut request = request(live.candidate(stage, trouble));
                request.probation.time = Duration::from_millis(random.u64(0..4));
                if request.probation.time.is_zero() {
                    // Without a probation only a good version may come.
                    request.candidate = live.candidate(stage, none());
                } else if choice == 3 || choice == 4 && stage != "source" {
                    // However slow the machine is: it fails on probation, not after it.
                    request.probation.time = Duration::from_mins(1);
                }
                let Some(status) = live.swap(request).await else {
                    // Something is wrong, and the run says what.
                    break;
                };
                match status.state {
                    SwapState::Done => done += 1,
                    SwapState::RolledBack => back += 1,
                    SwapState::Refused => refused += 1,
                    other => panic!("{other:?}"),
                }
            }
            world.stop.cancel();
            (done, back, refused)
        })
        .await;
        let summary = summary.unwrap();
        let (done, back, refused) = counts;
        assert!(done > 50 && back > 20 && refused > 50, "{counts:?}");
        let total = summary.ledger.total();
        assert!(summary.ledger.balances(), "{total:?}");
        // A version that rejects may reject a record or two before its share is seen; all others are there, in order.
        let visible = world.visible("sink");
        assert_eq!(visible.len() as u64 + total.dead, total.read);
        let numbers: Vec<u64> = visible
            .iter()
            .map(|v| v.rsplit(':').next().unwrap().parse().unwrap())
            .collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "order and no doubles");
    }
}
