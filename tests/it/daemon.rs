//! `crossdock serve`: flows of a project run, are steered, and survive whatever happens to the process.

use crossdock_tests::{
    daemon::TestDaemon,
    host::{TestHost, test_plugin},
};
use serde_json::Value;

/// Numbered records at a pace, as they are, into a file that grows with every checkpoint.
fn numbers(host: &TestHost, name: &str, records: u64, rate: u64) {
    host.flow(
        name,
        &format!(
            "
source: {{ plugin: generate, config: {{ records: {records}, rate: {rate}, fields: {{ id: {{ kind: sequence }} }} }} }}
sinks:
  - plugin: jsonl
    config: {{ file: out/{name}.jsonl, mode: append }}
    grants: {{ files: {{ write: [out] }} }}
batch: {{ records: 100, wait: 20ms }}
checkpoint: {{ records: 500, every: 50ms }}
"
        ),
    );
}

/// The numbers in an output, which must be 0.. without a gap, a double, or another order.
fn count(host: &TestHost, name: &str) -> usize {
    let text = host.text(format!("out/{name}.jsonl"));
    for (at, line) in text.lines().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["id"].as_u64(), Some(at as u64), "{name}");
    }
    text.lines().count()
}

#[test]
fn flows_of_a_project_run_and_are_steered() {
    let host = TestHost::new();
    numbers(&host, "short", 2_000, 100_000);
    numbers(&host, "long", 100_000_000, 5_000);
    let mut daemon = TestDaemon::start(&host);
    let done = daemon.until_state("short", "finished");
    assert_eq!(done["last"]["records"], 2_000);
    assert_eq!(done["checkpoint"]["balanced"], true);
    assert_eq!(count(&host, "short"), 2_000);
    daemon.until_checkpoints("long", 2);

    let listed = daemon.ask(&["flow", "list"]);
    listed
        .exits(0)
        .tells(&["short finished exactly-once", "long running exactly-once"]);
    daemon.ask(&["flow", "status", "long"]).exits(0).tells(&[
        "long is running",
        "generate source generate 0.1.0",
        "Delivery exactly-once",
        "(balanced)",
    ]);

    // Paused: all that was read is settled, and nothing more comes.
    daemon
        .ask(&["flow", "pause", "long"])
        .exits(0)
        .tells(&["long is paused"]);
    let paused = count(&host, "long");
    let epoch = |status: &Value| status["checkpoint"]["epoch"].as_u64().unwrap();
    let at = epoch(&daemon.status("long"));
    daemon
        .ask(&["flow", "resume", "long"])
        .exits(0)
        .tells(&["long is running"]);
    daemon.until("long", "went on", |status| epoch(status) > at);
    // The first checkpoint may be one without a record.
    let before = host.bytes("out/long.jsonl").len();
    daemon.until("long", "wrote more", |_| {
        host.bytes("out/long.jsonl").len() > before
    });

    // Paused over a restart of the daemon, it says that it is paused.
    daemon.ask(&["flow", "pause", "long"]).exits(0);
    daemon.end().exits(0).no_panic();
    let mut daemon = TestDaemon::start(&host);
    daemon.until_state("long", "paused");
    daemon.ask(&["flow", "resume", "long"]).exits(0);
    daemon.until_checkpoints("long", 1);

    // Stopped: it stays so, also over a restart of the daemon.
    daemon
        .ask(&["flow", "stop", "long"])
        .exits(0)
        .tells(&["long is stopped"]);
    let stopped = count(&host, "long");
    assert!(stopped > paused);
    daemon.end().exits(0).no_panic();
    assert_eq!(count(&host, "long"), stopped);
    let mut daemon = TestDaemon::start(&host);
    daemon.until_state("short", "finished");
    assert_eq!(daemon.status("long")["state"], "stopped");
    assert_eq!(
        count(&host, "short"),
        2_000,
        "a finished source has nothing new"
    );
    daemon.ask(&["flow", "start", "long"]).exits(0);
    daemon.until_checkpoints("long", 1);
    daemon
        .ask(&["flow", "start", "long"])
        .exits(2)
        .tells(&["is running already"]);
    daemon.end().exits(0).no_panic();
    assert!(count(&host, "long") > stopped);
    daemon_is_gone(&host);
}

/// What commands say when nobody serves.
fn daemon_is_gone(host: &TestHost) {
    for command in [
        &["flow", "list"][..],
        &["swap", "long", "jsonl", "jsonl"],
        &["swaps"],
    ] {
        let told = host.crossdock(command).end();
        told.exits(2)
            .tells(&["no daemon serves", "crossdock serve"])
            .no_panic();
    }
}

#[test]
fn one_flow_that_is_wrong_does_not_keep_the_others_from_running() {
    let host = TestHost::new();
    numbers(&host, "good", 500, 100_000);
    host.write("flows/typo.yaml", "flow: typo\nsorce: {}\n");
    host.flow(
        "failing",
        &format!(
            "
source: {{ plugin: {0}, config: {{ records: 10, open: trap }} }}
sinks: [{{ plugin: {0}, name: out, config: {{}} }}]
",
            test_plugin("puppet").display()
        ),
    );
    let mut daemon = TestDaemon::start(&host);
    daemon.until_state("good", "finished");
    let typo = daemon.until_state("typo", "failed");
    assert!(typo["findings"].to_string().contains("sorce"), "{typo:#}");
    daemon
        .ask(&["flow", "status", "typo"])
        .exits(1)
        .tells(&["sorce", "flows/typo.yaml"]);
    // A plugin that traps may work another time: it is tried again, later and later.
    let failing = daemon.until("failing", "was tried again", |status| {
        status["restarts"].as_u64() >= Some(2)
    });
    assert_eq!(failing["state"], "retrying");
    daemon
        .ask(&["flow", "status", "nothing"])
        .exits(2)
        .tells(&["there is no flow `nothing`", "`good`"]);
    daemon.end().exits(0).no_panic();
}

#[test]
fn after_kill_9_flows_go_on_where_they_were() {
    let host = TestHost::new();
    numbers(&host, "kept", 20_000, 20_000);
    for _ in 0..3 {
        let mut daemon = TestDaemon::start(&host);
        daemon.until_checkpoints("kept", 1);
        assert_eq!(daemon.kill().signal(), Some(9));
    }
    // What it left behind says that somebody serves; nobody does.
    assert!(host.state().join("daemon.json").exists());
    daemon_is_gone(&host);
    let mut daemon = TestDaemon::start(&host);
    let done = daemon.until_state("kept", "finished");
    assert_eq!(done["last"]["streams"]["records"]["written"], 20_000);
    assert_eq!(count(&host, "kept"), 20_000);
    daemon.end().exits(0);
}

#[test]
fn a_second_host_is_refused_and_a_run_is_the_daemons() {
    let host = TestHost::new();
    numbers(&host, "shared", 4_000, 100_000);
    let mut daemon = TestDaemon::start(&host);
    daemon.until_state("shared", "finished");
    let second = host
        .crossdock(["serve", ".", "--listen", "127.0.0.1:0"])
        .end();
    second
        .exits(1)
        .tells(&["is in use by another crossdock process", "--state"])
        .no_panic();

    let run = host.run_with("shared", ["--from-start", "--follow"]);
    let summary = run.exits(0).json();
    assert_eq!(summary["records"], 4_000);
    assert_eq!(summary["outcome"], "finished");
    let started = host.crossdock(["run", "flows/shared.yaml"]).end();
    started
        .exits(0)
        .tells(&["shared runs in the daemon", "crossdock flow status shared"]);
    daemon.end().exits(0);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let busy = host.crossdock(["serve", ".", "--listen", &address]).end();
    busy.exits(2)
        .tells(&["cannot listen on", "--listen", "127.0.0.1:0"])
        .no_panic();
    let open = host
        .crossdock(["serve", ".", "--listen", "0.0.0.0:7070"])
        .end();
    open.exits(2).tells(&["this machine only"]).no_panic();
    let nowhere = host.crossdock(["serve", "nowhere"]).end();
    nowhere
        .exits(2)
        .tells(&["nowhere/flows", "name the folder"])
        .no_panic();
}

#[test]
fn dead_letters_are_worked_on_through_the_daemon() {
    let host = TestHost::new();
    host.write("in/p.csv", "sku,price\na,1.50\nb,many\nc,2.50\nd,few\n");
    host.write(
        "maps/m.yaml",
        "streams:\n  \"*\":\n    - set: { price: $.price | number }\n",
    );
    host.flow(
        "prices",
        "
source:
  plugin: csv
  config: { files: in/*.csv, key: sku }
  grants: { files: { read: [in] } }
transformers:
  - plugin: mapper
    name: map
    config: { mapping: { $file: ../maps/m.yaml } }
sinks:
  - plugin: jsonl
    config: { file: out/all.jsonl, mode: append }
    grants: { files: { write: [out] } }
",
    );
    let mut daemon = TestDaemon::start(&host);
    let status = daemon.until_state("prices", "finished");
    assert_eq!(status["dead-letters"], 2);
    let listed = daemon.ask(&["dlq", "list", "--json"]).finished();
    let ids: Vec<String> = listed["dead_letters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|letter| letter["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 2);
    for command in [
        &["discard", &ids[0], "77"][..],
        &["export", "77"],
        &["replay", "flows/prices.yaml", "77"],
    ] {
        let all: Vec<&str> = ["dlq"].iter().chain(command).copied().collect();
        let told = daemon.ask(&all);
        told.exits(2).tells(&["there is no dead letter 77"]);
    }
    let all = ["dlq", "replay", "flows/prices.yaml", "--stage", "mop"];
    daemon.ask(&all).exits(2).tells(&["no stage `mop`"]);
    let odd = daemon.api("GET", "dead-letters?fault=foo", true, "");
    assert_eq!(odd.status, 422, "{}", odd.body);
    assert!(odd.body.contains("no kind of fault"), "{}", odd.body);
    daemon
        .ask(&["dlq", "show", &ids[0]])
        .exits(0)
        .tells(&["many"]);
    daemon
        .ask(&["dlq", "search", "few"])
        .exits(0)
        .tells(&["map"]);
    host.write("mended.json", "{\"sku\":\"b\",\"price\":\"3.50\"}\n");
    daemon
        .ask(&["dlq", "edit", &ids[0], "--payload", "mended.json"])
        .exits(0);
    let replayed = daemon
        .ask(&["dlq", "replay", "flows/prices.yaml", &ids[0], "--json"])
        .finished();
    assert_eq!(
        (&replayed["records"], &replayed["settled"]),
        (&1.into(), &1.into())
    );
    assert_eq!(
        host.text("out/all.jsonl").lines().last(),
        Some("{\"sku\":\"b\",\"price\":3.50}")
    );
    let exported = daemon.ask(&["dlq", "export"]);
    exported.exits(0).tells(&["few"]);
    daemon
        .ask(&["dlq", "discard", &ids[1]])
        .exits(0)
        .tells(&["1 dead letter discarded"]);
    let left = daemon.ask(&["dlq", "list", "--json"]).finished();
    assert_eq!(left["dead_letters"].as_array().map(Vec::len), Some(0));
    daemon.ask(&["audit"]).exits(0).tells(&[
        "dead-letters-discarded",
        "dead-letters-replayed",
        "flow-started",
    ]);
    daemon.end().exits(0);
}

/// Another user of the machine can connect, without a token: half a request on many connections takes no more of them than
/// there may be, and nobody else is kept out.
#[test]
#[cfg(target_os = "linux")]
fn half_a_request_on_many_connections_keeps_nobody_out() {
    use std::{io::Write as _, net::TcpStream};
    let host = TestHost::new();
    numbers(&host, "short", 100, 100_000);
    let mut daemon = TestDaemon::start(&host);
    daemon.until_state("short", "finished");
    let endpoint: Value = serde_json::from_str(&host.text(".crossdock/daemon.json")).unwrap();
    let address = endpoint["url"].as_str().unwrap().replace("http://", "");
    let files = || {
        let open = format!("/proc/{}/fd", endpoint["pid"]);
        std::fs::read_dir(open).unwrap().count()
    };
    let before = files();
    let mut halves = Vec::new();
    for _ in 0..600 {
        let mut half = TcpStream::connect(&address).unwrap();
        half.write_all(b"GET /api/v1/flows HTTP/1.1\r\nhost:")
            .unwrap();
        halves.push(half);
    }
    daemon
        .ask(&["flow", "list"])
        .exits(0)
        .tells(&["short finished"]);
    let grown = files().saturating_sub(before);
    assert!(grown < 200, "{grown} files more");
    drop(halves);
    daemon.end().exits(0);
}
