//! Asks a running daemon: what the command line does with `flow`, `swap` and the rest.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use reqwest::Method;
use serde::{Serialize, de::DeserializeOwned};

use super::{Endpoint, problem::Problem};
use crate::flow::Finding;

/// A daemon answers long questions after 30 seconds at the latest, and changes of many records as they take.
const TIMEOUT: Duration = Duration::from_mins(10);
/// The machine is this one.
const CONNECT: Duration = Duration::from_secs(2);

/// A daemon that answers.
pub struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The daemon said no.
    #[error("{error}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// Why, and what to do.
        error: String,
        /// What is wrong where.
        findings: Vec<Finding>,
    },
    /// It did not answer.
    #[error("the daemon at {url} (process {pid}) does not answer: {reason}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// Its process.
        pid: u32,
        /// What happened.
        reason: String,
    },
}

impl Client {
    /// The daemon of a state folder, when there is one that answers.
    ///
    /// # Errors
    /// There is one, and it does not answer as a crossdock does.
    pub async fn find(state: &Path) -> Result<Option<Self>, ClientError> {
        let state = state.to_owned();
        let read = tokio::task::spawn_blocking(move || Endpoint::read(&state)).await;
        let Some(endpoint) = read.ok().flatten() else {
            return Ok(None);
        };
        let client = Self::new(endpoint)?;
        match client
            .send::<serde_json::Value>(Method::GET, "health", None::<&()>)
            .await
        {
            Ok(_) => Ok(Some(client)),
            // It ended without a word; the file is what is left of it.
            Err(ClientError::Unreachable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn new(endpoint: Endpoint) -> Result<Self, ClientError> {
        // The client asks for one, whatever it speaks. Another one that is there already does as well.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .no_proxy()
            // It speaks plain HTTP on this machine: no certificates are needed.
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(TIMEOUT)
            .build();
        match http {
            Ok(http) => Ok(Self { http, endpoint }),
            Err(error) => Err(unreachable(&endpoint, &error)),
        }
    }

    /// Where the daemon is.
    pub fn url(&self) -> &str {
        &self.endpoint.url
    }

    /// Asks for something.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(Method::GET, path, None::<&()>).await
    }

    /// Asks for something that is no JSON.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn text(&self, path: &str) -> Result<String, ClientError> {
        let bytes = self.answered(Method::GET, path, None::<&()>).await?.1;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Asks to do something.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Asks to change something.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// Asks to end something.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(Method::DELETE, path, None::<&()>).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let (status, bytes) = self.answered(method, path, body).await?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Refused {
            status,
            error: format!(
                "the daemon's answer is not understood: {error}; is it of another version?"
            ),
            findings: Vec::new(),
        })
    }

    /// Status and body of an answer that says yes.
    async fn answered(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<(u16, Bytes), ClientError> {
        let url = format!("{}/api/v1/{path}", self.endpoint.url);
        let mut request = self
            .http
            .request(method, url)
            .bearer_auth(&self.endpoint.token);
        if let Some(body) = body {
            let body = serde_json::to_vec(body).map_err(|error| ClientError::Refused {
                status: 0,
                error: error.to_string(),
                findings: Vec::new(),
            })?;
            request = request
                .header(reqwest::header::CONTENT_TYPE, "application/json")
                .body(body);
        }
        let lost = |error: reqwest::Error| unreachable(&self.endpoint, &error);
        let response = request.send().await.map_err(lost)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(lost)?;
        if status.is_success() {
            return Ok((status.as_u16(), bytes));
        }
        let (error, findings) = match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => (problem.error, problem.findings),
            Err(_) => (
                String::from_utf8_lossy(&bytes).trim().to_owned(),
                Vec::new(),
            ),
        };
        Err(ClientError::Refused {
            status: status.as_u16(),
            error,
            findings,
        })
    }
}

fn unreachable(endpoint: &Endpoint, error: &reqwest::Error) -> ClientError {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        reason = error.to_string();
        cause = error.source();
    }
    ClientError::Unreachable {
        url: endpoint.url.clone(),
        pid: endpoint.pid,
        reason,
    }
}
