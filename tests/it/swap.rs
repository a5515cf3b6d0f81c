//! Another version takes over a stage of a running flow: nothing is lost, nothing is doubled, and a bad version leaves no
//! trace.

use std::fs;

use crossdock_tests::{
    daemon::TestDaemon,
    host::{TestHost, plugin, test_plugin},
    variant,
};
use serde_json::{Value, json};

/// generate → puppet → jsonl, until it is stopped.
fn project() -> TestHost {
    let host = TestHost::new();
    for (name, file) in [
        ("generate", plugin("generate")),
        ("puppet", test_plugin("puppet")),
        ("jsonl", plugin("jsonl")),
    ] {
        host.write(format!("plugins/{name}.wasm"), fs::read(&file).unwrap());
        host.write(
            format!("next/{name}.wasm"),
            variant::version(&file, "9.0.0"),
        );
    }
    flow(&host, "{ on: {} }");
    host
}

fn flow(host: &TestHost, config: &str) {
    host.flow(
        "live",
        &format!(
            "
source:
  plugin: ../plugins/generate.wasm
  name: source
  config: {{ records: 100000000, rate: 6000, fields: {{ id: {{ kind: sequence }} }} }}
transformers:
  - plugin: ../plugins/puppet.wasm
    name: middle
    config: {config}
sinks:
  - plugin: ../plugins/jsonl.wasm
    name: sink
    config: {{ file: out/live.jsonl, mode: append }}
    grants: {{ files: {{ write: [out] }} }}
batch: {{ records: 100, wait: 20ms }}
checkpoint: {{ records: 500, every: 50ms }}
"
        ),
    );
}

/// Stops the flow: its records are in the output once, in order, without a gap, as if nothing had been.
fn ends_whole(host: &TestHost, daemon: &TestDaemon<'_>) -> Value {
    daemon.ask(&["flow", "stop", "live"]).exits(0);
    let done = daemon.status("live");
    assert_eq!(done["state"], "stopped");
    assert_eq!(done["checkpoint"]["balanced"], true);
    let text = host.text("out/live.jsonl");
    let mut count = 0;
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["id"].as_u64(), Some(count));
        count += 1;
    }
    assert!(count > 0);
    assert_eq!(done["last"]["streams"]["records"]["read"], count);
    assert_eq!(done["last"]["streams"]["records"]["written"], count);
    done
}

fn stage<'a>(status: &'a Value, name: &str) -> &'a Value {
    let stages = status["stages"].as_array().unwrap();
    stages.iter().find(|stage| stage["name"] == name).unwrap()
}

fn states(swap: &Value) -> Vec<&str> {
    let steps = swap["steps"].as_array().unwrap();
    steps
        .iter()
        .map(|step| step["state"].as_str().unwrap())
        .collect()
}

#[test]
fn every_stage_is_swapped_while_records_flow() {
    let host = project();
    let mut daemon = TestDaemon::start(&host);
    daemon.until_checkpoints("live", 1);
    for (name, file) in [
        ("middle", "puppet"),
        ("source", "generate"),
        ("sink", "jsonl"),
    ] {
        let next = format!("next/{file}.wasm");
        let swap = daemon
            .swap(&["live", name, &next, "--probation", "200ms"])
            .finished();
        assert_eq!(
            states(&swap),
            ["prepare", "switch", "probation", "done"],
            "{swap:#}"
        );
        assert_eq!(
            (&swap["from"]["version"], &swap["to"]["version"]),
            (&json!("0.1.0"), &json!("9.0.0"))
        );
        assert!(swap["pause_us"].is_u64(), "{swap:#}");
        assert!(swap["probation_records"].as_u64() > Some(0), "{swap:#}");
        let status = daemon.status("live");
        assert_eq!(
            status["state"], "running",
            "no other stage was stopped for it"
        );
        let own = stage(&status, name);
        assert_eq!(
            (&own["version"], &own["swapped"]),
            (&json!("9.0.0"), &json!(true))
        );
    }
    daemon
        .ask(&["swaps"])
        .exits(0)
        .tells(&["1 live middle puppet 0.1.0 puppet 9.0.0 done"]);
    daemon.ask(&["swaps", "1"]).exits(0).tells(&[
        "middle of live is now puppet 9.0.0",
        "probation",
        "asked for by api",
    ]);
    daemon.ask(&["audit", "--flow", "live"]).exits(0).tells(&[
        "swap-started",
        "swap-switched",
        "swap-done",
        "9.0.0",
    ]);

    // What was swapped in is there again after the machine has lost its power.
    assert_eq!(daemon.kill().signal(), Some(9));
    let mut daemon = TestDaemon::start(&host);
    let status = daemon.until("live", "was planned", |status| {
        status["stages"]
            .as_array()
            .is_some_and(|stages| stages.len() == 3)
    });
    for name in ["source", "middle", "sink"] {
        assert_eq!(stage(&status, name)["version"], "9.0.0");
    }
    ends_whole(&host, &daemon);

    // And goes when it is told to.
    let back = daemon
        .ask(&["rollback", "live", "middle", "--json"])
        .finished();
    assert_eq!(
        (&back["state"], &back["to"]["version"]),
        (&json!("done"), &json!("0.1.0"))
    );
    assert_eq!(stage(&daemon.status("live"), "middle")["version"], "0.1.0");
    // Once more would bring the bad version back: only who says so gets it.
    daemon
        .ask(&["rollback", "live", "middle"])
        .exits(2)
        .tells(&[
            "was rolled back already",
            "puppet 9.0.0 (sha256:",
            "the same config",
            "--again",
        ]);
    daemon
        .ask(&["rollback", "live", "middle", "--again"])
        .exits(0)
        .tells(&["9.0.0"]);
    daemon.ask(&["rollback", "live", "middle"]).exits(0);
    daemon.end().exits(0).no_panic();
}

#[test]
fn a_swap_that_the_end_of_the_daemon_cut_off_has_an_end() {
    let host = project();
    let mut daemon = TestDaemon::start(&host);
    daemon.until_checkpoints("live", 1);
    let asked = ["live", "middle", "next/puppet.wasm", "--probation", "1h"];
    let begun: Vec<&str> = asked.iter().chain(&["--no-wait"]).copied().collect();
    daemon.swap(&begun).exits(0);
    daemon.until("live", "went into probation", |_| {
        let swap = host.crossdock(["swaps", "1", "--json"]).end().json();
        swap["state"] == "probation"
    });
    assert_eq!(daemon.kill().signal(), Some(9));
    let mut daemon = TestDaemon::start(&host);
    daemon.until_checkpoints("live", 1);
    let told = "the daemon ended in its probation";
    daemon.ask(&["swaps", "1"]).exits(0).tells(&[told]);
    daemon
        .ask(&["audit", "--flow", "live"])
        .exits(0)
        .tells(&["rolled-back: the daemon ended in its probation"]);
    assert_eq!(stage(&daemon.status("live"), "middle")["version"], "0.1.0");
    daemon.end().exits(0).no_panic();
}

#[test]
fn a_version_that_misbehaves_on_probation_leaves_no_trace() {
    let host = project();
    let mut daemon = TestDaemon::start(&host);
    daemon.until_checkpoints("live", 1);
    // Any record that comes later than now, and before the end of the minute of probation.
    let acts = ["trap", "wild-index", "lose", "permanent"];
    for (at, act) in acts.iter().enumerate() {
        let status = daemon.status("live");
        let read = status["progress"]["stages"][0]["records_out"]
            .as_u64()
            .unwrap();
        let keys: Vec<String> = (0..100_000)
            .map(|more| format!("\"{}\": {act}", read + 10 * more))
            .collect();
        host.write("bad.yaml", format!("on: {{ {} }}\n", keys.join(", ")));
        let swap = daemon.swap(&[
            "live",
            "middle",
            "next/puppet.wasm",
            "--config",
            "bad.yaml",
            "--probation",
            "60s",
        ]);
        let swap = swap.exits(1).json();
        assert_eq!(swap["state"], "rolled-back", "{act}: {swap:#}");
        assert_eq!(swap["id"], at + 1);
        assert_eq!(stage(&daemon.status("live"), "middle")["version"], "0.1.0");
    }
    daemon
        .ask(&["swaps", "1"])
        .exits(0)
        .tells(&["middle of live is puppet 0.1.0 again", "trap"]);
    daemon
        .ask(&["audit", "--flow", "live"])
        .exits(0)
        .tells(&["rolled-back"]);
    let done = ends_whole(&host, &daemon);
    assert_eq!(
        done["dead-letters"], 0,
        "dead letters of a version that is gone are gone with it"
    );
    daemon.end().exits(0).no_panic();
}

#[test]
fn what_cannot_take_over_is_refused_and_the_flow_does_not_notice() {
    let host = project();
    let puppet = test_plugin("puppet");
    let greedy = variant::with_manifest(&puppet, |manifest| {
        manifest["version"] = json!("2.0.0");
        manifest["permissions"] =
            json!({ "http": [{ "url": "https://example.com/", "reason": "to phone home" }] });
    });
    host.write("next/greedy.wasm", greedy);
    let other = variant::with_manifest(&puppet, |manifest| manifest["name"] = json!("marionette"));
    host.write("next/other.wasm", other);
    host.write("next/text.wasm", "no component");
    host.write("bad.yaml", "onn: {}\n");
    host.write("refuses.yaml", "open: config\n");
    host.write("traps.yaml", "open: trap\n");
    host.write("stateful.yaml", "stateful: true\n");
    let mut daemon = TestDaemon::start(&host);
    daemon.until_checkpoints("live", 1);
    let cases: [(&[&str], &str); 10] = [
        (&["middle", "next/greedy.wasm"], "asks for more"),
        (
            &["middle", "next/other.wasm"],
            "is plugin `puppet`, and this is `marionette`",
        ),
        (&["middle", "next/text.wasm"], "no WebAssembly"),
        (&["middle", "next/none.wasm"], "there is no file"),
        (&["middle", "next/jsonl.wasm"], "is no transformer"),
        (
            &["middle", "puppet@7.7.7"],
            "there is no version 7.7.7 of `puppet`",
        ),
        (
            &["middle", "next/puppet.wasm", "--config", "bad.yaml"],
            "onn",
        ),
        (
            &["middle", "next/puppet.wasm", "--config", "traps.yaml"],
            "cannot be opened",
        ),
        (
            &["middle", "next/puppet.wasm", "--config", "refuses.yaml"],
            "dislike its config",
        ),
        (
            &["middle", "next/puppet.wasm", "--config", "stateful.yaml"],
            "keeps state",
        ),
    ];
    for (arguments, reason) in cases {
        let arguments = [&["live"], arguments].concat();
        let swap = daemon.swap(&arguments).exits(1).json();
        assert_eq!(swap["state"], "refused", "{arguments:?}: {swap:#}");
        let told = swap["reason"].as_str().unwrap();
        assert!(told.contains(reason), "{arguments:?}: {told}");
    }
    let grown = daemon.ask(&["swaps", "1"]);
    grown
        .exits(0)
        .tells(&["middle of live stays puppet 0.1.0", "https://example.com/"]);
    daemon
        .swap(&["live", "nothing", "next/puppet.wasm"])
        .exits(2)
        .tells(&["has no stage `nothing`", "`middle`"]);
    daemon
        .swap(&["live", "sink", "next/jsonl.wasm", "--shadow", "10"])
        .exits(1)
        .tells(&["only a transformer"]);
    daemon
        .ask(&["rollback", "live", "middle"])
        .exits(2)
        .tells(&["was not swapped"]);
    assert_eq!(stage(&daemon.status("live"), "middle")["swapped"], false);
    ends_whole(&host, &daemon);
    daemon.end().exits(0).no_panic();
}

#[test]
fn a_shadow_shows_the_difference_before_anything_happens() {
    let host = TestHost::new();
    host.write(
        "maps/one.yaml",
        "streams:\n  \"*\":\n    - set: { times: 2 }\n",
    );
    host.write(
        "two.yaml",
        "mapping: { name: two.yaml, text: \"streams:\\n  '*':\\n    - set: { times: 3 }\\n\" }\n",
    );
    host.flow(
        "live",
        "
source: { plugin: generate, name: source, config: { records: 100000000, rate: 6000, fields: { id: { kind: sequence } } } }
transformers: [{ plugin: mapper, name: map, config: { mapping: { $file: ../maps/one.yaml } } }]
sinks: [{ plugin: jsonl, name: sink, config: { file: out/live.jsonl, mode: append }, grants: { files: { write: [out] } } }]
batch: { records: 100, wait: 20ms }
checkpoint: { records: 500, every: 50ms }
",
    );
    let mut daemon = TestDaemon::start(&host);
    daemon.until_checkpoints("live", 1);
    let shadow = [
        "live",
        "map",
        "--config",
        "two.yaml",
        "--shadow",
        "1000",
        "--max-difference",
        "1%",
    ];
    let swap = daemon.swap(&shadow).exits(1).json();
    assert_eq!(states(&swap), ["prepare", "shadow", "refused"], "{swap:#}");
    let report = &swap["shadow"];
    assert!(report["records"].as_u64() >= Some(1000), "{report:#}");
    assert!(report["different"].as_u64() >= Some(900), "{report:#}");
    let first = &report["differences"][0];
    assert_ne!(first["live"], first["candidate"]);
    let told = daemon.ask(&["swaps", "1"]);
    told.exits(0)
        .tells(&["in the shadow:", "output records differ", "times"]);

    let shown = daemon.swap(&[
        "live",
        "map",
        "--config",
        "two.yaml",
        "--shadow",
        "500",
        "--probation",
        "100ms",
    ]);
    let shown = shown.finished();
    assert_eq!(
        states(&shown),
        ["prepare", "shadow", "switch", "probation", "done"]
    );
    daemon.until_checkpoints("live", 2);
    ends_whole(&host, &daemon);
    let text = host.text("out/live.jsonl");
    let factors: Vec<u64> = text
        .lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            record["times"].as_u64().unwrap()
        })
        .collect();
    assert!(
        factors.is_sorted(),
        "the boundary is one point of the stream"
    );
    assert_eq!((factors.first(), factors.last()), (Some(&2), Some(&3)));
    daemon.end().exits(0).no_panic();
}

#[test]
fn a_swap_is_called_off_and_one_flow_swaps_one_stage_at_a_time() {
    let host = project();
    let mut daemon = TestDaemon::start(&host);
    daemon.until_checkpoints("live", 1);
    let begun = daemon.swap(&[
        "live",
        "middle",
        "next/puppet.wasm",
        "--probation",
        "60s",
        "--no-wait",
    ]);
    let id = begun.finished()["id"].to_string();
    let second = daemon.swap(&["live", "sink", "next/jsonl.wasm"]);
    second
        .exits(2)
        .tells(&["is under way", "one stage at a time"]);
    daemon.until("live", "was on probation", |_| {
        daemon_swap(&host, &id)["state"] == "probation"
    });
    daemon.ask(&["swaps", &id, "--cancel"]).exits(0);
    daemon.until("live", "went back", |status| status["swap"].is_null());
    let swap = daemon_swap(&host, &id);
    assert_eq!(
        (&swap["state"], &swap["reason"]),
        (&json!("rolled-back"), &json!("it was called off"))
    );
    ends_whole(&host, &daemon);
    daemon.end().exits(0).no_panic();
}

fn daemon_swap(host: &TestHost, id: &str) -> Value {
    host.crossdock(["swaps", id, "--json"]).end().finished()
}

#[test]
fn changed_files_are_swaps() {
    let host = project();
    let mut daemon = TestDaemon::start_with(&host, &["--watch"]);
    daemon.until_checkpoints("live", 1);
    // A plugin that is overwritten.
    fs::copy(
        host.path("next/puppet.wasm"),
        host.path("plugins/puppet.wasm"),
    )
    .unwrap();
    let status = daemon.until("live", "took the plugin over", |status| {
        stage(status, "middle")["version"] == "9.0.0" && status["swap"].is_null()
    });
    assert_eq!(status["runs"], 1, "the run went on");
    let before = stage(&status, "middle")["config-digest"].clone();
    // A flow file with another config, then one that is wrong.
    flow(&host, "{ on: { nobody: trap } }");
    daemon.until("live", "took the config over", |status| {
        stage(status, "middle")["config-digest"] != before && status["swap"].is_null()
    });
    daemon.until_checkpoints("live", 1);
    flow(&host, "{ onn: {} }");
    let wrong = daemon.until("live", "told what is wrong", |status| {
        status["findings"]
            .as_array()
            .is_some_and(|findings| !findings.is_empty())
    });
    assert!(
        wrong["reason"].as_str().unwrap().contains("not taken over"),
        "{wrong:#}"
    );
    assert_eq!(wrong["state"], "running");
    // A new flow is started, one that is gone ends.
    host.flow(
        "more",
        "
source: { plugin: generate, config: { records: 10 } }
sinks: [{ plugin: jsonl, config: { file: out/more.jsonl }, grants: { files: { write: [out] } } }]
",
    );
    let listed = |name: &str| {
        let flows = host.crossdock(["flow", "list", "--json"]).end().finished();
        let flows = flows["flows"].as_array().unwrap().clone();
        flows.iter().any(|flow| flow["flow"] == name)
    };
    daemon.until("live", "saw the new flow", |_| listed("more"));
    fs::remove_file(host.path("flows/more.yaml")).unwrap();
    daemon.until("live", "saw that it is gone", |_| !listed("more"));
    ends_whole(&host, &daemon);
    daemon.end().exits(0).no_panic();
}
