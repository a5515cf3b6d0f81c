//! Versions that somebody asks for: exactly one, the newest of a range, or what a channel is at.

use std::{fmt, str::FromStr};

use semver::{Version, VersionReq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use crate::flow::plan::is_channel;

/// Which version is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Wanted {
    /// The newest that is no pre-release.
    #[default]
    Newest,
    /// This one: `1.2.0`.
    Exact(Version),
    /// The newest within a range: `^1.2`, `~1.2.3`, `>=1, <3`.
    Range(VersionReq),
    /// What a catalogue says that this name means now: `beta`.
    Channel(String),
}

/// No version and no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is neither a version like `1.2.0`, a range like `^1.2` nor a channel like `beta`: {why}"
)]
pub struct VersionError {
    /// As written.
    text: String,
    /// What is wrong with it.
    why: String,
}

impl FromStr for Wanted {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Three numbers are one version. In the grammar of ranges they would be "this one or a compatible newer one".
        if let Ok(version) = Version::parse(text) {
            return Ok(Self::Exact(version));
        }
        if is_channel(text) {
            return Ok(Self::Channel(text.to_owned()));
        }
        let range = VersionReq::parse(text).map_err(|error| VersionError {
            text: text.to_owned(),
            why: error.to_string(),
        })?;
        Ok(Self::Range(range))
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("newest"),
            Self::Exact(version) => version.fmt(f),
            Self::Range(range) => range.fmt(f),
            Self::Channel(name) => f.write_str(name),
        }
    }
}

impl Serialize for Wanted {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text == "newest" {
            return Ok(Self::Newest);
        }
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Wanted {
    /// Whether a version is one of those that are wanted. A pre-release is only when it is asked for. Which one a channel
    /// is at no number tells.
    pub fn takes(&self, version: &Version) -> bool {
        match self {
            Self::Newest => version.pre.is_empty(),
            Self::Exact(wanted) => wanted == version,
            Self::Range(range) => range.matches(version),
            Self::Channel(_) => false,
        }
    }

    /// The newest version that is wanted.
    pub fn best<'a>(&self, versions: impl IntoIterator<Item = &'a Version>) -> Option<&'a Version> {
        versions
            .into_iter()
            .filter(|version| self.takes(version))
            .max()
    }
}

/// The tag of a version: a tag has no `+`, so other tools write `_` for it, and so do we.
pub fn tag_of(version: &Version) -> String {
    version.to_string().replace('+', "_")
}

/// The version that a tag is for; `None` for `latest`, signatures and the like.
pub fn of_tag(tag: &str) -> Option<Version> {
    Version::parse(&tag.replace('_', "+")).ok()
}

/// `name@1.2` → name and what is behind the `@`, if anything.
pub fn split(reference: &str) -> (&str, Option<&str>) {
    match reference.split_once('@') {
        Some((name, wanted)) => (name, Some(wanted)),
        None => (reference, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(list: &[&str]) -> Vec<Version> {
        list.iter()
            .map(|text| Version::parse(text).unwrap())
            .collect()
    }

    #[test]
    fn one_version_or_the_newest_of_a_range() {
        let all = versions(&["1.1.0", "1.2.0", "1.3.0-beta.1", "1.2.7", "2.0.0"]);
        let best = |wanted: &str| {
            let wanted: Wanted = wanted.parse().unwrap();
            wanted.best(&all).map(ToString::to_string)
        };
        assert_eq!(best("1.2.0").as_deref(), Some("1.2.0"));
        assert_eq!(best("^1.1").as_deref(), Some("1.2.7"));
        assert_eq!(best("1").as_deref(), Some("1.2.7"));
        assert_eq!(best(">=1.3.0-beta").as_deref(), Some("2.0.0"));
        assert_eq!(best("~1.3.0-beta").as_deref(), Some("1.3.0-beta.1"));
        assert_eq!(best("^3"), None);
        assert_eq!(Wanted::Newest.best(&all), all.last());
        let wrong = "latest".parse::<Wanted>().unwrap_err().to_string();
        assert!(wrong.contains("`latest` is neither a version"), "{wrong}");
        assert_eq!("beta".parse(), Ok(Wanted::Channel("beta".to_owned())));
        for wrong in ["v1.2.0", "v1", "Beta", "-x", "be ta", "newest"] {
            assert!(wrong.parse::<Wanted>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn tags_and_versions_are_each_others() {
        let version = Version::parse("1.2.0-rc.1+build.5").unwrap();
        assert_eq!(tag_of(&version), "1.2.0-rc.1_build.5");
        assert_eq!(of_tag(&tag_of(&version)), Some(version));
        for tag in ["latest", "sha256-00.sig", "1.2", "v1.2.0"] {
            assert_eq!(of_tag(tag), None, "{tag}");
        }
        assert_eq!(split("csv@^1"), ("csv", Some("^1")));
        assert_eq!(split("csv"), ("csv", None));
    }
}
