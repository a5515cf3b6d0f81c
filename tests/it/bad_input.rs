//! Everything that can be wrong with what crossdock is given: a clear error with its place and what to do, the right
//! exit code, and nothing lost or half-written.

use std::{
    fs::{self, File},
    io::{Seek as _, SeekFrom, Write as _},
    net::TcpListener,
    os::unix::fs::FileExt as _,
    process::Command,
};

use crossdock_tests::{
    akeneo::{AkeneoServer, Options},
    gate::Gate,
    host::{Ended, TestHost, plugin, test_plugin},
};
use serde_json::{Value, json};

/// A project with a small CSV and the flow `copy`, csv -> jsonl, in which `from` is replaced by `to`.
pub(crate) fn copy_with(from: &str, to: &str) -> TestHost {
    let host = TestHost::new();
    host.write("in/a.csv", "id,name\n1,one\n2,two\n");
    let flow = "
source:
  plugin: csv
  config: { files: in/*.csv, key: id }
  grants: { files: { read: [in] } }
sinks:
  - plugin: jsonl
    config: { file: out/a.jsonl }
    grants: { files: { write: [out] } }
retry: { attempts: 2, initial: 1ms }
";
    assert!(flow.contains(from), "{from}");
    host.flow("copy", &flow.replacen(from, to, 1));
    host
}

pub(crate) fn copy() -> TestHost {
    copy_with("source:", "source:")
}

/// A mistake in the flow file: `check` and `run` both say it, with the line, and nothing is made.
fn refused(host: &TestHost, line: u32, texts: &[&str]) {
    let check = host.check("copy");
    check
        .no_panic()
        .exits(2)
        .tells(texts)
        .tells(&[&format!("flows/copy.yaml:{line}")]);
    let run = host.crossdock(["run", "flows/copy.yaml"]).end();
    run.no_panic()
        .exits(2)
        .tells(texts)
        .tells(&[&format!("flows/copy.yaml:{line}")]);
    let json = host.run("copy");
    let document = json.no_panic().exits(2).tells(texts).json();
    let here = |finding: &Value| {
        finding["location"]["file"] == "flows/copy.yaml" && finding["location"]["line"] == line
    };
    assert!(
        document["findings"].as_array().unwrap().iter().any(here),
        "{json}"
    );
    assert_eq!(host.list("out"), [] as [&str; 0]);
    assert!(!host.state().exists());
}

#[test]
fn a_typo_in_the_flow_file() {
    let host = copy_with("plugin: jsonl", "plugn: jsonl");
    refused(&host, 7, &["plugn", "did you mean `plugin`"]);
    host.check("copy").tells(&["flows/copy.yaml:7:5"]);
    let host = copy_with("sinks:", "sink:");
    refused(&host, 6, &["sink", "did you mean `sinks`"]);
}

#[test]
fn a_flow_file_that_is_no_yaml_or_not_there() {
    let host = copy_with(
        "config: { files: in/*.csv, key: id }",
        "config: { files: [in/*.csv, key: id }",
    );
    refused(&host, 4, &[]);
    let host = TestHost::new();
    host.check("nowhere")
        .no_panic()
        .exits(2)
        .tells(&["flows/nowhere.yaml"]);
    host.write("flows/binary.yaml", [0xFF, 0xFE, 0x00, 0x9C]);
    host.check("binary")
        .no_panic()
        .exits(2)
        .tells(&["flows/binary.yaml"]);
}

#[test]
fn a_flow_file_that_never_ends_is_not_read() {
    let host = copy();
    let made = Command::new("mkfifo")
        .arg(host.path("flows/pipe.yaml"))
        .status();
    assert!(made.unwrap().success());
    File::create(host.path("flows/large.yaml"))
        .and_then(|file| file.set_len(5 << 20))
        .unwrap();
    let pipe = host.check("pipe");
    pipe.exits(2).tells(&["pipe.yaml", "no regular file"]);
    let zero = host.crossdock(["check", "/dev/zero"]).end();
    zero.exits(2).tells(&["/dev/zero", "no regular file"]);
    let large = host.check("large");
    large.exits(2).tells(&["larger than 4 MiB"]);
    let folder = host.crossdock(["check", "flows"]).end();
    folder.exits(2).tells(&["it is a folder"]);
}

#[test]
fn an_output_that_cannot_be_written_is_no_success() {
    let host = copy();
    host.run("copy").finished();
    for command in [
        "check flows/copy.yaml",
        "check flows/copy.yaml --json",
        "run flows/copy.yaml --json --quiet",
        "dlq list --json",
        "dlq export",
        "audit --json",
        "schema flow",
        "completions bash",
    ] {
        let shell = format!("exec \"$CROSSDOCK_BIN\" {command} > /dev/full");
        let full = host.command("sh").args(["-c", &shell]).end();
        if command != "dlq export" {
            full.no_panic()
                .exits(1)
                .tells(&["the output cannot be written"]);
        }
        // That nobody reads it is fine.
        let shell = format!("\"$CROSSDOCK_BIN\" {command} | true; exit ${{PIPESTATUS[0]}}");
        let read = host.command("bash").args(["-c", &shell]).end();
        read.no_panic().exits(0);
    }
}

#[test]
fn an_unknown_plugin() {
    let host = copy_with("plugin: jsonl", "plugin: jsnl");
    refused(
        &host,
        7,
        &["there is no plugin `jsnl`", "jsonl", "searched"],
    );
    let host = copy_with("plugin: jsonl", "plugin: ./gone.wasm");
    refused(&host, 7, &["gone.wasm"]);
}

#[test]
fn a_value_of_the_wrong_type() {
    let host = copy_with("retry: { attempts: 2", "retry: { attempts: many");
    refused(&host, 10, &["attempts"]);
    let host = copy_with("initial: 1ms", "initial: 1 fortnight");
    refused(&host, 10, &["initial"]);
}

#[test]
fn a_variable_where_a_number_is_wanted() {
    let host = copy_with("attempts: 2", "attempts: \"${N}\"");
    let check = |host: &TestHost| {
        let asked = ["check", "flows/copy.yaml", "--var", "N=5"];
        host.crossdock(asked).end()
    };
    let told = ["not the text `5`", "a variable gives is always a text"];
    check(&host).exits(2).tells(&told);
    // In the config of a plugin as well.
    let host = copy_with("key: id }", "key: id, header: \"${N}\" }");
    check(&host).exits(2).tells(&told[1..]);
}

#[test]
fn what_was_asked_wrongly_is_a_usage_error() {
    let host = copy();
    host.write("afile", "");
    host.write("newer/plugins.lock", "lock: 99\nplugins: {}\n");
    host.write("broken/plugins.lock", "[");
    fs::create_dir(host.path("empty")).unwrap();
    for (command, told) in [
        (&["serve", "empty"][..], "it is no project"),
        (&["serve", "/nonexist"], "it is no project"),
        (&["plugin", "inspect", "nope"], "cannot read nope"),
        (&["plugin", "verify", "nope"], "nope"),
        (&["plugin", "list", "--project", "newer"], "use a newer one"),
        (
            &["plugin", "list", "--project", "broken"],
            "take it back from version control",
        ),
        (&["run", "flows/copy.yaml", "--state", "afile"], "--state"),
    ] {
        let ended = host.crossdock(command).end();
        ended.no_panic().exits(2).tells(&[told]);
    }
}

#[test]
fn a_variable_that_is_not_set() {
    let host = copy_with("files: in/*.csv", "files: \"${INBOX}/*.csv\"");
    refused(&host, 4, &["INBOX"]);
    host.run_with("copy", ["--var", "INBOX=in"]).finished();
    let host = host.with("INBOX", "in");
    host.run("copy").finished();
}

#[test]
fn a_file_that_is_no_plugin() {
    for (bytes, words) in [
        (&b"hello, I am a text"[..], "WebAssembly"),
        (b"", "empty"),
        // A module, no component.
        (b"\0asm\x01\0\0\0", "module"),
        // A component that exports nothing.
        (
            b"\0asm\x0d\0\x01\0",
            "exports none of `crossdock:plugin/source`",
        ),
        // A component that is cut off.
        (b"\0asm\x0d\0\x01\0\x01\xff\x01", "bad.wasm"),
    ] {
        let host = copy_with("plugin: jsonl", "plugin: ./bad.wasm");
        host.write("flows/bad.wasm", bytes);
        refused(&host, 7, &["bad.wasm", words]);
    }
    // A plugin of another kind.
    let host = copy_with("plugin: jsonl", "plugin: mapper");
    refused(&host, 7, &["`mapper` is no sink: it is a transformer"]);
    // And half of a real one.
    let host = copy_with("plugin: jsonl", "plugin: ./half.wasm");
    let whole = fs::read(plugin("jsonl")).unwrap();
    host.write("flows/half.wasm", &whole[..whole.len() / 2]);
    refused(&host, 7, &["half.wasm"]);
}

#[test]
fn a_config_that_breaks_the_plugins_schema() {
    let host = copy_with("key: id", "delimitr: \";\"");
    refused(&host, 4, &["delimitr", "did you mean `delimiter`"]);
    let host = copy_with("key: id", "header: often");
    refused(&host, 4, &["header"]);
    let host = copy_with("config: { file: out/a.jsonl }", "config: {}");
    refused(&host, 8, &["file"]);
    // What a schema cannot say, the plugin does: when it runs, at the same place.
    let host = copy_with("key: id", "quote: ab");
    host.run("copy").no_panic().exits(2).tells(&[
        "`ab` is not one ASCII character",
        "flows/copy.yaml",
        "37",
    ]);
}

#[test]
fn nothing_is_granted_that_is_not_written() {
    let host = copy_with("grants: { files: { write: [out] } }", "grants: {}");
    host.run("copy").no_panic().exits(2).tells(&[
        "asks to write files",
        "add to the stage:",
        "files: { write: [out] }",
    ]);
    assert_eq!(host.list("out"), [] as [&str; 0]);
    // A connection that there is no file for.
    let host = copy_with(
        "grants: { files: { write: [out] } }",
        "grants: { files: { write: [out] }, connections: [shop] }",
    );
    refused(
        &host,
        9,
        &["there is no connection `shop`", "connections/shop.yaml"],
    );
    let located = |finding: &&Value| finding["code"] == "connection.missing";
    let document = host.run("copy").json();
    let findings = document["findings"].as_array().unwrap();
    let missing = findings.iter().find(located).unwrap();
    assert_eq!(missing["location"]["line"], 9, "{missing}");
    assert_eq!(missing["location"]["column"], 54, "{missing}");
}

/// Akeneo -> jsonl with the given base URL and password.
fn akeneo(server: &AkeneoServer, base_url: &str, password: &str) -> TestHost {
    let host = copy_with(
        "plugin: csv\n  config: { files: in/*.csv, key: id }\n  grants: { files: { read: [in] } }",
        "plugin: akeneo\n  config: { connection: pim, streams: [categories], channel: ecommerce }\n  \
         grants: { connections: [pim] }",
    );
    let who = server.credentials();
    host.write(
        "connections/pim.yaml",
        format!(
            "connection: pim\nbase-url: {base_url}\nauth:\n  oauth2-password:\n    token-url: /api/oauth/v1/token\n    \
             client-id: {}\n    client-secret: {}\n    username: {}\n    password: {password}\n    body: json\n\
             retry: {{ attempts: 2, initial: 1ms }}\nallow-private: true\n",
            who.client_id, who.secret, who.username
        ),
    );
    host
}

#[test]
fn a_server_that_is_down() {
    let server = AkeneoServer::start(Options::generated(10, 1)).unwrap();
    // A port that was free a moment ago.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let base = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    drop(listener);
    let password = server.credentials().password.clone();
    let host = akeneo(&server, &base, &password);
    let ended = host.run("copy");
    ended
        .no_panic()
        .exits(1)
        .tells(&["stage `akeneo`", "127.0.0.1"]);
    assert!(
        !format!("{ended}").contains(&password),
        "the password is shown"
    );
    assert_eq!(host.list("out"), [] as [&str; 0]);
    // When it is up again, the same command works.
    let pim = host.text("connections/pim.yaml");
    host.write(
        "connections/pim.yaml",
        pim.replace(&base, server.base_url()),
    );
    host.run("copy").finished();
    assert!(!host.text("out/a.jsonl").is_empty());
}

#[test]
fn a_wrong_password() {
    let server = AkeneoServer::start(Options::generated(10, 1)).unwrap();
    let host = akeneo(&server, server.base_url(), "not-the-word");
    let ended = host.run("copy");
    ended.no_panic().exits(2).tells(&["pim", "422"]);
    assert!(
        !format!("{ended}").contains("not-the-word"),
        "the password is shown\n{ended}"
    );
    assert_eq!(host.list("out"), [] as [&str; 0]);
}

#[test]
fn a_truncated_file() {
    // A quote that is never closed: the rows before it are delivered.
    let host = copy();
    host.write("in/a.csv", "id,name\n1,one\n2,two\n3,\"thr");
    let ended = host.run("copy");
    ended.no_panic().exits(3);
    assert_eq!(host.text("out/a.jsonl").lines().count(), 2);
    let letters = host.dead_letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["location"], "in/a.csv:4", "{letters:?}");

    // Half of a compressed file: the run fails, and no half result is put in place.
    let host = copy_with("files: in/*.csv", "files: in/*.gz");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writeln!(gz, "id,noise").unwrap();
    for row in 0..20_000_u64 {
        let noise = row.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        writeln!(gz, "{row},{noise:x}").unwrap();
    }
    let whole = gz.finish().unwrap();
    host.write("in/a.csv.gz", &whole[..whole.len() / 2]);
    let ended = host.run("copy");
    ended.no_panic().exits(1).tells(&["in/a.csv.gz"]);
    assert!(!host.path("out/a.jsonl").exists());
    // The whole one arrives, and everything is there once.
    host.write("in/a.csv.gz", whole);
    host.run_with("copy", ["--from-start"]).finished();
    assert_eq!(host.text("out/a.jsonl").lines().count(), 20_000);
}

#[test]
fn text_that_is_not_utf_8() {
    let host = copy();
    host.write("in/a.csv", b"id,name\n1,one\n2,M\xFCller\n3,three\n");
    host.run("copy").no_panic().exits(3);
    assert_eq!(host.text("out/a.jsonl").lines().count(), 2);
    let letters = host.dead_letters();
    assert_eq!(letters[0]["location"], "in/a.csv:3:4", "{letters:?}");
    let message = letters[0]["message"].as_str().unwrap();
    assert!(message.contains("UTF-8"), "{message}");
}

#[test]
fn a_cell_of_a_gigabyte_takes_no_gigabyte() {
    let host = copy_with("key: id }", "key: id, max-record-bytes: 1048576 }");
    let mut file = File::create(host.path("in/a.csv")).unwrap();
    file.write_all(b"id,name\n1,one\n2,\"").unwrap();
    // A hole: it reads as zeroes and takes no disk.
    file.seek(SeekFrom::Current(1 << 30)).unwrap();
    file.write_all(b"\"\n3,three\n").unwrap();
    drop(file);
    // Behind the cell the run waits at a gate, so that its memory can be asked for.
    let gate = Gate::new();
    gate.connect(&host);
    let flow = host.text("flows/copy.yaml");
    host.write(
        "flows/copy.yaml",
        flow.replace(
            "sinks:",
            &format!(
                "transformers:\n  - plugin: {}\n    config: {{ on: {{ \"3\": gate }}, connection: gate }}\n    \
                 grants: {{ connections: [gate] }}\nsinks:",
                test_plugin("puppet").display()
            ),
        ),
    );
    let mut running = host.start("copy");
    let arrival = gate.arrival(&mut running);
    let peak = running.peak_memory();
    arrival.pass();
    running.end().no_panic().exits(3);
    assert!(peak < 300 << 20, "{} MiB", peak >> 20);
    assert_eq!(
        host.text("out/a.jsonl"),
        "{\"id\":\"1\",\"name\":\"one\"}\n{\"id\":\"3\",\"name\":\"three\"}\n"
    );
    let letters = host.dead_letters();
    assert_eq!(letters[0]["location"], "in/a.csv:3", "{letters:?}");
    assert!(
        letters[0]["message"]
            .as_str()
            .unwrap()
            .contains("max-record-bytes")
    );
}

#[test]
fn a_state_folder_that_another_process_uses() {
    let host = copy_with(
        "sinks:",
        &format!(
            "transformers:\n  - plugin: {}\n    config: {{ on: {{ \"2\": gate }}, connection: gate }}\n    \
             grants: {{ connections: [gate] }}\nsinks:",
            test_plugin("puppet").display()
        ),
    );
    let gate = Gate::new();
    gate.connect(&host);
    let mut first = host.start("copy");
    let arrival = gate.arrival(&mut first);
    let id = first.id().to_string();
    host.run("copy").no_panic().exits(1).tells(&[
        "in use by another crossdock process",
        &id,
        "--state",
    ]);
    // Looking at dead letters is no different.
    host.crossdock(["dlq", "list"])
        .end()
        .no_panic()
        .exits(1)
        .tells(&["in use by another"]);
    // The first one is not disturbed.
    arrival.pass();
    first.end().finished();
    assert_eq!(host.text("out/a.jsonl").lines().count(), 2);
    host.crossdock(["dlq", "list"]).end().exits(0);
}

#[test]
fn a_state_folder_with_damaged_or_foreign_content() {
    let host = copy();
    host.run("copy").finished();
    // Bytes in the middle of every file of the database.
    let mut damaged = 0;
    let mut folders = vec![host.state()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let file = File::options().write(true).open(&path).unwrap();
            for at in 0..file.metadata().unwrap().len().min(4096) / 16 {
                file.write_at(b"\xA5\x5A", at * 16).unwrap();
                damaged += 1;
            }
        }
    }
    assert!(damaged > 0);
    let ended: Ended = host.run("copy");
    ended.no_panic().exits(1);
    assert_eq!(
        host.text("out/a.jsonl").lines().count(),
        2,
        "the output is left alone"
    );
}

#[test]
fn arguments_that_make_no_sense() {
    let host = copy();
    for arguments in [
        &["run"][..],
        &["run", "flows/copy.yaml", "--vr", "A=B"],
        &["run", "flows/copy.yaml", "--var", "AB"],
        &["plan"],
        &["dlq", "show", "many"],
    ] {
        host.crossdock(arguments).end().no_panic().exits(2);
    }
    let listed = host.crossdock(["dlq", "list"]).end();
    listed.exits(2).tells(&["there is no state folder"]);
    assert!(!host.state().exists());
    assert_eq!(
        host.run("copy").finished()["streams"]["a"],
        json!({
            "read": 2, "written": 2, "filtered": 0, "dead": 0, "expanded": 0, "replayed": 0
        })
    );
}
