//! The plugin driven as the host drives it.

use std::{collections::BTreeMap, fs};

use crossdock_sdk::{
    prelude::{Batch, BatchBuilder, Op, RecordParts},
    testing::{Drive, SinkDriver},
};
use proptest::prelude::*;
use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableHandle as _,
};
use serde_json::json;

use crate::sink::RedbSink;

#[test]
fn the_manifest_fits() {
    crossdock_sdk::testing::check_manifest(
        env!("CARGO_PKG_VERSION"),
        include_str!("../plugin.json"),
    );
}

/// What a reader sees: (table, key) to payload, without the plugin's own tables.
type Content = BTreeMap<(String, String), String>;

fn content(path: &str) -> Content {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let database = Database::create(path).unwrap();
    let read = database.begin_read().unwrap();
    let mut all = Content::new();
    for table in read.list_tables().unwrap() {
        let name = table.name().to_owned();
        if name.starts_with("_crossdock.") {
            continue;
        }
        let definition: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(&name);
        let table = read.open_table(definition).unwrap();
        for entry in table.iter().unwrap() {
            let (key, value) = entry.unwrap();
            all.insert((name.clone(), text(key.value())), text(value.value()));
        }
    }
    all
}

fn batch(stream: &str, records: &[(&str, Option<&str>)]) -> Batch {
    let mut batch = BatchBuilder::json(stream);
    for (key, payload) in records {
        batch.push_record(RecordParts {
            key: key.as_bytes(),
            payload: payload.unwrap_or_default().as_bytes(),
            op: if payload.is_some() {
                Op::Upsert
            } else {
                Op::Delete
            },
            ..RecordParts::default()
        });
    }
    batch.finish()
}

fn seen(pairs: &[(&str, &str, &str)]) -> Content {
    pairs
        .iter()
        .map(|(table, key, value)| {
            (
                ((*table).to_owned(), (*key).to_owned()),
                (*value).to_owned(),
            )
        })
        .collect()
}

struct Folder {
    _dir: tempfile::TempDir,
    path: String,
    config: serde_json::Value,
}

fn folder() -> Folder {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.redb").to_str().unwrap().to_owned();
    Folder {
        config: json!({ "file": path }),
        path,
        _dir: dir,
    }
}

#[test]
fn records_are_upserted_and_deleted_by_key_and_seen_when_committed() {
    let Folder { path, config, _dir } = folder();
    let mut sink = SinkDriver::<RedbSink>::open(&config, None).unwrap();
    let first = batch(
        "items",
        &[("a", Some("1")), ("b", Some("2")), ("a", Some("3"))],
    );
    let (rejected, _) = sink.write(first).unwrap();
    assert!(rejected.is_empty());
    sink.write(batch("other", &[("a", Some("9"))])).unwrap();
    let snapshot = sink.snapshot().unwrap();
    assert_eq!(content(&path), Content::new(), "staged, not visible");
    sink.commit(&snapshot).unwrap();
    let all = seen(&[
        ("items", "a", "3"),
        ("items", "b", "2"),
        ("other", "a", "9"),
    ]);
    assert_eq!(content(&path), all);
    sink.write(batch("items", &[("a", None), ("never", None)]))
        .unwrap();
    let (rejected, _) = sink
        .write(batch("items", &[("", Some("x")), ("c", Some("4"))]))
        .unwrap();
    assert_eq!(rejected.len(), 1);
    assert!(rejected[0].1.message().contains("no key"));
    sink.end().unwrap();
    let all = seen(&[
        ("items", "b", "2"),
        ("items", "c", "4"),
        ("other", "a", "9"),
    ]);
    assert_eq!(content(&path), all);
}

#[test]
fn a_crash_anywhere_gives_the_same_result() {
    let Folder { path, config, _dir } = folder();
    let batches = [
        batch("items", &[("a", Some("1")), ("b", Some("2"))]),
        batch("items", &[("a", None), ("c", Some("3"))]),
        batch("items", &[("a", Some("4")), ("b", None)]),
    ];
    Drive::new(&config).sink::<RedbSink, _>(
        &batches,
        || drop(fs::remove_file(&path)),
        || content(&path),
    );
}

#[test]
fn a_commit_that_is_made_again_does_nothing() {
    let Folder { path, config, _dir } = folder();
    let mut sink = SinkDriver::<RedbSink>::open(&config, None).unwrap();
    sink.write(batch("items", &[("a", Some("1"))])).unwrap();
    let first = sink.snapshot().unwrap();
    sink.commit(&first).unwrap();
    sink.write(batch("items", &[("a", Some("2"))])).unwrap();
    let second = sink.snapshot().unwrap();
    sink.commit(&second).unwrap();
    for old in [&first, &second] {
        sink.commit(old).unwrap();
        assert_eq!(content(&path), seen(&[("items", "a", "2")]));
    }
}

#[test]
fn a_file_that_was_not_made_to_its_end_is_made_anew() {
    let Folder { path, config, _dir } = folder();
    let new = format!("{path}.new");
    // What a process leaves that is killed while redb writes the first pages, and a file that somebody has touched.
    fs::write(&new, vec![0; 4096]).unwrap();
    fs::write(&path, "").unwrap();
    let mut sink = SinkDriver::<RedbSink>::open(&config, None).unwrap();
    sink.write(batch("items", &[("a", Some("1"))])).unwrap();
    let snapshot = sink.snapshot().unwrap();
    sink.commit(&snapshot).unwrap();
    sink.close();
    assert_eq!(content(&path), seen(&[("items", "a", "1")]));
    assert!(!fs::exists(&new).unwrap());
}

#[test]
fn a_file_that_is_another_one_is_refused() {
    let Folder { path, config, _dir } = folder();
    let mut sink = SinkDriver::<RedbSink>::open(&config, None).unwrap();
    sink.write(batch("items", &[("a", Some("1"))])).unwrap();
    let snapshot = sink.snapshot().unwrap();
    sink.commit(&snapshot).unwrap();
    sink.close();
    let refused = |why: &str| {
        let fault = SinkDriver::<RedbSink>::open(&config, Some(&snapshot))
            .err()
            .unwrap();
        assert!(
            fault.is_config() && fault.message().contains(why),
            "{fault}"
        );
    };
    // Begun anew: what is in it stays, the old checkpoint does not fit any more.
    drop(SinkDriver::<RedbSink>::open(&config, None).unwrap());
    assert_eq!(content(&path), seen(&[("items", "a", "1")]));
    refused("is not the file");
    fs::remove_file(&path).unwrap();
    refused("is gone");
    assert!(!fs::exists(&path).unwrap(), "looking does not make it");
    drop(Database::create(&path).unwrap());
    refused("is not the file");
    fs::write(&path, "no database").unwrap();
    refused("no database that can be used");
    let fault = SinkDriver::<RedbSink>::check(&config).unwrap_err();
    assert!(fault.is_config(), "{fault}");
}

#[test]
fn the_plugins_own_tables_are_nobody_elses() {
    let Folder { path, _dir, .. } = folder();
    let config = json!({ "file": path, "table": "_crossdock.meta" });
    assert!(SinkDriver::<RedbSink>::check(&config).is_err());
    let config = json!({ "file": path });
    let mut sink = SinkDriver::<RedbSink>::open(&config, None).unwrap();
    let (rejected, _) = sink
        .write(batch("_crossdock.staged", &[("a", Some("1"))]))
        .unwrap();
    assert_eq!(rejected.len(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<(u8, Option<u32>)>),
    Snapshot,
    Commit,
    /// Opened again from the last committed snapshot, as after a crash.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    // Sizes around and far beyond a chunk.
    let size = prop_oneof![Just(0_u32), 1..200_u32, 400_000..1_200_000_u32];
    let write = prop::collection::vec((0..5_u8, prop::option::of(size)), 1..5);
    prop_oneof![
        4 => write.prop_map(Step::Write),
        2 => Just(Step::Snapshot),
        3 => Just(Step::Commit),
        2 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens, readers see exactly what was written up to the last committed snapshot.
    #[test]
    fn the_database_is_its_model(steps in prop::collection::vec(step(), 1..20)) {
        let Folder { path, config, _dir } = folder();
        let mut sink = SinkDriver::<RedbSink>::open(&config, None).unwrap();
        let empty = Content::new();
        // What is written, what is behind each snapshot that is not committed, what is committed.
        let (mut written, mut staged, mut committed) = (empty.clone(), Vec::new(), empty);
        let mut checkpoint: Option<Vec<u8>> = None;
        for step in steps {
            match step {
                Step::Write(records) => {
                    let records: Vec<(String, Option<String>)> = records
                        .into_iter()
                        .map(|(key, size)| (key.to_string(), size.map(|size| "x".repeat(size as usize))))
                        .collect();
                    let borrowed: Vec<(&str, Option<&str>)> = records
                        .iter()
                        .map(|(key, value)| (key.as_str(), value.as_deref()))
                        .collect();
                    sink.write(batch("items", &borrowed)).unwrap();
                    for (key, value) in records {
                        let at = ("items".to_owned(), key);
                        match value {
                            Some(value) => drop(written.insert(at, value)),
                            None => drop(written.remove(&at)),
                        }
                    }
                }
                Step::Snapshot => staged.push((sink.snapshot().unwrap(), written.clone())),
                Step::Commit => {
                    // The last one: those before it are in it.
                    if let Some((snapshot, content)) = staged.pop() {
                        sink.commit(&snapshot).unwrap();
                        staged.clear();
                        checkpoint = Some(snapshot);
                        committed = content;
                    }
                }
                Step::Crash => {
                    drop(sink);
                    sink = SinkDriver::<RedbSink>::open(&config, checkpoint.as_deref()).unwrap();
                    if let Some(checkpoint) = &checkpoint {
                        sink.commit(checkpoint).unwrap();
                    }
                    written = committed.clone();
                    staged.clear();
                }
            }
        }
        drop(sink);
        prop_assert!(content(&path) == committed);
    }
}
