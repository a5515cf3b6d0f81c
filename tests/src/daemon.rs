//! A real `crossdock serve` of a test's project.

#![allow(
    clippy::panic,
    clippy::expect_used,
    reason = "a helper of tests fails the test"
)]

use std::time::Instant;

use serde_json::Value;

use crate::host::{Ended, PATIENCE, Running, TestHost};

/// A daemon. It is killed when this is dropped.
pub struct TestDaemon<'a> {
    host: &'a TestHost,
    /// The process.
    pub running: Running,
}

impl<'a> TestDaemon<'a> {
    /// Starts one and waits until its API answers.
    pub fn start(host: &'a TestHost) -> Self {
        Self::start_with(host, &[])
    }

    /// The same with more arguments.
    pub fn start_with(host: &'a TestHost, arguments: &[&str]) -> Self {
        let usual = ["serve", ".", "--listen", "127.0.0.1:0"];
        let mut running = host
            .crossdock(usual.iter().chain(arguments))
            .env("CROSSDOCK_LOG", "info")
            .start();
        running.says("what goes on");
        Self { host, running }
    }

    /// A command about the project, to its end.
    pub fn ask(&self, arguments: &[&str]) -> Ended {
        self.host.crossdock(arguments).end()
    }

    /// The status of a flow.
    pub fn status(&self, flow: &str) -> Value {
        let asked = self.ask(&["flow", "status", flow, "--json"]);
        assert!(matches!(asked.code(), Some(0 | 1)), "{asked}");
        asked.json()
    }

    /// Waits until the status of a flow is like this, and gives it.
    pub fn until(&mut self, flow: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            // A question takes longer than what it asks about: there is no need to wait between two.
            let status = self.status(flow);
            if is_so(&status) {
                return status;
            }
            self.running.still_runs(what);
            assert!(Instant::now() < end, "{flow} never {what}: {status:#}");
        }
    }

    /// Waits until a flow is in this state.
    pub fn until_state(&mut self, flow: &str, state: &str) -> Value {
        self.until(flow, state, |status| status["state"] == state)
    }

    /// Waits until a flow has made some more checkpoints.
    pub fn until_checkpoints(&mut self, flow: &str, more: u64) -> Value {
        let epoch = |status: &Value| status["checkpoint"]["epoch"].as_u64().unwrap_or(0);
        let first = epoch(&self.status(flow));
        self.until(flow, "made a checkpoint", |status| {
            epoch(status) >= first + more
        })
    }

    /// A swap to its end.
    pub fn swap(&self, arguments: &[&str]) -> Ended {
        let all: Vec<&str> = ["swap"]
            .iter()
            .chain(arguments)
            .chain(&["--json"])
            .copied()
            .collect();
        self.ask(&all)
    }

    /// Ends it in good order.
    pub fn end(mut self) -> Ended {
        self.running.signal("TERM");
        self.running.end()
    }

    /// `kill -9`.
    pub fn kill(self) -> Ended {
        self.running.kill()
    }
}
