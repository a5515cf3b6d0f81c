//! The copies of indexes that a host keeps, each with the highest serial that was seen: an older index, or another one of the
//! same serial, is refused, whoever signed it.
//!
//! An index lies in a file by its digest, and a small file says which one counts; that one is put into its place as a whole,
//! so that whatever happens meanwhile the serial and the index are there together. Signatures are kept, too, and judged
//! whenever the copy is read: what `trust.yaml` says now counts.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Index, MAX_INDEX, SignedIndex, artifact, text};
use crate::catalogue::{
    inspect::digest,
    key::KeyId,
    lock::{LockError, hold},
    reference::{Repository, is_digest},
    signature::Signature,
    store::replace,
};

/// The folder in a project's state.
const FOLDER: &str = "catalogue";
/// The form of the small file.
const FORM: u32 = 1;
/// A larger small file is none: it holds signatures, at most 32 of at most a MiB, mostly one of a KiB.
const MAX_STATE: u64 = 64 << 20;

/// A folder of copies.
#[derive(Debug, Clone)]
pub struct KeptIndexes(PathBuf);

/// A copy, not yet believed.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The index with its signatures.
    pub signed: SignedIndex,
    /// The key that it was trusted for.
    pub signed_by: Option<KeyId>,
    /// When the registry was found to have it.
    pub fetched: Timestamp,
    /// When the registry was asked the last time, whatever came of it.
    pub tried: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct State {
    form: u32,
    place: Repository,
    serial: u64,
    /// `sha256:…` of the index.
    index: String,
    #[serde(with = "text")]
    fetched: Timestamp,
    #[serde(with = "text")]
    tried: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed_by: Option<KeyId>,
    signatures: Vec<KeptSignature>,
}

/// A signature as JSON has it: bytes in base64.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KeptSignature {
    Simple { payload: String, signature: String },
    Bundle(String),
}

/// Why an index is not taken, or the copy cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeenError {
    /// A newer one was seen.
    #[error(
        "{place}: the index is refused: its serial is {serial}, and {seen} was seen already; somebody serves an old one"
    )]
    Older {
        /// The catalogue.
        place: Repository,
        /// The serial of the index.
        serial: u64,
        /// The highest one that was seen.
        seen: u64,
    },
    /// Another one of the same serial was seen.
    #[error(
        "{place}: the index is refused: its serial is {serial} as that of the one that was seen before, but it says \
         something else; a serial is never used twice"
    )]
    Replaced {
        /// The catalogue.
        place: Repository,
        /// The serial of both.
        serial: u64,
    },
    /// The copy was changed or damaged where it lies.
    #[error("the copy of the index in {} cannot be used: {why}; `crossdock catalogue update` fetches it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another command does not end.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl KeptIndexes {
    /// The copies in a state folder. Nothing is made yet.
    pub fn of(state: &Path) -> Self {
        Self(state.join(FOLDER))
    }

    /// The copy for a catalogue; `None` when there is none. It is held against its digest. Blocks.
    ///
    /// # Errors
    /// [`SeenError`].
    pub fn read(&self, place: &Repository) -> Result<Option<Kept>, SeenError> {
        let Some(state) = self.state(place)? else {
            return Ok(None);
        };
        let path = self.index_file(&state.index);
        let damaged = |why: String| SeenError::Damaged {
            path: path.clone(),
            why,
        };
        let bytes = bounded(&path, MAX_INDEX).map_err(|error| damaged(error.to_string()))?;
        if digest(&bytes) != state.index {
            return Err(damaged("its digest is another one".to_owned()));
        }
        let index = Index::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
        let manifest = artifact::manifest(&bytes).map_err(|error| damaged(error.to_string()))?;
        let signatures = state.signatures.iter().filter_map(KeptSignature::read);
        Ok(Some(Kept {
            signed: SignedIndex {
                index,
                manifest,
                signatures: signatures.collect(),
                bytes,
            },
            signed_by: state.signed_by,
            fetched: state.fetched,
            tried: state.tried,
        }))
    }

    /// Keeps an index that is believed, when it is not older than what was seen. Blocks.
    ///
    /// # Errors
    /// [`SeenError`].
    pub fn put(
        &self,
        place: &Repository,
        signed: &SignedIndex,
        signed_by: Option<KeyId>,
        now: Timestamp,
    ) -> Result<(), SeenError> {
        let _held = hold(&self.0)?;
        let own = digest(&signed.bytes);
        let before = self.state(place)?;
        if let Some(seen) = &before {
            check(place, signed.index.serial, &own, seen)?;
        }
        let file = self.index_file(&own);
        replace(&file, &signed.bytes).map_err(|source| SeenError::Io { path: file, source })?;
        let state = State {
            form: FORM,
            place: place.clone(),
            serial: signed.index.serial,
            index: own.clone(),
            fetched: now,
            tried: now,
            // Who keeps one without having looked who signed it forgets nobody.
            signed_by: signed_by.or_else(|| before.as_ref()?.signed_by.clone()),
            signatures: signed.signatures.iter().map(KeptSignature::of).collect(),
        };
        self.write(&state)?;
        if let Some(before) = before.filter(|before| before.index != own) {
            // What cannot be removed is in nobody's way.
            drop(fs::remove_file(self.index_file(&before.index)));
        }
        Ok(())
    }

    /// Whether an index may follow what was seen. Blocks.
    ///
    /// # Errors
    /// [`SeenError`].
    pub fn may_follow(&self, place: &Repository, signed: &SignedIndex) -> Result<(), SeenError> {
        match self.state(place)? {
            Some(seen) => check(place, signed.index.serial, &digest(&signed.bytes), &seen),
            None => Ok(()),
        }
    }

    /// Notes that the registry was asked. Blocks.
    ///
    /// # Errors
    /// [`SeenError`].
    pub fn tried(&self, place: &Repository, now: Timestamp) -> Result<(), SeenError> {
        let _held = hold(&self.0)?;
        match self.state(place)? {
            Some(state) => self.write(&State {
                tried: now,
                ..state
            }),
            None => Ok(()),
        }
    }

    fn state(&self, place: &Repository) -> Result<Option<State>, SeenError> {
        let path = self.state_file(place);
        let damaged = |why: String| SeenError::Damaged {
            path: path.clone(),
            why,
        };
        let bytes = match bounded(&path, MAX_STATE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SeenError::Io { path, source }),
        };
        let state: State =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if state.form != FORM || state.place != *place || !is_digest(&state.index) {
            return Err(damaged("it is of something else".to_owned()));
        }
        Ok(Some(state))
    }

    fn write(&self, state: &State) -> Result<(), SeenError> {
        let path = self.state_file(&state.place);
        let failed = |source| SeenError::Io {
            path: path.clone(),
            source,
        };
        let bytes = serde_json::to_vec(state).map_err(|error| failed(error.into()))?;
        replace(&path, &bytes).map_err(failed)
    }

    fn state_file(&self, place: &Repository) -> PathBuf {
        let own = digest(place.to_string().as_bytes());
        let short = own.get("sha256:".len()..).and_then(|hex| hex.get(..16));
        self.0.join(format!("{}.json", short.unwrap_or_default()))
    }

    fn index_file(&self, digest: &str) -> PathBuf {
        self.0.join(format!("{}.json", digest.replace(':', "-")))
    }
}

fn check(place: &Repository, serial: u64, own: &str, seen: &State) -> Result<(), SeenError> {
    if serial < seen.serial {
        return Err(SeenError::Older {
            place: place.clone(),
            serial,
            seen: seen.serial,
        });
    }
    if serial == seen.serial && own != seen.index {
        return Err(SeenError::Replaced {
            place: place.clone(),
            serial,
        });
    }
    Ok(())
}

/// A file that may not be larger than this.
fn bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

impl KeptSignature {
    fn of(signature: &Signature) -> Self {
        match signature {
            Signature::Simple { payload, signature } => Self::Simple {
                payload: STANDARD.encode(payload),
                signature: signature.clone(),
            },
            Signature::Bundle(bytes) => Self::Bundle(STANDARD.encode(bytes)),
        }
    }

    /// What cannot be read is a signature that does not count.
    fn read(&self) -> Option<Signature> {
        match self {
            Self::Simple { payload, signature } => Some(Signature::Simple {
                payload: STANDARD.decode(payload).ok()?,
                signature: signature.clone(),
            }),
            Self::Bundle(text) => Some(Signature::Bundle(STANDARD.decode(text).ok()?)),
        }
    }
}
