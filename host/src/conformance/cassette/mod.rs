//! Cassettes: what a plugin imported while it worked on real systems, and what it made of it. Played back it is answered the
//! same, offline, and has to ask and give the same, byte for byte, whatever language it is written in: all that a plugin sees
//! is an import.
//!
//! On it are, call by call of the plugin: requests through `http-client` and `wasi:http`, looks into tables and what is put
//! into them, the time of day, random numbers, the log, metrics; each with its answer, in their order. The clocks and random
//! numbers of WASI repeat, from the cassette's start and seed. Its folder holds what the settings say, which are on the cassette too;
//! what it leaves there and in tables is compared. Raw TCP is never granted to a plugin that is recorded.
//! What looks like a secret is taken out of requests and answers before they are written.
//!
//! | file | what it is |
//! |---|---|
//! | `deck.rs` | writes imports down, answers from what was written down |
//! | `drive.rs` | what is done with the plugin meanwhile |
//! | `difference.rs` | where two recordings differ |

mod deck;
mod difference;
mod drive;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::{
    deck::{Event, Player, Recorder},
    drive::{Drive, Driven},
};
use super::settings::{KindSettings, Settings};
use crate::{
    catalogue::Kind,
    plugin::{Blob, FixedSenses, HttpSend, NoHttp, Plugin},
};

/// Version of the format.
const VERSION: u32 = 2;
/// A larger cassette is not written.
const MAX_BYTES: usize = 64 << 20;

/// One call of the plugin, what it imported meanwhile, and what it gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(
    clippy::struct_field_names,
    reason = "the file has a list of these, where `call` says what was called"
)]
struct Call {
    call: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    imports: Vec<Event>,
    gave: Value,
}

/// What was recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cassette {
    #[serde(rename = "cassette")]
    format: u32,
    plugin: String,
    version: String,
    digest: String,
    kind: Kind,
    /// Milliseconds since 1970 at which it began.
    started: u64,
    seed: u64,
    /// How many records a source was asked for.
    records: usize,
    settings: KindSettings,
    calls: Vec<Call>,
    /// What it has left in its folder and in tables.
    #[serde(default)]
    left: BTreeMap<String, Blob>,
}

/// The first field of every cassette, whatever its version.
#[derive(Deserialize)]
struct Format {
    cassette: u32,
}

/// How much is on a cassette.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Length {
    /// Calls of the plugin.
    pub calls: usize,
    /// Calls of its imports.
    pub imports: usize,
    /// Requests among them.
    pub requests: usize,
}

/// Why a cassette cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CassetteError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is none.
    #[error("{path} is no cassette of this crossdock: {why}; `crossdock plugin record` makes one")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The plugin is not what was recorded.
    #[error("the cassette is of a {kind} called `{plugin}`, but this is {found}")]
    OtherPlugin {
        /// What was recorded.
        plugin: String,
        /// As what.
        kind: Kind,
        /// What was given.
        found: String,
    },
    /// There is nothing to record.
    #[error("{0}")]
    Nothing(String),
}

/// What came of playing a cassette back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Played {
    /// What was done.
    #[serde(flatten)]
    pub length: Length,
    /// Every difference. None: it did the same, byte for byte.
    pub differences: Vec<String>,
}

impl Cassette {
    /// Lets a plugin work against real systems and keeps what it asked, was answered and gave.
    ///
    /// # Errors
    /// When it is not of that kind, or there is no room for what was recorded.
    pub async fn record(
        plugin: &Arc<Plugin>,
        kind: Kind,
        settings: &Settings,
        network: Arc<dyn HttpSend>,
        records: usize,
    ) -> Result<Self, CassetteError> {
        let now = std::time::SystemTime::now();
        let since = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let started = u64::try_from(since.as_millis()).unwrap_or_default();
        let settings = settings.kind(kind);
        let drive = Drive {
            plugin,
            kind,
            settings: &settings,
            records,
            senses: FixedSenses {
                start_ms: started,
                seed: started,
            },
        };
        let deck = Arc::new(Recorder::default());
        let Driven { calls, left } = drive.run(network, Arc::clone(&deck) as _).await?;
        if deck.is_full() {
            return Err(too_large(MAX_BYTES));
        }
        Ok(Self {
            format: VERSION,
            plugin: plugin.name().to_owned(),
            version: plugin.version().to_owned(),
            digest: plugin.digest().to_owned(),
            kind,
            started,
            seed: started,
            records,
            settings,
            calls,
            left,
        })
    }

    /// How much is on it.
    pub fn length(&self) -> Length {
        let imports = || self.calls.iter().flat_map(|call| &call.imports);
        Length {
            calls: self.calls.len(),
            imports: imports().count(),
            requests: imports().map(|event| event.call.requests().len()).sum(),
        }
    }

    /// The kind of plugin that was recorded.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The last call and its fault, when the recording ended with one.
    pub fn fault(&self) -> Option<String> {
        let last = self.calls.last()?;
        let message = last.gave.get("fault")?.get("message")?.as_str()?;
        Some(format!("`{}`: {message}", last.call))
    }

    /// The file's text.
    ///
    /// # Errors
    /// When it is too large.
    pub fn to_text(&self) -> Result<String, CassetteError> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        if text.len() > MAX_BYTES {
            return Err(too_large(text.len()));
        }
        Ok(text + "\n")
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is no cassette.
    pub fn load(file: &Path) -> Result<Self, CassetteError> {
        let path = file.display().to_string();
        let text = std::fs::read(file).map_err(|source| CassetteError::Read {
            path: path.clone(),
            source,
        })?;
        let malformed = |why: String| CassetteError::Malformed {
            path: path.clone(),
            why,
        };
        let read = |error: serde_json::Error| malformed(error.to_string());
        let Format { cassette: format } = serde_json::from_slice(&text).map_err(read)?;
        if format != VERSION {
            return Err(malformed(format!("its format is {format}, not {VERSION}")));
        }
        serde_json::from_slice(&text).map_err(read)
    }

    /// Plays it back to a plugin, offline.
    ///
    /// # Errors
    /// When the plugin is another one.
    pub async fn play(self, plugin: &Arc<Plugin>) -> Result<Played, CassetteError> {
        if plugin.name() != self.plugin || !plugin.inspection().is(self.kind) {
            return Err(CassetteError::OtherPlugin {
                plugin: self.plugin,
                kind: self.kind,
                found: format!("`{}`", plugin.name()),
            });
        }
        let drive = Drive {
            plugin,
            kind: self.kind,
            settings: &self.settings,
            records: self.records,
            senses: FixedSenses {
                start_ms: self.started,
                seed: self.seed,
            },
        };
        let imports = self.calls.iter().map(|call| call.imports.clone());
        let deck = Arc::new(Player::new(imports));
        let driven = drive.run(Arc::new(NoHttp), Arc::clone(&deck) as _).await?;
        let (imports, requests, mut differences) = deck.result();
        differences.extend(difference::first_difference(&self.calls, &driven.calls));
        differences.extend(difference::left(&self.left, &driven.left));
        Ok(Played {
            length: Length {
                calls: driven.calls.len(),
                imports,
                requests,
            },
            differences,
        })
    }
}

fn too_large(bytes: usize) -> CassetteError {
    CassetteError::Nothing(format!(
        "the cassette would have {} MiB or more, {} are allowed: record fewer records",
        bytes >> 20,
        MAX_BYTES >> 20
    ))
}
