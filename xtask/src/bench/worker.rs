//! A process that measures: asked line by line, so that candidates run in turns.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::Value;

use super::Bench;

/// A worker. It ends with its standard input, so when this is dropped.
pub(crate) struct Worker {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// The worker of the host.
    pub(crate) fn start(bench: &Bench) -> Result<Self, String> {
        let mut command = Command::new(&bench.worker);
        command
            .arg(&bench.test_plugins)
            .arg(&bench.built.plugins)
            .arg(&bench.folder)
            // What flows compile is kept there.
            .env("XDG_CACHE_HOME", bench.folder.join("home"));
        Self::spawn(&mut command)
    }

    /// Any program that speaks the same.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self, String> {
        let name = command.get_program().display().to_string();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{name}: {e}"))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{name}: not connected"));
        };
        Ok(Self {
            child,
            requests: Some(requests),
            answers: BufReader::new(answers),
        })
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, request: &Value) -> Result<Value, String> {
        let mut line = String::new();
        if let Some(requests) = &mut self.requests {
            writeln!(requests, "{request}")
                .and_then(|()| self.answers.read_line(&mut line))
                .map_err(|e| format!("a worker broke off: {e}"))?;
        }
        let answer: Value = serde_json::from_str(&line)
            .map_err(|_| format!("a worker broke off at {request}, see above"))?;
        match answer["error"].as_str() {
            Some(error) => Err(format!("{request}: {error}")),
            None => Ok(answer),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.requests = None;
        // Nothing depends on how it ends.
        drop(self.child.wait());
    }
}

/// A number of an answer.
pub(crate) fn number(answer: &Value, key: &str) -> Result<f64, String> {
    answer[key]
        .as_f64()
        .ok_or_else(|| format!("a worker did not say `{key}`: {answer}"))
}
