//! What the config of a file source says about files, whatever is in them.

use crossdock_sdk::prelude::{Fault, Result};
use serde::Deserialize;

use crate::find;
use crate::text::Encoding;

/// One pattern or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// `files: data/*.csv`
    One(String),
    /// `files: [a.csv, b/*.csv]`
    Many(Vec<String>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl OneOrMany {
    /// All of them, in order.
    pub fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// What happens to a file that is not what it was when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnChange {
    /// The run stops and says which file it is.
    #[default]
    Reject,
    /// It is a new file: it is read from its start.
    ReadAgain,
}

/// What the config of a file source says about files.
#[derive(Debug, Clone)]
pub struct ReadSettings {
    /// Patterns, see [`crate::find::find`].
    pub files: Vec<String>,
    /// Whether a pattern may match nothing.
    pub allow_empty: bool,
    /// What happens to a file that has been replaced or shortened since it was read.
    pub changed: OnChange,
    /// The stream of all records; by default each file's stem.
    pub stream: Option<String>,
    /// Encoding of files without byte order mark.
    pub encoding: Encoding,
    /// A record longer than this is unreadable.
    pub max_record_bytes: usize,
}

/// The default of [`ReadSettings::max_record_bytes`]: 8 MiB.
pub const MAX_RECORD_BYTES: usize = 8 << 20;

impl ReadSettings {
    /// Refuses limits that make no sense.
    pub fn check(&self) -> Result<()> {
        if (64..=(256 << 20)).contains(&self.max_record_bytes) {
            return Ok(());
        }
        Err(
            Fault::config("`max-record-bytes` must be between 64 and 268435456")
                .field("/max-record-bytes"),
        )
    }

    /// The streams that the files there are now belong to, in order, each once.
    pub fn streams(&self) -> Result<Vec<String>> {
        let mut streams: Vec<String> = Vec::new();
        for path in self.find()? {
            let stream = self.stream_of(&path);
            if !streams.contains(&stream) {
                streams.push(stream);
            }
        }
        Ok(streams)
    }

    /// The files that are there now.
    pub fn find(&self) -> Result<Vec<String>> {
        Ok(find::find(&self.files, self.allow_empty)?)
    }

    /// The stream that the records of this file belong to.
    pub fn stream_of(&self, path: &str) -> String {
        self.stream
            .clone()
            .unwrap_or_else(|| find::stem(path).to_owned())
    }
}
