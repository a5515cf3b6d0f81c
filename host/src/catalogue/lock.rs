//! `plugins.lock` of a project: which version of a plugin its name means, by digest. It belongs into version control; what
//! it names is fetched again where it is missing.
//!
//! One line a fact and one block a plugin, sorted: two people who install different plugins change different lines.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::{self, File, TryLockError},
    io::{self, Read as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use semver::Version;
use serde::Deserialize;

use super::{
    key::KeyId,
    reference::{Repository, is_digest},
    store::{Store, replace},
    version::Wanted,
};

/// The file in a project's folder.
pub const FILE: &str = "plugins.lock";
/// The form of the file. A file of a later form is left alone.
const FORM: u32 = 1;
/// A larger file is not read.
const MAX_BYTES: u64 = 4 << 20;
/// How many former versions are kept for a way back.
const MAX_BEFORE: usize = 3;
/// How long another command is waited for that changes what is installed.
const PATIENCE: Duration = Duration::from_secs(30);
const HEAD: &str = "\
# Which version of a plugin its name means here. Written by `crossdock plugin`; keep it in version control.
";

/// Everything that is installed, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// The plugins.
    pub plugins: BTreeMap<String, Locked>,
}

/// One installed plugin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Locked {
    /// Its version: that in the component itself.
    #[serde(with = "text")]
    pub version: Version,
    /// `sha256:…` of the component.
    pub digest: String,
    /// Where it came from.
    pub source: Repository,
    /// `sha256:…` of its manifest there.
    pub manifest: String,
    /// The key that signed it: another one asks.
    #[serde(default)]
    pub signed_by: Option<KeyId>,
    /// The versions that upgrades choose from.
    #[serde(default)]
    pub wanted: Wanted,
    /// It stays as it is.
    #[serde(default)]
    pub pinned: bool,
    /// Versions that were installed before, the latest first.
    #[serde(default)]
    pub before: Vec<Before>,
}

/// A version that was installed before.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Before {
    /// Its version.
    #[serde(with = "text")]
    pub version: Version,
    /// `sha256:…` of the component.
    pub digest: String,
    /// `sha256:…` of its manifest.
    pub manifest: String,
    /// The key that it was trusted for: it counts again when the version is put back.
    #[serde(default)]
    pub signed_by: Option<KeyId>,
}

/// Texts that stand for something.
mod text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize as _, Deserializer, de::Error as _};

    pub(super) fn deserialize<'de, D, T>(from: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    lock: u32,
    #[serde(default)]
    plugins: BTreeMap<String, Locked>,
}

/// The form alone, which every version of the file begins with.
#[derive(Deserialize)]
struct Form {
    lock: u32,
}

/// Why what is installed cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody has written it by hand, or two have at the same time.
    #[error(
        "{} cannot be read: {why}; take it back from version control, or remove what is wrong and install those plugins \
         again", path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A newer crossdock wrote it.
    #[error("{} is of form {form}, and this crossdock knows {FORM}: use a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its form.
        form: u32,
    },
    /// Another command does not end.
    #[error(
        "another command has been changing what is installed for more than {} s; it holds {}", PATIENCE.as_secs(), path.display()
    )]
    Busy {
        /// What it holds.
        path: PathBuf,
    },
}

impl Lock {
    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, LockError> {
        let malformed = |why: String| LockError::Malformed {
            path: path.to_owned(),
            why: why.lines().next().unwrap_or_default().to_owned(),
        };
        let text = std::str::from_utf8(bytes).map_err(|error| malformed(error.to_string()))?;
        if let Ok(Form { lock }) = serde_saphyr::from_str::<Form>(text)
            && lock > FORM
        {
            return Err(LockError::Newer {
                path: path.to_owned(),
                form: lock,
            });
        }
        let document: Document =
            serde_saphyr::from_str(text).map_err(|error| malformed(error.to_string()))?;
        if document.lock == 0 {
            return Err(malformed("`lock` is no number of a form".to_owned()));
        }
        for (name, locked) in &document.plugins {
            let digests = [&locked.digest, &locked.manifest].into_iter();
            let before = locked.before.iter().flat_map(|b| [&b.digest, &b.manifest]);
            if let Some(wrong) = digests.chain(before).find(|digest| !is_digest(digest)) {
                return Err(malformed(format!("{name}: `{wrong}` is no digest")));
            }
        }
        Ok(Self {
            plugins: document.plugins,
        })
    }

    fn text(&self) -> String {
        let mut out = format!("{HEAD}lock: {FORM}\n");
        if !self.plugins.is_empty() {
            out.push_str("plugins:\n");
        }
        for (name, locked) in &self.plugins {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(
                out,
                "  {}:\n    version: {}",
                quoted(name),
                quoted(&locked.version)
            );
            let _ = writeln!(out, "    digest: {}", locked.digest);
            let _ = writeln!(out, "    source: {}", quoted(&locked.source));
            let _ = writeln!(out, "    manifest: {}", locked.manifest);
            if let Some(key) = &locked.signed_by {
                let _ = writeln!(out, "    signed-by: {key}");
            }
            if locked.wanted != Wanted::Newest {
                let _ = writeln!(out, "    wanted: {}", quoted(&locked.wanted));
            }
            if locked.pinned {
                out.push_str("    pinned: true\n");
            }
            if !locked.before.is_empty() {
                out.push_str("    before:\n");
            }
            for before in &locked.before {
                let _ = writeln!(out, "      - version: {}", quoted(&before.version));
                let _ = writeln!(out, "        digest: {}", before.digest);
                let _ = writeln!(out, "        manifest: {}", before.manifest);
                if let Some(key) = &before.signed_by {
                    let _ = writeln!(out, "        signed-by: {key}");
                }
            }
        }
        out
    }

    /// The digests of all components that it names, former versions too.
    fn digests(&self) -> BTreeSet<String> {
        let all = self.plugins.values();
        all.flat_map(|locked| {
            let before = locked.before.iter().map(|before| before.digest.clone());
            before.chain([locked.digest.clone()])
        })
        .collect()
    }

    /// Puts a version into the place of the one before, which is kept for a way back. Gives what is there now.
    pub fn put(&mut self, name: &str, mut new: Locked) -> Locked {
        if let Some(old) = self.plugins.remove(name) {
            let mut before = old.before;
            if old.digest != new.digest {
                let latest = Before {
                    version: old.version,
                    digest: old.digest,
                    manifest: old.manifest,
                    signed_by: old.signed_by,
                };
                before.insert(0, latest);
            }
            before.retain(|one| one.digest != new.digest);
            before.truncate(MAX_BEFORE);
            new.before = before;
        }
        self.plugins.insert(name.to_owned(), new.clone());
        new
    }
}

/// A text between quotes: a plugin may be called `null`. Names, versions, ranges and references hold nothing that would have to be escaped.
fn quoted(value: &(impl std::fmt::Display + ?Sized)) -> String {
    format!("\"{value}\"")
}

/// What is installed in a project: the lock file, and the components that it names.
#[derive(Debug, Clone)]
pub struct Installed {
    file: PathBuf,
    store: Store,
}

/// What is installed, while it is changed: nobody else changes it until this is dropped.
pub struct Change {
    installed: Installed,
    /// What is installed now; written by [`Change::commit`].
    pub lock: Lock,
    /// Held for as long as this is there.
    _held: File,
}

impl Installed {
    /// What is installed in this project.
    pub fn of(project: &Path, state: &Path) -> Self {
        Self {
            file: project.join(FILE),
            store: Store::of(state),
        }
    }

    /// The lock file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The components.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Reads the lock file; without one nothing is installed. Blocks.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn read(&self) -> Result<Lock, LockError> {
        let failed = |source| LockError::Io {
            path: self.file.clone(),
            source,
        };
        let file = match File::open(&self.file) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lock::default()),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        Lock::parse(&self.file, &bytes)
    }

    /// Begins a change, when nobody else changes anything. Blocks.
    ///
    /// # Errors
    /// [`LockError`], also when somebody else does not end.
    pub fn change(&self) -> Result<Change, LockError> {
        let held = hold(self.store.folder())?;
        Ok(Change {
            installed: self.clone(),
            lock: self.read()?,
            _held: held,
        })
    }
}

/// Waits until nobody else holds a folder, and holds it for as long as the file is there. Blocks.
///
/// # Errors
/// [`LockError`], also when somebody else does not end.
pub(super) fn hold(folder: &Path) -> Result<File, LockError> {
    let path = folder.join("lock");
    let failed = |source| LockError::Io {
        path: path.clone(),
        source,
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let held = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    let end = Instant::now() + PATIENCE;
    loop {
        match held.try_lock() {
            Ok(()) => return Ok(held),
            Err(TryLockError::WouldBlock) if Instant::now() < end => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => return Err(LockError::Busy { path }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

impl Change {
    /// Writes what is installed now. The components that it names must be in the store; those that it does not are
    /// removed. Killed at any point, this leaves what was installed before, or what is now. Blocks.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn commit(self) -> Result<(), LockError> {
        let Installed { file, store } = &self.installed;
        replace(file, self.lock.text().as_bytes()).map_err(|source| LockError::Io {
            path: file.clone(),
            source,
        })?;
        store.tidy(&self.lock.digests());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::inspect::digest;

    fn locked(version: &str) -> Locked {
        Locked {
            version: version.parse().unwrap(),
            digest: digest(version.as_bytes()),
            source: "oci://localhost:5000/shop/csv".parse().unwrap(),
            manifest: digest(b"manifest"),
            signed_by: None,
            wanted: "^1.2".parse().unwrap(),
            pinned: false,
            before: Vec::new(),
        }
    }

    #[test]
    fn what_is_written_is_read_and_a_line_is_a_fact() {
        let dir = tempfile::tempdir().unwrap();
        let installed = Installed::of(dir.path(), &dir.path().join("state"));
        assert_eq!(installed.read().unwrap(), Lock::default());
        let mut change = installed.change().unwrap();
        change.lock.put("csv", locked("1.2.0"));
        change.lock.put("csv", locked("1.2.1"));
        change.lock.put(
            "null",
            Locked {
                pinned: true,
                signed_by: Some(KeyId::try_from(digest(b"key")).unwrap()),
                wanted: Wanted::Newest,
                ..locked("0.1.0-rc.1+b")
            },
        );
        let expected = change.lock.clone();
        change.commit().unwrap();
        assert_eq!(installed.read().unwrap(), expected);
        assert_eq!(
            expected.plugins["csv"].before[0].version,
            "1.2.0".parse().unwrap()
        );
        insta::assert_snapshot!(fs::read_to_string(installed.file()).unwrap());
    }

    #[test]
    fn former_versions_are_few_and_each_is_there_once() {
        let mut lock = Lock::default();
        for version in ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.3.0"] {
            lock.put("csv", locked(version));
        }
        let csv = &lock.plugins["csv"];
        let before: Vec<_> = csv.before.iter().map(|b| b.version.to_string()).collect();
        assert_eq!(csv.version.to_string(), "1.3.0");
        assert_eq!(before, ["1.4.0", "1.2.0", "1.1.0"]);
    }

    #[test]
    fn a_former_version_remembers_whose_key_it_was_trusted_for() {
        let dir = tempfile::tempdir().unwrap();
        let installed = Installed::of(dir.path(), &dir.path().join("state"));
        let key = |seed: &[u8]| Some(KeyId::try_from(digest(seed)).unwrap());
        let mut change = installed.change().unwrap();
        for (version, seed) in [("1.2.0", b"old"), ("1.3.0", b"new")] {
            let signed_by = key(seed);
            let locked = Locked {
                signed_by,
                ..locked(version)
            };
            change.lock.put("csv", locked);
        }
        change.commit().unwrap();
        let csv = installed.read().unwrap().plugins["csv"].clone();
        assert_eq!(csv.signed_by, key(b"new"));
        assert_eq!(csv.before[0].signed_by, key(b"old"));
    }

    #[test]
    fn a_file_that_cannot_be_right_is_told_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let installed = Installed::of(dir.path(), dir.path());
        let told = |text: &str| {
            fs::write(installed.file(), text).unwrap();
            installed.read().unwrap_err().to_string()
        };
        assert!(told("lock: 2\nplugins: { new: [form] }\n").contains("use a newer one"));
        assert!(told("<<<<<<< HEAD\nlock: 1\n").contains("take it back from version control"));
        let wrong = told(
            "lock: 1\nplugins: { csv: { version: 1.0.0, digest: x, source: oci://h/csv, manifest: x } }\n",
        );
        assert!(wrong.contains("csv: `x` is no digest"), "{wrong}");
    }

    #[test]
    fn changes_wait_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let installed = Installed::of(dir.path(), dir.path());
        let workers: Vec<_> = (0..8)
            .map(|n| {
                let installed = installed.clone();
                thread::spawn(move || {
                    let mut change = installed.change().unwrap();
                    change.lock.put(&format!("p{n}"), locked("1.0.0"));
                    change.commit().unwrap();
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(installed.read().unwrap().plugins.len(), 8);
    }
}
