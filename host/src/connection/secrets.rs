//! The secret store of a project: names and values in one encrypted file, `secrets.sealed`, which may be in version
//! control. The key is somewhere else: in a file or in the environment.
//!
//! ```text
//! { "crossdock-secrets": 1, "key": ID OF THE KEY, "salt": 32 BYTES, "sealed": NAMES AND VALUES }
//! ```
//! Each write derives a key of its own from the key and a fresh salt (HMAC-SHA256), so no nonce is ever used twice, and
//! seals everything with ChaCha20-Poly1305: without the key neither names nor values nor their number can be read, and
//! with it every changed bit is noticed. The id tells a wrong key from a damaged file. What is not protected: whoever can
//! write the file can put an older version of it back.

mod key;
mod sealed;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use super::secret::Secret;
use key::Key;
pub use key::{KEY_FILE_VARIABLE, KEY_VARIABLE, KeySource, key_file};

/// The file's name in a project's folder.
pub const FILE: &str = "secrets.sealed";
/// A value is not longer.
pub const MAX_VALUE: usize = 64 << 10;
/// There are not more of them.
const MAX_SECRETS: usize = 1000;
/// No file of secrets is longer.
const MAX_FILE: u64 = 128 << 20;

/// Secrets cannot be read or written. No text of it holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretsError {
    /// There is a file of secrets and no key.
    #[error("{} is encrypted, and no key is given", file.display())]
    NoKey {
        /// The file of secrets.
        file: PathBuf,
    },
    /// The key is given twice.
    #[error("both {KEY_VARIABLE} and {KEY_FILE_VARIABLE} are set")]
    TwoKeys,
    /// What is given is no key.
    #[error("{place} holds no key: {why}")]
    NotAKey {
        /// Where it is.
        place: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The key is another one than the file was encrypted with.
    #[error("{} was encrypted with the key {wanted}; the key in {place} is {found}", file.display())]
    WrongKey {
        /// The file of secrets.
        file: PathBuf,
        /// The id of the key that it wants.
        wanted: String,
        /// Where the given key is.
        place: String,
        /// The id of the given key.
        found: String,
    },
    /// The file of secrets was cut or changed.
    #[error("{} is damaged: {why}", file.display())]
    Damaged {
        /// The file of secrets.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A newer crossdock wrote it.
    #[error("{} has format {found}, this crossdock knows format {}", file.display(), sealed::FORMAT)]
    TooNew {
        /// The file of secrets.
        file: PathBuf,
        /// Its format.
        found: u32,
    },
    /// There is no secret of this name.
    #[error("there is no secret `{name}` in {}", file.display())]
    Missing {
        /// The name.
        name: String,
        /// The file of secrets.
        file: PathBuf,
        /// The names that there are.
        known: Vec<String>,
    },
    /// This is no name.
    #[error(
        "`{0}` is no name of a secret: up to 128 letters, digits, `-`, `_` and `.`, a letter or digit first"
    )]
    Name(String),
    /// A new key would lie in the project.
    #[error("the key must not be in the project's folder, and {} is", .0.display())]
    KeyInProject(PathBuf),
    /// There are too many, or one is too long or empty.
    #[error("{0}")]
    Size(String),
    /// The file changed between reading and writing it.
    #[error("{} was changed by somebody else meanwhile", file.display())]
    Changed {
        /// The file of secrets.
        file: PathBuf,
    },
    /// A file operation failed.
    #[error("{action} {}: {why}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        why: String,
    },
}

impl SecretsError {
    fn io(action: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_path_buf(),
            why: error.to_string(),
        }
    }

    /// What to do.
    pub fn advice(&self) -> String {
        match self {
            Self::NoKey { .. } => format!(
                "set {KEY_FILE_VARIABLE} to the file that holds the key, or {KEY_VARIABLE} to the key itself"
            ),
            Self::TwoKeys => "unset one of them".to_owned(),
            Self::NotAKey { .. } => {
                "a key is one line that begins with `crossdock-key-1-`; `crossdock secret set` makes a key file when the \
                 one that is named is not there and there are no secrets yet"
                    .to_owned()
            }
            Self::WrongKey { wanted, .. } => format!(
                "give the key {wanted}; when it is lost, the secrets are: remove the file and set them anew"
            ),
            Self::Damaged { .. } => {
                "bring it back from version control or a backup, or remove it and set the secrets anew".to_owned()
            }
            Self::TooNew { .. } => "use a newer crossdock".to_owned(),
            Self::Missing { name, known, .. } => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let near = crate::flow::document::suggestion(name, "known secrets", &known);
                let set = format!("`crossdock secret set {name}` adds it");
                if near.is_empty() {
                    set
                } else {
                    format!("{near}; {set}")
                }
            }
            Self::KeyInProject(_) => {
                "name a file elsewhere: who gets a copy of the project must not get the key with it".to_owned()
            }
            Self::Changed { .. } => "try again".to_owned(),
            Self::Name(_) | Self::Size(_) | Self::Io { .. } => String::new(),
        }
    }
}

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SecretInfo {
    /// Its name.
    pub name: String,
    /// When its value was set, in milliseconds since 1970.
    pub set_at_ms: u64,
}

/// One value and when it was set.
#[derive(Debug, Clone)]
struct Kept {
    value: Secret,
    set_at_ms: u64,
}

/// The secrets of a project, to be looked up. The file is read when the first one is asked for.
#[derive(Debug)]
pub struct Secrets {
    file: PathBuf,
    key: KeySource,
    store: OnceLock<Result<SecretStore, SecretsError>>,
}

impl Secrets {
    /// Those of a project's folder, with the key that the environment names.
    pub fn of_project(folder: &Path) -> Self {
        Self::new(folder.join(FILE), KeySource::from_environment())
    }

    /// Those of a file.
    pub fn new(file: PathBuf, key: KeySource) -> Self {
        Self {
            file,
            key,
            store: OnceLock::new(),
        }
    }

    /// One secret.
    ///
    /// # Errors
    /// There is none of this name, or the file cannot be read.
    pub fn get(&self, name: &str) -> Result<Secret, SecretsError> {
        let store = self
            .store
            .get_or_init(|| SecretStore::open(&self.file, &self.key));
        match store {
            Ok(store) => store.get(name),
            Err(error) => Err(error.clone()),
        }
    }
}

/// The secrets of a project, to be changed.
#[derive(Debug)]
pub struct SecretStore {
    file: PathBuf,
    key: Key,
    secrets: BTreeMap<String, Kept>,
    /// What the file held when it was read; `None`: it was not there.
    read: Option<Vec<u8>>,
}

impl SecretStore {
    /// Opens a file of secrets. One that is not there has none, and needs no key.
    ///
    /// # Errors
    /// The key is missing or wrong, or the file is damaged.
    pub fn open(file: &Path, key: &KeySource) -> Result<Self, SecretsError> {
        match read_bounded(file)? {
            None => Ok(Self {
                file: file.to_path_buf(),
                key: Key::unset(),
                secrets: BTreeMap::new(),
                read: None,
            }),
            Some(bytes) => Self::unseal(file, key.key(file)?, bytes),
        }
    }

    /// Opens a file of secrets for writing. When neither it nor the named key file is there, the key is made: the second
    /// value says so.
    ///
    /// # Errors
    /// The key is missing or wrong, or the file is damaged.
    pub fn open_or_create(file: &Path, key: &KeySource) -> Result<(Self, bool), SecretsError> {
        if let Some(bytes) = read_bounded(file)? {
            return Ok((Self::unseal(file, key.key(file)?, bytes)?, false));
        }
        let (key, made) = key.key_or_new(file)?;
        let store = Self {
            file: file.to_path_buf(),
            key,
            secrets: BTreeMap::new(),
            read: None,
        };
        Ok((store, made))
    }

    fn unseal(file: &Path, key: Key, bytes: Vec<u8>) -> Result<Self, SecretsError> {
        Ok(Self {
            file: file.to_path_buf(),
            secrets: sealed::open(&bytes, &key, file)?,
            key,
            read: Some(bytes),
        })
    }

    /// The id of the key, as errors name it.
    pub fn key_id(&self) -> String {
        self.key.id()
    }

    /// Names, ordered, without values.
    pub fn list(&self) -> Vec<SecretInfo> {
        let info = |(name, kept): (&String, &Kept)| SecretInfo {
            name: name.clone(),
            set_at_ms: kept.set_at_ms,
        };
        self.secrets.iter().map(info).collect()
    }

    fn get(&self, name: &str) -> Result<Secret, SecretsError> {
        let kept = self.secrets.get(name).ok_or_else(|| self.missing(name))?;
        Ok(kept.value.clone())
    }

    fn missing(&self, name: &str) -> SecretsError {
        SecretsError::Missing {
            name: name.to_owned(),
            file: self.file.clone(),
            known: self.secrets.keys().cloned().collect(),
        }
    }

    /// Adds a secret or replaces its value; says whether there was one. On the disk after [`Self::save`].
    ///
    /// # Errors
    /// The name or the value cannot be kept.
    pub fn set(&mut self, name: &str, value: Secret) -> Result<bool, SecretsError> {
        let mut letters = name.bytes();
        let starts = letters.next().is_some_and(|b| b.is_ascii_alphanumeric());
        let goes_on = letters.all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !starts || !goes_on || name.len() > 128 {
            return Err(SecretsError::Name(name.escape_debug().to_string()));
        }
        let length = value.expose().len();
        if length == 0 {
            return Err(SecretsError::Size(format!(
                "the value of `{name}` is empty"
            )));
        }
        if length > MAX_VALUE {
            let text = format!("the value of `{name}` has {length} bytes; {MAX_VALUE} are allowed");
            return Err(SecretsError::Size(text));
        }
        if self.secrets.len() >= MAX_SECRETS && !self.secrets.contains_key(name) {
            let text = format!("there are {MAX_SECRETS} secrets already, and no more are allowed");
            return Err(SecretsError::Size(text));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let set_at_ms = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        let kept = Kept { value, set_at_ms };
        Ok(self.secrets.insert(name.to_owned(), kept).is_some())
    }

    /// Removes a secret. On the disk after [`Self::save`].
    ///
    /// # Errors
    /// There is none of this name.
    pub fn remove(&mut self, name: &str) -> Result<(), SecretsError> {
        match self.secrets.remove(name) {
            Some(_) => Ok(()),
            None => Err(self.missing(name)),
        }
    }

    /// Takes another key: the one in `file`, which is made when it is not there. The second value says so. On the disk
    /// after [`Self::save`]; until then the old key is the right one.
    ///
    /// # Errors
    /// There is no usable key in the file, or it cannot be made.
    pub fn rotate(&mut self, file: &Path) -> Result<bool, SecretsError> {
        let (key, made) = KeySource::File(file.to_path_buf()).key_or_new(&self.file)?;
        self.key = key;
        Ok(made)
    }

    /// Makes the changes durable: the file is replaced whole or stays as it is, and only its owner may read it.
    ///
    /// # Errors
    /// Somebody changed the file since it was opened, or it cannot be written.
    pub fn save(&mut self) -> Result<(), SecretsError> {
        let folder = match self.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let failed = |error: &io::Error| SecretsError::io("write", &self.file, error);
        // Two commands at the same time: the second sees what the first did.
        let lock = File::open(folder).map_err(|error| failed(&error))?;
        lock.lock().map_err(|error| failed(&error))?;
        if read_bounded(&self.file)? != self.read {
            return Err(SecretsError::Changed {
                file: self.file.clone(),
            });
        }
        let bytes = sealed::seal(&self.secrets, &self.key)?;
        write_private(&self.file, &bytes).map_err(|error| failed(&error))?;
        self.read = Some(bytes);
        Ok(())
    }
}

/// The bytes of a file; `None` when there is none.
fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>, SecretsError> {
    let failed = |error: &io::Error| SecretsError::io("read", path, error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&error))?;
    Ok(Some(bytes))
}

/// Replaces a file by one that only its owner may read. A crash leaves the old one or the new one.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    fs::File::open(folder)?.sync_all()
}
