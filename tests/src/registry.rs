//! A real registry for tests: Debian's `docker-registry`, with its data in a temporary folder and a port of its own.
//!
//! Where it is not installed and may not be, a test that needs it says so and looks at nothing; in CI that is a failure.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a helper of tests fails the test, and people see what was not tested"
)]

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::host::{PATIENCE, target};

const PROGRAM: &str = "docker-registry";

/// A registry that runs, and ends with this.
pub struct TestRegistry {
    child: Child,
    folder: TempDir,
    host: String,
}

/// Who may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// `ann` with the password `secret`.
    Password,
}

/// `ann:secret`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "ann:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

impl TestRegistry {
    /// Starts one for everybody. `None`: there is none, and that was said.
    pub fn start() -> Option<Self> {
        Self::start_with(Access::Open)
    }

    /// Starts one.
    pub fn start_with(access: Access) -> Option<Self> {
        let program = program()?;
        let folder = tempfile::Builder::new()
            .prefix("crossdock-registry-")
            .tempdir()
            .expect("a temporary folder can be made");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("htpasswd"), HTPASSWD).expect("the folder can be written");
        let auth = match access {
            Access::Open => String::new(),
            Access::Password => format!(
                "auth: {{ htpasswd: {{ realm: test, path: {} }} }}\n",
                path("htpasswd").display()
            ),
        };
        // Port 0 is any that is free; it says which.
        let config = format!(
            "version: 0.1\nlog: {{ level: info, formatter: json }}\nstorage: {{ filesystem: {{ rootdirectory: {} }}, delete: {{ \
             enabled: true }} }}\nhttp: {{ addr: \"127.0.0.1:0\" }}\n{auth}",
            path("data").display()
        );
        fs::write(path("config.yml"), config).expect("the folder can be written");
        let mut child = Command::new(&program)
            .arg("serve")
            .arg(path("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let stderr = child.stderr.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // Nobody may be listening.
                drop(sender.send(line));
            }
        });
        let end = Instant::now() + PATIENCE;
        let mut told = String::new();
        let host = loop {
            let wait = end.saturating_duration_since(Instant::now());
            let line = lines
                .recv_timeout(wait)
                .unwrap_or_else(|error| panic!("the registry never listened ({error}):\n{told}"));
            if let Some((_, rest)) = line.split_once("listening on ") {
                let address = rest.split(['"', ' ', ',']).next().unwrap_or_default();
                break address.to_owned();
            }
            told.push_str(&line);
            told.push('\n');
        };
        Some(Self {
            child,
            folder,
            host,
        })
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `oci://HOST/NAMESPACE/NAME`.
    pub fn reference(&self, path: &str) -> String {
        format!("oci://{}/{path}", self.host)
    }

    /// The file of a blob, to be tampered with.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let start = hex.get(..2).expect("a digest");
        let blobs = "data/docker/registry/v2/blobs/sha256";
        self.folder
            .path()
            .join(format!("{blobs}/{start}/{hex}/data"))
    }
}

impl TestRegistry {
    fn tag_file(&self, path: &str, tag: &str) -> PathBuf {
        let tags = format!("data/docker/registry/v2/repositories/{path}/_manifests/tags");
        self.folder.path().join(tags).join(tag).join("current/link")
    }

    /// The digest of what is under a tag, if anything.
    pub fn tag(&self, path: &str, tag: &str) -> Option<String> {
        fs::read_to_string(self.tag_file(path, tag)).ok()
    }

    /// Puts something that is in the repository under a tag, as who runs the registry can.
    pub fn retag(&self, path: &str, tag: &str, digest: &str) {
        let file = self.tag_file(path, tag);
        let folder = file.parent().expect("it has one");
        fs::create_dir_all(folder).expect("the folder can be written");
        fs::write(file, digest).expect("the folder can be written");
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        // It may have ended already; a zombie at worst.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The program, installed where it may be.
fn program() -> Option<PathBuf> {
    let find = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|folder| folder.join(PROGRAM))
            .find(|file| file.is_file())
    };
    if let Some(found) = find() {
        return Some(found);
    }
    // One test installs it, the others wait.
    let folder = target().join("it");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let lock = File::create(folder.join("apt.lock")).expect("the target folder can be written");
    lock.lock().expect("files can be locked");
    if find().is_none() && Path::new("/usr/bin/apt-get").is_file() {
        install();
    }
    let found = find();
    if found.is_none() {
        let why = format!("`{PROGRAM}` is not installed: `apt-get install {PROGRAM}`");
        assert!(std::env::var_os("CI").is_none(), "{why}");
        println!("skipped: {why}");
    }
    found
}

/// Only root may, and without a network it fails; then it is not there.
fn install() {
    for arguments in [
        &["update", "-qq"][..],
        &["install", "-y", "-qq", "--no-install-recommends", PROGRAM],
    ] {
        let done = Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = done else { return };
        let end = Instant::now() + Duration::from_mins(3);
        let (sender, ended) = mpsc::channel();
        let id = child.id();
        std::thread::spawn(move || drop(sender.send(child.wait())));
        if ended
            .recv_timeout(end.saturating_duration_since(Instant::now()))
            .is_err()
        {
            drop(Command::new("kill").arg(id.to_string()).status());
            return;
        }
    }
}
