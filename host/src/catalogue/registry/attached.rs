//! What a publisher attaches to a version beside its signature: the conformance report and a bill of material, each an
//! artifact that refers to the version.
//!
//! Both are claims of who attached them. They say nothing that a host decides by; whether a trusted publisher signed the
//! report is shown with it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Artifact, Descriptor, ImageManifest, Pulled, Registry, RegistryError, Repository, oci,
};
use crate::catalogue::{
    conformance::{self, Level},
    signature::Subject,
    trust::{Asked, Decision, Trust},
};

/// A conformance report: kind of artifact and media type of its layer.
pub const REPORT: &str = "application/vnd.crossdock.conformance.v1+json";
/// A bill of material in the form of `CycloneDX`: kind of artifact and media type of its layer.
pub const SBOM: &str = "application/vnd.cyclonedx+json";
/// Reports of one version that are looked at.
const MAX_REPORTS: usize = 4;

/// A conformance report, with what is known of who made it.
#[derive(Debug, Clone, Serialize)]
pub struct Attested {
    /// What it says.
    pub verdict: conformance::Verdict,
    /// Who signed the report.
    pub signature: Decision,
}

impl Attested {
    /// A trusted publisher signed it.
    pub fn is_signed(&self) -> bool {
        matches!(self.signature, Decision::Trusted { .. })
    }

    /// The level of every kind and whose word that is, in one line.
    pub fn words(&self) -> String {
        levels(&self.verdict.levels(), self.signature.publisher())
    }
}

/// Levels in one line, with whose word that is.
fn levels(levels: &BTreeMap<crate::catalogue::Kind, Level>, signed_by: Option<&str>) -> String {
    let all: Vec<String> = levels
        .iter()
        .map(|(kind, level)| format!("{kind} {level}"))
        .collect();
    let claim = match signed_by {
        Some(publisher) => format!("claimed in a report that {publisher} signed"),
        None => "claimed in a report that nobody known signed".to_owned(),
    };
    format!("{} ({claim})", all.join(", "))
}

impl Registry {
    /// Attaches a document to a version. The same again changes nothing.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn attach(
        &self,
        repository: &Repository,
        version: &Descriptor,
        kind: &str,
        (title, document): (&str, Vec<u8>),
    ) -> Result<Descriptor, RegistryError> {
        let title = BTreeMap::from([(oci::TITLE.to_owned(), title.to_owned())]);
        let artifact = Artifact {
            artifact_type: Some(kind.to_owned()),
            config: None,
            layers: vec![(kind.to_owned(), document, title)],
            annotations: BTreeMap::new(),
            subject: Some(Descriptor {
                annotations: BTreeMap::new(),
                artifact_type: None,
                ..version.clone()
            }),
        };
        self.put_artifact(repository, artifact, None).await
    }

    /// The documents of a kind that are attached to a version, with what points to the artifact of each.
    ///
    /// # Errors
    /// [`RegistryError`]: the registry could not be asked. What is damaged or too large is none.
    pub async fn attached(
        &self,
        repository: &Repository,
        version: &str,
        kind: &str,
        most: u64,
    ) -> Result<Vec<(Descriptor, Vec<u8>)>, RegistryError> {
        let mut found = Vec::new();
        for referrer in self.referrers(repository, version, None).await? {
            // Some registries do not repeat in their lists what kind of artifact it is.
            let other = referrer
                .artifact_type
                .as_deref()
                .is_some_and(|own| own != kind);
            if other || found.len() >= MAX_REPORTS {
                continue;
            }
            match self
                .document(repository, &referrer.digest, kind, most)
                .await
            {
                Ok(document) => found.extend(document),
                Err(
                    RegistryError::Missing { .. }
                    | RegistryError::Unusable { .. }
                    | RegistryError::TooLarge { .. }
                    | RegistryError::Digest { .. },
                ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    async fn document(
        &self,
        repository: &Repository,
        referrer: &str,
        kind: &str,
        most: u64,
    ) -> Result<Option<(Descriptor, Vec<u8>)>, RegistryError> {
        let Some(found) = self.manifest(repository, referrer).await? else {
            return Ok(None);
        };
        let read = serde_json::from_slice::<ImageManifest>(&found.bytes);
        let layers = read.map(|manifest| manifest.layers).unwrap_or_default();
        let Some(layer) = layers.iter().find(|layer| layer.media_type == kind) else {
            return Ok(None);
        };
        let document = self.blob(repository, layer, most).await?;
        Ok(Some((found.descriptor, document.to_vec())))
    }

    /// The conformance report of a version, one that is signed by who is trusted before all others. A report that is about
    /// another component is none.
    ///
    /// # Errors
    /// [`RegistryError`]: the registry could not be asked.
    pub async fn report(
        &self,
        repository: &Repository,
        version: &Pulled,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<Option<Attested>, RegistryError> {
        let place = format!("{}/{}", repository.host(), repository.path());
        let manifest = &version.manifest.digest;
        let all = self
            .attached(repository, manifest, REPORT, conformance::MAX_BYTES)
            .await?;
        let mut first = None;
        for (descriptor, document) in all {
            let Ok(verdict) = serde_json::from_slice::<conformance::Verdict>(&document) else {
                continue;
            };
            if verdict.digest != version.layer.digest {
                continue;
            }
            let signatures = self.signatures(repository, &descriptor.digest).await?;
            let asked = Asked {
                repository: Some(&place),
                subject: Subject::Artifact {
                    digest: &descriptor.digest,
                    name: repository.name(),
                },
                pinned: None,
            };
            let attested = Attested {
                verdict,
                signature: trust.decide(&asked, &signatures, now),
            };
            if attested.is_signed() {
                return Ok(Some(attested));
            }
            first.get_or_insert(attested);
        }
        Ok(first)
    }
}
