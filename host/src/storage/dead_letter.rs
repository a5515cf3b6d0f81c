//! A record that could not be processed, with everything needed to look at it and to replay it.

use serde::{Deserialize, Serialize};

use super::checkpoint::base64_bytes;

/// A record that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Given by the store when it is committed; 0 before. Grows, never reused.
    pub id: u64,
    /// The flow.
    pub flow: String,
    /// The run.
    pub run: String,
    /// The stage that could not process it.
    pub stage: String,
    /// Name of the stage's plugin.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// `sha256:…` of the component.
    pub digest: String,
    /// `sha256:…` of its config.
    pub config_digest: String,
    /// The stream that the record was in.
    pub stream: String,
    /// `json` or `bytes`.
    pub form: String,
    /// Whether the record asks for a delete.
    pub delete: bool,
    /// Its key.
    #[serde(with = "base64_bytes")]
    pub key: Vec<u8>,
    /// Its headers.
    #[serde(with = "base64_bytes")]
    pub headers: Vec<u8>,
    /// Its payload, as the stage got it.
    #[serde(with = "base64_bytes")]
    pub payload: Vec<u8>,
    /// What kind of fault: `permanent`, `trap`, ...
    pub fault: String,
    /// What the stage said.
    pub message: String,
    /// Where: file and line, path, URL. Empty when unknown.
    pub location: String,
    /// The plugin's backtrace, for traps.
    pub backtrace: Option<String>,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}
