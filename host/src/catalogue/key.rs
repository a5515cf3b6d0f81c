//! Keys of publishers: ECDSA over P-256, in the files that other tools read and write as well. A private key is PKCS#8 in
//! PEM form, encrypted when there is a passphrase; a public key is SPKI in PEM form.

use std::{
    env, fmt, fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p256::{
    SecretKey,
    ecdsa::{
        Signature, SigningKey, VerifyingKey,
        signature::{Signer as _, Verifier as _, hazmat::PrehashVerifier as _},
    },
    pkcs8::{
        DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _,
        LineEnding, PrivateKeyInfo, pkcs5,
    },
};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Holds the passphrase of a private key.
pub const PASSPHRASE_VARIABLE: &str = "CROSSDOCK_KEY_PASSPHRASE";
/// Names the file with the passphrase of a private key.
pub const PASSPHRASE_FILE_VARIABLE: &str = "CROSSDOCK_KEY_PASSPHRASE_FILE";

/// A key file is not larger than this, in bytes.
const MAX_FILE: u64 = 64 << 10;
/// The work of guessing a passphrase, as the exponent of scrypt's N: 32 MiB, the most that OpenSSL takes by itself.
const SCRYPT_LOG_N: u8 = 15;

const PRIVATE: &str = "PRIVATE KEY";
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// Why a key cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// A key is never overwritten.
    #[error("{} is there already, and a key is never overwritten: name another file with --out", .0.display())]
    Exists(PathBuf),
    /// The file holds something else.
    #[error("{place} holds no key that can be used: {why}")]
    NotAKey {
        /// Where it came from.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// It is encrypted and nothing was given to open it with.
    #[error(
        "the key in {} is encrypted: put its passphrase into {PASSPHRASE_VARIABLE}, or into a file that \
         {PASSPHRASE_FILE_VARIABLE} names", .0.display()
    )]
    NoPassphrase(PathBuf),
    /// Another passphrase opens it.
    #[error("the passphrase does not open the key in {}", .0.display())]
    WrongPassphrase(PathBuf),
    /// Both variables are set.
    #[error(
        "{PASSPHRASE_VARIABLE} and {PASSPHRASE_FILE_VARIABLE} are both set: which one is meant?"
    )]
    TwoPassphrases,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
}

impl KeyError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Io {
            action,
            path,
            source,
        }
    }

    fn not_a_key(place: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::NotAKey {
            place: place.to_string(),
            why: why.to_string(),
        }
    }

    /// 1: the system said no, 2: the call has to be changed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => 2,
            Self::Io { .. } | Self::Random(_) => 1,
            _ => 2,
        }
    }
}

/// The name of a public key: `sha256:…` of its SPKI form. The same key has the same id everywhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

impl KeyId {
    fn of(spki: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(spki))))
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Enough of it for people to tell keys apart.
    pub fn short(&self) -> &str {
        self.0
            .get("sha256:".len()..)
            .and_then(|hex| hex.get(..16))
            .unwrap_or(&self.0)
    }

    /// As signatures hint at the key that made them.
    pub(super) fn hint(&self) -> String {
        let hex = self.0.trim_start_matches("sha256:");
        // It was encoded by us, or checked.
        STANDARD.encode(hex::decode(hex).unwrap_or_default())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.short())
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.0
    }
}

impl TryFrom<String> for KeyId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        match text.strip_prefix("sha256:") {
            Some(hex) if hex.len() == 64 && hex.bytes().all(lower) => Ok(Self(text)),
            _ => Err(format!(
                "{text:?} is no key id: it is `sha256:` and 64 hexadecimal digits"
            )),
        }
    }
}

/// With it anybody can verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    id: KeyId,
}

impl PublicKey {
    /// Reads a key in PEM form; `place` is where it came from, for the error.
    ///
    /// # Errors
    /// When it is none, or of another kind.
    pub fn from_pem(text: &str, place: impl fmt::Display) -> Result<Self, KeyError> {
        if text.contains("PRIVATE KEY") {
            return Err(KeyError::not_a_key(
                place,
                "this is a private key, which belongs to its publisher alone; the public one begins with \
                 `-----BEGIN PUBLIC KEY-----`",
            ));
        }
        let key = VerifyingKey::from_public_key_pem(text.trim())
            .map_err(|error| KeyError::not_a_key(&place, kind_of(text, "PUBLIC KEY", &error)))?;
        Self::new(key).map_err(|why| KeyError::not_a_key(place, why))
    }

    fn new(key: VerifyingKey) -> Result<Self, String> {
        let spki = key.to_public_key_der().map_err(|error| error.to_string())?;
        let id = KeyId::of(spki.as_bytes());
        Ok(Self { key, id })
    }

    /// Reads a file that holds a public key.
    ///
    /// # Errors
    /// When it cannot be read or holds none.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        Self::from_pem(&read(path)?, path.display())
    }

    /// Its name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// In PEM form, as `openssl dgst -verify` and cosign read it.
    pub fn to_pem(&self) -> String {
        // A point on the curve can always be written.
        self.key
            .to_public_key_pem(LineEnding::LF)
            .unwrap_or_default()
    }

    /// Whether this key made the signature of these bytes.
    pub(super) fn verifies(&self, bytes: &[u8], signature: &Signature) -> bool {
        self.key.verify(bytes, signature).is_ok()
    }

    /// The same, when only the SHA-256 of the bytes is at hand.
    pub(super) fn verifies_digest(&self, digest: &[u8], signature: &Signature) -> bool {
        digest.len() == 32 && self.key.verify_prehash(digest, signature).is_ok()
    }
}

/// With it a publisher signs.
pub struct PrivateKey {
    key: SigningKey,
    public: PublicKey,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public.id.short())
    }
}

impl PrivateKey {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn random() -> Result<Self, KeyError> {
        loop {
            let mut bytes = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *bytes).map_err(|error| KeyError::Random(error.to_string()))?;
            // One in 2^32 is no key: zero, or not below the order of the curve.
            if let Ok(key) = SecretKey::from_slice(&*bytes) {
                return Self::new(&key).map_err(KeyError::Random);
            }
        }
    }

    fn new(key: &SecretKey) -> Result<Self, String> {
        let key = SigningKey::from(key);
        let public = PublicKey::new(*key.verifying_key())?;
        Ok(Self { key, public })
    }

    /// Reads a file that holds a private key.
    ///
    /// # Errors
    /// When it cannot be read, holds none, or the passphrase does not open it.
    pub fn read(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, KeyError> {
        let text = Zeroizing::new(read(path)?);
        warn_if_open(path);
        let pem = text.trim();
        let key = if has_label(pem, ENCRYPTED) {
            let passphrase = passphrase.ok_or_else(|| KeyError::NoPassphrase(path.to_owned()))?;
            SecretKey::from_pkcs8_encrypted_pem(pem, passphrase.0.as_bytes())
                .map_err(|_| KeyError::WrongPassphrase(path.to_owned()))?
        } else {
            SecretKey::from_pkcs8_pem(pem).map_err(|error| {
                KeyError::not_a_key(path.display(), kind_of(pem, PRIVATE, &error))
            })?
        };
        Self::new(&key).map_err(|why| KeyError::not_a_key(path.display(), why))
    }

    /// Writes it into a new file that only its owner may read, and the public one beside it. Gives the public one's path.
    ///
    /// # Errors
    /// When one of them is there already, or cannot be written: then neither is left behind.
    pub fn write(&self, path: &Path, passphrase: Option<&Passphrase>) -> Result<PathBuf, KeyError> {
        let public = public_path(path);
        for file in [path, &public] {
            if file.symlink_metadata().is_ok() {
                return Err(KeyError::Exists(file.to_owned()));
            }
        }
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            fs::create_dir_all(folder).map_err(|error| KeyError::io("make", folder, error))?;
        }
        let pem = self.to_pem(passphrase)?;
        create(path, pem.as_bytes(), 0o600)?;
        create(&public, self.public.to_pem().as_bytes(), 0o644).inspect_err(|_| {
            // Half a pair would be in the way of the next try.
            let _ = fs::remove_file(path);
        })?;
        Ok(public)
    }

    fn to_pem(&self, passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>, KeyError> {
        let failed = |error: &dyn fmt::Display| KeyError::not_a_key("the new key", error);
        let plain = self.key.to_pkcs8_der().map_err(|error| failed(&error))?;
        let Some(passphrase) = passphrase else {
            return plain
                .to_pem(PRIVATE, LineEnding::LF)
                .map_err(|error| failed(&error));
        };
        let (mut salt, mut iv) = ([0; 16], [0; 16]);
        for bytes in [&mut salt, &mut iv] {
            getrandom::fill(bytes).map_err(|error| KeyError::Random(error.to_string()))?;
        }
        let work =
            pkcs5::scrypt::Params::new(SCRYPT_LOG_N, 8, 1, 32).map_err(|error| failed(&error))?;
        let parameters = pkcs5::pbes2::Parameters::scrypt_aes256cbc(work, &salt, &iv)
            .map_err(|error| failed(&error))?;
        PrivateKeyInfo::try_from(plain.as_bytes())
            .and_then(|info| info.encrypt_with_params(parameters, passphrase.0.as_bytes()))
            .map_err(|error| failed(&error))?
            .to_pem(ENCRYPTED, LineEnding::LF)
            .map_err(|error| failed(&error))
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs bytes: ECDSA over their SHA-256, in DER form.
    pub(super) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let signature: Signature = self.key.sign(bytes);
        signature.to_der().as_bytes().to_vec()
    }
}

/// What opens an encrypted private key.
pub struct Passphrase(Zeroizing<String>);

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[passphrase]")
    }
}

impl Passphrase {
    /// This one.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// As the environment says. Empty variables do not count.
    ///
    /// # Errors
    /// When both variables are set, or the file cannot be read or is empty.
    pub fn from_environment() -> Result<Option<Self>, KeyError> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        match (set(PASSPHRASE_VARIABLE), set(PASSPHRASE_FILE_VARIABLE)) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(KeyError::TwoPassphrases),
            (Some(text), None) => Ok(Some(Self::new(text.to_string_lossy()))),
            (None, Some(path)) => {
                let path = PathBuf::from(path);
                let text = Zeroizing::new(read(&path)?);
                let line = text.trim_end_matches(['\r', '\n']);
                if line.is_empty() {
                    return Err(KeyError::not_a_key(
                        path.display(),
                        "the file of the passphrase is empty",
                    ));
                }
                Ok(Some(Self::new(line)))
            }
        }
    }
}

/// Where the public key of a private one is: `acme.key` and `acme.pub`.
pub fn public_path(private: &Path) -> PathBuf {
    private.with_extension("pub")
}

fn has_label(pem: &str, label: &str) -> bool {
    pem.lines()
        .any(|line| line.trim_end() == format!("-----BEGIN {label}-----"))
}

/// What a text is instead of the key that was expected.
fn kind_of(pem: &str, label: &str, error: &dyn fmt::Display) -> String {
    if has_label(pem, label) {
        return format!("it must be a key of the curve P-256 ({error})");
    }
    let found = pem.lines().find_map(|line| {
        line.trim_end()
            .strip_prefix("-----BEGIN ")?
            .strip_suffix("-----")
    });
    match found {
        Some("EC PRIVATE KEY") => {
            "it is in an older form; `openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW` makes it the \
             expected one"
                .to_owned()
        }
        Some(found) => {
            format!("it begins with `-----BEGIN {found}-----`, expected `-----BEGIN {label}-----`")
        }
        None => format!("it does not begin with `-----BEGIN {label}-----`"),
    }
}

fn read(path: &Path) -> Result<String, KeyError> {
    let failed = |error| KeyError::io("read", path, error);
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(KeyError::not_a_key(path.display(), "it is far too large"));
    }
    String::from_utf8(bytes).map_err(|_| KeyError::not_a_key(path.display(), "it is no text"))
}

/// A new file with all of its bytes, or none.
fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
        _ => KeyError::io("write", path, error),
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = fs::remove_file(path);
        KeyError::io("write", path, error)
    })
}

/// Others than the owner can read the key. It is no error, since some platforms mount files so.
fn warn_if_open(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(path).map_or(0, |found| found.permissions().mode());
        if mode & 0o077 != 0 {
            let path = path.display();
            tracing::warn!(%path, "others than its owner may read the private key: chmod 600");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_written_for_its_owner_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/acme.key");
        let key = PrivateKey::random().unwrap();
        let public = key.write(&path, None).unwrap();
        assert_eq!(public, dir.path().join("keys/acme.pub"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        let read = PrivateKey::read(&path, None).unwrap();
        assert_eq!(read.public(), key.public());
        assert_eq!(PublicKey::read(&public).unwrap(), *key.public());
        assert!(!format!("{key:?}").contains("BEGIN"));
        // Never overwritten: neither the key nor a public one that is in the way.
        let other = PrivateKey::random().unwrap();
        assert!(matches!(other.write(&path, None), Err(KeyError::Exists(_))));
        fs::remove_file(&path).unwrap();
        assert!(matches!(other.write(&path, None), Err(KeyError::Exists(at)) if at == public));
        assert!(!path.exists());
    }

    #[test]
    fn a_passphrase_is_needed_and_must_be_the_right_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acme.key");
        let key = PrivateKey::random().unwrap();
        let right = Passphrase::new("correct horse");
        key.write(&path, Some(&right)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"),
            "{text}"
        );
        let read = PrivateKey::read(&path, Some(&right)).unwrap();
        assert_eq!(read.public(), key.public());
        let none = PrivateKey::read(&path, None).unwrap_err();
        assert!(none.to_string().contains(PASSPHRASE_VARIABLE), "{none}");
        let wrong = PrivateKey::read(&path, Some(&Passphrase::new("wrong")));
        assert!(
            matches!(wrong, Err(KeyError::WrongPassphrase(_))),
            "{wrong:?}"
        );
    }

    #[test]
    fn what_is_no_key_is_told_with_what_it_is() {
        let public = |text: &str| {
            PublicKey::from_pem(text, "acme.pub")
                .unwrap_err()
                .to_string()
        };
        let key = PrivateKey::random().unwrap();
        let private = key.to_pem(None).unwrap();
        assert!(public(&private).contains("this is a private key"));
        assert!(public("hello").contains("does not begin with `-----BEGIN PUBLIC KEY-----`"));
        let certificate = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n";
        assert!(public(certificate).contains("begins with `-----BEGIN CERTIFICATE-----`"));
        // An Ed25519 key.
        let other = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        assert!(
            public(other).contains("must be a key of the curve P-256"),
            "{}",
            public(other)
        );
        let good = key.public().to_pem();
        for at in 27..good.len() {
            let mut damaged = good.clone().into_bytes();
            damaged[at] ^= 1;
            if let Ok(read) = String::from_utf8(damaged).map(|text| PublicKey::from_pem(&text, "x"))
            {
                assert!(read.map_or(true, |read| read.id() != key.public().id()
                    || good.as_bytes()[at] == b'\n'));
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        fs::write(&path, vec![b'-'; 70_000]).unwrap();
        assert!(
            PublicKey::read(&path)
                .unwrap_err()
                .to_string()
                .contains("too large")
        );
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = PrivateKey::random().unwrap().public().id().clone();
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<KeyId>(&text).unwrap(), id);
        assert_eq!(id.short().len(), 16);
        for wrong in ["", "sha256:", "sha256:zz", "sha512:00"] {
            assert!(KeyId::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
