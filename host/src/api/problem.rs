//! Why a request is not answered as asked.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::{AppError, DaemonError},
    flow::Finding,
};

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
