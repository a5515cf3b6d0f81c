//! HTTP: whole body out, whole body in. TLS, proxies, authentication, rate limits and the operator's policy live in the
//! host; no secret enters the plugin.
//!
//! ```no_run
//! use crossdock_sdk::http::Request;
//! # fn read() -> crossdock_sdk::Result<()> {
//! let page: serde_json::Value =
//!     Request::get("/api/rest/v1/products?limit=100").connection("akeneo").send()?.error_for_status()?.json()?;
//! # Ok(()) }
//! ```

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::host::crossdock::plugin::http_client as wit;
use crate::fault::{Fault, Result};
use crate::imports;

/// The request got no response. A status like 404 or 503 is a response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not granted; the text says what to add.
    #[error("{0}")]
    Denied(String),
    /// URL, method, header or body is malformed.
    #[error("{0}")]
    Invalid(String),
    /// The connection's authentication failed.
    #[error("{0}")]
    Unauthenticated(String),
    /// No connection, TLS, reset, timeout: trying again may help.
    #[error("{0}")]
    Unreachable(String),
    /// The body is larger than the host allows.
    #[error("{0}")]
    TooLarge(String),
}

impl From<wit::HttpError> for Error {
    fn from(error: wit::HttpError) -> Self {
        match error {
            wit::HttpError::Denied(text) => Self::Denied(text),
            wit::HttpError::Invalid(text) => Self::Invalid(text),
            wit::HttpError::Unauthenticated(text) => Self::Unauthenticated(text),
            wit::HttpError::Unreachable(text) => Self::Unreachable(text),
            wit::HttpError::TooLarge(text) => Self::TooLarge(text),
        }
    }
}

/// Denied and unauthenticated are the operator's turn, unreachable is transient.
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(text) | Error::Unauthenticated(text) => Self::config(text),
            Error::Unreachable(text) => Self::transient(text),
            Error::Invalid(text) | Error::TooLarge(text) => Self::permanent(text),
        }
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub(crate) connection: String,
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
    /// Why the body could not be made; told by `send`.
    broken: Option<String>,
}

impl Request {
    /// A request with any method.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            connection: String::new(),
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
            broken: None,
        }
    }

    /// `GET`. The URL is absolute, or with a [`connection`](Self::connection) a path below its base URL.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// `POST`.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// `PUT`.
    pub fn put(url: impl Into<String>) -> Self {
        Self::new("PUT", url)
    }

    /// `PATCH`.
    pub fn patch(url: impl Into<String>) -> Self {
        Self::new("PATCH", url)
    }

    /// `DELETE`.
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new("DELETE", url)
    }

    /// Sends it through this connection: with its base URL, authentication and limits.
    #[must_use]
    pub fn connection(mut self, name: impl Into<String>) -> Self {
        self.connection = name.into();
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to this value as JSON, and `content-type` unless it is set already.
    #[must_use]
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.body = body,
            Err(error) => {
                self.broken = Some(format!("the body cannot be written as JSON: {error}"));
            }
        }
        if !self
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            self = self.header("content-type", "application/json");
        }
        self
    }

    /// Waits at most this long, in whole milliseconds. Without it: the connection's default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The URL or path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The name of the connection, or empty.
    pub fn connection_name(&self) -> &str {
        &self.connection
    }

    /// The headers.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The body.
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }

    /// Sends it and waits for the whole response.
    pub fn send(self) -> Result<Response, Error> {
        let url = self.url.clone();
        let response = imports::send(self.into_wit()?)?;
        Ok(Response::from_wit(response, url))
    }

    fn into_wit(self) -> Result<wit::Request, Error> {
        if let Some(reason) = self.broken {
            return Err(Error::Invalid(reason));
        }
        let timeout = self.timeout.map_or(0, |timeout| timeout.as_millis().max(1));
        Ok(wit::Request {
            connection: self.connection,
            method: self.method,
            url: self.url,
            headers: self.headers,
            body: self.body,
            timeout_ms: u32::try_from(timeout).unwrap_or(u32::MAX),
        })
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn from_wit(request: wit::Request) -> Self {
        Self {
            connection: request.connection,
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body,
            timeout: (request.timeout_ms > 0)
                .then(|| Duration::from_millis(u64::from(request.timeout_ms))),
            broken: None,
        }
    }
}

/// Sends all of them, as many at a time as the connection allows. The answers are in the order of the requests.
pub fn send_all(requests: Vec<Request>) -> Vec<Result<Response, Error>> {
    let urls: Vec<String> = requests.iter().map(|request| request.url.clone()).collect();
    let mut broken: Vec<Option<Error>> = Vec::with_capacity(requests.len());
    let mut ready = Vec::with_capacity(requests.len());
    for request in requests {
        match request.into_wit() {
            Ok(request) => {
                ready.push(request);
                broken.push(None);
            }
            Err(error) => broken.push(Some(error)),
        }
    }
    let mut answers = imports::send_all(ready).into_iter();
    urls.into_iter()
        .zip(broken)
        .map(|(url, broken)| match broken {
            Some(error) => Err(error),
            None => match answers.next() {
                Some(answer) => Ok(Response::from_wit(answer?, url)),
                None => Err(Error::Unreachable(
                    "the host gave fewer answers than requests".to_owned(),
                )),
            },
        })
        .collect()
}

/// A text as one part of a URL: everything but letters, digits, `-`, `.`, `_` and `~` becomes `%XX`.
pub fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
    url: String,
}

impl Response {
    /// A response, for stand-ins in tests.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            url: String::new(),
        }
    }

    /// Adds a header, for stand-ins in tests.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    fn from_wit(response: wit::Response, url: String) -> Self {
        Self {
            status: response.status,
            headers: response.headers,
            body: response.body,
            url,
        }
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header with this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text. Bytes that are no UTF-8 become `�`.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as a type of yours.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Fault::permanent(format!(
                "the response is not the JSON that was expected: {error}; {}",
                self.start()
            ))
            .at(self.url.clone())
        })
    }

    /// The response, if its status is 200 to 399. 408, 425, 429 and 5xx are transient, with `Retry-After` when it is
    /// there (in seconds, or as a date); 401 and 403 are config faults; the rest is permanent.
    pub fn error_for_status(self) -> Result<Self> {
        let status = self.status;
        if status < 400 {
            return Ok(self);
        }
        let message = format!("the server answered {status}: {}", self.start());
        let fault = match status {
            401 | 403 => {
                Fault::config(message).advice("check the connection's user and its rights")
            }
            408 | 425 | 429 | 500.. => Fault::transient(message),
            _ => Fault::permanent(message),
        };
        let fault = fault.at(self.url.clone());
        Err(match self.retry_after() {
            Some(wait) => fault.retry_after(wait),
            None => fault,
        })
    }

    /// How long `Retry-After` asks to wait: seconds, or an HTTP date compared with the host's clock.
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.header("retry-after")?.trim();
        if let Ok(seconds) = value.parse::<u64>() {
            return Some(Duration::from_secs(seconds));
        }
        let at = http_date(value)?;
        Some(Duration::from_millis(
            (at * 1000).saturating_sub(crate::clock::now_ms()),
        ))
    }

    /// The start of the body, for messages.
    fn start(&self) -> String {
        const SHOWN: usize = 200;
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(4 * SHOWN)]);
        let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((end, _)) = line.char_indices().nth(SHOWN) {
            line.truncate(end);
            line.push('…');
        }
        if line.is_empty() {
            "(empty body)".to_owned()
        } else {
            line
        }
    }
}

/// Seconds since 1970 of an HTTP date in its one current form: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut parts = text.split_once(", ")?.1.split(' ');
    let day: u64 = parts
        .next()?
        .parse()
        .ok()
        .filter(|day| (1..=31).contains(day))?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|known| *known == month)? as u64 + 1;
    let year: u64 = parts
        .next()?
        .parse()
        .ok()
        .filter(|year| (1970..=9999).contains(year))?;
    let mut time = parts
        .next()?
        .split(':')
        .map(|part| part.parse::<u64>().ok().filter(|part| *part < 61));
    let (hours, minutes, seconds) = (time.next()??, time.next()??, time.next()??);
    // Days since 1970 in a calendar whose years start in March (Howard Hinnant, "chrono-compatible low-level dates").
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted / 400, shifted % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some((days.checked_sub(719_468)? * 24 + hours) * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_http_dates() {
        assert_eq!(
            http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(784_111_777)
        );
        assert_eq!(
            http_date("Thu, 29 Feb 2024 00:00:00 GMT"),
            Some(1_709_164_800)
        );
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:01 GMT"), Some(1));
        assert_eq!(http_date("soon"), None);
        assert_eq!(http_date("Sun, 06 Nov 0094 08:49:37 GMT"), None);
    }

    #[test]
    fn a_part_of_a_url_is_encoded() {
        assert_eq!(encode("a/b ü~1"), "a%2Fb%20%C3%BC~1");
    }

    #[test]
    fn a_status_decides_the_fault() {
        let fault = |response: Response| response.error_for_status().unwrap_err();
        let busy = fault(Response::new(429, "slow down").with_header("Retry-After", "7"));
        let Fault::Transient(detail) = busy else {
            panic!("{busy:?}")
        };
        assert_eq!(detail.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(detail.message, "the server answered 429: slow down");
        assert!(fault(Response::new(503, "")).is_transient());
        assert!(fault(Response::new(401, "")).is_config());
        assert!(matches!(
            fault(Response::new(404, "x".repeat(5000))),
            Fault::Permanent(_)
        ));
        assert!(Response::new(302, "").error_for_status().is_ok());
    }
}
