//! Plugins in one file: written where a registry is, installed where none is.

use std::{
    fs,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde::Serialize;

use super::{Current, Offer, Plugins, PluginsError, blocking, not_installed, plugin_in};
use crate::catalogue::{
    ArchiveError, Locked, Reference, Selector, Wanted,
    archive::{REFERENCE, Reader, Writer},
    inspect::MAX_COMPONENT,
    registry::{Descriptor, MAX_MANIFEST, Pulled, artifact, oci},
    signature::{BUNDLE_TYPE, MAX_BUNDLE, Signature},
    trust::MAX_SIGNATURES,
};

/// A blob of what belongs to a plugin is larger than this: no signature, no report.
const MAX_ATTACHED: u64 = 16 << 20;

/// A bundle that was written.
#[derive(Debug, Clone, Serialize)]
pub struct Bundled {
    /// The file.
    pub file: PathBuf,
    /// Its bytes.
    pub size: u64,
    /// The plugins in it, as `name version`.
    pub plugins: Vec<String>,
}

/// Everything of one plugin that goes into a bundle.
struct Whole {
    reference: String,
    descriptor: Descriptor,
    manifest: Bytes,
    blobs: Vec<Bytes>,
    /// What belongs to it, with its own blobs.
    attached: Vec<(Descriptor, Bytes, Vec<Bytes>)>,
}

impl Plugins {
    /// Writes installed plugins into a file, these or all, with what belongs to them: signatures, reports. The file is
    /// there whole or not at all.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn bundle(&self, file: &Path, names: &[String]) -> Result<Bundled, PluginsError> {
        let lock = self.installed.read()?;
        for name in names {
            if !lock.plugins.contains_key(name) {
                return Err(not_installed(name, &lock));
            }
        }
        let (mut all, mut plugins) = (Vec::new(), Vec::new());
        for (name, locked) in &lock.plugins {
            if names.is_empty() || names.contains(name) {
                all.push(self.whole(name, locked).await?);
                plugins.push(format!("{name} {}", locked.version));
            }
        }
        if all.is_empty() {
            return Err(PluginsError::NothingToBundle);
        }
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let place = file.clone();
        let size = blocking(move || {
            write(&place, all).map_err(|source| PluginsError::Io {
                path: place.clone(),
                source,
            })
        })
        .await?;
        Ok(Bundled {
            file,
            size,
            plugins,
        })
    }

    async fn whole(&self, name: &str, locked: &Locked) -> Result<Whole, PluginsError> {
        let source = &locked.source;
        let found = self.registry.manifest(source, &locked.manifest).await?;
        let pulled = self.registry.plugin(source, &locked.manifest).await?;
        let (Some(found), Some(pulled)) = (found, pulled) else {
            let wanted = Wanted::Exact(locked.version.clone());
            return Err(self.no_version(source, &wanted, None).await);
        };
        if pulled.layer.digest != locked.digest {
            return Err(PluginsError::NotLocked {
                name: name.to_owned(),
                version: locked.version.clone(),
                source_of: source.clone(),
            });
        }
        let config = self
            .registry
            .blob(source, &pulled.config, MAX_MANIFEST)
            .await?;
        let component = self.registry.component(source, &pulled).await?;
        let mut attached = Vec::new();
        for one in self
            .registry
            .referrers(source, &locked.manifest, None)
            .await?
        {
            let Some(own) = self.registry.manifest(source, &one.digest).await? else {
                continue;
            };
            let Ok(manifest) = serde_json::from_slice::<oci::ImageManifest>(&own.bytes) else {
                continue;
            };
            let mut blobs = Vec::new();
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                blobs.push(self.registry.blob(source, blob, MAX_ATTACHED).await?);
            }
            attached.push((own.descriptor, own.bytes, blobs));
        }
        Ok(Whole {
            reference: format!("{source}@{}", locked.version),
            descriptor: found.descriptor,
            manifest: found.bytes,
            blobs: vec![config, component],
            attached,
        })
    }

    /// What a bundle offers: every plugin in it, held against its digests, its name and its version.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn bundled(&self, file: &Path) -> Result<Vec<Offer>, PluginsError> {
        let path = file.to_owned();
        let found = blocking(move || Ok(read(&path)?)).await?;
        let lock = self.installed.read()?;
        let mut offers = Vec::new();
        for (reference, pulled, component, signatures) in found {
            let what = format!("{} in {}", reference.repository.name(), file.display());
            let (inspection, manifest, version) = plugin_in(&what, &component)?;
            let is_asked = match &reference.wanted {
                Selector::Version(Wanted::Exact(asked)) => *asked == version,
                _ => true,
            };
            if manifest.name != reference.repository.name() || !is_asked {
                return Err(PluginsError::Retagged {
                    asked: format!("{reference} in {}", file.display()),
                    found: format!("{} {version}", manifest.name),
                });
            }
            let trust = self.judge(
                &reference.repository,
                &pulled.manifest.digest,
                &signatures,
                &lock,
            )?;
            let current = lock.plugins.get(&manifest.name);
            // What is installed keeps the range that it is upgraded within.
            let wanted = current.map_or(Wanted::Newest, |locked| locked.wanted.clone());
            let installed = current.map(|locked| Current {
                inspection: self.inspect(&locked.digest),
                locked: locked.clone(),
            });
            offers.push(Offer {
                advice: self.known().advice(&reference.repository, &version),
                report: None,
                repository: reference.repository,
                wanted,
                name: manifest.name,
                version,
                pulled,
                inspection,
                trust,
                installed,
                component: component.into(),
            });
        }
        Ok(offers)
    }
}

fn write(place: &Path, all: Vec<Whole>) -> std::io::Result<u64> {
    let folder = place.parent().unwrap_or(Path::new("."));
    let new = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(folder)?;
    let mut writer = Writer::new(BufWriter::new(new))?;
    for whole in all {
        for blob in &whole.blobs {
            writer.blob(blob)?;
        }
        let mut descriptor = whole.descriptor;
        descriptor
            .annotations
            .insert(REFERENCE.to_owned(), whole.reference);
        writer.manifest(descriptor, &whole.manifest)?;
        for (descriptor, manifest, blobs) in &whole.attached {
            for blob in blobs {
                writer.blob(blob)?;
            }
            writer.manifest(descriptor.clone(), manifest)?;
        }
    }
    let mut out = writer.finish()?;
    out.flush()?;
    let new = out
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error)?;
    let size = new.as_file().metadata()?.len();
    new.as_file().sync_all()?;
    new.persist(place).map_err(|error| error.error)?;
    fs::File::open(folder)?.sync_all()?;
    Ok(size)
}

type Found = (Reference, Pulled, Vec<u8>, Vec<Signature>);

fn read(path: &Path) -> Result<Vec<Found>, ArchiveError> {
    let mut reader = Reader::open(path)?;
    let wrong = |why: String| ArchiveError::NoBundle {
        path: path.to_owned(),
        why,
    };
    let named: Vec<(Descriptor, String)> = reader
        .manifests()
        .iter()
        .filter_map(|one| Some((one.clone(), one.annotations.get(REFERENCE)?.clone())))
        .collect();
    let mut all = Vec::new();
    for (descriptor, reference) in named {
        let reference: Reference = reference
            .parse()
            .map_err(|error| wrong(format!("{error}")))?;
        let bytes = reader.blob(&descriptor.digest, MAX_MANIFEST)?;
        let pulled = artifact::read(&bytes).map_err(&wrong)?;
        let component = reader.blob(&pulled.layer.digest, MAX_COMPONENT)?;
        let signatures = signatures(&mut reader, &descriptor.digest)?;
        all.push((reference, pulled, component, signatures));
    }
    if all.is_empty() {
        return Err(wrong("there is no plugin in it".to_owned()));
    }
    Ok(all)
}

/// The signatures of a manifest that are in the bundle, not yet believed.
fn signatures(reader: &mut Reader, manifest: &str) -> Result<Vec<Signature>, ArchiveError> {
    let all: Vec<Descriptor> = reader.manifests().to_vec();
    let mut found = Vec::new();
    for one in all {
        let bytes = reader.blob(&one.digest, MAX_MANIFEST)?;
        let Ok(own) = serde_json::from_slice::<oci::ImageManifest>(&bytes) else {
            continue;
        };
        if own.subject.is_none_or(|subject| subject.digest != manifest) {
            continue;
        }
        for layer in own.layers {
            if layer.media_type == BUNDLE_TYPE && found.len() < MAX_SIGNATURES {
                let bytes = reader.blob(&layer.digest, MAX_BUNDLE as u64)?;
                found.push(Signature::Bundle(bytes));
            }
        }
    }
    Ok(found)
}
