//! A small HTTP/1.1 client for plain `http://` addresses: one request a connection.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// A header as text, `""` when it is missing or no text.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is none that this client can call.
    #[error("`{0}` is no plain http address")]
    Address(String),
    /// Nobody listens, or the connection broke.
    #[error("connection failed: {0}")]
    Connection(#[from] std::io::Error),
    /// What came is no HTTP answer, or it broke off.
    #[error("the answer broke off: {0}")]
    Answer(#[from] hyper::Error),
    /// A header cannot be sent.
    #[error("cannot build the request: {0}")]
    Request(#[from] hyper::http::Error),
    /// No whole answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// Sends one request and reads the whole answer. Must run on a tokio runtime.
pub async fn send(
    method: &str,
    address: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
    timeout: Duration,
) -> Result<Reply, HttpError> {
    let answer = exchange(method, address, headers, body.into());
    tokio::time::timeout(timeout, answer)
        .await
        .map_err(|_| HttpError::Timeout(timeout))?
}

async fn exchange(
    method: &str,
    address: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Reply, HttpError> {
    let wrong = || HttpError::Address(address.to_owned());
    let url = url::Url::parse(address).map_err(|_| wrong())?;
    let (Some(host), "http") = (url.host_str(), url.scheme()) else {
        return Err(wrong());
    };
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut request = hyper::Request::builder()
        .method(method)
        .uri(target)
        .body(Full::new(body))?;
    let own = request.headers_mut();
    own.insert(
        HOST,
        HeaderValue::from_str(&format!("{host}:{port}")).map_err(hyper::http::Error::from)?,
    );
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(hyper::http::Error::from)?;
        own.insert(
            name,
            HeaderValue::from_str(value).map_err(hyper::http::Error::from)?,
        );
    }
    let answer = sender.send_request(request).await?;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await;
    driver.abort();
    Ok(Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: body?.to_bytes(),
    })
}
