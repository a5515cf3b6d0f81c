//! Hostile components: what is wrong with them shows when they are loaded, opened or called, as one error or fault of
//! one line, and a well-behaved neighbour in the same runtime goes on. The attacks of a plugin that runs are in the
//! zoo of the integration tests.

#![allow(clippy::print_stdout, reason = "a test says what it has tried")]

use std::time::Instant;

use super::*;
use crate::{
    catalogue::Kind,
    plugin::tests::guest::{ANSWER, append_section},
};

/// Elements of a table, fewer than the pool of the runtime has room for.
const TABLE: usize = 5000;

/// Short limits, so that the zoo is fast.
fn tight() -> StageContext {
    StageContext {
        limits: Limits {
            memory: 16 << 20,
            call: Duration::from_millis(200),
            open: Duration::from_millis(200),
            commit: Duration::from_millis(200),
            output: 1 << 20,
            table_elements: TABLE,
            ..Limits::default()
        },
        ..context()
    }
}

fn guest() -> Guest {
    Guest::new(Kind::Transformer)
}

/// Loads, opens and applies, and tells how it ended: `fine`, or the words of the error.
async fn life(bytes: Vec<u8>) -> String {
    let plugin = match runtime().load_bytes(bytes, "hostile.wasm").await {
        Ok(plugin) => plugin,
        Err(error) => return format!("load: {error}"),
    };
    let opener = match plugin.transformer(tight()) {
        Ok(opener) => opener,
        Err(error) => return format!("load: {error}"),
    };
    let mut instance = match opener.open(None).await {
        Ok(instance) => instance,
        Err(fault) => return format!("open: {:?}: {fault}", fault.kind),
    };
    let outcome = match instance.apply(&batch(2)).await {
        Ok(_) => instance.snapshot().await.map(drop),
        Err(fault) => Err(fault),
    };
    instance.close().await;
    match outcome {
        Ok(()) => "fine".to_owned(),
        Err(fault) => format!("call: {:?}: {fault}", fault.kind),
    }
}

/// A component of the text format; not a plugin of the contract unless the text says so.
fn component(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {text})")).unwrap()
}

/// An export that makes a component look like a transformer.
const POSE: &str =
    r#"(instance $pose) (export "crossdock:plugin/transformer@0.1.0" (instance $pose))"#;

fn module(count: usize) -> String {
    let instances = "(core instance (instantiate $m))".repeat(count);
    format!("(core module $m (memory 1) (table 1 funcref)) {instances} {POSE}")
}

fn bytes_of_a_bomb() -> Vec<u8> {
    let mut bytes = guest().build();
    append_section(&mut bytes, "filler", &vec![0; 100 << 20]);
    bytes
}

fn manifest(json: &serde_json::Value) -> Vec<u8> {
    guest().manifest(json).build()
}

fn two_manifests() -> Vec<u8> {
    let first = json!({ "name": "first", "version": "1.0.0", "kinds": { "transformer": {} } });
    let mut bytes = manifest(&first);
    append_section(&mut bytes, "crossdock:manifest", b"{\"name\":\"second\"}");
    bytes
}

fn of_schema(config: &serde_json::Value) -> serde_json::Value {
    json!({ "name": "x", "version": "1.0.0", "kinds": { "transformer": { "config": config } } })
}

/// Forty schemas, each of them twice the next one.
fn multiplying_schema() -> Vec<u8> {
    let next = |at: usize| json!({ "$ref": format!("#/$defs/a{at}") });
    let mut defs: serde_json::Map<_, _> = (0..40)
        .map(|at| {
            (
                format!("a{at}"),
                json!({ "allOf": [next(at + 1), next(at + 1)] }),
            )
        })
        .collect();
    defs.insert("a40".to_owned(), json!({ "required": ["nothing"] }));
    manifest(&of_schema(&json!({ "$ref": "#/$defs/a0", "$defs": defs })))
}

fn nested(depth: usize) -> Vec<u8> {
    let text = format!("{}{}", "(component ".repeat(depth), ")".repeat(depth));
    component(&format!("{text} {POSE}"))
}

/// Name, component, and words of how it must end.
fn attacks() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let calling = |body: &str| guest().body("apply", body).build();
    let start = |body: &str| {
        guest()
            .extra(&format!("(func $start {body}) (start $start)"))
            .build()
    };
    vec![
        ("well-behaved", guest().build(), &["fine"]),
        ("nothing", Vec::new(), &["load:", "empty"]),
        ("a core module", wat::parse_str("(module)").unwrap(), &["load:", "core module"]),
        ("text", b"(component)".to_vec(), &["load:", "text format"]),
        ("another version of the format", b"\0asm\x99\0\x01\0".to_vec(), &["load:", "version"]),
        ("no plugin", component(""), &["load:", "no plugin"]),
        ("100 MiB", bytes_of_a_bomb(), &["load:", "larger than 64 MiB"]),
        ("nested 90 deep", nested(90), &["load:"]),
        ("a plugin without functions", component(POSE), &["load:", "exports no function"]),
        (
            "an import that no host has",
            component(&format!(r#"(import "acme:gpu/draw@1.0.0" (instance)) {POSE}"#)),
            &["load:", "acme:gpu/draw"],
        ),
        (
            "requests coming in",
            component(&format!(r#"(import "wasi:http/incoming-handler@0.2.6" (instance)) {POSE}"#)),
            &["load:", "wasi:http/incoming-handler"],
        ),
        (
            "a function of the host with another type",
            component(&format!(
                r#"(import "crossdock:plugin/random@0.1.0" (instance (export "next-u64" (func (param "x" u8) (result u64))))) {POSE}"#
            )),
            &["load:"],
        ),
        ("40 core modules", component(&module(40)), &["load:"]),
        ("a loop before it starts", start("(loop $l (br $l))"), &["open: Time"]),
        ("a trap before it starts", start("unreachable"), &["open: Trap"]),
        ("recursion before it starts", start("(call $start)"), &["open: Trap", "stack overflowed"]),
        ("4 GiB from the start", guest().extra("(func (drop (memory.grow (i32.const 0)))) (memory $big 65536)").build(), &["open: Memory", "load:"]),
        ("a table of 10 million", guest().extra("(table $big 10000000 funcref)").build(), &["load:", "open:"]),
        (
            "a table that grows",
            guest()
                .extra("(table $t 1 funcref)")
                .body("apply", &format!(
                    "(loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
                    (if (i32.gt_u (table.size $t) (i32.const {TABLE})) (then (unreachable))) (i32.const {ANSWER})"
                ))
                .build(),
            &["fine"],
        ),
        ("data beyond the memory", guest().extra("(data (i32.const 0x7fffffff) \"x\")").build(), &["open: Trap", "load:"]),
        ("memory for arguments from nowhere", guest().body("apply", "(i32.const -4)").build(), &["call: Contract", "call: Trap"]),
        ("an answer at an odd place", calling("(i32.const 1025)"), &["call: Contract"]),
        ("a division by zero", calling("(i32.div_u (i32.const 1) (i32.const 0))"), &["call: Trap", "divide by zero"]),
        ("an access out of bounds", calling("(i32.load (i32.const -8))"), &["call: Trap"]),
        ("an indirect call of nothing", guest().extra("(table $t 1 funcref) (type $f (func (result i32)))").body("apply", "(call_indirect $t (type $f) (i32.const 0))").build(), &["call: Trap"]),
        ("a trap when asked for a snapshot", guest().body("snapshot", "unreachable").build(), &["call: Trap", "`snapshot`"]),
        ("a loop when asked for a snapshot", guest().body("snapshot", "(loop $l (br $l)) unreachable").build(), &["call: Time", "`snapshot`"]),
        ("a trap when opened", guest().body("open", "unreachable").build(), &["open: Trap"]),
        ("a trap when closed", guest().body("close", "unreachable").build(), &["fine"]),
        ("a loop when closed", guest().body("close", "(loop $l (br $l))").build(), &["fine"]),
        ("an owner of a manifest that is none", manifest(&json!("x")), &["fine"]),
        (
            "a manifest with another kind than it exports",
            manifest(&json!({ "name": "liar", "version": "1.0.0", "kinds": { "sink": {} } })),
            &["fine"],
        ),
        ("two manifests", two_manifests(), &["fine"]),
        ("a config schema that multiplies", multiplying_schema(), &["fine"]),
        ("a config schema without an end", manifest(&of_schema(&json!({ "$ref": "#" }))), &["fine"]),
        ("a manifest of a megabyte", manifest(&json!({ "name": "x".repeat(1 << 20), "version": "1.0.0", "kinds": {} })), &["fine"]),
    ]
}

#[tokio::test]
async fn every_hostile_component_is_contained_and_its_neighbour_goes_on() {
    let mut neighbour = transformer(&guest(), context()).await;
    let attacks = attacks();
    let count = attacks.len();
    let mut wrong = Vec::new();
    for (name, bytes, words) in attacks {
        let start = Instant::now();
        let ended = life(bytes).await;
        let expected = words.iter().any(|words| ended.contains(words));
        // Of what is refused when it is loaded, all of the words are in the error.
        if !expected || ended.contains('\n') || start.elapsed() > Duration::from_secs(20) {
            wrong.push(format!(
                "{name}: {ended:?}, expected {words:?} ({:?})",
                start.elapsed()
            ));
        }
        neighbour.apply(&batch(3)).await.unwrap();
    }
    println!("{count} hostile components");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the manifest hides is seen in the component itself.
#[test]
fn a_manifest_that_lies_is_caught() {
    let inspection = crate::catalogue::inspect(&manifest(
        &json!({ "name": "liar", "version": "1.0.0", "kinds": { "sink": {} } }),
    ))
    .unwrap();
    assert_eq!(inspection.kinds, [Kind::Transformer]);
    let findings = inspection.findings().join("; ");
    assert!(
        findings.contains("promises a sink that is not exported"),
        "{findings}"
    );
    assert!(
        findings.contains("exports a transformer that the manifest leaves out"),
        "{findings}"
    );
    let multiplying = crate::catalogue::inspect(&multiplying_schema()).unwrap();
    assert!(multiplying.manifest.is_none());
    let findings = multiplying.findings().join("; ");
    assert!(
        findings.contains("config schema of its transformer is refused"),
        "{findings}"
    );
    // The first manifest counts, everywhere.
    let twice = crate::catalogue::inspect(&two_manifests()).unwrap();
    assert_eq!(twice.manifest.unwrap().name, "first");
}

const BUDGET: crate::engine::stage::Budget = crate::engine::stage::Budget {
    records: 1,
    bytes: 1,
    time: Duration::from_secs(1),
};

/// Calls one function of a source; `close` gives nothing back.
async fn of_source(guest: &Guest, function: &str) -> Option<Fault> {
    let plugin = load(guest).await;
    match function {
        "check" => return Some(fault(plugin.check(Kind::Source, &tight()).await)),
        "streams" => return Some(fault(plugin.streams(&tight()).await)),
        "open" => return Some(fault(plugin.source(tight()).unwrap().open(None).await)),
        _ => {}
    }
    let mut one = source(guest, tight()).await;
    Some(match function {
        "read" => fault(one.read(BUDGET).await),
        "snapshot" => fault(one.snapshot().await),
        "committed" => fault(one.committed(b"x").await),
        _ => {
            one.close().await;
            return None;
        }
    })
}

async fn of_transformer(guest: &Guest, function: &str) -> Option<Fault> {
    let plugin = load(guest).await;
    match function {
        "check" => return Some(fault(plugin.check(Kind::Transformer, &tight()).await)),
        "open" => return Some(fault(plugin.transformer(tight()).unwrap().open(None).await)),
        _ => {}
    }
    let mut one = transformer(guest, tight()).await;
    Some(match function {
        "apply" => fault(one.apply(&batch(1)).await),
        "finish" => fault(one.finish().await),
        "snapshot" => fault(one.snapshot().await),
        _ => {
            one.close().await;
            return None;
        }
    })
}

async fn of_sink(guest: &Guest, function: &str) -> Option<Fault> {
    let plugin = load(guest).await;
    match function {
        "check" => return Some(fault(plugin.check(Kind::Sink, &tight()).await)),
        "open" => return Some(fault(plugin.sink(tight()).unwrap().open(None).await)),
        _ => {}
    }
    let mut one = sink(guest, tight()).await;
    Some(match function {
        "write" => fault(one.write(&batch(1)).await),
        "finish" => fault(one.finish().await),
        "snapshot" => fault(one.snapshot().await),
        "commit" => fault(one.commit(b"x").await),
        _ => {
            one.close().await;
            return None;
        }
    })
}

#[tokio::test]
async fn a_trap_in_any_export_of_any_kind_is_a_fault() {
    let mut tried = 0;
    for kind in Kind::ALL {
        for &(function, ..) in super::guest::signatures(kind) {
            let guest = Guest::new(kind).body(function, "unreachable");
            let fault = match kind {
                Kind::Source => of_source(&guest, function).await,
                Kind::Transformer => of_transformer(&guest, function).await,
                Kind::Sink => of_sink(&guest, function).await,
            };
            tried += 1;
            // Nothing depends any more on what happens when it is closed.
            let Some(fault) = fault else {
                assert_eq!(function, "close");
                continue;
            };
            assert_eq!(fault.kind, FaultKind::Trap, "{kind} {function}: {fault}");
            assert!(fault.message.contains(&format!("`{function}`")), "{fault}");
        }
    }
    assert_eq!(tried, 20);
}

/// Components that were damaged at random: an error, a fault, or they work; never a panic or a stuck host.
#[tokio::test]
async fn damaged_components_hurt_nobody() {
    let whole = guest()
        .body(
            "apply",
            &format!("(drop (memory.grow (i32.const 1))) (i32.const {ANSWER})"),
        )
        .build();
    let mut random = fastrand::Rng::with_seed(48);
    let mut neighbour = transformer(&guest(), context()).await;
    for _ in 0..200 {
        let mut bytes = whole.clone();
        match random.u8(0..4) {
            0 => bytes.truncate(random.usize(8..whole.len())),
            1 => {
                let at = random.usize(8..whole.len());
                bytes.insert(at, random.u8(..));
            }
            _ => {
                for _ in 0..random.u8(1..4) {
                    let at = random.usize(8..whole.len());
                    bytes[at] = random.u8(..);
                }
            }
        }
        let ended = life(bytes).await;
        assert!(!ended.is_empty());
    }
    neighbour.apply(&batch(3)).await.unwrap();
}

/// A neighbour that loops all the time takes its share of a thread, not all of it. An even share is half; how even it is
/// depends on what else the machine does in the slices, so that no more than a quarter is promised here.
#[tokio::test]
async fn a_plugin_that_works_all_the_time_leaves_a_quarter_of_the_thread_or_more_to_another() {
    // A bounded loop of some milliseconds, and one that never ends.
    let work = format!(
        "(local.set $x (i32.const 60000000)) (loop $l (br_if $l (local.tee $x (i32.sub (local.get $x) (i32.const 1))))) (i32.const {ANSWER})"
    );
    let long = StageContext {
        limits: Limits {
            call: Duration::from_mins(10),
            ..Limits::default()
        },
        ..context()
    };
    let mut worker = transformer(&guest().body("apply", &work), long.clone()).await;
    let one = batch(1);
    let cpu = || cpu_time();
    let mut alone = Duration::MAX;
    for _ in 0..3 {
        let start = cpu();
        worker.apply(&one).await.unwrap();
        alone = alone.min(cpu().saturating_sub(start));
    }
    let mut greedy = transformer(
        &guest().body("apply", "(loop $l (br $l)) unreachable"),
        long,
    )
    .await;
    let start = cpu();
    tokio::select! {
        biased;
        _ = greedy.apply(&one) => unreachable!("it never ends"),
        outcome = worker.apply(&one) => drop(outcome.unwrap()),
    }
    let shared = cpu().saturating_sub(start);
    // Both run on this one thread, whose own time is measured, so that a busy machine changes nothing: an even share
    // doubles it, and the slice of 10 ms that each gets is the most that either waits for the other.
    let ratio = shared.as_secs_f64() / (alone + Duration::from_millis(40)).as_secs_f64();
    println!("alone {alone:?}, beside a loop {shared:?}: {ratio:.1} times");
    assert!(
        ratio < 4.0,
        "{ratio:.1}: alone {alone:?}, beside a loop {shared:?}"
    );
}

/// Time that this thread has had.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}
