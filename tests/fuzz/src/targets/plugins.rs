//! What first-party plugins read, natively.

use std::{cell::RefCell, fs, path::PathBuf};

use crossdock_sdk::{
    Batch, BatchBuilder, Budget, Read,
    testing::{SourceDriver, TransformerDriver},
};
use native_csv::CsvSource;
use native_mapper::Mapper;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Rows of one file are read in so many steps at most: more is an endless loop.
const MOST_PAGES: usize = 20_000;

/// A mapping, a line `---`, and records, one a line.
pub(super) fn mapping(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (mapping, records) = text
        .split_once("\n---\n")
        .unwrap_or((&text, "{\"a\":\"x\",\"b\":[1,2],\"c\":{\"d\":null}}"));
    // A program of its own: it may run as long as it likes, and a plugin's call is ended by the host.
    if mapping.contains("jq") {
        return;
    }
    let config = json!({ "mapping": mapping });
    let Ok(mut driver) = TransformerDriver::<Mapper>::open(&config, None) else {
        return;
    };
    let mut builder = BatchBuilder::json("records");
    for (at, record) in records.lines().enumerate() {
        builder.push(at.to_string().as_bytes(), record.as_bytes());
    }
    let batch = builder.finish();
    let asked = batch.len();
    if let Ok(applied) = driver.apply(batch) {
        assert!(
            applied.rejected.len() <= asked,
            "more were rejected than there were"
        );
        for batch in &applied.batches {
            all_json(batch);
        }
    }
}

fn all_json(batch: &Batch) {
    for record in batch.records() {
        let payload = record.payload();
        let json: Result<Value, _> = serde_json::from_slice(payload);
        // What was passed on as it came may be as broken as it came.
        drop(json);
    }
}

thread_local! {
    static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// A file with these bytes, in the memory where there is such a folder.
fn file(input: &[u8]) -> Option<PathBuf> {
    FOLDER.with_borrow_mut(|folder| {
        if folder.is_none() {
            *folder = tempfile::tempdir_in("/dev/shm")
                .or_else(|_| tempfile::tempdir())
                .ok();
        }
        let path = folder.as_ref()?.path().join("r.csv");
        fs::write(&path, input).ok()?;
        Some(path)
    })
}

/// The first byte chooses a config, the rest is a file. All rows, however many at a time, are the same rows.
pub(super) fn csv(input: &[u8]) {
    let Some((&choice, content)) = input.split_first() else {
        return;
    };
    let Some(path) = file(content) else { return };
    let mut config = json!({ "files": [path] });
    let more = [
        json!({}),
        json!({ "delimiter": ";" }),
        json!({ "header": false }),
        json!({ "encoding": "latin-1", "max-record-bytes": 64 }),
        json!({ "skip-lines": 1, "trim": true }),
        json!({ "key": "a", "ragged": "pad" }),
        json!({ "escape": "backslash", "comment": "#", "empty": "omit" }),
        json!({ "encoding": "utf-16" }),
        json!({ "types": { "a": "number" } }),
    ];
    let more = &more[usize::from(choice) % more.len()];
    if let (Some(config), Some(more)) = (config.as_object_mut(), more.as_object()) {
        config.extend(more.clone());
    }
    let many = rows(&config, 1000);
    let few = rows(&config, 1);
    if let (Some(many), Some(few)) = (many, few) {
        assert_eq!(many, few, "rows differ by how many are read at a time");
    }
}

fn rows(config: &Value, records: usize) -> Option<Vec<Vec<u8>>> {
    let mut driver = SourceDriver::<CsvSource>::open(config, None).ok()?;
    let budget = Budget {
        records,
        ..Budget::default()
    };
    let mut rows = Vec::new();
    for _ in 0..MOST_PAGES {
        match driver.read(budget).ok()? {
            Read::Page(page) => rows.extend(
                page.records
                    .records()
                    .map(|record| record.payload().to_vec()),
            ),
            _ => return Some(rows),
        }
    }
    panic_endless()
}

#[allow(clippy::panic, reason = "a finding")]
fn panic_endless() -> ! {
    panic!("the source does not come to an end")
}

/// A snapshot that somebody made up: the source refuses it, or goes on from somewhere and ends.
pub(super) fn snapshot(input: &[u8]) {
    let Some(path) = file(b"a,b\n1,2\n3,4\n5,6\n") else {
        return;
    };
    let name = path.display().to_string();
    // The corpus does not know where the file is.
    let text = String::from_utf8_lossy(input).replace("FILE", &name);
    let config = json!({ "files": [path] });
    let Ok(mut driver) = SourceDriver::<CsvSource>::open(&config, Some(text.as_bytes())) else {
        return;
    };
    for _ in 0..MOST_PAGES {
        match driver.read(Budget::default()) {
            Ok(Read::Page(_)) => {}
            _ => return drop(driver.snapshot()),
        }
    }
    panic_endless()
}
