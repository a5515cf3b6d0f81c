//! The one outgoing HTTP client: one attempt of one request, within the limits of its connection.

use std::{
    error::Error,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use reqwest::{
    Method, Url,
    header::{
        ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap,
        HeaderName, LOCATION,
    },
};

use super::{
    Response,
    address::{AddressDenied, CheckedResolver},
    auth::Credential,
    coding,
    limit::Limiter,
    retry::Failure,
    spec::ConnectionSpec,
};
use crate::flow::Budget;

/// A redirect after this many is refused.
const MAX_REDIRECTS: usize = 5;
/// Time to connect, when the whole request may take longer.
const MAX_CONNECT: Duration = Duration::from_secs(10);

/// What went over a connection since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// Requests sent, each try and each request for a token counted.
    pub requests: u64,
    /// Of them, tries after the first.
    pub retries: u64,
    /// Answers that said "too many requests" (429).
    pub throttled: u64,
    /// Tokens got.
    pub tokens: u64,
    /// Bytes of bodies sent.
    pub bytes_sent: u64,
    /// Bytes of bodies received, after decompression.
    pub bytes_received: u64,
}

/// [`Counters`] that are counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) requests: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) throttled: AtomicU64,
    pub(super) tokens: AtomicU64,
    pub(super) bytes_sent: AtomicU64,
    pub(super) bytes_received: AtomicU64,
}

/// Adds to a counter. Counters order nothing, so relaxed is enough.
pub(super) fn count(counter: &AtomicU64, delta: usize) {
    counter.fetch_add(delta as u64, Ordering::Relaxed);
}

impl Tally {
    pub(super) fn read(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            requests: read(&self.requests),
            retries: read(&self.retries),
            throttled: read(&self.throttled),
            tokens: read(&self.tokens),
            bytes_sent: read(&self.bytes_sent),
            bytes_received: read(&self.bytes_received),
        }
    }
}

/// A checked request.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    /// What messages call it: what was asked for first. Where a server redirects to is a text of its own.
    pub(super) named: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) timeout: Duration,
    /// Largest body of the response.
    pub(super) max_response: u64,
    /// What is held of the response, shared with other calls.
    pub(super) budget: Budget,
}

/// Sends calls.
pub(super) struct Http {
    client: reqwest::Client,
    pub(super) limiter: Limiter,
    pub(super) tally: Tally,
}

impl Http {
    /// A client for one connection. `certificates` are trusted besides those of the system, `identity` is shown
    /// to servers that ask for it.
    pub(super) fn new(
        spec: &ConnectionSpec,
        uses_tls: bool,
        certificates: Vec<reqwest::Certificate>,
        identity: Option<reqwest::Identity>,
    ) -> Result<Self, reqwest::Error> {
        // Whoever installs a provider first wins; a second attempt is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("crossdock/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            // Here, where each layer is bounded: `coding`.
            .no_gzip()
            .referer(false)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(spec.limits.timeout.0.min(MAX_CONNECT))
            .dns_resolver(Arc::new(CheckedResolver::new(spec.allow_private)));
        // Without TLS the system's certificates need not be there.
        let builder = if uses_tls {
            builder.tls_certs_merge(certificates)
        } else {
            builder.tls_certs_only(certificates)
        };
        let builder = match identity {
            Some(identity) => builder.identity(identity),
            None => builder,
        };
        Ok(Self {
            client: builder.build()?,
            limiter: Limiter::new(spec.limits.max_concurrent, spec.limits.requests_per_second),
            tally: Tally::default(),
        })
    }

    /// Sends a request as it is, but for what it accepts when it does not say. The body of the response is left to the
    /// caller, as it comes.
    pub(super) async fn execute(
        &self,
        mut request: reqwest::Request,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let accept = request.headers_mut().entry(ACCEPT_ENCODING);
        accept.or_insert(coding::ACCEPTED);
        self.client.execute(request).await
    }

    /// Sends a call once.
    pub(super) async fn exchange(
        &self,
        call: &Call,
        credential: &Credential,
    ) -> Result<Response, Failure> {
        // The response to the last try, or the redirect to here, is held no more.
        call.budget.give_back();
        let _permit = self.limiter.enter().await;
        let mut request = reqwest::Request::new(call.method.clone(), call.url.clone());
        *request.headers_mut() = call.headers.clone();
        if !call.body.is_empty() {
            *request.body_mut() = Some(call.body.clone().into());
        } else if matches!(call.method, Method::POST | Method::PUT | Method::PATCH) {
            // Some servers refuse a POST without a length.
            request.headers_mut().insert(CONTENT_LENGTH, 0.into());
        }
        credential.apply(&mut request);
        count(&self.tally.requests, 1);
        count(&self.tally.bytes_sent, call.body.len());
        let received = tokio::time::timeout(call.timeout, self.receive(request, call)).await;
        let outcome = received.unwrap_or_else(|_| {
            Err(Failure::Unreachable {
                sent: true,
                message: format!(
                    "{} did not answer within {:?}",
                    shown(&call.named),
                    call.timeout
                ),
            })
        });
        if outcome.is_err() {
            call.budget.give_back();
        }
        outcome
    }

    async fn receive(&self, request: reqwest::Request, call: &Call) -> Result<Response, Failure> {
        let failed = |error: reqwest::Error| failure(&error, &call.named);
        let answer = self.execute(request).await.map_err(failed)?;
        let status = answer.status().as_u16();
        if status == 429 {
            count(&self.tally.throttled, 1);
        }
        let announced = answer.content_length().unwrap_or(0);
        if call.method != Method::HEAD && announced > call.max_response {
            return Err(too_large(call));
        }
        let (headers, mut pieces) = coding::opened(answer, call.max_response);
        let headers = head(&headers, call)?;
        let mut body = Vec::new();
        // Pieces come unpacked and small, so the bounds hold for what is in memory.
        while let Some(chunk) = pieces.next().await {
            let chunk = chunk.map_err(|error| broken(&error, call))?;
            if !call.budget.take(chunk.len() as u64) {
                return Err(no_room(call));
            }
            count(&self.tally.bytes_received, chunk.len());
            body.extend_from_slice(&chunk);
        }
        // What it grew ahead for is not taken from the budget.
        body.shrink_to_fit();
        Ok(Response {
            status,
            headers,
            body: body.into(),
        })
    }
}

/// The headers of a response, taken from the budget of the call.
fn head(headers: &HeaderMap, call: &Call) -> Result<Vec<(String, String)>, Failure> {
    let headers = || headers.iter();
    let weight: usize = headers()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if !call.budget.take(weight as u64) {
        return Err(no_room(call));
    }
    let headers = headers().map(|(name, value)| {
        (
            name.as_str().to_owned(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    });
    Ok(headers.collect())
}

/// Why a body did not come whole.
fn broken(error: &std::io::Error, call: &Call) -> Failure {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<reqwest::Error>()) {
        Some(lost) => failure(lost, &call.named),
        None if inner.is_some_and(<dyn Error + Send + Sync>::is::<coding::TooLarge>) => {
            too_large(call)
        }
        None => Failure::Unreachable {
            sent: true,
            message: format!(
                "{}: the body cannot be unpacked: {error}",
                shown(&call.named)
            ),
        },
    }
}

pub(super) fn too_large(call: &Call) -> Failure {
    let (url, limit) = (shown(&call.named), call.max_response);
    Failure::TooLarge(format!(
        "the response of {url} is larger than {limit} bytes"
    ))
}

pub(super) fn no_room(call: &Call) -> Failure {
    let (url, total) = (shown(&call.named), call.budget.total());
    Failure::NoRoom(format!(
        "the response of {url} does not fit: all responses of one call may have {total} bytes together"
    ))
}

/// Sends a call and follows redirects to what `admit` lets through, each with the client that `admit` gives. Credentials
/// that the plugin wrote itself stay with the origin that they were written for.
pub(super) async fn follow<'a>(
    admit: impl Fn(&Method, Url) -> Result<(&'a Http, Url), String>,
    http: &'a Http,
    call: &Call,
    credential: &Credential,
) -> Result<Response, Failure> {
    let (mut http, mut call) = (http, call.clone());
    for _ in 0..=MAX_REDIRECTS {
        let response = http.exchange(&call, credential).await?;
        let Some(location) = redirect(&response) else {
            return Ok(response);
        };
        let from = call.url.clone();
        if turns_to_get(response.status, &call.method) {
            call.method = Method::GET;
            call.body = Bytes::new();
            call.headers.remove(CONTENT_TYPE);
        }
        let target = match from.join(location) {
            Ok(url) => admit(&call.method, url),
            Err(_) => Err("to something that is no URL".to_owned()),
        };
        (http, call.url) = target
            .map_err(|why| Failure::Denied(format!("{} redirects: {why}", shown(&call.named))))?;
        if call.url.origin() != from.origin() {
            for name in [AUTHORIZATION, COOKIE] {
                call.headers.remove(name);
            }
        }
    }
    Err(Failure::Denied(format!(
        "{} redirects more than {MAX_REDIRECTS} times",
        shown(&call.named)
    )))
}

/// Where a response redirects to.
fn redirect(response: &Response) -> Option<&str> {
    let redirects = matches!(response.status, 301 | 302 | 303 | 307 | 308);
    redirects
        .then(|| response.header(LOCATION.as_str()))
        .flatten()
}

fn turns_to_get(status: u16, method: &Method) -> bool {
    match status {
        303 => *method != Method::HEAD,
        301 | 302 => *method == Method::POST,
        _ => false,
    }
}

/// A URL for messages: without the query, which may carry a key.
pub(super) fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

pub(super) fn failure(error: &reqwest::Error, url: &Url) -> Failure {
    let mut cause: &(dyn Error + 'static) = error;
    let mut trusted = true;
    loop {
        if let Some(denied) = cause.downcast_ref::<AddressDenied>() {
            return Failure::Denied(denied.to_string());
        }
        trusted &= !cause.is::<rustls::Error>();
        // An I/O error hides the error that it wraps.
        let wrapped = cause
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        match wrapped
            .map(|inner| inner as &(dyn Error + 'static))
            .or_else(|| cause.source())
        {
            Some(deeper) => cause = deeper,
            None => break,
        }
    }
    let mut message = format!("{}: ", shown(url));
    // The innermost cause says it best: "connection refused", "certificate expired". Writing to a text cannot fail.
    let _ = write!(message, "{cause}");
    if !trusted {
        return Failure::Untrusted(message);
    }
    Failure::Unreachable {
        sent: !error.is_connect(),
        message,
    }
}

/// Headers that carry what a connection adds.
pub(super) fn owned_headers(added: &HeaderMap, auth: Option<HeaderName>) -> Vec<HeaderName> {
    added.keys().cloned().chain(auth).collect()
}
