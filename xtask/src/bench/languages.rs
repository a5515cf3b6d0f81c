//! The same small transformer in every language, as `crossdock plugin new` makes it, and as a script.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{
    Bench,
    table::{Quantity, Row, median, ratio},
    worker::{Worker, number},
};
use crate::{foreign, guests, say, tools, workspace};

/// What `--lang` takes, and the tools it needs; the first one is what the others are held against. A further language is a
/// line here.
const LANGUAGES: [(&str, Option<&str>); 6] = [
    ("rust", None),
    ("c", Some("c")),
    ("js", Some("javascript")),
    ("ts", Some("javascript")),
    ("python", Some("python")),
    ("go", Some("go")),
];

/// Scripts that do the same.
const SCRIPTS: [(&str, &str, &str); 2] = [
    (
        "script-js",
        "javascript",
        "function map(record) { const item = record.value; item.name = item.name.toUpperCase(); return item }",
    ),
    (
        "script-python",
        "python",
        "def map(record):\n    item = record.value\n    item['name'] = item['name'].upper()\n    return item\n",
    ),
];

/// One of them, ready to be measured.
struct Candidate {
    name: &'static str,
    plugin: PathBuf,
    config: Value,
}

/// All rows.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>, String> {
    let candidates = candidates(bench)?;
    let mut rows = Vec::new();
    for (records, batches) in [
        (1000, if bench.quick { 1 } else { 10 }),
        (1, if bench.quick { 10 } else { 2000 }),
    ] {
        rows.extend(per_record(bench, &candidates, (records, batches))?);
    }
    for candidate in &candidates {
        rows.extend(start(bench, candidates.first(), candidate)?);
    }
    Ok(rows)
}

fn candidates(bench: &Bench) -> Result<Vec<Candidate>, String> {
    let target = guests::target_dir(&workspace());
    let ready = |wanted: &str| {
        tools::ALL
            .iter()
            .any(|tools| tools.name == wanted && tools.is_ready(&target))
    };
    let mut found = Vec::new();
    let left_out = |name: &str, needs: &str| {
        say(&format!(
            "{name}: left out, the tools of {needs} are not installed: `cargo xtask tools`"
        ));
    };
    for (name, needs) in LANGUAGES {
        if let Some(needs) = needs.filter(|needs| !ready(needs)) {
            left_out(name, needs);
            continue;
        }
        let config = json!({ "field": "name" });
        found.push(Candidate {
            name,
            plugin: project(bench, &target, name)?,
            config,
        });
    }
    for (name, needs, script) in SCRIPTS {
        if !ready(needs) {
            left_out(name, needs);
            continue;
        }
        let plugin = bench.built.plugins.join(format!("{name}.wasm"));
        found.push(Candidate {
            name,
            plugin,
            config: json!({ "script": script }),
        });
    }
    Ok(found)
}

/// A new project of a language, built as for a release; for a quick look as its tests have built it.
fn project(bench: &Bench, target: &Path, language: &'static str) -> Result<PathBuf, String> {
    let folder = bench.folder.join("languages");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let (name, crossdock) = (format!("letters-{language}"), &bench.built.crossdock);
    let project = folder.join(&name);
    if project.exists() {
        fs::remove_dir_all(&project).map_err(|e| format!("{}: {e}", project.display()))?;
    }
    let run = |arguments: &[&str]| {
        let mut command = Command::new(crossdock);
        command
            .current_dir(&folder)
            .args(arguments)
            .stdout(Stdio::null());
        command
            .env("PATH", tools::path(target))
            .envs([tools::zig_cache(target)])
            .env("CARGO_TARGET_DIR", target.join("it").join("author"))
            .env("GOCACHE", foreign::go_cache(target));
        crate::execute(&mut command)
    };
    run(&[
        "plugin",
        "new",
        &name,
        "--kind",
        "transformer",
        "--lang",
        language,
    ])?;
    let mut build = vec!["plugin", "build", &name];
    build.extend((!bench.quick).then_some("--release"));
    run(&build)?;
    Ok(project.join("dist").join(format!("{name}.wasm")))
}

fn per_record(
    bench: &Bench,
    candidates: &[Candidate],
    (records, batches): (usize, usize),
) -> Result<Vec<Row>, String> {
    let rounds = if bench.quick { 1 } else { 7 };
    let mut nanos: Vec<Vec<f64>> = candidates.iter().map(|_| Vec::new()).collect();
    let mut memory = vec![(0.0, 0.0); candidates.len()];
    let mut workers = Vec::new();
    for _ in candidates {
        workers.push(Worker::start(bench)?);
    }
    for _ in 0..rounds {
        for (at, candidate) in candidates.iter().enumerate() {
            let answer = workers[at].ask(&json!({
                "case": "apply", "plugin": candidate.plugin, "config": candidate.config, "records": records, "batches": batches,
            }))?;
            nanos[at].push(number(&answer, "nanos")? / number(&answer, "records")?);
            let now = number(&answer, "memory")?;
            let first = if memory[at].0 == 0.0 {
                now
            } else {
                memory[at].0
            };
            memory[at] = (first, now);
        }
    }
    let others = candidates.iter().zip(&nanos).zip(&memory);
    Ok(others
        .map(|((candidate, own), (before, after))| {
            let beside = candidates
                .first()
                .filter(|first| first.name != candidate.name);
            Row {
                group: "languages",
                what: format!("{}: a record, batches of {records}", candidate.name),
                measured: Quantity::Nanos(median(own.iter().copied())),
                beside: beside.map(|first| {
                    (
                        first.name.to_owned(),
                        Quantity::Nanos(median(nanos[0].iter().copied())),
                    )
                }),
                ratio: beside.map(|_| ratio(own, &nanos[0])),
                aim: None,
                note: format!(
                    "memory {:.1} MiB, grown by {:.1}",
                    after / 1_048_576.0,
                    (after - before) / 1_048_576.0
                ),
            }
        })
        .collect())
}

/// How large a plugin is, and how long it takes until its first instance is there: never seen before, and known.
fn start(
    bench: &Bench,
    first: Option<&Candidate>,
    candidate: &Candidate,
) -> Result<[Row; 3], String> {
    let ask = |candidate: &Candidate| {
        let request =
            json!({ "case": "start", "plugin": candidate.plugin, "config": candidate.config });
        Worker::start(bench)?.ask(&request)
    };
    let own = ask(candidate)?;
    let beside = match first.filter(|first| first.name != candidate.name) {
        Some(first) => Some((first.name, ask(first)?)),
        None => None,
    };
    let row = |what: &str, key: &str, quantity: fn(f64) -> Quantity, note: String| {
        let value = number(&own, key)?;
        let beside = match &beside {
            Some((name, answer)) => Some((*name, number(answer, key)?)),
            None => None,
        };
        Ok::<Row, String>(Row {
            group: "languages",
            what: format!("{}: {what}", candidate.name),
            measured: quantity(value),
            ratio: beside.map(|(_, other)| value / other),
            beside: beside.map(|(name, other)| (name.to_owned(), quantity(other))),
            aim: None,
            note,
        })
    };
    let opens = format!(
        "a further instance opens in {:.2} ms of the processor",
        number(&own, "open_nanos")? / 1e6
    );
    Ok([
        row("size", "bytes", Quantity::Bytes, String::new())?,
        row(
            "cold start",
            "cold_nanos",
            Quantity::Nanos,
            "compiled, and the first instance opened".to_owned(),
        )?,
        row("cached start", "cached_nanos", Quantity::Nanos, opens)?,
    ])
}
