//! The admin API: JSON over HTTP under `/api/v1`, for the command line, for consoles and for scripts.
//!
//! It listens on a loopback address only. Every request but `health` and the API's own description carries the daemon's
//! token (`authorization: Bearer …`); a page in a browser that guesses the port gets nothing. The description of the API
//! (`/api/v1/openapi.json`) is made from the handlers themselves.

mod access;
pub mod client;
mod dead_letters;
mod flows;
mod listen;
mod metrics;
mod problem;
mod swaps;
#[cfg(test)]
mod tests;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use axum::{Json, Router, extract::DefaultBodyLimit, middleware, routing::get};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use access::Bearer;
pub use access::Token;
pub use dead_letters::Choice;
use problem::Problem;

use crate::app::Daemon;

/// A payload of a dead letter fits, a flood does not.
const MAX_BODY: usize = 32 << 20;
/// Where a running daemon is written down, in the state folder.
const ENDPOINT: &str = "daemon.json";

/// The whole API, as its description says it.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "crossdock",
        description = "Flows, swaps and dead letters of a running crossdock",
        license(name = "Apache-2.0")
    ),
    modifiers(&Bearer)
)]
struct Description;

/// Where a running daemon is reached. Readable for the user of the daemon only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Endpoint {
    /// `http://127.0.0.1:7070`
    pub url: String,
    /// What requests carry.
    pub token: String,
    /// The daemon's process.
    pub pid: u32,
    /// Its version.
    pub version: String,
}

impl Endpoint {
    /// That of the daemon of a state folder, if one has written it down. It may be gone by now. Blocks.
    pub fn read(state: &Path) -> Option<Self> {
        let text = std::fs::read(state.join(ENDPOINT)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes it down. Blocks.
    fn write(&self, state: &Path) -> io::Result<PathBuf> {
        let path = state.join(ENDPOINT);
        // Temporary files are made for their owner only.
        let mut new = tempfile::NamedTempFile::new_in(state)?;
        new.write_all(&serde_json::to_vec_pretty(self)?)?;
        new.persist(&path).map_err(|error| error.error)?;
        Ok(path)
    }
}

/// A bound API that is ready to serve.
pub struct Api {
    listener: TcpListener,
    router: Router,
    /// Where it is written down.
    file: PathBuf,
    /// Where it is.
    pub url: String,
}

impl Api {
    /// Binds the address and writes down where the API is.
    ///
    /// # Errors
    /// The address is taken, or the state folder cannot be written.
    pub async fn bind(daemon: Daemon, address: SocketAddr, token: Token) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let endpoint = Endpoint {
            url: url.clone(),
            token: token.expose().to_owned(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let state = daemon.state_dir().to_owned();
        let file = tokio::task::spawn_blocking(move || endpoint.write(&state))
            .await
            .map_err(io::Error::other)??;
        Ok(Self {
            listener,
            router: router(daemon, token),
            file,
            url,
        })
    }

    /// Serves until `stop` is ready; then the open answers are finished.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let bounds = listen::Bounds::default();
        let served = listen::serve(self.listener, self.router, bounds, stop).await;
        // Whoever finds it later sees that nobody answers.
        drop(tokio::fs::remove_file(&self.file).await);
        served
    }
}

fn open_api(daemon: Daemon) -> (Router, utoipa::openapi::OpenApi) {
    let v1 = OpenApiRouter::new()
        .merge(flows::router())
        .merge(swaps::router())
        .merge(dead_letters::router())
        .merge(metrics::router());
    OpenApiRouter::with_openapi(Description::openapi())
        .nest("/api/v1", v1)
        .with_state(daemon)
        .split_for_parts()
}

/// The API as a service, without a socket.
pub fn router(daemon: Daemon, token: Token) -> Router {
    let (guarded, description) = open_api(daemon.clone());
    let doorkeeper = (token, daemon.clone());
    let (open, _) = OpenApiRouter::<Daemon>::new()
        .nest("/api/v1", OpenApiRouter::new().routes(routes!(health)))
        .with_state(daemon)
        .split_for_parts();
    guarded
        .fallback(|| async {
            Problem::missing("there is nothing here; /api/v1/openapi.json says what there is")
        })
        .layer(middleware::from_fn_with_state(doorkeeper, access::check))
        .route(
            "/api/v1/openapi.json",
            get(|| async move { Json(description) }),
        )
        .merge(open)
        .layer(middleware::map_response(problem::as_json))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

/// The API's description, as `/api/v1/openapi.json` gives it.
pub fn description() -> serde_json::Value {
    let v1 = OpenApiRouter::<Daemon>::new()
        .merge(flows::router())
        .merge(swaps::router())
        .merge(dead_letters::router())
        .merge(metrics::router());
    let (_, description) = OpenApiRouter::with_openapi(Description::openapi())
        .nest("/api/v1", v1)
        .split_for_parts();
    serde_json::to_value(description).unwrap_or_default()
}

/// Says that the daemon is there.
#[utoipa::path(get, path = "/health", responses((status = 200, description = "It is there")), security(()))]
async fn health() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "ok": true, "version": env!("CARGO_PKG_VERSION") }))
}
