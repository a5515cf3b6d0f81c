//! `demo --swap`: the main job once more, in a daemon, and in the middle of it another version of its mapper takes over.
//! In the end the files are compared with those of the run that nobody disturbed.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Done, Options, plugins_and_files, reason, standin};
use crate::{Built, print, say, variant, workspace};

/// The flow, and the stage of it that is swapped.
const FLOW: &str = "akeneo-to-spryker";
const STAGE: &str = "spryker";
/// The version that takes over: the same code, published once more.
const NEXT: &str = "0.2.0";
/// The run is disturbed when this many records have passed the stage.
const AFTER: u64 = 2_000;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_mins(10);

/// A daemon that ends when this does.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGTERM lets it drain; there is nothing to do here about one that has ended already.
        drop(Command::new("kill").arg(self.0.id().to_string()).status());
        drop(self.0.wait());
    }
}

/// What the disturbed run did.
pub(super) struct Swapped {
    swap: Value,
    status: Value,
    /// Files that are byte for byte those of the undisturbed run.
    same: usize,
}

impl Swapped {
    /// For `--json`.
    pub(super) fn document(&self) -> Value {
        json!({
            "state": self.swap["state"],
            "from": self.swap["from"]["version"],
            "to": self.swap["to"]["version"],
            "at-record": self.switched_at(),
            "pause-ms": self.pause_ms(),
            "identical-files": self.same,
            "runs": self.status["runs"],
        })
    }

    fn switched_at(&self) -> u64 {
        let steps = self.swap["steps"].as_array().into_iter().flatten();
        let mut switch = steps.filter(|step| step["state"] == "switch");
        switch
            .next()
            .and_then(|step| step["records"].as_u64())
            .unwrap_or(0)
    }

    fn pause_ms(&self) -> f64 {
        self.swap["pause_us"].as_f64().unwrap_or(0.0) / 1000.0
    }

    pub(super) fn show(&self) {
        let streams = &self.status["checkpoint"]["streams"];
        let sum = |name: &str| -> u64 {
            let counts = streams.as_object().into_iter().flatten();
            counts.filter_map(|(_, counts)| counts[name].as_u64()).sum()
        };
        print(&format!(
            "\nthe stage `{STAGE}` went from mapper {} to {NEXT} at record {}, with a pause of {:.3} ms\n\
             one run, balanced: {} read + {} expanded = {} written + {} filtered + {} dead\n\
             all {} files are byte for byte those of the run before",
            self.swap["from"]["version"].as_str().unwrap_or_default(),
            self.switched_at(),
            self.pause_ms(),
            sum("read"),
            sum("expanded"),
            sum("written"),
            sum("filtered"),
            sum("dead"),
            self.same,
        ));
    }
}

/// Runs the job in a daemon, swaps, and compares with what the undisturbed run has left.
pub(super) fn job(built: &Built, options: &Options, before: &Done) -> Result<Swapped, String> {
    let out = before
        .folder
        .parent()
        .unwrap_or(Path::new("."))
        .join("swapped");
    // What an earlier demo has left is no part of this one.
    drop(fs::remove_dir_all(&out));
    let (files, state) = (out.join("spryker-import"), out.join(".crossdock"));
    let failed = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    fs::create_dir_all(&files).map_err(|e| failed(&files, &e))?;
    let next = out.join("mapper-next.wasm");
    let component = variant::version(&built.plugins.join("mapper.wasm"), NEXT);
    fs::write(&next, component).map_err(|e| failed(&next, &e))?;
    try_on_a_sample(built, &out, &next)?;
    let (standin, ready) = super::start(built, options)?;
    say("\nonce more, in a daemon, and with another version of the mapper in the middle of it");
    let daemon = daemon(built, &ready, &files, &state)?;
    let ask = |arguments: &[&str]| ask(built, &state, arguments);
    until(&ask, &format!("passed {AFTER} records"), |status| {
        let stages = status["progress"]["stages"]
            .as_array()
            .into_iter()
            .flatten();
        let mut own = stages.filter(|stage| stage["name"] == STAGE);
        own.next().and_then(|stage| stage["records_in"].as_u64()) >= Some(AFTER)
    })?;
    let shown =
        format!("crossdock swap {FLOW} {STAGE} mapper-next.wasm --shadow 500 --probation 1s");
    say(&format!("$ {shown}"));
    let path = next.display().to_string();
    let swap = Command::new(&built.crossdock)
        .args([
            "swap",
            FLOW,
            STAGE,
            &path,
            "--shadow",
            "500",
            "--max-difference",
            "0%",
        ])
        .args(["--probation", "1s", "--state"])
        .arg(&state)
        .status()
        .map_err(|e| failed(&built.crossdock, &e))?;
    let swap_view = ask(&["swaps", "1"])?;
    let mut steps = swap_view["steps"].as_array().into_iter().flatten();
    if !swap.success() || !steps.any(|step| step["state"] == "switch") {
        return Err(format!(
            "the swap did not come through while records flowed: {}; a larger catalogue (--products) leaves it more time",
            swap_view["reason"].as_str().unwrap_or("see above")
        ));
    }
    let status = until(&ask, "finished", |status| status["state"] == "finished")?;
    drop(daemon);
    drop(standin);
    Ok(Swapped {
        swap: swap_view,
        status,
        same: compare(&before.folder, &files)?,
    })
}

/// What an operator does before a swap; the new version is compiled by that as well.
fn try_on_a_sample(built: &Built, out: &Path, next: &Path) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", out.display());
    let (mapping, sample) = (out.join("sample.yaml"), out.join("sample.jsonl"));
    fs::write(
        &mapping,
        "streams:\n  \"*\":\n    - set: { amount: $.net | number }\n",
    )
    .map_err(failed)?;
    fs::write(&sample, "{\"sku\":\"SKU-1\",\"net\":\"19.90\"}\n").map_err(failed)?;
    say("\n$ crossdock map test sample.yaml --input sample.jsonl --plugin mapper-next.wasm");
    let tried = Command::new(&built.crossdock)
        .args(["map", "test"])
        .arg(&mapping)
        .arg("--input")
        .arg(&sample)
        .arg("--plugin")
        .arg(next)
        .stdin(Stdio::null())
        // The demo's own output has one document at most.
        .stdout(std::io::stderr())
        .status()
        .map_err(failed)?;
    if tried.success() {
        Ok(())
    } else {
        Err("the new version does not map the sample, see above".to_owned())
    }
}

fn daemon(built: &Built, ready: &Value, files: &Path, state: &Path) -> Result<Daemon, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", built.crossdock.display());
    let mut child = Command::new(&built.crossdock)
        .arg("serve")
        .arg(workspace().join("plugins/akeneo-to-spryker"))
        .args(["--listen", "127.0.0.1:0", "--state"])
        .arg(state)
        .args(plugins_and_files(built, files))
        .envs(standin(ready)?)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let stderr = child.stderr.take();
    let daemon = Daemon(child);
    let mut lines = BufReader::new(stderr.ok_or("the daemon says nothing")?).lines();
    for line in lines.by_ref().map_while(Result::ok) {
        say(&line);
        if line.contains("what goes on") {
            // What it says later is shown as well, until it ends.
            thread::spawn(move || lines.map_while(Result::ok).for_each(|line| say(&line)));
            return Ok(daemon);
        }
    }
    Err("the daemon did not start, see above".to_owned())
}

/// What a command says, as JSON.
fn ask(built: &Built, state: &Path, arguments: &[&str]) -> Result<Value, String> {
    let asked = Command::new(&built.crossdock)
        .args(arguments)
        .arg("--json")
        .arg("--state")
        .arg(state)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{}: {e}", built.crossdock.display()))?;
    serde_json::from_slice(&asked.stdout).map_err(|_| {
        format!(
            "crossdock {}: {}",
            arguments.join(" "),
            reason(&asked.stdout)
        )
    })
}

/// Waits until the flow's status is like this.
fn until(
    ask: &impl Fn(&[&str]) -> Result<Value, String>,
    what: &str,
    is_so: impl Fn(&Value) -> bool,
) -> Result<Value, String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let status = ask(&["flow", "status", FLOW])?;
        if is_so(&status) {
            return Ok(status);
        }
        let state = status["state"].as_str().unwrap_or_default();
        if Instant::now() > end || ["finished", "failed", "stopped"].contains(&state) {
            return Err(format!(
                "the flow is {state} and has not {what}: {}",
                status["reason"]
                    .as_str()
                    .unwrap_or("a larger catalogue (--products) leaves more time")
            ));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// How many files there are, when all of them are the same in both folders.
fn compare(one: &Path, other: &Path) -> Result<usize, String> {
    let read = |path: &Path| fs::read(path).map_err(|e| format!("{}: {e}", path.display()));
    let names = |folder: &Path| -> Result<Vec<std::ffi::OsString>, String> {
        let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        Ok(names)
    };
    let (ours, theirs) = (names(one)?, names(other)?);
    if ours != theirs {
        return Err(format!(
            "{} and {} hold other files",
            one.display(),
            other.display()
        ));
    }
    for name in &ours {
        if read(&one.join(name))? != read(&other.join(name))? {
            return Err(format!(
                "{} is not what it was without a swap: this is a defect of crossdock",
                other.join(name).display()
            ));
        }
    }
    Ok(ours.len())
}
