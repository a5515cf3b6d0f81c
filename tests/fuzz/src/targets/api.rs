//! The admin API: a whole daemon without a socket.

use std::{fs, path::Path, sync::OnceLock, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, Uri},
};
use crossdock::{
    api::{self, Token},
    app::{Daemon, ServeOptions},
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower_service::Service as _;

const TOKEN: &str = "the token of the daemon";
/// Every question is answered by then, except those that ask to wait.
const ANSWERED: Duration = Duration::from_secs(20);
/// Answers are no longer than this.
const LONGEST: usize = 16 << 20;

/// A daemon with a flow whose plugins are not there: everything about it can be asked, and nothing moves.
struct Served {
    runtime: Runtime,
    router: Router,
    _project: TempDir,
}

fn serve() -> Result<Served, Box<dyn std::error::Error>> {
    let project = TempDir::new()?;
    fs::create_dir_all(project.path().join("flows"))?;
    let flow = "flow: f\nsource: { plugin: nowhere }\nsinks: [{ plugin: nowhere, name: out }]\n";
    fs::write(project.path().join("flows/f.yaml"), flow)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let folder: &Path = project.path();
    let daemon = runtime.block_on(async {
        Daemon::start(ServeOptions {
            project: folder.to_owned(),
            state: None,
            plugin_dirs: Vec::new(),
            variables: std::collections::BTreeMap::new(),
            watch: false,
            drain: Duration::from_secs(1),
            actor: "fuzz".to_owned(),
        })
    })?;
    let router = api::router(daemon, Token::chosen(TOKEN)?);
    Ok(Served {
        runtime,
        router,
        _project: project,
    })
}

/// First line: method and path with query; the rest is the body. Whatever it is, there is an answer that is not the
/// host's fault, and one that says why it is none is JSON.
pub(super) fn request(input: &[u8]) {
    static SERVED: OnceLock<Option<Served>> = OnceLock::new();
    let served = SERVED.get_or_init(|| serve().ok()).as_ref();
    let served = served.unwrap_or_else(|| unreachable!("a daemon of an own folder starts"));
    let (line, body) = match input.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, &b""[..]),
    };
    let line = String::from_utf8_lossy(line);
    let (method, path) = line.split_once(' ').unwrap_or(("GET", &line));
    let Ok(uri) = format!("/api/v1/{path}").parse::<Uri>() else {
        return;
    };
    let waits = uri.query().is_some_and(|query| query.contains("wait"));
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_vec()));
    let Ok(request) = request else { return };
    let patience = if waits {
        Duration::from_millis(20)
    } else {
        ANSWERED
    };
    let mut router = served.router.clone();
    let answered = served.runtime.block_on(async move {
        tokio::time::timeout(patience, async move {
            let Ok(response) = router.call(request).await;
            let status = response.status();
            (status, to_bytes(response.into_body(), LONGEST).await)
        })
        .await
    });
    let Ok((status, body)) = answered else {
        assert!(waits, "no answer");
        return;
    };
    let body = body.unwrap_or_default();
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{body:?}");
    if status.is_client_error() {
        let problem = serde_json::from_slice::<serde_json::Value>(&body);
        let says = problem.is_ok_and(|problem| problem["error"].is_string());
        assert!(
            says || method == "HEAD",
            "{status} without a reason: {body:?}"
        );
    }
    assert!(
        !String::from_utf8_lossy(&body).contains(TOKEN),
        "the token is told"
    );
}
