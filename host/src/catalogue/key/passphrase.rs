//! The passphrase of a private key: where it comes from, and how a key is sealed with it.

use std::{env, fmt, num::NonZeroU32, path::PathBuf};

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    pbkdf2,
};
use secrecy::zeroize::Zeroizing;

use super::{KeyError, PASSPHRASE_FILE_VARIABLE, PASSPHRASE_VARIABLE, file::read};

/// The work of guessing a passphrase, in rounds of PBKDF2 with HMAC-SHA256: what OWASP asks for.
const ROUNDS: NonZeroU32 = match NonZeroU32::new(600_000) {
    Some(rounds) => rounds,
    None => NonZeroU32::MAX,
};
const SALT: usize = 16;
/// The form of an encrypted key: this byte, salt, nonce, and the sealed PKCS#8.
const FORM: u8 = 1;

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

    fn key(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let mut key = Zeroizing::new([0; 32]);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            ROUNDS,
            salt,
            self.0.as_bytes(),
            &mut *key,
        );
        UnboundKey::new(&CHACHA20_POLY1305, &*key)
            .ok()
            .map(LessSafeKey::new)
    }

    pub(super) fn seal(&self, plain: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let (mut salt, mut nonce) = ([0; SALT], [0; NONCE_LEN]);
        for bytes in [salt.as_mut_slice(), &mut nonce] {
            getrandom::fill(bytes).map_err(|_| KeyError::Random)?;
        }
        let mut text = Zeroizing::new(plain.to_vec());
        // Neither fails for a key and a text of these lengths.
        let key = self.key(&salt).ok_or(KeyError::Random)?;
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from([FORM]),
            &mut *text,
        )
        .map_err(|_| KeyError::Random)?;
        Ok(Zeroizing::new(
            [&[FORM], salt.as_slice(), &nonce, &text].concat(),
        ))
    }

    pub(super) fn open(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (salt, rest) = sealed.strip_prefix(&[FORM])?.split_at_checked(SALT)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut text = Zeroizing::new(text.to_vec());
        let key = self.key(salt)?;
        let opened = key.open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from([FORM]),
            &mut text,
        );
        let length = opened.ok()?.len();
        text.truncate(length);
        Some(text)
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
