//! The index as an artifact: one layer, under the tag `index` of the repository `catalogue` in its namespace, with its
//! signatures as referrers, as plugins have them.

use std::collections::BTreeMap;

use super::{Index, IndexError, MAX_INDEX, NAME};
use crate::catalogue::{
    reference::Repository,
    registry::{
        Artifact, Descriptor, ImageManifest, Registry, RegistryError, SigningError, oci, unusable,
    },
    signature::{Signature, Subject},
};

/// The tag of the index that counts now.
pub const TAG: &str = "index";
/// Its kind of artifact, and the media type of its layer.
pub const TYPE: &str = "application/vnd.crossdock.catalogue.v1+json";

/// An index with its signatures, not yet believed.
#[derive(Debug, Clone)]
pub struct SignedIndex {
    /// What it says.
    pub index: Index,
    /// Its bytes, which are what is signed.
    pub bytes: Vec<u8>,
    /// What points to it in a registry.
    pub manifest: Descriptor,
    /// Who signed it.
    pub signatures: Vec<Signature>,
}

/// Why there is no index that could be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexFetchError {
    /// The registry could not, or what it gave was refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It is none that can be used.
    #[error("{place}: {source}")]
    Index {
        /// Where.
        place: Repository,
        /// What is wrong.
        source: IndexError,
    },
    /// It was made for somewhere else.
    #[error("{place}: the index speaks for {}, and was put there by mistake or by somebody else: refused", whole(.found))]
    Elsewhere {
        /// Where it is.
        place: Repository,
        /// The namespace that it speaks for.
        found: String,
    },
}

fn whole(namespace: &str) -> String {
    match namespace {
        "" => "a whole registry".to_owned(),
        namespace => format!("the namespace {namespace}"),
    }
}

fn artifact(bytes: &[u8]) -> Artifact {
    let title = BTreeMap::from([(oci::TITLE.to_owned(), format!("{NAME}.json"))]);
    Artifact {
        artifact_type: Some(TYPE.to_owned()),
        layers: vec![(TYPE.to_owned(), bytes.to_vec(), title)],
        ..Artifact::default()
    }
}

/// What points to the artifact of these bytes. The same bytes are the same artifact, wherever they are put.
///
/// # Errors
/// Never in practice: texts and numbers can be written as JSON.
pub fn manifest(bytes: &[u8]) -> Result<Descriptor, serde_json::Error> {
    let assembled = artifact(bytes).assemble()?;
    Ok(Descriptor::of(oci::MANIFEST, &assembled.manifest))
}

/// What signatures of an index are about.
pub fn subject(digest: &str) -> Subject<'_> {
    Subject::Artifact { digest, name: NAME }
}

impl Registry {
    /// Fetches the index of a catalogue with its signatures; `None` when there is none. It is held against its digest, and
    /// against where it is.
    ///
    /// # Errors
    /// [`IndexFetchError`].
    pub async fn index(&self, place: &Repository) -> Result<Option<SignedIndex>, IndexFetchError> {
        let Some(found) = self.manifest(place, TAG).await? else {
            return Ok(None);
        };
        let read = serde_json::from_slice::<ImageManifest>(&found.bytes);
        let read = read.map_err(|error| unusable(place, "index of a catalogue", &error))?;
        let [layer] = read.layers.as_slice() else {
            let why = format!("it has {} layers, and an index is one", read.layers.len());
            return Err(unusable(place, "index of a catalogue", &why).into());
        };
        if layer.media_type != TYPE {
            let why = format!(
                "its layer is a `{}`, and an index is `{TYPE}`",
                layer.media_type
            );
            return Err(unusable(place, "index of a catalogue", &why).into());
        }
        let bytes = self.blob(place, layer, MAX_INDEX).await?;
        let index = Index::parse(&bytes).map_err(|source| IndexFetchError::Index {
            place: place.clone(),
            source,
        })?;
        if !index.speaks_for(place.namespace()) {
            return Err(IndexFetchError::Elsewhere {
                place: place.clone(),
                found: index.namespace,
            });
        }
        let signatures = self.signatures(place, &found.descriptor.digest).await?;
        Ok(Some(SignedIndex {
            index,
            bytes: bytes.to_vec(),
            manifest: found.descriptor,
            signatures,
        }))
    }

    /// Puts an index to its place: the document, its signatures, and last of all the tag by which hosts find it, so that
    /// nobody ever finds it without its signatures.
    ///
    /// # Errors
    /// [`SigningError`].
    pub async fn put_index(
        &self,
        place: &Repository,
        signed: &SignedIndex,
    ) -> Result<(), SigningError> {
        let artifact = artifact(&signed.bytes);
        let assembled = artifact
            .assemble()
            .map_err(|error| unusable(place, "index", &error))?;
        let manifest = self.put_artifact(place, artifact, None).await?;
        let there = self.signatures(place, &manifest.digest).await?;
        for signature in &signed.signatures {
            if let Signature::Bundle(bytes) = signature
                && !there.contains(signature)
            {
                self.attach_bundle(place, &manifest, bytes.clone()).await?;
            }
        }
        self.put_tag(place, TAG, oci::MANIFEST, assembled.manifest)
            .await?;
        let now = self.resolve(place, TAG).await?;
        if now.is_none_or(|now| now.digest != manifest.digest) {
            let race = RegistryError::Race {
                host: place.host().to_owned(),
                what: format!("tag {TAG} of {}", place.path()),
            };
            return Err(race.into());
        }
        Ok(())
    }
}
