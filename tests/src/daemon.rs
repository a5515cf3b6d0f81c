//! A real `crossdock serve` of a test's project.

#![allow(
    clippy::panic,
    clippy::expect_used,
    reason = "a helper of tests fails the test"
)]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Instant,
};

use serde_json::Value;

use crate::host::{Ended, PATIENCE, Running, TestHost};

/// What the admin API has answered.
pub struct Answer {
    /// `200`, ...
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body, as it came: in chunks when it has no length.
    pub body: String,
}

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

    /// Asks the admin API, with the daemon's token when `token` says so. Gives status, head and body.
    pub fn api(&self, method: &str, path: &str, token: bool, body: &str) -> Answer {
        let endpoint = self.host.bytes(".crossdock/daemon.json");
        let endpoint: Value = serde_json::from_slice(&endpoint).expect("it is JSON");
        let url = endpoint["url"].as_str().expect("it says where it is");
        let address = url.trim_start_matches("http://");
        let authorization = match endpoint["token"].as_str() {
            Some(given) if token => format!("authorization: Bearer {given}\r\n"),
            _ => String::new(),
        };
        let length = body.len();
        let head = format!(
            "{method} /api/v1/{path} HTTP/1.1\r\nhost: {address}\r\n{authorization}content-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .expect("it reads");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("it answers");
        let all = String::from_utf8_lossy(&all).into_owned();
        let (head, body) = all.split_once("\r\n\r\n").expect("it has a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Answer {
            status: status.expect("it has a status"),
            head: head.to_owned(),
            body: body.to_owned(),
        }
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
