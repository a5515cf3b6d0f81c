//! `crossdock plugin test`: every plugin of this repository keeps the contract, and each lie is found by the check that is
//! about it.

use std::{fs, path::Path};

use crossdock_tests::{
    akeneo::{AkeneoServer, Options},
    host::{Ended, TestHost, plugin, test_plugin, workspace},
    languages::{foreign_plugin, foreign_plugins},
};
use serde_json::{Value, json};

/// A copy of a component in the project's folder: what is found is stored beside it.
pub(crate) fn copied(host: &TestHost, component: &Path) -> String {
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

/// Every kind of a plugin of this repository is at the level that its conformance.yaml asks for, and what it declares is what
/// was found, where that can be seen.
fn keeps(name: &str, component: &Path, host: &TestHost) {
    host.write("conformance.yaml", settings(name));
    let component = copied(host, component);
    let ended = tested(host, &component, &[]);
    let report = ended.exits(0).json();
    for kind in report["kinds"].as_array().unwrap() {
        assert!(
            checks(kind, "passed").contains(&"reaches-its-level".to_owned()),
            "{name}: plugins/{name}/conformance.yaml has to say which `level` it reaches\n{report:#}"
        );
        let (level, found, declared) = (&kind["level"], &kind["found"], &kind["declared"]);
        // A script may keep more than what is declared for all scripts.
        let little = [json!(null), json!("volatile"), json!("at-least-once")];
        assert!(
            found == declared || little.contains(declared) || level != "exactly-once",
            "{report:#}"
        );
    }
    assert_eq!(report["digest"], read_stored(host, name)["digest"]);
}

fn read_stored(host: &TestHost, name: &str) -> Value {
    serde_json::from_slice(&host.bytes(format!("{name}.conformance.json"))).unwrap()
}

pub(crate) fn settings(name: &str) -> String {
    fs::read_to_string(workspace().join(format!("plugins/{name}/conformance.yaml"))).unwrap()
}

/// Languages that plugins are in beside Rust, one test each. A further one is a line here, and one below.
const LANGUAGES: [&str; 4] = ["javascript", "python", "c", "go"];

#[test]
fn plugins_in_javascript_keep_the_contract() {
    plugins_in("javascript");
}

#[test]
fn plugins_in_python_keep_the_contract() {
    plugins_in("python");
}

#[test]
fn plugins_in_c_keep_the_contract() {
    plugins_in("c");
}

#[test]
fn plugins_in_go_keep_the_contract() {
    plugins_in("go");
}

fn plugins_in(language: &str) {
    for (name, _) in foreign_plugins()
        .into_iter()
        .filter(|(_, own)| *own == language)
    {
        if let Some(component) = foreign_plugin(&name) {
            keeps(&name, &component, &TestHost::new());
        }
    }
}

/// Plugins in Rust, each a folder with `plugin.json` and `Cargo.toml`.
fn plugins_in_rust() -> Vec<String> {
    let folders = fs::read_dir(workspace().join("plugins")).unwrap();
    let paths = folders.map(|entry| entry.unwrap().path());
    let is_plugin = |path: &std::path::PathBuf| {
        path.join("plugin.json").is_file() && path.join("Cargo.toml").is_file()
    };
    paths
        .filter(is_plugin)
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn plugins_in_rust_keep_the_contract() {
    // That one needs a server, see below.
    for name in plugins_in_rust().iter().filter(|name| *name != "akeneo") {
        keeps(name, &plugin(name), &TestHost::new());
    }
}

#[test]
fn no_language_is_left_out() {
    for (name, language) in foreign_plugins() {
        assert!(LANGUAGES.contains(&language), "{name} is in {language}");
    }
}

pub(crate) fn connection(server: &AkeneoServer) -> String {
    let who = server.credentials();
    let connection = json!({
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
    keeps("akeneo", &plugin("akeneo"), &host);
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
