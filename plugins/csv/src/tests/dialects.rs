//! Rows: what a text means, and that what is written reads back.

use super::*;
use crate::dialect::Dialect;
use crate::layout::{CsvLayout, Rows};
use crate::scan::{Cell, Found, Scanner, unescape};
use crate::sink::CsvSink;
use crossdock_sdk::testing::SinkDriver;
use file_drop::layout::{Layout, Skipper};
use proptest::prelude::*;

fn rows(text: &str, more: &Value) -> Got {
    let folder = Folder::new();
    read(&folder.write("t.csv", text), more)
}

/// Stray text behind a closing quote: there a backslash is a character like any other, for both.
#[test]
fn stray_text_ends_where_it_ends_for_the_skipper() {
    let folder = Folder::new();
    let path = folder.write(
        "t.csv",
        format!("a;b\n\"{}\",\\\rx;y\n1;2\n", "q".repeat(200)),
    );
    for longest in [100, 1000] {
        let more = json!({ "delimiter": ";", "escape": "backslash", "max-record-bytes": longest });
        let got = read(&path, &more);
        assert_eq!(
            got.payloads(),
            [r#"{"a":"x","b":"y"}"#, r#"{"a":"1","b":"2"}"#]
        );
        assert_eq!(got.unreadable.len(), 1);
    }
}

#[test]
fn rfc_4180_and_what_real_files_do() {
    let plain = rows("a,b\n1,x\n2,\"y,\"\"z\"\"\nnext\"\n", &json!({}));
    assert_eq!(
        plain.payloads(),
        [r#"{"a":"1","b":"x"}"#, r#"{"a":"2","b":"y,\"z\"\nnext"}"#]
    );
    for text in [
        "a,b\r\n1,x\r\n",
        "a,b\r1,x\r",
        "\u{feff}a,b\n\n1,x",
        "a,b\r\n\r\n1,x\r\n\r\n",
        "\"a\",\"b\"\n\"1\",\"x\"\n",
    ] {
        let got = rows(text, &json!({}));
        assert_eq!(got.payloads(), [r#"{"a":"1","b":"x"}"#], "{text:?}");
        assert!(got.unreadable.is_empty());
    }
    let literal = rows("size,x\n5\" pipe,it's\n", &json!({}));
    assert_eq!(literal.payloads(), [r#"{"size":"5\" pipe","x":"it's"}"#]);
    let tabs = rows("a\tb\n1\t\\\n", &json!({ "delimiter": "tab" }));
    assert_eq!(tabs.payloads(), [r#"{"a":"1","b":"\\"}"#]);
}

#[test]
fn settings_change_what_rows_mean() {
    let text = "# export\nid;name\n 1 ; \"a;b\" \n# note\n2;'c'\n";
    let settings = json!({ "delimiter": ";", "comment": "#", "trim": true, "key": "id" });
    let got = rows(text, &settings);
    assert_eq!(
        got.payloads(),
        [r#"{"id":"1","name":"a;b"}"#, r#"{"id":"2","name":"'c'"}"#]
    );
    assert_eq!(got.records[0].1, "1");
    let escaped = rows(
        "a,b\n\"x\\\"y\",p\\,q\n\"d\"\"d\",\\\\\n",
        &json!({ "escape": "backslash" }),
    );
    assert_eq!(
        escaped.payloads(),
        [r#"{"a":"x\"y","b":"p,q"}"#, r#"{"a":"d\"d","b":"\\"}"#]
    );
    let unquoted = rows("a,b\n\"x,y\"\n", &json!({ "quote": "none" }));
    assert_eq!(unquoted.payloads(), [r#"{"a":"\"x","b":"y\""}"#]);
    let named = rows("x,y\n1,2\n", &json!({ "columns": ["p", "q"] }));
    assert_eq!(named.payloads(), [r#"{"p":"1","q":"2"}"#]);
    let headless = rows("1,2\n3,4\n", &json!({ "header": false }));
    assert_eq!(headless.payloads()[1], r#"{"column_1":"3","column_2":"4"}"#);
    let headless = rows("1,2\n", &json!({ "header": false, "columns": ["p", "q"] }));
    assert_eq!(headless.payloads(), [r#"{"p":"1","q":"2"}"#]);
    let skipped = rows(
        "Report of May\n\"odd\na,b\n1,2\n",
        &json!({ "skip-lines": 2 }),
    );
    assert_eq!(skipped.payloads(), [r#"{"a":"1","b":"2"}"#]);
    let sniffed = rows("a;b\n1,5;2,5\n", &json!({ "delimiter": "auto" }));
    assert_eq!(sniffed.payloads(), [r#"{"a":"1,5","b":"2,5"}"#]);
}

#[test]
fn empty_cells_and_types_follow_the_config() {
    let text = "sku,price,active,stock,more\nA,12.50,yes,007,\"{\"\"x\"\": 1.10}\"\nB,,,,\n";
    let types =
        json!({ "price": "number", "active": "boolean", "stock": "integer", "more": "json" });
    let expect = [
        (
            "text",
            r#"{"sku":"B","price":null,"active":null,"stock":null,"more":null}"#,
        ),
        (
            "null",
            r#"{"sku":"B","price":null,"active":null,"stock":null,"more":null}"#,
        ),
        ("omit", r#"{"sku":"B"}"#),
    ];
    for (empty, second) in expect {
        let got = rows(text, &json!({ "types": types, "empty": empty }));
        assert_eq!(
            got.payloads(),
            [
                r#"{"sku":"A","price":12.50,"active":true,"stock":7,"more":{"x": 1.10}}"#,
                second
            ]
        );
    }
    let texts = rows("a,b\n,\n", &json!({}));
    assert_eq!(texts.payloads(), [r#"{"a":"","b":""}"#]);
    assert_eq!(
        rows("a,b\n,\n", &json!({ "empty": "null" })).payloads(),
        [r#"{"a":null,"b":null}"#]
    );
    assert_eq!(
        rows("a,b\n,\n", &json!({ "empty": "omit" })).payloads(),
        ["{}"]
    );
    let bad = rows(
        "a,price\n1,x\n2,3\n",
        &json!({ "types": { "price": "number" } }),
    );
    assert_eq!(bad.payloads(), [r#"{"a":"2","price":3}"#]);
    assert!(
        bad.faults()[0].contains("t.csv:2: column 2 `price`: `x` is not a number"),
        "{:?}",
        bad.faults()
    );
}

#[test]
fn ragged_rows_are_refused_or_padded() {
    let text = "a,b,c\n1,2\n1,2,3\n1,2,3,\n1,2,3,4\n";
    let got = rows(text, &json!({}));
    assert_eq!(got.payloads(), [r#"{"a":"1","b":"2","c":"3"}"#]);
    assert_eq!(got.unreadable[0].0, b"1,2\n");
    assert!(
        got.faults()[0].contains("t.csv:2: the row has 2 cells, the header has 3 columns"),
        "{:?}",
        got.faults()
    );
    let padded = rows(text, &json!({ "ragged": "pad" }));
    assert_eq!(padded.payloads()[0], r#"{"a":"1","b":"2","c":""}"#);
    assert_eq!((padded.records.len(), padded.unreadable.len()), (3, 1));
}

#[test]
fn headers_are_made_usable_and_that_is_said_once() {
    let host = crossdock_sdk::testing::Host::new();
    let folder = Folder::new();
    for name in ["1.csv", "2.csv"] {
        folder.write(name, "a,,a\n1,2,3\n");
    }
    let got = read(&folder.path("*.csv"), &json!({}));
    assert_eq!(got.payloads()[0], r#"{"a":"1","column_2":"2","a_2":"3"}"#);
    let warnings: Vec<_> = host
        .logs()
        .into_iter()
        .filter(|(_, line)| line.contains("column_2"))
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn keys_of_several_columns_are_json() {
    let got = rows("a,b,c\nx,\"y\"\"\",1\n,,2\n", &json!({ "key": ["a", "b"] }));
    assert_eq!(got.records[0].1, r#"["x","y\""]"#);
    assert!(
        got.faults()[0].contains("t.csv:3: the key (`a`, `b`) is empty"),
        "{:?}",
        got.faults()
    );
}

fn dialect() -> impl Strategy<Value = Dialect> {
    (
        prop::sample::select(b",;\t|:".to_vec()),
        prop::option::weighted(0.9, prop::sample::select(b"\"'".to_vec())),
        any::<bool>(),
        prop::option::of(Just(b'#')),
        any::<bool>(),
    )
        .prop_map(|(delimiter, quote, backslash, comment, trim)| Dialect {
            delimiter,
            quote,
            backslash,
            comment,
            trim,
        })
}

/// Text made of what matters, with stretches long enough to cross the scanner's blocks.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[ab,;\"'\n\r\\\\# \t]{0,6}",
        2 => "[a-zé€ ]{0,70}",
        1 => Just("\"\"".to_owned()),
        1 => Just("\r\n".to_owned()),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Two independent ways to find the end of a record agree: the block scanner and the byte by byte skipper.
    #[test]
    fn scanner_and_skipper_agree(dialect in dialect(), text in hostile(), cut in any::<prop::sample::Index>()) {
        let scanner = Scanner::new(dialect);
        let mut cells: Vec<Cell> = Vec::new();
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let found = scanner.scan(rest, true, &mut cells);
            // With less text the answer is the same, or that more is needed.
            let mut fewer: Vec<Cell> = Vec::new();
            let early = scanner.scan(&rest[..cut.index(rest.len() + 1)], false, &mut fewer);
            prop_assert!(early == Found::More || (early == found && fewer == cells), "{early:?} {found:?}");
            let (used, lines) = match found {
                Found::More => return Err(TestCaseError::fail("more at the end")),
                Found::Nothing { used, .. } => { rest = &rest[used..]; continue }
                Found::Record { used, lines } | Found::Stray { used, lines, .. } | Found::Open { used, lines, .. } => (used, lines),
            };
            let rows = Rows {
                dialect, sniff: false, header: true, columns: None, key: vec![], types: std::collections::BTreeMap::new(),
                empty: crate::value::Empty::Text, pad: false, skip_lines: 0, max_record_bytes: 64,
            };
            let mut skipper = CsvLayout::new(rows).skipper();
            let whole = skipper.skip(rest, true);
            prop_assert_eq!((whole.used, whole.lines), (used, lines));
            rest = &rest[used..];
        }
    }

    /// Where a text is regular, the cells are those that the csv crate finds.
    #[test]
    fn cells_are_those_of_the_csv_crate(text in hostile(), delimiter in prop::sample::select(b",;\t".to_vec())) {
        let dialect = Dialect { delimiter, quote: Some(b'"'), backslash: false, comment: None, trim: false };
        let scanner = Scanner::new(dialect);
        let (mut ours, mut rest, mut cells) = (Vec::new(), text.as_bytes(), Vec::new());
        while !rest.is_empty() {
            let used = match scanner.scan(rest, true, &mut cells) {
                Found::Nothing { used, .. } => used,
                Found::Record { used, .. } => {
                    ours.push(cells.iter().map(|cell| {
                        let mut out = Vec::new();
                        unescape(rest, *cell, dialect, &mut out);
                        out
                    }).collect::<Vec<_>>());
                    used
                }
                _ => return Ok(()),
            };
            rest = &rest[used..];
        }
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false).flexible(true).delimiter(delimiter).from_reader(text.as_bytes());
        let theirs: Vec<Vec<Vec<u8>>> = reader
            .byte_records()
            .map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect())
            .collect();
        prop_assert_eq!(ours, theirs);
    }
}

fn table() -> impl Strategy<Value = (Vec<String>, Vec<Vec<String>>)> {
    let name = prop_oneof!["[a-zäß_. ]{1,9}", "[,;\"'\n\r\\\\ é]{1,5}"];
    prop::collection::hash_set(name, 1..6).prop_flat_map(|names| {
        let names: Vec<String> = names.into_iter().collect();
        let cell = prop_oneof![
            3 => "[a-zäß0-9 .]{0,20}",
            2 => "[,;|\t\"'\n\r\\\\# é]{0,8}",
            1 => "[a-zé€]{60,140}",
        ];
        let row = prop::collection::vec(cell, names.len());
        (Just(names), prop::collection::vec(row, 0..12))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// What the sink writes, the source reads, in any dialect, in any pieces, with a crash behind every page.
    #[test]
    fn what_is_written_reads_back(
        (names, rows) in table(),
        delimiter in prop::sample::select(vec![",", ";", "tab", "|", ":"]),
        quote in prop::sample::select(vec!["\"", "'"]),
        line_end in prop::sample::select(vec!["lf", "crlf"]),
        encoding in prop::sample::select(vec!["utf-8", "windows-1252", "utf-16", "utf-16be"]),
        (bom, gzip, crash) in any::<(bool, bool, bool)>(),
        (records, bytes) in (1usize..5, 1usize..400),
    ) {
        let folder = Folder::new();
        let path = folder.path("t.csv");
        let sink = json!({
            "file": path, "delimiter": delimiter, "quote": quote, "line-end": line_end, "encoding": encoding,
            "gzip": gzip, "bom": bom || encoding.starts_with("utf-16"), "columns": names.iter().map(|name| json!({
                "field": format!("/{}", name.replace('~', "~0").replace('/', "~1")), "name": name
            })).collect::<Vec<_>>(),
        });
        let expect: Vec<Value> = rows.iter().map(|row| {
            names.iter().zip(row).map(|(name, cell)| (name.clone(), json!(cell))).collect::<serde_json::Map<_, _>>().into()
        }).collect();
        let mut driver = SinkDriver::<CsvSink>::open(&sink, None).unwrap();
        for part in expect.chunks(3) {
            let (rejected, _) = driver.write(crossdock_sdk::testing::batch("t", part)).unwrap();
            prop_assert_eq!(rejected, vec![]);
            driver.snapshot().unwrap();
        }
        driver.end().unwrap();
        let source = config(&path, &json!({ "delimiter": delimiter, "quote": quote, "encoding": encoding }));
        let budget = budget(records, bytes);
        let got = if crash { read_with_crashes(&source, budget) } else { read_on(&source, None, budget).unwrap().0 };
        prop_assert_eq!(got.faults(), Vec::<String>::new());
        prop_assert_eq!(got.values(), expect);
    }

    /// Any text: the same records and the same faults, however it is read.
    #[test]
    fn pieces_and_crashes_change_nothing(
        text in prop::collection::vec(hostile(), 1..6),
        tail in prop::sample::select(vec![&b""[..], b"\xE9", b"\"", b"\n"]),
        (gzip, auto) in any::<(bool, bool)>(),
        (records, bytes) in (1usize..4, 1usize..200),
        longest in prop::sample::select(vec![64usize, 100, 1 << 20]),
    ) {
        let folder = Folder::new();
        let mut content = text.concat().into_bytes();
        content.extend_from_slice(tail);
        if gzip {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, &content).unwrap();
            content = encoder.finish().unwrap();
        }
        let path = folder.write("t.csv", content);
        let more = json!({
            "header": false, "columns": ["a", "b"], "ragged": "pad", "max-record-bytes": longest,
            "delimiter": if auto { "auto" } else { "," },
        });
        let source = config(&path, &more);
        let whole = read_on(&source, None, Budget::default()).unwrap().0;
        prop_assert_eq!(&read_on(&source, None, budget(records, bytes)).unwrap().0, &whole);
        prop_assert_eq!(&read_with_crashes(&source, budget(records, bytes)), &whole);
    }
}
