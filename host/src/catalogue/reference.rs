//! Where a plugin is in a registry: `oci://HOST[:PORT]/NAMESPACE/NAME[@VERSION]`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::version::{VersionError, Wanted};

/// What every reference begins with.
pub const SCHEME: &str = "oci://";
/// Longest name of a repository, which is what registries allow.
const MAX_REPOSITORY: usize = 255;

/// A repository: all versions of one plugin, with what belongs to them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    /// `registry.example.com`, `localhost:5000`.
    host: String,
    /// `shop/akeneo`.
    path: String,
}

/// A version in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Where.
    pub repository: Repository,
    /// Which.
    pub wanted: Selector,
}

/// How a version is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// By its number.
    Version(Wanted),
    /// By the digest of its manifest.
    Digest(String),
}

/// Why a reference cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// Without the scheme it could be a path or a name.
    #[error(
        "`{0}` does not begin with `{SCHEME}`; write `oci://HOST/NAMESPACE/NAME`, with `@VERSION` behind it where needed"
    )]
    Scheme(String),
    /// No host.
    #[error(
        "`{0}` names no registry; write `oci://HOST/NAMESPACE/NAME`, as in `oci://registry.example.com/shop/akeneo`"
    )]
    Host(String),
    /// No name that a registry can have.
    #[error(
        "`{0}` is no name in a registry: parts of a-z, 0-9, `.`, `_` and `-`, with `/` between, as in `shop/akeneo`"
    )]
    Path(String),
    /// A tag instead of a version.
    #[error("`{0}`: write the version behind `@`, as in `oci://HOST/NAMESPACE/NAME@1.2.0`")]
    Tag(String),
    /// No digest.
    #[error("`{0}` is no digest: `sha256:` and 64 digits of 0-9 and a-f")]
    Digest(String),
    /// No version.
    #[error(transparent)]
    Version(#[from] VersionError),
}

/// Whether it is meant to be a place in a registry.
pub fn is_reference(text: &str) -> bool {
    text.starts_with(SCHEME)
}

/// Whether it is the digest of something: `sha256:` and 64 lower-case hexadecimal digits.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

impl Repository {
    /// The registry's host, with its port when it is not the usual one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its name in the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The last part of the name: that of the plugin.
    pub fn name(&self) -> &str {
        self.path
            .rsplit_once('/')
            .map_or(&self.path, |(_, name)| name)
    }

    /// The repository of a catalogue's index: `oci://HOST/NAMESPACE`, or `oci://HOST` for a whole registry.
    ///
    /// # Errors
    /// [`ReferenceError`].
    pub fn of_catalogue(text: &str) -> Result<Self, ReferenceError> {
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| ReferenceError::Scheme(text.to_owned()))?;
        let (host, namespace) = rest.split_once('/').unwrap_or((rest, ""));
        let namespace = namespace.trim_end_matches('/');
        if !is_host(host) {
            return Err(ReferenceError::Host(text.to_owned()));
        }
        if !namespace.is_empty() && !is_path(namespace) {
            return Err(ReferenceError::Path(namespace.to_owned()));
        }
        let namespace = Self {
            host: host.to_owned(),
            path: namespace.to_owned(),
        };
        namespace
            .below(super::index::NAME)
            .ok_or_else(|| ReferenceError::Path(text.to_owned()))
    }

    /// Another repository of the same namespace, or of a folder in it; `None` when that is no name in a registry.
    pub fn sibling(&self, path: &str) -> Option<Self> {
        let namespace = Self {
            host: self.host.clone(),
            path: self.namespace().to_owned(),
        };
        namespace.below(path)
    }

    fn below(&self, path: &str) -> Option<Self> {
        let path = match self.path.as_str() {
            "" => path.to_owned(),
            namespace => format!("{namespace}/{path}"),
        };
        is_path(&path).then(|| Self {
            host: self.host.clone(),
            path,
        })
    }

    /// Everything in front of the name; empty when there is nothing.
    pub fn namespace(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(space, _)| space)
    }
}

/// `registry.example.com`, `localhost:5000`, `[::1]:5000`: nothing that a URL would read as user, path or query.
pub(super) fn is_host(text: &str) -> bool {
    let parsed = url::Url::parse(&format!("https://{text}/"));
    let Ok(url) = parsed else { return false };
    let clean = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
    clean && url.has_host() && url.path() == "/" && url.username().is_empty()
}

/// As the distribution specification has it: parts of lower-case letters and digits, with single separators within.
pub(super) fn is_path(text: &str) -> bool {
    let is_part = |part: &str| {
        let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = part.as_bytes();
        bytes.first().is_some_and(alphanumeric)
            && bytes.last().is_some_and(alphanumeric)
            && bytes.iter().all(|b| alphanumeric(b) || b"._-".contains(b))
            && !part.contains("..")
    };
    text.len() <= MAX_REPOSITORY && text.split('/').all(is_part)
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let reference: Reference = text.parse()?;
        match reference.wanted {
            Selector::Version(Wanted::Newest) => Ok(reference.repository),
            _ => Err(ReferenceError::Path(text.to_owned())),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| ReferenceError::Scheme(text.to_owned()))?;
        let (host, rest) = rest
            .split_once('/')
            .filter(|(host, _)| is_host(host))
            .ok_or_else(|| ReferenceError::Host(text.to_owned()))?;
        let (path, wanted) = match rest.split_once('@') {
            None => (rest, Selector::Version(Wanted::Newest)),
            Some((path, digest)) if digest.starts_with("sha256:") => {
                if !is_digest(digest) {
                    return Err(ReferenceError::Digest(digest.to_owned()));
                }
                (path, Selector::Digest(digest.to_owned()))
            }
            Some((path, wanted)) => (path, Selector::Version(wanted.parse()?)),
        };
        if path.contains(':') {
            return Err(ReferenceError::Tag(text.to_owned()));
        }
        if !is_path(path) {
            return Err(ReferenceError::Path(path.to_owned()));
        }
        Ok(Self {
            repository: Repository {
                host: host.to_owned(),
                path: path.to_owned(),
            },
            wanted,
        })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.host, self.path)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        match &self.wanted {
            Selector::Version(Wanted::Newest) => Ok(()),
            Selector::Version(wanted) => write!(f, "@{wanted}"),
            Selector::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

impl Serialize for Repository {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Repository {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_and_written() {
        for text in [
            "oci://registry.example.com/shop/akeneo",
            "oci://localhost:5000/akeneo@1.2.0",
            "oci://[::1]:5000/a/b/akeneo@^1.2",
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), text);
            assert_eq!(reference.repository.name(), "akeneo");
        }
        let digest = format!("sha256:{}", "0a".repeat(32));
        let reference: Reference = format!("oci://h/n/p@{digest}").parse().unwrap();
        assert_eq!(reference.wanted, Selector::Digest(digest));
        assert_eq!(reference.repository.namespace(), "n");
        let repository: Repository = "oci://h/p".parse().unwrap();
        assert_eq!((repository.namespace(), repository.name()), ("", "p"));
        let beta: Reference = "oci://h/p@beta".parse().unwrap();
        assert_eq!(
            beta.wanted,
            Selector::Version(Wanted::Channel("beta".to_owned()))
        );
    }

    #[test]
    fn a_catalogue_is_beside_the_plugins_that_it_speaks_of() {
        let shop = Repository::of_catalogue("oci://h:5000/a/shop/").unwrap();
        assert_eq!(shop.to_string(), "oci://h:5000/a/shop/catalogue");
        assert_eq!(
            shop.sibling("csv").unwrap().to_string(),
            "oci://h:5000/a/shop/csv"
        );
        assert_eq!(shop.sibling("../csv"), None);
        let all = Repository::of_catalogue("oci://h").unwrap();
        assert_eq!(all.sibling("x/csv").unwrap().to_string(), "oci://h/x/csv");
        for wrong in ["h/shop", "oci://", "oci://h/Shop", "oci://h/shop@1.0.0"] {
            assert!(Repository::of_catalogue(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_none_says_how_to_write_one() {
        for (text, said) in [
            ("shop/akeneo", "does not begin with `oci://`"),
            ("oci://shop", "names no registry"),
            ("oci://user@host/shop/x", "names no registry"),
            ("oci:///shop", "names no registry"),
            ("oci://host/Shop/akeneo", "no name in a registry"),
            ("oci://host/../akeneo", "no name in a registry"),
            ("oci://host/shop/", "no name in a registry"),
            ("oci://host/a//b", "no name in a registry"),
            ("oci://host/shop/akeneo:1.2.0", "behind `@`"),
            ("oci://host/shop/akeneo@latest", "neither a version"),
            ("oci://host/shop/akeneo@sha256:00", "no digest"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        let wrong = "oci://host/shop/x@1.0.0".parse::<Repository>();
        assert!(wrong.is_err());
    }
}
