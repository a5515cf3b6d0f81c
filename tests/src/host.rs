//! A project in a temporary folder and the real `crossdock` program that runs it: what end-to-end tests are made of.
//!
//! ```no_run
//! use crossdock_tests::host::TestHost;
//!
//! let host = TestHost::new();
//! host.write("in/a.csv", "sku\nx\n");
//! host.flow("copy", "
//! source: { plugin: csv, config: { files: in/*.csv }, grants: { files: { read: [in] } } }
//! sinks: [{ plugin: jsonl, config: { file: out/a.jsonl }, grants: { files: { write: [out] } } }]
//! ");
//! host.run("copy").finished();
//! assert_eq!(host.text("out/a.jsonl"), "{\"sku\":\"x\"}\n");
//! ```
//!
//! Everything here panics with what is needed to understand the failure; nothing here sleeps. A program is awaited by
//! what it says ([`Running::says`]) or asks ([`crate::gate::Gate`]).

#![allow(
    clippy::panic,
    clippy::expect_used,
    reason = "a helper of tests fails the test"
)]

use std::{
    ffi::OsStr,
    fmt,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything takes, also on a busy machine: only a test that hangs meets it.
pub const PATIENCE: Duration = Duration::from_mins(2);

#[path = "../../xtask/src/nested.rs"]
mod nested;

/// `cargo` in a folder, as a person would start it there: nothing that is built already is built again.
pub fn cargo(folder: &Path) -> Command {
    nested::cargo(folder)
}

/// The root of the repository.
pub fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where cargo puts what it builds: the folder that this very program was built into, so that a target folder that was
/// copied or moved serves the tests of the place it is in.
pub fn target() -> &'static Path {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    TARGET.get_or_init(|| {
        let program = std::env::current_exe().expect("the kernel tells the program");
        // Cargo marks its folder with this file.
        let built_into = program
            .ancestors()
            .find(|folder| folder.join("CACHEDIR.TAG").is_file());
        match (built_into, std::env::var_os("CARGO_TARGET_DIR")) {
            (Some(folder), _) => folder.to_owned(),
            (None, Some(named)) => workspace().join(named),
            (None, None) => workspace().join("target"),
        }
    })
}

/// The component of a plugin of this repository.
pub fn plugin(name: &str) -> PathBuf {
    target().join("plugins").join(format!("{name}.wasm"))
}

/// The component of a plugin that is there for tests.
pub fn test_plugin(name: &str) -> PathBuf {
    target().join("test-plugins").join(format!("{name}.wasm"))
}

/// A folder of the test data that lies beside some checkouts, or in the folder that `CROSSDOCK_TEST_DATA` names. Where it
/// is not, the test says so and has nothing to look at.
#[allow(clippy::print_stdout, reason = "people see what was not tested")]
pub fn test_data(name: &str) -> Option<PathBuf> {
    let given = std::env::var_os("CROSSDOCK_TEST_DATA").map(PathBuf::from);
    let beside = workspace()
        .ancestors()
        .map(|above| above.join("shared/data"));
    let found = given
        .into_iter()
        .chain(beside)
        .map(|data| data.join(name))
        .find(|folder| folder.is_dir());
    if found.is_none() {
        println!(
            "skipped: ../shared/data/{name} is not there, CROSSDOCK_TEST_DATA may name its folder"
        );
    }
    found
}

/// The program under test: `CROSSDOCK_BIN`, else the one of this workspace, built when it is not up to date.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("CROSSDOCK_BIN") {
        Some(given) => given.into(),
        None => build(),
    })
}

/// Asks cargo for the program, once per test run also where every test is a process of its own.
fn build() -> PathBuf {
    let program = target().join("debug").join("crossdock");
    let folder = target().join("it");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let lock = File::create(folder.join("build.lock")).expect("the target folder can be written");
    lock.lock().expect("files can be locked");
    let stamp = folder.join("built-by");
    let run = std::env::var("NEXTEST_RUN_ID").ok();
    if run.is_some() && fs::read_to_string(&stamp).ok() == run && program.is_file() {
        return program;
    }
    let done = cargo(workspace())
        // As `cargo xtask` builds it, so that neither makes the other build anew.
        .args(["build", "--quiet", "--workspace", "--bins"])
        .status()
        .expect("cargo starts");
    assert!(done.success(), "crossdock does not build");
    fs::write(stamp, run.unwrap_or_default()).expect("the target folder can be written");
    program
}

/// A project in a temporary folder, with a state of its own. Compiled plugins are kept for all tests.
pub struct TestHost {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl Default for TestHost {
    fn default() -> Self {
        Self::new()
    }
}

impl TestHost {
    /// An empty project: `flows`, `connections`, `in` and `out` are there.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("crossdock-")
            .tempdir()
            .expect("a temporary folder can be made");
        let host = Self {
            folder,
            environment: Vec::new(),
        };
        for name in ["flows", "connections", "in", "out"] {
            fs::create_dir(host.path(name)).expect("the project can be written");
        }
        host
    }

    /// Sets an environment variable of every program that this host starts.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// A path in the project.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where checkpoints and dead letters are.
    pub fn state(&self) -> PathBuf {
        self.path(".crossdock")
    }

    /// Writes a file of the project, with its folders.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).expect("the project can be written");
        }
        fs::write(&path, content).expect("the project can be written");
        path
    }

    /// Writes `flows/NAME.yaml`: everything but its name.
    pub fn flow(&self, name: &str, yaml: &str) -> PathBuf {
        self.write(
            format!("flows/{name}.yaml"),
            format!("flow: {name}\n{}", yaml.trim_start()),
        )
    }

    /// A file's bytes.
    pub fn bytes(&self, name: impl AsRef<Path>) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// A file's text.
    pub fn text(&self, name: impl AsRef<Path>) -> String {
        String::from_utf8(self.bytes(name)).expect("the file is UTF-8")
    }

    /// The names of what is in a folder, hidden ones too, sorted.
    pub fn list(&self, name: impl AsRef<Path>) -> Vec<String> {
        let path = self.path(name);
        let entries = fs::read_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("the folder can be read").file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// `crossdock` with these arguments, in the project's folder.
    pub fn crossdock<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Invocation {
        self.command(program()).args(arguments)
    }

    /// Another program in the same surroundings (a shell that starts `crossdock`, say).
    pub fn command(&self, program: impl AsRef<OsStr>) -> Invocation {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env_clear()
            .envs(
                ["PATH", "LANG", "TMPDIR"]
                    .into_iter()
                    .filter_map(|name| std::env::var_os(name).map(|value| (name, value))),
            )
            .env("HOME", self.folder.path())
            .env("XDG_CACHE_HOME", target().join("it").join("cache"))
            .env("CROSSDOCK_BIN", self::program())
            .env("CROSSDOCK_PLUGINS", target().join("plugins"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Invocation(command)
    }

    /// `crossdock run flows/NAME.yaml --json`, to its end.
    pub fn run(&self, flow: &str) -> Ended {
        self.start(flow).end()
    }

    /// The same with more arguments.
    pub fn run_with<A: AsRef<OsStr>>(
        &self,
        flow: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Ended {
        self.invocation(flow).args(arguments).end()
    }

    /// `crossdock run flows/NAME.yaml --json`, while it runs.
    pub fn start(&self, flow: &str) -> Running {
        self.invocation(flow).start()
    }

    /// `crossdock run flows/NAME.yaml --json`, not started yet.
    pub fn invocation(&self, flow: &str) -> Invocation {
        self.crossdock(["run", &format!("flows/{flow}.yaml"), "--json"])
    }

    /// `crossdock check flows/NAME.yaml`, as a person sees it.
    pub fn check(&self, flow: &str) -> Ended {
        self.crossdock(["check", &format!("flows/{flow}.yaml")])
            .end()
    }

    /// The dead letters of the project, as `crossdock dlq list --json` gives them.
    pub fn dead_letters(&self) -> Vec<Value> {
        let listed = self
            .crossdock(["dlq", "list", "--limit", "10000", "--json"])
            .end();
        let document = listed.exits(0).json();
        document["dead_letters"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }
}

/// A program that has not been started.
pub struct Invocation(Command);

impl Invocation {
    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.0.args(arguments);
        self
    }

    /// Starts it in this folder instead of the project's.
    #[must_use]
    pub fn folder(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Gives it this on its standard input.
    #[must_use]
    pub fn input(mut self, text: &str) -> Self {
        let mut file = tempfile::tempfile().expect("a temporary file can be made");
        file.write_all(text.as_bytes())
            .and_then(|()| file.rewind())
            .expect("the file can be written");
        self.0.stdin(file);
        self
    }

    /// Starts it and waits for its end.
    pub fn end(self) -> Ended {
        self.start().end()
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        let shown = format!("{:?}", self.0);
        let mut child = self.0.spawn().unwrap_or_else(|e| panic!("{shown}: {e}"));
        let (Some(mut stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            panic!("{shown}: its output is not piped");
        };
        let (sender, lines) = mpsc::channel();
        let stdout = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What came until it broke off is shown.
            drop(stdout.read_to_end(&mut bytes));
            bytes
        });
        let stderr = std::thread::spawn(move || {
            let mut all = String::new();
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                all.push_str(&line);
                all.push('\n');
                // Nobody may be listening.
                drop(sender.send(line));
            }
            all
        });
        Running {
            shown,
            child: Some(child),
            stdout: Some(stdout),
            stderr: Some(stderr),
            lines,
        }
    }
}

/// A program that runs. It is killed when this is dropped.
pub struct Running {
    shown: String,
    child: Option<Child>,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<String>>,
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("it is there until the end")
    }

    /// Its process id.
    pub fn id(&mut self) -> u32 {
        self.child().id()
    }

    /// Waits for a line on standard error that has this text, and gives it.
    pub fn says(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("{}: never said {text:?}", self.shown),
                Err(RecvTimeoutError::Disconnected) => {
                    let ended = self.finish();
                    panic!("ended without saying {text:?}\n{ended}");
                }
            }
        }
    }

    /// Whether it ends within this time. What it tells meanwhile is heard and not kept for [`Running::says`].
    pub fn ends_within(&mut self, time: Duration) -> bool {
        let end = Instant::now() + time;
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return false,
                // It closes its standard error when it ends.
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }

    /// Fails with all that it told when it has ended and so never did what the test waits for.
    pub fn still_runs(&mut self, awaited: &str) {
        if matches!(self.child().try_wait(), Ok(Some(_))) {
            let ended = self.finish();
            panic!("ended before it {awaited}\n{ended}");
        }
    }

    /// Sends a signal: `INT`, `TERM`, `KILL`, `STOP`, `CONT`.
    pub fn signal(&mut self, name: &str) {
        let id = self.id().to_string();
        let done = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(id)
            .status();
        assert!(
            done.is_ok_and(|status| status.success()),
            "{}: cannot be sent {name}",
            self.shown
        );
    }

    /// The most memory it has had so far, in bytes (Linux).
    pub fn peak_memory(&mut self) -> u64 {
        self.status("VmHWM:")
    }

    /// The memory that it has now, in bytes (Linux).
    pub fn memory(&mut self) -> u64 {
        self.status("VmRSS:")
    }

    /// A line of the kernel's account of it, in bytes.
    fn status(&mut self, line: &str) -> u64 {
        let file = format!("/proc/{}/status", self.id());
        let status = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
        let kilobytes = status
            .lines()
            .find_map(|text| text.strip_prefix(line))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.expect("the kernel tells it") * 1024
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        self.finish()
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(mut self) -> Ended {
        self.signal("KILL");
        self.finish()
    }

    fn finish(&mut self) -> Ended {
        let mut child = self.child.take().expect("it ends once");
        // Both end when the program does, since nobody else holds the other ends of the pipes.
        let stderr = self.stderr.take().and_then(|thread| thread.join().ok());
        let stdout = self.stdout.take().and_then(|thread| thread.join().ok());
        let status = child
            .wait()
            .unwrap_or_else(|e| panic!("{}: {e}", self.shown));
        Ended {
            shown: std::mem::take(&mut self.shown),
            status,
            stdout: stdout.unwrap_or_default(),
            stderr: stderr.unwrap_or_default(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already; a zombie at worst.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// A program that has ended.
pub struct Ended {
    shown: String,
    status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Ended {
    /// Its exit code, `None` when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Fails unless it ended with this code.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "exit code\n{self}");
        self
    }

    /// Fails unless it ended with 0. Gives the JSON document.
    #[track_caller]
    pub fn finished(&self) -> Value {
        self.exits(0).json()
    }

    /// The one JSON document on standard output.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("no JSON ({e})\n{self}"))
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Fails unless everything that it told contains each of these texts. Line breaks and the frames of diagnostics do
    /// not matter.
    #[track_caller]
    pub fn tells(&self, texts: &[&str]) -> &Self {
        let told = squeezed(&format!("{}\n{}", self.text(), self.stderr));
        for text in texts {
            assert!(
                told.contains(&squeezed(text)),
                "does not tell {text:?}\n{self}"
            );
        }
        self
    }

    /// Fails when the program itself told of a panic: no input may cause one. What a plugin told is a line of the log.
    #[track_caller]
    pub fn no_panic(&self) -> &Self {
        let mut lines = self.stderr.lines();
        let panicked =
            lines.any(|line| line.starts_with("thread '") && line.contains("panicked at"));
        assert!(!panicked, "it panicked\n{self}");
        self
    }
}

/// Words with one space between, without what draws frames around them.
fn squeezed(text: &str) -> String {
    let words = text
        .split(|c: char| c.is_whitespace() || "│╭╰─├└·".contains(c))
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "$ {}\n{}\n── stdout ──\n{}\n── stderr ──\n{}",
            self.shown,
            self.status,
            self.text(),
            self.stderr
        )
    }
}
