//! A component becomes a version in a registry.

use std::{
    fs,
    path::{Path, PathBuf},
};

use semver::Version;
use serde::Serialize;

use super::{Plugins, PluginsError, plugin_in};
use crate::catalogue::{
    self, Inspection, KeyId, Manifest, PrivateKey, Repository, conformance,
    registry::{REPORT, SBOM},
    sbom,
};

/// A version that was published.
#[derive(Debug, Clone, Serialize)]
pub struct PublishedPlugin {
    /// The plugin.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// Where it is.
    pub repository: Repository,
    /// `sha256:…` of its manifest there.
    pub manifest: String,
    /// `sha256:…` of the component.
    pub digest: String,
    /// Bytes of the component.
    pub size: u64,
    /// The same was there already.
    pub was_there: bool,
    /// The key that it was signed with, and all that is attached to it.
    pub signed_by: Option<KeyId>,
    /// What belongs to it: conformance report, bill of material.
    pub attached: Vec<Attached>,
}

/// A document that belongs to a version.
#[derive(Debug, Clone, Serialize)]
pub struct Attached {
    /// Its media type.
    pub kind: &'static str,
    /// `sha256:…` of its manifest.
    pub digest: String,
}

/// What the conformance kit has found of exactly this component, when it was asked.
fn conformance_report(file: &Path, digest: &str) -> Option<Vec<u8>> {
    conformance::load(file, digest)?;
    fs::read(conformance::beside(file)).ok()
}

/// The bill of material of a component: with the libraries that its project's lock files name, when it lies in a project.
fn bill(
    file: &Path,
    inspection: &Inspection,
    manifest: &Manifest,
) -> Result<Vec<u8>, PluginsError> {
    let above = file.parent().and_then(Path::parent);
    let project = above.filter(|folder| folder.join("plugin.json").is_file());
    let bill = sbom::bill(inspection, manifest, project);
    serde_json::to_vec_pretty(&bill).map_err(|error| PluginsError::Io {
        path: file.to_owned(),
        source: error.into(),
    })
}

impl Plugins {
    /// Publishes a component, or that of a plugin's project, as the version that it says it is, and signs it when there is
    /// a key.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn publish(
        &self,
        repository: &Repository,
        file: &Path,
        key: Option<&PrivateKey>,
    ) -> Result<PublishedPlugin, PluginsError> {
        let file = component_of(file)?;
        let what = file.display().to_string();
        let bytes = catalogue::read_component(&file).map_err(|source| PluginsError::Io {
            path: file.clone(),
            source,
        })?;
        let (inspection, manifest, version) = plugin_in(&what, &bytes)?;
        if manifest.name == catalogue::index::NAME {
            return Err(PluginsError::Reserved);
        }
        if manifest.name != repository.name() {
            return Err(PluginsError::OtherName {
                repository: repository.clone(),
                found: manifest.name,
            });
        }
        let published = self
            .registry
            .publish(repository, &bytes, &inspection, (&manifest, &version))
            .await?;
        if let Some(key) = key {
            self.registry
                .sign(repository, &published.manifest, key)
                .await?;
        }
        let report = conformance_report(&file, &inspection.digest);
        let documents = report
            .into_iter()
            .map(|report| (REPORT, "conformance.json", report))
            .chain([(SBOM, "bom.json", bill(&file, &inspection, &manifest)?)]);
        let mut attached = Vec::new();
        for (kind, title, document) in documents {
            let descriptor = self
                .registry
                .attach(repository, &published.manifest, kind, (title, document))
                .await?;
            if let Some(key) = key {
                self.registry
                    .sign_attached(repository, &descriptor, key)
                    .await?;
            }
            attached.push(Attached {
                kind,
                digest: descriptor.digest,
            });
        }
        Ok(PublishedPlugin {
            attached,
            signed_by: key.map(|key| key.public().id().clone()),
            name: manifest.name,
            version,
            repository: repository.clone(),
            manifest: published.manifest.digest,
            digest: inspection.digest,
            size: inspection.size,
            was_there: published.was_there,
        })
    }
}

/// A component, or the one that a project's build puts into `dist`.
fn component_of(file: &Path) -> Result<PathBuf, PluginsError> {
    #[derive(serde::Deserialize)]
    struct Named {
        name: String,
    }
    if !file.is_dir() {
        return Ok(file.to_owned());
    }
    let text = fs::read(file.join("plugin.json")).ok();
    let named: Option<Named> = text.and_then(|text| serde_json::from_slice(&text).ok());
    let Some(Named { name }) = named else {
        return Err(PluginsError::NoProject(file.to_owned()));
    };
    let built = file.join("dist").join(format!("{name}.wasm"));
    if built.is_file() {
        Ok(built)
    } else {
        Err(PluginsError::NotBuilt(built))
    }
}
