//! A record that could not be processed, with everything needed to look at it and to replay it.

use serde::{Deserialize, Serialize};

use super::{StorageError, checkpoint::base64_bytes};

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

/// Which dead letters to list. The default is the first 100 of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Only of this flow.
    pub flow: Option<String>,
    /// Only of this run.
    pub run: Option<String>,
    /// Only of this stage.
    pub stage: Option<String>,
    /// Only of this stream.
    pub stream: Option<String>,
    /// Only with this kind of fault: `permanent`, `trap`, ...
    pub fault: Option<String>,
    /// Only where the message, location, key or payload contains this text, ASCII letters in either case.
    pub text: Option<String>,
    /// Only with a greater id: for the next page, the last id of the one before.
    pub after: u64,
    /// At most this many.
    pub limit: usize,
}

impl Default for DeadLetterFilter {
    fn default() -> Self {
        Self {
            flow: None,
            run: None,
            stage: None,
            stream: None,
            fault: None,
            text: None,
            after: 0,
            limit: 100,
        }
    }
}

impl DeadLetterFilter {
    /// Whether a dead letter is asked for, by everything but `after` and `limit`.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        is(&self.flow, &letter.flow)
            && is(&self.run, &letter.run)
            && is(&self.stage, &letter.stage)
            && is(&self.stream, &letter.stream)
            && is(&self.fault, &letter.fault)
            && self.text.as_deref().is_none_or(|text| {
                let places = [
                    letter.message.as_bytes(),
                    letter.location.as_bytes(),
                    &letter.key,
                    &letter.payload,
                ];
                places.iter().any(|place| contains(place, text.as_bytes()))
            })
    }
}

fn contains(place: &[u8], text: &[u8]) -> bool {
    text.is_empty()
        || place
            .windows(text.len())
            .any(|window| window.eq_ignore_ascii_case(text))
}

/// Reads a stored dead letter.
pub(super) fn parse(id: u64, json: &[u8]) -> Result<DeadLetter, StorageError> {
    serde_json::from_slice(json).map_err(|error| StorageError::Corrupt {
        what: format!("dead letter {id}"),
        message: error.to_string(),
    })
}
