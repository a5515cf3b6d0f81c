//! Plugins between registries and a project: published, judged, installed.
//!
//! Nothing of a plugin is run here. What is installed is decided by digest: a flow runs what `plugins.lock` names, or
//! nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use jiff::Timestamp;
use semver::Version;
use serde::Serialize;

use crate::{
    catalogue::{
        self, Comparison, Decision, Inspection, Installed, KeyId, Kind, Lock, Locked, Manifest,
        PrivateKey, Reference, Registry, RegistryOptions, Repository, Selector, Signature, Subject,
        Trust, Wanted, lock, registry::Pulled, trust, version,
    },
    flow::{Egress, Variables, installed, spec::GrantsSpec},
    plugin::{Grants, Hints, Limits, missing},
    storage::{Action, AuditEntry},
};

mod bundle;
mod error;
mod upgrade;

pub use bundle::Bundled;
pub use error::PluginsError;
pub use upgrade::{Newer, Upgrade, Use};

/// The plugins of a project, and the registries that they come from and go to.
pub struct Plugins {
    project: PathBuf,
    state: PathBuf,
    installed: Installed,
    registry: Registry,
    /// Instead of what the project says.
    trust: Option<Trust>,
    actor: String,
}

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
    /// The key that it was signed with.
    pub signed_by: Option<KeyId>,
}

/// A version that could be installed: fetched, held against its digests, its name and its version, and not run.
pub struct Offer {
    /// Where it comes from.
    pub repository: Repository,
    /// The versions that were asked for.
    pub wanted: Wanted,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// As it is in the registry.
    pub pulled: Pulled,
    /// What it is.
    pub inspection: Inspection,
    /// What is installed under its name.
    pub installed: Option<Current>,
    /// Who signed it, and whether that is enough here.
    pub trust: Decision,
    component: Bytes,
}

/// What is installed under a name.
pub struct Current {
    /// The entry of the lock file.
    pub locked: Locked,
    /// What it is, when its component is here.
    pub inspection: Option<Inspection>,
}

/// Why a plugin may be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Somebody saw what it is and said yes.
    Given,
    /// Its grants are written down: they must cover what it asks for.
    Granted,
}

/// A plugin that is installed.
#[derive(Debug, Clone, Serialize)]
pub struct InstalledPlugin {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// `sha256:…` of the component.
    pub digest: String,
    /// Where it comes from.
    pub source: Repository,
    /// The versions that upgrades choose from.
    pub wanted: Wanted,
    /// It stays as it is.
    pub pinned: bool,
    /// Former versions that there is a way back to, the latest first.
    pub before: Vec<Version>,
    /// The key that signed it.
    pub signed_by: Option<KeyId>,
    /// Its component is here, and is what it should be.
    pub here: bool,
}

/// What became of a plugin that the lock file names.
#[derive(Debug, Clone, Serialize)]
pub struct Fetching {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// It was fetched; otherwise it was here.
    pub fetched: bool,
}

impl Plugins {
    /// The plugins of this project. Nothing is read yet.
    ///
    /// # Errors
    /// When certificates cannot be used.
    pub fn open(
        project: PathBuf,
        state: PathBuf,
        options: &RegistryOptions,
        actor: String,
    ) -> Result<Self, PluginsError> {
        Ok(Self {
            installed: Installed::of(&project, &state),
            registry: Registry::new(options)?,
            trust: None,
            project,
            state,
            actor,
        })
    }

    /// Trusts somebody else than the project does.
    #[must_use]
    pub fn trusting(self, trust: Trust) -> Self {
        Self {
            trust: Some(trust),
            ..self
        }
    }

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
        Ok(PublishedPlugin {
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

    /// Fetches the version that is meant, and finds out everything that can be known of it without running it.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn offer(&self, reference: &Reference) -> Result<Offer, PluginsError> {
        let repository = &reference.repository;
        let (name, asked, wanted) = match &reference.wanted {
            Selector::Digest(digest) => (digest.clone(), None, Wanted::Newest),
            Selector::Version(wanted) => {
                let version = self.version(repository, wanted).await?;
                (version::tag_of(&version), Some(version), wanted.clone())
            }
        };
        let pulled = self.registry.plugin(repository, &name).await?;
        let Some(pulled) = pulled else {
            return Err(self.no_version(repository, &wanted, asked).await);
        };
        let lock = self.installed.read()?;
        let trust = self.trust(repository, &pulled, &lock).await?;
        let component = self.registry.component(repository, &pulled).await?;
        let what = reference.to_string();
        let (inspection, manifest, version) = plugin_in(&what, &component)?;
        // A signed old version under the tag of a new one is still signed: what counts is what it says of itself.
        let is_asked = asked.as_ref().is_none_or(|asked| *asked == version);
        if manifest.name != repository.name() || !is_asked {
            let asked = match asked {
                Some(asked) => format!("{repository}@{asked}"),
                None => what,
            };
            return Err(PluginsError::Retagged {
                asked,
                found: format!("{} {version}", manifest.name),
            });
        }
        let installed = lock.plugins.get(&manifest.name).map(|locked| Current {
            inspection: self.inspect(&locked.digest),
            locked: locked.clone(),
        });
        Ok(Offer {
            repository: repository.clone(),
            wanted,
            name: manifest.name,
            version,
            pulled,
            inspection,
            installed,
            trust,
            component,
        })
    }

    /// Signs a version that is there, in both layouts. Gives what was signed.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn sign(
        &self,
        reference: &Reference,
        key: &PrivateKey,
    ) -> Result<Offer, PluginsError> {
        // What is signed is looked at first: name and version are what they should be.
        let offer = self.offer(reference).await?;
        self.registry
            .sign(&offer.repository, &offer.pulled.manifest, key)
            .await?;
        Ok(offer)
    }

    /// Who signed a version, and whether that is enough in this project.
    async fn trust(
        &self,
        repository: &Repository,
        pulled: &Pulled,
        lock: &Lock,
    ) -> Result<Decision, PluginsError> {
        let digest = &pulled.manifest.digest;
        let signatures = self.registry.signatures(repository, digest).await?;
        self.judge(repository, digest, &signatures, lock)
    }

    /// Whether these signatures of a manifest are enough in this project.
    fn judge(
        &self,
        repository: &Repository,
        digest: &str,
        signatures: &[Signature],
        lock: &Lock,
    ) -> Result<Decision, PluginsError> {
        let trust = match &self.trust {
            Some(trust) => trust.clone(),
            None => Trust::of_project(&self.project, &Variables::default())
                .map_err(PluginsError::Trust)?,
        };
        let place = format!("{}/{}", repository.host(), repository.path());
        let locked = lock.plugins.get(repository.name());
        let asked = trust::Asked {
            repository: Some(&place),
            subject: Subject::Artifact {
                digest,
                name: repository.name(),
            },
            pinned: locked.and_then(|locked| locked.signed_by.as_ref()),
        };
        Ok(trust.decide(&asked, signatures, Timestamp::now()))
    }

    /// The version that is meant. One that is named exactly is asked for without a list.
    async fn version(
        &self,
        repository: &Repository,
        wanted: &Wanted,
    ) -> Result<Version, PluginsError> {
        if let Wanted::Exact(version) = wanted {
            return Ok(version.clone());
        }
        let there = self.registry.versions(repository).await?;
        match wanted.best(&there) {
            Some(version) => Ok(version.clone()),
            None => Err(PluginsError::NoVersion {
                repository: repository.clone(),
                wanted: wanted.clone(),
                there,
            }),
        }
    }

    async fn no_version(
        &self,
        repository: &Repository,
        wanted: &Wanted,
        asked: Option<Version>,
    ) -> PluginsError {
        match self.registry.versions(repository).await {
            Ok(there) => PluginsError::NoVersion {
                repository: repository.clone(),
                wanted: asked.map_or_else(|| wanted.clone(), Wanted::Exact),
                there,
            },
            Err(error) => error.into(),
        }
    }

    /// What an installed component is, when it is here and is what it should be.
    fn inspect(&self, digest: &str) -> Option<Inspection> {
        let path = self.installed.store().path(digest);
        let bytes = catalogue::read_component(&path).ok()?;
        let inspection = catalogue::inspect(&bytes).ok()?;
        (inspection.digest == digest).then_some(inspection)
    }

    /// Whether an offer may take the place of what is installed.
    ///
    /// # Errors
    /// [`PluginsError`]: it is older and that was not said to be meant, comes from somewhere else, or the installed one
    /// is pinned.
    pub fn may_replace(offer: &Offer, lock: &Lock, downgrade: bool) -> Result<(), PluginsError> {
        let Some(locked) = lock.plugins.get(&offer.name) else {
            return Ok(());
        };
        if locked.source != offer.repository {
            return Err(PluginsError::OtherSource {
                name: offer.name.clone(),
                installed: locked.source.clone(),
                offered: offer.repository.clone(),
            });
        }
        if locked.pinned && locked.digest != offer.inspection.digest {
            return Err(PluginsError::Pinned {
                name: offer.name.clone(),
                installed: locked.version.clone(),
            });
        }
        if !downgrade && offer.version < locked.version {
            return Err(PluginsError::Downgrade {
                name: offer.name.clone(),
                installed: locked.version.clone(),
                offered: offer.version.clone(),
            });
        }
        Ok(())
    }

    /// What is installed.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub fn lock(&self) -> Result<Lock, PluginsError> {
        Ok(self.installed.read()?)
    }

    /// Installs what was offered. Killed at any point, this leaves what was installed before, or the new version.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn install(
        &self,
        offer: Offer,
        consent: Consent,
        downgrade: bool,
    ) -> Result<InstalledPlugin, PluginsError> {
        Self::is_trusted(&offer, consent)?;
        if consent == Consent::Granted {
            self.granted(&offer)?;
        }
        let signed_by = offer.trust.key().cloned();
        let installed = self.installed.clone();
        let (name, done) = blocking(move || {
            let mut change = installed.change()?;
            // Somebody else may have been faster.
            Self::may_replace(&offer, &change.lock, downgrade)?;
            let path = installed.store().path(&offer.inspection.digest);
            installed
                .store()
                .put(&offer.component)
                .map_err(|source| PluginsError::Io { path, source })?;
            let locked = Locked {
                version: offer.version,
                digest: offer.inspection.digest,
                source: offer.repository,
                manifest: offer.pulled.manifest.digest,
                signed_by,
                wanted: offer.wanted,
                pinned: false,
                before: Vec::new(),
            };
            let done = change.lock.put(&offer.name, locked);
            change.commit()?;
            Ok((offer.name, done))
        })
        .await?;
        let view = self.view(&name, &done);
        self.note(Action::PluginInstalled, &view);
        Ok(view)
    }

    /// Whether what is known of who signed it is enough. Where another key than before is right or wrong only a person can
    /// say.
    ///
    /// # Errors
    /// [`PluginsError::Untrusted`].
    pub fn is_trusted(offer: &Offer, consent: Consent) -> Result<(), PluginsError> {
        let why = match &offer.trust {
            Decision::Refused { why, .. } => why.clone(),
            changed @ Decision::Changed { .. } if consent == Consent::Granted => {
                format!("{}; --yes is no answer to that", changed.words())
            }
            _ => return Ok(()),
        };
        Err(PluginsError::Untrusted {
            what: format!("{}@{}", offer.repository, offer.version),
            why,
        })
    }

    /// Whether the project's grants cover what an offer asks for, as one of its kinds at least. What works without is
    /// not counted, and limits are a matter of the flow.
    fn granted(&self, offer: &Offer) -> Result<(), PluginsError> {
        let Some(manifest) = &offer.inspection.manifest else {
            return Ok(());
        };
        let folder = self.project.join("grants");
        let all = installed::load(&folder, &Variables::default()).map_err(PluginsError::Grants)?;
        let granted = all.get(&offer.name).map(as_granted).unwrap_or_default();
        let needs = |kind: &Kind| -> Vec<String> {
            let (limits, hints) = (Limits::default(), Hints::default());
            missing(manifest, *kind, &granted, &limits, &hints)
                .into_iter()
                .filter(|need| !need.optional && need.section == "grants")
                .map(|need| need.what)
                .collect()
        };
        let fewest = offer
            .inspection
            .kinds
            .iter()
            .map(needs)
            .min_by_key(Vec::len);
        match fewest {
            Some(missing) if !missing.is_empty() => Err(PluginsError::NotGranted {
                name: offer.name.clone(),
                file: folder.join(format!("{}.yaml", offer.name)),
                missing,
            }),
            _ => Ok(()),
        }
    }

    /// Fetches what the lock file names and is not here.
    ///
    /// # Errors
    /// [`PluginsError`], at the first that cannot be had. What was fetched before it stays.
    pub async fn restore(&self) -> Result<Vec<Fetching>, PluginsError> {
        let lock = self.installed.read()?;
        let mut all = Vec::new();
        for (name, locked) in &lock.plugins {
            let fetched = !self.installed.store().holds(&locked.digest);
            if fetched {
                self.fetch(name, locked).await?;
            }
            all.push(Fetching {
                name: name.clone(),
                version: locked.version.clone(),
                fetched,
            });
        }
        Ok(all)
    }

    async fn fetch(&self, name: &str, locked: &Locked) -> Result<(), PluginsError> {
        let other = || PluginsError::NotLocked {
            name: name.to_owned(),
            version: locked.version.clone(),
            source_of: locked.source.clone(),
        };
        let pulled = self
            .registry
            .plugin(&locked.source, &locked.manifest)
            .await?;
        let Some(pulled) = pulled else {
            let wanted = Wanted::Exact(locked.version.clone());
            return Err(self.no_version(&locked.source, &wanted, None).await);
        };
        if pulled.layer.digest != locked.digest {
            return Err(other());
        }
        let component = self.registry.component(&locked.source, &pulled).await?;
        let (_, manifest, version) = plugin_in(&locked.source.to_string(), &component)?;
        if manifest.name != name || version != locked.version {
            return Err(other());
        }
        let installed = self.installed.clone();
        let digest = locked.digest.clone();
        blocking(move || {
            // Held, so that nobody tidies it away before the file that names it is read again.
            let change = installed.change()?;
            let put = installed.store().put(&component);
            put.map_err(|source| PluginsError::Io {
                path: installed.store().path(&digest),
                source,
            })?;
            drop(change);
            Ok(())
        })
        .await
    }

    /// All installed plugins, by name.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub fn list(&self) -> Result<Vec<InstalledPlugin>, PluginsError> {
        let lock = self.installed.read()?;
        let all = lock.plugins.iter();
        Ok(all.map(|(name, locked)| self.view(name, locked)).collect())
    }

    /// One installed plugin, with what its component is when that is here.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub fn info(&self, name: &str) -> Result<(InstalledPlugin, Option<Inspection>), PluginsError> {
        let lock = self.installed.read()?;
        let locked = lock.plugins.get(name);
        let locked = locked.ok_or_else(|| not_installed(name, &lock))?;
        Ok((self.view(name, locked), self.inspect(&locked.digest)))
    }

    /// Removes an installed plugin. What runs goes on: a host keeps what it runs.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn remove(&self, name: &str) -> Result<InstalledPlugin, PluginsError> {
        let installed = self.installed.clone();
        let wanted = name.to_owned();
        let removed = blocking(move || {
            let mut change = installed.change()?;
            let Some(removed) = change.lock.plugins.remove(&wanted) else {
                return Err(not_installed(&wanted, &change.lock));
            };
            change.commit()?;
            Ok(removed)
        })
        .await?;
        let view = self.view(name, &removed);
        self.note(Action::PluginRemoved, &view);
        Ok(view)
    }

    fn view(&self, name: &str, locked: &Locked) -> InstalledPlugin {
        let before = locked.before.iter();
        InstalledPlugin {
            here: self.installed.store().holds(&locked.digest),
            name: name.to_owned(),
            version: locked.version.clone(),
            digest: locked.digest.clone(),
            source: locked.source.clone(),
            wanted: locked.wanted.clone(),
            pinned: locked.pinned,
            signed_by: locked.signed_by.clone(),
            before: before.map(|one| one.version.clone()).collect(),
        }
    }

    /// The audit log says who installed what; that it cannot be written undoes nothing.
    fn note(&self, action: Action, plugin: &InstalledPlugin) {
        let entry = AuditEntry::new(action, &self.actor)
            .plugin(&plugin.name, plugin.version.to_string(), &plugin.digest)
            .target(plugin.source.to_string());
        if let Err(error) = super::note(&self.state, entry) {
            tracing::warn!(target: "audit", "not noted in the audit log: {error}");
        }
    }
}

impl Offer {
    /// How it differs from what is installed.
    pub fn comparison(&self) -> Option<Comparison> {
        let current = self.installed.as_ref()?.inspection.as_ref()?;
        Some(catalogue::compare(current, &self.inspection))
    }

    /// It is what is installed.
    pub fn is_installed(&self) -> bool {
        let current = self.installed.as_ref();
        current.is_some_and(|current| {
            current.locked.digest == self.inspection.digest && current.inspection.is_some()
        })
    }
}

fn not_installed(name: &str, lock: &Lock) -> PluginsError {
    let names: Vec<String> = lock.plugins.keys().cloned().collect();
    PluginsError::NotInstalled {
        name: name.to_owned(),
        near: catalogue::config::nearest(name, &names).cloned(),
    }
}

fn as_granted(spec: &GrantsSpec) -> Grants {
    Grants {
        read: spec.files.read.clone(),
        write: spec.files.write.clone(),
        connections: spec.connections.clone(),
        tables: spec.tables.clone(),
        quota: spec.files.quota.map(|size| size.0),
        // It has been checked when it was loaded.
        egress: Egress::parse(&spec.http, &spec.tcp, spec.allow_private).unwrap_or_default(),
        precise_clock: spec.precise_clock,
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

/// What a plugin says of itself. One that says nothing is none that could be handed on.
fn plugin_in(what: &str, bytes: &[u8]) -> Result<(Inspection, Manifest, Version), PluginsError> {
    let inspection = catalogue::inspect(bytes).map_err(|source| PluginsError::Inspect {
        what: what.to_owned(),
        source,
    })?;
    if inspection.kinds.is_empty() {
        return Err(PluginsError::NoPlugin(what.to_owned()));
    }
    if let Some(source) = inspection.manifest_error.clone() {
        return Err(PluginsError::Manifest {
            what: what.to_owned(),
            source,
        });
    }
    let manifest = inspection.manifest.clone();
    let manifest = manifest.ok_or_else(|| PluginsError::NoManifest(what.to_owned()))?;
    let version = Version::parse(&manifest.version).map_err(|error| {
        let (version, reason) = (manifest.version.clone(), error.to_string());
        PluginsError::Manifest {
            what: what.to_owned(),
            source: catalogue::ManifestError::Version { version, reason },
        }
    })?;
    Ok((inspection, manifest, version))
}

/// Work that waits for disks, off the asynchronous threads. What it does is done whole even when nobody waits any more.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PluginsError> + Send + 'static,
) -> Result<T, PluginsError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(PluginsError::Io {
            path: PathBuf::from(lock::FILE),
            source: std::io::Error::other(error),
        }),
    }
}
