//! From a registry to the first record; finding plugins in a catalogue; many plugins in one process.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    Bench,
    process::{Taken, measure},
    table::{Quantity, Row, median},
    worker::{Worker, number},
};
use crate::{say, variant};

const FLOW: &str = "flow: one
source: { plugin: csv, config: { files: in/*.csv }, grants: { files: { read: [in] } } }
sinks: [{ plugin: jsonl, config: { file: out/one.jsonl }, grants: { files: { write: [out] } } }]
";
const PLUGINS: [&str; 2] = ["csv", "jsonl"];
/// A small plugin that there are many versions of.
const SMALL: &str = "reshape";

/// A registry that ends with this.
struct Registry {
    child: Child,
    host: String,
}

/// The times of one round.
struct Round {
    publish: f64,
    install: f64,
    cold: f64,
    warm: f64,
}

/// All rows.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>, String> {
    let folder = bench.folder.join("install");
    remove(&folder)?;
    let mut rows = Vec::new();
    match Registry::start(bench)? {
        Some(registry) => {
            rows.extend(first_record(bench, &registry, &folder)?);
            rows.extend(search(bench, &registry, &folder)?);
        }
        None => say("there is no registry on this machine: installing and searching are left out"),
    }
    rows.extend(many(bench, &folder)?);
    Ok(rows)
}

fn row(what: impl Into<String>, measured: Quantity, note: impl Into<String>) -> Row {
    Row {
        group: "install",
        what: what.into(),
        measured,
        beside: None,
        ratio: None,
        aim: None,
        note: note.into(),
    }
}

/// Publish, install and the first record, with nothing compiled before and with everything.
fn first_record(bench: &Bench, registry: &Registry, folder: &Path) -> Result<Vec<Row>, String> {
    let rounds = if bench.quick { 1 } else { 5 };
    let mut all = Vec::new();
    for round in 0..rounds {
        all.push(one_round(bench, registry, &folder.join("round"), round)?);
    }
    let of = |value: fn(&Round) -> f64| median(all.iter().map(value));
    let nanos = |value: fn(&Round) -> f64| Quantity::Nanos(of(value));
    let count = PLUGINS.len();
    Ok(vec![
        row(
            format!("publish {count} plugins"),
            nanos(|round| round.publish),
            "with their bills of material, one program after the other",
        ),
        row(
            format!("install {count} plugins"),
            nanos(|round| round.install),
            "judged, fetched, held against their digests",
        ),
        row(
            "run a flow of one record, cold",
            nanos(|round| round.cold),
            format!(
                "publish to first record: {:.2} s",
                of(|round| round.publish + round.install + round.cold) / 1e9
            ),
        ),
        row(
            "run a flow of one record, warm",
            nanos(|round| round.warm),
            format!(
                "publish to first record: {:.2} s",
                of(|round| round.publish + round.install + round.warm) / 1e9
            ),
        ),
    ])
}

fn one_round(
    bench: &Bench,
    registry: &Registry,
    project: &Path,
    round: u32,
) -> Result<Round, String> {
    remove(project)?;
    write(&project.join("in/one.csv"), "sku\nx\n")?;
    write(&project.join("flows/one.yaml"), FLOW)?;
    make(&project.join("out"))?;
    let (mut publish, mut install) = (Duration::ZERO, Duration::ZERO);
    for name in PLUGINS {
        // A version of its own, so that nothing of it is there already.
        let component = variant::version(
            &bench.built.plugins.join(format!("{name}.wasm")),
            &format!("0.1.{round}"),
        );
        write(&project.join(format!("{name}.wasm")), component)?;
        write(
            &project.join(format!("grants/{name}.yaml")),
            format!("plugin: {name}\ngrants: {{ files: {{ read: [in], write: [out] }} }}\n"),
        )?;
        let place = format!("oci://{}/bench/{name}", registry.host);
        let file = format!("{name}.wasm");
        let published = run(
            bench,
            project,
            &["plugin", "publish", &place, &file, "--plain-http"],
        )?;
        publish += published.time;
        let wanted = format!("{place}@0.1.{round}");
        let installed = run(
            bench,
            project,
            &["plugin", "install", &wanted, "--yes", "--plain-http"],
        )?;
        install += installed.time;
    }
    let flow = ["run", "flows/one.yaml", "--json", "--from-start"];
    let cold = run(bench, project, &flow)?;
    let warm = run(bench, project, &flow)?;
    let out = project.join("out/one.jsonl");
    let written = fs::read_to_string(&out).map_err(|e| format!("{}: {e}", out.display()))?;
    if written != "{\"sku\":\"x\"}\n" {
        return Err(format!(
            "the one record did not arrive as it should: {written:?}"
        ));
    }
    let nanos = |time: Duration| time.as_secs_f64() * 1e9;
    Ok(Round {
        publish: nanos(publish),
        install: nanos(install),
        cold: nanos(cold.time),
        warm: nanos(warm.time),
    })
}

/// Finding plugins among many.
fn search(bench: &Bench, registry: &Registry, folder: &Path) -> Result<Vec<Row>, String> {
    let (plugins, rounds) = if bench.quick { (50, 1) } else { (1_000, 9) };
    let project = folder.join("search");
    make(&project)?;
    write(&project.join("catalogue.json"), index(plugins))?;
    write(
        &project.join("registries.yaml"),
        format!(
            "registries: [{{ registry: '{host}', plain-http: true }}]\ncatalogues: ['oci://{host}/many']\n",
            host = registry.host
        ),
    )?;
    let own = |arguments: &[&str]| run(bench, &project, arguments);
    own(&["key", "new", "--out", "publisher.key"])?;
    own(&["catalogue", "sign", "--key", "publisher.key"])?;
    let key = fs::read_to_string(project.join("publisher.pub"))
        .map_err(|e| format!("publisher.pub: {e}"))?;
    let trust = json!({ "publishers": [{
        "publisher": "many", "namespaces": [format!("{}/many", registry.host)], "keys": [{ "pem": key }],
    }] });
    write(&project.join("trust.yaml"), trust.to_string())?;
    let place = format!("oci://{}/many", registry.host);
    own(&["catalogue", "serve", &place])?;
    let update = own(&["catalogue", "update"])?;
    let mut times = Vec::new();
    let mut memory = 0;
    for _ in 0..rounds {
        let taken = own(&["plugin", "search", "warehouse", "sink", "--json"])?;
        let found: Value = serde_json::from_slice(&taken.output).unwrap_or_default();
        if found["found"].as_u64().unwrap_or_default() == 0 {
            return Err(format!("nothing was found: {found}"));
        }
        times.push(taken.time.as_secs_f64() * 1e9);
        memory = memory.max(taken.memory);
    }
    let size = fs::metadata(project.join("catalogue.json")).map_or(0, |file| file.len());
    Ok(vec![row(
        format!("search a catalogue of {plugins} plugins"),
        Quantity::Nanos(median(times)),
        format!(
            "the whole program, signature checked; an index of {} KiB; fetched and kept in {:.0} ms; {} MiB of memory",
            size / 1024,
            update.time.as_secs_f64() * 1e3,
            memory >> 20
        ),
    )])
}

/// An index of so many plugins with three versions each.
fn index(plugins: u32) -> String {
    const AREAS: [&str; 8] = [
        "warehouse",
        "invoices",
        "products",
        "prices",
        "customers",
        "orders",
        "media",
        "stocks",
    ];
    const KINDS: [&str; 3] = ["source", "transformer", "sink"];
    let release = |number: usize, version: usize| {
        let area = AREAS[number % AREAS.len()];
        let digest = format!("sha256:{:064x}", number * 10 + version);
        json!({
            "manifest": digest, "digest": digest, "size": 350_000, "kinds": [KINDS[number % KINDS.len()]],
            "description": format!("Moves {area} between a system with the number {number} and everything else."),
            "licence": "Apache-2.0", "keywords": [area, "bench", format!("system-{number}")], "contract": "0.1.0",
            "conformance": { KINDS[number % KINDS.len()]: "resumable" },
            "permissions": ["use a connection", "read files (optional)"],
        })
    };
    let all: serde_json::Map<String, Value> = (0..plugins as usize)
        .map(|number| {
            let name = format!("{}-{number}", AREAS[number % AREAS.len()]);
            let versions: serde_json::Map<String, Value> = (0..3)
                .map(|version| (format!("1.{version}.0"), release(number, version)))
                .collect();
            (name.clone(), json!({ "path": name, "versions": versions }))
        })
        .collect();
    json!({
        "form": 1, "namespace": "many", "serial": 1, "created": "2026-01-01T00:00:00Z",
        "expires": "2126-01-01T00:00:00Z", "plugins": all,
    })
    .to_string()
}

/// Many plugins in one process: each another component.
fn many(bench: &Bench, folder: &Path) -> Result<Vec<Row>, String> {
    let count = if bench.quick { 3 } else { 100 };
    let own = folder.join("many");
    make(&own)?;
    let small = bench.test_plugins.join(format!("{SMALL}.wasm"));
    let mut paths: Vec<PathBuf> = Vec::new();
    for number in 0..count {
        let path = own.join(format!("{SMALL}-{number}.wasm"));
        write(&path, variant::version(&small, &format!("0.1.{number}")))?;
        paths.push(path);
    }
    let request = json!({ "case": "many", "plugins": paths, "config": { "source": "erp" } });
    // Compiled, then loaded by a process that has compiled nothing.
    let first = Worker::start(bench)?.ask(&request)?;
    let again = Worker::start(bench)?.ask(&request)?;
    let bytes = number(&again, "bytes")?;
    Ok(vec![
        row(
            format!("load {count} plugins and open each"),
            Quantity::Nanos(number(&again, "nanos")?),
            format!(
                "compiled in {:.1} s the first time",
                number(&first, "nanos")? / 1e9
            ),
        ),
        row(
            format!("{count} plugins, loaded and open"),
            Quantity::Bytes(bytes),
            format!(
                "{:.0} KiB each; {:.0} KiB of code on the disk",
                bytes / f64::from(count) / 1024.0,
                number(&again, "component_bytes")? / f64::from(count) / 1024.0
            ),
        ),
    ])
}

impl Registry {
    /// Starts one; `None` where there is none.
    fn start(bench: &Bench) -> Result<Option<Self>, String> {
        let program = bench.worker.with_file_name("test-registry");
        let failed = |e: std::io::Error| format!("{}: {e}", program.display());
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let out = child.stdout.take().ok_or("the registry is not connected")?;
        for line in BufReader::new(out).lines() {
            let line = line.map_err(failed)?;
            match line.strip_prefix("registry=") {
                Some("") => return Ok(None),
                Some(host) => {
                    let host = host.to_owned();
                    return Ok(Some(Self { child, host }));
                }
                None => say(&line),
            }
        }
        Err(format!("{} told nothing, see above", program.display()))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.stdin = None;
        // Nothing depends on how it ends.
        drop(self.child.wait());
    }
}

/// `crossdock` in a project, with a cache of its own and nothing of the user's.
fn run(bench: &Bench, project: &Path, arguments: &[&str]) -> Result<Taken, String> {
    let mut command = Command::new(&bench.built.crossdock);
    command
        .current_dir(project)
        .args(arguments)
        .env("HOME", project)
        .env("XDG_CACHE_HOME", project.join("cache"))
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("CROSSDOCK_PLUGINS");
    measure(&mut command)
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), String> {
    if let Some(folder) = path.parent() {
        make(folder)?;
    }
    fs::write(path, content).map_err(|e| format!("{}: {e}", path.display()))
}

fn make(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))
}

fn remove(folder: &Path) -> Result<(), String> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    Ok(())
}
