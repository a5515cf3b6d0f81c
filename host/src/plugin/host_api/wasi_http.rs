//! `wasi:http`: requests with streaming bodies, for guests whose language speaks it. They go where granted URLs lead,
//! through the host's own client; wasmtime's is never used.

use std::{io, sync::Arc};

use futures_util::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, StreamBody};
use wasmtime::component::Linker;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody,
    WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use super::{
    super::state::{Scope, State},
    http_client::{HttpError, HttpStreamRequest, HttpStreamResponse},
};

/// What an answer is made of.
type Answer = (
    http::Response<WasiBody>,
    Box<dyn Future<Output = Result<(), Error>> + Send>,
);

/// Sends the requests of one instance.
pub(in crate::plugin) struct Hooks(pub(in crate::plugin) Arc<Scope>);

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.http_view()
    }
}

/// Links `wasi:http/types` and `wasi:http/outgoing-handler`. There is nothing to import that takes requests in.
pub(in crate::plugin) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

/// Headers that frame the message: a guest that sets them could smuggle a second request.
fn frames(name: &http::HeaderName) -> bool {
    DEFAULT_FORBIDDEN_HEADERS.contains(name)
        || name.as_str().starts_with("proxy-")
        || matches!(name.as_str(), "te" | "trailer" | "expect")
}

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(frames)
    }

    /// The client sets it, from the URL that was checked.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answer, Error>> + Send> {
        let scope = Arc::clone(&self.0);
        Box::new(async move { send(&scope, request, options).await })
    }
}

async fn send(
    scope: &Scope,
    request: http::Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<Answer, Error> {
    let (parts, body) = request.into_parts();
    let (method, url) = (parts.method.as_str().to_owned(), parts.uri.to_string());
    scope.admit_url(&method, &url).map_err(told)?;
    let length = parts.headers.get(http::header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let headers = parts
        .headers
        .iter()
        .filter(|(name, _)| **name != http::header::CONTENT_LENGTH && !frames(name))
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    let body = (!http_body::Body::is_end_stream(&body)).then(|| {
        let pieces = body
            .into_data_stream()
            .map_err(|error| io::Error::other(error.to_string()));
        (pieces.boxed(), length)
    });
    let outcome = scope
        .http
        .stream(HttpStreamRequest {
            method,
            url: url.clone(),
            headers,
            body,
            timeout: options.and_then(|options| options.first_byte_timeout),
        })
        .await;
    let HttpStreamResponse {
        status,
        headers,
        body,
    } = outcome.map_err(|error| {
        if let HttpError::Denied(_) = &error {
            scope.denied("url", &url);
        }
        told(error)
    })?;
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let body = StreamBody::new(
        body.map_ok(http_body::Frame::data)
            .map_err(|error| Error::InternalError(Some(error.to_string()))),
    );
    let response = response
        .body(BodyExt::boxed_unsync(body))
        .map_err(|error| Error::InternalError(Some(error.to_string())))?;
    Ok((response, Box::new(std::future::ready(Ok(())))))
}

/// The nearest error of `wasi:http`; its cases carry words only in `internal-error`.
fn told(error: HttpError) -> Error {
    match error {
        HttpError::Denied(_) => Error::HttpRequestDenied,
        HttpError::TooLarge(_) => Error::HttpResponseBodySize(None),
        HttpError::Invalid(text)
        | HttpError::Unauthenticated(text)
        | HttpError::Unreachable(text) => Error::InternalError(Some(text)),
    }
}
