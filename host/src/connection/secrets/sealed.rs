//! Names and values as the bytes of a file, and back.

use std::{collections::BTreeMap, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

use super::{super::secret::Secret, Kept, SecretsError, key::Key};

/// What this program writes.
pub(super) const FORMAT: u32 = 1;
const SALT: usize = 32;
/// What is sealed is a multiple of this, so that its length says little.
const BLOCK: usize = 1024;

#[derive(Serialize, Deserialize)]
struct File {
    #[serde(rename = "crossdock-secrets")]
    format: u32,
    key: String,
    salt: String,
    sealed: String,
}

/// What every format has.
#[derive(Deserialize)]
struct AnyFormat {
    #[serde(rename = "crossdock-secrets")]
    format: u32,
}

#[derive(Deserialize)]
struct Content {
    secrets: BTreeMap<String, Opened>,
}

#[derive(Deserialize)]
struct Opened {
    value: Secret,
    set_at_ms: u64,
}

#[derive(Serialize)]
struct Closed<'a> {
    value: &'a str,
    set_at_ms: u64,
}

/// What is authenticated beside the content.
fn header(format: u32, key: &str) -> Aad<Vec<u8>> {
    Aad::from(format!("crossdock-secrets {format} {key}").into_bytes())
}

fn cipher(key: &Key, salt: &[u8]) -> Option<LessSafeKey> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &*key.sealing(salt)).ok()?;
    Some(LessSafeKey::new(key))
}

/// A key seals one text only, so the nonce may be the same for all.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

pub(super) fn seal(secrets: &BTreeMap<String, Kept>, key: &Key) -> Result<Vec<u8>, SecretsError> {
    let failed = |why: &str| SecretsError::Size(format!("the secrets cannot be encrypted: {why}"));
    if key.is_unset() {
        return Err(failed("there is no key"));
    }
    let closed: BTreeMap<&str, Closed<'_>> = secrets
        .iter()
        .map(|(name, kept)| {
            let value = kept.value.expose();
            let set_at_ms = kept.set_at_ms;
            (name.as_str(), Closed { value, set_at_ms })
        })
        .collect();
    let content = BTreeMap::from([("secrets", closed)]);
    // Room for everything, so that no half of it is left behind when it grows.
    let room = secrets
        .values()
        .map(|kept| 6 * kept.value.expose().len() + 256);
    let mut text = Zeroizing::new(Vec::with_capacity(room.sum::<usize>() + 2 * BLOCK));
    serde_json::to_writer(&mut *text, &content).map_err(|error| failed(&error.to_string()))?;
    let padded = text.len().next_multiple_of(BLOCK);
    text.resize(padded, b' ');
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(|error| failed(&error.to_string()))?;
    let id = key.id();
    let cipher = cipher(key, &salt).ok_or_else(|| failed("the key is not taken"))?;
    cipher
        .seal_in_place_append_tag(nonce(), header(FORMAT, &id), &mut *text)
        .map_err(|_| failed("they are too long"))?;
    let file = File {
        format: FORMAT,
        key: id,
        salt: STANDARD.encode(salt),
        sealed: STANDARD.encode(&*text),
    };
    let mut bytes = serde_json::to_vec_pretty(&file).map_err(|error| failed(&error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub(super) fn open(
    bytes: &[u8],
    key: &Key,
    path: &Path,
) -> Result<BTreeMap<String, Kept>, SecretsError> {
    let damaged = |why: String| SecretsError::Damaged {
        file: path.to_path_buf(),
        why,
    };
    let no_json = |error: serde_json::Error| damaged(format!("it is no file of secrets: {error}"));
    let AnyFormat { format } = serde_json::from_slice(bytes).map_err(no_json)?;
    if format > FORMAT {
        let file = path.to_path_buf();
        return Err(SecretsError::TooNew {
            file,
            found: format,
        });
    }
    let file: File = serde_json::from_slice(bytes).map_err(no_json)?;
    let found = key.id();
    if file.key != found {
        return Err(SecretsError::WrongKey {
            file: path.to_path_buf(),
            // It is shown, and may be anything.
            wanted: file
                .key
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .take(16)
                .collect(),
            place: key.place().to_owned(),
            found,
        });
    }
    let decode = |text: &str| STANDARD.decode(text).ok();
    let (Some(salt), Some(mut sealed)) = (decode(&file.salt), decode(&file.sealed)) else {
        return Err(damaged("a text in it is no base64".to_owned()));
    };
    let changed = || damaged("it was cut or changed since it was written".to_owned());
    let cipher = cipher(key, &salt).ok_or_else(changed)?;
    let opened = cipher.open_in_place(nonce(), header(file.format, &found), &mut sealed);
    let content = opened.map_err(|_| changed()).and_then(|text| {
        // The error would quote what is there.
        serde_json::from_slice::<Content>(text)
            .map_err(|_| damaged("its content is not what this crossdock writes".to_owned()))
    });
    drop(Zeroizing::new(sealed));
    let kept = |(name, Opened { value, set_at_ms })| (name, Kept { value, set_at_ms });
    Ok(content?.secrets.into_iter().map(kept).collect())
}
