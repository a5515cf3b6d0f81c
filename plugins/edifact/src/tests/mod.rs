//! The plugin driven as the host drives it.

mod given;
mod syntax;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossdock_sdk::prelude::{Budget, Fault, Read};
use crossdock_sdk::testing::{Drive, SourceDriver};
use serde_json::{Value, json};

use crate::source::EdifactSource;

/// What reading brought: stream, key, record; input and fault of what is none.
#[derive(Debug, Default, PartialEq, Clone)]
struct Got {
    records: Vec<(String, String, Value)>,
    unreadable: Vec<(String, String)>,
}

impl Got {
    fn streams(&self) -> Vec<&str> {
        let streams = self.records.iter().map(|(stream, _, _)| stream.as_str());
        streams.collect()
    }

    fn faults(&self) -> Vec<&str> {
        self.unreadable
            .iter()
            .map(|(_, fault)| fault.as_str())
            .collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads to the end, with `crash` by a new instance for every page.
fn read_by(config: &Value, budget: Budget, crash: bool) -> Result<Got, Fault> {
    let mut driver = SourceDriver::<EdifactSource>::open(config, None)?;
    let mut got = Got::default();
    loop {
        match driver.read(budget)? {
            Read::Page(page) => {
                assert!(page.records.len() + page.unreadable.len() <= budget.records.max(1));
                for record in page.records.records() {
                    let value = serde_json::from_slice(record.payload()).unwrap();
                    got.records
                        .push((record.stream().to_owned(), text(record.key()), value));
                }
                for input in page.unreadable {
                    got.unreadable
                        .push((text(&input.data), input.fault.to_string()));
                }
            }
            Read::Idle(_) => {}
            Read::End => return Ok(got),
        }
        if crash {
            let snapshot = driver.snapshot()?;
            driver = SourceDriver::open(config, Some(&snapshot))?;
        }
    }
}

/// Reads one file with these bytes and settings: at once, and with a crash behind every record, which must be the same.
fn read(bytes: impl AsRef<[u8]>, more: &Value) -> Got {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.edi");
    fs::write(&path, bytes).unwrap();
    let mut config = json!({ "files": path.to_str().unwrap() });
    let members = more.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(members);
    let got = read_by(&config, Budget::default(), false).unwrap();
    let one = Budget {
        records: 1,
        bytes: 1 << 20,
        time: Duration::from_secs(1),
    };
    assert_eq!(
        read_by(&config, one, true).unwrap(),
        got,
        "resumed behind every record"
    );
    got
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")
}

#[test]
fn the_manifest_fits() {
    crossdock_sdk::testing::check_manifest(
        env!("CARGO_PKG_VERSION"),
        include_str!("../../plugin.json"),
    );
}

/// `CROSSDOCK_SAMPLES=write` writes what is expected anew.
#[test]
fn the_samples_are_what_stands_beside_them() {
    for name in ["orders", "invoic", "desadv", "pricat"] {
        let got = read(
            fs::read(samples().join(format!("{name}.edi"))).unwrap(),
            &json!({}),
        );
        assert_eq!(got.faults(), [""; 0], "{name}");
        assert!(got.streams().iter().all(|stream| *stream == name), "{name}");
        let records: Vec<&Value> = got.records.iter().map(|(_, _, record)| record).collect();
        let shown = serde_json::to_string_pretty(&records).unwrap() + "\n";
        let path = samples().join(format!("{name}.json"));
        if std::env::var_os("CROSSDOCK_SAMPLES").is_some_and(|what| what == "write") {
            fs::write(&path, &shown).unwrap();
        }
        let expect: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let value: Value = serde_json::from_str(&shown).unwrap();
        assert!(value == expect, "{name} is now\n{shown}");
    }
}

#[test]
fn a_folder_of_mixed_messages_has_a_stream_for_each_type() {
    let config = json!({ "files": format!("{}/*.edi", samples().to_str().unwrap()) });
    let got = read_by(&config, Budget::default(), false).unwrap();
    assert_eq!(
        got.streams(),
        ["desadv", "invoic", "invoic", "orders", "pricat"]
    );
    let keys: Vec<&str> = got.records.iter().map(|(_, key, _)| key.as_str()).collect();
    assert_eq!(keys[3], "4012345000009/PO-2026-118");
    // The same, however it is interrupted.
    Drive::new(&config).source::<EdifactSource>();
    let one =
        json!({ "files": config["files"], "stream": "edi", "messages": ["INVOIC", "ORDERS"] });
    let got = read_by(&one, Budget::default(), false).unwrap();
    assert_eq!(got.streams(), ["edi"; 3]);
    let streams = |config: &Value| {
        let streams = SourceDriver::<EdifactSource>::streams(config).unwrap();
        let names = streams.into_iter().map(|stream| stream.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(streams(&config), ["orders", "invoic", "desadv", "pricat"]);
    assert_eq!(streams(&one), ["edi"]);
    assert!(SourceDriver::<EdifactSource>::check(&config).is_ok());
}

#[test]
fn wrong_settings_are_named() {
    let refused = |config: Value| {
        let Err(fault) = SourceDriver::<EdifactSource>::open(&config, None) else {
            panic!("{config} is taken");
        };
        assert!(fault.is_config());
        fault
    };
    let fault = refused(json!({ "files": "*.edi", "messages": ["ORDERS", "orders"] }));
    assert_eq!(fault.location(), "/messages/1");
    assert_eq!(refused(json!({ "files": "no-*.edi" })).location(), "/files");
    let fault = refused(json!({ "files": "*", "envelope": "strict" }));
    assert!(fault.to_string().contains("strict"), "{fault}");
}
