//! Why a request is not answered as asked.

use axum::{
    Json,
    body::to_bytes,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::{AppError, DaemonError},
    flow::Finding,
};

/// What is wrong with a request is said in fewer bytes.
const MOST_SAID: usize = 64 << 10;

/// The body of every answer that is no success.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Problem {
    #[serde(skip)]
    status: u16,
    /// One sentence, and what to do.
    pub error: String,
    /// What is wrong at which place of which file.
    #[serde(default)]
    pub findings: Vec<Finding>,
}

impl Problem {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self {
            status: status.as_u16(),
            error: error.into(),
            findings: Vec::new(),
        }
    }

    pub(super) fn missing(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    pub(super) fn invalid(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "send the daemon's token: `authorization: Bearer TOKEN`; it is in daemon.json in the state folder",
        )
    }
}

/// What axum itself answers to a body, a query or a path that it cannot read is a text: every problem has the same form.
pub(super) async fn as_json(response: Response) -> Response {
    let status = response.status();
    let is_json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let said = to_bytes(response.into_body(), MOST_SAID).await;
    let said = said.unwrap_or_default();
    let reason = status.canonical_reason().unwrap_or("it cannot be answered");
    let error = match String::from_utf8_lossy(&said).trim() {
        "" => reason.to_lowercase(),
        text => text.to_owned(),
    };
    Problem::new(status, error).into_response()
}

impl From<DaemonError> for Problem {
    fn from(error: DaemonError) -> Self {
        let text = error.to_string();
        match error {
            DaemonError::Missing(_) => Self::missing(text),
            DaemonError::Conflict(_) => Self::new(StatusCode::CONFLICT, text),
            DaemonError::Invalid(_, findings) => Self {
                findings,
                ..Self::invalid(text)
            },
            DaemonError::App(error) => error.into(),
            DaemonError::Ending => Self::new(StatusCode::SERVICE_UNAVAILABLE, text),
        }
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        let findings = error.findings().to_vec();
        let status = match error.exit_code() {
            2 => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            findings,
            ..Self::new(status, error.to_string())
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self)).into_response()
    }
}
