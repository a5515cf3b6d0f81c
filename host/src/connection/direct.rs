//! Requests without a connection: to URLs that a stage was granted, with no secrets of the host in them.
//!
//! It is the same client as that of connections: addresses are checked at connect, redirects at each step, bodies are
//! bounded, and the environment's proxies are not used.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, future::BoxFuture};
use reqwest::{
    Method, Url,
    header::{CONTENT_LENGTH, HeaderMap},
};
use tokio::time::timeout;

use super::{
    Request, Response, SendError,
    auth::Credential,
    client::{Call, Http, count, failure, follow, shown},
    coding::{self, BodyStream},
    retry::Failure,
    spec::{ConnectionSpec, LimitsSpec},
    target,
};
use crate::flow::{Egress, egress::Rule};

/// Time for one request with its whole body, and for the head of a streamed response.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest pause within a streamed body.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Largest body of a response that is read whole, after decompression.
const MAX_WHOLE: u64 = 64 << 20;
/// Largest head of a streamed response, names and values together: the plugin may keep it for as long as it likes.
const MAX_HEAD: usize = 64 << 10;
/// Largest streamed body, either way: only a piece of it is ever in memory.
const MAX_STREAMED: u64 = 4 << 30;

/// A request whose body comes in pieces.
pub struct StreamRequest {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Absolute.
    pub url: String,
    /// As the plugin wrote them.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, and its length when that is known; `None` when there is none.
    pub body: Option<(BodyStream, Option<u64>)>,
    /// Time until the head of the response. It can only be shorter than the host's.
    pub timeout: Option<Duration>,
}

/// A response whose body comes in pieces.
pub struct StreamResponse {
    /// `200`, `301`, ...: redirects are not followed.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, decompressed.
    pub body: BodyStream,
}

/// What one stage may ask without a connection. How much of it may be open at the same time is for the caller to say.
pub struct Direct {
    egress: Egress,
    /// Or why there can be none.
    clients: Result<Clients, String>,
}

/// One client for each way in which names may lead, since a connection that is kept is used again without a look at the
/// address: what one grant lets in, a request under another one must not find.
struct Clients {
    /// To public addresses only.
    outside: Option<Http>,
    /// To private ones as well.
    inside: Option<Http>,
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct")
            .field("egress", &self.egress)
            .finish_non_exhaustive()
    }
}

impl Clients {
    /// The clients that these grants need.
    fn new(egress: &Egress, max_open: usize) -> Result<Self, String> {
        let uses_tls = egress.http.iter().any(|rule| rule.grant.is_https());
        let client = |allow_private| {
            let spec = ConnectionSpec {
                allow_private,
                limits: LimitsSpec {
                    max_concurrent: u32::try_from(max_open).unwrap_or(u32::MAX),
                    timeout: crate::flow::quantity::Time(TIMEOUT),
                    ..LimitsSpec::default()
                },
                ..ConnectionSpec::new("", "")
            };
            let needed = |rule: &Rule<_>| rule.allow_private == allow_private;
            let http = || Http::new(&spec, uses_tls, Vec::new(), None);
            let http = egress.http.iter().any(needed).then(http).transpose();
            http.map_err(|error| {
                format!("HTTPS cannot be used: {error}; install the system's certificates")
            })
        };
        Ok(Self {
            outside: client(false)?,
            inside: client(true)?,
        })
    }
}

impl Direct {
    /// Clients for these grants, each of which sends at most so many requests at a time.
    pub fn new(egress: Egress, max_open: usize) -> Self {
        let clients = Clients::new(&egress, max_open);
        Self { egress, clients }
    }

    /// Sends a request once and reads the whole response. Redirects are followed as far as grants go.
    ///
    /// # Errors
    /// [`SendError`]. Every status is a response.
    pub async fn send(&self, request: Request) -> Result<Response, SendError> {
        let clients = self.clients()?;
        let method = target::method(&request.method)?;
        let url = target::absolute(&request.url)?;
        let admit = |method: &Method, url| self.admit(clients, method, url);
        let (http, url) = admit(&method, url).map_err(SendError::Denied)?;
        let call = Call {
            named: url.clone(),
            url,
            headers: target::headers(&request.headers, &[])?,
            method,
            body: request.body,
            timeout: request
                .timeout
                .filter(|t| !t.is_zero())
                .map_or(TIMEOUT, |t| t.min(TIMEOUT)),
            max_response: MAX_WHOLE,
            budget: request.budget,
        };
        follow(admit, http, &call, &Credential::None)
            .await
            .map_err(told)
    }

    /// Sends a request whose body comes in pieces. Redirects are answers: what they name is asked for by the plugin.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn stream(&self, request: StreamRequest) -> Result<StreamResponse, SendError> {
        let clients = self.clients()?;
        let method = target::method(&request.method)?;
        let url = target::absolute(&request.url)?;
        let (http, url) = self
            .admit(clients, &method, url)
            .map_err(SendError::Denied)?;
        let mut built = reqwest::Request::new(method, url.clone());
        *built.headers_mut() = target::raw_headers(&request.headers, &[])?;
        if let Some((body, length)) = request.body {
            if let Some(length) = length {
                built.headers_mut().insert(CONTENT_LENGTH, length.into());
            }
            *built.body_mut() = Some(reqwest::Body::wrap_stream(Bounded::new(body)));
        }
        count(&http.tally.requests, 1);
        let limit = request
            .timeout
            .filter(|t| !t.is_zero())
            .map_or(TIMEOUT, |t| t.min(TIMEOUT));
        let Ok(outcome) = timeout(limit, http.execute(built)).await else {
            let message = format!("{} did not answer within {limit:?}", shown(&url));
            return Err(SendError::Unreachable(message));
        };
        let answer = outcome.map_err(|error| told(failure(&error, &url)))?;
        let status = answer.status().as_u16();
        let (headers, body) = coding::opened(answer, MAX_STREAMED);
        Ok(StreamResponse {
            status,
            headers: raw_head(&headers, &url)?,
            body: Bounded::new(body).boxed(),
        })
    }

    fn clients(&self) -> Result<&Clients, SendError> {
        self.clients
            .as_ref()
            .map_err(|why| SendError::Unreachable(why.clone()))
    }

    /// Whether a request is granted, and the client that goes no further than the grant.
    fn admit<'a>(
        &self,
        clients: &'a Clients,
        method: &Method,
        url: Url,
    ) -> Result<(&'a Http, Url), String> {
        let granted = self.egress.request(method.as_str(), &url);
        let client = if self.egress.request_inside(method.as_str(), &url) {
            &clients.inside
        } else {
            &clients.outside
        };
        match client {
            Some(http) if granted => Ok((http, url)),
            _ => Err(format!("{method} {} is not granted", shown(&url))),
        }
    }
}

fn raw_head(headers: &HeaderMap, url: &Url) -> Result<Vec<(String, Vec<u8>)>, SendError> {
    let headers = || headers.iter();
    let weight: usize = headers()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if weight > MAX_HEAD {
        let (url, limit) = (shown(url), MAX_HEAD >> 10);
        let message = format!("the head of the response of {url} is larger than {limit} KiB");
        return Err(SendError::TooLarge(message));
    }
    let owned =
        headers().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    Ok(owned.collect())
}

/// What a failure is for the plugin.
fn told(failure: Failure) -> SendError {
    match failure {
        Failure::Denied(message) => SendError::Denied(message),
        Failure::Unreachable { message, .. } | Failure::Untrusted(message) => {
            SendError::Unreachable(message)
        }
        Failure::TooLarge(message) | Failure::NoRoom(message) => SendError::TooLarge(message),
    }
}

/// A body that ends with an error when it is too long or pauses for too long.
struct Bounded {
    body: BodyStream,
    left: u64,
    pause: Option<BoxFuture<'static, ()>>,
}

impl Bounded {
    fn new(body: BodyStream) -> Self {
        Self {
            body,
            left: MAX_STREAMED,
            pause: None,
        }
    }
}

impl Stream for Bounded {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.body.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(piece))) => {
                self.pause = None;
                match self.left.checked_sub(piece.len() as u64) {
                    Some(left) => {
                        self.left = left;
                        Poll::Ready(Some(Ok(piece)))
                    }
                    None => {
                        Poll::Ready(Some(Err(io::Error::other("the body is larger than 4 GiB"))))
                    }
                }
            }
            Poll::Pending => {
                let pause = self
                    .pause
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(MAX_PAUSE)));
                match pause.as_mut().poll(context) {
                    Poll::Ready(()) => {
                        self.pause = None;
                        let error =
                            io::Error::new(io::ErrorKind::TimedOut, "the body paused for too long");
                        Poll::Ready(Some(Err(error)))
                    }
                    Poll::Pending => Poll::Pending,
                }
            }
            ended @ Poll::Ready(_) => ended,
        }
    }
}
