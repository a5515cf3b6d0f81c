//! Secrets of a project: set by people, used by connections, seen by nobody.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use crossdock_tests::{
    daemon::TestDaemon,
    gate::Gate,
    host::{Ended, TestHost, plugin, test_plugin},
    trap_server::{Forbidden, TOKEN, TrapServer},
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
    let config = json!({ "on": on });
    host.puppet_flow("vault", &config, "grants: { connections: [vault] }");
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
    places.extend(host.everything("."));
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

/// What the connections of [`served`] authenticate with, and the tokens that they get.
const HIDDEN: [&str; 8] = [
    "bearer-secret-4471",
    "basic-secret-4472",
    "header-secret-4473",
    "query-secret-4474",
    "client-secret-4475",
    "person-secret-4476",
    "variable-secret-4477",
    TOKEN,
];

/// A flow whose plugin asks for everything that it was sent, by every kind of authentication, and fails with it.
fn served(trap: &TrapServer) -> TestHost {
    let host = TestHost::new();
    let nowhere = Forbidden::new();
    let closed = format!("http://127.0.0.1:{}", nowhere.port());
    drop(nowhere);
    let [bearer, basic, header, query, client, person, variable, _] = HIDDEN;
    let oauth = "token-url: /token, client-id: crossdock";
    let connections = [
        (
            "bearer",
            format!("auth: {{ bearer: {{ token: {bearer} }} }}"),
        ),
        (
            "basic",
            format!("auth: {{ basic: {{ username: ann, password: {basic} }} }}"),
        ),
        (
            "header",
            format!("auth: {{ api-key: {{ header: X-Api-Key, value: {header} }} }}"),
        ),
        (
            "query",
            format!("auth: {{ api-key: {{ query: key, value: {query} }} }}"),
        ),
        (
            "client",
            format!(
                "auth: {{ oauth2-client-credentials: {{ {oauth}, client-secret: {client} }} }}"
            ),
        ),
        (
            "person",
            format!(
                "auth: {{ oauth2-password: {{ {oauth}, client-secret: {client}, username: ann, password: {person} }} }}"
            ),
        ),
        (
            "variable",
            "headers: { X-Shop: \"${SHOP_PASS}\" }".to_owned(),
        ),
        (
            "closed",
            format!("auth: {{ bearer: {{ token: {bearer} }} }}"),
        ),
        (
            "no-token",
            format!(
                "auth: {{ oauth2-client-credentials: {{ {oauth}, client-secret: {client} }} }}"
            ),
        ),
    ];
    let (mut on, mut rows) = (serde_json::Map::new(), "id,n\n".to_owned());
    for (at, (name, more)) in connections.iter().enumerate() {
        let base = if ["closed", "no-token"].contains(name) {
            closed.clone()
        } else {
            trap.url()
        };
        host.write(
            format!("connections/{name}.yaml"),
            format!("connection: {name}\nbase-url: {base}\nallow-private: true\nretry: {{ attempts: 1 }}\n{more}\n"),
        );
        on.insert(format!("r{at}"), json!(format!("via {name} GET /echo")));
        rows = format!("{rows}r{at},{at}\n");
    }
    host.write("in/r.csv", rows);
    let names: Vec<&str> = connections.iter().map(|(name, _)| *name).collect();
    host.puppet_flow(
        "served",
        &json!({ "on": on }),
        &format!("grants: {{ connections: [{}] }}", names.join(", ")),
    );
    host.with("SHOP_PASS", variable)
}

/// Every question that the admin API describes, with what is there and what is not, and some that it does not take.
fn questions(daemon: &TestDaemon<'_>) -> Vec<String> {
    let description: Value =
        serde_json::from_str(&daemon.api("GET", "openapi.json", true, "").body).unwrap();
    let mut all = vec![
        "health".to_owned(),
        "openapi.json".to_owned(),
        "dead-letters?limit=1000&stored=true".to_owned(),
        "dead-letters?text=secret".to_owned(),
        "dead-letters?nothing=1".to_owned(),
        "nothing/here".to_owned(),
    ];
    for (path, methods) in description["paths"].as_object().unwrap() {
        let path = path.trim_start_matches("/api/v1/");
        if methods.get("get").is_none() {
            continue;
        }
        for (flow, id) in [("served", "1"), ("other", "99")] {
            all.push(path.replace("{flow}", flow).replace("{id}", id));
        }
    }
    all.sort();
    all.dedup();
    for known in [
        "audit",
        "dead-letters/1",
        "flows/served",
        "metrics",
        "swaps",
    ] {
        assert!(all.contains(&known.to_owned()), "{known} is not in {all:?}");
    }
    all
}

#[test]
fn no_answer_of_the_admin_api_tells_a_secret() {
    let trap = TrapServer::new();
    let host = served(&trap);
    let mut daemon = TestDaemon::start(&host);
    daemon.until_state("served", "finished");
    // A swap that is refused, and a replay that fails in the same way, are told, too.
    daemon.swap(&["served", "puppet", "jsonl"]);
    let again = daemon.api("POST", "flows/served/replay", true, "{}");
    assert_eq!(again.status, 200, "{}", again.body);
    let letters = daemon.api("GET", "dead-letters?limit=1000", true, "");
    let letters: Vec<Value> = serde_json::from_str(&letters.body).unwrap();
    let told: Vec<&str> = letters
        .iter()
        .map(|letter| letter["message"].as_str().unwrap())
        .collect();
    let all = told.join("\n");
    for expected in [
        "Bearer [secret]",
        "Basic [secret]",
        "x-api-key: [secret]",
        "key=[secret]",
        "x-shop: [secret]",
    ] {
        assert!(all.contains(expected), "{expected} is not in\n{all}");
    }
    let refused = told.iter().filter(|text| text.contains("refused: "));
    assert!(refused.count() >= 2, "{all}");
    let token = {
        let endpoint: Value =
            serde_json::from_slice(&host.bytes(".crossdock/daemon.json")).unwrap();
        endpoint["token"].as_str().unwrap().to_owned()
    };
    let mut secrets: Vec<String> = HIDDEN.iter().map(|secret| (*secret).to_owned()).collect();
    // As basic authentication sends them.
    secrets.push("YW5uOmJhc2ljLXNlY3JldC00NDcy".to_owned());
    secrets.push("Y3Jvc3Nkb2NrOmNsaWVudC1zZWNyZXQtNDQ3NQ".to_owned());
    secrets.push(token);
    for question in questions(&daemon) {
        for token in [true, false] {
            let answer = daemon.api("GET", &question, token, "");
            for secret in &secrets {
                let seen = answer.head.contains(secret) || answer.body.contains(secret);
                assert!(!seen, "{secret} is in the answer to {question}");
            }
        }
    }
    let ended = daemon.end();
    ended.exits(0).no_panic();
    for secret in &secrets {
        assert!(!ended.stderr.contains(secret), "{secret} is in the log");
        for folder in [".crossdock", "out"] {
            let mut files = vec![host.path(folder)];
            while let Some(path) = files.pop() {
                if path.is_dir() {
                    files.extend(
                        fs::read_dir(path)
                            .unwrap()
                            .map(|entry| entry.unwrap().path()),
                    );
                    continue;
                }
                let bytes = fs::read(&path).unwrap();
                let seen = bytes
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes());
                assert!(!seen, "{secret} is in {}", path.display());
            }
        }
    }
}

#[test]
fn the_config_of_a_plugin_cannot_name_a_secret() {
    let (host, _keys) = project();
    given(&host, SECRET, &["secret", "set", "vault-token"]).exits(0);
    host.write("in/r.csv", "id,n\na,1\n");
    let flow = |name: &str| {
        host.flow(
            "thief",
            &format!(
                "
source:
  plugin: csv
  config: {{ files: in/*.csv, key: id }}
  grants: {{ files: {{ read: [in] }} }}
transformers:
  - plugin: {}
    config: {{ on: {{ a: tell-config, b: {name} }} }}
sinks:
  - plugin: jsonl
    config: {{ file: out/r.jsonl }}
    grants: {{ files: {{ write: [out] }} }}
retry: {{ attempts: 1 }}
",
                test_plugin("puppet").display(),
            ),
        );
    };
    // What is a secret in a connection is an object like any other here, and nothing else is one either.
    for (name, told) in [
        ("{ secret: vault-token }", r#"{"secret":"vault-token"}"#),
        ("\"{ secret: vault-token }\"", "{ secret: vault-token }"),
        ("\"$${vault-token}\"", "${vault-token}"),
    ] {
        flow(name);
        let ended = host.run_with("thief", ["--from-start"]);
        ended.exits(3);
        let letters = host.dead_letters();
        let message = letters.last().unwrap()["message"].as_str().unwrap();
        assert!(message.contains(told), "{message}");
        assert!(!message.contains(SECRET) && !ended.stderr.contains(SECRET));
    }
    for (name, told) in [
        ("\"${vault-token}\"", "is no variable"),
        ("\"${CROSSDOCK_SECRETS_KEY}\"", "has no value"),
    ] {
        flow(name);
        host.check("thief").exits(2).tells(&[told]);
    }
}

/// The owner of a process as the kernel shows it: root for one of which there may be no dump.
fn shown_owner(id: u32) -> u32 {
    fs::metadata(format!("/proc/{id}/environ")).unwrap().uid()
}

#[test]
fn no_core_dump_holds_a_secret_and_an_ordinary_user_can_work() {
    const NOBODY: u32 = 65_534;
    let gate = Gate::new();
    let host = TestHost::new();
    gate.connect(&host);
    // What was built may lie where nobody else can look, in root's home: the other user has everything of its own.
    fs::create_dir(host.path("plugins")).unwrap();
    let own = |built: &Path, name: &str| {
        let path = host.path(name);
        fs::copy(built, &path).unwrap();
        path
    };
    let program = own(crossdock_tests::host::program(), "crossdock");
    for name in ["csv", "jsonl"] {
        own(&plugin(name), &format!("plugins/{name}.wasm"));
    }
    let puppet = own(&test_plugin("puppet"), "plugins/puppet.wasm");
    let plugins = host.path("plugins").display().to_string();
    host.write("in/r.csv", "id,n\na,1\nb,2\n");
    let config = json!({ "on": { "a": "gate" }, "connection": "gate" });
    host.flow(
        "held",
        &format!(
            "
source:
  plugin: csv
  config: {{ files: in/*.csv, key: id }}
  grants: {{ files: {{ read: [in] }} }}
transformers:
  - plugin: {}
    config: {config}
    grants: {{ connections: [gate] }}
sinks:
  - plugin: jsonl
    config: {{ file: out/r.jsonl }}
    grants: {{ files: {{ write: [out] }} }}
",
            puppet.display()
        ),
    );
    // Who is root looks like root in any case: the program is somebody else then.
    let is_root = fs::metadata("/proc/self/environ").unwrap().uid() == 0;
    let mut folders = vec![host.path(".")];
    while is_root && let Some(folder) = folders.pop() {
        std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    // Twice: what the first compiles, the second takes from the cache, by a path of /proc/self.
    for _ in 0..2 {
        let flow = ["run", "flows/held.yaml", "--from-start", "--json"];
        let invocation = if is_root {
            let user = NOBODY.to_string();
            let as_nobody = ["--reuid", &user, "--regid", &user, "--clear-groups"];
            host.command("setpriv")
                .args(as_nobody)
                .args([&program])
                .args(flow)
        } else {
            host.command(&program).args(flow)
        };
        let cache = host.path("cache").display().to_string();
        let mut running = invocation
            .env("XDG_CACHE_HOME", &cache)
            .env("CROSSDOCK_BIN", program.display().to_string())
            .env("CROSSDOCK_PLUGINS", &plugins)
            .start();
        let arrival = gate.arrival(&mut running);
        assert_eq!(shown_owner(running.id()), 0, "it may be dumped");
        let limits = fs::read_to_string(format!("/proc/{}/limits", running.id())).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core"));
        let core: Vec<&str> = core.unwrap().split_whitespace().collect();
        assert_eq!(core[4..6], ["0", "0"], "{core:?}");
        arrival.pass();
        let ended = running.end();
        ended.no_panic().exits(0);
        assert!(!ended.stderr.contains("compiled plugin"), "{ended}");
    }
    let kept = fs::read_dir(host.path("cache/crossdock/compiled")).unwrap();
    assert!(kept.count() > 3, "nothing was compiled for the cache");
}
