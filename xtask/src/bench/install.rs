//! From a registry to the first record, cold and warm; and what many plugins at once take.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{
    Bench,
    process::{Taken, measure},
    table::{Aim, Quantity, Row, median},
};
use crate::{say, variant};

const REGISTRY: &str = "docker-registry";
/// What is published, installed and run.
const PLUGIN: &str = "csv";
/// What many of are loaded.
const MANY: &str = "reshape";

/// All rows.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>, String> {
    let (rounds, many) = if bench.quick { (1, 3) } else { (5, 100) };
    let folder = bench.folder.join("install");
    // Of an earlier bench; it may not be there.
    drop(fs::remove_dir_all(&folder));
    let mut rows = loaded(bench, &folder.join("many"), many)?;
    let Some(registry) = Registry::start(&folder)? else {
        say(&format!(
            "skipped: `{REGISTRY}` is not installed, `apt-get install {REGISTRY}`"
        ));
        return Ok(rows);
    };
    let mut all: [Vec<f64>; 4] = Default::default();
    for round in 0..rounds {
        let one = Round {
            bench,
            registry: &registry,
            folder: folder.join(format!("round-{round}")),
            version: format!("1.0.{round}"),
        };
        for (times, taken) in all.iter_mut().zip(one.run()?) {
            times.push(taken.as_secs_f64() * 1e9);
        }
    }
    let what = [
        ("publish csv", 1.0),
        ("install csv: fetch, judge, store", 1.0),
        ("first run after an install, nothing compiled", 10.0),
        ("the same again, compiled", 0.5),
    ];
    for ((what, aim), times) in what.into_iter().zip(all) {
        rows.push(row(
            what.to_owned(),
            Quantity::Nanos(median(times)),
            aim * 1e9,
            String::new(),
        ));
    }
    Ok(rows)
}

fn row(what: String, measured: Quantity, aim: f64, note: String) -> Row {
    Row {
        group: "install",
        what,
        measured,
        beside: None,
        ratio: None,
        aim: Some(Aim::Value(aim)),
        note,
    }
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, content).map_err(failed)
}

/// `crossdock` in a project, with a compile cache of its own.
fn crossdock(
    bench: &Bench,
    project: &Path,
    cache: &Path,
    arguments: &[&str],
) -> Result<Taken, String> {
    let mut command = Command::new(&bench.built.crossdock);
    command
        .args(arguments)
        .current_dir(project)
        .env("HOME", project)
        .env("XDG_CACHE_HOME", cache)
        .env("CROSSDOCK_PLUGINS", &bench.built.plugins)
        .stderr(Stdio::null());
    measure(&mut command)
}

/// So many plugins, each another component, in one flow that is checked: every one is found, read, compiled and loaded.
fn loaded(bench: &Bench, folder: &Path, many: usize) -> Result<Vec<Row>, String> {
    let file = bench.test_plugins.join(format!("{MANY}.wasm"));
    let mut flow = String::from(
        "flow: many\nsource: { plugin: generate, config: { records: 1 } }\ntransformers:\n",
    );
    for at in 0..many {
        let name = format!("plugins/p{at}.wasm");
        write(
            &folder.join(&name),
            variant::version(&file, &format!("1.0.{at}")),
        )?;
        flow.push_str(&format!(
            "  - {{ name: p{at}, plugin: ../{name}, config: {{ source: erp }} }}\n"
        ));
    }
    flow.push_str("sinks:\n  - { plugin: jsonl, config: { file: out/a.jsonl }, grants: { files: { write: [out] } } }\n");
    write(&folder.join("flows/many.yaml"), flow)?;
    let cache = folder.join("cache");
    let check = || crossdock(bench, folder, &cache, &["check", "flows/many.yaml"]);
    let (cold, warm) = (check()?, check()?);
    let nanos = |taken: &Taken| Quantity::Nanos(taken.time.as_secs_f64() * 1e9);
    let each = |taken: &Taken| {
        let millis = taken.time.as_secs_f64() * 1e3 / many as f64;
        format!(
            "{millis:.1} ms each; {:.0} ms of processor time",
            taken.cpu.as_secs_f64() * 1e3
        )
    };
    Ok(vec![
        row(
            format!("load {many} plugins, nothing compiled"),
            nanos(&cold),
            60e9,
            each(&cold),
        ),
        row(
            format!("load {many} plugins, compiled"),
            nanos(&warm),
            2e9,
            each(&warm),
        ),
        row(
            format!("memory with {many} plugins loaded"),
            Quantity::Bytes(warm.memory as f64),
            512.0 * 1024.0 * 1024.0,
            "the whole program, at its most".to_owned(),
        ),
    ])
}

/// One version on its way.
struct Round<'a> {
    bench: &'a Bench,
    registry: &'a Registry,
    folder: PathBuf,
    version: String,
}

impl Round<'_> {
    /// Publish, install, first run, second run.
    fn run(&self) -> Result<[Duration; 4], String> {
        let file = self.bench.built.plugins.join(format!("{PLUGIN}.wasm"));
        let path = |name: &str| self.folder.join(name);
        write(&path("csv.wasm"), variant::version(&file, &self.version))?;
        write(&path("in/a.csv"), "sku\nx\n")?;
        write(
            &path("grants/csv.yaml"),
            "plugin: csv\ngrants: { files: { read: [in] } }\n",
        )?;
        write(
            &path("flows/copy.yaml"),
            format!(
                "flow: copy\nsource: {{ plugin: csv@{}, config: {{ files: in/*.csv }} }}\n\
                 sinks: [{{ plugin: jsonl, config: {{ file: out/a.jsonl }}, grants: {{ files: {{ write: [out] }} }} }}]\n",
                self.version
            ),
        )?;
        let place = format!("oci://{}/bench/{PLUGIN}", self.registry.host);
        let exact = format!("{place}@{}", self.version);
        let cache = path("cache");
        let timed = |arguments: &[&str]| {
            let taken = crossdock(self.bench, &self.folder, &cache, arguments)?;
            Ok::<_, String>(taken.time)
        };
        Ok([
            timed(&[
                "plugin",
                "publish",
                &place,
                "csv.wasm",
                "--plain-http",
                "--json",
            ])?,
            timed(&[
                "plugin",
                "install",
                &exact,
                "--yes",
                "--plain-http",
                "--json",
            ])?,
            timed(&["run", "flows/copy.yaml", "--json"])?,
            timed(&["run", "flows/copy.yaml", "--from-start", "--json"])?,
        ])
    }
}

/// A registry that runs, and ends with this.
struct Registry {
    child: Child,
    host: String,
}

impl Registry {
    /// `None` where there is none.
    fn start(folder: &Path) -> Result<Option<Self>, String> {
        let config = folder.join("registry.yml");
        let data = folder.join("registry");
        write(
            &config,
            format!(
                "version: 0.1\nlog: {{ level: info, formatter: json }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\n\
                 http: {{ addr: \"127.0.0.1:0\" }}\n",
                data.display()
            ),
        )?;
        let started = Command::new(REGISTRY)
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{REGISTRY}: {error}")),
        };
        let stderr = child.stderr.take().map(BufReader::new);
        let mut lines = stderr
            .into_iter()
            .flat_map(BufReader::lines)
            .map_while(Result::ok);
        let host = lines.find_map(|line| {
            let (_, rest) = line.split_once("listening on ")?;
            Some(rest.split('"').next()?.to_owned())
        });
        let registry = Self {
            child,
            host: host.unwrap_or_default(),
        };
        // It must not wait for somebody to read what it logs.
        std::thread::spawn(move || {
            let mut sink = std::io::sink();
            for line in lines {
                drop(sink.write_all(line.as_bytes()));
            }
        });
        if registry.host.is_empty() {
            return Err(format!("{REGISTRY} never listened"));
        }
        Ok(Some(registry))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended already; a zombie at worst.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
