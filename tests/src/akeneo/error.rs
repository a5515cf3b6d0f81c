//! What the API says when it refuses: `{code, message}` and the forms of 422.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

const DOCUMENTATION: &str = "http://api.akeneo.com/documentation/";

/// An answer that is not 2xx.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    message: String,
    errors: Vec<Value>,
    documentation: Option<String>,
    retry_after: Option<u64>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            errors: vec![],
            documentation: None,
            retry_after: None,
        }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    pub(super) fn too_many(retry_after: Option<u64>) -> Self {
        Self {
            retry_after,
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests")
        }
    }

    /// A value that is not valid: 422 with `errors`.
    pub(super) fn invalid_value(
        attribute: &str,
        locale: &Value,
        scope: &Value,
        message: &str,
    ) -> Self {
        let error = json!({"property": "values", "message": message, "attribute": attribute, "locale": locale,
            "scope": scope});
        Self {
            errors: vec![error],
            ..Self::unprocessable("Validation failed.")
        }
    }

    /// A property that is not valid: 422 with `errors`.
    pub(super) fn invalid(property: &str, message: &str) -> Self {
        Self {
            errors: vec![json!({"property": property, "message": message})],
            ..Self::unprocessable("Validation failed.")
        }
    }

    /// Adds the link to a page of the documentation.
    pub(super) fn see(self, page: &str) -> Self {
        Self {
            documentation: Some(format!("{DOCUMENTATION}{page}")),
            ..self
        }
    }

    /// The fields of the answer, for a line of a collection.
    pub(super) fn fields(&self) -> Value {
        let mut fields = json!({"message": self.message});
        if !self.errors.is_empty() {
            fields["errors"] = json!(self.errors);
        }
        if let Some(page) = &self.documentation {
            fields["_links"] = json!({"documentation": {"href": page}});
        }
        fields
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = self.fields();
        body["code"] = json!(self.status.as_u16());
        let mut response = (self.status, axum::Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
