//! Where a flow's plugins are: a path, or a name that is installed or looked up in folders.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use semver::Version;

use super::{
    config::nearest,
    inspect::{InspectError, Inspection, inspect, read_component},
    lock::{FILE, Installed, LockError, Locked},
    version::{self, VersionError, Wanted},
};

/// Extension of plugin files.
const EXTENSION: &str = "wasm";

/// Finds plugins for one flow.
#[derive(Debug, Clone)]
pub struct Locator {
    flow_dir: PathBuf,
    folders: Vec<PathBuf>,
    installed: Option<Installed>,
}

/// A plugin's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The file.
    pub path: PathBuf,
    /// The name it was asked by; `None` when it was asked by path.
    pub name: Option<String>,
    /// The versions it was asked for by.
    pub wanted: Wanted,
    /// The digest that it must have, when it is an installed one.
    pub digest: Option<String>,
}

/// Why a plugin is not found, or is not what was asked for. Each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocateError {
    /// A path that leads nowhere.
    #[error("there is no file {}", .0.display())]
    NoFile(PathBuf),
    /// A name that no folder has.
    #[error("there is no plugin `{name}`{}; searched: {}", meant(.near.as_ref()), list(.folders))]
    Unknown {
        /// The name.
        name: String,
        /// The nearest name that there is.
        near: Option<String>,
        /// The folders searched, in order.
        folders: Vec<PathBuf>,
    },
    /// Neither a name nor a path.
    #[error("{0:?} is neither the name of a plugin (a-z, 0-9, `-`) nor a path ending in `.wasm`")]
    Reference(String),
    /// A name with what is no version behind it.
    #[error("{0}; write a plugin as `akeneo` or `akeneo@^1.2`")]
    Version(#[from] VersionError),
    /// There is another version than is wanted.
    #[error("there is no `{name}` {wanted}: {} is {found}{advice}", path.display())]
    OtherVersion {
        /// The name.
        name: String,
        /// The versions that are wanted.
        wanted: Wanted,
        /// The version that is there.
        found: String,
        /// The file.
        path: PathBuf,
        /// What to do.
        advice: &'static str,
    },
    /// What is installed cannot be told.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The lock file names it, and it was never fetched here.
    #[error(
        "`{name}` {version} is in {FILE}, but its component is not here: `crossdock plugin install` fetches it"
    )]
    NotFetched {
        /// The name.
        name: String,
        /// The version.
        version: String,
    },
    /// The component is not the one that was installed.
    #[error(
        "{} is not the component that was installed as `{name}`: its digest is {found}, not {expected}; \
         `crossdock plugin install` fetches it again", path.display()
    )]
    OtherDigest {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
        /// The digest in the lock file.
        expected: String,
        /// The digest of the file.
        found: String,
    },
    /// The file cannot be read.
    #[error("cannot read the plugin {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// It is no component.
    #[error("{}: {source}", path.display())]
    Inspect {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        source: InspectError,
    },
    /// The file is called one thing and the plugin in it another.
    #[error(
        "{} holds the plugin `{found}`, but was looked up as `{asked}`: rename the file to `{found}.wasm`, or refer to \
         it by its path", path.display()
    )]
    OtherName {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        asked: String,
        /// The name in its manifest.
        found: String,
    },
}

fn meant(near: Option<&String>) -> String {
    near.map(|near| format!(" (did you mean `{near}`?)"))
        .unwrap_or_default()
}

fn list(folders: &[PathBuf]) -> String {
    if folders.is_empty() {
        return "no folder (none is configured)".to_owned();
    }
    let mut text = String::new();
    for folder in folders {
        let missing = if folder.is_dir() {
            ""
        } else {
            " (does not exist)"
        };
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{}{missing}", folder.display());
    }
    text
}

impl Locator {
    /// Paths are relative to the flow's folder; names are looked up in the folders, in this order.
    pub fn new(flow_dir: impl Into<PathBuf>, folders: Vec<PathBuf>) -> Self {
        Self {
            flow_dir: flow_dir.into(),
            folders,
            installed: None,
        }
    }

    /// Looks among the installed plugins of a project before any folder.
    #[must_use]
    pub fn with_installed(self, installed: Installed) -> Self {
        Self {
            installed: Some(installed),
            ..self
        }
    }

    /// Where names are looked up.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Finds a plugin's file by what a flow writes.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, reference: &str) -> Result<Located, LocateError> {
        let path = Path::new(reference);
        if path
            .extension()
            .is_some_and(|extension| extension == EXTENSION)
        {
            return self.file(path);
        }
        let (name, wanted) = version::split(reference);
        let usable = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || !name.bytes().all(usable) {
            return Err(LocateError::Reference(reference.to_owned()));
        }
        let wanted = wanted.map_or(Ok(Wanted::Newest), str::parse)?;
        if let Some(installed) = &self.installed
            && let Some(locked) = installed.read()?.plugins.get(name)
        {
            return version_of(installed, name, locked, wanted);
        }
        self.in_folders(name, wanted)
    }

    fn file(&self, path: &Path) -> Result<Located, LocateError> {
        let path = self.flow_dir.join(path);
        if path.is_file() {
            Ok(Located {
                path,
                name: None,
                wanted: Wanted::Newest,
                digest: None,
            })
        } else {
            Err(LocateError::NoFile(path))
        }
    }

    fn in_folders(&self, name: &str, wanted: Wanted) -> Result<Located, LocateError> {
        let file = format!("{name}.{EXTENSION}");
        let found = self
            .folders
            .iter()
            .map(|folder| folder.join(&file))
            .find(|path| path.is_file());
        match found {
            Some(path) => Ok(Located {
                path,
                name: Some(name.to_owned()),
                wanted,
                digest: None,
            }),
            None => Err(LocateError::Unknown {
                name: name.to_owned(),
                near: nearest(name, &self.available()).cloned(),
                folders: self.folders.clone(),
            }),
        }
    }

    /// Finds a plugin, reads it and checks that it is the one asked for. Blocks for reading a file.
    ///
    /// # Errors
    /// When it is not found, is no component, or names itself otherwise.
    pub fn open(&self, reference: &str) -> Result<(Located, Inspection), LocateError> {
        let located = self.find(reference)?;
        let path = &located.path;
        let bytes = read_component(path).map_err(|source| LocateError::Read {
            path: path.clone(),
            source,
        })?;
        let inspection = inspect(&bytes).map_err(|source| LocateError::Inspect {
            path: path.clone(),
            source,
        })?;
        let Some(asked) = located.name.clone() else {
            return Ok((located, inspection));
        };
        let path = path.clone();
        if let Some(expected) = located.digest.clone()
            && expected != inspection.digest
        {
            return Err(LocateError::OtherDigest {
                name: asked,
                path,
                expected,
                found: inspection.digest,
            });
        }
        if let Some(manifest) = &inspection.manifest
            && asked != manifest.name
        {
            let found = manifest.name.clone();
            return Err(LocateError::OtherName { path, asked, found });
        }
        // Of an installed one the lock file said so already, and that was held against the component when it was written.
        if located.digest.is_none() && located.wanted != Wanted::Newest {
            let manifest = inspection.manifest.as_ref();
            let found = manifest.map_or("without a version", |manifest| &manifest.version);
            if !Version::parse(found).is_ok_and(|version| located.wanted.takes(&version)) {
                return Err(LocateError::OtherVersion {
                    name: asked,
                    wanted: located.wanted,
                    found: found.to_owned(),
                    path,
                    advice: "",
                });
            }
        }
        Ok((located, inspection))
    }

    /// Names that can be found, sorted.
    pub fn available(&self) -> Vec<String> {
        let entries = self
            .folders
            .iter()
            .filter_map(|folder| fs::read_dir(folder).ok())
            .flatten()
            .flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == EXTENSION)
            })
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .collect();
        let lock = self
            .installed
            .as_ref()
            .and_then(|installed| installed.read().ok());
        names.extend(lock.into_iter().flat_map(|lock| lock.plugins.into_keys()));
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// The installed version of a plugin, when it is one that will do.
fn version_of(
    installed: &Installed,
    name: &str,
    locked: &Locked,
    wanted: Wanted,
) -> Result<Located, LocateError> {
    let path = installed.store().path(&locked.digest);
    // A channel is whatever it was at when it was installed by that name.
    let fits = wanted == Wanted::Newest
        || wanted == locked.wanted && matches!(wanted, Wanted::Channel(_))
        || wanted.takes(&locked.version);
    if !fits {
        return Err(LocateError::OtherVersion {
            name: name.to_owned(),
            wanted,
            found: locked.version.to_string(),
            path: installed.file().to_owned(),
            advice: "; `crossdock plugin install` gets another version",
        });
    }
    if !path.is_file() {
        return Err(LocateError::NotFetched {
            name: name.to_owned(),
            version: locked.version.to_string(),
        });
    }
    Ok(Located {
        path,
        name: Some(name.to_owned()),
        wanted,
        digest: Some(locked.digest.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders() -> (tempfile::TempDir, Locator) {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        for folder in [&first, &second] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(first.join("csv.wasm"), b"1").unwrap();
        fs::write(second.join("csv.wasm"), b"2").unwrap();
        fs::write(second.join("jsonl.wasm"), b"3").unwrap();
        fs::write(dir.path().join("own.wasm"), b"4").unwrap();
        let locator = Locator::new(dir.path(), vec![first, second]);
        (dir, locator)
    }

    #[test]
    fn names_are_found_in_the_order_of_the_folders_and_paths_beside_the_flow() {
        let (dir, locator) = folders();
        assert_eq!(
            locator.find("csv").unwrap().path,
            dir.path().join("first/csv.wasm")
        );
        assert_eq!(
            locator.find("jsonl").unwrap().name.as_deref(),
            Some("jsonl")
        );
        let own = locator.find("./own.wasm").unwrap();
        assert_eq!(
            (fs::read(own.path).unwrap(), own.name),
            (b"4".to_vec(), None)
        );
        assert_eq!(locator.available(), ["csv", "jsonl"]);
    }

    #[test]
    fn what_is_not_found_is_said_with_where_and_what_was_meant() {
        let (dir, locator) = folders();
        let text = locator.find("jsnl").unwrap_err().to_string();
        assert!(
            text.contains("no plugin `jsnl` (did you mean `jsonl`?)"),
            "{text}"
        );
        assert!(
            text.contains(&dir.path().join("first").display().to_string()),
            "{text}"
        );
        assert!(
            !locator
                .find("akeneo")
                .unwrap_err()
                .to_string()
                .contains("did you mean")
        );
        assert!(matches!(
            locator.find("nowhere.wasm"),
            Err(LocateError::NoFile(_))
        ));
        assert!(matches!(
            locator.find("../csv"),
            Err(LocateError::Reference(_))
        ));
        let missing = Locator::new(dir.path(), vec![dir.path().join("third")]);
        assert!(
            missing
                .find("csv")
                .unwrap_err()
                .to_string()
                .contains("third (does not exist)")
        );
    }

    #[test]
    fn an_installed_one_wins_and_is_the_one_that_was_installed() {
        let (dir, locator) = folders();
        let installed = Installed::of(dir.path(), &dir.path().join("state"));
        let locator = locator.with_installed(installed.clone());
        assert!(locator.find("csv").unwrap().digest.is_none());
        let digest = crate::catalogue::digest(b"component");
        let mut change = installed.change().unwrap();
        change.lock.put(
            "csv",
            crate::catalogue::Locked {
                version: Version::new(1, 2, 0),
                digest: digest.clone(),
                source: "oci://h/shop/csv".parse().unwrap(),
                manifest: digest.clone(),
                signed_by: None,
                wanted: Wanted::Newest,
                pinned: false,
                before: Vec::new(),
            },
        );
        change.commit().unwrap();
        let told = |reference: &str| locator.find(reference).unwrap_err().to_string();
        assert!(told("csv").contains("`crossdock plugin install` fetches it"));
        let place = installed.store().put(b"component").unwrap();
        assert_eq!(locator.find("csv").unwrap().path, place);
        assert_eq!(locator.find("csv@^1.1").unwrap().digest, Some(digest));
        assert!(
            told("csv@^2").contains("there is no `csv` ^2"),
            "{}",
            told("csv@^2")
        );
        assert!(told("csv@beta").contains("there is no `csv` beta"));
        assert!(told("csv@?").contains("neither a version"));
        assert!(locator.available().contains(&"csv".to_owned()));
    }

    #[test]
    fn a_file_that_is_no_component_is_refused_with_its_path() {
        let (_dir, locator) = folders();
        let text = locator.open("csv").unwrap_err().to_string();
        assert!(
            text.contains("first/csv.wasm") && text.contains("no WebAssembly"),
            "{text}"
        );
    }
}
