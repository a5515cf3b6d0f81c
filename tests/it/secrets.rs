//! Secrets of a project: set by people, used by connections, seen by nobody.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crossdock_tests::{
    host::{Ended, TestHost, test_plugin},
    trap_server::TrapServer,
};
use serde_json::{Value, json};

const SECRET: &str = "swordfish-7781-hunter2";

/// A project whose key is in a folder of its own.
fn project() -> (TestHost, tempfile::TempDir) {
    let keys = tempfile::tempdir().unwrap();
    let host = TestHost::new();
    let key = keys.path().join("key").display().to_string();
    (host.with("CROSSDOCK_SECRETS_KEY_FILE", key), keys)
}

/// `crossdock` with a text on its standard input.
fn given(host: &TestHost, text: &str, arguments: &[&str]) -> Ended {
    host.crossdock(arguments).input(text).end()
}

fn audit(host: &TestHost) -> Vec<(String, String)> {
    let document = host.crossdock(["audit", "--json"]).end().exits(0).json();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let entries = document["entries"].as_array().unwrap().iter();
    entries
        .map(|entry| (text(entry, "action"), text(entry, "target")))
        .collect()
}

#[test]
fn secrets_are_set_listed_rotated_and_removed() {
    let (host, keys) = project();
    host.crossdock(["secret", "list"])
        .end()
        .exits(0)
        .tells(&["no secrets"]);
    let set = given(
        &host,
        &format!("{SECRET}\n"),
        &["secret", "set", "shop-token"],
    );
    set.exits(0)
        .tells(&["shop-token added in secrets.sealed", "keep a copy"]);
    assert!(!set.stderr.contains(SECRET) && !set.text().contains(SECRET));
    given(&host, "two", &["secret", "set", "other"]).exits(0);
    let again = given(&host, "three", &["secret", "set", "other", "--json"]);
    assert_eq!(again.finished()["replaced"], json!(true));
    let listed = host
        .crossdock(["secret", "list", "--json"])
        .end()
        .finished();
    let names: Vec<&Value> = listed["secrets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["other", "shop-token"]);
    assert!(!listed.to_string().contains(SECRET));
    for file in [host.path("secrets.sealed"), keys.path().join("key")] {
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
    let sealed = host.text("secrets.sealed");
    assert!(!sealed.contains("shop-token") && !sealed.contains(SECRET));

    let new_key = keys.path().join("new").display().to_string();
    host.crossdock(["secret", "rotate", &new_key])
        .end()
        .exits(0)
        .tells(&["start hosts again"]);
    let old = host.crossdock(["secret", "list"]).end();
    old.exits(2)
        .tells(&["was encrypted with the key", "give the key"]);
    let list = |key: &str| {
        let with = host.crossdock(["secret", "list"]);
        with.env("CROSSDOCK_SECRETS_KEY_FILE", key).end()
    };
    list(&new_key).exits(0).tells(&["shop-token"]);
    let rm = host
        .crossdock(["secret", "rm", "other"])
        .env("CROSSDOCK_SECRETS_KEY_FILE", &new_key);
    rm.end().exits(0).tells(&["other removed"]);
    let rm = host
        .crossdock(["secret", "rm", "other"])
        .env("CROSSDOCK_SECRETS_KEY_FILE", &new_key);
    rm.end().exits(2).tells(&["there is no secret `other`"]);

    let expected = [
        ("secret-set", "shop-token"),
        ("secret-set", "other"),
        ("secret-set", "other"),
        ("secret-rotated", "secrets.sealed"),
        ("secret-removed", "other"),
    ];
    let expected = expected.map(|(action, target)| (action.to_owned(), target.to_owned()));
    assert_eq!(audit(&host), expected);
}

#[test]
fn what_cannot_be_is_told_with_advice() {
    let host = TestHost::new();
    let none = given(&host, "x", &["secret", "set", "a"]);
    none.exits(2)
        .tells(&["no key is given", "CROSSDOCK_SECRETS_KEY_FILE"]);
    let inside = host.path("key").display().to_string();
    let with = |host: &TestHost, key: &str, text: &str, name: &str| {
        let set = host.crossdock(["secret", "set", name]).input(text);
        set.env("CROSSDOCK_SECRETS_KEY_FILE", key).end()
    };
    with(&host, &inside, "x", "a")
        .exits(2)
        .tells(&["must not be in the project's folder"]);
    assert!(!host.path("key").exists() && !host.path("secrets.sealed").exists());
    let (host, _keys) = project();
    given(&host, "", &["secret", "set", "a"])
        .exits(2)
        .tells(&["is empty"]);
    given(&host, "x", &["secret", "set", "a/b"])
        .exits(2)
        .tells(&["is no name of a secret"]);
    given(&host, "x", &["secret", "set", "a"]).exits(0);
    host.write("secrets.sealed", "cut off");
    host.crossdock(["secret", "list"])
        .end()
        .exits(2)
        .tells(&["is damaged", "version control"]);
    // No value is taken from the command line, where other users see it.
    given(&host, "x", &["secret", "set", "a", "value"]).exits(2);
}

#[test]
fn a_flow_uses_a_secret_that_no_plugin_and_no_file_sees() {
    let (host, _keys) = project();
    let trap = TrapServer::new();
    given(&host, SECRET, &["secret", "set", "vault-token"]).exits(0);
    host.write(
        "connections/vault.yaml",
        format!(
            "connection: vault\nbase-url: {}\nallow-private: true\nauth: {{ bearer: {{ token: {{ secret: vault-token }} }} }}\n",
            trap.url()
        ),
    );
    let backwards: String = SECRET.chars().rev().collect();
    let on = json!({
        "a": "via vault GET /echo", "b": format!("via-and-scan vault {backwards} GET /echo-header"),
        "c": "env",
    });
    host.write("in/r.csv", "id,n\na,1\nb,2\nc,3\n");
    host.flow(
        "vault",
        &format!(
            "
source:
  plugin: csv
  config: {{ files: in/*.csv, key: id }}
  grants: {{ files: {{ read: [in] }} }}
transformers:
  - plugin: {}
    config: {}
    grants: {{ connections: [vault] }}
sinks:
  - plugin: jsonl
    config: {{ file: out/r.jsonl }}
    grants: {{ files: {{ write: [out] }} }}
retry: {{ attempts: 1 }}
batch: {{ records: 1 }}
",
            test_plugin("puppet").display(),
            json!({ "on": on }),
        ),
    );
    let ended = host.run_with("vault", ["--log", "trace"]);
    ended.exits(3).tells(&[]);
    let messages: Vec<String> = host
        .dead_letters()
        .iter()
        .map(|letter| letter["message"].as_str().unwrap().to_owned())
        .collect();
    let told = messages.join("\n");
    // It was sent, and taken out of what the server repeated.
    assert!(told.contains("Bearer [secret]"), "{told}");
    assert!(told.contains("0 secrets in memory after 200"), "{told}");
    let mut places = vec![
        ("log".to_owned(), ended.stderr.clone().into_bytes()),
        ("summary".to_owned(), ended.stdout.clone()),
        ("dead letters".to_owned(), told.into_bytes()),
    ];
    let mut folders = vec![host.path(".")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                places.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    for (place, bytes) in places {
        let seen = bytes
            .windows(SECRET.len())
            .any(|window| window == SECRET.as_bytes());
        assert!(!seen, "the secret is in {place}");
    }
    // Without its key the flow is refused, at the line that asks for the secret.
    let check = host.crossdock(["check", "flows/vault.yaml"]);
    let refused = check.env("CROSSDOCK_SECRETS_KEY_FILE", "").end();
    refused.exits(2).tells(&[
        "no key is given",
        "vault.yaml:4",
        "CROSSDOCK_SECRETS_KEY_FILE",
    ]);
    // The key itself is no variable: a config would hand it to a plugin.
    host.write("in/key.yaml", "");
    let flow = host
        .text("flows/vault.yaml")
        .replace("out/r.jsonl", "\"${CROSSDOCK_SECRETS_KEY}\"");
    host.write(
        "flows/thief.yaml",
        flow.replace("flow: vault", "flow: thief"),
    );
    let check = host.crossdock(["check", "flows/thief.yaml"]);
    let refused = check
        .env("CROSSDOCK_SECRETS_KEY", "crossdock-key-1-x")
        .end();
    refused
        .exits(2)
        .tells(&["`CROSSDOCK_SECRETS_KEY` has no value"]);
}
