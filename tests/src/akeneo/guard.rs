//! What happens to every request before and after its route: the journal, faults, limits, the token.

use std::collections::VecDeque;
use std::future::IntoFuture;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use tokio::sync::oneshot;

use super::error::ApiError;
use super::fault::{self, FaultKind};
use super::query::Query;
use super::routes::routes;
use super::{App, REST_PATH};

/// Larger bodies are not read: 100 lines of 1,000,000 characters and their line ends fit.
const LARGEST_BODY: usize = 101_000_000;

/// A server that is ready to run.
pub(super) struct Server {
    runtime: tokio::runtime::Runtime,
    listener: tokio::net::TcpListener,
    router: axum::Router,
}

impl Server {
    pub(super) fn prepare(listener: TcpListener, app: Arc<App>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let router = routes()
            .layer(from_fn_with_state(Arc::clone(&app), guard))
            .layer(axum::extract::DefaultBodyLimit::max(LARGEST_BODY))
            .with_state(app);
        Ok(Self {
            runtime,
            listener,
            router,
        })
    }

    /// Serves until `stopped` is dropped or sent to.
    pub(super) fn serve(self, stopped: oneshot::Receiver<()>) {
        // Without it each answer of more than a packet waits for the client's delayed acknowledgement.
        let listener = self
            .listener
            .tap_io(|stream| drop(stream.set_nodelay(true)));
        self.runtime.block_on(async {
            tokio::select! {
                // Accept errors are retried inside: this future never ends.
                _ = axum::serve(listener, self.router).into_future() => {}
                _ = stopped => {}
            }
        });
        // Answers that are still being sent are cut off, as when a server dies.
        self.runtime.shutdown_timeout(Duration::from_millis(200));
    }
}

async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (running, count) = app.journal.begin();
    let method = request.method().to_string();
    let path = request.uri().path().to_owned();
    let query = Query::parse(request.uri().query()).0;
    let fault = app.plan.take(&path);
    let refused = before(&app, &path, count, fault.as_ref(), request.headers());
    let response = if let Err(error) = refused {
        error.into_response()
    } else {
        if let Some(FaultKind::Slow(time)) = &fault {
            tokio::time::sleep(*time).await;
        }
        after(&app, fault, next.run(request).await).await
    };
    app.journal.add(fault::Request {
        method,
        path,
        query,
        status: response.status().as_u16(),
    });
    drop(running);
    response
}

/// Everything that can refuse a request.
fn before(
    app: &App,
    path: &str,
    running: usize,
    fault: Option<&FaultKind>,
    headers: &axum::http::HeaderMap,
) -> Result<(), ApiError> {
    match fault {
        Some(FaultKind::RetryAfter(seconds)) => return Err(ApiError::too_many(Some(*seconds))),
        Some(FaultKind::Status(429)) => return Err(ApiError::too_many(None)),
        Some(FaultKind::Status(status)) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return Err(ApiError::new(
                status,
                status.canonical_reason().unwrap_or("Error"),
            ));
        }
        _ => {}
    }
    let Some(rest) = path.strip_prefix(REST_PATH) else {
        return Ok(());
    };
    if app.limits.concurrent.is_some_and(|most| running > most) {
        return Err(ApiError::too_many(app.limits.retry_after));
    }
    if app
        .limits
        .per_second
        .is_some_and(|most| !app.rate.allows(most))
    {
        return Err(ApiError::too_many(app.limits.retry_after));
    }
    if rest.trim_matches('/').is_empty() {
        // The list of endpoints is open to all.
        return Ok(());
    }
    app.tokens.check(headers)?;
    let collection = rest
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default();
    let collection = if collection == "products-uuid" {
        "products"
    } else {
        collection
    };
    if app.forbidden.iter().any(|kind| kind.path() == collection) {
        let message = format!(
            "Access forbidden. You are not allowed to list {}.",
            collection.replace('-', " ")
        );
        return Err(ApiError::new(StatusCode::FORBIDDEN, message));
    }
    Ok(())
}

/// What a fault does to a good answer.
async fn after(app: &App, fault: Option<FaultKind>, response: Response) -> Response {
    match fault {
        Some(FaultKind::Drop) => {
            let (mut parts, body) = response.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
            let half = body.slice(..body.len() / 2);
            parts
                .headers
                .insert(header::CONTENT_LENGTH, body.len().into());
            let broken = [Ok(half), Err(io::Error::other("dropped on purpose"))];
            Response::from_parts(parts, Body::from_stream(futures_util::stream::iter(broken)))
        }
        Some(FaultKind::Truncate) => {
            let (mut parts, body) = response.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
            let half = body.slice(..body.len() / 2);
            parts
                .headers
                .insert(header::CONTENT_LENGTH, half.len().into());
            Response::from_parts(parts, Body::from(half))
        }
        Some(FaultKind::Change(kind, item)) => match app.change(kind, &item) {
            Ok(_) => response,
            // A change that a test planned wrongly must not pass unseen.
            Err(reason) => {
                let message = format!("The planned change is wrong: {reason}");
                ApiError::new(StatusCode::NOT_IMPLEMENTED, message).into_response()
            }
        },
        _ => response,
    }
}

/// The calls of the last second.
#[derive(Default)]
pub(super) struct Rate(Mutex<VecDeque<Instant>>);

impl Rate {
    /// Counts a call in, unless `most` calls came within the last second.
    fn allows(&self, most: usize) -> bool {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while calls
            .front()
            .is_some_and(|first| now.duration_since(*first) >= Duration::from_secs(1))
        {
            calls.pop_front();
        }
        let allowed = calls.len() < most;
        if allowed {
            calls.push_back(now);
        }
        allowed
    }
}
