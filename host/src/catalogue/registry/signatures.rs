//! Signatures in a registry, in both layouts of cosign: under the tag `sha256-<hex>.sig`, and as referrers.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    Artifact, Descriptor, ImageManifest, Registry, RegistryError, Repository,
    referrers::fallback_tag,
};
use crate::catalogue::{
    digest,
    key::{KeyError, PrivateKey},
    signature::{
        BUNDLE_TYPE, MAX_BUNDLE, MAX_PAYLOAD, PREDICATE_TYPE, SIMPLE_ANNOTATION, SIMPLE_TYPE,
        Signature, Subject,
    },
    trust::MAX_SIGNATURES,
};

/// Tries to put a signature into a list that others write, too.
const TRIES: u32 = 5;
/// Media type of the config of the older layout.
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Why a version is not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// The registry could not.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The key could not.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Registry {
    /// The signatures of a manifest that are there, not yet believed. What is no signature is one that does not count.
    ///
    /// # Errors
    /// [`RegistryError`]: the registry could not be asked.
    pub async fn signatures(
        &self,
        repository: &Repository,
        manifest: &str,
    ) -> Result<Vec<Signature>, RegistryError> {
        let mut all = self.simple(repository, manifest).await?;
        for referrer in self.referrers(repository, manifest, None).await? {
            if all.len() >= MAX_SIGNATURES {
                break;
            }
            // Some registries do not repeat in their lists what kind of artifact it is.
            if referrer
                .artifact_type
                .as_deref()
                .is_none_or(|kind| kind == BUNDLE_TYPE)
            {
                let found = self.bundle(repository, &referrer.digest).await;
                all.extend(counted(found.map(|found| found.into_iter().collect()))?);
            }
        }
        Ok(all)
    }

    /// Those of the older layout.
    async fn simple(
        &self,
        repository: &Repository,
        manifest: &str,
    ) -> Result<Vec<Signature>, RegistryError> {
        let mut all = Vec::new();
        for layer in self.layers(repository, &simple_tag(manifest)).await? {
            if layer.media_type != SIMPLE_TYPE || all.len() >= MAX_SIGNATURES {
                continue;
            }
            let payload = self.blob(repository, &layer, MAX_PAYLOAD as u64).await;
            let signature = layer
                .annotations
                .get(SIMPLE_ANNOTATION)
                .cloned()
                .unwrap_or_default();
            all.extend(counted(payload.map(|payload| {
                vec![Signature::Simple {
                    payload: payload.to_vec(),
                    signature,
                }]
            }))?);
        }
        Ok(all)
    }

    /// That of a referrer.
    async fn bundle(
        &self,
        repository: &Repository,
        referrer: &str,
    ) -> Result<Option<Signature>, RegistryError> {
        let layers = self.layers(repository, referrer).await?;
        let Some(layer) = layers.iter().find(|layer| layer.media_type == BUNDLE_TYPE) else {
            return Ok(None);
        };
        let bytes = self.blob(repository, layer, MAX_BUNDLE as u64).await?;
        Ok(Some(Signature::Bundle(bytes.to_vec())))
    }

    /// What a manifest consists of. Nothing, when there is none that can be read.
    async fn layers(
        &self,
        repository: &Repository,
        name: &str,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let found = self.manifest(repository, name).await?;
        let read =
            found.and_then(|found| serde_json::from_slice::<ImageManifest>(&found.bytes).ok());
        Ok(read.map(|manifest| manifest.layers).unwrap_or_default())
    }

    /// Signs a manifest in both layouts, where this key has not done so already.
    ///
    /// # Errors
    /// [`SigningError`].
    pub async fn sign(
        &self,
        repository: &Repository,
        manifest: &Descriptor,
        key: &PrivateKey,
    ) -> Result<(), SigningError> {
        let subject = Subject::Artifact {
            digest: &manifest.digest,
            name: repository.name(),
        };
        let is_ours = |one: &Signature| one.verify(&subject, [key.public()]).is_ok();
        let there = self.signatures(repository, &manifest.digest).await?;
        if !there
            .iter()
            .any(|one| matches!(one, Signature::Bundle(_)) && is_ours(one))
        {
            self.put_bundle(repository, manifest, key).await?;
        }
        let place = format!("{}/{}", repository.host(), repository.path());
        for _ in 0..TRIES {
            let mut there = self.simple(repository, &manifest.digest).await?;
            if there.iter().any(is_ours) {
                return Ok(());
            }
            there.push(Signature::simple(key, &place, &manifest.digest)?);
            // There is no way to write only if nobody else has: what was written is read again.
            let tag = simple_tag(&manifest.digest);
            self.put_artifact(repository, simple_artifact(there), Some(&tag))
                .await?;
        }
        let there = self.simple(repository, &manifest.digest).await?;
        if there.iter().any(is_ours) {
            return Ok(());
        }
        let race = RegistryError::Race {
            host: repository.host().to_owned(),
            what: "list of signatures".to_owned(),
        };
        Err(race.into())
    }

    /// Signs what belongs to a version, in the newer layout, where this key has not done so already.
    ///
    /// # Errors
    /// [`SigningError`].
    pub async fn sign_attached(
        &self,
        repository: &Repository,
        manifest: &Descriptor,
        key: &PrivateKey,
    ) -> Result<(), SigningError> {
        let subject = Subject::Artifact {
            digest: &manifest.digest,
            name: repository.name(),
        };
        let there = self.signatures(repository, &manifest.digest).await?;
        if there
            .iter()
            .any(|one| one.verify(&subject, [key.public()]).is_ok())
        {
            return Ok(());
        }
        self.put_bundle(repository, manifest, key).await
    }

    async fn put_bundle(
        &self,
        repository: &Repository,
        manifest: &Descriptor,
        key: &PrivateKey,
    ) -> Result<(), SigningError> {
        let Signature::Bundle(bytes) = Signature::bundle(key, repository.name(), &manifest.digest)?
        else {
            return Ok(());
        };
        Ok(self.attach_bundle(repository, manifest, bytes).await?)
    }

    /// Attaches a signature that was made elsewhere.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn attach_bundle(
        &self,
        repository: &Repository,
        manifest: &Descriptor,
        bundle: Vec<u8>,
    ) -> Result<(), RegistryError> {
        let said = [
            ("dev.sigstore.bundle.content", "dsse-envelope"),
            ("dev.sigstore.bundle.predicateType", PREDICATE_TYPE),
        ];
        let artifact = Artifact {
            artifact_type: Some(BUNDLE_TYPE.to_owned()),
            config: None,
            layers: vec![(BUNDLE_TYPE.to_owned(), bundle, BTreeMap::new())],
            annotations: said
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            subject: Some(Descriptor {
                annotations: BTreeMap::new(),
                ..manifest.clone()
            }),
        };
        self.put_artifact(repository, artifact, None).await?;
        Ok(())
    }
}

/// Where the older layout keeps the signatures of a manifest.
fn simple_tag(manifest: &str) -> String {
    format!("{}.sig", fallback_tag(manifest))
}

/// What could be had of a signature. One that is missing, damaged or huge is one that does not count; that the registry
/// cannot be asked is something else.
fn counted(found: Result<Vec<Signature>, RegistryError>) -> Result<Vec<Signature>, RegistryError> {
    match found {
        Err(
            RegistryError::Missing { .. }
            | RegistryError::Unusable { .. }
            | RegistryError::TooLarge { .. }
            | RegistryError::Digest { .. },
        ) => Ok(vec![Signature::Bundle(Vec::new())]),
        other => other,
    }
}

fn simple_artifact(signatures: Vec<Signature>) -> Artifact {
    let mut layers = Vec::new();
    for signature in signatures {
        if let Signature::Simple { payload, signature } = signature {
            let said = BTreeMap::from([(SIMPLE_ANNOTATION.to_owned(), signature)]);
            layers.push((SIMPLE_TYPE.to_owned(), payload, said));
        }
    }
    let contents: Vec<String> = layers
        .iter()
        .map(|(_, payload, _)| digest(payload))
        .collect();
    let config = json!({
        "architecture": "", "os": "", "config": {}, "rootfs": { "type": "layers", "diff_ids": contents },
    });
    Artifact {
        config: Some((CONFIG.to_owned(), config.to_string().into_bytes())),
        layers,
        ..Artifact::default()
    }
}
