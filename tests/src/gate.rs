//! A gate that a running flow comes to, and at which a test holds it: the way to act in the middle of a run without
//! ever sleeping.
//!
//! The plugin `puppet` asks a gate on the records that its config names, with the act `gate`.

#![allow(
    clippy::panic,
    clippy::expect_used,
    reason = "a helper of tests fails the test"
)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use crate::host::{PATIENCE, Running, TestHost};

/// An HTTP server that answers nobody before the test says so.
pub struct Gate {
    port: u16,
    open: Arc<AtomicBool>,
    arrivals: mpsc::Receiver<Arrival>,
}

/// Somebody who waits at the gate.
pub struct Arrival {
    /// The path that was asked for.
    pub path: String,
    connection: TcpStream,
}

impl Arrival {
    /// Lets it go on. It does not matter when it is gone.
    pub fn pass(mut self) {
        // Who was killed at the gate takes no answer.
        drop(
            self.connection
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"),
        );
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (sender, arrivals) = mpsc::channel();
        let open = Arc::new(AtomicBool::new(false));
        let everybody = Arc::clone(&open);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let Some(path) = read(&connection) else {
                    continue;
                };
                let arrival = Arrival { path, connection };
                if everybody.load(Ordering::SeqCst) {
                    arrival.pass();
                } else if sender.send(arrival).is_err() {
                    return;
                }
            }
        });
        Self {
            port,
            open,
            arrivals,
        }
    }

    /// Writes the connection `gate` into a project.
    pub fn connect(&self, host: &TestHost) {
        host.write(
            "connections/gate.yaml",
            format!(
                "connection: gate\nbase-url: http://127.0.0.1:{}\nallow-private: true\n\
                 limits: {{ timeout: 120s }}\nretry: {{ attempts: 1 }}\n",
                self.port
            ),
        );
    }

    /// Waits until this program is at the gate. Fails when the program ends instead.
    pub fn arrival(&self, of: &mut Running) -> Arrival {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.arrivals.recv_timeout(Duration::from_millis(50)) {
                Ok(arrival) => return arrival,
                Err(_) if Instant::now() < end => of.still_runs("came to the gate"),
                Err(e) => panic!("nobody came to the gate: {e}"),
            }
        }
    }

    /// Lets everybody pass from now on.
    pub fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
        while let Ok(arrival) = self.arrivals.try_recv() {
            arrival.pass();
        }
    }
}

/// The path of a request without a body, once its head is complete.
fn read(connection: &TcpStream) -> Option<String> {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let first = lines.next()?;
    lines.find(String::is_empty)?;
    first.split(' ').nth(1).map(str::to_owned)
}
