//! Files through the sandbox and back, and what becomes of rows that are no records.

use std::{
    fmt::Write as _,
    fs,
    sync::atomic::{AtomicBool, Ordering},
};

use crossdock_tests::host::{TestHost, test_plugin};
use serde_json::json;

/// csv -> jsonl, with more lines of the flow file.
fn csv_to_jsonl(host: &TestHost, config: &str, more: &str) {
    host.flow(
        "there",
        &format!(
            "
source:
  plugin: csv
  config: {{ files: in/*.csv, key: id{config} }}
  grants: {{ files: {{ read: [in] }} }}
sinks:
  - plugin: jsonl
    config: {{ file: \"out/{{stream}}.jsonl\" }}
    grants: {{ files: {{ write: [out] }} }}
{more}"
        ),
    );
}

/// jsonl -> csv.
fn jsonl_to_csv(host: &TestHost) {
    host.flow(
        "back",
        "
source:
  plugin: jsonl
  config: { files: out/*.jsonl, key: id }
  grants: { files: { read: [out] } }
sinks:
  - plugin: csv
    config: { file: \"back/{stream}.csv\" }
    grants: { files: { write: [back] } }
",
    );
    std::fs::create_dir(host.path("back")).unwrap();
}

/// What files really hold: line breaks, quotes, commas, other scripts, spaces, nothing, leading zeros.
fn nasty() -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer
        .write_record(["id", "text", "größe", "empty", "code"])
        .unwrap();
    for row in 0..2_500 {
        let text = match row % 6 {
            0 => format!("line {row}\nsecond \"line\", quoted"),
            1 => "  spaces  ".to_owned(),
            2 => "漢字 🚲 ñ".to_owned(),
            3 => "\r\n".to_owned(),
            4 => "\\ back/slash\t".to_owned(),
            _ => "\"".to_owned(),
        };
        writer
            .write_record([&format!("{row:06}"), &text, "1.50", "", "007"])
            .unwrap();
    }
    writer.into_inner().unwrap()
}

/// Header and rows as any reader of CSV sees them.
fn rows(file: &[u8]) -> Vec<csv::ByteRecord> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(file);
    reader.byte_records().map(Result::unwrap).collect()
}

#[test]
fn csv_to_jsonl_and_back_has_the_same_rows() {
    let host = TestHost::new();
    let original = nasty();
    host.write("in/things.csv", &original);
    csv_to_jsonl(&host, "", "");
    jsonl_to_csv(&host);

    let there = host.run("there").finished();
    assert_eq!(there["streams"]["things"]["read"], 2_500);
    assert_eq!(there["streams"]["things"]["written"], 2_500);
    assert_eq!(there["delivery"]["label"], "exactly-once");
    let text = host.text("out/things.jsonl");
    assert_eq!(text.lines().count(), 2_500);
    assert_eq!(
        text.lines().nth(2).unwrap(),
        r#"{"id":"000002","text":"漢字 🚲 ñ","größe":"1.50","empty":"","code":"007"}"#
    );

    host.run("back").finished();
    // Quotes that nobody needs may differ; what a reader sees must not.
    assert!(
        rows(&host.bytes("back/things.csv")) == rows(&original),
        "it came back changed"
    );
    assert_eq!(host.list("back"), ["things.csv"]);
}

#[test]
fn many_files_encodings_and_gzip_are_streams_of_their_own() {
    let host = TestHost::new();
    let text = "id;name\n1;Stühle – groß\n2;Café €\n";
    let (encoded, _, lossy) = encoding_rs::WINDOWS_1252.encode(text);
    assert!(!lossy);
    host.write("in/a.csv", &encoded);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gz, &encoded).unwrap();
    host.write("in/b.csv.gz", gz.finish().unwrap());
    host.write("in/c.csv", "\u{FEFF}id;name\r\n3;BOM\r\n");
    host.flow(
        "there",
        "
source:
  plugin: csv
  config: { files: [in/*.csv, in/*.csv.gz], key: id, encoding: windows-1252, delimiter: auto }
  grants: { files: { read: [in] } }
sinks:
  - plugin: jsonl
    config: { file: \"out/{stream}.jsonl\" }
    grants: { files: { write: [out] } }
",
    );
    host.run("there").finished();
    let expected =
        "{\"id\":\"1\",\"name\":\"Stühle – groß\"}\n{\"id\":\"2\",\"name\":\"Café €\"}\n";
    assert_eq!(host.text("out/a.jsonl"), expected);
    assert_eq!(host.text("out/b.jsonl"), expected);
    assert_eq!(
        host.text("out/c.jsonl"),
        "{\"id\":\"3\",\"name\":\"BOM\"}\n"
    );
}

/// 200 rows; every 20th has a cell too many.
fn ragged(host: &TestHost) {
    let mut text = "id,name\n".to_owned();
    for row in 0..200 {
        text += if row % 20 == 7 { "x,y,z\n" } else { "" };
        writeln!(text, "{row},n{row}").unwrap();
    }
    host.write("in/ragged.csv", text);
}

#[test]
fn rows_that_are_no_records_become_dead_letters_and_the_rest_goes_on() {
    let host = TestHost::new();
    ragged(&host);
    csv_to_jsonl(&host, "", "");
    let ended = host.run("there");
    let summary = ended.exits(3).json();
    assert_eq!(
        summary["streams"]["ragged"],
        json!({"read": 210, "written": 200, "filtered": 0, "dead": 10, "expanded": 0, "replayed": 0})
    );
    assert_eq!(summary["dead_letters"], 10);
    assert_eq!(host.text("out/ragged.jsonl").lines().count(), 200);

    let letters = host.dead_letters();
    assert_eq!(letters.len(), 10);
    let locations: Vec<&str> = letters
        .iter()
        .map(|letter| letter["location"].as_str().unwrap())
        .collect();
    assert!(locations.contains(&"in/ragged.csv:9"), "{locations:?}");
    for letter in &letters {
        assert_eq!(letter["stage"], "csv");
        assert_eq!(letter["plugin"], "csv");
        assert_eq!(letter["stream"], "ragged");
        assert_eq!(letter["fault"], "permanent");
        assert!(
            letter["message"].as_str().unwrap().contains('3'),
            "{letter}"
        );
    }
    let id = letters[0]["id"].to_string();
    let shown = host.crossdock(["dlq", "show", &id]).end();
    shown.exits(0).tells(&["x,y,z", "in/ragged.csv"]);
    host.crossdock(["dlq", "show", "4711"])
        .end()
        .exits(2)
        .tells(&["there is no dead letter 4711"]);
}

#[test]
fn too_many_dead_letters_fail_the_run() {
    for (limit, reason) in [
        ("max-count: 4", "dead-letters.max-count: 4"),
        (
            "max-share: 0.01, min-records: 50",
            "dead-letters.max-share: 0.01",
        ),
    ] {
        let host = TestHost::new();
        ragged(&host);
        let more = format!("dead-letters: {{ {limit} }}\nbatch: {{ records: 20 }}\n");
        csv_to_jsonl(&host, "", &more);
        let ended = host.run("there");
        let summary = ended.exits(1).json();
        assert_eq!(summary["outcome"], "failed", "{ended}");
        assert!(
            summary["reason"].as_str().unwrap().contains(reason),
            "{ended}"
        );
        // Nothing was put in place, and what was found is kept.
        assert!(!host.path("out/ragged.jsonl").exists());
        assert!(!host.dead_letters().is_empty());
    }
    // At the limit it goes on.
    let host = TestHost::new();
    ragged(&host);
    csv_to_jsonl(&host, "", "dead-letters: { max-count: 10 }\n");
    host.run("there").exits(3);
}

#[test]
fn records_that_a_transformer_or_a_sink_refuses_are_dead_letters_of_that_stage() {
    let host = TestHost::new();
    host.write("in/t.csv", "id,price\na,1.5\nb,many\nc,2\n");
    let puppet = test_plugin("puppet");
    host.write(
        "maps/m.yaml",
        "streams:\n  \"*\":\n    - set: { price: $.price | number }\n",
    );
    host.flow(
        "there",
        &format!(
            "
source:
  plugin: csv
  config: {{ files: in/*.csv, key: id }}
  grants: {{ files: {{ read: [in] }} }}
transformers:
  - plugin: mapper
    config: {{ mapping: {{ $file: ../maps/m.yaml }} }}
sinks:
  - plugin: jsonl
    config: {{ file: out/t.jsonl }}
    grants: {{ files: {{ write: [out] }} }}
  - name: second
    plugin: {}
    config: {{ on: {{ c: permanent }} }}
",
            puppet.display()
        ),
    );
    let ended = host.run("there");
    let summary = ended.exits(3).json();
    assert_eq!(
        summary["streams"]["t"],
        json!({"read": 3, "written": 1, "filtered": 0, "dead": 2, "expanded": 0, "replayed": 0}),
        "{ended}"
    );
    // A sink that took a record keeps it; the other one's refusal is a dead letter.
    assert_eq!(
        host.text("out/t.jsonl"),
        "{\"id\":\"a\",\"price\":1.5}\n{\"id\":\"c\",\"price\":2}\n"
    );
    let mut letters: Vec<(String, String)> = host
        .dead_letters()
        .iter()
        .map(|letter| {
            let of = |key: &str| letter[key].as_str().unwrap().to_owned();
            (of("stage"), of("key"))
        })
        .collect();
    letters.sort();
    assert_eq!(
        letters,
        [("mapper", "b"), ("second", "c")].map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
    let shown = host.crossdock(["dlq", "list"]).end();
    shown.exits(0).tells(&["mapper", "second", "many"]);
}

#[test]
fn files_that_others_take_away_while_a_folder_is_listed_are_no_error() {
    let host = TestHost::new();
    host.write("in/things.csv", "id,name\n1,a\n2,b\n");
    csv_to_jsonl(&host, "", "");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Somebody whose files in the same folder are there for a moment each, as temporary files are.
        scope.spawn(|| {
            let paths: Vec<_> = (0..200)
                .map(|n| host.path(format!("out/other-{n}.tmp")))
                .collect();
            while !over.load(Ordering::Relaxed) {
                for path in &paths {
                    fs::write(path, "").unwrap();
                }
                for path in &paths {
                    fs::remove_file(path).unwrap();
                }
            }
        });
        let ended: Vec<_> = (0..4).map(|_| host.run("there")).collect();
        over.store(true, Ordering::Relaxed);
        for run in ended {
            run.finished();
        }
    });
}
