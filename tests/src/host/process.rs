//! A program before it is started, while it runs, and when it has ended.

use std::{
    ffi::OsStr,
    fmt, fs,
    io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Command, ExitStatus},
    sync::mpsc::{self, RecvTimeoutError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Longer than anything takes, also on a busy machine: only a test that hangs meets it.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A program that has not been started.
pub struct Invocation(pub(super) Command);

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
