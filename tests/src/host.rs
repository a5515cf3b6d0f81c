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

mod built;
mod process;

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

pub use self::{
    built::{cargo, plugin, program, target, test_data, test_plugin, workspace},
    process::{Ended, Invocation, PATIENCE, Running},
};

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

    /// Writes `flows/NAME.yaml`: from `in/*.csv`, with the key `id`, through the puppet with this config to `out/r.jsonl`,
    /// one record a batch and without another try. `stage` is what else the puppet's stage has, from the left edge.
    pub fn puppet_flow(&self, name: &str, config: &Value, stage: &str) -> PathBuf {
        let puppet = test_plugin("puppet");
        let stage = stage.replace('\n', "\n    ");
        self.flow(
            name,
            &format!(
                "
source:
  plugin: csv
  config: {{ files: in/*.csv, key: id }}
  grants: {{ files: {{ read: [in] }} }}
transformers:
  - plugin: {}
    config: {config}
    {stage}
sinks:
  - plugin: jsonl
    config: {{ file: out/r.jsonl }}
    grants: {{ files: {{ write: [out] }} }}
retry: {{ attempts: 1, initial: 1ms }}
batch: {{ records: 1 }}
",
                puppet.display()
            ),
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

    /// Every file below a folder, with its bytes.
    pub fn everything(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        let mut folders = vec![self.path(folder)];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("the folder can be listed") {
                let path = entry.expect("the folder can be listed").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let bytes = fs::read(&path).expect("the file can be read");
                    files.push((path.display().to_string(), bytes));
                }
            }
        }
        files
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
