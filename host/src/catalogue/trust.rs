//! Whose plugins a project takes: `trust.yaml`, and what it says of an artifact with its signatures.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use serde::Serialize;

use super::{
    key::{KeyId, PublicKey},
    signature::{Signature, SignatureError, Subject},
};
use crate::flow::{
    Finding, Variables,
    document::{self, Loaded},
};

pub mod spec;
#[cfg(test)]
mod tests;

pub use spec::{Require, TrustSpec};

/// The name of the file in a project.
pub const FILE: &str = "trust.yaml";
/// Signatures of one artifact that are looked at; what is behind them does not count.
pub const MAX_SIGNATURES: usize = 32;

const AREA: &str = "trust";

/// Whose plugins a project takes.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    require: Require,
    publishers: Vec<Publisher>,
}

/// Somebody who publishes plugins.
#[derive(Debug, Clone)]
struct Publisher {
    name: String,
    namespaces: Vec<String>,
    require: Require,
    keys: Vec<Key>,
}

#[derive(Debug, Clone)]
struct Key {
    key: PublicKey,
    /// From here on it does not count any more.
    until: Option<Timestamp>,
}

/// What is to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// `registry/namespace/name`, where it comes from. `None` for a file that was handed over.
    pub repository: Option<&'a str>,
    /// What the signatures must be about.
    pub subject: Subject<'a>,
    /// The key that signed the version that is installed.
    pub pinned: Option<&'a KeyId>,
}

/// What `trust.yaml` says of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", rename_all = "kebab-case")]
pub enum Decision {
    /// Signed by a publisher who may publish there.
    Trusted {
        /// Who.
        publisher: String,
        /// With which key.
        key: KeyId,
    },
    /// Not signed by anybody known, which is allowed here.
    Unsigned {
        /// What is wrong with the signatures that are there.
        notes: Vec<String>,
    },
    /// Not signed by the key that signed the installed version: only a person can say whether that is right.
    Changed {
        /// Who signed it now, `None` when nobody known did.
        publisher: Option<String>,
        /// With which key.
        key: Option<KeyId>,
        /// The key of the installed version.
        pinned: KeyId,
    },
    /// Not to be installed.
    Refused {
        /// Why, in one line that says what to do.
        why: String,
        /// What is wrong with the signatures that are there.
        notes: Vec<String>,
    },
}

impl Decision {
    /// The decision in one line.
    pub fn words(&self) -> String {
        match self {
            Self::Trusted { publisher, key } => {
                format!("signed by {publisher} (key {})", key.short())
            }
            Self::Unsigned { notes } if notes.is_empty() => "not signed".to_owned(),
            Self::Unsigned { notes } => {
                format!("not signed by anybody known ({})", notes.join("; "))
            }
            Self::Changed {
                publisher: Some(publisher),
                key: Some(key),
                pinned,
            } => format!(
                "signed by {publisher} with the key {}, but the installed version was signed with {}: ask {publisher} \
                 whether the key was changed",
                key.short(),
                pinned.short()
            ),
            Self::Changed { pinned, .. } => format!(
                "not signed by anybody known, but the installed version was signed with the key {}: ask its publisher",
                pinned.short()
            ),
            Self::Refused { why, .. } => why.clone(),
        }
    }

    /// The key that a lock file is to remember.
    pub fn key(&self) -> Option<&KeyId> {
        match self {
            Self::Trusted { key, .. } => Some(key),
            Self::Changed { key, .. } => key.as_ref(),
            Self::Unsigned { .. } | Self::Refused { .. } => None,
        }
    }

    /// Who signed it.
    pub fn publisher(&self) -> Option<&str> {
        match self {
            Self::Trusted { publisher, .. } => Some(publisher),
            Self::Changed { publisher, .. } => publisher.as_deref(),
            Self::Unsigned { .. } | Self::Refused { .. } => None,
        }
    }
}

/// A signature that a known key made.
struct Signed<'t> {
    publisher: &'t Publisher,
    key: &'t Key,
}

impl Trust {
    /// Reads `trust.yaml` in a project's folder. A project without one knows nobody, and takes what is not signed.
    ///
    /// # Errors
    /// Everything that is wrong with the file and the keys that it names.
    pub fn of_project(folder: &Path, variables: &Variables) -> Result<Self, Vec<Finding>> {
        let file = folder.join(FILE);
        if file.symlink_metadata().is_err() {
            return Ok(Self {
                require: Require::UnsignedOk,
                publishers: Vec::new(),
            });
        }
        Self::load(&file, variables)
    }

    /// Reads a file of this kind.
    ///
    /// # Errors
    /// Everything that is wrong with it and the keys that it names.
    pub fn load(file: &Path, variables: &Variables) -> Result<Self, Vec<Finding>> {
        let loaded = document::load::<TrustSpec>(AREA, file, variables)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        Reader {
            loaded: &loaded,
            folder,
            findings: Vec::new(),
        }
        .read()
    }

    /// Trusts exactly these keys, wherever a plugin comes from: what is named on the command line.
    pub fn only(name: &str, keys: Vec<PublicKey>) -> Self {
        let keys = keys
            .into_iter()
            .map(|key| Key { key, until: None })
            .collect();
        let publisher = Publisher {
            name: name.to_owned(),
            // Of every registry.
            namespaces: vec![String::new()],
            require: Require::Signed,
            keys,
        };
        Self {
            require: Require::Signed,
            publishers: vec![publisher],
        }
    }

    /// Whether anybody is known.
    pub fn is_empty(&self) -> bool {
        self.publishers.is_empty()
    }

    /// Whose a place in a registry is: `registry/namespace/name`.
    pub fn publisher_of(&self, repository: &str) -> Option<&str> {
        self.owner(repository).map(|owner| owner.name.as_str())
    }

    /// What is to be done with an artifact that has these signatures.
    pub fn decide(&self, asked: &Asked<'_>, signatures: &[Signature], now: Timestamp) -> Decision {
        let owner = asked
            .repository
            .and_then(|repository| self.owner(repository));
        let mut good: Vec<Signed<'_>> = Vec::new();
        let mut notes = Vec::new();
        for signature in signatures.iter().take(MAX_SIGNATURES) {
            let note = match self.judge(signature, asked, owner, now) {
                Ok(signed) => {
                    good.push(signed);
                    continue;
                }
                Err(note) => note,
            };
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        // That of the installed version's key, if there is one: a second signature changes nothing.
        let same = good
            .iter()
            .position(|signed| Some(signed.key.key.id()) == asked.pinned);
        let Some(signed) = good.get(same.unwrap_or(0)) else {
            return self.without(asked, owner, notes);
        };
        let (publisher, key) = (signed.publisher.name.clone(), signed.key.key.id().clone());
        match asked.pinned {
            Some(pinned) if *pinned != key => Decision::Changed {
                publisher: Some(publisher),
                key: Some(key),
                pinned: pinned.clone(),
            },
            _ => Decision::Trusted { publisher, key },
        }
    }

    /// The publisher of a repository: of the longest namespace that it lies in.
    fn owner(&self, repository: &str) -> Option<&Publisher> {
        let longest = |publisher: &Publisher| {
            let fitting = publisher
                .namespaces
                .iter()
                .filter(|one| lies_in(repository, one));
            fitting.map(String::len).max()
        };
        let found = self
            .publishers
            .iter()
            .filter_map(|one| Some((longest(one)?, one)));
        found
            .max_by_key(|(length, _)| *length)
            .map(|(_, publisher)| publisher)
    }

    /// Whether a signature counts; why not, in words.
    fn judge(
        &self,
        signature: &Signature,
        asked: &Asked<'_>,
        owner: Option<&Publisher>,
        now: Timestamp,
    ) -> Result<Signed<'_>, String> {
        let keys = || {
            self.publishers.iter().flat_map(|publisher| {
                publisher
                    .keys
                    .iter()
                    .map(move |key| Signed { publisher, key })
            })
        };
        let maker = signature
            .verify(&asked.subject, keys().map(|one| &one.key.key))
            .map_err(|error| match error {
                SignatureError::UnknownKey => error.to_string(),
                error => format!("{signature}: {error}"),
            })?;
        let Some(signed) = keys().find(|one| one.key.key == *maker) else {
            return Err(SignatureError::UnknownKey.to_string());
        };
        let (name, id) = (&signed.publisher.name, maker.id().short());
        if let Some(until) = signed.key.until.filter(|until| now >= *until) {
            return Err(format!(
                "the key {id} of {name} counts no more since {until}"
            ));
        }
        match (asked.repository, owner) {
            (Some(_), Some(owner)) if owner.name != *name => Err(format!(
                "it is signed by {name}, but this namespace is {}'s",
                owner.name
            )),
            (Some(repository), None) => {
                let namespace = repository
                    .rsplit_once('/')
                    .map_or(repository, |(above, _)| above);
                Err(format!(
                    "it is signed by {name}, who may not publish there: add {namespace} to the `namespaces` of {name} \
                     when that is right"
                ))
            }
            _ => Ok(signed),
        }
    }

    /// The decision when no signature counts.
    fn without(
        &self,
        asked: &Asked<'_>,
        owner: Option<&Publisher>,
        notes: Vec<String>,
    ) -> Decision {
        let require = owner.map_or(self.require, |owner| owner.require);
        if require == Require::UnsignedOk {
            return match asked.pinned {
                None => Decision::Unsigned { notes },
                Some(pinned) => Decision::Changed {
                    publisher: None,
                    key: None,
                    pinned: pinned.clone(),
                },
            };
        }
        let mut why = match notes.as_slice() {
            [] => "it is not signed".to_owned(),
            notes => format!("it has no signature that counts: {}", notes.join("; ")),
        };
        // Writing to a String cannot fail, here and below.
        let _ = match (owner, asked.repository) {
            (Some(owner), Some(_)) => write!(why, " ({FILE} wants one by {})", owner.name),
            _ => write!(why, " ({FILE} wants one by a known publisher)"),
        };
        Decision::Refused { why, notes }
    }
}

/// Whether a repository is a namespace or lies in it. Names are compared part by part: `acme-evil` is not in `acme`.
fn lies_in(repository: &str, namespace: &str) -> bool {
    namespace.is_empty()
        || repository
            .strip_prefix(namespace)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// From what is written to what is meant.
struct Reader<'a> {
    loaded: &'a Loaded<TrustSpec>,
    folder: &'a Path,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn read(mut self) -> Result<Trust, Vec<Finding>> {
        let spec = &self.loaded.value;
        let (mut names, mut spaces, mut ids) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut publishers = Vec::new();
        for (at, publisher) in spec.publishers.iter().enumerate() {
            let name = publisher.publisher.clone();
            if names.insert(name.clone(), at).is_some() {
                let message = format!("the publisher `{name}` is there already");
                self.note(
                    &format!("/publishers/{at}/publisher"),
                    message,
                    "write its keys and namespaces in one place",
                );
            }
            let mut namespaces = Vec::new();
            for (number, written) in publisher.namespaces.iter().enumerate() {
                let pointer = format!("/publishers/{at}/namespaces/{number}");
                let Some(namespace) = self.namespace(&pointer, written) else {
                    continue;
                };
                if let Some(other) = spaces.insert(namespace.clone(), name.clone()) {
                    self.note(
                        &pointer,
                        format!("{namespace} is a namespace of `{other}` already"),
                        "a namespace has one publisher",
                    );
                }
                namespaces.push(namespace);
            }
            let mut keys = Vec::new();
            for (number, written) in publisher.keys.iter().enumerate() {
                let pointer = format!("/publishers/{at}/keys/{number}");
                let Some(key) = self.key(&pointer, written) else {
                    continue;
                };
                if let Some(other) = ids.insert(key.key.id().clone(), name.clone()) {
                    let message = format!(
                        "the key {} is one of `{other}` already",
                        key.key.id().short()
                    );
                    self.note(&pointer, message, "a key has one publisher");
                }
                keys.push(key);
            }
            publishers.push(Publisher {
                name,
                namespaces,
                require: publisher.require,
                keys,
            });
        }
        if self.findings.is_empty() {
            Ok(Trust {
                require: spec.require,
                publishers,
            })
        } else {
            Err(self.findings)
        }
    }

    fn note(&mut self, pointer: &str, message: String, advice: &str) {
        let at = self.loaded.document.locate(pointer);
        self.findings.push(
            Finding::error("trust.wrong-value", message)
                .at(at)
                .advice(advice),
        );
    }

    /// `registry.example.com/acme`, as references name it.
    fn namespace(&mut self, pointer: &str, written: &str) -> Option<String> {
        let name = written
            .strip_prefix("oci://")
            .unwrap_or(written)
            .trim_end_matches('/');
        let usable = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_:/".contains(c);
        let registry = name.split('/').next().unwrap_or_default();
        let is_host = registry.contains(['.', ':']) || registry == "localhost";
        if name.contains("//") || !name.chars().all(usable) || !is_host {
            let message = format!("{written:?} is no namespace");
            self.note(
                pointer,
                message,
                "write a registry and the beginning of a repository: registry.example.com/acme",
            );
            return None;
        }
        Some(name.to_owned())
    }

    fn key(&mut self, pointer: &str, written: &spec::KeySpec) -> Option<Key> {
        let read = match (&written.file, &written.pem) {
            (Some(file), None) => {
                let path = self.folder.join(file);
                PublicKey::read(&path).map_err(|error| ("/file", error.to_string()))
            }
            (None, Some(pem)) => {
                PublicKey::from_pem(pem, "`pem`").map_err(|error| ("/pem", error.to_string()))
            }
            (Some(_), Some(_)) => Err((
                "",
                "`file` and `pem` are both there: which one is meant?".to_owned(),
            )),
            (None, None) => Err(("", "a key needs `file` or `pem`".to_owned())),
        };
        let until = written.not_after.as_deref().map(end).transpose();
        if let Err(message) = &until {
            self.note(&format!("{pointer}/not-after"), message.clone(), "");
        }
        match read {
            Ok(key) => Some(Key {
                key,
                until: until.ok()?,
            }),
            Err((field, message)) => {
                self.note(
                    &format!("{pointer}{field}"),
                    message,
                    "`crossdock key show` prints a public key",
                );
                None
            }
        }
    }
}

/// The first moment behind a day, or a time.
fn end(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    // A day and nothing behind it: a time without an offset is not taken for one.
    let day: Option<Date> = Some(text)
        .filter(|text| text.len() == 10)
        .and_then(|text| text.parse().ok());
    day.and_then(|day| day.checked_add(1.day()).ok())
        .and_then(|day| TimeZone::UTC.to_timestamp(day.into()).ok())
        .ok_or_else(|| {
            format!(
                "{text:?} is neither a day like `2027-12-31` nor a time like `2027-12-31T12:00:00Z`"
            )
        })
}
