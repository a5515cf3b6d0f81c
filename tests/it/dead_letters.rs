//! Dead letters are found, mended, given again and dropped, and nothing is lost or doubled by it.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use crossdock_tests::{
    chaos::dump,
    daemon::TestDaemon,
    host::{Ended, TestHost, plugin, program, test_plugin},
};
use serde_json::{Value, json};

/// csv → mapper (prices are numbers) → jsonl with whole records, appended at every checkpoint.
fn prices(host: &TestHost, more: &str) {
    host.write(
        "maps/m.yaml",
        "streams:\n  \"*\":\n    - set: { price: $.price | number }\n",
    );
    host.flow(
        "prices",
        &format!(
            "
source:
  plugin: csv
  config: {{ files: in/*.csv, key: sku }}
  grants: {{ files: {{ read: [in] }} }}
transformers:
  - plugin: mapper
    name: map
    config: {{ mapping: {{ $file: ../maps/m.yaml }} }}
sinks:
  - plugin: jsonl
    config: {{ file: out/all.jsonl, mode: append, envelope: true }}
    grants: {{ files: {{ write: [out] }} }}
{more}"
        ),
    );
}

fn bad_prices() -> TestHost {
    let host = TestHost::new();
    host.write("in/p.csv", "sku,price\na,1.50\nb,many\nc,2.50\nd,few\n");
    prices(&host, "");
    host.run("prices").exits(3);
    host
}

fn dlq(host: &TestHost, arguments: &[&str]) -> Ended {
    host.crossdock(["dlq"].iter().chain(arguments)).end()
}

/// The keys of what a list shows, and the ids.
fn listed(host: &TestHost, arguments: &[&str]) -> Vec<(String, u64)> {
    let arguments = [&["list", "--json"], arguments].concat();
    let document = dlq(host, &arguments).exits(0).json();
    let letters = document["dead_letters"].as_array().unwrap();
    letters
        .iter()
        .map(|letter| {
            let key = letter["key"].as_str().unwrap().to_owned();
            (key, letter["id"].as_u64().unwrap())
        })
        .collect()
}

fn keys(host: &TestHost, arguments: &[&str]) -> Vec<String> {
    let found = listed(host, arguments);
    found.into_iter().map(|(key, _)| key).collect()
}

/// The records in the output as (key, payload).
fn written(host: &TestHost) -> Vec<(String, Value)> {
    host.text("out/all.jsonl")
        .lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            let key = record["key"].as_str().unwrap().to_owned();
            (key, record["payload"].clone())
        })
        .collect()
}

#[test]
fn a_mended_record_goes_through_as_the_record_that_it_was() {
    let host = bad_prices();
    assert_eq!(written(&host).len(), 2);
    let [(_, b), (_, d)] = listed(&host, &[]).try_into().unwrap();
    let (b, d) = (b.to_string(), d.to_string());

    // What is no JSON is refused; a file, standard input and an editor can all mend it.
    host.write("mended.json", "{\"sku\":\"b\",\"price\":\"3.50\"}\n");
    host.write("broken.json", "{\"sku\":");
    dlq(&host, &["edit", &b, "--payload", "broken.json"])
        .exits(2)
        .tells(&["would be no JSON", "--form bytes"]);
    dlq(&host, &["edit", &b, "--payload", "mended.json"])
        .exits(0)
        .tells(&["3.50", "edited"]);
    dlq(&host, &["edit", "4711", "--key", "x"]).exits(2);
    dlq(&host, &["edit", &d]).exits(2).tells(&["EDITOR"]);
    let editing = host.crossdock(["dlq", "edit", &d, "--json"]);
    let edited = editing.env("EDITOR", "sed -i s/few/4.50/").end();
    let letter = &edited.exits(0).json()["dead_letter"];
    assert_eq!(letter["payload"]["price"], "4.50");
    assert_eq!(
        (&letter["key"], &letter["stage"]),
        (&json!("d"), &json!("map"))
    );

    let replayed = dlq(&host, &["replay", "flows/prices.yaml", &b, "--json"]);
    assert_eq!(
        replayed.exits(0).json(),
        json!({"ok": true, "flow": "prices", "records": 1, "settled": 1, "failed": 0, "stopped": false})
    );
    assert_eq!(keys(&host, &[]), ["d"], "the one that was settled is gone");
    dlq(&host, &["replay", "flows/prices.yaml", "--all"])
        .exits(0)
        .tells(&["replayed 1 dead letter: 1 settled, 0 failed again"]);
    assert!(keys(&host, &[]).is_empty());

    // With their keys, and each once.
    let expected = [("a", 1.5), ("c", 2.5), ("b", 3.5), ("d", 4.5)];
    let expected =
        expected.map(|(sku, price)| (sku.to_owned(), json!({"sku": sku, "price": price})));
    assert_eq!(written(&host), expected);

    // The source was not read: what has come meanwhile is read by the next run, and nothing else.
    let mut file = fs::File::options()
        .append(true)
        .open(host.path("in/p.csv"))
        .unwrap();
    file.write_all(b"e,5.50\n").unwrap();
    let next = host.run("prices").finished();
    assert_eq!(next["records"], 1);
    assert_eq!(written(&host).len(), 5);
}

#[test]
fn a_sink_that_writes_by_key_has_a_record_once_however_often_it_is_given() {
    let host = TestHost::new();
    host.write("in/p.csv", "sku,price\na,1.50\nb,many\nc,2.50\n");
    prices(&host, "");
    let flow = host.text("flows/prices.yaml");
    let (before, _) = flow.split_once("sinks:").unwrap();
    let sink = "sinks:\n  - plugin: redb\n    config: { file: out/all.redb, table: prices }\n    \
                grants: { files: { write: [out] } }\n";
    host.write("flows/prices.yaml", format!("{before}{sink}"));
    host.run("prices").exits(3);
    host.write("mended.json", "{\"sku\":\"b\",\"price\":\"3.50\"}");
    dlq(&host, &["edit", "1", "--payload", "mended.json"]).exits(0);
    dlq(&host, &["replay", "flows/prices.yaml", "1"]).exits(0);
    let expected = ["a", "b", "c"].map(|sku| {
        let price = ["1.50", "3.50", "2.50"][usize::from(sku.as_bytes()[0] - b'a')];
        format!("prices {sku} {{\\\"sku\\\":\\\"{sku}\\\",\\\"price\\\":{price}}}\n")
    });
    assert_eq!(dump(&host), expected.concat());
    // The shop corrects it too, and everything is read again: the same keys, so the same rows.
    host.write("in/p.csv", "sku,price\na,1.50\nb,3.50\nc,2.50\n");
    host.run_with("prices", ["--from-start"]).finished();
    assert_eq!(dump(&host), expected.concat());
}

#[test]
fn a_record_that_fails_again_is_a_new_dead_letter() {
    let host = bad_prices();
    let before = listed(&host, &[]);
    let again = dlq(
        &host,
        &["replay", "flows/prices.yaml", "--stage", "map", "--json"],
    );
    let summary = again.exits(3).json();
    assert_eq!(
        (&summary["settled"], &summary["failed"]),
        (&json!(0), &json!(2))
    );
    let after = listed(&host, &[]);
    assert_eq!(after.len(), 2);
    for ((key, old), (same, new)) in before.iter().zip(&after) {
        assert_eq!(key, same);
        assert!(new > old);
    }
    assert_eq!(written(&host).len(), 2);
    // Not even a threshold of none stands in the way of trying.
    prices(&host, "dead-letters: { max-count: 0 }\n");
    dlq(&host, &["replay", "flows/prices.yaml", "--all"]).exits(3);
    assert_eq!(keys(&host, &[]), ["b", "d"]);
}

#[test]
fn a_run_that_was_cut_short_goes_on_after_its_dead_letters_were_given_again() {
    let host = TestHost::new();
    host.write("in/p.csv", "sku,price\na,1.50\nb,many\nc,2.50\n");
    prices(&host, "dead-letters: { max-count: 0 }\n");
    let flow = host
        .text("flows/prices.yaml")
        .replace("mode: append", "mode: replace");
    host.write("flows/prices.yaml", flow);
    host.run("prices").exits(1);
    host.write("mended.json", "{\"sku\":\"b\",\"price\":\"3.50\"}");
    dlq(&host, &["edit", "1", "--payload", "mended.json"]).exits(0);
    dlq(&host, &["replay", "flows/prices.yaml", "1"]).exits(0);
    assert!(
        !host.path("out/all.jsonl").exists(),
        "a replay is not the end of a run"
    );
    let ended = host.run("prices").finished();
    assert_eq!(ended["outcome"], "finished");
    assert_eq!(
        ended["streams"]["p"],
        json!({"read": 3, "written": 3, "filtered": 0, "dead": 1, "expanded": 0, "replayed": 1})
    );
    let records: BTreeSet<String> = written(&host).into_iter().map(|(key, _)| key).collect();
    assert_eq!(written(&host).len(), 3);
    assert_eq!(records, ["a", "b", "c"].map(str::to_owned).into());
}

#[test]
fn only_the_sink_that_refused_a_record_gets_it_again() {
    let host = TestHost::new();
    host.write("in/t.csv", "id\na\nb\nc\n");
    let flow = |on: &str| {
        host.flow(
            "two",
            &format!(
                "
source: {{ plugin: csv, config: {{ files: in/*.csv, key: id }}, grants: {{ files: {{ read: [in] }} }} }}
sinks:
  - plugin: jsonl
    config: {{ file: out/t.jsonl, mode: append }}
    grants: {{ files: {{ write: [out] }} }}
  - {{ name: second, plugin: {}, config: {{ on: {{ {on} }} }} }}
",
                test_plugin("puppet").display()
            ),
        );
    };
    flow("b: permanent");
    host.run("two").exits(3);
    flow("");
    let replayed = dlq(
        &host,
        &["replay", "flows/two.yaml", "--fault", "permanent", "--json"],
    );
    assert_eq!(replayed.exits(0).json()["settled"], 1);
    assert_eq!(
        host.text("out/t.jsonl").lines().count(),
        3,
        "it had all of them"
    );
    assert!(keys(&host, &[]).is_empty());
}

/// A copy of a plugin that says that it is another version, and so has another digest.
fn other_version(host: &TestHost, of: PathBuf, version: &str) -> PathBuf {
    let mut bytes = fs::read(of).unwrap();
    let old = b"\"version\":\"0.1.0\"";
    let spaced = b"\"version\": \"0.1.0\"";
    let mut changed = 0;
    for pattern in [&old[..], &spaced[..]] {
        for at in 0..bytes.len() - pattern.len() {
            if bytes[at..].starts_with(pattern) {
                let end = at + pattern.len() - 1;
                bytes[end - 5..end].copy_from_slice(version.as_bytes());
                changed += 1;
            }
        }
    }
    assert!(changed > 0, "its manifest was not found");
    host.write("other/mapper-new.wasm", bytes)
}

#[test]
fn another_version_of_the_plugin_can_be_tried_on_them() {
    let host = bad_prices();
    let new = other_version(&host, plugin("mapper"), "0.1.7");
    let with = new.display().to_string();
    let all = ["replay", "flows/prices.yaml", "--all", "--with"];
    let try_with = |with: &str| dlq(&host, &[&all[..], &[with]].concat());

    try_with("other/none.wasm")
        .exits(2)
        .tells(&["there is no file"]);
    try_with(&format!("csv@{with}"))
        .exits(2)
        .tells(&["holds the plugin `mapper`, not `csv`"]);
    try_with(&plugin("csv").display().to_string())
        .exits(2)
        .tells(&["is no transformer"]);
    assert_eq!(listed(&host, &[]).len(), 2);

    try_with("mapper@other/mapper-new.wasm").exits(3);
    assert_eq!(keys(&host, &["--plugin-version", "0.1.7"]), ["b", "d"]);
    assert!(keys(&host, &["--plugin-version", "0.1.0"]).is_empty());
    // The flow itself still has its own.
    host.write("mended.json", "{\"sku\":\"d\",\"price\":\"x\"}");
    let (_, d) = listed(&host, &[]).remove(1);
    dlq(&host, &["replay", "flows/prices.yaml", &d.to_string()]).exits(3);
    assert_eq!(keys(&host, &["--plugin-version", "0.1.0"]), ["d"]);
}

#[test]
fn they_are_found_exported_and_discarded_by_what_they_are() {
    let host = bad_prices();
    for (filter, found) in [
        (&["--flow", "prices"][..], &["b", "d"][..]),
        (&["--flow", "other"], &[]),
        (&["--stage", "map", "--plugin", "mapper"], &["b", "d"]),
        (&["--stage", "csv"], &[]),
        (&["--stream", "p", "--fault", "permanent"], &["b", "d"]),
        (&["--fault", "trap"], &[]),
        (&["--since", "1h"], &["b", "d"]),
        (&["--until", "1h"], &[]),
        (
            &["--since", "2026-01-01T00:00:00Z", "--text", "FEW"],
            &["d"],
        ),
        (&["--after", "1"], &["d"]),
        (&["--limit", "1"], &["b"]),
    ] {
        assert_eq!(keys(&host, filter), found, "{filter:?}");
    }
    let found = dlq(&host, &["search", "many", "--json"]).exits(0).json();
    assert_eq!(found["dead_letters"].as_array().unwrap().len(), 1);

    let exported = dlq(&host, &["export", "--text", "many"]);
    let line: Value = serde_json::from_str(exported.exits(0).text().trim_end()).unwrap();
    assert_eq!(
        (&line["key"], &line["payload"]["price"]),
        (&json!("b"), &json!("many"))
    );
    dlq(&host, &["export", "--output", "dead.jsonl"])
        .exits(0)
        .tells(&["2 dead letters exported"]);
    assert_eq!(host.text("dead.jsonl").lines().count(), 2);
    dlq(&host, &["export", "--output", "dead.jsonl"])
        .exits(2)
        .tells(&["dead.jsonl"]);

    // Nothing goes because a filter was forgotten.
    for command in [&["discard"][..], &["replay", "flows/prices.yaml"]] {
        dlq(&host, command)
            .exits(2)
            .tells(&["say which dead letters", "--all"]);
    }
    let gone = dlq(&host, &["discard", "--text", "few", "--json"])
        .exits(0)
        .json();
    assert_eq!(gone, json!({"ok": true, "discarded": 1}));
    assert_eq!(keys(&host, &[]), ["b"]);
    dlq(&host, &["discard", "1"])
        .exits(0)
        .tells(&["1 dead letter discarded"]);
    dlq(&host, &["discard", "--all"])
        .exits(0)
        .tells(&["0 dead letters"]);
}

#[test]
fn what_is_not_there_is_named_and_nothing_is_done() {
    let host = bad_prices();
    for (command, told) in [
        (&["discard", "1", "77", "78"][..], "no dead letter 77, 78;"),
        (&["export", "1", "77"], "no dead letter 77;"),
        (&["show", "77"], "no dead letter 77;"),
        (
            &["discard", "1", "--flow", "other"],
            "no dead letter 1 of flow `other`",
        ),
        (&["discard", "--flow", "other"], "no flow `other`"),
        (
            &["replay", "flows/prices.yaml", "1", "999999"],
            "no dead letter 999999 of flow `prices`",
        ),
        (
            &["replay", "flows/prices.yaml", "--stage", "mop"],
            "flow `prices` has no stage `mop`",
        ),
        (&["list", "--fault", "foo"], "foo"),
        (&["discard", "--fault", "foo"], "permanent"),
    ] {
        dlq(&host, command).no_panic().exits(2).tells(&[told]);
    }
    assert_eq!(keys(&host, &[]), ["b", "d"]);
    // A flow that has run may have none.
    dlq(&host, &["discard", "--flow", "prices", "--fault", "trap"])
        .exits(0)
        .tells(&["0 dead letters"]);
}

#[test]
fn a_pipe_mends_it() {
    let host = bad_prices();
    // As in the help: what another program makes of the payload.
    let mut edit = Command::new(program());
    edit.current_dir(host.path("."))
        .args(["dlq", "edit", "1", "--payload", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = edit.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"{\"sku\":\"b\",\"price\":9}").unwrap();
    drop(stdin);
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success());
    let document: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        document["dead_letter"]["payload"],
        json!({"sku": "b", "price": 9})
    );
}

#[test]
fn large_ones_are_listed_in_pages() {
    let host = TestHost::new();
    let line = "x".repeat(7 << 20);
    host.write("in/large.jsonl", format!("{line}\n{line}\n{line}\n"));
    let flow = "
source:
  plugin: jsonl
  name: lines
  config: { files: in/*.jsonl }
  grants: { files: { read: [in] } }
sinks:
  - plugin: jsonl
    config: { file: out/all.jsonl }
    grants: { files: { write: [out] } }
";
    host.flow("large", flow);
    let mut daemon = TestDaemon::start(&host);
    let status = daemon.until_state("large", "finished");
    assert_eq!(status["dead-letters"], 3);
    let page = |query: &str| {
        let answer = daemon.api("GET", &format!("dead-letters?{query}"), true, "");
        assert_eq!(answer.status, 200, "{}", answer.head);
        let letters: Vec<Value> = serde_json::from_str(&answer.body).unwrap();
        let ids = letters.iter().map(|letter| letter["id"].as_u64().unwrap());
        (ids.collect::<Vec<u64>>(), answer.body.len())
    };
    // 16 MiB have room for two of them.
    for form in ["", "stored=true&"] {
        assert_eq!(page(&format!("{form}after=0")).0, [1, 2]);
        assert_eq!(page(&format!("{form}after=2")).0, [3]);
        assert_eq!(page(&format!("{form}after=3")).0, [] as [u64; 0]);
    }
    let (ids, bytes) = page("brief=true");
    assert_eq!(ids, [1, 2, 3]);
    assert!(bytes < 10_000, "{bytes}");
    // The command line asks until it has all.
    let table = daemon.ask(&["dlq", "list"]).exits(0).to_string();
    assert_eq!(table.matches("permanent").count(), 3, "{table}");
    let whole = daemon.ask(&["dlq", "list", "--json"]).exits(0).json();
    let whole = whole["dead_letters"].as_array().unwrap();
    for letter in whole {
        let payload = letter["payload"].as_str().unwrap();
        assert!(
            payload.trim_end() == line,
            "{} bytes: {:.40}",
            payload.len(),
            payload
        );
    }
    assert_eq!(whole.len(), 3);
    let exported = daemon.ask(&["dlq", "export", "--output", "out.jsonl"]);
    exported.exits(0).tells(&["3 dead letters exported"]);
}

#[test]
fn old_dead_letters_go_when_the_flow_says_so() {
    let host = bad_prices();
    // By size: each of the two that are there is more than 700 bytes and less than 1000, so the older one goes, as soon
    // as the flow runs.
    let weight = "dead-letters: { max-size: 1000B }\n";
    prices(&host, weight);
    let run = host.run("prices");
    let summary = run.exits(0).json();
    assert_eq!(summary["expired_dead_letters"], 1, "{run}");
    run.tells(&["Dropped the oldest dead letters"]);
    assert_eq!(keys(&host, &[]), ["d"]);
    // By age, and with the checkpoint too: those of this very run are not old yet.
    prices(&host, "dead-letters: { keep: 1ms }\n");
    let mut file = fs::File::options()
        .append(true)
        .open(host.path("in/p.csv"))
        .unwrap();
    file.write_all(b"e,none\n").unwrap();
    let summary = host.run("prices").exits(3).json();
    assert_eq!(summary["expired_dead_letters"], 1);
    assert_eq!(keys(&host, &[]), ["e"]);
}

#[test]
fn a_flow_that_never_ran_has_nothing_to_give_again() {
    let host = bad_prices();
    let other = host
        .text("flows/prices.yaml")
        .replace("flow: prices", "flow: other");
    host.write("flows/other.yaml", other);
    dlq(&host, &["replay", "flows/other.yaml", "--all"])
        .exits(2)
        .tells(&["flow `other` has no checkpoint", "run it first"]);
    // A stage that is gone is named, and the dead letters stay.
    let renamed = host
        .text("flows/prices.yaml")
        .replace("name: map", "name: convert");
    host.write("flows/prices.yaml", renamed);
    dlq(&host, &["replay", "flows/prices.yaml", "--all"])
        .no_panic()
        .exits(1)
        .tells(&["`map`"]);
    assert_eq!(keys(&host, &[]), ["b", "d"]);
}
