//! Plugins that trap, loop, take everything or lie: the record that they do it on is a dead letter or the run fails with
//! a clear error, every other record goes through, and the host stays up.

use std::time::{Duration, Instant};

use crossdock_tests::{
    daemon::TestDaemon,
    host::{Ended, TestHost, test_plugin},
};
use serde_json::{Value, json};

const ROWS: usize = 100;

/// What a stage of the puppet is told, beside its plugin: config and limits.
struct Told(String);

fn told(config: &Value) -> Told {
    Told(format!(
        "plugin: {}\n    config: {config}\n    limits: {{ call-time: 500ms, memory: 64MiB, output: 4MiB }}",
        test_plugin("puppet").display()
    ))
}

/// A CSV with the keys r000 to r099.
fn rows(host: &TestHost) {
    let rows: Vec<String> = (0..ROWS).map(|row| format!("r{row:03},{row}")).collect();
    host.write("in/r.csv", format!("id,n\n{}\n", rows.join("\n")));
}

const FROM_CSV: &str = "
source:
  plugin: csv
  config: { files: in/*.csv, key: id }
  grants: { files: { read: [in] } }
";

const TO_JSONL: &str = "
  - plugin: jsonl
    config: { file: out/r.jsonl }
    grants: { files: { write: [out] } }
retry: { attempts: 2, initial: 1ms }
batch: { records: 10 }
";

/// csv -> puppet -> jsonl.
fn as_transformer(config: &Value) -> TestHost {
    let host = TestHost::new();
    rows(&host);
    let Told(stage) = told(config);
    host.flow(
        "hostile",
        &format!("{FROM_CSV}transformers:\n  - {stage}\nsinks:{TO_JSONL}"),
    );
    host
}

/// csv -> puppet as the first of two sinks.
fn as_sink(config: &Value) -> TestHost {
    let host = TestHost::new();
    rows(&host);
    let Told(stage) = told(config);
    host.flow(
        "hostile",
        &format!("{FROM_CSV}sinks:\n  - {stage}{TO_JSONL}"),
    );
    host
}

/// puppet -> jsonl.
fn as_source(config: &Value) -> TestHost {
    let host = TestHost::new();
    let Told(stage) = told(config);
    let stage = stage.replace("\n    ", "\n  ");
    host.flow("hostile", &format!("source:\n  {stage}\nsinks:{TO_JSONL}"));
    host
}

/// The keys in the output, in order.
fn output(host: &TestHost) -> Vec<String> {
    let text = host.text("out/r.jsonl");
    text.lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            record["id"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// All keys but these.
fn without(gone: &[&str]) -> Vec<String> {
    (0..ROWS)
        .map(|row| format!("r{row:03}"))
        .filter(|key| !gone.contains(&key.as_str()))
        .collect()
}

/// Holds the dead letters against (key, fault, words of the message).
fn letters(host: &TestHost, expected: &[(&str, &str, &str)]) {
    let letters = host.dead_letters();
    for (key, fault, words) in expected {
        let of_key: Vec<&Value> = letters.iter().filter(|l| l["key"] == *key).collect();
        let [letter] = of_key[..] else {
            panic!("{} dead letters of {key}", of_key.len());
        };
        assert_eq!(letter["fault"], *fault, "{letter}");
        let message = letter["message"].as_str().unwrap();
        assert!(
            message.contains(words),
            "{key}: {words:?} is not in {message:?}"
        );
        assert_eq!(letter["plugin"], "puppet");
    }
    assert_eq!(letters.len(), expected.len(), "{letters:#?}");
}

#[test]
fn a_transformer_that_kills_itself_or_lies_loses_only_that_record() {
    let expected = [
        ("r003", "trap", "panicked"),
        ("r011", "time", "500 ms"),
        ("r023", "memory", "64 MiB"),
        ("r031", "contract", "of a batch of"),
        ("r042", "contract", "twice"),
        ("r053", "contract", "malformed value"),
        ("r059", "contract", "malformed batch"),
        ("r061", "contract", "malformed batch"),
        ("r067", "contract", "of a batch of"),
        ("r071", "contract", "more than 4 MiB"),
        ("r073", "permanent", "told to fail"),
        ("r079", "permanent", "told to reject"),
        ("r083", "transient", "told to wait"),
        ("r091", "contract", "filtered"),
        ("r097", "contract", "selected and rejected"),
    ];
    let on = json!({
        "r003": "trap", "r011": "loop", "r023": "memory", "r031": "wild-index", "r042": "twice", "r053": "text",
        "r059": "offsets", "r061": "beyond", "r067": "origin", "r071": "flood-some", "r073": "fail", "r079": "permanent",
        "r083": "transient", "r091": "lose", "r097": "both",
    });
    let host = as_transformer(&json!({ "on": on }));
    let ended = host.run("hostile");
    let summary = ended.no_panic().exits(3).json();
    letters(&host, &expected);
    assert_eq!(output(&host), without(&expected.map(|(key, _, _)| key)));
    assert_eq!(
        summary["streams"]["r"],
        json!({"read": 100, "written": 85, "filtered": 0, "dead": 15, "expanded": 0, "replayed": 0})
    );
    // The trap says where in the plugin it was.
    let trap = host
        .dead_letters()
        .into_iter()
        .find(|l| l["fault"] == "trap");
    assert!(
        trap.unwrap()["backtrace"]
            .as_str()
            .unwrap()
            .contains("apply")
    );
}

#[test]
fn very_many_streams_batches_and_unreadable_inputs_are_refused() {
    // What every checkpoint would carry, and what is held for each of them.
    let expected = [
        ("r003", "contract", "more than 1000 streams"),
        ("r011", "contract", "10001 batches; 10000 are allowed"),
        ("r023", "contract", "control characters"),
    ];
    let on = json!({ "r003": "streams", "r011": "batches", "r023": "escape" });
    let host = as_transformer(&json!({ "on": on }));
    let ended = host.run("hostile");
    let summary = ended.no_panic().exits(3).json();
    letters(&host, &expected);
    assert_eq!(output(&host), without(&expected.map(|(key, _, _)| key)));
    assert_eq!(summary["streams"].as_object().unwrap().len(), 1);

    let host = as_source(&json!({ "records": 100, "on": { "42": "unreadable" } }));
    let words = [
        "stage `puppet`",
        "one read gave 20010 records and unreadable inputs; 10000 are allowed",
    ];
    fails(&host.run("hostile"), 1, &words);
    let left = host.dead_letters();
    assert!(left.is_empty(), "{} dead letters", left.len());
}

#[test]
fn a_stateful_transformer_is_brought_back_with_its_state() {
    let on = json!({ "r003": "trap", "r050": "loop", "r099": "memory" });
    let host = as_transformer(&json!({ "on": on, "stateful": true }));
    host.run("hostile").no_panic().exits(3);
    assert_eq!(output(&host), without(&["r003", "r050", "r099"]));
}

#[test]
fn a_stage_that_answers_differently_after_it_was_brought_back_fails_the_run_and_is_named() {
    let on = json!({ "r057": "trap" });
    for host in [
        as_transformer(&json!({ "on": on, "stateful": true, "snapshot": "forget" })),
        as_sink(&json!({ "on": on, "snapshot": "forget" })),
    ] {
        let text = host.text("flows/hostile.yaml");
        let text = format!("{text}checkpoint: {{ records: 30 }}\n");
        host.write("flows/hostile.yaml", text);
        let words = [
            "stage `puppet`",
            "after it was brought back from its snapshot it answers differently",
            "report it to its author",
        ];
        fails(&host.run("hostile"), 1, &words);
        assert!(!host.path("out/r.jsonl").exists());
    }
}

#[test]
fn a_plugin_that_floods_the_log_is_cut_short() {
    let host = as_transformer(&json!({ "on": { "r042": "chatter" } }));
    let text = host.text("flows/hostile.yaml");
    host.write(
        "flows/hostile.yaml",
        text.replace("call-time: 500ms", "call-time: 60s"),
    );
    let ended = host.run("hostile");
    ended.finished();
    ended.tells(&["were dropped"]);
    let size = ended.stderr.len();
    assert!(size < 16 << 20, "{size} bytes of log");
    assert_eq!(output(&host), without(&[]));
}

#[test]
fn a_sink_that_kills_itself_or_lies_loses_only_that_record() {
    let expected = [
        ("r003", "trap", "panicked"),
        ("r011", "time", "500 ms"),
        ("r023", "memory", "64 MiB"),
        ("r031", "contract", "of a batch of"),
        ("r042", "contract", "twice"),
        ("r053", "contract", "malformed value"),
        ("r073", "permanent", "told to fail"),
        ("r079", "permanent", "told to reject"),
        ("r083", "transient", "told to wait"),
    ];
    let on = json!({
        "r003": "trap", "r011": "loop", "r023": "memory", "r031": "wild-index", "r042": "twice", "r053": "text",
        "r073": "fail", "r079": "permanent", "r083": "transient",
    });
    let host = as_sink(&json!({ "on": on }));
    let summary = host.run("hostile").no_panic().exits(3).json();
    letters(&host, &expected);
    assert_eq!(summary["streams"]["r"]["written"], 91);
    assert_eq!(summary["streams"]["r"]["dead"], 9);
    // The other sink has them all.
    assert_eq!(output(&host), without(&[]));
}

/// Fails with this code, promptly, and says these things.
fn fails(ended: &Ended, code: i32, texts: &[&str]) {
    ended.no_panic().exits(code).tells(texts);
}

#[test]
fn a_source_that_dies_or_lies_fails_the_run_and_names_it() {
    for (act, words) in [
        ("trap", "panicked"),
        ("loop", "500 ms"),
        ("memory", "64 MiB"),
        ("offsets", "malformed batch"),
        ("beyond", "malformed batch"),
        ("fail", "told to fail"),
    ] {
        let host = as_source(&json!({ "records": 100, "on": { "57": act } }));
        let begin = Instant::now();
        let ended = host.run("hostile");
        assert!(begin.elapsed() < Duration::from_secs(30));
        fails(&ended, 1, &["stage `puppet`", words]);
        // Nothing half-written is put in place.
        assert!(!host.path("out/r.jsonl").exists());
    }
    let host = as_source(&json!({ "records": 100, "on": { "57": "config" } }));
    fails(
        &host.run("hostile"),
        2,
        &["told to dislike its config", "take it out"],
    );
    // And without an act it works.
    let host = as_source(&json!({ "records": 100 }));
    let summary = host.run("hostile").finished();
    assert_eq!(summary["streams"]["numbers"]["written"], 100);
    assert_eq!(host.text("out/r.jsonl").lines().count(), 100);
}

#[test]
fn a_plugin_that_dies_when_it_is_opened_fails_the_run() {
    for (act, words) in [
        ("trap", "panicked"),
        ("memory", "64 MiB"),
        ("fail", "told to fail"),
    ] {
        for host in [
            as_source(&json!({ "records": 5, "open": act })),
            as_transformer(&json!({ "open": act })),
            as_sink(&json!({ "open": act })),
        ] {
            fails(&host.run("hostile"), 1, &["stage `puppet`", words]);
            assert!(!host.path("out/r.jsonl").exists());
        }
    }
}

#[test]
fn a_plugin_that_dies_when_it_is_asked_for_a_snapshot_fails_the_run() {
    for (act, words) in [
        ("trap", "panicked"),
        ("huge", "2097152 bytes"),
        ("fail", "told to fail"),
    ] {
        for host in [
            as_source(&json!({ "records": 5, "snapshot": act })),
            as_transformer(&json!({ "stateful": true, "snapshot": act })),
            as_sink(&json!({ "snapshot": act })),
        ] {
            fails(&host.run("hostile"), 1, &["stage `puppet`", words]);
            assert!(!host.path("out/r.jsonl").exists());
        }
    }
}

#[test]
fn a_snapshot_that_its_own_plugin_refuses_is_reported_with_what_to_do() {
    let host = as_source(&json!({ "records": 5, "snapshot": "garbage" }));
    host.run("hostile").finished();
    fails(
        &host.run("hostile"),
        2,
        &["cannot read a snapshot of 3 bytes", "--from-start"],
    );
    host.run_with("hostile", ["--from-start"]).finished();
}

/// The flow with other limits for the puppet.
fn limited(host: TestHost, limits: &str) -> TestHost {
    let text = host.text("flows/hostile.yaml");
    let usual = "limits: { call-time: 500ms, memory: 64MiB, output: 4MiB }";
    assert!(text.contains(usual));
    let limits = format!("limits: {{ {limits} }}");
    host.write("flows/hostile.yaml", text.replace(usual, &limits));
    host
}

/// How many lines of the puppet are in the log, and for how many windows of a second there was time.
fn lines_of_the_puppet(limits: &str) -> (usize, usize) {
    let acts = json!({ "on": { "r042": "chatter" } });
    let host = limited(as_transformer(&acts), limits);
    let start = Instant::now();
    let ended = host.run("hostile");
    ended.finished();
    let windows = usize::try_from(start.elapsed().as_secs()).unwrap() + 2;
    let lines = ended.stderr.lines();
    (
        lines.filter(|line| line.contains("blah blah")).count(),
        windows,
    )
}

#[test]
fn the_log_limits_of_a_flow_count() {
    let (lines, windows) = lines_of_the_puppet("call-time: 60s, log-lines: 5");
    assert!((5..=5 * windows).contains(&lines), "{lines} in {windows} s");
    // A line has 1000 bytes.
    let (lines, windows) = lines_of_the_puppet("call-time: 60s, log-bytes: 10KiB");
    assert!(
        (10..=11 * windows).contains(&lines),
        "{lines} in {windows} s"
    );
}

#[test]
fn the_snapshot_limit_of_a_flow_counts() {
    let huge = || as_source(&json!({ "records": 5, "snapshot": "huge" }));
    fails(
        &huge().run("hostile"),
        1,
        &["2097152 bytes; 1048576 are allowed"],
    );
    let lower = limited(huge(), "snapshot: 4KiB");
    fails(
        &lower.run("hostile"),
        1,
        &["2097152 bytes; 4096 are allowed"],
    );
    limited(huge(), "snapshot: 4MiB").run("hostile").finished();
}

#[test]
fn the_limits_of_what_a_component_is_made_of_count() {
    for limits in ["table-elements: 1", "modules: 1"] {
        let host = limited(as_transformer(&json!({})), limits);
        fails(&host.run("hostile"), 1, &["stage `puppet`"]);
        assert!(!host.path("out/r.jsonl").exists(), "{limits}");
    }
    limited(
        as_transformer(&json!({})),
        "table-elements: 100000, modules: 31",
    )
    .run("hostile")
    .finished();
}

#[test]
fn the_times_for_opening_and_for_snapshots_count() {
    let begin = Instant::now();
    let opening = limited(
        as_transformer(&json!({ "open": "loop" })),
        "call-time: 5m, open-time: 300ms",
    );
    fails(&opening.run("hostile"), 1, &["300 ms", "`open`"]);
    let snapshot = limited(
        as_sink(&json!({ "snapshot": "loop" })),
        "call-time: 5m, commit-time: 400ms",
    );
    fails(&snapshot.run("hostile"), 1, &["400 ms", "`snapshot`"]);
    assert!(begin.elapsed() < Duration::from_secs(50));
    for field in ["open-time", "commit-time"] {
        let host = limited(as_transformer(&json!({})), &format!("{field}: 0s"));
        fails(&host.run("hostile"), 2, &[field, "must not be 0"]);
    }
}

/// What lies in the folder when the flow starts counts, so that a plugin that is started again does not get its quota
/// once more.
#[test]
fn a_quota_is_not_given_again_with_the_next_run() {
    let host = as_transformer(&json!({ "on": { "r001": "fill den/a 5" } }));
    let text = host.text("flows/hostile.yaml");
    let limits = "limits: { call-time: 500ms, memory: 64MiB, output: 4MiB }";
    let grants = "limits: { call-time: 60s }\n    grants: { files: { write: [den], quota: 8MiB } }";
    // With more records in a batch, it would be tried again with each half.
    let text = text
        .replace(limits, grants)
        .replace("batch: { records: 10 }", "batch: { records: 1 }");
    host.write("flows/hostile.yaml", &text);
    host.run("hostile").no_panic().exits(3);
    letters(&host, &[("r001", "permanent", "got: 5 MiB")]);
    for round in 0..3 {
        let again = text.replace("den/a", &format!("den/b{round}"));
        host.write("flows/hostile.yaml", again);
        let refused = host.run_with("hostile", ["--from-start"]);
        refused.no_panic().exits(3);
        let bytes: u64 = std::fs::read_dir(host.path("den"))
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(bytes <= 8 << 20, "{bytes} bytes after run {round}");
    }
}

/// A hole takes as much off the quota as the size of the file grows by: so much is counted when the flow starts again.
#[test]
fn a_quota_counts_holes() {
    let acts = json!({ "on": { "r001": "dots den/a 1000 1048576", "r002": "dots den/b 2 8796093022208", "r003": "fill den/c 1" } });
    let host = as_transformer(&acts);
    let text = host.text("flows/hostile.yaml");
    let limits = "limits: { call-time: 500ms, memory: 64MiB, output: 4MiB }";
    let grants = "limits: { call-time: 60s }\n    grants: { files: { write: [den], quota: 8MiB } }";
    let text = text
        .replace(limits, grants)
        .replace("batch: { records: 10 }", "batch: { records: 1 }");
    host.write("flows/hostile.yaml", &text);
    host.run("hostile").no_panic().exits(3);
    letters(
        &host,
        &[
            ("r001", "permanent", "after 8 dots"),
            ("r002", "permanent", "after 1 dots"),
            ("r003", "permanent", "after 0 MiB"),
        ],
    );
    let size = |name: &str| std::fs::metadata(host.path(name)).unwrap().len();
    assert_eq!((size("den/a"), size("den/b")), ((7 << 20) + 1, 1));
}

/// With one thread for both, so that what the one takes the other does not have.
#[test]
fn a_flow_that_works_all_the_time_does_not_stop_another_one() {
    let host = as_transformer(&json!({ "on": { "r000": "loop" } }));
    let host = limited(host, "call-time: 5m").with("TOKIO_WORKER_THREADS", "1");
    let modest = TO_JSONL.replace("out/r", "out/modest");
    host.flow("modest", &format!("{FROM_CSV}sinks:{modest}"));
    let begin = Instant::now();
    let mut daemon = TestDaemon::start(&host);
    daemon.until_state("modest", "finished");
    println!("beside a loop, the other flow took {:?}", begin.elapsed());
    assert_eq!(host.text("out/modest.jsonl").lines().count(), ROWS);
    assert_eq!(daemon.status("hostile")["state"], "running");
    assert!(!host.path("out/r.jsonl").exists());
    daemon.kill();
}
