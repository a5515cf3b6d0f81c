//! JSON lines files as a sink.

use crossdock_sdk::prelude::{Batch, Fault, Form, Op, Record, Result, Sink, Written};
use file_drop::output::{Ending, Mode, Output, WriteSettings, ending};
use serde::Deserialize;

use crate::lines::{compact, envelope};

/// The sink's config; `plugin.json` describes every field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SinkConfig {
    file: String,
    #[serde(default)]
    mode: Mode,
    gzip: Option<bool>,
    #[serde(default)]
    envelope: bool,
}

impl SinkConfig {
    fn settings(self) -> WriteSettings {
        WriteSettings {
            file: self.file,
            mode: self.mode,
            gzip: self.gzip,
        }
    }
}

/// Writes files of JSON lines.
#[derive(Debug)]
pub(crate) struct JsonlSink {
    output: Output,
    envelope: bool,
}

impl Sink for JsonlSink {
    type Config = SinkConfig;

    fn check(config: SinkConfig) -> Result<()> {
        config.settings().check()
    }

    fn open(config: SinkConfig, snapshot: Option<&[u8]>) -> Result<Self> {
        let envelope = config.envelope;
        Ok(Self {
            output: Output::open(config.settings(), snapshot)?,
            envelope,
        })
    }

    fn write(&mut self, batch: &Batch, written: &mut Written) -> Result<()> {
        let path = match self.output.settings().path_of(batch.stream()) {
            Ok(path) if batch.form() == Form::Json => path,
            other => {
                let not_json = Fault::permanent("the records are no JSON");
                let fault = other.err().unwrap_or(not_json);
                (0..batch.len()).for_each(|index| written.reject(index, fault.clone()));
                return Ok(());
            }
        };
        let target = self.output.target(&path)?;
        let appended = target.is_untouched() && !target.is_blank();
        let open_line = appended && ending(&path, false)? == Ending::Open;
        let buffer = target.buffer();
        if open_line {
            buffer.push(b'\n');
        }
        for record in batch.records() {
            if let Err(fault) = line(record, self.envelope, buffer) {
                written.reject(record.index(), fault);
            }
        }
        self.output.pass_on(&path)
    }

    fn finish(&mut self) -> Result<()> {
        if self.output.is_empty_run() {
            let path = self.output.settings().file.clone();
            self.output.target(&path)?.buffer();
        }
        self.output.finish()
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        self.output.snapshot()
    }

    fn commit(&mut self, snapshot: &[u8]) -> Result<()> {
        self.output.commit(snapshot)
    }
}

/// Appends one record as a line.
fn line(record: Record<'_>, whole: bool, buffer: &mut Vec<u8>) -> Result<()> {
    let payload = record.payload();
    let mut compacted = Vec::new();
    let payload = if memchr::memchr2(b'\n', b'\r', payload).is_some() {
        compact(payload, &mut compacted);
        &compacted
    } else {
        payload
    };
    match (whole, record.op()) {
        (false, Op::Delete) => {
            return Err(Fault::permanent(
                "a delete has no line of its own; set `envelope: true` to keep deletes",
            ));
        }
        (false, Op::Upsert) => buffer.extend_from_slice(payload),
        (true, op) => {
            let Some(key) = record.key_str() else {
                return Err(Fault::permanent(
                    "the key is no UTF-8, so it cannot be written as JSON",
                ));
            };
            let op = if op == Op::Delete { "delete" } else { "upsert" };
            let payload = (!payload.is_empty()).then_some(payload);
            envelope(
                (record.stream(), op),
                (key, record.headers()),
                payload,
                buffer,
            );
        }
    }
    buffer.push(b'\n');
    Ok(())
}
