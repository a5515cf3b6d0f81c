//! What plugins tried and what they were granted is on record, and stays there.

use crossdock_tests::{
    daemon::TestDaemon,
    host::{TestHost, test_plugin},
};
use serde_json::{Value, json};

/// csv -> puppet -> jsonl: record `rN` makes the puppet do act N. `grants` are those of the puppet.
fn project(acts: &[String], grants: &str) -> TestHost {
    let host = TestHost::new();
    let rows: Vec<String> = (0..acts.len()).map(|at| format!("r{at},{at}")).collect();
    host.write("in/r.csv", format!("id,n\n{}\n", rows.join("\n")));
    write_flow(&host, acts, grants);
    host
}

fn host_bytes(plugin: &str) -> Vec<u8> {
    std::fs::read(test_plugin(plugin)).unwrap()
}

fn write_flow(host: &TestHost, acts: &[String], grants: &str) {
    let on: serde_json::Map<String, Value> = acts
        .iter()
        .enumerate()
        .map(|(at, act)| (format!("r{at}"), json!(act)))
        .collect();
    let stage = format!("name: puppet\nworkers: 1\ngrants: {grants}");
    host.puppet_flow("watched", &json!({ "on": on }), &stage);
}

fn entries(host: &TestHost, more: &[&str]) -> Vec<Value> {
    let arguments = ["audit", "--limit", "100000", "--json"];
    let shown = host.crossdock(arguments.iter().chain(more)).end();
    let document = shown.exits(0).json();
    assert_eq!(
        (&document["ok"], &document["damaged"]),
        (&json!(true), &json!(0))
    );
    document["entries"].as_array().cloned().unwrap()
}

/// `action target detail` of entries.
fn told(entries: &[Value]) -> Vec<String> {
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let line = |entry: &Value| {
        let [action, stage, target, detail] =
            ["action", "stage", "target", "detail"].map(|name| text(entry, name));
        format!("{action} {stage} {target}{detail}")
    };
    entries.iter().map(line).collect()
}

#[test]
fn every_way_in_that_is_denied_is_in_the_audit_log() {
    let acts = [
        "http GET http://127.0.0.1:9/a",
        "wasi-http GET http://127.0.0.1:9/b",
        "via shop GET /",
        "tcp 127.0.0.1:9",
        "lookup data.example.com",
        "read in/../../secret",
        "write in/new",
        "rename in/r.csv in/x.csv",
        "symlink ../x in/link",
        "table prices",
        "udp 127.0.0.1:53",
        "stat in/../../seen",
        "times in/r.csv",
        "readlink in/../../link",
        "hash in/../../hashed",
        "fill den/large 2",
    ];
    let host = project(
        &acts.map(str::to_owned),
        "{ files: { read: [in], write: [den], quota: 1MiB }, tcp: [\"db.example.com:5432\"] }",
    );
    host.run("watched").exits(3);
    let denied = entries(&host, &["--action", "denied"]);
    let found = told(&denied);
    for expected in [
        "url http://127.0.0.1:9",
        "connection shop",
        "address 127.0.0.1:9",
        "name data.example.com",
        "path ../../secret",
        "path new",
        "path r.csv to x.csv",
        "link symbolic links",
        "table prices",
        "socket udp",
        "path ../../seen",
        "path r.csv",
        "path ../../link",
        "path ../../hashed",
        "quota files",
    ] {
        let line = format!("denied puppet {expected}");
        assert!(found.contains(&line), "{line:?} is not in {found:#?}");
    }
    for entry in &denied {
        assert_eq!(
            (&entry["flow"], &entry["actor"]),
            (&json!("watched"), &json!("plugin"))
        );
        assert_eq!(
            (&entry["plugin"], &entry["version"]),
            (&json!("puppet"), &json!("0.1.0"))
        );
        assert!(entry["digest"].as_str().unwrap().starts_with("sha256:"));
    }
    // Two ways, one URL: the second is counted.
    let url = denied
        .iter()
        .filter(|one| one["target"] == "url http://127.0.0.1:9");
    assert_eq!(
        url.map(|one| one["count"].as_u64().unwrap_or(1))
            .sum::<u64>(),
        2
    );
}

#[test]
fn a_connection_without_any_grant_is_in_the_audit_log() {
    let acts = ["tcp 127.0.0.1:9", "udp 127.0.0.1:53"];
    let host = project(&acts.map(str::to_owned), "{}");
    host.run("watched").exits(3);
    let found = told(&entries(&host, &["--action", "denied"]));
    for expected in ["address 127.0.0.1:9", "socket udp"] {
        let line = format!("denied puppet {expected}");
        assert!(found.contains(&line), "{line:?} is not in {found:#?}");
    }
}

#[test]
fn what_a_plugin_tries_while_it_is_checked_is_in_the_audit_log() {
    let host = project(&["ok".to_owned()], "{}");
    let flow = host.text("flows/watched.yaml");
    let config = "config: {\"check\":\"http GET http://127.0.0.1:9/checked\",";
    host.write(
        "flows/watched.yaml",
        flow.replace("config: {\"on\"", &format!("{config}\"on\"")),
    );
    host.check("watched").exits(2);
    let denied = entries(&host, &["--action", "denied"]);
    assert_eq!(told(&denied), ["denied puppet url http://127.0.0.1:9"]);
    assert_eq!(denied[0]["flow"], "watched");
    assert!(denied[0]["digest"].as_str().unwrap().starts_with("sha256:"));
    // Nothing was denied: nothing is written.
    let quiet = project(&["ok".to_owned()], "{}");
    quiet.check("watched").exits(0);
    assert!(!quiet.state().exists());
}

#[test]
fn what_a_replay_grants_and_denies_is_in_the_audit_log() {
    let host = project(&["fail".to_owned()], "{ tables: [a] }");
    host.run("watched").exits(3);
    write_flow(&host, &["table secret".to_owned()], "{ tables: [b] }");
    let replay = ["dlq", "replay", "flows/watched.yaml", "--all"];
    host.crossdock(replay).end().exits(3);
    let found = told(&entries(&host, &[]));
    for line in [
        "grant-changed puppet tables: bgranted",
        "grant-changed puppet tables: ataken away",
        "denied puppet table secret",
    ] {
        assert!(
            found.contains(&line.to_owned()),
            "{line:?} is not in {found:#?}"
        );
    }
}

#[test]
fn a_changed_dead_letter_is_in_the_audit_log() {
    let host = project(&["fail".to_owned(), "fail".to_owned()], "{}").with("USER", "ann");
    host.run("watched").exits(3);
    let edit = ["dlq", "edit", "1", "--key", "never-shown"];
    host.crossdock(edit).end().exits(0);
    let mut daemon = TestDaemon::start(&host);
    daemon.until_state("watched", "finished");
    let edited = daemon.api(
        "PATCH",
        "dead-letters/2",
        true,
        r#"{"headers":"never-shown"}"#,
    );
    assert_eq!(edited.status, 200, "{}", edited.body);
    // Nor does a change that was refused count as one.
    let refused = daemon.api("PATCH", "dead-letters/99", true, r#"{"key":"x"}"#);
    assert_eq!(refused.status, 422, "{}", refused.body);
    daemon.end().exits(0);
    let found = entries(&host, &["--action", "dead-letter-edited"]);
    assert_eq!(
        told(&found),
        [
            "dead-letter-edited puppet dead letter 1key",
            "dead-letter-edited puppet dead letter 2headers"
        ]
    );
    let actors: Vec<_> = found.iter().map(|entry| &entry["actor"]).collect();
    assert_eq!(actors, ["cli:ann", "api"]);
    for entry in &found {
        assert_eq!(
            (&entry["flow"], &entry["plugin"], &entry["version"]),
            (&json!("watched"), &json!("puppet"), &json!("0.1.0"))
        );
        assert!(!entry.to_string().contains("never-shown"));
    }
}

#[test]
fn who_asks_without_the_token_is_in_the_audit_log() {
    let host = project(&["ok".to_owned()], "{}");
    let daemon = TestDaemon::start(&host);
    for _ in 0..3 {
        assert_eq!(daemon.api("GET", "flows", false, "").status, 401);
    }
    assert_eq!(
        daemon.api("POST", "flows/watched/stop", false, "").status,
        401
    );
    assert_eq!(daemon.api("GET", "flows", true, "").status, 200);
    assert_eq!(daemon.api("GET", "health", false, "").status, 200);
    daemon.end().exits(0);
    let found = entries(&host, &["--action", "access-refused"]);
    let count = |target: &str| -> u64 {
        let of = found.iter().filter(|entry| entry["target"] == target);
        of.map(|entry| entry["count"].as_u64().unwrap_or(1)).sum()
    };
    assert_eq!(count("GET /api/v1/flows"), 3, "{found:#?}");
    assert_eq!(count("POST /api/v1/flows/watched/stop"), 1, "{found:#?}");
    assert!(found.iter().all(|entry| entry["detail"] == "no token"));
}

#[test]
fn what_is_moved_counted_and_denied_is_in_the_metrics() {
    let acts = [
        "count",
        "http GET http://a.example/",
        "http GET http://b.example/",
        "count",
    ];
    let host = project(&acts.map(str::to_owned), "{}");
    let mut daemon = TestDaemon::start(&host);
    daemon.until_state("watched", "finished");
    assert_eq!(daemon.api("GET", "metrics", false, "").status, 401);
    let answer = daemon.api("GET", "metrics", true, "");
    assert_eq!(answer.status, 200);
    let format = "content-type: text/plain; version=0.0.4; charset=utf-8";
    assert!(answer.head.contains(format), "{}", answer.head);
    let of_puppet = "flow=\"watched\",stage=\"puppet\",plugin=\"puppet\"";
    let lines = [
        "crossdock_flow_state{flow=\"watched\",state=\"finished\"} 1".to_owned(),
        "crossdock_flow_records_read_total{flow=\"watched\"} 4".to_owned(),
        "crossdock_flow_records_written_total{flow=\"watched\"} 2".to_owned(),
        "crossdock_flow_records_dead_lettered_total{flow=\"watched\"} 2".to_owned(),
        "crossdock_flow_dead_letters{flow=\"watched\"} 2".to_owned(),
        format!("crossdock_plugin_count_total{{{of_puppet},name=\"acts\"}} 14"),
        format!("crossdock_plugin_gauge{{{of_puppet},name=\"mood\"}} -1.5"),
        format!("crossdock_plugin_denied_total{{{of_puppet},way=\"url\"}} 2"),
    ];
    for line in &lines {
        let body = &answer.body;
        assert!(body.lines().any(|found| found == line), "{line}\n{body}");
    }
    let chosen = daemon.ask(&["metrics", "plugin_denied"]);
    chosen
        .exits(0)
        .tells(&["# TYPE crossdock_plugin_denied_total counter", &lines[7]]);
    assert!(!chosen.text().contains("crossdock_flow_state"), "{chosen}");
    let listed = daemon.ask(&["metrics", "plugin_denied", "--json"]);
    let listed = listed.exits(0).json();
    let labels = json!({ "flow": "watched", "stage": "puppet", "plugin": "puppet", "way": "url" });
    assert_eq!(listed["ok"], true);
    assert_eq!(listed["metrics"].as_array().unwrap().len(), 1, "{listed}");
    let denied = &listed["metrics"][0];
    assert_eq!(denied["name"], "crossdock_plugin_denied_total");
    assert_eq!(denied["kind"], "counter");
    assert_eq!(denied["labels"], labels);
    assert_eq!(denied["value"], 2);
    let help = denied["help"].as_str().unwrap();
    assert!(help.starts_with("Attempts of plugins"), "{help}");
    daemon.end().exits(0);
    host.crossdock(["metrics"])
        .end()
        .exits(2)
        .tells(&["no daemon serves"]);
    let refused = host.crossdock(["metrics", "--json"]).end();
    let told = refused.exits(2).json();
    assert_eq!(told["ok"], false);
    assert!(told.to_string().contains("no daemon serves"), "{told}");
}

#[test]
fn changes_of_grants_are_told_once() {
    let acts = ["ok".to_owned()];
    let host = project(&acts, "{ tables: [a] }").with("USER", "ann");
    host.run("watched").finished();
    let first = told(&entries(&host, &[]));
    assert_eq!(first.len(), 5, "{first:#?}");
    assert_eq!(first[0], "flow-started  ");
    assert!(
        first.contains(&"grant-changed puppet tables: agranted".to_owned()),
        "{first:#?}"
    );
    assert!(first[4].starts_with("flow-stopped  r") || first[4].ends_with("finished"));
    // The same grants again are no change.
    host.run("watched").finished();
    assert_eq!(entries(&host, &["--action", "grant-changed"]).len(), 3);
    write_flow(
        &host,
        &acts,
        "{ tables: [b], http: [\"https://api.example.com/\"] }",
    );
    host.run_with("watched", ["--from-start"]).finished();
    let changed = entries(&host, &["--action", "grant-changed"]);
    assert_eq!(
        told(&changed)[3..],
        [
            "grant-changed puppet http: https://api.example.com/granted",
            "grant-changed puppet tables: bgranted",
            "grant-changed puppet tables: ataken away",
        ]
    );
    for entry in &changed {
        assert_eq!(
            (&entry["actor"], &entry["flow"]),
            (&json!("cli:ann"), &json!("watched"))
        );
        assert!(entry["plugin"].is_string() && entry["version"].is_string());
        assert!(entry["digest"].as_str().unwrap().starts_with("sha256:"));
    }
    assert_eq!(
        entries(&host, &["--action", "checkpoint-forgotten"]).len(),
        1
    );
    assert!(entries(&host, &["--flow", "other"]).is_empty());
    assert!(entries(&host, &["--since", "2999-01-01"]).is_empty());
    // As people read it.
    let shown = host.crossdock(["audit", "--since", "1h"]).end();
    shown.exits(0).tells(&[
        "grant-changed",
        "cli:ann",
        "watched",
        "tables: a",
        "taken away",
    ]);
}

#[test]
fn a_flood_of_denials_is_counted() {
    let host = project(&["flood-denials 20000".to_owned()], "{}");
    host.run("watched").exits(3);
    let denied = entries(&host, &["--action", "denied"]);
    let counted: u64 = denied
        .iter()
        .map(|one| one["count"].as_u64().unwrap_or(1))
        .sum();
    assert_eq!(counted, 20_000);
    assert!(denied.len() < 600, "{} lines", denied.len());
    let folder = host.state().join("audit");
    let bytes: u64 = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes < 500_000, "{bytes} bytes");
}

#[test]
fn what_becomes_of_dead_letters_is_on_record() {
    let host = project(&["fail".to_owned(), "fail".to_owned()], "{}");
    host.run("watched").exits(3);
    let done = host.crossdock(["dlq", "replay", "flows/watched.yaml", "--all"]);
    done.end().exits(3);
    host.crossdock(["dlq", "discard", "--all"]).end().exits(0);
    let found = told(&entries(&host, &[]));
    assert!(
        found.contains(&"dead-letters-replayed  2 given again, 0 settled".to_owned()),
        "{found:#?}"
    );
    assert_eq!(
        found.last().unwrap(),
        "dead-letters-discarded  2 dead letters"
    );
}

#[test]
fn no_plugin_writes_what_the_host_goes_by() {
    for folder in [
        ".",
        ".crossdock",
        "flows",
        "connections/..",
        "grants/deep",
        "way-in",
    ] {
        let host = project(
            &["ok".to_owned()],
            &format!("{{ files: {{ write: [{folder}] }} }}"),
        );
        std::os::unix::fs::symlink("flows", host.path("way-in")).unwrap();
        host.run("watched")
            .exits(2)
            .tells(&["may write", "grant a folder of its own"]);
        host.check("watched").exits(2);
    }
    // What it may not even read, and what it may see.
    let host = project(&["ok".to_owned()], "{ files: { read: [.] } }");
    host.check("watched")
        .exits(2)
        .tells(&["may read `.`, which reaches", "the daemon's token"]);
    let host = project(&["ok".to_owned()], "{ files: { read: [flows] } }");
    host.check("watched")
        .exits(0)
        .tells(&["may read `flows`, which reaches"]);
}

/// Where `..` leads from a folder that is not there is settled when somebody makes it: nobody is granted that.
#[test]
fn no_grant_leads_through_a_folder_that_is_missing() {
    let acts = ["write fresh/../flows/pwned.yaml".to_owned()];
    let folders = "fresh/../flows, fresh/../.crossdock";
    let host = project(&acts, &format!("{{ files: {{ write: [{folders}] }} }}"));
    let words = ["may write `fresh/../flows`", "cannot be told"];
    host.check("watched").exits(2).tells(&words);
    host.run("watched").exits(2).tells(&words);
    assert!(!host.path("flows/pwned.yaml").exists() && !host.path("fresh").exists());
    // It would be made by another grant, or by a link.
    let grants = "{ files: { write: [fresh], read: [fresh/../.crossdock] } }";
    let host = project(&acts, grants);
    host.check("watched").exits(2).tells(&["may read"]);
    let host = project(&acts, "{ files: { write: [fresh, way] } }");
    std::os::unix::fs::symlink("fresh/../flows", host.path("way")).unwrap();
    host.check("watched").exits(2).tells(&["may write `way`"]);
    // With all of it there, it is what it is.
    let host = project(&acts, "{ files: { write: [in/../fresh] } }");
    host.check("watched").exits(0);
}

#[test]
fn a_check_makes_no_folders_and_a_run_does() {
    let acts = ["write made/deep/x".to_owned()];
    let host = project(&acts, "{ files: { write: [made/deep] } }");
    std::fs::remove_dir(host.path("out")).unwrap();
    host.check("watched").exits(0);
    assert!(!host.path("made").exists() && !host.path("out").exists());
    host.run("watched").no_panic();
    assert_eq!(host.text("made/deep/x"), "from a plugin");
}

#[test]
fn no_plugin_writes_where_plugins_and_the_files_of_flows_are() {
    let host = project(&["ok".to_owned()], "{ files: { write: [place] } }");
    host.write("place/keep", "");
    let refused = |host: &TestHost, arguments: &[&str]| {
        let check = host.crossdock(["check", "flows/watched.yaml"]);
        let ended = check.args(arguments).end();
        ended.exits(2).tells(&["may write `place`, which reaches"]);
    };
    let fine = |host: &TestHost| {
        host.check("watched").exits(0);
    };
    fine(&host);
    // A folder in which plugins are looked for.
    refused(&host, &["--plugins", "place"]);
    // A plugin that another flow names by its path, and a file that it takes into its config.
    host.write("place/other.wasm", host_bytes("puppet"));
    fine(&host);
    let other = |plugin: &str, config: &str| {
        format!(
            "flow: other\nsource: {{ plugin: {plugin}, config: {config} }}\nsinks: [{{ plugin: jsonl, config: {{ file: x }} }}]\n"
        )
    };
    host.write(
        "flows/other.yaml",
        other("../place/other.wasm", "{ records: 1 }"),
    );
    refused(&host, &[]);
    host.write("place/on.json", "{}");
    host.write(
        "flows/other.yaml",
        other("csv", "{ on: { $file: ../place/on.json } }"),
    );
    refused(&host, &[]);
    host.write("flows/other.yaml", other("csv", "{ files: x }"));
    fine(&host);
    // The secret of a connection that it does not use, a certificate, the cache of compiled plugins.
    let connection = |more: &str| {
        let text = "connection: other\nbase-url: https://a.example\n";
        host.write("connections/other.yaml", format!("{text}{more}\n"));
    };
    connection("auth: { bearer: { token: { file: ../place/token } } }");
    refused(&host, &[]);
    connection("ca-file: ../place/ca.pem");
    refused(&host, &[]);
    connection("");
    fine(&host);
    let check = host.crossdock(["check", "flows/watched.yaml"]);
    let cache = host.path("place/cache").display().to_string();
    let ended = check.env("XDG_CACHE_HOME", cache).end();
    ended.exits(2).tells(&["may write `place`, which reaches"]);
}

#[test]
fn no_plugin_reads_secrets_and_keys() {
    let host = project(&["ok".to_owned()], "{ files: { read: [place] } }");
    host.write("place/keep", "");
    host.check("watched").exits(0);
    host.write(
        "connections/other.yaml",
        "connection: other\nbase-url: https://a.example\nauth: { bearer: { token: { file: ../place/token } } }\n",
    );
    let secrets = ["may read `place`, which reaches", "secrets"];
    host.check("watched").exits(2).tells(&secrets);
    host.run("watched").exits(2).tells(&secrets);
    host.write(
        "connections/other.yaml",
        "connection: other\nbase-url: https://a.example\nca-file: ../place/ca.pem\n",
    );
    host.check("watched").exits(0);
    let key = host.path("place/key").display().to_string();
    let host = host.with("CROSSDOCK_SECRETS_KEY_FILE", key);
    host.check("watched").exits(2).tells(&secrets);
}

#[test]
fn without_a_state_folder_there_is_nothing_to_show() {
    let host = TestHost::new();
    host.crossdock(["audit"])
        .end()
        .exits(2)
        .tells(&["run a flow first"]);
    host.crossdock(["audit", "--since", "yesterday"])
        .end()
        .exits(2)
        .tells(&["an age such as"]);
    host.crossdock(["audit", "--action", "nothing"])
        .end()
        .exits(2)
        .tells(&["grant-changed"]);
}
