//! The index of a catalogue: one signed document that says which plugins a namespace of a registry has, and what its
//! publisher has to say of their versions. Hosts keep a copy, search it, and choose versions by it.
//!
//! It is an artifact in the registry like the plugins themselves: `oci://HOST/NAMESPACE/catalogue`, under the tag `index`,
//! signed as plugins are. So whoever can pull plugins can pull it, mirrors and logins work as they do for plugins, and
//! there is no server of our own to run, to secure and to trust: what a registry or a mirror does to it is found out by
//! the signature, the serial and the time until which it counts.
//!
//! An index speaks of what is in its own namespace and of nothing else, and names no registry: a mirror serves it as it is.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | the document, and what can be wrong with it |
//! | `notes.rs` | what a publisher writes by hand: yanks, advisories, channels |
//! | `build.rs` | the next index, of what is in the registry, the one before, and the notes |
//! | `artifact.rs` | the index as an artifact in a registry |
//! | `kept.rs` | the copy of a host, and the highest serial that it has seen |
//! | `search.rs` | finding plugins by words |

use std::collections::BTreeMap;

use jiff::Timestamp;
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

use super::{
    conformance::Level,
    manifest::Kind,
    reference::{Repository, is_digest, is_path},
};

pub mod artifact;
pub mod build;
pub mod kept;
pub mod notes;
pub mod search;

pub use artifact::SignedIndex;
pub use build::{Builder, Built};
pub use kept::{Kept, KeptIndexes, SeenError};
pub use notes::NotesSpec;
pub use search::{Hit, search};

/// The last part of its repository. No plugin can be published under that name.
pub const NAME: &str = "catalogue";
/// The form of the document. A later one is not read.
pub const FORM: u32 = 1;
/// A larger index is refused, in bytes: at some hundred bytes a version it is for tens of thousands of them.
pub const MAX_INDEX: u64 = 16 << 20;
/// More plugins are in no index.
pub const MAX_PLUGINS: usize = 20_000;
/// More versions of one plugin are in no index.
pub const MAX_VERSIONS: usize = 1_000;
/// Advisories, channels and keywords of one plugin.
const MAX_FEW: usize = 100;
/// Characters of a name, a keyword or a licence.
const MAX_WORD: usize = 128;
/// Characters of a sentence: a description, a reason.
const MAX_SENTENCE: usize = 500;
/// Characters of an advisory.
const MAX_TEXT: usize = 4_000;

/// The index of a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Index {
    /// [`FORM`].
    pub form: u32,
    /// The namespace that it speaks for: `acme`, `acme/shop`; empty for a whole registry.
    pub namespace: String,
    /// Counts up: a host that has seen a higher one takes no lower one.
    pub serial: u64,
    /// When it was made.
    #[serde(with = "text")]
    pub created: Timestamp,
    /// Until when it counts. A later one must be there by then: who holds it back is found out.
    #[serde(with = "text")]
    pub expires: Timestamp,
    /// The plugins, by name.
    pub plugins: BTreeMap<String, Entry>,
}

/// A plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// Its repository below the namespace: `csv`, `connectors/csv`.
    pub path: String,
    /// Nobody should begin to use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<Deprecated>,
    /// What is wrong with some of its versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advisories: Vec<Advisory>,
    /// Names for versions that move: `stable`, `beta`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, Version>,
    /// Its versions.
    pub versions: BTreeMap<Version, Release>,
}

/// One version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Release {
    /// `sha256:…` of its manifest in the registry.
    pub manifest: String,
    /// `sha256:…` of the component.
    pub digest: String,
    /// Bytes of the component.
    pub size: u64,
    /// What it can be in a flow.
    pub kinds: Vec<Kind>,
    /// One sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// SPDX expression.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub licence: String,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// The version of the contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Version>,
    /// How far it keeps the contract, by the report that its publisher attached. A claim, and no proof.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conformance: BTreeMap<Kind, Level>,
    /// The report is signed by somebody whom the maker of the index trusts.
    #[serde(default)]
    pub attested: bool,
    /// What it asks for, in words that follow "asks to".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<String>,
    /// Why nobody should get it any more. It is still there for who has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yanked: Option<String>,
}

/// A plugin that nobody should begin to use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Deprecated {
    /// Why.
    pub reason: String,
    /// The plugin to use instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
}

impl Deprecated {
    /// In one line.
    pub fn words(&self) -> String {
        match &self.replacement {
            Some(other) => format!("deprecated: {}; use {other} instead", self.reason),
            None => format!("deprecated: {}", self.reason),
        }
    }
}

/// How bad it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something to know.
    Low,
    /// To be mended when there is time.
    Medium,
    /// To be mended soon.
    High,
    /// To be mended now.
    Critical,
}

impl Severity {
    /// The word shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What is wrong with some versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Advisory {
    /// The publisher's name for it.
    pub id: String,
    /// The versions that have it.
    pub affected: VersionReq,
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub text: String,
    /// The first version without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<Version>,
}

impl Advisory {
    /// Whether a version has it. In a range a pre-release counts as the version that it comes before: better a warning too
    /// many.
    pub fn affects(&self, version: &Version) -> bool {
        let plain = Version::new(version.major, version.minor, version.patch);
        self.affected.matches(version) || self.affected.matches(&plain)
    }

    /// In one line.
    pub fn words(&self) -> String {
        let severity = self.severity.as_str();
        let text = self.text.lines().next().unwrap_or_default();
        match &self.fixed {
            Some(fixed) => format!("{} ({severity}): {text}; fixed in {fixed}", self.id),
            None => format!(
                "{} ({severity}): {text}; there is no version without it",
                self.id
            ),
        }
    }
}

impl Entry {
    /// The version that is offered where none is named: the newest that is neither yanked nor a pre-release, else the newest
    /// that is not yanked.
    pub fn newest(&self) -> Option<(&Version, &Release)> {
        let offered = || {
            self.versions
                .iter()
                .rev()
                .filter(|(_, release)| release.yanked.is_none())
        };
        offered()
            .find(|(version, _)| version.pre.is_empty())
            .or_else(|| offered().next())
    }

    /// Why a version is yanked, when it is.
    pub fn yanked(&self, version: &Version) -> Option<&str> {
        self.versions.get(version)?.yanked.as_deref()
    }

    /// What is wrong with a version.
    pub fn advisories(&self, version: &Version) -> impl Iterator<Item = &Advisory> {
        self.advisories
            .iter()
            .filter(move |advisory| advisory.affects(version))
    }
}

/// Why a document is no index that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// Larger than [`MAX_INDEX`].
    #[error("the index has {0} bytes; {MAX_INDEX} are allowed")]
    TooLarge(u64),
    /// Not the JSON that was expected.
    #[error("the index is damaged: {0}")]
    Malformed(String),
    /// A newer crossdock made it.
    #[error("the index is of form {0}, and this crossdock knows {FORM}: use a newer one")]
    Newer(u32),
    /// Something in it cannot be right.
    #[error("the index is wrong: {0}")]
    Wrong(String),
}

impl Index {
    /// Reads and checks an index.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        #[derive(Deserialize)]
        struct Form {
            form: u32,
        }
        if bytes.len() as u64 > MAX_INDEX {
            return Err(IndexError::TooLarge(bytes.len() as u64));
        }
        let malformed = |error: serde_json::Error| IndexError::Malformed(error.to_string());
        let Form { form } = serde_json::from_slice(bytes).map_err(malformed)?;
        if form > FORM {
            return Err(IndexError::Newer(form));
        }
        let index: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        index.verify().map_err(IndexError::Wrong)?;
        Ok(index)
    }

    /// As it is written: the same index is the same bytes.
    ///
    /// # Errors
    /// [`IndexError`]: nobody could read it.
    pub fn write(&self) -> Result<Vec<u8>, IndexError> {
        self.verify().map_err(IndexError::Wrong)?;
        let mut bytes =
            serde_json::to_vec(self).map_err(|error| IndexError::Malformed(error.to_string()))?;
        bytes.push(b'\n');
        if bytes.len() as u64 > MAX_INDEX {
            return Err(IndexError::TooLarge(bytes.len() as u64));
        }
        Ok(bytes)
    }

    /// Whether it may speak for a namespace: its own one, or a mirror of it, which has something in front.
    pub fn speaks_for(&self, namespace: &str) -> bool {
        namespace == self.namespace
            || (!self.namespace.is_empty()
                && namespace
                    .strip_suffix(&self.namespace)
                    .is_some_and(|front| front.ends_with('/')))
    }

    /// What it says of a repository that lies in the namespace of `place`, the repository of the index.
    pub fn entry(&self, place: &Repository, repository: &Repository) -> Option<&Entry> {
        let path = below(place, repository)?;
        let entry = self.plugins.get(repository.name())?;
        (entry.path == path).then_some(entry)
    }

    fn verify(&self) -> Result<(), String> {
        if self.form == 0 {
            return Err("`form` is no number of a form".to_owned());
        }
        if self.serial == 0 {
            return Err("`serial` begins with 1".to_owned());
        }
        if self.expires <= self.created {
            return Err("it expires before it was made".to_owned());
        }
        if !self.namespace.is_empty() && !is_path(&self.namespace) {
            return Err(format!("{:?} is no namespace", self.namespace));
        }
        if self.plugins.len() > MAX_PLUGINS {
            return Err(format!("it has more than {MAX_PLUGINS} plugins"));
        }
        for (name, entry) in &self.plugins {
            entry
                .verify(name)
                .map_err(|why| format!("{name:?}: {why}"))?;
        }
        Ok(())
    }
}

/// The path of a repository below the namespace that `place`, the repository of an index, speaks for.
pub fn below<'r>(place: &Repository, repository: &'r Repository) -> Option<&'r str> {
    if place.host() != repository.host() {
        return None;
    }
    within(place.namespace(), repository.path())
}

/// The part of a path behind a namespace.
fn within<'p>(namespace: &str, path: &'p str) -> Option<&'p str> {
    match namespace {
        "" => Some(path),
        namespace => path.strip_prefix(namespace)?.strip_prefix('/'),
    }
}

impl Entry {
    fn verify(&self, name: &str) -> Result<(), String> {
        let last = self.path.rsplit('/').next().unwrap_or_default();
        if !is_path(&self.path) || last != name || name == NAME {
            return Err(format!("{:?} is no repository of it", self.path));
        }
        if self.versions.is_empty() || self.versions.len() > MAX_VERSIONS {
            return Err(format!(
                "it has {} versions; 1 to {MAX_VERSIONS} are allowed",
                self.versions.len()
            ));
        }
        few("advisories", self.advisories.len())?;
        few("channels", self.channels.len())?;
        if let Some(deprecated) = &self.deprecated {
            shown("the reason", &deprecated.reason, MAX_SENTENCE)?;
            shown(
                "the replacement",
                deprecated.replacement.as_deref().unwrap_or("-"),
                MAX_WORD,
            )?;
        }
        for advisory in &self.advisories {
            shown("the id of an advisory", &advisory.id, MAX_WORD)?;
            shown("an advisory", &advisory.text, MAX_TEXT)?;
        }
        for (channel, version) in &self.channels {
            if !super::version::is_channel(channel) {
                return Err(format!("{channel:?} is no name of a channel"));
            }
            if !self.versions.contains_key(version) {
                return Err(format!(
                    "the channel {channel} is {version}, which is not there"
                ));
            }
        }
        for (version, release) in &self.versions {
            release
                .verify()
                .map_err(|why| format!("{version}: {why}"))?;
        }
        Ok(())
    }
}

impl Release {
    fn verify(&self) -> Result<(), String> {
        if let Some(wrong) = [&self.manifest, &self.digest]
            .into_iter()
            .find(|one| !is_digest(one))
        {
            return Err(format!("{wrong:?} is no digest"));
        }
        few("keywords", self.keywords.len())?;
        few("permissions", self.permissions.len())?;
        shown("the description", &self.description, MAX_SENTENCE)?;
        shown("the licence", &self.licence, MAX_WORD)?;
        shown(
            "the reason",
            self.yanked.as_deref().unwrap_or_default(),
            MAX_SENTENCE,
        )?;
        for keyword in &self.keywords {
            shown("a keyword", keyword, MAX_WORD)?;
        }
        for permission in &self.permissions {
            shown("a permission", permission, MAX_SENTENCE)?;
        }
        Ok(())
    }

    /// The weakest of its kinds: what can be said of the whole.
    pub fn level(&self) -> Option<Level> {
        let of = |kind: &Kind| self.conformance.get(kind).copied();
        let levels: Option<Vec<Level>> = self.kinds.iter().map(of).collect();
        levels?.into_iter().min()
    }
}

fn few(what: &str, count: usize) -> Result<(), String> {
    if count > MAX_FEW {
        return Err(format!("it has {count} {what}; {MAX_FEW} are allowed"));
    }
    Ok(())
}

/// A text that terminals show: nothing in it moves the cursor or changes colours, and it has an end.
fn shown(what: &str, text: &str, most: usize) -> Result<(), String> {
    if text.chars().count() > most {
        return Err(format!("{what} has more than {most} characters"));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(format!("{what} has control characters"));
    }
    Ok(())
}

/// A text of a stranger as an index may have it: on one line, without what terminals obey, cut where it is too long.
fn tamed(text: &str, most: usize) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(most).collect::<String>().trim().to_owned()
}

/// Times as texts.
pub(super) mod text {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "what serde calls it with"
    )]
    pub(in crate::catalogue) fn serialize<S: Serializer>(
        time: &Timestamp,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(time)
    }

    pub(in crate::catalogue) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Timestamp, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
