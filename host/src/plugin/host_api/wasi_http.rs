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
    super::{
        open,
        state::{Scope, State},
        tape::{Answered, Asked, Blob, Given, Import, Tape},
    },
    http_client::{HttpBody, HttpError, HttpResponse, HttpStreamRequest, HttpStreamResponse},
    outgoing,
};

/// Bytes of a body that is recorded.
const RECORDED_BYTES: usize = 16 << 20;

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
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    outgoing::link(linker)
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

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        outgoing::PIECE
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
    let place = scope.open.stay();
    let place = place.ok_or_else(|| told(HttpError::Unreachable(open::TOO_MANY.to_owned())))?;
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
    let request = HttpStreamRequest {
        method,
        url: url.clone(),
        headers,
        body,
        timeout: options.and_then(|options| options.first_byte_timeout),
    };
    let outcome = match &scope.recording {
        None => scope.http.stream(request).await,
        Some(recording) => taped(scope, recording.tape.as_ref(), request).await,
    };
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
    let pieces = body.map(move |piece| {
        // The request is open as long as its body is there.
        let _open = &place;
        piece
            .map(http_body::Frame::data)
            .map_err(|error| Error::InternalError(Some(error.to_string())))
    });
    let body = StreamBody::new(pieces);
    let response = response
        .body(BodyExt::boxed_unsync(body))
        .map_err(|error| Error::InternalError(Some(error.to_string())))?;
    Ok((response, Box::new(std::future::ready(Ok(())))))
}

/// The same with a recording, where bodies are whole.
async fn taped(
    scope: &Scope,
    tape: &dyn Tape,
    request: HttpStreamRequest,
) -> Result<HttpStreamResponse, HttpError> {
    let text = |(name, value): &(String, Vec<u8>)| {
        (name.clone(), String::from_utf8_lossy(value).into_owned())
    };
    let bytes = match request.body {
        Some((body, _)) => whole(body).await?,
        None => Vec::new(),
    };
    let call = Import::Handle {
        request: Asked {
            connection: String::new(),
            method: request.method.clone(),
            url: request.url.clone(),
            headers: request.headers.iter().map(text).collect(),
            body: Blob(bytes.clone()),
        },
    };
    if let Some(known) = tape.answer(&call) {
        return streamed(known.answer());
    }
    let length = bytes.len() as u64;
    let body: HttpBody = futures_util::stream::iter([Ok(bytes.into())]).boxed();
    let sent = scope.http.stream(HttpStreamRequest {
        body: (length > 0).then_some((body, Some(length))),
        ..request
    });
    let outcome = match sent.await {
        Ok(response) => match whole(response.body).await {
            Ok(body) => Ok(HttpResponse {
                status: response.status,
                // The length of what came, not of what is recorded without its secrets.
                headers: response
                    .headers
                    .iter()
                    .filter(|(name, _)| name != "content-length")
                    .map(text)
                    .collect(),
                body,
            }),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    streamed(
        tape.note(call, Given::Answers(vec![Answered::from(outcome)]))
            .answer(),
    )
}

/// A body as far as a recording takes it.
async fn whole(mut body: HttpBody) -> Result<Vec<u8>, HttpError> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| HttpError::Unreachable(error.to_string()))?;
        bytes.extend_from_slice(&piece);
        if bytes.len() > RECORDED_BYTES {
            return Err(HttpError::TooLarge(format!(
                "a body above {} MiB is not recorded",
                RECORDED_BYTES >> 20
            )));
        }
    }
    Ok(bytes)
}

fn streamed(answered: Answered) -> Result<HttpStreamResponse, HttpError> {
    let response: Result<HttpResponse, HttpError> = answered.into();
    let HttpResponse {
        status,
        headers,
        body,
    } = response?;
    Ok(HttpStreamResponse {
        status,
        headers: headers
            .into_iter()
            .map(|(name, value)| (name, value.into_bytes()))
            .collect(),
        body: futures_util::stream::iter([Ok(body.into())]).boxed(),
    })
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
