//! A publisher makes the index of a catalogue: built of what is in the registry, signed where the key is, put to its place.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;

use super::{CatalogueError, believed, joined};
use crate::{
    app::{Plugins, PluginsError},
    catalogue::{
        KeyId, PrivateKey, PublicKey, Registry, RegistryError, Repository, Signature, Trust,
        index::{
            Builder, Built, Index, MAX_INDEX, NAME, SeenError, SignedIndex,
            artifact::{self, IndexFetchError},
            notes::Notes,
        },
        signature::{FILE_SUFFIX, MAX_BUNDLE},
    },
};

/// Signatures of one index that are looked at.
const MAX_SIGNERS: usize = 16;

/// How the next index is made.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// The plugins' paths below the namespace. `None`: the registry is asked which there are.
    pub paths: Option<Vec<String>>,
    /// The publisher's notes.
    pub notes: Option<PathBuf>,
    /// How long it counts.
    pub lasts: Duration,
    /// The publisher's own key: an index that is there already must be signed by it, or by who is trusted here.
    pub own: Option<PublicKey>,
}

/// An index that was put to its place.
#[derive(Debug, Clone, Serialize)]
pub struct Served {
    /// The repository of the index.
    pub place: Repository,
    /// Its serial.
    pub serial: u64,
    /// How many plugins are in it.
    pub plugins: usize,
    /// `sha256:…` of its manifest.
    pub manifest: String,
    /// How many have signed it.
    pub signatures: usize,
    /// The same was there already.
    pub was_there: bool,
}

impl Plugins {
    /// Makes the next index of a catalogue. Nothing is written.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn build_index(
        &self,
        place: &Repository,
        options: BuildOptions,
    ) -> Result<Built, PluginsError> {
        let trust = self.trusted()?;
        let own = options
            .own
            .map(|key| Trust::only("this publisher", vec![key]));
        let previous = self.previous(place, &trust, own.as_ref()).await?;
        let notes = options.notes.clone();
        let notes = joined(
            tokio::task::spawn_blocking(move || notes.map(|file| Notes::load(&file)).transpose())
                .await,
        )?
        .map_err(PluginsError::Findings)?;
        let builder = Builder {
            registry: self.registry(),
            place,
            previous: previous.as_ref(),
            paths: options.paths,
            notes: notes.as_ref(),
            trust: own.as_ref().filter(|_| trust.is_empty()).unwrap_or(&trust),
            lasts: options.lasts,
        };
        // Nobody needs parts of a second.
        let now = Timestamp::now();
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let built = builder.build(now).await;
        Ok(built.map_err(CatalogueError::from)?)
    }

    /// The index that the next one is made of: that in the registry, when it is ours, else the copy of the last one that
    /// was seen.
    async fn previous(
        &self,
        place: &Repository,
        trust: &Trust,
        own: Option<&Trust>,
    ) -> Result<Option<Index>, CatalogueError> {
        let there = self.registry().index(place).await?;
        let (kept, asked) = (self.kept().clone(), place.clone());
        let read = joined(tokio::task::spawn_blocking(move || kept.read(&asked)).await)?;
        let kept = match read {
            Ok(kept) => kept,
            Err(SeenError::Damaged { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(there) = there else {
            return Ok(kept.map(|kept| kept.signed.index));
        };
        let is_own = own.is_some_and(|own| believed(own, place, &there, None).is_ok());
        if !is_own {
            let decision = believed(trust, place, &there, None)?;
            if own.is_some() && decision.publisher().is_none() {
                return Err(CatalogueError::Untrusted {
                    place: place.clone(),
                    why: "neither your key nor anybody in trust.yaml signed it, so it is not built upon".to_owned(),
                });
            }
        }
        // Somebody may have put an old one back.
        let (kept, asked) = (self.kept().clone(), place.clone());
        let (there, follows) = joined(
            tokio::task::spawn_blocking(move || {
                let follows = kept.may_follow(&asked, &there);
                (there, follows)
            })
            .await,
        )?;
        follows?;
        Ok(Some(there.index))
    }

    /// Puts a signed index to its place in the registry. One that was overtaken is refused.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn serve_index(
        &self,
        place: &Repository,
        file: &Path,
    ) -> Result<Served, PluginsError> {
        let path = file.to_owned();
        let read = tokio::task::spawn_blocking(move || read_signed(&path)).await;
        let signed = joined(read)??;
        let wrong = |why: String| CatalogueError::File {
            path: file.to_owned(),
            why,
        };
        let index = &signed.index;
        if index.namespace != place.namespace() {
            return Err(wrong(format!(
                "it speaks for the namespace {:?}, not for {:?}",
                index.namespace,
                place.namespace()
            ))
            .into());
        }
        if Timestamp::now() >= index.expires {
            return Err(wrong(format!(
                "it counts no more since {}: build a new one",
                index.expires
            ))
            .into());
        }
        let there = there(self.registry(), place).await?;
        let mut was_there = false;
        if let Some(there) = &there {
            was_there = there.bytes == signed.bytes;
            if !was_there && there.index.serial >= index.serial {
                return Err(CatalogueError::Behind {
                    place: place.clone(),
                    ours: index.serial,
                    there: there.index.serial,
                }
                .into());
            }
        }
        let put = self.registry().put_index(place, &signed).await;
        put.map_err(CatalogueError::from)?;
        let served = Served {
            place: place.clone(),
            serial: index.serial,
            plugins: index.plugins.len(),
            manifest: signed.manifest.digest.clone(),
            signatures: signed.signatures.len(),
            was_there,
        };
        let (kept, asked) = (self.kept().clone(), place.clone());
        let noting =
            tokio::task::spawn_blocking(move || kept.put(&asked, &signed, None, Timestamp::now()));
        // The publisher's own project finds out, too, when somebody puts an old one back.
        joined(noting.await)?.map_err(CatalogueError::from)?;
        Ok(served)
    }
}

/// What is there now. What is no index that could be used is as none: it is what this is to mend.
async fn there(
    registry: &Registry,
    place: &Repository,
) -> Result<Option<SignedIndex>, CatalogueError> {
    match registry.index(place).await {
        Ok(there) => Ok(there),
        Err(
            IndexFetchError::Index { .. }
            | IndexFetchError::Elsewhere { .. }
            | IndexFetchError::Registry(
                RegistryError::Unusable { .. }
                | RegistryError::TooLarge { .. }
                | RegistryError::Digest { .. }
                | RegistryError::Missing { .. },
            ),
        ) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Where the signature of an index by a key is: `catalogue.json.0123456789abcdef.sigstore.json`.
pub fn beside(file: &Path, key: &KeyId) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}.{FILE_SUFFIX}", key.short()));
    name.into()
}

/// Signs an index in a file. Gives the index and the signature, which is not written. Blocks.
///
/// # Errors
/// [`CatalogueError`].
pub fn sign_index(file: &Path, key: &PrivateKey) -> Result<(Index, Vec<u8>), CatalogueError> {
    let (index, _, digest) = read_index(file)?;
    let signature = Signature::bundle(key, NAME, &digest)?;
    match signature {
        Signature::Bundle(bytes) => Ok((index, bytes)),
        Signature::Simple { payload, .. } => Ok((index, payload)),
    }
}

/// An index in a file, with the digest of the manifest that it would have.
fn read_index(file: &Path) -> Result<(Index, Vec<u8>, String), CatalogueError> {
    let wrong = |why: String| CatalogueError::File {
        path: file.to_owned(),
        why,
    };
    let bytes = bounded(file, MAX_INDEX).map_err(|error| wrong(error.to_string()))?;
    let index = Index::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
    let manifest = artifact::manifest(&bytes).map_err(|error| wrong(error.to_string()))?;
    Ok((index, bytes, manifest.digest))
}

/// An index in a file, with the signatures beside it. There must be one, and each must be of this very index.
fn read_signed(file: &Path) -> Result<SignedIndex, CatalogueError> {
    let (index, bytes, digest) = read_index(file)?;
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let own = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let listed = fs::read_dir(folder).map_err(|error| CatalogueError::File {
        path: folder.to_owned(),
        why: error.to_string(),
    })?;
    let mut paths: Vec<PathBuf> = listed
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            name.strip_prefix(&format!("{own}."))
                .is_some_and(|rest| rest.ends_with(FILE_SUFFIX))
        })
        .collect();
    paths.sort();
    paths.truncate(MAX_SIGNERS);
    let mut signatures = Vec::new();
    for path in paths {
        let told = |why: String| CatalogueError::File {
            path: path.clone(),
            why,
        };
        let bundle = bounded(&path, MAX_BUNDLE as u64).map_err(|error| told(error.to_string()))?;
        let signature = Signature::Bundle(bundle);
        signature.is_about(&artifact::subject(&digest)).map_err(|error| {
            told(format!("{error}; sign the index again with `crossdock catalogue sign`, or remove this file"))
        })?;
        signatures.push(signature);
    }
    if signatures.is_empty() {
        return Err(CatalogueError::File {
            path: file.to_owned(),
            why: "it is not signed: `crossdock catalogue sign` does that".to_owned(),
        });
    }
    let manifest = artifact::manifest(&bytes).map_err(|error| CatalogueError::File {
        path: file.to_owned(),
        why: error.to_string(),
    })?;
    Ok(SignedIndex {
        index,
        bytes,
        manifest,
        signatures,
    })
}

/// A file that may not be larger than this.
fn bounded(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(most + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(std::io::Error::other(format!(
            "it has more than {most} bytes"
        )));
    }
    Ok(bytes)
}
