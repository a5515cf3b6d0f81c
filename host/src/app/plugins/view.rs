//! What is installed, as people and programs see it.

use semver::Version;
use serde::Serialize;

use super::{Plugins, PluginsError, blocking, not_installed};
use crate::{
    app::catalogues::Advice,
    catalogue::{Inspection, KeyId, Locked, Repository, Wanted},
    storage::{Action, AuditEntry},
};

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
    /// What the catalogues say of it.
    pub advice: Advice,
}

impl Plugins {
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

    pub(super) fn view(&self, name: &str, locked: &Locked) -> InstalledPlugin {
        let before = locked.before.iter();
        InstalledPlugin {
            advice: self.known().advice(&locked.source, &locked.version),
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
    pub(super) fn note(&self, action: Action, plugin: &InstalledPlugin) {
        let entry = AuditEntry::new(action, &self.actor)
            .plugin(&plugin.name, plugin.version.to_string(), &plugin.digest)
            .target(plugin.source.to_string());
        if let Err(error) = crate::app::note(&self.state, entry) {
            tracing::warn!(target: "audit", "not noted in the audit log: {error}");
        }
    }
}
