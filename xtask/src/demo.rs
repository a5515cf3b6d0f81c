//! The main job, as a stranger sees it first: a catalogue flows from Akeneo to Spryker.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use clap::Args;
use serde_json::{Value, json};

use crate::{Built, build, guests, print, say, workspace};

/// What the demo can be told.
#[derive(Args)]
pub(crate) struct Options {
    /// How many products the generated catalogue has.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        conflicts_with = "catalogue"
    )]
    products: u64,
    /// Serves this folder of Akeneo CSV files instead of a generated catalogue.
    #[arg(long, value_name = "DIR")]
    catalogue: Option<PathBuf>,
    /// Where the Spryker import files go.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Ends with one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Stops the stand-in whatever happens.
pub(crate) struct Standin(Child);

impl Drop for Standin {
    fn drop(&mut self) {
        // It may have ended already; there is nothing to do about it here.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Sets up, runs, shows.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    say("building host and plugins (the first time takes some minutes)");
    let built = build(false)?;
    let result = job(&built, options)?;
    if options.json {
        print(&result.document().to_string());
    } else {
        show(&result);
    }
    Ok(())
}

/// What the main job did.
pub(crate) struct Done {
    /// The run's summary, as `crossdock run --json` gives it.
    summary: Value,
    /// Rows per file that was written.
    outputs: BTreeMap<String, u64>,
    /// Where the files are.
    folder: PathBuf,
    /// Where checkpoints and dead letters are.
    state: PathBuf,
}

impl Done {
    /// What `--json` prints.
    pub(crate) fn document(&self) -> Value {
        let mut streams = serde_json::Map::new();
        for (name, counts) in self.summary["streams"].as_object().into_iter().flatten() {
            let kept = ["read", "written", "filtered", "dead"]
                .map(|key| (key.to_owned(), counts[key].clone()));
            streams.insert(name.clone(), Value::Object(kept.into_iter().collect()));
        }
        json!({
            "streams": streams,
            "outputs": self.outputs,
            "seconds": self.summary["seconds"],
            "label": self.summary["delivery"]["label"],
        })
    }
}

/// Runs the main job and gives the result as documented for `--json`.
pub(crate) fn job(built: &Built, options: &Options) -> Result<Done, String> {
    let out = absolute(
        options
            .out
            .clone()
            .unwrap_or_else(|| guests::target_dir(&workspace()).join("demo")),
    )?;
    let state = out.join(".crossdock");
    let (standin, ready) = start(built, options)?;
    say(&format!(
        "a stand-in of Akeneo's API serves the catalogue on {}",
        ready["url"].as_str().unwrap_or_default()
    ));
    let files = out.join("spryker-import");
    let mut crossdock = command(built, &ready, &files, &state)?;
    crossdock.arg("--progress").stdout(Stdio::piped());
    let done = crossdock.spawn().and_then(Child::wait_with_output);
    drop(standin);
    let done = done.map_err(|e| format!("{}: {e}", built.crossdock.display()))?;
    let code = done.status.code();
    // 3: finished with dead letters, which the summary shows.
    if code != Some(0) && code != Some(3) {
        return Err(format!(
            "the run failed ({}): {}",
            done.status,
            reason(&done.stdout)
        ));
    }
    let summary: Value = serde_json::from_slice(&done.stdout)
        .map_err(|e| format!("the run's summary is no JSON: {e}"))?;
    Ok(Done {
        outputs: outputs(&files)?,
        summary,
        folder: files,
        state,
    })
}

/// The main job against a stand-in that is ready.
pub(crate) fn command(
    built: &Built,
    ready: &Value,
    files: &Path,
    state: &Path,
) -> Result<Command, String> {
    let text = |path: &[&str]| -> Result<String, String> {
        let found = path
            .iter()
            .try_fold(ready, |value, key| value.get(key))
            .and_then(Value::as_str);
        found
            .map(str::to_owned)
            .ok_or_else(|| format!("the stand-in did not say its {}", path.join(".")))
    };
    let mut crossdock = Command::new(&built.crossdock);
    crossdock
        .arg("run")
        .arg(workspace().join("plugins/akeneo-to-spryker/flows/akeneo-to-spryker.yaml"))
        .args(["--from-start", "--json"])
        .arg("--state")
        .arg(state)
        .arg("--plugins")
        .arg(&built.plugins)
        .arg("--var")
        .arg(format!("OUT={}", files.display()))
        .env("AKENEO_CHANNEL", channel(ready))
        .env("AKENEO_URL", text(&["url"])?)
        .env("AKENEO_CLIENT_ID", text(&["credentials", "client_id"])?)
        .env("AKENEO_CLIENT_SECRET", text(&["credentials", "secret"])?)
        .env("AKENEO_USERNAME", text(&["credentials", "username"])?)
        .env("AKENEO_PASSWORD", text(&["credentials", "password"])?)
        .stdin(Stdio::null());
    Ok(crossdock)
}

/// The channel to export: the one that the flow names by default, or the catalogue's first.
fn channel(ready: &Value) -> &str {
    const USUAL: &str = "ecommerce";
    let channels = ready["channels"].as_array().into_iter().flatten();
    let mut names = channels.filter_map(Value::as_str).peekable();
    let first = names.peek().copied().unwrap_or(USUAL);
    if names.any(|name| name == USUAL) {
        USUAL
    } else {
        first
    }
}

/// What `crossdock run --json` says about its failure.
fn reason(stdout: &[u8]) -> String {
    let said: Value = serde_json::from_slice(stdout).unwrap_or_default();
    let findings = said["findings"].as_array().into_iter().flatten();
    let messages: Vec<&str> = findings
        .filter_map(|finding| finding["message"].as_str())
        .chain(said["error"].as_str())
        .chain(said["reason"].as_str())
        .collect();
    if messages.is_empty() {
        "see above".to_owned()
    } else {
        messages.join("\n  ")
    }
}

fn start(built: &Built, options: &Options) -> Result<(Standin, Value), String> {
    match &options.catalogue {
        Some(folder) => serve(built, "--catalogue", absolute(folder.clone())?.as_os_str()),
        None => serve(built, "--products", options.products.to_string().as_ref()),
    }
}

/// A stand-in that serves this, and what it says when it is ready.
pub(crate) fn serve(built: &Built, what: &str, value: &OsStr) -> Result<(Standin, Value), String> {
    let child = Command::new(&built.standin)
        .arg(what)
        .arg(value)
        .arg("--stop-on-stdin-close")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{}: {e}", built.standin.display()))?;
    let mut standin = Standin(child);
    let mut line = String::new();
    if let Some(out) = standin.0.stdout.take() {
        BufReader::new(out)
            .read_line(&mut line)
            .map_err(|e| format!("the stand-in: {e}"))?;
    }
    let ready = serde_json::from_str(&line).map_err(|_| {
        let value = value.display();
        format!("the stand-in with `{what} {value}` did not start, see above")
    })?;
    Ok((standin, ready))
}

/// Rows of every file that was written: CSV rows without the header, other files by their lines.
fn outputs(folder: &Path) -> Result<BTreeMap<String, u64>, String> {
    let mut rows = BTreeMap::new();
    let failed = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    for entry in fs::read_dir(folder).map_err(|e| failed(folder, &e))? {
        let path = entry.map_err(|e| failed(folder, &e))?.path();
        let Some(name) = path
            .file_name()
            .and_then(|n| n.to_str())
            .filter(|_| path.is_file())
        else {
            continue;
        };
        let count = if path.extension().is_some_and(|e| e == "csv") {
            let mut reader = csv::Reader::from_path(&path).map_err(|e| failed(&path, &e))?;
            let mut count = 0;
            for row in reader.byte_records() {
                row.map_err(|e| failed(&path, &e))?;
                count += 1;
            }
            count
        } else {
            let mut text = String::new();
            fs::File::open(&path)
                .and_then(|mut f| f.read_to_string(&mut text))
                .map_err(|e| failed(&path, &e))?;
            text.lines().count() as u64
        };
        rows.insert(name.to_owned(), count);
    }
    Ok(rows)
}

fn show(done: &Done) {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let mut text = format!(
        "\n{:<22}{:>10}{:>10}{:>10}{:>8}\n",
        "stream", "read", "written", "filtered", "dead"
    );
    let mut all_dead = 0;
    for (name, counts) in done.summary["streams"].as_object().into_iter().flatten() {
        let [read, written, filtered, dead] =
            ["read", "written", "filtered", "dead"].map(|key| number(&counts[key]));
        text += &format!("{name:<22}{read:>10}{written:>10}{filtered:>10}{dead:>8}\n");
        all_dead += dead;
    }
    text += &format!("\n{:<42}{:>10}\n", "file", "rows");
    for (name, rows) in &done.outputs {
        text += &format!("{name:<42}{rows:>10}\n");
    }
    text += &format!(
        "\n{:.1} s, {:.0} records/s, delivery: {}\nfiles:  {}\nstate:  {}",
        done.summary["seconds"].as_f64().unwrap_or_default(),
        done.summary["records_per_second"]
            .as_f64()
            .unwrap_or_default(),
        done.summary["delivery"]["label"]
            .as_str()
            .unwrap_or_default(),
        shown(&done.folder),
        shown(&done.state),
    );
    if all_dead > 0 {
        text += &format!(
            "\n{all_dead} records could not be processed, see them with\n  target/debug/crossdock dead-letter list --state {}",
            shown(&done.state)
        );
    }
    print(&text);
}

/// A path as people would type it: from the folder they are in, when it is below.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here)
        .unwrap_or(path)
        .display()
        .to_string()
}

fn absolute(path: PathBuf) -> Result<PathBuf, String> {
    std::path::absolute(&path).map_err(|e| format!("{}: {e}", path.display()))
}
