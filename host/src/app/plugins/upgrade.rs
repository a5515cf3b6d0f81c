//! Another version in the place of the installed one, and back; what stays as it is; who uses what.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use semver::Version;
use serde::Serialize;

use super::{
    Allowed, Consent, InstalledPlugin, Offer, Plugins, PluginsError, blocking, not_installed,
};
use crate::{
    app::catalogues::Advice,
    catalogue::{
        Before, Judgement, Locked, Reference, Selector, Verdict, Wanted, judge, lock::FILE,
    },
    flow::{Plan, PluginRef, Variables, document},
    storage::Action,
};

/// Versions of one plugin: the installed one, and those that could take its place.
#[derive(Debug, Clone, Serialize)]
pub struct Newer {
    /// The plugin.
    pub name: String,
    /// What is installed.
    pub installed: Version,
    /// The versions that upgrades choose from.
    pub wanted: Wanted,
    /// It stays as it is.
    pub pinned: bool,
    /// The newest that `upgrade` takes; `None` when there is none above the installed one.
    pub upgrade: Option<Version>,
    /// The newest of all that are no pre-releases.
    pub newest: Option<Version>,
    /// What the catalogues say of the installed one.
    pub advice: Advice,
}

/// A version that could take the place of the installed one, with what that means.
pub struct Upgrade {
    /// The version, fetched and not run.
    pub offer: Offer,
    /// What it means for flows. `None` when the installed component is not here to be compared with.
    pub judgement: Option<Judgement>,
}

impl Upgrade {
    /// It asks for what the installed version does not ask for: that waits for somebody's consent.
    pub fn needs_consent(&self) -> bool {
        self.judgement
            .as_ref()
            .is_none_or(|judgement| judgement.permissions.asks_for_more())
    }

    /// Its number promises less than is different.
    pub fn is_understated(&self) -> bool {
        let (Some(current), Some(judgement)) = (&self.offer.installed, &self.judgement) else {
            return false;
        };
        let promised = Verdict::promised(&current.locked.version, &self.offer.version);
        judgement.verdict > promised
    }
}

/// A place that uses a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Use {
    /// The flow file.
    pub file: PathBuf,
    /// The flow; empty when its file cannot be read.
    pub flow: String,
    /// The stage.
    pub stage: String,
    /// What it is there.
    pub kind: String,
    /// As the flow writes it: `akeneo@^1.2`.
    pub plugin: String,
}

impl Plugins {
    /// What there is above the installed versions, of these plugins or of all.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn newer(&self, names: &[String]) -> Result<Vec<Newer>, PluginsError> {
        let lock = self.installed.read()?;
        for name in names {
            if !lock.plugins.contains_key(name) {
                return Err(not_installed(name, &lock));
            }
        }
        let chosen = lock
            .plugins
            .iter()
            .filter(|(name, _)| names.is_empty() || names.contains(name));
        let mut all = Vec::new();
        for (name, locked) in chosen {
            let known = self.known();
            let mut there = self.registry.versions(&locked.source).await?;
            there.retain(|version| known.yanked(&locked.source, version).is_none());
            let mut channels = known.channels(&locked.source);
            let mut above = |wanted: &Wanted| {
                let best = match wanted {
                    Wanted::Channel(name) => channels.remove(name),
                    other => other.best(&there).cloned(),
                };
                best.filter(|best| *best > locked.version)
            };
            all.push(Newer {
                advice: known.advice(&locked.source, &locked.version),
                name: name.clone(),
                installed: locked.version.clone(),
                wanted: locked.wanted.clone(),
                pinned: locked.pinned,
                upgrade: if locked.pinned {
                    None
                } else {
                    above(&locked.wanted)
                },
                newest: Wanted::Newest.best(&there).cloned(),
            });
        }
        Ok(all)
    }

    /// Fetches the version that would take the place of the installed one, and judges it.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn upgrade(&self, newer: &Newer) -> Result<Option<Upgrade>, PluginsError> {
        let Some(version) = &newer.upgrade else {
            return Ok(None);
        };
        let lock = self.installed.read()?;
        let locked = lock.plugins.get(&newer.name);
        let locked = locked.ok_or_else(|| not_installed(&newer.name, &lock))?;
        let reference = Reference {
            repository: locked.source.clone(),
            wanted: Selector::Version(Wanted::Exact(version.clone())),
        };
        let mut offer = self.offer(&reference).await?;
        // It is still the range that the next upgrade chooses from.
        offer.wanted = locked.wanted.clone();
        let current = offer.installed.as_ref();
        let old = current.and_then(|current| current.inspection.as_ref());
        let judgement = old.map(|old| judge(old, &offer.inspection));
        Ok(Some(Upgrade { offer, judgement }))
    }

    /// Installs an upgrade.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn take(
        &self,
        upgrade: Upgrade,
        consent: Consent,
    ) -> Result<InstalledPlugin, PluginsError> {
        self.install(upgrade.offer, consent, Allowed::default())
            .await
    }

    /// Puts a former version back into its place: the latest, or the one that is named. Its component is in the store, so
    /// no registry is asked.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn roll_back(
        &self,
        name: &str,
        version: Option<&Version>,
    ) -> Result<InstalledPlugin, PluginsError> {
        let installed = self.installed.clone();
        let (own, wanted) = (name.to_owned(), version.cloned());
        let done = blocking(move || {
            let mut change = installed.change()?;
            let Some(locked) = change.lock.plugins.get(&own) else {
                return Err(not_installed(&own, &change.lock));
            };
            let is_meant =
                |one: &&Before| wanted.as_ref().is_none_or(|wanted| one.version == *wanted);
            let Some(before) = locked.before.iter().find(is_meant).cloned() else {
                return Err(PluginsError::NoBefore {
                    name: own,
                    there: locked
                        .before
                        .iter()
                        .map(|one| one.version.clone())
                        .collect(),
                });
            };
            if !installed.store().holds(&before.digest) {
                return Err(PluginsError::Lost {
                    name: own,
                    version: before.version,
                    source_of: locked.source.clone(),
                });
            }
            let back = Locked {
                version: before.version,
                digest: before.digest,
                manifest: before.manifest,
                signed_by: before.signed_by,
                before: Vec::new(),
                ..locked.clone()
            };
            let done = change.lock.put(&own, back);
            change.commit()?;
            Ok(done)
        })
        .await?;
        let view = self.view(name, &done);
        self.note(Action::PluginInstalled, &view);
        Ok(view)
    }

    /// Lets an installed plugin stay as it is, or change again.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn pin(&self, name: &str, pinned: bool) -> Result<InstalledPlugin, PluginsError> {
        let installed = self.installed.clone();
        let own = name.to_owned();
        let done = blocking(move || {
            let mut change = installed.change()?;
            let Some(locked) = change.lock.plugins.get_mut(&own) else {
                return Err(not_installed(&own, &change.lock));
            };
            locked.pinned = pinned;
            let done = locked.clone();
            change.commit()?;
            Ok(done)
        })
        .await?;
        Ok(self.view(name, &done))
    }

    /// Which stages of the project's flows use a plugin. Flow files that cannot be read are told, too: they may.
    pub fn uses(&self, name: &str) -> (Vec<Use>, Vec<PathBuf>) {
        let (mut uses, mut unread) = (Vec::new(), Vec::new());
        let variables = Variables::new(BTreeMap::new());
        for file in flow_files(&self.project.join("flows")) {
            let Ok(planned) = Plan::load(&file, &variables) else {
                unread.push(file);
                continue;
            };
            for stage in planned.plan.stages() {
                if let PluginRef::Name(written) = &stage.plugin
                    && stage.plugin.name() == Some(name)
                {
                    uses.push(Use {
                        file: file.clone(),
                        flow: planned.plan.name.clone(),
                        stage: stage.name.clone(),
                        kind: stage.kind.to_string(),
                        plugin: written.clone(),
                    });
                }
            }
        }
        (uses, unread)
    }
}

/// All flow files of a project, in folders below too, sorted.
fn flow_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(flow_files(&path));
        } else if document::is_named(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What is said when there is no way back.
pub(super) fn ways(there: &[Version]) -> String {
    match there {
        [] => format!("{FILE} names no former version"),
        all => {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            format!("there is a way back to {}", all.join(", "))
        }
    }
}
