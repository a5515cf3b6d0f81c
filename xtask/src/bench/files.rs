//! CSV to JSON lines through the whole program: both connectors in sandboxes, checkpoints on.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{
    Bench,
    process::{Taken, measure},
    table::{Quantity, Row, median, ratio},
};
use crate::say;

/// Bytes of a row with its line break.
const ROW: usize = 116;

const FLOW: &str = "flow: files
source:
  plugin: csv
  config: { files: in/rows.csv }
  grants: { files: { read: [in] } }
sinks:
  - plugin: jsonl
    config: { file: out/rows.jsonl }
    grants: { files: { write: [out] } }
";

const FAUCET: &str = "version: 1
name: files
pipeline:
  source: { type: csv, config: { path: in/rows.csv } }
  sink: { type: jsonl, config: { path: out/faucet.jsonl } }
";

/// One candidate with its results, round by round.
struct Candidate {
    name: &'static str,
    command: fn(&Bench, &Path) -> Command,
    /// Where it writes.
    out: PathBuf,
    taken: Vec<Taken>,
}

/// One row per other tool that is installed, or one for crossdock alone.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>, String> {
    let (count, rounds): (u32, usize) = if bench.quick {
        (1_000, 1)
    } else {
        (1_000_000, 5)
    };
    let folder = bench.folder.join("files");
    let out = folder.join("out");
    fs::create_dir_all(&out)
        .and_then(|()| fs::create_dir_all(folder.join("in")))
        .and_then(|()| fs::write(folder.join("flow.yaml"), FLOW))
        .and_then(|()| fs::write(folder.join("faucet.yaml"), FAUCET))
        .and_then(|()| generate(&folder.join("in/rows.csv"), count))
        .map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut candidates = vec![
        candidate("crossdock", crossdock, out.join("rows.jsonl")),
        candidate("mlr", mlr, out.join("mlr.jsonl")),
        candidate("duckdb", duckdb, out.join("duckdb.jsonl")),
        candidate("faucet", faucet, out.join("faucet.jsonl")),
    ];
    candidates.retain(|candidate| {
        let there = candidate.name == "crossdock" || installed(candidate.name);
        if !there {
            say(&format!("{} is not installed", candidate.name));
        }
        there
    });
    for _ in 0..rounds {
        for candidate in &mut candidates {
            // No tool may add to what an earlier round left.
            drop(fs::remove_file(&candidate.out));
            let mut command = (candidate.command)(bench, &candidate.out);
            let taken = measure(command.current_dir(&folder))?;
            if candidate.name == "crossdock" {
                counted(&taken.output, count)?;
            }
            let lines = lines(&candidate.out)?;
            if lines != count {
                let name = candidate.name;
                return Err(format!("{name} wrote {lines} records of {count}"));
            }
            candidate.taken.push(taken);
        }
    }
    compare(&candidates, count)
}

fn candidate(name: &'static str, command: fn(&Bench, &Path) -> Command, out: PathBuf) -> Candidate {
    Candidate {
        name,
        command,
        out,
        taken: Vec::new(),
    }
}

fn crossdock(bench: &Bench, _: &Path) -> Command {
    let mut command = Command::new(&bench.built.crossdock);
    command
        .args(["run", "flow.yaml", "--json", "--from-start"])
        .args(["--state", "state", "--plugins"])
        .arg(&bench.built.plugins)
        .env("XDG_CACHE_HOME", bench.folder.join("home"));
    command
}

/// All three keep every cell a text, as crossdock does without `types`.
fn mlr(_: &Bench, out: &Path) -> Command {
    let mut command = shell(out, r#"mlr -S --icsv --ojsonl cat in/rows.csv > "$OUT""#);
    command.env("LC_ALL", "C.UTF-8");
    command
}

fn duckdb(_: &Bench, out: &Path) -> Command {
    let sql =
        "COPY (SELECT * FROM read_csv('in/rows.csv', all_varchar = true)) TO '$OUT' (FORMAT json)";
    shell(out, &format!(r#"duckdb -c "{sql}""#))
}

fn faucet(_: &Bench, _: &Path) -> Command {
    let mut command = Command::new("faucet");
    command.args(["run", "faucet.yaml"]);
    command
}

/// `exec` at the end, so that what is measured is the tool and not the shell.
fn shell(out: &Path, line: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("exec {line}"))
        .env("OUT", out);
    command
}

fn installed(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output();
    found.is_ok_and(|done| done.status.success())
}

/// What crossdock itself counted.
fn counted(output: &[u8], count: u32) -> Result<(), String> {
    let summary: Value = serde_json::from_slice(output).map_err(|e| e.to_string())?;
    let counts = &summary["streams"]["rows"];
    let read = counts["read"].as_u64();
    let written = counts["written"].as_u64();
    if [read, written] == [Some(u64::from(count)); 2] {
        Ok(())
    } else {
        Err(format!("the counts are not {count}: {summary}"))
    }
}

fn lines(path: &Path) -> Result<u32, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
    let mut line = Vec::new();
    let mut lines = 0;
    while reader.read_until(b'\n', &mut line).map_err(failed)? > 0 {
        line.clear();
        lines += 1;
    }
    Ok(lines)
}

/// Rows of exactly [`ROW`] bytes, always the same ones.
fn generate(path: &Path, count: u32) -> std::io::Result<()> {
    let head = "id,sku,name,price,stock,updated,comment\n";
    let length = head.len() as u64 + u64::from(count) * ROW as u64;
    if fs::metadata(path).is_ok_and(|meta| meta.len() == length) {
        return Ok(());
    }
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(head.as_bytes())?;
    let mut row = String::new();
    for number in 0..count {
        row.clear();
        let (price, cents) = (number * 7 % 300, number * 13 % 100);
        // Writing to a text cannot fail.
        let _ = write!(
            row,
            "{number:08},SKU-{number:08},\"Shirt, size {}\",{price}.{cents:02},{},2026-03-{:02}T12:00:00Z,",
            number % 60,
            number % 9,
            number % 28 + 1,
        );
        let letters = ('a'..='z').cycle().take(ROW - 1 - row.len());
        row.extend(letters);
        row.push('\n');
        file.write_all(row.as_bytes())?;
    }
    file.flush()
}

fn compare(candidates: &[Candidate], count: u32) -> Result<Vec<Row>, String> {
    let (ours, others) = candidates.split_first().ok_or("nothing was measured")?;
    let times = |candidate: &Candidate| -> Vec<f64> {
        let taken = candidate.taken.iter();
        taken.map(|taken| taken.time.as_secs_f64() * 1e9).collect()
    };
    let about = |candidate: &Candidate| {
        let taken = &candidate.taken;
        let memory = taken
            .iter()
            .map(|taken| taken.memory)
            .max()
            .unwrap_or_default();
        let cpu = median(taken.iter().map(|taken| taken.cpu.as_secs_f64()));
        let rows = f64::from(count) / (median(times(candidate)) / 1e9);
        format!(
            "{}: {rows:.0} rows/s, {cpu:.1} s of processor time, peak {} MiB",
            candidate.name,
            memory >> 20,
        )
    };
    let row = |beside: Option<&Candidate>| {
        let others = beside.map(|other| format!("; {}", about(other)));
        Row {
            group: "files",
            what: format!("CSV to JSON lines, {count} rows of {ROW} B"),
            measured: Quantity::Nanos(median(times(ours))),
            beside: beside.map(|other| {
                let time = Quantity::Nanos(median(times(other)));
                (other.name.to_owned(), time)
            }),
            ratio: beside.map(|other| ratio(&times(ours), &times(other))),
            aim: None,
            note: format!("{}{}", about(ours), others.unwrap_or_default()),
        }
    };
    if others.is_empty() {
        return Ok(vec![row(None)]);
    }
    Ok(others.iter().map(|other| row(Some(other))).collect())
}
