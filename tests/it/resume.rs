//! A run that ends before its input does goes on from where it was, and nobody can tell from the output.

use std::fmt::Write as _;

use crossdock_tests::{
    gate::Gate,
    host::{Running, TestHost, test_plugin},
};

/// A CSV of numbered products.
fn products(host: &TestHost, rows: usize) {
    let mut text = "sku,name,price\n".to_owned();
    for row in 0..rows {
        writeln!(text, "S{row:05},\"Thing \"\"{row}\"\"\",{}.50", row % 97).unwrap();
    }
    host.write("in/products.csv", text);
}

/// csv -> gate on one record -> mapper -> the given sink. In flight are at most 4 batches of 100.
fn flow(host: &TestHost, mode: &str, at: &str) {
    host.write(
        "maps/m.yaml",
        "streams:\n  \"*\":\n    - set: { id: $.sku, price: $.price | number }\n    - remove: name\n",
    );
    host.flow(
        "gated",
        &format!(
            "
source:
  plugin: csv
  config: {{ files: in/*.csv, key: sku }}
  grants: {{ files: {{ read: [in] }} }}
transformers:
  - plugin: {}
    workers: 1
    config: {{ on: {{ {at}: gate }}, connection: gate }}
    grants: {{ connections: [gate] }}
  - plugin: mapper
    config: {{ mapping: {{ $file: ../maps/m.yaml }} }}
sinks:
  - plugin: jsonl
    config: {{ file: out/all.jsonl, mode: {mode} }}
    grants: {{ files: {{ write: [out] }} }}
batch: {{ records: 100 }}
in-flight: {{ batches: 4 }}
checkpoint: {{ records: 500 }}
",
            test_plugin("puppet").display()
        ),
    );
}

pub(crate) const ROWS: usize = 5_000;

pub(crate) fn project(mode: &str, at: &str) -> (TestHost, Gate) {
    let (host, gate) = (TestHost::new(), Gate::new());
    products(&host, ROWS);
    flow(&host, mode, at);
    gate.connect(&host);
    (host, gate)
}

/// What comes out when nobody disturbs the run.
pub(crate) fn undisturbed(mode: &str) -> Vec<u8> {
    let (host, _gate) = project(mode, "nobody");
    let summary = host.run("gated").finished();
    assert_eq!(summary["records"], ROWS);
    assert_eq!(summary["resumed"], false);
    host.bytes("out/all.jsonl")
}

fn stopped_in_the_middle(mut running: Running, gate: &Gate, signal: &str) -> serde_json::Value {
    let arrival = gate.arrival(&mut running);
    running.signal(signal);
    running.says("stopping");
    arrival.pass();
    running.end().finished()
}

#[test]
fn ctrl_c_drains_checkpoints_and_the_next_run_goes_on() {
    for (mode, signal) in [("replace", "INT"), ("append", "TERM"), ("append", "HUP")] {
        let (host, gate) = project(mode, "S03210");
        let first = stopped_in_the_middle(host.start("gated"), &gate, signal);
        assert_eq!(first["outcome"], "stopped");
        let read = first["records"].as_u64().unwrap();
        assert!((3_211..=3_800).contains(&read), "{read}");
        assert_eq!(
            first["streams"]["products"]["written"], read,
            "what was read is drained"
        );
        assert_eq!(host.path("out/all.jsonl").exists(), mode == "append");

        gate.open();
        let second = host.run("gated").finished();
        assert_eq!(second["resumed"], true);
        assert_eq!(second["records"], ROWS as u64 - read);
        assert_eq!(
            second["streams"]["products"]["written"], ROWS,
            "counts are those of the whole run"
        );
        assert!(
            host.bytes("out/all.jsonl") == undisturbed(mode),
            "{mode}: another output"
        );
        assert_eq!(host.list("out"), ["all.jsonl"]);
    }
}

#[test]
fn a_second_ctrl_c_aborts_and_the_next_run_goes_on_from_the_checkpoint() {
    let (host, gate) = project("replace", "S03210");
    let mut running = host.start("gated");
    let _held = gate.arrival(&mut running);
    running.signal("INT");
    running.says("stopping");
    running.signal("INT");
    let ended = running.end();
    let document = ended
        .exits(130)
        .tells(&["goes on from the last checkpoint"])
        .no_panic()
        .json();
    assert_eq!(document["ok"], false);
    assert_eq!(document["outcome"], "aborted");

    gate.open();
    let second = host.run("gated").finished();
    assert_eq!(second["resumed"], true);
    assert!(host.bytes("out/all.jsonl") == undisturbed("replace"));
}

#[test]
fn after_kill_9_the_output_is_the_same() {
    for mode in ["replace", "append"] {
        let (host, gate) = project(mode, "S04321");
        let mut running = host.start("gated");
        let _held = gate.arrival(&mut running);
        assert_eq!(running.kill().signal(), Some(9));

        gate.open();
        let second = host.run("gated").finished();
        assert_eq!(second["resumed"], true);
        let read = second["records"].as_u64().unwrap();
        assert!(
            read < ROWS as u64,
            "it went on from a checkpoint, not from the start"
        );
        assert_eq!(second["streams"]["products"]["written"], ROWS);
        assert!(
            host.bytes("out/all.jsonl") == undisturbed(mode),
            "{mode}: another output"
        );
        assert_eq!(host.list("out"), ["all.jsonl"]);
    }
}

#[test]
fn a_finished_run_has_nothing_left_and_from_start_reads_everything_again() {
    let (host, gate) = project("replace", "nobody");
    gate.open();
    host.run("gated").finished();
    let all = host.bytes("out/all.jsonl");

    let nothing = host.run("gated").finished();
    assert_eq!(
        (&nothing["records"], &nothing["resumed"]),
        (&0.into(), &true.into())
    );
    assert!(
        host.bytes("out/all.jsonl") == all,
        "a run without news leaves the file alone"
    );

    let again = host.run_with("gated", ["--from-start"]).finished();
    assert_eq!(
        (&again["records"], &again["resumed"]),
        (&ROWS.into(), &false.into())
    );
    assert!(host.bytes("out/all.jsonl") == all);
}

#[test]
fn an_edited_flow_goes_on_unless_a_stage_is_another_plugin() {
    let (host, gate) = project("replace", "S03210");
    stopped_in_the_middle(host.start("gated"), &gate, "INT");
    gate.open();
    let checkpoint = host.run("gated").finished();
    assert_eq!(checkpoint["resumed"], true);

    let text = host.text("flows/gated.yaml");
    let other = text.replace("plugin: jsonl\n", "plugin: csv\n    name: jsonl\n");
    assert_ne!(text, other);
    host.write("flows/gated.yaml", other);
    let refused = host.invocation("gated").end();
    refused
        .exits(2)
        .tells(&["stage `jsonl`", "--from-start"])
        .no_panic();
    host.write("flows/gated.yaml", text);
    host.run("gated").finished();
}
