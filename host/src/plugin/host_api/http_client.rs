//! `http-client`: whole-body requests. Policy, TLS, authentication and retries are behind [`HttpSend`]; here a request
//! is checked against the grants and its waiting is bounded.

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use url::Url;

use super::{
    super::{
        open,
        state::{Scope, State},
        tape::{Answered, Asked, Blob, Given, Import, Tape},
    },
    contract::http_client::{self, HttpError as WireError, Request, Response},
};
use crate::flow::Budget;

/// Requests of one `send-all`.
const MANY: usize = 1000;
/// Requests under way for one call, whatever the sender allows.
const MAX_CONCURRENCY: usize = 64;

/// A request of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `POST`, …: a token, as written by the plugin.
    pub method: String,
    /// Absolute, or for a connection a path below its base URL.
    pub url: String,
    /// As written by the plugin.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// `None`: the connection's default.
    pub timeout: Option<Duration>,
    /// What the answer is taken from while it comes, shared with the other requests of the same call.
    pub budget: Budget,
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// 200, 404, …
    pub status: u16,
    /// Names in any case; they are lowered for the plugin.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Pieces of a body on its way.
pub type HttpBody = BoxStream<'static, io::Result<Bytes>>;

/// A request whose body comes in pieces: `wasi:http`.
pub struct HttpStreamRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// Absolute.
    pub url: String,
    /// As written by the plugin.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, and its length when that is known. `None`: there is no body.
    pub body: Option<(HttpBody, Option<u64>)>,
    /// Time until the head of the answer. `None`: the host's default.
    pub timeout: Option<Duration>,
}

/// An answer whose body comes in pieces.
pub struct HttpStreamResponse {
    /// 200, 301, …: redirects are not followed.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: HttpBody,
}

/// Why there is no answer. The texts are shown to people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// Not granted; the text says what to add.
    #[error("{0}")]
    Denied(String),
    /// URL, method or header is malformed.
    #[error("{0}")]
    Invalid(String),
    /// The connection's authentication failed.
    #[error("{0}")]
    Unauthenticated(String),
    /// No connection, TLS, reset, timeout.
    #[error("{0}")]
    Unreachable(String),
    /// The body is larger than the host allows.
    #[error("{0}")]
    TooLarge(String),
}

/// Sends the requests of plugins: the host's one HTTP client.
#[async_trait]
pub trait HttpSend: Send + Sync {
    /// Sends one request and reads the whole answer.
    ///
    /// `connection` is the name of a granted connection, or empty: then `request.url` is absolute and covered by a
    /// granted URL prefix, and redirects must not be followed beyond it.
    async fn send(&self, connection: &str, request: HttpRequest)
    -> Result<HttpResponse, HttpError>;

    /// Sends one request to a granted URL, and gives the answer while its body is still coming.
    async fn stream(&self, request: HttpStreamRequest) -> Result<HttpStreamResponse, HttpError> {
        let HttpStreamRequest { method, url, .. } = request;
        Err(HttpError::Denied(format!("{method} {url} is not granted")))
    }

    /// How many requests of one `send-all` may be under way at the same time.
    fn concurrency(&self, connection: &str) -> usize {
        let _ = connection;
        4
    }
}

/// Refuses everything: for stages without connections, and for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHttp;

#[async_trait]
impl HttpSend for NoHttp {
    async fn send(&self, connection: &str, _: HttpRequest) -> Result<HttpResponse, HttpError> {
        Err(HttpError::Denied(format!(
            "there are no connections here, `{connection}` neither"
        )))
    }
}

fn is_token(text: &str) -> bool {
    let tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.len() <= 64 && text.bytes().all(tchar)
}

impl Scope {
    /// Checks a request against form and grants.
    fn admit(&self, request: Request, budget: &Budget) -> Result<(String, HttpRequest), HttpError> {
        let Request {
            connection,
            method,
            url,
            headers,
            body,
            timeout_ms,
        } = request;
        if !is_token(&method) {
            return Err(HttpError::Invalid(format!("{method:?} is no HTTP method")));
        }
        if connection.is_empty() {
            self.admit_url(&method, &url)?;
        } else if !self.grants.connection(&connection) {
            let add = format!("`connections: [{connection}]`");
            return Err(HttpError::Denied(self.deny(
                "connection",
                &connection,
                &add,
            )));
        }
        let timeout = (timeout_ms > 0).then(|| Duration::from_millis(u64::from(timeout_ms)));
        Ok((
            connection,
            HttpRequest {
                method,
                url,
                headers,
                body,
                timeout,
                budget: budget.part(),
            },
        ))
    }

    /// Checks the URL of a request without a connection against the grants.
    pub(super) fn admit_url(&self, method: &str, url: &str) -> Result<(), HttpError> {
        let parsed = Url::parse(url)
            .map_err(|error| HttpError::Invalid(format!("{url:?} is no absolute URL: {error}")))?;
        if self.grants.egress.request(method, &parsed) {
            return Ok(());
        }
        let origin = parsed.origin().ascii_serialization();
        let add = format!("`http: [\"{method} {origin}{}\"]`", parsed.path());
        Err(HttpError::Denied(self.deny("url", &origin, &add)))
    }

    /// Bytes of answers that the host may hold for one call: the guest could not take more of them.
    fn budget(&self) -> Budget {
        Budget::new(self.limits.memory)
    }

    async fn exchange(&self, request: Request, budget: &Budget) -> Result<HttpResponse, HttpError> {
        let url = request.url.chars().take(200).collect::<String>();
        let (connection, request) = self.admit(request, budget)?;
        let Some(_place) = self.open.pass().await else {
            return Err(HttpError::Unreachable(open::TOO_MANY.to_owned()));
        };
        let own = request.budget.clone();
        let outcome = self.http.send(&connection, request).await;
        if outcome.is_err() {
            own.give_back();
        }
        // Beyond the connection's base, by a redirect, or to an address that a name must not lead to.
        if let Err(HttpError::Denied(_)) = &outcome {
            let target = if connection.is_empty() {
                url
            } else {
                format!("{connection}: {url}")
            };
            self.denied("url", &target);
        }
        outcome.map(lowered)
    }

    /// Many requests, so many of them at a time.
    async fn exchange_all(&self, requests: Vec<Request>) -> Vec<Result<HttpResponse, HttpError>> {
        let most = requests
            .iter()
            .map(|request| self.http.concurrency(&request.connection))
            .max();
        let allowed = self.limits.open_requests.clamp(1, MAX_CONCURRENCY);
        let most = most.unwrap_or(1).clamp(1, allowed);
        // They are all held until the last one has come, so they count as what is handed over in one go.
        let output = u64::try_from(self.limits.output).unwrap_or(u64::MAX);
        let budget = Budget::new(self.limits.memory.min(output));
        stream::iter(requests)
            .map(|request| self.exchange(request, &budget))
            .buffered(most)
            .collect()
            .await
    }

    fn tape(&self) -> Option<&Arc<dyn Tape>> {
        self.recording.as_ref().map(|recording| &recording.tape)
    }
}

/// As it is recorded.
fn asked(request: &Request) -> Asked {
    Asked {
        connection: request.connection.clone(),
        method: request.method.clone(),
        url: request.url.clone(),
        headers: request.headers.clone(),
        body: Blob(request.body.clone()),
    }
}

/// With the names of its headers in lower case, as plugins see them.
fn lowered(mut response: HttpResponse) -> HttpResponse {
    for (name, _) in &mut response.headers {
        name.make_ascii_lowercase();
    }
    response
}

fn seen(answered: Answered) -> Result<Response, WireError> {
    told(answered.into())
}

fn told(outcome: Result<HttpResponse, HttpError>) -> Result<Response, WireError> {
    outcome.map(to_wire).map_err(to_wire_error)
}

fn to_wire(response: HttpResponse) -> Response {
    Response {
        status: response.status,
        headers: response.headers,
        body: response.body,
    }
}

fn to_wire_error(error: HttpError) -> WireError {
    match error {
        HttpError::Denied(text) => WireError::Denied(text),
        HttpError::Invalid(text) => WireError::Invalid(text),
        HttpError::Unauthenticated(text) => WireError::Unauthenticated(text),
        HttpError::Unreachable(text) => WireError::Unreachable(text),
        HttpError::TooLarge(text) => WireError::TooLarge(text),
    }
}

impl http_client::Host for State {
    async fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, WireError>> {
        let meter = self.meter.clone();
        let call = self.scope.tape().map(|tape| {
            let request = asked(&request);
            (Arc::clone(tape), Import::Send { request })
        });
        if let Some((tape, call)) = &call
            && let Some(known) = tape.answer(call)
        {
            return Ok(seen(known.answer()));
        }
        // A wait beyond its limit ends the call: the error becomes a trap.
        let outcome = meter
            .wait(self.scope.exchange(request, &self.scope.budget()))
            .await?;
        let Some((tape, call)) = call else {
            return Ok(told(outcome));
        };
        let given = tape.note(call, Given::Answers(vec![outcome.into()]));
        Ok(seen(given.answer()))
    }

    async fn send_all(
        &mut self,
        requests: Vec<Request>,
    ) -> wasmtime::Result<Vec<Result<Response, WireError>>> {
        let count = requests.len();
        if count > MANY {
            let text = format!("{count} requests in one `send-all`; {MANY} are allowed");
            return Ok((0..count)
                .map(|_| Err(WireError::Invalid(text.clone())))
                .collect());
        }
        let meter = self.meter.clone();
        let call = self.scope.tape().map(|tape| {
            let requests = requests.iter().map(asked).collect();
            (Arc::clone(tape), Import::SendAll { requests })
        });
        let all = |given: Given| given.answers(count).into_iter().map(seen).collect();
        if let Some((tape, call)) = &call
            && let Some(known) = tape.answer(call)
        {
            return Ok(all(known));
        }
        let outcomes = meter.wait(self.scope.exchange_all(requests)).await?;
        let Some((tape, call)) = call else {
            return Ok(outcomes.into_iter().map(told).collect());
        };
        let answers = outcomes.into_iter().map(Answered::from).collect();
        Ok(all(tape.note(call, Given::Answers(answers))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_tokens() {
        assert!(is_token("GET") && is_token("M-SEARCH"));
        assert!(!is_token("") && !is_token("GET /x HTTP/1.1\r\nX:") && !is_token("GÉT"));
    }

    #[test]
    fn header_names_are_lowered() {
        let headers = vec![("Retry-After".to_owned(), "3".to_owned())];
        let wire = to_wire(lowered(HttpResponse {
            status: 429,
            headers,
            body: Vec::new(),
        }));
        assert_eq!(wire.headers, [("retry-after".to_owned(), "3".to_owned())]);
    }
}
