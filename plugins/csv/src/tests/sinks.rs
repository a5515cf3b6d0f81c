//! The sink: columns, refusals, exactly-once.

use super::*;
use crate::sink::CsvSink;
use crossdock_sdk::prelude::{Batch, BatchBuilder, Op, RecordParts};
use crossdock_sdk::testing::{SinkDriver, batch};

type Driver = SinkDriver<CsvSink>;

fn sink(file: &str, more: &Value) -> Value {
    let mut config = json!({ "file": file });
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    config
}

/// Writes one run; the faults of refused records.
fn run(config: &Value, snapshot: Option<&[u8]>, batches: &[Batch]) -> (Vec<String>, Vec<u8>) {
    let mut driver = Driver::open(config, snapshot).unwrap();
    let mut faults = Vec::new();
    for batch in batches {
        let (rejected, _) = driver.write(batch.clone()).unwrap();
        faults.extend(
            rejected
                .into_iter()
                .map(|(index, fault)| format!("{index}: {fault}")),
        );
    }
    (faults, driver.end().unwrap())
}

#[test]
fn columns_come_from_the_config_or_the_first_record() {
    let folder = Folder::new();
    let mut records = BatchBuilder::json("p");
    records.push(
        b"",
        br#"{"sku":"A","price":1.50,"tags":["x","y"],"on":true,"none":null}"#,
    );
    records.push(b"", br#"{"none":"n","sku":"B"}"#);
    records.push(b"", br#"{"sku":"C","colour":"red"}"#);
    let records = records.finish();
    let (faults, _) = run(
        &sink(&folder.path("a.csv"), &json!({})),
        None,
        std::slice::from_ref(&records),
    );
    let text = folder.read("a.csv").unwrap();
    assert_eq!(
        text,
        "sku,price,tags,on,none\nA,1.50,\"[\"\"x\"\",\"\"y\"\"]\",true,\nB,,,,n\n"
    );
    assert!(
        faults.len() == 1 && faults[0].starts_with("2: field `colour` has no column"),
        "{faults:?}"
    );
    let columns = json!({ "columns": ["price", { "field": "sku", "name": "SKU" }, { "field": "/tags/1", "name": "t" }] });
    let (faults, _) = run(
        &sink(&folder.path("b.csv"), &columns),
        None,
        std::slice::from_ref(&records),
    );
    assert_eq!(folder.read("b.csv").unwrap(), "price,SKU,t\n");
    assert!(
        faults.len() == 3 && faults[0].contains("`on`"),
        "{faults:?}"
    );
    let mut ignoring = columns.clone();
    ignoring["unknown"] = json!("ignore");
    run(
        &sink(&folder.path("c.csv"), &ignoring),
        None,
        std::slice::from_ref(&records),
    );
    assert_eq!(
        folder.read("c.csv").unwrap(),
        "price,SKU,t\n1.50,A,y\n,B,\n,C,\n"
    );
}

#[test]
fn what_cannot_be_a_row_is_refused() {
    let folder = Folder::new();
    let mut records = BatchBuilder::json("p");
    records.push(b"1", br#"{"a":"x"}"#);
    records.push(b"2", b"[1]");
    records.push_record(RecordParts {
        key: b"3",
        op: Op::Delete,
        ..RecordParts::default()
    });
    records.push(b"4", "{\"a\":\"✓\"}".as_bytes());
    let more = json!({ "encoding": "windows-1252" });
    let (faults, _) = run(
        &sink(&folder.path("a.csv"), &more),
        None,
        &[records.finish()],
    );
    assert_eq!(folder.read("a.csv").unwrap(), "a\nx\n");
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(
        faults[1].contains("delete") && faults[2].contains("field `a`: the character `✓` (U+2713)"),
        "{faults:?}"
    );
    let mut bytes = BatchBuilder::of_bytes("p");
    bytes.push(b"", b"\x00");
    let (faults, _) = run(
        &sink(&folder.path("b.csv"), &json!({})),
        None,
        &[bytes.finish()],
    );
    assert!(faults[0].contains("no JSON"), "{faults:?}");
    let named = sink(&folder.path("{stream}.csv"), &json!({}));
    let (faults, _) = run(
        &named,
        None,
        &[
            batch("../x", &[json!({ "a": 1 })]),
            batch("ok", &[json!({ "a": 1 })]),
        ],
    );
    assert!(
        faults.len() == 1 && faults[0].contains("cannot be part of a file name"),
        "{faults:?}"
    );
    assert_eq!(folder.read("ok.csv").unwrap(), "a\n1\n");
}

#[test]
fn nothing_is_seen_before_the_end() {
    let folder = Folder::new();
    folder.write("a.csv", "old");
    let mut driver = Driver::open(sink(&folder.path("a.csv"), &json!({})), None).unwrap();
    driver.write(batch("p", &[json!({ "a": 1 })])).unwrap();
    let snapshot = driver.snapshot().unwrap();
    driver.commit(&snapshot).unwrap();
    assert_eq!(folder.read("a.csv").unwrap(), "old");
    let names = folder.names();
    assert!(
        names.len() == 2
            && names[0].starts_with(".crossdock-a.csv.")
            && names[0].ends_with(".1.part"),
        "{names:?}"
    );
    driver.end().unwrap();
    assert_eq!(folder.read("a.csv").unwrap(), "a\n1\n");
    assert_eq!(folder.names(), ["a.csv"]);
}

#[test]
fn a_run_without_records_leaves_an_empty_file_only_the_first_time() {
    let folder = Folder::new();
    let config = sink(&folder.path("a.csv"), &json!({ "columns": ["x", "y"] }));
    let (_, snapshot) = run(&config, None, &[]);
    assert_eq!(folder.read("a.csv").unwrap(), "x,y\n");
    let (_, snapshot) = run(
        &config,
        Some(&snapshot),
        &[batch("p", &[json!({ "x": 1 })])],
    );
    assert_eq!(folder.read("a.csv").unwrap(), "x,y\n1,\n");
    run(&config, Some(&snapshot), &[]);
    assert_eq!(
        folder.read("a.csv").unwrap(),
        "x,y\n1,\n",
        "nothing new: the last result stays"
    );
}

#[test]
fn appending_keeps_to_the_file_that_is_there() {
    let folder = Folder::new();
    folder.write("a.csv", "x,y\r\n1,2");
    let config = sink(&folder.path("a.csv"), &json!({ "mode": "append" }));
    let (_, snapshot) = run(&config, None, &[batch("p", &[json!({ "y": 4, "x": 3 })])]);
    assert_eq!(folder.read("a.csv").unwrap(), "x,y\r\n1,2\n3,4\n");
    run(
        &config,
        Some(&snapshot),
        &[batch("p", &[json!({ "x": 5 })])],
    );
    assert_eq!(folder.read("a.csv").unwrap(), "x,y\r\n1,2\n3,4\n5,\n");
    let other = sink(
        &folder.path("a.csv"),
        &json!({ "mode": "append", "columns": ["y", "x"] }),
    );
    let mut driver = Driver::open(&other, None).unwrap();
    let fault = driver.write(batch("p", &[json!({ "x": 3 })])).unwrap_err();
    assert!(
        fault.is_config() && fault.to_string().contains("x, y"),
        "{fault}"
    );
    assert_eq!(folder.names(), ["a.csv"]);
}

#[test]
fn folders_that_do_not_fit_are_named() {
    let folder = Folder::new();
    folder.write("file", "");
    fs::create_dir(folder.path("dir.csv")).unwrap();
    for file in [
        "none/a.csv",
        "file/a.csv",
        "dir.csv",
        "{stream}/a.csv",
        "none/",
    ] {
        let config = sink(&folder.path(file), &json!({}));
        let fault = Driver::open(&config, None).unwrap_err();
        assert!(fault.is_config(), "{file}: {fault}");
        assert!(Driver::check(&config).is_err());
    }
    assert!(
        Driver::open(sink(&folder.path("a.csv"), &json!({ "mode": "add" })), None)
            .unwrap_err()
            .is_config()
    );
    assert!(
        Driver::open(sink(&folder.path("a.csv"), &json!({})), Some(b"junk"))
            .unwrap_err()
            .is_config()
    );
}

/// What a run does, in steps. The host may die behind each of them.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Write(usize),
    Snapshot,
    Commit,
    Finish,
}

fn acts() -> Vec<Act> {
    let epoch = |first| {
        [
            Act::Write(first),
            Act::Write(first + 1),
            Act::Snapshot,
            Act::Commit,
        ]
    };
    let mut acts: Vec<Act> = [0, 2, 4].into_iter().flat_map(epoch).collect();
    acts.extend([Act::Write(6), Act::Finish, Act::Snapshot, Act::Commit]);
    acts
}

fn records(number: usize) -> Batch {
    let stream = if number.is_multiple_of(3) { "q" } else { "p" };
    let wide = "w".repeat(if number == 3 { 140_000 } else { 3 });
    batch(
        stream,
        &[
            json!({ "n": number, "text": wide }),
            json!({ "n": number, "text": "a\"b" }),
        ],
    )
}

/// Runs the acts; at `crash` the instance is lost and everything since the last snapshot comes again. `stored`: the
/// snapshot that was just taken reached the store, its commit did not.
fn run_with_crash(config: &Value, crash: Option<usize>, stored: bool) -> Result<(), Fault> {
    let acts = acts();
    let mut driver = Driver::open(config, None)?;
    let mut at = 0;
    let mut kept: Option<(usize, Vec<u8>)> = None;
    let mut taken = Vec::new();
    let mut crashed = false;
    while at < acts.len() {
        match acts[at] {
            Act::Write(number) => assert_eq!(driver.write(records(number))?.0, vec![]),
            Act::Finish => driver.finish()?,
            Act::Snapshot => {
                taken = driver.snapshot()?;
                if stored || crashed || crash != Some(at) {
                    kept = Some((at + 1, taken.clone()));
                }
            }
            Act::Commit => driver.commit(&taken)?,
        }
        if crash == Some(at) && !crashed {
            crashed = true;
            drop(driver);
            driver = Driver::open(
                config,
                kept.as_ref().map(|(_, snapshot)| snapshot.as_slice()),
            )?;
            at = match &kept {
                Some((next, snapshot)) => {
                    taken = snapshot.clone();
                    driver.commit(snapshot)?;
                    next + 1
                }
                None => 0,
            };
            continue;
        }
        at += 1;
    }
    Ok(())
}

#[test]
fn a_crash_anywhere_changes_nothing() {
    for more in [
        json!({}),
        json!({ "mode": "append" }),
        json!({ "gzip": true }),
        json!({ "gzip": true, "mode": "append" }),
    ] {
        for file in ["one.csv", "{stream}.csv"] {
            let result = |crash: Option<usize>, stored: bool| {
                let folder = Folder::new();
                if more["gzip"] != json!(true) {
                    folder.write("one.csv", "n,text\nold,old\n");
                }
                run_with_crash(&sink(&folder.path(file), &more), crash, stored).unwrap();
                let names = folder.names();
                let got = read(&folder.path("*.csv"), &json!({}));
                assert!(got.unreadable.is_empty());
                (names, got)
            };
            let whole = result(None, true);
            assert!(
                whole.1.records.len() >= 14 && whole.0.iter().all(|name| !name.contains("part")),
                "{whole:?}"
            );
            for crash in 0..acts().len() {
                for stored in [true, false] {
                    assert_eq!(
                        result(Some(crash), stored),
                        whole,
                        "{more} {file} crash behind {crash}, stored {stored}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_append_that_was_cut_short_is_finished() {
    let folder = Folder::new();
    let path = folder.write("a.csv", "n,text\n");
    let config = sink(&path, &json!({ "mode": "append" }));
    let mut driver = Driver::open(&config, None).unwrap();
    driver.write(records(1)).unwrap();
    let snapshot = driver.snapshot().unwrap();
    drop(driver);
    // Half a row got there before the machine died.
    fs::write(&path, "n,text\n1,w").unwrap();
    let mut driver = Driver::open(&config, Some(&snapshot)).unwrap();
    for _ in 0..2 {
        driver.commit(&snapshot).unwrap();
        assert_eq!(
            folder.read("a.csv").unwrap(),
            "n,text\n1,www\n1,\"a\"\"b\"\n"
        );
    }
    // Somebody else's rows are never cut off.
    driver.write(records(1)).unwrap();
    let snapshot = driver.snapshot().unwrap();
    fs::write(&path, "n,text\n1,www\n1,\"a\"\"b\"\n9,other\n").unwrap();
    let fault = driver.commit(&snapshot).unwrap_err();
    assert!(fault.to_string().contains("somebody else"), "{fault}");
    assert!(folder.read("a.csv").unwrap().ends_with("9,other\n"));
}

#[test]
fn leftovers_of_a_crash_do_not_come_back() {
    let folder = Folder::new();
    let config = sink(&folder.path("a.csv"), &json!({}));
    let (_, finished) = run(&config, None, &[records(1)]);
    let first = folder.read("a.csv").unwrap();
    // The next run dies with a part of its own; then the checkpoint of the first run is committed once more.
    let mut second = Driver::open(&config, Some(&finished)).unwrap();
    second.write(records(3)).unwrap();
    drop(second);
    let mut third = Driver::open(&config, Some(&finished)).unwrap();
    third.commit(&finished).unwrap();
    assert_eq!(folder.read("a.csv").unwrap(), first);
    assert_eq!(folder.names(), ["a.csv"]);
    // A part that is gone or shorter than the checkpoint says is no reason to write a file with a hole.
    let mut driver = Driver::open(&config, None).unwrap();
    driver.write(records(3)).unwrap();
    let snapshot = driver.snapshot().unwrap();
    drop(driver);
    let part = folder.path(&folder.names()[0]);
    fs::write(&part, "n").unwrap();
    assert!(
        Driver::open(&config, Some(&snapshot))
            .unwrap_err()
            .to_string()
            .contains("last checkpoint")
    );
    fs::remove_file(&part).unwrap();
    assert!(
        Driver::open(&config, Some(&snapshot))
            .unwrap_err()
            .to_string()
            .contains("it is gone")
    );
}

#[test]
fn a_part_of_another_sink_is_left_alone_when_a_run_goes_on() {
    let folder = Folder::new();
    let config = sink(&folder.path("a.csv"), &json!({ "mode": "append" }));
    let mut one = Driver::open(&config, None).unwrap();
    one.write(records(1)).unwrap();
    let snapshot = one.snapshot().unwrap();
    drop(one);
    let part = ".crossdock-a.csv.0123456789abcdef.1.part";
    folder.write(part, "x");
    let mut one = Driver::open(&config, Some(&snapshot)).unwrap();
    one.commit(&snapshot).unwrap();
    assert_eq!(folder.read(part).unwrap(), "x");
    // A run that begins anew takes it for a leftover.
    let mut two = Driver::open(&config, None).unwrap();
    two.write(records(2)).unwrap();
    assert!(folder.read(part).is_none());
}

/// In a swap the next instance is opened from a checkpoint that the one before it commits.
#[test]
fn an_instance_goes_on_when_the_one_before_it_has_committed() {
    let folder = Folder::new();
    let append = |name: &str| sink(&folder.path(name), &json!({ "mode": "append" }));
    let mut whole = Driver::open(append("whole.csv"), None).unwrap();
    whole.write(records(1)).unwrap();
    whole.write(records(2)).unwrap();
    let end = whole.snapshot().unwrap();
    whole.commit(&end).unwrap();
    let mut one = Driver::open(append("a.csv"), None).unwrap();
    one.write(records(1)).unwrap();
    let snapshot = one.snapshot().unwrap();
    let mut two = Driver::open(append("a.csv"), Some(&snapshot)).unwrap();
    one.commit(&snapshot).unwrap();
    two.write(records(2)).unwrap();
    let next = two.snapshot().unwrap();
    two.commit(&next).unwrap();
    assert_eq!(folder.read("a.csv"), folder.read("whole.csv"));
}

#[test]
fn what_is_committed_again_must_be_in_the_file() {
    let folder = Folder::new();
    let config = sink(&folder.path("a.csv"), &json!({ "mode": "append" }));
    let mut driver = Driver::open(&config, None).unwrap();
    driver.write(records(1)).unwrap();
    let snapshot = driver.snapshot().unwrap();
    driver.commit(&snapshot).unwrap();
    driver.commit(&snapshot).unwrap();
    drop(driver);
    let whole = folder.read("a.csv").unwrap();
    let mut driver = Driver::open(&config, Some(&snapshot)).unwrap();
    driver.commit(&snapshot).unwrap();
    folder.write("a.csv", whole.replace("www", "zzz"));
    let fault = driver.commit(&snapshot).unwrap_err();
    assert!(
        fault.to_string().contains("somebody else writes"),
        "{fault}"
    );
}

/// What versions wrote that knew no tokens.
#[test]
fn a_snapshot_without_a_token_goes_on() {
    let folder = Folder::new();
    for (name, finished) in [("a.csv", false), ("b.csv", true)] {
        let path = folder.path(name);
        let part = folder.write(&format!(".crossdock-{name}.3.part"), "n,text\n1,x\n");
        let snapshot = json!({
            "version": 1, "mode": "replace", "finished": finished, "next": 4,
            "targets": { &path: { "base": 0, "parts": [{ "number": 3, "length": 11 }], "note": "[\"n\",\"text\"]" } },
        });
        let file = snapshot.to_string();
        let mut output = file_drop::output::Output::open(
            file_drop::output::WriteSettings {
                file: path.clone(),
                mode: file_drop::output::Mode::Replace,
                gzip: None,
            },
            Some(file.as_bytes()),
        )
        .unwrap();
        if !finished {
            output.target(&path).unwrap().buffer().extend(b"2,y\n");
            output.finish().unwrap();
        }
        let snapshot = output.snapshot().unwrap();
        output.commit(&snapshot).unwrap();
        let rows = if finished {
            "n,text\n1,x\n"
        } else {
            "n,text\n1,x\n2,y\n"
        };
        assert_eq!(folder.read(name).unwrap(), rows);
        assert!(!std::path::Path::new(&part).exists());
    }
}
