//! The key of a secret store: 32 random bytes, written as one line of text.

use std::{
    env, fmt, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretBox, zeroize::Zeroizing};
use sha2::Sha256;

use super::{super::secret::Secret, SecretsError, read_bounded};

/// Names the key.
pub const KEY_VARIABLE: &str = "CROSSDOCK_SECRETS_KEY";
/// Names the file with the key.
pub const KEY_FILE_VARIABLE: &str = "CROSSDOCK_SECRETS_KEY_FILE";

/// What every key begins with.
const PREFIX: &str = "crossdock-key-1-";

/// Where the key is.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// Nowhere.
    None,
    /// In the environment, in both ways that there are: which one is meant?
    Both,
    /// This is it.
    Text(Secret),
    /// In this file.
    File(PathBuf),
}

/// The file of the key, when the environment says that it is in one.
pub fn key_file() -> Option<PathBuf> {
    let path = env::var_os(KEY_FILE_VARIABLE)?;
    (!path.is_empty()).then(|| path.into())
}

impl KeySource {
    /// As the environment says. Empty variables do not count.
    pub fn from_environment() -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        match (set(KEY_VARIABLE), set(KEY_FILE_VARIABLE)) {
            (None, None) => Self::None,
            (Some(_), Some(_)) => Self::Both,
            // What is no text is no key either.
            (Some(text), None) => Self::Text(Secret::new(text.to_string_lossy())),
            (None, Some(path)) => Self::File(path.into()),
        }
    }

    /// The key for a file of secrets.
    pub(super) fn key(&self, secrets: &Path) -> Result<Key, SecretsError> {
        match self {
            Self::None => Err(SecretsError::NoKey {
                file: secrets.to_path_buf(),
            }),
            Self::Both => Err(SecretsError::TwoKeys),
            Self::Text(text) => Key::parse(text.expose(), KEY_VARIABLE.to_owned()),
            Self::File(path) => {
                let missing = || {
                    let error = io::Error::from(io::ErrorKind::NotFound);
                    SecretsError::io("read the key in", path, &error)
                };
                Key::in_file(path, read_bounded(path)?.ok_or_else(missing)?)
            }
        }
    }

    /// The key for a new file of secrets; a key file that is not there is made.
    pub(super) fn key_or_new(&self, secrets: &Path) -> Result<(Key, bool), SecretsError> {
        let Self::File(path) = self else {
            return self.key(secrets).map(|key| (key, false));
        };
        if let Some(bytes) = read_bounded(path)? {
            return Key::in_file(path, bytes).map(|key| (key, false));
        }
        let key = Key::random(path)?;
        key.write(path)?;
        Ok((key, true))
    }
}

/// The bytes, and where they came from.
#[derive(Clone)]
pub(super) struct Key {
    bytes: std::sync::Arc<SecretBox<[u8; 32]>>,
    place: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key]")
    }
}

impl Key {
    fn new(bytes: &[u8; 32], place: String) -> Self {
        Self {
            bytes: std::sync::Arc::new(SecretBox::new(Box::new(*bytes))),
            place,
        }
    }

    /// Of a store that is not there: nothing was encrypted with it, and nothing is.
    pub(super) fn unset() -> Self {
        Self::new(&[0; 32], String::new())
    }

    pub(super) fn is_unset(&self) -> bool {
        self.place.is_empty()
    }

    fn random(place: &Path) -> Result<Self, SecretsError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes).map_err(|error| SecretsError::Io {
            action: "make a key for",
            path: place.to_path_buf(),
            why: error.to_string(),
        })?;
        Ok(Self::new(&bytes, place.display().to_string()))
    }

    fn in_file(path: &Path, bytes: Vec<u8>) -> Result<Self, SecretsError> {
        warn_if_open(path);
        let bytes = Zeroizing::new(bytes);
        let place = path.display().to_string();
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text, place),
            Err(_) => Err(SecretsError::NotAKey {
                place,
                why: "it is no text",
            }),
        }
    }

    fn parse(text: &str, place: String) -> Result<Self, SecretsError> {
        let wrong = |why| SecretsError::NotAKey {
            place: place.clone(),
            why,
        };
        let Some(encoded) = text.trim().strip_prefix(PREFIX) else {
            return Err(wrong("it does not begin with `crossdock-key-1-`"));
        };
        let decoded = URL_SAFE_NO_PAD.decode(encoded).map(Zeroizing::new);
        let decoded = decoded.map_err(|_| wrong("it has letters that are in no key"))?;
        let bytes: &[u8; 32] = decoded
            .as_slice()
            .try_into()
            .map_err(|_| wrong("it is too short or too long"))?;
        Ok(Self::new(bytes, place))
    }

    /// Makes a key file that only its owner may read. It must not be there yet.
    fn write(&self, path: &Path) -> Result<(), SecretsError> {
        let failed = |error: &io::Error| SecretsError::io("write the key into", path, error);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(|error| failed(&error))?;
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.bytes.expose_secret()));
        let line = Zeroizing::new(format!("{PREFIX}{}\n", *encoded));
        let written = file
            .write_all(line.as_bytes())
            .and_then(|()| file.sync_all());
        // A key file that is half a key would be taken for a damaged one.
        if written.is_err() {
            let _ = fs::remove_file(path);
        }
        written.map_err(|error| failed(&error))
    }

    /// Where it came from.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Tells keys apart; says nothing about the key.
    pub(super) fn id(&self) -> String {
        hex::encode(&self.derive(b"id", &[])[..8])
    }

    /// The key for what is sealed with this salt.
    pub(super) fn sealing(&self, salt: &[u8]) -> Zeroizing<[u8; 32]> {
        self.derive(b"seal", salt)
    }

    fn derive(&self, purpose: &[u8], salt: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut derived = Zeroizing::new([0; 32]);
        // HMAC takes keys of any length.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.bytes.expose_secret()) {
            for part in [b"crossdock secrets 1\0".as_slice(), purpose, b"\0", salt] {
                mac.update(part);
            }
            derived.copy_from_slice(&mac.finalize().into_bytes());
        }
        derived
    }
}

/// Others than the owner can read the key: said once for each time it is read. It is no error, since some platforms
/// mount files so.
fn warn_if_open(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(path).map_or(0, |found| found.permissions().mode());
        if mode & 0o077 != 0 {
            let path = path.display();
            tracing::warn!(%path, "others than its owner may read the key of the secrets: chmod 600");
        }
    }
}
