//! Programs of a tool chain. What they print goes to stderr, so that stdout stays ours.

use std::{
    ffi::OsStr,
    io,
    path::Path,
    process::{Command, Stdio},
};

use super::error::AuthorError;

/// A program of a tool chain: what it is for, and what to do when it is missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool {
    /// What is started.
    pub(super) program: &'static str,
    /// What it is needed for: "compile Rust".
    pub(super) purpose: &'static str,
    /// What to install and how: names the package.
    pub(super) advice: &'static str,
}

impl Tool {
    /// A call of it in a folder.
    pub(super) fn call(self, folder: &Path) -> Call {
        self.call_at(Path::new(self.program), folder)
    }

    /// The same with a program that was found somewhere.
    pub(super) fn call_at(self, program: &Path, folder: &Path) -> Call {
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null());
        Call {
            tool: self,
            command,
        }
    }

    /// That it is missing, or not the right one.
    pub(super) fn missing(self, found: impl Into<String>) -> AuthorError {
        AuthorError::Tool {
            tool: self.program.to_owned(),
            purpose: self.purpose.to_owned(),
            found: found.into(),
            advice: self.advice.to_owned(),
        }
    }
}

/// One call of a program.
#[derive(Debug)]
pub(super) struct Call {
    tool: Tool,
    command: Command,
}

#[allow(dead_code, reason = "each language needs some of it, no language all")]
impl Call {
    /// Adds arguments.
    #[must_use]
    pub(super) fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub(super) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it. What it prints goes to stderr.
    ///
    /// # Errors
    /// When it is missing or fails.
    pub(super) fn run(mut self) -> Result<(), AuthorError> {
        self.command.stdout(to_stderr());
        let status = self
            .command
            .status()
            .map_err(|error| self.not_started(&error))?;
        self.ended(status)
    }

    /// Runs it and gives what it prints to stdout.
    ///
    /// # Errors
    /// When it is missing or fails.
    pub(super) fn output(mut self) -> Result<String, AuthorError> {
        self.command.stderr(Stdio::inherit());
        let done = self
            .command
            .output()
            .map_err(|error| self.not_started(&error))?;
        self.ended(done.status)?;
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    fn ended(&self, status: std::process::ExitStatus) -> Result<(), AuthorError> {
        if status.success() {
            return Ok(());
        }
        let words: Vec<_> = std::iter::once(self.command.get_program())
            .chain(self.command.get_args())
            .map(OsStr::to_string_lossy)
            .collect();
        Err(AuthorError::Step {
            command: words.join(" "),
            status: status.to_string(),
        })
    }

    fn not_started(&self, error: &io::Error) -> AuthorError {
        self.tool.missing(match error.kind() {
            io::ErrorKind::NotFound => "it is not installed".to_owned(),
            _ => format!("it cannot be started ({error})"),
        })
    }
}

#[allow(dead_code, reason = "for `Call::run`")]
/// Our stderr as another program's stdout.
fn to_stderr() -> Stdio {
    use std::os::fd::AsFd as _;
    let stderr = io::stderr().as_fd().try_clone_to_owned();
    stderr.map_or_else(|_| Stdio::null(), Stdio::from)
}
