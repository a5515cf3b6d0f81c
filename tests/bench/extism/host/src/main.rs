//! Runs the transform of the benches in Extism. Speaks as `crossdock-bench` does: one request per line, one answer.

use std::{
    hint::black_box,
    io::{BufRead, Write},
};

use extism::{Manifest, Plugin, Wasm};
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::{Value, json};

#[path = "../../../src/products.rs"]
mod products;

type Failure = Box<dyn std::error::Error>;

#[derive(Deserialize)]
#[serde(tag = "case", rename_all = "kebab-case", deny_unknown_fields)]
enum Request {
    Transform {
        by: By,
        bytes: usize,
        batches: usize,
    },
    TransformOutput {
        by: By,
        bytes: usize,
    },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum By {
    ExtismValue,
    ExtismLazy,
}

impl By {
    fn function(self) -> &'static str {
        match self {
            Self::ExtismValue => "value",
            Self::ExtismLazy => "lazy",
        }
    }
}

fn main() -> Result<(), Failure> {
    let path = std::env::args_os()
        .nth(1)
        .ok_or("this is for `cargo xtask bench`")?;
    let mut plugin = Plugin::new(Manifest::new([Wasm::data(std::fs::read(path)?)]), [], false)?;
    let (mut bytes, mut lines) = (0, Vec::new());
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?)?;
        let (Request::Transform { bytes: wanted, .. }
        | Request::TransformOutput { bytes: wanted, .. }) = request;
        if bytes != wanted {
            (bytes, lines) = (wanted, input(wanted));
        }
        let answer = answer(&mut plugin, request, &lines)
            .unwrap_or_else(|error| json!({ "error": error.to_string() }));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// One batch, as lines.
fn input(bytes: usize) -> Vec<u8> {
    let mut lines = Vec::new();
    for number in 0..products::BATCH {
        lines.extend_from_slice(products::product(number, bytes).as_bytes());
        lines.push(b'\n');
    }
    lines
}

fn answer(plugin: &mut Plugin, request: Request, lines: &[u8]) -> Result<Value, Failure> {
    match request {
        Request::Transform { by, batches, .. } => {
            let mut records = 0;
            let started = cpu();
            for _ in 0..batches {
                let output: Vec<u8> = plugin.call(by.function(), lines)?;
                records += black_box(split(&output)).len();
            }
            let spent = cpu() - started;
            Ok(json!({ "nanos": spent, "records": records }))
        }
        Request::TransformOutput { by, .. } => {
            let output: Vec<u8> = plugin.call(by.function(), lines)?;
            let mut start = 0;
            let values: Result<Vec<Value>, _> = split(&output)
                .into_iter()
                .map(|end| serde_json::from_slice(&output[std::mem::replace(&mut start, end)..end]))
                .collect();
            Ok(json!({ "output": values?, "bytes": lines.len() }))
        }
    }
}

/// Where the records end: what a host needs to go on with them.
fn split(output: &[u8]) -> Vec<usize> {
    let bytes = output.iter().enumerate();
    bytes
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at + 1)
        .collect()
}

/// Nanoseconds that this thread was on a processor.
fn cpu() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds: u64 = time.tv_sec.try_into().unwrap_or_default();
    let nanos: u64 = time.tv_nsec.try_into().unwrap_or_default();
    seconds * 1_000_000_000 + nanos
}
