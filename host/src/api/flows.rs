//! `/api/v1/flows`, `/api/v1/audit`.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::problem::Problem;
use crate::app::{AuditFilter, Daemon, FlowState, FlowStatus};

/// The longest that an answer waits for a change.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Who asks, in the audit log: everybody who has the token is the operator.
pub(super) const ACTOR: &str = "api";

pub(super) fn router() -> OpenApiRouter<Daemon> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(status))
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(audit))
}

/// All flows of the project.
#[utoipa::path(get, path = "/flows", responses((status = 200, body = Vec<FlowStatus>)))]
async fn list(State(daemon): State<Daemon>) -> Json<Vec<FlowStatus>> {
    Json(daemon.flows())
}

/// What a flow is waited for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Wait {
    /// Answer as soon as the flow is in none of these states (comma-separated), but after 30 seconds at most.
    while_in: Option<String>,
}

/// One flow.
#[utoipa::path(
    get, path = "/flows/{flow}", params(("flow" = String, Path), Wait),
    responses((status = 200, body = FlowStatus), (status = 404, body = Problem))
)]
async fn status(
    State(daemon): State<Daemon>,
    Path(flow): Path<String>,
    Query(wait): Query<Wait>,
) -> Result<Json<FlowStatus>, Problem> {
    let mut watched = daemon.watch_flow(&flow)?;
    if let Some(states) = wait.while_in {
        let is_left = |status: &FlowStatus| {
            !states
                .split(',')
                .any(|state| state == status.state.as_str())
        };
        // Neither a flow that is gone nor a long wait is an error: the answer says how it is.
        drop(tokio::time::timeout(LONGEST_WAIT, watched.wait_for(is_left)).await);
    }
    let status = watched.borrow().clone();
    Ok(Json(status))
}

/// How a run is started.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Start {
    /// Forget the last checkpoint and read everything again.
    from_start: bool,
}

/// Start a run.
#[utoipa::path(
    post, path = "/flows/{flow}/start", params(("flow" = String, Path)), request_body = Option<Start>,
    responses(
        (status = 200, body = FlowStatus), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem)
    )
)]
async fn start(
    State(daemon): State<Daemon>,
    Path(flow): Path<String>,
    body: Option<Json<Start>>,
) -> Result<Json<FlowStatus>, Problem> {
    let Start { from_start } = body.map(|Json(body)| body).unwrap_or_default();
    daemon.start_flow(&flow, from_start, ACTOR).await?;
    Ok(Json(daemon.flow(&flow)?))
}

/// End the run in good order, and start none. Answers when it has ended, or after 30 seconds.
#[utoipa::path(
    post, path = "/flows/{flow}/stop", params(("flow" = String, Path)),
    responses((status = 200, body = FlowStatus), (status = 404, body = Problem))
)]
async fn stop(
    State(daemon): State<Daemon>,
    Path(flow): Path<String>,
) -> Result<Json<FlowStatus>, Problem> {
    daemon.stop_flow(&flow, ACTOR).await?;
    settled(&daemon, &flow, |status| !status.state.is_live()).await
}

/// Read nothing more; what was read is settled and checkpointed. Answers when it is, or after 30 seconds.
#[utoipa::path(
    post, path = "/flows/{flow}/pause", params(("flow" = String, Path)),
    responses((status = 200, body = FlowStatus), (status = 404, body = Problem), (status = 409, body = Problem))
)]
async fn pause(
    State(daemon): State<Daemon>,
    Path(flow): Path<String>,
) -> Result<Json<FlowStatus>, Problem> {
    daemon.pause_flow(&flow, ACTOR).await?;
    settled(&daemon, &flow, |status| {
        status.state == FlowState::Paused || !status.state.is_live()
    })
    .await
}

/// Read again.
#[utoipa::path(
    post, path = "/flows/{flow}/resume", params(("flow" = String, Path)),
    responses((status = 200, body = FlowStatus), (status = 404, body = Problem), (status = 409, body = Problem))
)]
async fn resume(
    State(daemon): State<Daemon>,
    Path(flow): Path<String>,
) -> Result<Json<FlowStatus>, Problem> {
    daemon.resume_flow(&flow, ACTOR).await?;
    settled(&daemon, &flow, |status| status.state != FlowState::Paused).await
}

async fn settled(
    daemon: &Daemon,
    flow: &str,
    is_settled: impl Fn(&FlowStatus) -> bool,
) -> Result<Json<FlowStatus>, Problem> {
    let mut watched = daemon.watch_flow(flow)?;
    drop(tokio::time::timeout(LONGEST_WAIT, watched.wait_for(|status| is_settled(status))).await);
    let status = watched.borrow().clone();
    Ok(Json(status))
}

/// Which entries are meant.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Asked {
    /// Only of this flow.
    flow: Option<String>,
    /// At most this many, the latest; 100 unless said otherwise.
    limit: Option<usize>,
}

/// What was done, by whom, and what was denied.
#[utoipa::path(
    get, path = "/audit", params(Asked),
    responses((status = 200, body = Vec<serde_json::Value>), (status = 422, body = Problem))
)]
async fn audit(
    State(daemon): State<Daemon>,
    Query(Asked { flow, limit }): Query<Asked>,
) -> Result<Json<serde_json::Value>, Problem> {
    let filter = AuditFilter {
        flow,
        limit: limit.unwrap_or(100),
        ..AuditFilter::default()
    };
    let page = daemon.audit(&filter)?;
    serde_json::to_value(page.entries)
        .map(Json)
        .map_err(|error| Problem::invalid(error.to_string()))
}
