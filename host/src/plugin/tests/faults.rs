//! Hostile and broken plugins: each failure is one fault of the right kind, and nothing else suffers.

use std::time::Instant;

use super::*;
use crate::{catalogue::Kind, engine::stage::Budget, plugin::tests::guest::ANSWER};

fn applying(body: &str) -> Guest {
    Guest::new(Kind::Transformer).body("apply", body)
}

#[tokio::test]
async fn a_trap_is_a_fault_with_backtrace_and_the_instance_is_gone() {
    let guest = applying("(call $deep) unreachable")
        .extra("(func $deep (call $deeper)) (func $deeper unreachable)");
    let mut instance = transformer(&guest, context()).await;
    let trap = fault(instance.apply(&batch(1)).await);
    assert_eq!(trap.kind, FaultKind::Trap);
    assert!(
        trap.message.contains("`apply`") && trap.message.contains("panicked"),
        "{}",
        trap.message
    );
    assert!(
        trap.backtrace.as_ref().unwrap().contains("deeper"),
        "{:?}",
        trap.backtrace
    );
    for again in [
        fault(instance.apply(&batch(1)).await),
        fault(instance.snapshot().await),
    ] {
        assert_eq!(again.kind, FaultKind::Trap);
        assert!(
            again.message.contains("the instance is gone"),
            "{}",
            again.message
        );
    }
    instance.close().await;
}

#[tokio::test]
async fn deep_recursion_is_a_trap() {
    let guest =
        applying("(call $deep) unreachable").extra("(func $deep (call $deep) (call $deep))");
    let trap = fault(transformer(&guest, context()).await.apply(&batch(1)).await);
    assert!(
        trap.kind == FaultKind::Trap && trap.message.contains("stack overflowed"),
        "{trap}"
    );
}

#[tokio::test]
async fn an_endless_loop_is_stopped_and_others_run_meanwhile() {
    let context = StageContext {
        limits: Limits {
            call: Duration::from_millis(60),
            ..Limits::default()
        },
        ..context()
    };
    let mut endless = transformer(&applying("(loop $l (br $l)) unreachable"), context).await;
    let mut yields = 0_u32;
    let others = async {
        loop {
            yields += 1;
            tokio::task::yield_now().await;
        }
    };
    let start = Instant::now();
    let one = batch(1);
    let slow = tokio::select! {
        outcome = endless.apply(&one) => fault(outcome),
        () = others => unreachable!("it never ends"),
    };
    assert_eq!(slow.kind, FaultKind::Time);
    assert!(
        slow.message.contains("60 ms") && slow.message.contains("`apply`"),
        "{}",
        slow.message
    );
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    // One thread runs both: the guest gave it away between its slices.
    assert!(yields >= 2, "{yields}");
    assert_eq!(fault(endless.apply(&one).await).kind, FaultKind::Time);
}

#[tokio::test]
async fn a_memory_bomb_hits_its_limit() {
    let bomb = "(loop $l (drop (call $alloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 65536))) (br $l)) unreachable";
    let context = StageContext {
        limits: Limits {
            memory: 8 << 20,
            ..Limits::default()
        },
        ..context()
    };
    let mut instance = transformer(&applying(bomb), context.clone()).await;
    let full = fault(instance.apply(&batch(1)).await);
    assert_eq!(full.kind, FaultKind::Memory);
    assert!(
        full.message.contains("its limit is 8 MiB"),
        "{}",
        full.message
    );
    assert!(instance.wear().memory <= 8 << 20);
    // Being refused memory and carrying on is no fault.
    let polite = applying(&format!(
        "(drop (memory.grow (i32.const 1000))) (i32.const {ANSWER})"
    ));
    transformer(&polite, context.clone())
        .await
        .apply(&batch(1))
        .await
        .unwrap();
    // A plugin that does not fit at all says so when it is opened.
    let context = StageContext {
        limits: Limits {
            memory: 65536,
            ..Limits::default()
        },
        ..context
    };
    let opener = load(&polite).await.transformer(context).unwrap();
    assert_eq!(fault(opener.open(None).await).kind, FaultKind::Memory);
}

#[tokio::test]
async fn answers_that_break_the_contract_are_named() {
    let answer = |output: u8, list: u32, len: u32| {
        format!(
            "(i32.store8 (i32.const {}) (i32.const {output})) (i32.store (i32.const {}) (i32.const {list}))
             (i32.store (i32.const {}) (i32.const {len})) (i32.const {ANSWER})",
            ANSWER + 8,
            ANSWER + 12,
            ANSWER + 16,
        )
    };
    let cases = [
        // An index far outside of the batch.
        (answer(1, 3000, 1), "selected record 1684234849"),
        // A batch of zeroes has no stream name.
        (answer(2, 2048, 1), "stream name"),
        // A list outside of the memory.
        (answer(1, 0xFFFF_0000, 4), "malformed value"),
        // No such case of the variant.
        (answer(9, 0, 0), "malformed value"),
        // More than may be handed over.
        (
            format!(
                "(drop (memory.grow (i32.const 64))) {}",
                answer(1, 0, 1 << 19)
            ),
            "more than 1 MiB",
        ),
    ];
    for (body, words) in cases {
        let guest = applying(&body).extra(r#"(data (i32.const 3000) "abcd")"#);
        let context = StageContext {
            limits: Limits {
                output: 1 << 20,
                ..Limits::default()
            },
            ..context()
        };
        let mut instance = transformer(&guest, context).await;
        let broken = fault(instance.apply(&batch(2)).await);
        assert_eq!(broken.kind, FaultKind::Contract, "{broken}");
        assert!(broken.message.contains(words), "{words}: {broken}");
        assert_eq!(
            fault(instance.apply(&batch(2)).await).kind,
            FaultKind::Contract
        );
    }
}

#[tokio::test]
async fn a_batch_of_a_source_is_checked() {
    let read = format!(
        "(i32.store (i32.const {stream}) (i32.const 3000)) (i32.store (i32.const {len}) (i32.const 1))
         (i32.store (i32.const {index}) (i32.const 3000)) (i32.store (i32.const {words}) (i32.const 3))
         (i32.const {ANSWER})",
        stream = ANSWER + 12,
        len = ANSWER + 16,
        index = ANSWER + 24,
        words = ANSWER + 28,
    );
    let guest = Guest::new(Kind::Source)
        .body("read", &read)
        .extra(r#"(data (i32.const 3000) "abcd")"#);
    let budget = Budget {
        records: 1,
        bytes: 1,
        time: Duration::from_secs(1),
    };
    let broken = fault(source(&guest, context()).await.read(budget).await);
    assert!(
        broken.kind == FaultKind::Contract && broken.message.contains("multiple of 4"),
        "{broken}"
    );
}

#[tokio::test]
async fn a_snapshot_above_its_limit_breaks_the_contract() {
    let snapshot = format!(
        "(drop (memory.grow (i32.const 32))) (i32.store (i32.const {}) (i32.const {})) (i32.const {ANSWER})",
        ANSWER + 12,
        (1 << 20) + 1,
    );
    let guest = Guest::new(Kind::Sink).body("snapshot", &snapshot);
    let mut instance = sink(&guest, context()).await;
    let broken = fault(instance.snapshot().await);
    assert!(
        broken.kind == FaultKind::Contract && broken.message.contains("1048577 bytes"),
        "{broken}"
    );
}

#[tokio::test]
async fn a_cancelled_call_leaves_no_instance_behind() {
    let mut instance = transformer(&applying("(loop $l (br $l)) unreachable"), context()).await;
    let one = batch(1);
    let cancelled = tokio::time::timeout(Duration::from_millis(30), instance.apply(&one)).await;
    assert!(cancelled.is_err());
    let gone = fault(instance.snapshot().await);
    assert!(gone.message.contains("`apply` was cancelled"), "{gone}");
}

#[tokio::test]
async fn a_fault_of_the_plugin_leaves_the_instance_alive() {
    let body = format!(
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (i32.store8 (i32.const {ANSWER}) (i32.eq (global.get $calls) (i32.const 1)))
         (i32.const {ANSWER})"
    );
    let guest = applying(&body).extra("(global $calls (mut i32) (i32.const 0))");
    let mut instance = transformer(&guest, context()).await;
    assert_eq!(
        fault(instance.apply(&batch(1)).await).kind,
        FaultKind::Transient
    );
    instance.apply(&batch(1)).await.unwrap();
}

#[tokio::test]
async fn more_instances_than_the_pool_has_is_a_transient_fault() {
    let runtime = Runtime::new(&RuntimeOptions {
        cache_dir: None,
        max_instances: 1,
        lines: false,
    })
    .unwrap();
    let plugin = runtime
        .load_bytes(Guest::new(Kind::Sink).build(), "x")
        .await
        .unwrap();
    let opener = plugin.sink(context()).unwrap();
    let first = opener.open(None).await.unwrap();
    let full = fault(opener.open(None).await);
    assert!(
        full.kind == FaultKind::Transient && full.message.contains("no sandbox is free"),
        "{full}"
    );
    drop(first);
    opener.open(None).await.unwrap();
}

/// A mangled C++ name of some hundred bytes. Each level refers ten times to the one before it, so that the demangled name
/// has 10 to the power of the levels parts.
fn doubling_name(levels: usize) -> String {
    let reference = |level: usize| match level {
        0 => "S_".to_owned(),
        level => format!("S{}_", level - 1),
    };
    let more = |level| format!("Fv{}E", reference(level).repeat(10));
    let name = format!("_Z1fFv{}E", "i".repeat(10));
    (0..levels).map(more).fold(name, |name, more| name + &more)
}

/// A trap, and a value of the wrong kind that is handed to the host: in both the error holds the guest's frames.
#[tokio::test]
async fn names_that_grow_without_an_end_are_shown_as_they_are() {
    let log = "crossdock:plugin/log@0.1.0";
    for levels in [3, 9] {
        let name = doubling_name(levels);
        let bodies = [
            (FaultKind::Trap, "unreachable".to_owned()),
            (
                FaultKind::Contract,
                "(call $log (i32.const 0) (i32.const 0x7ffffff0) (i32.const 64))".to_owned(),
            ),
        ];
        for (kind, body) in bodies {
            let guest = applying(&format!("(call $\"{name}\") unreachable"))
                .import(log, "write", "$log", "(param i32 i32 i32)")
                .extra(&format!("(func $\"{name}\" {body})"));
            let start = Instant::now();
            let fault = fault(transformer(&guest, context()).await.apply(&batch(1)).await);
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "{:?}",
                start.elapsed()
            );
            assert_eq!(fault.kind, kind, "{fault}");
            assert!(fault.message.len() < 1000, "{}", fault.message.len());
            let backtrace = fault.backtrace.unwrap();
            assert!(
                backtrace.contains("_Z1fFviiii"),
                "{} bytes",
                backtrace.len()
            );
            assert!(backtrace.len() < 2000, "{} bytes", backtrace.len());
        }
    }
}

#[tokio::test]
async fn a_backtrace_is_bounded() {
    // Twenty frames with names of 60,000 bytes each.
    let name = "long".repeat(15_000);
    let guest = applying(&format!("(call $\"{name}\") unreachable")).extra(&format!(
        "(func $\"{name}\" (call $\"{name}\") (call $\"{name}\"))"
    ));
    let fault = fault(transformer(&guest, context()).await.apply(&batch(1)).await);
    let backtrace = fault.backtrace.unwrap();
    assert!(backtrace.contains("longlong"), "{backtrace}");
    assert!(backtrace.len() < 17 << 10, "{} bytes", backtrace.len());
}

/// Lines of the log that a closure hears of, on this thread.
#[derive(Clone, Default)]
struct Heard(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_limit_does_not_start_anew_with_an_instance() {
    let heard = Heard::default();
    let writer = heard.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // It logs a hundred lines, and traps.
    let guest = applying(
        "(local.set $x (i32.const 100))
        (loop $l
            (call $log (i32.const 2) (i32.const 2048) (i32.const 5))
            (br_if $l (local.tee $x (i32.sub (local.get $x) (i32.const 1)))))
        unreachable",
    )
    .import(
        "crossdock:plugin/log@0.1.0",
        "write",
        "$log",
        "(param i32 i32 i32)",
    )
    .extra("(data (i32.const 2048) \"hello\")");
    let base = context();
    let context = StageContext {
        limits: Limits {
            log_lines: 10,
            ..base.limits
        },
        ..base
    };
    let start = Instant::now();
    let opener = load(&guest).await.transformer(context).unwrap();
    for _ in 0..10 {
        let mut instance = opener.open(None).await.unwrap();
        assert_eq!(fault(instance.apply(&batch(1)).await).kind, FaultKind::Trap);
    }
    let windows = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    let text = String::from_utf8(heard.0.lock().unwrap().clone()).unwrap();
    let lines = text.matches("hello").count();
    assert!(lines >= 10, "{text}");
    assert!(lines <= 10 * windows, "{lines} lines in {windows} s");
}
