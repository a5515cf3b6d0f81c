//! The plugin driven as the host drives it.

mod dialects;
mod files;
mod given;
mod sinks;

use std::fs;
use std::time::Duration;

use crossdock_sdk::prelude::{Budget, Fault, Page, Read};
use crossdock_sdk::testing::SourceDriver;
use serde_json::{Value, json};

use crate::source::CsvSource;

/// A folder for one test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.0.path().to_str().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read(self.path(name))
            .ok()
            .map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Everything that reading brought.
#[derive(Debug, Default, PartialEq, Clone)]
struct Got {
    /// stream, key, payload
    records: Vec<(String, String, String)>,
    /// input, fault
    unreadable: Vec<(Vec<u8>, Fault)>,
}

impl Got {
    fn add(&mut self, page: Page) {
        for record in page.records.records() {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            assert!(
                crossdock_sdk::json::validate(record.payload()).is_ok(),
                "{:?}",
                text(record.payload())
            );
            self.records.push((
                record.stream().to_owned(),
                text(record.key()),
                text(record.payload()),
            ));
        }
        self.unreadable.extend(
            page.unreadable
                .into_iter()
                .map(|input| (input.data, input.fault)),
        );
    }

    fn payloads(&self) -> Vec<&str> {
        self.records
            .iter()
            .map(|(_, _, payload)| payload.as_str())
            .collect()
    }

    fn values(&self) -> Vec<Value> {
        self.records
            .iter()
            .map(|(_, _, payload)| serde_json::from_str(payload).unwrap())
            .collect()
    }

    fn faults(&self) -> Vec<String> {
        self.unreadable
            .iter()
            .map(|(_, fault)| fault.to_string())
            .collect()
    }
}

fn config(files: &str, more: &Value) -> Value {
    let mut config = json!({ "files": files });
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    config
}

/// Reads to the end; also gives the last snapshot.
fn read_on(
    config: &Value,
    snapshot: Option<&[u8]>,
    budget: Budget,
) -> Result<(Got, Vec<u8>), Fault> {
    let mut driver = SourceDriver::<CsvSource>::open(config, snapshot)?;
    let mut got = Got::default();
    loop {
        match driver.read(budget)? {
            Read::Page(page) => {
                assert!(page.records.len() + page.unreadable.len() <= budget.records.max(1));
                got.add(page);
            }
            Read::Idle(_) => {}
            Read::End => return Ok((got, driver.snapshot()?)),
        }
    }
}

fn read(files: &str, more: &Value) -> Got {
    read_on(&config(files, more), None, Budget::default())
        .unwrap()
        .0
}

/// Reads with a new instance for every page, as after as many crashes.
fn read_with_crashes(config: &Value, budget: Budget) -> Got {
    let mut got = Got::default();
    let mut snapshot: Option<Vec<u8>> = None;
    loop {
        let mut driver = SourceDriver::<CsvSource>::open(config, snapshot.as_deref()).unwrap();
        match driver.read(budget).unwrap() {
            Read::Page(page) => got.add(page),
            Read::Idle(_) => {}
            Read::End => return got,
        }
        snapshot = Some(driver.snapshot().unwrap());
    }
}

fn budget(records: usize, bytes: usize) -> Budget {
    Budget {
        records,
        bytes,
        time: Duration::from_secs(1),
    }
}

#[test]
fn the_manifest_fits() {
    crossdock_sdk::testing::check_manifest(
        env!("CARGO_PKG_VERSION"),
        include_str!("../../plugin.json"),
    );
}
