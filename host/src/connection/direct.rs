//! Requests without a connection: to URLs that a stage was granted, with no secrets of the host in them.
//!
//! It is the same client as that of connections: addresses are checked at connect, redirects at each step, bodies are
//! bounded, and the environment's proxies are not used.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, future::BoxFuture, stream::BoxStream};
use reqwest::{Method, Url, header::CONTENT_LENGTH};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    Request, Response, SendError,
    auth::Credential,
    client::{Call, Http, count, failure, shown},
    retry::Failure,
    spec::{ConnectionSpec, LimitsSpec},
    target,
};
use crate::flow::Egress;

/// Time for one request with its whole body, and for the head of a streamed response.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest pause within a streamed body.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Largest body of a response that is read whole, after decompression.
const MAX_WHOLE: u64 = 64 << 20;
/// Largest streamed body, either way: only a piece of it is ever in memory.
const MAX_STREAMED: u64 = 4 << 30;

/// Pieces of a body on its way.
pub type BodyStream = BoxStream<'static, io::Result<Bytes>>;

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
    /// The body, decompressed. It counts as open until it is dropped.
    pub body: BodyStream,
}

/// What one stage may ask without a connection.
pub struct Direct {
    egress: Egress,
    /// Or why there can be none.
    http: Result<Http, String>,
    open: Arc<Semaphore>,
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct")
            .field("egress", &self.egress)
            .finish_non_exhaustive()
    }
}

impl Direct {
    /// A client for these grants that has at most so many requests open at a time.
    pub fn new(egress: Egress, max_open: usize) -> Self {
        let max_open = max_open.clamp(1, Semaphore::MAX_PERMITS);
        let spec = ConnectionSpec {
            allow_private: egress.allow_private,
            limits: LimitsSpec {
                max_concurrent: u32::try_from(max_open).unwrap_or(u32::MAX),
                timeout: crate::flow::quantity::Time(TIMEOUT),
                ..LimitsSpec::default()
            },
            ..ConnectionSpec::new("", "")
        };
        let uses_tls = egress.http.iter().any(crate::flow::UrlGrant::is_https);
        let http = Http::new(&spec, uses_tls, Vec::new(), None).map_err(|error| {
            format!("HTTPS cannot be used: {error}; install the system's certificates")
        });
        Self {
            egress,
            http,
            open: Arc::new(Semaphore::new(max_open)),
        }
    }

    fn http(&self) -> Result<&Http, SendError> {
        self.http
            .as_ref()
            .map_err(|why| SendError::Unreachable(why.clone()))
    }

    /// Sends a request once and reads the whole response. Redirects are followed as far as grants go.
    ///
    /// # Errors
    /// [`SendError`]. Every status is a response.
    pub async fn send(&self, request: Request) -> Result<Response, SendError> {
        let http = self.http()?;
        let method = target::method(&request.method)?;
        let url = target::absolute(&request.url)?;
        let call = Call {
            url: self.admit(&method, url).map_err(SendError::Denied)?,
            headers: target::headers(&request.headers, &[])?,
            method,
            body: request.body,
            timeout: request
                .timeout
                .filter(|t| !t.is_zero())
                .map_or(TIMEOUT, |t| t.min(TIMEOUT)),
            max_response: MAX_WHOLE,
        };
        let admit = |method: &Method, url| self.admit(method, url);
        http.follow(admit, &call, &Credential::None)
            .await
            .map_err(told)
    }

    /// Sends a request whose body comes in pieces. Redirects are answers: what they name is asked for by the plugin.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn stream(&self, request: StreamRequest) -> Result<StreamResponse, SendError> {
        let http = self.http()?;
        let method = target::method(&request.method)?;
        let url = target::absolute(&request.url)?;
        let url = self.admit(&method, url).map_err(SendError::Denied)?;
        let Ok(permit) = Arc::clone(&self.open).try_acquire_owned() else {
            return Err(SendError::Unreachable(
                "too many requests are open at the same time: `open-requests` in the stage's `limits`".into(),
            ));
        };
        let mut built = reqwest::Request::new(method, url.clone());
        *built.headers_mut() = target::raw_headers(&request.headers, &[])?;
        if let Some((body, length)) = request.body {
            if let Some(length) = length {
                built.headers_mut().insert(CONTENT_LENGTH, length.into());
            }
            *built.body_mut() = Some(reqwest::Body::wrap_stream(Bounded::new(body, None)));
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
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
        Ok(StreamResponse {
            status: answer.status().as_u16(),
            headers: headers.collect(),
            body: Bounded::new(
                answer
                    .bytes_stream()
                    .map(|piece| piece.map_err(io::Error::other))
                    .boxed(),
                Some(permit),
            )
            .boxed(),
        })
    }

    fn admit(&self, method: &Method, url: Url) -> Result<Url, String> {
        if self.egress.request(method.as_str(), &url) {
            return Ok(url);
        }
        Err(format!("{method} {} is not granted", shown(&url)))
    }
}

/// What a failure is for the plugin.
fn told(failure: Failure) -> SendError {
    match failure {
        Failure::Denied(message) => SendError::Denied(message),
        Failure::Unreachable { message, .. } | Failure::Untrusted(message) => {
            SendError::Unreachable(message)
        }
        Failure::TooLarge(message) => SendError::TooLarge(message),
    }
}

/// A body that ends with an error when it is too long or pauses for too long.
struct Bounded {
    body: BodyStream,
    left: u64,
    pause: Option<BoxFuture<'static, ()>>,
    /// Given back when the body is dropped.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Bounded {
    fn new(body: BodyStream, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            body,
            left: MAX_STREAMED,
            pause: None,
            _permit: permit,
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
