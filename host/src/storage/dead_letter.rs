//! A record that could not be processed, with everything needed to look at it and to replay it.

use std::collections::BTreeSet;

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
    /// When a person changed it last, in milliseconds since 1970; `None`: it is as the stage got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at_ms: Option<u64>,
}

/// What a dead letter takes beside its texts and its record: names of fields, its places in the indexes.
const OVERHEAD: usize = 512;

impl DeadLetter {
    /// What it counts against a limit on the size of all: its record, every text that is kept with it, and what keeping
    /// it takes, in bytes. So one with nothing in it counts as well.
    pub fn weight(&self) -> u64 {
        self.memory() as u64
    }

    /// The same, as bytes that it keeps in memory.
    pub fn memory(&self) -> usize {
        let texts = [
            &self.flow,
            &self.run,
            &self.stage,
            &self.plugin,
            &self.version,
            &self.digest,
            &self.config_digest,
            &self.stream,
            &self.form,
            &self.fault,
            &self.message,
            &self.location,
        ];
        let texts: usize = texts.into_iter().map(String::len).sum();
        let backtrace = self.backtrace.as_ref().map_or(0, String::len);
        let record = self.key.len() + self.headers.len() + self.payload.len();
        record + texts + backtrace + OVERHEAD
    }
}

/// What a person changes of a dead letter before it is given again. `None` leaves a part as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterEdit {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The headers.
    pub headers: Option<Vec<u8>>,
    /// The payload.
    pub payload: Option<Vec<u8>>,
    /// `json` or `bytes`.
    pub form: Option<String>,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

impl DeadLetterEdit {
    /// Changes a dead letter.
    pub fn apply(self, letter: &mut DeadLetter) {
        let Self {
            key,
            headers,
            payload,
            form,
            at_ms,
        } = self;
        letter.edited_at_ms = Some(at_ms);
        letter.key = key.unwrap_or_else(|| std::mem::take(&mut letter.key));
        letter.headers = headers.unwrap_or_else(|| std::mem::take(&mut letter.headers));
        letter.payload = payload.unwrap_or_else(|| std::mem::take(&mut letter.payload));
        letter.form = form.unwrap_or_else(|| std::mem::take(&mut letter.form));
    }
}

/// How long and how much of a flow's dead letters is kept. What is over it goes, the oldest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Those that were made before this go, in milliseconds since 1970.
    pub not_before_ms: Option<u64>,
    /// Those beyond this many bytes go (see [`DeadLetter::weight`]).
    pub max_bytes: Option<u64>,
}

#[cfg(test)]
impl DeadLetter {
    /// One for tests, with something in every field that has to have something.
    pub(crate) fn sample() -> Self {
        Self {
            id: 17,
            flow: "prices".to_owned(),
            run: "r1".to_owned(),
            stage: "map".to_owned(),
            plugin: "mapper".to_owned(),
            version: "0.1.0".to_owned(),
            digest: "sha256:aa".to_owned(),
            config_digest: "sha256:bb".to_owned(),
            stream: "products".to_owned(),
            form: "json".to_owned(),
            delete: false,
            key: b"sku-1".to_vec(),
            headers: Vec::new(),
            payload: b"{\"sku\": \"sku-1\",\n \"price\": 12.50}".to_vec(),
            fault: "permanent".to_owned(),
            message: "no price".to_owned(),
            location: "map.yaml:12".to_owned(),
            backtrace: None,
            at_ms: 1_700_000_000_000,
            edited_at_ms: None,
        }
    }
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
    /// Only of this plugin.
    pub plugin: Option<String>,
    /// Only of this version of the plugin.
    pub version: Option<String>,
    /// Only with this kind of fault: `permanent`, `trap`, ...
    pub fault: Option<String>,
    /// Only made then or later, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Only made before then, in milliseconds since 1970.
    pub until_ms: Option<u64>,
    /// Only these; empty: whatever their id.
    pub ids: BTreeSet<u64>,
    /// Only where the message, location, key or payload contains this text, ASCII letters in either case.
    pub text: Option<String>,
    /// Only with a greater id: for the next page, the last id of the one before.
    pub after: u64,
    /// Only up to this id.
    pub up_to: Option<u64>,
    /// At most this many.
    pub limit: usize,
    /// About this many bytes (see [`DeadLetter::weight`]); one is always given.
    pub bytes: u64,
    /// Without headers, payload and backtrace, which then count for nothing.
    pub brief: bool,
}

impl Default for DeadLetterFilter {
    fn default() -> Self {
        Self {
            flow: None,
            run: None,
            stage: None,
            stream: None,
            plugin: None,
            version: None,
            fault: None,
            since_ms: None,
            until_ms: None,
            ids: BTreeSet::new(),
            text: None,
            after: 0,
            up_to: None,
            limit: 100,
            bytes: u64::MAX,
            brief: false,
        }
    }
}

impl DeadLetterFilter {
    /// Whether it asks for all there are, apart from where it begins and ends and what is shown.
    pub fn is_all(&self) -> bool {
        let Self {
            after,
            up_to,
            limit,
            bytes,
            brief,
            ..
        } = *self;
        *self
            == Self {
                after,
                up_to,
                limit,
                bytes,
                brief,
                ..Self::default()
            }
    }

    /// The greatest id that can match.
    pub(super) fn last(&self) -> u64 {
        let up_to = self.up_to.unwrap_or(u64::MAX);
        self.ids.last().map_or(up_to, |last| up_to.min(*last))
    }

    /// Whether a dead letter is asked for, by everything but `after` and `limit`.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        is(&self.flow, &letter.flow)
            && is(&self.run, &letter.run)
            && is(&self.stage, &letter.stage)
            && is(&self.stream, &letter.stream)
            && is(&self.plugin, &letter.plugin)
            && is(&self.version, &letter.version)
            && is(&self.fault, &letter.fault)
            && self.since_ms.is_none_or(|since| letter.at_ms >= since)
            && self.until_ms.is_none_or(|until| letter.at_ms < until)
            && (self.ids.is_empty() || self.ids.contains(&letter.id))
            && self.up_to.is_none_or(|last| letter.id <= last)
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
