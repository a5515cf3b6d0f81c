//! Plugins between registries and a project: published, judged, installed.
//!
//! Nothing of a plugin is run here. What is installed is decided by digest: a flow runs what `plugins.lock` names, or
//! nothing.
//!
//! | file | what it does |
//! |---|---|
//! | `publish.rs` | a component becomes a version in a registry |
//! | `offer.rs` | what could be installed, and who signed it |
//! | `install.rs` | what was offered becomes what is installed |
//! | `view.rs` | what is installed |
//! | `upgrade.rs` | another version in the place of the installed one, and back |
//! | `bundle.rs` | plugins in one file |

use std::{path::PathBuf, sync::OnceLock};

use semver::Version;

use super::catalogues::{AllKnown, CatalogueError, Catalogues, Updated};
use crate::{
    catalogue::{
        self, Inspection, Installed, Lock, Manifest, Registry, RegistryOptions, Settings, Trust,
        index::KeptIndexes, lock, registry::settings,
    },
    flow::Variables,
};

mod bundle;
mod error;
mod install;
mod offer;
mod publish;
mod upgrade;
mod view;

pub use bundle::Bundled;
pub use error::PluginsError;
pub use install::{Allowed, Consent, Fetching};
use offer::Current;
pub use offer::Offer;
pub use publish::PublishedPlugin;
pub use upgrade::{Newer, Upgrade, Use};
pub use view::InstalledPlugin;

/// The plugins of a project, and the registries that they come from and go to.
pub struct Plugins {
    project: PathBuf,
    state: PathBuf,
    installed: Installed,
    registry: Registry,
    /// Instead of what the project says.
    trust: Option<Trust>,
    actor: String,
    catalogues: Catalogues,
    /// What is known of them, once it was looked at.
    known: OnceLock<AllKnown>,
}

/// How what is known of catalogues is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A registry is asked when it was not lately.
    Refresh,
    /// Nobody is asked.
    Kept,
}

impl Plugins {
    /// The plugins of this project. Only what it says about registries is read.
    ///
    /// # Errors
    /// When that, or certificates, cannot be used.
    pub fn open(
        project: PathBuf,
        state: PathBuf,
        options: &RegistryOptions,
        actor: String,
    ) -> Result<Self, PluginsError> {
        let settings = Settings::of_project(&project).map_err(PluginsError::Findings)?;
        let options = RegistryOptions {
            hosts: settings.hosts.clone(),
            ..options.clone()
        };
        Ok(Self {
            installed: Installed::of(&project, &state),
            registry: Registry::new(&options)?,
            catalogues: Catalogues::of(&state, &settings),
            known: OnceLock::new(),
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

    /// Whom this project trusts.
    ///
    /// # Errors
    /// [`PluginsError::Findings`].
    pub(super) fn trusted(&self) -> Result<Trust, PluginsError> {
        match &self.trust {
            Some(trust) => Ok(trust.clone()),
            None => Trust::of_project(&self.project, &Variables::default())
                .map_err(PluginsError::Findings),
        }
    }

    /// A catalogue is named.
    pub fn has_catalogues(&self) -> bool {
        !self.catalogues.is_empty()
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The copies of indexes.
    pub(super) fn kept(&self) -> &KeptIndexes {
        self.catalogues.kept()
    }

    /// Asks every catalogue for its index.
    ///
    /// # Errors
    /// [`PluginsError`], when none is named. That one fails is no error of the whole.
    pub async fn update_catalogues(
        &self,
    ) -> Result<Vec<Result<Updated, CatalogueError>>, PluginsError> {
        if self.catalogues.is_empty() {
            let file = self.project.join(settings::FILE);
            return Err(CatalogueError::NoneNamed(file).into());
        }
        let trust = self.trusted()?;
        Ok(self.catalogues.update(&self.registry, &trust).await)
    }

    /// Looks at what is known of the catalogues, and gives what people must be told of them. What follows goes by it.
    ///
    /// # Errors
    /// [`PluginsError`]: whom this project trusts cannot be read. A catalogue that fails is told, and no error.
    pub async fn look(&self, how: Look) -> Result<Vec<String>, PluginsError> {
        if self.catalogues.is_empty() {
            return Ok(Vec::new());
        }
        let trust = self.trusted()?;
        let mut notices = match how {
            Look::Refresh => self.catalogues.refresh(&self.registry, &trust).await,
            Look::Kept => Vec::new(),
        };
        let catalogues = self.catalogues.clone();
        let known = blocking(move || Ok(catalogues.known(&trust))).await?;
        for notice in &known.notices {
            // What failed just now and what is therefore so need no two lines.
            if !notices.contains(notice) {
                notices.push(notice.clone());
            }
        }
        // Somebody may have looked before: what was known then is what commands go by.
        drop(self.known.set(known));
        Ok(notices)
    }

    /// What is known of the catalogues.
    pub fn known(&self) -> &AllKnown {
        self.known.get_or_init(|| {
            // Without anybody to trust nothing is believed that has to be signed.
            let trust = self.trusted().unwrap_or_default();
            self.catalogues.known(&trust)
        })
    }

    /// What is installed.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub fn lock(&self) -> Result<Lock, PluginsError> {
        Ok(self.installed.read()?)
    }
}

fn not_installed(name: &str, lock: &Lock) -> PluginsError {
    let names: Vec<String> = lock.plugins.keys().cloned().collect();
    PluginsError::NotInstalled {
        name: name.to_owned(),
        near: catalogue::config::nearest(name, &names).cloned(),
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
