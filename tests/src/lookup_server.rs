//! An API of customers, for tests of lookups: it wants a key, fails on demand, and keeps what it was asked.
//!
//! `GET /customers/ID` gives one, or 404; `GET /customers?ids=A,B` gives those that it knows as `{"data":[..]}`. It knows
//! `c0`, `c1` and so on, and `huge`, whose answer is large.

#![allow(clippy::expect_used, reason = "a helper of tests fails the test")]

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};

use crate::host::PATIENCE;

/// The key that it wants in the header `x-api-key`.
pub const KEY: &str = "the-lookup-key";
/// Bytes of a large answer.
const HUGE: usize = 100_000;

/// What it answers instead.
#[derive(Debug, Clone)]
pub struct Instead {
    status: u16,
    headers: &'static str,
    body: &'static str,
}

/// What was asked: `/customers/c1`.
#[derive(Default)]
struct Journal {
    asked: Vec<String>,
    instead: VecDeque<Instead>,
    at_once: usize,
    most_at_once: usize,
    /// No answer before so many have been asked for at once.
    together: usize,
}

#[derive(Default)]
struct Shared {
    journal: Mutex<Journal>,
    changed: Condvar,
}

impl Shared {
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server; it ends with the test's process.
pub struct LookupServer {
    port: u16,
    shared: Arc<Shared>,
}

impl Default for LookupServer {
    fn default() -> Self {
        Self::new()
    }
}

impl LookupServer {
    /// Starts it.
    pub fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::default());
        let of_server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&of_server);
                // Who hangs up gets no answer.
                std::thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Self { port, shared }
    }

    /// A connection file that leads to it, with more lines in YAML.
    pub fn connection(&self, name: &str, key: &str, more: &str) -> String {
        format!(
            "connection: {name}\nbase-url: http://127.0.0.1:{}\nallow-private: true\n\
             auth: {{ api-key: {{ header: X-Api-Key, value: {key} }} }}\n{more}\n",
            self.port
        )
    }

    /// The next so many requests get this answer.
    pub fn instead(&self, times: usize, status: u16, headers: &'static str, body: &'static str) {
        let instead = Instead {
            status,
            headers,
            body,
        };
        let mut journal = self.shared.journal();
        journal.instead.extend(vec![instead; times]);
    }

    /// Answers nobody before so many have asked at the same time.
    pub fn wait_for(&self, together: usize) {
        self.shared.journal().together = together;
    }

    /// Paths with queries, in the order in which they were asked for, failures too.
    pub fn asked(&self) -> Vec<String> {
        self.shared.journal().asked.clone()
    }

    /// The most requests that were open at the same time.
    pub fn most_at_once(&self) -> usize {
        self.shared.journal().most_at_once
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut key = String::new();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("x-api-key")
        {
            value.trim().clone_into(&mut key);
        }
    }
    let Some(Instead {
        status,
        headers,
        body,
    }) = entered(shared, &path)
    else {
        let (status, body) = answer(&path, &key);
        return write(stream, status, "", &body.to_string(), shared);
    };
    write(stream, status, headers, body, shared)
}

/// Writes the request down, waits for the others when it is told to, and gives what to answer instead.
fn entered(shared: &Shared, path: &str) -> Option<Instead> {
    let mut journal = shared.journal();
    journal.asked.push(path.to_owned());
    journal.at_once += 1;
    journal.most_at_once = journal.most_at_once.max(journal.at_once);
    shared.changed.notify_all();
    let waits = |journal: &mut Journal| journal.most_at_once < journal.together;
    let (mut journal, _) = shared
        .changed
        .wait_timeout_while(journal, PATIENCE, waits)
        .unwrap_or_else(PoisonError::into_inner);
    journal.instead.pop_front()
}

fn write(
    mut stream: TcpStream,
    status: u16,
    headers: &str,
    body: &str,
    shared: &Shared,
) -> std::io::Result<()> {
    // Before the answer is out: whoever has it may ask again at once.
    shared.journal().at_once -= 1;
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(text.as_bytes())
}

fn answer(path: &str, key: &str) -> (u16, Value) {
    if key != KEY {
        return (401, json!({ "error": "who are you?" }));
    }
    if let Some(ids) = path.strip_prefix("/customers?ids=") {
        let known: Vec<Value> = ids.split(',').filter_map(customer).collect();
        return (200, json!({ "data": known }));
    }
    let one = path.strip_prefix("/customers/").and_then(customer);
    one.map_or_else(
        || (404, json!({ "error": "nobody" })),
        |customer| (200, customer),
    )
}

fn customer(id: &str) -> Option<Value> {
    if id == "huge" {
        return Some(json!({ "id": id, "name": "x".repeat(HUGE) }));
    }
    let number: u32 = id.strip_prefix('c')?.parse().ok()?;
    Some(
        json!({ "id": id, "name": format!("Größe {number}"), "segment": number % 2, "secret": "s" }),
    )
}
