//! `crossdock plugin dev --swap`: what is saved goes into a flow that runs, what does not build does not, and no record is
//! lost meanwhile.

use std::fs;

use crossdock_tests::{daemon::TestDaemon, host::TestHost};
use serde_json::Value;

use crate::author::{build_project, dev_project, new_project};

const FLOW: &str = "
source:
  plugin: generate
  config:
    records: 100000000
    rate: 2000
    key: id
    fields: { id: { kind: sequence }, name: { kind: choice, of: [cup] } }
transformers: [{ plugin: ../dev-live/dist/dev-live.wasm, name: letters, config: { field: name } }]
sinks: [{ plugin: jsonl, name: out, config: { file: out/live.jsonl, mode: append }, grants: { files: { write: [out] } } }]
batch: { records: 100, wait: 20ms }
checkpoint: { records: 500, every: 50ms }
";

fn digest(status: &Value) -> Value {
    let stages = status["stages"].as_array().unwrap();
    let letters = stages.iter().find(|stage| stage["name"] == "letters");
    letters.unwrap()["digest"].clone()
}

#[test]
fn what_is_saved_is_swapped_into_a_running_flow_and_what_is_broken_is_not() {
    let host = TestHost::new();
    let folder = new_project(&host, "dev-live", "transformer");
    build_project(&host, "dev-live").finished();
    host.flow("live", FLOW);
    let mut daemon = TestDaemon::start(&host);
    let before = digest(&daemon.until_checkpoints("live", 1));

    let mut dev = dev_project(
        &host,
        "dev-live",
        &["--swap", "live/letters", "--records", "3"],
    );
    dev.says("waiting for a change");

    // Saved: built, compared with what runs, swapped in.
    let code = folder.join("src/lib.rs");
    let text = fs::read_to_string(&code).unwrap();
    let louder = text.replace("text.to_uppercase()", "text.to_uppercase() + \"!\"");
    assert_ne!(text, louder);
    fs::write(&code, &louder).unwrap();
    dev.says("done");
    dev.says("waiting for a change");
    let status = daemon.until("live", "took the build over", |status| {
        digest(status) != before && status["swap"].is_null()
    });
    let after = digest(&status);
    assert_eq!(status["runs"], 1, "the run went on");

    // Broken: told, and what runs goes on.
    fs::write(&code, "fn broken( {}").unwrap();
    dev.says("waiting for a change");
    let status = daemon.until_checkpoints("live", 2);
    assert_eq!(digest(&status), after);

    // What fails with the records of the flow is taken back by itself.
    let lies = louder.replace("text.to_uppercase() + \"!\"", "text.repeat(999_999_999)");
    assert_ne!(lies, louder);
    fs::write(&code, lies).unwrap();
    dev.says("waiting for a change");
    let status = daemon.until("live", "is as it was", |status| status["swap"].is_null());
    assert_eq!(digest(&status), after);

    dev.signal("INT");
    let ended = dev.end();
    ended.exits(0).no_panic().tells(&[
        "letters of live is now dev-live 0.1.0",
        "in the shadow: ",
        "- {\"id\":",
        "\"name\":\"CUP\"}",
        "+ {\"id\":",
        "\"name\":\"CUP!\"}",
        "`cargo build",
        "letters of live stays dev-live 0.1.0",
    ]);
    daemon.until_checkpoints("live", 1);
    daemon.end().exits(0).no_panic();

    let mut names = Vec::new();
    for (at, line) in host.text("out/live.jsonl").lines().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            record["id"].as_u64(),
            Some(at as u64),
            "none lost, none doubled"
        );
        if names.last() != Some(&record["name"]) {
            names.push(record["name"].clone());
        }
    }
    assert_eq!(names, ["CUP", "CUP!"]);
}

#[test]
fn a_daemon_that_is_not_there_is_told_and_the_work_goes_on() {
    let host = TestHost::new();
    let folder = new_project(&host, "dev-alone", "transformer");
    let mut dev = dev_project(&host, "dev-alone", &["--swap", "live/letters"]);
    dev.says("no daemon serves the project");
    dev.says("waiting for a change");
    let code = folder.join("src/lib.rs");
    let text = fs::read_to_string(&code).unwrap();
    fs::write(&code, text + "\n// another\n").unwrap();
    dev.says("waiting for a change");
    dev.signal("INT");
    dev.end().exits(0).tells(&["all as before", "ended"]);

    let wrong = host
        .crossdock(["plugin", "dev", "dev-alone", "--swap", "live"])
        .end();
    wrong.exits(2).tells(&["expected FLOW/STAGE"]);
}
