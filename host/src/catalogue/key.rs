//! Keys of publishers: ECDSA over P-256, in the files that other tools read and write as well. A private key is PKCS#8 in
//! PEM form, a public key is SPKI in PEM form. With a passphrase, the private key's file is in a form of our own: what is
//! standard for that needs ciphers that nothing else here needs.

mod file;
mod passphrase;
mod pem;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral},
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
        UnparsedPublicKey as Verifier,
    },
};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

pub use self::passphrase::Passphrase;
use self::{
    file::{create, read, warn_if_open},
    pem::{ENCRYPTED, PRIVATE, PUBLIC, from_pem, has_label, to_pem},
};

/// Holds the passphrase of a private key.
pub const PASSPHRASE_VARIABLE: &str = "CROSSDOCK_KEY_PASSPHRASE";
/// Names the file with the passphrase of a private key.
pub const PASSPHRASE_FILE_VARIABLE: &str = "CROSSDOCK_KEY_PASSPHRASE_FILE";

/// What every SPKI of this curve begins with; behind it is the point.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Bytes of a point: a mark and two numbers.
const POINT: usize = 65;

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
    #[error("the system gives no random numbers")]
    Random,
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
            Self::Io { .. } | Self::Random => 1,
            _ => 2,
        }
    }
}

/// The name of a public key: `sha256:…` of its SPKI form. The same key has the same id everywhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

impl KeyId {
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
    point: [u8; POINT],
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
        let der = from_pem(text, PUBLIC).map_err(|why| KeyError::not_a_key(&place, why))?;
        let point = der
            .strip_prefix(&SPKI)
            .and_then(|point| point.try_into().ok());
        let key = point.and_then(Self::new);
        key.ok_or_else(|| {
            KeyError::not_a_key(
                place,
                "it must be a key of the curve P-256, its point uncompressed",
            )
        })
    }

    /// `None` when the point is not on the curve.
    fn new(point: [u8; POINT]) -> Option<Self> {
        // Only who wants to agree on a secret is told so.
        let own = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).ok()?;
        agree_ephemeral(own, &UnparsedPublicKey::new(&ECDH_P256, point), |_| ()).ok()?;
        let id = KeyId(super::digest(&[SPKI.as_slice(), &point].concat()));
        Some(Self { point, id })
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
        to_pem(&[SPKI.as_slice(), &self.point].concat(), PUBLIC).to_string()
    }

    /// Whether this key made the signature (in DER form) of these bytes.
    pub(super) fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        Verifier::new(&ECDSA_P256_SHA256_ASN1, self.point)
            .verify(bytes, signature)
            .is_ok()
    }
}

/// With it a publisher signs.
pub struct PrivateKey {
    key: EcdsaKeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
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
        let made =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        let pkcs8 = made.map_err(|_| KeyError::Random)?;
        Self::new(Zeroizing::new(pkcs8.as_ref().to_vec())).map_err(|_| KeyError::Random)
    }

    fn new(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, String> {
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &pkcs8,
            &SystemRandom::new(),
        )
        .map_err(|error| format!("it must be a key of the curve P-256 in PKCS#8 form ({error})"))?;
        let point = key.public_key().as_ref().try_into().ok();
        let public = point
            .and_then(PublicKey::new)
            .ok_or("its point is not on the curve")?;
        Ok(Self { key, pkcs8, public })
    }

    /// Reads a file that holds a private key.
    ///
    /// # Errors
    /// When it cannot be read, holds none, or the passphrase does not open it.
    pub fn read(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, KeyError> {
        let text = Zeroizing::new(read(path)?);
        warn_if_open(path);
        let wrong = |why| KeyError::not_a_key(path.display(), why);
        let pkcs8 = if has_label(&text, ENCRYPTED) {
            let passphrase = passphrase.ok_or_else(|| KeyError::NoPassphrase(path.to_owned()))?;
            let sealed = from_pem(&text, ENCRYPTED).map_err(wrong)?;
            passphrase
                .open(&sealed)
                .ok_or_else(|| KeyError::WrongPassphrase(path.to_owned()))?
        } else {
            from_pem(&text, PRIVATE).map_err(wrong)?
        };
        Self::new(pkcs8).map_err(|why| KeyError::not_a_key(path.display(), why))
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
        let pem = match passphrase {
            Some(passphrase) => to_pem(&passphrase.seal(&self.pkcs8)?, ENCRYPTED),
            None => to_pem(&self.pkcs8, PRIVATE),
        };
        create(path, pem.as_bytes(), 0o600)?;
        create(&public, self.public.to_pem().as_bytes(), 0o644).inspect_err(|_| {
            // Half a pair would be in the way of the next try.
            let _ = fs::remove_file(path);
        })?;
        Ok(public)
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs bytes: ECDSA over their SHA-256, in DER form.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.key.sign(&SystemRandom::new(), bytes);
        signature
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| KeyError::Random)
    }
}

/// Where the public key of a private one is: `acme.key` and `acme.pub`.
pub fn public_path(private: &Path) -> PathBuf {
    private.with_extension("pub")
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
            text.starts_with("-----BEGIN CROSSDOCK ENCRYPTED PRIVATE KEY-----\n"),
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
        let private = to_pem(&key.pkcs8, PRIVATE);
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
