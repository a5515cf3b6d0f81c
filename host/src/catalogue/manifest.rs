//! What a plugin says of itself: the manifest, embedded in the component as the custom section `crossdock:manifest`.
//!
//! Fields that this version does not know are ignored, so that a plugin built with a later SDK can still be shown.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::flow::{
    schema::{self, TooMuch},
    steers, visible,
};

/// Name of the custom section.
pub const SECTION: &str = "crossdock:manifest";
/// A manifest larger than this many bytes is refused.
pub const MAX_BYTES: usize = 256 * 1024;

/// What a plugin can be in a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Reads records.
    Source,
    /// Changes records.
    Transformer,
    /// Writes records.
    Sink,
}

impl Kind {
    /// All of them, in the order of a flow.
    pub const ALL: [Self; 3] = [Self::Source, Self::Transformer, Self::Sink];

    /// The word used in the contract, in flow files and by people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transformer => "transformer",
            Self::Sink => "sink",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = ManifestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| ManifestError::UnknownKind(text.to_owned()))
    }
}

/// What a plugin promises about delivery; the label of a flow is computed from all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// A source that reads the same records again from the same snapshot.
    Replayable,
    /// A source (what it gave is gone) or a transformer (the same input may give another output).
    Volatile,
    /// A transformer whose output depends on its input and config alone.
    Deterministic,
    /// A sink whose output holds every record exactly once, also after a crash.
    ExactlyOnce,
    /// A sink for which writing a record twice is as good as once.
    Idempotent,
    /// A sink that may hold records twice after a crash.
    AtLeastOnce,
}

impl Delivery {
    /// The word used in manifests and shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replayable => "replayable",
            Self::Volatile => "volatile",
            Self::Deterministic => "deterministic",
            Self::ExactlyOnce => "exactly-once",
            Self::Idempotent => "idempotent",
            Self::AtLeastOnce => "at-least-once",
        }
    }

    /// Whether a plugin of this kind can promise it.
    pub fn fits(self, kind: Kind) -> bool {
        match kind {
            Kind::Source => matches!(self, Self::Replayable | Self::Volatile),
            Kind::Transformer => matches!(self, Self::Deterministic | Self::Volatile),
            Kind::Sink => matches!(
                self,
                Self::ExactlyOnce | Self::Idempotent | Self::AtLeastOnce
            ),
        }
    }

    /// Whether it promises less than another one of the same kind.
    pub fn is_weaker_than(self, other: Self) -> bool {
        let rank = |promise| match promise {
            Self::Volatile | Self::AtLeastOnce => 0,
            Self::Idempotent => 1,
            Self::Replayable | Self::Deterministic | Self::ExactlyOnce => 2,
        };
        rank(self) < rank(other)
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Short name, `[a-z0-9-]`: what flow files write.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// One sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// SPDX expression.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub license: String,
    /// Words to find it by in a catalogue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Where to read more, by name (`documentation`, `source`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// What it can be in a flow.
    pub kinds: BTreeMap<Kind, KindSpec>,
    /// What it asks for.
    #[serde(default)]
    pub permissions: Permissions,
}

/// One kind of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KindSpec {
    /// JSON Schema (2020-12) of the config object.
    #[serde(default = "any_object")]
    pub config: Value,
    /// What it promises. `None`: nothing, which counts as the weakest promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

fn any_object() -> Value {
    serde_json::json!({ "type": "object" })
}

/// What a plugin asks for. Nothing is given that the operator has not granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Permissions {
    /// Folders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileWish>,
    /// Named remote systems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<Wish>,
    /// Keyed maps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<Wish>,
    /// URLs without a connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpWish>,
    /// Raw TCP connections.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tcp: Vec<TcpWish>,
    /// Clocks in nanoseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub precise_clock: Vec<Wish>,
    /// More than the usual limits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitWish>,
}

impl Permissions {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Every wish in words that follow "asks to": `read files`, `send requests to https://api.example.com/`.
    pub fn in_words(&self) -> Vec<(String, &Wish)> {
        let mut list: Vec<(String, &Wish)> = Vec::new();
        for files in &self.files {
            let verb = match files.access {
                Access::Read => "read files",
                Access::Write => "write files",
            };
            list.push((verb.to_owned(), &files.wish));
        }
        let same = |words: &'static str| move |wish| (words.to_owned(), wish);
        list.extend(self.connections.iter().map(same("use a connection")));
        list.extend(self.tables.iter().map(same("use a table")));
        list.extend(self.http.iter().map(|http| {
            let whom = named(&http.url, "URLs that its config names");
            (format!("send requests to {whom}"), &http.wish)
        }));
        list.extend(self.tcp.iter().map(|tcp| {
            let whom = named(&tcp.address, "hosts that its config names");
            (format!("connect to {whom}"), &tcp.wish)
        }));
        list.extend(
            self.precise_clock
                .iter()
                .map(same("measure time in nanoseconds")),
        );
        for limit in &self.limits {
            let memory = limit
                .memory
                .map(|bytes| format!("{} MiB of memory", bytes.div_ceil(1 << 20)));
            let time = limit
                .call_ms
                .map(|millis| format!("{millis} ms for a call"));
            let parts: Vec<String> = memory.into_iter().chain(time).collect();
            list.push((format!("take {}", parts.join(" and ")), &limit.wish));
        }
        list
    }
}

fn named<'a>(written: &'a str, otherwise: &'a str) -> &'a str {
    if written.is_empty() {
        otherwise
    } else {
        written
    }
}

/// How a folder is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Files are read.
    Read,
    /// Files are created, changed and removed.
    Write,
}

/// A wish for folders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileWish {
    /// How they are used.
    pub access: Access,
    /// JSON pointers of the config's fields that name them: `/file`, `/directory`. The host lets no two stages write
    /// what is named like this; `{stream}` in it stands for the stream of a record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// The rest of the wish.
    #[serde(flatten)]
    pub wish: Wish,
}

/// A wish for something named by the operator: what all wishes have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Why, for the operator.
    #[serde(default)]
    pub reason: String,
    /// It works without, or some configs do.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// The kinds that need it. All of the plugin's when it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Kind>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "what serde calls it with"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Wish {
    /// Whether it is for this kind.
    pub fn is_for(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

/// A wish for URLs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpWish {
    /// What a grant must cover: `GET https://api.example.com/v1`. Empty: what its config names.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// The rest of the wish.
    #[serde(flatten)]
    pub wish: Wish,
}

/// A wish for raw connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpWish {
    /// What a grant must cover: `db.example.com:5432`. Empty: what its config names.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// The rest of the wish.
    #[serde(flatten)]
    pub wish: Wish,
}

/// A wish for more than the usual limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LimitWish {
    /// Bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Milliseconds for one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_ms: Option<u64>,
    /// The rest of the wish.
    #[serde(flatten)]
    pub wish: Wish,
}

/// Why a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not the JSON that was expected.
    #[error("the manifest is malformed: {0}")]
    Malformed(String),
    /// Larger than [`MAX_BYTES`].
    #[error("the manifest has {0} bytes; {MAX_BYTES} are allowed")]
    TooLarge(usize),
    /// The name cannot be written in a flow file.
    #[error("the manifest's name {0:?} is not made of a-z, 0-9 and `-` (1 to 64 of them)")]
    Name(String),
    /// The version is no semantic version.
    #[error("the manifest's version {version:?} is no semantic version like 1.2.3: {reason}")]
    Version {
        /// As written.
        version: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A promise that the kind cannot make.
    #[error(
        "the manifest says `delivery: {delivery}` for its {kind}, which is not a promise of a {kind}"
    )]
    Delivery {
        /// The kind.
        kind: Kind,
        /// The promise.
        delivery: Delivery,
    },
    /// A config schema that could keep the host busy without an end.
    #[error("the manifest's config schema of its {kind} is refused: {reason}")]
    Schema {
        /// The kind.
        kind: Kind,
        /// What is wrong with it.
        reason: TooMuch,
    },
    /// A text that could show people something else than what it is.
    #[error("the manifest has letters in it that steer a terminal or turn texts around: `{0}`")]
    Steers(String),
    /// No kind at all.
    #[error("the manifest names no kind: `kinds` needs `source`, `transformer` or `sink`")]
    NoKind,
    /// A word that is no kind.
    #[error("{0:?} is no kind of plugin: source, transformer or sink")]
    UnknownKind(String),
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// When it is no JSON of the expected form, or name, version or a promise cannot be right.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_BYTES {
            return Err(ManifestError::TooLarge(bytes.len()));
        }
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|error| ManifestError::Malformed(error.to_string()))?;
        manifest.verify()?;
        let own = serde_json::to_value(&manifest)
            .map_err(|error| ManifestError::Malformed(error.to_string()))?;
        match steering(&own) {
            None => Ok(manifest),
            Some(text) => {
                let start: String = text.chars().take(100).collect();
                Err(ManifestError::Steers(visible(&start).into_owned()))
            }
        }
    }

    /// One of its kinds.
    pub fn kind(&self, kind: Kind) -> Option<&KindSpec> {
        self.kinds.get(&kind)
    }

    fn verify(&self) -> Result<(), ManifestError> {
        let usable = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.name.is_empty() || self.name.len() > 64 || !self.name.bytes().all(usable) {
            return Err(ManifestError::Name(self.name.clone()));
        }
        semver::Version::parse(&self.version).map_err(|error| ManifestError::Version {
            version: self.version.clone(),
            reason: error.to_string(),
        })?;
        if self.kinds.is_empty() {
            return Err(ManifestError::NoKind);
        }
        for (&kind, spec) in &self.kinds {
            if let Some(delivery) = spec.delivery.filter(|delivery| !delivery.fits(kind)) {
                return Err(ManifestError::Delivery { kind, delivery });
            }
            // One that is malformed is told when a config is checked against it; this one must never be.
            match schema::affordable(&spec.config, None) {
                Ok(()) | Err(TooMuch::Foreign(_) | TooMuch::InnerId) => {}
                Err(reason) => return Err(ManifestError::Schema { kind, reason }),
            }
        }
        Ok(())
    }
}

/// A text in a value that has something other than letters and lines.
fn steering(value: &Value) -> Option<&str> {
    let wrong = |text: &&str| text.contains(|c| steers(c) && !matches!(c, '\n' | '\r' | '\t'));
    match value {
        Value::String(text) => Some(text.as_str()).filter(wrong),
        Value::Array(values) => values.iter().find_map(steering),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let name = Some(name.as_str()).filter(wrong);
            name.or_else(|| steering(value))
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Value {
        json!({
            "name": "csv", "version": "0.1.0", "description": "Reads and writes CSV", "license": "Apache-2.0",
            "links": { "documentation": "docs/csv" },
            "kinds": {
                "source": { "config": { "type": "object" }, "delivery": "replayable" },
                "sink": { "config": { "type": "object" }, "delivery": "exactly-once" },
            },
            "permissions": { "files": [{ "access": "read", "reason": "reads the files that `files` names" }] },
            "added-later": true,
        })
    }

    fn parse(value: &Value) -> Result<Manifest, ManifestError> {
        Manifest::parse(value.to_string().as_bytes())
    }

    #[test]
    fn a_manifest_is_read_and_what_is_unknown_is_ignored() {
        let manifest = parse(&sample()).unwrap();
        assert_eq!(manifest.name, "csv");
        assert_eq!(
            manifest.kind(Kind::Source).unwrap().delivery,
            Some(Delivery::Replayable)
        );
        assert_eq!(
            manifest.kind(Kind::Sink).unwrap().delivery,
            Some(Delivery::ExactlyOnce)
        );
        assert!(manifest.kind(Kind::Transformer).is_none());
        assert_eq!(manifest.permissions.files[0].access, Access::Read);
    }

    #[test]
    fn texts_that_steer_a_terminal_are_refused() {
        let attack = "reads\u{1b}[1A\u{1b}[2K files";
        for at in [
            "/description",
            "/links/documentation",
            "/permissions/files/0/reason",
        ] {
            let mut manifest = sample();
            *manifest.pointer_mut(at).unwrap() = attack.into();
            let refused = parse(&manifest).unwrap_err().to_string();
            assert!(
                refused.ends_with(r"`reads\u{1b}[1A\u{1b}[2K files`"),
                "{refused}"
            );
        }
        let mut manifest = sample();
        manifest["kinds"]["sink"]["config"] = json!({ "\u{202e}title": 1 });
        assert!(matches!(parse(&manifest), Err(ManifestError::Steers(_))));
        manifest["kinds"]["sink"]["config"] = json!({ "description": "two\nlines\tשלום" });
        assert!(parse(&manifest).is_ok());
    }

    #[test]
    fn every_way_to_be_wrong_is_named() {
        let with = |field: &str, value: Value| {
            let mut manifest = sample();
            manifest[field] = value;
            parse(&manifest).unwrap_err()
        };
        assert!(matches!(
            with("name", json!("CSV files")),
            ManifestError::Name(_)
        ));
        assert!(matches!(with("name", json!("")), ManifestError::Name(_)));
        assert!(matches!(
            with("version", json!("1")),
            ManifestError::Version { .. }
        ));
        assert_eq!(with("kinds", json!({})), ManifestError::NoKind);
        let endless = with("kinds", json!({ "source": { "config": { "$ref": "#" } } }));
        assert_eq!(
            endless,
            ManifestError::Schema {
                kind: Kind::Source,
                reason: TooMuch::Endless
            }
        );
        assert!(
            with("kinds", json!({ "filter": {} }))
                .to_string()
                .contains("filter")
        );
        let wrong = with("kinds", json!({ "source": { "delivery": "exactly-once" } }));
        assert_eq!(
            wrong,
            ManifestError::Delivery {
                kind: Kind::Source,
                delivery: Delivery::ExactlyOnce
            }
        );
        assert!(matches!(
            Manifest::parse(b"{"),
            Err(ManifestError::Malformed(_))
        ));
        assert!(matches!(
            Manifest::parse(&vec![b' '; MAX_BYTES + 1]),
            Err(ManifestError::TooLarge(_))
        ));
    }

    #[test]
    fn kinds_are_written_as_they_are_read() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse::<Kind>().unwrap(), kind);
        }
        assert!("connector".parse::<Kind>().is_err());
    }
}
