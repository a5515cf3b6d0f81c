//! The network of one stage: the connections of its flow, and the URLs that it was granted itself.

use std::sync::Arc;

use async_trait::async_trait;

use super::shadow::Recorder;
use crate::{
    connection::{
        Connections, Direct, Request, Response, SendError, StreamRequest, StreamResponse,
    },
    plugin::{
        HttpError, HttpRequest, HttpResponse, HttpSend, HttpStreamRequest, HttpStreamResponse,
    },
};

/// Sends what a stage asks for.
pub(super) struct StageHttp {
    pub(super) connections: Arc<Connections>,
    /// `None`: no URL is granted.
    pub(super) direct: Option<Direct>,
    /// Keeps what is answered for a candidate in the shadow.
    pub(super) recorder: Arc<Recorder>,
}

impl StageHttp {
    fn direct(&self) -> Result<&Direct, HttpError> {
        let denied = || HttpError::Denied("no URL is granted to this stage".to_owned());
        self.direct.as_ref().ok_or_else(denied)
    }

    async fn ask(&self, connection: &str, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request = Request {
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body.into(),
            timeout: request.timeout,
            budget: request.budget,
        };
        let outcome = match connection {
            "" => self.direct()?.send(request).await,
            name => self.connections.send(name, request).await,
        };
        let Response {
            status,
            headers,
            body,
        } = outcome.map_err(told)?;
        Ok(HttpResponse {
            status,
            headers,
            body: body.into(),
        })
    }
}

#[async_trait]
impl HttpSend for StageHttp {
    async fn send(
        &self,
        connection: &str,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        let key = self.recorder.key(connection, &request);
        let answer = self.ask(connection, request).await;
        self.recorder.keep(key, &answer);
        answer
    }

    async fn stream(&self, request: HttpStreamRequest) -> Result<HttpStreamResponse, HttpError> {
        let HttpStreamRequest {
            method,
            url,
            headers,
            body,
            timeout,
        } = request;
        let request = StreamRequest {
            method,
            url,
            headers,
            body,
            timeout,
        };
        let StreamResponse {
            status,
            headers,
            body,
        } = self.direct()?.stream(request).await.map_err(told)?;
        Ok(HttpStreamResponse {
            status,
            headers,
            body,
        })
    }

    fn concurrency(&self, _connection: &str) -> usize {
        // The connection itself bounds how many are under way; more than its places would only wait there.
        64
    }
}

fn told(error: SendError) -> HttpError {
    match error {
        SendError::Denied(text) => HttpError::Denied(text),
        SendError::Invalid(text) => HttpError::Invalid(text),
        SendError::Unauthenticated(text) => HttpError::Unauthenticated(text),
        SendError::Unreachable(text) => HttpError::Unreachable(text),
        SendError::TooLarge(text) => HttpError::TooLarge(text),
    }
}
