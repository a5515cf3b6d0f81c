//! What a plugin imports, call by call with its answers: written down while it works on real systems, answered from there
//! later. For recordings (`conformance/cassette`); a flow has no tape.
//!
//! Every interface of the contract is on it, and `wasi:http`. What WASI brings beside that needs no tape: its clocks and
//! random numbers repeat ([`FixedSenses`]), folders hold what the recording says, and there are no sockets.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Value, json};

use super::{
    host_api::http_client::{HttpError, HttpResponse},
    senses::FixedSenses,
};

/// Bytes: written as text where they are text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => text.serialize(serializer),
            Err(_) => json!({ "base64": STANDARD.encode(&self.0) }).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text.into_bytes())),
            Value::Object(fields) => {
                let text = fields.get("base64").and_then(Value::as_str);
                let bytes = text.and_then(|text| STANDARD.decode(text).ok());
                bytes.map(Self).ok_or_else(|| D::Error::custom("no base64"))
            }
            _ => Err(D::Error::custom("neither a text nor base64")),
        }
    }
}

/// A request, as the plugin wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The connection, or nothing for a URL that is granted by itself.
    pub connection: String,
    /// `GET`, `POST`, …
    pub method: String,
    /// Absolute, or a path below the connection's base.
    pub url: String,
    /// As written.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub body: Blob,
}

fn is_empty(blob: &Blob) -> bool {
    blob.0.is_empty()
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answered {
    /// Whatever its status.
    Response {
        /// 200, 404, …
        status: u16,
        /// As the plugin sees them.
        headers: Vec<(String, String)>,
        /// The whole body.
        body: Blob,
    },
    /// See [`HttpError`].
    Denied(String),
    /// See [`HttpError`].
    Invalid(String),
    /// See [`HttpError`].
    Unauthenticated(String),
    /// See [`HttpError`].
    Unreachable(String),
    /// See [`HttpError`].
    TooLarge(String),
}

impl From<Result<HttpResponse, HttpError>> for Answered {
    fn from(outcome: Result<HttpResponse, HttpError>) -> Self {
        match outcome {
            Ok(response) => Self::Response {
                status: response.status,
                headers: response.headers,
                body: Blob(response.body),
            },
            Err(HttpError::Denied(text)) => Self::Denied(text),
            Err(HttpError::Invalid(text)) => Self::Invalid(text),
            Err(HttpError::Unauthenticated(text)) => Self::Unauthenticated(text),
            Err(HttpError::Unreachable(text)) => Self::Unreachable(text),
            Err(HttpError::TooLarge(text)) => Self::TooLarge(text),
        }
    }
}

impl From<Answered> for Result<HttpResponse, HttpError> {
    fn from(answered: Answered) -> Self {
        Err(match answered {
            Answered::Response {
                status,
                headers,
                body,
            } => {
                return Ok(HttpResponse {
                    status,
                    headers,
                    body: body.0,
                });
            }
            Answered::Denied(text) => HttpError::Denied(text),
            Answered::Invalid(text) => HttpError::Invalid(text),
            Answered::Unauthenticated(text) => HttpError::Unauthenticated(text),
            Answered::Unreachable(text) => HttpError::Unreachable(text),
            Answered::TooLarge(text) => HttpError::TooLarge(text),
        })
    }
}

/// One call of an import.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "import")]
pub enum Import {
    /// A line of the log.
    #[serde(rename = "log.write")]
    Log {
        /// `info`, `warn`, …
        level: String,
        /// The line.
        message: String,
    },
    /// A counter goes on.
    #[serde(rename = "metrics.count")]
    Count {
        /// Its name.
        name: String,
        /// By how much.
        delta: u64,
    },
    /// A gauge is set.
    #[serde(rename = "metrics.gauge")]
    Gauge {
        /// Its name.
        name: String,
        /// To what.
        value: f64,
    },
    /// The time of day.
    #[serde(rename = "clock.now-ms")]
    Now,
    /// A random number.
    #[serde(rename = "random.next-u64")]
    Random,
    /// Values by key.
    #[serde(rename = "tables.get-many")]
    GetMany {
        /// The table.
        table: String,
        /// The keys.
        keys: Vec<Blob>,
    },
    /// Entries by the beginning of their key.
    #[serde(rename = "tables.find")]
    Find {
        /// The table.
        table: String,
        /// What keys begin with.
        prefix: String,
        /// What keys are greater than.
        after: String,
        /// How many at most.
        limit: u32,
    },
    /// Entries are stored.
    #[serde(rename = "tables.put")]
    Put {
        /// The table.
        table: String,
        /// Keys and values in turns.
        entries: Vec<Blob>,
    },
    /// One request.
    #[serde(rename = "http-client.send")]
    Send {
        /// It.
        request: Asked,
    },
    /// Several.
    #[serde(rename = "http-client.send-all")]
    SendAll {
        /// They.
        requests: Vec<Asked>,
    },
    /// One through `wasi:http`.
    #[serde(rename = "wasi:http.handle")]
    Handle {
        /// It.
        request: Asked,
    },
}

impl Import {
    /// Every request in it.
    pub fn requests(&self) -> &[Asked] {
        match self {
            Self::Send { request } | Self::Handle { request } => std::slice::from_ref(request),
            Self::SendAll { requests } => requests,
            _ => &[],
        }
    }
}

/// What an import gave.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Given {
    /// Nothing: it gives none.
    #[default]
    Done,
    /// A time or a random number.
    Number(u64),
    /// Items of a table: values, or keys and values in turns.
    Items(Vec<Blob>),
    /// A table that cannot be used.
    TableDenied(String),
    /// A key, value or list that cannot be used.
    TableInvalid(String),
    /// The store failed.
    TableFailed(String),
    /// The answers to requests, in their order.
    Answers(Vec<Answered>),
}

impl Given {
    /// The number in it. A tape that somebody has changed may hold anything: then what the host says.
    pub(super) fn number(self, otherwise: u64) -> u64 {
        match self {
            Self::Number(number) => number,
            _ => otherwise,
        }
    }

    /// The one answer in it.
    pub(super) fn answer(self) -> Answered {
        let first = match self {
            Self::Answers(answers) => answers.into_iter().next(),
            _ => None,
        };
        first.unwrap_or_else(nothing)
    }

    /// As many answers as there were requests.
    pub(super) fn answers(self, count: usize) -> Vec<Answered> {
        let mut answers = match self {
            Self::Answers(answers) => answers,
            _ => Vec::new(),
        };
        answers.resize_with(count, nothing);
        answers
    }
}

/// The answer of a tape that has none.
fn nothing() -> Answered {
    Answered::Denied("the recording has no answer to this".to_owned())
}

/// Who writes down what is imported, or answers from what was written down.
pub trait Tape: Send + Sync {
    /// The answer to a request or to a look into a table, where the tape has it. `None`: the host is to ask who knows, and
    /// to [`Tape::note`] what it was told.
    fn answer(&self, call: &Import) -> Option<Given>;

    /// An import that was called, and what it gave. Gives what the plugin is to see.
    fn note(&self, call: Import, given: Given) -> Given;
}

/// A recording that is made or played back.
#[derive(Clone)]
pub struct Recording {
    /// Time and random numbers that repeat.
    pub senses: FixedSenses,
    /// Where imports are written down, or answered from.
    pub tape: Arc<dyn Tape>,
}
