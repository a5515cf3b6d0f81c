//! What a daemon does when files come and go, when it is told two things at once, and when what it remembers is damaged.

use std::fs;

use crossdock_tests::{
    daemon::TestDaemon,
    host::{TestHost, plugin, test_plugin},
    variant,
};
use serde_json::Value;

/// Numbered records at a pace into a file that grows; the pace leaves time for what the tests do.
fn numbers(host: &TestHost, file: &str, flow: &str) {
    host.write(
        format!("flows/{file}.yaml"),
        format!(
            "flow: {flow}
source: {{ plugin: ../plugins/generate.wasm, name: source, config: {{ records: 100000000, rate: 5000, fields: {{ id: {{ kind: sequence }} }} }} }}
sinks:
  - plugin: ../plugins/jsonl.wasm
    name: sink
    config: {{ file: out/{flow}.jsonl, mode: append }}
    grants: {{ files: {{ write: [out] }} }}
batch: {{ records: 100, wait: 20ms }}
checkpoint: {{ records: 500, every: 50ms }}
"
        ),
    );
}

fn project() -> TestHost {
    let host = TestHost::new();
    for name in ["generate", "jsonl"] {
        let file = plugin(name);
        host.write(format!("plugins/{name}.wasm"), fs::read(&file).unwrap());
        let next = variant::version(&file, "9.0.0");
        host.write(format!("next/{name}.wasm"), next);
    }
    host
}

/// The numbers in an output: 0.. without a gap, a double, or another order.
fn count(host: &TestHost, flow: &str) -> usize {
    let text = host.text(format!("out/{flow}.jsonl"));
    for (at, line) in text.lines().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["id"].as_u64(), Some(at as u64), "{flow}");
    }
    text.lines().count()
}

/// Asks until the list of flows is like this.
fn until_listed(
    host: &TestHost,
    daemon: &mut TestDaemon<'_>,
    what: &str,
    is_so: impl Fn(&[Value]) -> bool,
) {
    let end = std::time::Instant::now() + crossdock_tests::host::PATIENCE;
    loop {
        let flows = host.crossdock(["flow", "list", "--json"]).end().finished();
        if is_so(flows["flows"].as_array().unwrap()) {
            return;
        }
        daemon.running.still_runs(what);
        assert!(std::time::Instant::now() < end, "never {what}: {flows:#}");
    }
}

fn is_running(flows: &[Value], name: &str) -> bool {
    flows
        .iter()
        .any(|flow| flow["flow"] == name && flow["state"] == "running")
}

#[test]
fn a_flow_file_that_goes_and_comes_back_goes_on_where_it_was() {
    let host = project();
    numbers(&host, "here", "here");
    let mut daemon = TestDaemon::start_with(&host, &["--watch"]);
    daemon.until_checkpoints("here", 2);
    for _ in 0..2 {
        fs::rename(host.path("flows/here.yaml"), host.path("away.yaml")).unwrap();
        until_listed(&host, &mut daemon, "gone", <[Value]>::is_empty);
        let drained = count(&host, "here");
        assert!(drained > 0);
        fs::rename(host.path("away.yaml"), host.path("flows/here.yaml")).unwrap();
        until_listed(&host, &mut daemon, "back", |flows| {
            is_running(flows, "here")
        });
        daemon.until_checkpoints("here", 1);
        assert!(count(&host, "here") > drained);
    }
    daemon.end().exits(0).no_panic();
    count(&host, "here");
}

#[test]
fn what_editors_and_systems_leave_beside_flows_is_no_flow() {
    let host = project();
    numbers(&host, "here", "here");
    for other in [".hidden", ".#here", "._here"] {
        numbers(&host, other, "here");
    }
    // Nobody writes into it: whoever read it would wait for ever.
    let made = std::process::Command::new("mkfifo")
        .arg(host.path("flows/x.yaml"))
        .status();
    assert!(made.unwrap().success());
    let mut daemon = TestDaemon::start(&host);
    daemon.until_checkpoints("here", 1);
    let listed = host.crossdock(["flow", "list", "--json"]).end().finished();
    let flows = listed["flows"].as_array().unwrap();
    assert_eq!(flows.len(), 2, "{listed:#}");
    let pipe = daemon.status("x");
    assert!(
        pipe["reason"].to_string().contains("no regular file"),
        "{pipe:#}"
    );
    daemon.end().exits(0).no_panic();
}

#[test]
fn a_bad_edit_that_was_put_right_is_forgotten() {
    let host = project();
    numbers(&host, "here", "here");
    let good = host.text("flows/here.yaml");
    let mut daemon = TestDaemon::start_with(&host, &["--watch"]);
    daemon.until_checkpoints("here", 1);
    host.write("flows/here.yaml", good.replace("sinks:", "sink:"));
    daemon.until("here", "was told of the edit", |status| {
        status["reason"].to_string().contains("not taken over")
    });
    host.write("flows/here.yaml", &good);
    let mended = daemon.until("here", "was told that it is right", |status| {
        status["findings"].as_array().is_none_or(Vec::is_empty)
    });
    assert_eq!(mended["reason"], Value::Null, "{mended:#}");
    assert_eq!(mended["state"], "running");
    daemon.end().exits(0).no_panic();
}

#[test]
fn a_flow_in_another_file_never_runs_twice_under_its_name() {
    let host = project();
    numbers(&host, "one", "one");
    let mut daemon = TestDaemon::start_with(&host, &["--watch"]);
    daemon.until_checkpoints("one", 1);
    // The same flow in a file of another name: it waits until the first one has drained, and goes on from there.
    fs::rename(host.path("flows/one.yaml"), host.path("flows/moved.yaml")).unwrap();
    until_listed(
        &host,
        &mut daemon,
        "taken over from the other file",
        |flows| {
            let file = |flow: &Value| flow["file"].as_str().unwrap_or_default().to_owned();
            is_running(flows, "one") && flows.iter().all(|flow| file(flow).ends_with("moved.yaml"))
        },
    );
    daemon.until_checkpoints("one", 1);
    // Another name in the same file is another flow: the first one ends with what it has.
    let first = count(&host, "one");
    numbers(&host, "moved", "two");
    until_listed(&host, &mut daemon, "another flow", |flows| {
        flows.len() == 1 && is_running(flows, "two")
    });
    daemon.until_checkpoints("two", 1);
    assert!(count(&host, "one") >= first);
    daemon.end().exits(0).no_panic();
    count(&host, "one");
    count(&host, "two");
}

#[test]
fn of_two_files_with_one_name_one_runs_and_the_other_is_named() {
    let host = project();
    numbers(&host, "a", "same");
    numbers(&host, "b", "same");
    let mut running = host
        .crossdock(["serve", ".", "--listen", "127.0.0.1:0"])
        .env("CROSSDOCK_LOG", "info")
        .start();
    let told = running.says("is not run");
    assert!(
        told.contains("b.yaml is not run") && told.contains("a.yaml has the name `same`"),
        "{told}"
    );
    running.says("what goes on");
    let listed = host.crossdock(["flow", "list", "--json"]).end().finished();
    assert_eq!(
        listed["flows"].as_array().map(Vec::len),
        Some(1),
        "{listed:#}"
    );
    running.signal("TERM");
    running.end().exits(0).no_panic();
}

#[test]
fn a_stage_of_a_stopped_flow_is_swapped_and_the_next_start_runs_it() {
    let host = project();
    numbers(&host, "idle", "idle");
    let mut daemon = TestDaemon::start(&host);
    daemon.until_checkpoints("idle", 1);
    daemon.ask(&["flow", "stop", "idle"]).exits(0);
    let stopped = count(&host, "idle");
    let swap = daemon.swap(&["idle", "sink", "next/jsonl.wasm"]).finished();
    assert_eq!(swap["state"], "done", "{swap:#}");
    daemon.ask(&["flow", "start", "idle"]).exits(0);
    let status = daemon.until_checkpoints("idle", 1);
    let stages = status["stages"].as_array().unwrap();
    assert!(
        stages.iter().any(|stage| stage["version"] == "9.0.0"),
        "{status:#}"
    );
    daemon.end().exits(0).no_panic();
    assert!(count(&host, "idle") > stopped);
}

#[test]
fn a_flow_that_is_stopped_while_it_waits_for_another_try_stays_stopped() {
    let host = project();
    let puppet = test_plugin("puppet");
    host.flow(
        "failing",
        &format!(
            "
source: {{ plugin: {0}, config: {{ records: 10, open: trap }} }}
sinks: [{{ plugin: {0}, name: out, config: {{}} }}]
",
            puppet.display()
        ),
    );
    let mut daemon = TestDaemon::start(&host);
    daemon.until_state("failing", "retrying");
    // What was running when a stop came may have failed in the same moment: that is what is shown then.
    let rests = |daemon: &TestDaemon<'_>| {
        let status = daemon.status("failing");
        let rests = status["state"] == "stopped" || status["state"] == "failed";
        assert!(rests, "{status:#}");
    };
    let stop = |daemon: &TestDaemon<'_>| {
        let stopped = daemon.ask(&["flow", "stop", "failing"]);
        assert!(matches!(stopped.code(), Some(0 | 1)), "{stopped}");
        rests(daemon);
    };
    stop(&daemon);
    // A start and a stop right after: the last word counts.
    drop(daemon.ask(&["flow", "start", "failing"]));
    stop(&daemon);
    daemon.end().exits(0);
    let mut daemon = TestDaemon::start(&host);
    daemon.until_state("failing", "stopped");
    // Who follows a run that fails is told so.
    let followed = host.run_with("failing", ["--follow"]);
    followed.exits(1).tells(&["panicked"]).no_panic();
    daemon.end().exits(0);
}

#[test]
fn what_a_daemon_remembers_of_a_flow_may_be_damaged_and_only_that_flow_waits() {
    let host = project();
    numbers(&host, "good", "good");
    numbers(&host, "hurt", "hurt");
    let mut daemon = TestDaemon::start(&host);
    daemon.until_checkpoints("hurt", 1);
    daemon
        .swap(&["hurt", "sink", "next/jsonl.wasm", "--probation", "50ms"])
        .finished();
    daemon.end().exits(0);
    let memory = host.state().join("flows/hurt.json");
    for (damage, words) in [
        ("{ \"wanted\": ", "hurt.json"),
        (
            "{ \"format\": 9, \"wanted\": \"running\", \"stages\": {} }",
            "format 9",
        ),
    ] {
        fs::write(&memory, damage).unwrap();
        let mut daemon = TestDaemon::start(&host);
        daemon.until_checkpoints("good", 1);
        let status = daemon.until_state("hurt", "failed");
        let reason = status["reason"].to_string();
        assert!(
            reason.contains(words) && reason.contains("remove it"),
            "{status:#}"
        );
        assert_eq!(
            fs::read_to_string(&memory).unwrap(),
            damage,
            "it is left for a person"
        );
        daemon.end().exits(0).no_panic();
    }
    fs::remove_file(&memory).unwrap();
    let mut daemon = TestDaemon::start(&host);
    daemon.until_checkpoints("hurt", 1);
    daemon.end().exits(0).no_panic();
    count(&host, "hurt");
    count(&host, "good");
}
