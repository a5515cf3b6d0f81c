//! Remote systems: authentication, secrets, limits, and the one outgoing HTTP client.
//!
//! A plugin names a connection and says what it wants; everything else is here. The path of a request:
//! ```text
//! Connections::send ─► target: method, URL, headers checked ─► auth: token, renewed when needed
//!                  ─► retry ─► limit: place and turn ─► client: address checked at connect, redirects, bounded body
//! ```
//! Secrets are in [`Secret`] and in header values marked as sensitive; no error, log line or `Debug` text shows them
//! (`// Invariant 7`).

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod address;
mod auth;
mod client;
mod coding;
mod conceal;
mod direct;
mod issued;
mod limit;
mod load;
mod remote;
mod retry;
mod secret;
pub mod secrets;
pub mod spec;
mod target;
#[cfg(test)]
mod tests;
mod token;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;

use crate::flow::Budget;

pub use self::{
    client::Counters,
    coding::BodyStream,
    direct::{Direct, StreamRequest, StreamResponse},
    load::{ConnectionError, KeyFile, key_files},
    remote::Connection,
    secret::Secret,
    secrets::{SecretInfo, SecretStore, Secrets, SecretsError},
    spec::ConnectionSpec,
};

/// A request of a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// A path below the base URL, or an absolute URL there.
    pub url: String,
    /// Names and values. The connection's own win.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// Time for one try; `None`: the connection's. It can only be shorter than the connection's.
    pub timeout: Option<Duration>,
    /// What the response is taken from, while it comes already. Others may take theirs from it as well.
    pub budget: Budget,
}

/// What came back, whatever the status is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// `200`, `404`, ...
    pub status: u16,
    /// Names in lower case, and values. Several of one name are several entries.
    pub headers: Vec<(String, String)>,
    /// The body, decompressed.
    pub body: Bytes,
}

impl Response {
    /// The first value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The request got no response. The cases are those of `http-error` in the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Not allowed; the text says what to add.
    #[error("{0}")]
    Denied(String),
    /// URL, method or header is malformed.
    #[error("{0}")]
    Invalid(String),
    /// The connection's authentication failed.
    #[error("{0}")]
    Unauthenticated(String),
    /// No connection, TLS, reset, timeout; tried as often as the connection says.
    #[error("{0}")]
    Unreachable(String),
    /// The body is larger than the connection allows.
    #[error("{0}")]
    TooLarge(String),
}

impl SendError {
    /// The same with another text.
    fn map(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Denied(text) => Self::Denied(change(text)),
            Self::Invalid(text) => Self::Invalid(change(text)),
            Self::Unauthenticated(text) => Self::Unauthenticated(change(text)),
            Self::Unreachable(text) => Self::Unreachable(change(text)),
            Self::TooLarge(text) => Self::TooLarge(change(text)),
        }
    }
}

/// All connections of a project.
#[derive(Debug, Default)]
pub struct Connections {
    by_name: BTreeMap<String, Connection>,
}

impl Connections {
    /// Names, ordered.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// One connection.
    pub fn get(&self, name: &str) -> Option<&Connection> {
        self.by_name.get(name)
    }

    /// Sends a request over a connection, as often as its `retry` says. Whether the plugin may use the connection is
    /// checked before.
    ///
    /// # Errors
    /// [`SendError`]. A status such as 404 or 503 is a response; 401 is one only when the connection has no
    /// authentication.
    pub async fn send(&self, name: &str, request: Request) -> Result<Response, SendError> {
        if let Some(connection) = self.get(name) {
            return connection.send(request).await;
        }
        let known: Vec<&str> = self.names().collect();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        Err(SendError::Denied(format!(
            "there is no connection `{name}`; known: {known}"
        )))
    }

    /// What went over each connection so far.
    pub fn counters(&self) -> BTreeMap<&str, Counters> {
        self.by_name
            .iter()
            .map(|(name, connection)| (name.as_str(), connection.counters()))
            .collect()
    }
}
