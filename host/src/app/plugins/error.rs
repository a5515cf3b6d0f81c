//! Why a plugin cannot be published, judged or installed.

use std::{io, path::PathBuf};

use semver::Version;

use crate::{
    app::catalogues::CatalogueError,
    catalogue::{
        ArchiveError, InspectError, LockError, ManifestError, ReferenceError, RegistryError,
        Repository, Wanted, registry::SigningError,
    },
    flow::Finding,
};

/// Why not. Each says what to do where there is something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginsError {
    /// The registry could not, or what it gave was refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A version cannot be signed.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// Nobody who is trusted signed it.
    #[error("{what} is refused: {why}")]
    Untrusted {
        /// Which version.
        what: String,
        /// Why.
        why: String,
    },
    /// What a file of the project says about trust, registries or grants cannot be used.
    #[error("{}", .0.first().map_or_else(String::new, ToString::to_string))]
    Findings(Vec<Finding>),
    /// A catalogue cannot be made or used.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// Nobody should get this version any more.
    #[error("{what} was yanked: {reason}{}", meant_yanked(*.only))]
    Yanked {
        /// Which version.
        what: String,
        /// Why.
        reason: String,
        /// No other version fits what was asked for.
        only: bool,
    },
    /// The registry has something else than the catalogue says.
    #[error(
        "{what} is refused: the registry gives the manifest {found}, and the catalogue says that it is {expected}; one of \
         them was changed"
    )]
    NotCatalogued {
        /// Which version.
        what: String,
        /// `sha256:…` of the manifest, as in the catalogue.
        expected: String,
        /// `sha256:…` of the manifest that came.
        found: String,
    },
    /// No catalogue has such a channel.
    #[error("{repository} has no channel `{channel}`{}", channels(.there))]
    NoChannel {
        /// The plugin.
        repository: Repository,
        /// The channel.
        channel: String,
        /// Those that there are.
        there: Vec<String>,
    },
    /// No catalogue has a plugin of this name.
    #[error("no catalogue has a plugin `{name}`{}", meant(.near.as_ref()))]
    Unknown {
        /// The name.
        name: String,
        /// The nearest name that there is.
        near: Option<String>,
    },
    /// Several have one.
    #[error("`{name}` is in several catalogues: name one of {}", listed(.places))]
    Several {
        /// The name.
        name: String,
        /// Where.
        places: Vec<Repository>,
    },
    /// It names no version.
    #[error(transparent)]
    Reference(ReferenceError),
    /// The name is taken.
    #[error("`{NAME}` is the name of a namespace's index: no plugin can be published there", NAME = crate::catalogue::index::NAME)]
    Reserved,
    /// What is installed cannot be read or changed.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no component to publish.
    #[error("there is no component {}: build it first, with `crossdock plugin build --release`", .0.display())]
    NotBuilt(PathBuf),
    /// A folder that is no project of a plugin.
    #[error("{} is no project of a plugin, since it has no plugin.json that can be read: name the .wasm file", .0.display())]
    NoProject(PathBuf),
    /// It is no component.
    #[error("{what}: {source}")]
    Inspect {
        /// The file, or the place in a registry.
        what: String,
        /// What it is instead.
        source: InspectError,
    },
    /// It exports nothing that a flow could use.
    #[error("{0} is a component, but exports no source, transformer or sink: it is no plugin")]
    NoPlugin(String),
    /// It does not say what it is.
    #[error("{0} carries no manifest: nobody could know its name, its version or what it asks for")]
    NoManifest(String),
    /// What it says of itself cannot be read.
    #[error("{what}: {source}")]
    Manifest {
        /// The file, or the place in a registry.
        what: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// The repository is called otherwise.
    #[error("the plugin is called `{found}`, and {repository} is a place for `{}`: publish it to one that ends in `/{found}`", repository.name())]
    OtherName {
        /// The repository.
        repository: Repository,
        /// The name in the component.
        found: String,
    },
    /// There is something else under the tag than it says.
    #[error(
        "{asked} holds {found}: it was put there under another name or version, and is refused"
    )]
    Retagged {
        /// What was asked for.
        asked: String,
        /// What it is.
        found: String,
    },
    /// The registry has no such version.
    #[error("{repository} has no version {wanted}{}", there_is(.there))]
    NoVersion {
        /// The repository.
        repository: Repository,
        /// What was asked for.
        wanted: Wanted,
        /// The versions that are there, oldest first.
        there: Vec<Version>,
    },
    /// An older version than the one that is installed.
    #[error(
        "{name} {installed} is installed, and {offered} is older: add --downgrade when that is meant"
    )]
    Downgrade {
        /// The plugin.
        name: String,
        /// What is installed.
        installed: Version,
        /// What was offered.
        offered: Version,
    },
    /// Another plugin of that name comes from somewhere else.
    #[error(
        "{name} is installed from {installed}, not from {offered}: remove it first with `crossdock plugin remove {name}`"
    )]
    OtherSource {
        /// The plugin.
        name: String,
        /// Where the installed one comes from.
        installed: Repository,
        /// Where the offered one comes from.
        offered: Repository,
    },
    /// It stays as it is until somebody says otherwise.
    #[error("{name} {installed} is pinned: `crossdock plugin pin {name} --off` lets it change")]
    Pinned {
        /// The plugin.
        name: String,
        /// What is installed.
        installed: Version,
    },
    /// Nobody has said yes.
    #[error("{0} is not installed: nobody agreed")]
    Declined(String),
    /// `--yes` without grants that cover what it asks for.
    #[error("--yes needs {}, which grants {name} what it asks for; not granted: {}", file.display(), missing.join(", "))]
    NotGranted {
        /// The plugin.
        name: String,
        /// The file that is missing, or that does not grant it all.
        file: PathBuf,
        /// What it asks for and is not granted.
        missing: Vec<String>,
    },
    /// No such plugin is installed.
    #[error("`{name}` is not installed{}", meant(.near.as_ref()))]
    NotInstalled {
        /// The name.
        name: String,
        /// The nearest name that is.
        near: Option<String>,
    },
    /// There is no such former version.
    #[error("there is no way back for {name}: {}", super::upgrade::ways(.there))]
    NoBefore {
        /// The plugin.
        name: String,
        /// The former versions that there are.
        there: Vec<Version>,
    },
    /// A former version whose component is not here.
    #[error(
        "the component of {name} {version} is not here: `crossdock plugin install {source_of}@{version} --downgrade` fetches it"
    )]
    Lost {
        /// The plugin.
        name: String,
        /// Its version.
        version: Version,
        /// Where it came from.
        source_of: Repository,
    },
    /// Nothing is installed.
    #[error("no plugin is installed: there is nothing to bundle")]
    NothingToBundle,
    /// A bundle cannot be written or read, or what is in it is refused.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What came is not what the lock file names.
    #[error("{source_of} gives another component of {name} {version} than {FILE} names: refused", FILE = crate::catalogue::lock::FILE)]
    NotLocked {
        /// The plugin.
        name: String,
        /// Its version.
        version: Version,
        /// Where it was asked for.
        source_of: Repository,
    },
}

fn there_is(there: &[Version]) -> String {
    match there {
        [] => ": it has none at all".to_owned(),
        all => {
            let latest: Vec<String> = all.iter().rev().take(5).map(ToString::to_string).collect();
            format!("; the latest there: {}", latest.join(", "))
        }
    }
}

fn meant_yanked(only: bool) -> &'static str {
    if only {
        "; no other version fits"
    } else {
        "; add --yanked when it is meant all the same"
    }
}

fn channels(there: &[String]) -> String {
    match there {
        [] => ": no catalogue that is looked at names one".to_owned(),
        all => format!("; there are {}", all.join(", ")),
    }
}

fn listed(places: &[Repository]) -> String {
    let all: Vec<String> = places.iter().map(ToString::to_string).collect();
    all.join(", ")
}

fn meant(near: Option<&String>) -> String {
    near.map(|near| format!(" (did you mean `{near}`?)"))
        .unwrap_or_default()
}

impl PluginsError {
    /// 1: failed, 2: the call or a file has to be changed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Catalogue(error) => error.exit_code(),
            Self::Archive(_)
            | Self::Lost { .. }
            | Self::Registry(_)
            | Self::Signing(_)
            | Self::Untrusted { .. }
            | Self::Yanked { .. }
            | Self::NotCatalogued { .. }
            | Self::Lock(LockError::Io { .. } | LockError::Busy { .. })
            | Self::Io { .. }
            | Self::Retagged { .. }
            | Self::Declined(_) => 1,
            _ => 2,
        }
    }

    /// The findings, when it is about those.
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Findings(findings) => findings,
            Self::Catalogue(error) => error.findings(),
            _ => &[],
        }
    }
}
