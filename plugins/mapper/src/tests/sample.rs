//! Runs a mapping on records and writes down what came of them, in the form that the README uses.

use crossdock_sdk::prelude::*;
use crossdock_sdk::testing::{Host, TransformerDriver};
use std::fmt::Write;

use crate::Mapper;

/// A mapping with all it needs.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) mapping: String,
    pub(super) variables: Option<serde_json::Value>,
    pub(super) tables: Vec<(String, Vec<(String, String)>)>,
}

impl Sample {
    pub(super) fn new(mapping: &str) -> Self {
        let mapping = if mapping.trim_start().starts_with('-') {
            let lines: Vec<String> = mapping.lines().map(|line| format!("    {line}")).collect();
            format!("streams:\n  products:\n{}\n", lines.join("\n"))
        } else {
            mapping.to_owned()
        };
        Self {
            mapping,
            ..Self::default()
        }
    }

    pub(super) fn config(&self) -> serde_json::Value {
        let variables = self
            .variables
            .clone()
            .unwrap_or_else(|| serde_json::json!({}));
        serde_json::json!({ "mapping": self.mapping, "variables": variables })
    }

    /// What is wrong with the mapping.
    pub(super) fn problems(&self) -> String {
        match TransformerDriver::<Mapper>::open(self.config(), None) {
            Ok(_) => "nothing".to_owned(),
            Err(fault) => fault.to_string(),
        }
    }

    /// Maps records, one per line, in batches of one stream each: `stream: {...}` or `{...}`.
    pub(super) fn map(&self, input: &str) -> String {
        let host = Host::new();
        for (name, entries) in &self.tables {
            for (key, value) in entries {
                host.table(name).insert(key.as_str(), value.as_bytes());
            }
        }
        let mut driver = match TransformerDriver::<Mapper>::open(self.config(), None) {
            Ok(driver) => driver,
            Err(fault) => return format!("refused: {fault}\n"),
        };
        let mut out = String::new();
        let records: Vec<(&str, &str)> = input
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(split)
            .collect();
        for (stream, records) in runs(&records) {
            let mut batch = BatchBuilder::json(stream);
            for record in &records {
                batch.push(b"k", record.as_bytes());
            }
            match driver.apply(batch.finish()) {
                Ok(applied) => write_applied(&applied, &mut out),
                Err(fault) => writeln!(out, "fault: {fault}").unwrap(),
            }
        }
        out
    }
}

fn split(line: &str) -> (&str, &str) {
    match line.split_once(": ") {
        Some((stream, record)) if !stream.contains(['{', '"']) => (stream, record),
        _ => ("products", line),
    }
}

/// Neighbours of the same stream together.
fn runs<'r>(records: &[(&'r str, &'r str)]) -> Vec<(&'r str, Vec<&'r str>)> {
    let mut out: Vec<(&str, Vec<&str>)> = Vec::new();
    for (stream, record) in records {
        match out.last_mut() {
            Some((last, items)) if last == stream => items.push(record),
            _ => out.push((stream, vec![record])),
        }
    }
    out
}

fn write_applied(applied: &crossdock_sdk::testing::Applied, out: &mut String) {
    for batch in &applied.batches {
        for record in batch.records() {
            let key = match record.key() {
                b"k" => String::new(),
                key => format!(" [{}]", String::from_utf8_lossy(key)),
            };
            let payload = String::from_utf8_lossy(record.payload());
            let payload = spaced(&payload);
            match (record.stream(), key.as_str()) {
                ("products", "") => writeln!(out, "{payload}").unwrap(),
                (stream, key) => writeln!(out, "{stream}{key}: {payload}").unwrap(),
            }
        }
    }
    for (reason, count) in &applied.filtered {
        writeln!(out, "{count} dropped: {reason}").unwrap();
    }
    for (_, fault) in &applied.rejected {
        writeln!(out, "failed: {fault}").unwrap();
    }
}

/// JSON with a space behind `:` and `,`, as in the README.
fn spaced(json: &str) -> String {
    let (mut out, mut text, mut escaped) = (String::new(), false, false);
    for c in json.chars() {
        if !text && c == ' ' {
            continue;
        }
        out.push(c);
        match c {
            '"' if !escaped => text = !text,
            ':' | ',' if !text => out.push(' '),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    out
}
