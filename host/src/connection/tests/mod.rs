//! Connections against real servers on this machine.

mod auth;
mod coding;
mod direct;
mod load;
mod repeat;
mod send;
mod tls;
mod tokens;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::Router;
use tokio::net::TcpListener;

use super::{
    ConnectionError, Connections, Request, Response, Secrets, SendError, secrets::KeySource,
};
use crate::flow::Variables;

/// What no error, log line or `Debug` text may show.
const SECRET: &str = "hunter2-geheim";

/// Serves until the test ends.
async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// The connections of one file, `pim.yaml`.
fn load(yaml: &str) -> Result<Connections, ConnectionError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pim.yaml"), yaml).unwrap();
    Connections::load(folder.path(), &Variables::default(), &no_secrets())
}

/// There is no secret store.
fn no_secrets() -> Secrets {
    Secrets::new("nowhere/secrets.sealed".into(), KeySource::None)
}

/// A connection `pim` to a server of the test, with quick retries and `more` lines.
fn connect(address: SocketAddr, more: &str) -> Connections {
    let retry = if more.contains("retry:") {
        ""
    } else {
        "retry: { initial: 1ms, max: 2ms, attempts: 4 }\n"
    };
    load(&format!(
        "connection: pim\nbase-url: http://{address}\nallow-private: true\n{retry}{more}"
    ))
    .unwrap()
}

fn request(method: &str, url: &str) -> Request {
    Request {
        method: method.into(),
        url: url.into(),
        ..Request::default()
    }
}

/// Sends over `pim`, and checks that whatever comes shows no secret.
async fn send(connections: &Connections, request: Request) -> Result<Response, SendError> {
    let outcome = connections.send("pim", request).await;
    if let Err(error) = &outcome {
        assert_discreet(&format!("{error} {error:?}"));
    }
    assert_discreet(&format!("{connections:?} {:?}", connections.get("pim")));
    outcome
}

async fn get(connections: &Connections, url: &str) -> Result<Response, SendError> {
    send(connections, request("GET", url)).await
}

// Invariant 7: no secret is seen.
fn assert_discreet(text: &str) {
    assert!(!text.contains("hunter2"), "{text}");
    assert!(!text.contains("aHVudGVyMi"), "base64 of the secret: {text}");
}

fn text(response: &Response) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}

#[test]
fn a_request_may_move_between_threads() {
    fn check<T: Send>(_: T) {}
    let connections = Connections::default();
    check(connections.send("pim", request("GET", "/")));
}

/// A number that servers count with.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    /// Counts and returns which one it is, from 1.
    fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}
