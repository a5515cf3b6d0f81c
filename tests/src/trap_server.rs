//! A server that does what servers should not: it redirects inside, repeats what it was told, never ends, or sends a
//! little that becomes a lot.

#![allow(clippy::expect_used, reason = "a helper of tests fails the test")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};

/// Bytes that the gzip bomb becomes.
pub const BOMB: usize = 256 << 20;
/// Bytes that a smaller one becomes: it stays below what the host takes of one response.
pub const SMALL_BOMB: usize = 63 << 20;

/// What `/token` gives.
pub const TOKEN: &str = "trap-token-5512-ocelot";

/// The server; it ends with the test's process.
pub struct TrapServer {
    port: u16,
}

/// A port at which nobody should ever call.
pub struct Forbidden(TcpListener);

impl Forbidden {
    /// Listens.
    pub fn new() -> Self {
        Self::at(Ipv4Addr::LOCALHOST)
    }

    /// Listens at another address of this machine.
    pub fn at(address: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a port is free");
        listener
            .set_nonblocking(true)
            .expect("it can be asked without waiting");
        Self(listener)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("it is bound").port()
    }

    /// Whether somebody called since.
    pub fn was_called(&self) -> bool {
        self.0.accept().is_ok()
    }
}

impl Default for Forbidden {
    fn default() -> Self {
        Self::new()
    }
}

impl TrapServer {
    /// Starts it.
    pub fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        std::thread::spawn(move || {
            let bombs = Arc::new([bomb(BOMB), bomb(SMALL_BOMB)]);
            for stream in listener.incoming().flatten() {
                let bombs = Arc::clone(&bombs);
                // Who hangs up in the middle is what is tested.
                std::thread::spawn(move || drop(answer(stream, &bombs)));
            }
        });
        Self { port }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Default for TrapServer {
    fn default() -> Self {
        Self::new()
    }
}

fn bomb(size: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let zeroes = vec![0; 1 << 20];
    for _ in 0..size >> 20 {
        encoder.write_all(&zeroes).expect("memory takes it");
    }
    encoder.finish().expect("memory takes it")
}

fn answer(mut stream: TcpStream, [bomb, small_bomb]: &[Vec<u8>; 2]) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    for line in reader.by_ref().lines().map_while(Result::ok) {
        if line.is_empty() || line == "hello" {
            break;
        }
        head.push(line);
    }
    let target = head
        .first()
        .and_then(|line| line.split(' ').nth(1))
        .unwrap_or_default()
        .to_owned();
    let query = target
        .split_once('?')
        .map(|(_, query)| query.to_owned())
        .unwrap_or_default();
    let path = target
        .split('?')
        .next()
        .unwrap_or_default()
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let mut plain = |extra: &str, body: &[u8]| {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\n{extra}content-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)
    };
    match path {
        "echo" => plain("", head.join("\n").as_bytes()),
        "echo-header" => plain(
            &format!("x-seen: {}\r\n", head.join(" | ")),
            b"in the header",
        ),
        // Takes whoever asks, and gives the same token every time.
        "token" => {
            let length = head.iter().find_map(|line| {
                let (name, length) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| length.parse().ok())?
            });
            let body = length.unwrap_or(0);
            std::io::copy(&mut reader.take(body), &mut std::io::sink())?;
            let given = format!(r#"{{"access_token":"{TOKEN}","expires_in":3600}}"#);
            plain("content-type: application/json\r\n", given.as_bytes())
        }
        // A secret that cannot be seen, in what says that it is compressed.
        "echo-encoded" => {
            let turned: String = head.join("\n").chars().rev().collect();
            plain("content-encoding: br\r\n", turned.as_bytes())
        }
        // What stands last in a header that has several values.
        "echo-last" => {
            let last = |line: &String| line.rsplit(';').next().map(str::to_owned);
            let all: Vec<String> = head.iter().filter_map(last).collect();
            plain("", all.join("\n").as_bytes())
        }
        "bomb" => plain("content-encoding: gzip\r\n", bomb),
        "small-bomb" => plain("content-encoding: gzip\r\n", small_bomb),
        "many-headers" => plain(&"x-many: 1\r\n".repeat(20_000), b""),
        "two-lengths" => stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 9\r\n\r\nhello"),
        "redirect" => {
            let head = format!(
                "HTTP/1.1 302 Found\r\nlocation: {query}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes())
        }
        "slow-head" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx-more: ")?;
            loop {
                stream.write_all(b"x")?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        "slow-body" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")?;
            loop {
                stream.write_all(b"x")?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        "endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            let piece = format!("10000\r\n{}\r\n", "x".repeat(1 << 16));
            loop {
                stream.write_all(piece.as_bytes())?;
            }
        }
        _ => plain("", b"hello from outside"),
    }
}
