//! The plugin driven as the host drives it.

use std::fs;
use std::time::Duration;

use crossdock_sdk::prelude::{Batch, BatchBuilder, Budget, Fault, Op, Read, RecordParts};
use crossdock_sdk::testing::{SinkDriver, SourceDriver};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::sink::JsonlSink;
use crate::source::JsonlSource;

fn folder() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap().to_owned();
    (dir, path)
}

type Got = (Vec<(String, String)>, Vec<Fault>);

/// Keys and payloads, and the faults of unreadable lines; with `crash` a new instance for every page.
fn read(config: &Value, budget: Budget, crash: bool) -> Result<Got, Fault> {
    let mut driver = SourceDriver::<JsonlSource>::open(config, None)?;
    let (mut records, mut faults) = (Vec::new(), Vec::new());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    loop {
        match driver.read(budget)? {
            Read::Page(page) => {
                records.extend(
                    page.records
                        .records()
                        .map(|record| (text(record.key()), text(record.payload()))),
                );
                faults.extend(page.unreadable.into_iter().map(|input| input.fault));
            }
            Read::Idle(_) => {}
            Read::End => return Ok((records, faults)),
        }
        if crash {
            let snapshot = driver.snapshot()?;
            driver = SourceDriver::open(config, Some(&snapshot))?;
        }
    }
}

fn batch(payloads: &[&str]) -> Batch {
    let mut batch = BatchBuilder::json("items");
    for payload in payloads {
        batch.push(b"k", payload.as_bytes());
    }
    batch.finish()
}

#[test]
fn the_manifest_fits() {
    crossdock_sdk::testing::check_manifest(
        env!("CARGO_PKG_VERSION"),
        include_str!("../plugin.json"),
    );
}

#[test]
fn lines_are_records_and_bad_ones_are_named() {
    let (_dir, at) = folder();
    let path = format!("{at}/items.ndjson");
    let text = b"\xEF\xBB\xBF{\"sku\": \"A\", \"n\": 1.10}\r\n\n  [1]  \n{\"sku\":}\n{\"sku\":\"\"}\n{\"sku\":\"\xE9\"}\n{\"sku\":\"B\"}".to_vec();
    fs::write(&path, &text).unwrap();
    let (records, faults) = read(&json!({ "files": path }), Budget::default(), false).unwrap();
    let payloads: Vec<&str> = records
        .iter()
        .map(|(_, payload)| payload.as_str())
        .collect();
    assert_eq!(
        payloads,
        [
            r#"{"sku": "A", "n": 1.10}"#,
            "[1]",
            r#"{"sku":""}"#,
            r#"{"sku":"B"}"#
        ]
    );
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(faults[0].contains("items.ndjson:4:8: "), "{faults:?}");
    assert!(
        faults[1].contains("items.ndjson:6:9: invalid UTF-8: byte 0xE9"),
        "{faults:?}"
    );
    let (records, faults) = read(
        &json!({ "files": path, "key": "sku" }),
        Budget::default(),
        false,
    )
    .unwrap();
    assert_eq!(
        records
            .iter()
            .map(|(key, _)| key.as_str())
            .collect::<Vec<_>>(),
        ["A", "B"]
    );
    assert!(
        faults[0]
            .to_string()
            .contains("items.ndjson:3: the key (`sku`) is missing"),
        "{faults:?}"
    );
    let (records, _) = read(
        &json!({ "files": path, "key": ["/sku", "n"] }),
        Budget::default(),
        false,
    )
    .unwrap();
    assert_eq!(records[0].0, r#"["A",1.10]"#);
    let streams =
        SourceDriver::<JsonlSource>::streams(json!({ "files": path, "key": "sku" })).unwrap();
    assert_eq!(
        (streams[0].name.as_str(), streams[0].key.len()),
        ("items", 1)
    );
}

#[test]
fn a_line_of_any_size_is_refused_in_bounded_memory() {
    let (_dir, at) = folder();
    let path = format!("{at}/a.jsonl");
    fs::write(&path, format!("1\n\"{}\"\n2\n", "x".repeat(5 << 20))).unwrap();
    let config = json!({ "files": path, "max-record-bytes": 100_000 });
    let (records, faults) = read(&config, Budget::default(), false).unwrap();
    assert_eq!(
        records
            .iter()
            .map(|(_, payload)| payload.as_str())
            .collect::<Vec<_>>(),
        ["1", "2"]
    );
    assert!(
        faults[0]
            .to_string()
            .contains("a.jsonl:2: a record of 5242883 bytes"),
        "{faults:?}"
    );
}

#[test]
fn payloads_are_copied_and_made_one_line() {
    let (_dir, at) = folder();
    let file = format!("{at}/{{stream}}.jsonl");
    let mut driver = SinkDriver::<JsonlSink>::open(json!({ "file": file }), None).unwrap();
    let mut records = BatchBuilder::json("items");
    records.push(b"1", br#"{"n": 1.10}"#);
    records.push(b"2", b"{\n  \"a b\": [1,\r\n 2]\n}");
    records.push_record(RecordParts {
        key: b"3",
        op: Op::Delete,
        ..RecordParts::default()
    });
    let records = records.finish();
    let (rejected, _) = driver.write(records.clone()).unwrap();
    assert!(
        rejected.len() == 1 && rejected[0].0 == 2 && rejected[0].1.to_string().contains("envelope")
    );
    let mut bytes = BatchBuilder::of_bytes("items");
    bytes.push(b"", b"\x00");
    assert_eq!(driver.write(bytes.finish()).unwrap().0.len(), 1);
    driver.end().unwrap();
    assert_eq!(
        fs::read_to_string(format!("{at}/items.jsonl")).unwrap(),
        "{\"n\": 1.10}\n{\"a b\":[1,2]}\n"
    );
    let config = json!({ "file": format!("{at}/all.jsonl"), "envelope": true });
    let mut driver = SinkDriver::<JsonlSink>::open(config, None).unwrap();
    assert_eq!(driver.write(records).unwrap().0, vec![]);
    driver.end().unwrap();
    assert_eq!(
        fs::read_to_string(format!("{at}/all.jsonl")).unwrap(),
        "{\"stream\":\"items\",\"op\":\"upsert\",\"key\":\"1\",\"payload\":{\"n\": 1.10}}\n\
         {\"stream\":\"items\",\"op\":\"upsert\",\"key\":\"2\",\"payload\":{\"a b\":[1,2]}}\n\
         {\"stream\":\"items\",\"op\":\"delete\",\"key\":\"3\"}\n"
    );
}

#[test]
fn appending_ends_an_open_line_first() {
    let (_dir, at) = folder();
    let path = format!("{at}/a.jsonl");
    fs::write(&path, "1").unwrap();
    let mut snapshot = None;
    for payload in ["2", "3"] {
        let config = json!({ "file": path, "mode": "append" });
        let mut driver = SinkDriver::<JsonlSink>::open(config, snapshot.as_deref()).unwrap();
        driver.write(batch(&[payload])).unwrap();
        snapshot = Some(driver.end().unwrap());
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2\n3\n");
}

#[test]
fn a_full_disk_is_a_transient_fault_and_leaves_no_file() {
    let (_dir, at) = folder();
    let config = json!({ "file": format!("{at}/a.jsonl") });
    let part = format!("{at}/.crossdock-a.jsonl.1.part");
    // A snapshot from before parts had tokens: their names are known beforehand.
    let before = br#"{"version":1,"mode":"replace","finished":false,"next":1,"targets":{}}"#;
    let mut driver = SinkDriver::<JsonlSink>::open(&config, Some(before)).unwrap();
    driver.write(batch(&["1"])).unwrap();
    // The part that is about to be written is a device that is always full, whoever writes to it.
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let fault = driver.snapshot().unwrap_err();
    assert!(
        fault.is_transient() && fault.location() == part,
        "{fault:?}"
    );
    // Half of it may be in the part: this instance must not go on, and people still see why.
    assert_eq!(driver.write(batch(&["2"])).unwrap_err(), fault);
    assert_eq!(driver.snapshot().unwrap_err(), fault);
    assert!(!std::path::Path::new(&format!("{at}/a.jsonl")).exists());
    // There is room again, and the host replays.
    let mut driver = SinkDriver::<JsonlSink>::open(&config, None).unwrap();
    driver.write(batch(&["1"])).unwrap();
    driver.end().unwrap();
    assert_eq!(fs::read_to_string(format!("{at}/a.jsonl")).unwrap(), "1\n");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What the sink writes, the source reads, in any pieces and with a crash behind every page.
    #[test]
    fn what_is_written_reads_back(
        texts in prop::collection::vec(any::<String>(), 0..20),
        (pretty, gzip, crash) in any::<(bool, bool, bool)>(),
        (records, bytes) in (1usize..6, 1usize..300),
    ) {
        let (_dir, at) = folder();
        let path = format!("{at}/a.jsonl");
        let payloads: Vec<String> = texts.iter().map(|text| {
            let value = json!({ "text": text, "list": [1, null] });
            if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() }
        }).collect();
        let mut driver = SinkDriver::<JsonlSink>::open(json!({ "file": path, "gzip": gzip }), None).unwrap();
        for part in payloads.chunks(7) {
            driver.write(batch(&part.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
            driver.snapshot().unwrap();
        }
        driver.end().unwrap();
        let budget = Budget { records, bytes, time: Duration::from_secs(1) };
        let (got, faults) = read(&json!({ "files": path }), budget, crash).unwrap();
        prop_assert_eq!(faults, vec![]);
        let got: Vec<Value> = got.iter().map(|(_, payload)| serde_json::from_str(payload).unwrap()).collect();
        let expect: Vec<Value> = payloads.iter().map(|payload| serde_json::from_str(payload).unwrap()).collect();
        prop_assert_eq!(got, expect);
    }
}
