//! A plugin as an artifact: the layout of the CNCF for WebAssembly, which other tools read and write, too.
//!
//! One config, exactly one layer, annotations that are copies of what the component says. Everything in it comes from the
//! component, so that the same file has the same digest whenever and by whomever it is published.

use std::collections::BTreeMap;

use bytes::Bytes;
use semver::Version;
use serde::Serialize;

use super::{
    Artifact, Descriptor, Fetched, ImageManifest, Registry, RegistryError, Repository, oci,
    unusable,
};
use crate::catalogue::{
    inspect::{Inspection, MAX_COMPONENT},
    manifest::Manifest,
    reference::is_digest,
    version,
};

/// Media type of the config.
pub const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// Media type of the layer.
pub const LAYER: &str = "application/wasm";

/// The config. `created` is fixed: a time would make another digest of the same file every time.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    created: &'static str,
    architecture: &'static str,
    os: &'static str,
    layer_digests: [&'a str; 1],
    component: Component<'a>,
}

#[derive(Serialize)]
struct Component<'a> {
    exports: &'a [String],
    imports: Vec<&'a str>,
    target: Option<&'static str>,
}

/// A version that was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// Its manifest.
    pub manifest: Descriptor,
    /// The tag.
    pub tag: String,
    /// The same was there already.
    pub was_there: bool,
}

/// A version as a registry describes it: its manifest, and the one layer that it has.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The manifest, held against its digest.
    pub manifest: Descriptor,
    /// The manifest's bytes, for signatures.
    pub bytes: Bytes,
    /// The config, which says nothing that the component does not say.
    pub config: Descriptor,
    /// The component.
    pub layer: Descriptor,
}

/// The artifact that a component makes.
fn artifact(
    component: &[u8],
    inspection: &Inspection,
    manifest: &Manifest,
) -> Result<Artifact, serde_json::Error> {
    let mut imports: Vec<&str> = inspection
        .imports
        .iter()
        .map(|import| import.name.as_str())
        .collect();
    imports.sort_unstable();
    let config = Config {
        created: "1970-01-01T00:00:00Z",
        architecture: "wasm",
        os: "wasip2",
        layer_digests: [&inspection.digest],
        component: Component {
            exports: &inspection.exports,
            imports,
            target: None,
        },
    };
    let title = |text: String| BTreeMap::from([(oci::TITLE.to_owned(), text)]);
    let mut annotations = title(manifest.name.clone());
    for (key, value) in [
        ("version", &manifest.version),
        ("description", &manifest.description),
        ("licenses", &manifest.license),
    ] {
        if !value.is_empty() {
            annotations.insert(format!("org.opencontainers.image.{key}"), value.clone());
        }
    }
    Ok(Artifact {
        config: Some((CONFIG.to_owned(), serde_json::to_vec(&config)?)),
        layers: vec![(
            LAYER.to_owned(),
            component.to_vec(),
            title(format!("{}.wasm", manifest.name)),
        )],
        annotations,
        ..Artifact::default()
    })
}

impl Registry {
    /// Publishes a component as a version. A version that is there stays as it is: the same content again is no error,
    /// another content is one.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn publish(
        &self,
        repository: &Repository,
        component: &[u8],
        inspection: &Inspection,
        (manifest, version): (&Manifest, &Version),
    ) -> Result<Published, RegistryError> {
        let tag = version::tag_of(version);
        let artifact = artifact(component, inspection, manifest)
            .map_err(|error| unusable(repository, "config", &error))?;
        if let Some(there) = self.manifest(repository, &tag).await? {
            let same = pulled(repository, &tag, &there)
                .is_ok_and(|there| there.layer.digest == inspection.digest);
            if !same {
                return Err(RegistryError::Exists {
                    what: format!("{repository}@{version}"),
                });
            }
            return Ok(Published {
                manifest: there.descriptor,
                tag,
                was_there: true,
            });
        }
        let manifest = self.put_artifact(repository, artifact, Some(&tag)).await?;
        Ok(Published {
            manifest,
            tag,
            was_there: false,
        })
    }

    /// The versions that are there, oldest first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn versions(&self, repository: &Repository) -> Result<Vec<Version>, RegistryError> {
        let tags = self.tags(repository).await?;
        let mut versions: Vec<Version> =
            tags.iter().filter_map(|tag| version::of_tag(tag)).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    /// What is under a tag or a digest, as a plugin; `None` when there is nothing.
    ///
    /// # Errors
    /// [`RegistryError`], also when it is no plugin.
    pub async fn plugin(
        &self,
        repository: &Repository,
        tag_or_digest: &str,
    ) -> Result<Option<Pulled>, RegistryError> {
        let found = self.manifest(repository, tag_or_digest).await?;
        found
            .map(|found| pulled(repository, tag_or_digest, &found))
            .transpose()
    }

    /// Fetches the component of a version, held against its digest.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn component(
        &self,
        repository: &Repository,
        pulled: &Pulled,
    ) -> Result<Bytes, RegistryError> {
        self.blob(repository, &pulled.layer, MAX_COMPONENT).await
    }
}

fn pulled(repository: &Repository, name: &str, found: &Fetched) -> Result<Pulled, RegistryError> {
    let what = format!("plugin {name} of {}", repository.path());
    let wrong = |why: String| unusable(repository, &what, &why);
    if found.descriptor.media_type != oci::MANIFEST {
        return Err(wrong(format!(
            "it is a `{}`, not one artifact",
            found.descriptor.media_type
        )));
    }
    read(&found.bytes).map_err(wrong)
}

/// Reads a manifest as that of a plugin: exactly one layer, and that one is WebAssembly.
///
/// # Errors
/// Why it is none.
pub fn read(bytes: &[u8]) -> Result<Pulled, String> {
    let manifest: ImageManifest =
        serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let [layer] = manifest.layers.as_slice() else {
        let count = manifest.layers.len();
        return Err(format!("it has {count} layers, and a plugin is one"));
    };
    if layer.media_type != LAYER {
        return Err(format!(
            "its layer is a `{}`, and a plugin is `{LAYER}`",
            layer.media_type
        ));
    }
    if !is_digest(&layer.digest) || !is_digest(&manifest.config.digest) {
        return Err("a digest in it is none".to_owned());
    }
    Ok(Pulled {
        manifest: Descriptor::of(oci::MANIFEST, bytes),
        bytes: Bytes::copy_from_slice(bytes),
        layer: layer.clone(),
        config: manifest.config,
    })
}
