//! The main job, as a stranger sees it first: a catalogue flows from Akeneo to Spryker.

mod swap;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    io::{BufRead, BufReader},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use clap::Args;
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{Built, build, guests, print, say, workspace};

/// The flow of the main job.
pub(crate) const FLOW: &str = "plugins/akeneo-to-spryker/flows/akeneo-to-spryker.yaml";
/// What a shell gives for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// What the demo can be told.
#[derive(Args)]
pub(crate) struct Options {
    /// How many products the generated catalogue has: 1,000, with `--swap` 20,000.
    #[arg(long, value_name = "N", conflicts_with = "catalogue")]
    products: Option<u64>,
    /// Serves this folder of Akeneo CSV files instead of a generated catalogue.
    #[arg(long, value_name = "DIR")]
    catalogue: Option<PathBuf>,
    /// Runs the job once more, and swaps the mapper for another version in the middle of it.
    #[arg(long)]
    swap: bool,
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
pub(crate) fn run(options: &Options) -> Result<ExitCode, String> {
    say("building host and plugins (the first time takes some minutes)");
    let built = build(false)?;
    let interrupted = catch_signals()?;
    let Some(result) = job(&built, options, &interrupted)? else {
        say("aborted: nothing half-written is in place");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    if !options.json {
        show(&built, &result);
    }
    let swapped = if options.swap && !interrupted.load(Ordering::Relaxed) {
        Some(swap::job(&built, options, &result)?)
    } else {
        None
    };
    if options.json {
        let mut document = result.document();
        if let Some(swapped) = &swapped {
            document["swap"] = swapped.document();
        }
        print(&document.to_string());
    } else if let Some(swapped) = &swapped {
        swapped.show();
    }
    Ok(if interrupted.load(Ordering::Relaxed) {
        ExitCode::from(INTERRUPTED)
    } else {
        ExitCode::SUCCESS
    })
}

/// From here on Ctrl-C, which reaches the run as well, leaves this program alive: the run drains what it has read and
/// the stand-in must serve it until then.
fn catch_signals() -> Result<Arc<AtomicBool>, String> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|e| format!("signals cannot be listened to: {e}"))?;
    }
    Ok(interrupted)
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

/// Runs the main job and gives the result as documented for `--json`; nothing when it was aborted.
pub(crate) fn job(
    built: &Built,
    options: &Options,
    interrupted: &AtomicBool,
) -> Result<Option<Done>, String> {
    let usual = guests::target_dir(&workspace()).join("demo");
    let out = absolute(options.out.as_ref().unwrap_or(&usual))?;
    let files = out.join("spryker-import");
    let state = out.join(".crossdock");
    // Before anything starts: a folder that cannot be made is said with its name.
    fs::create_dir_all(&files).map_err(|e| {
        format!(
            "cannot make the folder {}: {e}: name another one with --out",
            files.display()
        )
    })?;
    let (standin, ready) = start(built, options)?;
    say(&format!(
        "a stand-in of Akeneo's API serves the catalogue on {}",
        text(&ready, &["url"])?
    ));
    let mut crossdock = command(built, &ready, &files, &state)?;
    crossdock.arg("--progress").stdout(Stdio::piped());
    let failed = |e: std::io::Error| format!("{}: {e}", built.crossdock.display());
    let mut running = crossdock.spawn().map_err(failed)?;
    // Ctrl-C from here on reaches it too. One that came before did not, and it has not done anything yet.
    if interrupted.load(Ordering::Relaxed) {
        running
            .kill()
            .and_then(|()| running.wait())
            .map_err(failed)?;
        return Ok(None);
    }
    let done = running.wait_with_output();
    drop(standin);
    let done = done.map_err(failed)?;
    if aborted(done.status) {
        return Ok(None);
    }
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
    Ok(Some(Done {
        outputs: outputs(&files)?,
        summary,
        folder: files,
        state,
    }))
}

/// `crossdock run` of the flow of this repository against the stand-in.
pub(crate) fn command(
    built: &Built,
    ready: &Value,
    files: &Path,
    state: &Path,
) -> Result<Command, String> {
    let mut crossdock = Command::new(&built.crossdock);
    crossdock
        .arg("run")
        .arg(workspace().join(FLOW))
        .args(["--from-start", "--json"])
        .arg("--state")
        .arg(state)
        .args(plugins_and_files(built, files))
        .envs(standin(ready)?)
        .stdin(Stdio::null());
    Ok(crossdock)
}

/// The plugins of a run of the demo, and the folder that it writes to.
fn plugins_and_files(built: &Built, files: &Path) -> [OsString; 4] {
    let files = format!("OUT={}", files.display());
    let plugins = built.plugins.clone();
    [
        "--plugins".into(),
        plugins.into(),
        "--var".into(),
        files.into(),
    ]
}

/// How the flow of the demo reaches the stand-in, by what that says when it is ready.
fn standin(ready: &Value) -> Result<[(&'static str, String); 6], String> {
    let credential = |name| text(ready, &["credentials", name]);
    Ok([
        ("AKENEO_CHANNEL", channel(ready).to_owned()),
        ("AKENEO_URL", text(ready, &["url"])?),
        ("AKENEO_CLIENT_ID", credential("client_id")?),
        ("AKENEO_CLIENT_SECRET", credential("secret")?),
        ("AKENEO_USERNAME", credential("username")?),
        ("AKENEO_PASSWORD", credential("password")?),
    ])
}

/// Whether a run was ended by Ctrl-C: a second one, or one before it could listen.
fn aborted(status: ExitStatus) -> bool {
    status.code() == Some(INTERRUPTED.into()) || matches!(status.signal(), Some(SIGINT | SIGTERM))
}

/// A text in what the stand-in says when it is ready.
fn text(ready: &Value, path: &[&str]) -> Result<String, String> {
    let found = path
        .iter()
        .try_fold(ready, |value, key| value.get(key))
        .and_then(Value::as_str);
    found
        .map(str::to_owned)
        .ok_or_else(|| format!("the stand-in did not say its {}", path.join(".")))
}

/// The channel to export: the one that the flow names by default, or the catalogue's first.
pub(crate) fn channel(ready: &Value) -> &str {
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
    if let Some(folder) = &options.catalogue {
        return serve(built, "--catalogue", absolute(folder)?.as_os_str());
    }
    let usual = if options.swap { 20_000 } else { 1_000 };
    let products = options.products.unwrap_or(usual);
    serve(built, "--products", products.to_string().as_ref())
}

/// A stand-in that serves this, and what it says when it is ready.
pub(crate) fn serve(built: &Built, what: &str, value: &OsStr) -> Result<(Standin, Value), String> {
    let child = Command::new(&built.standin)
        .arg(what)
        .arg(value)
        .arg("--stop-on-stdin-close")
        // Ctrl-C is for the run: the server stays until that has drained, and ends with this program.
        .process_group(0)
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
        format!("the stand-in of Akeneo's API with `{what} {value}` did not start, see above")
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
            let text = fs::read_to_string(&path).map_err(|e| failed(&path, &e))?;
            text.lines().count() as u64
        };
        rows.insert(name.to_owned(), count);
    }
    Ok(rows)
}

fn show(built: &Built, done: &Done) {
    let summary = &done.summary;
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![
        String::new(),
        format!(
            "{:<22}{:>10}{:>10}{:>10}{:>8}",
            "stream", "read", "written", "filtered", "dead"
        ),
    ];
    let mut all_dead = 0.0;
    for (name, counts) in summary["streams"].as_object().into_iter().flatten() {
        let [read, written, filtered, dead] =
            ["read", "written", "filtered", "dead"].map(|key| number(&counts[key]));
        // A stream that only lives between two stages.
        if read + written + filtered + dead == 0.0 {
            continue;
        }
        lines.push(format!(
            "{name:<22}{read:>10}{written:>10}{filtered:>10}{dead:>8}"
        ));
        all_dead += dead;
    }
    lines.push(String::new());
    if summary["outcome"] == "stopped" {
        lines.push(
            "stopped: what was read is in the checkpoint; files are put in place when all is read"
                .to_owned(),
        );
    } else {
        lines.push(format!("{:<42}{:>10}", "file", "rows"));
        for (name, rows) in &done.outputs {
            lines.push(format!("{name:<42}{rows:>10}"));
        }
    }
    lines.push(format!(
        "\n{:.1} s, {:.0} records/s, delivery: {}\nfiles:  {}\nstate:  {}",
        number(&summary["seconds"]),
        number(&summary["records_per_second"]),
        text(&summary["delivery"]["label"]),
        shown(&done.folder),
        shown(&done.state),
    ));
    if all_dead > 0.0 {
        lines.push(format!(
            "{all_dead} records could not be processed, see them with\n  {} dlq list --state {} --run {}",
            shown(&built.crossdock),
            shown(&done.state),
            text(&summary["run"]),
        ));
    }
    print(&lines.join("\n"));
}

/// A path as people would type it: from the folder they are in, when it is below.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here)
        .unwrap_or(path)
        .display()
        .to_string()
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()))
}
