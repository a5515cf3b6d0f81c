//! `crossdock plugin test`: every plugin of this repository keeps the contract, and each lie is found by the check that is
//! about it.

use std::fs;

use crossdock_tests::{
    akeneo::{AkeneoServer, Options},
    host::{Ended, TestHost, plugin, test_plugin, workspace},
};
use serde_json::Value;

/// A copy of a component in the project's folder: what is found is stored beside it.
fn copied(host: &TestHost, component: &std::path::Path) -> String {
    let name = component.file_name().unwrap().to_str().unwrap().to_owned();
    host.write(&name, fs::read(component).unwrap());
    name
}

fn tested(host: &TestHost, component: &str, arguments: &[&str]) -> Ended {
    let test = [
        "plugin",
        "test",
        component,
        "--config",
        "conformance.yaml",
        "--json",
    ];
    host.crossdock(test).args(arguments).end()
}

/// Names of the checks that ended so.
fn checks(kind: &Value, outcome: &str) -> Vec<String> {
    let checks = kind["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["outcome"] == outcome)
        .map(|check| check["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Every kind of a plugin of this repository is at this level, with these checks open.
fn keeps(name: &str, level: &str, host: &TestHost, settings: &str) {
    host.write("conformance.yaml", settings);
    let component = copied(host, &plugin(name));
    let ended = tested(host, &component, &[]);
    let report = ended.exits(0).json();
    for kind in report["kinds"].as_array().unwrap() {
        assert_eq!(kind["level"], level, "{name}\n{report:#}");
        let found = &kind["found"];
        assert!(
            found == &kind["declared"] || level != "exactly-once",
            "{report:#}"
        );
    }
    assert_eq!(report["digest"], read_stored(host, name)["digest"]);
}

fn read_stored(host: &TestHost, name: &str) -> Value {
    serde_json::from_slice(&host.bytes(format!("{name}.conformance.json"))).unwrap()
}

fn settings(name: &str) -> String {
    fs::read_to_string(workspace().join(format!("plugins/{name}/conformance.yaml"))).unwrap()
}

#[test]
fn every_plugin_of_this_repository_keeps_the_contract() {
    for name in ["csv", "generate", "jsonl", "mapper", "spryker-csv"] {
        keeps(name, "exactly-once", &TestHost::new(), &settings(name));
    }
    // What is in a database cannot be compared byte by byte.
    keeps("redb", "basic", &TestHost::new(), &settings("redb"));
}

fn connection(server: &AkeneoServer) -> String {
    let who = server.credentials();
    let connection = serde_json::json!({
        "connection": "akeneo", "base-url": server.base_url(), "allow-private": true,
        "auth": { "oauth2-password": {
            "token-url": "/api/oauth/v1/token", "client-id": who.client_id, "client-secret": who.secret,
            "username": who.username, "password": who.password, "body": "json",
        } },
    });
    connection.to_string()
}

#[test]
fn a_plugin_is_tested_against_a_real_system() {
    let server = AkeneoServer::start(Options::generated(20, 1)).unwrap();
    let host = TestHost::new();
    host.write("connections/akeneo.yaml", connection(&server));
    keeps("akeneo", "exactly-once", &host, &settings("akeneo"));
}

/// One lie of the liar, and the check that is about it.
type Lie = (&'static str, &'static str);

fn found_out(kind: &str, config: &str, honest: &[&str], lies: &[Lie]) {
    let host = TestHost::new();
    let component = copied(&host, &test_plugin("liar"));
    let test = |lie: &str| {
        let settings = format!("{kind}:\n  config: {{ lie: {lie:?}{config} }}\n");
        host.write("conformance.yaml", settings);
        let ended = tested(&host, &component, &["--kind", kind]);
        let mut report = ended.json();
        (ended, report["kinds"][0].take())
    };
    for lie in honest {
        let (ended, report) = test(lie);
        assert_eq!(ended.exits(0).json()["ok"], true);
        assert_eq!(
            report["level"], "exactly-once",
            "{kind} {lie:?}\n{report:#}"
        );
    }
    for (lie, check) in lies {
        let (ended, report) = test(lie);
        ended.exits(1);
        let failed = checks(&report, "failed");
        assert!(
            failed.iter().any(|name| name == check),
            "{kind} {lie:?}\n{report:#}"
        );
        assert_ne!(
            report["level"], "exactly-once",
            "{kind} {lie:?}\n{report:#}"
        );
    }
}

#[test]
fn lies_of_a_source_are_found_out() {
    found_out(
        "source",
        ", records: 30",
        &[""],
        &[
            ("swallows", "refuses-bad-config"),
            ("nameless", "refuses-bad-config"),
            ("shrugs", "refuses-bad-config"),
            ("credulous", "refuses-a-foreign-snapshot"),
            ("skips", "resumes-without-gap"),
            ("repeats", "resumes-without-overlap"),
            ("again", "ends-for-good"),
            ("greedy", "any-budget-gives-the-same"),
            ("elsewhere", "keeps-to-its-streams"),
            ("babbles", "payloads-are-json"),
            ("wanders", "gives-the-same-again"),
            ("once", "committed-may-come-again"),
        ],
    );
}

#[test]
fn lies_of_a_transformer_are_found_out() {
    found_out(
        "transformer",
        "",
        &["", "numbers"],
        &[
            ("traps", "takes-any-payload"),
            ("stops", "takes-any-payload"),
            ("retries", "takes-any-payload"),
            ("all-or-nothing", "rejects-by-index"),
            ("counts", "any-batch-size-gives-the-same"),
            ("invents", "no-output-without-input"),
            ("forgets", "continues-from-its-snapshot"),
            ("stateless", "is-stateless-as-it-says"),
            ("wanders", "gives-the-same-again"),
        ],
    );
}

#[test]
fn lies_of_a_sink_are_found_out() {
    found_out(
        "sink",
        "",
        &[""],
        &[
            ("touches", "check-has-no-side-effects"),
            ("gives-up", "rejects-by-index"),
            ("all-or-nothing", "rejects-by-index"),
            ("doubles", "a-replay-writes-nothing-twice"),
            ("loses", "loses-nothing-after-a-crash"),
            ("by-key", "discards-what-came-later"),
            ("once", "commit-may-come-again"),
        ],
    );
}

#[test]
fn a_flow_is_labelled_by_what_was_found() {
    let host = TestHost::new();
    copied(&host, &test_plugin("liar"));
    host.write("in/items.jsonl", "{\"id\":\"a\"}\n");
    let label = |lie: &str| {
        host.write(
            "conformance.yaml",
            format!("sink: {{ config: {{ lie: {lie} }} }}"),
        );
        host.flow(
            "label",
            &format!(
                "source: {{ plugin: jsonl, config: {{ files: in/*.jsonl, key: id }}, grants: {{ files: {{ read: [in] }} }} }}
sinks: [{{ plugin: ../liar.wasm, config: {{ lie: {lie}, folder: out }}, grants: {{ files: {{ write: [out] }} }} }}]"
            ),
        );
        host.run_with("label", ["--from-start"]).finished()["delivery"].clone()
    };
    assert_eq!(
        label("doubles")["label"],
        "exactly-once",
        "nobody has looked at it yet"
    );
    tested(&host, "liar.wasm", &["--kind", "sink"]).exits(1);
    let found = label("doubles");
    assert_eq!(found["label"], "at-least-once");
    let why = "declares `exactly-once`, but `crossdock plugin test` has found `at-least-once`";
    assert!(found["reasons"].to_string().contains(why), "{found}");
    // Another component of the same name has not been tested.
    let mut other = host.bytes("liar.wasm");
    other.extend([0, 2, 1, b'x']);
    host.write("liar.wasm", other);
    assert_eq!(label("doubles")["label"], "exactly-once");
}

#[test]
fn what_is_told_is_for_people_and_for_build_servers() {
    let host = TestHost::new();
    copied(&host, &test_plugin("liar"));
    host.write(
        "conformance.yaml",
        "transformer: { config: { lie: counts } }\n",
    );
    let told = host.crossdock([
        "plugin",
        "test",
        "liar.wasm",
        "--kind",
        "transformer",
        "--junit",
        "report.xml",
    ]);
    let told = told.end();
    let text = told.exits(1).to_string();
    for line in [
        "liar 0.1.0 as transformer",
        "✓ opens",
        "✗ any-batch-size-gives-the-same: Batches of 1, 2, 7, 1000 and no records give the same.",
        "in batches of 1: 17 records missing, first {",
        "level none (deterministic, as it declares)",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let xml = host.text("report.xml");
    assert!(
        xml.contains("<testsuite name=\"liar 0.1.0 as transformer\" tests=\"14\" failures="),
        "{xml}"
    );
    assert!(
        xml.contains("<failure message=\"Batches of 1, 2, 7"),
        "{xml}"
    );

    host.write(
        "conformance.yaml",
        "transformer:\n  confg: { lie: counts }\n",
    );
    let wrong = host.crossdock(["plugin", "test", "liar.wasm"]).end();
    let text = wrong.exits(2).to_string();
    assert!(
        text.contains("conformance.yaml:2") && text.contains("did you mean `config`"),
        "{text}"
    );
    let nothing = host.crossdock(["plugin", "test", "in"]).end();
    assert!(
        nothing
            .exits(2)
            .to_string()
            .contains("there is no `plugin.json`"),
        "{nothing}"
    );
}

/// A recording of the akeneo plugin at a server that is gone when it is played back.
#[test]
fn what_a_real_system_answered_is_played_back_offline() {
    let host = TestHost::new();
    let component = copied(&host, &plugin("akeneo"));
    host.write("conformance.yaml", settings("akeneo"));
    let record = |more: &[&str]| {
        let record = [
            "plugin",
            "record",
            &component,
            "--out",
            "akeneo.cassette.json",
            "--json",
        ];
        host.crossdock(record).args(more).end()
    };
    let nowhere = record(&[]);
    nowhere
        .exits(2)
        .tells(&["nothing says where the real system is: put a folder `connections` beside"]);

    let server = AkeneoServer::start(Options::generated(20, 1)).unwrap();
    host.write("connections/akeneo.yaml", connection(&server));
    let recorded = record(&["--records", "40"]).finished();
    assert!(recorded["requests"].as_u64().unwrap() > 5, "{recorded:#}");
    assert_eq!(recorded["fault"], Value::Null, "{recorded:#}");
    drop(server);
    fs::remove_dir_all(host.path("connections")).unwrap();

    let play = |component: &str| {
        host.crossdock([
            "plugin",
            "test",
            component,
            "--cassette",
            "akeneo.cassette.json",
            "--json",
        ])
        .end()
    };
    let played = play(&component).finished();
    assert_eq!(played["requests"], recorded["requests"], "{played:#}");
    let text = host.text("akeneo.cassette.json");
    for secret in ["standin_secret", "standin_password"] {
        assert!(!text.contains(secret), "a secret is on the cassette");
    }

    // One answer is another one, one request has not been sent: both are told.
    let first = text.find("cat_0001").unwrap();
    let changed = format!("{}dog_0001{}", &text[..first], &text[first + 8..]);
    host.write("akeneo.cassette.json", &changed);
    let ended = play(&component);
    ended.exits(1).tells(&["gave another", "dog_0001"]);
    let mut shorter: Value = serde_json::from_str(&text).unwrap();
    shorter["requests"].as_array_mut().unwrap().remove(1);
    host.write("akeneo.cassette.json", shorter.to_string());
    play(&component).exits(1).tells(&["is not on the cassette"]);
    let other = copied(&host, &plugin("jsonl"));
    play(&other)
        .exits(2)
        .tells(&["the cassette is of a source called `akeneo`, but this is `jsonl`"]);
    host.write("akeneo.cassette.json", "{}");
    play(&component)
        .exits(2)
        .tells(&["is no cassette of this crossdock"]);
}

#[test]
fn a_plugin_is_measured_beside_another_version() {
    let host = TestHost::new();
    let component = copied(&host, &test_plugin("liar"));
    host.write("conformance.yaml", "source: { config: { records: 500 } }\n");
    let bench = [
        "plugin", "bench", &component, "--time", "50ms", "--batch", "100", "--json",
    ];
    let measured = host
        .crossdock(bench)
        .args(["--against", &component])
        .end()
        .finished();
    let kinds = measured["measured"].as_array().unwrap();
    assert_eq!(kinds.len(), 3, "{measured:#}");
    for (one, before) in kinds.iter().zip(measured["against"].as_array().unwrap()) {
        assert_eq!(one["kind"], before["kind"]);
        for number in ["records", "records_per_second", "memory", "calls"] {
            assert!(
                one[number].as_f64().unwrap() > 0.0,
                "{number}\n{measured:#}"
            );
        }
        assert!(
            one["p50_micros"].as_u64() <= one["p99_micros"].as_u64(),
            "{measured:#}"
        );
    }
    let table = host
        .crossdock([
            "plugin", "bench", &component, "--time", "20ms", "--kind", "sink",
        ])
        .end();
    table
        .exits(0)
        .tells(&["kind", "records", "call p99", "sink 0.1.0"]);
}

/// What `host/src/plugin/tests/released.rs` runs call by call, as a flow.
#[test]
fn a_flow_of_components_of_contract_0_1_0_runs() {
    let host = TestHost::new();
    for kind in ["source", "transformer", "sink"] {
        let fixture = workspace().join(format!("tests/fixtures/contract-0.1.0/{kind}.wasm"));
        host.write(format!("{kind}.wasm"), fs::read(fixture).unwrap());
    }
    host.flow(
        "released",
        "source: { plugin: ../source.wasm }
transformers: [{ plugin: ../transformer.wasm }]
sinks: [{ plugin: ../sink.wasm }]",
    );
    let summary = host.run("released").finished();
    assert_eq!(summary["streams"]["items"]["written"], 2, "{summary:#}");
    let calls = host.run_with("released", ["--from-start", "--log", "plugin::call=trace"]);
    calls.exits(0).tells(&[
        "read gave",
        "apply takes",
        "write takes",
        "records=2 bytes=22",
        "micros=",
    ]);
}
