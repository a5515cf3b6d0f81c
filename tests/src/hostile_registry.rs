//! A registry that does what none should: for tests of what comes of it. Raw, so that it can break off where it wants.

#![allow(clippy::expect_used, reason = "a helper of tests fails the test")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// Nothing: the plugin is there as it should be.
    Nothing,
    /// The component has other bytes than its digest says.
    TamperedBlob,
    /// The manifest has other bytes than the digest beside it says.
    TamperedManifest,
    /// Another version than the tag says.
    Retagged,
    /// No answer.
    Silent,
    /// The component comes to a halt halfway.
    Stalls,
    /// Every answer has this status.
    Status(u16),
    /// The first answers have this status, then all is well.
    Recovers(u16),
    /// Every component breaks off halfway.
    Truncated,
    /// It redirects to itself.
    Circles,
    /// It redirects to the metadata service of clouds, in plain.
    Redirects(&'static str),
    /// The manifest says that the component has ten gigabytes.
    HugeLayer,
    /// The manifest says that it is small, and it never ends.
    EndlessLayer,
    /// The manifest never ends.
    EndlessManifest,
    /// Two layers.
    TwoLayers,
    /// A layer that is no WebAssembly.
    OtherType,
    /// No JSON.
    Garbage,
}

/// The registry; its thread ends with the test.
pub struct HostileRegistry {
    host: String,
    requests: Arc<AtomicUsize>,
}

struct Content {
    wrong: Wrong,
    component: Vec<u8>,
    manifest: Vec<u8>,
    requests: Arc<AtomicUsize>,
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

impl HostileRegistry {
    /// Has `shop/NAME` with this component under the tag 9.0.0, and does this wrong.
    pub fn start(component: Vec<u8>, wrong: Wrong) -> Self {
        let layer = json!({
            "mediaType": if wrong == Wrong::OtherType { "application/zip" } else { "application/wasm" },
            "digest": digest(&component),
            "size": match wrong {
                Wrong::HugeLayer => 10_u64 << 30,
                _ => component.len() as u64,
            },
        });
        let count = if wrong == Wrong::TwoLayers { 2 } else { 1 };
        let layers = vec![layer; count];
        let manifest: Value = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "mediaType": "application/vnd.wasm.config.v0+json", "digest": digest(b"{}"), "size": 2 },
            "layers": layers,
        });
        let requests = Arc::new(AtomicUsize::new(0));
        let content = Arc::new(Content {
            wrong,
            component,
            manifest: manifest.to_string().into_bytes(),
            requests: Arc::clone(&requests),
        });
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let host = listener.local_addr().expect("it listens").to_string();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let content = Arc::clone(&content);
                // Who asks may go away in the middle.
                thread::spawn(move || drop(content.answer(stream)));
            }
        });
        Self { host, requests }
    }

    /// `oci://HOST/PATH`.
    pub fn reference(&self, path: &str) -> String {
        format!("oci://{}/{path}", self.host)
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Content {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        let path = first
            .split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        let count = self.requests.fetch_add(1, Ordering::SeqCst);
        let plain = |status: &str| format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
        match self.wrong {
            Wrong::Silent => {
                // Until who asks goes away.
                let _ = stream.read(&mut [0; 1])?;
                return Ok(());
            }
            Wrong::Status(status) => {
                return write!(
                    stream,
                    "{}Retry-After: 0\r\nContent-Length: 0\r\n\r\n",
                    plain(&format!("{status} No"))
                );
            }
            Wrong::Recovers(status) if count < 2 => {
                return write!(
                    stream,
                    "{}Retry-After: 0\r\nContent-Length: 0\r\n\r\n",
                    plain(&format!("{status} No"))
                );
            }
            Wrong::Circles => {
                return write!(
                    stream,
                    "{}Location: {path}\r\nContent-Length: 0\r\n\r\n",
                    plain("307 Again")
                );
            }
            Wrong::Redirects(to) => {
                return write!(
                    stream,
                    "{}Location: {to}\r\nContent-Length: 0\r\n\r\n",
                    plain("307 There")
                );
            }
            _ => {}
        }
        if path.contains("/tags/list") {
            return whole(
                &mut stream,
                br#"{"name":"x","tags":["9.0.0","sha256-00.sig"]}"#,
                "",
            );
        }
        if path.contains("/manifests/9.0.0") || path.contains("/manifests/sha256:") {
            return self.manifest(&mut stream);
        }
        if path.contains("/blobs/") {
            return self.blob(&mut stream);
        }
        write!(
            stream,
            "{}Content-Length: 0\r\n\r\n",
            plain("404 Not Found")
        )
    }

    fn manifest(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
        match self.wrong {
            Wrong::EndlessManifest => endless(stream, kind),
            Wrong::Garbage => whole(stream, b"<html>", kind),
            Wrong::TamperedManifest => {
                let digest = format!("{kind}Docker-Content-Digest: {}\r\n", digest(b"another"));
                whole(stream, &self.manifest, &digest)
            }
            _ => whole(stream, &self.manifest, kind),
        }
    }

    fn blob(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let component = &self.component;
        let half = component.get(..component.len() / 2).unwrap_or_default();
        let length = format!("Content-Length: {}\r\n", component.len());
        match self.wrong {
            Wrong::TamperedBlob => {
                let mut other = component.clone();
                if let Some(last) = other.last_mut() {
                    *last ^= 1;
                }
                whole(stream, &other, "")
            }
            Wrong::EndlessLayer => endless(stream, ""),
            Wrong::Truncated => {
                head(stream, &length)?;
                stream.write_all(half)
            }
            Wrong::Stalls => {
                head(stream, &length)?;
                stream.write_all(half)?;
                stream.flush()?;
                let _ = stream.read(&mut [0; 1])?;
                Ok(())
            }
            _ => whole(stream, component, ""),
        }
    }
}

fn head(stream: &mut TcpStream, more: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n{more}\r\n")
}

fn whole(stream: &mut TcpStream, body: &[u8], more: &str) -> std::io::Result<()> {
    head(stream, &format!("Content-Length: {}\r\n{more}", body.len()))?;
    stream.write_all(body)
}

/// Bytes until nobody wants any more.
fn endless(stream: &mut TcpStream, more: &str) -> std::io::Result<()> {
    head(stream, more)?;
    loop {
        stream.write_all(&[b' '; 8192])?;
    }
}
