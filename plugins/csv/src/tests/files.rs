//! Files: finding, resuming, changing, and what is wrong with them.

use super::*;
use std::io::Write;

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn fault(files: &str, more: &Value) -> Fault {
    read_on(&config(files, more), None, Budget::default()).unwrap_err()
}

#[test]
fn files_are_read_in_order_each_with_its_own_header_and_stream() {
    let folder = Folder::new();
    folder.write("b.csv", "y,x\n2,1\n");
    folder.write("a.csv", "x,y\n1,2\n");
    folder.write("sub/c.csv.gz", gz(b"x\n9\n"));
    let got = read(&folder.path("**/*.csv*"), &json!({}));
    let streams: Vec<&str> = got
        .records
        .iter()
        .map(|(stream, _, _)| stream.as_str())
        .collect();
    assert_eq!(streams, ["a", "b", "c"]);
    assert_eq!(
        got.payloads(),
        [
            r#"{"x":"1","y":"2"}"#,
            r#"{"y":"2","x":"1"}"#,
            r#"{"x":"9"}"#
        ]
    );
    let one = read(&folder.path("*.csv"), &json!({ "stream": "all" }));
    assert!(one.records.iter().all(|(stream, _, _)| stream == "all"));
}

#[test]
fn streams_have_schemas_and_keys() {
    let folder = Folder::new();
    let path = folder.write("p.csv", "sku,price\n");
    let more = json!({ "types": { "price": "number" }, "key": "sku" });
    let streams = SourceDriver::<CsvSource>::streams(config(&path, &more)).unwrap();
    assert_eq!(
        (streams[0].name.as_str(), streams[0].key.as_slice()),
        ("p", &["sku".to_owned()][..])
    );
    let schema: Value = serde_json::from_str(&streams[0].schema).unwrap();
    assert_eq!(
        schema["properties"]["price"]["type"],
        json!(["number", "null"])
    );
    assert!(SourceDriver::<CsvSource>::check(config(&path, &more)).is_ok());
}

#[test]
fn a_later_run_reads_only_what_is_new() {
    let folder = Folder::new();
    let path = folder.write("a.csv", "x\n1\n2\n");
    let source = config(&folder.path("*.csv"), &json!({}));
    let (first, snapshot) = read_on(&source, None, Budget::default()).unwrap();
    assert_eq!(first.records.len(), 2);
    let (again, snapshot) = read_on(&source, Some(&snapshot), Budget::default()).unwrap();
    assert_eq!(again, Got::default());
    fs::write(&path, "x\n1\n2\n3\n").unwrap();
    folder.write("b.csv", "x\n8\n");
    let (grown, snapshot) = read_on(&source, Some(&snapshot), Budget::default()).unwrap();
    assert_eq!(grown.payloads(), [r#"{"x":"3"}"#, r#"{"x":"8"}"#]);
    fs::write(&path, "x\n1\n2\n3\nx,y\n").unwrap();
    let (bad, _) = read_on(&source, Some(&snapshot), Budget::default()).unwrap();
    assert!(
        bad.faults()[0].contains("a.csv:5:"),
        "lines go on counting: {:?}",
        bad.faults()
    );
}

#[test]
fn a_grown_gzip_file_goes_on_where_it_was() {
    let folder = Folder::new();
    let mut bytes = gz(b"x\n1\n2\n");
    let path = folder.write("a.csv.gz", &bytes);
    let source = config(&path, &json!({}));
    let (_, snapshot) = read_on(&source, None, Budget::default()).unwrap();
    bytes.extend(gz(b"3\n"));
    fs::write(&path, &bytes).unwrap();
    let (grown, snapshot) = read_on(&source, Some(&snapshot), Budget::default()).unwrap();
    assert_eq!(grown.payloads(), [r#"{"x":"3"}"#]);
    assert_eq!(
        read_on(&source, Some(&snapshot), Budget::default())
            .unwrap()
            .0,
        Got::default()
    );
}

#[test]
fn a_replaced_or_shorter_file_is_reported_or_read_again() {
    let folder = Folder::new();
    let path = folder.write("a.csv", "x\n1\n2\n");
    let source = config(&path, &json!({}));
    let (_, ended) = read_on(&source, None, Budget::default()).unwrap();
    let mut driver = SourceDriver::<CsvSource>::open(&source, None).unwrap();
    assert!(matches!(
        driver.read(budget(1, 1000)).unwrap(),
        Read::Page(_)
    ));
    let halfway = driver.snapshot().unwrap();
    for (content, snapshot) in [
        ("x\n1\n", &ended),
        ("y\n7\n8\n9\n", &ended),
        ("x\n9\n9\n9\n", &halfway),
    ] {
        fs::write(&path, content).unwrap();
        let refused = read_on(&source, Some(snapshot), Budget::default()).unwrap_err();
        assert!(
            refused.is_config() && refused.to_string().contains("a.csv` has changed"),
            "{refused}"
        );
        let again = config(&path, &json!({ "changed": "read-again" }));
        let (got, _) = read_on(&again, Some(snapshot), Budget::default()).unwrap();
        assert_eq!(got.records.len(), content.lines().count() - 1, "{content}");
    }
    fs::remove_file(&path).unwrap();
    let more = json!({ "allow-empty": true });
    let gone = read_on(&config(&path, &more), Some(&halfway), Budget::default()).unwrap_err();
    assert!(gone.to_string().contains("it is gone"), "{gone}");
    assert!(read_on(&config(&path, &more), Some(&ended), Budget::default()).is_ok());
}

#[test]
fn what_cannot_be_opened_is_named() {
    let folder = Folder::new();
    let nothing = fault(&folder.path("*.csv"), &json!({}));
    assert!(
        nothing.is_config() && nothing.location() == "/files",
        "{nothing}"
    );
    assert_eq!(
        read(&folder.path("*.csv"), &json!({ "allow-empty": true })),
        Got::default()
    );
    assert_eq!(
        read(&folder.write("empty.csv", ""), &json!({})),
        Got::default()
    );
    assert_eq!(
        read(&folder.write("only.csv", "a,b\n"), &json!({ "key": "a" })),
        Got::default()
    );
    let path = folder.write("a.csv", "a,b\n1,2\n");
    for (more, field, word) in [
        (json!({ "key": "c" }), "/key", "no column `c`"),
        (
            json!({ "types": { "prise": "number" } }),
            "/types/prise",
            "no column `prise`",
        ),
        (
            json!({ "columns": ["x"] }),
            "/columns",
            "1 columns are named",
        ),
        (json!({ "columns": ["x", "x"] }), "/columns/1", "twice"),
        (
            json!({ "delimiter": "ab" }),
            "/delimiter",
            "not one ASCII character",
        ),
        (json!({ "delimiter": "\"" }), "/quote", "same character"),
        (json!({ "quote": "auto" }), "/quote", "auto"),
        (
            json!({ "max-record-bytes": 3 }),
            "/max-record-bytes",
            "between",
        ),
        (json!({ "encoding": "utf-7" }), "/encoding", "utf-7"),
        (json!({ "delimeter": ";" }), "/delimeter", "delimeter"),
    ] {
        let fault = fault(&path, &more);
        assert!(
            fault.is_config() && fault.to_string().contains(word),
            "{more}: {fault}"
        );
        assert_eq!(fault.location(), field, "{fault}");
    }
}

#[test]
fn bad_utf8_is_refused_row_by_row() {
    let folder = Folder::new();
    let path = folder.write(
        "a.csv",
        b"a,b\n1,ok\n2,caf\xE9\n3,ok\n\"x\ny\xFF\",4\n5,ok\n",
    );
    let got = read(&path, &json!({}));
    assert_eq!(got.records.len(), 3);
    assert!(
        got.faults()[0].contains("a.csv:3:6: invalid UTF-8: byte 0xE9"),
        "{:?}",
        got.faults()
    );
    assert!(
        got.faults()[1].contains("a.csv:6:2: invalid UTF-8: byte 0xFF"),
        "{:?}",
        got.faults()
    );
    assert_eq!(got.unreadable[0].0, b"2,caf\xE9\n");
    let read_right = read(&path, &json!({ "encoding": "windows-1252" }));
    assert_eq!(read_right.values()[1], json!({ "a": "2", "b": "café" }));
    let header = folder.write("h.csv", b"\xE9,b\n1,2\n");
    assert!(fault(&header, &json!({})).to_string().contains("encoding"));
}

#[test]
fn truncated_files_say_where() {
    let folder = Folder::new();
    let open = read(
        &folder.write("a.csv", "a,b\n1,2\n3,\"x\n\n4,5\n"),
        &json!({}),
    );
    assert_eq!(open.records.len(), 1);
    assert!(
        open.faults()[0]
            .contains("a.csv:3: the file is truncated: the quote opened here, in column 2"),
        "{:?}",
        open.faults()
    );
    let multi = read(&folder.write("m.csv", "a,b\n\"1\n1\",\"x\n\n"), &json!({}));
    assert!(
        multi.faults()[0].contains("m.csv:3:"),
        "{:?}",
        multi.faults()
    );
    let stray = read(&folder.write("s.csv", "a,b\n1,\"x\"y\n3,4\n"), &json!({}));
    assert_eq!((stray.records.len(), stray.unreadable.len()), (1, 1));
    assert!(
        stray.faults()[0].contains("s.csv:2: column 2: text behind"),
        "{:?}",
        stray.faults()
    );
    // What was read before the damage goes out, then the run stops.
    let whole = gz(&b"a,b\n"
        .iter()
        .chain(b"1,2\n".repeat(5000).iter())
        .copied()
        .collect::<Vec<u8>>());
    let path = folder.write("t.csv.gz", &whole[..whole.len() - 9]);
    let mut driver = SourceDriver::<CsvSource>::open(config(&path, &json!({})), None).unwrap();
    let mut records = 0;
    let fault = loop {
        match driver.read(Budget::default()) {
            Ok(Read::Page(page)) => records += page.records.len(),
            Ok(other) => panic!("{other:?}"),
            Err(fault) => break fault,
        }
    };
    assert!(
        records > 0 && fault.to_string().contains("truncated"),
        "{records} {fault}"
    );
}

#[test]
fn a_cell_of_any_size_is_refused_in_bounded_memory() {
    let folder = Folder::new();
    let path = folder.path("big.csv");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(b"a,b\n1,2\n3,\"").unwrap();
    for _ in 0..40 {
        file.write_all(&b"line, of \"\"text\"\"\n".repeat(40_000))
            .unwrap();
    }
    file.write_all(b"\"\n4,5\n").unwrap();
    drop(file);
    let got = read(&path, &json!({ "max-record-bytes": 1 << 20 }));
    assert_eq!(
        got.payloads(),
        [r#"{"a":"1","b":"2"}"#, r#"{"a":"4","b":"5"}"#]
    );
    assert_eq!(got.unreadable[0].0.len(), 64 * 1024);
    assert!(
        got.faults()[0].contains("big.csv:3: a record of")
            && got.faults()[0].contains("max-record-bytes"),
        "{:?}",
        got.faults()
    );
    // Where the limit lies (room for a line end of two bytes is added) does not depend on how the file arrives.
    for (cell, good) in [(98, true), (99, false)] {
        let text = format!("a,b\nx,\"{}\"\n1,2\n", "y".repeat(cell - 1));
        let path = folder.write("edge.csv", &text);
        let source = config(&path, &json!({ "max-record-bytes": 100 }));
        let bare = folder.write("bare.csv", format!("a,b\n{}", "x".repeat(102)));
        let message = "has 1 cells";
        let source_bare = config(&bare, &json!({ "max-record-bytes": 100 }));
        for budget in [Budget::default(), budget(1, 1)] {
            assert!(read_with_crashes(&source_bare, budget).faults()[0].contains(message));
        }
        for budget in [Budget::default(), budget(1, 1)] {
            assert_eq!(
                read_with_crashes(&source, budget).unreadable.is_empty(),
                good,
                "{cell}"
            );
        }
    }
    let open = folder.write("open.csv", format!("a,b\nx,\"{}", "y\n".repeat(500)));
    let got = read(&open, &json!({ "max-record-bytes": 100 }));
    assert!(got.faults()[0].contains("truncated"), "{:?}", got.faults());
}

#[test]
fn wide_encodings_and_their_damage() {
    let folder = Folder::new();
    let mut bytes = b"\xFF\xFE".to_vec();
    bytes.extend(
        "a;b\r\n1;Größe €\r\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes),
    );
    let path = folder.write("w.csv", &bytes);
    assert_eq!(
        read(&path, &json!({ "delimiter": ";" })).values(),
        [json!({ "a": "1", "b": "Größe €" })]
    );
    bytes.extend([0x31, 0, 0x3B, 0, 0x00, 0xD8, 0x0A, 0]);
    fs::write(&path, &bytes).unwrap();
    let got = read(&path, &json!({ "delimiter": ";" }));
    assert_eq!((got.records.len(), got.unreadable.len()), (1, 1));
}
