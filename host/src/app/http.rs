//! The plugins' `http-client` over the host's connections.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    connection::{Connections, Request, SendError},
    plugin::{HttpError, HttpRequest, HttpResponse, HttpSend},
};

/// Sends what stages ask for through the connections of their flow.
pub(super) struct ConnectionHttp(pub(super) Arc<Connections>);

#[async_trait]
impl HttpSend for ConnectionHttp {
    async fn send(
        &self,
        connection: &str,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        let request = Request {
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body.into(),
            timeout: request.timeout,
        };
        match self.0.send(connection, request).await {
            Ok(response) => Ok(HttpResponse {
                status: response.status,
                headers: response.headers,
                body: response.body.into(),
            }),
            Err(SendError::Denied(text)) => Err(HttpError::Denied(text)),
            Err(SendError::Invalid(text)) => Err(HttpError::Invalid(text)),
            Err(SendError::Unauthenticated(text)) => Err(HttpError::Unauthenticated(text)),
            Err(SendError::Unreachable(text)) => Err(HttpError::Unreachable(text)),
            Err(SendError::TooLarge(text)) => Err(HttpError::TooLarge(text)),
        }
    }

    fn concurrency(&self, _connection: &str) -> usize {
        // The connection itself bounds how many are under way; more than its places would only wait there.
        64
    }
}
