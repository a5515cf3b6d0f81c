//! What was offered becomes what is installed.

use semver::Version;
use serde::Serialize;

use super::{InstalledPlugin, Offer, Plugins, PluginsError, blocking, plugin_in};
use crate::{
    app::catalogues::Advice,
    catalogue::{Decision, Kind, Lock, Locked, Wanted},
    flow::{self, Variables, installed},
    plugin::{Grants, Hints, Limits, missing},
    storage::Action,
};

/// Why a plugin may be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Somebody saw what it is and said yes.
    Given,
    /// Its grants are written down: they must cover what it asks for.
    Granted,
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
    /// What the catalogues say of it.
    pub advice: Advice,
}

/// What is taken although it is mostly a mistake, since somebody said so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// An older version than the installed one.
    pub downgrade: bool,
    /// A version that was yanked.
    pub yanked: bool,
}

impl Plugins {
    /// Whether an offer may take the place of what is installed.
    ///
    /// # Errors
    /// [`PluginsError`]: it is older or yanked and that was not said to be meant, comes from somewhere else, or the
    /// installed one is pinned.
    pub fn may_replace(offer: &Offer, lock: &Lock, allowed: Allowed) -> Result<(), PluginsError> {
        let locked = lock.plugins.get(&offer.name);
        // Who has it may keep it.
        let has_it = locked.is_some_and(|locked| locked.digest == offer.inspection.digest);
        if let Some(reason) = &offer.advice.yanked
            && !allowed.yanked
            && !has_it
        {
            return Err(PluginsError::Yanked {
                what: format!("{}@{}", offer.repository, offer.version),
                reason: reason.clone(),
                only: false,
            });
        }
        let Some(locked) = locked else {
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
        if !allowed.downgrade && offer.version < locked.version {
            return Err(PluginsError::Downgrade {
                name: offer.name.clone(),
                installed: locked.version.clone(),
                offered: offer.version.clone(),
            });
        }
        Ok(())
    }

    /// Installs what was offered. Killed at any point, this leaves what was installed before, or the new version.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn install(
        &self,
        offer: Offer,
        consent: Consent,
        allowed: Allowed,
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
            Self::may_replace(&offer, &change.lock, allowed)?;
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
        let all =
            installed::load(&folder, &Variables::default()).map_err(PluginsError::Findings)?;
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
                advice: self.known().advice(&locked.source, &locked.version),
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
}

fn as_granted(spec: &flow::Grants) -> Grants {
    Grants {
        read: spec.files.read.clone(),
        write: spec.files.write.clone(),
        connections: spec.connections.clone(),
        tables: spec.tables.clone(),
        quota: spec.files.quota.map(|size| size.0),
        // It has been checked when it was loaded.
        egress: spec.egress().unwrap_or_default(),
        precise_clock: spec.precise_clock,
    }
}
