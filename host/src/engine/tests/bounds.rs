//! Plugins that give very many small things: names, batches, inputs that are no records.

use std::sync::{Arc, atomic::Ordering};

use async_trait::async_trait;

use super::memory::{World, batch, on, payloads};
use crate::engine::{
    batch::{Batch, BatchError, Form},
    bisect::{Worker, work_off},
    dead_letter::Undertaker,
    fault::{Fault, FaultKind},
    ledger::{Ledger, MAX_STREAMS},
    outcome::Outcome,
    retry::RetryPolicy,
    run::RunError,
    stage::*,
};

fn replace(batches: Vec<Batch>) -> Applied {
    Applied {
        output: Output::Replace(batches),
        rejected: vec![],
        filtered: vec![],
    }
}

#[tokio::test]
async fn a_read_of_very_many_unreadable_inputs_fails_the_run_and_makes_no_dead_letters() {
    let world = World {
        trouble: on("source.unreadable", "500", FaultKind::Permanent),
        ..World::default()
    };
    let Err(RunError::Stage(failure)) = world.run().await else {
        panic!("the read was taken");
    };
    assert_eq!(failure.fault.kind, FaultKind::Contract);
    assert_eq!(failure.stage, "source");
    let message = &failure.fault.message;
    assert!(message.contains("one read gave 10001"), "{message}");
    assert!(world.journal.dead.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_records_that_would_make_too_many_streams_are_dead_letters_and_the_next_run_is_free() {
    let world = World {
        // Each record has a stream of its own, named like it.
        map: Arc::new(|input| {
            let name = |payload: String| batch(&payload.clone(), [payload]);
            replace(payloads(input).into_iter().map(name).collect())
        }),
        ..World::default()
    };
    world.records.store(1500, Ordering::SeqCst);
    let summary = world.run().await.unwrap();
    // The source's own stream is one of them.
    let through = MAX_STREAMS - 1;
    assert_eq!(world.visible("sink").len(), through);
    assert!(summary.ledger.balances());
    assert!(summary.ledger.streams.len() <= MAX_STREAMS + 1);
    {
        let dead = world.journal.dead.lock().unwrap();
        assert_eq!(dead.len(), 1500 - through);
        assert_eq!((&*dead[0].fault, &*dead[0].stage), ("contract", "map"));
        assert!(dead[0].message.contains("more than 1000 streams"));
    }
    // It is not locked up: what comes now has streams of its own again.
    world.records.store(2000, Ordering::SeqCst);
    world.run().await.unwrap();
    assert_eq!(world.visible("sink").len(), through + 500);
}

#[tokio::test]
async fn what_many_parts_of_a_batch_come_to_is_bounded_as_a_whole() {
    let world = World {
        // It takes single records only, so that every answer is small enough.
        trouble: Arc::new(|call, names| {
            (call == "map.apply" && names.len() > 1).then(|| Fault::new(FaultKind::Trap, "two"))
        }),
        map: Arc::new(|input| replace(vec![input.clone(); 6_000])),
        ..World::default()
    };
    let Err(RunError::Stage(failure)) = world.run().await else {
        panic!("60,000 batches were taken");
    };
    assert_eq!(failure.fault.kind, FaultKind::Contract);
    assert_eq!(failure.stage, "map");
    let message = &failure.fault.message;
    assert!(message.contains("60000 batches"), "{message}");
}

/// Takes single records only, and says that each answer is large.
struct Large;

#[async_trait]
impl Worker for Large {
    type Answer = ();

    async fn call(&mut self, batch: &Arc<Batch>) -> Result<(), Fault> {
        match batch.len() {
            1 => Ok(()),
            _ => Err(Fault::new(FaultKind::Trap, "two")),
        }
    }

    fn rejected((): &()) -> &[Rejection] {
        &[]
    }

    fn weight((): &()) -> usize {
        64 << 20
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn is_lost(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn the_answers_to_the_parts_of_one_batch_are_bounded_together() {
    let policy = World::default().settings.retry;
    let work = async |records: u32| {
        let all = Arc::new(batch("s", (0..records).map(|n| n.to_string())));
        work_off(&mut Large, all, &RetryPolicy { ..policy }).await
    };
    assert_eq!(work(8).await.unwrap().len(), 8);
    let fault = work(9).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Contract);
    assert!(fault.message.contains("more than 512 MiB"), "{fault}");
}

#[test]
fn everything_that_waits_in_an_outcome_counts() {
    let undertaker = Undertaker {
        flow: "f".into(),
        run: "r".into(),
        stage: "s".into(),
        identity: Identity {
            plugin: "p".into(),
            version: "1".into(),
            digest: String::new(),
            config_digest: String::new(),
        },
    };
    let nothing = Unreadable {
        data: Vec::new(),
        fault: Fault::new(FaultKind::Permanent, ""),
    };
    // What is refused is bounded before dead letters are made of it.
    let refused = Rejection {
        index: 0,
        fault: Fault::new(FaultKind::Permanent, "n".repeat(5_000)),
    };
    let one = batch("s", [String::new()]);
    let letter = undertaker.record(&one, one.record(0).unwrap(), &refused.fault);
    assert!(refused.weight() > letter.memory() && letter.memory() > 5_000);
    let mut ledger = Ledger::default();
    ledger.stream(&"n".repeat(200).into()).read = 1;
    let write = TableWrite {
        table: "t".into(),
        key: "k".into(),
        value: None,
    };
    let name = "n".repeat(200);
    let all = [
        Outcome {
            dead: vec![undertaker.unreadable(&name, &nothing)],
            ..Outcome::default()
        },
        Outcome {
            writes: vec![write],
            ..Outcome::default()
        },
        Outcome {
            ledger,
            ..Outcome::default()
        },
        Outcome {
            batches: vec![Arc::new(Batch::empty(name.as_str(), Form::Json))],
            ..Outcome::default()
        },
    ];
    for outcome in all {
        assert!(outcome.weight() > 200, "{outcome:?}");
    }
}

#[test]
fn a_stream_is_named_without_what_moves_the_cursor() {
    for name in ["s\u{1b}[31m", "a\nb", "\u{9b}2J", "\u{7f}"] {
        let refused = Batch::new(name, Form::Json, vec![], vec![]);
        let Err(BatchError::StreamName(_)) = &refused else {
            panic!("{name:?} was taken");
        };
        let told = refused.unwrap_err().to_string();
        assert!(!told.contains(char::is_control), "{told:?}");
    }
    assert!(Batch::new("größe", Form::Json, vec![], vec![]).is_ok());
}
