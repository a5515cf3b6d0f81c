//! `/api/v1/swaps`.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{flows::ACTOR, problem::Problem};
use crate::app::{Daemon, SwapOptions, SwapView};

/// The longest that an answer waits for the end of a swap.
const LONGEST_WAIT_MS: u64 = 30_000;

pub(super) fn router() -> OpenApiRouter<Daemon> {
    OpenApiRouter::new()
        .routes(routes!(begin))
        .routes(routes!(roll_back))
        .routes(routes!(list))
        .routes(routes!(status, cancel))
}

/// Put another version, or another config, in the place of a stage. Answers at once; ask the swap how it goes.
#[utoipa::path(
    post, path = "/flows/{flow}/swaps", params(("flow" = String, Path)), request_body = SwapOptions,
    responses(
        (status = 202, body = SwapView), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem)
    )
)]
async fn begin(
    State(daemon): State<Daemon>,
    Path(flow): Path<String>,
    Json(options): Json<SwapOptions>,
) -> Result<(StatusCode, Json<SwapView>), Problem> {
    let is_share = |share: f64| (0.0..=1.0).contains(&share);
    if !is_share(options.max_fault_share) || !options.max_difference.is_none_or(is_share) {
        return Err(Problem::invalid("a share is a number between 0 and 1"));
    }
    if options.plugin.is_none() && options.config.is_none() {
        return Err(Problem::invalid(
            "a swap needs another plugin, another config, or both",
        ));
    }
    let view = daemon.swap(&flow, options, ACTOR).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Which stage goes back.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Rollback {
    /// The stage.
    stage: String,
    /// Also when the last change of the stage was a rollback, which this undoes.
    #[serde(default)]
    again: bool,
}

/// Put the version before back in the place of a stage: a swap as well.
#[utoipa::path(
    post, path = "/flows/{flow}/rollback", params(("flow" = String, Path)), request_body = Rollback,
    responses((status = 202, body = SwapView), (status = 404, body = Problem), (status = 409, body = Problem))
)]
async fn roll_back(
    State(daemon): State<Daemon>,
    Path(flow): Path<String>,
    Json(Rollback { stage, again }): Json<Rollback>,
) -> Result<(StatusCode, Json<SwapView>), Problem> {
    let view = daemon.rollback(&flow, &stage, again, ACTOR).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// The swaps since the daemon started, oldest first.
#[utoipa::path(get, path = "/swaps", responses((status = 200, body = Vec<SwapView>)))]
async fn list(State(daemon): State<Daemon>) -> Json<Vec<SwapView>> {
    Json(daemon.swaps())
}

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Wait {
    /// Answer when the swap is over, but after this many milliseconds, and 30,000, at most.
    #[serde(default)]
    wait_ms: u64,
}

/// One swap.
#[utoipa::path(
    get, path = "/swaps/{id}", params(("id" = u64, Path), Wait),
    responses((status = 200, body = SwapView), (status = 404, body = Problem))
)]
async fn status(
    State(daemon): State<Daemon>,
    Path(id): Path<u64>,
    Query(Wait { wait_ms }): Query<Wait>,
) -> Result<Json<SwapView>, Problem> {
    let longest = Duration::from_millis(wait_ms.min(LONGEST_WAIT_MS));
    Ok(Json(daemon.wait_for_swap(id, longest).await?))
}

/// Call a swap off: the old version stays, or comes back.
#[utoipa::path(
    delete, path = "/swaps/{id}", params(("id" = u64, Path)),
    responses((status = 200, body = SwapView), (status = 404, body = Problem), (status = 409, body = Problem))
)]
async fn cancel(
    State(daemon): State<Daemon>,
    Path(id): Path<u64>,
) -> Result<Json<SwapView>, Problem> {
    Ok(Json(daemon.cancel_swap(id, ACTOR)?))
}
